"""The groups of the model, which duals, right-hand sides and dropped constraints go by."""

from dataclasses import replace

import numpy as np
import pytest

from vpp.schedule.columns import MONEY_SCALE
from vpp.schedule.devices import GridConnection, ScheduledBattery
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
PHYSICS = ["balance_power", "balance_energy_0", "balance_energy_1", "limit_cycles_0"]


def test_groups_of_constraints_keep_their_order_and_know_their_first():
    model = build(PROBLEM, soft=False)
    assert model.rows == {
        "balance_power": 0,
        "balance_energy_0": 3,
        "balance_energy_1": 6,
        "limit_cycles_0": 9,
        "measure_peak": 10,
    }
    assert model.lp.numConstraints() == 13
    without = replace(PROBLEM, batteries=(), grid=GridConnection())
    assert list(build(without, soft=True).rows) == ["balance_power"]


def test_a_soft_model_bends_each_limit_that_there_is():
    bends = ["bend_import_limit", "bend_export_limit"]
    of_batteries = ["bend_soc_bounds_0", "bend_soc_goals_0", "bend_soc_bounds_1"]
    assert list(build(PROBLEM, soft=True).rows) == [*PHYSICS, "measure_peak", *bends, *of_batteries]
    one = replace(PROBLEM, grid=GridConnection(export_limit_kw=8.0))
    assert list(build(one, soft=True).rows) == [*PHYSICS, bends[1], *of_batteries]


def test_caps_and_binaries_are_named_by_what_they_hold():
    exclusive = {"grid": np.array([1]), "1": np.array([0, 2])}
    model = build(PROBLEM, False, exclusive, {"co2_kg": 5.0, "discharge_kwh": 6.0})
    added = ["co2_kg", "discharge_kwh", "exclude_grid", "exclude_1", "fit_1"]
    assert list(model.rows) == [*PHYSICS, "measure_peak", *added]
    assert [constraint.name for constraint in model.lp.constraints()][13:] == [
        "cap_co2",
        "cap_discharge",
        *("exclude_grid_first_1", "exclude_grid_second_1"),
        *(f"exclude_battery_1_{side}_{t}" for t in (0, 2) for side in ("first", "second")),
        *(f"fit_{way}_1_{t}" for t in (0, 2) for way in ("charge", "discharge")),
    ]
    assert [-constraint.constant for constraint in model.lp.constraints()][13:15] == [5.0, 6.0]
    assert (model.binaries, len(model.columns["binaries"].variables)) == (3, 3)


def test_the_objective_has_each_cost_that_is_not_nothing():
    model = build(PROBLEM, soft=False)
    costs = {variable.name: cost for variable, cost in model.lp.objective.items()}
    assert costs == {
        "grid_import_kw_0": 10.0,
        "grid_import_kw_2": 30.0,
        "grid_export_kw_0": -1.0,
        "grid_export_kw_1": -2.0,
        "peak_kw_0": 2.0 * MONEY_SCALE,
    }
    columns = [variable.column for variable in model.variables]
    assert columns == list(range(len(columns)))
    assert model.of("peak_kw")[0].upBound is None
    assert model.of("energy_kwh_0")[2].lowBound == pytest.approx(5.0)
