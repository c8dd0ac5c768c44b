"""A stored plan for other programs: a table for spreadsheets, or JSON.

python optimization.py export --csv --output plan.csv
"""

from typing import Any

import pandas as pd
from psycopg2.extensions import connection

from vpp.runtime.tables import json_text
from vpp.storage.connection import DataGapError
from vpp.storage.results import check_run, read_schedule

STATE_COLUMNS = ["charge_kw", "discharge_kw", "soc", "energy_kwh"]


def export_plan(conn: connection, run_id: str | None, as_json: bool) -> str:
    """A stored plan as text.

    Parameters
    ----------
    conn : the connection.
    run_id : the plan; None for the newest.
    as_json : JSON with run, schedule and batteries; else CSV, a row an interval: its time, the
        columns of `schedules`, and of each battery charge_kw, discharge_kw [kW], soc [fraction] and
        energy_kwh [kWh] at its end, with its name in front.

    Raises
    ------
    ConfigError : no such plan.
    DataGapError : there is no plan yet.
    """
    if run_id is not None:
        check_run(conn, run_id)
    found = read_schedule(conn, run_id)
    if found is None:
        raise DataGapError("no plan is stored; run python optimization.py")
    run, schedule, states = found
    batteries = {
        str(name): frame.drop(columns=["battery_id", "kind"])
        for name, frame in states.groupby("battery_id")
    }
    if as_json:
        told: dict[str, Any] = {"run": run, "schedule": _rows(schedule)}
        told["batteries"] = [
            {"battery_id": name, "states": _rows(frame)} for name, frame in batteries.items()
        ]
        return json_text(told) + "\n"
    parts = [frame[STATE_COLUMNS].add_prefix(f"{name} ") for name, frame in batteries.items()]
    table = pd.concat([schedule, *parts], axis=1)
    return table.to_csv(date_format="%Y-%m-%dT%H:%M:%SZ", lineterminator="\n")


def _rows(frame: pd.DataFrame) -> list[dict]:
    return frame.reset_index().to_dict("records")
