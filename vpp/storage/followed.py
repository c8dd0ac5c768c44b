"""Plans that batteries followed, and the states that plans start from.

    python -c "from vpp.storage.followed import read_followed_powers; help(read_followed_powers)"

Powers are means over [time, time + step) [kW], states of charge fractions, times UTC.
"""

from collections.abc import Sequence

import pandas as pd
from psycopg2.extensions import connection

from vpp.storage.rows import Moment, select_frame, select_rows


def read_newest_states(
    conn: connection, battery_ids: Sequence[str], kind: str, at: Moment
) -> dict[str, tuple[pd.Timestamp, float]]:
    """The newest measured, or the newest simulated, states of batteries.

    Parameters
    ----------
    conn : the connection.
    battery_ids : their names.
    kind : measured or simulated.
    at : states after this time do not count.

    Returns
    -------
    Of each battery that has one its time [UTC] and its state of charge [fraction].
    """
    query = """
        SELECT battery_id, time, soc FROM unnest(%s::text[]) AS battery (battery_id)
        CROSS JOIN LATERAL (
            SELECT time, soc FROM battery_states AS state
            WHERE state.battery_id = battery.battery_id AND kind = %s AND run_id = ''
                AND time <= %s
            ORDER BY time DESC LIMIT 1) AS newest"""
    moment = pd.Timestamp(at).to_pydatetime()
    rows = select_rows(conn, query, (list(battery_ids), kind, moment))
    return {
        row["battery_id"]: (pd.Timestamp(row["time"]).tz_convert("UTC"), float(row["soc"]))
        for row in rows
    }


def read_plans_made(conn: connection, site_id: str, start: Moment, end: Moment) -> pd.DataFrame:
    """The plans that were issued in a span.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.
    start, end : the span `[start, end)` of issue times, with a zone.

    Returns
    -------
    run_id, issue_time, step_min [min] and overridden (whether an order for a battery was in force),
    in the order of issue time and of their making.
    """
    query = """
        SELECT run_id, issue_time, (basis ->> 'step_min')::double precision AS step_min,
            coalesce(made_from -> 'overrides', '[]') NOT IN ('[]', '{}') AS overridden
        FROM schedule_runs
        WHERE kind = 'plan' AND site_id = %s AND issue_time >= %s AND issue_time < %s
            AND basis IS NOT NULL
        ORDER BY issue_time, created_at"""
    times = (pd.Timestamp(moment).to_pydatetime() for moment in (start, end))
    return select_frame(conn, query, (site_id, *times))


def read_planned(
    conn: connection, run_id: str, start: Moment, end: Moment
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A part of a plan.

    Parameters
    ----------
    conn : the connection.
    run_id : the plan.
    start, end : the range `[start, end)` of times, with a zone.

    Returns
    -------
    Power of each battery [kW], positive where it charges, by time and battery_id; and load_kw, with
    what flexible loads draw, renewables_kw and grid_kw, imports less exports, [kW] of the site by
    time.
    """
    times = [pd.Timestamp(moment).to_pydatetime() for moment in (start, end)]
    query = """
        SELECT battery_id, time, charge_kw - discharge_kw AS power_kw FROM battery_states
        WHERE run_id = %s AND time >= %s AND time < %s"""
    states = select_frame(conn, query, (run_id, *times))
    powers = states.pivot(index="time", columns="battery_id", values="power_kw")
    query = """
        SELECT time, load_kw + coalesce(flexible.power_kw, 0) AS load_kw, renewables_kw,
            grid_import_kw - grid_export_kw AS grid_kw
        FROM schedules LEFT JOIN (
            SELECT time, sum(power_kw) AS power_kw FROM device_states
            WHERE run_id = %s GROUP BY time) AS flexible USING (time)
        WHERE run_id = %s AND time >= %s AND time < %s ORDER BY time"""
    return powers, select_frame(conn, query, (run_id, run_id, *times), "time")
