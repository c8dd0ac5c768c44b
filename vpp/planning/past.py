"""A rolling horizon over the past: plan, carry out the first step on actual values, go on from
where the batteries are.

`Rolling` solves windows of the same shape in one HiGHS that keeps its model: only costs, bounds and
right-hand sides change. `roll_past` reads the stored forecasts of role `backtest`, the actual
values and when prices were published, and stores what was carried out as a run of kind `backtest`.

    python optimization.py backtest --days 30

Powers are means over [time, time + step) [kW]; money is EUR, positive where it is paid.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd

from vpp.planning.runs import carried_out, run_key, run_row, schedule_frames
from vpp.planning.site_state import actual_frame, plan_step_min, site_basis, site_sources
from vpp.runtime.config import Config, ConfigError
from vpp.runtime.tables import shown
from vpp.schedule.basis import PlanBasis
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.dispatch import self_consumption
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.rolling import Rolling, roll
from vpp.schedule.site import (
    on_steps,
    site_frame,
    site_problem,
    with_terminal_price,
    with_terminal_value,
)
from vpp.schedule.solver import solve_model
from vpp.schedule.value import PERFECT, RULE, compare
from vpp.storage.connection import DataGapError, session
from vpp.storage.measurements import data_end, read_available_at
from vpp.storage.results import read_forecast_runs, read_forecasts, save_schedule, upsert_batteries

logger = logging.getLogger("schedule_backtest")

ROLLING = "rolling plan"
PERFECT_FORECASTS = f"{ROLLING}, perfect forecasts"
SPAN_TIME_LIMIT_S = 900.0


@dataclass(frozen=True, eq=False)
class Outlook:
    """What was thought from an issue time on: arrays over the intervals that begin there."""

    first: int
    load_kw: np.ndarray
    renewables_kw: np.ndarray
    price_eur_per_mwh: np.ndarray


def windows(
    basis: PlanBasis,
    frame: pd.DataFrame,
    made: np.ndarray,
    published: np.ndarray,
    outlooks: Sequence[Outlook],
    horizon: int,
    end_price: float | None = None,
) -> Callable[[int, Sequence[ScheduledBattery]], Problem]:
    """The problems seen from each interval on: the newest outlook, and the prices published, when
    the plan is made.

    Parameters
    ----------
    basis : the site's grid connection and tariff.
    frame : actual values of the span, as `site_frame` gives them.
    made : for each interval, the number of the one at whose start a plan from it on is made.
    published : number of the interval at whose start each price was known.
    outlooks : in the order of their issue times, the first not after the first plan is made.
    horizon : intervals of a window, as far as the outlook goes.
    end_price : what energy left at the end of the span counts in a window that ends there
    [EUR/MWh]; default as in other windows."""
    firsts = np.array([outlook.first for outlook in outlooks])
    prices = frame["price_eur_per_mwh"].to_numpy()

    def window(t: int, batteries: Sequence[ScheduledBattery]) -> Problem:
        outlook = outlooks[max(int(np.searchsorted(firsts, made[t], side="right")) - 1, 0)]
        seen = slice(t - outlook.first, t - outlook.first + horizon)
        load, renewables, price = (
            outlook.load_kw[seen],
            outlook.renewables_kw[seen],
            outlook.price_eur_per_mwh[seen].copy(),
        )
        known = published[t : t + len(price)] <= made[t]
        price[: len(known)] = np.where(known, prices[t : t + len(price)], price[: len(known)])
        start = frame.index[0] + pd.Timedelta(minutes=basis.step_min * t)
        seen_values = {"load_kw": load, "renewables_kw": renewables, "price_eur_per_mwh": price}
        price_left = end_price if t + len(load) == len(frame) else None
        now = replace(basis, batteries=tuple(batteries), terminal_price_eur_per_mwh=None)
        return with_terminal_value(site_problem(now, start, seen_values), price_left)

    return window


def outlook_of(frame: pd.DataFrame, first: int = 0) -> Outlook:
    """The columns of a `site_frame` as an outlook."""
    return Outlook(
        first,
        *(frame[name].to_numpy() for name in ("load_kw", "renewables_kw", "price_eur_per_mwh")),
    )


def stored_outlooks(
    conn, config: Config, index: pd.DatetimeIndex, step_min: int, since: pd.Timestamp
) -> list[Outlook]:
    """The stored forecasts of role backtest for the issue times that every source has, from the
    last at or before `since` on.
    """
    sources = site_sources(conn, config)
    runs = read_forecast_runs(conn, roles=("backtest",))
    issued = [
        set(runs.loc[runs["source_id"] == source.source_id, "issue_time"]) for source in sources
    ]
    issues = sorted(
        pd.Timestamp(issue).tz_convert("UTC")
        for issue in set.intersection(*issued)
        if issue < index[-1]
    )
    before = [issue for issue in issues if issue <= since]
    outlooks = []
    for issue in [*before[-1:], *(issue for issue in issues if issue > since)]:
        found = [
            (source, read_forecasts(conn, source.source_id, issue, ("backtest",))[1]["value"])
            for source in sources
        ]
        end = min(
            values.index[-1] + pd.Timedelta(minutes=source.step_min) for source, values in found
        )
        steps = pd.date_range(issue, end, freq=f"{step_min}min", inclusive="left", name="time")
        series = [
            (source.kind, on_steps(values, source.step_min, steps, step_min))
            for source, values in found
        ]
        frame = site_frame(series, steps)
        if frame.isna().any(axis=None):
            when = shown(issue)
            raise DataGapError(
                f"a forecast of role backtest for {when} has gaps; run python "
                "forecast_and_save.py --backfill-days"
            )
        outlooks.append(
            outlook_of(frame, round((issue - index[0]) / pd.Timedelta(minutes=step_min)))
        )
    return outlooks


def last_week(conn, config: Config, index: pd.DatetimeIndex, step_min: int) -> Outlook | None:
    """Last week's same local hour as an outlook; None where the data does not reach back."""
    zone = config.site.time_zone
    naive = index.tz_convert(zone).tz_localize(None) - pd.Timedelta(days=7)
    local = naive.tz_localize(
        zone, ambiguous=np.ones(len(index), bool), nonexistent="shift_forward"
    ).tz_convert("UTC")
    past = actual_frame(
        conn,
        site_sources(conn, config),
        pd.date_range(local[0], local[-1], freq=f"{step_min}min", name="time"),
        step_min,
    )
    frame = past.reindex(local).set_axis(index)
    return None if frame.isna().any(axis=None) else outlook_of(frame)


