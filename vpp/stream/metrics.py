"""Metrics of a sink for Prometheus, read at `http://HOST:PORT/metrics`.

    [kafka]
    metrics_port = 9108

They are those of this sink alone: of the partitions that it has, and since it began. The port is
off by default and open to this machine only, unless `metrics_host` says otherwise.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaException, TopicPartition

from vpp.runtime.errors import ConfigError
from vpp.stream.kafka import REQUEST_S, close, kafka_settings, new_consumer

if TYPE_CHECKING:
    from vpp.stream.sink import Sink


class SinkMetrics:
    """Collects the metrics of a sink whenever they are asked for.

    Parameters
    ----------
    sink : the sink.
    """

    def __init__(self, sink: "Sink"):
        self.sink = sink

    def collect(self) -> Iterator[Any]:
        """The metrics as of now, as prometheus_client takes them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        sink = self.sink
        rows = CounterMetricFamily(
            "vpp_sink_messages", "Messages by how they ended.", labels=["topic", "outcome"]
        )
        refused = CounterMetricFamily(
            "vpp_sink_refused", "Messages refused, by reason.", labels=["topic", "reason"]
        )
        behind = GaugeMetricFamily(
            "vpp_sink_seconds_behind",
            "Age of the newest stored message while others wait, else 0 [s].",
            labels=["topic"],
        )
        lag = GaugeMetricFamily(
            "vpp_sink_lag", "Messages that wait in this sink's partitions.", labels=["topic"]
        )
        waiting = self._waiting()
        for kind, topic in sink.topics.items():
            count = sink.counts.get(kind)
            for outcome in ("stored", "unchanged", "dead_lettered", "lost"):
                rows.add_metric([topic, outcome], getattr(count, outcome, 0))
            for reason, number in list(count.reasons.items() if count else ()):
                refused.add_metric([topic, reason], number)
            lag.add_metric([topic], waiting.get(topic, 0))
            newest = sink.newest_ms.get(kind)
            is_behind = waiting.get(topic, 0) > 0
            age_s = time.time() - newest / 1000 if is_behind and newest is not None else 0
            behind.add_metric([topic], age_s)
        yield from (rows, refused, lag, behind)
        member = GaugeMetricFamily("vpp_sink_partitions", "Partitions that this sink has.")
        member.add_metric([], len(sink.positions.offsets))
        yield member

    def _waiting(self) -> dict[str, int]:
        """Topic -> messages between our place and the end.

        An observer of its own asks for the ends: the sink's consumer is in use by another thread.
        """
        found: dict[str, int] = {}
        places, config = dict(self.sink.positions.offsets), self.sink.config
        if not places:
            return found
        observer = new_consumer(kafka_settings(config), config.kafka.group_id)
        try:
            for (topic, number), offset in places.items():
                item = TopicPartition(topic, number)
                _, high = observer.get_watermark_offsets(item, timeout=REQUEST_S)
                found[topic] = found.get(topic, 0) + max(0, high - offset)
        except KafkaException:
            return {}  # the broker is away: nothing is known of what waits
        finally:
            close(observer)
        return found


@contextmanager
def served(sink: "Sink") -> Iterator[int | None]:
    """Serve the metrics of a sink for one block, where `metrics_port` is set.

    Parameters
    ----------
    sink : the sink.

    Yields
    ------
    The port; None where it is off.

    Raises
    ------
    ConfigError : the port cannot be had.
    """
    kafka = sink.config.kafka
    if not kafka.metrics_port:
        yield None
        return
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(SinkMetrics(sink))
    try:
        server, thread = start_http_server(kafka.metrics_port, kafka.metrics_host, registry)
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"[kafka] metrics_port = {kafka.metrics_port} of {kafka.metrics_host} cannot be had: "
            f"{getattr(error, 'strerror', None) or error}; choose another one, or 0 for none"
        ) from None
    try:
        yield kafka.metrics_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
