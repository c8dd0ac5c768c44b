"""Cases with right answers beside the real data: skipped, saying so, where they are absent.

`schedules/cases.json` has 21 cases of other programs' issues, `newfields` 27 small ones of the
problem file with a judge of its own, which knows nothing of this project, and bad input.
"""

import importlib.util
import json

import pytest

from battery import replay
from vpp.runtime.errors import FieldError
from vpp.schedule.problem_file import parse_problem, result_json
from vpp.schedule.solver import solve


def folder_of(real_data, name):
    folder = real_data.parent / "cases" / name
    if not (folder / "cases.json").is_file():
        pytest.skip(f"no cases in {folder}")
    return folder


def cases(folder, name="cases.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_schedules_of_other_programs_issues_are_right(real_data):
    for case in cases(folder_of(real_data, "schedules")):
        problem, expected = parse_problem(case["problem"]), case["expected"]
        result = solve(problem)
        money = expected.get("objective_eur", expected.get("objective_without_penalties_eur"))
        # expected money of what bends was found with limits held by a hair more than the least
        near = 1e-6 if case["feasible_without_bending"] else 1e-5
        assert result.objective_eur == pytest.approx(money, rel=near, abs=near), case["id"]
        bent = [1000 * amount for amount in expected.get("least_violation", {}).values()]
        found = replay(problem, result.found)
        assert found.violations == (), case["id"]
        assert found.bent == pytest.approx(bent or [0.0] * 3, rel=1e-5, abs=1e-3), case["id"]


def test_new_fields_are_right_by_another_judge(real_data):
    folder = folder_of(real_data, "newfields")
    spec = importlib.util.spec_from_file_location("judge_of_new_fields", folder / "check.py")
    judge = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(judge)
    for case in cases(folder):
        problem = parse_problem(case["problem"])
        result = json.loads(json.dumps(result_json(problem, solve(problem)), allow_nan=False))
        assert judge.judge(case, result) == [], case["id"]


def test_bad_input_is_refused_by_the_name_of_its_field(real_data):
    for case in cases(folder_of(real_data, "newfields"), "bad.json"):
        with pytest.raises(FieldError) as refused:
            parse_problem(case["problem"])
        said = str(refused.value)
        assert any(name in said for name in case["names"]), (case["id"], said)
        assert "\n" not in said
