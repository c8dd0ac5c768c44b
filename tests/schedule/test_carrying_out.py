"""Powers that are carried out: what a battery, the connection and the cycles of a day allow."""

import numpy as np
import pytest
from small_battery import a_problem, powers

from battery import (
    Battery,
    carry_out,
    idle,
    replay,
    self_consumption,
    settle,
    within_grid,
)
from vpp.schedule.problem import Schedule
from vpp.schedule.problem_file import parse_problem


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
