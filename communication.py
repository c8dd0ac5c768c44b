"""The stream: CSV files -> Kafka topics -> database, with every invalid message in a dead-letter topic.

    python communication.py                   produce every CSV of the data folder and store all of it
    python communication.py produce --topic solar-topic --speed 3600
    python communication.py consume           store what arrives, until Ctrl-C or SIGTERM
    python communication.py consume --until-drained
    python communication.py status            lag of each partition, rows stored, dead letters
    python communication.py dlq list          what could not be stored, and why
    python communication.py dlq replay        store those whose cause has been mended

A batch is written in one database transaction; its offsets are committed after it, and its bad messages are acknowledged by
`<topic>.dlq` before. A message that is read twice changes nothing (db.store_measurements), so killing anything loses and doubles
nothing. Messages are keyed by source, which keeps each source in order.
"""

import argparse
import csv
import logging
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg2
import tenacity
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

import db
import records
import terminal
from config import EMBEDDED, Config, VppError
from sources import Source, read_sources

log = logging.getLogger("communication")

TOPICS = {
    "solar": "solar-topic",
    "wind": "wind-topic",
    "load": "load-topic",
    "market": "market-topic",
    "weather": "weather-topic",
    "weather-forecast": "weather-forecast-topic",
}
DLQ_SUFFIX = ".dlq"
DLQ_VALUE_BYTES = 64_000  # more of a refused value is cut
# The embedded broker drops the oldest of more than 5 MiB a partition, uncompressed at worst; some room for the batch being sent.
EMBEDDED_ROOM_BYTES = 4 * 2**20
MESSAGE_OVERHEAD_BYTES = 30
SESSION_MS = 6_000  # a killed consumer's partitions go to another after this
POLL_ROWS = 2_000
BATCH_BYTES = 16 * 2**20
REQUEST_S = 5.0
STOP_S = 4.0  # a stopped sink has this long to finish its batch
LOG_EVERY_S = 60.0


class StreamError(VppError):
    """The stream cannot go on: the broker is away, a file is not as expected, or messages were not delivered."""


@dataclass
class Count:
    """What became of the messages of one kind."""

    produced: int = 0
    stored: int = 0
    unchanged: int = 0
    dead_lettered: int = 0
    lost: int = 0


def topic_names(config: Config) -> dict[str, str]:
    """Kind -> topic name with the configured prefix."""
    return {kind: config.kafka.topic_prefix + topic for kind, topic in TOPICS.items()}


# --- Kafka clients -----------------------------------------------------------------------------------------------------------


def kafka_settings(config: Config) -> dict[str, object]:
    """Address and security of the broker for librdkafka; starts the embedded broker if it is the one configured."""
    kafka, servers = config.kafka, config.kafka.bootstrap_servers
    if servers == EMBEDDED:
        import embedded

        servers = embedded.ensure_running(config.paths.state_dir, config.database.wait_s).bootstrap_servers
    settings = {"bootstrap.servers": servers, "security.protocol": kafka.security_protocol, "client.id": "vpp", "log_level": 0}
    if kafka.security_protocol.startswith("SASL"):
        settings |= {"sasl.mechanism": kafka.sasl_mechanism, "sasl.username": kafka.sasl_username, "sasl.password": kafka.sasl_password}
    if kafka.ssl_ca_location:
        settings["ssl.ca.location"] = kafka.ssl_ca_location
    return settings


def new_producer(config: Config, on_failure: Callable[[KafkaError, Message], None]) -> Producer:
    """An idempotent producer; `on_failure` hears of each message that was not delivered within `wait_s`."""
    return Producer(
        kafka_settings(config)
        | {
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "zstd",
            "linger.ms": 20,
            "queue.buffering.max.messages": 100_000,
            "message.timeout.ms": max(1000, int(config.database.wait_s * 1000)),
            "delivery.report.only.error": True,
            "on_delivery": lambda error, message: on_failure(error, message) if error else None,
        }
    )


def new_consumer(config: Config, group_id: str, on_error: Callable[[KafkaError], None] = lambda error: None) -> Consumer:
    """A consumer that commits only when told, and says when what it wants to read is not there any more."""
    return Consumer(
        kafka_settings(config)
        | {
            "group.id": group_id,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "allow.auto.create.topics": True,
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": SESSION_MS // 4,
            "fetch.wait.max.ms": 50,
            "topic.metadata.refresh.interval.ms": 10_000,
            "queued.max.messages.kbytes": 16_384,
            "error_cb": on_error,
        }
    )


