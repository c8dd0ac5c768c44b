"""Sites of which the linear programme of a portfolio has all: batteries, load, plants, connection.

Pure: reads and writes nothing.

    python benchmarks/bench_portfolio.py
"""

import numpy as np

from vpp.schedule.problem import Problem


def is_linear(problem: Problem) -> bool:
    """Whether a linear programme of `SitesLp` has all of a problem.

    Parameters
    ----------
    problem : of the site.
    """
    plain = not (
        problem.devices
        or problem.inverters
        or problem.scenarios
        or problem.peaks
        or problem.position_kw is not None
        or problem.change_price_eur_per_mwh
    )
    batteries = all(
        battery.grid_charging
        and battery.grid_discharging
        and not battery.charge_min_kw
        and not (battery.charge_curve or battery.discharge_curve or battery.wear_curve)
        and not battery.soc_targets
        and battery.soc_final is None
        and battery.soc_final_min is None
        for battery in problem.batteries
    )
    prices = problem.import_cost_eur_per_mwh >= problem.export_price_eur_per_mwh
    return bool(plain and batteries and prices.all()) and _inside(problem)


def _inside(problem: Problem) -> bool:
    """Whether each battery can be within its bounds in all intervals."""
    stack, most = problem.stack, problem.stack.usable_kw
    capacity, keep = stack.capacity_kwh[:, 0], stack.keep[:, 0]
    least = largest = stack.soc_initial[:, 0] * capacity
    inside = np.ones(len(capacity), dtype=bool)
    free = np.isinf(stack.cycles_per_day_max[:, 0])  # no limit of cycles is in the way
    for t in range(problem.intervals):
        rise = problem.hours * stack.eta_charge[:, 0] * most[0][:, t]
        fall = problem.hours / stack.eta_discharge[:, 0] * most[1][:, t] * free
        least = np.maximum(keep * least - fall, stack.soc_min[:, t] * capacity)
        largest = np.minimum(keep * largest + rise, stack.soc_max[:, t] * capacity)
        inside &= least <= largest
    return bool(inside.all())
