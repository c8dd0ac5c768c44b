"""Rows of the data folder that were sent before: they are stored, or wait in Kafka.

    python -c "from vpp.operation.sent_before import leave_out_sent; help(leave_out_sent)"

Sent again they would undo corrections that came after them. Times are UTC.
"""

import time
from collections.abc import Iterable

import pandas as pd
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from vpp.runtime.settings import Config
from vpp.storage.connection import session
from vpp.storage.measurements import read_keys
from vpp.stream.feed import Feed
from vpp.stream.kafka import (
    END_IS_TOLD,
    REQUEST_S,
    StreamError,
    close,
    kafka_settings,
    lags,
    new_consumer,
    origin,
    topic_names,
)
from vpp.stream.refusals import explained

AHEAD = pd.Timedelta(days=7)  # prices and forecasts are of times so far ahead of the clock
BEHIND = pd.Timedelta(days=2)  # measurements are of times so far behind it
READ_S = 40.0  # reading what waits takes no longer than that


def leave_out_sent(config: Config, feed: Feed, until: pd.Timestamp) -> None:
    """Leave out of a feed the rows up to a time that were sent before.

    First it reads what waits in Kafka, then the keys of the rows that are stored: a row that is
    stored meanwhile is in one of both.

    Parameters
    ----------
    config : names the servers.
    feed : the rows of the data folder.
    until : the time [UTC].

    Raises
    ------
    VppError : a server does not answer.
    """
    if feed.next_due() > until:
        return
    waiting = _waiting(config, feed.kinds)
    with session(config) as conn:
        span = (feed.next_due() - BEHIND, until + AHEAD)
        stored = {kind: read_keys(conn, kind, *span) for kind in feed.kinds}
    feed.leave_out(until, stored, waiting)


def _waiting(config: Config, kinds: Iterable[str]) -> dict[str, set[tuple[str, bytes]]]:
    """Kind -> key and value of each message that the group has not stored."""
    topics = {topic_names(config)[kind]: kind for kind in kinds}
    found: dict[str, set[tuple[str, bytes]]] = {kind: set() for kind in topics.values()}
    consumer = new_consumer(kafka_settings(config) | END_IS_TOLD, config.kafka.group_id)
    try:
        known = consumer.list_topics(timeout=REQUEST_S).topics
        places = {name: sorted(known[name].partitions) for name in topics if name in known}
        unread = [item for item in lags(consumer, places) if item.unread]
        starts = [
            TopicPartition(item.topic, item.partition, max(item.low, item.committed or 0))
            for item in unread
        ]
        consumer.assign(starts)
        ends = {(item.topic, item.partition): item.high for item in unread}
        deadline = time.monotonic() + READ_S
        while ends:
            if time.monotonic() > deadline:
                raise StreamError(f"Kafka: what waits there was not read within {READ_S:g} s")
            for message in consumer.consume(2000, 0.5):
                topic, number, offset = origin(message)
                error = message.error()
                if error is None:
                    key = (message.key() or b"").decode("utf-8", "replace")
                    found[topics[topic]].add((key, message.value() or b""))
                    if offset + 1 >= ends.get((topic, number), 0):
                        ends.pop((topic, number), None)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ends.pop((topic, number), None)
                else:  # such as dropped by the broker meanwhile: from the beginning
                    raise KafkaException(error)
    except KafkaException as error:
        raise StreamError(f"Kafka: {explained(error)}") from None
    finally:
        close(consumer)
    return found
