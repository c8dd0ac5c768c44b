"""Plans start where the plans before led: SOC, cycles and peak. On a real database."""

from dataclasses import replace

import pandas as pd
import pytest
from small_planning import ISSUE, store_forecasts, store_site

import db
from vpp.planning.carrying import read_starts, starts_in_words
from vpp.planning.plans import plan
from vpp.planning.site_series import actual_frame, site_sources
from vpp.planning.site_state import peak_so_far, starting_batteries
from vpp.runtime.config import load_config
from vpp.storage.overrides import Override, record_override
from vpp.storage.results import read_last_states

HOUR, QUARTER = pd.Timedelta("1h"), pd.Timedelta("15min")
BATTERY = {
    "battery:store": {
        "capacity_kwh": 2000,
        "charge_kw": 1000,
        "discharge_kw": 1000,
        "cycles_per_day_max": 1,
    }
}


@pytest.fixture
def config(config_file):
    """A site with two weeks of measurements and forecasts at `ISSUE` and each hour after it."""
    config = load_config(config_file(**BATTERY))
    config = replace(config, grid=replace(config.grid, peak_price_eur_per_kw=2.0))
    with db.session(config) as conn:
        store_site(conn)
        for hours in range(6):
            store_forecasts(conn, ISSUE + hours * HOUR, "champion")
    return config


def planned(config, run):
    with db.session(config) as conn:
        return db.read_schedule(conn, run["run_id"])[2]


def energy_at_start(states):
    """The energy before the first interval, from what it did in it [kWh]."""
    first = states.iloc[0]
    moved = 0.95 * first["charge_kw"] - first["discharge_kw"] / 0.95
    return first["energy_kwh"] - moved / 4


def test_each_hourly_plan_starts_where_the_one_before_led(config):
    """SOC, the cycles left of the day and the peak so far; in 5 hours the battery has moved."""
    before, moved = planned(config, plan(config, ISSUE)), 0.0
    for hours in range(1, 6):
        at = ISSUE + hours * HOUR
        run = plan(config, at)
        states = planned(config, run)
        done = before[before.index < at]
        assert energy_at_start(states) == pytest.approx(done["energy_kwh"].iloc[-1], abs=1e-6)
        moved += float(done["discharge_kw"].iloc[-4:].sum()) / 4
        [battery] = run["basis"]["batteries"]
        assert battery["cycles_so_far"] == pytest.approx(moved / 2000)  # ISSUE is 01:00 local time
        [state] = run["made_from"]["states"]
        assert (state["kind"], state["age_min"]) == ("simulated", 60)
        with db.session(config) as conn:
            assert run["basis"]["peak_so_far_kw"] == pytest.approx(peak_so_far(conn, config, at))
        before = states
    assert moved > 0
    # the same plan again starts from the same state, and nothing doubles
    with db.session(config) as conn:
        counts = db.count_rows(conn)
    again = plan(config, at)
    assert again["run_id"] == run["run_id"] and again["cost_eur"] == run["cost_eur"]
    with db.session(config) as conn:
        assert db.count_rows(conn) == counts


def measure(config, time, soc):
    row = {"battery_id": "store", "kind": "measured", "soc": soc, "time": [time]}
    with db.session(config) as conn:
        db.save_battery_states(conn, pd.DataFrame(row))


def test_a_measured_state_counts_while_it_is_young_and_is_carried_forward_later(config):
    first = planned(config, plan(config, ISSUE))
    at = ISSUE + HOUR
    measure(config, at - QUARTER, 0.31)
    run = plan(config, at)
    [state] = run["made_from"]["states"]
    assert (state["kind"], state["soc"], state["age_min"]) == ("measured", 0.31, 15)
    assert energy_at_start(planned(config, run)) == pytest.approx(620)
    # one that is older moves on as the plan in force says
    strict = replace(config, operation=replace(config.operation, state_max_age_min=10))
    [start] = start_of(strict, at)
    last = first[first.index == at - QUARTER].iloc[0]
    power = last["charge_kw"] * 0.95 - last["discharge_kw"] / 0.95
    expected = min(max(0.31 + power / 4 / 2000, 0.05), 0.95)
    assert start.kind == "simulated" and start.soc == pytest.approx(expected)
    assert (start.time, start.age_min) == (at - QUARTER, 15)
    # one in the middle of an interval moves on for what is left of it
    measure(config, at - pd.Timedelta("12min"), 0.4)
    [start] = start_of(strict, at)
    expected = min(max(0.4 + power * 0.2 / 2000, 0.05), 0.95)
    assert start.soc == pytest.approx(expected)
    [text] = starts_in_words([start.as_json()])
    assert text.startswith("starts from\nstore: ") and "simulated, from 2025-01-20T00:48Z" in text


