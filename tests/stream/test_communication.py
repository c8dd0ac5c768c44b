"""The stream end to end on real servers.

What is stored, what is dead-lettered and why, what is replayed, how commands end.
"""

import csv
import dataclasses
import json
import logging
import math
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psycopg2
import pytest
from confluent_kafka import Producer
from hypothesis import given, settings
from hypothesis import strategies as st
from small_stream import SOURCES, START, iso, power, read, register, send

import communication
import db
from benchmarks import bench_crash
from sources import write_sources
from vpp.runtime.config import load_config
from vpp.site.kinds import KINDS, WEATHER
from vpp.stream import dead_letters, files, kafka, producer, records, sink
from vpp.stream.retry import Stopped


@pytest.fixture
def make_config(config_file):
    """Configuration with a short patience and the data folder in place.

    `make_config(kafka={...})`.
    """

    def make(**sections):
        config = load_config(config_file(**({"database": {}} | sections)))
        config = dataclasses.replace(
            config, database=dataclasses.replace(config.database, wait_s=20.0)
        )
        config.paths.data_dir.mkdir(exist_ok=True)
        return config

    return make


def write_csvs(config, count=48):
    """A small data folder; returns kind -> number of messages."""
    folder = config.paths.data_dir
    write_sources(folder / "sources.csv", SOURCES)
    lines = {
        "solar": ["time,source_id,power_kw"]
        + [f"{iso(n, 15)},solar-1,{n % 100}" for n in range(count)],
        "wind": ["time,source_id,power_kw"]
        + [f"{iso(n, 60)},wind-1,{n + 0.25}" for n in range(count)],
        "load": ["time,source_id,power_kw"] + [f"{iso(n, 60)},load-1,{n}" for n in range(count)],
        "market": ["time,source_id,price_eur_per_mwh"]
        + [f"{iso(n, 60)},market-1,{-n}" for n in range(count)],
        "weather": ["time,source_id,ghi,dni,dhi,temp_air,wind_speed"]
        + [f"{iso(n, 60)},weather-1,1,2,3,4,{n}" for n in range(count)],
        "weather_forecast": ["issue_time,valid_time,source_id,ghi,dni,dhi,temp_air,wind_speed"]
        + [f"{iso(0, 60)},{iso(n, 60)},weather-1,1,2,3,4,{n}" for n in range(count)],
    }
    for name, text in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(text) + "\n")
    return {name.replace("_", "-"): count for name in lines}


def drain(config):
    """Run a sink until everything is stored; returns kind -> its counts."""
    member = sink.Sink(config, until_drained=True)
    sink.run_sink(member)
    return member.counts


# --- from CSV to rows


def test_every_csv_is_stored_once_however_often_it_is_streamed(make_config):
    config = make_config()
    expected = write_csvs(config)
    for _ in range(2):
        rows = communication.stream(config)
        assert [row["topic"] for row in rows] == list(kafka.topic_names(config).values())
        for row in rows:
            assert (
                row["produced"] == 48 == row["stored"] + row["unchanged"]
                and row["dead_lettered"] == 0
            )
            assert row["in_database"] == 48
    with db.session(config) as conn:
        assert db.count_measurements(conn) == expected
        solar = db.read_series(conn, SOURCES[0])
        assert list(solar) == [n % 100 for n in range(48)] and solar.index[
            1
        ] == START + pd.Timedelta("15min")
        assert list(db.read_weather_forecasts(conn, "weather-1")["issue_time"].unique()) == [START]
        with conn.cursor() as cursor:
            cursor.execute("SELECT wind_speed FROM weather ORDER BY time DESC LIMIT 1")
            assert cursor.fetchone()[0] == 47
            # Prices of 2 January, local time, became known on 1 January at 13:00 in Brussels, 12:00
            # UTC.
            cursor.execute(
                "SELECT available_at FROM market_prices WHERE time = '2025-01-02T10:00Z'"
            )
            assert cursor.fetchone()[0] == pd.Timestamp("2025-01-01T12:00Z")
    rows = communication.status(config)
    assert {row["lag"] for row in rows} == {0}
    assert sum(row["end"] for row in rows) == 2 * 6 * 48
    assert communication.list_dead_letters(config) == []


