"""Every limit that the replay knows: its name, interval, amount, unit and price."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from vpp.schedule.battery import TOLERANCE
from vpp.schedule.devices import GridConnection, ScheduledBattery, SocTarget
from vpp.schedule.dispatch import idle, settle
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.replay import peak_import_kw, replay, wear_of_depth_eur

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


# each by its own ratings: powers by 500 kW, energies by 1,000 kWh
LARGE = ScheduledBattery(
    *("large", 1000, 300, 500),
    soc_initial=0.5,
    charge_min_kw=100,
    charge_curve=((0, 280), (0.5, 280), (1, 80)),
    discharge_curve=((0, 100), (0.5, 450), (1, 450)),
)
FREE = {"charge_curve": (), "discharge_curve": (), "charge_min_kw": 0.0}
KW, KWH = 500 * TOLERANCE, 1000 * TOLERANCE


@pytest.mark.parametrize(
    ("changes", "charge", "discharge", "field", "slack"),
    [
        (FREE, -1.0, 0.0, "batteries[0].charge_kw below 0", KW),
        (FREE, 0.0, -1.0, "batteries[0].discharge_kw below 0", KW),
        (FREE, 301.0, 0.0, "batteries[0].charge_kw", KW),
        (
            FREE | {"discharge_kw": 200.0, "charge_kw": 500.0},
            0,
            201.0,
            "batteries[0].discharge_kw",
            KW,
        ),
        ({}, 281.0, 0.0, "batteries[0].charge_curve", KW),
        ({"soc_initial": 0.75}, 181.0, 0.0, "batteries[0].charge_curve", KW),
        ({"discharge_curve": ((0, 0), (1, 400))}, 0.0, 201.0, "batteries[0].discharge_curve", KW),
        ({}, 99.0, 0.0, "batteries[0].charge_min_kw", KW),
        (FREE, 1.0, 1.0, "batteries[0] charges and discharges at once", KW),
        (FREE | {"soc_initial": 0.0}, 0.0, 1.0, "batteries[0] below empty", KWH),
        (FREE | {"soc_initial": 1.0}, 1.0, 0.0, "batteries[0] above capacity", KWH),
        (FREE | {"cycles_per_day_max": 0.1}, 0.0, 101.0, "batteries[0].cycles_per_day_max", KWH),
        (
            FREE | {"cycles_per_day_max": 0.3, "cycles_so_far": 0.2},
            *(0.0, 101.0, "batteries[0].cycles_per_day_max", KWH),
        ),
    ],
)
def test_a_battery_breaks_a_limit_by_more_than_rounding_of_its_own(
    changes, charge, discharge, field, slack
):
    """One kW or kWh beyond a limit, and as much beyond it as is still, or no longer, rounding."""
    problem = a_problem(replace(LARGE, **changes), intervals=1)

    def listed(amount):
        """Faults where the limit is broken by this much."""
        back = 1.0 - amount
        kw = [power and power - (back if power > 0 else -back) for power in (charge, discharge)]
        if field.endswith("charge_min_kw"):
            kw[0] = 100.0 - amount
        schedule = settle(problem, np.array([[kw[0]]]), np.array([[kw[1]]]))
        return found(replay(problem, schedule).violations)

    unit = "kWh" if slack == KWH else "kW"
    assert listed(1.0) == {(field, 0): (1.0, unit)}
    assert listed(0.98 * slack) == {}
    assert listed(1.02 * slack) == {(field, 0): (1.02 * slack, unit)}


def test_a_charging_power_that_is_rounding_is_not_too_little():
    problem = a_problem(LARGE)
    for part, faults in ((0.98, set()), (1.02, {"batteries[0].charge_min_kw"})):
        schedule = settle(problem, np.array([[0.0, part * KW]]), np.zeros((1, 2)))
        assert {one.field for one in replay(problem, schedule).violations} == faults


def test_limits_by_soc_are_those_of_the_start_of_each_interval():
    """500 kWh, then 600: 280 kW in, then 280 - 0.4 * 100 = 240; out of 391 kWh 373.7 kW."""
    problem = a_problem(LARGE, intervals=4)
    charge = np.array([[100.0, 241.0, 0.0, 0.0]])
    discharge = np.array([[0.0, 0.0, 450.0, 374.7]])
    leak = a_problem(replace(LARGE, self_discharge_per_h=0.1), intervals=4)
    # 500 * 0.9 + 100 = 550, 495 + 241 = 736, 662.4 - 450 = 212.4: 100 + 700 * 0.2124 = 248.68 kW
    assert found(replay(problem, settle(problem, charge, discharge)).violations) == {
        ("batteries[0].charge_curve", 1): (1, "kW"),
        ("batteries[0].discharge_curve", 3): (1, "kW"),
    }
    assert found(replay(leak, settle(leak, charge, discharge)).violations) == {
        ("batteries[0].discharge_curve", 3): (374.7 - 248.68, "kW"),
        ("batteries[0] below empty", 3): (374.7 - 0.9 * 212.4, "kWh"),
    }


@pytest.mark.parametrize("part", [0.98, 1.02])
def test_a_claimed_soc_is_that_of_the_powers(part):
    problem = a_problem(replace(LARGE, **FREE))
    schedule = idle(problem)
    claimed = replace(schedule, soc=schedule.soc - part * TOLERANCE)
    assert found(replay(problem, claimed).violations) == {
        ("batteries[0].soc", t): (part * KWH, "kWh") for t in (0, 1) if part > 1
    }


def test_cycles_are_those_of_each_local_day_in_half_hours():
    """From 23:00 in Brussels: 2 kWh, then 4 kWh and 1 kWh of the next day; 0.3 of 10 kWh a day."""
    cell = replace(CELL, capacity_kwh=10, discharge_kw=8, soc_initial=1, cycles_per_day_max=0.3)
    cell = replace(cell, cycles_so_far=0.25)
    start = {"start": datetime(2025, 1, 1, 22, tzinfo=UTC), "time_zone": "Europe/Brussels"}
    problem = a_problem(cell, load_kw=np.zeros(5), step_min=30, **start)
    discharge = np.array([[1.0, 3.0, 8.0, 0.0, 2.0]])
    checked = replay(problem, settle(problem, np.zeros((1, 5)), discharge))
    assert found(checked.violations) == {
        ("batteries[0].cycles_per_day_max", 0): (1.5, "kWh"),
        ("batteries[0].cycles_per_day_max", 2): (2, "kWh"),
    }


@pytest.mark.parametrize(
    ("soc", "charge", "discharge", "wear"),
    [
        # bands of 2, 3 and 5 kWh at 10, 20 and 50 EUR/MWh; 1 kW in is 0.4 kWh, out 1 kWh, in 0.5 h
        (0.4, [0, 0], [0, 0], 0.0),
        (1.0, [0], [2], 2 * 10),  # 2 of the first band
        (1.0, [0], [4], 2 * 10 + 2 * 20),
        (1.0, [0], [8], 2 * 10 + 3 * 20 + 3 * 50),
        (0.1, [0], [3], 1 * 10),  # no more than there is
        (0.4, [0, 0], [1, 1], 2 * 10),
        (0.4, [0, 0, 0], [3, 0, 1], 2 * 10 + 1 * 20 + 1 * 20),
        (0.4, [0, 5, 0], [3, 0, 3], 2 * 10 + 1 * 20 + 2 * 10 + 1 * 20),  # 2 kWh fill the first
        (0.0, [20, 0], [0, 8], 2 * 10 + 3 * 20 + 3 * 50),  # 8 kWh
        (0.0, [30, 0], [0, 11], 2 * 10 + 3 * 20 + 5 * 50),  # no more than has room
        (0.3, [5, 0], [3, 2], 2 * 10 + 1 * 20 + 2 * 20),  # it takes where room was before
    ],
)
def test_a_band_gives_and_takes_before_a_dearer_one(soc, charge, discharge, wear):
    cell = ScheduledBattery("c", 10, 30, 30, eta_charge=0.8, eta_discharge=0.5, soc_initial=soc)
    cell = replace(cell, wear_curve=((0.2, 10), (0.5, 20), (1, 50)))
    problem = a_problem(CELL, replace(cell, battery_id="d"), intervals=len(charge), step_min=30)
    powers = np.array(charge, dtype=float), np.array(discharge, dtype=float)
    # half of a kWh that a band gives arrives
    assert wear_of_depth_eur(problem, 1, *powers) == pytest.approx(wear * 0.5 / 1000)


def test_energy_leaks_from_each_band_alike():
    """0.9 of 2 and 2 kWh are left after an hour, 0.9 of that after two: 1.62 kWh each."""
    cell = replace(CELL, soc_initial=0.4, wear_curve=((0.2, 10), (1, 20)))
    problem = a_problem(replace(cell, self_discharge_per_h=0.1), intervals=3)
    powers = np.array([0, 0, 0.0]), np.array([0, 3.0, 0])
    assert wear_of_depth_eur(problem, 0, *powers) == pytest.approx(
        (1.62 * 10 + (3 - 1.62) * 20) / 1000
    )
