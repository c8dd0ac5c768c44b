"""Connections to the database.

Opened, migrated, in UTC, and tried again while a server may come back.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2.extras
import tenacity
from psycopg2.extensions import connection

from vpp.runtime.config import EMBEDDED, Config, VppError
from vpp.runtime.servers import ensure_running
from vpp.storage import schema
from vpp.storage.rows import explained
from vpp.storage.schema import DatabaseError, first_line

# What a record itself is to blame for: out of range, against a constraint, or refused by a trigger.
# All else is the server's.
RECORD_REFUSED = (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.errors.RaiseException)


class DataGapError(VppError):
    """What was asked for is not in the database; the message names the command that makes it."""


def connect(config: Config, wait_s: float | None = None) -> connection:
    """Open a connection with the schema in place and the session in UTC.

    An embedded server is started first. A server that does not answer is tried again until `wait_s`
    [s, default: that of `[database]`] has passed.

    Raises
    ------
    DatabaseError : the server cannot be reached in time, refuses the login, or its schema cannot be
    made."""
    url = config.database.url
    if url == EMBEDDED:
        url = ensure_running(config.paths.state_dir, config.database.wait_s).database_url
    return connect_url(url, config.database.wait_s if wait_s is None else wait_s)


def connect_url(url: str, wait_s: float) -> connection:
    """As `connect`, for a URL; gives up after `wait_s` [s]."""
    try:
        where = psycopg2.extensions.parse_dsn(url)
    except psycopg2.Error:
        raise DatabaseError(
            "[database] url cannot be read; expected postgresql://user:password@host:port/database"
        ) from None
    server = (
        f"{where.get('host', 'local socket')}:{where.get('port', 5432)}/{where.get('dbname', '')}"
    )
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(psycopg2.OperationalError)
        & tenacity.retry_if_exception(_may_pass),
        stop=tenacity.stop_after_delay(wait_s),
        wait=tenacity.wait_exponential(0.1, 2),
        reraise=True,
    )
    try:
        conn = retry(
            psycopg2.connect,
            url,
            connect_timeout=5,
            application_name="vpp",
            tcp_user_timeout=15_000,
        )
    except psycopg2.Error as error:
        cause = first_line(error).replace(where.get("password") or "\0", "***")
        raise DatabaseError(
            f"PostgreSQL at {server} cannot be used: {cause}; start it (make up, or url = "
            "embedded) or correct [database] url"
        ) from None
    try:
        with explained("schema"):
            with conn.cursor() as cursor:
                cursor.execute(
                    "SET TIME ZONE 'UTC'; SET statement_timeout = '10min'; SET lock_timeout = '20s'"
                )
            conn.commit()
            schema.migrate(conn)
    except BaseException:
        conn.close()
        raise
    return conn


def _may_pass(error: BaseException) -> bool:
    """Whether a connection error may go away by waiting: not a wrong password, role or database."""
    text = str(error)
    return not any(
        part in text
        for part in (
            "authentication failed",
            "does not exist",
            "no password supplied",
            "no pg_hba.conf entry",
        )
    )


@contextmanager
def session(config: Config) -> Iterator[connection]:
    """A connection for one block.

    Committed at its end, rolled back if it fails, closed in any case.
    """
    conn = connect(config)
    try:
        with explained("session"):
            yield conn
            conn.commit()
    finally:
        conn.close()  # rolls back what was not committed


def is_compressing(conn: connection) -> bool:
    """Whether the server compresses old chunks: TimescaleDB with its Community licence."""
    return schema.timescale_licence(conn) == schema.COMMUNITY
