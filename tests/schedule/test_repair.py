"""A schedule made of values that break conditions keeps all of them, near to the values."""

import numpy as np
import pytest

from vpp.schedule.calm import Calming
from vpp.schedule.dispatch import idle
from vpp.schedule.draft import MONEY_SCALE
from vpp.schedule.exclusive import LeastPower, Pair, widened
from vpp.schedule.model import build
from vpp.schedule.problem import Problem
from vpp.schedule.problem_file import parse_problem
from vpp.schedule.repair import bends_more, repaired
from vpp.schedule.replay import replay
from vpp.schedule.solver import solve, solve_model
from vpp.schedule.stages import Stages

FOREVER = float("inf")
# of the car below: hours at 101, 102 and 103 EUR/MWh, and 2 kW above the peak so far
BEST_EUR = 0.004 * (101 + 102 + 103) + 2 * 1.0


def a_car(**fields) -> Problem:
    """Eight hours of a car that charges at 0 or at least 4 kW, and a price of the peak above 2 kW.

    The linear programme spreads 10 kWh to keep the peak low: between 0 and 4 kW.
    """
    return parse_problem(
        {
            "step_min": 60,
            "import_price_eur_per_mwh": [100, 101, 102, 103, 104, 105, 106, 107],
            "grid": {"peak_price_eur_per_kw": 1.0, "peak_so_far_kw": 2.0},
            "vehicles": [
                {
                    "vehicle_id": "car",
                    "capacity_kwh": 20,
                    "charge_kw": 11,
                    "charge_min_kw": 4,
                    "sessions": [
                        {"arrival": 1, "departure": 7, "soc_arrival": 0, "soc_departure_min": 0.5}
                    ],
                }
            ],
        }
        | fields
    )


def attempted(problem: Problem):
    """The relaxed model solved, and what it breaks."""
    model = build(problem, False, {})
    stages = Stages(problem, model, "highs", FOREVER)
    outcome = stages.money()
    return stages, outcome, Calming(problem, stages, {}, 0.0).read(outcome)[1]


def test_repaired_values_keep_the_least_power():
    problem = a_car()
    stages, outcome, broken = attempted(problem)
    assert len(broken["least_vehicles_0"]) >= 2
    made = repaired(problem, stages, outcome, broken, {})
    checked = replay(problem, made.schedule)
    assert not checked.violations and not checked.bends and not made.bends_more
    charge = made.schedule.devices["vehicles_0"]["charge_kw"]
    assert all(kw == 0 or kw >= 4 - 1e-9 for kw in charge)
    # no schedule is cheaper than the relaxed model, and this one is as it says
    assert checked.objective_eur >= outcome.bound / MONEY_SCALE - 1e-9
    assert checked.objective_eur == pytest.approx(made.outcome.objective / MONEY_SCALE)


def test_the_search_finds_what_is_cheapest_all_the_same():
    """Three hours at 4 kW, 2 kWh more than it wants: 5 kW in two hours would cost more."""
    found = solve(a_car())
    assert found.status == "optimal"
    assert found.objective_eur == pytest.approx(BEST_EUR)


def test_when_time_is_out_a_repaired_schedule_is_at_hand(monkeypatch):
    """Each round after the first finds no time: what is left is not an idle site."""
    problem, money = a_car(), Stages.money
    rounds = []

    def once(self):
        rounds.append(self.model.binaries)
        if len(rounds) > 1:
            self.until = 0.0
        return money(self)

    monkeypatch.setattr(Stages, "money", once)
    found = solve_model(problem)
    assert found.status == "feasible" and len(rounds) == 2
    checked = replay(problem, found.schedule)
    assert not checked.bends  # the car leaves with what it wants
    bound = found.certificate.bound_eur
    assert bound <= BEST_EUR + 1e-9 <= checked.objective_eur + 2e-9
    assert found.certificate.gap == pytest.approx(
        (checked.objective_eur - bound) / checked.objective_eur
    )
    assert checked.objective_eur < replay(problem, idle(problem)).objective_eur / 2


def test_what_is_decided_is_what_the_values_are_nearer_to():
    model = build(a_car(), False, {})
    least = model.conditions["least_vehicles_0"]
    assert isinstance(least, LeastPower)
    found = np.zeros(model.width)
    group = model.columns["charge_kw_vehicles_0"]
    found[group.first + np.arange(1, 5)] = 1.9, 2.1, 4.0, 11.0
    ((name, places, lower, upper),) = least.settled(model, found, np.arange(1, 4))
    assert (name, places.tolist()) == ("charge_kw_vehicles_0", [1, 2, 3])
    assert (lower.tolist(), upper.tolist()) == ([0, 4, 4], [0, 11, 11])


def test_the_smaller_of_two_opposite_powers_is_nothing():
    problem = parse_problem(
        {
            "load_kw": [1, 1, 1],
            "step_min": 60,
            "batteries": [
                {"battery_id": "b", "capacity_kwh": 4, "charge_kw": 2, "discharge_kw": 2}
            ],
        }
    )
    model = build(problem, False, {})
    pair = model.conditions["0"]
    assert isinstance(pair, Pair)
    found = np.zeros(model.width)
    for name, powers in (("charge_kw_0", (2.0, 0.5, 1.0)), ("discharge_kw_0", (1.0, 1.5, 1.0))):
        found[model.columns[name].first + np.arange(3)] = powers
    settled = {
        name: places.tolist() for name, places, _, _ in pair.settled(model, found, np.arange(3))
    }
    assert settled == {"charge_kw_0": [1], "discharge_kw_0": [0, 2]}


def test_binaries_go_around_least_powers_that_are_broken():
    """Only where the car is connected, and not around other conditions."""
    model = build(a_car(), False, {})
    broken = {"least_vehicles_0": np.array([3]), "grid": np.array([3])}
    assert widened(model, broken, 0)["least_vehicles_0"].tolist() == [3]
    assert widened(model, broken, 1)["least_vehicles_0"].tolist() == [2, 3, 4]
    wide = widened(model, broken, 100)
    assert wide["least_vehicles_0"].tolist() == [1, 2, 3, 4, 5, 6]
    assert wide["grid"].tolist() == [3]


def test_bending_more_is_more_than_rounding():
    assert not bends_more([0.0, 1.0], [1e-7, 1.0])
    assert bends_more([0.0, 1.0], [0.0, 1.0001])
    assert not bends_more([1.0], [0.5])
