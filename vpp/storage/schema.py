"""The tables of the database: their migrations, and what TimescaleDB adds to them.

`migrate(conn)` brings a schema to the newest version by the numbered SQL files of `migrations/`;
`db.connect` calls it, so no command has to come first. With TimescaleDB the tables of measurements
and results are hypertables; with its Community licence old chunks are also compressed and the
hourly means are continuous aggregates. Without it there are the same tables, keys and views.
Everything lies in the first schema of the role's search path; the role need not own more.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import psycopg2.errors
import tenacity
from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.runtime.config import VppError
from vpp.site.kinds import MEASUREMENTS, WEATHER

log = logging.getLogger("db")

LOCK_KEY = 0x565050  # "VPP": one schema change at a time, whoever connects
QUANTILES = ("q05", "q10", "q25", "q50", "q75", "q90", "q95")


TABLES = (
    "sources",
    *MEASUREMENTS,
    "forecast_runs",
    "forecasts",
    "batteries",
    "battery_states",
    "schedule_runs",
    "schedules",
)
# hypertable -> the column that its chunks are ranges of
HYPERTABLES = {table: kind.times[-1] for table, kind in MEASUREMENTS.items()} | {
    "forecasts": "valid_time",
    "battery_states": "time",
    "schedules": "time",
}
# Hourly means, in hours of UTC: view -> its table and means.
HOURLY = {
    "renewables_hourly": ("renewables", "avg(power_kw) AS power_kw"),
    "load_hourly": ("load", "avg(power_kw) AS power_kw"),
    "market_prices_hourly": ("market_prices", "avg(price_eur_per_mwh) AS price_eur_per_mwh"),
    "weather_hourly": ("weather", ", ".join(f"avg({name}) AS {name}" for name in WEATHER)),
}

FOLDER = Path(__file__).resolve().parent / "migrations"
COMMUNITY = "timescale"  # the licence of the build that compresses and keeps continuous aggregates


# table -> the tables whose rows mean nothing without its rows; the battery states of plans apart
HANG_ON = {
    "sources": (*MEASUREMENTS, "forecast_runs", "forecasts"),
    "forecast_runs": ("forecasts",),
    "forecasts": ("forecast_runs",),
    "batteries": ("battery_states", "schedule_runs", "schedules"),
    "battery_states": ("schedule_runs", "schedules"),
    "schedule_runs": ("schedules",),
    "schedules": ("schedule_runs",),
}


class DatabaseError(VppError):
    """The database cannot be reached or refuses.

    The message names the table or server and the cause, never the password.
    """


def first_line(error: BaseException) -> str:
    """The first line of an error: the cause without its context."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


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


def _run_migration(cursor, files: Sequence[Path], licence: str | None) -> None:
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
                    cursor.execute(statement)


def timescale_licence(conn: connection) -> str | None:
    """The licence of TimescaleDB in this database, `COMMUNITY` or "apache".

    None where it is not there.
    """
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('timescaledb.license', true) FROM pg_extension WHERE "
            "extname = 'timescaledb'"
        )
        row = cursor.fetchone()
    return (row[0] or "apache") if row else None


def schema_version(conn: connection) -> int:
    """The number of the newest migration that the schema has; 0 for an empty one."""
    with conn.cursor() as cursor:
        # to_regclass would answer from a cache that may be older than the lock of migrate().
        cursor.execute(
            "SELECT 1 FROM pg_class WHERE relname = 'schema_version' AND relnamespace = "
            "current_schema()::regnamespace"
        )
        if not cursor.fetchone():
            return 0
        cursor.execute("SELECT coalesce(max(version), 0) FROM schema_version")
        return cursor.fetchone()[0]


