"""The bridge between the database and MQTT: set-points go out, the words of devices come in.

    python communication.py mqtt

One bridge serves a site; a second one waits and takes over when the first ends. The newest plan is
published when it is made, its set-points again at each step and each connection. A message is
acknowledged when the database has it: nothing is lost when either is killed. A faulty one is
told in a line and left. While the database is away the site is told to be offline.
"""

import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

import paho.mqtt.client as mqtt
import psycopg2
from psycopg2.extensions import connection

from vpp.devices.incoming import Incoming, Received
from vpp.devices.outgoing import Outgoing
from vpp.devices.publish import CHANNEL, bridge_lock
from vpp.devices.topics import QOS, new_client, site_topics, why_silent
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.runtime.words import in_words
from vpp.storage.connection import connect
from vpp.storage.jobs import read_pace
from vpp.storage.rows import select_rows

log = logging.getLogger("mqtt")

LOOK_S = 1.0  # a new plan is looked for so often, and at once when it is told
STANDBY_S = 0.1  # one that waits takes over so soon: devices wait for their set-points
STANDING_S = 0.02  # a clock that stands is read so often
AHEAD_S = 0.1  # on a fast clock, where it is minutes, a set-point leaves so long before its step
BATCH = 1_000
OFFLINE_S = 1.0  # a bridge that ends has so long to say so


