"""Where a sink reads on: after a loss, in a topic made anew, beside another member."""

import dataclasses
import json
import logging
import math
import time
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, Producer
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


def test_offsets_move_on_only_within_their_assignment():
    positions, place = Positions("group", lambda topic, number: None), ("solar-topic", 1)
    positions.offsets[place] = 5
    positions.keep(0, {place: 9})
    positions.keep(0, {place: 7})
    assert positions.offsets == {place: 9}
    positions.keep(1, {place: 20})
    positions.leave()
    assert (positions.generation, positions.offsets) == (1, {})
    positions.keep(0, {place: 20})  # of a batch that was read before
    assert positions.offsets == {}


def test_only_a_member_has_a_consumer():
    positions = Positions("group-7", lambda topic, number: None)
    with pytest.raises(kafka.StreamError, match="no member of the group group-7"):
        positions.member.poll(0)
    positions.hold()
    positions.resume()  # neither needs one
    assert not positions.held


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


@pytest.mark.parametrize(
    ("error", "is_away"),
    [
        (KafkaError(KafkaError._ALL_BROKERS_DOWN), True),
        (KafkaError(KafkaError._FATAL, "fenced", fatal=True), True),
        (KafkaError(KafkaError._TRANSPORT), False),  # librdkafka tries again by itself
    ],
)
def test_the_broker_is_away_when_none_of_it_answers(error, is_away):
    positions = Positions("group", lambda topic, number: None)
    positions.note(None, error)
    assert positions.broker_error is (error if is_away else None)
    assert positions.notices == []


def test_a_loss_is_kept_in_mind_and_does_not_look_like_an_outage():
    positions = Positions("group", lambda topic, number: None)
    message = object()  # of which only the place is read, later
    positions.note(message, KafkaError(KafkaError._AUTO_OFFSET_RESET))
    assert positions.notices == [message] and positions.broker_error is None


def test_unread_is_what_lies_before_an_end_or_was_dropped(monkeypatch):
    """Of six partitions, three of which are ours: where each is, and where the broker begins."""
    ours = {0: 5, 1: 5, 2: 9}
    known = {  # number -> committed, low, high
        0: (2, 0, 5),  # ours counts, and is at the end
        1: (5, 9, 9),  # the broker dropped 5 to 8 since we read
        2: (9, 3, 12),  # 9 to 11 wait
        3: (7, 9, 9),  # its owner will count what it lost
        4: (None, 0, 4),  # nobody has read it
        5: (8, 0, 3),  # made anew, as its owner will find out
    }
    monkeypatch.setattr("vpp.stream.positions.new_consumer", lambda *given: observer)
    monkeypatch.setattr(
        "vpp.stream.positions.lags",
        lambda observer, partitions: [
            kafka.Lag(topic, number, *known[number])
            for topic, numbers in partitions.items()
            for number in numbers
        ],
    )
    there = SimpleNamespace(partitions=dict.fromkeys(known))
    observer = SimpleNamespace(
        list_topics=lambda timeout: SimpleNamespace(topics={"a": there}), close=lambda: None
    )
    positions = Positions("group", lambda topic, number: None)
    positions.topics = ["a", "b"]
    positions.offsets = {("a", number): offset for number, offset in ours.items()}
    assert positions.unread() == {
        ("a", 1): (5, 9),
        ("a", 2): (9, 12),
        ("a", 4): (0, 4),
        ("a", 5): (8, 3),
    }


def test_a_loss_is_counted_once_however_often_it_is_met():
    """A member that joins anew before its next commit meets it again."""
    told = []
    positions, place = Positions("group", lambda *given: told.append(given)), ("a", 1)
    assert positions._start(place, 3, 7, 9) == 7
    assert positions._start(place, 3, 7, 9) == 7  # the same
    assert positions._start(place, 3, 10, 12) == 10  # and three more
    assert positions._start(place, 8, 8, 12) == 8  # none
    assert positions._start(("a", 2), 0, 2, 2) == 2
    assert positions._start(place, 50, 0, 4) == 0  # made anew
    assert positions._start(place, 0, 1, 4) == 1
    assert told == [("a", 4), ("a", 3), ("a", 2), ("a", 1)]
