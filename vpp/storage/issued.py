"""Forecasts of many sources and issue times at once, added up in the database.

A backtest of a year with 60 sources reads half a million forecasts; one query that adds them up
by issue time and interval leaves some hundred thousand rows. Reads only. Times are UTC and label
the start of their interval.

    python optimization.py backtest --days 30
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.site.kinds import PLANT_KINDS
from vpp.site.sources import Source
from vpp.storage.bulk import copy_out
from vpp.storage.results import ForecastRun, run_of
from vpp.storage.rows import Moment, names_of, select_rows
from vpp.storage.schema import QUANTILES

COLUMNS = ("issue_time", "valid_time", "step_min", "sources", "load_kw", "renewables_kw", "price")

# The newest run of each source for every issue time that all sources have, from the last one that
# `since` allows on.
SHARED = """
    WITH source AS (
        SELECT * FROM unnest(%(ids)s::text[], %(kinds)s::text[], %(steps)s::int[])
            AS source (source_id, kind, step_min)),
    newest AS (
        SELECT DISTINCT ON (source_id, issue_time) source_id, kind, step_min, issue_time, run_id
        FROM forecast_runs JOIN source USING (source_id)
        WHERE role = %(role)s AND issue_time < %(before)s
        ORDER BY source_id, issue_time, created_at DESC),
    issue AS (
        SELECT issue_time FROM newest GROUP BY issue_time HAVING count(*) = cardinality(%(ids)s)),
    shared AS (
        SELECT newest.* FROM newest JOIN issue USING (issue_time)
        WHERE issue_time >= coalesce(
            (SELECT max(issue_time) FROM issue WHERE issue_time <= %(since)s), %(since)s))"""

AS_ISSUED = """, value AS (
        SELECT issue_time, kind, step_min, valid_time, {column} AS value
        FROM shared JOIN forecasts USING (run_id))"""

# Means over the wanted step where that of the source is finer.
AVERAGED = """, value AS (
        SELECT issue_time, kind, greatest(step_min, %(step)s) AS step_min,
            avg({column}) AS value,
            CASE WHEN step_min >= %(step)s THEN valid_time
                ELSE date_bin(%(step)s * interval '1 minute', valid_time, issue_time)
            END AS valid_time
        FROM shared JOIN forecasts USING (run_id) GROUP BY source_id, 1, 2, 3, 5)"""

SUMS = """
    SELECT issue_time, valid_time, step_min::float8, count(*)::float8,
        sum(CASE WHEN kind = ANY(%(plants)s) THEN greatest(-value, 0)
            WHEN kind = 'market' THEN 0 ELSE value END),
        sum(CASE WHEN kind = ANY(%(plants)s) THEN greatest(value, 0) ELSE 0 END),
        sum(CASE WHEN kind = 'market' THEN value ELSE 0 END)
    FROM value GROUP BY issue_time, valid_time, step_min
    ORDER BY issue_time, valid_time, step_min"""


def read_issued(
    conn: connection,
    sources: Sequence[Source],
    role: str,
    since: Moment,
    before: Moment,
    step_min: int,
    quantile: str | None = None,
) -> pd.DataFrame:
    """The newest forecasts of a role for each issue time that all sources have, added up.

    A plant's draw, below 0, counts as load.

    Parameters
    ----------
    conn : the connection.
    sources : plants, loads and one market.
    role : of the runs that count.
    since : the first issue time is the last one by then, if there is one.
    before : issue times from this on do not count.
    step_min : finest step wanted [min], from the issue time on; finer values are averaged.
    quantile : column that is read in place of the value, such as `q05`.

    Returns
    -------
    Columns issue_time, valid_time, step_min [min], sources (how many of that step have a value
    there), load_kw, renewables_kw [kW] and price [EUR/MWh], 0 where no market is among them; a row
    for each issue time, interval and step of the sources, in this order.

    Raises
    ------
    ValueError : there is no such quantile.
    """
    finer = any(source.step_min < step_min for source in sources)
    wanted = {
        "ids": [source.source_id for source in sources],
        "kinds": [source.kind for source in sources],
        "steps": [source.step_min for source in sources],
        "plants": list(PLANT_KINDS),
        "role": role,
        "since": pd.Timestamp(since).to_pydatetime(),
        "before": pd.Timestamp(before).to_pydatetime(),
        "step": step_min,
    }
    if quantile not in (None, *QUANTILES):
        raise ValueError(f"quantile {quantile}: expected one of {', '.join(QUANTILES)}")
    column = f"coalesce({quantile}, value)" if quantile else "value"
    query = SHARED + (AVERAGED if finer else AS_ISSUED).format(column=column) + SUMS
    frame = pd.DataFrame(copy_out(conn, query, wanted, COLUMNS))
    for name in ("issue_time", "valid_time"):
        frame[name] = pd.to_datetime(frame[name], unit="us", utc=True)
    return frame.astype({"step_min": int, "sources": int})


def read_own_forecasts(
    conn: connection, source_id: str, issue_time: Moment, days: float, roles: Sequence[str]
) -> pd.DataFrame:
    """The forecasts of one source that were issued on the days before an issue time.

    Of each 24 h before it the oldest counts, which is the one of the same clock where there is one.
    Those that were made before a change of the source's capacity was registered do not count: they
    are of the capacity before, or of a history in its units.

    Parameters
    ----------
    conn : the connection.
    source_id : its name.
    issue_time : they were issued before it [UTC].
    days : how far back [d].
    roles : of the runs that count.

    Returns
    -------
    issue_time, valid_time [UTC]; value and quantiles [kW or EUR/MWh]; published.
    """
    numbers = sql.SQL(", ").join(
        sql.SQL("coalesce({}::float8, 'NaN')").format(sql.Identifier(name))
        for name in ("value", *QUANTILES)
    )
    query = sql.SQL("""
        SELECT issue_time, valid_time, {}, published::int::float8
        FROM generate_series(1, %(days)s) AS day
        CROSS JOIN LATERAL (
            SELECT run_id, issue_time FROM forecast_runs
            WHERE source_id = %(source)s AND role = ANY(%(roles)s) AND issue_time >= %(since)s
                AND issue_time >= %(now)s - make_interval(hours => 24 * day)
                AND issue_time < %(now)s - make_interval(hours => 24 * (day - 1))
                AND NOT EXISTS (
                    SELECT FROM capacities WHERE capacities.source_id = %(source)s
                        AND coalesce(created_at < registered_at, issue_time < valid_until))
            ORDER BY issue_time, created_at DESC LIMIT 1) AS run
        CROSS JOIN LATERAL (
            SELECT * FROM forecasts WHERE forecasts.run_id = run.run_id OFFSET 0) AS forecast
        ORDER BY issue_time, valid_time""")
    now = pd.Timestamp(issue_time)
    given = {
        "now": now.to_pydatetime(),
        "since": (now - pd.Timedelta(days=days)).to_pydatetime(),
        "days": math.ceil(days),
        "source": source_id,
        "roles": list(roles),
    }
    columns = ("issue_time", "valid_time", "value", *QUANTILES, "published")
    found = copy_out(conn, query.format(numbers), given, columns)
    times = {
        name: pd.to_datetime(found[name], unit="us", utc=True).as_unit("ns") for name in columns[:2]
    }
    return pd.DataFrame(found | times | {"published": found["published"] != 0})


def count_runs(
    conn: connection, source_id: str, role: str, issue_times: Sequence[pd.Timestamp]
) -> int:
    """From how many of some issue times a source has forecasts of a role.

    Parameters
    ----------
    conn : the connection.
    source_id, role : of the runs.
    issue_times : of them [UTC].
    """
    query = """
        SELECT count(DISTINCT issue_time) AS number FROM forecast_runs
        WHERE source_id = %s AND role = %s AND issue_time = ANY(%s)"""
    times = [at.to_pydatetime() for at in issue_times]
    return int(select_rows(conn, query, (source_id, role, times))[0]["number"])


def newest_among(
    conn: connection, runs: Sequence[ForecastRun], roles: Sequence[str]
) -> list[ForecastRun]:
    """The newest stored run of each source and issue time of some runs.

    Parameters
    ----------
    conn : the connection.
    runs : whose sources and issue times count.
    roles : of the stored runs.
    """
    names = [item.name for item in dataclasses.fields(ForecastRun)]
    query = sql.SQL("""
        SELECT DISTINCT ON (source_id, issue_time) {} FROM forecast_runs
        JOIN (SELECT DISTINCT * FROM unnest(%s::text[], %s::timestamptz[])
            AS given (source_id, issue_time)) AS wanted USING (source_id, issue_time)
        WHERE role = ANY(%s) ORDER BY source_id, issue_time, created_at DESC""")
    ids = [run.source_id for run in runs]
    times = [run.issue_time.to_pydatetime() for run in runs]
    rows = select_rows(conn, query.format(names_of(names)), (ids, times, list(roles)))
    return [run_of(row) for row in rows]


def read_values(conn: connection, runs: Sequence[ForecastRun]) -> list[pd.DataFrame]:
    """The stored forecasts of some runs.

    Parameters
    ----------
    conn : the connection.
    runs : stored ones.

    Returns
    -------
    Of each: valid_time [UTC]; value and quantiles, NaN where missing [kW or EUR/MWh]; published.
    """
    numbers = sql.SQL(", ").join(
        sql.SQL("coalesce({}::float8, 'NaN')").format(sql.Identifier(name)) for name in QUANTILES
    )
    query = sql.SQL("""
        SELECT place::float8, valid_time, value::float8, {}, published::int::float8
        FROM unnest(%s::text[]) WITH ORDINALITY AS wanted (run_id, place)
        CROSS JOIN LATERAL (
            SELECT * FROM forecasts WHERE forecasts.run_id = wanted.run_id OFFSET 0) AS forecast
        ORDER BY place, valid_time""").format(numbers)
    columns = ("place", "valid_time", "value", *QUANTILES, "published")
    frame = pd.DataFrame(copy_out(conn, query, ([run.run_id for run in runs],), columns))
    times = pd.to_datetime(frame["valid_time"], unit="us", utc=True).dt.as_unit("ns")
    frame = frame.assign(valid_time=times, published=frame["published"] != 0)
    ends = np.searchsorted(frame["place"], np.arange(1, len(runs) + 1), side="right")
    starts = [0, *ends[:-1]] if len(ends) else []
    frame = frame.drop(columns="place")
    return [frame.iloc[start:end] for start, end in zip(starts, ends, strict=True)]
