"""Three days are replayed through the whole plant; benchmarks/bench_soak.py replays more."""

import pytest

from benchmarks.soak import Soak


def test_three_days_with_kills_lose_nothing(tmp_path, servers, database_url, kafka_prefix):
    """Half a minute on the wall; how many plans a busy machine makes is no matter of this."""
    kafka = {
        "bootstrap_servers": servers.bootstrap_servers,
        "topic_prefix": kafka_prefix,
        "group_id": f"{kafka_prefix}sink",
        "partitions": 4,
    }
    own = {"database": {"url": database_url}, "kafka": kafka}
    events = {"kills": 1, "late": 6, "corrected": 3, "silent_h": 8}
    seen = Soak(tmp_path, 3, 8640.0, 180, **events, servers=own).run()
    slow = [fault for fault in seen["faults"] if fault.endswith("missing in a row")]
    assert seen["faults"] == slow
    assert seen["rows"] == (10 + 3) * 24 * 2 - 8
    assert seen["plans"] >= 2 and seen["steps_obeyed"] >= 1
    assert seen["memory_ratio"] == pytest.approx(1, abs=0.5)
