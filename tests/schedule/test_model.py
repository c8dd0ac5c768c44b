"""The groups of the model, which duals, right-hand sides and dropped constraints go by."""

from dataclasses import replace

import numpy as np
import pytest

from vpp.schedule.devices import GridConnection, ScheduledBattery
from vpp.schedule.draft import MONEY_SCALE
from vpp.schedule.model import build
from vpp.schedule.problem import Problem

CELL = ScheduledBattery("c", 10, 4, 5, soc_initial=0.5, soc_final=0.5, cycles_per_day_max=1.0)
PROBLEM = Problem(
    60,
    np.array([1.0, 2.0, 3.0]),
    np.array([10.0, 0.0, 30.0]),
    np.array([1.0, 2.0, 0.0]),
    batteries=(CELL, replace(CELL, battery_id="d", soc_final=None, cycles_per_day_max=None)),
    grid=GridConnection(9.0, 8.0, peak_price_eur_per_kw=2.0),
)
PHYSICS = ["balance_energy_0", "limit_cycles_0", "balance_energy_1", "balance_power"]


def test_groups_of_constraints_keep_their_order_and_know_their_first():
    model = build(PROBLEM, False, {})
    assert {name: rows.first for name, rows in model.rows.items()} == {
        "balance_energy_0": 0,
        "limit_cycles_0": 3,
        "balance_energy_1": 4,
        "balance_power": 7,
        "measure_peak_0": 10,
    }
    assert model.lp.numConstraints() == 13
    without = replace(PROBLEM, batteries=(), grid=GridConnection())
    assert list(build(without, True, {}).rows) == ["balance_power"]


def test_a_soft_model_bends_each_limit_that_there_is():
    bends = {"bend_import_limit", "bend_export_limit", "bend_soc_goals_0"}
    assert set(build(PROBLEM, True, {}).rows) == {*PHYSICS, "measure_peak_0", *bends}
    # a bound that is that of the capacity does not bend
    bounded = replace(CELL, soc_min=np.array([0.0, 0.2, 0.0]), soc_max=0.9)
    one = replace(PROBLEM, grid=GridConnection(export_limit_kw=8.0), batteries=(bounded,))
    model = build(one, True, {})
    assert [len(model.rows[f"bend_soc_{name}_0"]) for name in ("min", "max")] == [1, 3]
    assert "bend_import_limit" not in model.rows


def test_caps_and_binaries_are_named_by_what_they_hold():
    exclusive = {"grid": np.array([1]), "1": np.array([0, 2])}
    model = build(PROBLEM, False, exclusive, {"co2_kg": 5.0, "discharge_kwh": 6.0})
    assert [constraint.name for constraint in model.lp.constraints()][13:] == [
        "cap_co2_0",
        "cap_discharge_0",
        *("exclude_grid_first_1", "exclude_grid_second_1"),
        *(f"exclude_1_{side}_{t}" for side in ("first", "second") for t in (0, 2)),
        *(f"fit_{way}_1_{t}" for way in ("charge", "discharge") for t in (0, 2)),
    ]
    assert [-constraint.constant for constraint in model.lp.constraints()][13:15] == [5.0, 6.0]
    assert (model.binaries, int(model.matrices.integral.sum())) == (3, 3)


def test_the_objective_has_each_cost_that_is_not_nothing():
    model = build(PROBLEM, soft=False)
    costs = {variable.name: cost for variable, cost in model.lp.objective.items()}
    assert costs == {
        "grid_import_kw_0": 10.0,
        "grid_import_kw_2": 30.0,
        "grid_export_kw_0": -1.0,
        "grid_export_kw_1": -2.0,
        "peak_kw_0_0": 2.0 * MONEY_SCALE,
    }
    columns = [variable.column for variable in model.variables]
    assert columns == list(range(len(columns)))
    assert model.of("peak_kw_0")[0].upBound is None
    assert model.of("energy_kwh_0")[2].lowBound == pytest.approx(5.0)


def left_side(model, name):
    """Factor of each variable of a constraint, by its name."""
    (found,) = [one for one in model.lp.constraints() if one.name == name]
    return {variable.name: factor for variable, factor in found.items()}


