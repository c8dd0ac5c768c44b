"""Kill -9 in the middle of the stream, a few rounds; benchmarks/bench_crash.py runs many."""

import os
import random
import signal
import time

import pytest

import communication
import db
import embedded
from benchmarks import bench_crash, crash_round
from vpp.runtime.settings import EMBEDDED


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """State of embedded servers of these tests' own, for PostgreSQL is killed too."""
    path = tmp_path_factory.mktemp("crash")
    yield path
    embedded.stop(path / "state", delete=True)


def test_nothing_is_lost_or_doubled(folder):
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown when it fails
    # a broker of this folder's own, unless the tests have one that is no embedded one
    config = crash_round.new_config(folder, 0, os.environ.get("VPP_TEST_KAFKA") or EMBEDDED)
    assert "rows" in bench_crash.run_round(config, seed, bench_crash.kill_each)
    crash_round.delete_topics(config)


def test_a_service_outlives_both_servers(folder):
    """The embedded broker forgets its messages and has a new address when it comes back.

    The same group goes on.
    """
    config = crash_round.new_config(folder, 4)
    with db.session(config) as conn:
        db.reset(conn)
    test = crash_round.Round(config, 4)
    try:
        test.start_sink()
        test.send(500)
        until = time.monotonic() + 60
        while test.count_rows() < len(test.newest) and time.monotonic() < until:
            time.sleep(0.05)
        before = embedded.ensure_running(config.paths.state_dir, 60)
        os.kill(int(embedded.find_places(config.paths.state_dir).lock.read_text()), signal.SIGKILL)
        # the sink starts them again, or this does
        while embedded.ensure_running(config.paths.state_dir, 60) == before:
            time.sleep(0.05)
        test.connect()
        test.send_and_wait(500)
        test.invalid.clear()  # dead letters are forgotten too
        with pytest.raises(AssertionError, match="dead letters"):
            test.finish()
    finally:
        test.stop()
    embedded.stop(config.paths.state_dir)
    config.paths.data_dir.mkdir(exist_ok=True)
    line = "time,source_id,power_kw\n2024-01-01T00:00:00Z,load-1,7\n"
    (config.paths.data_dir / "load.csv").write_text(line)
    for everything, sent in ((False, 1), (False, 0), (True, 1)):
        (row,) = communication.stream(config, everything)
        found = (row["produced"], row["stored"] + row["unchanged"], row["lost"])
        assert found == (sent, sent, 0)
