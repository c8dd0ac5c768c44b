"""Departing from a position: the worth of energy, causality, and money that adds up."""

from dataclasses import replace

import numpy as np
import pytest

from vpp.forecast.gaps import forecast_gaps, gap_regressors
from vpp.schedule.deviations import Gaps, trade
from vpp.schedule.devices import ScheduledBattery
from vpp.schedule.problem import Problem
from vpp.schedule.recourse import STATES, Chain, Grid
from vpp.schedule.solver import solve_model
from vpp.schedule.two_settlements import (
    DAY_AHEAD,
    FORESEEN,
    NO_BATTERY,
    REPLANNED,
    Span,
    compared,
    day_ahead,
    run_span,
)
from vpp.schedule.value import net_cost_eur

BATTERY = ScheduledBattery(
    battery_id="b",
    capacity_kwh=2000,
    charge_kw=1000,
    discharge_kw=1000,
    eta_charge=0.95,
    eta_discharge=0.95,
    cycles_per_day_max=1,
)


def prices(days: int, step_min: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Day-ahead prices, and a gap that stays for a while and is then forgotten."""
    rng, per_day = np.random.default_rng(3), 1440 // step_min
    hour = np.arange(days * per_day) % per_day * step_min / 60
    price = 80 + 40 * np.sin((hour - 12) / 24 * 4 * np.pi) + rng.normal(0, 5, len(hour))
    gap = np.zeros(len(hour))
    for t in range(1, len(gap)):
        gap[t] = 0.7 * gap[t - 1] + rng.normal(0, 60)
    return price, gap


def a_span(days: int, gap: np.ndarray, price: np.ndarray, before: int = 0) -> Span:
    """The last days of the prices, with a load that was expected to be 50 kW more."""
    step, count = 1440 * days // (len(price) - before), len(price) - before
    problem = Problem(
        step_min=step,
        load_kw=np.full(count, 300.0),
        import_price_eur_per_mwh=price[before:],
        batteries=(BATTERY,),
    )
    seen = Gaps(before, 1440 // step, gap, forecast_gaps(price, gap, step, 0))
    return Span(problem, problem.load_kw + 50, np.zeros(count), (price + gap)[before:], seen)


def test_without_chance_the_worth_of_energy_is_that_of_the_linear_programme():
    price, _ = prices(2)
    problem = Problem(step_min=60, import_price_eur_per_mwh=price, batteries=(BATTERY,))
    best = -net_cost_eur(problem, solve_model(problem, explain=False).schedule)
    last = np.arange(48) % 24 == 23
    grid = Grid(BATTERY, 1.0)
    after = grid.worth(price[:, None], np.eye(1), last)
    energy, left, earned = 0.0, 2000.0, 0.0
    for t in range(48):
        power = grid.best_kw(after[t][:, 0], energy, left, price[t])
        earned += float(grid.earned(np.array(power), price[t]))
        now, still = grid.after(np.array([power]), np.array([energy]), np.array([left]))
        energy, left = float(now[0]), 2000.0 if last[t] else float(still[0])
        assert -1e-6 <= energy <= 2000 + 1e-6
    # straight lines between 41 energies, and 5 powers in the recursion
    assert 0.97 * best <= earned <= best + 1e-6


def test_a_chain_counts_the_moves_that_it_saw():
    gaps = np.tile([-1.0, 1.0], 5000) + np.random.default_rng(1).normal(0, 0.1, 10000)
    chain = Chain.of(gaps)
    assert chain.moves.sum(axis=1) == pytest.approx(np.ones(STATES))
    # low is followed by high, and high by low
    assert (chain.moves[0] @ chain.level) == pytest.approx(1.0, abs=0.05)
    assert (chain.moves[-1] @ chain.level) == pytest.approx(-1.0, abs=0.05)


def test_a_forecast_uses_no_gap_that_is_not_known_yet():
    price, gap = prices(40)
    later, known = gap.copy(), 30 * 24 + 5
    later[known:] += 1000
    one, other = (forecast_gaps(price, values, 60, 0) for values in (gap, later))
    # the forecast of interval `known` is made at its start
    assert np.array_equal(one[: known + 1], other[: known + 1])
    assert not np.allclose(one[known + 1 :], other[known + 1 :])
    assert np.isfinite(gap_regressors(price, gap, 60, 0)).all()


def test_a_forecast_is_better_than_none():
    price, gap = prices(60)
    found = forecast_gaps(price, gap, 60, 0)[20 * 24 :]
    rest = gap[20 * 24 :]
    # what is known explains 0.7 x 0.7 = 49 %
    assert 0.3 < 1 - np.var(rest - found) / np.var(rest) < 0.55


def test_what_comes_later_changes_nothing_that_was_done():
    price, gap = prices(30)
    known, later = 28 * 24, gap.copy()
    later[known:] = -later[known:]
    done = []
    for values in (gap, later):
        span = a_span(5, values, price, before=25 * 24)
        settled = span.settled(day_ahead(span.planned()))
        done.append(trade(settled, price[25 * 24 :], span.gaps))
    upto = known - 25 * 24
    assert np.array_equal(done[0].charge_kw[:, : upto + 1], done[1].charge_kw[:, : upto + 1])
    assert not np.array_equal(done[0].discharge_kw, done[1].discharge_kw)


def test_without_gaps_departing_earns_as_the_plan_does():
    price, gap = prices(15)
    rows = {row["way"]: row for row in compared(run_span(a_span(15, 0 * gap, price)))}
    # the plan of a local day empties the battery at its end, departing looks a day further
    plan, departing = (rows[name]["captured_share"] for name in (DAY_AHEAD, REPLANNED))
    assert 0.8 < plan - 0.02 < departing <= 1.0 + 1e-6


def test_money_of_all_ways_adds_up():
    price, gap = prices(40)
    span = a_span(12, gap, price, before=28 * 24)
    ways = run_span(span)
    rows = {row["way"]: row for row in compared(ways)}
    for name, row in rows.items():
        cost = row["position_cost_eur"] + row["deviation_cost_eur"]
        assert row["cost_eur"] == pytest.approx(cost, abs=1e-6), name
        assert row["saved_eur"] == pytest.approx(rows[NO_BATTERY]["cost_eur"] - row["cost_eur"])
    # 50 kW that were expected and did not come are sold back at the price of deviations
    sold = -(50 * (price + gap)[28 * 24 :] / 1000).sum()
    assert rows[NO_BATTERY]["deviation_cost_eur"] == pytest.approx(sold, abs=1e-6)
    assert rows[DAY_AHEAD]["deviation_cost_eur"] == pytest.approx(sold, abs=1e-3)
    saved = [rows[name]["saved_eur"] for name in (DAY_AHEAD, REPLANNED, FORESEEN)]
    assert saved[0] < saved[1] < saved[2]
    assert rows[FORESEEN]["captured_share"] == pytest.approx(1.0)


def test_limits_of_the_connection_hold_beside_the_position():
    price, gap = prices(25)
    span = a_span(4, gap, price, before=21 * 24)
    grid = replace(span.actual.grid, import_limit_kw=700.0, export_limit_kw=400.0)
    span = replace(span, actual=replace(span.actual, grid=grid))
    for problem, schedule, _ in run_span(span).values():
        assert (schedule.grid_import_kw <= 700 + 1e-6).all()
        assert (schedule.grid_export_kw <= 400 + 1e-6).all()
        assert problem.settlement.position_kw is not None
