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
    model: Model | None, objective: float, bound: float, started: float, proven: bool = True
) -> Certificate:
    """The certificate of a schedule.

    Parameters
    ----------
    model : the model that was solved last; None where time was too short for any.
    objective : what the schedule costs [EUR].
    bound : what no schedule can cost less than [EUR].
    started : `time.monotonic()` at the start of the search [s].
    proven : whether a solver proved the optimum.

    Returns
    -------
    The certificate; its gap is a fraction of the larger of objective and bound, 1 at most.
    """
    binaries = model.binaries if model is not None else 0
    kind, seconds = "milp" if binaries else "lp-exact", time.monotonic() - started
    return Certificate(kind, binaries, gap_of(objective, bound), bound, seconds, proven)


def gap_of(objective: float, bound: float) -> float:
    """The distance of an objective from its bound, as a fraction of the larger of both; 1 at most.

    Parameters
    ----------
    objective : what a schedule costs [EUR].
    bound : what no schedule can cost less than [EUR].
    """
    # of an objective and a bound of different signs the distance would be more than all
    return min(1.0, max(0.0, objective - bound) / max(abs(objective), abs(bound), 1e-9))


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
    stack = problem.stack
    charge, discharge = stack.charge_kw.sum(axis=0), stack.discharge_kw.sum(axis=0)
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
    value = np.maximum(stack.terminal_value_eur_per_mwh, 0.0)
    left = float(money_eur(stack.capacity_kwh, value).sum())
    return float(costs.min(axis=0).sum()) - left


def priced_bound_eur(
    problem: Problem, bus_price: np.ndarray, stored_value: np.ndarray, soft: bool
) -> float:
    """A cost that no schedule can fall below, by prices of power and of stored energy.

    Power balance and energy balances have these prices instead of being kept (Lagrange): then each
    power and each energy is on its own at its best. Any prices give a bound; those of the optimum
    give the optimum. Limits that only restrict further are left out.

    Parameters
    ----------
    problem : what is to be scheduled, without devices beside batteries and without a position.
    bus_price : of power in each interval [EUR/MWh].
    stored_value : of stored energy (battery, interval) [EUR/MWh].
    soft : whether limits bend.

    Returns
    -------
    The bound of the objective [EUR]; minus infinity where prices are not known.
    """
    known = np.isfinite(bus_price).all() and np.isfinite(stored_value).all()
    if not known or problem.devices or problem.settlement.position_kw is not None:
        return -np.inf
    stack, hours = problem.stack, problem.hours
    charge, discharge = stack.usable_kw
    renewables, spills = problem.renewables_kw, problem.curtailable or problem.inverters
    most_in = np.maximum(problem.load_kw, 0.0) + charge.sum(axis=0)
    most_out = np.maximum(-problem.load_kw, 0.0) + renewables + discharge.sum(axis=0)
    low, high = np.zeros_like(stack.soc_min), np.ones_like(stack.soc_max)
    if not soft:
        most_in = np.minimum(most_in, problem.import_limit_kw)
        most_out = np.minimum(most_out, problem.export_limit_kw)
        low, high = stack.soc_min, stack.soc_max
    power = bus_price * (problem.load_kw - renewables)
    power = power + np.minimum(problem.import_cost_eur_per_mwh - bus_price, 0.0) * most_in
    power += np.minimum(bus_price - problem.export_price_eur_per_mwh, 0.0) * most_out
    power += np.minimum(bus_price, 0.0) * renewables * bool(spills)
    gives = stack.wear_eur_per_mwh - bus_price + stored_value / stack.eta_discharge
    power += (np.minimum(bus_price - stack.eta_charge * stored_value, 0.0) * charge).sum(axis=0)
    power += (np.minimum(gives, 0.0) * discharge).sum(axis=0)
    later = np.column_stack((stack.keep * stored_value[:, 1:], stack.terminal_value_eur_per_mwh))
    price = stored_value - later
    energy = np.where(price > 0, low, high) * price * stack.capacity_kwh
    start = stored_value[:, :1] * stack.keep * stack.soc_initial * stack.capacity_kwh
    return float(power.sum() * hours + energy.sum() - start.sum()) / 1000
