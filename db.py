"""The database: schema, bulk writes, reads and reset. SQL only.

TimescaleDB where the extension is there (hypertables; with its Community licence also compression and continuous aggregates),
else plain PostgreSQL with the same tables, keys and views. The schema is made and migrated on every connect, so no command has to
come first. All times are UTC; a time labels the start of its interval. Ranges are `[start, end)`; None leaves a side open.

    python db.py                          # the state: server, tables, rows, times, sizes
    python db.py init                     # make or migrate the schema
    python db.py reset --yes              # drop everything and make the schema anew
    python db.py reset --table load --yes # empty one table
"""

import argparse
import dataclasses
import hashlib
import io
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import psycopg2
import psycopg2.errors
import psycopg2.extras
import tenacity
from psycopg2 import sql
from psycopg2.extensions import connection

import schema
import terminal
from bulk import copy_out
from bulk import store_measurements as store_measurements
from config import EMBEDDED, BatteryParameters, Config, VppError
from schema import MEASUREMENTS, QUANTILES, TABLES, WEATHER, DatabaseError, first_line
from schema import after_import as after_import  # others know these three by db.
from schema import count_rows as count_rows
from schema import reset as reset
from sources import Source

log = logging.getLogger("db")

# What a record itself is to blame for: out of range, against a constraint, or refused by a trigger. All else is the server's.
RECORD_REFUSED = (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.errors.RaiseException)
# kind of a source -> its table and value column
SERIES = {
    "solar": ("renewables", "power_kw"),
    "wind": ("renewables", "power_kw"),
    "load": ("load", "power_kw"),
    "market": ("market_prices", "price_eur_per_mwh"),
}


class DataGapError(VppError):
    """What was asked for is not in the database; the message names the command that makes it."""


# --- connection and schema ---------------------------------------------------------------------------------------------------


def connect(config: Config, wait_s: float | None = None) -> connection:
    """Open a connection with the schema in place and the session in UTC.

    An embedded server is started first. A server that does not answer is tried again until `wait_s` [s, default: that of
    `[database]`] has passed.

    Raises
    ------
    DatabaseError : the server cannot be reached in time, refuses the login, or its schema cannot be made.
    """
    url = config.database.url
    if url == EMBEDDED:
        import embedded

        url = embedded.ensure_running(config.paths.state_dir, config.database.wait_s).database_url
    return connect_url(url, config.database.wait_s if wait_s is None else wait_s)


def connect_url(url: str, wait_s: float) -> connection:
    """As `connect`, for a URL; gives up after `wait_s` [s]."""
    try:
        where = psycopg2.extensions.parse_dsn(url)
    except psycopg2.Error:
        raise DatabaseError("[database] url cannot be read; expected postgresql://user:password@host:port/database") from None
    server = f"{where.get('host', 'local socket')}:{where.get('port', 5432)}/{where.get('dbname', '')}"
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(psycopg2.OperationalError) & tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_delay(wait_s),
        wait=tenacity.wait_exponential(0.1, 2),
        reraise=True,
    )
    try:
        conn = retry(psycopg2.connect, url, connect_timeout=5, application_name="vpp", tcp_user_timeout=15_000)
    except psycopg2.Error as error:
        cause = first_line(error).replace(where.get("password") or "\0", "***")
        raise DatabaseError(
            f"PostgreSQL at {server} cannot be used: {cause}; start it (make up, or url = embedded) or correct [database] url"
        ) from None
    try:
        with explained("schema"):
            with conn.cursor() as cursor:
                cursor.execute("SET TIME ZONE 'UTC'; SET statement_timeout = '10min'; SET lock_timeout = '20s'")
            conn.commit()
            schema.migrate(conn)
    except BaseException:
        conn.close()
        raise
    return conn