def test_the_peak_is_a_mean_of_its_steps():
    """Quarters of an hour, of which four make a peak and the last two another."""
    cell = replace(CELL, cycles_per_day_max=None)
    grid = GridConnection(peak_price_eur_per_kw=2.0, peak_interval_min=60)
    model = build(Problem(15, np.ones(6), batteries=(cell,), grid=grid), soft=False)
    peaks = [one.name for one in model.lp.constraints() if one.name.startswith("measure_peak")]
    assert len(peaks) == 2
    quarters = {f"grid_import_kw_{t}": 0.25 for t in range(4)}
    assert left_side(model, peaks[0]) == {**quarters, "peak_kw_0_0": -1.0}
    assert left_side(model, peaks[1]) == {
        "grid_import_kw_4": 0.5,
        "grid_import_kw_5": 0.5,
        "peak_kw_0_0": -1.0,
    }


def test_a_cap_of_co2_weighs_energy_by_its_kilograms():
    """250 kg/MWh for a quarter of an hour are 0.0625 kg for each kW."""
    problem = replace(PROBLEM, step_min=15, co2_kg_per_mwh=np.array([250.0, 0.0, 500.0]))
    factors = left_side(build(problem, False, {}, {"co2_kg": 5.0}), "cap_co2_0")
    weights = {"grid_import_kw_0": 0.0625, "grid_import_kw_2": 0.125}
    assert {name: factor for name, factor in factors.items() if factor} == weights


def test_a_limit_bends_by_as_much_as_is_beyond_it():
    model = build(PROBLEM, soft=True)
    bending = {
        name: factor
        for one in model.lp.constraints()
        if one.name.startswith("bend_")
        for name, factor in left_side(model, one.name).items()
        if not name.startswith(("grid_", "energy_"))
    }
    assert len(bending) == 3 * 2 + 2  # each limit in each hour, both ways of a target
    assert set(map(abs, bending.values())) == {1.0}


@pytest.mark.parametrize(
    ("low", "high", "lows", "highs"),
    [
        (np.array([0.1, 0.0, 0.3]), np.array([1.0, 0.9, 1.0]), {0: 2.0, 2: 6.0}, {1: 18.0}),
        (0.5, 1.0, {0: 10.0, 1: 10.0, 2: 10.0}, {}),
        (0.0, 0.25, {}, {0: 5.0, 1: 5.0, 2: 5.0}),
        (0.0, 1.0, {}, {}),
    ],
)
def test_energy_outside_the_bounds_is_noted_where_there_are_some(low, high, lows, highs):
    """20 kWh, quarters of an hour; the rows are named by their interval."""
    cell = replace(CELL, capacity_kwh=20, soc_min=low, soc_max=high, cycles_per_day_max=None)
    cell = replace(cell, soc_final=None, battery_id="d")
    problem = replace(PROBLEM, step_min=15, batteries=(CELL, cell))
    model = build(problem, soft=True)
    found = {one.name: one for one in model.lp.constraints() if "soc_m" in one.name}
    wanted = {
        f"bend_soc_{name}_1_{t}": (sense, kwh, side, 1.0 if sense > 0 else -1.0, place, t)
        for name, side, sense, bounds in (("min", "below", 1, lows), ("max", "above", -1, highs))
        for place, (t, kwh) in enumerate(bounds.items())
    }
    assert found.keys() == wanted.keys()
    for name, (sense, kwh, side, factor, place, t) in wanted.items():
        assert (found[name].sense, -found[name].constant) == (sense, pytest.approx(kwh))
        outside = f"{side}_kwh_1_{place}"
        assert left_side(model, name) == {f"energy_kwh_1_{t}": 1.0, outside: factor}
    for side, bounds in (("below", lows), ("above", highs)):
        group = model.columns.get(f"{side}_kwh_1")
        assert (group is None) == (not bounds)
        if group is not None:
            assert (group.lower.tolist(), len(group)) == ([0.0] * len(bounds), len(bounds))
            assert (group.bends, group.weight, group.cost.any()) == ("bounds", 0.25, False)
            assert np.isinf(group.upper).all()
