"""The sink: reads all topics as a member of a consumer group and stores what is valid.

For each batch: check the records, write the good ones in one database transaction, have the dead letters of the others acknowledged,
then commit the offsets. Whatever is killed in between, the batch is read again, and what is read again changes nothing
(db.store_measurements). A service outlives its servers: while one is away it tries again with growing pauses, stays a member of its
group and writes one log line a minute. A sink that runs until drained gives up after `[database] wait_s`.
"""

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import psycopg2
import tenacity
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from psycopg2.extensions import connection

import db
import records
from broker import (
    REQUEST_S,
    DeadLetter,
    StreamError,
    kafka_settings,
    lags,
    new_consumer,
    new_producer,
    send_dead_letter,
    topic_names,
    wait_for_topics,
)
from config import Config, VppError
from sources import Source

log = logging.getLogger("sink")

POLL_ROWS = 2_000  # asked of the client at once
LULL_S = 0.1  # a batch is written when nothing more comes for so long: the producer may be waiting for it
BATCH_BYTES = 32 * 2**20
SOURCES_S = 60.0  # registered sources are read again after this, and whenever something is refused
STOP_S = 4.0  # a stopped sink has this long to finish its batch
LOG_EVERY_S = 60.0


@dataclass
class Count:
    """What became of the messages of one kind."""

    stored: int = 0
    unchanged: int = 0
    dead_lettered: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Incoming:
    """Messages of one kind: their bytes and times [ms since 1970 UTC]."""

    values: Sequence[bytes | None]
    sent_ms: Sequence[int]


@dataclass(frozen=True)
class Outcome:
    """Rows inserted or replaced, and place and reason of each refused message."""

    stored: int
    refused: list[tuple[int, str]]


# --- the database's side -----------------------------------------------------------------------------------------------------


class Writer:
    """Checks messages against the registered sources and writes the good ones."""

    def __init__(self, config: Config, conn: connection):
        self.config, self.conn, self.limits = config, conn, limits(config)
        self.read_at = 0.0
        self.registry = records.Registry([])

    def write(self, batch: dict[str, Incoming]) -> dict[str, Outcome]:
        """Store the good messages of a batch in one transaction; where the database refuses a record, it is found by halving."""
        checked = self._check(batch)
        try:
            stored = self._store(checked)
            return {kind: Outcome(stored[kind], item.refused) for kind, item in checked.items()}
        except db.RECORD_REFUSED:
            self.conn.rollback()
        outcome = {}
        for kind, item in checked.items():
            refused = list(item.refused)
            outcome[kind] = Outcome(self._store_halves(kind, item, refused), refused)
        return outcome

    def _check(self, batch: dict[str, Incoming]) -> dict[str, records.Checked]:
        now_us = time.time_ns() // 1000

        def check() -> dict[str, records.Checked]:
            return {
                kind: records.check(kind, item.values, item.sent_ms, self.registry, self.limits, now_us) for kind, item in batch.items()
            }

        if time.monotonic() - self.read_at > SOURCES_S:
            self.read_sources()
        checked = check()
        if any(item.refused for item in checked.values()) and self.read_sources():  # registered or corrected since we looked
            checked = check()
        unknown = {name: kind for kind, item in checked.items() for name in item.unknown}
        if unknown and self.config.kafka.unknown_sources == "register":
            self._register(unknown)
            checked = check()
        return checked

    def read_sources(self) -> bool:
        """Read the registered sources; whether they have changed."""
        sources = db.read_sources(self.conn)
        self.conn.commit()
        self.read_at = time.monotonic()
        if sources == self.registry.sources:
            return False
        self.registry = records.Registry(sources)
        return True

    def _register(self, names: dict[str, str]) -> None:
        """Register unknown sources provisionally: their step and capacity are not checked until sources.csv states them."""
        site, found = self.config.site, []
        for name, kind in names.items():
            kind = "weather" if kind == "weather-forecast" else kind
            capacity = 1.0 if kind in ("solar", "wind", "load") else None
            place = (site.latitude, site.longitude, site.time_zone)
            try:
                found.append(Source(name, kind, name, site.site_id, capacity, 60, *place, {"provisional": True}))
            except VppError:  # no possible name: stays unknown
                continue
        db.upsert_sources(self.conn, found)
        self.conn.commit()
        self.read_sources()

    def _store(self, checked: dict[str, records.Checked]) -> Counter:
        stored = Counter()
        for kind, item in checked.items():
            if len(item.places):
                stored[kind] = db.store_measurements(self.conn, records.TABLES[kind], self.registry.ids, item.columns)
        self.conn.commit()
        return stored

    def _store_halves(self, kind: str, checked: records.Checked, refused: list[tuple[int, str]]) -> int:
        """Store what the database takes, halving what it refuses down to the single record; returns the rows stored."""
        try:
            return self._store({kind: checked})[kind]
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


