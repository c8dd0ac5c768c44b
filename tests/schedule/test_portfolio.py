"""Many sites together: against the one linear programme of all, and replayed unit by unit."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.optimize import linprog

from vpp.schedule import portfolio
from vpp.schedule.coupling import Coupling
from vpp.schedule.devices import GridConnection, ScheduledBattery
from vpp.schedule.portfolio import _Search, plan_portfolio
from vpp.schedule.problem import Problem
from vpp.schedule.replay import replay
from vpp.schedule.solver import solve_model

STEPS, HOURS = 24, 1.0
NONE = np.full(STEPS, np.inf)


def a_site(rng, batteries, spread=0.5, plain=True, **limits):
    """A site; one that is not plain has wear, cycles, self-discharge and bounds that change."""
    hour = np.arange(STEPS)
    price = 70 + 40 * np.sin((hour - 10) / 6 * np.pi) + rng.normal(0, 3, STEPS)
    fleet = []
    for b in range(batteries):
        capacity = 200 * np.exp(rng.normal(0, spread))
        power = capacity / rng.uniform(2, 4)
        losses = {"eta_charge": rng.uniform(0.9, 0.97), "eta_discharge": rng.uniform(0.9, 0.97)}
        ends = {"soc_initial": 0.5, "soc_min": 0.1, "terminal_value_eur_per_mwh": 50.0}
        if not plain:
            losses |= {"wear_eur_per_mwh": rng.uniform(0, 20)}
            losses |= {"self_discharge_per_h": rng.choice([0.0, 0.002])}
            if rng.random() < 0.5:
                losses |= {"cycles_per_day_max": rng.uniform(0.6, 1.2), "cycles_so_far": 0.4}
            ends["soc_min"] = np.where(rng.random(STEPS) < 0.2, 0.3, 0.05)
            ends["soc_max"] = rng.uniform(0.8, 1.0, STEPS)
        fleet.append(ScheduledBattery(f"b{b}", capacity, power, power, **losses, **ends))
    return Problem(
        step_min=60,
        load_kw=rng.uniform(200, 500) * (1 + 0.3 * np.sin((hour - 9) / 12 * np.pi)),
        renewables_kw=rng.uniform(0, 900) * np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None),
        import_price_eur_per_mwh=price + 10,
        export_price_eur_per_mwh=price - 5,
        batteries=tuple(fleet),
        start=datetime(2026, 3, 2, 0 if plain else 13, tzinfo=UTC),
        curtailable=plain or bool(rng.random() < 0.5),
        grid=GridConnection(**({"import_limit_kw": 900.0, "export_limit_kw": 900.0} | limits)),
    )


def common_rows(coupling, net, first, width):
    """Rows that make the exchange of all sites, and its deviation from the position."""
    position = np.zeros(STEPS) if coupling.position_kw is None else coupling.position_kw
    for t in range(STEPS):
        row = np.zeros((2, width))
        for grid in net:
            row[0, grid + t], row[0, grid + STEPS + t] = 1.0, -1.0
        row[0, first + t] = -1.0
        row[1, [first + t, first + STEPS + t, first + 2 * STEPS + t]] = (1, -1, 1)
        yield from zip(row, (0.0, position[t]), strict=True)


def least(cost, bounds, rows, right, within):
    """The least cost with rows that are equal to the right side, and some within a limit."""
    limits = {"A_eq": np.array(rows), "b_eq": right}
    if within:
        limits |= {"A_ub": np.array([row for row, _ in within]), "b_ub": [k for _, k in within]}
    found = linprog(cost, bounds=bounds, **limits)
    assert found.status == 0
    return found.fun


def the_least_eur(problems, coupling):
    """The optimum of all sites as one linear programme of another solver's interface.

    Batteries may charge and discharge at once in it, which losses forbid here.
    """
    cost, upper, lower, rows, right, net, within = [], [], [], [], [], [], []
    width = sum(STEPS * (3 * len(p.batteries) + 3) for p in problems) + 3 * STEPS
    first = 0
    for p in problems:
        n = len(p.batteries)
        grid = first + 3 * n * STEPS
        for b, battery in enumerate(p.batteries):
            c, d, e = (first + (3 * b + k) * STEPS for k in range(3))
            cost += [np.zeros(STEPS), np.zeros(STEPS), np.zeros(STEPS)]
            cost[-2] += battery.wear_eur_per_mwh / 1000
            cost[-1][-1] = -battery.terminal_value_eur_per_mwh / 1000
            upper += [battery.charge_kw, battery.discharge_kw]
            upper += [battery.soc_max * battery.capacity_kwh]
            lower += [0, 0, battery.soc_min * battery.capacity_kwh]
            keep = 1 - battery.self_discharge_per_h
            for t in range(STEPS):
                row = np.zeros(width)
                row[e + t], row[c + t] = 1.0, -battery.eta_charge
                row[d + t] = 1 / battery.eta_discharge
                if t:
                    row[e + t - 1] = -keep
                rows.append(row)
                right.append(0.0 if t else keep * battery.soc_initial * battery.capacity_kwh)
            for day in set(p.local_days) if battery.cycles_per_day_max else ():
                row = np.zeros(width)
                row[d + np.flatnonzero(p.local_days == day)] = 1.0
                used = battery.cycles_so_far if day == 0 else 0.0
                within.append((row, (battery.cycles_per_day_max - used) * battery.capacity_kwh))
        cost += [p.import_price_eur_per_mwh / 1000, -p.export_price_eur_per_mwh / 1000]
        cost += [np.zeros(STEPS)]
        upper += [p.grid.import_limit_kw, p.grid.export_limit_kw, p.renewables_kw * p.curtailable]
        lower += [0, 0, 0]
        for t in range(STEPS):
            row = np.zeros(width)
            row[[grid + t, grid + STEPS + t, grid + 2 * STEPS + t]] = (1, -1, -1)
            for b in range(n):
                row[first + 3 * b * STEPS + t] = -1.0
                row[first + (3 * b + 1) * STEPS + t] = 1.0
            rows.append(row)
            right.append(p.load_kw[t] - p.renewables_kw[t])
        net.append(grid)
        first = grid + 3 * STEPS
    for row, value in common_rows(coupling, net, first, width):
        rows.append(row)
        right.append(value)
    priced = coupling.position_kw is not None
    cost += [np.zeros(STEPS), np.full(STEPS, coupling.short_eur_per_mwh * priced / 1000)]
    cost += [np.full(STEPS, coupling.long_eur_per_mwh * priced / 1000)]
    upper += [coupling.import_limit_kw, np.inf, np.inf]
    lower += [-coupling.export_limit_kw, 0, 0]
    ends = [np.concatenate([np.broadcast_to(x, STEPS) for x in side]) for side in (lower, upper)]
    return least(np.concatenate(cost), np.array(ends).T, rows, right, within)


def checked(problems, plan):
    """Every site keeps to physics and its own limits; sums and money are those of the sites."""
    total = np.zeros(STEPS)
    for name, one in plan.sites.items():
        money = replay(problems[name], one.schedule)
        assert not money.violations and not money.bends, name
        total += one.schedule.grid_import_kw - one.schedule.grid_export_kw
    assert np.abs(total - plan.exchange_kw).max() < 1e-6
    own = sum(
        replay(problems[name], one.schedule).objective_eur for name, one in plan.sites.items()
    )
    assert plan.objective_eur == pytest.approx(own + plan.coupling.deviation_eur(total), abs=1e-9)
    assert plan.certificate.bound_eur <= plan.objective_eur + 1e-6


CASES = {
    "nothing": lambda net: Coupling(HOURS, NONE, NONE),
    "import": lambda net: Coupling(HOURS, np.full(STEPS, net.max() - 150.0), NONE),
    "export": lambda net: Coupling(HOURS, NONE, np.full(STEPS, max(0.0, -net.min() - 150.0))),
    "position": lambda net: Coupling(HOURS, NONE, NONE, np.round(net * 0.9), 40.0, 25.0),
    "both": lambda net: Coupling(HOURS, np.full(STEPS, net.max() - 80), NONE, net + 50, 9.0, 0.0),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_the_plan_is_the_optimum_of_all_sites_together(case, seed):
    rng = np.random.default_rng(seed)
    problems = {f"s{i}": a_site(rng, 1 + i % 3, plain=seed < 3) for i in range(4)}
    problems["bare"] = a_site(rng, 0)
    free = plan_portfolio(problems, Coupling(HOURS, NONE, NONE), solve_model)
    coupling = CASES[case](free.exchange_kw)
    plan = plan_portfolio(problems, coupling, solve_model)
    checked(problems, plan)
    assert plan.excess_kwh < 1e-6
    least = the_least_eur(list(problems.values()), coupling)
    assert plan.certificate.bound_eur <= least + 1e-6 * abs(least)
    assert plan.objective_eur >= least - 1e-6 * abs(least)
    assert plan.objective_eur <= least + 2e-4 * abs(least)
    assert plan.certificate.gap <= 2e-4
    assert plan.certificate.proven == (plan.certificate.gap <= 1e-4)


def test_several_blocks_have_the_plan_of_one(monkeypatch):
    rng = np.random.default_rng(5)
    problems = {f"s{i}": a_site(rng, count) for i, count in enumerate((3, 1, 0, 4, 2, 2, 1))}
    coupling = Coupling(HOURS, np.full(STEPS, 1500.0), np.full(STEPS, 1200.0))
    one = plan_portfolio(problems, coupling, solve_model, gap=1e-6)
    # sizes with SITE: 13, 11, 10, 14, 12, 12, 11, together 83: 4 blocks of 25 at most; a site goes
    # to block (those before it) * 4 // 83, before the sites are 0, 13, 24, 34, 48, 60, 72
    monkeypatch.setattr(portfolio, "BLOCK", 25)
    blocks = portfolio._in_blocks(problems)
    assert blocks == [["s0", "s1"], ["s2", "s3"], ["s4", "s5"], ["s6"]]
    several = plan_portfolio(problems, coupling, solve_model, gap=1e-6)
    checked(problems, several)
    assert several.objective_eur == pytest.approx(one.objective_eur, rel=1e-5)
    assert several.certificate.bound_eur == pytest.approx(one.certificate.bound_eur, rel=1e-5)


@pytest.mark.parametrize("steps", [0, 4, 8])
def test_where_time_is_over_the_best_plan_so_far_comes_with_an_honest_gap(monkeypatch, steps):
    rng = np.random.default_rng(4)
    problems = {f"s{i}": a_site(rng, 4, plain=False) for i in range(4)}
    free = plan_portfolio(problems, Coupling(HOURS, NONE, NONE), solve_model)
    coupling = CASES["both"](free.exchange_kw)
    looks = iter(range(10_000))
    monkeypatch.setattr(_Search, "late", lambda self, part=0.0: next(looks) >= steps)
    plan = plan_portfolio(problems, coupling, solve_model)
    checked(problems, plan)
    assert plan.excess_kwh < 1e-6
    least = the_least_eur(list(problems.values()), coupling)
    assert plan.certificate.bound_eur <= least <= plan.objective_eur + 1e-6
    size = max(abs(plan.objective_eur), abs(plan.certificate.bound_eur))
    away = (plan.objective_eur - plan.certificate.bound_eur) / size
    assert plan.certificate.gap == pytest.approx(min(1.0, away))
    assert not plan.certificate.proven
    if steps:  # what was found so far counts
        assert plan.certificate.gap <= 0.05


def test_a_site_that_no_linear_programme_has_takes_part():
    rng = np.random.default_rng(5)
    problems = {f"s{i}": a_site(rng, 3) for i in range(3)}
    odd = problems["s0"]
    first, *others = odd.batteries
    odd = replace(odd, batteries=(replace(first, charge_min_kw=0.3 * first.charge_kw), *others))
    problems["s0"] = odd
    free = plan_portfolio(problems, Coupling(HOURS, NONE, NONE), solve_model)
    plan = plan_portfolio(problems, CASES["import"](free.exchange_kw), solve_model)
    checked(problems, plan)
    assert not plan.faults and plan.excess_kwh < 1e-6


def test_limits_that_nothing_can_keep_are_exceeded_as_little_as_can_be():
    rng = np.random.default_rng(6)
    problems = {f"s{i}": a_site(rng, 0) for i in range(2)}
    # without batteries a common limit of 0 is exceeded by all that the sites import
    plan = plan_portfolio(problems, Coupling(HOURS, np.zeros(STEPS), NONE), solve_model)
    net = sum(p.load_kw - p.renewables_kw for p in problems.values())
    assert plan.excess_kwh == pytest.approx(np.maximum(net, 0.0).sum(), abs=1e-6)
    # batteries take away what they can, over the whole day
    problems = {f"s{i}": a_site(rng, 2, plain=False) for i in range(3)}
    coupling = Coupling(HOURS, np.full(STEPS, 700.0), NONE)
    plan = plan_portfolio(problems, coupling, solve_model)
    checked(problems, plan)
    assert plan.excess_kwh > 100.0 and plan.certificate.gap <= 2e-4


@pytest.mark.parametrize("shift", [-90.0, -75.0])
def test_below_a_price_of_0_no_battery_does_two_things_at_a_time(shift):
    rng = np.random.default_rng(2)
    problems = {f"s{i}": a_site(rng, 2, plain=False) for i in range(3)}
    for name, one in problems.items():
        prices = ("import_price_eur_per_mwh", "export_price_eur_per_mwh")
        problems[name] = replace(one, **{price: getattr(one, price) + shift for price in prices})
    plan = plan_portfolio(problems, Coupling(HOURS, NONE, NONE), solve_model)
    checked(problems, plan)  # replay knows one thing at a time
    alone = [replay(one, solve_model(one).schedule).objective_eur for one in problems.values()]
    assert plan.certificate.bound_eur <= sum(alone) + 1e-6
    assert plan.objective_eur == pytest.approx(sum(alone), rel=2e-3)


def test_a_site_without_a_schedule_is_named_and_the_others_go_on():
    rng = np.random.default_rng(7)
    problems = {f"s{i}": a_site(rng, 1) for i in range(3)}
    bad = replace(problems["s1"].batteries[0], charge_min_kw=1e-3)

    def refusing(problem):
        from vpp.schedule.problem import InfeasibleScheduleError

        raise InfeasibleScheduleError("no schedule keeps to load")

    problems["s1"] = replace(problems["s1"], batteries=(bad,))
    limits = np.full(STEPS, 2000.0)
    plan = plan_portfolio(problems, Coupling(HOURS, limits, limits), refusing)
    assert plan.faults == {"s1": "no schedule keeps to load"}
    assert sorted(plan.sites) == ["s0", "s2"]
