"""The tables of the database: their definition, their migrations, and what TimescaleDB adds to them.

`migrate(conn)` brings a schema to the newest version; `db.connect` calls it, so no command has to come first. With TimescaleDB
the tables of measurements and results are hypertables; with its Community licence old chunks are also compressed and the hourly
means are continuous aggregates. Without it there are the same tables, keys and views. Everything lies in the first schema of
the role's search path; the role need not own more.
"""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import psycopg2.errors
import tenacity
from psycopg2 import sql
from psycopg2.extensions import connection

from config import BatteryParameters, VppError

log = logging.getLogger("db")

LOCK_KEY = 0x565050  # "VPP": one schema change at a time, whoever connects
CHUNK = "30 days"
WEATHER = ("ghi", "dni", "dhi", "temp_air", "wind_speed")
QUANTILES = ("q05", "q10", "q25", "q50", "q75", "q90", "q95")


class DatabaseError(VppError):
    """The database cannot be reached or refuses; the message names the table or server and the cause, never the password."""


def first_line(error: BaseException) -> str:
    """The first line of an error: the cause without its context."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


@dataclass(frozen=True)
class Measurements:
    """A table that the stream fills: the times of its key, which follow source_id, and its values."""

    times: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.times, *self.values, "sent_at")


MEASUREMENTS = {
    "renewables": Measurements(("time",), ("power_kw",)),
    "load": Measurements(("time",), ("power_kw",)),
    "market_prices": Measurements(("time",), ("price_eur_per_mwh", "available_at")),
    "weather": Measurements(("time",), WEATHER),
    "weather_forecasts": Measurements(("issue_time", "valid_time"), WEATHER),
}
TABLES = ("sources", *MEASUREMENTS, "forecast_runs", "forecasts", "batteries", "battery_states", "schedule_runs", "schedules")
# hypertable -> the column that its chunks are ranges of
HYPERTABLES = {
    "renewables": "time",
    "load": "time",
    "market_prices": "time",
    "weather": "time",
    "weather_forecasts": "valid_time",
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

_WEATHER_SQL = ", ".join(f"{name} double precision NOT NULL" for name in WEATHER)
_SCHEMA_1 = f"""
CREATE TABLE sources (
    source_id text PRIMARY KEY, kind text NOT NULL, name text NOT NULL, site_id text NOT NULL,
    capacity_kw double precision CHECK (capacity_kw > 0), step_min integer NOT NULL CHECK (step_min > 0),
    latitude double precision, longitude double precision, time_zone text NOT NULL, price_area text,
    parameters jsonb NOT NULL DEFAULT '{{}}', valid_from timestamptz NOT NULL DEFAULT now());
CREATE TABLE renewables (
    time timestamptz NOT NULL, source_id text NOT NULL, power_kw double precision NOT NULL, sent_at timestamptz NOT NULL,
    PRIMARY KEY (source_id, time));
CREATE TABLE load (
    time timestamptz NOT NULL, source_id text NOT NULL, power_kw double precision NOT NULL, sent_at timestamptz NOT NULL,
    PRIMARY KEY (source_id, time));
CREATE TABLE market_prices (
    time timestamptz NOT NULL, source_id text NOT NULL, price_eur_per_mwh double precision NOT NULL,
    available_at timestamptz NOT NULL, sent_at timestamptz NOT NULL, PRIMARY KEY (source_id, time));
CREATE TABLE weather (
    time timestamptz NOT NULL, source_id text NOT NULL, {_WEATHER_SQL}, sent_at timestamptz NOT NULL, PRIMARY KEY (source_id, time));
CREATE TABLE weather_forecasts (
    source_id text NOT NULL, issue_time timestamptz NOT NULL, valid_time timestamptz NOT NULL, {_WEATHER_SQL},
    sent_at timestamptz NOT NULL, PRIMARY KEY (source_id, issue_time, valid_time));
