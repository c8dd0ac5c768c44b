"""Kafka clients: addresses and security, topics and their partitions, and the dead-letter topics.

Every topic has a `<topic>.dlq` for what cannot be stored: the message's key and bytes, and in headers why (`error`) and where it
came from (`topic`, `partition`, `offset`, `time` in ms since 1970 UTC). A dead letter may be sent twice when the sink is killed;
readers know it by its origin. One that was stored later is followed by one with the same origin and the header `resolved`.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import tenacity
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from config import EMBEDDED, Config, VppError

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
DLQ_REASON_CHARACTERS = 500
SESSION_MS = 6_000  # a killed consumer's partitions go to another after this
REQUEST_S = 5.0
MOCK_CLUSTER = "mockCluster"  # how the cluster id of librdkafka's own broker begins


class StreamError(VppError):
    """The stream cannot go on: the broker is away, a file is not as expected, or messages were not delivered."""


def topic_names(config: Config) -> dict[str, str]:
    """Kind of message -> topic, with the configured prefix."""
    return {kind: config.kafka.topic_prefix + topic for kind, topic in TOPICS.items()}


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


def new_producer(
    settings: dict[str, object], wait_s: float, failures: Counter, on_error: Callable[[KafkaError], None] = lambda error: None
) -> Producer:
    """An idempotent producer; `failures` counts the messages not delivered within `wait_s` [s] by their cause."""

    def report(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures[error.str()] += 1

    return Producer(
        settings
        | {
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "zstd",
            "linger.ms": 20,
            "queue.buffering.max.messages": 20_000,
            "queue.buffering.max.kbytes": 16_384,
            "message.timeout.ms": max(1000, int(wait_s * 1000)),
            "delivery.report.only.error": True,
            "on_delivery": report,
            "error_cb": on_error,
        }
    )


def new_consumer(settings: dict[str, object], group_id: str, on_error: Callable[[KafkaError], None] = lambda error: None) -> Consumer:
    """A consumer that commits only when told, and reports when what it wants to read is not there any more."""
    return Consumer(
        settings
        | {
            "group.id": group_id,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": SESSION_MS // 4,
            "fetch.wait.max.ms": 50,
            "topic.metadata.refresh.interval.ms": 10_000,
            "queued.max.messages.kbytes": 2_048,  # some 25,000 messages, which take 0.4 kB each
            "fetch.queue.backoff.ms": 10,  # the default, 1 s, leaves us without messages after each time that the queue was full
            "error_cb": on_error,
        }
    )


def send(producer: Producer, topic: str, value: bytes | None, key: bytes | str | None, headers: dict[str, str] | None = None) -> None:
    """Queue a message, waiting while the queue is full."""
    while True:
        try:
            producer.produce(topic, value, key, headers=headers) if headers else producer.produce(topic, value, key)
            return
        except BufferError:  # the broker is slower than we are
            producer.poll(0.01)


def wait_for_topics(client: Producer | Consumer, topics: Sequence[str], wait_s: float) -> dict[str, list[int]]:
    """The partitions of the topics. Asking through a producer makes a topic that is not there, where the broker allows that.

    Raises
    ------
    StreamError : no broker answers within `wait_s` [s], or a topic cannot be had.
    """
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(KafkaException),
        stop=tenacity.stop_after_delay(wait_s),
        wait=tenacity.wait_exponential(0.1, max=1),
        reraise=True,
    )

    def partitions(topic: str) -> list[int]:
        found = client.list_topics(topic, timeout=max(1.0, min(REQUEST_S, wait_s))).topics[topic]
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
                "correct [kafka], or create the topic"
            ) from None
    return result


@dataclass(frozen=True)
class Lag:
    """What the group has stored of a partition: messages before `committed`; `low` and `high` are those the broker has."""

    topic: str
    partition: int
    committed: int | None
    low: int
    high: int

    @property
    def unread(self) -> int:
        return self.high - max(self.low, self.committed or 0)


def lags(consumer: Consumer, partitions: dict[str, list[int]]) -> list[Lag]:
    """How far the consumer's group has come in each partition."""
    items = [TopicPartition(topic, number) for topic, numbers in partitions.items() for number in numbers]
    result = []
    for item in consumer.committed(items, timeout=REQUEST_S) if items else []:
        low, high = consumer.get_watermark_offsets(item, timeout=REQUEST_S)
        result.append(Lag(item.topic, item.partition, None if item.offset == OFFSET_INVALID else item.offset, low, high))
    return result


# --- dead letters ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DeadLetter:
    """A message that was not stored, and why; `truncated` is its length [bytes] where it was cut, `sent_ms` when it was sent."""

    topic: str
    partition: int
    offset: int
    sent_ms: int
    error: str
    key: bytes | None
    value: bytes | None
    truncated: int | None

    @property
    def origin(self) -> tuple:
        return self.topic, self.partition, self.offset, self.sent_ms


def send_dead_letter(producer: Producer, letter: DeadLetter, resolved: bool = False) -> None:
    """Queue a dead letter, or the notice that it was stored after all."""
    headers = {"topic": letter.topic, "partition": str(letter.partition), "offset": str(letter.offset), "time": str(letter.sent_ms)}
    if resolved:
        send(producer, letter.topic + DLQ_SUFFIX, None, letter.key, headers | {"resolved": "yes"})
        return
    value, size = letter.value, len(letter.value or b"")
    headers["error"] = letter.error[:DLQ_REASON_CHARACTERS]
    if size > DLQ_VALUE_BYTES:
        headers["truncated"], value = str(size), value[:DLQ_VALUE_BYTES]
    send(producer, letter.topic + DLQ_SUFFIX, value, letter.key, headers)


def read_dead_letters(config: Config, settings: dict[str, object]) -> list[DeadLetter]:
    """The dead letters of all topics that were not stored since, each origin once, in the order of topic, partition and offset.

    Raises
    ------
    StreamError : the broker does not answer.
    """
    consumer = new_consumer(settings, f"{config.kafka.group_id}-dlq")
    names = {topic + DLQ_SUFFIX for topic in topic_names(config).values()}
    found = {}
    try:
        topics = consumer.list_topics(timeout=REQUEST_S).topics
        partitions = {name: sorted(topics[name].partitions) for name in names if name in topics}
        resolved = set()
        for message in _read_all(consumer, partitions):
            headers = {name: value.decode("utf-8", "replace") for name, value in message.headers() or ()}
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
            if "resolved" in headers:
                resolved.add(letter.origin)
            else:
                found[letter.origin] = letter
    except KafkaException as error:
        raise StreamError(f"Kafka: {error.args[0].str()}; start the broker or correct [kafka]") from None
    finally:
        consumer.close()
    return [found[origin] for origin in sorted(found) if origin not in resolved]


def _read_all(consumer: Consumer, partitions: dict[str, list[int]]) -> Iterator[Message]:
    """Every message that the partitions hold now."""
    ends = {}
    for topic, numbers in partitions.items():
        for number in numbers:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=REQUEST_S)
            if low < high:
                ends[topic, number] = (low, high)
    consumer.assign([TopicPartition(*place, low) for place, (low, _) in ends.items()])
    heard = time.monotonic()
    while ends:
        messages = consumer.consume(1000, 0.05)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > REQUEST_S:
            raise StreamError("Kafka: the dead-letter topics cannot be read to their end; try again")
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            yield message
            place = (message.topic(), message.partition())
            if place in ends and message.offset() + 1 >= ends[place][1]:
                del ends[place]
