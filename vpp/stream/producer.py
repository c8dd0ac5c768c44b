"""The producer: sends the CSV files of the data folder to their Kafka topics.

    python communication.py produce --topic solar-topic --speed 3600

Messages are keyed by source, which keeps each source in order. The producer may be killed and run
again: the sink stores each message once. `produce` sends from this process. `produce_aside` sends
from one of its own, so that the sink has a core and an interpreter for itself. That process runs
`main`: it takes its task from its standard input, and ends when that is closed, however its parent
ends.
"""

import operator
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from types import MappingProxyType
from typing import IO, cast

from confluent_kafka import KafkaException, Producer

from vpp.runtime.errors import VppError
from vpp.runtime.parallel import module_command
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.stream.files import START, Mark, csv_path, read_messages
from vpp.stream.kafka import (
    REQUEST_S,
    StreamError,
    close,
    kafka_settings,
    lags,
    new_consumer,
    new_producer,
    send,
    topic_names,
)
from vpp.stream.refusals import explained
from vpp.stream.topics import ensure_topics, has_little_room

# librdkafka's own broker drops the oldest of more than 5 MiB a partition. We count messages
# uncompressed, which is the worst case, and leave room for the batch that is being sent.
ROOM_BYTES = 4 * 2**20
MESSAGE_OVERHEAD_BYTES = 30
ROOM_POLL_S = 0.05


