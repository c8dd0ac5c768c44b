"""A home with a car, a dishwasher and a tank, planned from a real database, again and again."""

import json

import numpy as np
import pandas as pd
import pytest

import db
import optimization
from sources import Source
from vpp.planning.flexible import Span, profile_by_step, spans
from vpp.planning.plans import plan
from vpp.planning.valuation import value_plan
from vpp.runtime.config import load_config
from vpp.runtime.windows import parse_windows
from vpp.storage.device_states import read_plan
from vpp.storage.schema import QUANTILES

ZONE = "Europe/Brussels"
START = pd.Timestamp("2025-01-13T00:00Z")
ISSUE = pd.Timestamp("2025-01-15T16:00Z")  # 17:00 in Brussels
HOUR = pd.Timedelta(hours=1)
HOME = {
    "site": {"time_zone": ZONE},
    "grid": {"import_limit_kw": 20, "export_limit_kw": 10, "import_fee_eur_per_mwh": 0},
    # dear until 22:00, cheap at night
    "tariff": {"import_eur_per_mwh": "400 07:00-22:00; 200", "export_eur_per_mwh": "50"},
    "optimization": {"horizon_h": 24},
    "battery:cellar": {"capacity_kwh": 5, "charge_kw": 2, "discharge_kw": 2, "soc_initial": 0.5},
    "vehicle:car": {
        "stays": "18:00-07:00",
        "capacity_kwh": 50,
        "charge_kw": 10,
        "eta_charge": 1,
        "soc_arrival": 0.4,
        "soc_departure_min": 0.8,
    },
    "deferrable:dishwasher": {
        "window": "19:00-06:00",
        "profile_kw": "2, 0.4, 0.4, 1.2, 1, 1, 1, 1",
        "profile_min": 15,
    },
    "heat:tank": {
        "capacity_kwh": 12,
        "energy_initial_kwh": 6,
        "demand_kw": 1,
        "loss_per_h": 0,
        "heat_pump_kw": 2,
        "cop": 3,
    },
}


@pytest.fixture
def home(config_file):
    """The configuration of a database with a load and its forecasts at `ISSUE` and later."""
    config = load_config(config_file(**HOME))
    load = Source("load-1", "load", "House", "site-1", 10.0, 60, None, None, ZONE, {})
    with db.session(config) as conn:
        db.upsert_sources(conn, [load])
        times = pd.date_range(START, ISSUE + 60 * HOUR, freq="h", inclusive="left")
        with conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO load (time, source_id, power_kw, sent_at) VALUES (%s, %s, %s, %s)",
                [(time, "load-1", 1.0, START) for time in times],
            )
        runs = []
        for hours in (0, 8, 16):
            issue = ISSUE + hours * HOUR
            index = pd.date_range(issue, periods=48, freq="h")
            frame = pd.DataFrame(dict.fromkeys(("value", *QUANTILES), 1.0), index)
            runs.append((db.ForecastRun("load-1", "naive", None, issue, issue, "champion"), frame))
        db.save_forecasts(conn, runs)
    return config


def planned(config, issue):
    run = plan(config, issue)
    with db.session(config) as conn:
        rows = read_plan(conn, run["run_id"])
    return run, dict(list(rows.groupby("device_id")))


def test_a_plan_of_a_home_is_stored_with_its_devices(home):
    run, devices = planned(home, ISSUE)
    assert list(devices) == ["car", "dishwasher", "tank"]
    car, dishwasher, tank = devices.values()
    assert set(car["kind"]) == {"vehicle"}
    # 20 kWh at 200 from 22:00 on, 21:00 UTC; it is away at 17:00, and again from 07:00 on
    local = car.index.tz_convert(ZONE).hour
    assert car["power_kw"].sum() == pytest.approx(20)
    assert car["power_kw"][(local >= 7) & (local < 22)].sum() == pytest.approx(0)
    assert car["soc"].isna().tolist() == [True] + [False] * 13 + [True] * 10
    assert car["soc"].iloc[13] == pytest.approx(0.8)
    # the profile in hours: 1 kW and 1 kW, 2 kWh at night; 24 kWh of heat are 8 kWh
    assert dishwasher["power_kw"].max() == pytest.approx(1)
    assert dishwasher["power_kw"].sum() == pytest.approx(2)
    assert dishwasher["energy_kwh"].isna().all()
    assert tank["heat_pump_kw"].sum() == pytest.approx(8)
    assert tank["energy_kwh"].iloc[-1] >= 6 - 1e-6
    assert car["reason"].dropna().str.contains("car charges at 200.00").any()
    assert "0.40, 0.80 as early as possible" in dishwasher["reason"].dropna().iloc[0]
    # without a plan all would be bought as it comes
    assert run["cost_eur"] < run["cost_no_battery_eur"] - 2
    again, _ = planned(home, ISSUE)
    assert again["run_id"] == run["run_id"]
    with db.session(home) as conn:
        assert db.count_rows(conn)["device_states"] == 3 * 24


