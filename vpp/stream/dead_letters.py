"""Dead letters: messages that cannot be stored, with their origin and reason, in `<topic>.dlq`."""

import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from vpp.runtime.settings import Config
from vpp.stream import unreadable
from vpp.stream.kafka import (
    END_IS_TOLD,
    REQUEST_S,
    StreamError,
    close,
    new_consumer,
    new_producer,
    origin,
    send,
    topic_names,
)
from vpp.stream.refusals import explained

log = logging.getLogger("stream")

DLQ_SUFFIX = ".dlq"
DLQ_VALUE_BYTES = 64_000  # more of a refused value is cut
DLQ_REASON_CHARACTERS = 500
TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}
# A letter that is refused so is refused again, however often it is sent.
FINAL = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_RECORD,
    KafkaError.INVALID_MSG,
    KafkaError.INVALID_TIMESTAMP,
    KafkaError._INVALID_ARG,
}
INT64_MAX = 2**63 - 1


@dataclass(frozen=True)
class DeadLetter:
    """A message that was not stored.

    Parameters
    ----------
    topic, partition, offset : where it was.
    sent_ms : when it was sent [ms since 1970 UTC].
    error : why it was not stored.
    key, value : its bytes; a long value is cut.
    truncated : the length of the value [bytes] where it was cut.
    """

    topic: str
    partition: int
    offset: int
    sent_ms: int
    error: str
    key: bytes | None
    value: bytes | None
    truncated: int | None

    @property
    def origin(self) -> tuple[str, int, int, int]:
        """Topic, partition, offset and time, which tell it from every other message."""
        return self.topic, self.partition, self.offset, self.sent_ms


class DeadLetterQueue:
    """Sends dead letters, and knows that they have arrived.

    Parameters
    ----------
    settings : as of `kafka_settings`.
    on_error : told when the broker is away.
    """

    def __init__(self, settings: dict[str, object], on_error: Callable[[KafkaError], None]):
        # a topic that is not there is known to be missing before its letters expire
        self.settings = settings | {"topic.metadata.propagation.max.ms": 2_000}
        self.on_error = on_error
        self.producer: Producer | None = None

    def send(self, letters: Sequence[DeadLetter]) -> list[tuple[DeadLetter, str]]:
        """Send dead letters and wait until the broker has them.

        One that is too large goes without its key and value.

        Returns
        -------
        Those that the broker refuses for good, and why.

        Raises
        ------
        StreamError : some were not acknowledged; all must be sent again.
        """
        refused = []
        for letter, error in self._deliver(letters):
            if error.code() in TOO_LARGE:  # or its neighbours were, in one request with it
                failed = self._deliver([letter]) and self._deliver([_bare(letter)])
                refused += [(letter, failed.str()) for _, failed in failed]
            else:
                refused.append((letter, error.str()))
        return refused

    def _deliver(self, letters: Sequence[DeadLetter]) -> list[tuple[DeadLetter, KafkaError]]:
        """Send letters; returns those that the broker refuses for good."""
        if self.producer is None:
            self.producer = new_producer(self.settings, REQUEST_S, Counter(), self.on_error)
        failed: list[tuple[DeadLetter, KafkaError]] = []
        for letter in letters:

            def report(error: KafkaError | None, _: Message, letter: DeadLetter = letter) -> None:
                if error is not None:
                    failed.append((letter, error))

            try:
                send_dead_letter(self.producer, letter, on_delivery=report)
            except KafkaException as error:
                failed.append((letter, error.args[0]))
        left = self.producer.flush(REQUEST_S + 1)
        passing = [error for _, error in failed if error.code() not in TOO_LARGE | FINAL]
        if left or passing:
            self.producer.purge()
            self.producer = None  # an error may have been its own and fatal
            why = f": {passing[0].str()}" if passing else ""
            raise StreamError(f"{left + len(passing)} dead letters were not acknowledged{why}")
        return failed


def _bare(letter: DeadLetter) -> DeadLetter:
    """A letter that says only where its message was, and why it was not stored."""
    cut = letter.truncated or len(letter.value or b"")
    return dataclasses.replace(letter, key=None, value=None, truncated=cut)