def migrate(conn: connection) -> None:
    """Bring the schema to the newest version, in one transaction; mostly there is nothing to do."""
    version = schema_version(conn)
    if version == 0:
        with conn.cursor() as cursor:
            cursor.execute("SELECT current_schema() IS NULL")
            if cursor.fetchone()[0]:
                raise DatabaseError(
                    "database: the role has no schema to create tables in; create one, or set "
                    "its search_path"
                )
        _create_extension(conn)
    with (
        conn.cursor() as cursor
    ):  # the functions of TimescaleDB may lie in a schema that is not on the role's path
        cursor.execute(
            "SELECT set_config('search_path', concat(current_setting('search_path'), ', ', "
            "quote_ident(nspname)), false) "
            "FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
            "WHERE extname = 'timescaledb' AND nspname <> ALL (current_schemas(false))"
        )
    files = migration_files()
    newest = max(files)
    if version < newest:
        with conn.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            version = schema_version(conn)  # another process may have been faster
            if version == 0:
                cursor.execute(
                    "CREATE TABLE IF NOT EXISTS schema_version"
                    " (version integer PRIMARY KEY, applied_at timestamptz NOT NULL)"
                )
            licence = timescale_licence(conn)
            for number in (number for number in files if number > version):
                _run_migration(cursor, files[number], licence)
                cursor.execute(
                    "INSERT INTO schema_version VALUES (%s, clock_timestamp())", (number,)
                )
        version = max(version, newest)
    conn.commit()
    if version > newest:
        raise DatabaseError(
            f"database: its schema has version {version}, this code knows {newest}; update the code"
        )


def _create_extension(conn: connection) -> None:
    """Switch TimescaleDB on where the server has it and the role may.

    The schema works without it.
    """
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb' AND "
            "installed_version IS NULL"
        )
        if cursor.fetchone():
            try:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
                cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            except psycopg2.Error as error:
                log.info("TimescaleDB is installed but not used: %s", first_line(error))
                conn.rollback()
                return
    conn.commit()


def reset(conn: connection) -> None:
    """Drop every table and view of the schema, with their rows, and make them anew."""
    conn.rollback()
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(
            psycopg2.errors.DeadlockDetected
        ),  # with a background job of TimescaleDB
        stop=tenacity.stop_after_attempt(5),
        wait=tenacity.wait_random(0.1, 1),
        after=lambda state: conn.rollback(),
        reraise=True,
    ):
        with attempt, conn.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            for view in HOURLY if timescale_licence(conn) == COMMUNITY else ():
                cursor.execute(
                    sql.SQL("DROP MATERIALIZED VIEW IF EXISTS {} CASCADE").format(
                        sql.Identifier(view)
                    )
                )
            for table in ("schema_version", "stream_status", *TABLES):
                cursor.execute(
                    sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(table))
                )
    conn.commit()
    migrate(conn)


def emptied_with(table: str) -> str:
    """In words: which rows `empty_table` deletes."""
    parts = [table, *HANG_ON.get(table, ())]
    if "schedules" in parts and "battery_states" not in parts:
        parts.append("the battery_states of plans")
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else table


def empty_table(conn: connection, table: str) -> None:
    """Delete all rows of a table, and in the same transaction those of others that hang on them
    (`HANG_ON`).
    """
    tables = (table, *HANG_ON.get(table, ()))
    with conn.cursor() as cursor:
        if "schedules" in tables and "battery_states" not in tables:
            cursor.execute("DELETE FROM battery_states WHERE run_id <> ''")
        for name in tables:
            cursor.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(name)))
    conn.commit()


def count_rows(conn: connection) -> dict[str, int]:
    """Number of rows of every table."""
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, count(*) FROM {}").format(sql.Literal(t), sql.Identifier(t))
        for t in TABLES
    )
    with conn.cursor() as cursor:
        cursor.execute(query)
        counts = dict(cursor.fetchall())
    return {table: counts[table] for table in TABLES}


def server_name(conn: connection) -> str:
    """The server in words: PostgreSQL's version, and TimescaleDB's or "plain PostgreSQL"."""
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension "
            "WHERE extname = 'timescaledb')"
        )
        server, extension = cursor.fetchone()
    kind = (
        f"TimescaleDB {extension} ({timescale_licence(conn)} licence)"
        if extension
        else "plain PostgreSQL"
    )
    return f"PostgreSQL {server.split()[0]}, {kind}, schema version {schema_version(conn)}"


