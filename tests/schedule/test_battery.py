"""Battery physics with worked numbers, and the replay that checks schedules without a solver."""

import json
from dataclasses import replace

import numpy as np
import pytest

import battery
from battery import (
    Battery,
    carry_out,
    energy_kwh,
    idle,
    money_eur,
    replay,
    self_consumption,
    settle,
    within_grid,
)
from vpp.runtime.errors import FieldError
from vpp.runtime.settings import BatteryParameters
from vpp.schedule.problem import Schedule
from vpp.schedule.problem_file import parse_problem

# 10 kWh, 4 kW in, 5 kW out; 90 % and 80 %; SOC 0.1 to 0.9, at 0.5
CELL = Battery("cell", 10, 4, 5, 0.9, 0.8, 0.1, 0.9, 0.5)


def a_problem(**changes):
    raw = {
        "step_min": 60,
        "load_kw": [3, 3],
        "renewables_kw": [0, 5],
        "import_price_eur_per_mwh": [100, 200],
        "export_price_eur_per_mwh": [50, 80],
        "batteries": [
            {
                "battery_id": "cell",
                "capacity_kwh": 10,
                "charge_kw": 4,
                "discharge_kw": 5,
                "soc_initial": 0.5,
            }
        ],
    }
    return parse_problem(raw | changes)


def powers(*charge_less_discharge):
    power = np.array([charge_less_discharge], dtype=float)
    return np.maximum(power, 0), np.maximum(-power, 0)


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


def test_settling_curtails_what_costs_money_and_what_the_grid_cannot_take():
    raw = {
        "step_min": 60,
        "load_kw": [1, 1, 1],
        "renewables_kw": [5, 5, 5],
        "import_price_eur_per_mwh": [30, 30, -40],
    }
    raw |= {
        "export_price_eur_per_mwh": [-10, 20, -50],
        "grid": {"export_limit_kw": 3, "import_limit_kw": 10},
    }
    schedule = idle(parse_problem(raw))
    # paying 10 to export: export nothing; a limit of 3: 1 kW too much; importing is paid 40: all 5
    # kW off
    assert schedule.curtailed_kw.tolist() == [4, 1, 5]
    assert schedule.grid_export_kw.tolist() == [0, 3, 0]
    assert schedule.grid_import_kw.tolist() == [0, 0, 1]
    must_run = idle(parse_problem(raw | {"curtailable": False}))
    assert must_run.grid_export_kw.tolist() == [4, 4, 4]


def test_the_rule_charges_on_surplus_and_discharges_on_deficit():
    schedule = self_consumption(a_problem())
    # 5 kWh stored serve the 3 kW deficit; then 2 kW of surplus are charged
    assert schedule.discharge_kw.tolist() == [[3, 0]]
    assert schedule.charge_kw.tolist() == [[0, 2]]
    assert schedule.grid_import_kw.tolist() == [0, 0]
    assert replay(a_problem(), schedule).violations == ()


def test_the_rule_keeps_to_the_cycles_of_a_local_day():
    raw = {
        "battery_id": "c",
        "capacity_kwh": 10,
        "charge_kw": 9,
        "discharge_kw": 9,
        "soc_initial": 1,
        "cycles_per_day_max": 0.4,
        "cycles_so_far": 0.1,
    }
    # from 22:00 to 02:00 in Brussels: 3 kWh left on the first day, 4 kWh on the second
    problem = parse_problem(
        {
            "step_min": 60,
            "load_kw": [2, 2, 3, 3],
            "batteries": [raw],
            "start": "2025-01-01T21:00Z",
            "time_zone": "Europe/Brussels",
        }
    )
    schedule = self_consumption(problem)
    assert schedule.discharge_kw.tolist() == [[2, 1, 3, 1]]
    assert replay(problem, schedule).violations == ()


def test_carrying_out_a_plan_goes_through_the_battery():
    problem = a_problem()
    schedule = carry_out(
        problem, lambda t, batteries: [100.0 if batteries[0].soc < 0.6 else -100.0]
    )
    assert isinstance(schedule, Schedule)
    assert schedule.charge_kw.tolist() == [[4, 0]]
    assert schedule.discharge_kw.tolist() == [[0, 5]]
    assert replay(problem, schedule).violations == ()


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


def test_carrying_out_keeps_to_the_grid_connection():
    """4 kW are wanted of a battery where the load already takes 3 of the 5 kW that may be imported:
    it charges with 2.
    """
    problem = a_problem(grid={"import_limit_kw": 5, "export_limit_kw": 1}, renewables_kw=[0, 0])
    schedule = carry_out(problem, lambda t, batteries: [4.0 if t == 0 else -5.0])
    assert schedule.charge_kw[0].tolist() == [2.0, 0.0]
    assert schedule.discharge_kw[0].tolist() == [
        0.0,
        4.0,
    ]  # 3 kW serve the load, 1 kW may be exported
    assert replay(problem, schedule).bends == ()
    # a load beyond the limit is not the battery's doing: it only does not add to it, and may help
    heavy = a_problem(grid={"import_limit_kw": 2})
    cell = Battery.of(problem.batteries[0])
    assert within_grid(heavy, 0, [4.0], [cell]) == [0.0]
    assert within_grid(heavy, 0, [-1.0], [cell]) == [-1.0]
    # of two batteries both are cut back alike; one that discharges makes room for the other
    assert within_grid(problem, 0, [3.0, 1.0], [cell, cell]) == [1.5, 0.5]
    assert within_grid(problem, 0, [3.0, -1.0], [cell, cell]) == [3.0, -1.0]