class Room:
    """Room in a topic of librdkafka's own broker: no more is unread there than it can hold.

    A real Kafka has room enough.

    Parameters
    ----------
    config : names the group that reads.
    settings : as of `kafka_settings`.
    producer : the client that sends.
    topic : its name.
    """

    def __init__(self, config: Config, settings: dict[str, object], producer: Producer, topic: str):
        self.wait_s, self.producer, self.topic = config.database.wait_s, producer, topic
        self.largest = self.left = 0
        self.consumer = new_consumer(settings, config.kafka.group_id)
        self.partitions = ensure_topics(config.kafka, settings, [topic], REQUEST_S)

    def portions(
        self, keys: Sequence[str], values: Sequence[bytes], stop: Callable[[], bool]
    ) -> Iterator[slice]:
        """Divide messages into portions, each of which comes when there is room for it.

        Parameters
        ----------
        keys, values : of the messages.
        stop : ends the waiting for room.

        Yields
        ------
        The next of them to send.

        Raises
        ------
        StreamError : there is none, and nothing was read for `wait_s`.
        """
        largest = max(map(len, keys)) + max(map(len, values)) + MESSAGE_OVERHEAD_BYTES
        rows = max(1, ROOM_BYTES // 4 // largest)
        for start in range(0, len(values), rows):
            portion = slice(start, start + rows)
            size = largest * len(values[portion])
            if self.left < size or self.largest < largest:
                self.largest = max(self.largest, largest)
                self._wait(size, stop)
            self.left -= size
            yield portion

    def _wait(self, size: int, stop: Callable[[], bool]) -> None:
        least, since = None, time.monotonic()
        while not stop():
            unread = self.unread()
            self.left = ROOM_BYTES - (unread + len(self.producer)) * self.largest
            if self.left >= max(size, ROOM_BYTES // 4) or not unread:  # not little by little
                break
            if least is None or unread < least:
                least, since = unread, time.monotonic()
            if time.monotonic() - since > self.wait_s:
                raise StreamError(
                    f"topic {self.topic} is full: the embedded broker keeps 5 MiB a partition and "
                    f"{unread:,} messages wait to be stored; run python communication.py consume "
                    "beside, or python communication.py, which stores while it produces"
                )
            self.producer.poll(ROOM_POLL_S)

    def unread(self) -> int:
        """Messages that the group has not stored, in the fullest partition."""
        return max(item.unread for item in lags(self.consumer, self.partitions))


def produce(
    config: Config,
    kinds: Sequence[str],
    speed: float | None = None,
    stop: Callable[[], bool] = lambda: False,
    advance: Callable[[float], None] = lambda amount: None,
    starts: Mapping[str, Mark] | None = None,
) -> dict[str, int]:
    """Send the CSV files of these kinds to their topics; a kind without a file is left out.

    Parameters
    ----------
    config : names the data folder, the broker and the topics.
    kinds : keys of `kinds.KINDS`.
    speed : times real time, by the messages' times; None for as fast as possible.
    stop : asked now and then; True ends it early.
    advance : told how many more were sent.
    starts : kind -> the lines of its file before this position are left out.

    Returns
    -------
    Kind -> number of messages, all acknowledged by the broker.

    Raises
    ------
    StreamError : there is no file, the broker is away, or messages were not delivered.
    """
    kinds = [kind for kind in kinds if csv_path(config, kind).exists()]
    if not kinds:
        raise StreamError(
            f"no CSV files in {shown(config.paths.data_dir)}; run python generation.py "
            "or python sources.py import"
        )
    settings, topics, wait_s = kafka_settings(config), topic_names(config), config.database.wait_s
    failures, sent = Counter[str](), Counter(dict.fromkeys(kinds, 0))
    ensure_topics(config.kafka, settings, [topics[kind] for kind in kinds], wait_s)
    producer = new_producer(settings, wait_s, failures)
    try:
        with ExitStack() as stack:
            rooms = {}
            if has_little_room(producer):
                rooms = {kind: Room(config, settings, producer, topics[kind]) for kind in kinds}
                for room in rooms.values():
                    stack.callback(close, room.consumer)
            for kind, keys, values in messages(config, kinds, speed, stop, starts or {}):
                portions = rooms[kind].portions(keys, values, stop) if rooms else [slice(None)]
                for portion in portions:
                    send_all(producer, topics[kind], keys[portion], values[portion])
                    sent[kind] += len(values[portion])
                producer.poll(0)
                advance(len(values))
                if failures or stop():
                    break
    except KafkaException as error:
        text = f"Kafka: {explained(error)}; {sent.total()} messages sent; produce again"
        raise StreamError(text) from None
    finally:
        left = producer.flush(wait_s + 1)
    _refuse_undelivered(failures, left, sent.total())
    return dict(sent)


def send_all(producer: Producer, topic: str, keys: Sequence[str], values: Sequence[bytes]) -> None:
    """Hand messages to a producer, also where its queue is full for a moment.

    Parameters
    ----------
    producer : the client that sends.
    topic : its name.
    keys, values : of the messages.
    """
    for value, key in zip(values, keys, strict=True):
        try:
            producer.produce(topic, value, key)
        except BufferError:
            send(producer, topic, value, key)


def _refuse_undelivered(failures: Counter[str], left: int, sent: int) -> None:
    if failures or left:
        causes = ", ".join(f"{count} × {cause}" for cause, count in failures.items()) or "no answer"
        raise StreamError(
            f"Kafka did not acknowledge {failures.total() + left} of {sent} messages ({causes}); "
            "produce again"
        )


def messages(
    config: Config,
    kinds: Sequence[str],
    speed: float | None,
    stop: Callable[[], bool],
    starts: Mapping[str, Mark] = MappingProxyType({}),
) -> Iterator[tuple[str, Sequence[str], Sequence[bytes]]]:
    """All messages: file by file, or at a speed in the order of their times, each when it is due.

    Parameters
    ----------
    config : names the data folder.
    kinds : keys of `kinds.KINDS`.
    speed : times real time; None for as fast as possible.
    stop : ends the waiting.
    starts : as of `produce`; at a speed all is sent.

    Yields
    ------
    Kind, keys and values of some messages.
    """
    if not speed:
        for kind in kinds:
            start = starts.get(kind, START)
            for _, keys, values in read_messages(csv_path(config, kind), kind, start):
                yield kind, keys, values
        return
    timed = []
    for kind in kinds:
        for texts, keys, values in read_messages(csv_path(config, kind), kind):
            for text, key, value in zip(texts, keys, values, strict=True):
                try:
                    timed.append((datetime.fromisoformat(text).timestamp(), kind, key, value))
                except ValueError:  # the sink says what is wrong with it
                    timed.append((timed[-1][0] if timed else 0.0, kind, key, value))
    timed.sort(key=operator.itemgetter(0))
    began = time.monotonic()
    for at, kind, key, value in timed:
        due = began + (at - timed[0][0]) / speed
        while (wait := due - time.monotonic()) > 0 and not stop():
            time.sleep(min(wait, 0.2))
        yield kind, (key,), (value,)


def produce_aside(
    config: Config,
    kinds: Sequence[str],
    stop: Callable[[], bool],
    starts: Mapping[str, Mark] | None = None,
) -> dict[str, int]:
    """As `produce`, in a process of its own.

    It ends when `stop` says so, and when this process ends in whatever way.

    Parameters
    ----------
    config, kinds : as of `produce`.
    stop : asked now and then; True ends it.
    starts : as of `produce`.

    Returns
    -------
    Kind -> number of messages; empty where it was stopped.

    Raises
    ------
    StreamError : as `produce`, or the process was killed.
    """
    command, environment = module_command("vpp.stream.producer")
    with _interrupts_blocked():  # the process inherits that: a Ctrl-C is for us to hear
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    task, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    try:
        with suppress(BrokenPipeError):  # it was killed at once
            pickle.dump((config, list(kinds), dict(starts or {})), task)
            task.flush()
        while process.poll() is None:
            if stop():
                return {}
            time.sleep(0.05)
        if not (answer := answers.read()):
            raise StreamError(
                f"the producer's process ended with {process.returncode} before all was sent; "
                "run the same command again"
            )
        sent, error = pickle.loads(answer)
        if error:
            raise StreamError(error)
        return sent
    finally:
        process.kill()
        process.wait()
        answers.close()
        with suppress(BrokenPipeError):
            task.close()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End at once when our standard input is closed: our parent has ended, or does without us."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def main() -> int:
    """The process of `produce_aside`; returns its exit code."""
    signal.signal(signal.SIGINT, lambda *_: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        config, kinds, starts = pickle.load(sys.stdin.buffer)
    except EOFError:
        return 1
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sent: dict[str, int] = {}
    error = ""
    try:
        sent = produce(config, kinds, starts=starts)
    except VppError as refused:
        error = str(refused)
    pickle.dump((sent, error), sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
