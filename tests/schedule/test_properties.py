"""Properties of any problem.

Hundreds of random ones, checked by a replay without a solver and by a second way to solve them.
"""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import vpp.schedule.backends
import vpp.schedule.held_model
from battery import Replay, idle, replay
from vpp.schedule.certificate import loose_bound_eur
from vpp.schedule.devices import GridConnection, ScheduledBattery, SocTarget
from vpp.schedule.dispatch import settle
from vpp.schedule.draft import MONEY_SCALE
from vpp.schedule.following import Following, leaning
from vpp.schedule.model import build
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.rolling import Rolling, moved_on, roll
from vpp.schedule.solver import solve, solve_model
from vpp.schedule.stages import Stages

RANDOM = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    derandomize=True,
)


def near(value: float, other: float, relative: float = 1e-6) -> bool:
    return abs(value - other) <= relative * max(1.0, abs(value), abs(other))


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


@pytest.mark.parametrize("limited", [False, True])
def test_windows_that_go_round_find_what_new_models_find(limited):
    generator, count = np.random.default_rng(5), 8
    batteries = tuple(
        ScheduledBattery(
            *(str(b), 9.0 + b, 5.0, 4.0, 0.95 - b / 50, 0.9, 0.1, 0.9, 0.5),
            **({"cycles_per_day_max": 1.5} if limited else {}),
            terminal_value_eur_per_mwh=40.0,
        )
        for b in range(2)
    )
    price = np.round(generator.normal(20, 40, 60))  # negative ones need binaries
    prices, load = (price + 5, price), generator.uniform(0, 6, 60)
    whole = Problem(60, load, *prices, generator.uniform(0, 8, 60), batteries=batteries)
    plain, calm = Rolling(), Rolling(calm=True)
    for at in (*range(20), 25, 31, 24, 24, 7, 3, *range(40, 52)):
        problem = whole.part(slice(at, at + count))
        problem = replace(
            problem,
            start=whole.start + timedelta(hours=at),
            batteries=tuple(b.going_on(*generator.uniform((0.1, 0), (0.9, 1))) for b in batteries),
        )
        found = solve(problem)
        for schedule in (plain.solve(problem, at), calm.solve(problem, at)):
            assert replay(problem, schedule).violations == ()
            assert near(replay(problem, schedule).objective_eur, found.objective_eur)
        assert calmness(problem, schedule) == pytest.approx(
            calmness(problem, found.schedule), rel=1e-5, abs=1e-3
        )
    for rolling in (plain, calm):
        assert any(held.ring.turned for held in rolling.held.values())
    assert plain.reused > 25


def calmness(problem: Problem, schedule: Schedule) -> tuple[float, float]:
    """Throughput, and change from the plan before [kWh]."""
    both = schedule.charge_kw + schedule.discharge_kw
    before = np.array([problem.before_kw(battery) for battery in problem.batteries])
    change = np.abs(schedule.charge_kw - schedule.discharge_kw - before)
    return problem.hours * float(both.sum()), problem.hours * float(np.nansum(change))


def test_a_plan_that_moves_on_says_nothing_beyond_its_end():
    cell = ScheduledBattery("b", 9, 9, 9)
    problem = Problem(60, np.zeros(3), batteries=(cell, replace(cell, battery_id="c")))
    powers = np.arange(6.0).reshape(2, 3)
    plan = replace(idle(problem), charge_kw=powers, discharge_kw=powers + 10)
    first, second = moved_on(plan, problem, 2).batteries
    assert (first.battery_id, second.battery_id) == ("b", "c")
    assert first.charge_kw[0] == 2 and second.discharge_kw[0] == 15
    assert np.isnan([*first.charge_kw[1:], *second.discharge_kw[1:]]).all()
    (short, _) = moved_on(plan, problem.part(slice(1)), 1).batteries
    assert short.discharge_kw.tolist() == [11]


