"""A sink's place in each partition: what is assigned to it, what is stored, and what was lost.

A sink is a member of a consumer group, which shares the partitions out anew when a member comes or
goes. It commits an offset only when all before it is stored, and never one of a partition that it
has lost meanwhile: the new owner may have gone back, or be further.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import tenacity
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from vpp.stream import unreadable
from vpp.stream.kafka import (
    END_IS_TOLD,
    REQUEST_S,
    StreamError,
    cause,
    close,
    lags,
    new_consumer,
    origin,
)
from vpp.stream.refusals import explained
from vpp.stream.retry import Seldom

log = logging.getLogger("sink")

REJOIN_S = 20.0  # some times what a group takes to share its partitions out anew
# librdkafka tries again by itself, and says when none of the brokers answers
PASSING = {
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._RESOLVE,
    KafkaError._TIMED_OUT,
}
Partition = tuple[str, int]  # topic and number


class Positions:
    """A member of a consumer group, and how far it has come.

    Parameters
    ----------
    group_id : the group.
    on_lost : told topic and number of messages that the broker dropped before they were read.
    """

    def __init__(self, group_id: str, on_lost: Callable[[str, int], None]):
        self.group_id, self.on_lost = group_id, on_lost
        self.consumer: Consumer | None = None
        self.settings: dict[str, object] = {}
        self.topics: list[str] = []
        # assigned partition -> the offset before which all is stored
        self.offsets: dict[Partition, int] = {}
        self.generation = 0  # counts the assignments of partitions that have ended
        # that the broker has nothing at our position, or nothing that can be read
        self.notices: list[Message] = []
        self.reached: dict[Partition, int] = {}  # where the end of a partition was met
        self.read_to: dict[Partition, int] = {}  # the offset after the last message read
        self.unreadable: dict[Partition, tuple[int, int]] = {}  # offset, and how often
        self.lost_to: dict[Partition, int] = {}  # before which what is lost was counted
        self.say = Seldom()
        self.held = False
        self.broker_error: KafkaError | None = None
        self.is_stuck = False  # it failed to take its partitions
        self.waits_since: float | None = None  # for partitions [s of the monotonic clock]

    # membership

    @property
    def member(self) -> Consumer:
        """The consumer of a sink that has joined.

        Raises
        ------
        StreamError : it has not, or has left.
        """
        if self.consumer is None:
            raise StreamError(f"Kafka: the sink is no member of the group {self.group_id}")
        return self.consumer

    @property
    def has_failed(self) -> bool:
        """Whether it has no partitions and must join anew to get some."""
        waits_s = 0.0 if self.waits_since is None else time.monotonic() - self.waits_since
        return self.is_stuck or (waits_s > REJOIN_S and not self.held)

    def join(self, settings: dict[str, object], topics: Sequence[str]) -> None:
        """Join the group; partitions are assigned while the consumer is read from.

        Parameters
        ----------
        settings : as of `kafka_settings`.
        topics : their names.
        """
        self.settings, self.topics = settings, list(topics)
        self.is_stuck, self.waits_since = False, time.monotonic()
        self.consumer = new_consumer(settings | END_IS_TOLD, self.group_id, self.on_error)
        self.consumer.subscribe(
            self.topics,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    def leave(self) -> None:
        """Leave the group, if it is a member."""
        consumer, self.consumer = self.consumer, None
        if consumer is not None:
            close(consumer)
        self._end_assignment()

    def hold(self) -> None:
        """Stay a member without reading: a consumer that does not poll is thrown out.

        A poll may yield a message in spite of the pause; it is put back.
        """
        self.held = True
        if self.consumer is None:
            return
        self.consumer.pause(self.consumer.assignment())
        message = self.consumer.poll(0)
        if message is None:
            return
        error = message.error()
        if error is None:
            self.consumer.seek(TopicPartition(*origin(message)))
        else:
            self.note(message, error)

    def resume(self) -> None:
        """Read on after `hold`."""
        self.held = False
        if self.consumer is not None:
            self.consumer.resume(self.consumer.assignment())

    def note(self, message: Message, error: KafkaError) -> None:
        """Keep in mind an error that came in place of a message.

        Parameters
        ----------
        message : it says in which partition, at which offset.
        error : its error.
        """
        code = error.code()
        if code == KafkaError._AUTO_OFFSET_RESET:
            self.notices.append(message)
        elif code == KafkaError._PARTITION_EOF:
            topic, number, offset = origin(message)
            self.reached[topic, number] = offset
        elif code in unreadable.CODES and message.offset() not in (None, OFFSET_INVALID):
            topic, number, offset = origin(message)
            before, times = self.unreadable.get((topic, number), (offset, 0))
            times = times + 1 if before == offset else 1
            self.unreadable[topic, number] = offset, times
            if times >= unreadable.TRIES:
                self.notices.append(message)
        else:
            self.on_error(error)
            if code not in PASSING:
                self.say(code, "Kafka: %s", explained(KafkaException(error)))

    def on_error(self, error: KafkaError) -> None:
        """Keep an error in mind that says that the broker is away."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
            self.broker_error = error

    # assignment

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Read on where the group is.

        No error may leave it: the client would raise what is no exception, which nothing catches.
        The member has nothing to read then, and joins anew.
        """
        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_new_topic),
            stop=tenacity.stop_after_attempt(10),
            wait=tenacity.wait_fixed(0.2),
            reraise=True,
        )
        try:
            starts = retry(self._starts, consumer, partitions)
            self.offsets = {(item.topic, item.partition): item.offset for item in starts}
            consumer.assign(starts)
            if self.held:
                consumer.pause(starts)
            else:  # a partition that was taken away while it was held stays paused for ever
                consumer.resume(starts)
            self.waits_since = None
        except Exception as error:
            log.debug("no partitions taken: %r", error)
            self.is_stuck = True
            with suppress(Exception):
                consumer.assign([])

    def _starts(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        committed = consumer.committed(partitions, timeout=REQUEST_S) if partitions else []
        places = [(item.topic, item.partition) for item in committed]
        watermarks = [consumer.get_watermark_offsets(item, timeout=REQUEST_S) for item in committed]
        starts = []
        for item, place, (low, high) in zip(committed, places, watermarks, strict=True):
            offset = self._start(place, max(0, item.offset), low, high)
            starts.append(TopicPartition(*place, offset))
        return starts

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._end_assignment()

    def _end_assignment(self) -> None:
        """Another member owns now what was read, or we shall read it again."""
        self.generation += 1
        self.waits_since = time.monotonic()
        self.offsets.clear()
        self.notices.clear()
        self.reached.clear()
        self.read_to.clear()
        self.unreadable.clear()

    # offsets

    def take(self, generation: int, ends: Mapping[Partition, int]) -> None:
        """Keep in mind what was read, whatever becomes of it, unless its assignment has ended.

        Parameters
        ----------
        generation, ends : as of `keep`.
        """
        if generation == self.generation:
            self.read_to |= ends

    def keep(self, generation: int, ends: Mapping[Partition, int]) -> None:
        """Move on to the ends of what was stored, unless its assignment has ended.

        Parameters
        ----------
        generation : of the assignment under which it was read.
        ends : partition -> offset before which all is stored.
        """
        if generation == self.generation:
            for place, offset in ends.items():
                self.offsets[place] = max(self.offsets[place], offset)

    def keep_ends(self) -> bool:
        """Move on to the ends of partitions that were met; returns whether anything moved.

        A log may end in what is no message, such as the mark that a transaction is complete. It
        stays where something was read and is not stored.
        """
        moved = False
        for place, end in self.reached.items():
            offset = self.offsets.get(place, end)
            if self.read_to.get(place, 0) <= offset < end:
                self.offsets[place], moved = end, True
        return moved

    def commit(self) -> bool:
        """Tell the broker the offsets; returns whether it takes them."""
        offsets = [TopicPartition(*place, offset) for place, offset in self.offsets.items()]
        try:
            if offsets:
                self.member.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # The next commit covers it, and after a rebalance the new owner reads it again.
            log.debug("offsets not committed: %s", cause(error))
            return False
        return True

    def unread(self) -> dict[Partition, tuple[int, int]]:
        """The partitions that the group has not stored to their ends, each from where to where.

        Where this member has met the end itself it counts, whatever the broker says of it.
        """
        # Our own consumer answers only between its fetches.
        observer = new_consumer(self.settings, self.group_id)
        try:
            known = observer.list_topics(timeout=REQUEST_S).topics
            partitions = {
                name: sorted(known[name].partitions) for name in self.topics if name in known
            }
            found = {}
            for item in lags(observer, partitions):
                place = (item.topic, item.partition)
                start = self.offsets.get(place, item.committed or 0)
                # its owner will find out why it lies beyond the end
                is_strange = place not in self.offsets and start > item.high
                # we shall be told what was dropped since we read, and count it
                is_lost = place in self.offsets and start < item.low
                if max(start, item.low) < item.high or is_strange or is_lost:
                    found[place] = (start, item.high)
            return found
        finally:
            close(observer)

    # loss

    def _lose(self, place: Partition, start: int, end: int) -> int:
        """Count messages as lost, but those that were counted before; returns how many.

        We meet them again where we join anew before the next commit.
        """
        lost = max(0, end - max(start, self.lost_to.get(place, 0)))
        self.lost_to[place] = end
        if lost:
            self.on_lost(place[0], lost)
        return lost

    def _start(self, place: Partition, position: int, low: int, high: int) -> int:
        """Where to read on; reports dropped messages, and a topic that was made anew."""
        if position < low:
            if lost := self._lose(place, position, low):
                text = "%s [%d]: the broker dropped %d messages before they were read"
                log.error(text, *place, lost)
            return low
        if position > high:
            self.lost_to.pop(place, None)
            text = "%s [%d] was made anew (it ends at %d): reading it from its beginning"
            log.warning(text, *place, high)
            return low
        return position

    def restart(self) -> None:
        """Read on where messages are, after notices that the broker has none at our position.

        All that was read before must be stored.
        """
        notices, self.notices = self.notices, []
        for notice in notices:
            topic, number, offset = origin(notice)
            place = (topic, number)
            error = notice.error()
            if error is not None and error.code() in unreadable.CODES:
                item = self._skip(place, max(offset, self.offsets.get(place, offset)), error)
            elif offset >= self.offsets.get(place, offset + 1):
                item = TopicPartition(topic, number)
                low, high = self.member.get_watermark_offsets(item, timeout=REQUEST_S)
                item.offset = self._start(place, offset, low, high)
            else:
                continue
            self.offsets[place] = item.offset
            self.reached.pop(place, None)
            self.read_to.pop(place, None)
            self.unreadable.pop(place, None)
            self.member.seek(item)

    def _skip(self, place: Partition, offset: int, error: KafkaError) -> TopicPartition:
        """Where to read on after a batch that cannot be read; its messages are lost."""
        end = unreadable.end_of_batch(self.settings, *place, offset)
        if self._lose(place, offset, end):
            log.error(
                "%s [%d]: the messages %d to %d cannot be read and are skipped: %s",
                *(*place, offset, end - 1, cause(KafkaException(error))),
            )
        return TopicPartition(*place, end)


def _is_new_topic(error: BaseException) -> bool:
    """Whether a broker does not know yet, or not any more, that it leads a partition."""
    codes = (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
    )
    return isinstance(error, KafkaException) and error.args[0].code() in codes
