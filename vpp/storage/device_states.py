"""Planned states of flexible loads in the database: the table `device_states`.

python -c "from vpp.storage.device_states import read_plan; help(read_plan)"
"""

import pandas as pd
from psycopg2.extensions import connection

from vpp.storage.rows import Moment, select_frame

COLUMNS = ("power_kw", "heat_pump_kw", "rod_kw", "soc", "energy_kwh", "reason")


def read_plan(conn: connection, run_id: str) -> pd.DataFrame:
    """The states of all flexible loads in a run.

    Parameters
    ----------
    conn : the connection.
    run_id : name of the run.

    Returns
    -------
    device_id, kind, power_kw, heat_pump_kw, rod_kw [kW], soc [fraction], energy_kwh [kWh] and
    reason by time (UTC), in the order of the devices' kinds and names.
    """
    query = """
        SELECT * FROM device_states WHERE run_id = %s
        ORDER BY array_position(ARRAY['vehicle', 'deferrable', 'heat'], kind), device_id, time"""
    return select_frame(conn, query, (run_id,), "time").drop(columns="run_id")


def read_followed(conn: connection, device_id: str, start: Moment, end: Moment) -> pd.DataFrame:
    """The states of a device that followed the plans: of each time the newest plan made by then.

    Parameters
    ----------
    conn : the connection.
    device_id : its name.
    start, end : the range `[start, end)` of times, with a zone.

    Returns
    -------
    power_kw [kW], soc [fraction], energy_kwh [kWh], and run_id and step_min [min] of the plan, by
    time (UTC).
    """
    query = """
        SELECT DISTINCT ON (time) time, power_kw, soc, energy_kwh, run_id,
            (basis ->> 'step_min')::double precision AS step_min
        FROM device_states JOIN schedule_runs USING (run_id)
        WHERE device_id = %s AND time >= %s AND time < %s AND issue_time <= time
            AND schedule_runs.kind = 'plan'
        ORDER BY time, issue_time DESC, created_at DESC"""
    times = (pd.Timestamp(moment).to_pydatetime() for moment in (start, end))
    return select_frame(conn, query, (device_id, *times), "time")


def read_rest(conn: connection, device_id: str, run_id: str, start: Moment) -> pd.Series:
    """The powers that a plan still has for a device.

    Parameters
    ----------
    conn : the connection.
    device_id : its name.
    run_id : the plan.
    start : from when on, with a zone.

    Returns
    -------
    Powers by time (UTC) [kW].
    """
    query = """
        SELECT time, power_kw FROM device_states
        WHERE device_id = %s AND run_id = %s AND time >= %s ORDER BY time"""
    key = (device_id, run_id, pd.Timestamp(start).to_pydatetime())
    return select_frame(conn, query, key, "time")["power_kw"].astype(float)
