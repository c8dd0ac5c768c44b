"""TimescaleDB's additions to the tables, where it is there: compression, retention, hourly means.

Its Community licence compresses old chunks and keeps the hourly means as continuous aggregates.
With its Apache licence the tables are hypertables only.
"""

import logging

import psycopg2
import psycopg2.errors
import tenacity
from psycopg2.extensions import connection, cursor

from vpp.site.kinds import MEASUREMENTS
from vpp.storage.errors import first_line
from vpp.storage.rows import one_row

log = logging.getLogger("db")

COMMUNITY = "timescale"  # the licence of the build that compresses and keeps continuous aggregates
RESULTS = ("forecasts", "schedules", "battery_states")  # are compressed like measurements
OFFERED = """
    SELECT 1 FROM pg_available_extensions
    WHERE name = 'timescaledb' AND installed_version IS NULL"""
SWITCH_ON = "CREATE EXTENSION IF NOT EXISTS timescaledb"
REFRESH_ATTEMPTS, REFRESH_PAUSE_S = 5, (0.5, 3.0)
# views of hourly means, in hours of UTC
HOURLY = ("renewables_hourly", "load_hourly", "market_prices_hourly", "weather_hourly")


def timescale_licence(conn: connection) -> str | None:
    """The licence of TimescaleDB in this database, `COMMUNITY` or "apache"; None without it."""
    with conn.cursor() as cur:
        cur.execute("""
            SELECT current_setting('timescaledb.license', true)
            FROM pg_extension WHERE extname = 'timescaledb'""")
        row = cur.fetchone()
    return (row[0] or "apache") if row else None


def is_compressing(conn: connection) -> bool:
    """Whether the server compresses old chunks: TimescaleDB with its Community licence."""
    return timescale_licence(conn) == COMMUNITY


def is_loaded(conn: connection) -> bool:
    """Whether the server has loaded TimescaleDB, so that it can be switched on."""
    with conn.cursor() as cur:
        cur.execute("SELECT EXISTS (SELECT FROM pg_settings WHERE name LIKE 'timescaledb.%')")
        return bool(one_row(cur)[0])


def create_extension(conn: connection, lock_key: int) -> bool:
    """Switch TimescaleDB on where the server has it and the role may; else nothing happens.

    Parameters
    ----------
    conn : the connection; its transaction ends.
    lock_key : of the advisory lock that lets one process change the schema at a time.

    Returns
    -------
    Whether the connection still lives: a server that has not preloaded TimescaleDB ends it.
    """
    with conn.cursor() as cur:
        cur.execute(OFFERED)
        if cur.fetchone():
            try:
                cur.execute("SELECT pg_advisory_xact_lock(%s)", (lock_key,))
                cur.execute(SWITCH_ON)
            except psycopg2.Error as error:
                log.warning(
                    "TimescaleDB is installed but not used, as plain PostgreSQL does: %s",
                    first_line(error),
                )
                if not conn.closed:
                    conn.rollback()
                return not conn.closed
    conn.commit()
    return True


def after_import(conn: connection, compress_after_days: int, retention_days: int) -> None:
    """Let TimescaleDB (Community) take care of what a stream has stored to its end.

    It compresses old rows, drops still older ones where a retention is given, and refreshes the
    hourly means. Not earlier, so that history is not compressed while it is being written. Other
    servers have nothing to do.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    compress_after_days : older chunks are compressed [days]; 0 for never.
    retention_days : older chunks are dropped [days]; 0 for never.
    """
    if not is_compressing(conn):
        return
    conn.commit()
    conn.autocommit = True  # a refresh cannot run in a transaction
    try:
        with conn.cursor() as cur:
            cur.execute("SELECT current_setting('statement_timeout')")
            (patience,) = one_row(cur)
            # the first refresh of a long history takes its time
            cur.execute("SET statement_timeout = 0")
            for table in (*MEASUREMENTS, *RESULTS):
                _set_policy(cur, table, "columnstore", "compress_after", compress_after_days)
            for table in MEASUREMENTS:
                _set_policy(cur, table, "retention", "drop_after", retention_days)
            for view in HOURLY:
                _refresh(cur, view)
            if retention_days:
                old = "DELETE FROM revisions WHERE time < now() - make_interval(days => %s)"
                cur.execute(old, (retention_days,))
            cur.execute("SELECT set_config('statement_timeout', %s, false)", (patience,))
    finally:
        if not conn.closed:
            conn.autocommit = False


def _refresh(cur: cursor, view: str) -> None:
    """Refresh hourly means now, and let the server do it every hour.

    The server's own job may be refreshing them: that is waited for, and at last left to it.
    """
    try:
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_busy),
            stop=tenacity.stop_after_attempt(REFRESH_ATTEMPTS),
            wait=tenacity.wait_random(*REFRESH_PAUSE_S),
            reraise=True,
        ):
            with attempt:
                call = "CALL refresh_continuous_aggregate(%s::regclass, NULL, NULL)"
                cur.execute(call, (view,))
    except psycopg2.Error as error:
        if not _is_busy(error):
            raise
        log.warning("%s is refreshed by a job of the server: %s", view, first_line(error))
    cur.execute(
        """
        SELECT add_continuous_aggregate_policy(
            %s::regclass, start_offset => NULL, end_offset => interval '1 hour',
            schedule_interval => interval '1 hour', if_not_exists => true)""",
        (view,),
    )


def _is_busy(error: BaseException) -> bool:
    """Whether another refresh of the same means goes on."""
    busy = (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected)
    return isinstance(error, busy) or (
        isinstance(error, psycopg2.Error) and "concurrent refresh" in str(error)
    )


def _set_policy(cur: cursor, table: str, kind: str, key: str, days: int) -> None:
    """Bring a background job of a table to a number of days; 0 for no such job."""
    cur.execute(
        """
        SELECT (config ->> %s)::interval = make_interval(days => %s)
        FROM timescaledb_information.jobs
        WHERE hypertable_schema = current_schema() AND hypertable_name = %s AND config ? %s""",
        (key, days, table, key),
    )
    found = cur.fetchone()
    if found == (True,) or (found is None and not days):
        return
    call = "CALL" if kind == "columnstore" else "SELECT"
    if found:
        cur.execute(f"{call} remove_{kind}_policy(%s::regclass, if_exists => true)", (table,))
    if days:
        after = "after" if kind == "columnstore" else "drop_after"
        days_after = f"{after} => make_interval(days => %s), if_not_exists => true"
        cur.execute(f"{call} add_{kind}_policy(%s::regclass, {days_after})", (table, days))
