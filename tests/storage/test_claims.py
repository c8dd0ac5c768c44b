"""Claims: a task is done once, by whoever is there, and a process that dies gives it back."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vpp.storage.claims import claimed, read_steps, record_step, server_time
from vpp.storage.connection import connect, session
from vpp.storage.errors import DatabaseError

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from vpp.runtime.config import load_config
from vpp.storage.claims import claimed
with claimed(load_config(sys.argv[2]), "a", "2000-01-01T00:00Z") as claim:
    print("held" if claim else "taken", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def world(config_file):
    from vpp.runtime.config import load_config

    return load_config(config_file())


def now(config):
    with session(config) as conn:
        return server_time(conn)


def test_a_server_that_is_gone_is_told_as_such_by_all_that_read_and_record(world):
    since = now(world)
    for asked in (
        lambda conn: read_steps(conn, ["a"], since),
        lambda conn: record_step(conn, "a", 1, 2),
    ):
        conn = connect(world)
        with session(world) as other, other.cursor() as cur:
            cur.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        with pytest.raises(DatabaseError, match=r"terminat|closed"):
            asked(conn)
        conn.close()


def test_a_task_is_claimed_once_and_done_once(world):
    since = now(world)
    with claimed(world, "a", since) as mine:
        assert mine and not mine.done
        with claimed(world, "a", since) as other, claimed(world, "b", since) as free:
            assert other is None
            assert free and not free.done
        mine.finish({"rows": [1.5, None]})
    with claimed(world, "a", since) as again:  # of a command that began before it was done
        assert (again.done, again.result) == (True, {"rows": [1.5, None]})
    with claimed(world, "a", now(world)) as later:
        assert (later.done, later.earlier) == (False, {"rows": [1.5, None]})


def test_a_block_that_fails_gives_its_claim_back(world):
    since = now(world)
    with pytest.raises(RuntimeError), claimed(world, "a", since):
        raise RuntimeError("out of memory")
    with claimed(world, "a", since) as claim:
        assert claim and not claim.done


def test_a_process_that_is_killed_gives_its_claim_back(world):
    command = [sys.executable, "-c", HOLDER, str(ROOT), str(world.path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        since = now(world)
        with claimed(world, "a", since) as claim:
            assert claim is None
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with claimed(world, "a", since, wait=True) as claim:
            assert claim and not claim.done
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()


def test_steps_of_a_task_count_while_it_is_claimed_and_no_more_after(world):
    since = now(world)
    with claimed(world, "a", since) as claim, session(world) as conn:
        record_step(conn, "a", 3, 4)
        assert read_steps(conn, ["a", "b"], since) == 0.75
        claim.finish([])
    with session(world) as conn:
        assert read_steps(conn, ["a", "b"], since) == 1.0
        assert read_steps(conn, ["a"], server_time(conn)) == 0.0
