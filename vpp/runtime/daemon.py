"""The background process that holds PostgreSQL and the broker, as `vpp.runtime.servers` starts it.

It starts PostgreSQL again where that dies, and ends when its folder is removed.

    python embedded.py start
"""

import ctypes
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

from vpp.runtime.errors import VppError
from vpp.runtime.places import EmbeddedError, Places, find_places, is_file, last_line
from vpp.runtime.postgres import prepare_postgres, socket_folder, start_postgres, wait_for_postgres
from vpp.runtime.servers import Addresses, publish

FOLDER_CHECK_S = 2.0
RESTARTS_MAX = 5  # in a row without an answer
FIRST_JOIN_MS = 10  # that a group's first member waits for others


def serve(state_dir: Path, lock: int) -> None:
    """Hold both servers until SIGTERM, or until the folder is removed.

    Parameters
    ----------
    state_dir : `[paths] state_dir`.
    lock : descriptor that holds the daemon's lock (`_spawn_daemon`).

    Raises
    ------
    EmbeddedError : PostgreSQL ended `RESTARTS_MAX` times in a row without an answer.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_daemon)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)
    places = find_places(state_dir)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    binaries = prepare_postgres(places)
    sockets = socket_folder(places)
    url = f"postgresql://vpp@/vpp?host={quote(str(sockets), safe='')}&port=5432"
    broker = server = None
    failures = 0
    try:
        while failures < RESTARTS_MAX:
            failures += 1
            server = start_postgres(places, binaries, sockets)
            if wait_for_postgres(server, url):
                failures = 0
                if broker is None:
                    broker, address = start_broker()
                    publish(places, Addresses(url, address))
                _say(f"running: {url} and {address}")
                _wait_for_end(server, lock, places)
            _say(f"PostgreSQL ended with {server.returncode}: {last_line(places.postgres_log)}")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        places.runtime.unlink(missing_ok=True)
        if server is not None and server.poll() is None:
            # PostgreSQL's fast shutdown: no new work, a last checkpoint
            server.send_signal(signal.SIGINT)
            server.wait()
        if sockets != places.postgres:
            shutil.rmtree(sockets, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_UN)
    raise EmbeddedError(
        f"PostgreSQL ended {failures} times in a row: {last_line(places.postgres_log)}; see "
        f"{places.postgres_log}"
    )


def _say(text: str) -> None:
    print(time.strftime("%FT%TZ", time.gmtime()), text, flush=True)


def _end_daemon(number: int, frame: object) -> None:
    raise SystemExit(0)


def start_broker() -> tuple[int, str]:
    """Start librdkafka's broker in this process, by its C functions (rdkafka_mock.h).

    confluent-kafka alone could start it too, but leaves a group's first member waiting for others
    3 s, as a large cluster would; every bounded sink paid them.

    Returns
    -------
    The handle of the client that hosts it, which lives as long as the process; the broker's
    address.

    Raises
    ------
    EmbeddedError : it does not start.
    """
    from confluent_kafka import cimpl

    library = ctypes.CDLL(cimpl.__file__)  # finds librdkafka's functions in what it links
    for name in ("conf_new", "new", "handle_mock_cluster"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    reason = ctypes.create_string_buffer(512)
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(settings, b"test.mock.num.brokers", b"1", reason, len(reason))
    host = library.rd_kafka_new(0, settings, reason, len(reason))  # 0: a producer
    cluster = ctypes.c_void_p(library.rd_kafka_handle_mock_cluster(ctypes.c_void_p(host)))
    if not cluster:
        raise EmbeddedError(f"Kafka's embedded broker does not start: {reason.value.decode()}")
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, FIRST_JOIN_MS)
    return host, library.rd_kafka_mock_cluster_bootstraps(cluster).decode()


def _wait_for_end(server: subprocess.Popen, lock: int, places: Places) -> None:
    """Wait until PostgreSQL ends; end the daemon where its folder was removed."""
    process = os.pidfd_open(server.pid)
    try:
        while not select.select([process], [], [], FOLDER_CHECK_S)[0]:
            if not is_file(lock, places.lock):
                raise SystemExit(0)
    finally:
        os.close(process)
    server.wait()


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]), int(sys.argv[2]))
    except (VppError, OSError, KeyError) as failure:
        print(f"{failure}", flush=True)
        raise SystemExit(1) from None