def test_the_next_plan_goes_on_where_devices_are(home):
    _, first = planned(home, ISSUE)
    later = ISSUE + 8 * HOUR  # 01:00 in Brussels
    _, second = planned(home, later)
    before = first["car"].loc[later - HOUR]
    charged = first["car"]["power_kw"][first["car"].index < later].sum()
    assert before["soc"] == pytest.approx(0.4 + charged / 50)
    # what the first plan had charged by then is not charged again; 20 kWh for the next stay
    stay = second["car"][second["car"].index < later + 6 * HOUR]
    assert stay["power_kw"].sum() == pytest.approx(20 - charged)
    done = first["dishwasher"]["power_kw"][first["dishwasher"].index < later].sum()
    tonight = second["dishwasher"] if "dishwasher" in second else pd.DataFrame({"power_kw": []})
    assert tonight["power_kw"].sum() == pytest.approx(2 - done)
    tank = first["tank"].loc[later - HOUR, "energy_kwh"]
    row = second["tank"].iloc[0]
    assert row["energy_kwh"] == pytest.approx(tank + 3 * row["heat_pump_kw"] - 1)


def test_a_measured_state_of_a_car_goes_before_the_plan(home):
    """What the plan charged after it was measured comes on top of it."""
    _, first = planned(home, ISSUE)
    later = ISSUE + 8 * HOUR
    for hours, soc in ((0, 0.7), (2, 0.5)):
        state = {"battery_id": "car", "kind": "measured", "soc": soc, "time": later - hours * HOUR}
        with db.session(home) as conn, conn.cursor() as cursor:
            cursor.execute("DELETE FROM battery_states WHERE kind = 'measured'")
            db.save_battery_states(conn, pd.DataFrame([state]))
        since = first["car"].loc[later - hours * HOUR : later - HOUR, "power_kw"].sum()
        _, second = planned(home, later)
        stay = second["car"][second["car"].index < later + 6 * HOUR]
        assert stay["power_kw"].sum() == pytest.approx(max(0.8 - soc - since / 50, 0) * 50)


def test_a_measured_state_of_a_tank_goes_before_the_plan(home):
    _, first = planned(home, ISSUE)
    later = ISSUE + 8 * HOUR
    half = {"battery_id": "tank", "kind": "measured", "soc": 0.5, "time": later - HOUR}
    with db.session(home) as conn:
        db.save_battery_states(conn, pd.DataFrame([half]))
    _, second = planned(home, later)
    energy = first["tank"]["energy_kwh"]
    since = energy.loc[later - HOUR] - energy.loc[later - 2 * HOUR]
    capacity = home.heat_stores[0].capacity_kwh
    row = second["tank"].iloc[0]
    assert row["energy_kwh"] == pytest.approx(capacity / 2 + since + 3 * row["heat_pump_kw"] - 1)


def test_a_plan_with_devices_is_valued_at_actual_values(home, capsys):
    run, _ = planned(home, ISSUE)
    value = value_plan(home)
    assert value["plan"] == pytest.approx(run["cost_eur"])  # the forecasts came true
    assert value["perfect_foresight"] == pytest.approx(value["plan"], abs=1e-6)
    assert value["captured_share"] == pytest.approx(1)
    assert value["no_battery"] == pytest.approx(run["cost_no_battery_eur"])
    assert optimization.main(["--config", str(home.path), "pareto", "--points", "2"]) == 0
    assert "cost_eur" in capsys.readouterr().out


def test_what_a_plan_of_devices_prints_is_json(home, capsys):
    path, issue = str(home.path), ISSUE.isoformat()
    assert optimization.main(["--config", path, "--issue-time", issue, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "car charges" in json.dumps(told["schedule"])
    names = [one["device_id"] for one in told["devices"]]
    assert names == ["car"] * 24 + ["dishwasher"] * 24 + ["tank"] * 24
    assert told["devices"][0]["soc"] is None  # away


def span(start, hours=24, step_min=60):
    return Span(pd.Timestamp(start), step_min, hours * 60 // step_min, ZONE)


@pytest.mark.parametrize(
    ("windows", "start", "expected"),
    [
        ("18:00-07:00", "2025-01-15T16:00Z", [("15T17:00", "16T06:00")]),
        # the window of the day before still holds
        ("18:00-07:00", "2025-01-15T02:00Z", [("14T17:00", "15T06:00"), ("15T17:00", "16T06:00")]),
        ("Thu 18:00-07:00", "2025-01-15T16:00Z", []),
        ("Wed 8:00-10:00; Wed 10:00-12:00", "2025-01-15T00:00Z", [("15T07:00", "15T11:00")]),
        # the night in which the clock goes back is an hour longer
        ("22:00-06:00", "2025-10-25T18:00Z", [("25T20:00", "26T05:00")]),
    ],
)
def test_windows_of_the_week_become_times(windows, start, expected):
    found = spans(parse_windows(windows), span(start))
    assert [tuple(f"{time:%dT%H:%M}" for time in pair) for pair in found] == expected


@pytest.mark.parametrize(
    ("powers", "length", "step", "expected"),
    [
        ([2, 0.4, 0.4, 1.2], 15, 60, [1.0]),
        ([2, 1], 60, 15, [2] * 4 + [1] * 4),
        ([3, 3, 3], 20, 30, [3, 3]),
        ([3, 0, 3], 20, 30, [2, 2]),  # 1 kWh + 0; 0 + 1 kWh
        ([4], 15, 60, [1.0]),
    ],
)
def test_a_profile_keeps_its_energy_on_another_step(powers, length, step, expected):
    found = profile_by_step(powers, length, step)
    assert found == pytest.approx(expected)
    assert np.sum(found) * step == pytest.approx(np.sum(powers) * length)
