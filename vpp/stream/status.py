"""The state of the stream: messages that wait in each topic, that are stored or dead-lettered."""

from collections import Counter
from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaException, TopicPartition

from vpp.runtime.settings import Config
from vpp.storage.connection import session
from vpp.storage.counts import FLAG, measurement_counts
from vpp.storage.measurements import save_stream_status
from vpp.stream.dead_letters import DLQ_SUFFIX
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
    """One row for each topic that had messages, or a file: what became of them.

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
        if done or count.lost or kind in produced:
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


def status(config: Config, by_partition: bool = False) -> list[dict]:
    """One row for each topic: the messages that the broker has and the group has not stored.

    Each topic's lag and dead letters are also written to the table stream_status, for Grafana.
    Messages are not read, nor rows of large tables, so the cost does not grow with their number.

    Parameters
    ----------
    config : names the servers and topics.
    by_partition : a row for each partition instead.

    Returns
    -------
    topic, partitions (or partition), end, committed (offsets; sums of a topic), lag, and on the
    topic's first row rows_stored, rows_estimated (whether that is an estimate) and dead_letters,
    the messages of its dead-letter topic; None for a topic that the broker does not have.

    Raises
    ------
    StreamError : the broker does not answer.
    """
    found, letters = look(config)
    waiting = _record(config, found, letters)
    with session(config) as conn:
        stored = measurement_counts(conn)
    rows = []
    for kind, topic in topic_names(config).items():
        tail = {
            "rows_stored": stored[kind].rows,
            FLAG: stored[kind].is_estimate,
            "dead_letters": letters[topic],
        }
        items = found[topic]
        if not by_partition:
            known = [item.committed for item in items if item.committed is not None]
            rows.append(
                {
                    "topic": topic,
                    "partitions": len(items),
                    "end": sum(item.high for item in items) if items else None,
                    "committed": sum(known) if known else None,
                    "lag": waiting[topic],
                    **tail,
                }
            )
            continue
        values: list[tuple] = [
            (item.partition, item.high, item.committed, item.unread) for item in items
        ]
        for number, row in enumerate(values or [(None, None, None, None)]):
            named = dict(zip(("partition", "end", "committed", "lag"), row, strict=True))
            rows.append({"topic": topic, **named, **(dict.fromkeys(tail) if number else tail)})
    return rows


def record_status(config: Config) -> None:
    """Write each topic's lag and dead letters to the table stream_status: for page and alerts.

    Parameters
    ----------
    config : names the servers and topics.

    Raises
    ------
    StreamError, DatabaseError : a server does not answer.
    """
    _record(config, *look(config))


def _record(
    config: Config, found: Mapping[str, Sequence[Lag]], letters: Mapping[str, int]
) -> dict[str, int | None]:
    """Write lag and dead letters of each topic; returns the lags, None where there is no topic."""
    waiting = {
        topic: sum(item.unread for item in items) if items else None
        for topic, items in found.items()
    }
    with session(config) as conn:
        save_stream_status(conn, {topic: (lag, letters[topic]) for topic, lag in waiting.items()})
    return waiting


def look(config: Config) -> tuple[dict[str, list[Lag]], Counter[str]]:
    """How far the group has come, and the dead letters, as the ends of partitions tell it.

    Returns
    -------
    Topic -> its partitions, none where it is not there; and topic -> messages of its dead-letter
    topic.

    Raises
    ------
    StreamError : the broker does not answer.
    """
    names, letters = topic_names(config).values(), Counter[str]()
    consumer = new_consumer(kafka_settings(config), config.kafka.group_id)
    try:
        known = consumer.list_topics(timeout=REQUEST_S).topics
        partitions = {name: sorted(known[name].partitions) for name in names if name in known}
        found = lags(consumer, partitions)
        for name in names:
            if (letter_topic := name + DLQ_SUFFIX) in known:
                for number in known[letter_topic].partitions:
                    item = TopicPartition(letter_topic, number)
                    low, high = consumer.get_watermark_offsets(item, timeout=REQUEST_S)
                    letters[name] += high - low
    except KafkaException as error:
        raise StreamError(f"Kafka: {explained(error)}") from None
    finally:
        close(consumer)
    return {name: [item for item in found if item.topic == name] for name in names}, letters
