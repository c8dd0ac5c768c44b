"""The jobs of a plant in operation, and its clock: the tables `jobs` and `operations`.

python -c "from vpp.storage.jobs import read_jobs; help(read_jobs)"

Times are UTC of the wall clock, but those that are named as of the plant's clock.
"""

import pandas as pd
from psycopg2.extensions import connection

from vpp.storage.errors import explained
from vpp.storage.rows import Moment, select_frame, select_rows, upsert_rows

STATES = ("waiting", "running", "late", "failed")


def record_job(conn: connection, site_id: str, job: str, state: str, **times: object) -> None:
    """Record what a job does.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    site_id : the site.
    job : its name, such as plan.
    state : waiting (for its next time), running, late (still running at its deadline) or failed.
    times : started_at, ended_at, ok_at, next_at [UTC] and last_error; those that are not given
        stay as they are.

    Raises
    ------
    DatabaseError : the server refuses.
    """
    with explained("jobs"), conn.cursor() as cur:
        row = {"site_id": site_id, "job": job, "state": state} | times
        upsert_rows(cur, "jobs", ["site_id", "job"], [row])
        conn.commit()


def read_jobs(conn: connection, site_id: str | None = None) -> pd.DataFrame:
    """The jobs of a site, or of all sites.

    Parameters
    ----------
    conn : the connection.
    site_id : only those of this site; None for all.

    Returns
    -------
    The columns of `jobs`, in the order of site and job.
    """
    query = """
        SELECT * FROM jobs WHERE %(site_id)s::text IS NULL OR site_id = %(site_id)s
        ORDER BY site_id, job"""
    return select_frame(conn, query, {"site_id": site_id})


def record_clock(
    conn: connection, site_id: str, leader: str, clock_time: Moment, speed: float
) -> None:
    """Record who leads, and the time of the plant's clock.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    site_id : the site.
    leader : the process that leads, as a person can find it; empty where it ended in order.
    clock_time : of the plant's clock, with a zone.
    speed : how many seconds it goes on in a second.

    Raises
    ------
    DatabaseError : the server refuses.
    """
    query = """
        INSERT INTO operations VALUES (%(site_id)s, %(leader)s, %(time)s, %(speed)s,
            clock_timestamp())
        ON CONFLICT (site_id) DO UPDATE SET leader = excluded.leader,
            clock_time = excluded.clock_time, speed = excluded.speed, beat_at = excluded.beat_at"""
    time = pd.Timestamp(clock_time).floor("us").to_pydatetime()
    with explained("operations"), conn.cursor() as cur:
        cur.execute(query, {"site_id": site_id, "leader": leader, "time": time, "speed": speed})
        conn.commit()


def read_clock(conn: connection, site_id: str) -> pd.Timestamp:
    """The time of the plant's clock.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.

    Returns
    -------
    The time [UTC]: that of the clock on data that runs, else the server's.
    """
    now = read_data_clock(conn, site_id)
    if now is None:
        now = select_rows(conn, "SELECT clock_timestamp() AS now")[0]["now"]
    return pd.Timestamp(now).tz_convert("UTC")


def read_data_clock(
    conn: connection, site_id: str, died: bool = False, alive_s: float = 60.0
) -> pd.Timestamp | None:
    """The time of the clock on data that runs.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.
    died : only where its process has not ended in order.
    alive_s : a clock that was not seen for so long [s] does not count.

    Returns
    -------
    The time [UTC]; None where there is no such clock.
    """
    query = """
        SELECT max(clock_time + (clock_timestamp() - beat_at) * speed) AS now
        FROM operations WHERE site_id = %s AND (leader <> '' OR NOT %s)
            AND (speed <> 1 OR abs(extract(epoch FROM clock_time - beat_at)) > 60)
            AND beat_at > clock_timestamp() - make_interval(secs => %s)"""
    now = select_rows(conn, query, (site_id, died, alive_s))[0]["now"]
    return None if now is None else pd.Timestamp(now).tz_convert("UTC")
