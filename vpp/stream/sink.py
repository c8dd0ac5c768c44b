"""The sink: reads all topics as a member of a consumer group and stores what is valid.

Each batch goes one way. Its records are checked, the good ones are written in one database
transaction (writer.py), and the broker acknowledges the dead letters of the others
(dead_letters.py). Then its offsets are committed (positions.py). Whatever is killed in between,
the batch is read again, and reading it again changes nothing (storage.bulk.store_measurements).
While the database works on a full batch, the next one is read and decoded (batch.py). It is handed
over when all of the one before is done, its offsets included. A service outlives its servers:
while one is away it tries again (retry.py) and stays a member of its group. A sink that runs until
drained gives up after `[database] wait_s`.
"""

import gc
import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from vpp.runtime.settings import Config
from vpp.stream.batch import POLL_ROWS, Batch, Work, collect, decode
from vpp.stream.dead_letters import DLQ_SUFFIX, DeadLetter, DeadLetterQueue
from vpp.stream.faults import reason_kind
from vpp.stream.kafka import StreamError, kafka_settings, schedule_topic, topic_names
from vpp.stream.positions import Partition, Positions
from vpp.stream.refusals import explained
from vpp.stream.retry import Retry, Seldom, Stopped
from vpp.stream.topics import ensure_topics
from vpp.stream.writer import Outcome, Store

log = logging.getLogger("sink")

STOP_S = 4.0  # a stopped sink has this long to finish its batch
JOIN_S = 15.0  # a group gives away the partitions of a killed member after some seconds
ASK_S = 1.0  # a service asks a broker that is away for so long at once


@dataclass
class Count:
    """How the messages of one kind ended.

    Parameters
    ----------
    stored : inserted, or put in the place of an older value.
    unchanged : stored already, or older than the stored value.
    dead_lettered : refused.
    lost : dropped by the broker before they were read, or in a batch that cannot be read, or
        refused, and their dead letters too.
    reasons : kind of reason -> how many were refused for it.
    """

    stored: int = 0
    unchanged: int = 0
    dead_lettered: int = 0
    lost: int = 0
    reasons: Counter[str] = field(default_factory=Counter, compare=False)

    @property
    def is_whole(self) -> bool:
        """Whether all of them are in the database."""
        return not self.dead_lettered and not self.lost


