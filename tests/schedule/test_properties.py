"""Properties of any problem.

Hundreds of random ones, checked by a replay without a solver and by a second way to solve them.
"""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_properties import calmness, near

import vpp.schedule.backends
import vpp.schedule.held_model
from battery import Replay, idle, replay
from vpp.schedule.certificate import loose_bound_eur
from vpp.schedule.devices import GridConnection, ScheduledBattery, SocTarget
from vpp.schedule.draft import MONEY_SCALE
from vpp.schedule.model import build
from vpp.schedule.problem import Problem
from vpp.schedule.rolling import Rolling, moved_on
from vpp.schedule.solver import solve, solve_model
from vpp.schedule.stages import Stages

RANDOM = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    derandomize=True,
)


def no_worse(one: Replay, other: Replay) -> bool:
    """Whether a schedule bends no more, class by class, and of equal bends costs no more."""
    for bends, others in zip(one.bent, other.bent, strict=True):
        if not near(bends, others, 1e-5):
            return bends < others
    return one.objective_eur <= other.objective_eur + 1e-6 * max(1.0, abs(other.objective_eur))


@st.composite
def batteries(draw, number: int, steps: int, inside: bool):
    fraction = st.integers(0, 20).map(lambda x: x / 20)
    low, high = sorted((draw(fraction), draw(fraction)))
    asked = {}
    if draw(st.booleans()):
        asked[draw(st.sampled_from(["soc_final", "soc_final_min"]))] = (
            draw(fraction) * (high - low) + low
        )
    if draw(st.booleans()):
        asked["terminal_value_eur_per_mwh"] = float(draw(st.integers(0, 100)))
    if not inside and draw(st.booleans()):
        asked["soc_targets"] = (SocTarget(draw(st.integers(0, steps - 1)), draw(fraction)),)
    if draw(st.booleans()):
        asked["cycles_per_day_max"] = draw(st.sampled_from([0.3, 1.0]))
    return ScheduledBattery(
        battery_id=f"b{number}",
        capacity_kwh=float(draw(st.integers(1, 80)) * 100),
        charge_kw=float(draw(st.integers(0, 40)) * 100),
        discharge_kw=float(draw(st.integers(0, 40)) * 100),
        eta_charge=draw(st.sampled_from([0.5, 0.9, 0.95, 1.0])),
        eta_discharge=draw(st.sampled_from([0.6, 0.9, 0.97, 1.0])),
        soc_min=low,
        soc_max=high,
        soc_initial=draw(fraction) * (high - low) + low if inside else draw(fraction),
        self_discharge_per_h=draw(st.sampled_from([0.0, 0.0, 0.01])),
        wear_eur_per_mwh=draw(st.sampled_from([0.0, 0.0, 4.0, 25.0])),
        **asked,
    )


@st.composite
def problems(draw, step_min=None, inside=False, most_steps=14, most_batteries=2):
    """Any problem.

    Prices of either sign, export above import, limits, peaks, CO2, must-run plants, targets out of
    reach.
    """
    steps, step = (
        draw(st.integers(1, most_steps)),
        step_min or draw(st.sampled_from([5, 15, 30, 60])),
    )
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    low, spread = (
        draw(st.sampled_from([(0, 100), (-60, 100), (30, 0), (0, 0)])),
        draw(st.sampled_from([-10.0, 0.0, 0.0, 8.0])),
    )
    price = low[0] + generator.integers(0, low[1] + 1, steps).astype(float)
    limits = [draw(st.sampled_from([np.inf, np.inf, 500.0, 3000.0])) for _ in range(2)]
    grid = GridConnection(
        *limits,
        draw(st.sampled_from([0.0, 0.0, 0.5])),
        draw(st.sampled_from([0.0, 900.0])),
        step * draw(st.sampled_from([1, 2])),
    )
    count = draw(st.integers(0 if not inside else 1, most_batteries))
    return Problem(
        step_min=step,
        load_kw=generator.integers(0, 30, steps) * 100.0,
        import_price_eur_per_mwh=price,
        export_price_eur_per_mwh=price + spread,
        renewables_kw=generator.integers(-20, 40, steps).clip(0) * 100.0,
        co2_kg_per_mwh=generator.integers(0, 500, steps).astype(float),
        co2_price_eur_per_t=draw(st.sampled_from([0.0, 60.0])),
        curtailable=draw(st.booleans()),
        batteries=tuple(draw(batteries(b, steps, inside)) for b in range(count)),
        grid=grid,
        gap=1e-9,
    )


@settings(RANDOM, max_examples=200)
@given(problems())
def test_schedules_keep_to_physics_and_cost_no_more_than_idling(problem):
    result = solve(problem)
    assert result.status == "optimal"
    checked = replay(problem, result.schedule)
    assert checked.violations == ()
    assert near(checked.objective_eur, result.objective_eur)
    for reason in result.reason:
        assert not reason.startswith("charge:") or " above stored value" not in reason
        assert not reason.startswith("discharge:") or " below stored value" not in reason
    assert loose_bound_eur(problem) <= result.objective_eur + 1e-6 * max(
        1.0, abs(result.objective_eur)
    )
    nothing = replay(problem, idle(problem))
    assert not nothing.violations
    assert no_worse(checked, nothing)


