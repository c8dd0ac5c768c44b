"""Results in the database: forecasts, batteries with their states, and schedules.

Each result belongs to a run. Its `run_id` says what it is made of, so to save it again replaces it.
A run is written in one transaction. Times are UTC and label the start of their interval; states of
charge are those at its end.

    python -c "from vpp.storage import results; print(results.save_schedule.__doc__)"
"""

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from psycopg2 import sql
from psycopg2.extensions import connection, cursor

from vpp.runtime.errors import check_known
from vpp.runtime.settings import BatteryParameters
from vpp.storage.errors import explained
from vpp.storage.rows import (
    Moment,
    copy_frame,
    names_of,
    select_frame,
    select_rows,
    upsert_rows,
)
from vpp.storage.schema import QUANTILES

# `kind <> 'planned'` would read every plan that was ever made of a battery
NOT_PLANNED = "('measured', 'simulated')"


def run_id(*parts: object) -> str:
    """A stable identifier of what the parts say.

    The same parts give the same 16 characters on any machine.
    """
    text = json.dumps([_stable(part) for part in parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stable(part: object) -> object:
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
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


@dataclass(frozen=True)
class ForecastRun:
    """Which model forecast what, when.

    Parameters
    ----------
    source_id : the source that is forecast.
    model, model_version : the model's name, and its version in the store; None where it has none.
    trained_until : end of the data that the model was fitted on [UTC].
    issue_time : when the forecast was issued [UTC].
    role : champion, fallback, candidate, backtest or manual.
    note : for the operator: why it is a fallback; empty where there is nothing to say.
    """

    source_id: str
    model: str
    model_version: str | None
    trained_until: pd.Timestamp | None
    issue_time: pd.Timestamp
    role: str
    note: str = ""

    @property
    def run_id(self) -> str:
        """Its key: role, source, model and issue time."""
        return run_id(
            "forecast", self.role, self.source_id, self.model, pd.Timestamp(self.issue_time)
        )


def _one_at_a_time(cur: cursor, what: str) -> None:
    """Wait until no other transaction writes results of a kind.

    Two that write the same run at once would both find nothing to replace.
    """
    cur.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"vpp {what}",))


def save_forecasts(conn: connection, runs: Sequence[tuple[ForecastRun, pd.DataFrame]]) -> None:
    """Write forecasts in one transaction; a run with the same run_id is replaced.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    runs : each run with its frame: index valid_time (UTC), columns value, q05, q10, q25, q50, q75,
        q90, q95 [kW or EUR/MWh] and published (false where missing): whether it is a known price.

    Raises
    ------
    ValueError : times without a zone.
    DatabaseError : the server refuses; nothing was replaced.
    """
    with explained("forecasts"), conn, conn.cursor() as cur:
        _one_at_a_time(cur, "forecasts")
        ids = [run.run_id for run, _ in runs]
        if any(pd.DatetimeIndex(frame.index).tz is None for _, frame in runs):
            raise ValueError("forecasts without a time zone: expected valid_time in UTC as index")
        cur.execute("DELETE FROM forecasts WHERE run_id = ANY(%s)", (ids,))
        cur.execute("DELETE FROM forecast_runs WHERE run_id = ANY(%s)", (ids,))
        rows = [
            {"run_id": name, **dataclasses.asdict(run)}
            for name, (run, _) in zip(ids, runs, strict=True)
        ]
        upsert_rows(cur, "forecast_runs", ["run_id"], rows)
        alike = defaultdict[tuple[str, ...], list[pd.DataFrame]](list)  # by their columns
        for name, (_, frame) in zip(ids, runs, strict=True):
            there = tuple(each for each in (*QUANTILES, "published") if each in frame)
            values = frame[["value", *there]].rename_axis("valid_time").reset_index()
            values.insert(0, "run_id", name)
            alike[there].append(values)
        for frames in alike.values():
            copy_frame(cur, "forecasts", pd.concat(frames))


def run_of(row: Mapping[str, Any]) -> ForecastRun:
    """The run that a row of `forecast_runs` describes.

    Parameters
    ----------
    row : its columns of the fields of `ForecastRun`.
    """
    times = {
        key: pd.Timestamp(value).tz_convert("UTC")
        for key, value in row.items()
        if key in ("trained_until", "issue_time") and value
    }
    return ForecastRun(**{**row, **times})