class Bridge:
    """Serves a site until it is told to stop.

    Parameters
    ----------
    config : names site, broker and database.
    stop : ends `run`.
    clock : the time of the plant [UTC]; None: as the database tells it.
    """

    def __init__(
        self,
        config: Config,
        stop: threading.Event,
        clock: Callable[[], datetime] | None = None,
    ):
        self.config, self.stop, self.clock = config, stop, clock
        self.topics = site_topics(config)
        self.queue: SimpleQueue[Received] = SimpleQueue()
        self.wake_read, self.wake_write = socket.socketpair()
        self.wake_write.setblocking(False)
        self.generation = 0  # of the connection to the broker
        self.is_new = False  # the connection has not got everything yet
        self.told = ""
        self.looked_at, self.now, self.speed = 0.0, datetime.now(UTC), 1.0
        self.pending: list[Received] = []
        self.outgoing = Outgoing(config, self.topics, self._publish)
        self.incoming = Incoming(config)

    def run(self) -> None:
        """Bridge until told to stop; a database that is away is tried again."""
        while not self.stop.is_set():
            try:
                conn = connect(self.config, wait_s=0)
                try:
                    self._serve(conn)
                finally:
                    conn.close()
            except (psycopg2.Error, VppError) as error:
                self._say(f"database, trying again: {in_words(error)}")
                self.stop.wait(1.0)
        self.wake_read.close()
        self.wake_write.close()

    def _new_client(self) -> mqtt.Client:
        client = new_client(self.config, f"vpp-{self.topics.site_id}", is_kept=True)
        client.will_set(self.topics.status, b"offline", QOS, retain=True)
        client.on_connect, client.on_message = self._on_connect, self._on_message
        client.on_disconnect, client.on_connect_fail = self._on_disconnect, self._on_fail
        return client

    def _serve(self, conn: connection) -> None:
        """Wait until no other bridge serves the site; then serve it."""
        if not self._lock(conn):
            return
        with conn.cursor() as cur:
            cur.execute(f"LISTEN {CHANNEL}")
        conn.commit()
        self.queue, self.pending = SimpleQueue(), []  # the broker sends again what was not stored
        self.client = self._new_client()
        self.client.loop_start()
        try:
            while not self.stop.is_set():
                self._turn(conn)
                sources: list[Any] = [conn, self.wake_read]
                select.select(sources, [], [], self._pause_s())
                self._drain_wake()
                conn.poll()
        finally:
            self._leave()

    def _lock(self, conn: connection) -> bool:
        while not self.stop.is_set():
            query = "SELECT pg_try_advisory_lock(hashtext(%s)) AS got"
            got = select_rows(conn, query, (bridge_lock(self.topics.site_id),))[0]["got"]
            conn.commit()
            if got:
                return True
            self._say("another bridge serves the site; this one waits")
            self.stop.wait(STANDBY_S)
        return False

    def _turn(self, conn: connection) -> None:
        """Store what came in, and publish what is new."""
        self.now = now = self._now(conn)
        self._take()
        if self.pending:
            self.incoming.store(conn, self.pending, now)
            for item in self.pending:
                if item.generation == self.generation:  # else it comes again
                    self.client.ack(item.mid, item.qos)
            if any(item.name == "override/set" for item in self.pending):
                self.looked_at = 0.0  # a person waits for the answer
            self.pending = []
        is_due = time.monotonic() - self.looked_at >= LOOK_S or bool(conn.notifies)
        conn.notifies.clear()
        if not self.client.is_connected():
            return
        if self.is_new:
            self.is_new = False
            self._publish(self.topics.status, b"online")
            self.outgoing.forget()
            is_due = True
        if is_due:
            self.looked_at = time.monotonic()
            self.outgoing.look(conn, now)
        self.outgoing.step(now + self._ahead())
        conn.commit()

    def _now(self, conn: connection) -> datetime:
        if self.clock is not None:
            return self.clock()
        now, self.speed = read_pace(conn, self.topics.site_id)
        conn.commit()
        return now.to_pydatetime()

    def _pause_s(self) -> float:
        """How long there is nothing to do [s]."""
        if not self.queue.empty():
            return 0.0
        if not self.speed:
            return STANDING_S
        due = self.outgoing.next_step
        wait = None if due is None else due - self.now - self._ahead()
        left = LOOK_S if wait is None else wait / timedelta(seconds=self.speed)
        return min(max(left, 0.005), LOOK_S / 4)

    def _ahead(self) -> timedelta:
        """How long before its step a set-point leaves, at most half of it."""
        if self.speed <= 1:
            return timedelta(0)
        return min(timedelta(seconds=AHEAD_S * self.speed), self.outgoing.step_length / 2)

    def _take(self) -> None:
        while len(self.pending) < BATCH:
            try:
                self.pending.append(self.queue.get_nowait())
            except Empty:
                return

    def _drain_wake(self) -> None:
        while select.select([self.wake_read], [], [], 0)[0]:
            self.wake_read.recv(4096)

    def _wake(self) -> None:
        with suppress(OSError):  # it is awake, or has ended
            self.wake_write.send(b"!")

    def _publish(self, topic: str, payload: bytes) -> None:
        if self.client.is_connected():
            self.client.publish(topic, payload, QOS, retain=True)

    def _leave(self) -> None:
        if self.client.is_connected():
            last = self.client.publish(self.topics.status, b"offline", QOS, retain=True)
            with suppress(ValueError, RuntimeError):
                last.wait_for_publish(OFFLINE_S)
        self.client.disconnect()
        self.client.loop_stop()

    def _say(self, text: str) -> None:
        """Tell it once, until something else is told."""
        if text != self.told:
            self.told = text
            log.warning("%s", text)

    # Called in the client's thread.

    def _on_connect(self, client: mqtt.Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        address = self.config.mqtt.address
        if reason.is_failure:
            self._say(f"broker {address.host}:{address.port} refuses: {reason}; check [mqtt] url")
            return
        self.generation += 1
        wanted = [(self.topics.of("+", name), QOS) for name in ("state", "ack", "override/set")]
        client.subscribe(wanted)
        self.told = ""
        log.info("connected to the broker %s:%d", address.host, address.port)
        self.is_new = True
        self._wake()

    def _on_disconnect(self, client: Any, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if not self.stop.is_set():
            cause = reason if self.generation else why_silent(self.config)
            self._say(f"broker, trying again: {cause}")

    def _on_fail(self, client: Any, _: Any) -> None:
        address = self.config.mqtt.address
        self._say(f"broker {address.host}:{address.port}, trying again: {why_silent(self.config)}")

    def _on_message(self, _: Any, __: Any, message: mqtt.MQTTMessage) -> None:
        try:
            place = self.topics.read(message.topic)
        except UnicodeDecodeError:
            place = None
        self.queue.put(
            Received(
                *(place or ("", "")),
                bytes(message.payload),
                message.retain,
                datetime.now(UTC),
                *(self.generation, message.mid, message.qos),
            )
        )
        self._wake()


@contextmanager
def serving(config: Config, clock: Callable[[], datetime] | None = None) -> Iterator[None]:
    """A bridge at work beside a block, where the configuration names a broker.

    Parameters
    ----------
    config, clock : as of `Bridge`.
    """
    if not config.mqtt.url:
        yield
        return
    service = Bridge(config, threading.Event(), clock)
    thread = threading.Thread(target=service.run, name="mqtt", daemon=True)
    thread.start()
    try:
        yield
    finally:
        service.stop.set()
        thread.join(OFFLINE_S + 2)
