"""Measured states of batteries go from their topic into battery_states, the others to the DLQ."""

import json
import time
from collections import Counter

import pandas as pd
from confluent_kafka import Consumer
from small_stream import believe_clocks, drain, send

import db
from vpp.runtime.config import load_config
from vpp.site.kinds import BATTERY, BATTERY_TOPIC
from vpp.storage.battery_states import count_measured
from vpp.storage.rows import select_rows
from vpp.stream import kafka, replay, topics

NOON = pd.Timestamp("2026-01-05T12:00Z")


def state(minutes=0, key="battery-1", **fields):
    """A message of a minute after noon, its key as `send` of the tests takes it."""
    time = (NOON + pd.Timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json.dumps({"battery_id": "battery-1", "time": time, "soc": 0.4} | fields).encode(), key


def send_states(config, messages, sent_ms=None):
    """Messages of one key to one partition."""
    settings, topic = kafka.kafka_settings(config), kafka.topic_names(config)[BATTERY]
    topics.ensure_topics(config.kafka, settings, [topic], 20)
    client = kafka.new_producer(settings, 20, failures := Counter())
    for place, (value, key) in enumerate(messages):
        at = {"timestamp": sent_ms[place]} if sent_ms else {}
        client.produce(topic, value, key, partition=0, **at)
    assert client.flush(30) == 0 and not failures


def stored(config):
    with db.session(config) as conn:
        rows = select_rows(conn, "SELECT * FROM battery_states ORDER BY battery_id, time")
        return [
            (row["battery_id"], row["kind"], row["time"].minute, row["soc"], row["discharge_kw"])
            for row in rows
        ]


def test_states_are_stored_and_faulty_ones_are_dead_letters(sink_config):
    config = sink_config()
    ahead = pd.Timestamp.now("UTC") + pd.Timedelta("1h")
    good = [state(), state(15, power_kw=-250), state(30, soc=None, energy_kwh=500)]
    faulty = {
        "unknown; expected one of battery-1": state(battery_id="b", key="b"),
        "key of the message must be its battery_id 'battery-1'; it is 'x'": state(45, key="x"),
        "there is none": state(45, key=None),
        "ahead of the clock": state(time=ahead.isoformat()),
        "a fraction": state(45, soc=40),
        "agree": state(45, energy_kwh=1900),
        "not JSON": (b"{", "battery-1"),
        "null message": (None, "battery-1"),
        "is before": state(time="1999-01-01T00:00:00Z"),
    }
    send_states(config, [good[0], *faulty.values(), *good[1:]])
    counts = drain(config)
    assert (counts[BATTERY].stored, counts[BATTERY].dead_lettered) == (3, len(faulty))
    assert "other" not in counts[BATTERY].reasons
    # 500 kWh of 2,000
    rows = [("battery-1", "measured", *rest) for rest in ((0, 0.4, None), (15, 0.4, 250.0))]
    assert stored(config) == [*rows, ("battery-1", "measured", 30, 0.25, None)]
    letters = replay.list_dead_letters(config)
    assert {letter["topic"] for letter in letters} == {config.kafka.topic_prefix + BATTERY_TOPIC}
    for words in faulty:
        assert any(words in letter["error"] for letter in letters), words


def test_the_same_again_changes_nothing_and_the_newest_message_wins(sink_config):
    config = sink_config()
    believe_clocks(config, BATTERY)
    now_ms = time.time_ns() // 1_000_000  # what was sent long ago Kafka deletes
    times = [now_ms - 4000, now_ms - 2000, now_ms - 1000]
    send_states(config, [state(soc=0.4), state(soc=0.5), state(soc=0.5)], times)
    assert drain(config)[BATTERY].stored == 1  # the last of its time
    send_states(config, [state(soc=0.3)], [now_ms - 3000])  # sent before, and late
    assert drain(config)[BATTERY].stored == 0
    assert [row[3] for row in stored(config)] == [0.5]


def test_a_battery_that_is_configured_later_gets_its_states(sink_config, config_file):
    config = sink_config()
    send_states(config, [state(battery_id="cellar", key="cellar")])
    assert drain(config)[BATTERY].dead_lettered == 1
    path = config_file(**{"battery:cellar": {}})
    later = load_config(path)
    (row,) = replay.replay_dead_letters(later)
    assert (row["stored"], row["still_invalid"]) == (1, 0)
    with db.session(config) as conn:
        assert count_measured(conn) == 1


def test_a_record_that_the_database_refuses_is_found_by_halving(sink_config):
    """The state of one of five batteries is refused by a rule of the database."""
    config = sink_config()
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("ALTER TABLE battery_states ADD CHECK (soc <> 0.13)")
    send_states(config, [state(n, soc=0.13 if n == 3 else 0.5) for n in range(5)])
    counts = drain(config)[BATTERY]
    assert (counts.stored, counts.dead_lettered) == (4, 1)
    assert [row[2] for row in stored(config)] == [0, 1, 2, 4]


def test_a_series_beside_states_in_one_batch(sink_config):
    config = sink_config()
    send(config, "load", [{"source_id": "load-1", "time": "2026-01-05T12:00:00Z", "power_kw": 1}])
    send_states(config, [state()])
    counts = drain(config)
    assert (counts["load"].stored, counts[BATTERY].stored) == (1, 1)


def test_the_topic_of_plans_is_made_with_the_others(sink_config):
    config = sink_config()
    drain(config)
    consumer = Consumer(kafka.kafka_settings(config) | {"group.id": "look"})
    known = consumer.list_topics(timeout=20).topics
    consumer.close()
    assert kafka.schedule_topic(config) in known
