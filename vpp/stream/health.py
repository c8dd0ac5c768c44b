"""Whether the sink does its work: for health checks, which read an exit code.

    python communication.py status --health

A sink that waits still says so to its database every few seconds (`Store.beat`). So the sessions of
the database tell a live one, whatever the broker is and wherever the sink runs; Apache Kafka also
tells the members of its group. Nothing is written, made or started here.
"""

import dataclasses
import time
from concurrent.futures import Future
from contextlib import closing
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from vpp.runtime.servers import running
from vpp.runtime.settings import EMBEDDED, Config
from vpp.storage.connection import log_in
from vpp.storage.errors import explained as explained_by_database
from vpp.storage.rows import one_row
from vpp.stream.kafka import StreamError, close, kafka_settings, lags, new_consumer, topic_names
from vpp.stream.refusals import explained
from vpp.stream.topics import is_embedded
from vpp.stream.writer import BEAT_S, session_name

SILENT_S = 3 * BEAT_S  # a sink that says nothing for so long hangs
PROGRESS_S = 5.0  # messages that wait are stored within this time, or a statement is at work
ASK_S = 3.0
ALIVE = """
    SELECT count(*), count(*) FILTER (
        WHERE state = 'active' OR state_change > clock_timestamp() - make_interval(secs => %s)
    ), count(*) FILTER (WHERE state = 'active')
    FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s"""


def health(config: Config) -> dict[str, Any]:
    """Look at the sink and its servers.

    Returns
    -------
    healthy (true), sinks (at work), lag (messages that wait) and ms (that the look took).

    Raises
    ------
    StreamError : it is unhealthy, and why.
    """
    began = time.monotonic()
    config = _as_it_runs(config)
    sinks, is_busy = _look_at_sinks(config)
    members, lag = _look_at_group(config, is_busy)
    if members == 0:
        raise StreamError(
            f"no member of the group {config.kafka.group_id} reads the topics; run python "
            "communication.py consume"
        )
    return {
        "healthy": True,
        "sinks": sinks,
        "lag": lag,
        "ms": round((time.monotonic() - began) * 1000),
    }


def _as_it_runs(config: Config) -> Config:
    """The configuration with the addresses of the embedded servers, which are not started."""
    if EMBEDDED not in (config.database.url, config.kafka.bootstrap_servers):
        return config
    own = running(config.paths.state_dir)
    if own is None:
        raise StreamError("the embedded servers are stopped; run python communication.py consume")
    database, kafka = config.database, config.kafka
    if database.url == EMBEDDED:
        database = dataclasses.replace(database, url=own.database_url)
    if kafka.bootstrap_servers == EMBEDDED:
        kafka = dataclasses.replace(kafka, bootstrap_servers=own.bootstrap_servers)
    return dataclasses.replace(config, database=database, kafka=kafka)


def _look_at_sinks(config: Config) -> tuple[int, bool]:
    """The number of live sinks, and whether one is at a statement of the database."""
    name = session_name(config)
    # closing: the connection itself would only end its transaction
    with explained_by_database("pg_stat_activity"), closing(log_in(config.database.url, 0)) as conn:
        conn.set_session(readonly=True)
        with conn.cursor() as cursor:
            cursor.execute(ALIVE, (SILENT_S, name))
            known, alive, busy = one_row(cursor)
    if not known:
        raise StreamError(
            f"no sink of the group {config.kafka.group_id} is connected to the database; run "
            "python communication.py consume"
        )
    if not alive:
        raise StreamError(
            f"the sink has been silent for more than {SILENT_S:g} s: it hangs, or waits for Kafka; "
            "read its log, and start it again"
        )
    return alive, bool(busy)


def _look_at_group(config: Config, is_busy: bool) -> tuple[int | None, int]:
    """Members of the group, None where the broker does not tell; and the messages that wait."""
    settings = kafka_settings(config)
    observer = new_consumer(settings, config.kafka.group_id)
    try:
        known = observer.list_topics(timeout=ASK_S)
        names = [name for name in topic_names(config).values() if name in known.topics]
        partitions = {name: sorted(known.topics[name].partitions) for name in names}
        members = None if is_embedded(known) else _members(settings, config.kafka.group_id)
        until, first = time.monotonic() + PROGRESS_S, None
        while True:
            found = lags(observer, partitions)
            lag = sum(item.unread for item in found)
            done = sum(item.committed or 0 for item in found)
            if not lag or is_busy or (first is not None and done > first) or members == 0:
                return members, lag
            first = done if first is None else first
            if time.monotonic() > until:
                where = next(item for item in found if item.unread)
                raise StreamError(
                    f"{lag} messages wait and none was stored for {PROGRESS_S:g} s, the first at "
                    f"{where.topic} [{where.partition}], offset {where.committed or where.low}; "
                    "read the sink's log"
                )
            time.sleep(0.1)
    except KafkaException as error:
        raise StreamError(f"Kafka: {explained(error)}") from None
    finally:
        close(observer)


def _members(settings: dict[str, object], group_id: str) -> int:
    client = AdminClient(settings)
    asked = client.describe_consumer_groups([group_id], request_timeout=ASK_S)
    described: dict[str, Future] = asked
    return len(described[group_id].result().members)
