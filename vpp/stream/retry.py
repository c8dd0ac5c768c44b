"""Waiting for servers that are away: an action is done again, with growing pauses, until it works.

A service tries for ever; a bounded sink gives up after some seconds. The log gets a line a minute
while a server is away, and one when it is back.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg2
import tenacity
from confluent_kafka import KafkaException

from vpp.runtime.errors import ConfigError, VppError
from vpp.storage.errors import first_line
from vpp.stream.kafka import StreamError, cause
from vpp.stream.refusals import RefusedError

log = logging.getLogger("sink")

LOG_EVERY_S = 60.0
LONGEST_PAUSE_S = 10.0
BREATH_S = 0.1  # a pause ends within this time when the sink is told to stop

Result = TypeVar("Result")


class Stopped(Exception):
    """The sink was told to stop while it was waiting for a server."""


class Seldom:
    """Logs a warning at most once a minute for each subject."""

    def __init__(self) -> None:
        self.again_at: dict[object, float] = {}

    def __call__(self, subject: object, text: str, *values: object) -> None:
        """Log it, unless there was one of its subject a moment ago.

        Parameters
        ----------
        subject : what it is about.
        text, *values : as of `logging`.
        """
        if time.monotonic() >= self.again_at.get(subject, 0.0):
            self.again_at[subject] = time.monotonic() + LOG_EVERY_S
            log.warning(text, *values)


class Retry:
    """Does an action until it works.

    Parameters
    ----------
    give_up_s : seconds after which a server that is away is an error; None for never.
    stop : ends a pause.
    hold : called every moment of a pause.
    resume : called when an action has worked after a pause.
    """

    def __init__(
        self,
        give_up_s: float | None,
        stop: threading.Event,
        hold: Callable[[], None],
        resume: Callable[[], None],
    ):
        self.give_up_s, self.stop, self.hold, self.resume = give_up_s, stop, hold, resume
        self.waiting, self.log_at = False, 0.0

    def __call__(self, server: str, action: Callable[[], Result]) -> Result:
        """Do it, and again while a server is away.

        Parameters
        ----------
        server : its name in messages, "database" or "Kafka".
        action : done at least once.

        Returns
        -------
        Whatever the action returned.

        Raises
        ------
        VppError : it did not work for `give_up_s`.
        Stopped : `stop` was set during a pause.
        """

        first: list[BaseException] = []

        def note(state: tenacity.RetryCallState) -> None:
            self.waiting = True
            if state.outcome and not first:
                first.append(state.outcome.exception() or StreamError("no answer"))
            if time.monotonic() >= self.log_at:
                self.log_at = time.monotonic() + LOG_EVERY_S
                error = state.outcome.exception() if state.outcome else None
                reason = _reason(error) if error else "no answer"
                log.warning("%s away, trying again until it is back: %s", server, reason)

        limit = self.give_up_s
        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception(self._may_end),
            wait=tenacity.wait_exponential(0.2, max=LONGEST_PAUSE_S),
            stop=tenacity.stop_never if limit is None else tenacity.stop_after_delay(limit),
            before_sleep=note,
            sleep=self._pause,
            reraise=True,
        )
        try:
            result = retry(action)
        except (psycopg2.Error, KafkaException, VppError) as error:
            reasons = [_reason(each) for each in (*first, error)]
            if isinstance(error, VppError) and reasons[0] == reasons[-1]:
                raise
            # A full disk ends the server: that it is away now is not the cause.
            told = "; then ".join(dict.fromkeys(reasons))
            raise StreamError(f"{server}: {told}; this lasted {limit:g} s") from error
        if self.waiting:
            self.waiting, self.log_at = False, 0.0
            log.info("%s is back", server)
            self.resume()
        return result

    def _may_end(self, error: BaseException) -> bool:
        """Whether another attempt may help; a service waits for its password to be mended, too."""
        if isinstance(error, ConfigError | RefusedError) and self.give_up_s is not None:
            return False
        return isinstance(error, VppError | psycopg2.Error | KafkaException)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.stop.is_set():
                raise Stopped
            self.hold()
            time.sleep(min(left, BREATH_S))


def _reason(error: BaseException) -> str:
    return cause(error) if isinstance(error, KafkaException) else first_line(error)
