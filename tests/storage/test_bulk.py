"""Which rows a write of measurements inserts, replaces or leaves, on a real server."""

import threading
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_storage import HOUR_US, START, make_source, store, us

import db
from vpp.site.kinds import KINDS, WEATHER
from vpp.storage import bulk


def test_only_a_newer_message_replaces_a_value(conn):
    load = make_source("load-1", "load")
    assert store(conn, load, [1, 2, 3], sent_ms=2000) == 3
    assert store(conn, load, [1, 2, 3], sent_ms=2000) == 0  # read again
    assert store(conn, load, [7, 8, 9], sent_ms=1999) == 0  # older
    assert list(db.read_series(conn, load)) == [1, 2, 3]
    # the same millisecond: a value that comes later is newer
    assert store(conn, load, [1, 5, 3], sent_ms=2000) == 1
    assert store(conn, load, [7], sent_ms=2001) == 1
    assert list(db.read_series(conn, load)) == [7, 5, 3]


def test_the_newest_of_a_batch_counts(conn):
    time_us = us([START])[0]
    columns = {
        "source": np.array([0, 0, 0, 1, 0]),
        "time": np.array([time_us, time_us, time_us, time_us, time_us + HOUR_US]),
        "power_kw": np.array([1.0, 2.0, 3.0, 4.0, 5.0]),
        "sent_at": np.array([20, 30, 30, 10, 10]) * 1000,
    }
    # of the first three the last of the two sent at 30
    assert db.store_measurements(conn, "load", ["a", "b"], columns) == 3
    assert list(db.read_series(conn, make_source("a", "load"))) == [3, 5]
    assert list(db.read_series(conn, make_source("b", "load"))) == [4]


NAMES = ["a", "load-1", "load-22", "mühle-1"]  # of different lengths, in characters and in bytes


# Source, hour, value, sent: few keys, so that batches meet what is stored, and gaps, so that they
# pass it by.
BATCHES = st.lists(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 2), st.integers(0, 3)),
        max_size=12,
    ),
    max_size=6,
)


@pytest.mark.parametrize("kind", ["load", "weather-forecast"])
@pytest.mark.parametrize("looks", [True, False])
@given(batches=BATCHES)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_batches_leave_the_newest_values(conn, monkeypatch, kind, looks, batches):
    """Copied straight in or not.

    Also where the look at the table is mistaken, as when another writes meanwhile.
    """
    if not looks:
        monkeypatch.setattr(bulk, "_holds_any", lambda *arguments: False)
    table = KINDS[kind].table
    with conn.cursor() as cursor:
        cursor.execute(f"TRUNCATE {table}")
    newest = {}
    for batch in batches:
        source, hour, value, sent = np.array(batch, np.int64).reshape(-1, 4).T
        if kind == "load":
            columns = {
                "source": source,
                "time": us([START])[0] + hour * HOUR_US,
                "power_kw": value.astype(float),
            }
        else:  # the hour is split into two times
            columns = {
                "source": source,
                "issue_time": us([START])[0] + hour // 6 * HOUR_US,
                "valid_time": us([START])[0] + hour % 6 * HOUR_US,
            }
            columns |= dict.fromkeys(WEATHER, value.astype(float))
        of_batch = {}
        for name, key, number, at in batch:  # a later value of the same millisecond is newer
            if at >= of_batch.get((name, key), (-1, 0))[0]:
                of_batch[name, key] = (at, number)
        changed = 0
        for key, (at, number) in of_batch.items():  # an equal value is not written
            old_at, old = newest.get(key, (-1, None))
            if at >= old_at and number != old:
                newest[key], changed = (at, number), changed + 1
        columns |= {"sent_at": sent * 1000}
        assert db.store_measurements(conn, table, NAMES, columns) == changed
    conn.commit()
    with conn.cursor() as cursor:
        if kind == "load":
            cursor.execute(
                "SELECT source_id, extract(epoch FROM time), power_kw, sent_at FROM load"
            )
            found = {(name, int(at) // 3600): (sent, value) for name, at, value, sent in cursor}
            first = us([START])[0] // HOUR_US
            expected = {(NAMES[name], first + hour): item for (name, hour), item in newest.items()}
        else:
            cursor.execute("""
                SELECT source_id, extract(epoch FROM issue_time), extract(epoch FROM valid_time),
                    ghi, sent_at
                FROM weather_forecasts""")
            first = us([START])[0] // HOUR_US
            found = {
                (name, (int(issue) // 3600 - first) * 6 + int(valid) // 3600 - first): (sent, value)
                for name, issue, valid, value, sent in cursor
            }
            expected = {(NAMES[name], hour): item for (name, hour), item in newest.items()}
    assert {
        key: (round(sent.timestamp() * 1000), value) for key, (sent, value) in found.items()
    } == expected


def test_a_writer_that_was_faster_is_waited_for(config, conn):
    """Both see an empty table: the second waits for the first, and replaces only older values."""
    load = make_source("load-1", "load")
    other = db.connect(config)
    times = us(pd.date_range(START, periods=3, freq="h"))
    columns = {
        "source": np.zeros(3, np.int64),
        "time": times,
        "power_kw": np.array([1.0, 2.0, 3.0]),
        "sent_at": np.array([5, 1, 5]) * 1000,
    }
    db.store_measurements(other, "load", ["load-1"], columns)
    stored = []
    second = threading.Thread(target=lambda: stored.append(store(conn, load, [7, 8, 9], sent_ms=2)))
    second.start()
    with db.connect(config) as third, third.cursor() as cursor:
        deadline = time.monotonic() + 30
        waits = False
        while not waits and time.monotonic() < deadline:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = %s)",
                (conn.info.backend_pid,),
            )
            waits = cursor.fetchone()[0]
    assert waits
    other.commit()
    second.join()
    other.close()
    third.close()
    assert stored == [1] and list(db.read_series(conn, load)) == [1, 8, 3]


def test_an_equal_value_writes_nothing(conn):
    """Whenever it was sent, the row stays where it is on its page (ctid)."""
    columns = {
        "source": np.zeros(3, np.int64),
        "time": us([START])[0] + np.arange(3) * HOUR_US,
        "power_kw": np.array([1.0, 2.0, 3.0]),
        "sent_at": np.full(3, 1000),
    }

    def places():
        with conn.cursor() as cursor:
            cursor.execute("SELECT ctid, sent_at FROM load ORDER BY time")
            return cursor.fetchall()

    assert db.store_measurements(conn, "load", ["a"], columns) == 3
    before = places()
    again = columns | {"sent_at": np.full(3, 9000)}
    assert db.store_measurements(conn, "load", ["a"], again) == 0
    assert places() == before
    again["power_kw"] = np.array([1.0, 5.0, 3.0])
    assert db.store_measurements(conn, "load", ["a"], again) == 1
    assert [row == old for row, old in zip(places(), before, strict=True)] == [True, False, True]
