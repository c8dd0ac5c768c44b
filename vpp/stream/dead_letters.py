"""Dead letters: messages that cannot be stored, with their origin and reason, in `<topic>.dlq`."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from vpp.runtime.settings import Config
from vpp.stream.kafka import (
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

DLQ_SUFFIX = ".dlq"
DLQ_VALUE_BYTES = 64_000  # more of a refused value is cut
DLQ_REASON_CHARACTERS = 500


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
        self.failures: Counter[str] = Counter()
        self.producer = new_producer(settings, REQUEST_S, self.failures, on_error)

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Send dead letters and wait until the broker has them.

        Raises
        ------
        StreamError : some were not acknowledged; all must be sent again.
        """
        self.failures.clear()
        for letter in letters:
            send_dead_letter(self.producer, letter)
        left = self.producer.flush(REQUEST_S + 1) + self.failures.total()
        if left:
            self.producer.purge()
            raise StreamError(f"{left} dead letters were not acknowledged")


def send_dead_letter(producer: Producer, letter: DeadLetter, resolved: bool = False) -> None:
    """Queue a dead letter, or the notice that it was stored after all.

    Parameters
    ----------
    producer : it must be flushed afterwards.
    letter : the dead letter.
    resolved : it was stored.
    """
    headers = {
        "topic": letter.topic,
        "partition": str(letter.partition),
        "offset": str(letter.offset),
        "time": str(letter.sent_ms),
    }
    if resolved:
        send(producer, letter.topic + DLQ_SUFFIX, None, letter.key, headers | {"resolved": "yes"})
        return
    value = letter.value
    headers["error"] = letter.error[:DLQ_REASON_CHARACTERS]
    if value is not None and len(value) > DLQ_VALUE_BYTES:
        headers["truncated"], value = str(len(value)), value[:DLQ_VALUE_BYTES]
    send(producer, letter.topic + DLQ_SUFFIX, value, letter.key, headers)


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
    consumer = new_consumer(settings, f"{config.kafka.group_id}-dlq")
    names = {topic + DLQ_SUFFIX for topic in topic_names(config).values()}
    found: dict[tuple[str, int, int, int], DeadLetter] = {}
    resolved = set()
    try:
        topics = consumer.list_topics(timeout=REQUEST_S).topics
        partitions = {name: sorted(topics[name].partitions) for name in names if name in topics}
        for message in _read_all(consumer, partitions):
            letter, is_resolved = _letter(message)
            if is_resolved:
                resolved.add(letter.origin)
            else:
                found[letter.origin] = letter
    except KafkaException as error:
        raise StreamError(f"Kafka: {explained(error)}") from None
    finally:
        close(consumer)
    return [found[origin] for origin in sorted(found) if origin not in resolved]


def _letter(message: Message) -> tuple[DeadLetter, bool]:
    """A dead letter as `send_dead_letter` sent it, and whether it says that it is resolved."""
    pairs = cast(list[tuple[str, bytes]], message.headers() or [])
    headers = {name: value.decode("utf-8", "replace") for name, value in pairs}
    letter = DeadLetter(
        headers["topic"],
        int(headers["partition"]),
        int(headers["offset"]),
        int(headers["time"]),
        headers.get("error", ""),
        message.key(),
        message.value(),
        int(headers["truncated"]) if "truncated" in headers else None,
    )
    return letter, "resolved" in headers


def _read_all(consumer: Consumer, partitions: dict[str, list[int]]) -> Iterator[Message]:
    """Every message that the partitions hold now."""
    ends = {}
    for topic, numbers in partitions.items():
        for number in numbers:
            item = TopicPartition(topic, number)
            low, high = consumer.get_watermark_offsets(item, timeout=REQUEST_S)
            if low < high:
                ends[topic, number] = (low, high)
    consumer.assign([TopicPartition(*place, low) for place, (low, _) in ends.items()])
    heard = time.monotonic()
    while ends:
        messages = consumer.consume(1000, 0.05)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > REQUEST_S:
            raise StreamError(
                "Kafka: the dead-letter topics cannot be read to their end; try again"
            )
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            yield message
            topic, number, offset = origin(message)
            if (topic, number) in ends and offset + 1 >= ends[topic, number][1]:
                del ends[topic, number]
