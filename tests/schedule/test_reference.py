"""The reference is right on cases worked out by hand, and the product agrees with it.

`python benchmarks/bench_reference.py` compares more of them.
"""

import json

import pytest
import reference
from agreement import faults
from random_problems import random_problem

from vpp.schedule.problem_file import problem_schema

HOURS = {"step_min": 60, "import_price_eur_per_mwh": [100, 50, 300]}


def cases(folder, name):
    path = folder.parent / "cases" / name / "cases.json"
    if not path.is_file():
        pytest.skip(f"no cases in {path}")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["newfields", "schedules"])
def test_cases_with_right_answers(real_data, name):
    for case in cases(real_data, name):
        expected, found = case["expected"], reference.solve(case["problem"])
        bends = expected.get("least_violation", {})
        for value, key in zip(
            found["violations"], ("grid_mwh", "soc_bound_mwh_h", "target_mwh"), strict=True
        ):
            assert value == pytest.approx(1000 * bends.get(key, 0.0), abs=1e-4), case["id"]
        money = expected.get("objective_eur", expected.get("objective_without_penalties_eur"))
        assert found["objective_eur"] == pytest.approx(money, rel=3e-6, abs=1e-6), case["id"]
        if "throughput_kwh" in expected:
            most = pytest.approx(expected["throughput_kwh"], abs=1e-4)
            assert found["throughput_kwh"] == most, case["id"]


def test_a_load_is_served():
    # 2 kWh at each of 0.10, 0.05 and 0.30
    found = reference.solve(HOURS | {"load_kw": [2, 2, 2]})
    assert found["objective_eur"] == pytest.approx(0.9)
    assert found["violations"] == [0, 0, 0]


def test_a_limit_bends_before_money_counts():
    # of 3 kWh in hour 2 the battery of 1 kWh takes one over, so 1 kWh stays over the limit of 1;
    # hour 0 at 0.10 is dearer than hour 1 at 0.05: 1 kWh charged at 0.05, 2 kWh bought at 0.30
    battery = {"battery_id": "b", "capacity_kwh": 1, "charge_kw": 5, "discharge_kw": 5}
    found = reference.solve(
        HOURS | {"load_kw": [0, 0, 3], "grid": {"import_limit_kw": 1}, "batteries": [battery]}
    )
    assert found["violations"] == pytest.approx([1, 0, 0])
    assert found["objective_eur"] == pytest.approx(0.65)
    assert found["throughput_kwh"] == pytest.approx(2)


def test_the_same_seed_gives_the_same_problem():
    assert random_problem(7) == random_problem(7) != random_problem(8)


@pytest.mark.parametrize("seed", range(200))
def test_the_product_finds_what_the_reference_finds(seed):
    raw = random_problem(seed)
    unknown = sorted(set(raw) - set(problem_schema()["properties"]))
    if unknown:
        pytest.skip(f"a problem file has no {', '.join(unknown)} yet")
    assert faults(raw) == []
