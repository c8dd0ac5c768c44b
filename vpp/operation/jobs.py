"""Jobs of a plant in operation, on APScheduler: each with its period, its deadline and its record.

A job never runs beside itself. Whatever it raises becomes its last error in the table `jobs` and a
line of the log, and stops no other. One that still runs at its deadline is recorded as late.

    python pipeline.py operate
"""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from vpp.operation.clock import Clock
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.runtime.words import in_words
from vpp.storage.connection import session
from vpp.storage.errors import DatabaseError
from vpp.storage.jobs import record_job, record_pace

log = logging.getLogger("operate")

TELL_S = 30.0  # a job that runs every few seconds is recorded so often


@dataclass(frozen=True)
class Job:
    """A job.

    Parameters
    ----------
    name : as the table `jobs` has it.
    work : does it.
    deadline_s : longest time that it should take [s].
    every_min : its period on the plant's clock [min]; None for none.
    every_s : its period on the wall [s], instead; None for none.
    offset_s : it comes so long after the beginning of its period [s on the wall].
    at_start : whether it runs at once, too.
    is_told : whether its runs are recorded each time; else only their failures, and their ends.
    """

    name: str
    work: Callable[[], Any]
    deadline_s: float
    every_min: float | None = None
    every_s: float | None = None
    offset_s: float = 0.0
    at_start: bool = True
    is_told: bool = True


class OnClock(BaseTrigger):
    """Fires at the multiples of a period of a clock.

    Parameters
    ----------
    clock : the plant's.
    every_min : the period [min].
    offset_s : so long after them [s on the wall].
    """

    def __init__(self, clock: Clock, every_min: float, offset_s: float = 0.0) -> None:
        self.clock, self.every_min, self.offset_s = clock, every_min, offset_s
        self.due = clock.next(every_min)

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """When it fires next.

        Parameters
        ----------
        previous_fire_time, now : on the wall, as APScheduler has them.
        """
        self.due = self.clock.next(self.every_min)
        return self.when()

    def when(self) -> datetime:
        """When it fires for the time that it waits for, after a clock that stood.

        One whose time came while the clock stood, or just before, is not skipped.
        """
        wait_s = self.clock.wait_s(self.due)
        return datetime.now(UTC) + timedelta(seconds=wait_s + self.offset_s)


