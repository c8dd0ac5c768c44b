"""Embedded servers under everything that may happen to them.

Real processes, real signals, rows checked by SQL.
"""

import json
import os
import select
import signal
import stat
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg2
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from conftest import PROJECT

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
def fresh_state_dir(tmp_path):
    yield tmp_path / "state"
    embedded.stop(tmp_path / "state", delete=True)


@pytest.fixture
def stranger():
    """A process that is none of ours and must live on."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    assert process.poll() is None, "a stranger's process was ended"
    process.kill()
    process.wait()


def write_config(folder: Path, state: str | Path = "state") -> Path:
    path = folder / "config.ini"
    path.write_text(f"[paths]\nstate_dir = {state}\n[database]\nwait_s = 60\n")
    return path


def execute(url: str, statement: str) -> list[tuple]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


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


def wait_for_end(process_id: int) -> None:
    try:
        handle = os.pidfd_open(process_id)
    except ProcessLookupError:
        return
    assert select.select([handle], [], [], 30)[0], f"process {process_id} did not end"
    os.close(handle)


def commit_rows(url: str) -> str:
    """Commit 1,000 rows to a new table; returns its name."""
    table = f"t{uuid.uuid4().hex[:8]}"
    execute(
        url, f"CREATE TABLE {table} AS SELECT n, n * n AS square FROM generate_series(1, 1000) n"
    )
    return table


def assert_rows(url: str, table: str) -> None:
    # sum of squares 1..1000 = 1000 * 1001 * 2001 / 6 = 333,833,500
    assert execute(url, f"SELECT count(*), sum(square) FROM {table}") == [(1000, 333_833_500)]


def test_scripts_start_use_and_stop_the_servers_from_any_folder(tmp_path, script):
    config = write_config(tmp_path)

    def call(*arguments, cwd="/"):
        done = subprocess.run(
            script("embedded.py", "--config", config, *arguments),
            cwd=cwd,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        assert [row["state"] for row in json.loads(call("status", "--json"))] == [
            "stopped",
            "stopped",
        ]
        first = call("start")
        assert call("start", cwd=tmp_path) == first
        assert all(row["address"] in first for row in json.loads(call("start", "--json")))
        postgres, broker = json.loads(call("status", "--json", cwd=tmp_path))
        assert postgres["state"] == broker["state"] == "running"
        assert (
            postgres["address"] in first
            and broker["address"] in first
            and broker["address"].startswith("127.0.0.1:")
        )
        assert (
            "no message when it stops" in broker["keeps"]
            and "every committed row" in postgres["keeps"]
        )
        assert "no message when it stops" in " ".join(call("status").split())
        for folder in (
            tmp_path / "state",
            tmp_path / "state" / "embedded",
            Path(postgres["folder"]),
        ):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        if os.geteuid() == 0:
            assert (
                Path(postgres["folder"]).parent == Path("/var/lib/vpp")
                and Path(postgres["folder"]).owner() == "vpp-postgres"
            )
        else:
            assert Path(postgres["folder"]) == tmp_path / "state" / "embedded"
        table = commit_rows(postgres["address"])

        assert call("stop") == "stopped\n"
        assert call("stop") == "was not running\n"
        assert "database system is shut down" in Path(postgres["log"]).read_text()
        for row in (postgres, broker):
            wait_for_end(row["pid"])
        call("start")
        assert_rows(json.loads(call("status", "--json"))[0]["address"], table)
    finally:
        assert "deleted" in call("stop", "--delete")
    assert not Path(postgres["folder"]).exists() and not (tmp_path / "state" / "embedded").exists()


def test_six_scripts_at_once_share_one_server(fresh_state_dir, tmp_path, script):
    config = write_config(tmp_path)
    command = script("embedded.py", "--config", config, "start")
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    outputs = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0] * 6, outputs
    assert len({output for output, _ in outputs}) == 1
    daemons = [
        path
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"vpp.runtime.daemon\0{fresh_state_dir}".encode() in read_bytes(path)
    ]
    assert len(daemons) == 1


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # the process ended meanwhile
        return b""


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
    wait_for_end(postmaster)
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
    wait_for_end(postmaster)
    assert reader.poll() is None
    reader.kill()
    reader.wait()
    assert_rows(embedded.ensure_running(state_dir, 60).database_url, table)


def test_daemon_ends_when_its_folder_is_removed(state_dir):
    embedded.ensure_running(state_dir, 60)
    postmaster, daemon = pids(state_dir)
    find_places(state_dir).lock.unlink()
    wait_for_end(daemon)
    wait_for_end(postmaster)


def test_an_ordinary_user_has_servers_too_also_below_a_long_path(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("the other tests ran as an ordinary user already")
    import pwd
    import tempfile

    account = pwd.getpwnam("nobody")
    as_nobody = {
        "user": account.pw_uid,
        "group": account.pw_gid,
        "extra_groups": [],
        "cwd": "/",
        "capture_output": True,
        "text": True,
    }
    python = python_for_all()
    if python is None:
        pytest.skip(
            f"the user nobody cannot read {PROJECT} or run a Python "
            f"{sys.version_info.major}.{sys.version_info.minor}"
        )
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chown(folder, account.pw_uid, account.pw_gid)
        state = (
            Path(folder) / ("a-long-name-" * 8) / "state"
        )  # with the socket's name more than 107 bytes
        config = write_config(Path(folder), state)
        config.chmod(0o644)

        def call(*arguments):
            environment = os.environ | {
                "HOME": folder,
                "PYTHONPATH": os.path.dirname(os.path.dirname(psycopg2.__file__)),
            }
            command = [
                python,
                "-B",
                str(PROJECT / "embedded.py"),
                "--config",
                str(config),
                *arguments,
            ]
            return subprocess.run(command, env=environment, **as_nobody)

        try:
            done = call("start")
            assert done.returncode == 0, done.stderr
            postgres, _ = json.loads(call("status", "--json").stdout)
            assert postgres["state"] == "running" and postgres["folder"] == str(state / "embedded")
            assert (
                state.stat().st_uid == account.pw_uid
                and stat.S_IMODE((state / "embedded").stat().st_mode) == 0o700
            )
            assert execute(postgres["address"], "SELECT 1") == [(1,)]
            assert (
                embedded.describe(find_places(state))[0]["pid"] == postgres["pid"]
            )  # root sees them too
        finally:
            stopped = call("stop", "--delete")
        assert stopped.returncode == 0 and not (state / "embedded").exists()
    assert not list(Path("/tmp").glob(f"vpp-{account.pw_uid}-*"))


def python_for_all() -> str | None:
    """A Python of this version that any user may run, where any user may also read the project and
    its packages.
    """
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [
        Path(sys.executable),
        *(Path(folder) / name for folder in ("/usr/bin", "/usr/local/bin")),
    ]
    if not open_to_all(PROJECT / "embedded.py") or not open_to_all(Path(psycopg2.__file__)):
        return None
    return next(
        (
            str(path)
            for path in candidates
            if path.exists() and open_to_all(path) and open_to_all(path.resolve())
        ),
        None,
    )


def open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents) and bool(
        path.stat().st_mode & stat.S_IROTH
    )


def test_a_state_folder_that_cannot_be_made_is_one_line(tmp_path, script):
    (tmp_path / "file").write_text("")
    config = write_config(tmp_path, "file/state")
    done = subprocess.run(
        script("embedded.py", "--config", config, "start"), capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert (
        f"{tmp_path}/file/state/" in done.stderr
        and "Not a directory" in done.stderr
        and "[paths] state_dir" in done.stderr
    )


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
