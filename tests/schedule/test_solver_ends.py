"""Schedules whose solver ends early, or whose limits cannot all be kept."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from small_answers import scheduled

from vpp.schedule.backends import SOLVERS
from vpp.schedule.certificate import certificate_of
from vpp.schedule.draft import GE
from vpp.schedule.model import build
from vpp.schedule.problem_file import result_json


def test_without_time_the_incumbent_is_feasible_and_never_optimal():
    # too many binaries for a millionth of a second
    generator = np.random.default_rng(1)
    prices = generator.uniform(-100, 20, 200).round(2).tolist()
    problem, result = scheduled(
        prices, {"eta_charge": 0.9, "eta_discharge": 0.9}, time_limit_s=1e-6
    )
    assert result.status == "feasible"
    assert result.certificate.gap > problem.gap
    in_time = scheduled(prices, {"eta_charge": 0.9, "eta_discharge": 0.9})[1]
    assert in_time.status == "optimal"
    assert result.certificate.bound_eur <= in_time.objective_eur <= result.objective_eur
    assert in_time.certificate.gap <= problem.gap


def test_what_was_cut_short_before_any_proof_says_so():
    # nothing was found: the rule (charge the surplus of the first hour for the deficit of the
    # second) is better than no battery moving
    surplus = {"load_kw": [0, 1000], "renewables_kw": [1000, 0], "export_price_eur_per_mwh": [0, 0]}
    problem, result = scheduled([50, 50], {}, time_limit_s=1e-9, **surplus)
    assert (result.status, result.objective_eur) == ("feasible", 0)
    told = result_json(problem, result)["certificate"]
    assert (told["kind"], told["proven"]) == ("lp-exact", False)
    assert result.reason[0] == "charge: no marginal values: time limit"
    assert np.isnan(result.stored_value_eur_per_mwh).all()
    problem, result = scheduled([50, -50], {}, time_limit_s=1e-9)
    assert 0 <= result.certificate.gap <= 1
    text = json.dumps(result_json(problem, result), allow_nan=False)
    assert json.loads(text)["stored_value_eur_per_mwh"] == [None, None]


def test_the_incumbent_of_a_time_limit_is_explained_by_its_own_values(monkeypatch):
    # the solver is cut short after its first incumbent, which is the optimum here: only its status
    # says so
    class CutShort(SOLVERS["highs"]):
        def minimise(self, *args):
            integral, outcome = self.integral, super().minimise(*args)
            return replace(outcome, status="limit", bound=-np.inf) if integral else outcome

    monkeypatch.setitem(SOLVERS, "highs", CutShort)
    _, result = scheduled([-50] * 3, {"eta_charge": 0.9, "eta_discharge": 0.9})
    assert (result.status, result.certificate.kind, result.cost_eur) == (
        "feasible",
        "milp",
        pytest.approx(-346),
    )
    assert np.isfinite(result.stored_value_eur_per_mwh).all()
    assert not any("time limit" in reason for reason in result.reason)


def test_cbc_proves_nothing_infeasible_after_its_time():
    for soft, after in ((True, "limit"), (False, "infeasible")):
        model = build(scheduled([10, 50], {})[0], soft=soft)
        # the grid can take no more than the 4 MW of B and a little
        model.constrain("contradiction", GE, [5000.0, 0.0], ("grid_import_kw", 1.0))
        run, cost = SOLVERS["cbc"](model, 1e-6), model.matrices.cost
        assert run.minimise(cost, 60.0, 1e-6).status == "infeasible"
        assert run.minimise(cost, 1e-9, 1e-6).status == after


def test_a_gap_to_an_objective_of_nothing_is_a_fraction():
    model = SimpleNamespace(binaries=3)
    assert certificate_of(model, 0.0, -5.0, 0.0).gap == 1.0
    assert certificate_of(model, 0.0, 0.0, 0.0).gap == 0.0
    assert certificate_of(model, 5.0, -5.0, 0.0).gap == 1.0


@pytest.mark.parametrize("step_min", [60, 15, 5])
@pytest.mark.parametrize("hours", [24, 36, 48])
def test_a_grid_limit_that_can_be_kept_is_kept_before_an_soc_bound(hours, step_min):
    # the load takes all of the limit: what is missing to soc_min, 5 % of 6 MWh, could only be
    # charged over the limit, and stays missing
    count = hours * 60 // step_min
    empty = {"soc_min": 0.05, "soc_initial": 0, "eta_charge": 0.95, "eta_discharge": 0.95}
    grid = {"import_limit_kw": 1000}
    _, result = scheduled([50] * count, empty, load_kw=[1000] * count, grid=grid, step_min=step_min)
    assert [(v.field, v.amount) for v in result.violations] == [
        ("batteries[0].soc_min", pytest.approx(300))
    ] * count


@pytest.mark.parametrize("step_min", [60, 15, 5, 1])
def test_an_soc_bound_is_kept_before_a_target_outside_it(step_min):
    battery = {"charge_kw": 400_000, "soc_max": 0.9, "soc_final": 1}
    _, result = scheduled([50] * 3, battery, step_min=step_min)
    assert [(v.field, v.amount) for v in result.violations] == [
        ("batteries[0].soc_final", pytest.approx(600))
    ]


@pytest.mark.parametrize("solver", ["highs", "cbc"])
@pytest.mark.parametrize("rating", [1e5, 1e12])
def test_a_rating_beyond_the_capacity_is_as_good_as_all_of_it(solver, rating):
    # loads cost 10, -100 and 45; 1 MWh stored takes 1 / 0.9 MWh at -50 and is sold at 90
    battery = {"capacity_kwh": 1000, "charge_kw": rating, "discharge_kw": rating, "eta_charge": 0.9}
    _, result = scheduled([10, -50, 90], battery, solver, load_kw=[1000, 2000, 500])
    assert result.cost_eur == pytest.approx(10 - 100 + 45 - 1 / 0.9 * 50 - 90)
