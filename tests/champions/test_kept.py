"""A plant in operation reads the model store only where something may be new."""

import pytest

from vpp.champions import kept
from vpp.champions.kept import KEPT_S, KeptChampions


def test_champions_are_read_again_when_a_model_is_registered_or_time_is_up(monkeypatch):
    now, reads = [0.0], []
    monkeypatch.setattr(kept.time, "monotonic", lambda: now[0])
    store, trouble = {"load-1": "version 1"}, {}

    def reader():
        reads.append(now[0])
        return dict(store), dict(trouble)

    found, digests = KeptChampions(), {("load-1", "1"): "ab"}
    for _ in range(3):
        assert found.read(["load-1"], digests, reader)[0] == store
    assert len(reads) == 1
    store["load-1"] = "version 2"  # of which the database has the digest, too
    assert found.read(["load-1"], digests | {("load-1", "2"): "cd"}, reader)[0] == store
    store["load-1"] = "version 1"  # a person moves the alias back
    now[0] += KEPT_S
    assert found.read(["load-1"], digests | {("load-1", "2"): "cd"}, reader)[0] == store
    assert len(reads) == 3
    assert found.read(["load-1", "wind-1"], digests, reader)[0] == store and len(reads) == 4
    trouble["load-1"] = ("the store does not answer",)
    now[0] += KEPT_S
    for count in (5, 6, 7):  # what could not be read is asked for again each time
        assert found.read(["load-1"], digests, reader)[1] and len(reads) == count


def test_a_file_is_read_once_for_each_digest(monkeypatch, mlflow_champion):
    reads = []
    monkeypatch.setattr(kept, "read_file", lambda champion: reads.append(champion) or b"file")
    files = KeptChampions()
    for sha256 in ("ab", "ab", "cd", "cd", None):
        assert files.file(mlflow_champion, sha256) == b"file"
    assert len(reads) == 3 and len(files.files) == 1


@pytest.fixture
def mlflow_champion():
    import pandas as pd

    from vpp.champions.registry import Champion

    return Champion("load-1", "daily_naive", {}, "1", pd.Timestamp("2025-01-01T00:00Z"))
