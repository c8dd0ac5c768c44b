"""Every limit that the replay knows: its name, interval, amount, unit and price."""

from dataclasses import replace

import numpy as np
import pytest

from vpp.schedule.battery import TOLERANCE
from vpp.schedule.devices import GridConnection, ScheduledBattery, SocTarget
from vpp.schedule.dispatch import idle, settle
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.replay import peak_import_kw, replay

CELL = ScheduledBattery("c", 10, 4, 5, soc_initial=0.5)


def a_problem(*batteries, intervals=2, **changes):
    return Problem(
        **{"step_min": 60, "load_kw": np.zeros(intervals), "batteries": batteries} | changes
    )


def found(listed):
    return {(v.field, v.interval): (pytest.approx(v.amount), v.unit) for v in listed}


def test_every_fault_against_physics_has_its_name_and_unit():
    """5 kWh charged with 6 and then -1 kW while -1 and then 9 kW are discharged: 12, then 2 kWh."""
    cell = replace(CELL, cycles_per_day_max=0.6)
    schedule = Schedule(
        charge_kw=np.array([[6.0, -1.0, 1.0]]),
        discharge_kw=np.array([[-1.0, 9.0, 4.0]]),
        curtailed_kw=np.array([-1.0, 0.0, 2.0]),
        grid_import_kw=np.array([5.0, -3.0, 3.0]),
        grid_export_kw=np.array([2.0, -7.0, 1.0]),
        soc=np.array([[1.2, 0.2, 0.0]]),
    )
    assert found(replay(a_problem(cell, intervals=3), schedule).violations) == {
        ("grid_import_kw below 0", 1): (3, "kW"),
        ("grid_export_kw below 0", 1): (7, "kW"),
        ("curtailed_kw below 0", 0): (1, "kW"),
        ("grid_import_kw and grid_export_kw at once", 0): (2, "kW"),
        ("grid_import_kw and grid_export_kw at once", 2): (1, "kW"),
        ("curtailed_kw", 2): (2, "kW"),
        ("power balance", 0): (3, "kW"),  # 5 - 2 + 1 - 1 - 6
        ("power balance", 1): (14, "kW"),  # -3 + 7 + 9 + 1
        ("power balance", 2): (3, "kW"),  # 3 - 1 - 2 + 4 - 1
        ("batteries[0].charge_kw below 0", 1): (1, "kW"),
        ("batteries[0].charge_kw", 0): (2, "kW"),
        ("batteries[0].discharge_kw below 0", 0): (1, "kW"),
        ("batteries[0].discharge_kw", 1): (4, "kW"),
        ("batteries[0] charges and discharges at once", 2): (1, "kW"),
        ("batteries[0].soc", 2): (1, "kWh"),
        ("batteries[0] below empty", 2): (1, "kWh"),
        ("batteries[0] above capacity", 0): (2, "kWh"),
        ("batteries[0].cycles_per_day_max", 0): (6, "kWh"),  # -1 + 9 + 4 of 6 kWh
    }


def test_every_limit_that_bends_has_its_name_its_unit_and_its_class():
    """5 kWh become 9 and then 4 kWh; 8 kW are imported, then 7 kW exported."""
    cell = replace(CELL, soc_max=0.8, soc_final=0.5, soc_final_min=0.6)
    cell = replace(cell, soc_targets=(SocTarget(0, 0.95), SocTarget(1, 0.7)))
    problem = a_problem(
        cell,
        load_kw=np.array([4.0, -2.0]),
        import_price_eur_per_mwh=np.array([100.0, 10.0]),
        grid=GridConnection(import_limit_kw=5.0, export_limit_kw=6.0),
    )
    checked = replay(problem, settle(problem, np.array([[4.0, 0.0]]), np.array([[0.0, 5.0]])))
    assert checked.violations == ()
    assert found(checked.bends) == {
        ("grid.import_limit_kw", 0): (3, "kW"),
        ("grid.export_limit_kw", 1): (1, "kW"),
        ("batteries[0].soc_max", 0): (1, "kWh"),
        ("batteries[0].soc_targets[0]", 0): (0.5, "kWh"),
        ("batteries[0].soc_targets[1]", 1): (3, "kWh"),
        ("batteries[0].soc_final", 1): (1, "kWh"),
        ("batteries[0].soc_final_min", 1): (2, "kWh"),
    }
    assert checked.bent == pytest.approx((3 + 1, 1, 0.5 + 3 + 1 + 2))


def test_both_soc_bounds_add_up():
    """9 kWh are 1 above the upper bound, then 1 kWh is 1 below the lower one, each for an hour."""
    problem = a_problem(ScheduledBattery("c", 10, 9, 9, soc_min=0.2, soc_max=0.8, soc_initial=0.5))
    checked = replay(problem, settle(problem, np.array([[4.0, 0.0]]), np.array([[0.0, 8.0]])))
    assert {v.field: v.amount for v in checked.bends} == {
        "batteries[0].soc_min": pytest.approx(1),
        "batteries[0].soc_max": pytest.approx(1),
    }
    assert checked.bent == pytest.approx((0, 2, 0))


@pytest.mark.parametrize(("curtailable", "faults"), [(True, set()), (False, {"curtailed_kw"})])
def test_must_run_renewables_are_not_curtailed(curtailable, faults):
    problem = a_problem(renewables_kw=np.array([2.0, 2.0]), curtailable=curtailable)
    nothing = np.zeros((0, 2))
    checked = replay(problem, settle(problem, nothing, nothing, np.array([0.5, 0.0])))
    assert {v.field for v in checked.violations} == faults


@pytest.mark.parametrize(
    ("load_kw", "batteries", "largest"),
    [
        (0.5, (), 1.0),
        (-300.0, (CELL,), 300.0),
        (2.0, (CELL,), 2.0),
        (50.0, (replace(CELL, capacity_kwh=5000.0),), 50.0),
    ],
)
def test_a_deviation_of_power_is_rounding_beside_the_largest_power(load_kw, batteries, largest):
    problem = a_problem(*batteries, load_kw=np.full(2, load_kw))
    schedule = idle(problem)
    for part, faults in ((0.999, 0), (1.001, 2)):
        off = schedule.grid_import_kw + part * TOLERANCE * largest
        broken = replace(schedule, grid_import_kw=off, grid_export_kw=schedule.grid_export_kw)
        listed = replay(problem, broken).violations
        assert sum(v.field == "power balance" for v in listed) == faults


def test_what_deviates_by_the_tolerance_itself_is_kept():
    problem = a_problem(load_kw=np.zeros(2))
    exactly = replace(idle(problem), grid_import_kw=np.full(2, TOLERANCE))
    assert replay(problem, exactly).violations == ()


@pytest.mark.parametrize(("so_far", "cost"), [(0.0, 1.0), (0.2, 0.6), (0.5, 0.0), (9.0, 0.0)])
def test_only_a_peak_above_the_one_so_far_is_paid(so_far, cost):
    grid = GridConnection(peak_price_eur_per_kw=2.0, peak_so_far_kw=so_far)
    problem = a_problem(load_kw=np.array([0.5, 0.25]), grid=grid)
    assert peak_import_kw(problem, np.array([0.5, 0.25])) == 0.5
    assert replay(problem, idle(problem)).peak_eur == pytest.approx(cost)


def test_without_an_interval_there_is_no_peak_and_no_fault():
    problem = a_problem(intervals=0)
    assert peak_import_kw(problem, np.zeros(0)) == 0.0
    assert replay(problem, idle(problem)).violations == ()
