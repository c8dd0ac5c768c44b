"""A sink's metrics, as Prometheus reads them."""

import dataclasses
import socket
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from small_stream import iso, power, running, send, wait_until

from vpp.runtime.errors import ConfigError
from vpp.stream import kafka, metrics, sink


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def scrape(port):
    """(name, labels in the order of their names) -> value."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        text = page.read().decode()
    return {
        (item.name, *(item.labels[name] for name in sorted(item.labels))): item.value
        for family in text_string_to_metric_families(text)
        for item in family.samples
    }


def test_the_metrics_of_a_sink_count_its_messages(sink_config):
    config = sink_config(metrics_port=free_port())
    topic, port = kafka.topic_names(config)["solar"], config.kafka.metrics_port
    member = sink.Sink(config)
    with metrics.served(member) as served_port, running(member):
        assert served_port == port
        send(config, "solar", [power(iso(n, 15), n) for n in range(10)] * 2)
        send(config, "solar", [b"broken", b"{", power(iso(0, 15), 1e6)])
        wait_until(lambda: member.counts["solar"].dead_lettered == 3)
        found = scrape(port)
        assert found["vpp_sink_messages_total", "stored", topic] == 10
        assert found["vpp_sink_messages_total", "unchanged", topic] == 10
        assert found["vpp_sink_messages_total", "dead_lettered", topic] == 3
        assert found["vpp_sink_messages_total", "lost", topic] == 0
        assert found["vpp_sink_refused_total", "not JSON", topic] == 2
        assert found["vpp_sink_refused_total", "out of bounds", topic] == 1
        assert found["vpp_sink_partitions",] > 6
        wait_until(lambda: scrape(port)["vpp_sink_lag", topic] == 0)
        assert scrape(port)["vpp_sink_seconds_behind", topic] == 0
    with pytest.raises(OSError):
        scrape(port)


def test_a_sink_is_behind_while_messages_wait(sink_config):
    config = sink_config()
    topic = kafka.topic_names(config)["solar"]
    member = sink.Sink(config)
    with running(member):
        send(config, "solar", [power(iso(n, 15), n) for n in range(10)])
        wait_until(lambda: member.counts["solar"].stored == 10)
    member.positions.join(kafka.kafka_settings(config), list(member.topics.values()))
    try:
        wait_until(lambda: (member.positions.member.poll(0.1), member.positions.offsets)[1])
        [place] = [place for place, offset in member.positions.offsets.items() if offset == 10]
        member.positions.offsets[place] = 7  # as if the others waited
        found = {family.name: family for family in metrics.SinkMetrics(member).collect()}
        values = {item.labels["topic"]: item.value for item in found["vpp_sink_lag"].samples}
        assert values[topic] == 3
        behind = {
            item.labels["topic"]: item.value for item in found["vpp_sink_seconds_behind"].samples
        }
        assert 0 < behind[topic] < 600
    finally:
        member.positions.leave()


def test_the_port_is_off_by_default_and_one_that_is_taken_is_named(make_config):
    config = make_config()
    with metrics.served(sink.Sink(config)) as port:
        assert port is None
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        busy = dataclasses.replace(config.kafka, metrics_port=port)
        with (
            pytest.raises(
                ConfigError, match=rf"metrics_port = {port} of 127\.0\.0\.1 cannot be had"
            ),
            metrics.served(sink.Sink(dataclasses.replace(config, kafka=busy))),
        ):
            pass
