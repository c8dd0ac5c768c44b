"""Connections to the database.

Opened, migrated, in UTC, and tried again while a server may come back.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg2.extras
import tenacity
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection

from vpp.runtime.errors import VppError
from vpp.runtime.servers import ensure_running
from vpp.runtime.settings import EMBEDDED, Config
from vpp.storage.errors import DatabaseError, explained, first_line
from vpp.storage.schema import migrate

# Waiting does not help against these parts of a message of libpq.
LASTING = (
    "authentication failed",
    "does not exist",
    "no password supplied",
    "no pg_hba.conf entry",
)

KEPT_S, KEPT_MOST = 600.0, 8  # age [s] and number of connections that wait for their next session


class DataGapError(VppError):
    """The database lacks what was asked for; the message names the command that makes it."""


def connect(config: Config, wait_s: float | None = None) -> connection:
    """Open a connection with the schema in place and the session in UTC.

    An embedded server is started first.

    Parameters
    ----------
    config : names the server.
    wait_s : patience [s] with a server that does not answer; None for that of `[database]`.

    Returns
    -------
    The connection, which the caller closes.

    Raises
    ------
    DatabaseError : the server cannot be reached in time or refuses the login, or its schema cannot
        be made.
    """
    url = config.database.url
    if url == EMBEDDED:
        url = ensure_running(config.paths.state_dir, config.database.wait_s).database_url
    return connect_url(url, config.database.wait_s if wait_s is None else wait_s)


def connect_url(url: str, wait_s: float) -> connection:
    """As `connect`, for an address.

    Parameters
    ----------
    url : such as postgresql://user:password@host:port/database.
    wait_s : patience [s] with a server that does not answer.
    """
    for plain in (False, True):
        conn = log_in(url, wait_s)
        try:
            with explained("schema"):
                with conn.cursor() as cur:
                    cur.execute("""
                        SET TIME ZONE 'UTC';
                        SET statement_timeout = '10min';
                        SET lock_timeout = '20s'""")
                conn.commit()
                if migrate(conn, plain):
                    break
        except BaseException:
            conn.close()
            raise
    return conn


def log_in(url: str, wait_s: float) -> connection:
    """Log in, again and again while the server may come back; the schema is not looked at.

    Parameters
    ----------
    url : such as postgresql://user:password@host:port/database.
    wait_s : patience [s] with a server that does not answer.

    Raises
    ------
    DatabaseError : the server cannot be reached in time or refuses the login.
    """
    try:
        where = psycopg2.extensions.parse_dsn(url)
    except psycopg2.Error:
        raise DatabaseError(
            "[database] url cannot be read; expected postgresql://user:password@host:port/database"
        ) from None
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(psycopg2.OperationalError)
        & tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_delay(wait_s),
        wait=tenacity.wait_exponential(0.1, 2),
        reraise=True,
    )
    settings = {"connect_timeout": 5, "application_name": "vpp", "tcp_user_timeout": 15_000}
    try:
        return retry(psycopg2.connect, url, **settings)
    except psycopg2.Error as error:
        host, port = where.get("host", "local socket"), where.get("port", 5432)
        cause = first_line(error).replace(where.get("password") or "\0", "***")
        raise DatabaseError(
            f"PostgreSQL at {host}:{port}/{where.get('dbname', '')} cannot be used: {cause}; "
            "start it (make up, or url = embedded) or correct [database] url"
        ) from None


def _may_pass(error: BaseException) -> bool:
    """Whether a connection error may go away by waiting: not a wrong password, role or database."""
    return not any(part in str(error) for part in LASTING)


class _Kept:
    """Connections that wait for their next session; a server's memory of one grows, so that none
    gets older than `KEPT_S`."""

    def __init__(self) -> None:
        self.waiting: list[tuple[object, float, connection]] = []
        self.lock = threading.Lock()

    def take(self, key: object) -> tuple[float, connection] | None:
        """A connection to the same server that still answers, and when it was made [s]."""
        while True:
            with self.lock:
                places = [n for n, (own, *_) in enumerate(self.waiting) if own == key]
                if not places:
                    return None
                _, made, conn = self.waiting.pop(places[-1])
            if time.monotonic() - made < KEPT_S:
                try:
                    with conn.cursor() as cur:
                        cur.execute("SELECT 1")
                    conn.rollback()
                    return made, conn
                except psycopg2.Error:
                    pass
            conn.close()

    def give(self, key: object, made: float, conn: connection) -> None:
        """Take a connection back without its locks; one in whatever other state is closed."""
        idle = not conn.closed and conn.info.transaction_status == TRANSACTION_STATUS_IDLE
        if idle and not conn.autocommit and len(self.waiting) < KEPT_MOST:
            with suppress(psycopg2.Error):
                with conn.cursor() as cur:
                    cur.execute("SELECT pg_advisory_unlock_all(); UNLISTEN *")
                conn.commit()
                with self.lock:
                    self.waiting.append((key, made, conn))
                return
        conn.close()

    def close(self) -> None:
        """Close those that wait."""
        with self.lock:
            while self.waiting:
                self.waiting.pop()[-1].close()


_kept: _Kept | None = None  # None: each session has a connection of its own


@contextmanager
def kept_connections() -> Iterator[None]:
    """In this block, in all threads, sessions that ended leave their connections to the next.

    A plant in operation opens some twenty sessions an hour of its clock, and the server begins a
    process for each connection.
    """
    global _kept
    before, own = _kept, _Kept()
    _kept = own
    try:
        yield
    finally:
        _kept = before
        own.close()


@contextmanager
def session(config: Config) -> Iterator[connection]:
    """A connection for one block.

    Committed at its end, rolled back if it fails, closed in any case, or kept for the next session
    (`kept_connections`).

    Raises
    ------
    DatabaseError : as `connect`, or the server refuses or ends the session.
    """
    pool, key = _kept, (config.database.url, config.paths.state_dir)
    found = None if pool is None else pool.take(key)
    made, conn = found or (time.monotonic(), connect(config))
    try:
        with explained("session"):
            yield conn
            conn.commit()
        if pool is not None and pool is _kept:
            pool.give(key, made, conn)
            return
    except BaseException:
        conn.close()  # rolls back what was not committed
        raise
    conn.close()