@dataclass(frozen=True, eq=False)
class Past:
    """A span of the past.

    What really happened, and what was thought of it by stored forecasts and by last week's values.
    """

    basis: PlanBasis
    starts: np.ndarray
    made: np.ndarray
    published: np.ndarray
    frame: pd.DataFrame
    outlooks: list[Outlook]
    naive: Outlook | None


def made_at(index: pd.DatetimeIndex, issue_local: str | None, zone: str) -> pd.DatetimeIndex:
    """When the plan from each interval on is made.

    At its start, or at a local time [HH:MM] of the local day before.
    """
    if issue_local is None:
        return index
    made = (
        index.tz_convert(zone).tz_localize(None).normalize()
        - pd.Timedelta(days=1)
        + pd.Timedelta(f"{issue_local}:00")
    )
    return made.tz_localize(
        zone, ambiguous=np.ones(len(made), bool), nonexistent="shift_forward"
    ).tz_convert("UTC")


def published_at(conn, config: Config, index: pd.DatetimeIndex, step_min: int) -> np.ndarray:
    """The number of the interval at whose start each interval's price was known, as stored with it.

    A longer interval's price is known once the last of its parts is; infinite where there is none.
    """
    [market] = [source for source in site_sources(conn, config) if source.kind == "market"]
    first = index[0].floor(f"{max(market.step_min, step_min)}min")
    end = index[-1] + pd.Timedelta(minutes=step_min)
    known = read_available_at(conn, market, first, end)
    steps = np.ceil((known - index[0]) / pd.Timedelta(minutes=step_min))
    if market.step_min < step_min:
        steps = steps.resample(f"{step_min}min").max()
    return on_steps(steps, market.step_min, index, step_min).fillna(np.inf).to_numpy()