def _may_pass(error: BaseException) -> bool:
    """Whether a connection error may go away by waiting: not a wrong password, role or database."""
    text = str(error)
    return not any(part in text for part in ("authentication failed", "does not exist", "no password supplied", "no pg_hba.conf entry"))


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what the server refuses or cannot do into a DatabaseError that names `what`; errors in the SQL keep their traceback."""
    try:
        yield
    except (psycopg2.OperationalError, psycopg2.InterfaceError, psycopg2.DataError, psycopg2.IntegrityError) as error:
        table = getattr(getattr(error, "diag", None), "table_name", None) or what
        if table.startswith("_hyper"):  # a chunk of a hypertable
            table = what
        raise DatabaseError(f"database, {table}: {first_line(error)}") from error
    except psycopg2.errors.InsufficientPrivilege as error:
        raise DatabaseError(f"database, {what}: {first_line(error)}; grant it to the role of [database] url") from error


@contextmanager
def session(config: Config) -> Iterator[connection]:
    """A connection for one block: committed at its end, rolled back if it fails, closed in any case."""
    conn = connect(config)
    try:
        with explained("session"):
            yield conn
            conn.commit()
    finally:
        conn.close()  # rolls back what was not committed


def is_compressing(conn: connection) -> bool:
    """Whether the server compresses old chunks: TimescaleDB with its Community licence."""
    return schema.timescale_licence(conn) == schema.COMMUNITY


def run_id(*parts: object) -> str:
    """A stable identifier of what the parts say: the same parts give the same 16 characters on any machine."""
    text = json.dumps([_stable(part) for part in parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stable(part: object) -> object:
    if dataclasses.is_dataclass(part):
        return _stable(dataclasses.asdict(part))
    if isinstance(part, Mapping):
        return {str(key): _stable(value) for key, value in part.items()}
    if isinstance(part, (pd.Series, pd.DataFrame)):
        return hashlib.sha256(pd.util.hash_pandas_object(part).to_numpy().tobytes()).hexdigest()
    if isinstance(part, np.ndarray):
        return part.tolist()
    if isinstance(part, (list, tuple)):
        return [_stable(item) for item in part]
    if isinstance(part, pd.Timestamp) and part.tzinfo is not None:
        return part.tz_convert("UTC").isoformat()
    return part


def _time_index(microseconds: np.ndarray, name: str = "time") -> pd.DatetimeIndex:
    return pd.DatetimeIndex(microseconds.astype("M8[us]").astype("M8[ns]"), name=name).tz_localize("UTC")


def _copy_frame(cursor, table: str, frame: pd.DataFrame) -> None:
    """Append a frame to a table through COPY; NaN becomes NULL."""
    names = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    text = io.StringIO(frame.to_csv(index=False, header=False, na_rep="\\N", date_format="%Y-%m-%dT%H:%M:%S.%f%z"))
    cursor.copy_expert(sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL '\\N')").format(sql.Identifier(table), names), text)


def _upsert(cursor, table: str, keys: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Insert or replace a few rows with the same columns."""
    if not rows:
        return
    columns = list(rows[0])
    statement = sql.SQL("INSERT INTO {} ({}) VALUES %s ON CONFLICT ({}) DO UPDATE SET {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Identifier, keys)),
        sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns),
    )
    values = [tuple(_plain(row[name]) for name in columns) for row in rows]
    psycopg2.extras.execute_values(cursor, statement, values)


