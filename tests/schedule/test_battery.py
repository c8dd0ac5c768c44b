"""Battery physics with worked numbers, and the replay that checks schedules without a solver."""

import json
from dataclasses import replace

import numpy as np
import pytest
from small_battery import a_problem, powers

import battery
from battery import (
    Battery,
    energy_kwh,
    money_eur,
    replay,
    settle,
)
from vpp.runtime.errors import FieldError
from vpp.runtime.settings import BatteryParameters

# 10 kWh, 4 kW in, 5 kW out; 90 % and 80 %; SOC 0.1 to 0.9, at 0.5
CELL = Battery("cell", 10, 4, 5, 0.9, 0.8, 0.1, 0.9, 0.5)


def test_energy_is_power_times_hours_and_money_is_energy_times_price():
    assert energy_kwh(4.0, 0.25) == 1.0
    assert money_eur(500.0, 80.0) == 40.0  # 0.5 MWh at 80 EUR/MWh
    assert money_eur(500.0, -80.0) == -40.0


def test_charging_stores_what_its_efficiency_leaves():
    done = CELL.step(2.0, 0.5)  # 1 kWh in, 0.9 kWh stored
    assert (done.charge_kw, done.discharge_kw, done.limited_by) == (2.0, 0.0, "")
    assert done.battery.energy_kwh == pytest.approx(5.9)
    assert done.battery.soc == pytest.approx(0.59)


def test_discharging_takes_more_than_it_delivers():
    done = CELL.step(-2.0, 0.5)  # 1 kWh out, 1.25 kWh taken
    assert (done.charge_kw, done.discharge_kw, done.limited_by) == (0.0, 2.0, "")
    assert done.battery.energy_kwh == pytest.approx(3.75)


@pytest.mark.parametrize(
    ("wanted", "hours", "charge", "discharge", "limit"),
    [
        (9.0, 0.5, 4.0, 0.0, "power"),  # rating 4 kW
        (-9.0, 0.5, 0.0, 5.0, "power"),  # rating 5 kW
        (4.0, 2.0, 4 / 0.9 / 2, 0.0, "full"),  # 4 kWh of room take 4.444 kWh over 2 h
        (-5.0, 2.0, 0.0, 4 * 0.8 / 2, "empty"),  # 4 kWh above the minimum give 3.2 kWh over 2 h
        (0.0, 1.0, 0.0, 0.0, ""),
    ],
)
def test_what_cannot_be_done_is_limited_and_said(wanted, hours, charge, discharge, limit):
    done = CELL.step(wanted, hours)
    assert (done.charge_kw, done.discharge_kw, done.limited_by) == (
        pytest.approx(charge),
        pytest.approx(discharge),
        limit,
    )
    assert 0.1 - 1e-12 <= done.battery.soc <= 0.9 + 1e-12


def test_a_round_trip_loses_the_product_of_both_efficiencies():
    charged = CELL.step(2.0, 1.0)
    delivered = charged.battery.step(-5.0, 1.0)
    back = delivered.battery.step(-5.0, 1.0)
    total = (
        delivered.discharge_kw + back.discharge_kw
    )  # down to the minimum: 4 kWh stored before, 1.8 kWh of the charge
    assert total == pytest.approx((4 + 1.8) * 0.8)
    assert CELL.round_trip_efficiency == pytest.approx(0.72)


def test_self_discharge_compounds_so_that_steps_do_not_matter():
    leaky = replace(CELL, self_discharge_per_h=0.1)
    four = leaky
    for _ in range(4):
        four = four.step(0.0, 0.25).battery
    assert leaky.step(0.0, 1.0).battery.energy_kwh == pytest.approx(4.5)
    assert four.energy_kwh == pytest.approx(4.5)


def test_a_battery_outside_its_bounds_stays_but_goes_no_further():
    low, high = Battery.of(CELL, soc=0.02), Battery.of(CELL, soc=0.97)
    assert low.step(-5.0, 1.0).discharge_kw == 0.0
    assert high.step(4.0, 1.0).charge_kw == 0.0
    assert low.step(4.0, 0.25).battery.soc == pytest.approx(0.02 + 0.09)
    assert high.step(0.0, 1.0).battery.soc == pytest.approx(0.97)


def test_impossible_energy_and_parameters_are_refused():
    with pytest.raises(FieldError, match=r"energy_kwh = 11.*capacity_kwh = 10"):
        replace(CELL, energy_kwh=11.0)
    with pytest.raises(FieldError, match="eta_charge"):
        BatteryParameters("x", eta_charge=95)


