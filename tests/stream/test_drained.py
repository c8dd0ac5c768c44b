"""When a bounded sink ends: at the end of every partition, or where nothing comes any more."""

import logging
import time
import uuid

import pytest
from confluent_kafka import Producer
from small_stream import SOURCES, committed, drain, encoded, iso, power, read, send

from vpp.stream import kafka, sink
from vpp.stream.producer import has_little_room


@pytest.fixture
def full_broker(make_config):
    """Skips where the broker is librdkafka's own, which marks no transactions in its log."""
    probe = kafka.new_consumer(kafka.kafka_settings(make_config()), "probe")
    is_small = has_little_room(probe)
    probe.close()
    if is_small:
        pytest.skip("needs Apache Kafka: name it in VPP_TEST_KAFKA")


def transact(config, lots, ends_well):
    """Messages of solar-1 in one transaction each lot, which is completed or aborted."""
    settings = {"transactional.id": uuid.uuid4().hex}
    client, topic = Producer(kafka.kafka_settings(config) | settings), kafka.topic_names(config)
    client.init_transactions(20)
    for values in lots:
        client.begin_transaction()
        for value in values:
            client.produce(topic["solar"], encoded(value), "solar-1", partition=0)
        client.flush(20)  # else they would not be sent before they are aborted
        if ends_well:
            client.commit_transaction(20)
        else:
            client.abort_transaction(20)


def test_a_log_that_ends_in_marks_of_transactions_is_drained(sink_config, full_broker):
    config = sink_config()
    send(config, "solar", [power(iso(0, 15), 1)])
    transact(config, [[power(iso(n, 15), n)] for n in range(1, 4)], ends_well=True)
    transact(config, [[power(iso(9, 15), 9)], [power(iso(0, 15), 99)]], ends_well=False)
    assert drain(config)["solar"] == sink.Count(4, 0, 0, 0)
    assert list(read(config, SOURCES[0])) == [1, 1, 2, 3]
    # 1 message, 3 with a mark each, 2 aborted ones with a mark each
    assert max(committed(config, "solar")) == 1 + 2 * 3 + 2 * 2
    assert drain(config) == {}


def test_a_bounded_sink_that_gets_nothing_names_the_partition(sink_config, monkeypatch, caplog):
    """Another member of the group holds the partitions and stores nothing."""
    monkeypatch.setattr(sink, "JOIN_S", 1.0)
    config = sink_config(wait_s=4.0)
    topic = kafka.topic_names(config)["solar"]
    send(config, "solar", [power(iso(n, 15), n) for n in range(3)])
    idle = kafka.new_consumer(kafka.kafka_settings(config), config.kafka.group_id)
    try:
        idle.subscribe(list(kafka.topic_names(config).values()))
        while not idle.assignment():
            idle.poll(0.1)
        member = sink.Sink(config, until_drained=True)
        member.positions.join = lambda *given: join_idly(member.positions, *given)
        began = time.monotonic()
        with caplog.at_level(logging.ERROR), pytest.raises(kafka.StreamError) as caught:
            sink.run_sink(member)
        assert time.monotonic() - began < 30
    finally:
        idle.close()
    assert f"no message came for 4 s; {topic} [0] is stored up to offset 0 and ends at 3" in str(
        caught.value
    )
    monkeypatch.undo()
    assert drain(config)["solar"].stored == 3  # and the next one, when it has gone, stores all


def join_idly(positions, settings, topics):
    """A member to which no partition is given."""
    positions.settings, positions.topics = settings, topics
    positions.consumer = kafka.new_consumer(settings, positions.group_id)
    positions.consumer.subscribe([topics[0] + "-none"])
