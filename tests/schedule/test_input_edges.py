"""The edges of a problem file: each ends in one short line, in little time, or in a schedule."""

import json

import numpy as np
import pytest
from small_problem import PROBLEM

from vpp.runtime.errors import FieldError
from vpp.schedule.hints import hints
from vpp.schedule.problem import Problem
from vpp.schedule.problem_file import ProblemError, parse_problem, read_problem
from vpp.schedule.solver import solve

BATTERY = PROBLEM["batteries"][0]
LONG = "x" * 1_000_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"start": LONG}, "start = xxx"),
        ({"time_zone": LONG}, "time_zone = xxx"),
        ({LONG: 1}, "= (unknown field)"),
        ({"batteries": [BATTERY | {"battery_id": LONG}] * 2}, "batteries[1].battery_id = xxx"),
        ({"load_kw": [0, 0, LONG, 0, 0]}, 'load_kw[2] = "xxx'),
        (
            {"batteries": [BATTERY | {"charge_curve": [[i / 5000, 1] for i in range(5000)]}]},
            "batteries[0].charge_curve = [[0.0, 1.0]",
        ),
        (
            {"inverters": [{"inverter_id": "i", "ac_kw": 1, "batteries": [LONG]}]},
            "inverters[0].batteries[0] = xxx",
        ),
    ],
    ids=["start", "zone", "key", "name", "text", "curve", "battery"],
)
def test_a_megabyte_is_not_echoed_whole(change, said):
    with pytest.raises(FieldError) as refused:
        parse_problem(PROBLEM | change)
    assert said in str(refused.value)
    assert len(str(refused.value)) < 1500


@pytest.mark.parametrize("depth", [200, 900, 970, 990, 1000, 5000, 100_000])
@pytest.mark.parametrize("field", ["load_kw", "batteries", "grid", "unknown"])
def test_nesting_is_refused_in_one_line(tmp_path, field, depth):
    path = tmp_path / "problem.json"
    path.write_text(f'{{"step_min": 60, "{field}": {"[" * depth}{"]" * depth}}}')
    with pytest.raises(ProblemError) as refused:
        read_problem(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_name_that_is_given_twice_is_found_among_many(tmp_path):
    path = tmp_path / "problem.json"
    many = ", ".join(f'"{i}": 0' for i in range(200_000))
    path.write_text(f'{{{many}, "7": 1}}')
    with pytest.raises(ProblemError, match="field '7' is given twice"):
        read_problem(path)


def test_days_are_counted_without_a_loop_over_them():
    # an interval a day: one cycle of 10 kWh each, bought at 1 and sold at 3 every other day
    count = 4000
    problem = parse_problem(
        {
            "step_min": 1440,
            "time_zone": "Europe/Berlin",
            "import_price_eur_per_mwh": [1.0, 3.0] * (count // 2),
            "batteries": [
                {"battery_id": "b", "capacity_kwh": 10, "charge_kw": 5, "discharge_kw": 5}
                | {"cycles_per_day_max": 1}
            ],
        }
    )
    assert problem.local_days.tolist() == list(range(count))
    assert solve(problem).objective_eur == pytest.approx(-count / 2 * 10 * 2 / 1000)


@pytest.mark.parametrize(
    ("zone", "start", "days"),
    [
        ("Europe/Brussels", "2025-03-29T22:00:00Z", [0, 1, 1, 1]),  # midnight is 23:00 UTC
        ("Australia/Adelaide", "2025-01-15T12:00:00Z", [0, 0, 1, 1]),  # UTC+10:30
        ("UTC", "2025-01-15T22:00:00Z", [0, 0, 1, 1]),
    ],
)
def test_local_days_begin_at_local_midnight(zone, start, days):
    raw = {"step_min": 60, "load_kw": [0] * 4, "time_zone": zone, "start": start}
    assert parse_problem(raw).local_days.tolist() == days


def test_a_list_by_interval_says_how_many_there_are():
    home = {"step_min": 60, "batteries": [BATTERY | {"soc_max": [1, 0.9, 0.9]}]}
    assert parse_problem(home).intervals == 3
    with pytest.raises(FieldError, match="expected at least one list by interval"):
        parse_problem({"step_min": 60, "load_kw": 3})
    # the one that differs from most is named, whichever comes first
    lists = {"import_price_eur_per_mwh": [1] * 4, "renewables_kw": [1] * 4}
    with pytest.raises(FieldError, match="load_kw = 3 values: expected 4 values, as many as"):
        parse_problem({"step_min": 60, "load_kw": [1] * 3} | lists)


@pytest.mark.parametrize(
    ("change", "hinted"),
    [
        ({}, []),
        ({"import_price_eur_per_mwh": [0.3, 0.25, 0.3, 0.2, 0.3]}, ["import", "export"]),
        ({"batteries": [BATTERY | {"capacity_kwh": 6}]}, ["batteries[0]"]),
        ({"batteries": [BATTERY | {"capacity_kwh": 6e6}]}, ["batteries[0]"]),
        ({"batteries": [BATTERY | {"charge_kw": 0, "discharge_kw": 0}]}, []),
        ({"load_kw": [4000] * 5, "grid": {"import_limit_kw": 10}}, ["load_kw"]),
        ({"import_price_eur_per_mwh": [0] * 5}, []),
    ],
)
def test_a_unit_that_looks_off_by_a_thousand_is_a_hint(change, hinted):
    found = hints(parse_problem(PROBLEM | change))
    assert [hint.startswith(name) for hint, name in zip(found, hinted, strict=True)] == [
        True for _ in hinted
    ]


def test_a_small_battery_beside_a_large_load_keeps_its_own_limits():
    # 10 kWh beside 500 MW: a tolerance of the largest number would be 0.5 kW
    problem = Problem(
        60,
        np.full(4, 500_000.0),
        np.array([10.0, 90.0, 10.0, 90.0]),
        batteries=(parse_problem(json.loads(SMALL)).batteries[0],),
    )
    result = solve(problem)
    assert result.found.charge_kw.max() <= 3 + 1e-6
    assert result.found.soc.max() <= 0.9 + 1e-6
    # each time 3 kWh are bought at 10, and what is left of them sold at 90
    assert result.objective_eur == pytest.approx(
        500 * 200 + (2 * 3 * 10 - 2 * 3 * 0.9 * 0.9 * 90) / 1000, abs=1e-6
    )


SMALL = """{"step_min": 60, "load_kw": [0], "batteries": [{"battery_id": "b", "capacity_kwh": 10,
"charge_kw": 3, "discharge_kw": 3, "eta_charge": 0.9, "eta_discharge": 0.9, "soc_max": 0.9}]}"""