def _plain(value: object) -> object:
    """A value that psycopg2 knows: numpy scalars, NaN, NaT and dictionaries are not among them."""
    if isinstance(value, Mapping):
        return psycopg2.extras.Json(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NaT or value != value:
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


def _rows(conn: connection, query: sql.Composable | str, parameters: Sequence = ()) -> list[dict]:
    with conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute(query, parameters)
        return [dict(row) for row in cursor.fetchall()]


def _frame(conn: connection, query: sql.Composable | str, parameters: Sequence, index: str | None = None) -> pd.DataFrame:
    """The rows of a query as a frame, its times in UTC."""
    with conn.cursor() as cursor:
        cursor.execute(query, parameters)
        names = [column.name for column in cursor.description]
        times = [column.name for column in cursor.description if column.type_code == 1184]  # timestamptz
        numbers = [column.name for column in cursor.description if column.type_code == 701]  # double precision
        frame = pd.DataFrame(cursor.fetchall(), columns=names)
    for name in times:
        frame[name] = pd.to_datetime(frame[name], utc=True)
    frame[numbers] = frame[numbers].astype(float)
    return frame.set_index(index) if index else frame


# --- sources and measurements ------------------------------------------------------------------------------------------------


STREAM_STATUS_KEPT = "30 days"


def save_stream_status(conn: connection, topics: Mapping[str, tuple[int | None, int]]) -> None:
    """Write topic -> (messages waiting, or None where there is no such topic; messages dead-lettered) as of now."""
    with explained("stream_status"), conn.cursor() as cursor:
        cursor.execute("DELETE FROM stream_status WHERE time < now() - %s::interval", (STREAM_STATUS_KEPT,))
        for topic, (lag, dead_letters) in topics.items():
            cursor.execute("INSERT INTO stream_status (topic, lag, dead_letters) VALUES (%s, %s, %s)", (topic, lag, dead_letters))


def upsert_sources(conn: connection, sources: Iterable[Source]) -> None:
    """Register sources, or bring registered ones up to date."""
    rows = [dataclasses.asdict(source) | {"price_area": source.parameters.get("price_area")} for source in sources]
    with explained("sources"), conn.cursor() as cursor:
        _upsert(cursor, "sources", ["source_id"], rows)


def delete_source(conn: connection, source_id: str) -> int:
    """Delete a source, its measurements and its forecasts; the caller commits. Returns the number of rows but its own."""
    rows = 0
    with explained("sources"), conn.cursor() as cursor:
        cursor.execute("DELETE FROM forecasts USING forecast_runs r WHERE forecasts.run_id = r.run_id AND r.source_id = %s", (source_id,))
        rows += cursor.rowcount
        for table in ("forecast_runs", *MEASUREMENTS):
            cursor.execute(sql.SQL("DELETE FROM {} WHERE source_id = %s").format(sql.Identifier(table)), (source_id,))
            rows += cursor.rowcount
        cursor.execute("DELETE FROM sources WHERE source_id = %s", (source_id,))
    return rows


def read_sources(conn: connection, kind: str | None = None) -> list[Source]:
    """The registered sources in the order of their names; only one kind if given."""
    names = [item.name for item in dataclasses.fields(Source)]
    query = sql.SQL("SELECT {} FROM sources WHERE %s IS NULL OR kind = %s ORDER BY source_id")
    return [Source(**row) for row in _rows(conn, query.format(sql.SQL(", ").join(map(sql.Identifier, names))), (kind, kind))]


def _between(column: str, start, end) -> tuple[sql.Composable, list]:
    """A condition `AND column in [start, end)` and its parameters."""
    parts, values = [sql.SQL("")], []
    for operator, bound in ((">=", start), ("<", end)):
        if bound is not None:
            bound = pd.Timestamp(bound)
            if bound.tzinfo is None:
                raise ValueError(f"{column} {operator} {bound}: expected a time with a time zone")
            parts.append(sql.SQL(" AND {} " + operator + " %s").format(sql.Identifier(column)))
            values.append(bound.to_pydatetime())
    return sql.Composed(parts), values


def read_series(conn: connection, source: Source, start=None, end=None) -> pd.Series:
    """The measurements of a source [kW or EUR/MWh], in the order of time, named by its source_id."""
    table, column = SERIES[source.kind]
    condition, values = _between("time", start, end)
    query = sql.SQL("SELECT time, {} FROM {} WHERE source_id = %s{} ORDER BY time").format(
        sql.Identifier(column), sql.Identifier(table), condition
    )
    data = copy_out(conn, query, (source.source_id, *values), ("time", column))
    return pd.Series(data[column], _time_index(data["time"]), name=source.source_id)


def read_latest(conn: connection, source: Source) -> tuple[pd.Timestamp, float] | None:
    """The newest measurement of a source: start of its interval and value [kW or EUR/MWh]; None where there is none."""
    table, column = SERIES[source.kind]
    query = sql.SQL("SELECT time, {} AS value FROM {} WHERE source_id = %s ORDER BY time DESC LIMIT 1")
    rows = _rows(conn, query.format(sql.Identifier(column), sql.Identifier(table)), (source.source_id,))
    return (pd.Timestamp(rows[0]["time"]), rows[0]["value"]) if rows else None


def read_weather(conn: connection, source_id: str, start=None, end=None) -> pd.DataFrame:
    """Measured weather of a weather source: ghi, dni, dhi [W/m²], temp_air [°C], wind_speed [m/s]."""
    condition, values = _between("time", start, end)
    names = sql.SQL(", ").join(map(sql.Identifier, WEATHER))
    query = sql.SQL("SELECT time, {} FROM weather WHERE source_id = %s{} ORDER BY time").format(names, condition)
    data = copy_out(conn, query, (source_id, *values), ("time", *WEATHER))
    return pd.DataFrame({name: data[name] for name in WEATHER}, _time_index(data["time"]))


def read_weather_forecasts(conn: connection, source_id: str, start=None, end=None) -> pd.DataFrame:
    """Weather forecasts whose valid time is in the range: issue_time, valid_time and the columns of `read_weather`."""
    condition, values = _between("valid_time", start, end)
    columns = ("issue_time", "valid_time", *WEATHER)
    query = sql.SQL("SELECT {} FROM weather_forecasts WHERE source_id = %s{} ORDER BY issue_time, valid_time")
    data = copy_out(conn, query.format(sql.SQL(", ").join(map(sql.Identifier, columns)), condition), (source_id, *values), columns)
    times = {name: _time_index(data[name], name) for name in columns[:2]}
    return pd.DataFrame(times | {name: data[name] for name in WEATHER})


def read_resampled(conn: connection, sources: Sequence[Source], start, end, step_min: int) -> pd.DataFrame:
    """Sources side by side on one step [min]: means over longer steps, and a longer interval's value in each of its parts.

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
    """End of the newest interval that every solar, wind and load source has: the default "now" of forecasts and plans.

    Raises
    ------
    DataGapError : no such source is registered, or one of them has no measurement.
    """
    ends, empty = [], []
    for source in read_sources(conn):
        if source.kind in ("solar", "wind", "load"):
            latest = read_latest(conn, source)
            if latest:
                ends.append(latest[0] + pd.Timedelta(minutes=source.step_min))
            else:
                empty.append(source.source_id)
    if not ends:
        raise DataGapError("the database holds no measurements yet; run python communication.py (after python generation.py)")
    if empty:
        raise DataGapError(f"no measurement of {', '.join(empty)} in the database; run python communication.py with their data")
    return min(ends).tz_convert("UTC")


def count_measurements(conn: connection) -> dict[str, int]:
    """Number of rows of each kind of measurement: solar, wind, load, market, weather and weather-forecast."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT kind, count(*) FROM renewables JOIN sources USING (source_id) GROUP BY kind")
        counts = {"solar": 0, "wind": 0} | dict(cursor.fetchall())
        for kind, table in (
            ("load", "load"),
            ("market", "market_prices"),
            ("weather", "weather"),
            ("weather-forecast", "weather_forecasts"),
        ):
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            counts[kind] = cursor.fetchone()[0]
    return counts


