"""The producer: which files it refuses, the order of time, and how its process ends."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from small_stream import SOURCES, patient, read, wait_until, write_csvs, write_loads

import communication
from sources import write_sources
from vpp.site.kinds import KINDS
from vpp.stream import kafka, producer
from vpp.stream.kafka import StreamError


def test_a_csv_without_a_column_is_refused(make_config):
    config = make_config()
    write_csvs(config)
    (config.paths.data_dir / "wind.csv").write_text("time,source_id,power\n")
    with pytest.raises(
        kafka.StreamError, match=r"wind\.csv: no column power_kw; expected source_id,time,power_kw"
    ):
        producer.produce(config, ["wind"])


def test_no_csv_names_the_command_that_makes_them(make_config):
    with pytest.raises(kafka.StreamError, match=r"run python generation\.py"):
        producer.produce(make_config(), list(KINDS))


def test_speed_sends_in_the_order_of_time(make_config):
    config = make_config()
    write_csvs(config, 3)
    began = time.monotonic()
    # two hours in 0.1 s
    sent = list(producer.messages(config, ["solar", "load"], 7200 * 10, lambda: False))
    assert time.monotonic() - began >= 0.1
    assert [kind for kind, _, _ in sent] == ["solar", "load", "solar", "solar", "load", "load"]


def test_the_producer_refuses_what_the_embedded_broker_would_drop(make_config, little_room):
    config = make_config(wait_s=1.0)
    write_sources(config.paths.data_dir / "sources.csv", SOURCES)
    write_loads(config, 60_000, step=-1)
    full = "load-topic is full: the embedded broker keeps 5 MiB a partition and "
    with pytest.raises(kafka.StreamError, match=full + r"[\d,]+ messages wait"):
        producer.produce(config, ["load"])
    (row,) = communication.stream(patient(config, 30.0))
    # the messages that waited were stored before
    assert row["produced"] == 60_000 == row["in_database"]
    assert row["lost"] == 0


@pytest.fixture
def long_stream(make_config, little_room, script):
    """`communication.py` at work on more than the embedded broker can hold; and its producer.

    So the producer still waits for room.
    """
    config = make_config()
    write_sources(config.paths.data_dir / "sources.csv", SOURCES)
    write_loads(config, 100_000, step=-1)
    command = script("communication.py", "--config", config.path)
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_until(lambda: children(running.pid), 60)
        yield config, running, children(running.pid)[0]
    finally:
        running.kill()
        running.communicate()


def children(number):
    paths = Path(f"/proc/{number}/task").glob("*/children")
    numbers = [int(child) for path in paths for child in path.read_text().split()]
    return [
        child
        for child in numbers
        if b"vpp.stream.producer" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def is_running(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(number):
    """True where a process ends; fails where it goes on."""
    wait_until(lambda: not is_running(number))
    return True


def stream_again(config, count):
    row, *_ = communication.stream(config)
    assert (row["produced"], row["in_database"], row["dead_lettered"]) == (count, count, 0)


def test_a_killed_producer_ends_the_stream_and_the_next_completes_it(long_stream):
    config, running, producing = long_stream
    os.kill(producing, signal.SIGKILL)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 1
    told = "communication.py: the producer's process ended with -9 before all was sent; "
    assert errors == told + "run the same command again\n"
    stream_again(config, 100_000)


@pytest.mark.parametrize("stored", [0, 1])
def test_ctrl_c_ends_a_stream_with_one_line_and_its_producer(long_stream, stored):
    config, running, producing = long_stream
    if stored:
        wait_until(lambda: len(read(config, SOURCES[2])), 60)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to all processes
    _, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (
        130,
        "communication.py: interrupted; run the same command again to complete it\n",
    )
    assert ends(producing)


def test_a_producer_does_not_outlive_its_stream(long_stream):
    _, running, producing = long_stream
    running.kill()
    assert ends(producing)


def test_a_producer_says_how_much_was_not_acknowledged(sink_config, frozen_broker):
    """The broker falls silent after the first part of the file was sent."""
    address, silence, wake = frozen_broker
    config = sink_config(wait_s=1.0, bootstrap_servers=address)
    write_loads(config, 5000)
    with pytest.raises(StreamError, match=r"did not acknowledge \d+ of \d+ messages \("):
        producer.produce(config, ["load"], advance=lambda count: silence())
    wake()
    assert producer.produce(config, ["load"]) == {"load": 5000}
