"""Which sources are current, and the data end, on a real server."""

from dataclasses import replace

import pandas as pd
import pytest
from small_storage import START, make_source, store

import db
from vpp.storage.freshness import NotCurrentError, check_current, read_freshness

HOUR = pd.Timedelta("1h")


def test_the_data_end_is_that_of_the_slowest_of_the_current(conn):
    with pytest.raises(db.DataGapError, match=r"run python communication\.py"):
        db.data_end(conn)
    solar, load = make_source("solar-1", "solar", 15), make_source("load-1", "load", 60)
    db.upsert_sources(conn, [solar, load, make_source("market-1", "market")])
    store(conn, solar, [1, 2, 3, 4, 5])  # ends 01:15
    assert db.data_end(conn) == START + pd.Timedelta("1h")  # it does not wait for the load
    store(conn, load, [1, 2])  # ends 02:00; the price, which has none, does not count
    # not 01:15, which is within an hour of the load
    assert db.data_end(conn) == START + pd.Timedelta("1h")
    assert db.read_latest(conn, solar) == (START + pd.Timedelta("1h"), 5)
    assert db.count_measurements(conn)["solar"] == 5 and db.count_measurements(conn)["wind"] == 0


def test_prices_alone_have_no_data_end(conn):
    market = make_source("market-1", "market")
    db.upsert_sources(conn, [market])
    with pytest.raises(db.DataGapError, match=r"prices only.* --issue-time"):
        db.data_end(conn)


@pytest.mark.parametrize(("hours", "is_current"), [(4, True), (3, False)])
def test_a_source_is_current_up_to_six_hours_behind(conn, config, hours, is_current):
    """The wind has 10 h; the load has 4 h, which is 6 h behind, or 3 h, which is 7 h."""
    wind, load = make_source("wind-1", "wind"), make_source("load-1", "load")
    db.upsert_sources(conn, [wind, load])
    store(conn, wind, range(10))
    store(conn, load, range(hours))
    found = read_freshness(conn)
    assert list(found.behind) == ([] if is_current else ["load-1"])
    assert found.data_end == START + (hours if is_current else 10) * HOUR
    assert db.data_end(conn) == found.data_end
    assert read_freshness(conn, 7).data_end == START + hours * HOUR
    if is_current:
        check_current(config)
    else:
        with pytest.raises(NotCurrentError, match=r"^load-1: not current.* 7 h before the others'"):
            check_current(config)
        check_current(config, source_id="wind-1")


@pytest.mark.parametrize(
    ("delay_min", "hours", "is_current"),
    [(0, 3, False), (60, 3, True), (60, 2, False), (960, 1, True)],
)
def test_a_source_may_be_behind_by_the_delay_that_it_names(conn, delay_min, hours, is_current):
    """The wind has 10 h; the load so many, and comes so late."""
    load = replace(make_source("load-1", "load"), parameters={"delay_min": delay_min})
    db.upsert_sources(conn, [make_source("wind-1", "wind"), load])
    store(conn, load, range(hours))
    assert read_freshness(conn).data_end == START + hours * HOUR  # nothing else says how late it is
    store(conn, make_source("wind-1", "wind"), range(10))
    late = pd.Timedelta(minutes=delay_min)
    found = read_freshness(conn)
    assert list(found.behind) == ([] if is_current else ["load-1"])
    expected = min(hours * HOUR + late, 10 * HOUR) if is_current else 10 * HOUR
    assert found.data_end == START + expected
    by_clock = read_freshness(conn, clock=START + 16 * HOUR).by_clock
    assert by_clock == ({"load-1"} if is_current and hours * HOUR + late < 10 * HOUR else set())


def test_as_of_an_earlier_time_later_values_do_not_count(conn):
    wind, load = make_source("wind-1", "wind"), make_source("load-1", "load")
    db.upsert_sources(conn, [wind, load])
    store(conn, wind, range(24))
    store(conn, load, range(8))
    assert read_freshness(conn).behind.keys() == {"load-1"}
    at = START + 12 * HOUR + pd.Timedelta("30min")
    assert read_freshness(conn, at=at).behind == {}  # of 12 h and 8 h
    assert read_freshness(conn, at=at).data_end == START + 8 * HOUR
    assert read_freshness(conn, at=START).data_end is None


def test_markets_are_current_likewise_but_move_nothing(conn):
    load, ahead, dead, new = (
        make_source(name, name.split("-")[0])
        for name in ("load-1", "market-1", "market-2", "market-3")
    )
    db.upsert_sources(conn, [load, ahead, dead, new])
    store(conn, load, range(24))
    store(conn, ahead, range(48))
    store(conn, dead, range(2))
    found = read_freshness(conn)
    assert found.data_end == START + 24 * HOUR
    assert (set(found.behind), found.empty) == ({"market-2", "market-3"}, {"market-3"})
    assert "run python communication.py" in found.behind["market-3"]


def test_a_clock_ahead_does_not_make_the_others_stale(conn):
    """One source says that it has measured two days of the future."""
    now = pd.Timestamp.now("UTC").floor("h")
    wind, load = make_source("wind-1", "wind"), make_source("load-1", "load")
    db.upsert_sources(conn, [wind, load])
    store(conn, load, range(24), now - 24 * HOUR)
    store(conn, wind, range(72), now - 24 * HOUR)
    found = read_freshness(conn)
    assert (found.data_end, found.behind) == (now, {})
    # data that are all of the future, as generated ones may be, are taken as they are
    store(conn, load, range(48), now)
    assert read_freshness(conn).data_end == now + 48 * HOUR