def wait_for_topics(client: Producer | Consumer, topics: Sequence[str], wait_s: float) -> dict[str, list[int]]:
    """The partitions of the topics; a topic that is not there is made by asking for it, where the broker allows that.

    Raises
    ------
    StreamError : no broker answers within `wait_s` [s], or a topic cannot be had.
    """
    retry = tenacity.Retrying(stop=tenacity.stop_after_delay(wait_s), wait=tenacity.wait_exponential(0.1, max=2), reraise=True)

    def partitions(topic: str) -> list[int]:
        found = client.list_topics(topic, timeout=min(REQUEST_S, max(1.0, wait_s))).topics[topic]
        if found.error:
            raise KafkaException(found.error)
        return sorted(found.partitions)

    result = {}
    for topic in topics:
        try:
            result[topic] = retry(partitions, topic)
        except KafkaException as error:
            raise StreamError(
                f"Kafka, topic {topic}: {error.args[0].str()}; start the broker (make up, or bootstrap_servers = embedded), "
                "correct [kafka] bootstrap_servers, or create the topic"
            ) from None
    return result


# --- producer ----------------------------------------------------------------------------------------------------------------


def csv_path(config: Config, kind: str) -> Path:
    return config.paths.data_dir / f"{kind.replace('-', '_')}.csv"


def register_sources(config: Config) -> list[Source]:
    """Write the sources of `sources.csv` to the database; none where there is no such file."""
    path = config.paths.data_dir / "sources.csv"
    sources = read_sources(path) if path.exists() else []
    if sources:
        with db.session(config) as conn:
            db.upsert_sources(conn, sources)
    return sources


def read_messages(path: Path, kind: str) -> Iterator[tuple[str, str, bytes]]:
    """The messages of a CSV file: their time as written, their key and their value.

    A cell that is no number is sent as it is, so that the sink dead-letters it with its reason.

    Raises
    ------
    StreamError : a column is missing.
    """
    fields = records.RECORDS[kind].__struct_fields__
    encode = msgspec.json.Encoder().encode
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if missing := [name for name in fields if name not in header]:
            raise StreamError(f"{path}: no column {', '.join(missing)}; expected {','.join(fields)}")
        places = [header.index(name) for name in fields]
        texts = sum(name == "source_id" or name.endswith("time") for name in fields)  # they come first
        for row in rows:
            if len(row) < len(header):
                if not row:
                    continue
                row += [""] * (len(header) - len(row))
            cells = [row[place] for place in places]
            try:
                numbers = [float(cell) for cell in cells[texts:]]
            except ValueError:
                numbers = cells[texts:]
            yield cells[1], cells[0], encode(dict(zip(fields, cells[:texts] + numbers, strict=True)))


def count_lines(path: Path) -> int:
    """Lines of a file but its header."""
    with path.open("rb") as file:
        return max(0, sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1)


class Room:
    """Keeps the unread messages of the embedded broker below what it can hold; a real Kafka has room enough."""

    def __init__(self, config: Config, producer: Producer, topic: str):
        self.config, self.producer, self.topic = config, producer, topic
        self.largest, self.left = 1, 0
        self.consumer = new_consumer(config, config.kafka.group_id) if config.kafka.bootstrap_servers == EMBEDDED else None

    def take(self, size: int) -> None:
        """Wait until a message of `size` [bytes] fits; StreamError where nothing was read for `wait_s`."""
        if self.consumer is None:
            return
        size += MESSAGE_OVERHEAD_BYTES
        self.largest = max(self.largest, size)
        if self.left >= size:
            self.left -= size
            return
        unread, since = None, time.monotonic()
        while self.left < size:
            previous, unread = unread, self._unread()
            self.left = EMBEDDED_ROOM_BYTES - (unread + len(self.producer)) * self.largest
            if unread != previous:
                since = time.monotonic()
            if time.monotonic() - since > self.config.database.wait_s:
                raise StreamError(
                    f"topic {self.topic}: the embedded broker holds 5 MiB a partition, and {unread} messages are unread; "
                    "run python communication.py consume beside, or python communication.py, which stores while it produces"
                )
            self.producer.poll(0.05 if self.left < size else 0)
        self.left -= size

    def _unread(self) -> int:
        partitions = [
            TopicPartition(self.topic, p) for p in self.consumer.list_topics(self.topic, timeout=REQUEST_S).topics[self.topic].partitions
        ]
        unread = 0
        for item in self.consumer.committed(partitions, timeout=REQUEST_S):
            low, high = self.consumer.get_watermark_offsets(item, timeout=REQUEST_S)
            unread = max(unread, high - max(low, item.offset))
        return unread

    def close(self) -> None:
        if self.consumer is not None:
            self.consumer.close()