@settings(RANDOM, max_examples=100)
@given(problems(most_steps=8))
def test_few_binaries_give_the_optimum_of_all_binaries(problem):
    found = solve_model(problem)
    every = np.arange(problem.intervals)
    both = {"grid": every} | {str(b): every for b in range(len(problem.batteries))}
    model = build(problem, found.soft, both)
    for name in [name for name in model.rows if name.startswith("fit_")]:
        # the textbook's model: without what the binaries imply
        model.rows[name].right[:] = np.inf if name.startswith("fit_charge") else -np.inf
    everywhere = Stages(problem, model, "highs", time.monotonic() + 60).money()
    assert near(replay(problem, found.schedule).objective_eur, everywhere.objective / MONEY_SCALE)
    assert near(found.certificate.bound_eur, everywhere.objective / MONEY_SCALE)


@settings(RANDOM, max_examples=60)
@given(problems(most_steps=8))
def test_both_solvers_find_the_same_objective(problem):
    assert near(solve(problem, "highs").objective_eur, solve(problem, "cbc").objective_eur)


@settings(RANDOM, max_examples=60)
@given(problems(), st.sampled_from([0.01, 3.0, 1000.0]))
def test_all_money_times_k_is_cost_times_k(problem, k):
    scaled = replace(
        problem,
        import_price_eur_per_mwh=k * problem.import_price_eur_per_mwh,
        export_price_eur_per_mwh=k * problem.export_price_eur_per_mwh,
        co2_price_eur_per_t=k * problem.co2_price_eur_per_t,
        grid=replace(problem.grid, peak_price_eur_per_kw=k * problem.grid.peak_price_eur_per_kw),
        batteries=tuple(
            replace(
                battery,
                wear_eur_per_mwh=k * battery.wear_eur_per_mwh,
                terminal_value_eur_per_mwh=battery.terminal_value_eur_per_mwh
                and k * battery.terminal_value_eur_per_mwh,
            )
            for battery in problem.batteries
        ),
    )
    first, second = solve(problem), solve(scaled)
    assume(first.objective_eur != 0)
    assert near(k * first.objective_eur, second.objective_eur, 1e-5)


@settings(RANDOM, max_examples=60)
@given(problems(step_min=60, inside=True, most_steps=6), st.sampled_from([30, 15, 5]))
def test_shorter_steps_of_the_same_data_give_the_same_money(problem, step_min):
    assume(all(battery.self_discharge_per_h == 0 for battery in problem.batteries))
    coarse, parts = solve(problem), 60 // step_min
    assume(coarse.certificate.kind == "lp-exact" and not coarse.violations)
    names = (
        "load_kw",
        "import_price_eur_per_mwh",
        "export_price_eur_per_mwh",
        "renewables_kw",
        "co2_kg_per_mwh",
    )
    fine = replace(
        problem,
        step_min=step_min,
        **{name: np.repeat(getattr(problem, name), parts) for name in names},
    )
    found = solve(fine)
    assume(found.certificate.kind == "lp-exact" and not found.violations)
    assert near(coarse.objective_eur, found.objective_eur)


@settings(RANDOM, max_examples=60)
@given(problems(inside=True, most_batteries=1), st.sampled_from([1.1, 2.0, 5.0]))
def test_a_larger_battery_with_the_same_energies_never_costs_more(problem, factor):
    (battery,) = problem.batteries
    assume(battery.self_discharge_per_h == 0)
    finals = {name: getattr(battery, name) for name in ("soc_final", "soc_final_min")}
    larger = replace(
        battery,
        capacity_kwh=factor * battery.capacity_kwh,
        soc_initial=battery.soc_initial / factor,
        soc_min=battery.soc_min / factor,
        cycles_per_day_max=battery.cycles_per_day_max,
        **{name: value and value / factor for name, value in finals.items()},
    )
    wider = replace(problem, batteries=(larger,))
    small, large = solve(problem), solve(wider)
    assume(not small.violations)
    assert no_worse(replay(wider, large.schedule), replay(problem, small.schedule))


@settings(RANDOM, max_examples=25)
@given(
    st.lists(
        problems(step_min=60, inside=True, most_steps=8, most_batteries=1), min_size=2, max_size=2
    )
)
def test_a_model_that_is_kept_finds_what_a_new_one_finds(some):
    rolling, calm = Rolling(), Rolling(calm=True)
    generator = np.random.default_rng(len(some))
    for problem in some:
        changed = replace(
            problem,
            import_price_eur_per_mwh=problem.import_price_eur_per_mwh
            + generator.integers(0, 50, problem.intervals),
        )
        for each in (problem, changed, problem):
            found = solve(each)
            for schedule in (rolling.solve(each), calm.solve(each)):
                assert replay(each, schedule).violations == ()
                assert near(replay(each, schedule).objective_eur, found.objective_eur)
            known = replace(each, previous=moved_on(found.schedule, each, 1))
            for one in (each, known):
                again, anew = calm.solve(one), solve(one).schedule
                assert calmness(one, again) == pytest.approx(
                    calmness(one, anew), rel=1e-5, abs=1e-3
                )


@settings(RANDOM, max_examples=40)
@given(problems(most_steps=8))
def test_limits_that_are_folded_bend_as_those_with_constraints_do(problem):
    assume(problem.batteries)
    problem = replace(problem, grid=replace(problem.grid, import_limit_kw=600.0))
    found = solve_model(problem)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vpp.schedule.backends, "folded", lambda model: None)
        unfolded = solve_model(problem)
    one, other = (replay(problem, each.schedule) for each in (found, unfolded))
    assert one.bent == pytest.approx(other.bent, rel=1e-6, abs=1e-5)
    assert near(one.objective_eur, other.objective_eur)
    assert calmness(problem, found.schedule) == pytest.approx(
        calmness(problem, unfolded.schedule), rel=1e-5, abs=1e-3
    )
