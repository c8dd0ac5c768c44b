"""Kill -9 in the middle of the stream, a few rounds; benchmarks/bench_crash.py runs many."""

import random

import pytest

import embedded
from benchmarks import bench_crash


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """State of embedded servers of these tests' own, for PostgreSQL is killed too."""
    path = tmp_path_factory.mktemp("crash")
    yield path
    embedded.stop(path / "state", delete=True)


@pytest.mark.parametrize(
    ("number", "scenario", "arguments"),
    [
        (0, bench_crash.kill_sink, {}),
        (1, bench_crash.kill_sink, {"sinks": 2}),
        (2, bench_crash.kill_postgres, {}),
        (3, bench_crash.kill_producer, {}),
    ],
    ids=["sink", "one of two sinks", "PostgreSQL", "producer"],
)
def test_nothing_is_lost_or_doubled(folder, number, scenario, arguments):
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown when it fails
    assert "rows" in bench_crash.run_round(bench_crash.new_config(folder, number), seed, scenario, **arguments)
