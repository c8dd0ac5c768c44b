"""What the plant computed, in the database: forecasts, batteries with their states, and schedules.
Known to others by db.

Each result belongs to a run, named by a `run_id` that says what it is made of: to save it again
replaces it. A run is written in one transaction. Times are UTC and label the start of their
interval; states of charge are those at its end.

    python -c "import results; print(results.save_schedule.__doc__)"

Not a script.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.runtime.config import BatteryParameters, check_known
from vpp.storage.rows import copy_frame, explained, select_frame, select_rows, upsert_rows
from vpp.storage.schema import QUANTILES


def run_id(*parts: object) -> str:
    """A stable identifier of what the parts say.

    The same parts give the same 16 characters on any machine.
    """
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


@dataclass(frozen=True)
class ForecastRun:
    """Which model forecast what, when.

    Role is champion, fallback, candidate, backtest or manual.
    """

    source_id: str
    model: str
    model_version: str | None
    trained_until: pd.Timestamp | None
    issue_time: pd.Timestamp
    role: str

    @property
    def run_id(self) -> str:
        return run_id(
            "forecast", self.role, self.source_id, self.model, pd.Timestamp(self.issue_time)
        )


def save_forecasts(conn: connection, runs: Sequence[tuple[ForecastRun, pd.DataFrame]]) -> None:
    """Write forecasts in one transaction; a run with the same run_id is replaced.

    Parameters
    ----------
    runs : each run with its frame: index valid_time (UTC), columns value, q05, q10, q25, q50, q75,
        q90, q95 [kW or EUR/MWh] and published (false where missing): whether it is a known price.
    """
    with explained("forecasts"), conn, conn.cursor() as cursor:
        ids = [run.run_id for run, _ in runs]
        if any(frame.index.tz is None for _, frame in runs):
            raise ValueError("forecasts without a time zone: expected valid_time in UTC as index")
        cursor.execute("DELETE FROM forecasts WHERE run_id = ANY(%s)", (ids,))
        cursor.execute("DELETE FROM forecast_runs WHERE run_id = ANY(%s)", (ids,))
        for run, frame in runs:
            upsert_rows(
                cursor,
                "forecast_runs",
                ["run_id"],
                [{"run_id": run.run_id, **dataclasses.asdict(run)}],
            )
            names = [name for name in (*QUANTILES, "published") if name in frame]
            rows = frame[["value", *names]].rename_axis("valid_time").reset_index()
            rows.insert(0, "run_id", run.run_id)
            copy_frame(cursor, "forecasts", rows)


def read_forecasts(
    conn: connection,
    source_id: str,
    issue_time,
    roles: Sequence[str] = ("champion", "fallback"),
    or_before: bool = False,
) -> tuple[ForecastRun, pd.DataFrame] | None:
    """The newest run of these roles with exactly this issue time, and its frame as in
    `save_forecasts`; None where there is none.

    With `or_before` it is the newest with this issue time or else the last before it.
    """
    names = [item.name for item in dataclasses.fields(ForecastRun)]
    query = sql.SQL(
        "SELECT {} FROM forecast_runs WHERE source_id = %s AND issue_time {} %s AND role = ANY(%s)"
        " ORDER BY issue_time DESC, created_at DESC LIMIT 1"
    ).format(sql.SQL(", ").join(map(sql.Identifier, names)), sql.SQL("<=" if or_before else "="))
    rows = select_rows(
        conn, query, (source_id, pd.Timestamp(issue_time).to_pydatetime(), list(roles))
    )
    if not rows:
        return None
    times = {
        key: pd.Timestamp(value).tz_convert("UTC")
        for key, value in rows[0].items()
        if key in ("trained_until", "issue_time") and value
    }
    run = ForecastRun(**(rows[0] | times))
    columns = sql.SQL(", ").join(
        map(sql.Identifier, ("valid_time", "value", *QUANTILES, "published"))
    )
    query = sql.SQL("SELECT {} FROM forecasts WHERE run_id = %s ORDER BY valid_time").format(
        columns
    )
    return run, select_frame(conn, query, (run.run_id,), "valid_time").astype({"published": bool})


def read_forecast_runs(
    conn: connection, source_id: str | None = None, roles: Sequence[str] | None = None
) -> pd.DataFrame:
    """The runs in the order they were made, one a row.

    Only of a source or of some roles if given.
    """
    condition, values = sql.SQL("true"), []
    if source_id is not None:
        condition, values = condition + sql.SQL(" AND source_id = %s"), [source_id]
    if roles is not None:
        condition, values = condition + sql.SQL(" AND role = ANY(%s)"), [*values, list(roles)]
    return select_frame(
        conn,
        sql.SQL("SELECT * FROM forecast_runs WHERE {} ORDER BY created_at").format(condition),
        values,
    )


def upsert_batteries(conn: connection, batteries: Iterable[BatteryParameters]) -> None:
    """Register batteries, or bring registered ones up to date."""
    with explained("batteries"), conn.cursor() as cursor:
        upsert_rows(
            cursor,
            "batteries",
            ["battery_id"],
            [dataclasses.asdict(battery) for battery in batteries],
        )


def _with_time_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame if "time" in frame else frame.rename_axis("time").reset_index()


def save_battery_states(conn: connection, frame: pd.DataFrame) -> None:
    """Write states, replacing those with the same battery, kind, run and time.

    Parameters
    ----------
    frame : battery_id, kind (measured, simulated or planned), soc [fraction, at the end of its
        interval], optionally run_id, energy_kwh, charge_kw, discharge_kw; time (UTC) as index or
        column.
    """
    frame = _with_time_column(frame)
    if "run_id" not in frame:
        frame = frame.assign(run_id="")
    with explained("battery_states"), conn.cursor() as cursor:
        upsert_rows(
            cursor,
            "battery_states",
            ["battery_id", "kind", "run_id", "time"],
            frame.to_dict("records"),
        )


def read_last_state(conn: connection, battery_id: str, at) -> tuple[pd.Timestamp, float] | None:
    """Time and state of charge [fraction] of the last state that is not planned at or before `at`.

    None where there is none.
    """
    query = (
        "SELECT time, soc FROM battery_states WHERE battery_id = %s AND kind <> "
        "'planned' "
        "AND time <= %s ORDER BY time DESC LIMIT 1"
    )
    rows = select_rows(conn, query, (battery_id, pd.Timestamp(at).to_pydatetime()))
    return (pd.Timestamp(rows[0]["time"]).tz_convert("UTC"), rows[0]["soc"]) if rows else None


def read_states(conn: connection, battery_id: str, start, end) -> pd.DataFrame:
    """Charging and discharging power [kW] of the states in [start, end) that are not planned, a
    measured one before a simulated one.
    """
    query = (
        "SELECT DISTINCT ON (time) time, charge_kw, discharge_kw FROM battery_states"
        " WHERE battery_id = %s AND kind <> 'planned' AND time >= %s AND time < %s ORDER BY "
        "time, kind, run_id DESC"
    )
    times = (pd.Timestamp(moment).to_pydatetime() for moment in (start, end))
    return select_frame(conn, sql.SQL(query), (battery_id, *times), "time").astype(float)


def save_schedule(
    conn: connection, run: Mapping[str, object], schedule: pd.DataFrame, states: pd.DataFrame
) -> None:
    """Write a schedule with its battery states in one transaction; a run with the same run_id is
    replaced.

    Parameters
    ----------
    run : columns of `schedule_runs`.
    schedule : columns of `schedules` but run_id; time (UTC) as index or column.
    states : battery_id, soc, energy_kwh, charge_kw, discharge_kw, kind ("planned" where missing);
    time (UTC) as index or column."""
    identifier = run["run_id"]
    schedule, states = (
        _with_time_column(frame).assign(run_id=identifier) for frame in (schedule, states)
    )
    if "kind" not in states:
        states = states.assign(kind="planned")
    with explained("schedules"), conn, conn.cursor() as cursor:
        for table in ("schedules", "battery_states", "schedule_runs"):
            cursor.execute(
                sql.SQL("DELETE FROM {} WHERE run_id = %s").format(sql.Identifier(table)),
                (identifier,),
            )
        upsert_rows(cursor, "schedule_runs", ["run_id"], [dict(run)])
        copy_frame(cursor, "schedules", schedule)
        copy_frame(cursor, "battery_states", states)


def check_run(conn: connection, run_id: str) -> None:
    """Refuse a run that is not stored.

    Raises
    ------
    ConfigError : it is not; the nearest are given.
    """
    rows = select_rows(conn, "SELECT run_id FROM schedule_runs ORDER BY created_at DESC", ())
    check_known("run", run_id, [row["run_id"] for row in rows])


def read_schedule(
    conn: connection, run_id: str | None = None, kind: str = "plan"
) -> tuple[dict, pd.DataFrame, pd.DataFrame] | None:
    """A run by its run_id, or the newest of a kind that was made; None where there is none.

    Returns
    -------
    The run, its schedule and its battery states, as in `save_schedule`, with time as index.
    """
    if run_id is not None:
        rows = select_rows(conn, "SELECT * FROM schedule_runs WHERE run_id = %s", (run_id,))
    else:
        rows = select_rows(
            conn,
            "SELECT * FROM schedule_runs WHERE kind = %s ORDER BY created_at DESC LIMIT 1",
            (kind,),
        )
    if not rows:
        return None
    run = rows[0] | {"issue_time": pd.Timestamp(rows[0]["issue_time"]).tz_convert("UTC")}
    run.pop("created_at")
    schedule = select_frame(
        conn, "SELECT * FROM schedules WHERE run_id = %s ORDER BY time", (run["run_id"],), "time"
    )
    states = select_frame(
        conn,
        "SELECT * FROM battery_states WHERE run_id = %s ORDER BY battery_id, time",
        (run["run_id"],),
        "time",
    )
    return run, schedule.drop(columns="run_id"), states.drop(columns="run_id")