@dataclass
class Sink:
    """A member of the consumer group, which stores what it reads.

    Parameters
    ----------
    config : servers, group and bounds.
    until_drained : end when `produced` is set and the group has stored all that the topics hold.
    advance : told how many more messages are done.
    stop : ends `run`.
    produced : says that no more messages come.
    counts : kind -> what became of its messages.
    """

    config: Config
    until_drained: bool = False
    advance: Callable[[float], None] = lambda amount: None
    stop: threading.Event = field(default_factory=threading.Event)
    produced: threading.Event = field(default_factory=threading.Event)
    counts: dict[str, Count] = field(default_factory=lambda: defaultdict(Count))

    def __post_init__(self) -> None:
        wait_s = self.config.database.wait_s if self.until_drained else None
        self.ask_s = ASK_S if wait_s is None else wait_s
        self.topics = topic_names(self.config)
        self.kinds = {topic: kind for kind, topic in self.topics.items()}
        self.store = Store(self.config, wait_s or 0.0)
        self.positions = Positions(self.config.kafka.group_id, self._count_lost)
        self.retry = Retry(wait_s, self.stop, self.positions.hold, self.positions.resume)
        self.dead_letters: DeadLetterQueue  # made when the broker is reached
        self.pending: Work | None = None
        self.imported = False
        self.newest_ms: dict[str, int] = {}  # kind -> when its newest message was sent
        self.moved_at, self.waiting = time.monotonic(), 0  # messages of a bounded sink
        self.say = Seldom()

    def run(self) -> None:
        """Store until told to stop, or drained.

        Raises
        ------
        VppError : a bounded sink could not reach a server, or did not come nearer to its end,
            within `wait_s`.
        """
        try:
            self.retry("database", self.store.reach)
            self.retry("Kafka", self.reach_broker)
            while not self.stop.is_set():
                try:
                    rows = self.take_batch()
                    if self.positions.broker_error is not None or self.positions.has_failed:
                        self.complete()
                        self.retry("Kafka", self.reach_broker)
                        continue
                    if self.pending is None:  # else its database is at work
                        self.retry("database", self.store.beat)
                    if rows < POLL_ROWS and self._is_imported():
                        self.retry("database", self.store.end_import)
                        self.imported = True
                        if self.until_drained:
                            break
                except KafkaException as error:
                    self.say("Kafka", "Kafka, trying again: %s", explained(error))
                    self.complete()
                    self._refuse_standstill()
                    self.positions.leave()
                    self.retry("Kafka", self.reach_broker)
            self.complete()
        except Stopped:
            pass
        finally:
            if self.pending is not None:  # we end by an error that is not of its making
                self.store.cancel()
                self.pending.join()
            self.positions.leave()
            self.store.close()

    def take_batch(self) -> int:
        """Read a batch, complete the one before, and hand it to the database.

        Returns
        -------
        Number of its messages.
        """
        kafka, positions = self.config.kafka, self.positions
        messages = collect(positions, kafka, self.stop, self.pending)
        batch = decode(messages, self.kinds, positions.generation)
        positions.take(batch.generation, batch.ends)
        self.complete()
        is_ours = batch.generation == positions.generation
        if messages and is_ours and not self.stop.is_set():
            self.pending = Work(batch, lambda: self.store.write(batch.decoded))
            if len(messages) < kafka.batch_rows or positions.notices:
                self.complete()
        if messages:
            self.moved_at = time.monotonic()
        if self.pending is None and not self.stop.is_set():
            positions.restart()
            if positions.keep_ends():
                positions.commit()
        return len(messages)

    def complete(self) -> None:
        """Complete the batch in the hands of the database.

        Its transaction ends first, then its dead letters arrive, then its offsets are committed.
        """
        work = self.pending
        if work is None:
            return
        batch, first = work.batch, iter([work.result])
        outcome = self.retry("database", lambda: next(first, work.action)())
        self.pending = None
        refused: list[tuple[DeadLetter, str]] = []
        if letters := batch.letters(outcome):
            refused = self.retry("Kafka", lambda: self.send(letters))
        self._count(batch, outcome)
        self._tell(batch, outcome)
        self._drop(refused)
        self.moved_at = time.monotonic()
        self.positions.keep(batch.generation, batch.ends)
        self.positions.commit()

    def send(self, letters: list[DeadLetter]) -> list[tuple[DeadLetter, str]]:
        """Send dead letters and wait until the broker has them.

        Returns
        -------
        Those that the broker refuses for good, and why.

        Raises
        ------
        StreamError : some were not acknowledged; all must be sent again.
        """
        if self.positions.broker_error is not None or self.positions.consumer is None:
            self.reach_broker()
        return self.dead_letters.send(letters)

    def reach_broker(self) -> None:
        """Join the group, or go on when the broker answers again.

        The embedded broker is started again where it has ended, and has a new address then.
        """
        settings, positions = kafka_settings(self.config), self.positions
        is_member = positions.consumer is not None and not positions.has_failed
        if not is_member or settings != positions.settings:
            positions.leave()
            topics = list(self.topics.values())
            letters = [topic + DLQ_SUFFIX for topic in topics]
            names = [*topics, *letters, schedule_topic(self.config)]
            ensure_topics(self.config.kafka, settings, names, self.ask_s)
            self.dead_letters = DeadLetterQueue(settings, positions.on_error)
            positions.join(settings, topics)
        else:
            positions.member.list_topics(timeout=ASK_S)
        positions.broker_error = None

    def _is_imported(self) -> bool:
        """Whether all is stored for the first time, and no more messages come."""
        if self.imported or not self.produced.is_set() or self.stop.is_set():
            return False
        self.complete()
        self.positions.keep_ends()
        if self.positions.commit():
            unread = self.positions.unread()
            if not unread:
                return True
            waiting = sum(end - start for start, end in unread.values())
            if waiting != self.waiting:
                self.waiting, self.moved_at = waiting, time.monotonic()
            self._refuse_standstill(unread)
        return False

    def _refuse_standstill(self, unread: Mapping[Partition, tuple[int, int]] | None = None) -> None:
        """End a bounded sink to which nothing more comes, although messages wait."""
        patience_s = max(self.config.database.wait_s, JOIN_S)
        if not self.until_drained or time.monotonic() - self.moved_at < patience_s:
            return
        where = "; no partition was assigned"
        if unread:
            (topic, number), (start, end) = min(unread.items())
            where = f"; {topic} [{number}] is stored up to offset {start} and ends at {end}"
        raise StreamError(
            f"Kafka: no message came for {patience_s:g} s{where}; see python communication.py "
            "status --partitions, and whether another sink of the group hangs"
        )

    def _count(self, batch: Batch, outcome: Mapping[str, Outcome]) -> None:
        for kind, item in outcome.items():
            count, refused, total = self.counts[kind], len(item.refused), len(batch.messages[kind])
            count.stored += item.stored
            count.dead_lettered += refused
            count.unchanged += total - item.stored - refused
            count.reasons.update(reason_kind(reason) for _, reason in item.refused)
            self.newest_ms[kind] = max(self.newest_ms.get(kind, 0), *batch.sent_ms[kind])
            self.advance(total)

    def _tell(self, batch: Batch, outcome: Mapping[str, Outcome]) -> None:
        """Say what a whole batch has in common."""
        for kind, item in outcome.items():
            topic, total = self.topics[kind], len(batch.messages[kind])
            reasons = {reason_kind(reason) for _, reason in item.refused}
            if len(item.refused) == total > 1 and len(reasons) == 1:
                text = "%s: all %d messages of a batch were refused, each for a reason like: %s"
                self.say(("refused", kind, *reasons), text, topic, total, item.refused[0][1])
        for kind, ahead_ms in batch.ahead_ms.items():
            self.say(
                ("ahead", kind),
                "%s: messages are stamped up to %.0f min ahead of this machine's clock and count "
                "as sent when received; set the clock of their producer, or of this machine",
                *(self.topics[kind], ahead_ms / 60_000),
            )

    def _drop(self, refused: list[tuple[DeadLetter, str]]) -> None:
        """Count messages as lost that can neither be stored nor become dead letters."""
        for letter, why in refused:
            count = self.counts[self.kinds[letter.topic]]
            count.dead_lettered -= 1
            count.lost += 1
            log.error(
                "%s [%d], offset %d: refused (%s), and so is its dead letter (%s): see that the "
                "topic %s.dlq is there and takes messages",
                *(*letter.origin[:3], letter.error, why, letter.topic),
            )

    def _count_lost(self, topic: str, lost: int) -> None:
        self.counts[self.kinds[topic]].lost += lost


@contextmanager
def _without_old_garbage() -> Iterator[None]:
    """Let the garbage collector pass over all that is there at the beginning.

    The messages of each batch or two make it look at everything, which takes 50 ms with pandas in
    memory: as long as the batch itself.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def run_sink(sink: Sink, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Run a sink in a thread of its own, so that signals are heard while the database works.

    Parameters
    ----------
    sink : ends when it is drained, or when its `stop` is set.
    meanwhile : runs in this thread; no more messages come after it.

    Raises
    ------
    Exception : the one by which the sink ended.
    """
    failures: list[BaseException] = []

    def work() -> None:
        try:
            sink.run()
        except BaseException as error:
            failures.append(error)
            sink.stop.set()

    thread = threading.Thread(target=work, name="sink", daemon=True)
    thread.start()
    try:
        with _without_old_garbage():
            meanwhile()
            sink.produced.set()
            while thread.is_alive() and not sink.stop.is_set():
                thread.join(0.05)
    finally:
        sink.stop.set()
        thread.join(STOP_S)
        if thread.is_alive():
            sink.store.cancel()
            thread.join(0.5)
    if failures:
        raise failures[0]
