"""A rolling horizon over the past: plan, carry out the first steps on actual values, go on from
where the batteries are.

`roll_past` reads the stored forecasts of role `backtest`, the actual values and when prices were
published, and stores what was carried out as a run of kind `backtest`.

    python optimization.py backtest --days 30

Powers are means over [time, time + step) [kW]; money is EUR, positive where it is paid.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.outlooks import (
    Outlook,
    last_week,
    made_at,
    outlook_of,
    published_at,
    stored_outlooks,
    windows,
)
from vpp.planning.runs import carried_out, run_key, run_row, schedule_frames
from vpp.planning.scenarios import Drawn, brought, read_drawn
from vpp.planning.site_series import actual_frame, plan_step_min, site_sources
from vpp.planning.site_state import site_basis
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.schedule.basis import PlanBasis
from vpp.schedule.dispatch import self_consumption
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.site import site_problem, with_terminal_price
from vpp.schedule.value import PERFECT, RULE, compare
from vpp.site.times import from_local, local_days
from vpp.storage.connection import DataGapError, session
from vpp.storage.freshness import data_end
from vpp.storage.results import save_schedule, upsert_batteries

logger = logging.getLogger("optimization")

ROLLING = "rolling plan"
SCENARIOS = " scenarios"
LAST_WEEK = f"{ROLLING}, last week's values"
PERFECT_FORECASTS = f"{ROLLING}, perfect forecasts"
SPAN_TIME_LIMIT_S = 900.0  # of perfect foresight, which plans the whole span at once


@dataclass(frozen=True, eq=False)
class Past:
    """A span of the past: what really happened, and what was thought of it.

    Parameters
    ----------
    basis : the site's batteries at the start, its grid connection and tariff.
    starts : numbers of the intervals from which a new plan is carried out.
    made : for each interval, the number of the one at whose start a plan from it on is made.
    published : number of the interval at whose start each price was known.
    frame : actual values, as `site_frame` gives them.
    outlooks : stored forecasts.
    naive : last week's values; None where the data does not reach back.
    drawn : draws scenarios; None where none are wanted.
    """

    basis: PlanBasis
    starts: np.ndarray
    made: np.ndarray
    published: np.ndarray
    frame: pd.DataFrame
    outlooks: list[Outlook]
    naive: Outlook | None
    drawn: Drawn | None = None

    @property
    def index(self) -> pd.DatetimeIndex:
        """Starts of the intervals [UTC]."""
        return pd.DatetimeIndex(self.frame.index)


def read_past(
    conn: connection,
    config: Config,
    days: int,
    every_h: int,
    horizon_h: int,
    step_min: int | None = None,
    issue_local: str | None = None,
    scenarios: int = 0,
) -> Past:
    """The last days of the data, from the first stored forecast of role `backtest` on.

    Parameters
    ----------
    conn : connection to the database.
    config : the site, its batteries, its grid and its tariff.
    days : length of the span [d], back from the data end.
    every_h : hours carried out of each plan [h].
    horizon_h : hours planned ahead [h].
    step_min : step of the plans [min]; default the finest of the sources.
    issue_local : local time [HH:MM] at which the next local day is planned as a whole.
    scenarios : how many are drawn for each plan.

    Raises
    ------
    ConfigError : the step does not divide the hours carried out.
    DataGapError : forecasts or actual values are missing.
    """
    end = data_end(conn, config.forecast.stale_after_h)
    step = step_min or plan_step_min(site_sources(conn, config))
    _check_step(step, every_h)
    index = _span(end, days, step, config.site.time_zone if issue_local else None)
    issued = made_at(index, issue_local, config.site.time_zone)
    outlooks = stored_outlooks(conn, config, index, step, issued[0])
    made = np.asarray((issued - index[0]) / pd.Timedelta(minutes=step))
    skipped = _not_covered(outlooks, made, index, step, days)
    index, made = index[skipped:], made[skipped:] - skipped
    starts = np.arange(0, len(index), every_h * 60 // step)
    if issue_local is not None:
        starts = np.flatnonzero(np.diff(made, prepend=-np.inf))
    frame = _known_frame(conn, config, index, step)
    longer = pd.date_range(
        index[0], periods=len(index) + horizon_h * 60 // step, freq=f"{step}min", name="time"
    )
    config = replace(config, optimization=replace(config.optimization, horizon_h=horizon_h))
    outlooks = [replace(outlook, first=outlook.first - skipped) for outlook in outlooks]
    drawn = None
    if scenarios:
        often = (scenarios, len(starts) == len(index))
        drawn = read_drawn(conn, config, frame, outlooks, issued[0], step, *often)
    return Past(
        basis=with_terminal_price(site_basis(conn, config, index[0], step), frame),
        starts=starts,
        made=made,
        published=published_at(conn, config, index, step),
        frame=frame,
        outlooks=outlooks,
        naive=last_week(conn, config, longer, step),
        drawn=drawn,
    )


def _check_step(step_min: int, every_h: int) -> None:
    if every_h * 60 % step_min:
        raise ConfigError(
            f"--step-min {step_min}: expected a divisor of {every_h * 60} min, the hours carried"
            " out of each plan"
        )


def _span(end: pd.Timestamp, days: int, step_min: int, zone: str | None) -> pd.DatetimeIndex:
    """The intervals of the days before the end; with a zone from the first local midnight on."""
    start = end - pd.Timedelta(days=days)
    index = pd.date_range(start, end, freq=f"{step_min}min", inclusive="left", name="time")
    if zone is None:
        return index
    midnights = from_local(local_days(index, zone), zone)
    return index[np.argmax(index == midnights) :]


def _not_covered(
    outlooks: Sequence[Outlook], made: np.ndarray, index: pd.DatetimeIndex, step_min: int, days: int
) -> int:
    """How many intervals there are before the first plan that has an outlook.

    All later ones must be covered by the newest outlook of their plan.
    """
    newest = np.searchsorted([outlook.first for outlook in outlooks], made, side="right") - 1
    ends = np.array([0, *(outlook.first + len(outlook.load_kw) for outlook in outlooks)])
    covered = ends[newest + 1] > np.arange(len(index))
    skipped = int(np.argmax(newest >= 0))
    if not covered.any() or not covered[skipped:].all():
        end = index[-1] + pd.Timedelta(minutes=step_min)
        raise DataGapError(
            f"the forecasts of role backtest do not cover {shown(index[0])} to {shown(end)} for"
            f" every source; run python forecast_and_save.py --backfill-days {days}"
        )
    return skipped


def _known_frame(
    conn: connection, config: Config, index: pd.DatetimeIndex, step_min: int
) -> pd.DataFrame:
    """The actual values, which must all be there."""
    frame = actual_frame(conn, site_sources(conn, config), index, step_min)
    gaps = int(frame.isna().any(axis=1).sum())
    if gaps:
        raise DataGapError(
            f"actual values are missing in {gaps} of {len(index)} intervals from"
            f" {shown(index[0])}; fewer --days?"
        )
    return frame


def over_scenarios(count: int) -> str:
    """Name of the way whose plans know so many scenarios."""
    return f"{ROLLING}, {count}{SCENARIOS}"


def run_ways(
    config: Config, past: Past, actual: Problem
) -> tuple[dict[str, Schedule], dict[str, float]]:
    """Carry out the rule, the rolling plans and perfect foresight.

    Parameters
    ----------
    config : names the solver.
    past : the span.
    actual : the span's problem at actual values.

    Returns
    -------
    The schedule of each way, and the time that its optimisation took [s].
    """
    views = {ROLLING: past.outlooks}
    if past.drawn is not None:
        views[over_scenarios(past.drawn.count)] = past.outlooks
    if past.naive is not None:
        views[LAST_WEEK] = [past.naive]
    # It ends with the data: what comes after is not known, and last week's peak would be taken
    # for one that is to come.
    views[PERFECT_FORECASTS] = [outlook_of(past.frame)]
    schedules, seconds = {RULE: self_consumption(actual)}, {}
    for name, view in views.items():
        schedules[name], seconds[name] = _rolled(config, past, actual, name, view)
    schedules[PERFECT], seconds[PERFECT] = _foreseen(config, actual)
    return schedules, seconds


def _rolled(
    config: Config, past: Past, actual: Problem, name: str, view: Sequence[Outlook]
) -> tuple[Schedule, float]:
    """The schedule that the plans of these outlooks lead to, and their time [s]."""
    from vpp.schedule.rolling import Rolling, roll

    basis, rolling = past.basis, Rolling(config.optimization.solver, calm=True)
    horizon = basis.optimization.horizon_h * 60 // basis.step_min
    # all are judged at the end of the span by this price, so all plans know it
    end_price = basis.terminal_price_eur_per_mwh
    seen = (basis, past.frame, past.made, past.published, view, horizon, end_price)
    window = windows(*seen, past.drawn if name.endswith(SCENARIOS) else None)
    schedule = roll(actual, window, past.starts, rolling, basis.follow)
    logger.info(
        "%s: %d windows, %d of them built anew, %.1f s",
        *(name, rolling.reused + rolling.rebuilt, rolling.rebuilt, rolling.seconds),
    )
    return schedule, rolling.seconds


def _foreseen(config: Config, actual: Problem) -> tuple[Schedule, float]:
    """The schedule of perfect foresight, and its time [s]."""
    from vpp.schedule.solver import solve_model

    started = time.perf_counter()
    # The whole span at once takes longer than a plan may, and a gap relative to its cost would be
    # large beside what is saved.
    whole = replace(actual, time_limit_s=SPAN_TIME_LIMIT_S, gap=1e-9)
    perfect = solve_model(whole, config.optimization.solver, explain=False)
    if perfect.status != "optimal":
        logger.warning(
            "perfect foresight is %s only, gap %s: captured shares are too high by up to that",
            *(perfect.status, perfect.certificate.gap),
        )
    return perfect.schedule, time.perf_counter() - started


def roll_past(
    config: Config,
    days: int,
    every_h: int = 1,
    horizon_h: int = 36,
    step_min: int | None = None,
    without_day: date | None = None,
    issue_local: str | None = None,
    scenarios: int = 0,
) -> list[dict]:
    """Roll over the last days of the data with stored, last week's and perfect forecasts.

    The schedule that the stored ones lead to is stored. A peak price is billed once for the whole
    span, as if it were one month: above the highest import since the local month began.

    Parameters
    ----------
    config : the site, its batteries, its grid and its tariff.
    days : length of the span [d], back from the data end, or as far as stored forecasts reach.
    every_h : hours carried out of each plan [h].
    horizon_h : hours planned ahead [h], as far as there are forecasts.
    step_min : step of the plans [min]; default the finest of the sources.
    without_day : a local day that a second captured share leaves out.
    issue_local : local time [HH:MM] of the day before, at which each local day is planned as a
        whole, instead of every `every_h`.
    scenarios : plan over so many scenarios, too, and say what they bring beside the plain plan.

    Returns
    -------
    A row for each way to run the batteries: money [EUR], what it saves and captures, limits it
    bends, seconds of optimisation; with scenarios `brought` of `vpp.planning.scenarios`.

    Raises
    ------
    ConfigError : more hours carried out than planned, or a step that does not divide them.
    VppError : no stored forecasts of role `backtest`, gaps, or a schedule that breaks physics.
    """
    if every_h > horizon_h:
        raise ConfigError(
            f"--every-h {every_h}: expected at most the hours planned ahead, --horizon-h"
            f" {horizon_h}"
        )
    with session(config) as conn:
        past = read_past(conn, config, days, every_h, horizon_h, step_min, issue_local, scenarios)
    actual, local = _billed(config, past)
    schedules, seconds = run_ways(config, past, actual)
    counted = None if without_day is None else np.asarray(local.date != without_day)
    rows = compare(actual, schedules, counted)  # which refuses a schedule that breaks physics
    _store(config, past, actual, schedules[ROLLING], seconds[ROLLING])
    seconds = {name.replace("_", " "): spent for name, spent in seconds.items()}
    rows = [row | {"seconds": seconds.get(row["way"])} for row in rows]
    if past.drawn is None:
        return rows
    name = over_scenarios(past.drawn.count)
    more = brought(actual, schedules[ROLLING], schedules[name])
    return [row | (more if row["way"] == name else dict.fromkeys(more)) for row in rows]


def _billed(config: Config, past: Past) -> tuple[Problem, pd.DatetimeIndex]:
    """The problem at actual values and its local times; warns of a peak over several months."""
    local = past.index.tz_convert(config.site.time_zone)
    months = local.strftime("%Y-%m").unique()
    if config.grid.peak_price_eur_per_kw and len(months) > 1:
        logger.warning(
            "one peak is billed for the whole span, not one for each month from %s to %s",
            *(months[0], months[-1]),
        )
    return site_problem(past.basis, past.index[0], past.frame), local


def _store(config: Config, past: Past, actual: Problem, schedule: Schedule, seconds: float) -> None:
    """Store what was carried out as a run of kind backtest."""
    result = carried_out(actual, schedule, seconds)
    row = run_row(run_key(config, "backtest", past.index[0]), past.basis, actual, result)
    with session(config) as conn:
        upsert_batteries(conn, config.batteries)
        save_schedule(conn, row, *schedule_frames(actual, result, past.frame))