def test_replay_computes_money_and_soc_by_hand():
    problem = a_problem()
    schedule = settle(problem, *powers(1.0, -2.0))
    # hour 0: 3 + 1 = 4 kW imported at 100 -> 0.4 EUR; hour 1: 3 - 5 - 2 = 4 kW exported at 80 ->
    # -0.32 EUR; 5 + 1 - 2 = 4 kWh left
    assert schedule.grid_import_kw.tolist() == [4, 0]
    assert schedule.grid_export_kw.tolist() == [0, 4]
    checked = replay(problem, schedule)
    assert checked.violations == checked.bends == ()
    assert checked.cost_eur == pytest.approx(0.4 - 0.32)
    assert schedule.soc[0].tolist() == pytest.approx([0.6, 0.4])


def test_replay_computes_wear_peak_co2_and_the_energy_left():
    raw = {
        "battery_id": "cell",
        "capacity_kwh": 10,
        "charge_kw": 4,
        "discharge_kw": 5,
        "soc_initial": 0.5,
    }
    worn = raw | {"wear_eur_per_mwh": 30, "terminal_value_eur_per_mwh": 60}
    grid = {"peak_price_eur_per_kw": 2, "peak_so_far_kw": 1, "peak_interval_min": 120}
    checked = replay(
        a_problem(batteries=[worn], grid=grid, co2_kg_per_mwh=[400, 400], co2_price_eur_per_t=50),
        settle(a_problem(), *powers(1.0, -2.0)),
    )
    assert checked.wear_eur == pytest.approx(0.002 * 30)  # 2 kWh discharged
    assert checked.left_eur == pytest.approx(0.004 * 60)  # 4 kWh left
    assert checked.peak_eur == pytest.approx(
        2 * (2 - 1)
    )  # 4 kW in one of two hours: a mean of 2 kW, 1 kW above the peak so far
    assert checked.co2_eur == pytest.approx(0.004 * 0.4 * 50)  # 4 kWh imported, 0.4 t/MWh
    assert checked.objective_eur == pytest.approx(0.08 + 2 + 0.08 + 0.06 - 0.24)


def broken(**changes):
    return replace(
        settle(a_problem(), *powers(1.0, -2.0)),
        **{name: np.array(value, dtype=float) for name, value in changes.items()},
    )


@pytest.mark.parametrize(
    ("schedule", "field", "interval", "amount"),
    [
        (broken(grid_import_kw=[4.5, 0]), "power balance", 0, 0.5),
        (broken(soc=[[0.6, 0.45]]), "batteries[0].soc", 1, 0.5),
        (
            broken(discharge_kw=[[0.25, 2]], grid_import_kw=[3.75, 0]),
            "batteries[0] charges and discharges at once",
            0,
            0.25,
        ),
        (
            broken(grid_import_kw=[5, 0], grid_export_kw=[1, 4]),
            "grid_import_kw and grid_export_kw at once",
            0,
            1,
        ),
        (broken(curtailed_kw=[0, 5.5], grid_export_kw=[0, -1.5]), "curtailed_kw", 1, 0.5),
        (broken(curtailed_kw=[-1, 0], grid_import_kw=[3, 0]), "curtailed_kw below 0", 0, 1),
    ],
)
def test_replay_names_each_violation_with_interval_and_amount(schedule, field, interval, amount):
    found = {(v.field, v.interval): v.amount for v in replay(a_problem(), schedule).violations}
    assert found[field, interval] == pytest.approx(amount)


def test_replay_finds_ratings_capacity_and_cycles_exceeded():
    problem = a_problem(
        batteries=[
            {
                "battery_id": "c",
                "capacity_kwh": 1,
                "charge_kw": 1,
                "discharge_kw": 1,
                "cycles_per_day_max": 0.5,
            }
        ]
    )
    found = {
        v.field: v.amount for v in replay(problem, settle(problem, *powers(1.5, -1.2))).violations
    }
    assert found == {
        "batteries[0].charge_kw": pytest.approx(0.5),
        "batteries[0].discharge_kw": pytest.approx(0.2),
        "batteries[0] above capacity": pytest.approx(0.5),
        "batteries[0].cycles_per_day_max": pytest.approx(1.2 - 0.5),
    }


