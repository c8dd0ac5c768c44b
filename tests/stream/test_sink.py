"""The sink: bad messages beside good ones, old values beside new ones, and its end."""

import dataclasses
import json
import logging
import signal
import subprocess
import threading
import time
from collections import Counter

import pytest
from confluent_kafka import Producer
from small_stream import (
    SOURCES,
    believe_clocks,
    drain,
    iso,
    locked,
    make_topic,
    power,
    read,
    register,
    send,
    wait_until,
)

from benchmarks import crash_round
from vpp.stream import dead_letters, kafka, sink


def test_poison_goes_to_the_dead_letters_and_nobody_waits_for_it(make_config):
    config = make_config(kafka={"batch_rows": 5000})
    register(config)
    good, bad = 20_000, 200
    names = list(crash_round.POISON)
    values, expected, every = [], Counter(), good // bad
    for number in range(good):
        values.append(power(iso(number, 15), number % 100))
        if number % every == every // 2:
            name = names[(number // every) % len(names)]
            expected[name] += 1
            values.append(crash_round.POISON[name][0])
    send(config, "solar", values)
    counts = drain(config)["solar"]
    assert (counts.stored, counts.unchanged, counts.dead_lettered, counts.lost) == (good, 0, bad, 0)
    series = read(config, SOURCES[0])
    assert len(series) == good and list(series) == [number % 100 for number in range(good)]
    letters = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    assert len({letter.origin for letter in letters}) == len(letters) == bad
    for name in names:
        message, part = crash_round.POISON[name]
        shown = message and message[: dead_letters.DLQ_VALUE_BYTES]
        mine = [
            letter
            for letter in letters
            if letter.value == shown or (message == b"" and not letter.value)
        ]
        assert sum(part in letter.error for letter in mine) == expected[name], name
        cut = len(message) if shown != message else None
        assert {letter.truncated for letter in mine} == {cut}
        assert {letter.key for letter in mine} == {b"k"}
        assert {letter.topic for letter in mine} == {kafka.topic_names(config)["solar"]}


def test_the_newest_value_wins_across_batches_and_rewinds(make_config):
    config = make_config(kafka={"batch_rows": 7})
    register(config)
    values = [(n % 10, n) for n in range(100)]  # each of ten keys ten times
    messages = [power(iso(key, 15), value) for key, value in values]
    send(config, "solar", messages, [1000 + n // 3 for n in range(100)])
    counts = drain(config)["solar"]
    assert counts.stored + counts.unchanged == 100
    assert list(read(config, SOURCES[0])) == list(range(90, 100))
    group = {"group_id": config.kafka.group_id + "2", "batch_rows": 20_000}
    rewound = dataclasses.replace(config.kafka, **group)
    counts = drain(dataclasses.replace(config, kafka=rewound))["solar"]
    assert (counts.stored, counts.unchanged) == (0, 100)  # not a row was written again


def test_a_service_stops_within_seconds_even_while_the_database_hangs(make_config, script):
    config = make_config(kafka={"batch_rows": 10})
    register(config)
    service = subprocess.Popen(
        script("communication.py", "--config", config.path, "--json", "consume"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        send(config, "solar", [power(iso(n, 15), 1) for n in range(100)])
        wait_until(lambda: len(read(config, SOURCES[0])) == 100, 60)
        with locked(config, "renewables") as is_waiting:
            send(config, "solar", [power(iso(n, 15), 2) for n in range(100)])
            wait_until(is_waiting)
            began = time.monotonic()
            service.send_signal(signal.SIGTERM)
            out, _ = service.communicate(timeout=30)
            # 5 s, and a busy machine
            assert service.returncode == 0 and time.monotonic() - began < 15
        assert json.loads(out)[0]["stored"] == 100
    finally:
        service.kill()
    counts = drain(config)["solar"]  # the messages that were not committed are read again
    assert counts.stored == 100 and list(read(config, SOURCES[0])) == [2] * 100


def test_a_service_waits_for_ever_and_a_bounded_sink_gives_up(make_config):
    config = make_config(wait_s=7.0)
    service, bounded = sink.Sink(config), sink.Sink(config, until_drained=True)
    assert (service.retry.give_up_s, service.store.wait_s, service.ask_s) == (None, 0.0, 1.0)
    assert (bounded.retry.give_up_s, bounded.store.wait_s, bounded.ask_s) == (7.0, 7.0, 7.0)
    assert (service.retry.stop, service.retry.hold) == (service.stop, service.positions.hold)
    assert service.retry.resume == service.positions.resume


def test_progress_and_counts_have_every_message(sink_config):
    """Also those that were dead-lettered or as they were."""
    config, done = sink_config(batch_rows=10), []
    values = [power(iso(n % 20, 15), n % 20) for n in range(30)]
    messages = [b"broken", *values, b"broken"]
    send(config, "solar", messages, [1000] * 32)  # sent at one time, so the last ten are not newer
    send(config, "load", [power(iso(0, 60), 1, "load-1")])
    member = sink.Sink(config, until_drained=True, advance=done.append)
    sink.run_sink(member)
    assert member.counts == {"solar": sink.Count(20, 10, 2, 0), "load": sink.Count(1, 0, 0, 0)}
    assert sum(done) == 33


def test_a_service_ends_an_import_once(sink_config, monkeypatch):
    """Compression and hourly means have jobs of their own from then on."""
    config, ends = sink_config(), []
    member = sink.Sink(config)
    end_import = member.store.end_import
    monkeypatch.setattr(member.store, "end_import", lambda: ends.append(end_import()))
    service = threading.Thread(target=sink.run_sink, args=(member,))
    service.start()
    try:
        wait_until(lambda: ends)
        for lot in range(2):
            send(config, "load", [power(iso(lot, 60), 1, "load-1")])
            wait_until(lambda lot=lot: member.counts["load"].stored == lot + 1)
    finally:
        member.stop.set()
        service.join()
    assert len(ends) == 1


def test_a_sink_that_fails_ends_what_runs_beside_it(make_config):
    config = make_config(wait_s=1.0, kafka={"bootstrap_servers": "127.0.0.1:1"})
    member = sink.Sink(config, until_drained=True)
    stopped = []
    with pytest.raises(kafka.StreamError, match="Kafka"):
        sink.run_sink(member, lambda: stopped.append(member.stop.wait(60)))
    assert stopped == [True]


def test_a_batch_refused_as_a_whole_for_one_reason_is_one_warning(sink_config, caplog):
    """Three batches, each record off the step in its own way; and one of several reasons."""
    config = sink_config(batch_rows=10)
    send(config, "load", [power(f"2025-01-01T{n:02}:01:00Z", 1, "load-1") for n in range(24)])
    send(config, "solar", [b"broken", power(iso(0, 15), 1e6)])
    with caplog.at_level(logging.WARNING):
        counts = drain(config)
    assert (counts["load"].dead_lettered, counts["solar"].dead_lettered) == (24, 2)
    (line,) = [record.message for record in caplog.records]
    topic = kafka.topic_names(config)["load"]
    assert line.startswith(f"{topic}: all ") and "is not on the 60 min step of load-1" in line


def test_a_clock_that_is_fast_keeps_no_correction_out(sink_config, caplog):
    """Three days ahead; and the correction comes in the same batch, or in the next one."""
    config, now_ms = sink_config(), time.time_ns() // 1_000_000
    ahead_ms = now_ms + 3 * 86_400_000
    believe_clocks(config, "solar")
    for batch, correction in enumerate((2, 3)):
        send(config, "solar", [power(iso(batch, 15), 1)], [ahead_ms])
        if batch:
            drain(config)
        send(config, "solar", [power(iso(batch, 15), correction)])
        drain(config)
    assert list(read(config, SOURCES[0])) == [2, 3]
    assert "messages are stamped up to 4320 min ahead of this machine's clock" in caplog.text


def test_a_message_with_another_key_is_stored_where_the_configuration_says_so(sink_config):
    config = sink_config()
    client, topic = Producer(kafka.kafka_settings(config)), make_topic(config, "load")
    for hour, key in enumerate(("load-1", "load-2", None)):
        client.produce(topic, json.dumps(power(iso(hour, 60), 1, "load-1")), key)
    assert client.flush(10) == 0
    assert drain(config)["load"] == sink.Count(1, 0, 2, 0)
    loose = dataclasses.replace(config.kafka, group_id="loose", wrong_keys="store")
    assert drain(dataclasses.replace(config, kafka=loose))["load"] == sink.Count(2, 1, 0, 0)