def produce(config: Config, kinds: Sequence[str], speed: float | None = None, stop: Callable[[], bool] = lambda: False) -> dict[str, int]:
    """Send the CSV files of these kinds to their topics; those without a file are left out.

    Parameters
    ----------
    speed : times real time, by the messages' times; None for as fast as possible.
    stop : asked between messages.

    Returns
    -------
    Kind -> number of messages that the broker has acknowledged.

    Raises
    ------
    StreamError : messages were not delivered; says how many.
    """
    kinds = [kind for kind in kinds if csv_path(config, kind).exists()]
    if not kinds:
        raise StreamError(f"no CSV files in {terminal.shown(config.paths.data_dir)}; run python generation.py or python sources.py import")
    failures, sent, topics = Counter(), Counter(), topic_names(config)
    producer = new_producer(config, lambda error, message: failures.update([error.str()]))
    wait_for_topics(producer, [topics[kind] for kind in kinds], config.database.wait_s)
    total = sum(count_lines(csv_path(config, kind)) for kind in kinds)
    left = 0
    try:
        with terminal.progress("producing", total) as advance:
            for kind in [None] if speed else kinds:
                stream = (
                    _in_real_time(config, kinds, speed, stop) if speed else ((kind, m) for m in read_messages(csv_path(config, kind), kind))
                )
                room = {}
                try:
                    for number, (name, (_, key, value)) in enumerate(stream, 1):
                        if name not in room:
                            room[name] = Room(config, producer, topics[name])
                        room[name].take(len(key) + len(value))
                        while True:
                            try:
                                producer.produce(topics[name], value, key)
                                break
                            except BufferError:  # the broker is slower than we are
                                producer.poll(0.1)
                        sent[name] += 1
                        if number % 1000 == 0:
                            producer.poll(0)
                            advance(1000)
                            if stop() or failures:
                                break
                finally:
                    for item in room.values():
                        item.close()
                if stop() or failures:
                    break
    finally:
        left = producer.flush(config.database.wait_s + 1)
    if failures or left:
        causes = "; ".join(f"{count} × {cause}" for cause, count in failures.items())
        raise StreamError(
            f"{failures.total() + left} of {sent.total()} messages were not delivered to Kafka ({causes or 'no answer'}); produce again"
        )
    return dict(sent)


def _in_real_time(config: Config, kinds: Sequence[str], speed: float, stop: Callable[[], bool]) -> Iterator[tuple[str, tuple]]:
    """All messages of these kinds in the order of their times, each when its time has come."""
    messages = sorted(((kind, m) for kind in kinds for m in read_messages(csv_path(config, kind), kind)), key=lambda item: item[1][0])
    began = first = None
    for kind, message in messages:
        try:
            at = datetime.fromisoformat(message[0]).timestamp()
        except ValueError:
            at = first or 0.0
        if began is None:
            began, first = time.monotonic(), at
        while (wait := began + (at - first) / speed - time.monotonic()) > 0:
            if stop():
                return
            time.sleep(min(wait, 0.2))
        yield kind, message


# --- sink --------------------------------------------------------------------------------------------------------------------


class Stopped(Exception):
    """The sink was told to stop while it was waiting for a server."""


