"""Positions and deviations: hand-solved cases, and what one price for both must reproduce."""

import numpy as np
import pytest

from vpp.runtime.errors import FieldError
from vpp.schedule.dispatch import idle
from vpp.schedule.problem_file import parse_problem, result_json
from vpp.schedule.replay import replay
from vpp.schedule.solver import solve
from vpp.schedule.value import interval_costs_eur, net_cost_eur

BATTERY = {"battery_id": "b", "capacity_kwh": 5, "charge_kw": 5, "discharge_kw": 5}


def random_problem(seed: int, **more: object) -> dict:
    rng = np.random.default_rng(seed)
    battery = BATTERY | {"eta_charge": 0.95, "eta_discharge": 0.9, "wear_eur_per_mwh": 3}
    return {
        "step_min": 30,
        "load_kw": rng.uniform(0, 6, 12).tolist(),
        "renewables_kw": rng.uniform(0, 8, 12).tolist(),
        "import_price_eur_per_mwh": rng.normal(60, 80, 12).tolist(),
        "import_fee_eur_per_mwh": float(rng.uniform(0, 10)),
        "batteries": [battery],
        "grid": {"import_limit_kw": 9, "export_limit_kw": 9},
    } | more


@pytest.mark.parametrize("seed", range(12))
def test_at_one_price_a_position_changes_nothing(seed):
    position = np.random.default_rng(seed).normal(0, 4, 12).tolist()
    with_position = parse_problem(random_problem(seed, position_kw=position))
    alone = solve(parse_problem(random_problem(seed)))
    beside = solve(with_position)
    assert beside.cost_eur == pytest.approx(alone.cost_eur, abs=1e-9)
    assert beside.objective_eur == pytest.approx(alone.objective_eur, abs=1e-9)
    found = alone.found
    assert np.allclose(beside.found.discharge_kw, found.discharge_kw, atol=1e-6)
    # the same schedule costs the same, interval by interval
    plain = interval_costs_eur(parse_problem(random_problem(seed)), found)
    assert np.allclose(interval_costs_eur(with_position, found), plain, atol=1e-12)


def test_the_deviation_settles_alone():
    # 4 kWh bought at 40: 0.16. Hour 0 needs 1: 3 are left at 20: -0.06, or are stored for hour 1,
    # which needs 6 and pays 90 beyond its position of 2: with 3 from the battery 1 kWh is short,
    # 0.09. Position of hour 1: 2 x 50 = 0.10. 0.16 + 0 + 0.10 + 0.09 = 0.35; idle: 0.16 - 0.06 +
    # 0.10 + 0.36 = 0.56. Storing 2 more would take them short at 30 in hour 0: 5 kWh in the battery
    # cost 0.06 more and leave 1 kWh long in hour 1, at 10, so 1 more: 0.35 + 0.03 - 0.09 = 0.29
    problem = parse_problem(
        {
            "step_min": 60,
            "load_kw": [1, 6],
            "import_price_eur_per_mwh": [40, 50],
            "position_kw": [4, 2],
            "deviation_short_eur_per_mwh": [30, 90],
            "deviation_long_eur_per_mwh": [20, 10],
            "batteries": [BATTERY],
        }
    )
    result = solve(problem)
    assert result.cost_eur == pytest.approx(0.29)
    assert result.found.charge_kw[0, 0] == pytest.approx(4.0)
    raw = result_json(problem, result)
    assert raw["position_kw"] == [4.0, 2.0]
    assert raw["position_cost_eur"] == pytest.approx(0.26)
    assert raw["deviation_cost_eur"] == pytest.approx(0.03)
    assert replay(problem, idle(problem)).cost_eur == pytest.approx(0.56)
    assert net_cost_eur(problem, idle(problem)) == pytest.approx(0.56)


def test_renewables_are_curtailed_down_to_the_position():
    # 3 kW sold at 50; 8 kW of sun. What goes beyond is paid for at 20 (long: -20), so 5 are
    # curtailed: -0.15, and nothing for deviations
    problem = parse_problem(
        {
            "step_min": 60,
            "renewables_kw": [8],
            "import_price_eur_per_mwh": [50],
            "position_kw": [-3],
            "deviation_long_eur_per_mwh": [-20],
        }
    )
    result = solve(problem)
    assert result.cost_eur == pytest.approx(-0.15)
    assert result.found.curtailed_kw == pytest.approx([5.0])
    # the rule that needs no solver finds the same curtailment
    assert idle(problem).curtailed_kw == pytest.approx([5.0])


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"position_kw": 1, "deviation_short_eur_per_mwh": 40}, "deviation_short_eur_per_mwh[0]"),
        ({"position_kw": 1, "deviation_long_eur_per_mwh": 60}, "deviation_short_eur_per_mwh[0]"),
        ({"position_kw": 1, "export_price_eur_per_mwh": 60}, "deviation_short_eur_per_mwh[0]"),
        ({"position_kw": [1, 2]}, "position_kw"),
        ({"deviation_long_eur_per_mwh": 10}, "deviation_long_eur_per_mwh"),
        ({"position_price_eur_per_mwh": 10}, "position_price_eur_per_mwh"),
    ],
)
def test_what_does_not_fit_a_position_is_refused(more, words):
    raw = {"step_min": 60, "load_kw": [1, 1, 1], "import_price_eur_per_mwh": [50, 50, 50]}
    with pytest.raises(FieldError, match=f"^{words}".replace("[", r"\[")):
        parse_problem(raw | more)
