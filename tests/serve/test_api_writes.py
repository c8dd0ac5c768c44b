"""What the API is given: problems to solve, states of batteries and orders."""

import json
import math

import pandas as pd
import pytest
from small_api import ORDER, STATE, count, detail
from small_plant import NOW
from small_problem import PROBLEM

import db
from vpp.schedule.problem_file import problem_of_text, result_json
from vpp.schedule.solver import solve
from vpp.storage.overrides import read_overrides


def test_a_solve_is_that_of_the_script(served):
    text = json.dumps(PROBLEM)
    found = served.client.post("/api/solve", content=text).json()
    problem = problem_of_text(text)
    own = result_json(problem, solve(problem))
    for one in (found, own):
        one["certificate"].pop("seconds")
    assert found == json.loads(json.dumps(own))


def test_limits_that_bend_are_answered(served):
    problem = PROBLEM | {"grid": {"import_limit_kw": 0}, "load_kw": [10, 0, 0, 0, 0]}
    answer = served.client.post("/api/solve", json=problem)
    assert answer.status_code == 200
    assert answer.json()["violations"][0]["field"].startswith("grid.import_limit_kw")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not a JSON file"),
        (b"\xff\xfe", "not a JSON file: expected text in UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 10_000, "too many digits"),
        (b"null", "the problem = null: expected an object"),
        (json.dumps(PROBLEM | {"price": 1}), "price = (unknown field)"),
        (json.dumps(PROBLEM | {"step_min": math.nan}), "step_min"),
        (json.dumps(PROBLEM | {"load_kw": [math.inf] * 5}), "load_kw[0] = inf"),
        (json.dumps(PROBLEM | {"time_limit_s": -1}), "time_limit_s = -1: expected more than 0"),
        (json.dumps(PROBLEM | {"load_kw": [1]}), "load_kw"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_problem_that_is_none_is_one_line(served, body, words):
    answer = served.client.post("/api/solve", content=body)
    assert answer.status_code == 422
    assert words in detail(answer)


def chunks(number: int):
    for _ in range(number):
        yield b" " * 1_000_000


@pytest.mark.parametrize("route", ["solve", "state", "override"])
@pytest.mark.parametrize("announced", [True, False], ids=["length", "chunked"])
def test_a_body_of_10_mb_is_refused(served, route, announced):
    body = b" " * 10_000_000 if announced else chunks(10)
    answer = served.client.post(f"/api/{route}", content=body)
    assert answer.status_code == 413
    assert detail(answer) == "the body is larger than 8,000,000 bytes"


def test_a_body_of_7_mb_is_read(served):
    body = json.dumps(PROBLEM).encode() + b" " * 7_000_000
    assert served.client.post("/api/solve", content=body).json()["status"] == "optimal"


def assert_refused(served, plant, route, table, body, words):
    before = count(plant, table)
    answer = served.client.post(f"/api/{route}", content=json.dumps(body))
    assert answer.status_code == 422
    assert words in detail(answer)
    assert count(plant, table) == before


def test_a_state_is_stored_when_it_is_answered(served, plant):
    answer = served.client.post("/api/state", json=STATE)
    assert answer.status_code == 200
    assert answer.json() == {
        "kind": "measured",
        "battery_id": "cellar",
        "time": "2025-03-13T12:00:00Z",
        "soc": 0.25,
        "energy_kwh": 100.0,
        "charge_kw": 0.0,
        "discharge_kw": 50.0,
    }
    with db.session(plant) as conn:
        found = db.read_last_state(conn, "cellar", "2025-03-13T12:30:00Z")
    assert found == (pd.Timestamp("2025-03-13T12:00Z"), 0.25)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"soc": 1.5}, "soc 1.5"),
        ({"soc": math.nan}, "NaN"),
        ({"soc": math.inf}, "Infinity"),
        ({"soc": "0.5"}, "soc '0.5'"),
        ({"soc": None}, "soc is missing"),
        ({"energy_kwh": 1}, "agree"),
        ({"battery_id": "other"}, "battery_id 'other' is unknown"),
        ({"battery_id": None}, "battery_id is missing"),
        ({"time": "2025-03-13T12:00"}, "time"),
        ({"time": "2999-01-01T00:00Z"}, "ahead of the clock"),
        ({"colour": "red"}, "unknown field 'colour'"),
    ],
    ids=str,
)
def test_an_impossible_state_is_one_line_and_not_stored(served, plant, change, words):
    assert_refused(served, plant, "state", "battery_states", STATE | change, words)


def test_an_order_is_in_force(served, plant):
    answer = served.client.post("/api/override", json=ORDER)
    assert answer.status_code == 200 and answer.json()["override_id"] > 0
    with db.session(plant) as conn:
        order = read_overrides(conn, NOW)["cellar"]
    assert (order.override, order.soc, order.name, order.reason) == ("charge", 0.9, "Ada", "guests")
    shown = served.client.get("/api/now").json()["batteries"][1]["override"]
    assert shown["until"] == "2099-03-13T18:00:00Z"
    ended = served.client.post("/api/override", json={"battery_id": "cellar", "override": "auto"})
    assert ended.status_code == 200
    assert served.client.get("/api/now").json()["batteries"][1]["override"] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"override": "explode"}, "override"),
        ({"override": "hold"}, "soc"),
        ({"soc": 2}, "soc"),
        ({"soc": math.nan}, "NaN"),
        ({"until": "2001-01-01T00:00Z"}, "until"),
        ({"until": "soon"}, "until"),
        ({"battery_id": "other"}, "battery_id other is unknown"),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"name": "x" * 501}, "name"),
        ({"name": "\0"}, "name"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_impossible_order_is_one_line_and_not_stored(served, plant, change, words):
    assert_refused(served, plant, "override", "overrides", ORDER | change, words)