def test_a_battery_that_follows_the_meter_is_carried_as_it_does(config):
    """Where the plan has no exchange with the grid it took what load and sun really left, hand to
    hand; elsewhere what was planned. It is so for the ledger's states, and for the next plan."""
    tariff = replace(config.tariff, import_eur_per_mwh="325", export_eur_per_mwh="80")
    grid = replace(config.grid, peak_price_eur_per_kw=0.0)
    config = replace(config, tariff=tariff, grid=grid)
    at = ISSUE + 5 * HOUR
    with db.session(config) as conn:
        run = plan(config, ISSUE)
        _, rows, states = db.read_schedule(conn, run["run_id"])
        sources = [item for item in site_sources(conn, config) if item.kind != "market"]
        span = rows.index[rows.index < at]
        actual = actual_frame(conn, sources, span, 15)
    energy, zero = 1000.0, 0
    for time in span:
        net_kw = actual["load_kw"][time] - actual["renewables_kw"][time]
        planned_kw = states["charge_kw"][time] - states["discharge_kw"][time]
        exchange = rows["grid_import_kw"][time] + rows["grid_export_kw"][time]
        zero += exchange < 1e-6
        wanted = -net_kw if exchange < 1e-6 else planned_kw
        charge = min(max(wanted, 0), 1000, max(1900 - energy, 0) / 0.95 * 4)
        discharge = min(max(-wanted, 0), 1000, max(energy - 100, 0) * 0.95 * 4)
        energy += (charge * 0.95 - discharge / 0.95) / 4
    assert 0 < zero < len(span)
    [start] = start_of(config, at)
    assert start.kind == "simulated" and start.soc == pytest.approx(energy / 2000, abs=1e-6)
    run = plan(config, at)
    assert run["basis"]["batteries"][0]["soc_initial"] == pytest.approx(energy / 2000, abs=1e-6)
    with db.session(config) as conn:
        kept = read_last_states(conn, ["store"], at)["store"]
    assert kept[0] == at - QUARTER and kept[1] == pytest.approx(energy / 2000, abs=1e-6)
    # the plan before said otherwise
    [early] = start_of(config, ISSUE + HOUR)
    assert abs(states["soc"][ISSUE + HOUR - QUARTER] - early.soc) > 1e-3


def start_of(config, at):
    with db.session(config) as conn:
        return read_starts(conn, config, at).batteries


def test_without_a_state_and_a_plan_a_battery_is_as_the_configuration_says(config):
    [start] = start_of(config, ISSUE)
    assert (start.kind, start.soc, start.time) == ("initial", 0.5, None)


def test_a_battery_stands_still_where_no_plan_reaches(config):
    """Two days after a plan of 36 hours it is where that plan led at its end."""
    states = planned(config, plan(config, ISSUE))
    [start] = start_of(config, ISSUE + pd.Timedelta(days=2))
    assert start.kind == "simulated"
    assert start.soc == pytest.approx(states["soc"].iloc[-1], abs=1e-6)