@dataclass
class Sink:
    """Reads all topics as a member of the consumer group and stores what is valid.

    `run` ends when `stop` is set, or, where `until_drained`, when the group has stored everything up to the topics' ends after
    `produced` is set.
    """

    config: Config
    until_drained: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    produced: threading.Event = field(default_factory=threading.Event)
    counts: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))
    advance: Callable[[float], None] = lambda amount: None

    def __post_init__(self):
        self.topics = topic_names(self.config)
        self.kinds = {topic: kind for kind, topic in self.topics.items()}
        self.limits = limits(self.config)
        self.conn = self.consumer = self.dead_letters = None
        self.registry = records.Registry([])
        self.done: dict[tuple[str, int], int] = {}  # next offset of each assigned partition
        self.revoked = False
        self.broker_error: KafkaError | None = None
        self.quiet_until = 0.0
        self.dlq_failures = Counter()

    # life

    def run(self) -> None:
        """Store until told to stop or drained.

        Raises
        ------
        VppError : a bounded sink could not reach a server within `wait_s`.
        """
        try:
            self._retry(self._open_database, "database")
            self._retry(self._open_broker, "Kafka")
            while not self.stop.is_set():
                try:
                    batch = self._poll()
                    if batch:
                        self._write(batch)
                    elif self.broker_error is not None:
                        self._retry(self._reach_broker, "Kafka")
                    elif self.until_drained and self.produced.is_set() and self._drained():
                        break
                except KafkaException as error:
                    self.broker_error = error.args[0]
        except Stopped:
            pass
        finally:
            self.close()

    def close(self) -> None:
        if self.consumer is not None:
            if self.done and self.broker_error is None:
                self._commit()
            self.consumer.close()
            self.consumer = None
        if self.conn is not None:
            self.conn.close()
            self.conn = None

    def cancel(self) -> None:
        """End a database statement that takes too long; from another thread."""
        if self.conn is not None:
            self.conn.cancel()

    def _retry(self, action: Callable[[], None], server: str) -> None:
        """Do it, again and again with growing pauses while a server is away: a service for ever, a bounded sink for `wait_s`."""
        paused = False

        def pause(state: tenacity.RetryCallState) -> None:
            nonlocal paused
            error = state.outcome.exception()
            if time.monotonic() >= self.quiet_until:
                self.quiet_until = time.monotonic() + LOG_EVERY_S
                log.warning("%s away, trying again: %s", server, " ".join(str(error).split()))
            if self.consumer is not None and not paused:
                self.consumer.pause(self.consumer.assignment())
                paused = True

        def sleep(seconds: float) -> None:
            until = time.monotonic() + seconds
            while (left := until - time.monotonic()) > 0:
                if self.stop.is_set():
                    raise Stopped
                if self.consumer is not None:
                    self.consumer.poll(0)  # a member that does not poll is thrown out of its group
                time.sleep(min(left, 0.1))

        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((db.DatabaseError, psycopg2.Error, KafkaException, StreamError)),
            wait=tenacity.wait_random_exponential(0.2, max=10),
            stop=tenacity.stop_after_delay(self.config.database.wait_s) if self.until_drained else tenacity.stop_never,
            before_sleep=pause,
            sleep=sleep,
            reraise=True,
        )
        try:
            retry(action)
        except (psycopg2.Error, KafkaException) as error:
            raise StreamError(f"{server}: {' '.join(str(error).split())}; not mended in {self.config.database.wait_s:g} s") from error
        if paused:
            self.consumer.resume(self.consumer.assignment())
            log.info("%s is back", server)
            self.quiet_until = 0.0

    # database

    def _open_database(self) -> None:
        if self.conn is not None:
            self.conn.close()
            self.conn = None
        self.conn = db.connect(self.config, None if self.until_drained else 0.0)
        with self.conn.cursor() as cursor:
            cursor.execute("SET lock_timeout = '3s'; SET statement_timeout = '60s'")
        self.conn.commit()
        self._read_sources()

    def _read_sources(self) -> None:
        self.registry = records.Registry(db.read_sources(self.conn))
        self.conn.commit()

    def _store(self, groups: dict[str, records.Checked]) -> dict[str, int]:
        """Write the good records of each kind in one transaction."""
        stored = {}
        for kind, checked in groups.items():
            if len(checked.places):
                stored[kind] = db.store_measurements(self.conn, records.TABLES[kind], self.registry.ids, checked.columns)
        self.conn.commit()
        return stored

    # broker

    def _open_broker(self) -> None:
        self.broker_error = None
        self.dead_letters = new_producer(self.config, lambda error, message: self.dlq_failures.update([error.str()]))
        wait_for_topics(self.dead_letters, list(self.topics.values()), 1.0 if not self.until_drained else self.config.database.wait_s)
        self.consumer = new_consumer(self.config, self.config.kafka.group_id, self._on_error)
        self.consumer.subscribe(list(self.topics.values()), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
            self.broker_error = error

    def _reach_broker(self) -> None:
        """Go on when the broker answers again; the embedded one is started again and has a new address."""
        if self.config.kafka.bootstrap_servers == EMBEDDED:
            consumer, self.consumer = self.consumer, None
            if consumer is not None:
                consumer.close()
            self._open_broker()
        else:
            self.consumer.list_topics(timeout=1.0)
            self.broker_error = None

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for item in consumer.committed(partitions, timeout=REQUEST_S) if partitions else []:
            item.offset = self._start(consumer, item, 0 if item.offset == OFFSET_INVALID else item.offset)
            self.done[item.topic, item.partition] = item.offset
        consumer.assign([TopicPartition(topic, partition, offset) for (topic, partition), offset in self.done.items()])

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.revoked = True
        for item in partitions:
            self.done.pop((item.topic, item.partition), None)

    def _start(self, consumer: Consumer, item: TopicPartition, position: int) -> int:
        """Where to read on: reports messages that retention has dropped, and a topic that was made anew."""
        low, high = consumer.get_watermark_offsets(item, timeout=REQUEST_S)
        if position < low:
            self.counts[self.kinds[item.topic]].lost += low - position
            log.error("%s [%d]: %d messages were dropped by the broker before they were read", item.topic, item.partition, low - position)
            return low
        if position > high:
            log.warning(
                "%s [%d] was made anew (its end is %d, we were at %d): reading it from its beginning",
                item.topic,
                item.partition,
                high,
                position,
            )
            return low
        return position

    def _poll(self) -> list[Message]:
        """The messages of one batch: `batch_rows`, or what came in `batch_s`."""
        kafka, batch, size = self.config.kafka, [], 0
        self.revoked = False
        until = time.monotonic() + kafka.batch_s
        while len(batch) < kafka.batch_rows and size < BATCH_BYTES and not self.stop.is_set():
            left = until - time.monotonic()
            if left <= 0:
                break
            for message in self.consumer.consume(min(POLL_ROWS, kafka.batch_rows - len(batch)), max(0.01, left)):
                if message.error() is None:
                    batch.append(message)
                    size += len(message)
                elif message.error().code() == KafkaError._AUTO_OFFSET_RESET:
                    item = TopicPartition(message.topic(), message.partition())
                    position = self.done.get((item.topic, item.partition))
                    if position is not None:
                        item.offset = self._start(self.consumer, item, message.offset())
                        self.consumer.seek(item)
                elif message.error().code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._PARTITION_EOF):
                    self._on_error(message.error())
            if self.revoked:  # some of it may be another's now: whoever has it reads it again
                self.revoked = False
                batch = [m for m in batch if m.offset() >= self.done.get((m.topic(), m.partition()), m.offset() + 1)]
        return batch

    def _drained(self) -> bool:
        """Whether the group has stored everything that the topics hold."""
        partitions = wait_for_topics(self.consumer, list(self.topics.values()), REQUEST_S)
        items = [TopicPartition(topic, partition) for topic, numbers in partitions.items() for partition in numbers]
        if self.done:
            self._commit()
        for item in self.consumer.committed(items, timeout=REQUEST_S):
            low, high = self.consumer.get_watermark_offsets(item, timeout=REQUEST_S)
            if high > low and item.offset < high:
                return False
        return True

    def _commit(self) -> None:
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in self.done.items()]
        try:
            self.consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:  # the next commit covers it; a rebalance makes the new owner read it again
            log.debug("offsets not committed: %s", error)

    # batch

    def _write(self, batch: list[Message]) -> None:
        """Store a batch: database transaction, then dead letters, then offsets."""
        groups = defaultdict(list)
        for message in batch:
            groups[self.kinds[message.topic()]].append(message)
        outcome = {}
        self._retry(lambda: self._store_batch(groups, outcome), "database")
        refused = [(message, reason) for _, bad in outcome.values() for message, reason in bad]
        if refused:
            self._retry(lambda: self._dead_letter(refused), "Kafka")
        for kind, (stored, bad) in outcome.items():
            count = self.counts[kind]
            count.stored += stored
            count.dead_lettered += len(bad)
            count.unchanged += len(groups[kind]) - stored - len(bad)
        for message in batch:
            place = (message.topic(), message.partition())
            if place in self.done:
                self.done[place] = max(self.done[place], message.offset() + 1)
        self._commit()
        self.advance(len(batch))

    def _store_batch(self, groups: dict[str, list[Message]], outcome: dict[str, tuple[int, list]]) -> None:
        """Check and store; `outcome` gets for each kind the rows stored and the refused messages with their reasons."""
        if self.conn is None or self.conn.closed:
            self._open_database()
        try:
            checked = self._check(groups)
            try:
                stored = self._store(checked)
                refused = {kind: [] for kind in groups}
            except db.RECORD_REFUSED:  # by a constraint or trigger: find the culprits
                self.conn.rollback()
                stored, refused = Counter(), defaultdict(list)
                for kind, item in checked.items():
                    stored[kind] = self._store_halves(kind, item, refused[kind])
        except (psycopg2.Error, db.DatabaseError):
            self.conn.close()
            raise
        for kind, messages in groups.items():
            bad = [(messages[place], reason) for place, reason in (*checked[kind].refused, *refused[kind])]
            outcome[kind] = (stored.get(kind, 0), bad)

    def _check(self, groups: dict[str, list[Message]]) -> dict[str, records.Checked]:
        now_us = time.time_ns() // 1000

        def check(kind: str, messages: list[Message]) -> records.Checked:
            times = [message.timestamp()[1] for message in messages]
            return records.check(kind, [message.value() for message in messages], times, self.registry, self.limits, now_us)

        checked = {kind: check(kind, messages) for kind, messages in groups.items()}
        if any(item.unknown for item in checked.values()):  # perhaps registered since we looked
            self._read_sources()
            checked = {kind: check(kind, messages) for kind, messages in groups.items()}
            if self.config.kafka.unknown_sources == "register" and any(item.unknown for item in checked.values()):
                self._register({name: kind for kind, item in checked.items() for name in item.unknown})
                checked = {kind: check(kind, messages) for kind, messages in groups.items()}
        return checked

    def _register(self, names: dict[str, str]) -> None:
        """Register unknown sources provisionally: their step and capacity are not checked until sources.csv says them."""
        site, found = self.config.site, []
        for name, kind in names.items():
            try:
                found.append(provisional_source(name, kind, site))
            except VppError as error:
                log.debug("not registered: %s", error)
        db.upsert_sources(self.conn, found)
        self.conn.commit()
        self._read_sources()

    def _store_halves(self, kind: str, checked: records.Checked, refused: list[tuple[int, str]]) -> int:
        """Store what the database takes, halving what it refuses down to the single record; returns the rows stored."""
        if not len(checked.places):
            return 0
        try:
            return self._store({kind: checked}).get(kind, 0)
        except db.RECORD_REFUSED as error:
            self.conn.rollback()
            if len(checked.places) == 1:
                refused.append((int(checked.places[0]), f"refused by the database: {db.first_line(error)}"))
                return 0
        middle, total = len(checked.places) // 2, 0
        for part in (slice(None, middle), slice(middle, None)):
            columns = {name: column[part] for name, column in checked.columns.items()}
            total += self._store_halves(kind, records.Checked(columns, checked.places[part], [], set()), refused)
        return total

    def _dead_letter(self, refused: list[tuple[Message, str]]) -> None:
        """Send refused messages to their dead-letter topics and wait for the acknowledgement."""
        self.dlq_failures.clear()
        for message, reason in refused:
            value = message.value()
            headers = {
                "error": reason[:1000],
                "topic": message.topic(),
                "partition": str(message.partition()),
                "offset": str(message.offset()),
                "time": str(message.timestamp()[1]),
            }
            if value is not None and len(value) > DLQ_VALUE_BYTES:
                headers["truncated"] = str(len(value))
                value = value[:DLQ_VALUE_BYTES]
            while True:
                try:
                    self.dead_letters.produce(message.topic() + DLQ_SUFFIX, value, message.key(), headers=headers)
                    break
                except BufferError:
                    self.dead_letters.poll(0.1)
        left = self.dead_letters.flush(REQUEST_S)
        if left or self.dlq_failures:
            self.dead_letters.purge()
            raise StreamError(f"{left + self.dlq_failures.total()} dead letters not acknowledged")


