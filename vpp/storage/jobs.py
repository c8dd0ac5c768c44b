"""The jobs of a plant in operation, and its clock: the tables `jobs` and `operations`.

python -c "from vpp.storage.jobs import read_jobs; help(read_jobs)"

Times are UTC of the wall clock, but those that are named as of the plant's clock.
"""

import pandas as pd
from psycopg2.extensions import connection

from vpp.storage.errors import explained
from vpp.storage.rows import Moment, select_frame, select_rows, upsert_rows

STATES = ("waiting", "running", "late", "failed")
STANDS_S = 0.3  # a clock on data whose leader was not heard for so long stands [s on the wall]


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


def record_pace(conn: connection, site_id: str, clock_time: Moment, speed: float) -> None:
    """Record that the plant's clock stands, or goes on.

    Parameters
    ----------
    conn, site_id, clock_time, speed : as of `record_clock`.

    Raises
    ------
    DatabaseError : the server refuses.
    """
    time = pd.Timestamp(clock_time).floor("us").to_pydatetime()
    query = """
        UPDATE operations SET clock_time = %s, speed = %s, beat_at = clock_timestamp()
        WHERE site_id = %s"""
    with explained("operations"), conn.cursor() as cur:
        cur.execute(query, (time, speed, site_id))
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
    return read_pace(conn, site_id)[0]


def read_pace(conn: connection, site_id: str) -> tuple[pd.Timestamp, float]:
    """As `read_clock`, and how many seconds that clock goes on in a second.

    Parameters
    ----------
    conn, site_id : as of `read_clock`.
    """
    now, speed = _data_clock(conn, site_id, died=False, alive_s=60.0)
    if now is None:
        now, speed = select_rows(conn, "SELECT clock_timestamp() AS now")[0]["now"], 1.0
    return pd.Timestamp(now).tz_convert("UTC"), speed


def read_data_clock(
    conn: connection, site_id: str, died: bool = False, alive_s: float = 60.0
) -> pd.Timestamp | None:
    """The time of the clock on data that runs; it stands where nobody leads.

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
    now, _ = _data_clock(conn, site_id, died, alive_s)
    return None if now is None else pd.Timestamp(now).tz_convert("UTC")


def _data_clock(
    conn: connection, site_id: str, died: bool, alive_s: float
) -> tuple[pd.Timestamp | None, float]:
    query = """
        SELECT speed, clock_time + speed
            * least(clock_timestamp() - beat_at, make_interval(secs => %s)) AS now
        FROM operations WHERE site_id = %s AND (leader <> '' OR NOT %s)
            AND (speed <> 1 OR abs(extract(epoch FROM clock_time - beat_at)) > 60)
            AND beat_at > clock_timestamp() - make_interval(secs => %s)"""
    rows = select_rows(conn, query, (STANDS_S, site_id, died, alive_s))
    return (rows[0]["now"], float(rows[0]["speed"])) if rows else (None, 1.0)
