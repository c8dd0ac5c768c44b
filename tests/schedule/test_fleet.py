"""Many batteries in little time: grouped, solved and shared out, and a bound of what they cost."""

from dataclasses import replace

import numpy as np
import pytest

from vpp.schedule.backends import SOLVERS, Outcome
from vpp.schedule.certificate import loose_bound_eur, priced_bound_eur
from vpp.schedule.devices import GridConnection, ScheduledBattery, SocTarget
from vpp.schedule.dispatch import idle
from vpp.schedule.fleet import fleet_schedule, grouped, groups_of
from vpp.schedule.inverters import Inverter
from vpp.schedule.problem import Problem
from vpp.schedule.replay import replay
from vpp.schedule.solver import solve, solve_model

DAY = 48


def a_fleet(count, seed=0, **given):
    """Homes' batteries of a suburb over a day of half-hours, with a load and sun."""
    generator, hour = np.random.default_rng(seed), np.arange(DAY) / 2
    price = 90 + 60 * np.sin((hour - 15) / 12 * 2 * np.pi) + generator.normal(0, 8, DAY)
    batteries = tuple(
        ScheduledBattery(
            battery_id=f"home-{b}",
            capacity_kwh=float(generator.uniform(5, 15)),
            charge_kw=float(generator.uniform(2, 5)),
            discharge_kw=float(generator.uniform(2, 5)),
            eta_charge=float(generator.uniform(0.92, 0.97)),
            eta_discharge=float(generator.uniform(0.92, 0.97)),
            soc_initial=float(generator.uniform(0.1, 0.9)),
            wear_eur_per_mwh=float(generator.uniform(0, 10)),
            terminal_value_eur_per_mwh=70.0,
        )
        for b in range(count)
    )
    sun = np.maximum(0.0, np.sin((hour - 6) / 12 * np.pi)) * 2.0 * count
    return Problem(
        30,
        count * (1.0 + 0.5 * np.sin((hour - 12) / 12 * np.pi)),
        import_price_eur_per_mwh=price + 20,
        export_price_eur_per_mwh=price - 20,
        renewables_kw=sun,
        **{"batteries": batteries, "grid": GridConnection(6.0 * count, 6.0 * count)} | given,
    )


def saved_share(problem, objective_eur, best_eur):
    nothing = replay(problem, idle(problem)).objective_eur
    return (nothing - objective_eur) / (nothing - best_eur)


def test_a_fleet_shared_out_keeps_to_physics_and_saves_nearly_all():
    problem = a_fleet(150)
    best = solve_model(problem)
    shared = fleet_schedule(replace(problem, time_limit_s=5.0), solve_model)
    checked = replay(problem, shared.schedule)
    assert not checked.violations
    assert not checked.bends
    assert 0.95 <= saved_share(problem, checked.objective_eur, best.certificate.bound_eur) <= 1


def with_everything(problem, seed):
    """Batteries of all kinds: cycles, curves, least powers, targets, inverters, what the grid may
    not do, leaks, and bounds by interval.
    """
    generator = np.random.default_rng(seed)
    changes = (
        {"cycles_per_day_max": 0.5, "cycles_so_far": 0.1},
        {"charge_curve": ((0.0, 5.0), (0.7, 5.0), (1.0, 0.5))},
        {"discharge_curve": ((0.0, 0.5), (0.2, 4.0), (1.0, 5.0))},
        {"charge_min_kw": 1.5},
        {"soc_targets": (SocTarget(20, 0.6),), "soc_final_min": 0.5},
        {"grid_charging": False},
        {"grid_discharging": False},
        {"self_discharge_per_h": 0.01},
        {"soc_min": np.linspace(0.0, 0.2, DAY), "soc_max": 0.9, "soc_initial": 0.95},
        {"wear_curve": ((0.5, 3.0), (1.0, 30.0))},
    )
    batteries = tuple(
        replace(battery, **changes[generator.integers(len(changes))])
        for battery in problem.batteries
    )
    names = [battery.battery_id for battery in batteries]
    sides = (
        Inverter("roof", 4.0, (names[0], names[1]), 0.1),
        Inverter("barn", 3.0, tuple(names[2:5])),
    )
    return replace(problem, batteries=batteries, inverters=sides)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("curtailable", [True, False])
def test_batteries_of_all_kinds_keep_to_physics_when_shared_out(seed, curtailable):
    plain = a_fleet(40, seed, grid=GridConnection(60.0, 50.0), curtailable=curtailable)
    problem = replace(with_everything(plain, seed), time_limit_s=2.0)
    shared = fleet_schedule(problem, solve_model)
    checked = replay(problem, shared.schedule)
    assert not checked.violations
    assert checked.objective_eur < replay(problem, idle(problem)).objective_eur


