"""The money of ways to run a site, and the value of the energy left."""

from dataclasses import replace

import numpy as np
import pytest
from small_problem import PROBLEM

from battery import self_consumption, settle
from vpp.planning.runs import carried_out
from vpp.schedule.problem_file import (
    parse_problem,
)
from vpp.schedule.site import terminal_price, with_terminal_value
from vpp.schedule.solver import solve
from vpp.schedule.value import BrokenScheduleError, compare, interval_costs_eur, net_cost_eur


def test_a_schedule_that_breaks_physics_is_not_stored():
    problem = parse_problem(PROBLEM | {"load_kw": [3000] * 5})
    broken = settle(problem, np.zeros((1, 5)), np.full((1, 5), 900.0))
    with pytest.raises(
        BrokenScheduleError,
        match=r"what was carried out from 1970-.* breaks physics in 5 places, most in interval 4",
    ):
        carried_out(problem, broken)
    with pytest.raises(BrokenScheduleError, match="perfect foresight from"):
        compare(problem, {"perfect_foresight": broken}, None)
    # a rule that has to bend limits breaks nothing
    low = parse_problem(PROBLEM | {"grid": {"import_limit_kw": 10}, "load_kw": [50] * 5})
    rows = compare(
        low, {"rule": self_consumption(low), "perfect_foresight": solve(low).schedule}, None
    )
    assert {row["way"]: row["bent_limits"] for row in rows}["no battery"] == 5


def test_the_share_without_a_day_counts_the_energy_carried_over_it():
    """Stored at 10 for a day of 90 that is left out.

    The energy counts at the price left, 50, not as a cost without a gain.
    """
    battery = {
        "battery_id": "b",
        "capacity_kwh": 1000,
        "charge_kw": 1000,
        "discharge_kw": 1000,
        "terminal_value_eur_per_mwh": 50,
    }
    price = [10, 90, 10, 50]
    problem = parse_problem(
        {
            "step_min": 60,
            "load_kw": [1000] * 4,
            "import_price_eur_per_mwh": price,
            "batteries": [battery],
        }
    )
    charge = np.array([[1000.0, 0, 1000, 0]])
    perfect = settle(problem, charge, np.array([[0.0, 1000, 0, 0]]))
    half = settle(problem, charge / 2, np.array([[0.0, 500, 0, 0]]))
    rows = compare(
        problem, {"half": half, "perfect_foresight": perfect}, np.array([True, False, True, True])
    )
    shares = {row["way"]: (row["captured_share"], row["share_without_day"]) for row in rows}
    # perfect: 80 EUR by the spread and 40 by what is left; without the day 40 and 40. Half of each
    assert shares == {"no battery": (0, 0), "half": (0.5, 0.5), "perfect foresight": (1, 1)}
    assert rows[-1]["saved_eur"] == pytest.approx(120)
    # days add up to the whole
    for schedule in (half, perfect):
        assert interval_costs_eur(problem, schedule).sum() == pytest.approx(
            net_cost_eur(problem, schedule)
        )
    without = interval_costs_eur(problem, perfect)[[0, 2, 3]].sum()
    assert (10 + 10 + 50) - without == pytest.approx(80)


def test_the_terminal_value_is_the_median_price_less_losses_and_wear():
    raw = PROBLEM | {
        "load_kw": [1, 1, 1, 0, 0],
        "renewables_kw": [0, 0, 0, 1, 1],
        "export_price_eur_per_mwh": [0, 0, 0, 40, -30],
    }
    problem = parse_problem(raw)
    # importing at 10, 50 and 10, exporting at 40, curtailing at -30: the median of 10, 50, 10, 40,
    # 0
    assert terminal_price(problem) == 10
    worn = replace(
        problem, batteries=(replace(problem.batteries[0], eta_discharge=0.9, wear_eur_per_mwh=4),)
    )
    assert with_terminal_value(worn).batteries[0].terminal_value_eur_per_mwh == pytest.approx(
        0.9 * (10 - 4)
    )
