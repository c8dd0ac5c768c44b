"""Where a sink reads on: after a loss, in a topic made anew, beside another member."""

import dataclasses
import json
import logging
import math
import time

from confluent_kafka import Producer
from small_stream import (
    SOURCES,
    commit,
    committed,
    drain,
    encoded,
    iso,
    power,
    read,
    register,
    running,
    send,
    wait_until,
    write_csvs,
    write_loads,
)

import db
from vpp.site.kinds import KINDS
from vpp.stream import kafka, producer, sink
from vpp.stream.positions import Positions


def test_messages_dropped_by_the_broker_are_counted(make_config, little_room, caplog):
    config = make_config()
    register(config)
    noise = [
        power(iso(n % 5000, 15), n % 100) | {"pad": f"{math.sin(n) * 1e16:.0f}" * 12}
        for n in range(40_000)
    ]
    # uncompressed, 300 bytes each: 12 MB into one partition
    client = Producer(kafka.kafka_settings(config))
    topic = kafka.topic_names(config)["solar"]
    for value in noise:
        kafka.send(client, topic, encoded(value), "solar-1")
    assert client.flush(30) == 0
    with caplog.at_level(logging.ERROR):
        counts = drain(config)["solar"]
    assert counts.lost > 0 and counts.lost + counts.stored + counts.unchanged == 40_000
    assert f"the broker dropped {counts.lost} messages before they were read" in caplog.text


def test_two_sinks_share_the_work(make_config):
    config = make_config(kafka={"batch_rows": 500, "partitions": 4})  # some for each
    loads = [dataclasses.replace(SOURCES[2], source_id=f"load-{n}") for n in range(1, 30)]
    register(config, [*SOURCES, *loads[1:]])
    write_csvs(config, 100)
    write_loads(config, 200, sources=[load.source_id for load in loads])
    members = [sink.Sink(config, until_drained=True) for _ in range(2)]
    with running(*members):
        # both have joined and each has some of the partitions
        wait_until(lambda: all(member.positions.offsets for member in members))
        producer.produce(config, list(KINDS))
    stored = [member.counts["load"].stored + member.counts["load"].unchanged for member in members]
    assert sum(stored) >= 5800 and min(stored) > 0
    with db.session(config) as conn:
        assert db.count_measurements(conn)["load"] == 5800


def test_a_topic_made_anew_is_read_from_its_beginning(sink_config, caplog):
    config = sink_config()
    send(config, "solar", [power(iso(n, 15), n) for n in range(10)])
    commit(config, "solar", 500)  # as the topic before it had
    member = sink.Sink(config, until_drained=True)
    with caplog.at_level(logging.WARNING), running(member, seconds=20):
        pass
    assert (member.counts["solar"].stored, member.counts["solar"].lost) == (10, 0)
    assert list(read(config, SOURCES[0])) == list(range(10))
    *empty, full = sorted(committed(config, "solar"))
    assert set(empty) <= {0} and full == 10
    assert "was made anew (it ends at 10): reading it from its beginning" in caplog.text


def test_a_member_that_loses_its_partitions_at_work_goes_on(sink_config):
    """One sink has a backlog in small batches when a second joins: all is stored, both end well."""
    config = sink_config(batch_rows=20)
    loads = [dataclasses.replace(SOURCES[2], source_id=f"load-{n}") for n in range(2, 12)]
    register(config, [*SOURCES, *loads])
    write_loads(config, 600, sources=[load.source_id for load in loads])
    producer.produce(config, ["load"])
    first, second = (sink.Sink(config, until_drained=True) for _ in range(2))
    with running(first):
        wait_until(lambda: first.counts["load"].stored > 0)
        with running(second):
            pass
    counts = [member.counts["load"] for member in (first, second)]
    assert sum(count.stored for count in counts) == 6000
    assert sum(count.lost + count.dead_lettered for count in counts) == 0
    with db.session(config) as conn:
        assert db.count_measurements(conn)["load"] == 6000


def test_a_member_that_is_held_stays_and_misses_no_message(make_config):
    """Messages wait at the client when it is held, and more come meanwhile."""
    config = make_config()
    send(config, "solar", [power(iso(n, 15), n) for n in range(40)])
    positions = Positions("held", lambda topic, number: None)
    positions.join(kafka.kafka_settings(config), [kafka.topic_names(config)["solar"]])
    read_on = []

    def read_some():
        messages = [item for item in positions.member.consume(7, 5) if not item.error()]
        read_on.extend(json.loads(message.value())["power_kw"] for message in messages)

    try:
        read_some()
        generation = positions.generation
        positions.hold()
        send(config, "solar", [power(iso(n, 15), n) for n in range(40, 50)])
        until = time.monotonic() + 1
        while time.monotonic() < until:
            positions.hold()
        assert positions.held and positions.member.consume(1, 0.5) == []
        positions.resume()
        assert not positions.held
        while len(read_on) < 50 and time.monotonic() < until + 30:
            read_some()
        assert positions.generation == generation  # it was a member all the time
    finally:
        positions.leave()
    assert read_on == list(range(50))
