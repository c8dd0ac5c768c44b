"""Kafka clients: the broker's address and security, messages, and how far a group has read.

topics.py reaches the broker and makes topics, refusals.py says why it cannot be used.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

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

from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.servers import ensure_running
from vpp.runtime.settings import EMBEDDED, Config
from vpp.site.kinds import BATTERY, BATTERY_TOPIC, KINDS, SCHEDULE_TOPIC

log = logging.getLogger("stream")

SESSION_MS = 6_000  # a killed consumer's partitions go to another after this
# The broker inside librdkafka keeps a member's partitions for a second less than this even where
# it has left, and takes any session: Kafka refuses such short ones.
EMBEDDED_SESSION = {"session.timeout.ms": 2_000, "heartbeat.interval.ms": 500}
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
    """Kind of message -> topic, with the configured prefix, of all that the sink stores."""
    topics = {kind.name: kind.topic for kind in KINDS.values()} | {BATTERY: BATTERY_TOPIC}
    return {kind: config.kafka.topic_prefix + topic for kind, topic in topics.items()}


def schedule_topic(config: Config) -> str:
    """The topic on which plans go out to the batteries, with the configured prefix."""
    return config.kafka.topic_prefix + SCHEDULE_TOPIC


def kafka_settings(config: Config) -> dict[str, object]:
    """Settings of librdkafka: address and security of the broker, and those of `[kafka.client]`.

    The embedded broker is started, if it is the one configured.

    Raises
    ------
    ConfigError : a file of `[kafka]` is not there.
    EmbeddedError : the broker cannot be started.
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
    if kafka.bootstrap_servers == EMBEDDED:
        settings |= EMBEDDED_SESSION
    if kafka.security_protocol.startswith("SASL"):
        settings["sasl.mechanism"] = kafka.sasl_mechanism
        given = {"sasl.username": kafka.sasl_username, "sasl.password": kafka.sasl_password}
        settings |= {name: value for name, value in given.items() if value}
    for key in ("ssl_ca_location", "ssl_certificate_location", "ssl_key_location"):
        path: Path | None = getattr(kafka, key)
        if path is not None and not path.is_file():
            raise ConfigError(f"{config.path}: [kafka] {key} = {path}: no such file")
        if path is not None:
            settings[key.replace("_", ".")] = str(path)
    if kafka.ssl_key_password:
        settings["ssl.key.password"] = kafka.ssl_key_password
    return settings | dict(config.kafka_client)


def make(client: Callable[[dict[str, object]], Any], settings: dict[str, object]) -> Any:
    """A client of Kafka.

    Parameters
    ----------
    client : its class.
    settings : all of its settings.

    Raises
    ------
    ConfigError : librdkafka does not take a setting.
    """
    try:
        return client(settings)
    except KafkaException as error:
        raise ConfigError(f"Kafka: {cause(error)}; correct [kafka] or [kafka.client]") from None


def new_producer(
    settings: dict[str, object],
    wait_s: float,
    failures: Counter[str],
    on_error: Callable[[KafkaError], None] = lambda error: None,
    idempotent: bool = True,
) -> Producer:
    """Make a producer.

    Parameters
    ----------
    settings : as of `kafka_settings`.
    wait_s : a message that is not delivered within this time [s] has failed.
    failures : counts the failed messages by their cause.
    on_error : told when the broker is away.
    idempotent : no message is doubled or out of order; the broker gives it an identity first.

    Returns
    -------
    The producer. Flush it before the program ends.
    """

    def report(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failures[error.str()] += 1

    usual: dict[str, object] = {
        "compression.type": "zstd",
        "linger.ms": 20,
        "queue.buffering.max.messages": 20_000,
        "queue.buffering.max.kbytes": 16_384,
        "message.timeout.ms": max(1000, int(wait_s * 1000)),
    }
    fixed = {
        "enable.idempotence": idempotent,
        "acks": "all",
        "delivery.report.only.error": True,
        "on_delivery": report,
        "error_cb": on_error,
    }
    return make(Producer, usual | settings | fixed)


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
    usual: dict[str, object] = {
        "session.timeout.ms": SESSION_MS,
        "heartbeat.interval.ms": SESSION_MS // 4,
        "fetch.wait.max.ms": 50,
        "topic.metadata.refresh.interval.ms": 10_000,
        "queued.max.messages.kbytes": 2_048,  # some 25,000 messages, which take 0.4 kB each
        # The default, 1 s, leaves us without messages each time after the queue was full.
        "fetch.queue.backoff.ms": 10,
    }
    fixed = {
        "group.id": group_id,
        "enable.auto.commit": False,
        "auto.offset.reset": "error",
        "error_cb": on_error,
    }
    return make(Consumer, usual | settings | fixed)


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
    if not items:
        return []
    committed = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_settling),
        stop=tenacity.stop_after_delay(REQUEST_S),
        wait=tenacity.wait_fixed(0.2),
        reraise=True,
    )(consumer.committed, items, timeout=REQUEST_S)
    for item in committed:
        low, high = consumer.get_watermark_offsets(item, timeout=REQUEST_S)
        committed = None if item.offset == OFFSET_INVALID else item.offset
        result.append(Lag(item.topic, item.partition, committed, low, high))
    return result


def _is_settling(error: BaseException) -> bool:
    """Whether a broker that has just started does not know yet who looks after the group."""
    codes = (
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    )
    return isinstance(error, KafkaException) and error.args[0].code() in codes
