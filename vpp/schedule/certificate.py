"""How far a schedule can be from the best: gap, bound, and a bound that needs no solver.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import time

import numpy as np

from vpp.schedule.battery import money_eur
from vpp.schedule.draft import Model
from vpp.schedule.problem import Certificate, Problem


def certificate_of(
    model: Model, objective: float, bound: float, started: float, proven: bool = True
) -> Certificate:
    """The certificate of a schedule.

    Parameters
    ----------
    model : the model that was solved last.
    objective : what the schedule costs [EUR].
    bound : what no schedule can cost less than [EUR].
    started : `time.monotonic()` at the start of the search [s].
    proven : whether a solver proved the optimum.

    Returns
    -------
    The certificate; its gap is a fraction of the larger of objective and bound, 1 at most.
    """
    # of an objective and a bound of different signs the distance would be more than all
    size = max(abs(objective), abs(bound), 1e-9)
    gap = min(1.0, max(0.0, objective - bound) / size)
    kind = "lp-exact" if proven and not model.binaries else "milp"
    return Certificate(kind, model.binaries, gap, bound, time.monotonic() - started)


def loose_bound_eur(problem: Problem) -> float:
    """A cost that no schedule can fall below, found without a solver.

    Every interval is at its best, as if batteries were never empty or full.

    Parameters
    ----------
    problem : what is to be scheduled.

    Returns
    -------
    The bound of the objective [EUR].
    """
    batteries = problem.batteries
    charge = sum((problem.by_interval(b, "charge_kw") for b in batteries), np.zeros(1))
    discharge = sum((problem.by_interval(b, "discharge_kw") for b in batteries), np.zeros(1))
    for _, _, device in problem.devices:
        takes, gives = device.most_kw(problem.horizon)
        charge, discharge = charge + takes, discharge + gives
    spills = problem.curtailable or problem.inverters
    low = problem.load_kw - problem.renewables_kw - discharge
    high = problem.load_kw + charge - (0.0 if spills else problem.renewables_kw)
    settlement = problem.settlement
    position = 0.0 if settlement.position_kw is None else settlement.position_kw
    net = np.stack((low, high, *(np.clip(kink, low, high) for kink in (0.0, position))))
    costs = settlement.energy_eur(np.maximum(net, 0.0), np.maximum(-net, 0.0))
    left = sum(
        money_eur(battery.capacity_kwh, max(battery.terminal_value_eur_per_mwh or 0.0, 0.0))
        for battery in batteries
    )
    return float(costs.min(axis=0).sum()) - left
