"""No record, batch or letter blocks a topic: it is counted, and all others are stored."""

import logging
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, Producer
from small_stream import (
    SOURCES,
    committed,
    drain,
    encoded,
    iso,
    make_topic,
    power,
    read,
    send,
    send_batch,
)

import communication
from vpp.stream import dead_letters, kafka, unreadable
from vpp.stream.sink import Count

DEEP = b'{"source_id":"solar-1","more":' + b"[" * 1100 + b"]" * 1100 + b"}"


def test_a_record_nested_deep_is_a_dead_letter_like_any_other(sink_config):
    config = sink_config()
    send(config, "solar", [power(iso(0, 15), 1), DEEP, power(iso(1, 15), 2)])
    assert drain(config)["solar"] == Count(2, 0, 1, 0)
    (letter,) = communication.list_dead_letters(config)
    assert (letter["offset"], letter["error"]) == (
        1,
        "not JSON that can be read: it is nested too deep",
    )


def test_a_batch_that_cannot_be_inflated_is_skipped_and_counted(sink_config, caplog):
    """Two of them, with one good message between, of which none is passed over."""
    config = sink_config()
    padded = encoded(power(iso(0, 15), 1) | {"pad": "x" * 1_000_000})
    send(config, "solar", [power(iso(0, 15), 1), power(iso(1, 15), 2)])
    send_batch(config, kafka.topic_names(config)["solar"], padded, 90)
    send(config, "solar", [power(iso(2, 15), 3)])
    send_batch(config, kafka.topic_names(config)["solar"], padded, 70)
    send(config, "solar", [power(iso(n, 15), n) for n in range(3, 6)])
    with caplog.at_level(logging.ERROR):
        counts = drain(config)["solar"]
    assert (counts.stored, counts.lost) == (6, 160)
    assert list(read(config, SOURCES[0])) == [1, 2, 3, 3, 4, 5]
    assert max(committed(config, "solar")) == 166
    topic = kafka.topic_names(config)["solar"]
    lines = [record.message for record in caplog.records]
    assert [line.partition(":")[0] for line in lines] == [
        f"{topic} [0]",
        f"{topic} [0]",
    ], lines
    assert "messages 2 to 91 cannot be read and are skipped" in lines[0]
    assert "messages 93 to 162 cannot be read and are skipped" in lines[1]


def test_a_batch_that_cannot_be_inflated_may_be_the_first_of_its_partition(sink_config):
    config = sink_config()
    padded = encoded(power(iso(0, 15), 1) | {"pad": "x" * 1_000_000})
    send_batch(config, kafka.topic_names(config)["solar"], padded, 90)
    send(config, "solar", [power(iso(0, 15), 1)])
    counts = drain(config)["solar"]
    assert (counts.stored, counts.lost) == (1, 90)


@pytest.mark.parametrize("within", [0, 1, 44, 88, 89])
def test_the_end_of_an_unreadable_batch_is_found_from_anywhere_within(make_config, within):
    config = make_config()
    send(config, "solar", [b"a"])
    send_batch(config, kafka.topic_names(config)["solar"], b"x" * 1_000_000, 90)
    send(config, "solar", [b"b"])
    settings, topic = kafka.kafka_settings(config), kafka.topic_names(config)["solar"]
    assert unreadable.end_of_batch(settings, topic, 0, 1 + within) == 91
    assert unreadable.end_of_batch(settings, topic, 0, 0) == 0  # it can be read
    assert unreadable.end_of_batch(settings, topic, 0, 91) == 91


@pytest.mark.parametrize(
    ("last", "found"), [(KafkaError._BAD_COMPRESSION, 7), (KafkaError._PARTITION_EOF, None)]
)
def test_a_passing_error_says_nothing_of_a_batch(last, found):
    passing = (KafkaError.LEADER_NOT_AVAILABLE, KafkaError._TRANSPORT)
    answers = [
        SimpleNamespace(error=lambda code=code: KafkaError(code), offset=lambda: 7)
        for code in (*passing, last)
    ]
    probe = SimpleNamespace(assign=lambda partitions: None, poll=lambda wait_s: answers.pop(0))
    assert unreadable._error_at(probe, "load-topic", 0, 9) == found and not answers


@pytest.mark.parametrize("value", [b"broken", b"x" * 30_000, None])
def test_a_letter_that_is_too_large_goes_with_origin_and_reason_only(sink_config, value):
    config = sink_config()
    topic = make_topic(config, "solar")
    client = Producer(kafka.kafka_settings(config) | {"message.max.bytes": 2_000_000})
    first, last = (encoded(power(iso(hour, 15), 1 + hour)) for hour in (0, 1))
    for key, told in (("solar-1", first), (b"k" * 1_000_000, value), ("solar-1", last)):
        client.produce(topic, told, key, partition=0)
        assert client.flush(30) == 0  # one after the other: their offsets are what is looked at
    assert drain(config)["solar"] == Count(2, 0, 1, 0)
    (letter,) = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    assert letter.origin[:3] == (topic, 0, 1)
    assert (letter.key, letter.value, letter.truncated) == (None, None, len(value or b""))
    (row,) = communication.replay_dead_letters(config)
    assert (row["stored"], row["still_invalid"]) == (0, 1)


def test_a_letter_that_is_refused_for_good_is_counted_as_lost(sink_config, caplog, monkeypatch):
    """The broker's part is played by a limit of the client: no letter at all gets through."""
    config = sink_config()
    made = dead_letters.new_producer
    tight = {"message.max.bytes": 1000}
    monkeypatch.setattr(
        dead_letters,
        "new_producer",
        lambda settings, *rest: made(settings | tight, *rest),
    )
    monkeypatch.setattr(
        dead_letters,
        "_bare",
        lambda letter: letter,  # so that even the bare one is too large
    )
    send(config, "solar", [power(iso(0, 15), 1), b"x" * 3000, power(iso(1, 15), 2)])
    with caplog.at_level(logging.ERROR):
        assert drain(config)["solar"] == Count(2, 0, 0, 1)
    (record,) = caplog.records
    topic = kafka.topic_names(config)["solar"]
    assert f"{topic} [0], offset 1: refused (not JSON" in record.message
    assert f"see that the topic {topic}.dlq is there" in record.message
    assert max(committed(config, "solar")) == 3