def test_yesterday_s_cycles_are_not_today_s(config):
    at = ISSUE + 5 * HOUR
    plan(config, ISSUE)
    plan(config, at)
    with db.session(config) as conn:
        [today] = starting_batteries(conn, config, at)
        [tomorrow] = starting_batteries(conn, config, ISSUE + pd.Timedelta(hours=23))
    assert tomorrow.cycles_so_far == 0 and today.cycles_so_far >= 0


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Override("store", "hold", name="Ann", reason="storm"), [0.5] * 8),
        (Override("store", "off", name="Ann", reason="repair"), [0.5] * 8),
        # 950 kWh an hour are stored: 237.5 in a quarter, 0.11875 of the capacity
        (Override("store", "charge", 0.8, name="Ann"), [0.61875, 0.7375] + [0.8] * 6),
        (Override("store", "charge"), [0.61875, 0.7375, 0.85625] + [0.95] * 5),
        # 1,000 / 0.95 kWh an hour are taken
        (Override("store", "discharge", 0.3), [0.5 - 0.25 / 1.9, 0.3] + [0.3] * 6),
        (Override("store", "charge", 0.4), [0.5] * 8),  # it has more
    ],
)
def test_an_order_is_a_constraint_of_the_next_plan(config, caplog, order, expected):
    with db.session(config) as conn:
        record_override(conn, order)
    free = replace(config, batteries=(replace(config.batteries[0], cycles_per_day_max=None),))
    with caplog.at_level("INFO"):
        run = plan(free, ISSUE, now=ISSUE)
    assert planned(config, run)["soc"].iloc[:8].tolist() == pytest.approx(expected, abs=1e-5)
    assert run["made_from"]["overrides"][0]["override"] == order.override
    assert f"override: store: {order.override}" in caplog.text
    assert order.reason in caplog.text and (order.name or "no name") in caplog.text


def test_an_order_ends_and_a_plan_within_the_hour_stands_beside_the_one_before(config):
    first = plan(config, ISSUE, now=ISSUE)
    until = ISSUE + 2 * HOUR
    with db.session(config) as conn:
        record_override(conn, Override("store", "charge", 0.9, until))
    now = ISSUE + pd.Timedelta("7min")
    second = plan(config, ISSUE, now=now)
    assert first["run_id"] != second["run_id"]
    assert plan(config, ISSUE, now=now)["run_id"] == second["run_id"]  # of the same inputs
    states = planned(config, second)
    held = states[states.index < until]
    assert held["soc"].iloc[-1] == pytest.approx(0.9, abs=1e-5)
    assert (held["discharge_kw"] < 1e-6).all() and (states["discharge_kw"] > 1).any()
    with db.session(config) as conn:
        record_override(conn, Override("store", "auto"))
    assert plan(config, ISSUE, now=now)["made_from"]["overrides"] == []


def test_what_is_measured_since_the_interval_began_counts_in_operation(config):
    measure(config, ISSUE + pd.Timedelta("5min"), 0.2)
    run = plan(config, ISSUE, now=ISSUE + pd.Timedelta("6min"))
    assert energy_at_start(planned(config, run)) == pytest.approx(400)
    assert plan(config, ISSUE)["made_from"]["states"][0]["kind"] == "initial"


def test_in_operation_older_forecasts_stand_in_and_a_silent_site_is_marked(config):
    at = ISSUE + 30 * HOUR  # forecasts of 25 h before reach 23 h beyond; the data end 18 h ahead
    run = plan(config, at, now=at)
    assert len(planned(config, run)) == 23 * 4 and run["made_from"]["not_current"] == {}
    with db.session(config) as conn, conn.cursor() as cursor:
        for table in ("renewables", "load"):
            cursor.execute(f"DELETE FROM {table} WHERE time >= %s", (ISSUE,))
    run = plan(config, at, now=at)
    assert set(run["made_from"]["not_current"]) == {"load-1", "solar-1", "wind-1"}
    assert "30 h before the clock" in run["made_from"]["not_current"]["load-1"]


def test_cycles_of_states_without_a_power_follow_from_their_charge(config):
    """From 0.9 to 0.7 in an hour: 400 kWh leave the store, 380 the terminals, 0.19 cycles."""
    for hours, soc in ((1, 0.9), (2, 0.7), (3, 0.8), (4, 0.8)):
        measure(config, ISSUE + hours * HOUR, soc)
    with db.session(config) as conn:
        [battery] = starting_batteries(conn, config, ISSUE + 5 * HOUR)
    assert battery.cycles_so_far == pytest.approx(0.19) and battery.soc_initial == 0.8