@dataclass
class Jobs:
    """The jobs of a plant, at work until `stop`.

    Parameters
    ----------
    config : names the database and the site.
    clock : the plant's.
    """

    config: Config
    clock: Clock

    def __post_init__(self) -> None:
        self.running: dict[str, float] = {}  # name -> since when, monotonic [s]
        self.jobs: dict[str, Job] = {}
        self.failing: set[str] = set()
        self.told_at: dict[str, float] = {}
        self.is_over = False
        self.lock = threading.Lock()
        self.scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(12)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        for name in ("apscheduler.scheduler", "apscheduler.executors.default"):
            logging.getLogger(name).setLevel(logging.ERROR)

    def add(self, job: Job) -> None:
        """Add a job; it runs from `start` on.

        Parameters
        ----------
        job : the job.
        """
        self.jobs[job.name] = job
        now = datetime.now(UTC)
        timing: dict[str, Any] = {}
        if job.every_min is not None:
            timing["trigger"] = OnClock(self.clock, job.every_min, job.offset_s)
        elif job.every_s is not None:
            timing = {"trigger": "interval", "seconds": job.every_s}
        if job.at_start or not timing:
            # one without a period waits until it is called
            timing["next_run_time"] = now if job.at_start else None
        if "trigger" not in timing:
            timing["trigger"] = OnClock(self.clock, 10 * 366 * 24 * 60)
        self.scheduler.add_job(self._run, args=[job.name], id=job.name, **timing)

    def start(self) -> None:
        """Begin."""
        self.scheduler.start()

    def call(self, name: str) -> None:
        """Run a job now; where it runs already, it runs again afterwards.

        Parameters
        ----------
        name : of the job; one that there is not is nothing to do.
        """
        if name in self.jobs and self.scheduler.running:
            delay_s = 0.5 if name in self.running else 0.0
            at = datetime.now(UTC) + timedelta(seconds=delay_s)
            self.scheduler.modify_job(name, next_run_time=at)

    def run(self, name: str) -> None:
        """Run a job in this thread, unless it runs already.

        Parameters
        ----------
        name : of the job.
        """
        self._run(name)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """A clock on data stands for a block, and no job begins by it."""
        if not self.clock.on_data:
            yield
            return
        self._set_clock(self.clock.stand)
        self._retime(timedelta(hours=1))
        try:
            yield
        finally:
            self._set_clock(self.clock.go_on)
            self._retime(None)

    def _set_clock(self, change: Callable[[], None]) -> None:
        """Let the clock stand or go on, and record it for those who read it."""
        with self.clock.lock:
            if self.is_over:
                return
            change()
            try:
                with session(self.config) as conn:
                    now, pace = self.clock.now(), self.clock.pace
                    record_pace(conn, self.config.site.site_id, now, pace)
            except DatabaseError as error:  # the next beat tells it
                log.error("the clock cannot be recorded: %s", in_words(error))

    def _retime(self, later: timedelta | None) -> None:
        """Put off all jobs of the clock; with None, to when it says."""
        for found in self.scheduler.get_jobs() if self.scheduler.running else ():
            if isinstance(found.trigger, OnClock):
                now = datetime.now(UTC)
                found.modify(next_run_time=now + later if later else found.trigger.when())

    def stop(self) -> None:
        """Begin no more; those that run go on to their ends.

        From now on another leader may keep the clock: the one of here stands, and is not recorded.
        """
        self.is_over = True
        self.clock.stand()
        if self.scheduler.running:
            self.scheduler.shutdown(wait=False)

    def look(self) -> None:
        """Record those that run longer than their deadline."""
        for name, since in list(self.running.items()):
            if time.monotonic() - since > self.jobs[name].deadline_s and name not in self.failing:
                self.failing.add(name)
                text = f"still runs after its deadline of {self.jobs[name].deadline_s:.0f} s"
                log.error("%s %s", name, text)
                self._record(name, "late", last_error=text)

    def _run(self, name: str) -> None:
        with self.lock:
            if name in self.running:
                return
            self.running[name] = time.monotonic()
        job = self.jobs[name]
        try:
            if job.is_told:
                self._record(name, "running", started_at=datetime.now(UTC))
            job.work()
        except Exception as error:  # no job stops the others, whatever it raises
            text = in_words(error)
            if not isinstance(error, VppError):
                log.debug("%s", traceback.format_exc())
            log.error("%s failed: %s", name, text)
            self.failing.add(name)
            self._record(name, "failed", ended_at=datetime.now(UTC), last_error=text)
        else:
            if job.is_told or name in self.failing or self._is_time_to_tell(name):
                now = datetime.now(UTC)
                self._record(name, "waiting", ended_at=now, ok_at=now, last_error=None)
            self.failing.discard(name)
        finally:
            with self.lock:
                self.running.pop(name, None)

    def _is_time_to_tell(self, name: str) -> bool:
        """Whether a job that runs often was not recorded for a while."""
        now = time.monotonic()
        if now - self.told_at.get(name, -TELL_S) < TELL_S:
            return False
        self.told_at[name] = now
        return True

    def _record(self, name: str, state: str, **times: object) -> None:
        found = self.scheduler.get_job(name) if self.scheduler.running else None
        next_at = None if found is None else getattr(found, "next_run_time", None)
        # nobody knows when it is on the wall while a clock on data stands now and then
        is_unknown = found is not None and isinstance(found.trigger, OnClock) and self.clock.on_data
        if next_at is not None and (is_unknown or next_at.year > datetime.now(UTC).year + 5):
            next_at = None
        try:
            with session(self.config) as conn:
                site_id = self.config.site.site_id
                record_job(conn, site_id, name, state, next_at=next_at, **times)
        except DatabaseError as error:
            log.error("%s: its state cannot be recorded: %s", name, in_words(error))
