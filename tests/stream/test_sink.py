"""The sink where something fails beside it: dead letters, another member, a topic made anew.

Each test looks at what is stored, committed, counted and dead-lettered, on real servers.
"""

import dataclasses
import logging
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from confluent_kafka import Consumer, TopicPartition
from small_stream import SOURCES, iso, power, read, register, send

import communication
import db
from sources import write_sources
from vpp.runtime.config import load_config
from vpp.stream import dead_letters, producer, sink
from vpp.stream.kafka import StreamError, kafka_settings, new_consumer, topic_names

ROOT = Path(__file__).resolve().parents[2]
BROKER = """
import sys
from vpp.runtime.daemon import start_broker
held, address = start_broker()
print(address, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def make_config(config_file):
    """Function that makes the configuration of this test's servers, its sources registered."""

    def make(wait_s=20.0, **kafka):
        config = load_config(config_file(kafka=kafka))
        database = dataclasses.replace(config.database, wait_s=wait_s)
        config = dataclasses.replace(config, database=database)
        config.paths.data_dir.mkdir(exist_ok=True)
        register(config)
        return config

    return make


@pytest.fixture
def frozen_broker():
    """Address of a broker of this test's own, and functions that silence it and wake it again."""
    command, pipes = [sys.executable, "-c", BROKER], {"stdin": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, **pipes)

    try:
        yield (
            process.stdout.readline().strip(),
            lambda: process.send_signal(signal.SIGSTOP),
            lambda: process.send_signal(signal.SIGCONT),
        )
    finally:
        process.kill()
        process.communicate()


@contextmanager
def running(*members, seconds=60):
    """The sinks at work in threads; in the end all have drained, or are stopped after a while."""
    errors, produced = [], threading.Event()

    def run(member):
        try:
            sink.run_sink(member, lambda: produced.wait(seconds))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(member,)) for member in members]
    late = threading.Timer(seconds, lambda: [member.stop.set() for member in members])
    for thread in (*threads, late):
        thread.start()
    try:
        yield
    finally:
        produced.set()
        for thread in threads:
            thread.join()
        late.cancel()
    assert errors == []


def wait_until(is_so, seconds=30):
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_so()


def committed(config, kind):
    """Offset committed for each partition of a topic; below 0 where there is none."""
    client = new_consumer(kafka_settings(config), config.kafka.group_id)
    try:
        topic = topic_names(config)[kind]
        numbers = sorted(client.list_topics(topic, timeout=5).topics[topic].partitions)
        items = client.committed([TopicPartition(topic, n) for n in numbers], timeout=5)
        return [item.offset for item in items]
    finally:
        client.close()


def commit(config, kind, offset):
    """Say that the group has stored everything before an offset, in each partition of a topic."""
    topic = topic_names(config)[kind]
    client = Consumer(kafka_settings(config) | {"group.id": config.kafka.group_id})
    numbers = client.list_topics(topic, timeout=5).topics[topic].partitions
    items = [TopicPartition(topic, number, offset) for number in numbers]
    client.commit(offsets=items, asynchronous=False)
    client.close()


@contextmanager
def locked(config, table):
    """Another session holds the table; yields a check that a transaction waits for it."""
    connection = psycopg2.connect(config.database.url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table}")

            def is_waiting():
                waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
                cursor.execute(waiting, (table,))
                return cursor.fetchone() is not None

            yield is_waiting
    finally:
        connection.close()


def test_a_topic_made_anew_is_read_from_its_beginning(make_config, caplog):
    config = make_config()
    send(config, "solar", [power(iso(n, 15), n) for n in range(10)])
    commit(config, "solar", 500)  # as the topic before it had
    member = sink.Sink(config, until_drained=True)
    with caplog.at_level(logging.WARNING), running(member, seconds=20):
        pass
    assert (member.counts["solar"].stored, member.counts["solar"].lost) == (10, 0)
    assert list(read(config, SOURCES[0])) == list(range(10))
    assert sorted(committed(config, "solar")) == [0, 0, 0, 10]
    assert "was made anew (it ends at 10): reading it from its beginning" in caplog.text


def test_dead_letters_not_acknowledged_are_sent_again(make_config, frozen_broker, monkeypatch):
    """The broker is silent from before the dead letters are sent until after they have expired."""
    address, silence, wake = frozen_broker
    monkeypatch.setattr(dead_letters, "REQUEST_S", 1.0)
    config = make_config(bootstrap_servers=address)
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


def test_a_member_that_loses_its_partitions_at_work_goes_on(make_config):
    """One sink has a backlog in small batches when a second joins: all is stored, both end well."""
    config = make_config(batch_rows=20)
    loads = [dataclasses.replace(SOURCES[2], source_id=f"load-{n}") for n in range(2, 12)]
    register(config, [*SOURCES, *loads])
    lines = [f"{iso(n, 60)},{load.source_id},{n % 50}" for n in range(600) for load in loads]
    text = "\n".join(["time,source_id,power_kw", *lines])
    (config.paths.data_dir / "load.csv").write_text(text)
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


def test_a_producer_says_how_much_was_not_acknowledged(make_config, frozen_broker):
    """The broker falls silent after the first part of the file was sent."""
    address, silence, wake = frozen_broker
    config = make_config(wait_s=1.0, bootstrap_servers=address)
    lines = [f"{iso(n, 60)},load-1,{n % 50}" for n in range(5000)]
    text = "\n".join(["time,source_id,power_kw", *lines])
    (config.paths.data_dir / "load.csv").write_text(text)
    with pytest.raises(StreamError, match=r"did not acknowledge \d+ of \d+ messages \("):
        producer.produce(config, ["load"], advance=lambda count: silence())
    wake()
    assert producer.produce(config, ["load"]) == {"load": 5000}


def test_a_replay_says_which_dead_letters_it_could_not_mark(make_config, frozen_broker):
    """They are stored, and their notice is sent again by the next replay."""
    address, silence, wake = frozen_broker
    config = make_config(bootstrap_servers=address)
    send(config, "solar", [power(iso(0, 15), 250), power(iso(1, 15), 260)], [1000, 1000])
    with running(sink.Sink(config, until_drained=True)):
        pass
    mended = [dataclasses.replace(SOURCES[0], capacity_kw=300.0), *SOURCES[1:]]
    write_sources(config.paths.data_dir / "sources.csv", mended)
    database = dataclasses.replace(config.database, wait_s=1.0)
    impatient = dataclasses.replace(config, database=database)
    with ThreadPoolExecutor(1) as pool:
        with locked(config, "renewables") as is_waiting:
            replay = pool.submit(communication.replay_dead_letters, impatient)
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