def limits(config: Config) -> records.Limits:
    kafka = config.kafka
    earliest = datetime.combine(kafka.earliest_time, datetime.min.time(), UTC)
    return records.Limits(
        round(earliest.timestamp() * 1e6),
        round(kafka.latest_days_ahead * 86400e6),
        kafka.price_min_eur_per_mwh,
        kafka.price_max_eur_per_mwh,
        config.forecast.price_publication,
        config.forecast.price_publication_zone,
    )


def provisional_source(name: str, kind: str, site) -> Source:
    kind = "weather" if kind == "weather-forecast" else kind
    capacity = 1.0 if kind in ("solar", "wind", "load") else None
    return Source(name, kind, name, site.site_id, capacity, 60, site.latitude, site.longitude, site.time_zone, {"provisional": True})


def run_sink(sink: Sink, meanwhile: Callable[[], None] | None = None) -> None:
    """Run a sink in a thread of its own, so that signals are heard while the database works; `meanwhile` runs in this one."""
    failure = []

    def work() -> None:
        try:
            sink.run()
        except BaseException as error:
            failure.append(error)
            sink.stop.set()

    thread = threading.Thread(target=work, name="sink", daemon=True)
    thread.start()
    try:
        if meanwhile is not None:
            meanwhile()
        sink.produced.set()
        while thread.is_alive() and not sink.stop.is_set():
            thread.join(0.1)
    finally:
        if thread.is_alive():
            sink.stop.set()
            thread.join(STOP_S)
            if thread.is_alive():
                sink.cancel()
                thread.join(0.5)
    if failure:
        raise failure[0]


