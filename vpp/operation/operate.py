"""A plant in operation: one process leads, and runs the jobs until SIGTERM or Ctrl-C.

    python pipeline.py operate
    python pipeline.py operate --clock data --speed 3600

Where two processes run, one waits, and takes over within a minute when the other dies.
"""

import gc
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pandas as pd
import psycopg2

from vpp.champions.forecasts import forecast_all
from vpp.operation.clock import Clock
from vpp.operation.leader import Leadership
from vpp.operation.plant import Plant
from vpp.operation.sent_before import leave_out_sent
from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.memory import give_back
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.runtime.words import in_words
from vpp.site.kinds import SERIES_KINDS
from vpp.storage.connection import kept_connections, session
from vpp.storage.counts import count_measurements
from vpp.storage.errors import DatabaseError
from vpp.storage.jobs import read_data_clock, record_clock
from vpp.storage.measurements import read_sources
from vpp.stream.data_set import register_sources
from vpp.stream.feed import Feed
from vpp.stream.sink import Sink, run_sink

log = logging.getLogger("operate")

HELD_BACK = pd.Timedelta(hours=48)  # before the data end: where a clock on data begins
BEAT_S = 1.0
DATA_BEAT_S = 0.2  # of a clock on data, which stands when its leader is not heard
STANDBY_S = 3.0  # a standby asks so often
END_S = 3.5  # what runs has so long to end
END_MOST_S = 4.5  # from a signal to the end of the process
GIVE_BACK_S = 60.0  # memory that is free is given back to the system so often


def operate(
    config: Config,
    data_clock: bool = False,
    begin: pd.Timestamp | None = None,
    speed: float = 1.0,
    after_plan: Callable[[], object] | None = None,
) -> bool:
    """Run the plant until SIGTERM or SIGINT.

    Parameters
    ----------
    config : the configuration.
    data_clock : the clock runs through the data folder, whose rows are sent as it passes them.
    begin : where it begins then [UTC]; default the data end less 48 h.
    speed : how many seconds it goes on in a second.
    after_plan : called after each plan of a clock on the wall.

    Returns
    -------
    Whether all has ended; else something still runs that a process takes with it.

    Raises
    ------
    VppError : the data folder has no data, or the servers are away at the start.
    """
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: stop.set())
    with session(config):
        pass  # a database that cannot be used is told at once
    leadership, has_waited, ended = Leadership(config), False, True
    try:
        feed = _feed(config) if data_clock else None
        if feed is not None and begin is not None and begin >= feed.data_end():
            raise ConfigError(
                f"--from {shown(begin)}: expected a time before the end of the data folder,"
                f" {shown(feed.data_end())}"
            )
        while not stop.is_set():
            if not leadership.take():
                if not has_waited:
                    log.info("another process leads; waiting")
                has_waited = True
                stop.wait(DATA_BEAT_S if data_clock else STANDBY_S)
                continue
            log.info("%s leads", leadership.name)
            if feed is not None:
                feed.begin_again()
            _let_go()
            clock = _clock(config, feed, begin, speed, has_waited, stop)
            if not stop.is_set():
                ended = _lead(Plant(config, clock, feed, after_plan), leadership, stop)
            has_waited = True
    finally:
        leadership.give_up()
        for number, handler in before.items():
            signal.signal(number, handler)
    return ended


def _lead(plant: Plant, leadership: Leadership, stop: threading.Event) -> bool:
    """Run the plant while this process leads; returns whether all of it has ended."""
    plant.start()
    gave_back_at = time.monotonic()
    try:
        while not stop.is_set() and leadership.take():
            _beat(plant, leadership, leadership.name)
            plant.jobs.look()
            if time.monotonic() - gave_back_at > GIVE_BACK_S:
                gave_back_at = time.monotonic()
                give_back()
            stop.wait(DATA_BEAT_S if plant.clock.on_data else BEAT_S)
        _beat(plant, leadership, "")
        if not stop.is_set():
            log.error("the database does not answer: this process leads no more")
    finally:
        ended = plant.end(END_S)
    while not ended and not stop.is_set():  # no two plans of one process beside each other
        ended = plant.end(END_S)
    return ended


