"""Sources and their measurements in the database. SQL only.

All times are UTC; a time labels the start of its interval. Ranges are `[start, end)`; None leaves a
side open.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.site.kinds import KINDS, MEASUREMENTS, Kind
from vpp.site.sources import Source
from vpp.storage.bulk import copy_out
from vpp.storage.capacities import keep_capacities
from vpp.storage.errors import explained
from vpp.storage.rows import (
    Moment,
    between,
    names_of,
    select_frame,
    select_rows,
    upsert_rows,
)

if TYPE_CHECKING:
    import pandas as pd

STREAM_STATUS_KEPT = "30 days"


def save_stream_status(conn: connection, topics: Mapping[str, tuple[int | None, int]]) -> None:
    """Write what waits in the topics as of now, and forget what is older than 30 days.

    Parameters
    ----------
    conn : the connection; the caller commits.
    topics : topic -> messages waiting (None where there is no such topic), and dead letters.
    """
    with explained("stream_status"), conn.cursor() as cur:
        old = "DELETE FROM stream_status WHERE time < now() - %s::interval"
        cur.execute(old, (STREAM_STATUS_KEPT,))
        for topic, (lag, dead_letters) in topics.items():
            cur.execute(
                "INSERT INTO stream_status (topic, lag, dead_letters) VALUES (%s, %s, %s)",
                (topic, lag, dead_letters),
            )


def upsert_sources(conn: connection, sources: Iterable[Source]) -> None:
    """Register sources, or bring registered ones up to date.

    Parameters
    ----------
    conn : the connection; the caller commits.
    sources : their names are their keys.
    """
    sources = list(sources)
    rows = [
        dataclasses.asdict(source) | {"price_area": source.parameters.get("price_area")}
        for source in sources
    ]
    with explained("sources"), conn.cursor() as cur:
        keep_capacities(cur, sources)
        upsert_rows(cur, "sources", ["source_id"], rows)


def delete_source(conn: connection, source_id: str) -> int:
    """Delete a source, its measurements and its forecasts; the caller commits.

    Returns
    -------
    Number of rows deleted beside its own.
    """
    rows = 0
    with explained("sources"), conn.cursor() as cur:
        cur.execute(
            """
            DELETE FROM forecasts USING forecast_runs r
            WHERE forecasts.run_id = r.run_id AND r.source_id = %s""",
            (source_id,),
        )
        rows += cur.rowcount
        for table in ("forecast_runs", "revisions", "capacities", *MEASUREMENTS):
            statement = sql.SQL("DELETE FROM {} WHERE source_id = %s")
            cur.execute(statement.format(sql.Identifier(table)), (source_id,))
            rows += cur.rowcount
        cur.execute("DELETE FROM sources WHERE source_id = %s", (source_id,))
    return rows


def read_sources(
    conn: connection,
    kind: str | None = None,
    site_id: str | None = None,
    source_ids: Iterable[str] | None = None,
) -> list[Source]:
    """The registered sources in the order of their names.

    Parameters
    ----------
    conn : the connection.
    kind, site_id, source_ids : only those of this kind, at this site, of these names; None for all.
    """
    names = [item.name for item in dataclasses.fields(Source)]
    query = sql.SQL("""
        SELECT {} FROM sources WHERE (%(kind)s IS NULL OR kind = %(kind)s)
            AND (%(site)s IS NULL OR site_id = %(site)s)
            AND (%(ids)s::text[] IS NULL OR source_id = ANY(%(ids)s)) ORDER BY source_id""")
    ids = None if source_ids is None else list(source_ids)
    wanted = {"kind": kind, "site": site_id, "ids": ids}
    return [Source(**row) for row in select_rows(conn, query.format(names_of(names)), wanted)]


def sources_in(conn: connection, table: str) -> set[str]:
    """The registered sources that a table has rows of.

    Parameters
    ----------
    conn : the connection.
    table : whose key begins with the source_id.
    """
    query = sql.SQL("""
        SELECT source_id FROM sources
        WHERE EXISTS (SELECT FROM {} AS rows WHERE rows.source_id = sources.source_id)""")
    return {row["source_id"] for row in select_rows(conn, query.format(sql.Identifier(table)))}


def _time_index(microseconds: np.ndarray, name: str = "time") -> pd.DatetimeIndex:
    import pandas as pd

    times = microseconds.astype("M8[us]").astype("M8[ns]")
    return pd.DatetimeIndex(times, name=name).tz_localize("UTC")


def read_series(
    conn: connection, source: Source, start: Moment | None = None, end: Moment | None = None
) -> pd.Series:
    """The measurements of a source.

    Parameters
    ----------
    conn : the connection.
    source : a plant, load or market.
    start, end : of the times read, with a zone.

    Returns
    -------
    Values [kW or EUR/MWh] by time in its order, named by the source_id.
    """
    import pandas as pd

    table, column = KINDS[source.kind].table, KINDS[source.kind].value
    condition, values = between("time", start, end)
    query = sql.SQL("SELECT time, {} FROM {} WHERE source_id = %s{} ORDER BY time").format(
        sql.Identifier(column), sql.Identifier(table), condition
    )
    data = copy_out(conn, query, (source.source_id, *values), ("time", column))
    return pd.Series(data[column], _time_index(data["time"]), name=source.source_id)


def read_available_at(
    conn: connection, source: Source, start: Moment | None = None, end: Moment | None = None
) -> pd.Series:
    """When each price of a market source became known, as it was stored with it.

    Parameters
    ----------
    conn : the connection.
    source : a market.
    start, end : of the times of the prices, with a zone.

    Returns
    -------
    Times [UTC] by the time of the price's interval.
    """
    import pandas as pd

    condition, values = between("time", start, end)
    query = sql.SQL("""
        SELECT time, available_at FROM market_prices WHERE source_id = %s{} ORDER BY time""")
    columns = ("time", "available_at")
    data = copy_out(conn, query.format(condition), (source.source_id, *values), columns)
    known = _time_index(data["available_at"], "available_at")
    return pd.Series(known, _time_index(data["time"]), name=source.source_id)


def read_latest(conn: connection, source: Source) -> tuple[pd.Timestamp, float] | None:
    """The newest measurement of a source: start of its interval and value [kW or EUR/MWh].

    None where there is none.
    """
    import pandas as pd

    table, column = KINDS[source.kind].table, KINDS[source.kind].value
    query = sql.SQL("""
        SELECT time, {} AS value FROM {} WHERE source_id = %s ORDER BY time DESC LIMIT 1""")
    names = (sql.Identifier(column), sql.Identifier(table))
    rows = select_rows(conn, query.format(*names), (source.source_id,))
    return (pd.Timestamp(rows[0]["time"]), rows[0]["value"]) if rows else None


def read_weather_forecasts(
    conn: connection, source_id: str, start: Moment | None = None, end: Moment | None = None
) -> pd.DataFrame:
    """The weather forecasts of a source.

    Parameters
    ----------
    conn : the connection.
    source_id : of a weather source.
    start, end : of the valid times read, with a zone.

    Returns
    -------
    Columns issue_time, valid_time, ghi, dni, dhi [W/m²], temp_air [°C] and wind_speed [m/s].
    """
    return _read_issued(conn, KINDS["weather-forecast"], source_id, start, end)


def read_external_forecasts(
    conn: connection, source_id: str, start: Moment | None = None, end: Moment | None = None
) -> pd.DataFrame:
    """Forecasts of a quantity that others have issued.

    Parameters
    ----------
    conn : the connection.
    source_id : of a source of the kind forecast, which states quantity and unit.
    start, end : of the valid times read, with a zone.

    Returns
    -------
    Columns issue_time, valid_time and value, in the order of the first two.
    """
    return _read_issued(conn, KINDS["forecast"], source_id, start, end)


def _read_issued(
    conn: connection, kind: Kind, source_id: str, start: Moment | None, end: Moment | None
) -> pd.DataFrame:
    """The rows of a source of a kind that has an issue and a valid time."""
    import pandas as pd

    condition, values = between("valid_time", start, end)
    columns = (*kind.times, *kind.value_names)
    query = sql.SQL("SELECT {} FROM {} WHERE source_id = %s{} ORDER BY {}").format(
        names_of(columns), sql.Identifier(kind.table), condition, names_of(kind.times)
    )
    data = copy_out(conn, query, (source_id, *values), columns)
    times = {name: _time_index(data[name], name) for name in kind.times}
    return pd.DataFrame(times | {name: data[name] for name in kind.value_names})


def read_revisions(conn: connection, source_id: str) -> pd.DataFrame:
    """Values of a plant, load or market that a newer message replaced.

    Parameters
    ----------
    conn : the connection.
    source_id : its name.

    Returns
    -------
    Columns time [UTC], value [kW or EUR/MWh], known_from and known_to [UTC], in the order of the
    times: value was the known one from known_from until known_to.
    """
    query = """
        SELECT time, value, known_from, known_to FROM revisions
        WHERE source_id = %s ORDER BY time, known_from"""
    return select_frame(conn, query, (source_id,))


def read_resampled(
    conn: connection,
    sources: Sequence[Source],
    start: Moment | None,
    end: Moment | None,
    step_min: int,
) -> pd.DataFrame:
    """Sources side by side on one step: means over longer steps, and a longer interval's value in
    each of its parts.

    Parameters
    ----------
    conn : the connection.
    sources : plants, loads and markets.
    start, end : of the times read, with a zone.
    step_min : of the result [min].

    Returns
    -------
    Values [kW or EUR/MWh] by time; a column for each source_id in the order given, with NaN where
    a source has nothing.
    """
    import pandas as pd

    columns = {}
    for source in sources:
        series = read_series(conn, source, start, end)
        offsets = [pd.Timedelta(minutes=part) for part in range(0, source.step_min, step_min)]
        parts = pd.concat([series.set_axis(series.index + offset) for offset in offsets])
        columns[source.source_id] = parts.resample(f"{step_min}min", origin="epoch").mean()
    frame = pd.DataFrame(columns)
    if len(frame):
        frame = frame.resample(f"{step_min}min", origin="epoch").asfreq()
    return frame.rename_axis("time")


def read_keys(
    conn: connection, kind: str, start: Moment, end: Moment
) -> set[tuple[str | int, ...]]:
    """The rows of a kind that there are in a span.

    Parameters
    ----------
    conn : the connection.
    kind : of the rows.
    start, end : of their times, of forecasts of their issue times, with a zone.

    Returns
    -------
    source_id and times of each, the latter in microseconds since 1970.
    """
    import pandas as pd

    names = [sql.Identifier(name) for name in KINDS[kind].times]
    at = [sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint").format(name) for name in names]
    query = sql.SQL("""
        SELECT source_id, {at} FROM {table} WHERE {time} >= %s AND {time} < %s""").format(
        at=sql.SQL(", ").join(at), time=names[0], table=sql.Identifier(KINDS[kind].table)
    )
    with conn.cursor() as cur:
        cur.execute(query, [pd.Timestamp(moment).to_pydatetime() for moment in (start, end)])
        return set(cur.fetchall())
