"""The tables of the database: their names, their migrations, and how they are emptied.

`migrate(conn)` brings a schema to the newest version by the numbered SQL files of `migrations/`;
`connection.connect` calls it, so no command has to come first. With TimescaleDB the tables of
measurements and results are hypertables; timescale.py says what else it adds. Without it there are
the same tables, keys and views. Everything lies in the first schema of the role's search path; the
role need not own more.
"""

from collections.abc import Sequence
from pathlib import Path

import psycopg2.errors
import tenacity
from psycopg2 import sql
from psycopg2.extensions import connection, cursor

from vpp.site.kinds import MEASUREMENTS
from vpp.storage.errors import DatabaseError
from vpp.storage.rows import one_row
from vpp.storage.timescale import (
    COMMUNITY,
    HOURLY,
    create_extension,
    is_compressing,
    is_loaded,
    timescale_licence,
)

LOCK_KEY = 0x565050  # "VPP": one schema change at a time, whoever connects
QUANTILES = ("q05", "q10", "q25", "q50", "q75", "q90", "q95")  # columns of forecasts
FOLDER = Path(__file__).resolve().parent / "migrations"

TABLES = (
    "sources",
    *MEASUREMENTS,
    "revisions",
    "capacities",
    "forecast_runs",
    "forecasts",
    "sites",
    "batteries",
    "battery_states",
    "fleet_states",
    "device_states",
    "schedule_runs",
    "schedules",
    "acknowledgements",
    "model_digests",
    "claims",
    "claim_steps",
    "overrides",
    "jobs",
    "operations",
    "positions",
    "ledger",
    "alerts",
    "alert_messages",
)
# hypertable -> the column that its chunks are ranges of
HYPERTABLES = {table: kind.times[-1] for table, kind in MEASUREMENTS.items()} | {
    "forecasts": "valid_time",
    "battery_states": "time",
    "schedules": "time",
}
OF_PLANS = ("fleet_states", "device_states", "schedule_runs", "schedules", "acknowledgements")
# table -> the tables whose rows mean nothing without its rows; the battery states of plans apart
HANG_ON = {
    "sources": (*MEASUREMENTS, "revisions", "capacities", "forecast_runs", "forecasts"),
    "forecast_runs": ("forecasts",),
    "forecasts": ("forecast_runs",),
    "batteries": ("battery_states", *OF_PLANS, "overrides"),
    "battery_states": OF_PLANS,
    "fleet_states": ("device_states", "schedule_runs", "schedules", "acknowledgements"),
    "device_states": ("fleet_states", "schedule_runs", "schedules", "acknowledgements"),
    "schedule_runs": ("fleet_states", "device_states", "schedules", "acknowledgements"),
    "schedules": ("schedule_runs", "fleet_states", "device_states", "acknowledgements"),
    "alerts": ("alert_messages",),
}


def migration_files() -> dict[int, list[Path]]:
    """The files of each migration, by its number, in the order in which they run.

    `0003_name.sql` runs on every server; `0003_name.timescaledb.sql` after it where TimescaleDB is
    there; then `0003_name.community.sql` where its licence is the Community one, or else
    `0003_name.plain.sql`. A file that was released never changes: databases that have it would
    not follow. The version of a schema is the number of its newest migration.
    """
    files: dict[int, list[Path]] = {}
    for path in FOLDER.glob("[0-9]*.sql"):
        files.setdefault(int(path.name.partition("_")[0]), []).append(path)
    order = ["", ".timescaledb", ".community", ".plain"]
    return {
        number: sorted(files[number], key=lambda path: order.index(Path(path.stem).suffix))
        for number in sorted(files)
    }


def schema_version(conn: connection) -> int:
    """The number of the newest migration that the schema has; 0 for an empty one."""
    with conn.cursor() as cur:
        # to_regclass would answer from a cache that may be older than the lock of migrate().
        cur.execute("""
            SELECT 1 FROM pg_class
            WHERE relname = 'schema_version'
                AND relnamespace = current_schema()::regnamespace""")
        if not cur.fetchone():
            return 0
        cur.execute("SELECT coalesce(max(version), 0) FROM schema_version")
        return one_row(cur)[0]


