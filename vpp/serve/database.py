"""The database as the server asks it: few connections, no long wait, one line where it is away.

python -c "from vpp.serve.database import Database; print(Database.__doc__)"
"""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection

from vpp.runtime.servers import running
from vpp.runtime.settings import EMBEDDED, Config
from vpp.storage.connection import connect_url
from vpp.storage.errors import DatabaseError, explained

WAIT_S = 1.0  # a page does not wait longer for a server that is away
STATEMENT_S = 20
T = TypeVar("T")


class Database:
    """Connections that are kept open, each used by one thread at a time.

    An embedded server is not started: somebody may have stopped it on purpose.

    Parameters
    ----------
    config : names the server.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.idle: queue.SimpleQueue[connection] = queue.SimpleQueue()

    def ask(self, read: Callable[..., T], *args: object) -> T:
        """Call a function with a connection and further arguments, and commit.

        Parameters
        ----------
        read : the function.
        *args : its arguments after the connection.

        Raises
        ------
        DatabaseError : the server is away or refuses.
        """
        with self._session() as conn, explained("serve"):
            value = read(conn, *args)
            conn.commit()
        return value

    @contextmanager
    def _session(self) -> Iterator[connection]:
        conn = self._take()
        try:
            yield conn
        except BaseException:
            with suppress(psycopg2.Error):
                conn.rollback()
            raise
        finally:
            if conn.closed or conn.get_transaction_status() != TRANSACTION_STATUS_IDLE:
                conn.close()
            else:
                self.idle.put(conn)

    def _take(self) -> connection:
        """A connection that answers; those that the server has left behind are closed."""
        while True:
            try:
                conn = self.idle.get_nowait()
            except queue.Empty:
                return self._open()
            try:
                with conn.cursor() as cur:
                    cur.execute("SELECT 1")
                conn.rollback()
            except psycopg2.Error:
                conn.close()
                continue
            return conn

    def _open(self) -> connection:
        url = self.config.database.url
        if url == EMBEDDED:
            own = running(self.config.paths.state_dir)
            if own is None:
                raise DatabaseError("the embedded servers are stopped; python db.py starts them")
            url = own.database_url
        conn = connect_url(url, WAIT_S)
        with explained("session"), conn.cursor() as cur:
            cur.execute(f"SET statement_timeout = '{STATEMENT_S}s'")
        conn.commit()
        return conn

    def close(self) -> None:
        """Close the connections that are not in use."""
        with suppress(queue.Empty):
            while True:
                self.idle.get_nowait().close()
