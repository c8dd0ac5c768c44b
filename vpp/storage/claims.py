"""Work that is done once, however many commands or machines are at it: the tables `claims` and
`claim_steps`.

Whoever does a task holds its row locked (`FOR UPDATE SKIP LOCKED`) in a transaction that is open
meanwhile. A process that dies loses its connection, and so its claim: the next one takes it. A task
that another has done since a command began is not done again: its result is read.

    python train_forecast.py & python train_forecast.py
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
from psycopg2.extensions import connection
from psycopg2.extras import Json

from vpp.runtime.settings import Config
from vpp.runtime.tables import json_text
from vpp.storage.connection import connect
from vpp.storage.errors import explained
from vpp.storage.rows import Moment, select_rows

KEPT = "7 days"


def worker_name() -> str:
    """This process, as a person finds it: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


def server_time(conn: connection) -> pd.Timestamp:
    """The clock of the server [UTC], by which claims count."""
    return pd.Timestamp(select_rows(conn, "SELECT clock_timestamp() AS now")[0]["now"])


@dataclass
class Claim:
    """A task that is claimed by this process.

    Parameters
    ----------
    result : that another gave it since the command began; None where it is to be done.
    done : whether it is done, by this process or another.
    earlier : its result of before, however old; None where there is none.
    """

    result: Any = None
    done: bool = False
    earlier: Any = None

    def finish(self, result: Any) -> None:
        """Keep the result; it is stored when the block of the claim ends.

        Parameters
        ----------
        result : what JSON can hold.
        """
        self.result, self.done = result, True


@contextmanager
def claimed(config: Config, task: str, since: Moment, wait: bool = False) -> Iterator[Claim | None]:
    """Claim a task for one block.

    Parameters
    ----------
    config : names the database.
    task : its name; equal tasks have equal names.
    since : a result that is as new counts [UTC of the server].
    wait : for another process that is at it, until it ends.

    Yields
    ------
    The claim; None where another process has it and `wait` is false.
    """
    conn = connect(config)
    try:
        with explained("claims"):
            found = _lock(conn, task, wait)
            if found is None:
                yield None
                return
            done = found["done_at"] is not None and found["done_at"] >= pd.Timestamp(since)
            claim = Claim(found["result"] if done else None, done, found["result"])
            yield claim
            if claim.done and not done:
                _finish(conn, task, claim.result)
            conn.commit()
    finally:
        conn.close()  # gives the claim back where the block failed


def _lock(conn: connection, task: str, wait: bool) -> Mapping[str, Any] | None:
    """Lock the row of a task, made where there is none; None where another holds it."""
    with conn.cursor() as cur:
        cur.execute("INSERT INTO claims (task) VALUES (%s) ON CONFLICT DO NOTHING", (task,))
        conn.commit()
        # a claim is held for as long as the work takes
        cur.execute("""
            SET lock_timeout = 0;
            SET statement_timeout = 0;
            SET idle_in_transaction_session_timeout = 0""")
    query = "SELECT done_at, result FROM claims WHERE task = %s FOR UPDATE"
    rows = select_rows(conn, query + ("" if wait else " SKIP LOCKED"), (task,))
    return rows[0] if rows else None


def _finish(conn: connection, task: str, result: Any) -> None:
    with conn.cursor() as cur:
        cur.execute(
            """
            UPDATE claims SET done_at = clock_timestamp(), worker = %s, result = %s
            WHERE task = %s""",
            (worker_name(), Json(result, dumps=json_text), task),
        )
        cur.execute("DELETE FROM claim_steps WHERE task = %s", (task,))
        cur.execute(
            f"""
            DELETE FROM claims WHERE task IN (
                SELECT task FROM claims WHERE coalesce(done_at, made_at)
                    < clock_timestamp() - interval '{KEPT}' FOR UPDATE SKIP LOCKED)"""
        )


def record_step(conn: connection, task: str, done: int, steps: int) -> None:
    """Record how far a task has come.

    Parameters
    ----------
    conn : another connection than that of the claim; its transaction is committed.
    task : its name.
    done, steps : of how many.
    """
    with explained("claim_steps"), conn.cursor() as cur:
        cur.execute(
            """
            INSERT INTO claim_steps VALUES (%s, %s, %s, %s)
            ON CONFLICT (task) DO UPDATE SET done = excluded.done, steps = excluded.steps,
                worker = excluded.worker, seen_at = clock_timestamp()""",
            (task, done, steps, worker_name()),
        )
        conn.commit()


def read_steps(conn: connection, tasks: Sequence[str], since: Moment) -> float:
    """How many of some tasks are done since a time, parts of those at work included.

    Parameters
    ----------
    conn : the connection; its transaction is ended.
    tasks : their names.
    since : a result that is as new counts [UTC of the server].

    Raises
    ------
    DatabaseError : the server is gone.
    """
    query = """
        SELECT coalesce(sum(CASE WHEN c.done_at >= %(since)s THEN 1.0
            WHEN s.seen_at >= %(since)s THEN s.done / greatest(s.steps, 1)::float8
            ELSE 0 END), 0)::float8 AS done
        FROM claims c LEFT JOIN claim_steps s USING (task) WHERE c.task = ANY(%(tasks)s)"""
    given = {"since": pd.Timestamp(since).to_pydatetime(), "tasks": list(tasks)}
    with explained("claim_steps"):
        rows = select_rows(conn, query, given)
        conn.rollback()
    return float(rows[0]["done"])


def read_workers(conn: connection, tasks: Sequence[str], since: Moment) -> dict[str, int]:
    """How many of some tasks each worker has done since a time.

    Parameters
    ----------
    conn : the connection.
    tasks : their names.
    since : a result that is as new counts [UTC of the server].
    """
    rows = select_rows(
        conn,
        """
        SELECT worker, count(*) AS number FROM claims
        WHERE task = ANY(%(tasks)s) AND done_at >= %(since)s GROUP BY worker ORDER BY worker""",
        {"since": pd.Timestamp(since).to_pydatetime(), "tasks": list(tasks)},
    )
    return {row["worker"]: row["number"] for row in rows}
