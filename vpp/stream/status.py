"""The state of the stream: messages that wait in each topic, that are stored or dead-lettered."""

from collections import Counter
from collections.abc import Mapping

from confluent_kafka import KafkaException

from vpp.runtime.settings import Config
from vpp.storage.connection import session
from vpp.storage.measurements import count_measurements, save_stream_status
from vpp.stream.dead_letters import read_dead_letters
from vpp.stream.kafka import (
    REQUEST_S,
    Lag,
    StreamError,
    close,
    kafka_settings,
    lags,
    new_consumer,
    topic_names,
)
from vpp.stream.refusals import explained
from vpp.stream.sink import Count


def outcome_rows(
    config: Config, counts: Mapping[str, Count], produced: Mapping[str, int], seconds: float
) -> list[dict]:
    """One row for each topic that had messages: what became of them.

    Parameters
    ----------
    config : names the topics.
    counts : kind -> what became of its messages.
    produced : kind -> how many were sent by this command.
    seconds : how long it took [s].

    Returns
    -------
    topic, produced, stored (inserted or replaced), unchanged (as stored or older), dead_lettered,
    lost (dropped by the broker before they were read) and rows_per_s.
    """
    rows = []
    for kind, topic in topic_names(config).items():
        count = counts.get(kind, Count())
        done = count.stored + count.unchanged + count.dead_lettered
        if done or count.lost or produced.get(kind):
            rows.append(
                {
                    "topic": topic,
                    "produced": produced.get(kind),
                    "stored": count.stored,
                    "unchanged": count.unchanged,
                    "dead_lettered": count.dead_lettered,
                    "lost": count.lost,
                    "rows_per_s": done / seconds,
                }
            )
    return rows


def status(config: Config) -> list[dict]:
    """One row for each partition: the messages that the broker has and the group has not stored.

    Each topic's lag and dead letters are also written to the table stream_status, for Grafana.

    Returns
    -------
    topic, partition, end, committed (offsets), lag, and on the topic's first row rows_stored and
    dead_letters; None for a topic that the broker does not have.

    Raises
    ------
    StreamError : the broker does not answer.
    """
    settings, topics = kafka_settings(config), topic_names(config)
    found = _lags(config, settings)
    letters = Counter(letter.topic for letter in read_dead_letters(config, settings))
    waiting = {
        topic: sum(item.unread for item in items) if items else None
        for topic, items in found.items()
    }
    with session(config) as conn:
        stored = count_measurements(conn)
        save_stream_status(conn, {topic: (lag, letters[topic]) for topic, lag in waiting.items()})
    rows = []
    for kind, topic in topics.items():
        partitions: list[Lag | None] = [*found[topic]] or [None]
        for number, item in enumerate(partitions):
            rows.append(
                {
                    "topic": topic,
                    "partition": item and item.partition,
                    "end": item and item.high,
                    "committed": item and item.committed,
                    "lag": item and item.unread,
                    "rows_stored": None if number else stored[kind],
                    "dead_letters": None if number else letters[topic],
                }
            )
    return rows


def _lags(config: Config, settings: dict[str, object]) -> dict[str, list[Lag]]:
    """Topic -> how far the group has come in each of its partitions; none where it is not there."""
    names = topic_names(config).values()
    consumer = new_consumer(settings, config.kafka.group_id)
    try:
        known = consumer.list_topics(timeout=REQUEST_S).topics
        partitions = {name: sorted(known[name].partitions) for name in names if name in known}
        found = lags(consumer, partitions)
    except KafkaException as error:
        raise StreamError(f"Kafka: {explained(error)}") from None
    finally:
        close(consumer)
    return {name: [item for item in found if item.topic == name] for name in names}
