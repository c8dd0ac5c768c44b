"""How a span of the past looked before it came: forecasts, last week's values, known prices.

`windows` makes of it the problem that was seen from each interval on. Reads sources, measurements
and forecasts of role `backtest`; writes nothing.

    python optimization.py backtest --days 30

Powers are means over [time, time + step) [kW], prices EUR/MWh, times UTC.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.site_series import actual_frame, on_steps, site_sources
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.schedule.basis import PlanBasis
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.problem import Problem
from vpp.schedule.site import site_problem, with_terminal_value
from vpp.site.times import day_before, local_days, local_lag
from vpp.storage.connection import DataGapError
from vpp.storage.issued import read_issued
from vpp.storage.measurements import read_available_at

Window = Callable[[int, Sequence[ScheduledBattery]], Problem]


@dataclass(frozen=True, eq=False)
class Outlook:
    """Values that were expected in the intervals from an issue time on.

    Parameters
    ----------
    first : number of the interval that begins at the issue time.
    load_kw, renewables_kw : powers [kW], one an interval from `first` on.
    price_eur_per_mwh : market prices [EUR/MWh], likewise.
    """

    first: int
    load_kw: np.ndarray
    renewables_kw: np.ndarray
    price_eur_per_mwh: np.ndarray


def outlook_of(frame: pd.DataFrame, first: int = 0) -> Outlook:
    """A `site_frame` as an outlook.

    Parameters
    ----------
    frame : load, renewables [kW] and price [EUR/MWh].
    first : number of the interval that it begins with.
    """
    names = ("load_kw", "renewables_kw", "price_eur_per_mwh")
    return Outlook(first, *(frame[name].to_numpy() for name in names))


def windows(
    basis: PlanBasis,
    frame: pd.DataFrame,
    made: np.ndarray,
    published: np.ndarray,
    outlooks: Sequence[Outlook],
    horizon: int,
    end_price: float | None = None,
    drawn: Callable[..., Problem] | None = None,
) -> Window:
    """The problems seen from each interval on.

    Each has the newest outlook, and the prices published, when the plan is made.

    Parameters
    ----------
    basis : the site's grid connection and tariff.
    frame : actual values of the span, as `site_frame` gives them.
    made : for each interval, the number of the one at whose start a plan from it on is made.
    published : number of the interval at whose start each price was known.
    outlooks : in the order of their issue times, the first not after the first plan is made.
    horizon : intervals of a window, as far as the outlook goes.
    end_price : what energy left at the end of the span counts [EUR/MWh]: no window then looks
        beyond it; default as in other windows.
    drawn : puts scenarios into a problem, as `vpp.planning.scenarios.Drawn` does.

    Returns
    -------
    The function that gives the problem for the number of an interval and the batteries at its
    start.
    """
    firsts = np.array([outlook.first for outlook in outlooks])
    prices, begin = frame["price_eur_per_mwh"].to_numpy(), frame.index[0]

    def window(t: int, batteries: Sequence[ScheduledBattery]) -> Problem:
        newest = max(int(np.searchsorted(firsts, made[t], side="right")) - 1, 0)
        outlook = outlooks[newest]
        reach = horizon if end_price is None else min(horizon, len(frame) - t)
        seen = slice(t - outlook.first, t - outlook.first + reach)
        price = outlook.price_eur_per_mwh[seen].copy()
        known = published[t : t + len(price)] <= made[t]
        price[: len(known)] = np.where(known, prices[t : t + len(price)], price[: len(known)])
        start = begin + pd.Timedelta(minutes=basis.step_min * t)
        seen_values = {
            "load_kw": outlook.load_kw[seen],
            "renewables_kw": outlook.renewables_kw[seen],
            "price_eur_per_mwh": price,
        }
        price_left = end_price if t + len(price) == len(frame) else None
        now = replace(basis, batteries=tuple(batteries), terminal_price_eur_per_mwh=None)
        problem = with_terminal_value(site_problem(now, start, seen_values), price_left)
        if drawn is None:
            return problem
        given = np.full(len(price), np.nan)
        given[: len(known)] = np.where(known, price[: len(known)], np.nan)
        return drawn(problem, now, newest, seen, made[t], given)

    return window


def stored_outlooks(
    conn: connection,
    config: Config,
    index: pd.DatetimeIndex,
    step_min: int,
    since: pd.Timestamp,
    quantile: str | None = None,
) -> list[Outlook]:
    """The stored forecasts of role `backtest`.

    Parameters
    ----------
    conn : connection to the database.
    config : names the price area.
    index : starts of the intervals of the span [UTC].
    step_min : their length [min].
    since : time [UTC]; the first outlook is the last that was issued by then.
    quantile : column that is read in place of the value, such as `q05`.

    Returns
    -------
    An outlook for each issue time that every source has, in their order.

    Raises
    ------
    DataGapError : a forecast has gaps.
    """
    sources = site_sources(conn, config)
    issued = read_issued(conn, sources, "backtest", since, index[-1], step_min, quantile)
    if issued.empty:
        return []
    issues, values, covered = _added_up(issued, len(sources), step_min)
    firsts = np.round((issues - index[0]) / pd.Timedelta(minutes=step_min)).astype(int)
    return [
        Outlook(first, *row[:, :count])
        for first, row, count in zip(firsts.tolist(), values, covered.tolist(), strict=True)
    ]


def _added_up(
    issued: pd.DataFrame, sources: int, step_min: int
) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray]:
    """Values issued (issue time, quantity, interval), and how many intervals all sources cover.

    A longer interval's value holds in each of its parts.
    """
    codes, issues = pd.factorize(issued["issue_time"], sort=True)
    step = pd.Timedelta(minutes=step_min)
    places = ((issued["valid_time"] - issued["issue_time"]) / step).to_numpy()
    parts = np.maximum(issued["step_min"].to_numpy() // step_min, 1)
    rows = np.repeat(np.arange(len(issued)), parts)
    places = places[rows] + np.arange(len(rows)) - np.repeat(np.cumsum(parts) - parts, parts)
    kept = (places >= 0) & (places == np.floor(places))
    rows, places = rows[kept], places[kept].astype(int)
    shape = len(issues), int(places.max(initial=0)) + 1
    cells, size = codes[rows] * shape[1] + places, shape[0] * shape[1]
    columns = issued[["sources", "load_kw", "renewables_kw", "price"]].to_numpy(float)[rows]
    sums = (np.bincount(cells, column, size).reshape(shape) for column in columns.T)
    count, *values = sums
    whole = count == sources
    covered = np.where(whole.all(axis=1), shape[1], np.argmin(whole, axis=1))
    gaps = (covered == 0) | (whole.sum(axis=1) > covered)
    if gaps.any():
        raise DataGapError(
            f"a forecast of role backtest for {shown(issues[np.argmax(gaps)])} has gaps; run python"
            " forecast_and_save.py --backfill-days"
        )
    return pd.DatetimeIndex(issues), np.stack(values, axis=1), covered


def last_week(
    conn: connection, config: Config, index: pd.DatetimeIndex, step_min: int
) -> Outlook | None:
    """Last week's same local hour as an outlook.

    Parameters
    ----------
    conn : connection to the database.
    config : names the price area and the time zone.
    index : starts of the intervals [UTC].
    step_min : their length [min].

    Returns
    -------
    The outlook; None where the data does not reach back.
    """
    before = local_lag(index, 7, config.site.time_zone)
    steps = pd.date_range(before.min(), before.max(), freq=f"{step_min}min", name="time")
    past = actual_frame(conn, site_sources(conn, config), steps, step_min)
    frame = past.reindex(before).set_axis(index)
    return None if frame.isna().any(axis=None) else outlook_of(frame)


def made_at(index: pd.DatetimeIndex, issue_local: str | None, zone: str) -> pd.DatetimeIndex:
    """When the plan from each interval on is made.

    Parameters
    ----------
    index : starts of the intervals [UTC].
    issue_local : local time [HH:MM] of the local day before; None: at the start of the interval.
    zone : IANA name of the time zone.

    Returns
    -------
    A time for each interval [UTC].
    """
    if issue_local is None:
        return index
    return day_before(local_days(index, zone), issue_local, zone)


def published_at(
    conn: connection, config: Config, index: pd.DatetimeIndex, step_min: int
) -> np.ndarray:
    """When each price was known, as stored with it.

    Parameters
    ----------
    conn : connection to the database.
    config : names the price area.
    index : starts of the intervals [UTC].
    step_min : their length [min].

    Returns
    -------
    For each interval, the number of the one at whose start its price was known: a longer
    interval's once the last of its parts is; infinite where there is no price. A tariff without a
    market price is known for ever.
    """
    markets = [source for source in site_sources(conn, config) if source.kind == "market"]
    if not markets:
        return np.full(len(index), -np.inf)
    [market] = markets
    first = index[0].floor(f"{max(market.step_min, step_min)}min")
    end = index[-1] + pd.Timedelta(minutes=step_min)
    known = read_available_at(conn, market, first, end)
    steps = pd.Series(np.ceil((known - index[0]) / pd.Timedelta(minutes=step_min)))
    if market.step_min < step_min:
        steps = steps.resample(f"{step_min}min").max()
    return on_steps(steps, market.step_min, index, step_min).fillna(np.inf).to_numpy()
