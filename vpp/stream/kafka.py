"""Kafka clients: the broker's address and security, topics, and how far a group has read.

The topics of dead letters are in dead_letters.py.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

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

from vpp.runtime.errors import VppError
from vpp.runtime.servers import ensure_running
from vpp.runtime.settings import EMBEDDED, Config
from vpp.site.kinds import KINDS

log = logging.getLogger("stream")

SESSION_MS = 6_000  # a killed consumer's partitions go to another after this
REQUEST_S = 5.0
END_IS_TOLD = {"enable.partition.eof": True}  # setting of a consumer that must know an end
MOCK_CLUSTER = "mockCluster"  # how the cluster id of librdkafka's own broker begins


class StreamError(VppError):
    """The stream cannot go on.

    The broker is away, a file is not as expected, or messages were not delivered.
    """


def cause(error: KafkaException) -> str:
    """Why a client of Kafka failed, in its own words."""
    return error.args[0].str()


def origin(message: Message) -> tuple[str, int, int]:
    """Topic, partition and offset of a message that came from the broker."""
    return cast(tuple[str, int, int], (message.topic(), message.partition(), message.offset()))


def topic_names(config: Config) -> dict[str, str]:
    """Kind of message -> topic, with the configured prefix."""
    return {kind.name: config.kafka.topic_prefix + kind.topic for kind in KINDS.values()}


def kafka_settings(config: Config) -> dict[str, object]:
    """Settings of librdkafka: address and security of the broker.

    The embedded broker is started, if it is the one configured.

    Raises
    ------
    EmbeddedError : it cannot be started.
    """
    kafka, servers = config.kafka, config.kafka.bootstrap_servers
    if servers == EMBEDDED:
        running = ensure_running(config.paths.state_dir, config.database.wait_s)
        servers = running.bootstrap_servers
    settings: dict[str, object] = {
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
    failures: Counter[str],
    on_error: Callable[[KafkaError], None] = lambda error: None,
) -> Producer:
    """Make an idempotent producer.

    Parameters
    ----------
    settings : as of `kafka_settings`.
    wait_s : a message that is not delivered within this time [s] has failed.
    failures : counts the failed messages by their cause.
    on_error : told when the broker is away.

    Returns
    -------
    The producer. Flush it before the program ends.
    """

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
    """Make a consumer that commits only when told.

    It reports an error when the messages at its position are not there any more.

    Parameters
    ----------
    settings : as of `kafka_settings`.
    group_id : its group.
    on_error : told when the broker is away.

    Returns
    -------
    The consumer, which the caller closes.
    """
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
            # The default, 1 s, leaves us without messages each time after the queue was full.
            "fetch.queue.backoff.ms": 10,
            "error_cb": on_error,
        }
    )


def close(consumer: Consumer) -> None:
    """Close a consumer, whatever becomes of the broker meanwhile.

    Its last words to the group are lost then, and the group notices after a while.

    Parameters
    ----------
    consumer : it cannot be used afterwards.
    """
    try:
        consumer.close()
    except Exception as error:  # closed while it joins, it raises whatever its callbacks met
        log.debug("consumer closed with %r", error)


def send(
    producer: Producer,
    topic: str,
    value: bytes | None,
    key: bytes | str | None,
    headers: Mapping[str, str] | None = None,
    on_delivery: Callable[[KafkaError | None, Message], None] | None = None,
) -> None:
    """Queue a message, waiting while the queue is full.

    Parameters
    ----------
    producer : it must be flushed afterwards.
    topic : its name.
    value, key, headers : of the message.
    on_delivery : told when it fails, in the place of the producer's own report.
    """
    more = {} if on_delivery is None else {"on_delivery": on_delivery}
    while True:
        try:
            producer.produce(topic, value, key, headers=list((headers or {}).items()), **more)
            return
        except BufferError:  # the broker is slower than we are
            producer.poll(0.01)


def wait_for_topics(
    client: Producer | Consumer, topics: Sequence[str], wait_s: float
) -> dict[str, list[int]]:
    """Wait until the broker answers and has the topics.

    Parameters
    ----------
    client : a producer makes a topic that is not there, where the broker allows that.
    topics : their names.
    wait_s : patience [s].

    Returns
    -------
    Topic -> numbers of its partitions.

    Raises
    ------
    StreamError : no broker answers in time, or a topic cannot be had.
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
                f"Kafka, topic {topic}: {cause(error)}; start the broker (make up, or "
                "bootstrap_servers = embedded), correct [kafka], or create the topic"
            ) from None
    return result


@dataclass(frozen=True)
class Lag:
    """How far a group has come in a partition.

    Parameters
    ----------
    topic, partition : name and number.
    committed : offset before which the group has stored all; None where it has committed nothing.
    low, high : offsets; the broker has the messages from `low` to before `high`.
    """

    topic: str
    partition: int
    committed: int | None
    low: int
    high: int

    @property
    def unread(self) -> int:
        """Number of messages that the group has still to store."""
        return max(0, self.high - max(self.low, self.committed or 0))


def lags(consumer: Consumer, partitions: dict[str, list[int]]) -> list[Lag]:
    """How far the consumer's group has come.

    Parameters
    ----------
    consumer : a member of the group, or an observer with its name.
    partitions : topic -> numbers of its partitions.

    Returns
    -------
    One for each partition.

    Raises
    ------
    KafkaException : the broker does not answer.
    """
    places = [(topic, number) for topic, numbers in partitions.items() for number in numbers]
    items = [TopicPartition(*place) for place in places]
    result = []
    for item in consumer.committed(items, timeout=REQUEST_S) if items else []:
        low, high = consumer.get_watermark_offsets(item, timeout=REQUEST_S)
        committed = None if item.offset == OFFSET_INVALID else item.offset
        result.append(Lag(item.topic, item.partition, committed, low, high))
    return result