def migrate(conn: connection, plain: bool = False) -> bool:
    """Bring the schema to the newest version, in one transaction; mostly there is nothing to do.

    Parameters
    ----------
    conn : the connection.
    plain : do not try to switch TimescaleDB on.

    Returns
    -------
    Whether the connection still lives: a server ends it that has TimescaleDB, but not preloaded.

    Raises
    ------
    DatabaseError : the role has no schema, or the schema is newer than this code.
    """
    version = schema_version(conn)
    if version == 0:
        with conn.cursor() as cur:
            cur.execute("SELECT current_schema() IS NULL")
            if one_row(cur)[0]:
                raise DatabaseError(
                    "database: the role has no schema to create tables in; create one, or set "
                    "its search_path"
                )
        if not plain and not create_extension(conn, LOCK_KEY):
            return False
    _find_timescaledb(conn)
    files = migration_files()
    newest = max(files)
    if version < newest:
        version = _run_migrations(conn, files)
    conn.commit()
    if version > newest:
        raise DatabaseError(
            f"database: its schema has version {version}, this code knows {newest}; update the code"
        )
    return True


def _find_timescaledb(conn: connection) -> None:
    """Add the schema of TimescaleDB's functions, where it is not on the role's search path."""
    with conn.cursor() as cur:
        cur.execute("""
            SELECT set_config(
                'search_path',
                concat(current_setting('search_path'), ', ', quote_ident(nspname)),
                false)
            FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace
            WHERE extname = 'timescaledb' AND nspname <> ALL (current_schemas(false))""")


def _run_migrations(conn: connection, files: dict[int, list[Path]]) -> int:
    """Run the migrations that the schema has not; returns its version afterwards."""
    with conn.cursor() as cur:
        cur.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        version = schema_version(conn)  # another process may have been faster
        if version == 0:
            cur.execute("""
                CREATE TABLE IF NOT EXISTS schema_version (
                    version integer PRIMARY KEY, applied_at timestamptz NOT NULL)""")
        licence = timescale_licence(conn)
        for number in (number for number in files if number > version):
            _run_migration(cur, files[number], licence)
            cur.execute("INSERT INTO schema_version VALUES (%s, clock_timestamp())", (number,))
    return max(version, *files)


def _run_migration(cur: cursor, files: Sequence[Path], licence: str | None) -> None:
    """Run the files of one migration that are for this server."""
    wanted = {
        "": True,
        ".timescaledb": licence is not None,
        ".community": licence == COMMUNITY,
        ".plain": licence != COMMUNITY,
    }
    for path in files:
        if wanted[Path(path.stem).suffix]:
            # TimescaleDB wants some of its statements by themselves.
            for statement in path.read_text(encoding="utf-8").split(";\n"):
                if statement.strip():
                    cur.execute(statement)


def reset(conn: connection) -> None:
    """Drop every table and view of the schema, with their rows, and make them anew."""
    conn.rollback()
    for attempt in tenacity.Retrying(
        # with a background job of TimescaleDB
        retry=tenacity.retry_if_exception_type(psycopg2.errors.DeadlockDetected),
        stop=tenacity.stop_after_attempt(5),
        wait=tenacity.wait_random(0.1, 1),
        after=lambda state: conn.rollback(),
        reraise=True,
    ):
        with attempt, conn.cursor() as cur:
            cur.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            for view in HOURLY if is_compressing(conn) else ():
                statement = sql.SQL("DROP MATERIALIZED VIEW IF EXISTS {} CASCADE")
                cur.execute(statement.format(sql.Identifier(view)))
            for table in ("schema_version", "stream_status", *TABLES):
                statement = sql.SQL("DROP TABLE IF EXISTS {} CASCADE")
                cur.execute(statement.format(sql.Identifier(table)))
    conn.commit()
    migrate(conn, plain=not is_loaded(conn))


def emptied_with(table: str) -> str:
    """In words: which rows `empty_table` deletes."""
    parts = [table, *HANG_ON.get(table, ())]
    if "schedules" in parts and "battery_states" not in parts:
        parts.append("the battery_states of plans")
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else table


def empty_table(conn: connection, table: str) -> None:
    """Delete all rows of a table and those of others that hang on them, in one transaction.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    table : one of `TABLES`; `HANG_ON` names the others.
    """
    tables = (table, *HANG_ON.get(table, ()))
    with conn.cursor() as cur:
        if "schedules" in tables and "battery_states" not in tables:
            cur.execute("DELETE FROM battery_states WHERE run_id <> ''")
        for name in tables:
            cur.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(name)))
    conn.commit()
