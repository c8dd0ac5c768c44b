"""A value that a newer message replaces is kept with the time in which it was known."""

import pandas as pd
import pytest
from small_storage import START, make_source, store

import db

HOUR = pd.Timedelta("1h")


def at(milliseconds):
    return pd.Timestamp(milliseconds, unit="ms", tz="UTC")


def revisions(conn, name):
    frame = db.read_revisions(conn, name)
    return [tuple(row) for row in frame.itertuples(index=False)]


@pytest.mark.parametrize("kind", ["solar", "load", "market"])
def test_each_replaced_value_is_kept_once(conn, kind):
    source = make_source(f"{kind}-1", kind)
    db.upsert_sources(conn, [source])
    store(conn, source, [10, 20, 30], sent_ms=1000)
    assert revisions(conn, source.source_id) == []
    store(conn, source, [10, 21], sent_ms=2000)  # the first says the same again
    store(conn, source, [10, 19], sent_ms=1500)  # older: never known
    store(conn, source, [10, 22], sent_ms=3000)
    store(conn, source, [10, 22], sent_ms=3000)  # a replay
    second = START + HOUR
    kept = [(second, 20, at(1000), at(2000)), (second, 21, at(2000), at(3000))]
    assert revisions(conn, source.source_id) == kept
    # of one millisecond: the later one counts, and the earlier was never the known one
    store(conn, source, [10, 23], sent_ms=3000)
    store(conn, source, [10, 24], sent_ms=4000)
    kept.append((second, 23, at(3000), at(4000)))
    assert revisions(conn, source.source_id) == kept
    assert list(db.read_series(conn, source)) == [10, 24, 30]
    assert db.delete_source(conn, source.source_id) == 3 + 3


def test_revisions_are_rolled_back_with_their_rows(conn):
    load = make_source("load-1", "load")
    store(conn, load, [1.0])
    with pytest.raises(ZeroDivisionError), conn:
        store_uncommitted(conn, load)
    assert list(db.read_series(conn, load)) == [1]
    assert revisions(conn, "load-1") == []


def store_uncommitted(conn, source):
    import numpy as np

    times = np.array([START.value // 1000])
    columns = {"source": np.zeros(1, int), "time": times, "power_kw": np.array([9.0])}
    assert db.store_measurements(conn, "load", ["load-1"], columns | {"sent_at": times}) == 1
    raise ZeroDivisionError
