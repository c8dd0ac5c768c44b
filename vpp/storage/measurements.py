"""Sources and their measurements in the database. SQL only.

All times are UTC; a time labels the start of its interval. Ranges are `[start, end)`; None leaves a
side open."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.site.kinds import KINDS, MEASUREMENTS, SERIES_KINDS, WEATHER
from vpp.site.sources import Source
from vpp.storage.bulk import copy_out
from vpp.storage.connection import DataGapError
from vpp.storage.rows import between, explained, select_rows, upsert_rows

STREAM_STATUS_KEPT = "30 days"


def _time_index(microseconds: np.ndarray, name: str = "time") -> pd.DatetimeIndex:
    return pd.DatetimeIndex(microseconds.astype("M8[us]").astype("M8[ns]"), name=name).tz_localize(
        "UTC"
    )


def save_stream_status(conn: connection, topics: Mapping[str, tuple[int | None, int]]) -> None:
    """Write topic -> (messages waiting, or None where there is no such topic.

    Messages dead-lettered) as of now.
    """
    with explained("stream_status"), conn.cursor() as cursor:
        cursor.execute(
            "DELETE FROM stream_status WHERE time < now() - %s::interval", (STREAM_STATUS_KEPT,)
        )
        for topic, (lag, dead_letters) in topics.items():
            cursor.execute(
                "INSERT INTO stream_status (topic, lag, dead_letters) VALUES (%s, %s, %s)",
                (topic, lag, dead_letters),
            )


def upsert_sources(conn: connection, sources: Iterable[Source]) -> None:
    """Register sources, or bring registered ones up to date."""
    rows = [
        dataclasses.asdict(source) | {"price_area": source.parameters.get("price_area")}
        for source in sources
    ]
    with explained("sources"), conn.cursor() as cursor:
        upsert_rows(cursor, "sources", ["source_id"], rows)


def delete_source(conn: connection, source_id: str) -> int:
    """Delete a source, its measurements and its forecasts; the caller commits.

    Returns the number of rows but its own.
    """
    rows = 0
    with explained("sources"), conn.cursor() as cursor:
        cursor.execute(
            "DELETE FROM forecasts USING forecast_runs r WHERE forecasts.run_id = r.run_id AND "
            "r.source_id = %s",
            (source_id,),
        )
        rows += cursor.rowcount
        for table in ("forecast_runs", *MEASUREMENTS):
            cursor.execute(
                sql.SQL("DELETE FROM {} WHERE source_id = %s").format(sql.Identifier(table)),
                (source_id,),
            )
            rows += cursor.rowcount
        cursor.execute("DELETE FROM sources WHERE source_id = %s", (source_id,))
    return rows


def read_sources(conn: connection, kind: str | None = None) -> list[Source]:
    """The registered sources in the order of their names; only one kind if given."""
    names = [item.name for item in dataclasses.fields(Source)]
    query = sql.SQL("SELECT {} FROM sources WHERE %s IS NULL OR kind = %s ORDER BY source_id")
    return [
        Source(**row)
        for row in select_rows(
            conn, query.format(sql.SQL(", ").join(map(sql.Identifier, names))), (kind, kind)
        )
    ]


def read_series(conn: connection, source: Source, start=None, end=None) -> pd.Series:
    """The measurements of a source [kW or EUR/MWh], in the order of time, named by its source_id."""
    table, column = KINDS[source.kind].table, KINDS[source.kind].value
    condition, values = between("time", start, end)
    query = sql.SQL("SELECT time, {} FROM {} WHERE source_id = %s{} ORDER BY time").format(
        sql.Identifier(column), sql.Identifier(table), condition
    )
    data = copy_out(conn, query, (source.source_id, *values), ("time", column))
    return pd.Series(data[column], _time_index(data["time"]), name=source.source_id)


def read_available_at(conn: connection, source: Source, start=None, end=None) -> pd.Series:
    """When each price of a market source became known [UTC], as it was stored with it.

    By the time of its interval.
    """
    condition, values = between("time", start, end)
    query = sql.SQL(
        "SELECT time, available_at FROM market_prices WHERE source_id = %s{} ORDER BY time"
    )
    data = copy_out(
        conn, query.format(condition), (source.source_id, *values), ("time", "available_at")
    )
    known = _time_index(data["available_at"], "available_at")
    return pd.Series(known, _time_index(data["time"]), name=source.source_id)


def read_latest(conn: connection, source: Source) -> tuple[pd.Timestamp, float] | None:
    """The newest measurement of a source: start of its interval and value [kW or EUR/MWh].

    None where there is none.
    """
    table, column = KINDS[source.kind].table, KINDS[source.kind].value
    query = sql.SQL(
        "SELECT time, {} AS value FROM {} WHERE source_id = %s ORDER BY time DESC LIMIT 1"
    )
    rows = select_rows(
        conn, query.format(sql.Identifier(column), sql.Identifier(table)), (source.source_id,)
    )
    return (pd.Timestamp(rows[0]["time"]), rows[0]["value"]) if rows else None


def read_weather_forecasts(conn: connection, source_id: str, start=None, end=None) -> pd.DataFrame:
    """Weather forecasts whose valid time is in the range: issue_time, valid_time, ghi, dni, dhi
    [W/m²], temp_air [°C], wind_speed [m/s]."""
    condition, values = between("valid_time", start, end)
    columns = ("issue_time", "valid_time", *WEATHER)
    query = sql.SQL(
        "SELECT {} FROM weather_forecasts WHERE source_id = %s{} ORDER BY issue_time, valid_time"
    )
    data = copy_out(
        conn,
        query.format(sql.SQL(", ").join(map(sql.Identifier, columns)), condition),
        (source_id, *values),
        columns,
    )
    times = {name: _time_index(data[name], name) for name in columns[:2]}
    return pd.DataFrame(times | {name: data[name] for name in WEATHER})


def read_resampled(
    conn: connection, sources: Sequence[Source], start, end, step_min: int
) -> pd.DataFrame:
    """Sources side by side on one step [min]: means over longer steps, and a longer interval's
    value in each of its parts.

    Columns are source_ids in the order given; NaN where a source has nothing.
    """
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


def data_end(conn: connection) -> pd.Timestamp:
    """End of the newest interval that every solar, wind and load source has: the default "now" of
    forecasts and plans.

    Where steps differ it is that of the longest, so that each forecast begins with an interval of
    its source.

    Raises
    ------
    DataGapError : no such source is registered, or one of them has no measurement.
    """
    ends, empty = [], []
    sources = [source for source in read_sources(conn) if source.kind in SERIES_KINDS]
    for source in sources:
        if source.kind != "market":
            latest = read_latest(conn, source)
            if latest:
                ends.append(latest[0] + pd.Timedelta(minutes=source.step_min))
            else:
                empty.append(source.source_id)
    if not ends and not empty and sources:
        raise DataGapError(
            "the database holds prices only, which have no data end; name a time with --issue-time"
        )
    if not ends:
        raise DataGapError(
            "the database holds no measurements yet; run python communication.py (after python "
            "generation.py)"
        )
    if empty:
        raise DataGapError(
            f"no measurement of {', '.join(empty)} in the database; run python communication.py "
            "with their data"
        )
    return min(ends).tz_convert("UTC").floor(f"{max(source.step_min for source in sources)}min")


def count_measurements(conn: connection) -> dict[str, int]:
    """Number of rows of each kind of measurement.

    Solar, wind, load, market, weather and weather-forecast.
    """
    counts = dict.fromkeys(KINDS, 0)
    with conn.cursor() as cursor:
        for table in MEASUREMENTS:
            kinds = [kind.name for kind in KINDS.values() if kind.table == table]
            if len(kinds) == 1:
                query = sql.SQL("SELECT {}, count(*) FROM {}").format(
                    sql.Literal(kinds[0]), sql.Identifier(table)
                )
            else:
                query = sql.SQL(
                    "SELECT kind, count(*) FROM {} JOIN sources USING (source_id) GROUP BY kind"
                ).format(sql.Identifier(table))
            cursor.execute(query)
            counts |= cursor.fetchall()
    return counts
