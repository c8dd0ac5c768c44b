"""The ways to run the batteries of a site over a span of the past, and what each would have cost.

    python optimization.py backtest --days 30

A plan is made from what was known, and its first steps are carried out on actual values. The next
starts where the batteries are then. Powers are means over [time, time + step) [kW]; money is EUR,
positive where it is paid.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd

from vpp.planning.outlooks import Outlook, outlook_of, windows
from vpp.planning.past import Past, read_past
from vpp.planning.runs import carried_out, run_key, run_row, schedule_frames
from vpp.planning.scenarios import brought
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.schedule.dispatch import self_consumption
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.site import site_problem
from vpp.schedule.value import PERFECT, RULE, compare
from vpp.storage.connection import session
from vpp.storage.results import save_schedule, upsert_batteries

logger = logging.getLogger("optimization")

ROLLING = "rolling plan"
SCENARIOS = " scenarios"
LAST_WEEK = f"{ROLLING}, last week's values"
PERFECT_FORECASTS = f"{ROLLING}, perfect forecasts"
SPAN_TIME_LIMIT_S = 900.0  # of perfect foresight, which plans the whole span at once


def over_scenarios(count: int) -> str:
    """Name of the way whose plans know so many scenarios."""
    return f"{ROLLING}, {count}{SCENARIOS}"


def ways_of(past: Past) -> list[str]:
    """The names of the ways whose plans are made, which take the time of a backtest.

    Parameters
    ----------
    past : the span.
    """
    drawn = [] if past.drawn is None else [over_scenarios(past.drawn.count)]
    naive = [] if past.naive is None else [LAST_WEEK]
    return [ROLLING, *drawn, *naive, PERFECT_FORECASTS, PERFECT]


def run_ways(
    config: Config, past: Past, actual: Problem, step: Callable[[], None] = lambda: None
) -> tuple[dict[str, Schedule], dict[str, float]]:
    """Carry out the rule, the rolling plans and perfect foresight.

    Parameters
    ----------
    config : names the solver.
    past : the span.
    actual : the span's problem at actual values.
    step : is called when one of `ways_of` is done.

    Returns
    -------
    The schedule of each way, and the time that its optimisation took [s].
    """
    # Perfect forecasts end with the data: what comes after is not known, and last week's peak would
    # be taken for one that is to come.
    views = {PERFECT_FORECASTS: [outlook_of(past.frame)]}
    if past.naive is not None:
        views[LAST_WEEK] = [past.naive]
    schedules, seconds = {RULE: self_consumption(actual)}, {}
    for name in ways_of(past):
        if name == PERFECT:
            made = _foreseen(config, actual)
        else:
            made = _rolled(config, past, actual, name, views.get(name, past.outlooks))
        schedules[name], seconds[name] = made
        step()
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
    check_reach(every_h, horizon_h)
    with session(config) as conn:
        past = read_past(conn, config, days, every_h, horizon_h, step_min, issue_local, scenarios)
    return rolled(config, past, without_day)


def check_reach(every_h: int, horizon_h: int) -> None:
    """Refuse to carry out more hours than are planned.

    Parameters
    ----------
    every_h, horizon_h : as of `roll_past`.

    Raises
    ------
    ConfigError : they are more.
    """
    if every_h > horizon_h:
        raise ConfigError(
            f"--every-h {every_h}: expected at most the hours planned ahead, --horizon-h"
            f" {horizon_h}"
        )


def rolled(
    config: Config,
    past: Past,
    without_day: date | None = None,
    step: Callable[[], None] = lambda: None,
) -> list[dict]:
    """The rows of a past that has been read; the schedule of the stored forecasts is stored.

    Parameters
    ----------
    config : of the site.
    past : its span.
    without_day : as of `roll_past`.
    step : as of `run_ways`.

    Returns
    -------
    As of `roll_past`.
    """
    actual, local = _billed(config, past)
    schedules, seconds = run_ways(config, past, actual, step)
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


def key_of(config: Config, past: Past) -> dict:
    """The first columns of the run that a past is stored as.

    Parameters
    ----------
    config : of the site.
    past : its span.
    """
    return run_key(config, "backtest", past.index[0])


def _store(config: Config, past: Past, actual: Problem, schedule: Schedule, seconds: float) -> None:
    """Store what was carried out as a run of kind backtest."""
    result = carried_out(actual, schedule, seconds)
    row = run_row(key_of(config, past), past.basis, actual, result)
    with session(config) as conn:
        upsert_batteries(conn, config.batteries)
        save_schedule(conn, row, *schedule_frames(actual, result, past.frame))