def test_a_csv_without_a_column_is_refused(make_config):
    config = make_config()
    write_csvs(config)
    (config.paths.data_dir / "wind.csv").write_text("time,source_id,power\n")
    with pytest.raises(
        kafka.StreamError, match=r"wind\.csv: no column power_kw; expected source_id,time,power_kw"
    ):
        producer.produce(config, ["wind"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"2025-01-01T00:00Z,a,1\n2025-01-01T01:00Z,\xe9,1\n", r"load\.csv, line 3: is not UTF-8"),
        (
            b"2025-01-01T00:00Z,a,1\n2025-01-01T01:00Z,a," + b"1" * 200_000,
            r"load\.csv, line 3: field larger than",
        ),
    ],
)
def test_a_csv_that_cannot_be_read_is_named_with_its_line(tmp_path, content, expected):
    path = tmp_path / "load.csv"
    path.write_bytes(b"time,source_id,power_kw\n" + content)
    with pytest.raises(kafka.StreamError, match=expected):
        list(files.read_messages(path, "load"))


def test_no_csv_names_the_command_that_makes_them(make_config):
    with pytest.raises(kafka.StreamError, match=r"run python generation\.py"):
        producer.produce(make_config(), list(KINDS))


def read_one_by_one(path, kind):
    return [
        (key, json.loads(value))
        for _, keys, values in files.read_messages(path, kind)
        for key, value in zip(keys, values, strict=True)
    ]


def test_what_is_no_number_is_sent_for_the_sink_to_refuse(tmp_path):
    path = tmp_path / "load.csv"
    path.write_text(
        "power_kw,extra,time,source_id\n1.50,x,2025-01-01T00:00Z,a\n,x,2025-01-01T01:00Z,a\n\nnan,,t,a\n7\n"
    )
    assert [(key, record["power_kw"]) for key, record in read_one_by_one(path, "load")] == [
        ("a", 1.5),
        ("a", ""),
        ("a", None),
        ("", 7.0),
    ]


@given(
    st.lists(
        st.tuples(
            st.text(max_size=3), st.text(max_size=3), st.floats().map(repr) | st.text(max_size=3)
        ),
        max_size=1200,
    )
)
@settings(max_examples=50, deadline=None)
def test_every_line_of_a_csv_is_sent_in_its_order(tmp_path_factory, lines):
    """Whatever the cells hold, and wherever the lines are divided for sending."""
    path = tmp_path_factory.mktemp("csv") / "load.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("time", "source_id", "power_kw"), *lines])
    expected = []
    for at, source_id, cell in lines:
        try:
            number = float(cell) if math.isfinite(float(cell)) else None
        except ValueError:
            number = cell
        expected.append((source_id, {"source_id": source_id, "time": at, "power_kw": number}))
    assert read_one_by_one(path, "load") == expected


def test_speed_sends_in_the_order_of_time(make_config):
    config = make_config()
    write_csvs(config, 3)
    began = time.monotonic()
    sent = list(
        producer._messages(config, ["solar", "load"], 7200 * 10, lambda: False)
    )  # two hours in 0.1 s
    assert time.monotonic() - began >= 0.1
    assert [kind for kind, _, _ in sent] == ["solar", "load", "solar", "solar", "load", "load"]


# --- records


LIMITS = records.Limits(
    946_684_800_000_000, 7 * 86_400_000_000, -1000.0, 10_000.0, "13:00", "Europe/Brussels"
)
NOW_US = 1_750_000_000_000_000  # 2025-06-15


def reasons(kind, *values):
    values = [
        value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        for value in values
    ]
    checked = records.check(
        records.decode(kind, values, [0] * len(values)), records.Registry(SOURCES), LIMITS, NOW_US
    )
    found = dict(checked.refused)
    assert sorted([*found, *checked.places]) == list(range(len(values)))
    return [found.get(place) for place in range(len(values))]


