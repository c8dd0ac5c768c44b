"""The table `positions`: what a site has bought or sold day-ahead.

    python optimization.py position --csv positions.csv

Powers are means over [time, time + step) [kW], below 0 where they are sold; times are UTC.
"""

import pandas as pd
import psycopg2.extras
from psycopg2.extensions import connection

from vpp.storage.errors import explained
from vpp.storage.rows import Moment, select_frame


def save_positions(conn: connection, site_id: str, position_kw: pd.Series, step_min: int) -> int:
    """Add positions, or replace those that differ.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    site_id : the grid connection.
    position_kw : net purchase [kW] by the start of its intervals [UTC].
    step_min : length of an interval [min].

    Returns
    -------
    Number of rows that are new or have changed.

    Raises
    ------
    DatabaseError : the server refuses.
    """
    query = """
        INSERT INTO positions (site_id, time, step_min, position_kw) VALUES %s
        ON CONFLICT (site_id, time) DO UPDATE SET step_min = excluded.step_min,
            position_kw = excluded.position_kw, sent_at = clock_timestamp()
        WHERE (positions.step_min, positions.position_kw)
            IS DISTINCT FROM (excluded.step_min, excluded.position_kw)
        RETURNING 1"""
    rows = [
        (site_id, time.to_pydatetime(), step_min, float(power))
        for time, power in position_kw.items()
    ]
    with explained("positions"), conn, conn.cursor() as cur:
        return len(psycopg2.extras.execute_values(cur, query, rows, fetch=True))


def read_positions(conn: connection, site_id: str, start: Moment, end: Moment) -> pd.DataFrame:
    """The positions that begin in a range.

    Parameters
    ----------
    conn : the connection.
    site_id : the grid connection.
    start, end : the range `[start, end)`, with a zone.

    Returns
    -------
    step_min [min] and position_kw [kW] by time [UTC].
    """
    query = """
        SELECT time, step_min, position_kw FROM positions
        WHERE site_id = %s AND time >= %s AND time < %s ORDER BY time"""
    span = (pd.Timestamp(moment).to_pydatetime() for moment in (start, end))
    return select_frame(conn, query, (site_id, *span), "time")