def send_dead_letter(
    producer: Producer,
    letter: DeadLetter,
    resolved: bool = False,
    on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
) -> None:
    """Queue a dead letter, or the notice that it was stored after all.

    Parameters
    ----------
    producer : it must be flushed afterwards.
    letter : the dead letter.
    resolved : it was stored.
    on_delivery : told when it fails, in the place of the producer's own report.
    """
    headers = {
        "topic": letter.topic,
        "partition": str(letter.partition),
        "offset": str(letter.offset),
        "time": str(letter.sent_ms),
    }
    value = None if resolved else letter.value
    if resolved:
        headers["resolved"] = "yes"
    else:
        headers["error"] = letter.error[:DLQ_REASON_CHARACTERS]
        if letter.truncated is not None:
            headers["truncated"] = str(letter.truncated)
        elif value is not None and len(value) > DLQ_VALUE_BYTES:
            headers["truncated"], value = str(len(value)), value[:DLQ_VALUE_BYTES]
    send(producer, letter.topic + DLQ_SUFFIX, value, letter.key, headers, on_delivery)


def read_dead_letters(config: Config, settings: dict[str, object]) -> list[DeadLetter]:
    """The dead letters of all topics that were not stored since.

    Parameters
    ----------
    config : names group and topics.
    settings : as of `kafka_settings`.

    Returns
    -------
    Each origin once, in the order of topic, partition and offset.

    Raises
    ------
    StreamError : the broker does not answer.
    """
    consumer = new_consumer(settings | END_IS_TOLD, f"{config.kafka.group_id}-dlq")
    names = {topic + DLQ_SUFFIX for topic in topic_names(config).values()}
    found: dict[tuple[str, int, int, int], DeadLetter] = {}
    resolved, foreign = set(), Counter[str | None]()
    try:
        topics = consumer.list_topics(timeout=REQUEST_S).topics
        partitions = {name: sorted(topics[name].partitions) for name in names if name in topics}
        for message in _read_all(consumer, settings, partitions):
            ours = _letter(message)
            if ours is None:
                foreign[message.topic()] += 1
            elif ours[1]:
                resolved.add(ours[0].origin)
            else:
                found[ours[0].origin] = ours[0]
    except KafkaException as error:
        raise StreamError(f"Kafka: {explained(error)}") from None
    finally:
        close(consumer)
    for topic, count in foreign.items():
        log.warning("%s: %d messages are no dead letters of ours and are left alone", topic, count)
    return [found[origin] for origin in sorted(found) if origin not in resolved]


def _letter(message: Message) -> tuple[DeadLetter, bool] | None:
    """A dead letter as `send_dead_letter` sent it, and whether it says that it is resolved.

    None for a message of someone else, which may hold anything.
    """
    try:
        pairs = cast(list[tuple[str, bytes | None]], message.headers() or [])
        headers = {name: (value or b"").decode("utf-8", "replace") for name, value in pairs}
        number, offset, sent_ms = (int(headers[name]) for name in ("partition", "offset", "time"))
        truncated = int(headers["truncated"]) if "truncated" in headers else None
    except (KeyError, ValueError, UnicodeError, AttributeError):
        return None
    topic = headers.get("topic", "")
    is_possible = all(0 <= value <= INT64_MAX for value in (number, offset, sent_ms))
    if topic + DLQ_SUFFIX != message.topic() or not is_possible:
        return None
    key, value, error = message.key(), message.value(), headers.get("error", "")
    letter = DeadLetter(topic, number, offset, sent_ms, error, key, value, truncated)
    return letter, "resolved" in headers


def _read_all(
    consumer: Consumer, settings: dict[str, object], partitions: dict[str, list[int]]
) -> Iterator[Message]:
    """Every message that the partitions hold now, but for those that cannot be read."""
    starts = []
    for topic, numbers in partitions.items():
        for number in numbers:
            item = TopicPartition(topic, number)
            low, high = consumer.get_watermark_offsets(item, timeout=REQUEST_S)
            if low < high:
                starts.append(TopicPartition(topic, number, low))
    consumer.assign(starts)
    left, heard = {(item.topic, item.partition) for item in starts}, time.monotonic()
    while left:
        messages = consumer.consume(1000, 0.05)
        if not messages and time.monotonic() - heard > REQUEST_S:
            raise StreamError(
                "Kafka: the dead-letter topics cannot be read to their end; try again"
            )
        for message in messages:
            topic, number, offset = origin(message)
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                left.discard((topic, number))
            elif error.code() in unreadable.CODES:
                end = unreadable.end_of_batch(settings, topic, number, offset)
                log.warning("%s: %d messages cannot be read", topic, end - offset)
                consumer.seek(TopicPartition(topic, number, end))
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # retention was faster
                low, _ = consumer.get_watermark_offsets(TopicPartition(topic, number), REQUEST_S)
                consumer.seek(TopicPartition(topic, number, low))
            else:
                raise KafkaException(error)
        if messages:  # not before them: to find the end of a batch may take a while
            heard = time.monotonic()
