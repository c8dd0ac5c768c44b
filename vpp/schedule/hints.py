"""Numbers that look as if they were in a unit 1,000 times as large or small: said, never refused.

python optimization.py solve --input examples/problem.json --output result.json
"""

import numpy as np

from vpp.schedule.problem import Problem

PRICE_EUR_PER_MWH = 2.0  # no market has stayed below it for long; a kWh costs about 0.3 EUR
MOST_C, LEAST_C = 60.0, 1 / 500  # power over capacity [1/h]; batteries have 0.1 to 10
TIMES_THE_LIMIT = 100.0  # a connection is not a hundredth of its load


def hints(problem: Problem) -> list[str]:
    """Fields that may have been given in another unit.

    Parameters
    ----------
    problem : what is to be scheduled.

    Returns
    -------
    A line for each field: its path, its number, and the unit that is expected.
    """
    found = []
    for name in ("import_price_eur_per_mwh", "export_price_eur_per_mwh"):
        most = float(np.abs(getattr(problem, name)).max(initial=0.0))
        if 0 < most <= PRICE_EUR_PER_MWH:
            found.append(f"{name} is {most:g} at most: expected EUR/MWh, 1,000 times EUR/kWh")
    for b, battery in enumerate(problem.batteries):
        rating = max(float(np.max(battery.charge_kw)), float(np.max(battery.discharge_kw)))
        if rating and not LEAST_C <= rating / battery.capacity_kwh <= MOST_C:
            found.append(
                f"batteries[{b}] has {rating:g} kW for {battery.capacity_kwh:g} kWh:"
                " expected powers in kW and capacity_kwh in kWh, 1,000 times MWh"
            )
    load = float(np.abs(problem.load_kw).max(initial=0.0))
    limits = problem.import_limit_kw
    limit = float(limits[np.isfinite(limits)].max(initial=0.0))
    if limit and load > TIMES_THE_LIMIT * limit:
        found.append(
            f"load_kw is {load:g} at most and grid.import_limit_kw {limit:g}:"
            " expected kW, a thousandth of W"
        )
    return found