def read_forecasts(
    conn: connection,
    source_id: str,
    issue_time: Moment,
    roles: Sequence[str] = ("champion", "fallback"),
    or_before: bool = False,
) -> tuple[ForecastRun, pd.DataFrame] | None:
    """The newest forecast of a source that was issued at a time.

    Parameters
    ----------
    conn : the connection.
    source_id : its name.
    issue_time : with a zone.
    roles : of the runs that count.
    or_before : where none was issued at that time, take the last one before it.

    Returns
    -------
    The run, and its frame as in `save_forecasts`; None where there is none.
    """
    names = [item.name for item in dataclasses.fields(ForecastRun)]
    query = sql.SQL("""
        SELECT {} FROM forecast_runs
        WHERE source_id = %s AND issue_time {} %s AND role = ANY(%s)
        ORDER BY issue_time DESC, created_at DESC LIMIT 1""")
    rows = select_rows(
        conn,
        query.format(names_of(names), sql.SQL("<=" if or_before else "=")),
        (source_id, pd.Timestamp(issue_time).to_pydatetime(), list(roles)),
    )
    if not rows:
        return None
    run = run_of(rows[0])
    columns = names_of(("valid_time", "value", *QUANTILES, "published"))
    query = sql.SQL("SELECT {} FROM forecasts WHERE run_id = %s ORDER BY valid_time")
    frame = select_frame(conn, query.format(columns), (run.run_id,), "valid_time")
    return run, frame.astype({"published": bool})


def read_forecast_runs(
    conn: connection, source_id: str | None = None, roles: Sequence[str] | None = None
) -> pd.DataFrame:
    """The forecast runs in the order in which they were made.

    Parameters
    ----------
    conn : the connection.
    source_id : only those of this source; None for all.
    roles : only those of these roles; None for all.

    Returns
    -------
    One row a run, with the columns of `forecast_runs`.
    """
    query = """
        SELECT * FROM forecast_runs
        WHERE (%(source_id)s IS NULL OR source_id = %(source_id)s)
            AND (%(roles)s IS NULL OR role = ANY(%(roles)s))
        ORDER BY created_at"""
    wanted = {"source_id": source_id, "roles": None if roles is None else list(roles)}
    return select_frame(conn, query, wanted)


def upsert_batteries(conn: connection, batteries: Iterable[BatteryParameters]) -> None:
    """Register batteries, or bring registered ones up to date; the caller commits."""
    rows = [dataclasses.asdict(battery) for battery in batteries]
    with explained("batteries"), conn.cursor() as cur:
        upsert_rows(cur, "batteries", ["battery_id"], rows)


def _with_time_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if "time" in frame else frame.rename_axis("time").reset_index()


def save_battery_states(conn: connection, frame: pd.DataFrame) -> None:
    """Write states, replacing those with the same battery, kind, run and time.

    Parameters
    ----------
    conn : the connection; the caller commits.
    frame : battery_id, kind (measured, simulated or planned), soc [fraction, at the end of its
        interval], optionally run_id, energy_kwh [kWh], charge_kw and discharge_kw [kW]; time (UTC)
        as index or column.
    """
    frame = _with_time_column(frame)
    if "run_id" not in frame:
        frame = frame.assign(run_id="")
    rows = [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False)]
    with explained("battery_states"), conn.cursor() as cur:
        upsert_rows(cur, "battery_states", ["battery_id", "kind", "run_id", "time"], rows)


def read_last_state(
    conn: connection, battery_id: str, at: Moment
) -> tuple[pd.Timestamp, float] | None:
    """The last state of a battery that is not planned.

    Parameters
    ----------
    conn : the connection.
    battery_id : its name.
    at : states after this time do not count.

    Returns
    -------
    Start of its interval [UTC], and the state of charge at its end [fraction]; None where there is
    none.
    """
    return read_last_states(conn, [battery_id], at).get(battery_id)


def read_last_states(
    conn: connection, battery_ids: Sequence[str], at: Moment
) -> dict[str, tuple[pd.Timestamp, float]]:
    """The last states of batteries that are not planned, by `battery_id`.

    Parameters
    ----------
    conn : the connection.
    battery_ids : their names.
    at : states after this time do not count.

    Returns
    -------
    Of each battery that has one the start of its interval [UTC], and the state of charge at its end
    [fraction]; a measured state goes before a simulated one of the same time.
    """
    query = f"""
        SELECT battery_id, time, soc FROM unnest(%s::text[]) AS battery (battery_id)
        CROSS JOIN LATERAL (
            SELECT time, soc FROM battery_states AS state
            WHERE state.battery_id = battery.battery_id AND kind IN {NOT_PLANNED} AND time <= %s
            ORDER BY time DESC, kind LIMIT 1) AS newest"""
    rows = select_rows(conn, query, (list(battery_ids), pd.Timestamp(at).to_pydatetime()))
    return {
        row["battery_id"]: (pd.Timestamp(row["time"]).tz_convert("UTC"), row["soc"]) for row in rows
    }


