"""Dead letters arrive, are listed once, and are stored when their cause is mended."""

import dataclasses
import json
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import PROJECT
from small_stream import (
    SOURCES,
    committed,
    drain,
    iso,
    locked,
    patient,
    power,
    read,
    register,
    running,
    send,
    send_batch,
    wait_until,
)

import communication
from sources import write_sources
from vpp.stream import dead_letters, kafka, sink, topics
from vpp.stream.kafka import StreamError


def test_dead_letters_are_stored_once_their_cause_is_mended(make_config):
    config = make_config()
    register(config, SOURCES[:1])
    big = dataclasses.replace(SOURCES[0], capacity_kw=300.0)
    late = dataclasses.replace(SOURCES[0], source_id="solar-2")
    above, unknown = power(iso(0, 15), 250), power(iso(1, 15), 9, "solar-2")
    send(config, "solar", [above, unknown, b"broken", power(iso(2, 15), 250)], [1000] * 4)
    send(config, "solar", [power(iso(2, 15), 100)], [2000])  # a newer value of the last one's key
    counts = drain(config)["solar"]
    assert (counts.stored, counts.dead_lettered) == (1, 4)
    listed = communication.list_dead_letters(config)
    assert [row["offset"] for row in listed] == [0, 1, 2, 3] and listed[2]["value"] == "broken"
    topic = kafka.topic_names(config)["solar"]
    write_sources(config.paths.data_dir / "sources.csv", [big, late])
    assert communication.replay_dead_letters(config) == [
        {"topic": topic, "stored": 2, "unchanged": 1, "still_invalid": 1}
    ]
    assert list(read(config, big)) == [250, 100] and list(read(config, late)) == [9]
    assert [row["offset"] for row in communication.list_dead_letters(config)] == [2]
    assert communication.replay_dead_letters(config) == [
        {"topic": topic, "stored": 0, "unchanged": 0, "still_invalid": 1}
    ]


def test_a_dead_letter_sent_twice_is_listed_once(make_config):
    config = make_config()
    settings = kafka.kafka_settings(config)
    topics.ensure_topics(config.kafka, settings, [kafka.topic_names(config)["wind"] + ".dlq"], 20)
    client = kafka.new_producer(settings, 10, Counter())
    letter = dead_letters.DeadLetter(
        kafka.topic_names(config)["wind"], 1, 7, 1000, "too much", b"k", b"{}", None
    )
    for _ in range(3):
        dead_letters.send_dead_letter(client, letter)
    dead_letters.send_dead_letter(client, dataclasses.replace(letter, offset=8))
    assert client.flush(10) == 0
    found = dead_letters.read_dead_letters(config, settings)
    assert [item.offset for item in found] == [7, 8] and found[0] == letter


def test_dead_letters_not_acknowledged_are_sent_again(sink_config, frozen_broker, monkeypatch):
    """The broker is silent from before the dead letters are sent until after they have expired."""
    address, silence, wake = frozen_broker
    monkeypatch.setattr(dead_letters, "REQUEST_S", 1.0)
    config = sink_config(bootstrap_servers=address)
    send(config, "solar", [b"broken", power(iso(0, 15), 1), b"also broken"])
    member = sink.Sink(config, until_drained=True)
    with running(member):
        with locked(config, "renewables") as is_waiting:
            wait_until(is_waiting)
            silence()
        wait_until(lambda: len(read(config, SOURCES[0])) == 1)
        time.sleep(3)  # the dead letters expire after one second
        wake()
    counts = member.counts["solar"]
    assert (counts.stored + counts.unchanged, counts.dead_lettered) == (1, 2)
    letters = communication.list_dead_letters(config)
    assert [row["value"] for row in letters] == ["broken", "also broken"]
    assert max(committed(config, "solar")) == 3


