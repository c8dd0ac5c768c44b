"""The evidence that the rules of alerts look at, by one query each.

python -c "from vpp.storage.alert_evidence import newest_plan; help(newest_plan)"

Times are UTC.
"""

import pandas as pd
from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.storage.rows import Moment, select_rows


def _moment(time: Moment) -> object:
    return pd.Timestamp(time).to_pydatetime()


def _utc(time: object) -> pd.Timestamp:
    return pd.Timestamp(time).tz_convert("UTC")


def newest_plan(conn: connection, site_id: str, now: Moment) -> dict | None:
    """The plan in force: of the latest issue time, of two the one made last.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.
    now : plans issued later do not count, with a zone.

    Returns
    -------
    run_id and issue_time [UTC]; None without a plan.
    """
    query = """
        SELECT run_id, issue_time FROM schedule_runs
        WHERE site_id = %s AND kind = 'plan' AND issue_time <= %s
        ORDER BY issue_time DESC, created_at DESC LIMIT 1"""
    rows = select_rows(conn, query, (site_id, _moment(now)))
    return rows[0] | {"issue_time": _utc(rows[0]["issue_time"])} if rows else None


def intervals_bent(
    conn: connection, run_id: str, now: Moment
) -> tuple[int, pd.Timestamp | None, str]:
    """How many intervals to come bend a limit, and of the first its start and its words.

    Parameters
    ----------
    conn : the connection.
    run_id : the plan.
    now : intervals before do not count, with a zone.
    """
    query = """
        SELECT time, reason FROM schedules
        WHERE run_id = %s AND time >= %s AND reason LIKE '%% bent by %%' ORDER BY time"""
    rows = select_rows(conn, query, (run_id, _moment(now)))
    if not rows:
        return 0, None, ""
    words = [part for part in rows[0]["reason"].split("; ") if " bent by " in part]
    return len(rows), _utc(rows[0]["time"]), words[0]


def states_beside_plan(conn: connection, site_id: str, now: Moment) -> list[dict]:
    """The newest measured state of each battery beside that of the plan in force then.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.
    now : states of the two hours before count, with a zone.

    Returns
    -------
    battery_id, time [UTC], soc, and the plan's SOC at the end of the interval in which the state
    was measured (planned) and at its start (planned_before) [fraction].
    """
    query = """
        SELECT state.battery_id, state.time, state.soc,
            after.soc AS planned, coalesce(before.soc, after.soc) AS planned_before
        FROM batteries
        CROSS JOIN LATERAL (
            SELECT battery_id, time, soc FROM battery_states AS measured
            WHERE measured.battery_id = batteries.battery_id AND kind = 'measured'
                AND time <= %(now)s AND time > %(now)s - interval '2 hours'
            ORDER BY time DESC LIMIT 1) AS state
        CROSS JOIN LATERAL (
            SELECT run_id, plan.soc, plan.time FROM schedule_runs AS run
            CROSS JOIN LATERAL (
                SELECT soc, time FROM battery_states AS planned
                WHERE planned.battery_id = state.battery_id AND planned.kind = 'planned'
                    AND planned.run_id = run.run_id
                    AND time <= state.time AND time > state.time - interval '1 day'
                ORDER BY time DESC LIMIT 1) AS plan
            WHERE run.kind = 'plan' AND run.site_id = %(site)s
                AND issue_time <= state.time AND issue_time > state.time - interval '14 days'
            ORDER BY issue_time DESC, created_at DESC LIMIT 1) AS after
        LEFT JOIN LATERAL (
            SELECT soc FROM battery_states AS plan
            WHERE plan.battery_id = state.battery_id AND plan.kind = 'planned'
                AND plan.run_id = after.run_id AND plan.time < after.time
            ORDER BY plan.time DESC LIMIT 1) AS before ON true
        ORDER BY battery_id"""
    rows = select_rows(conn, query, {"site": site_id, "now": _moment(now)})
    return [row | {"time": _utc(row["time"])} for row in rows]


def highest_price(
    conn: connection, source_id: str, start: Moment, end: Moment
) -> tuple[pd.Timestamp, float] | None:
    """The highest price of a range and its time [UTC]; None where there is no price.

    Parameters
    ----------
    conn : the connection.
    source_id : the market.
    start, end : prices after the start and before the end count, with a zone.
    """
    query = """
        SELECT time, price_eur_per_mwh FROM market_prices
        WHERE source_id = %s AND time > %s AND time < %s
        ORDER BY price_eur_per_mwh DESC, time LIMIT 1"""
    rows = select_rows(conn, query, (source_id, _moment(start), _moment(end)))
    return (_utc(rows[0]["time"]), rows[0]["price_eur_per_mwh"]) if rows else None


def dead_letters_since(conn: connection, since: Moment, now: Moment) -> dict[str, int]:
    """Messages of each topic that were dead-lettered in a range, as far as it was looked at.

    Parameters
    ----------
    conn : the connection.
    since, now : the range, with a zone.
    """
    query = """
        SELECT topic, max(dead_letters) - coalesce((
            SELECT dead_letters FROM stream_status AS before
            WHERE before.topic = status.topic AND before.time < %s
            ORDER BY before.time DESC LIMIT 1), 0) AS count
        FROM stream_status AS status WHERE time >= %s AND time <= %s GROUP BY topic"""
    times = (_moment(since), _moment(since), _moment(now))
    return {row["topic"]: max(0, row["count"]) for row in select_rows(conn, query, times)}


def band_shares(
    conn: connection, source_id: str, table: str, column: str, start: Moment, end: Moment
) -> tuple[float | None, int]:
    """The share of values between q10 and q90 of the forecasts in force, and their number.

    Parameters
    ----------
    conn : the connection.
    source_id : the source.
    table, column : of its values.
    start, end : the range of values, with a zone.
    """
    query = sql.SQL("""
        SELECT avg((value BETWEEN q10 AND q90)::integer)::double precision AS share,
            count(*) AS count
        FROM (
            SELECT DISTINCT ON (valid_time) valid_time, q10, q90, published
            FROM forecast_runs AS run
            CROSS JOIN LATERAL (
                SELECT valid_time, q10, q90, published FROM forecasts
                WHERE forecasts.run_id = run.run_id
                    AND valid_time >= %(start)s AND valid_time < %(end)s OFFSET 0) AS row
            WHERE source_id = %(source)s AND role = 'champion'
                AND issue_time >= %(start)s - interval '3 days' AND issue_time < %(end)s
            ORDER BY valid_time, issue_time DESC, created_at DESC) AS forecast
        JOIN (
            SELECT time, {column} AS value FROM {table}
            WHERE source_id = %(source)s AND time >= %(start)s AND time < %(end)s) AS actual
            ON actual.time = valid_time
        WHERE q10 IS NOT NULL AND NOT coalesce(published, false)""")
    names = {"column": sql.Identifier(column), "table": sql.Identifier(table)}
    span = {"source": source_id, "start": _moment(start), "end": _moment(end)}
    row = select_rows(conn, query.format(**names), span)[0]
    return row["share"], row["count"]
