"""Which capacity a plant had until when, whatever order an operator says it in."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_storage import make_source

import db
from vpp.storage.capacities import changes_with, read_capacities

START = pd.Timestamp("2025-03-01T00:00Z")
CASES = {
    "corrected only": ([(1000, None), (900, None)], []),
    "grown": ([(1000, None), (2000, 10), (2000, 10)], [(10, 1000)]),
    "grown twice": ([(1000, None), (2000, 10), (4000, 15)], [(10, 1000), (15, 2000)]),
    "grown and back": ([(1000, None), (2000, 10), (1000, 20)], [(10, 1000), (20, 2000)]),
    "a date that was too late": ([(1000, None), (2000, 25), (2000, 10)], [(10, 1000)]),
    "a date that was too early": ([(1000, None), (2000, 10), (2000, 25)], [(25, 1000)]),
    "both wrong": ([(1000, None), (2000, 25), (2100, 10)], [(10, 1000)]),
    "the date later": ([(1000, None), (2000, None), (2000, 10)], [(10, 1000)]),
    "the date later, and wrong": (
        [(1000, None), (2000, None), (2000, 10), (2000, 12)],
        [(12, 1000)],
    ),
    "twice, and the second date wrong": (
        [(1000, None), (2000, 10), (4000, 15), (4000, 17)],
        [(10, 1000), (17, 2000)],
    ),
    "twice, and the second date later": (
        [(1000, None), (2000, 10), (4000, 10), (4000, 15)],
        [(10, 1000), (15, 2000)],
    ),
    "twice, and the second was before the first": (
        [(1000, None), (2000, 10), (4000, 15), (4000, 5)],
        [(5, 1000)],
    ),
    "a capacity that was wrong": ([(1000, None), (2000, 10), (2100, 10)], [(10, 1000)]),
    "a change that was none": ([(1000, None), (2000, 10), (1000, 5)], []),
    "a lost date": ([(1000, None), (2000, 10), (2000, None)], [(10, 1000)]),
    "a lost date that comes back": (
        [(1000, None), (2000, 10), (2000, None), (2100, None), (2100, 10)],
        [(10, 1000)],
    ),
    "a lost date, and grown again": (
        [(1000, None), (2000, 10), (2000, None), (4000, 15)],
        [(10, 1000), (15, 2000)],
    ),
    "no capacity before": ([(2000, 10), (2000, 10), (2000, 12), (2100, 12)], []),
    "the capacity before said afterwards": (
        [(2000, 10), (1000, None), (2000, 10)],
        [(10, 1000)],
    ),
}


def plant(capacity_kw, day=None, **parameters):
    if day is not None:
        parameters["valid_from"] = (START + pd.Timedelta(days=day)).isoformat()
    return replace(make_source("wind-1", "wind", **parameters), capacity_kw=float(capacity_kw))


def kept(conn):
    return [((until - START).days, kw) for until, kw in read_capacities(conn, "wind-1")]


@pytest.mark.parametrize("name", CASES)
def test_what_an_operator_says_in_turn(conn, name):
    steps, expected = CASES[name]
    for capacity_kw, day in steps:
        db.upsert_sources(conn, [plant(capacity_kw, day)])
    assert kept(conn) == expected


def test_a_change_without_a_capacity_before_is_said_once(conn, caplog):
    for _ in range(2):
        db.upsert_sources(conn, [plant(2000, 10)])
    [said] = caplog.messages
    assert "source wind-1: valid_from" in said and "history is not scaled" in said


def test_a_capacity_that_nobody_has_stated_is_none(conn, caplog):
    """As the sink registers a source that it does not know."""
    db.upsert_sources(conn, [plant(1, provisional=True)])
    db.upsert_sources(conn, [plant(2000, 10)])
    assert kept(conn) == [] and "no earlier capacity" in caplog.text


def test_a_change_holds_from_its_time_on_whatever_held_after_it():
    """Against the capacity of each hour, written down hour by hour."""
    rng, hours = np.random.default_rng(1), pd.date_range(START, periods=40, freq="h")
    for _ in range(200):
        now, changes, by_hour = 1.0, [], np.ones(40)
        for at, capacity in zip(rng.integers(1, 40, 6), rng.integers(1, 4, 6), strict=True):
            changes = changes_with(changes, now, float(capacity), hours[at])
            now, by_hour[at:] = float(capacity), capacity
            times = [time for time, _ in changes]
            assert times == sorted(set(times))
            found, since = np.full(40, now), None
            for until, held in changes:
                found[(hours < until) & (since is None or hours >= since)] = held
                since = until
            np.testing.assert_array_equal(found, by_hour)
