"""Which sources are current, and the data end: the default now of training, forecasts and plans.

A solar, wind or load source is current while its newest interval ends at most `stale_after_h`
before the newest of all of them. The data end is the end of the newest interval that every current
one has. So a source that falls silent neither rewinds nor stops the others. A market is current in
the same way, but does not move the data end: its prices mostly run ahead.

    python -c "from vpp.storage import freshness; print(freshness.read_freshness.__doc__)"

All times are UTC.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd
from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config, Forecast
from vpp.runtime.tables import shown
from vpp.site.kinds import KINDS, SERIES_KINDS
from vpp.site.quantities import is_regressor_of
from vpp.site.sources import Source
from vpp.storage.connection import DataGapError, session
from vpp.storage.measurements import read_sources
from vpp.storage.rows import Moment, select_rows

STALE_AFTER_H = Forecast.stale_after_h


class NotCurrentError(VppError):
    """Sources are not current: stand-ins forecast them, or they are left out; all else is done."""


@dataclass(frozen=True)
class Freshness:
    """The data end, and the sources that are not current.

    Parameters
    ----------
    data_end : end of the newest interval that every current plant and load has [UTC]; None where
        nothing is measured.
    behind : source_id -> why it is not current.
    empty : those of them that have no measurement at all.
    by_clock : those of them that are behind the clock, and not behind their siblings.
    """

    data_end: pd.Timestamp | None
    behind: Mapping[str, str] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()
    by_clock: frozenset[str] = frozenset()


def read_freshness(
    conn: connection,
    stale_after_h: float = STALE_AFTER_H,
    at: Moment | None = None,
    clock: Moment | None = None,
) -> Freshness:
    """Tell which sources are current.

    A source that says that its values come late (`delay_min`) may be behind by that, too, and does
    not hold up the data end.

    A value of the future is no measurement: where a source has values that end after the server's
    clock, and another has none, those do not count. So one wrong clock does not make all others
    stale.

    Parameters
    ----------
    conn : the connection.
    stale_after_h : how far a source may be behind the newest of its siblings [h].
    at : as of this time, with a zone; intervals that end later do not count. None for now.
    clock : of a plant in operation, with a zone: a source may be behind it no further, either.
        Where none is current the data end is that of the newest.
    """
    sources = [source for source in read_sources(conn) if source.kind in SERIES_KINDS]
    newest = newest_ends(conn, at)
    if at is None:
        server = pd.Timestamp(select_rows(conn, "SELECT now() AS clock")[0]["clock"])
        ends = _powers(newest, sources)
        if any(end > server for end in ends) and any(end <= server for end in ends):
            newest = newest_ends(conn, server)
    ends = _powers(newest, sources)
    if not ends:
        return Freshness(None)
    behind, by_clock, current = {}, set(), []
    for source in sources:
        end = newest.get(source.source_id)
        delay = pd.Timedelta(minutes=source.parameters.get("delay_min", 0))
        most = pd.Timedelta(hours=stale_after_h) + delay
        if end is None or end < max(ends) - most:
            behind[source.source_id] = _why(source.source_id, end, max(ends))
            continue
        if clock is not None and end < pd.Timestamp(clock) - most:
            behind[source.source_id] = _why(source.source_id, end, pd.Timestamp(clock), "the clock")
            by_clock.add(source.source_id)
        if source.kind != "market":
            current.append(min(end + delay, max(ends)))
    step_min = max(source.step_min for source in sources)
    end = min(current).floor(f"{step_min}min")
    empty = frozenset(behind) - frozenset(newest)
    return Freshness(end, behind, empty, frozenset(by_clock))


def stale_feeds(
    conn: connection, stale_after_h: float, now: Moment, site_id: str | None = None
) -> dict[str, str]:
    """The sources of forecasts, of weather and of others, whose newest one is too old, and why; one
    that never had one is not among them. Its age counts from when it was at hand, by `delay_min`.

    Parameters
    ----------
    conn : the connection.
    stale_after_h : the most that it may be old [h].
    now : the time of the forecasts, with a zone; what came later does not count.
    site_id : only those of this site; None for all.
    """
    query = sql.SQL("""
        SELECT source_id, delay, (
            SELECT issue_time FROM {table} AS issued
            WHERE issued.source_id = feeds.source_id AND issue_time <= %(now)s - delay
            ORDER BY issue_time DESC LIMIT 1) AS newest
        FROM (
            SELECT source_id,
                make_interval(secs => 60 * COALESCE((parameters->>'delay_min')::float8, 0)) AS delay
            FROM sources
            WHERE kind = %(kind)s AND (%(site)s IS NULL OR site_id = %(site)s)) AS feeds
        ORDER BY source_id""")
    found, at = {}, pd.Timestamp(now)
    for name, what in (("weather-forecast", "weather forecast"), ("forecast", "forecast")):
        kind = KINDS[name]
        values = {"now": at.to_pydatetime(), "site": site_id, "kind": kind.source_kind}
        for row in select_rows(conn, query.format(table=sql.Identifier(kind.table)), values):
            if row["newest"] is None:
                continue
            hours = (at - pd.Timestamp(row["newest"]) - row["delay"]) / pd.Timedelta(hours=1)
            if hours > stale_after_h:
                since = "at hand " if row["delay"] else ""
                found[row["source_id"]] = (
                    f"its newest {what} was issued {shown(row['newest'])}, {since}{hours:g} h ago, "
                    f"at most {stale_after_h:g} h are used: forecasts are made without; run python "
                    "communication.py with a newer one, or forget it with python sources.py "
                    f"remove {row['source_id']} --with-data"
                )
    return found


def newest_ends(
    conn: connection, at: Moment | None = None, source_ids: Iterable[str] | None = None
) -> dict[str, pd.Timestamp]:
    """The end of the newest interval of each source that has one [UTC].

    Parameters
    ----------
    conn : the connection.
    at : intervals that end later do not count; None for all.
    source_ids : only these; None for all.
    """
    wanted = None if source_ids is None else list(source_ids)
    ends: dict[str, pd.Timestamp] = {}
    for table in dict.fromkeys(KINDS[kind].table for kind in SERIES_KINDS):
        query = sql.SQL("""
            SELECT source_id, latest.time + make_interval(mins => step_min) AS newest
            FROM sources, LATERAL (
                SELECT time FROM {table} AS stored
                WHERE stored.source_id = sources.source_id AND (
                    %(at)s::timestamptz IS NULL
                    OR time <= %(at)s::timestamptz - make_interval(mins => step_min))
                ORDER BY time DESC LIMIT 1
            ) AS latest
            WHERE kind = ANY(%(kinds)s)
                AND (%(names)s::text[] IS NULL OR source_id = ANY(%(names)s))""")
        kinds = [kind for kind in SERIES_KINDS if KINDS[kind].table == table]
        moment = None if at is None else pd.Timestamp(at).to_pydatetime()
        of_table = query.format(table=sql.Identifier(table))
        values = {"at": moment, "kinds": kinds, "names": wanted}
        for row in select_rows(conn, of_table, values):
            ends[row["source_id"]] = pd.Timestamp(row["newest"]).tz_convert("UTC")
    return ends


def _is_read_by(feed: Source, target: Source) -> bool:
    """Whether a source is forecast with a feed: its site's weather, or a forecast of others."""
    if feed.kind == KINDS["forecast"].source_kind:
        return is_regressor_of(feed, target)
    return feed.site_id == target.site_id