# --- forecasts ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ForecastRun:
    """Which model forecast what, when: role is champion, fallback, candidate, backtest or manual."""

    source_id: str
    model: str
    model_version: str | None
    trained_until: pd.Timestamp | None
    issue_time: pd.Timestamp
    role: str

    @property
    def run_id(self) -> str:
        return run_id("forecast", self.role, self.source_id, self.model, pd.Timestamp(self.issue_time))


def save_forecasts(conn: connection, runs: Sequence[tuple[ForecastRun, pd.DataFrame]]) -> None:
    """Write forecasts in one transaction; a run with the same run_id is replaced.

    Parameters
    ----------
    runs : each run with its frame: index valid_time (UTC), columns value, q05, q10, q25, q50, q75, q90, q95 [kW or EUR/MWh].
    """
    with explained("forecasts"), conn, conn.cursor() as cursor:
        ids = [run.run_id for run, _ in runs]
        if any(frame.index.tz is None for _, frame in runs):
            raise ValueError("forecasts without a time zone: expected valid_time in UTC as index")
        cursor.execute("DELETE FROM forecasts WHERE run_id = ANY(%s)", (ids,))
        cursor.execute("DELETE FROM forecast_runs WHERE run_id = ANY(%s)", (ids,))
        for run, frame in runs:
            _upsert(cursor, "forecast_runs", ["run_id"], [{"run_id": run.run_id, **dataclasses.asdict(run)}])
            rows = frame[["value", *(name for name in QUANTILES if name in frame)]].rename_axis("valid_time").reset_index()
            rows.insert(0, "run_id", run.run_id)
            _copy_frame(cursor, "forecasts", rows)