def test_a_kept_model_has_its_time_limit_for_each_window():
    rolling = Rolling()
    problem = Problem(
        60,
        np.full(24, 500.0),
        *(np.tile([-40.0, 90.0], 12),) * 2,
        *np.zeros((2, 24)),
        time_limit_s=5.0,
    )
    problem = replace(
        problem, batteries=(ScheduledBattery("b", 2000, 1000, 1000, soc_initial=0.5),)
    )
    for _ in range(10):
        rolling.solve(problem)
    (held,) = rolling.held.values()
    assert (rolling.reused, rolling.rebuilt) == (10, 0)
    # HiGHS counts the time of all its solves: the limit moves on with it
    assert held.run.highs.getOptionValue("time_limit")[1] > 5.0


def a_window(intervals: int) -> Problem:
    price = np.resize([-40.0, 90.0], intervals)
    batteries = (ScheduledBattery("b", 2000, 1000, 1000, soc_initial=0.5),)
    return Problem(
        60, np.full(intervals, 500.0), price, price, *np.zeros((2, intervals)), batteries
    )


def test_a_kept_model_that_its_binaries_do_not_settle_is_solved_anew(monkeypatch):
    monkeypatch.setattr(
        vpp.schedule.held_model, "solution", lambda *_: (None, {"0": np.array([0])})
    )
    rolling, problem = Rolling(), a_window(6)
    assert replay(problem, rolling.solve(problem)).violations == ()
    assert (rolling.reused, rolling.rebuilt) == (0, 1)


def test_a_plan_shorter_than_what_is_carried_out_is_followed_by_the_next():
    actual, starts = a_window(12), []

    def window(t, batteries):
        starts.append(t)
        return replace(a_window(4), batteries=tuple(batteries))

    schedule = roll(actual, window, range(0, 12, 5), Rolling())
    assert starts == [0, 4, 5, 9, 10]
    assert replay(actual, schedule).violations == ()


@pytest.mark.parametrize("solver", ["highs", "cbc"])
def test_a_week_of_quarter_hours_with_negative_prices(solver):
    generator = np.random.default_rng(7)
    hours = np.arange(672) / 4
    price = 40 + 60 * np.sin(2 * np.pi * hours / 24) + generator.normal(0, 10, 672)
    battery = ScheduledBattery(
        "b", 2000, 1000, 1000, 0.95, 0.95, 0.05, 0.95, 0.5, wear_eur_per_mwh=2
    )
    zeros = np.zeros(672)
    problem = Problem(15, zeros + 800, price + 10, price, zeros + 300, zeros, (battery,), gap=1e-7)
    result = solve(problem, solver)
    assert (result.status, result.certificate.kind) == ("optimal", "milp")
    assert replay(problem, result.schedule).violations == ()
    assert result.objective_eur == pytest.approx(
        2309.89847, rel=1e-6
    )  # as HiGHS finds it with all 1,344 binaries


