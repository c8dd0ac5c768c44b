"""The site as a scheduling problem.

Its load, renewables and price on one step, its batteries, its grid connection and tariff.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from vpp.schedule.basis import PlanBasis, with_fees
from vpp.schedule.devices import GridConnection
from vpp.schedule.problem import Problem

PLANTS = ("solar", "wind")


def on_steps(
    series: pd.Series, source_step_min: int, index: pd.DatetimeIndex, step_min: int
) -> pd.Series:
    """A mean power or price of a source on the steps of a plan.

    Repeated inside longer intervals, averaged over shorter ones.
    """
    if source_step_min <= step_min:
        return series.resample(f"{step_min}min").mean().reindex(index)
    return series.reindex(index.floor(f"{source_step_min}min")).set_axis(index)


def site_frame(series: Sequence[tuple[str, pd.Series]], index: pd.DatetimeIndex) -> pd.DataFrame:
    """Load, renewables and price of the whole site from the series of its sources `(kind, series)`.

    Returns
    -------
    Columns `load_kw`, `renewables_kw` [kW] and `price_eur_per_mwh`; NaN where a source has no
    value."""
    frame = pd.DataFrame(
        {"load_kw": 0.0, "renewables_kw": 0.0, "price_eur_per_mwh": np.nan}, index=index
    )
    for kind, values in series:
        if kind == "market":
            frame["price_eur_per_mwh"] = values
        elif kind in PLANTS:
            # what a plant draws at night cannot be curtailed: it is load
            frame["renewables_kw"] += values.clip(lower=0.0)
            frame["load_kw"] -= values.clip(upper=0.0)
        else:
            frame["load_kw"] += values
    return frame


def site_problem(
    basis: PlanBasis, start: pd.Timestamp, values: Mapping[str, np.ndarray] | pd.DataFrame
) -> Problem:
    """The scheduling problem of a site.

    Parameters
    ----------
    basis : the site's batteries, grid connection and tariff.
    start : start of the first interval (UTC).
    values : the columns of a `site_frame`; prices are without fees.

    Returns
    -------
    Problem : energy left at the end counts at the basis's terminal price; without one, nothing.
    """
    grid, optimization = basis.grid, basis.optimization
    names = ("load_kw", "renewables_kw", "price_eur_per_mwh")
    load, renewables, price = (np.asarray(values[name], dtype=float) for name in names)
    import_price, export_price = with_fees(price, grid)
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
        ),
        time_limit_s=optimization.time_limit_s,
        gap=optimization.gap,
    )
    price_left = basis.terminal_price_eur_per_mwh
    return problem if price_left is None else with_terminal_value(problem, price_left)


def with_terminal_price(basis: PlanBasis, frame: pd.DataFrame) -> PlanBasis:
    """The basis with the `terminal_price` that the values of a `site_frame` give."""
    open_end = replace(basis, terminal_price_eur_per_mwh=None)
    price = terminal_price(site_problem(open_end, frame.index[0], frame))
    return replace(basis, terminal_price_eur_per_mwh=price)


def terminal_price(problem: Problem) -> float:
    """Median over the intervals of what a MWh more or less at the bus is worth without batteries
    [EUR/MWh].
    """
    surplus = problem.renewables_kw > problem.load_kw
    floor = 0.0 if problem.curtailable else -np.inf
    return float(
        np.median(
            np.where(
                surplus,
                np.maximum(problem.export_price_eur_per_mwh, floor),
                problem.import_cost_eur_per_mwh,
            )
        )
    )


def with_terminal_value(problem: Problem, price_eur_per_mwh: float | None = None) -> Problem:
    """The problem in which each stored MWh left at the end is worth what it brings at this price,
    less wear, if that is above 0.
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
    """The same site without batteries; limits bend at the same penalties."""
    return replace(problem, batteries=(), penalties_as=problem.penalties)