def read_forecasts(
    conn: connection, source_id: str, issue_time, roles: Sequence[str] = ("champion", "fallback")
) -> tuple[ForecastRun, pd.DataFrame] | None:
    """The newest run of these roles with exactly this issue time, and its frame as in `save_forecasts`; None where there is none."""
    names = [item.name for item in dataclasses.fields(ForecastRun)]
    query = sql.SQL(
        "SELECT {} FROM forecast_runs WHERE source_id = %s AND issue_time = %s AND role = ANY(%s) ORDER BY created_at DESC LIMIT 1"
    ).format(sql.SQL(", ").join(map(sql.Identifier, names)))
    rows = _rows(conn, query, (source_id, pd.Timestamp(issue_time).to_pydatetime(), list(roles)))
    if not rows:
        return None
    times = {
        key: pd.Timestamp(value).tz_convert("UTC") for key, value in rows[0].items() if key in ("trained_until", "issue_time") and value
    }
    run = ForecastRun(**(rows[0] | times))
    columns = sql.SQL(", ").join(map(sql.Identifier, ("valid_time", "value", *QUANTILES)))
    query = sql.SQL("SELECT {} FROM forecasts WHERE run_id = %s ORDER BY valid_time").format(columns)
    return run, _frame(conn, query, (run.run_id,), "valid_time")


def read_forecast_runs(conn: connection, source_id: str | None = None, roles: Sequence[str] | None = None) -> pd.DataFrame:
    """The runs in the order they were made, one a row; only of a source or of some roles if given."""
    condition, values = sql.SQL("true"), []
    if source_id is not None:
        condition, values = condition + sql.SQL(" AND source_id = %s"), [source_id]
    if roles is not None:
        condition, values = condition + sql.SQL(" AND role = ANY(%s)"), [*values, list(roles)]
    return _frame(conn, sql.SQL("SELECT * FROM forecast_runs WHERE {} ORDER BY created_at").format(condition), values)


# --- batteries and schedules -------------------------------------------------------------------------------------------------


def upsert_batteries(conn: connection, batteries: Iterable[BatteryParameters]) -> None:
    """Register batteries, or bring registered ones up to date."""
    with explained("batteries"), conn.cursor() as cursor:
        _upsert(cursor, "batteries", ["battery_id"], [dataclasses.asdict(battery) for battery in batteries])


def _with_time_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if "time" in frame else frame.rename_axis("time").reset_index()


def save_battery_states(conn: connection, frame: pd.DataFrame) -> None:
    """Write states, replacing those with the same battery, kind, run and time.

    Parameters
    ----------
    frame : battery_id, kind (measured, simulated or planned), soc [fraction, at the end of its interval], optionally run_id,
        energy_kwh, charge_kw, discharge_kw; time (UTC) as index or column.
    """
    frame = _with_time_column(frame)
    if "run_id" not in frame:
        frame = frame.assign(run_id="")
    with explained("battery_states"), conn.cursor() as cursor:
        _upsert(cursor, "battery_states", ["battery_id", "kind", "run_id", "time"], frame.to_dict("records"))


