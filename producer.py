"""The producer: CSV files of the data folder -> messages in their Kafka topics, keyed by source, which keeps each source in order.

    python communication.py produce --topic solar-topic --speed 3600

It may be killed and run again: the sink stores each message once. `produce` sends from this process, `produce_aside` from one of its
own, so that the sink has a core and an interpreter for itself. Run as a script this file is that process: it takes what to do
from its standard input, and ends when that is closed, however its parent ends.
"""

import csv
import operator
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path

import msgspec
from confluent_kafka import KafkaException, Producer

import terminal
from broker import (
    MOCK_CLUSTER,
    REQUEST_S,
    StreamError,
    kafka_settings,
    lags,
    new_consumer,
    new_producer,
    send,
    topic_names,
    wait_for_topics,
)
from config import Config, VppError
from kinds import KINDS

# librdkafka's own broker drops the oldest of more than 5 MiB a partition. We count messages uncompressed, which is the worst case,
# and leave room for the batch that is being sent.
ROOM_BYTES = 4 * 2**20
MESSAGE_OVERHEAD_BYTES = 30
ROOM_POLL_S = 0.05
CHUNK_ROWS = 500  # lines that are read, encoded and sent at once; looks for delivery reports and for a signal to stop lie between


# --- CSV files ---------------------------------------------------------------------------------------------------------------


def csv_path(config: Config, kind: str) -> Path:
    """The file of the data folder with the messages of a kind."""
    return config.paths.data_dir / KINDS[kind].file


def count_lines(config: Config, kinds: Sequence[str]) -> int:
    """Lines of the files of these kinds after their headers, for a progress bar."""
    total = 0
    for path in (csv_path(config, kind) for kind in kinds):
        if path.exists():
            with path.open("rb") as file:
                total += max(
                    0,
                    sum(
                        block.count(b"\n")
                        for block in iter(lambda file=file: file.read(1 << 20), b"")
                    )
                    - 1,
                )
    return total


def read_messages(
    path: Path, kind: str
) -> Iterator[tuple[Sequence[str], Sequence[str], list[bytes]]]:
    """The messages of a CSV file, some hundred at a time: their times as written, their keys and their values.

    A cell that is no number is sent as it is, so that the sink dead-letters it with its reason.

    Raises
    ------
    StreamError : the file lacks a column, is not UTF-8 or has a cell of more than 128 KiB.
    """
    try:
        yield from _read_messages(path, kind)
    except UnicodeDecodeError:
        with path.open("rb") as file:
            line = next(
                (
                    number
                    for number, text in enumerate(file, 1)
                    if text != text.decode(errors="ignore").encode()
                ),
                1,
            )
        raise StreamError(f"{path}, line {line}: is not UTF-8; save the file as UTF-8") from None


def _read_messages(
    path: Path, kind: str
) -> Iterator[tuple[Sequence[str], Sequence[str], list[bytes]]]:
    fields = KINDS[kind].fields
    texts = len(fields) - len(KINDS[kind].values)  # they come first
    encode = msgspec.json.Encoder().encode
    record = msgspec.defstruct("Line", [(name, object) for name in fields], gc=False)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next(iter(_lines(rows, 1, path)), [])
        if missing := [name for name in fields if name not in header]:
            raise StreamError(
                f"{path}: no column {', '.join(missing)}; expected {','.join(fields)}"
            )
        pick = operator.itemgetter(*(header.index(name) for name in fields))
        while lines := _lines(rows, CHUNK_ROWS, path):
            if min(map(len, lines)) < len(header):
                lines = [line + [""] * (len(header) - len(line)) for line in lines if line]
            columns = list(zip(*map(pick, lines), strict=True))
            try:
                columns[texts:] = [list(map(float, column)) for column in columns[texts:]]
                values = list(map(encode, map(record, *columns)))
            except ValueError:  # a cell is no number, or no text at all
                values = [encode(_line(record, cells, texts)) for cells in map(pick, lines)]
            if lines:
                yield columns[1], columns[0], values


def _line(record: type, cells: Sequence[str], texts: int) -> msgspec.Struct:
    try:
        return record(*cells[:texts], *map(float, cells[texts:]))
    except ValueError:
        return record(*cells)


def _lines(reader, count: int, path: Path) -> list[list[str]]:
    """The next lines of a CSV file, `count` or what is left."""
    try:
        return list(islice(reader, count))
    except csv.Error as error:
        raise StreamError(f"{path}, line {reader.line_num}: {error}; expected a CSV file") from None


# --- producer ----------------------------------------------------------------------------------------------------------------


