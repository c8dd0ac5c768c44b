"""Kafka clients: addresses and security of the broker, topics and their partitions, and how far a group has read.

The dead letters, which each topic has a topic of its own for, are in dead_letters.py. Not a script.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tenacity
from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from config import EMBEDDED, Config, VppError
from kinds import KINDS

SESSION_MS = 6_000  # a killed consumer's partitions go to another after this
REQUEST_S = 5.0
MOCK_CLUSTER = "mockCluster"  # how the cluster id of librdkafka's own broker begins


class StreamError(VppError):
    """The stream cannot go on: the broker is away, a file is not as expected, or messages were not delivered."""


def topic_names(config: Config) -> dict[str, str]:
    """Kind of message -> topic, with the configured prefix."""
    return {kind.name: config.kafka.topic_prefix + kind.topic for kind in KINDS.values()}


def kafka_settings(config: Config) -> dict[str, object]:
    """Address and security of the broker for librdkafka; starts the embedded broker if it is the one configured."""
    kafka, servers = config.kafka, config.kafka.bootstrap_servers
    if servers == EMBEDDED:
        import embedded

        servers = embedded.ensure_running(
            config.paths.state_dir, config.database.wait_s
        ).bootstrap_servers
    settings = {
        "bootstrap.servers": servers,
        "security.protocol": kafka.security_protocol,
        "client.id": "vpp",
        "log_level": 0,
    }
    if kafka.security_protocol.startswith("SASL"):
        settings |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.username": kafka.sasl_username,
            "sasl.password": kafka.sasl_password,
        }
    if kafka.ssl_ca_location:
        settings["ssl.ca.location"] = kafka.ssl_ca_location
    return settings


def new_producer(
    settings: dict[str, object],
    wait_s: float,
    failures: Counter,
    on_error: Callable[[KafkaError], None] = lambda error: None,
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


def new_consumer(
    settings: dict[str, object],
    group_id: str,
    on_error: Callable[[KafkaError], None] = lambda error: None,
) -> Consumer:
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


def send(
    producer: Producer,
    topic: str,
    value: bytes | None,
    key: bytes | str | None,
    headers: dict[str, str] | None = None,
) -> None:
    """Queue a message, waiting while the queue is full."""
    while True:
        try:
            producer.produce(topic, value, key, headers=headers) if headers else producer.produce(
                topic, value, key
            )
            return
        except BufferError:  # the broker is slower than we are
            producer.poll(0.01)


def wait_for_topics(
    client: Producer | Consumer, topics: Sequence[str], wait_s: float
) -> dict[str, list[int]]:
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
    items = [
        TopicPartition(topic, number) for topic, numbers in partitions.items() for number in numbers
    ]
    result = []
    for item in consumer.committed(items, timeout=REQUEST_S) if items else []:
        low, high = consumer.get_watermark_offsets(item, timeout=REQUEST_S)
        result.append(
            Lag(
                item.topic,
                item.partition,
                None if item.offset == OFFSET_INVALID else item.offset,
                low,
                high,
            )
        )
    return result
