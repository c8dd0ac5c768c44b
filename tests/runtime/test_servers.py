"""Embedded servers under everything that may happen to them.

Real processes, real signals, rows checked by SQL.
"""

import json
import os
import select
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from small_embedded import assert_rows, commit_rows, ends, execute

import embedded
from vpp.runtime import postgres as runtime_postgres
from vpp.runtime.places import find_places
from vpp.runtime.postgres import take_postgres_lock
from vpp.runtime.servers import BROKER_MAX_BYTES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="embedded servers need Linux")


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    """A state folder for the tests that each start what they need; removed at the end."""
    folder = tmp_path_factory.mktemp("embedded") / "state"
    yield folder
    embedded.stop(folder, delete=True)


@pytest.fixture
def stranger():
    """A process that is none of ours and must live on."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    assert process.poll() is None, "a stranger's process was ended"
    process.kill()
    process.wait()


def pids(state_dir: Path) -> tuple[int, int]:
    """Process ids of the postmaster and of the daemon."""
    postgres, broker = embedded.describe(find_places(state_dir))
    return postgres["pid"], broker["pid"]


def kill_and_wait(*process_ids: int) -> None:
    """kill -9 and wait until they are gone."""
    handles = [os.pidfd_open(number) for number in process_ids]
    for handle in handles:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    for handle in handles:
        assert select.select([handle], [], [], 20)[0]
        os.close(handle)


def test_settings_that_keep_rows_and_keep_others_out(state_dir):
    url = embedded.ensure_running(state_dir, 60).database_url
    rows = execute(
        url,
        "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', "
        "'data_checksums', 'synchronous_commit')",
    )
    assert dict(rows) == dict.fromkeys(
        ["fsync", "full_page_writes", "data_checksums", "synchronous_commit"], "on"
    )
    assert execute(url, "SHOW listen_addresses") == [("",)] and execute(
        url, "SHOW unix_socket_permissions"
    ) == [("0700",)]


def test_killed_daemon_takes_postgresql_along_and_the_next_start_finds_every_row(state_dir):
    url = embedded.ensure_running(state_dir, 60).database_url
    table = commit_rows(url)
    postmaster, daemon = pids(state_dir)
    kill_and_wait(daemon)
    assert ends(postmaster)
    assert_rows(embedded.ensure_running(state_dir, 60).database_url, table)
    assert pids(state_dir)[0] != postmaster


def test_killed_postmaster_is_started_again_and_the_broker_keeps_its_messages(state_dir):
    addresses = embedded.ensure_running(state_dir, 60)
    table = commit_rows(addresses.database_url)
    topic = f"t{uuid.uuid4().hex[:8]}"
    producer = Producer({"bootstrap.servers": addresses.bootstrap_servers})
    producer.produce(topic, b"kept")
    assert producer.flush(20) == 0
    postmaster, daemon = pids(state_dir)
    kill_and_wait(postmaster)
    again = embedded.ensure_running(state_dir, 60)
    assert again == addresses
    assert_rows(again.database_url, table)
    assert pids(state_dir)[1] == daemon and pids(state_dir)[0] != postmaster
    assert sum(high - low for low, high in watermarks(addresses.bootstrap_servers, topic)) == 1


def test_killed_backend_disturbs_nobody_for_long(state_dir):
    url = embedded.ensure_running(state_dir, 60).database_url
    table = commit_rows(url)
    victim = psycopg2.connect(url)
    with pytest.raises(psycopg2.OperationalError), victim.cursor() as cursor:
        kill_and_wait(victim.info.backend_pid)
        cursor.execute("SELECT 1")
    assert_rows(embedded.ensure_running(state_dir, 60).database_url, table)


def test_stale_files_with_a_strangers_pid_harm_neither_the_start_nor_the_stranger(
    state_dir, stranger
):
    url = embedded.ensure_running(state_dir, 60).database_url
    table = commit_rows(url)
    places = find_places(state_dir)
    postmaster, daemon = pids(state_dir)
    stale = (places.postgres / "data" / "postmaster.pid").read_text()
    kill_and_wait(daemon, postmaster)
    (places.postgres / "data" / "postmaster.pid").write_text(
        stale.replace(str(postmaster), str(stranger.pid), 1)
    )
    places.lock.write_text(str(stranger.pid))
    places.runtime.write_text(
        json.dumps(
            {
                "database_url": url,
                "bootstrap_servers": "127.0.0.1:1",
                "postgres": str(places.postgres),
            }
        )
    )
    assert (
        embedded.stop(state_dir) is False
    )  # nothing runs; the stranger named in the lock file is left alone
    assert_rows(embedded.ensure_running(state_dir, 60).database_url, table)


def test_a_leftover_postgresql_that_does_not_end_is_killed_where_it_is_proven_ours(
    state_dir, stranger, monkeypatch
):
    url = embedded.ensure_running(state_dir, 60).database_url
    table = commit_rows(url)
    places = find_places(state_dir)
    postmaster, daemon = pids(state_dir)
    with (
        places.postgres / "postgres.lock"
    ).open() as file:  # a reader of the file, such as a backup, is no proof
        reader = subprocess.Popen(["sleep", "600"], pass_fds=[file.fileno()])
    os.kill(postmaster, signal.SIGSTOP)
    kill_and_wait(daemon)
    monkeypatch.setattr(runtime_postgres, "LEFTOVER_GRACE_S", 0.3)
    os.close(take_postgres_lock(places))
    assert ends(postmaster)
    assert reader.poll() is None
    reader.kill()
    reader.wait()
    assert_rows(embedded.ensure_running(state_dir, 60).database_url, table)


def test_daemon_ends_when_its_folder_is_removed(state_dir):
    embedded.ensure_running(state_dir, 60)
    postmaster, daemon = pids(state_dir)
    find_places(state_dir).lock.unlink()
    assert ends(daemon) and ends(postmaster)


def test_a_server_that_does_not_start_names_its_log(state_dir):
    embedded.ensure_running(state_dir, 60)
    embedded.stop(state_dir)
    settings = find_places(state_dir).postgres / "data" / "postgresql.conf"
    good = settings.read_text()
    settings.write_text("shared_buffers = nonsense\n")
    try:
        with pytest.raises(
            embedded.EmbeddedError, match=r"did not start: .*postgresql\.conf.*servers\.log$"
        ) as raised:
            embedded.ensure_running(state_dir, 60)
    finally:
        settings.write_text(good)
    assert "\n" not in str(raised.value)


def watermarks(bootstrap_servers: str, topic: str) -> list[tuple[int, int]]:
    """First and next offset of each partition."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "watermarks"})
    try:
        partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
        return [
            consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
            for number in sorted(partitions)
        ]
    finally:
        consumer.close()


def test_broker_has_the_limits_that_producers_reckon_with(state_dir):
    """Messages of one batch each.

    A partition keeps BROKER_MAX_BATCHES small ones, or BROKER_MAX_BYTES of large ones, no more.
    """
    servers = embedded.ensure_running(state_dir, 60).bootstrap_servers
    topic = f"t{uuid.uuid4().hex[:8]}"
    producer = Producer({"bootstrap.servers": servers, "batch.num.messages": 1, "linger.ms": 0})
    size = 100_000
    count = 2 * BROKER_MAX_BYTES // size  # 104 messages
    for _ in range(count):
        producer.produce(topic, b"x" * size, partition=0)
    assert producer.flush(30) == 0
    marks = watermarks(servers, topic)
    assert len(marks) == 4
    low, high = marks[0]
    assert high == count
    kept = (high - low) * size
    assert BROKER_MAX_BYTES - 2 * size <= kept <= BROKER_MAX_BYTES + size


def test_concurrent_calls_of_one_process_share_one_server(state_dir):
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(lambda _: embedded.ensure_running(state_dir, 60), range(6)))) == 1