def test_a_battery_that_is_empty_makes_no_room_for_another():
    """3,000 kW of load behind 3,200 kW.

    One battery may charge with 200 kW, as the other has nothing to discharge.
    """
    cell = {"capacity_kwh": 1000, "charge_kw": 500, "discharge_kw": 500}
    batteries = [cell | {"battery_id": "first"}, cell | {"battery_id": "empty"}]
    problem = a_problem(
        load_kw=[3000, 3000],
        renewables_kw=[0, 0],
        grid={"import_limit_kw": 3200},
        batteries=batteries,
    )
    schedule = carry_out(problem, lambda t, _: [500.0, -500.0])
    assert schedule.charge_kw.tolist() == [[pytest.approx(200)] * 2, [0, 0]]
    assert replay(problem, schedule).bends == ()


def test_carrying_out_keeps_to_the_cycles_of_a_day():
    """Of half a cycle of 10 kWh a day 1 kWh has been used.

    4 kWh are left for two hours in which 3 kW are wanted.
    """
    cell = {
        "battery_id": "c",
        "capacity_kwh": 10,
        "charge_kw": 9,
        "discharge_kw": 9,
        "soc_initial": 1,
    }
    problem = a_problem(batteries=[cell | {"cycles_per_day_max": 0.5, "cycles_so_far": 0.1}])
    schedule = carry_out(problem, lambda t, _: [-3.0])
    assert schedule.discharge_kw.tolist() == [[3, 1]]
    assert replay(problem, schedule).violations == ()


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


@pytest.mark.parametrize(
    ("curtailable", "limit", "discharge"),
    [
        (True, 3, 4),  # renewables give way: 5 kW out less 1 kW of load are 1 kW over the limit
        (True, 0, 1),  # nothing may be exported: only the load is served
        (True, 8, 5),
        (False, 8, 4),  # 5 kW of sun and 5 kW out less 1 kW of load are 1 kW over the limit
        (False, 3, 0),  # the sun alone exceeds the limit: nothing, and never charging instead
    ],
)
def test_discharging_keeps_to_the_export_limit_beside_renewables(curtailable, limit, discharge):
    grid = {"export_limit_kw": limit}
    problem = a_problem(load_kw=[9, 1], renewables_kw=[0, 5], grid=grid, curtailable=curtailable)
    cell = Battery.of(problem.batteries[0])
    assert within_grid(problem, 1, [-5.0], [cell]) == [pytest.approx(-discharge)]
    # of 2 and 3 kW both are cut back alike; one that charges 3 kW makes room for the other's 3 kW
    both = [pytest.approx(-0.4 * discharge), pytest.approx(-0.6 * discharge)]
    assert within_grid(problem, 1, [-2.0, -3.0], [cell, cell]) == both
    if curtailable:
        assert within_grid(problem, 1, [3.0, -3.0], [cell, cell]) == [3.0, -3.0]


def test_charging_keeps_to_the_import_limit_beside_renewables():
    # 6 kW of load less 2 kW of sun and 4 kW of charging are 8 kW, 1 kW more than may be imported
    problem = a_problem(load_kw=[6, 6], renewables_kw=[2, 2], grid={"import_limit_kw": 7})
    cell = Battery.of(problem.batteries[0])
    assert within_grid(problem, 0, [4.0], [cell]) == [3.0]
    assert within_grid(problem, 0, [1.0, 3.0], [cell, cell]) == [0.75, 2.25]


def test_settling_curtails_by_the_price_with_its_co2():
    """1 kW of load, 5 kW of sun; importing is paid 40 EUR/MWh, exporting costs 10.

    At 200 EUR/t a MWh with 400 kg costs 80 more, so importing costs 40: 4 kW off, as much as would
    be exported. With 100 kg it is still paid 20, more than nothing: all 5 kW off.
    """
    problem = a_problem(
        load_kw=[1, 1],
        renewables_kw=[5, 5],
        import_price_eur_per_mwh=[-40, -40],
        export_price_eur_per_mwh=[-10, -10],
        co2_kg_per_mwh=[400, 100],
        co2_price_eur_per_t=200,
    )
    schedule = idle(problem)
    assert schedule.curtailed_kw.tolist() == [4, 5]
    assert schedule.grid_import_kw.tolist() == [0, 1]
    checked = replay(problem, schedule)
    assert checked.energy_eur == pytest.approx(-0.04)  # 1 kWh at -40 EUR/MWh
    assert checked.co2_eur == pytest.approx(0.02)  # its 0.1 kg at 200 EUR/t