# --- commands ----------------------------------------------------------------------------------------------------------------


def rows_stored(config: Config) -> dict[str, int]:
    """Kind -> rows in the database."""
    with db.session(config) as conn:
        return db.count_measurements(conn)


def stream(config: Config) -> list[dict]:
    """Register the sources, produce every CSV of the data folder, and consume until all of it is stored.

    Returns
    -------
    A row for each topic: topic, produced, stored (inserted or replaced), unchanged, dead_lettered, rows_per_s, in_database.
    """
    register_sources(config)
    began = time.monotonic()
    sink = Sink(config, until_drained=True)
    produced = {}

    def send() -> None:
        produced.update(produce(config, list(TOPICS), stop=sink.stop.is_set))

    with terminal.progress("storing", None) as advance:
        sink.advance = advance
        run_sink(sink, send)
    seconds = time.monotonic() - began
    return _table(config, sink.counts, produced, seconds)


def _table(config: Config, counts: dict[str, Count], produced: dict[str, int], seconds: float) -> list[dict]:
    stored, rows = rows_stored(config), []
    for kind, topic in topic_names(config).items():
        count = counts.get(kind, Count())
        if kind not in produced and kind not in counts:
            continue
        row = {"topic": topic} | ({"produced": produced.get(kind, 0)} if produced else {})
        row |= {"stored": count.stored, "unchanged": count.unchanged, "dead_lettered": count.dead_lettered}
        row |= {"rows_per_s": (count.stored + count.unchanged + count.dead_lettered) / seconds, "in_database": stored.get(kind, 0)}
        rows.append(row | ({"lost": count.lost} if count.lost else {}))
    return rows