def _beat(plant: Plant, leadership: Leadership, name: str) -> None:
    """Record who leads, and the plant's clock."""
    clock, conn = plant.clock, leadership.conn
    if conn is not None:
        with suppress(DatabaseError, psycopg2.Error), clock.lock:
            record_clock(conn, plant.config.site.site_id, name, clock.now(), clock.pace)


def _forecast_first(config: Config, start: pd.Timestamp) -> None:
    """Forecast before a clock on data begins: the first time takes long, and it would run on."""
    with session(config) as conn:
        steps = [source.step_min for source in read_sources(conn) if source.kind in SERIES_KINDS]
    try:
        forecast_all(config, start.floor(f"{max(steps, default=60)}min"), clock=start)
    except VppError as error:  # the job says it again, and again
        log.error("forecast: %s", in_words(error))


def _catch_up(config: Config, feed: Feed, now: pd.Timestamp) -> None:
    """Send what a leader that died had still to send."""
    try:
        leave_out_sent(config, feed, now)
        feed.send(now)
    except VppError as error:  # the job tries it again
        log.error("ingest: %s", in_words(error))


def _feed(config: Config) -> Feed:
    register_sources(config)
    return Feed(config)


def _clock(
    config: Config,
    feed: Feed | None,
    begin: pd.Timestamp | None,
    speed: float,
    takes_over: bool,
    stop: threading.Event,
) -> Clock:
    """The plant's clock; one on data begins when what it has behind it is stored."""
    if feed is None:
        return Clock()
    with session(config) as conn:
        now = read_data_clock(conn, config.site.site_id, died=not takes_over)
    if now is not None:  # it stands until all is ready
        _catch_up(config, feed, now)
        _forecast_first(config, now)
        log.info("the clock goes on at %s", shown(now))
        return Clock(now, speed)
    start = begin or feed.data_end() - HELD_BACK
    with session(config) as conn:
        counts = count_measurements(conn)
    if all(counts[kind] >= feed.counts[kind] for kind in feed.kinds):
        feed.skip(start)
    else:
        began = time.monotonic()
        sink, sent = Sink(config, until_drained=True), list[int]()

        def send() -> None:
            leave_out_sent(config, feed, start)
            sent.append(feed.send(start, lambda: stop.is_set() or sink.stop.is_set()))

        run_sink(sink, send)
        log.info("%d rows before %s in %.0f s", sum(sent), shown(start), time.monotonic() - began)
    _forecast_first(config, start)
    log.info("the clock begins at %s, %g times as fast as the wall's", shown(start), speed)
    return Clock(start, speed)


def _let_go() -> None:
    """Let the plant of before go, whose parts know each other, before there is a new one.

    The collector then passes over all that stays, such as the rows of a data folder, and comes by
    the sooner.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def run_operation(
    config: Config,
    data_clock: bool,
    begin: pd.Timestamp | None,
    speed: float,
    after_plan: Callable[[], object],
) -> int:
    """As `operate`, for a script: whatever still runs at its end goes with the process.

    Parameters
    ----------
    config, data_clock, begin, speed, after_plan : as of `operate`.

    Returns
    -------
    The exit code.
    """
    with _ends_in_time(), kept_connections():
        ended = operate(config, data_clock, begin, speed, after_plan)
    log.info("ended")
    if not ended:
        logging.shutdown()
        os._exit(0)  # a solver or a library that computes cannot be asked to stop
    return 0


@contextmanager
def _ends_in_time() -> Iterator[None]:
    """End the process soon after SIGTERM or SIGINT, whatever its main thread waits for then.

    Python hears a signal when its main thread comes back from a library; the bytes of
    `set_wakeup_fd` come at once.
    """
    heard, told = socket.socketpair()
    told.setblocking(False)

    def watch() -> None:
        while number := heard.recv(1):
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                time.sleep(END_MOST_S)
                if told.fileno() >= 0:  # the end was not reached meanwhile
                    os._exit(0)

    before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=watch, name="end", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        told.close()  # which ends the thread