def read_last_state(conn: connection, battery_id: str, at) -> tuple[pd.Timestamp, float] | None:
    """Time and state of charge [fraction] of the last state that is not planned at or before `at`; None where there is none."""
    query = "SELECT time, soc FROM battery_states WHERE battery_id = %s AND kind <> 'planned' AND time <= %s ORDER BY time DESC LIMIT 1"
    rows = _rows(conn, query, (battery_id, pd.Timestamp(at).to_pydatetime()))
    return (pd.Timestamp(rows[0]["time"]).tz_convert("UTC"), rows[0]["soc"]) if rows else None


def save_schedule(conn: connection, run: Mapping[str, object], schedule: pd.DataFrame, states: pd.DataFrame) -> None:
    """Write a schedule with its battery states in one transaction; a run with the same run_id is replaced.

    Parameters
    ----------
    run : columns of `schedule_runs`.
    schedule : columns of `schedules` but run_id; time (UTC) as index or column.
    states : battery_id, soc, energy_kwh, charge_kw, discharge_kw, kind ("planned" where missing); time (UTC) as index or column.
    """
    identifier = run["run_id"]
    schedule, states = (_with_time_column(frame).assign(run_id=identifier) for frame in (schedule, states))
    if "kind" not in states:
        states = states.assign(kind="planned")
    with explained("schedules"), conn, conn.cursor() as cursor:
        for table in ("schedules", "battery_states", "schedule_runs"):
            cursor.execute(sql.SQL("DELETE FROM {} WHERE run_id = %s").format(sql.Identifier(table)), (identifier,))
        _upsert(cursor, "schedule_runs", ["run_id"], [dict(run)])
        _copy_frame(cursor, "schedules", schedule)
        _copy_frame(cursor, "battery_states", states)


def read_schedule(conn: connection, run_id: str | None = None, kind: str = "plan") -> tuple[dict, pd.DataFrame, pd.DataFrame] | None:
    """A run by its run_id, or the newest of a kind that was made; None where there is none.

    Returns
    -------
    The run, its schedule and its battery states, as in `save_schedule`, with time as index.
    """
    if run_id is not None:
        rows = _rows(conn, "SELECT * FROM schedule_runs WHERE run_id = %s", (run_id,))
    else:
        rows = _rows(conn, "SELECT * FROM schedule_runs WHERE kind = %s ORDER BY created_at DESC LIMIT 1", (kind,))
    if not rows:
        return None
    run = rows[0] | {"issue_time": pd.Timestamp(rows[0]["issue_time"]).tz_convert("UTC")}
    run.pop("created_at")
    schedule = _frame(conn, "SELECT * FROM schedules WHERE run_id = %s ORDER BY time", (run["run_id"],), "time")
    states = _frame(conn, "SELECT * FROM battery_states WHERE run_id = %s ORDER BY battery_id, time", (run["run_id"],), "time")
    return run, schedule.drop(columns="run_id"), states.drop(columns="run_id")


# --- command ----------------------------------------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("init", help="make or migrate the schema")
    again = commands.add_parser("reset", help="drop everything and make the schema anew")
    again.add_argument("--table", choices=TABLES, metavar="TABLE", help="only empty this table")
    again.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def run(args: argparse.Namespace, config: Config) -> int:
    if args.command == "reset" and not args.yes:
        what = f"all rows of {args.table}" if args.table else "all tables with their rows"
        if not sys.stdin.isatty():
            raise DatabaseError(f"reset deletes {what}; add --yes")
        if input(f"Delete {what}? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    with session(config) as conn:
        if args.command == "reset":
            if args.table:
                schema.empty_table(conn, args.table)
            else:
                reset(conn)
        rows = schema.table_rows(conn)
        terminal.print_rows(rows, None if args.json else schema.server_name(conn), as_json=args.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