CREATE TABLE forecast_runs (
    run_id text PRIMARY KEY, source_id text NOT NULL, model text NOT NULL, model_version text, trained_until timestamptz,
    issue_time timestamptz NOT NULL, role text NOT NULL CHECK (role IN ('champion', 'fallback', 'candidate', 'backtest', 'manual')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX forecast_runs_by_source ON forecast_runs (source_id, issue_time, created_at);
CREATE TABLE forecasts (
    run_id text NOT NULL, valid_time timestamptz NOT NULL, value double precision NOT NULL,
    {", ".join(f"{name} double precision" for name in QUANTILES)}, PRIMARY KEY (run_id, valid_time));
CREATE TABLE batteries (
    battery_id text PRIMARY KEY,
    {", ".join(f"{f.name} double precision" for f in dataclasses.fields(BatteryParameters) if f.name != "battery_id")});
CREATE TABLE battery_states (
    battery_id text NOT NULL, kind text NOT NULL CHECK (kind IN ('measured', 'simulated', 'planned')), run_id text NOT NULL DEFAULT '',
    time timestamptz NOT NULL, soc double precision NOT NULL, energy_kwh double precision, charge_kw double precision,
    discharge_kw double precision, PRIMARY KEY (battery_id, kind, run_id, time));
CREATE TABLE schedule_runs (
    run_id text PRIMARY KEY, site_id text NOT NULL, issue_time timestamptz NOT NULL, kind text NOT NULL, status text, certificate text,
    gap double precision, objective_eur double precision, cost_eur double precision, cost_no_battery_eur double precision,
    cost_rule_eur double precision, seconds double precision, input_hash text, created_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE schedules (
    run_id text NOT NULL, time timestamptz NOT NULL, grid_import_kw double precision, grid_export_kw double precision,
    load_kw double precision, renewables_kw double precision, curtailed_kw double precision, import_price_eur_per_mwh double precision,
    export_price_eur_per_mwh double precision, stored_value_eur_per_mwh double precision, reason text, PRIMARY KEY (run_id, time));
"""


COMMUNITY = "timescale"  # the licence of the build that compresses and keeps continuous aggregates


def _migration_1(cursor, licence: str | None) -> None:
    cursor.execute(_SCHEMA_1)
    if licence:
        for table, time in HYPERTABLES.items():
            dimension = "by_range(%s, %s::interval), create_default_indexes => false"
            cursor.execute(f"SELECT create_hypertable(%s::regclass, {dimension})", (table, time, CHUNK))
    for view, (table, means) in HOURLY.items():
        if licence == COMMUNITY:
            head = f"CREATE MATERIALIZED VIEW {view} WITH (timescaledb.continuous, timescaledb.materialized_only = false)"
            select = f"SELECT source_id, time_bucket('1 hour', time) AS time, {means} FROM {table} GROUP BY 1, 2"
            cursor.execute(f"{head} AS {select} WITH NO DATA")
        else:
            bucket = "date_bin('1 hour', time, '2000-01-01T00:00Z')"
            cursor.execute(f"CREATE VIEW {view} AS SELECT source_id, {bucket} AS time, {means} FROM {table} GROUP BY 1, 2")
    if licence == COMMUNITY:
        for table, shape in MEASUREMENTS.items():
            order = ", ".join(f"{name} DESC" for name in reversed(shape.times))
            columnstore = f"timescaledb.enable_columnstore, timescaledb.segmentby = 'source_id', timescaledb.orderby = '{order}'"
            cursor.execute(f"ALTER TABLE {table} SET ({columnstore})")


def _migration_2(cursor, licence: str | None) -> None:
    """What waits in Kafka and what was dead-lettered, as `communication.py status` saw it: for those who see the database only."""
    cursor.execute(
        "CREATE TABLE stream_status (time timestamptz NOT NULL DEFAULT clock_timestamp(), topic text NOT NULL, lag bigint, "
        "dead_letters bigint NOT NULL, PRIMARY KEY (topic, time))"
    )


def _migration_3(cursor, licence: str | None) -> None:
    """What a plan was made with, beside it."""
    path = Path(__file__).resolve().parent / "migrations" / "0004_plan_basis.sql"
    cursor.execute(path.read_text(encoding="utf-8"))


MIGRATIONS = (_migration_1, _migration_2, _migration_3)  # in order; the version of a schema is how many of them it has


def timescale_licence(conn: connection) -> str | None:
    """The licence of TimescaleDB in this database, `COMMUNITY` or "apache"; None where it is not there."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT current_setting('timescaledb.license', true) FROM pg_extension WHERE extname = 'timescaledb'")
        row = cursor.fetchone()
    return (row[0] or "apache") if row else None


def schema_version(conn: connection) -> int:
    """How many migrations the schema has; 0 for an empty one."""
    with conn.cursor() as cursor:
        # to_regclass would answer from a cache that may be older than the lock of migrate().
        cursor.execute("SELECT 1 FROM pg_class WHERE relname = 'schema_version' AND relnamespace = current_schema()::regnamespace")
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
                raise DatabaseError("database: the role has no schema to create tables in; create one, or set its search_path")
        _create_extension(conn)
    with conn.cursor() as cursor:  # the functions of TimescaleDB may lie in a schema that is not on the role's path
        cursor.execute(
            "SELECT set_config('search_path', concat(current_setting('search_path'), ', ', quote_ident(nspname)), false) "
            "FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
            "WHERE extname = 'timescaledb' AND nspname <> ALL (current_schemas(false))"
        )
    if version < len(MIGRATIONS):
        with conn.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            version = schema_version(conn)  # another process may have been faster
            if version == 0:
                cursor.execute("CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY, applied_at timestamptz NOT NULL)")
            licence = timescale_licence(conn)
            for number in range(version + 1, len(MIGRATIONS) + 1):
                MIGRATIONS[number - 1](cursor, licence)
                cursor.execute("INSERT INTO schema_version VALUES (%s, clock_timestamp())", (number,))
        version = max(version, len(MIGRATIONS))
    conn.commit()
    if version > len(MIGRATIONS):
        raise DatabaseError(f"database: its schema has version {version}, this code knows {len(MIGRATIONS)}; update the code")


def _create_extension(conn: connection) -> None:
    """Switch TimescaleDB on where the server has it and the role may; the schema works without it."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb' AND installed_version IS NULL")
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
        retry=tenacity.retry_if_exception_type(psycopg2.errors.DeadlockDetected),  # with a background job of TimescaleDB
        stop=tenacity.stop_after_attempt(5),
        wait=tenacity.wait_random(0.1, 1),
        after=lambda state: conn.rollback(),
        reraise=True,
    ):
        with attempt, conn.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            for view in HOURLY if timescale_licence(conn) == COMMUNITY else ():
                cursor.execute(sql.SQL("DROP MATERIALIZED VIEW IF EXISTS {} CASCADE").format(sql.Identifier(view)))
            for table in ("schema_version", "stream_status", *TABLES):
                cursor.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.Identifier(table)))
    conn.commit()
    migrate(conn)


def empty_table(conn: connection, table: str) -> None:
    """Delete all rows of one table."""
    with conn.cursor() as cursor:
        cursor.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(table)))
    conn.commit()


def count_rows(conn: connection) -> dict[str, int]:
    """Number of rows of every table."""
    query = sql.SQL(" UNION ALL ").join(sql.SQL("SELECT {}, count(*) FROM {}").format(sql.Literal(t), sql.Identifier(t)) for t in TABLES)
    with conn.cursor() as cursor:
        cursor.execute(query)
        counts = dict(cursor.fetchall())
    return {table: counts[table] for table in TABLES}


def server_name(conn: connection) -> str:
    """The server in words: PostgreSQL's version, and TimescaleDB's or "plain PostgreSQL"."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT current_setting('server_version'), (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')")
        server, extension = cursor.fetchone()
    kind = f"TimescaleDB {extension} ({timescale_licence(conn)} licence)" if extension else "plain PostgreSQL"
    return f"PostgreSQL {server.split()[0]}, {kind}, schema version {schema_version(conn)}"


def table_rows(conn: connection) -> list[dict]:
    """One row a table: rows, first and last time, size [MB]; on TimescaleDB its chunks, and its size before and after compression [MB]."""
    licence, rows = timescale_licence(conn), []

    def ask(cursor, query: str, table: str) -> tuple:
        cursor.execute(sql.SQL(query).format(sql.Identifier(table)), (table,) if "%s" in query else None)
        return cursor.fetchone()

    with conn.cursor() as cursor:
        for table, count in count_rows(conn).items():
            time = HYPERTABLES.get(table)
            first, last = ask(cursor, f"SELECT min({time}), max({time}) FROM {{}}", table) if time else (None, None)
            chunked = licence is not None and time is not None
            (size,) = ask(cursor, f"SELECT {'hypertable_size' if chunked else 'pg_total_relation_size'}(%s::regclass)", table)
            row = {"table": table, "rows": count, "first": first, "last": last, "size_mb": size / 1e6}
            if licence is not None:
                row["chunks"] = ask(cursor, "SELECT count(*) FROM show_chunks(%s::regclass)", table)[0] if chunked else None
            if licence == COMMUNITY:
                before = after = None
                if table in MEASUREMENTS:
                    sums = "sum(before_compression_total_bytes) / 1e6, sum(after_compression_total_bytes) / 1e6"
                    before, after = ask(cursor, f"SELECT {sums} FROM hypertable_columnstore_stats(%s::regclass)", table)
                row |= {"uncompressed_mb": before and float(before), "compressed_mb": after and float(after)}
            rows.append(row)
    return rows


def after_import(conn: connection, compress_after_days: int, retention_days: int) -> None:
    """Let TimescaleDB (Community) compress what is old, drop what is older where a retention is given, and refresh the hourly means.

    Called when a stream has been stored to its end, so that history is not compressed while it is being written. Does nothing on
    other servers.
    """
    if timescale_licence(conn) != COMMUNITY:
        return
    conn.commit()
    conn.autocommit = True  # a refresh cannot run in a transaction
    try:
        with conn.cursor() as cursor:
            cursor.execute("SELECT set_config('vpp.statement_timeout', current_setting('statement_timeout'), false)")
            cursor.execute("SET statement_timeout = 0")  # the first refresh of a long history takes its time
            for table in MEASUREMENTS:
                _set_policy(cursor, table, "columnstore", "compress_after", compress_after_days)
                _set_policy(cursor, table, "retention", "drop_after", retention_days)
            for view in HOURLY:
                cursor.execute("CALL refresh_continuous_aggregate(%s::regclass, NULL, NULL)", (view,))
                policy = (
                    "start_offset => NULL, end_offset => interval '1 hour', schedule_interval => interval '1 hour', if_not_exists => true"
                )
                cursor.execute(f"SELECT add_continuous_aggregate_policy(%s::regclass, {policy})", (view,))
            cursor.execute("SELECT set_config('statement_timeout', current_setting('vpp.statement_timeout'), false)")
    finally:
        if not conn.closed:
            conn.autocommit = False


def _set_policy(cursor, table: str, kind: str, key: str, days: int) -> None:
    """Bring a background job of a table to a number of days; 0 for no such job."""
    cursor.execute(
        "SELECT (config ->> %s)::interval = make_interval(days => %s) FROM timescaledb_information.jobs "
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