def test_bounds_of_a_record():
    def at(text):
        return power(text, 1)

    assert reasons(
        "solar",
        *[power(iso(0, 15), kw) for kw in (120, 120.1, -2, -2.1)],  # capacity 100: from -2 to 120
        *[
            at(text)
            for text in (
                "2000-01-01T00:00:00Z",
                "1999-12-31T23:45:00Z",
                "2025-06-22T15:00:00+00:00",
                "2025-06-23T00:00:00Z",
            )
        ],
        *[
            at(text)
            for text in (
                "2025-01-01T00:15:00+01:00",
                "2025-01-01T00:07:00Z",
                "2025-01-01T00:00:00.000001Z",
            )
        ],
    ) == [
        None,
        "power_kw 120.1 is above 120, the most of solar-1",
        None,
        "power_kw -2.1 is below -2, the least of solar-1",
        None,
        "time 1999-12-31T23:45:00Z is before 2000-01-01T00:00:00Z",
        None,
        "time 2025-06-23T00:00:00Z is after 2025-06-22T15:06:40Z",
        None,
        "time 2025-01-01T00:07:00Z is not on the 15 min step of solar-1",
        "time 2025-01-01T00:00:00Z is not on the 15 min step of solar-1",
    ]
    assert reasons("load", power(iso(0, 60), 1e6, "load-1"), power(iso(0, 60), -5, "load-1")) == [
        None,
        None,
    ]  # no plant
    price = {"source_id": "market-1", "time": iso(0, 60)}
    assert reasons(
        "market", *[price | {"price_eur_per_mwh": value} for value in (-1000, 10_000, 10_000.5)]
    ) == [
        None,
        None,
        "price_eur_per_mwh 10000.5 is not within -1000 to 10000",
    ]
    assert reasons("wind", power(iso(0, 60), 1)) == ["source solar-1 is of kind solar, not wind"]
    weather = {
        "source_id": "weather-1",
        "issue_time": iso(0, 60),
        "valid_time": iso(0, 15),
    } | dict.fromkeys(WEATHER, 1)
    assert reasons(
        "weather-forecast",
        weather,
        weather | {"issue_time": "2025-01-01T00:03:00Z"},
        weather | {"valid_time": iso(1, 15)},
    ) == [
        None,
        None,
        "valid_time 2025-01-01T00:15:00Z is not on the 60 min step of weather-1",
    ]


def test_a_message_from_the_future_is_refused():
    decoded = records.decode("solar", [json.dumps(power(iso(0, 15), 1)).encode()] * 2, [0, 9**18])
    checked = records.check(decoded, records.Registry(SOURCES), LIMITS, NOW_US)
    assert list(checked.places) == [0] and "lies ahead" in checked.refused[0][1]


BAD = bench_crash.POISON | {"array": (b"[1,2]", "wrong field")}


def test_every_kind_of_fault_has_its_reason():
    found = dict(zip(BAD, reasons("solar", *[message for message, _ in BAD.values()]), strict=True))
    for name, (_, part) in BAD.items():
        assert part in found[name], name
        assert len(found[name]) < 400


TEXTS = st.text(max_size=8) | st.sampled_from(
    ["solar-1", "2025-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from([10**400, -(10**30), 2**63])
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "source_id": TEXTS | SCALARS,
        "time": TEXTS | SCALARS,
        "power_kw": SCALARS,
        "more": SCALARS,
    },
)


@given(
    st.lists(
        st.none()
        | st.binary(max_size=20)
        | RECORDS.map(lambda record: json.dumps(record).encode()),
        max_size=5,
    ),
    st.integers(-(2**63), 2**63 - 1),
)
@settings(max_examples=300, deadline=None)
def test_no_message_stops_the_checks(values, sent_ms):
    checked = records.check(
        records.decode("solar", values, [sent_ms] * len(values)),
        records.Registry(SOURCES),
        LIMITS,
        NOW_US,
    )
    assert sorted([*checked.places, *(place for place, _ in checked.refused)]) == list(
        range(len(values))
    )
    for _, reason in checked.refused:
        assert 0 < len(reason.encode()) < 500  # it becomes a header


# --- the sink