def limits(config: Config) -> records.Limits:
    """The bounds of records that the configuration states."""
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


# --- Kafka's side ------------------------------------------------------------------------------------------------------------


class Stopped(Exception):
    """The sink was told to stop while it was waiting for a server."""


@dataclass
class Sink:
    """A member of the consumer group.

    `run` ends when `stop` is set, or, where `until_drained`, when after `produced` was set the group has stored all that the topics
    hold.
    """

    config: Config
    until_drained: bool = False
    advance: Callable[[float], None] = lambda amount: None
    stop: threading.Event = field(default_factory=threading.Event)
    produced: threading.Event = field(default_factory=threading.Event)
    counts: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))

    def __post_init__(self):
        self.topics = topic_names(self.config)
        self.kinds = {topic: kind for kind, topic in self.topics.items()}
        self.writer: Writer | None = None
        self.settings: dict[str, object] = {}
        self.consumer: Consumer | None = None
        self.dead_letters, self.dlq_failures = None, Counter()
        self.positions: dict[tuple[str, int], int] = {}  # assigned partition -> the offset before which all is stored
        self.revoked = self.waiting = self.imported = False
        self.broker_error: KafkaError | None = None
        self.log_at = 0.0

    def run(self) -> None:
        """Store until told to stop, or drained.

        Raises
        ------
        VppError : a bounded sink could not reach a server within `wait_s`.
        """
        try:
            self._retry("database", self._reach_database)
            self._retry("Kafka", self._reach_broker)
            while not self.stop.is_set():
                try:
                    rows = self._next()
                    if self.broker_error is not None:
                        self._retry("Kafka", self._reach_broker)
                    elif rows < POLL_ROWS and not self.imported and self.produced.is_set() and self._is_drained():
                        self._retry("database", self._end_import)
                        if self.until_drained:
                            break
                except KafkaException as error:
                    log.debug("Kafka: %s", error)
                    self._leave()
                    self._retry("Kafka", self._reach_broker)
        except Stopped:
            pass
        finally:
            self._leave()
            if self.writer is not None:
                self.writer.conn.close()

    def cancel(self) -> None:
        """End a database statement that takes too long; called from another thread."""
        if self.writer is not None and not self.writer.conn.closed:
            self.writer.conn.cancel()

    def _retry(self, server: str, action: Callable[[], object]) -> None:
        """Do it, again and again with growing pauses while a server is away: a service for ever, a bounded sink for `wait_s`."""

        def note(state: tenacity.RetryCallState) -> None:
            self.waiting = True
            if time.monotonic() >= self.log_at:
                self.log_at = time.monotonic() + LOG_EVERY_S
                log.warning("%s away, trying again until it is back: %s", server, " ".join(str(state.outcome.exception()).split()))

        wait_s = self.config.database.wait_s
        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((VppError, psycopg2.Error, KafkaException)),
            wait=tenacity.wait_exponential(0.2, max=10),
            stop=tenacity.stop_after_delay(wait_s) if self.until_drained else tenacity.stop_never,
            before_sleep=note,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            retry(action)
        except (psycopg2.Error, KafkaException) as error:
            raise StreamError(f"{server}: {' '.join(str(error).split())}; this lasted {wait_s:g} s") from error
        if self.waiting:
            self.waiting, self.log_at = False, 0.0
            log.info("%s is back", server)
            if self.consumer is not None:
                self.consumer.resume(self.consumer.assignment())

    def _sleep(self, seconds: float) -> None:
        """Wait as a member of the group: a consumer that does not poll is thrown out. What a poll yields is put back."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self.stop.is_set():
                raise Stopped
            if self.consumer is not None:
                self.consumer.pause(self.consumer.assignment())
                message = self.consumer.poll(0)
                if message is not None and message.error() is None:
                    self.consumer.seek(TopicPartition(message.topic(), message.partition(), message.offset()))
                elif message is not None and message.error().code() == KafkaError._AUTO_OFFSET_RESET:
                    self._restart(message)
            time.sleep(min(left, 0.1))

    # servers

    def _reach_database(self) -> None:
        if self.writer is None or self.writer.conn.closed:
            conn = db.connect(self.config, self.config.database.wait_s if self.until_drained else 0.0)
            with conn.cursor() as cursor:
                cursor.execute("SET lock_timeout = '3s'; SET statement_timeout = '60s'")
                if db.is_compressing(conn):  # a late correction may touch much that is compressed
                    cursor.execute("SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0")
            conn.commit()
            self.writer = Writer(self.config, conn)

    def _reach_broker(self) -> None:
        """Join the group, or go on when the broker answers again; the embedded broker is started again and has a new address."""
        settings = kafka_settings(self.config)
        if self.consumer is None or settings != self.settings:
            self._leave()
            self.settings = settings
            self.dead_letters = new_producer(settings, REQUEST_S, self.dlq_failures, self._on_error)
            wait_for_topics(self.dead_letters, list(self.topics.values()), self.config.database.wait_s if self.until_drained else 1.0)
            self.consumer = new_consumer(settings, self.config.kafka.group_id, self._on_error)
            callbacks = {"on_assign": self._on_assign, "on_revoke": self._on_revoke, "on_lost": self._on_revoke}
            self.consumer.subscribe(list(self.topics.values()), **callbacks)
        else:
            self.consumer.list_topics(timeout=1.0)
        self.broker_error = None

    def _leave(self) -> None:
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            consumer.close()
        self.positions.clear()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
            self.broker_error = error

    # partitions

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        committed = consumer.committed(partitions, timeout=REQUEST_S) if partitions else []
        starts = [TopicPartition(p.topic, p.partition, self._start(consumer, p, max(0, p.offset))) for p in committed]
        self.positions = {(item.topic, item.partition): item.offset for item in starts}
        consumer.assign(starts)
        if self.waiting:
            consumer.pause(starts)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.revoked = True
        self.positions.clear()

    def _start(self, consumer: Consumer, item: TopicPartition, position: int) -> int:
        """Where to read on: reports messages that retention has dropped, and a topic that was made anew."""
        low, high = consumer.get_watermark_offsets(item, timeout=REQUEST_S)
        if position < low:
            self.counts[self.kinds[item.topic]].lost += low - position
            log.error("%s [%d]: the broker dropped %d messages before they were read", item.topic, item.partition, low - position)
            return low
        if position > high:
            log.warning("%s [%d] was made anew (it ends at %d): reading it from its beginning", item.topic, item.partition, high)
            return low
        return position

    def _poll(self) -> list[Message]:
        """The messages of one batch: `batch_rows`, or what came in `batch_s`, or until no more come for a moment."""
        kafka, batch, size = self.config.kafka, [], 0
        until = time.monotonic() + kafka.batch_s
        while len(batch) < kafka.batch_rows and size < BATCH_BYTES and (left := until - time.monotonic()) > 0:
            if self.stop.is_set() or self.broker_error is not None:
                break
            got = self.consumer.consume(min(POLL_ROWS, kafka.batch_rows - len(batch)), min(left, LULL_S) if batch else left)
            if batch and not got:
                break
            if self.revoked:  # what was read before is another's now, or will be read again
                batch, size, self.revoked = [], 0, False
            for message in got:
                error = message.error()
                if error is None:
                    batch.append(message)
                    size += len(message)
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    self._restart(message)
                else:
                    self._on_error(error)
        return batch

    def _restart(self, notice: Message) -> None:
        """Read on where messages are, after the broker has none at our position."""
        place = (notice.topic(), notice.partition())
        if notice.offset() >= self.positions.get(place, notice.offset() + 1):
            item = TopicPartition(*place)
            item.offset = self.positions[place] = self._start(self.consumer, item, notice.offset())
            self.consumer.seek(item)

    def _end_import(self) -> None:
        """When all is stored for the first time, let the server compress old rows, and refresh its hourly means."""
        self._reach_database()
        db.after_import(self.writer.conn, self.config.database.compress_after_days, self.config.database.retention_days)
        self.imported = True

    def _is_drained(self) -> bool:
        self._commit()
        observer = new_consumer(self.settings, self.config.kafka.group_id)  # our own consumer answers only between its fetches
        try:
            known = observer.list_topics(timeout=REQUEST_S).topics
            partitions = {topic: sorted(known[topic].partitions) for topic in self.kinds if topic in known}
            return not any(item.unread for item in lags(observer, partitions))
        finally:
            observer.close()

    def _commit(self) -> None:
        offsets = [TopicPartition(*place, offset) for place, offset in self.positions.items()]
        try:
            if offsets:
                self.consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:  # the next commit covers it, and after a rebalance the new owner reads it again
            log.debug("offsets not committed: %s", error)

    # batch

    def _next(self) -> int:
        """Read and store one batch; returns the number of its messages."""
        batch = self._poll()
        if batch:
            self._write(batch)
        return len(batch)

    def _write(self, batch: list[Message]) -> None:
        """Store a batch: database transaction, then dead letters, then offsets."""
        groups = defaultdict(list)
        for message in batch:
            groups[self.kinds[message.topic()]].append(message)
        now_ms = time.time_ns() // 1_000_000
        incoming = {}
        for kind, messages in groups.items():
            times = [message.timestamp()[1] for message in messages]
            incoming[kind] = Incoming([message.value() for message in messages], [at if at >= 0 else now_ms for at in times])
        outcome = {}

        def store() -> None:
            self._reach_database()
            try:
                outcome.update(self.writer.write(incoming))
            except (psycopg2.Error, db.DatabaseError):
                self.writer.conn.close()
                raise

        self._retry("database", store)
        letters = []
        for kind, item in outcome.items():
            for place, reason in item.refused:
                m = groups[kind][place]
                origin = (m.topic(), m.partition(), m.offset(), incoming[kind].sent_ms[place])
                letters.append(DeadLetter(*origin, reason, m.key(), m.value(), None))
        if letters:
            self._retry("Kafka", lambda: self._dead_letter(letters))
        for kind, item in outcome.items():
            count, refused = self.counts[kind], len(item.refused)
            count.stored += item.stored
            count.dead_lettered += refused
            count.unchanged += len(groups[kind]) - item.stored - refused
        for place, offset in {(m.topic(), m.partition()): m.offset() for m in batch}.items():  # the last of each partition
            if place in self.positions:
                self.positions[place] = max(self.positions[place], offset + 1)
        self._commit()
        self.advance(len(batch))

    def _dead_letter(self, letters: list[DeadLetter]) -> None:
        """Send dead letters and wait until they are acknowledged."""
        if self.broker_error is not None or self.consumer is None:
            self._reach_broker()
        self.dlq_failures.clear()
        for letter in letters:
            send_dead_letter(self.dead_letters, letter)
        left = self.dead_letters.flush(REQUEST_S + 1) + self.dlq_failures.total()
        if left:
            self.dead_letters.purge()
            raise StreamError(f"{left} dead letters were not acknowledged")


def run_sink(sink: Sink, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Run a sink in a thread of its own, so that signals are heard while the database works; `meanwhile` runs in this one."""
    failures = []

    def work() -> None:
        try:
            sink.run()
        except BaseException as error:
            failures.append(error)
            sink.stop.set()

    thread = threading.Thread(target=work, name="sink", daemon=True)
    thread.start()
    try:
        meanwhile()
        sink.produced.set()
        while thread.is_alive() and not sink.stop.is_set():
            thread.join(0.05)
    finally:
        sink.stop.set()
        thread.join(STOP_S)
        if thread.is_alive():
            sink.cancel()
            thread.join(0.5)
    if failures:
        raise failures[0]
