"""The sink: reads all topics as a member of a consumer group and stores what is valid.

For each batch: check the records, write the good ones in one database transaction (writer.py), have the dead letters of the others
acknowledged, then commit the offsets. Whatever is killed in between, the batch is read again, and what is read again changes nothing
(db.store_measurements). While the database works on a full batch the next one is read and decoded; it is handed over when all of the
one before is done, its offsets included. A service outlives its servers: while one is away it tries again with growing pauses, stays a
member of its group and writes one log line a minute. A sink that runs until drained gives up after `[database] wait_s`.
"""

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg2
import tenacity
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

import db
import records
from broker import (
    REQUEST_S,
    StreamError,
    kafka_settings,
    lags,
    new_consumer,
    new_producer,
    topic_names,
    wait_for_topics,
)
from config import Config, VppError
from dead_letters import DeadLetter, send_dead_letter
from writer import Outcome, Writer

log = logging.getLogger("sink")

POLL_ROWS = 2_000  # asked of the client at once
LULL_S = 0.1  # a batch is written when nothing more comes for so long: the producer may be waiting for it
BATCH_BYTES = 32 * 2**20
STOP_S = 4.0  # a stopped sink has this long to finish its batch
LOG_EVERY_S = 60.0


@dataclass
class Count:
    """What became of the messages of one kind."""

    stored: int = 0
    unchanged: int = 0
    dead_lettered: int = 0
    lost: int = 0


class Stopped(Exception):
    """The sink was told to stop while it was waiting for a server."""


class Work(threading.Thread):
    """A call in a thread of its own; `result` waits for it, and returns what it returned or raises what it raised."""

    def __init__(self, action: Callable[[], object]):
        super().__init__(name="database", daemon=True)
        self.action, self.returned, self.error = action, None, None
        self.start()

    def run(self) -> None:
        try:
            self.returned = self.action()
        except BaseException as error:
            self.error = error

    def result(self) -> object:
        self.join()
        if self.error is not None:
            raise self.error
        return self.returned


@dataclass(frozen=True)
class Batch:
    """Messages by kind as the database stores them: `work` is under way, `store` does it again."""

    generation: int  # of the assignment of partitions they were read under
    messages: dict[str, list[Message]]
    sent_ms: dict[str, list[int]]
    store: Callable[[], dict[str, Outcome]]
    work: Work


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
        self.generation = 0  # counts the assignments of partitions that have ended
        self.notices: list[Message] = []  # that the broker has nothing at our position
        self.pending: Batch | None = None
        self.waiting = self.imported = False
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
                        self._finish()
                        self._retry("Kafka", self._reach_broker)
                    elif rows < POLL_ROWS and not self.imported and self.produced.is_set() and self._is_drained():
                        self._retry("database", self._end_import)
                        if self.until_drained:
                            break
                except KafkaException as error:
                    log.debug("Kafka: %s", error)
                    self._finish()
                    self._leave()
                    self._retry("Kafka", self._reach_broker)
            self._finish()
        except Stopped:
            pass
        finally:
            if self.pending is not None:  # we end by an error that is not of its making
                self.cancel()
                self.pending.work.join()
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
                    self.notices.append(message)
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
        self._end_assignment()

    def _end_assignment(self) -> None:
        """What was read is another's now, or will be read again."""
        self.generation += 1
        self.positions.clear()
        self.notices.clear()

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
        self._end_assignment()

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
        kafka, batch, size, generation = self.config.kafka, [], 0, self.generation
        until = time.monotonic() + kafka.batch_s
        while len(batch) < kafka.batch_rows and size < BATCH_BYTES and (left := until - time.monotonic()) > 0:
            if self.stop.is_set() or self.broker_error is not None or self.notices:
                break
            held = batch or self.pending is not None  # not to be kept waiting
            got = self.consumer.consume(min(POLL_ROWS, kafka.batch_rows - len(batch)), min(left, LULL_S) if held else left)
            if held and not got:
                break
            if self.generation != generation:
                batch, size, generation = [], 0, self.generation
            for message in got:
                error = message.error()
                if error is None:
                    batch.append(message)
                    size += len(message)
                elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                    self.notices.append(message)
                else:
                    self._on_error(error)
        return batch

    def _restart(self, notice: Message) -> None:
        """Read on where messages are, after the broker has none at our position; all that was read is stored."""
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
        self._finish()
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
        """Read a batch, complete the one before, and hand it to the database; returns the number of its messages."""
        messages, generation = self._poll(), self.generation
        groups, sent_ms, decoded = defaultdict(list), {}, {}
        for message in messages:
            groups[self.kinds[message.topic()]].append(message)
        now_ms = time.time_ns() // 1_000_000
        for kind, group in groups.items():
            sent_ms[kind] = [at if at >= 0 else now_ms for _, at in map(Message.timestamp, group)]
            decoded[kind] = records.decode(kind, list(map(Message.value, group)), sent_ms[kind])
        self._finish()
        if messages and generation == self.generation and not self.stop.is_set():

            def store() -> dict[str, Outcome]:
                self._reach_database()
                try:
                    return self.writer.write(decoded)
                except (psycopg2.Error, db.DatabaseError):
                    self.writer.conn.close()
                    raise

            self.pending = Batch(generation, groups, sent_ms, store, Work(store))
            if len(messages) < self.config.kafka.batch_rows or self.notices:
                self._finish()
        if self.pending is None and not self.stop.is_set():
            notices, self.notices = self.notices, []
            for notice in notices:
                self._restart(notice)
        return len(messages)

    def _finish(self) -> None:
        """Complete the batch that the database is working on: its transaction, then its dead letters, then its offsets."""
        batch, outcome = self.pending, {}
        if batch is None:
            return
        attempts = iter([batch.work.result])
        self._retry("database", lambda: outcome.update(next(attempts, batch.store)()))
        self.pending = None
        letters = []
        for kind, item in outcome.items():
            for place, reason in item.refused:
                m = batch.messages[kind][place]
                origin = (m.topic(), m.partition(), m.offset(), batch.sent_ms[kind][place])
                letters.append(DeadLetter(*origin, reason, m.key(), m.value(), None))
        if letters:
            self._retry("Kafka", lambda: self._dead_letter(letters))
        for kind, item in outcome.items():
            count, refused, total = self.counts[kind], len(item.refused), len(batch.messages[kind])
            count.stored += item.stored
            count.dead_lettered += refused
            count.unchanged += total - item.stored - refused
            self.advance(total)
        if batch.generation == self.generation:
            for messages in batch.messages.values():
                for place, offset in {(m.topic(), m.partition()): m.offset() for m in messages}.items():  # the last of each partition
                    self.positions[place] = max(self.positions[place], offset + 1)
        self._commit()

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
