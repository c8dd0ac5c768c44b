"""Three days are replayed through the whole plant; benchmarks/bench_soak.py replays more."""

import pytest
from small_broker import mosquitto

from benchmarks.bench_soak import Soak, main
from benchmarks.soak_device import obeyed_wrongly
from benchmarks.soak_site import synthetic

TIMED = {"plans", "plans missing in a row", "share of it", "memory, last tenth over second tenth"}


def test_three_days_with_kills_lose_nothing(tmp_path, servers, database_url, kafka_prefix):
    """Half a minute on the wall; how many plans a busy machine makes is no matter of this."""
    mosquitto()
    kafka = {
        "bootstrap_servers": servers.bootstrap_servers,
        "topic_prefix": kafka_prefix,
        "group_id": f"{kafka_prefix}sink",
        "partitions": 4,
    }
    own = {"database": {"url": database_url}, "kafka": kafka}
    events = {"kills": 1, "late": 6, "corrected": 3, "silent_h": 8}
    soak = Soak(tmp_path, synthetic(3), 8640.0, 180, **events, servers=own)
    seen = {row["check"]: row for row in soak.run()}
    failed = {name for name, row in seen.items() if row["holds"] == "no"}
    assert failed <= TIMED, [seen[name] for name in failed]
    assert soak.killed.total() == 1 and len(soak.told) == 9 and len(soak.silent) == 8
    assert len(soak.device.steps) >= 3 * 24 and len(soak.device.obeyed) >= 1
    memory = float(seen["memory, last tenth over second tenth"]["figure"])
    assert memory == pytest.approx(1, abs=0.5)


def test_a_set_point_obeyed_wrongly_is_counted():
    span = ["2024-01-01T00:00:00Z", "2024-01-01T00:15:00Z"]
    good = ["a", "2024-01-01T00:00:00Z", *span, 5.0, "2024-01-01T00:01:00Z"]
    newer = ["b", "2024-01-01T00:00:00Z", *span, 7.0, "2024-01-01T00:02:00Z"]
    planned = {("a", span[0]): 5.0, ("b", span[0]): 7.0}
    assert obeyed_wrongly([good, newer], planned) == {"twice": 0, "stale": 0, "another_kw": 0}
    assert obeyed_wrongly([good, good], planned)["twice"] == 1
    assert obeyed_wrongly([good, newer, good], planned)["stale"] == 1  # b has followed a
    late = [*good[:5], "2024-01-01T00:15:00Z"]
    assert obeyed_wrongly([late], planned)["stale"] == 1
    assert obeyed_wrongly([good], {("a", span[0]): 6.0})["another_kw"] == 1
    assert obeyed_wrongly([good], {})["stale"] == 1  # the database has no such plan


def test_without_a_broker_it_is_refused_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.bench_soak.PLACES", ("",))
    assert main(["--days", "1"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