def test_groups_are_alike_and_never_of_two_inverters():
    problem = with_everything(a_fleet(40), 1)
    groups = groups_of(problem, 12)
    assert sorted(np.concatenate(groups).tolist()) == list(range(40))
    behind = {name: one.inverter_id for one in problem.inverters for name in one.batteries}
    for members in groups:
        own = [problem.batteries[b] for b in members]
        assert len({behind.get(battery.battery_id) for battery in own}) == 1
        assert len({(battery.grid_charging, battery.grid_discharging) for battery in own}) == 1
    twins = replace(
        problem,
        batteries=tuple(replace(problem.batteries[0], battery_id=f"b{b}") for b in range(9)),
        inverters=(),
    )
    assert [len(members) for members in groups_of(twins, 4)] == [9]  # nothing to tell apart


def test_a_group_of_twins_is_one_battery_of_their_sum():
    """Nine twins of 10 kWh and 3 kW are one of 90 kWh and 27 kW: their optimum is the same."""
    one = ScheduledBattery("b", 10.0, 3.0, 3.0, 0.95, 0.95, soc_initial=0.3)
    twins = tuple(replace(one, battery_id=f"b{b}") for b in range(9))
    problem = replace(a_fleet(9), batteries=twins)
    [group] = grouped(problem, [np.arange(9)]).batteries
    assert (group.capacity_kwh, group.charge_kw[0], group.soc_initial) == (90.0, 27.0, 0.3)
    shared = fleet_schedule(problem, solve_model)
    best = solve_model(problem).certificate.bound_eur
    assert replay(problem, shared.schedule).objective_eur == pytest.approx(best, rel=1e-6)


def test_where_the_solver_would_not_end_in_time_it_is_not_even_started(monkeypatch):
    """A solver of which its size says that it takes an hour, at a limit of 5 s."""
    problem = replace(a_fleet(200), time_limit_s=5.0)
    best = solve_model(problem).certificate.bound_eur
    slow = {200: 3600.0}
    expected = "vpp.schedule.solver.expected_s"
    monkeypatch.setattr(expected, lambda given: slow.get(len(given.batteries), 0.0))
    result = solve(problem)
    assert (result.status, result.certificate.word) == ("feasible", "lp-unproven")
    assert result.certificate.binaries == 0
    assert result.certificate.bound_eur <= best <= result.objective_eur
    assert saved_share(problem, result.certificate.bound_eur, best) < 1.2
    assert saved_share(problem, result.objective_eur, best) >= 0.95
    assert not any("time limit" in reason for reason in result.reason)


def test_a_schedule_shared_out_is_there_where_the_solver_runs_out_of_time(monkeypatch):
    """The solver is started, and cut short at once: it must not end at doing nothing."""
    problem = replace(a_fleet(60), time_limit_s=5.0)
    best = solve_model(problem).certificate.bound_eur
    monkeypatch.setattr("vpp.schedule.solver.expected_s", lambda given: 1.0)

    class CutShort(SOLVERS["highs"]):
        def minimise(self, *args):
            many = len(self.model.columns) > 3 * 50
            return Outcome("limit") if many else super().minimise(*args)

    monkeypatch.setitem(SOLVERS, "highs", CutShort)
    monkeypatch.setattr("vpp.schedule.fleet.MOST", 20)
    result = solve(problem)
    assert (result.status, result.certificate.word) == ("feasible", "lp-unproven")
    assert saved_share(problem, result.objective_eur, best) >= 0.9


@pytest.mark.parametrize("seed", range(8))
def test_prices_of_the_optimum_give_the_optimum_and_any_prices_a_bound(seed):
    """Strong duality of the linear programme; and weak duality of prices that are not its own."""
    generator = np.random.default_rng(seed)
    problem = a_fleet(4, seed, curtailable=bool(seed % 2))
    if seed > 3:  # prices below 0, and leaks
        problem = replace(
            problem,
            import_price_eur_per_mwh=problem.import_price_eur_per_mwh - 90,
            export_price_eur_per_mwh=problem.export_price_eur_per_mwh - 90,
            batteries=tuple(
                replace(battery, self_discharge_per_h=0.02, soc_min=0.05)
                for battery in problem.batteries
            ),
        )
    found = solve_model(problem)
    best = found.certificate.bound_eur
    prices = (found.bus_price_eur_per_mwh, found.battery_value_eur_per_mwh)
    if found.certificate.kind == "lp-exact":
        assert priced_bound_eur(problem, *prices, False) == pytest.approx(best, rel=1e-7)
    for noise in (1.0, 30.0):
        other = [price + generator.normal(0, noise, price.shape) for price in prices]
        for soft in (False, True):
            assert priced_bound_eur(problem, *other, soft) <= best + 1e-9
    assert loose_bound_eur(problem) <= best
    unknown = np.full(DAY, np.nan)
    assert priced_bound_eur(problem, unknown, prices[1], False) == -np.inf