def read_past(
    conn,
    config: Config,
    days: int,
    every_h: int,
    horizon_h: int,
    step_min: int | None = None,
    issue_local: str | None = None,
) -> Past:
    """The last days of the data, from the first stored forecast of role backtest on.

    Raises DataGapError where something is missing.
    """
    end, zone = data_end(conn), config.site.time_zone
    step = step_min or plan_step_min(site_sources(conn, config))
    if every_h * 60 % step:
        raise ConfigError(
            f"--step-min {step}: expected a divisor of {every_h * 60} min, the hours carried "
            "out of each plan"
        )
    index = pd.date_range(
        end - pd.Timedelta(days=days), end, freq=f"{step}min", inclusive="left", name="time"
    )
    if issue_local is not None:
        local = index.tz_convert(zone)
        index = index[np.argmax(local == local.normalize()) :]
    issued = made_at(index, issue_local, zone)
    outlooks = stored_outlooks(conn, config, index, step, issued[0])
    made = ((issued - index[0]) / pd.Timedelta(minutes=step)).to_numpy()
    newest = np.searchsorted([outlook.first for outlook in outlooks], made, side="right") - 1
    ends = np.array([0, *(outlook.first + len(outlook.load_kw) for outlook in outlooks)])
    covered = ends[newest + 1] > np.arange(len(index))
    skipped = int(np.argmax(newest >= 0))
    if not covered.any() or not covered[skipped:].all():
        raise DataGapError(
            f"the forecasts of role backtest do not cover {shown(index[0])} to {shown(end)} for "
            "every source;"
            f" run python forecast_and_save.py --backfill-days {days}"
        )
    index, made = index[skipped:], made[skipped:] - skipped
    frame = actual_frame(conn, site_sources(conn, config), index, step)
    gaps = int(frame.isna().any(axis=1).sum())
    if gaps:
        raise DataGapError(
            f"actual values are missing in {gaps} of {len(index)} intervals from "
            f"{shown(index[0])}; fewer --days?"
        )
    longer = pd.date_range(
        index[0], periods=len(index) + horizon_h * 60 // step, freq=f"{step}min", name="time"
    )
    config = replace(config, optimization=replace(config.optimization, horizon_h=horizon_h))
    return Past(
        basis=with_terminal_price(site_basis(conn, config, index[0], step), frame),
        starts=np.arange(0, len(index), every_h * 60 // step)
        if issue_local is None
        else np.flatnonzero(np.diff(made, prepend=-np.inf)),
        made=made,
        published=published_at(conn, config, index, step),
        frame=frame,
        outlooks=[replace(outlook, first=outlook.first - skipped) for outlook in outlooks],
        naive=last_week(conn, config, longer, step),
    )


def run_ways(
    config: Config, past: Past, actual: Problem
) -> tuple[dict[str, Schedule], dict[str, float]]:
    """What the batteries do under the rule, the rolling plans and perfect foresight, and the
    seconds that optimising took.
    """
    basis = past.basis
    horizon = basis.optimization.horizon_h * 60 // basis.step_min
    views = {
        ROLLING: past.outlooks,
        f"{ROLLING}, last week's values": [past.naive],
        # ends with the data: what comes after is not known, and last week's peak would be taken for
        # one that is to come
        PERFECT_FORECASTS: [outlook_of(past.frame)],
    }
    schedules, seconds = {RULE: self_consumption(actual)}, {}
    for name, view in views.items():
        if view[0] is None:
            continue
        rolling = Rolling(config.optimization.solver)
        end_price = basis.terminal_price_eur_per_mwh if name == PERFECT_FORECASTS else None
        window = windows(basis, past.frame, past.made, past.published, view, horizon, end_price)
        schedules[name] = roll(actual, window, past.starts, rolling)
        seconds[name] = rolling.seconds
        solved = rolling.reused + rolling.rebuilt
        logger.info(
            "%s: %d windows, %d of them built anew, %.1f s",
            name,
            solved,
            rolling.rebuilt,
            rolling.seconds,
        )
    started = time.perf_counter()
    # the whole span at once takes longer than a plan may, and a gap relative to its cost would be
    # large beside what is saved
    perfect = solve_model(
        replace(actual, time_limit_s=SPAN_TIME_LIMIT_S, gap=1e-9),
        config.optimization.solver,
        explain=False,
    )
    if perfect.status != "optimal":
        logger.warning(
            "perfect foresight is %s only, gap %s: captured shares are too high by up to that",
            perfect.status,
            perfect.certificate.gap,
        )
    schedules[PERFECT] = perfect.schedule
    seconds[PERFECT] = time.perf_counter() - started
    return schedules, seconds


def roll_past(
    config: Config,
    days: int,
    every_h: int = 1,
    horizon_h: int = 36,
    step_min: int | None = None,
    without_day: date | None = None,
    issue_local: str | None = None,
) -> list[dict]:
    """Roll over the last days of the data with stored, last week's and perfect forecasts; store
    what the stored ones did.

    A peak price is billed once for the whole span, as if it were one month: above the highest
    import since the local month began.

    Parameters
    ----------
    days : length of the span [d], back from the data end; it begins later where the stored
        forecasts do.
    every_h : hours carried out of each plan [h].
    horizon_h : hours planned ahead [h], as far as there are forecasts.
    step_min : step of the plans [min]; default the finest of the sources.
    without_day : a local day that a second captured share leaves out, such as one of extreme
        prices.
    issue_local : plan each local day as a whole at this local time [HH:MM] of the day before,
        instead of every `every_h`.

    Returns
    -------
    A row for each way to run the batteries: money [EUR], what it saves and captures, limits it
    bends, seconds of optimisation.

    Raises
    ------
    ConfigError : more hours carried out than planned, or a step that does not divide them.
    VppError : no stored forecasts of role `backtest`, gaps in the actual values, or a schedule that
    breaks physics."""
    if every_h > horizon_h:
        raise ConfigError(
            f"--every-h {every_h}: expected at most the hours planned ahead, --horizon-h "
            f"{horizon_h}"
        )
    with session(config) as conn:
        past = read_past(conn, config, days, every_h, horizon_h, step_min, issue_local)
    actual, index = site_problem(past.basis, past.frame.index[0], past.frame), past.frame.index
    months = index.tz_convert(config.site.time_zone).strftime("%Y-%m").unique()
    if config.grid.peak_price_eur_per_kw and len(months) > 1:
        logger.warning(
            "one peak is billed for the whole span, not one for each month from %s to %s",
            months[0],
            months[-1],
        )
    schedules, seconds = run_ways(config, past, actual)
    counted = (
        None if without_day is None else index.tz_convert(config.site.time_zone).date != without_day
    )
    rows = compare(actual, schedules, counted)  # which refuses a schedule that breaks physics
    _store(config, past, actual, schedules[ROLLING], seconds[ROLLING])
    seconds = {name.replace("_", " "): spent for name, spent in seconds.items()}
    return [row | {"seconds": seconds.get(row["way"])} for row in rows]


def _store(config: Config, past: Past, actual: Problem, schedule: Schedule, seconds: float) -> None:
    """Store what was carried out as a run of kind backtest."""
    result = carried_out(actual, schedule, seconds)
    row = run_row(run_key(config, "backtest", past.frame.index[0]), past.basis, actual, result)
    with session(config) as conn:
        upsert_batteries(conn, config.batteries)
        save_schedule(conn, row, *schedule_frames(actual, result, past.frame))
