"""A weather feed that died, and faults of one source: said everywhere, and the others go on."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, MARKET, crown, fill, load_data, make_store

import db
import forecast_and_save
import forecasting
from sources import Source
from vpp.champions import forecasts, registry
from vpp.champions.requests import reason_of
from vpp.forecast.backtest import ForecastError, fit_calibrated
from vpp.forecast.known import known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.naive import DailyNaive
from vpp.report.content import read_content
from vpp.report.sections import fans
from vpp.runtime.config import load_config
from vpp.site.kinds import WEATHER
from vpp.storage.freshness import NotCurrentError, check_current, stale_feeds

DAY = pd.Timedelta(days=1)
FEED = Source("weather-1", "weather", "Sky", "site-1", None, 60, 49.6, 6.1, "Europe/Brussels", {})


@pytest.fixture
def world(config_file, tmp_path_factory, monkeypatch):
    """50 days of a load and a weather feed that issued for the last time three days before."""
    monkeypatch.setitem(MODELS, "prophet", type("Quick", (DailyNaive,), {"name": "prophet"}))
    config = load_config(config_file(training={"jobs": 1}))
    fill(config, LOAD)
    store_feed(config, END - 3 * DAY)
    make_store(config, tmp_path_factory)
    return config


def store_feed(config, last):
    """An issue a day of 48 h of weather, until `last`."""
    issues = pd.date_range(END - 45 * DAY, last, freq="D").as_unit("us").asi8
    issued = np.repeat(issues, 48)
    valid = issued + np.tile(np.arange(48) * 3_600_000_000, len(issues))
    values = 10 + 5 * np.sin(2 * np.pi * valid / 86_400e6)
    columns = {"source": np.zeros(len(valid), int), "issue_time": issued, "valid_time": valid}
    columns |= dict.fromkeys(WEATHER, values) | {"sent_at": issued}
    with db.session(config) as conn:
        db.upsert_sources(conn, [FEED])
        db.store_measurements(conn, "weather_forecasts", [FEED.source_id], columns)
        conn.commit()


def test_a_dead_feed_is_done_without_and_said_everywhere(world, caplog, capsys):
    crown(world, LOAD, "hourly_ridge", END - 3 * DAY)
    assert forecast_and_save.main(["--config", str(world.path)]) == 1
    seen = capsys.readouterr()
    said = "without weather forecast: the newest is of 2025-02-22T00:00Z, 72 h old, at most 36 h"
    assert said in seen.out and "fallback" in seen.out and said in caplog.text
    assert "weather-1: its newest weather forecast was issued 2025-02-22T00:00Z" in seen.err
    with db.session(world) as conn:
        run, frame = db.read_forecasts(conn, "load-1", END)
    assert (run.model, run.role) == ("hourly_ridge", "fallback") and said in run.note
    bare = replace(load_data(world, LOAD), weather_forecasts=None)
    known = known_at(bare, END, world.training.history_days)
    expected = fit_calibrated(
        lambda: MODELS["hourly_ridge"](horizon_h=48), bare, known, 48, world.training.history_days
    ).predict(known, 48)
    np.testing.assert_array_equal(frame["value"], expected["value"])
    content = read_content(world)
    assert "weather-1" in content.behind
    assert said in fans(content.views, {"load-1": "Works"}, "UTC")[0]


def test_a_feed_that_is_fresh_or_was_never_there_is_no_matter(world):
    crown(world, LOAD, "hourly_ridge", END)
    store_feed(world, END)
    (row,) = forecasts.forecast_all(world)
    assert (row["role"], row["note"]) == ("champion", "")
    check_current(world)
    with db.session(world) as conn:
        assert stale_feeds(conn, 36, END + 36.5 / 24 * DAY).keys() == {"weather-1"}
        assert stale_feeds(conn, 37, END + 36.5 / 24 * DAY) == {}
        assert stale_feeds(conn, 1, END + 9 * DAY, "another-site") == {}
        db.delete_source(conn, "weather-1")
        db.upsert_sources(conn, [FEED])
        conn.commit()
    check_current(world)


def test_an_input_that_is_gone_altogether_is_said_too(world):
    store_feed(world, END)
    crown(world, LOAD, "hourly_ridge", END)
    with db.session(world) as conn:
        db.delete_source(conn, "weather-1")
    (row,) = forecasts.forecast_all(world)
    assert (row["model"], row["role"]) == ("hourly_ridge", "fallback")
    assert row["note"] == "forecast without weather forecast: there is none now"


@pytest.mark.parametrize(("model", "reads"), [("hourly_ridge", True), ("daily_naive", False)])
def test_one_model_by_hand_says_what_it_does_without(world, caplog, model, reads):
    assert forecasting.main(["--config", str(world.path), "--model", model]) == 0
    with db.session(world) as conn, conn.cursor() as cur:
        cur.execute("SELECT note FROM forecast_runs WHERE role = 'manual'")
        [(note,)] = cur.fetchall()
    said = "forecast without weather forecast: the newest is of 2025-02-22T00:00Z"
    assert (said in note) == (said in caplog.text) == reads
    assert reads or not note


@pytest.mark.parametrize("kind", ["weather", "forecast"])
def test_the_age_of_a_forecast_counts_from_when_it_is_at_hand(world, kind):
    """Issued 48 h ago, and at hand since 24 h ago; and one issued now, that nobody knows yet."""
    parameters = {"quantity": "load", "regressor_of": ["load-1"]} if kind == "forecast" else {}
    slow = replace(FEED, source_id="slow", kind=kind, parameters=parameters | {"delay_min": 1440})
    table, values = "external_forecasts", "1"
    if kind == "weather":
        table, values = "weather_forecasts", "0, 0, 0, 1, 1"
    query = f"INSERT INTO {table} VALUES (%s, %s, %s, {values}, %s)"
    with db.session(world) as conn, conn.cursor() as cur:
        db.upsert_sources(conn, [slow])
        for issued in (END - 2 * DAY, END):
            cur.execute(query, ("slow", issued, END + DAY, issued))
        conn.commit()
        assert "slow" not in stale_feeds(conn, 24, END)
        found = stale_feeds(conn, 23, END)
    assert "was issued 2025-02-23T00:00Z, at hand 24 h ago, at most 23 h" in found["slow"]


def test_a_model_that_needs_no_weather_stays_the_champion(world):
    crown(world, LOAD, "daily_naive", END)
    (row,) = forecasts.forecast_all(world)
    assert (row["role"], row["note"]) == ("champion", "")
    with pytest.raises(NotCurrentError, match="weather-1"):
        check_current(world)


def test_a_forecast_of_others_that_stopped_is_said_too(world):
    crown(world, LOAD, "daily_naive", END)
    store_feed(world, END)
    given = {"quantity": "load", "regressor_of": ["load-1"]}
    tso = replace(FEED, source_id="tso-load", kind="forecast", parameters=given)
    query = "INSERT INTO external_forecasts VALUES (%s, %s, %s, 1, %s)"
    with db.session(world) as conn, conn.cursor() as cur:
        db.upsert_sources(conn, [tso])
        cur.execute(query, ("tso-load", END - 3 * DAY, END, END - 3 * DAY))
        conn.commit()
    forecasts.forecast_all(world)
    for only in (None, "load-1"):
        with pytest.raises(NotCurrentError, match="tso-load: its newest forecast was issued"):
            check_current(world, source_id=only)
    fill(world, MARKET)  # which is not forecast with it
    check_current(world, source_id="market-1")


@pytest.mark.parametrize(
    "fault",
    [
        IndexError("index 0 is out of bounds for axis 0 with size 0"),
        KeyError("power_kw"),
        TypeError("'NoneType' object is not subscriptable"),
        AttributeError("'NoneType' object has no attribute 'iloc'"),
        ZeroDivisionError("division by zero"),
        ValueError("cannot reshape array of size 0 into shape (0,24)"),
        AssertionError(),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_a_fault_in_the_code_never_reads_as_python(world, monkeypatch, fault):
    def fail(self, known):
        raise fault

    crown(world, LOAD, "hourly_ridge", END - 29 * DAY)  # is fitted anew
    monkeypatch.setattr(MODELS["hourly_ridge"], "_fit", fail)
    (row,) = forecasts.forecast_all(world)
    assert (row["model"], row["role"]) == ("prophet", "fallback")
    assert "hourly_ridge: it cannot use these data (in " in row["note"]
    assert "python db.py" in row["note"]
    for raw in (type(fault).__name__, str(fault) or "AssertionError"):
        assert raw not in row["note"]
    assert reason_of(ForecastError("no load")) == "no load"


@pytest.mark.parametrize("fault", ["parameters", "tags", "rows"])
def test_a_fault_of_one_source_leaves_the_others_be(world, monkeypatch, fault):
    fill(world, MARKET)
    for source in (LOAD, MARKET):
        crown(world, source, "daily_naive")
    broken, real = "market-1", forecasts.load_source_data
    if fault == "parameters":
        curtailed = replace(MARKET, parameters={"curtailed": [["yesterday", 5]]})
        with db.session(world) as conn:
            db.upsert_sources(conn, [curtailed])
            conn.commit()
    elif fault == "tags":
        client = registry.open_store(world)
        client.delete_model_version_tag("vpp-market-1", "1", "parameters")
    else:

        def load(conn, config, source, start):
            if source.source_id == broken:
                raise IndexError("index 0 is out of bounds")
            return real(conn, config, source, start)

        monkeypatch.setattr(forecasts, "load_source_data", load)
    if fault == "tags":
        rows = {row["source_id"]: row for row in forecasts.forecast_all(world)}
        assert rows[broken]["role"] == "fallback"
        assert "its champion cannot be read: it cannot use these data" in rows[broken]["note"]
    else:
        with pytest.raises(ForecastError, match=rf"of {broken} \((market-1: curtailed|it cannot)"):
            forecasts.forecast_all(world)
    with db.session(world) as conn:
        assert db.read_forecasts(conn, "load-1", END)[0].role == "champion"
