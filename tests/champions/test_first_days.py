"""A plant that is new, grows, or whose data come late, from the database to its forecast."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, MARKET, crown, fill, load_data, make_store, series, store

import db
from sources import Source
from vpp.champions import forecasts
from vpp.champions.history import delay_of
from vpp.champions.surroundings import Surroundings
from vpp.forecast.known import known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.naive import DailyNaive
from vpp.runtime.config import load_config
from vpp.storage.errors import DatabaseError

DAY = pd.Timedelta(days=1)
WIND = Source("wind-1", "wind", "Hill", "site-1", 800.0, 60, 49.6, 6.1, "Europe/Brussels", {})


@pytest.fixture
def world(config_file, tmp_path_factory, monkeypatch):
    """50 days of a load, and a wind farm that is registered and has measured nothing yet."""
    monkeypatch.setitem(MODELS, "prophet", type("Quick", (DailyNaive,), {"name": "prophet"}))
    config = load_config(config_file(training={"jobs": 1}))
    fill(config, LOAD)
    register(config, WIND)
    make_store(config, tmp_path_factory)
    return config


def register(config, source):
    with db.session(config) as conn:
        db.upsert_sources(conn, [source])
        conn.commit()


def since(days: int) -> dict:
    return {"valid_from": (END - days * DAY).isoformat()}


def test_a_plant_without_a_measurement_is_forecast_from_physics(world):
    rows = {row["source_id"]: row for row in forecasts.forecast_all(world)}
    row = rows["wind-1"]
    assert (row["model"], row["role"], row["rows"]) == ("first_day", "fallback", 48)
    assert "no measurement yet" in row["note"]
    with db.session(world) as conn:
        run, frame = db.read_forecasts(conn, "wind-1", END)
    assert "no measurement yet" in run.note
    assert frame["value"].between(1, 799).all() and (frame["q95"] > frame["q05"]).all()


def test_a_plant_of_three_days_is_forecast_from_physics_and_says_its_days(world):
    with db.session(world) as conn:
        store(conn, WIND, series(LOAD)[END - 3 * DAY :])
    rows = {row["source_id"]: row for row in forecasts.forecast_all(world, source="wind-1")}
    assert rows["wind-1"]["model"] == "first_day"
    assert rows["wind-1"]["note"].startswith("3.0 days of history, 14 needed")


def test_a_database_without_any_measurement_is_forecast_too(world):
    with db.session(world) as conn:
        db.delete_source(conn, "load-1")
        db.upsert_sources(conn, [LOAD])
        conn.commit()
    rows = forecasts.forecast_all(world, END)
    assert [(row["source_id"], row["model"]) for row in rows] == [
        ("load-1", "first_day"),
        ("wind-1", "first_day"),
    ]


def test_a_capacity_that_changed_rescales_the_history(world):
    """1000 kW until END - 10 days, 2000 kW until END - 5 days, then 4000 kW."""
    register(world, replace(LOAD, capacity_kw=2000.0, parameters=since(10)))
    for _ in range(2):  # a second time changes nothing
        register(world, replace(LOAD, capacity_kw=4000.0, parameters=since(5)))
    now = replace(LOAD, capacity_kw=4000.0, parameters=since(5))
    stored, found = series(LOAD), load_data(world, now).series
    factor = np.where(
        stored.index < END - 10 * DAY, 4.0, np.where(stored.index < END - 5 * DAY, 2.0, 1.0)
    )
    np.testing.assert_allclose(found, stored * factor)
    with db.session(world) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT valid_from FROM sources WHERE source_id = 'load-1'")
        assert pd.Timestamp(cursor.fetchone()[0]) == END - 5 * DAY


def test_the_other_series_of_a_price_are_in_the_units_of_now(world):
    register(world, replace(LOAD, capacity_kw=2000.0, parameters=since(10)))
    with db.session(world) as conn:
        others, _ = Surroundings(conn).others(MARKET)
    factor = np.where(others.index < END - 10 * DAY, 2.0, 1.0)
    np.testing.assert_allclose(others["load-1"], series(LOAD) * factor)


def test_a_capacity_that_is_corrected_changes_no_history(world):
    corrected = replace(LOAD, capacity_kw=2000.0)
    register(world, corrected)
    np.testing.assert_array_equal(load_data(world, corrected).series, series(LOAD))


GROWN = replace(LOAD, capacity_kw=2000.0)
CAPACITY = "fitted anew: its capacity was 1000 kW and is 2000 kW"
LITTLE = "fitted anew: its capacity was 1000 kW and is 1040 kW"
NO_DATE = "fitted anew: its valid_from was not stated and is 2025-02-25T00:00:00+00:00"


@pytest.mark.parametrize(
    ("before", "after", "why", "factor"),
    [
        ([LOAD], [replace(GROWN, parameters=since(0))], CAPACITY, 2),
        ([LOAD], [GROWN], CAPACITY, 1),  # a correction
        ([LOAD], [replace(GROWN, parameters=since(0)), GROWN], CAPACITY, 2),  # lost again
        ([LOAD, GROWN], [replace(GROWN, parameters=since(0))], NO_DATE, 2),  # said later
        ([LOAD], [replace(LOAD, capacity_kw=1040.0)], "", 1),  # the largest value rose
        ([LOAD], [replace(LOAD, capacity_kw=1040.0, parameters=since(0))], LITTLE, 1.04),
        ([LOAD], [LOAD], "", 1),
        ([LOAD], [replace(LOAD, name="Mill")], "", 1),
    ],
)
def test_a_champion_in_the_units_of_a_former_capacity_is_fitted_anew(
    world, before, after, why, factor
):
    for source in before:
        register(world, source)
    crown(world, before[-1], "daily_naive", END)
    for source in after:
        register(world, source)
    row = next(row for row in forecasts.forecast_all(world, END) if row["source_id"] == "load-1")
    assert (row["model"], row["role"], row["note"]) == ("daily_naive", "champion", why)
    with db.session(world) as conn:
        _, frame = db.read_forecasts(conn, "load-1", END)
    yesterday = series(LOAD).to_numpy()[-24:]
    np.testing.assert_allclose(frame["value"].iloc[:24], factor * yesterday, 0.1)


@pytest.mark.parametrize("given", ["yesterday", 5, None, "2025-01-01", "2999-01-01T00:00Z"])
def test_a_time_that_is_none_or_has_not_come_is_refused(world, given):
    with pytest.raises(DatabaseError, match=r"load-1: valid_from = .*expected a time (with|that)"):
        register(world, replace(LOAD, parameters={"valid_from": given}))


def test_each_source_has_its_own_delay(world):
    late = replace(LOAD, parameters={"delay_min": 120})
    known = known_at(load_data(world, late), END)
    assert known.series.index[-1] == END - pd.Timedelta(hours=3)
    assert delay_of(LOAD, 5.0) == 5.0


def test_a_backtest_sees_a_value_as_it_was_before_it_was_corrected(world):
    at = END - 2 * DAY
    with db.session(world) as conn, conn.cursor() as cursor:
        cursor.execute(
            "INSERT INTO revisions VALUES ('load-1', %s, 1, %s, %s)",
            (at.to_pydatetime(), (at + DAY / 24).to_pydatetime(), (at + DAY).to_pydatetime()),
        )
        conn.commit()
    data = load_data(world, LOAD)
    assert known_at(data, at + DAY / 2).series[at] == 1
    assert known_at(data, at + DAY).series[at] == series(LOAD)[at]
