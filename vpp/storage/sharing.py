"""Tasks that several commands and machines share, with how far they are and how long they take.

Each task is claimed by whoever does it (`vpp/storage/claims.py`), and its result is kept with the
claim: of two commands side by side each does a part, and both show all results."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pandas as pd
from psycopg2.extensions import connection

from vpp.runtime import terminal
from vpp.runtime.compute import computed
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.storage.claims import read_steps, read_workers, record_step
from vpp.storage.connection import connect, session

LOOK_EVERY_S, SAY_EVERY_S = 2.0, 60.0


class Task(Protocol):
    """Work that is claimed: a dataclass with these fields, and the property `name`."""

    config: Config
    since: pd.Timestamp
    wait: bool

    @property
    def name(self) -> str:
        """By which it is claimed; equal work has an equal name."""


@dataclass
class Outcome:
    """The end of a task.

    Parameters
    ----------
    task : its name.
    result : what it gave; None where another command is at it.
    """

    task: str
    result: Any


def shared_out(
    config: Config, work: Callable[[Any], Outcome], tasks: Sequence[Any], jobs: int, label: str
) -> Iterator[Outcome]:
    """Yield the outcome of each task in the order in which they end; those that another command
    does come last, when it has done them. Where it died they are done here.

    Parameters
    ----------
    config : names the engine and the database.
    work : of one task, which it claims.
    tasks : as `Task` says.
    jobs : at the same time on this machine.
    label : what is done, for the progress bar and the log.
    """
    names = [task.name for task in tasks]
    with watched(config, names, tasks[0].since if tasks else pd.Timestamp(0, tz="UTC"), label):
        left = {task.name: task for task in tasks}
        for wait in (False, True):
            todo = [replace(task, wait=wait) for task in left.values()]
            with computed(config, work, todo, jobs) as found:
                for outcome in found:
                    if outcome.result is not None:
                        del left[outcome.task]
                        yield outcome


@contextmanager
def watched(
    config: Config, names: Sequence[str], since: pd.Timestamp, label: str
) -> Iterator[None]:
    """Show how far some tasks are while the block runs: a bar on a terminal, else a line now and
    then.

    Parameters
    ----------
    config : names the database.
    names : of the tasks.
    since : when the command began [UTC of the server].
    label : what is done.
    """
    over, began = threading.Event(), time.monotonic()
    log = logging.getLogger(label)

    def watch(advance: Callable[[float], None]) -> None:
        shown, said, conn = 0.0, began, None
        try:
            while not over.wait(LOOK_EVERY_S):
                conn = conn or connect(config)
                done = read_steps(conn, names, since)
                advance(done - shown)
                shown, now = done, time.monotonic()
                if now - said >= SAY_EVERY_S and done > 0:
                    said, left_s = now, (now - began) * (len(names) - done) / done
                    log.info("%.1f of %d done, about %.0f s left", done, len(names), left_s)
        except VppError:  # the work itself says that the server is gone
            return
        finally:
            if conn is not None:
                conn.close()

    with terminal.progress(label, len(names)) as advance:
        thread = threading.Thread(target=watch, args=(advance,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(5)
    _say_workers(config, names, since, log)


def _say_workers(
    config: Config, names: Sequence[str], since: pd.Timestamp, log: logging.Logger
) -> None:
    if config.compute.engine == "local":
        return
    with session(config) as conn:
        for worker, number in read_workers(conn, names, since).items():
            log.info("%s: %d of %d tasks", worker, number, len(names))


class Steps:
    """Records the steps of a task, now and then; a call is a step.

    Parameters
    ----------
    config : names the database.
    task : its name.
    steps : how many it has.
    """

    def __init__(self, config: Config, task: str, steps: int) -> None:
        self.config, self.task, self.steps, self.done = config, task, steps, 0
        self.written = time.monotonic()
        self.conn: connection | None = None

    def __call__(self) -> None:
        """One step is done."""
        self.done += 1
        if time.monotonic() - self.written < LOOK_EVERY_S:
            return
        self.written = time.monotonic()
        try:
            self.conn = self.conn or connect(self.config)
            record_step(self.conn, self.task, min(self.done, self.steps), self.steps)
        except VppError:  # the work goes on; its claim says so if the server is gone
            self.close()

    def close(self) -> None:
        """Close the connection."""
        if self.conn is not None:
            self.conn.close()
            self.conn = None