class Room:
    """Keeps what is unread in a topic of librdkafka's own broker below what that can hold; a real Kafka has room enough."""

    def __init__(self, config: Config, settings: dict[str, object], producer: Producer, topic: str):
        self.wait_s, self.producer, self.topic = config.database.wait_s, producer, topic
        self.largest = self.left = 0
        self.consumer = new_consumer(settings, config.kafka.group_id)
        self.partitions = wait_for_topics(self.consumer, [topic], REQUEST_S)

    def portions(
        self, keys: Sequence[str], values: Sequence[bytes], stop: Callable[[], bool]
    ) -> Iterator[slice]:
        """These messages in portions, each when there is room for it.

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
                    f"topic {self.topic} is full: the embedded broker keeps 5 MiB a partition and {unread:,} messages wait to be stored; "
                    "run python communication.py consume beside, or python communication.py, which stores while it produces"
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
) -> dict[str, int]:
    """Send the CSV files of these kinds to their topics; a kind without a file is left out.

    Parameters
    ----------
    speed : times real time, by the messages' times; None for as fast as possible.
    stop : asked now and then; True ends it early.
    advance : told how many more were sent.

    Returns
    -------
    Kind -> number of messages, all acknowledged by the broker.

    Raises
    ------
    StreamError : there is no file, the broker is away, or messages were not delivered; says how many.
    """
    kinds = [kind for kind in kinds if csv_path(config, kind).exists()]
    if not kinds:
        raise StreamError(
            f"no CSV files in {terminal.shown(config.paths.data_dir)}; run python generation.py or python sources.py import"
        )
    settings, topics, wait_s = kafka_settings(config), topic_names(config), config.database.wait_s
    failures, sent, rooms = Counter(), Counter(dict.fromkeys(kinds, 0)), {}
    producer = new_producer(settings, wait_s, failures)
    wait_for_topics(producer, [topics[kind] for kind in kinds], wait_s)
    try:
        with ExitStack() as stack:
            if (producer.list_topics(timeout=REQUEST_S).cluster_id or "").startswith(MOCK_CLUSTER):
                rooms = {kind: Room(config, settings, producer, topics[kind]) for kind in kinds}
                for room in rooms.values():
                    stack.callback(room.consumer.close)
            for kind, keys, values in _messages(config, kinds, speed, stop):
                topic = topics[kind]
                for portion in rooms[kind].portions(keys, values, stop) if rooms else [slice(None)]:
                    for value, key in zip(values[portion], keys[portion], strict=True):
                        try:
                            producer.produce(topic, value, key)
                        except BufferError:
                            send(producer, topic, value, key)
                    sent[kind] += len(values[portion])
                producer.poll(0)
                advance(len(values))
                if failures or stop():
                    break
    except KafkaException as error:
        raise StreamError(
            f"Kafka: {error.args[0].str()}; {sent.total()} messages sent; produce again"
        ) from None
    finally:
        left = producer.flush(wait_s + 1)
    if failures or left:
        causes = ", ".join(f"{count} × {cause}" for cause, count in failures.items()) or "no answer"
        raise StreamError(
            f"Kafka did not acknowledge {failures.total() + left} of {sent.total()} messages ({causes}); produce again"
        )
    return dict(sent)


def _messages(
    config: Config, kinds: Sequence[str], speed: float | None, stop: Callable[[], bool]
) -> Iterator[tuple[str, Sequence[str], Sequence[bytes]]]:
    """Kind, keys and values of all messages: file by file, or at `speed` in the order of their times, each when it is due."""
    if not speed:
        for kind in kinds:
            for _, keys, values in read_messages(csv_path(config, kind), kind):
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


# --- in a process of its own -------------------------------------------------------------------------------------------------


def produce_aside(config: Config, kinds: Sequence[str], stop: Callable[[], bool]) -> dict[str, int]:
    """As `produce`, in a process of its own; it ends when `stop` says so, and when this process ends in whatever way.

    Raises
    ------
    StreamError : as `produce`, or the process was killed.
    """
    with _interrupts_blocked():  # the process inherits that: a Ctrl-C is for us to hear
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    try:
        with suppress(BrokenPipeError):  # it was killed at once
            pickle.dump((config, list(kinds)), process.stdin)
            process.stdin.flush()
        while process.poll() is None:
            if stop():
                return {}
            time.sleep(0.05)
        if not (answer := process.stdout.read()):
            raise StreamError(
                f"the producer's process ended with {process.returncode} before all was sent; run the same command again"
            )
        sent, error = pickle.loads(answer)
        if error:
            raise StreamError(error)
        return sent
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


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
    """The process of `produce_aside`."""
    signal.signal(signal.SIGINT, lambda *_: None)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    try:
        config, kinds = pickle.load(sys.stdin.buffer)
    except EOFError:
        return 1
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sent, error = {}, ""
    try:
        sent = produce(config, kinds)
    except VppError as refused:
        error = str(refused)
    pickle.dump((sent, error), sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
