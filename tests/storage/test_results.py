"""Forecasts, battery states and schedules are replaced as a whole, on a real server."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from small_storage import START, make_forecast

import db
from vpp.runtime.settings import BatteryParameters
from vpp.storage import schema


def test_forecasts_are_replaced_as_a_whole(conn):
    run = db.ForecastRun("solar-1", "prophet", "3", START, START, "champion")
    db.save_forecasts(
        conn,
        [
            (run, make_forecast(1.0)),
            (dataclasses.replace(run, role="candidate"), make_forecast(9.0)),
        ],
    )
    db.save_forecasts(conn, [(run, make_forecast(2.0).iloc[:1])])
    found, frame = db.read_forecasts(conn, "solar-1", START)
    assert found == run and found.run_id == run.run_id
    assert list(frame["value"]) == [2.0]
    assert list(frame.loc[START, list(schema.QUANTILES)]) == [0, 1, 2, 3, 4, 5, 6]
    fallback = dataclasses.replace(
        run, model="seasonal_naive", model_version=None, trained_until=None, role="fallback"
    )
    # the newest of the roles that plans read
    db.save_forecasts(conn, [(fallback, make_forecast(3.0))])
    found, frame = db.read_forecasts(conn, "solar-1", START.tz_convert("Europe/Brussels"))
    assert found == fallback and list(frame["value"]) == [3, 3]
    assert db.read_forecasts(conn, "solar-1", START + pd.Timedelta("1h")) is None
    assert list(db.read_forecast_runs(conn, roles=["candidate"])["source_id"]) == ["solar-1"]
    assert len(db.read_forecast_runs(conn, "solar-1")) == 3
    assert len(db.read_forecast_runs(conn, "x")) == 0
    assert len(db.read_forecast_runs(conn)) == 3 and len(db.read_forecast_runs(conn, roles=[])) == 0


def test_a_forecast_that_fails_replaces_nothing(conn):
    run = db.ForecastRun("solar-1", "prophet", "3", START, START, "champion")
    db.save_forecasts(conn, [(run, make_forecast(1.0))])
    with pytest.raises(db.DatabaseError, match="forecasts"):
        other = dataclasses.replace(run, source_id="b")
        db.save_forecasts(conn, [(run, make_forecast(2.0)), (other, make_forecast(np.nan))])
    assert list(db.read_forecasts(conn, "solar-1", START)[1]["value"]) == [1, 1]
    with pytest.raises(ValueError, match="time zone"):
        db.save_forecasts(conn, [(run, make_forecast(1.0).tz_localize(None))])


def test_the_last_state_is_not_a_planned_one(conn):
    db.upsert_batteries(conn, [BatteryParameters("b")])
    db.upsert_batteries(conn, [BatteryParameters("b", capacity_kwh=5.0)])
    assert db.read_last_state(conn, "b", START) is None
    frame = pd.DataFrame(
        {"battery_id": "b", "kind": ["measured", "planned", "simulated"], "soc": [0.1, 0.2, 0.3]}
    )
    frame["time"] = pd.date_range(START, periods=3, freq="h")
    for _ in range(2):
        db.save_battery_states(conn, frame)
    assert db.read_last_state(conn, "b", START + pd.Timedelta("1h")) == (START, 0.1)
    last = START + pd.Timedelta("2h")
    assert db.read_last_state(conn, "b", last) == (last, 0.3)
    assert db.count_rows(conn)["battery_states"] == 3 and db.count_rows(conn)["batteries"] == 1


def test_a_schedule_is_replaced_as_a_whole(conn):
    index = pd.date_range(START, periods=2, freq="h", name="time")
    schedule = pd.DataFrame(
        {"grid_import_kw": [1.0, np.nan], "reason": ['says "no", twice', ""]}, index
    )
    states = pd.DataFrame({"battery_id": "b", "soc": [0.5, 0.6], "charge_kw": 1.0}, index)
    run = {
        "run_id": "r",
        "site_id": "s",
        "issue_time": START,
        "kind": "plan",
        "gap": np.float64(0.5),
        "cost_eur": float("nan"),
    }
    db.save_schedule(conn, run, schedule, states)
    db.save_schedule(conn, run | {"status": "optimal"}, schedule.iloc[:1], states)
    later = run | {"run_id": "r2", "issue_time": START + pd.Timedelta("1h")}
    db.save_schedule(conn, later, schedule, states)
    found, read, read_states = db.read_schedule(conn, "r")
    names = ("status", "gap", "cost_eur", "issue_time")
    assert [found[name] for name in names] == ["optimal", 0.5, None, START]
    assert read.index.name == "time" and list(read["reason"]) == ['says "no", twice']
    assert list(read_states["kind"]) == ["planned"] * 2
    assert db.read_schedule(conn)[0]["run_id"] == "r2"
    assert db.read_schedule(conn, kind="perfect") is None
    assert db.read_schedule(conn, "r2")[1]["reason"].tolist() == ['says "no", twice', ""]


def test_processes_that_write_the_same_run_at_once_replace_each_other(config):
    index = pd.date_range(START, periods=48, freq="h", name="time")
    schedule = pd.DataFrame({"grid_import_kw": 1.0, "reason": "x"}, index)
    states = pd.DataFrame({"battery_id": "b", "soc": 0.5}, index)
    plan = {"run_id": "r", "site_id": "s", "issue_time": START, "kind": "plan"}
    forecast = db.ForecastRun("solar-1", "prophet", "3", START, START, "champion")
    together = threading.Barrier(4)

    def write(_):
        with db.session(config) as own:
            for name in map(str, range(8)):
                together.wait(30)
                db.save_schedule(own, plan | {"run_id": name}, schedule, states)
                of_name = dataclasses.replace(forecast, source_id=name)
                db.save_forecasts(own, [(of_name, make_forecast(1.0))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))  # raises what one of them raised
    with db.session(config) as own:
        for name in map(str, range(8)):
            assert len(db.read_schedule(own, name)[1]) == 48
            assert len(db.read_forecasts(own, name, START)[1]) == len(make_forecast(1.0))


def test_run_id_depends_on_what_it_says_only():
    frame = pd.DataFrame({"a": [1.0, 2.0]}, pd.date_range(START, periods=2, freq="h"))
    battery, tokyo = BatteryParameters("b"), START.tz_convert("Asia/Tokyo")
    first = db.run_id("plan", START, {"b": 1, "a": 2.0}, battery, frame)
    same = db.run_id("plan", tokyo, {"a": 2.0, "b": 1}, battery, frame.copy())
    assert first == same and len(first) == 16
    assert first != db.run_id("plan", START, {"b": 1, "a": 2.0}, battery, frame + 1)