def read_states(conn: connection, battery_id: str, start: Moment, end: Moment) -> pd.DataFrame:
    """The powers of a battery as measured or simulated; a measured state goes before a simulated.

    Parameters
    ----------
    conn : the connection.
    battery_id : its name.
    start, end : the range `[start, end)` of times, with a zone.

    Returns
    -------
    Columns charge_kw and discharge_kw [kW] by time.
    """
    states = read_all_states(conn, [battery_id], start, end)
    return states.set_index("time")[["charge_kw", "discharge_kw"]]


def read_all_states(
    conn: connection, battery_ids: Sequence[str], start: Moment, end: Moment
) -> pd.DataFrame:
    """The powers of batteries as measured or simulated; a measured state goes before a simulated.

    Parameters
    ----------
    conn : the connection.
    battery_ids : their names.
    start, end : the range `[start, end)` of times, with a zone.

    Returns
    -------
    Columns battery_id, time, charge_kw and discharge_kw [kW] and soc, in the order of battery and
    time.
    """
    query = f"""
        SELECT DISTINCT ON (battery_id, time) battery_id, time, charge_kw, discharge_kw, soc
        FROM battery_states
        WHERE battery_id = ANY(%s) AND kind IN {NOT_PLANNED} AND time >= %s AND time < %s
        ORDER BY battery_id, time, kind, run_id DESC"""
    times = (pd.Timestamp(moment).to_pydatetime() for moment in (start, end))
    frame = select_frame(conn, query, (list(battery_ids), *times))
    return frame.astype({"charge_kw": float, "discharge_kw": float})


def save_schedule(
    conn: connection,
    run: Mapping[str, object],
    schedule: pd.DataFrame,
    states: pd.DataFrame,
    devices: pd.DataFrame | None = None,
) -> None:
    """Write a schedule with its states; a run with the same run_id is replaced.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    run : columns of `schedule_runs`.
    schedule : columns of `schedules` but run_id; time (UTC) as index or column.
    states : battery_id, soc [fraction], energy_kwh [kWh], charge_kw, discharge_kw [kW], kind
        ("planned" where missing); time (UTC) as index or column.
    devices : columns of `device_states` but run_id; time (UTC) as index or column.

    Raises
    ------
    DatabaseError : the server refuses; nothing was replaced.
    """
    identifier = str(run["run_id"])
    schedule, states = (
        _with_time_column(frame).assign(run_id=identifier) for frame in (schedule, states)
    )
    if "kind" not in states:
        states = states.assign(kind="planned")
    with explained("schedules"), conn, conn.cursor() as cur:
        _one_at_a_time(cur, "schedules")
        for table in (
            "schedules",
            "battery_states",
            "fleet_states",
            "device_states",
            "schedule_runs",
        ):
            statement = sql.SQL("DELETE FROM {} WHERE run_id = %s")
            cur.execute(statement.format(sql.Identifier(table)), (identifier,))
        upsert_rows(cur, "schedule_runs", ["run_id"], [dict(run)])
        copy_frame(cur, "schedules", schedule)
        copy_frame(cur, "battery_states", states)
        if devices is not None and len(devices):
            copy_frame(cur, "device_states", _with_time_column(devices).assign(run_id=identifier))


def check_run(conn: connection, run_id: str) -> None:
    """Refuse a run that is not stored.

    Raises
    ------
    ConfigError : it is not; the nearest are given.
    """
    if select_rows(conn, "SELECT 1 FROM schedule_runs WHERE run_id = %s", (run_id,)):
        return
    rows = select_rows(conn, "SELECT run_id FROM schedule_runs ORDER BY created_at DESC")
    check_known("run", run_id, [row["run_id"] for row in rows])


def read_schedule(
    conn: connection, run_id: str | None = None, kind: str = "plan"
) -> tuple[dict, pd.DataFrame, pd.DataFrame] | None:
    """A run, its schedule and its battery states.

    Parameters
    ----------
    conn : the connection.
    run_id : its name; None for the newest that was made.
    kind : of that newest one.

    Returns
    -------
    As in `save_schedule`, with time as index; None where there is none.
    """
    query, value = "SELECT * FROM schedule_runs WHERE run_id = %s", run_id
    if run_id is None:
        query = "SELECT * FROM schedule_runs WHERE kind = %s ORDER BY created_at DESC LIMIT 1"
        value = kind
    rows = select_rows(conn, query, (value,))
    if not rows:
        return None
    run = rows[0] | {"issue_time": pd.Timestamp(rows[0]["issue_time"]).tz_convert("UTC")}
    run.pop("created_at")
    key = (run["run_id"],)
    query = "SELECT * FROM schedules WHERE run_id = %s ORDER BY time"
    schedule = select_frame(conn, query, key, "time")
    query = "SELECT * FROM battery_states WHERE run_id = %s ORDER BY battery_id, time"
    states = select_frame(conn, query, key, "time")
    return run, schedule.drop(columns="run_id"), states.drop(columns=["run_id", "sent_at"])