def consume(config: Config, until_drained: bool) -> list[dict]:
    """Store what arrives until SIGINT or SIGTERM, or until all of it is stored."""
    sink = Sink(config, until_drained=until_drained)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sink.stop.set())
    began = time.monotonic()
    run_sink(sink)
    return _table(config, sink.counts, {}, time.monotonic() - began) if sink.counts else []


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    send = commands.add_parser("produce", help="send CSV files to their topics")
    send.add_argument("--topic", action="append", choices=list(TOPICS.values()), metavar="TOPIC", help="only this topic (repeat for more)")
    send.add_argument("--speed", type=float, metavar="X", help="X times real time (default: as fast as possible)")
    store = commands.add_parser("consume", help="store what arrives, until Ctrl-C or SIGTERM")
    store.add_argument("--until-drained", action="store_true", help="end when everything is stored")
    return parser


def run(args: argparse.Namespace, config: Config) -> int:
    if args.command == "produce":
        register_sources(config)
        kinds = [kind for kind, topic in TOPICS.items() if not args.topic or topic in args.topic]
        sent = produce(config, kinds, args.speed)
        terminal.print_rows([{"topic": topic_names(config)[kind], "produced": n} for kind, n in sent.items()], as_json=args.json)
    elif args.command == "consume":
        terminal.print_rows(consume(config, args.until_drained), as_json=args.json)
    else:
        terminal.print_rows(stream(config), as_json=args.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
