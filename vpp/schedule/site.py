"""The site as a scheduling problem, and the value of the energy left at its end.

Pure: reads and writes nothing.

    python optimization.py --help

Powers are kW, prices EUR/MWh, times UTC.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from vpp.schedule.basis import PlanBasis
from vpp.schedule.devices import GridConnection
from vpp.schedule.peaks import Peak, by_month
from vpp.schedule.previous import NO_PLAN_BEFORE
from vpp.schedule.problem import Problem


def site_problem(
    basis: PlanBasis, start: pd.Timestamp, values: Mapping[str, np.ndarray] | pd.DataFrame
) -> Problem:
    """The scheduling problem of a site.

    Parameters
    ----------
    basis : the site's batteries, grid connection and tariff.
    start : start of the first interval (UTC).
    values : `load_kw`, `renewables_kw` [kW] and `price_eur_per_mwh` [EUR/MWh], which is without
        fees, one an interval.

    Returns
    -------
    The problem. Energy left at its end counts at the basis's terminal price; without one it counts
    nothing.
    """
    grid, optimization = basis.grid, basis.optimization
    names = ("load_kw", "renewables_kw", "price_eur_per_mwh")
    load, renewables, price = (np.asarray(values[name], dtype=float) for name in names)
    import_price, export_price = basis.local_tariff.prices(price, start, basis.step_min)
    problem = Problem(
        step_min=basis.step_min,
        start=start.to_pydatetime(),
        time_zone=basis.time_zone,
        load_kw=load,
        renewables_kw=renewables,
        import_price_eur_per_mwh=import_price,
        export_price_eur_per_mwh=export_price,
        co2_kg_per_mwh=np.full(len(load), optimization.co2_kg_per_mwh),
        co2_price_eur_per_t=optimization.co2_price_eur_per_t,
        batteries=basis.batteries,
        grid=GridConnection(
            import_limit_kw=grid.import_limit_kw,
            export_limit_kw=grid.export_limit_kw,
            peak_price_eur_per_kw=grid.peak_price_eur_per_kw,
            peak_so_far_kw=basis.peak_so_far_kw,
            peak_interval_min=grid.peak_interval_min,
            peaks=_peaks(basis, start, len(load)),
        ),
        time_limit_s=optimization.time_limit_s,
        gap=optimization.gap,
    )
    if any(basis.devices.values()):
        problem = replace(problem, **dict[str, Any](basis.devices))
    price_left = basis.terminal_price_eur_per_mwh
    return problem if price_left is None else with_terminal_value(problem, price_left)


def _peaks(basis: PlanBasis, start: pd.Timestamp, count: int) -> tuple[Peak, ...]:
    """The tariff's peaks, each month billed on its own."""
    if not basis.peaks:
        return ()
    index = pd.date_range(start, periods=max(count, 1), freq=f"{basis.step_min}min")
    return by_month(basis.peaks, index.tz_convert(basis.time_zone).month.tolist())


def with_terminal_price(basis: PlanBasis, frame: pd.DataFrame) -> PlanBasis:
    """The basis with the terminal price that these values give.

    Parameters
    ----------
    basis : the site.
    frame : load, renewables and price, as for `site_problem`, by the start of the intervals.
    """
    open_end = replace(basis, terminal_price_eur_per_mwh=None)
    price = terminal_price(site_problem(open_end, frame.index[0], frame))
    return replace(basis, terminal_price_eur_per_mwh=price)


def terminal_price(problem: Problem) -> float:
    """Median over the intervals of the worth of a MWh at the bus without batteries [EUR/MWh]."""
    surplus = problem.renewables_kw > problem.load_kw
    floor = 0.0 if problem.curtailable else -np.inf
    earned = np.maximum(problem.export_price_eur_per_mwh, floor)
    return float(np.median(np.where(surplus, earned, problem.import_cost_eur_per_mwh)))


def with_terminal_value(problem: Problem, price_eur_per_mwh: float | None = None) -> Problem:
    """The problem in which energy left at the end has a value.

    Parameters
    ----------
    problem : what is to be scheduled.
    price_eur_per_mwh : price at the bus [EUR/MWh]; default the problem's `terminal_price`.

    Returns
    -------
    The problem. Each stored MWh is worth what it brings at this price after losses, less wear, if
    that is above 0.
    """
    price = terminal_price(problem) if price_eur_per_mwh is None else price_eur_per_mwh
    valued = (
        replace(
            b, terminal_value_eur_per_mwh=max(0.0, b.eta_discharge * (price - b.wear_eur_per_mwh))
        )
        for b in problem.batteries
    )
    return replace(problem, batteries=tuple(valued))


def without_battery(problem: Problem) -> Problem:
    """The same site without batteries, and without what is said of them."""
    inverters = tuple(replace(inverter, batteries=()) for inverter in problem.inverters)
    return replace(problem, batteries=(), inverters=inverters, previous=NO_PLAN_BEFORE)
