"""A span of the past as a backtest needs it: what really happened, and what was thought of it.

Reads the stored forecasts of role `backtest`, the actual values and when prices were published;
writes nothing. `vpp/planning/rolling_past.py` rolls over it.

    python optimization.py backtest --days 30

Powers are means over [time, time + step) [kW]; money is EUR, positive where it is paid.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.outlooks import Outlook, last_week, made_at, published_at, stored_outlooks
from vpp.planning.scenarios import Drawn, read_drawn
from vpp.planning.site_series import actual_frame, plan_step_min, site_sources
from vpp.planning.site_state import site_basis
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.schedule.basis import PlanBasis
from vpp.schedule.site import with_terminal_price
from vpp.site.times import from_local, local_days
from vpp.storage.connection import DataGapError
from vpp.storage.freshness import data_end


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
    step = step_min or plan_step_min(site_sources(conn, config), config)
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
