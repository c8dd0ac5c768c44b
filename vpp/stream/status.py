"""The state of the stream: what waits in each topic, what is stored, what was dead-lettered."""

from collections import Counter

from confluent_kafka import KafkaException

from vpp.runtime.config import Config
from vpp.storage.connection import session
from vpp.storage.measurements import count_measurements, save_stream_status
from vpp.stream.dead_letters import read_dead_letters
from vpp.stream.kafka import REQUEST_S, StreamError, kafka_settings, lags, new_consumer, topic_names
from vpp.stream.sink import Count


def count_rows(
    config: Config, counts: dict[str, Count], produced: dict[str, int], seconds: float
) -> list[dict]:
    """What became of the messages of each topic that had some."""
    rows = []
    for kind, topic in topic_names(config).items():
        count = counts.get(kind, Count())
        done = count.stored + count.unchanged + count.dead_lettered
        if done or count.lost or produced.get(kind):
            row = {
                "topic": topic,
                "produced": produced.get(kind),
                "stored": count.stored,
                "unchanged": count.unchanged,
            }
            rows.append(
                row
                | {
                    "dead_lettered": count.dead_lettered,
                    "lost": count.lost,
                    "rows_per_s": done / seconds,
                }
            )
    return rows


def status(config: Config) -> list[dict]:
    """One row a partition: what the broker has and the group has not stored; with the topic's rows
    and dead letters on its first.

    Each topic's lag and dead letters are also written to the table stream_status, for Grafana.
    """
    settings, topics = kafka_settings(config), topic_names(config)
    consumer = new_consumer(settings, config.kafka.group_id)
    try:
        known = consumer.list_topics(timeout=REQUEST_S).topics
        found = lags(
            consumer,
            {topic: sorted(known[topic].partitions) for topic in topics.values() if topic in known},
        )
    except KafkaException as error:
        raise StreamError(
            f"Kafka: {error.args[0].str()}; start the broker (make up, or bootstrap_servers = "
            "embedded)"
        ) from None
    finally:
        consumer.close()
    letters = Counter(letter.topic for letter in read_dead_letters(config, settings))
    with session(config) as conn:
        stored = count_measurements(conn)
        waiting = {
            topic: [item.unread for item in found if item.topic == topic]
            for topic in topics.values()
        }
        save_stream_status(
            conn,
            {
                topic: (sum(unread) if unread else None, letters[topic])
                for topic, unread in waiting.items()
            },
        )
    rows = []
    for kind, topic in topics.items():
        of_topic = [item for item in found if item.topic == topic]
        for item in of_topic or [None]:
            first = not of_topic or item is of_topic[0]
            row = {
                "topic": topic,
                "partition": item and item.partition,
                "end": item and item.high,
                "committed": item and item.committed,
            }
            row |= {"lag": item and item.unread, "rows_stored": stored[kind] if first else None}
            rows.append(row | {"dead_letters": letters[topic] if first else None})
    return rows