def test_poison_goes_to_the_dead_letters_and_nobody_waits_for_it(make_config):
    config = make_config(kafka={"batch_rows": 5000})
    register(config)
    good, bad = 20_000, 200
    names = list(bench_crash.POISON)
    values, expected, every = [], Counter(), good // bad
    for number in range(good):
        values.append(power(iso(number, 15), number % 100))
        if number % every == every // 2:
            name = names[(number // every) % len(names)]
            expected[name] += 1
            values.append(BAD[name][0])
    send(config, "solar", values)
    counts = drain(config)["solar"]
    assert (counts.stored, counts.unchanged, counts.dead_lettered, counts.lost) == (good, 0, bad, 0)
    series = read(config, SOURCES[0])
    assert len(series) == good and list(series) == [number % 100 for number in range(good)]
    letters = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    assert len({letter.origin for letter in letters}) == len(letters) == bad
    for name in names:
        message, part = BAD[name]
        data = (
            message
            if message is None or isinstance(message, bytes)
            else json.dumps(message).encode()
        )
        mine = [
            letter
            for letter in letters
            if letter.value == (data and data[: dead_letters.DLQ_VALUE_BYTES])
            or (data == b"" and not letter.value)
        ]
        assert sum(part in letter.error for letter in mine) == expected[name], name
        assert {letter.truncated for letter in mine} == {
            len(data) if data and len(data) > dead_letters.DLQ_VALUE_BYTES else None
        }
        assert {letter.key for letter in mine} == {b"k"} and {letter.topic for letter in mine} == {
            kafka.topic_names(config)["solar"]
        }


def test_dead_letters_are_stored_once_their_cause_is_mended(make_config):
    config = make_config()
    register(config, SOURCES[:1])
    big = dataclasses.replace(SOURCES[0], capacity_kw=300.0)
    late = dataclasses.replace(SOURCES[0], source_id="solar-2")
    send(
        config,
        "solar",
        [
            power(iso(0, 15), 250),
            power(iso(1, 15), 9, "solar-2"),
            b"broken",
            power(iso(2, 15), 250),
        ],
        [1000, 1000, 1000, 1000],
    )
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


def test_what_the_database_refuses_is_found_by_halving(make_config):
    config = make_config()
    register(config)
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("ALTER TABLE renewables ADD CONSTRAINT no_thirteen CHECK (power_kw <> 13)")
    send(config, "solar", [power(iso(n, 15), 13 if n in (5, 6, 300) else 1) for n in range(500)])
    send(config, "load", [power(iso(n, 60), 13, "load-1") for n in range(20)])
    counts = drain(config)
    assert (counts["solar"].stored, counts["solar"].dead_lettered, counts["load"].stored) == (
        497,
        3,
        20,
    )
    letters = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    assert [letter.offset for letter in letters] == [5, 6, 300]
    assert all(
        letter.error.startswith("refused by the database: ") and "no_thirteen" in letter.error
        for letter in letters
    )
    assert len(read(config, SOURCES[0])) == 497


def test_the_newest_value_wins_across_batches_and_rewinds(make_config):
    config = make_config(kafka={"batch_rows": 7})
    register(config)
    values = [(n % 10, n) for n in range(100)]  # each of ten keys ten times
    send(
        config,
        "solar",
        [power(iso(key, 15), value) for key, value in values],
        [1000 + n // 3 for n in range(100)],
    )
    counts = drain(config)["solar"]
    assert counts.stored + counts.unchanged == 100
    assert list(read(config, SOURCES[0])) == list(range(90, 100))
    rewound = dataclasses.replace(
        config,
        kafka=dataclasses.replace(
            config.kafka, group_id=config.kafka.group_id + "2", batch_rows=20_000
        ),
    )
    counts = drain(rewound)["solar"]
    assert (counts.stored, counts.unchanged) == (0, 100)  # not a row was written again


def test_unknown_sources_may_be_registered(make_config):
    config = make_config(kafka={"unknown_sources": "register"})
    send(
        config,
        "load",
        [
            power("2025-01-01T00:05:00Z", 1e5, "load-7"),
            power("2025-01-01T00:05:00Z", 1, "no good/name"),
        ],
    )
    counts = drain(config)["load"]
    assert (counts.stored, counts.dead_lettered) == (1, 1)
    with db.session(config) as conn:
        assert [(source.source_id, source.parameters) for source in db.read_sources(conn)] == [
            ("load-7", {"provisional": True})
        ]


def test_messages_dropped_by_the_broker_are_counted(make_config, servers, caplog):
    config = make_config()
    register(config)
    probe = kafka.new_consumer(kafka.kafka_settings(config), "probe")
    own_broker = (probe.list_topics(timeout=5).cluster_id or "").startswith(kafka.MOCK_CLUSTER)
    probe.close()
    if not own_broker:
        pytest.skip(
            "needs the embedded broker, which drops more than 5 MiB a partition; leave "
            "VPP_TEST_KAFKA unset"
        )
    noise = [
        power(iso(n % 5000, 15), n % 100) | {"pad": f"{math.sin(n) * 1e16:.0f}" * 12}
        for n in range(40_000)
    ]
    client = Producer(
        kafka.kafka_settings(config)
    )  # uncompressed, 300 bytes each: 12 MB into one partition
    topic = kafka.topic_names(config)["solar"]
    for value in noise:
        kafka.send(client, topic, json.dumps(value).encode(), "k")
    assert client.flush(30) == 0
    with caplog.at_level(logging.ERROR):
        counts = drain(config)["solar"]
    assert counts.lost > 0 and counts.lost + counts.stored + counts.unchanged == 40_000
    assert f"the broker dropped {counts.lost} messages before they were read" in caplog.text


def test_the_producer_refuses_what_the_embedded_broker_would_drop(make_config):
    config = make_config(database={"wait_s": 1})
    config = dataclasses.replace(config, database=dataclasses.replace(config.database, wait_s=1.0))
    write_sources(config.paths.data_dir / "sources.csv", SOURCES)
    lines = ["time,source_id,power_kw"] + [f"{iso(-n, 60)},load-1,{n % 50}" for n in range(60_000)]
    (config.paths.data_dir / "load.csv").write_text("\n".join(lines))
    with pytest.raises(
        kafka.StreamError,
        match=r"topic .*load-topic is full: the embedded broker keeps 5 MiB a partition and [\d,]+ messages wait",
    ):
        producer.produce(config, ["load"])
    rows = communication.stream(
        dataclasses.replace(config, database=dataclasses.replace(config.database, wait_s=30.0))
    )
    assert (
        rows[0]["produced"] == 60_000 == rows[0]["in_database"]
    )  # and what waited was stored before
    assert rows[0]["lost"] == 0


def test_two_sinks_share_the_work(make_config):
    config = make_config(kafka={"batch_rows": 500})
    register(
        config,
        [*SOURCES, *[dataclasses.replace(SOURCES[2], source_id=f"load-{n}") for n in range(2, 30)]],
    )
    members = [sink.Sink(config, until_drained=True) for _ in range(2)]
    threads = [
        threading.Thread(target=sink.run_sink, args=(member, lambda: produced.wait(60)))
        for member in members
    ]
    produced = threading.Event()
    for thread in threads:
        thread.start()
    try:
        write_csvs(config, 100)
        lines = ["time,source_id,power_kw"] + [
            f"{iso(n, 60)},load-{s},{n}" for n in range(200) for s in range(1, 30)
        ]
        (config.paths.data_dir / "load.csv").write_text("\n".join(lines))
        deadline = time.monotonic() + 30  # both have joined and each has some of the partitions
        while (
            not all(member.positions.offsets for member in members) and time.monotonic() < deadline
        ):
            time.sleep(0.05)
        producer.produce(config, list(KINDS))
    finally:
        produced.set()
        for thread in threads:
            thread.join()
    stored = [member.counts["load"].stored + member.counts["load"].unchanged for member in members]
    assert sum(stored) >= 5800 and min(stored) > 0
    with db.session(config) as conn:
        assert db.count_measurements(conn)["load"] == 5800


def test_an_outage_is_one_line_in_the_log(make_config, caplog):
    member, calls = sink.Sink(make_config()), []

    def action():
        calls.append(1)
        if len(calls) < 4:
            raise db.DatabaseError("database, load: the server is away")

    with caplog.at_level(logging.INFO):
        member.retry("database", action)
    assert [record.message for record in caplog.records] == [
        "database away, trying again until it is back: database, load: the server is away",
        "database is back",
    ]
    member.stop.set()
    calls.clear()
    with pytest.raises(Stopped):  # a service that is told to stop does not wait for its servers
        member.retry("database", action)


# --- commands


def test_commands_end_with_one_line_when_kafka_is_away(make_config):
    config = make_config(kafka={"bootstrap_servers": "127.0.0.1:1"})
    config = dataclasses.replace(config, database=dataclasses.replace(config.database, wait_s=1.0))
    write_csvs(config)
    for command in (
        lambda: communication.stream(config),
        lambda: sink.run_sink(sink.Sink(config, until_drained=True)),
    ):
        with pytest.raises(kafka.StreamError, match="Kafka") as caught:
            command()
        assert "\n" not in str(caught.value)


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
        wait_for_rows(config, 100)
        blocker = psycopg2.connect(config.database.url)
        with blocker.cursor() as cursor:
            cursor.execute("LOCK TABLE renewables")
            send(config, "solar", [power(iso(n, 15), 2) for n in range(100)])
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:  # until it waits for the lock
                cursor.execute(
                    "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'renewables'::regclass"
                )
                if cursor.fetchone():
                    break
            began = time.monotonic()
            service.send_signal(signal.SIGTERM)
            out, _ = service.communicate(timeout=30)
            assert (
                service.returncode == 0 and time.monotonic() - began < 15
            )  # 5 s, and a busy machine
        blocker.close()
        assert json.loads(out)[0]["stored"] == 100
    finally:
        service.kill()
    counts = drain(config)["solar"]  # what was not committed is read again
    assert counts.stored == 100 and list(read(config, SOURCES[0])) == [2] * 100


def wait_for_rows(config, count, source=SOURCES[0]):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(read(config, source)) < count:
        time.sleep(0.05)
    assert len(read(config, source)) == count


@pytest.fixture
def long_stream(make_config, script):
    """`communication.py` at work on more than the embedded broker can hold, so that its producer
    still waits; and that process.
    """
    config = make_config()
    write_sources(config.paths.data_dir / "sources.csv", SOURCES)
    lines = ["time,source_id,power_kw"] + [f"{iso(-n, 60)},load-1,{n % 50}" for n in range(100_000)]
    (config.paths.data_dir / "load.csv").write_text("\n".join(lines))
    command = script("communication.py", "--config", config.path)
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not (found := children(running.pid)) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield config, running, found[0]
    finally:
        running.kill()
        running.communicate()


def children(number):
    paths = Path(f"/proc/{number}/task").glob("*/children")
    numbers = [int(child) for path in paths for child in path.read_text().split()]
    return [
        child for child in numbers if b"producer.py" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def is_running(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for_end(number):
    deadline = time.monotonic() + 30
    while is_running(number) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(number)


def stream_again(config, count):
    row, *_ = communication.stream(config)
    assert (row["produced"], row["in_database"], row["dead_lettered"]) == (count, count, 0)


def test_a_killed_producer_ends_the_stream_and_the_next_completes_it(long_stream):
    config, running, producing = long_stream
    os.kill(producing, signal.SIGKILL)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    assert (
        errors
        == "communication.py: the producer's process ended with -9 before all was sent; run the "
        "same command again\n"
    )
    stream_again(config, 100_000)


@pytest.mark.parametrize("stored", [0, 1])
def test_ctrl_c_ends_a_stream_with_one_line_and_its_producer(long_stream, stored):
    config, running, producing = long_stream
    if stored:
        deadline = time.monotonic() + 60
        while not len(read(config, SOURCES[2])) and time.monotonic() < deadline:
            time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all processes
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (
        130,
        "communication.py: interrupted; run the same command again to complete it\n",
    )
    wait_for_end(producing)


def test_a_producer_does_not_outlive_its_stream(long_stream):
    _, running, producing = long_stream
    running.kill()
    wait_for_end(producing)


def test_no_secret_is_shown(make_config, config_file, capsys):
    path = config_file(
        database={"url": "postgresql://vpp:s3cret@127.0.0.1:1/vpp", "wait_s": 0},
        kafka={
            "bootstrap_servers": "127.0.0.1:1",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_username": "u",
            "sasl_password": "s3cret",
        },
    )
    for command in (["produce"], ["dlq", "list"]):
        assert communication.main(["--config", str(path), *command]) == 1
    shown = capsys.readouterr()
    assert "s3cret" not in shown.out + shown.err and shown.err.count("\n") == 2
