"""Results are pruned: forecasts, plans and battery states do not grow for ever.

    python db.py prune

The same on plain PostgreSQL and on TimescaleDB: run by run, in transactions of some hundred runs.
Measurements are dropped by TimescaleDB alone (timescale.py).
"""

import logging

from psycopg2 import sql
from psycopg2.extensions import connection, cursor

from vpp.storage.errors import explained
from vpp.storage.rows import one_row

log = logging.getLogger("db")

BATCH_RUNS = 500
# table of runs -> the tables of their rows
ROWS_OF = {
    "forecast_runs": ("forecasts",),
    "schedule_runs": (
        *("schedules", "battery_states", "fleet_states", "device_states", "acknowledgements"),
    ),
}


def prune_results(conn: connection, days: int) -> int:
    """Delete runs that were issued more days ago than so many, and what was measured of batteries.

    They count back from the newest run, at most from the server's clock, so that a past that is
    replayed keeps its results. The last state of each battery stays.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    days : older results are deleted [d]; 0 for none.

    Returns
    -------
    Number of rows deleted.
    """
    deleted = 0
    if days:
        with explained("retention"):
            for runs, tables in ROWS_OF.items():
                while number := _prune_runs(conn, runs, tables, days):
                    deleted += number
            with conn, conn.cursor() as cur:
                deleted += _prune_states(cur, days)
    if deleted:
        log.info("deleted %d rows of results older than %d days", deleted, days)
    return deleted


def _prune_runs(conn: connection, runs: str, tables: tuple[str, ...], days: int) -> int:
    """Delete some old runs with their rows in one transaction; returns the number of rows."""
    with conn, conn.cursor() as cur:
        query = sql.SQL("""
            SELECT run_id FROM {runs} WHERE issue_time <
                (SELECT least(max(issue_time), now()) FROM {runs}) - make_interval(days => %s)
            LIMIT %s""")
        cur.execute(query.format(runs=sql.Identifier(runs)), (days, BATCH_RUNS))
        names = [name for (name,) in cur.fetchall()]
        deleted = 0
        for table in (*tables, runs) if names else ():
            statement = sql.SQL("DELETE FROM {} WHERE {} = ANY(%s)")
            key = sql.Identifier("plan_id" if table == "acknowledgements" else "run_id")
            cur.execute(statement.format(sql.Identifier(table), key), (names,))
            deleted += cur.rowcount
        return deleted


def _prune_states(cur: cursor, days: int) -> int:
    cur.execute("SELECT battery_id FROM batteries")
    deleted = 0
    for (battery_id,) in cur.fetchall():
        cur.execute(
            """
            SELECT least(max(time), now()) - make_interval(days => %s) FROM battery_states
            WHERE battery_id = %s AND kind <> 'planned'""",
            (days, battery_id),
        )
        old = """
            DELETE FROM battery_states
            WHERE battery_id = %s AND kind <> 'planned' AND time < %s"""
        cur.execute(old, (battery_id, one_row(cur)[0]))
        deleted += cur.rowcount
    return deleted