def test_replay_lists_limits_that_bend_and_by_how_much():
    raw = {
        "battery_id": "c",
        "capacity_kwh": 10,
        "charge_kw": 9,
        "discharge_kw": 9,
        "soc_min": 0.2,
        "soc_initial": 0.5,
        "soc_final": 0.4,
    }
    target = {"soc_targets": [{"interval": 0, "soc_min": 0.3}]}
    problem = a_problem(batteries=[raw | target], grid={"import_limit_kw": 5})
    checked = replay(
        problem, settle(problem, *powers(-4.0, 5.0))
    )  # 5 -> 1 -> 6 kWh; export 1, import 3 + 5 - 5 = 3
    assert checked.violations == ()
    assert {(v.field, v.interval): (pytest.approx(v.amount), v.unit) for v in checked.bends} == {
        ("batteries[0].soc_min", 0): (1.0, "kWh"),
        ("batteries[0].soc_targets[0]", 0): (2.0, "kWh"),
        ("batteries[0].soc_final", 1): (2.0, "kWh"),
    }
    # 1 kWh for an hour below the bound, 2 kWh short of the target, and 2 of the final SOC
    assert checked.bent == pytest.approx((0, 1, 2 + 2))


def test_replay_does_not_take_nan_for_zero():
    checked = replay(a_problem(), broken(grid_import_kw=[np.nan, 0]))
    assert any(v.field == "power balance" and v.interval == 0 for v in checked.violations)


def test_the_script_simulates_a_day_and_draws_it(capsys, tmp_path):
    path, picture = tmp_path / "config.ini", tmp_path / "day.png"
    path.write_text("[battery:battery-1]\n")
    assert battery.main(["--config", str(path), "--plot", str(picture), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 24
    assert {row["limited_by"] for row in rows} >= {"full", "empty"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert battery.main(["--config", str(path), "--battery", "nobody"]) == 2


def test_a_picture_that_cannot_be_drawn_is_refused_in_one_line(capsys, tmp_path):
    path = tmp_path / "config.ini"
    path.write_text("[battery:battery-1]\n")
    assert battery.main(["--config", str(path), "--plot", str(tmp_path / "day.html")]) == 2
    assert capsys.readouterr().err.endswith(
        "day.html: expected a file that ends in .png, .svg, .pdf\n"
    )
    assert battery.main(["--config", str(path), "--plot", str(path / "day.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("power_kw", "hours", "said"),
    [
        (float("nan"), 1.0, "power_kw = nan"),
        (4.0, 0.0, "hours = 0"),
        (4.0, -1.0, "hours = -1"),
        (4.0, float("nan"), "hours = nan"),
    ],
)
def test_a_step_of_no_number_or_no_length_is_refused(power_kw, hours, said):
    with pytest.raises(ValueError, match=said):
        CELL.step(power_kw, hours)


def test_replay_counts_the_cycles_before_the_plan_on_its_first_day_only():
    """Three batteries of 10 kWh may discharge 5 kWh a day, of which 0, 2 and 8 kWh are used before.

    From 23:00 to 02:00 in Brussels each discharges 4 kW. On the first day 5, 3 and 0 kWh are left
    for 4 kWh: 0, 1 and 4 kWh too much. On the second day 8 kWh are 3 kWh too much for each.
    """
    cell = {"capacity_kwh": 10, "charge_kw": 4, "discharge_kw": 4, "soc_initial": 1}
    cell |= {"cycles_per_day_max": 0.5}
    problem = a_problem(
        load_kw=[20, 20, 20],
        renewables_kw=[0, 0, 0],
        import_price_eur_per_mwh=[9, 9, 9],
        export_price_eur_per_mwh=[9, 9, 9],
        batteries=[cell | {"battery_id": f"c{n}", "cycles_so_far": n} for n in (0, 0.2, 0.8)],
        start="2025-01-01T22:00:00Z",
        time_zone="Europe/Brussels",
    )
    checked = replay(problem, settle(problem, np.zeros((3, 3)), np.full((3, 3), 4.0)))
    found = {(v.field, v.interval): v.amount for v in checked.violations if "cycles" in v.field}
    assert found == {
        ("batteries[0].cycles_per_day_max", 1): pytest.approx(3),
        ("batteries[1].cycles_per_day_max", 0): pytest.approx(1),
        ("batteries[1].cycles_per_day_max", 1): pytest.approx(3),
        ("batteries[2].cycles_per_day_max", 0): pytest.approx(4),
        ("batteries[2].cycles_per_day_max", 1): pytest.approx(3),
    }