def _powers(newest: Mapping[str, pd.Timestamp], sources: Iterable[Source]) -> list[pd.Timestamp]:
    """The ends of plants and loads; prices may run ahead."""
    return [
        newest[source.source_id]
        for source in sources
        if source.kind != "market" and source.source_id in newest
    ]


def _why(
    source_id: str, end: pd.Timestamp | None, newest: pd.Timestamp, whose: str = "the others'"
) -> str:
    """Why a source is not current, and the commands that help."""
    why = "no measurement yet"
    if end is not None:
        hours = round((newest - end) / pd.Timedelta(hours=1), 1)
        why = f"not current, its newest value ends {shown(end)}, {hours:g} h before {whose}"
    return (
        f"{why}; run python communication.py with its data, or forget it with python sources.py "
        f"remove {source_id} --with-data"
    )


def data_end(conn: connection, stale_after_h: float = STALE_AFTER_H) -> pd.Timestamp:
    """End of the newest interval that every current solar, wind and load source has [UTC].

    It is the default "now" of forecasts and plans. Where steps differ it is that of the longest,
    so that each forecast begins with an interval of its source.

    Parameters
    ----------
    conn : the connection.
    stale_after_h : how far a source may be behind the newest of its siblings [h].

    Raises
    ------
    DataGapError : no such source is registered, or none has a measurement.
    """
    end = read_freshness(conn, stale_after_h).data_end
    if end is not None:
        return end
    kinds = {source.kind for source in read_sources(conn)} & set(SERIES_KINDS)
    if kinds == {"market"}:
        raise DataGapError(
            "the database holds prices only, which have no data end; name a time with --issue-time"
        )
    raise DataGapError(
        "the database holds no measurements yet; run python communication.py (after python "
        "generation.py)"
    )


def data_end_now(config: Config) -> pd.Timestamp:
    """`data_end` of the configured database [UTC]."""
    with session(config) as conn:
        return data_end(conn, config.forecast.stale_after_h)


def in_words(behind: Mapping[str, str]) -> str:
    """Sources that are not current, each with its reason."""
    return "; ".join(f"{source_id}: {reason}" for source_id, reason in behind.items())


def check_current(
    config: Config, at: pd.Timestamp | None = None, source_id: str | None = None
) -> None:
    """Complain of sources and forecasts of others that are not current, once all else is done and
    saved.

    Parameters
    ----------
    config : the configuration.
    at : as of this time [UTC]; None for now.
    source_id : only this one and what it is forecast with count; None for all.

    Raises
    ------
    NotCurrentError : there are some.
    """
    with session(config) as conn:
        freshness = read_freshness(conn, config.forecast.stale_after_h, at)
        behind = dict(freshness.behind)
        sources = {source.source_id: source for source in read_sources(conn)}
        now, hours = freshness.data_end if at is None else at, config.forecast.weather_stale_after_h
        feeds = stale_feeds(conn, hours, now) if now is not None else {}
    target = sources.get(source_id or "")
    if target is not None:
        feeds = {name: why for name, why in feeds.items() if _is_read_by(sources[name], target)}
    found = {name: why for name, why in behind.items() if source_id in (None, name)} | feeds
    if found:
        raise NotCurrentError(f"{in_words(found)}; all else is done and saved")