# Two batteries that differ in every parameter, in one hour with 4 kW of load.
FIRST = {"battery_id": "a", "capacity_kwh": 10, "charge_kw": 4, "discharge_kw": 5}
FIRST |= {"eta_discharge": 0.8, "soc_initial": 0.5, "soc_min": 0.1, "soc_max": 0.85}
FIRST |= {"wear_eur_per_mwh": 10, "terminal_value_eur_per_mwh": 100, "soc_final": 0.25}
SECOND = {"battery_id": "b", "capacity_kwh": 8, "charge_kw": 2, "discharge_kw": 2}
SECOND |= {"eta_charge": 0.5, "eta_discharge": 0.5, "self_discharge_per_h": 0.1}
SECOND |= {"soc_initial": 0.75, "soc_min": 0.2, "soc_max": 0.75, "soc_final": 0.5}
SECOND |= {"wear_eur_per_mwh": 40, "terminal_value_eur_per_mwh": 300}


def two_batteries():
    prices = {"import_price_eur_per_mwh": [100], "export_price_eur_per_mwh": [50]}
    return a_problem(load_kw=[4], renewables_kw=[0], batteries=[FIRST, SECOND], **prices)


def test_replay_takes_each_battery_by_its_own_parameters():
    """2 kW out of each: the first loses 2 / 0.8 = 2.5 of 5 kWh.

    The second loses 2 / 0.5 = 4 of 0.75 * 8 = 6 kWh less the 10 % that leak: 1.4 kWh are left,
    0.2 below its soc_min of 1.6 kWh and 2.6 short of its soc_final of 4 kWh.
    """
    problem = two_batteries()
    schedule = settle(problem, np.zeros((2, 1)), np.array([[2.0], [2.0]]))
    assert schedule.soc[:, 0].tolist() == pytest.approx([0.25, 1.4 / 8])
    checked = replay(problem, schedule)
    assert checked.violations == ()
    assert checked.wear_eur == pytest.approx(0.002 * 10 + 0.002 * 40)
    assert checked.left_eur == pytest.approx(0.0025 * 100 + 0.0014 * 300)
    assert {(v.field, v.interval): v.amount for v in checked.bends} == {
        ("batteries[1].soc_min", 0): pytest.approx(0.2),
        ("batteries[1].soc_final", 0): pytest.approx(2.6),
    }


def test_carrying_out_limits_each_battery_by_its_own_parameters():
    problem = two_batteries()
    # down to its minimum the second gives 5.4 - 1.6 = 3.8 kWh, of which half arrives
    out = carry_out(problem, lambda t, batteries: [-2.0, -2.0])
    assert out.discharge_kw.tolist() == [[2.0], [pytest.approx(1.9)]]
    # up to its maximum the first takes 8.5 - 5 = 3.5 kWh; the second 6 - 5.4 = 0.6 kWh from 1.2
    filled = carry_out(problem, lambda t, batteries: [9.0, 9.0])
    assert filled.charge_kw.tolist() == [[3.5], [pytest.approx(1.2)]]


def test_replay_counts_half_an_hour_as_half():
    """8 kW out and 4 kW in, for half an hour each: 5 kWh become 1 and then 3 kWh.

    4 kW are exported (2 kWh at 50), then 8 kW imported (4 kWh at 200, 2 kW over the limit). For
    half an hour 1 kWh is missing below the minimum of 2 kWh.
    """
    cell = {"battery_id": "c", "capacity_kwh": 10, "charge_kw": 4, "discharge_kw": 8}
    cell |= {"soc_min": 0.2, "soc_initial": 0.5, "terminal_value_eur_per_mwh": 100}
    problem = a_problem(
        step_min=30,
        load_kw=[4, 4],
        renewables_kw=[0, 0],
        batteries=[cell | {"wear_eur_per_mwh": 10}],
        grid={"import_limit_kw": 6},
    )
    checked = replay(problem, settle(problem, *powers(-8.0, 4.0)))
    assert checked.violations == ()
    assert checked.cost_eur == pytest.approx(0.004 * 200 - 0.002 * 50)
    assert checked.wear_eur == pytest.approx(0.004 * 10)
    assert checked.left_eur == pytest.approx(0.003 * 100)
    assert checked.bent == pytest.approx((2 * 0.5, 1 * 0.5, 0))


@pytest.mark.parametrize("so_far", [0.5, 0.8])
def test_no_cycles_left_is_no_discharging(so_far):
    cell = {"battery_id": "c", "capacity_kwh": 10, "charge_kw": 9, "discharge_kw": 9}
    cell |= {"soc_initial": 1, "cycles_per_day_max": 0.5, "cycles_so_far": so_far}
    schedule = carry_out(a_problem(batteries=[cell]), lambda t, _: [-3.0])
    assert schedule.discharge_kw.tolist() == [[0, 0]]
