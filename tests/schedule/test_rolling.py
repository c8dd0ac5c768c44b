"""Plans of window after window: what a model that is kept finds, and what batteries do in them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from small_properties import calmness, near

import vpp.schedule.backends
import vpp.schedule.held_model
from battery import idle, replay
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.dispatch import settle
from vpp.schedule.following import Following, leaning
from vpp.schedule.problem import Problem
from vpp.schedule.rolling import Rolling, moved_on, roll
from vpp.schedule.solver import solve


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