def table_rows(conn: connection) -> list[dict]:
    """One row a table: rows, first and last time, size [MB].

    On TimescaleDB its chunks, and its size before and after compression [MB].
    """
    licence, rows = timescale_licence(conn), []

    def ask(cursor, query: str, table: str) -> tuple:
        cursor.execute(
            sql.SQL(query).format(sql.Identifier(table)), (table,) if "%s" in query else None
        )
        return cursor.fetchone()

    with conn.cursor() as cursor:
        for table, count in count_rows(conn).items():
            time = HYPERTABLES.get(table)
            first, last = (
                ask(cursor, f"SELECT min({time}), max({time}) FROM {{}}", table)
                if time
                else (None, None)
            )
            chunked = licence is not None and time is not None
            (size,) = ask(
                cursor,
                "SELECT "
                f"{'hypertable_size' if chunked else 'pg_total_relation_size'}(%s::regclass)",
                table,
            )
            row = {
                "table": table,
                "rows": count,
                "first": first,
                "last": last,
                "size_mb": size / 1e6,
            }
            if licence is not None:
                row["chunks"] = (
                    ask(cursor, "SELECT count(*) FROM show_chunks(%s::regclass)", table)[0]
                    if chunked
                    else None
                )
            if licence == COMMUNITY:
                before = after = None
                if table in MEASUREMENTS:
                    sums = (
                        "sum(before_compression_total_bytes) / "
                        "1e6, "
                        "sum(after_compression_total_bytes) / 1e6"
                    )
                    before, after = ask(
                        cursor,
                        f"SELECT {sums} FROM hypertable_columnstore_stats(%s::regclass)",
                        table,
                    )
                row |= {
                    "uncompressed_mb": before and float(before),
                    "compressed_mb": after and float(after),
                }
            rows.append(row)
    return rows


def after_import(conn: connection, compress_after_days: int, retention_days: int) -> None:
    """Let TimescaleDB (Community) compress what is old, drop what is older where a retention is
    given, and refresh the hourly means.

    Called when a stream has been stored to its end, so that history is not compressed while it is
    being written. Does nothing on other servers."""
    if timescale_licence(conn) != COMMUNITY:
        return
    conn.commit()
    conn.autocommit = True  # a refresh cannot run in a transaction
    try:
        with conn.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('vpp.statement_timeout', "
                "current_setting('statement_timeout'), false)"
            )
            cursor.execute(
                "SET statement_timeout = 0"
            )  # the first refresh of a long history takes its time
            for table in MEASUREMENTS:
                _set_policy(cursor, table, "columnstore", "compress_after", compress_after_days)
                _set_policy(cursor, table, "retention", "drop_after", retention_days)
            for view in HOURLY:
                cursor.execute(
                    "CALL refresh_continuous_aggregate(%s::regclass, NULL, NULL)", (view,)
                )
                policy = (
                    "start_offset => NULL, end_offset => interval '1 "
                    "hour', "
                    "schedule_interval => interval '1 hour', if_not_exists => true"
                )
                cursor.execute(
                    f"SELECT add_continuous_aggregate_policy(%s::regclass, {policy})", (view,)
                )
            cursor.execute(
                "SELECT set_config('statement_timeout', "
                "current_setting('vpp.statement_timeout'), false)"
            )
    finally:
        if not conn.closed:
            conn.autocommit = False


def _set_policy(cursor, table: str, kind: str, key: str, days: int) -> None:
    """Bring a background job of a table to a number of days; 0 for no such job."""
    cursor.execute(
        "SELECT (config ->> %s)::interval = make_interval(days => %s) FROM "
        "timescaledb_information.jobs "
        "WHERE hypertable_schema = current_schema() AND hypertable_name = %s AND config ? %s",
        (key, days, table, key),
    )
    found = cursor.fetchone()
    if found == (True,) or (found is None and not days):
        return
    call = "CALL" if kind == "columnstore" else "SELECT"
    if found:
        cursor.execute(f"{call} remove_{kind}_policy(%s::regclass, if_exists => true)", (table,))
    if days:
        after = "after" if kind == "columnstore" else "drop_after"
        days_after = f"{after} => make_interval(days => %s), if_not_exists => true"
        cursor.execute(f"{call} add_{kind}_policy(%s::regclass, {days_after})", (table, days))