def test_a_battery_that_follows_neither_exports_nor_imports_where_the_plan_does_not():
    # Planned: 2 kW of load, all from the battery. Really 1.5 kW, then 2.5 kW, then sun of 1 kW
    # above the load. Followed: 1.5 and 2.5 kW out, 1 kW in; not followed: 0.5 kW out to the grid,
    # 0.5 kW from it, 3 kW to it.
    battery = ScheduledBattery("b", 20.0, 5.0, 5.0, 1.0, 1.0, 0.0, 1.0, 0.5)
    price = {"import_price_eur_per_mwh": np.full(3, 300.0), "export_price_eur_per_mwh": np.zeros(3)}
    start = datetime(2025, 3, 1, tzinfo=UTC)
    seen = Problem(60, np.full(3, 2.0), **price, batteries=(battery,), start=start)
    load, sun = np.array([1.5, 2.5, 1.0]), np.array([0.0, 0.0, 2.0])
    actual = replace(seen, load_kw=load, renewables_kw=sun)

    def window(t, batteries):
        rest = {name: values[t:] for name, values in price.items()}
        return replace(seen, load_kw=seen.load_kw[t:], batteries=tuple(batteries), **rest)

    done = {
        follow: roll(actual, window, [0], Rolling(), follow=follow).charge_kw[0]
        - roll(actual, window, [0], Rolling(), follow=follow).discharge_kw[0]
        for follow in (True, False)
    }
    np.testing.assert_allclose(done[True], [-1.5, -2.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(done[False], [-2.0, -2.0, -2.0], atol=1e-6)


def test_a_battery_that_follows_gives_and_stores_early_what_costs_the_same_later():
    # 6 kWh in store. The plan: hour 0 at 325 is bought, hours 1 and 2 at 325 take 2 kWh each from
    # the battery, hour 3 at 210 is bought. Really hour 0 needs 3 kW: of the 4 kWh that are meant
    # for dear hours 3 come now; of the same plan with hours 1 and 2 dearer none do.
    battery = ScheduledBattery("b", 10.0, 5.0, 5.0, 1.0, 1.0, 0.0, 1.0, 0.6)
    prices = np.array([325.0, 325.0, 325.0, 210.0])
    zero, two = np.zeros(4), np.full(4, 2.0)
    problem = Problem(60, two, prices, prices * 0 + 80, zero, batteries=(battery,))
    plan = settle(problem, np.zeros((1, 4)), np.array([[0.0, 2.0, 2.0, 0.0]]))
    following = Following.of(problem, plan)
    assert following.wanted_kw(0, 3.0) == pytest.approx([-3.0])
    assert following.wanted_kw(0, 9.0) == pytest.approx([-4.0])
    assert following.wanted_kw(3, 3.0) == pytest.approx([0.0])  # nothing is meant for later
    assert following.wanted_kw(1, -1.0) == pytest.approx([1.0])  # a surplus that was none
    dearer = replace(problem, import_price_eur_per_mwh=np.array([325.0, 326.0, 326.0, 210.0]))
    assert Following.of(dearer, plan).wanted_kw(0, 3.0) == pytest.approx([0.0])
    # A surplus of 2 kW is sold in hour 0 and stored in hour 1, at the same price.
    sunny = replace(problem, load_kw=zero, renewables_kw=two)
    plan = settle(sunny, np.array([[0.0, 2.0, 0.0, 0.0]]), np.zeros((1, 4)))
    assert Following.of(sunny, plan).wanted_kw(0, -3.0) == pytest.approx([2.0])


def test_where_no_plan_says_the_exchange_batteries_do_what_was_planned():
    two = [ScheduledBattery(name, size, 5.0, 5.0) for name, size in (("a", 3.0), ("b", 1.0))]
    problem = Problem(60, *np.full((3, 2), 1.0), batteries=tuple(two))
    planned = np.array([[-3.0, -3.0], [-1.0, -1.0]])
    followed = Following.at_zero(problem, planned, np.array([0.0, np.nan]))
    # 6 kW are needed where 4 were planned: the 2 kW more come by capacity, 3 to 1
    assert followed.wanted_kw(0, 6.0) == pytest.approx([-4.5, -1.5])
    assert followed.wanted_kw(1, 6.0) == pytest.approx([-3.0, -1.0])


def test_leaning_breaks_ties_alone():
    # The battery's 2 kWh serve either of two hours at one price: the first. A kWh bought at night
    # for the third hour is bought as late as it can be. Nothing seems to pay that does not.
    battery = ScheduledBattery("b", 2.0, 2.0, 2.0, 1.0, 1.0, 0.0, 1.0, 1.0)
    prices = np.array([325.0, 325.0, 210.0, 210.0, 325.0])
    two = np.full(5, 2.0)
    problem = Problem(60, two, prices, prices * 0 + 80, batteries=(battery,))
    plan = solve(leaning(problem)).found
    np.testing.assert_allclose(
        (plan.charge_kw - plan.discharge_kw)[0], [-2.0, 0.0, 0.0, 2.0, -2.0], atol=1e-6
    )
    seen = leaning(problem)
    assert (seen.import_price_eur_per_mwh >= prices).all()
    assert (seen.export_price_eur_per_mwh <= problem.export_price_eur_per_mwh).all()
