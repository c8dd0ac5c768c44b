"""One leader of a plant: who holds the advisory lock of its site in the database.

The server gives the lock free when the leader's connection ends, however that comes about. So a
standby that asks every few seconds takes over soon after the leader died.

    python pipeline.py operate
"""

import os
import socket
from contextlib import suppress

import psycopg2
from psycopg2.extensions import connection

from vpp.runtime.settings import Config
from vpp.storage.connection import connect
from vpp.storage.errors import DatabaseError

BEAT = "operate.beat"
# A machine that is gone tells nobody: the server looks after some seconds.
KEEPALIVE = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5;"
KEEPALIVE += "SET tcp_keepalives_count = 3; SET statement_timeout = '5s'"


class Leadership:
    """The lock of a site.

    Parameters
    ----------
    config : names the site and the database.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.name = f"{socket.gethostname()} {os.getpid()}"
        self.conn: connection | None = None
        self.holds = False
        self.beat = config.paths.state_dir / BEAT
        self.beat.parent.mkdir(parents=True, exist_ok=True)

    def take(self) -> bool:
        """Try to become the leader; the leader finds out whether it still is.

        Either way the file `operate.beat` of the state folder becomes as old as this moment: an
        older one tells that the process hangs.

        Returns
        -------
        Whether this process leads.
        """
        with suppress(OSError):  # a full disk stops no plant
            self.beat.touch()
        try:
            if self.conn is None:
                self.holds = False
                self.conn = connect(self.config, wait_s=2)
                self.conn.autocommit = True
                with self.conn.cursor() as cur:
                    cur.execute(KEEPALIVE)
            with self.conn.cursor() as cur:
                if self.holds:
                    cur.execute("SELECT 1")
                else:
                    key = f"vpp operate {self.config.site.site_id}"
                    cur.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (key,))
                    self.holds = bool((cur.fetchone() or (False,))[0])
        except (psycopg2.Error, DatabaseError):
            self.give_up()
        return self.holds

    def give_up(self) -> None:
        """Give the lock free."""
        self.holds = False
        if self.conn is not None:
            self.conn.close()
            self.conn = None
