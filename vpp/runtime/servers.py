"""PostgreSQL and a Kafka-protocol broker for a machine without Docker: start, find and stop them.

One background process, `vpp.runtime.daemon`, holds both. It holds a lock for as long as it lives,
so the lock tells whether it runs, never a process id. A file with the addresses appears when both
servers answer.

    python embedded.py status
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from vpp.runtime.parallel import module_command
from vpp.runtime.places import (
    EmbeddedError,
    Places,
    find_places,
    has_open,
    is_file,
    last_line,
    make_private,
)
from vpp.runtime.postgres import take_postgres_lock

# Limits of the broker inside librdkafka (rdkafka_mock.c: rd_kafka_mock_partition_init and
# rd_kafka_mock_cluster_new): a partition drops its oldest batches, read or not, beyond either of
# them.
BROKER_MAX_BYTES = 5 * 1024 * 1024
BROKER_MAX_BATCHES = 100_000


@dataclass(frozen=True)
class Addresses:
    """Where clients find the servers: a libpq URL and host:port of the broker."""

    database_url: str
    bootstrap_servers: str


def ensure_running(state_dir: Path, wait_s: float) -> Addresses:
    """Start both servers where they are not running, wait until they answer, and say where.

    Any number of processes may call this at once: one starts the servers, the others wait for them.

    Parameters
    ----------
    state_dir : `[paths] state_dir`.
    wait_s : how long to wait for an answer [s]; servers that are still starting then go on
        starting.

    Raises
    ------
    EmbeddedError : they cannot be started, or do not answer in time; names the log file.
    """
    if sys.platform != "linux":
        raise EmbeddedError(
            "embedded servers need Linux; set [database] url and [kafka] bootstrap_servers, or "
            "run `make up`"
        )
    places = find_places(state_dir)
    deadline = time.monotonic() + wait_s
    daemon = None
    while True:
        with errors_of_files(places):
            published = _read_runtime(places)
            if published and _is_locked(places) and _answers(published[0].database_url):
                return published[0]
            if daemon is not None and daemon.poll():
                raise EmbeddedError(
                    f"the embedded servers did not start: {last_line(places.log)}; see {places.log}"
                )
            if daemon is None or daemon.returncode == 0:  # 0: somebody stopped it
                daemon = _spawn_daemon(places)
        if time.monotonic() > deadline:
            raise EmbeddedError(
                f"the embedded servers did not answer within {wait_s:g} s: "
                f"{last_line(places.postgres_log)}; "
                f"run the same command again when they do, or see {places.postgres_log} and "
                f"{places.log}"
            )
        time.sleep(0.05)


def stop(state_dir: Path, delete: bool = False, wait_s: float = 60.0) -> bool:
    """Shut both servers down, letting PostgreSQL write its last checkpoint.

    Parameters
    ----------
    state_dir : `[paths] state_dir`.
    delete : whether to remove all that they keep, too.
    wait_s : how long to wait for their end [s].

    Returns
    -------
    Whether they were running.

    Raises
    ------
    EmbeddedError : they do not end in time, or their files cannot be removed.
    """
    places = find_places(state_dir)
    deadline = time.monotonic() + wait_s
    was_running = False
    with errors_of_files(places):
        if not places.control.exists() and not places.postgres.exists():
            return False
        if places.user:
            places.postgres.mkdir(mode=0o700, parents=True, exist_ok=True)
        while (lock := _take_lock(places)) is None:
            was_running = True
            _signal_daemon(places)
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"the embedded servers did not stop within {wait_s:g} s; see {places.log}"
                )
            time.sleep(0.05)
        try:
            if (places.postgres / "postgres.lock").exists():
                os.close(take_postgres_lock(places))
            places.runtime.unlink(missing_ok=True)
            if delete:
                for folder in {places.postgres, places.control}:
                    shutil.rmtree(folder)
        finally:
            _release(lock)
    return was_running


def _take_lock(places: Places) -> int | None:
    """The descriptor that holds `lock`, or None where another process holds it."""
    make_private(places.control.parent)
    places.control.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(places.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_file(descriptor, places.lock):  # else it was removed in between, by `stop --delete`
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_locked(places: Places) -> bool:
    lock = _take_lock(places)
    if lock is not None:
        _release(lock)
    return lock is None


def _release(lock: int) -> None:
    """Unlock and close; a fork in another thread may hold a copy of the descriptor."""
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)


def _signal_daemon(places: Places) -> None:
    """Ask the daemon to end; the id in the lock file counts only where it has this file open."""
    with suppress(FileNotFoundError, ValueError, ProcessLookupError), places.lock.open() as lock:
        number = int(lock.read())
        process = os.pidfd_open(number)
        try:
            if has_open(number, lock.fileno()):
                signal.pidfd_send_signal(process, signal.SIGTERM)
        finally:
            os.close(process)


@contextmanager
def errors_of_files(places: Places) -> Iterator[None]:
    """Turn failures of the file system into an EmbeddedError of one line."""
    try:
        yield
    except OSError as error:
        where = error.filename or places.control
        raise EmbeddedError(
            f"{where}: {error.strerror or error}; the embedded servers need a folder that this "
            "user may write: set [paths] state_dir, or run as the user who made it"
        ) from None


def _read_runtime(places: Places) -> tuple[Addresses, Path] | None:
    """The addresses that the daemon published, and PostgreSQL's folder.

    That folder is another one where root asks for a user's servers.
    """
    try:
        published = json.loads(places.runtime.read_text())
    except FileNotFoundError:
        return None
    addresses = Addresses(published["database_url"], published["bootstrap_servers"])
    return addresses, Path(published.get("postgres", places.postgres))


def publish(places: Places, addresses: Addresses) -> None:
    """Write the addresses for other processes, all at once.

    Parameters
    ----------
    places : of this state folder.
    addresses : of servers that answer.
    """
    fresh = places.runtime.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(addresses) | {"postgres": str(places.postgres)}))
    fresh.replace(places.runtime)


def _answers(database_url: str) -> bool:
    import psycopg2

    try:
        psycopg2.connect(database_url, connect_timeout=5).close()
    except psycopg2.OperationalError:  # it starts, or recovers from a crash
        return False
    return True


def _spawn_daemon(places: Places) -> subprocess.Popen | None:
    """Start the daemon and hand it the lock; None where a daemon holds it already."""
    lock = _take_lock(places)
    if lock is None:
        return None
    command, environment = module_command("vpp.runtime.daemon")
    command += [str(places.control.parent), str(lock)]
    try:
        places.runtime.unlink(missing_ok=True)
        os.ftruncate(lock, 0)
        with places.log.open("ab") as log:
            daemon = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd="/",
                start_new_session=True,
                pass_fds=[lock],
            )
    except BaseException:
        _release(lock)
        raise
    os.close(lock)  # the daemon holds it now
    return daemon


def running(state_dir: Path) -> Addresses | None:
    """Addresses of the servers of a state folder, where they run; nothing is started.

    Parameters
    ----------
    state_dir : holds what the servers keep.
    """
    places = find_places(state_dir)
    if not places.lock.exists() or not _is_locked(places):
        return None
    found = _read_runtime(places)
    return found[0] if found else None


def describe(places: Places) -> list[dict]:
    """Describe each server in a row.

    Returns
    -------
    State, process, address, where its state and its log lie, and what it keeps.
    """
    shown, folder, state = Addresses("", ""), places.postgres, "stopped"
    pids: list[int | None] = [None, None]
    if places.lock.exists() and _is_locked(places):
        shown, folder = _read_runtime(places) or (shown, folder)
        state = "running" if shown.database_url and _answers(shown.database_url) else "starting"
    if state == "running":
        pid_files = (folder / "data" / "postmaster.pid", places.lock)
        pids = [int(path.read_text().split("\n")[0]) for path in pid_files]
    limits = f"{BROKER_MAX_BYTES // 2**20} MiB or {BROKER_MAX_BATCHES:,} batches of each partition"
    rows = [
        ("PostgreSQL", shown.database_url, folder, folder / "postgres.log", "every committed row"),
        (
            "Kafka broker",
            shown.bootstrap_servers,
            None,
            places.log,
            f"no message when it stops; until then the newest {limits}",
        ),
    ]
    return [
        {
            "server": name,
            "state": state,
            "pid": pid,
            "address": address,
            "folder": place,
            "log": log,
            "keeps": keeps,
        }
        for (name, address, place, log, keeps), pid in zip(rows, pids, strict=True)
    ]