def test_a_replay_says_which_dead_letters_it_could_not_mark(sink_config, frozen_broker):
    """They are stored, and their notice is sent again by the next replay."""
    address, silence, wake = frozen_broker
    config = sink_config(bootstrap_servers=address)
    send(config, "solar", [power(iso(0, 15), 250), power(iso(1, 15), 260)], [1000, 1000])
    with running(sink.Sink(config, until_drained=True)):
        pass
    mended = [dataclasses.replace(SOURCES[0], capacity_kw=300.0), *SOURCES[1:]]
    write_sources(config.paths.data_dir / "sources.csv", mended)
    with ThreadPoolExecutor(1) as pool:
        with locked(config, "renewables") as is_waiting:
            replay = pool.submit(communication.replay_dead_letters, patient(config, 1.0))
            wait_until(is_waiting)
            silence()
        with pytest.raises(StreamError, match="stored, but 2 could not be marked"):
            replay.result()
        wake()
    assert list(read(config, mended[0])) == [250, 260]
    assert [row["offset"] for row in communication.list_dead_letters(config)] == [0, 1]
    (row,) = communication.replay_dead_letters(config)
    assert (row["stored"], row["unchanged"], row["still_invalid"]) == (0, 2, 0)
    assert communication.list_dead_letters(config) == []


def test_messages_of_someone_else_in_a_dead_letter_topic_break_nothing(make_config, caplog):
    """Any bytes, key, time and headers, and a batch that cannot be inflated."""
    config = make_config()
    settings, topic = kafka.kafka_settings(config), kafka.topic_names(config)["wind"]
    ours = dead_letters.DeadLetter(topic, 1, 7, 1000, "too much", b"k", b"{}", None)
    good = {"topic": topic, "partition": "0", "offset": "1", "time": "5"}
    strange = [
        None,
        [],
        [("topic", None)],
        [("topic", b"\xff\xfe"), ("partition", b"1")],
        list((good | {"offset": "many"}).items()),
        list((good | {"offset": "-1"}).items()),
        list((good | {"time": str(10**400)}).items()),
        list((good | {"time": "9" * 5000}).items()),
        list((good | {"topic": "elsewhere"}).items()),
        list((good | {"truncated": "yes"}).items()),
        [*good.items(), ("topic", "twice")],
    ]
    client = kafka.new_producer(settings, 10, Counter())
    topics.ensure_topics(config.kafka, settings, [topic, topic + ".dlq"], 20)
    for place, headers in enumerate(strange):
        more = {} if headers is None else {"headers": headers}
        client.produce(topic + ".dlq", b"\x00" * place, b"\xff", timestamp=place * 10**15, **more)
    far = dataclasses.replace(ours, offset=8, sent_ms=2**62)
    for letter in (ours, far):
        dead_letters.send_dead_letter(client, letter)
    assert client.flush(10) == 0
    send_batch(config, topic + ".dlq", b"x" * 1_000_000, 90)
    found = dead_letters.read_dead_letters(config, settings)
    assert [item.offset for item in found] == [7, 8] and found[0] == ours
    assert f"{topic}.dlq: {len(strange)} messages are no dead letters of ours" in caplog.text
    assert f"{topic}.dlq: 90 messages cannot be read" in caplog.text
    assert [row["offset"] for row in communication.list_dead_letters(config)] == [7, 8]
    (row,) = communication.replay_dead_letters(config)
    assert row["still_invalid"] == 2
    letters = {row["topic"]: row["dead_letters"] for row in communication.status(config)}
    assert letters[topic] == len(strange) + 2 + 90


def test_status_does_not_read_the_dead_letters(make_config):
    """20,000 of them cost it nothing: they are the difference of two offsets."""
    config = make_config()
    settings, topic = kafka.kafka_settings(config), kafka.topic_names(config)["wind"]
    client = kafka.new_producer(settings, 60, Counter())
    topics.ensure_topics(config.kafka, settings, [topic, topic + ".dlq"], 20)
    letter = dead_letters.DeadLetter(topic, 1, 0, 1000, "too much", b"k", b"{}" * 50, None)

    def look():
        """The dead letters that `status` tells, and the most memory that it took [MB]."""
        code = (
            "import communication, sys\n"
            "communication.main(sys.argv[1:])\n"
            "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0], file=sys.stderr)"
        )
        command = [sys.executable, "-c", code, "--config", config.path, "--json", "status"]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True)
        rows = {row["topic"]: row for row in json.loads(done.stdout)}
        return rows[topic]["dead_letters"], int(done.stderr) / 1024

    none, before = look()
    for offset in range(20_000):
        dead_letters.send_dead_letter(client, dataclasses.replace(letter, offset=offset))
    assert client.flush(60) == 0
    many, after = look()
    assert (none, many) == (0, 20_000)
    assert after < before + 5 and after < 80
