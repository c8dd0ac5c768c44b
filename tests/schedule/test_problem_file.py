"""Problem and result files: `optimization.py solve`, the reader, and the schema beside it."""

import json
from types import SimpleNamespace

import jsonschema
import pytest
from small_problem import PROBLEM

import optimization
from vpp.runtime.errors import FieldError
from vpp.schedule.backends import SOLVERS, Outcome
from vpp.schedule.devices import stated
from vpp.schedule.problem import Problem
from vpp.schedule.problem_file import (
    SCHEMA_PATH,
    ProblemError,
    object_schema,
    parse_problem,
    problem_schema,
    read_object,
    read_problem,
)


def run_solve(tmp_path, problem, text=None):
    source, target = tmp_path / "problem.json", tmp_path / "result.json"
    source.write_text(json.dumps(problem) if text is None else text)
    (tmp_path / "config.ini").write_text("")
    code = optimization.main(
        [
            "solve",
            "--input",
            str(source),
            "--output",
            str(target),
            "--config",
            str(tmp_path / "config.ini"),
        ]
    )
    return code, json.loads(target.read_text()) if target.exists() else None


def test_solve_writes_the_result_file(tmp_path):
    code, result = run_solve(tmp_path, PROBLEM)
    assert code == 0
    assert result["status"] == "optimal"
    assert result["cost_eur"] == pytest.approx(-20120)
    assert result["certificate"].keys() == {
        *("kind", "proven", "binaries", "gap", "bound_eur", "seconds")
    }
    assert result["batteries"][0]["charge_kw"] == pytest.approx([4000, 0, 4000, 0, 0])
    assert result["batteries"][0]["soc"] == pytest.approx([2 / 3, 0, 2 / 3, 0, 0])
    for name in (
        "grid_import_kw",
        "grid_export_kw",
        "curtailed_kw",
        "stored_value_eur_per_mwh",
        "reason",
    ):
        assert len(result[name]) == 5


def test_whole_numbers_may_be_written_as_decimals(tmp_path):
    battery = PROBLEM["batteries"][0] | {"soc_targets": [{"interval": 1.0, "soc_min": 0.5}]}
    written = PROBLEM | {
        "step_min": 60.0,
        "grid": {"peak_interval_min": 60.0, "peak_price_eur_per_kw": 1},
        "batteries": [battery],
    }
    code, result = run_solve(tmp_path, written)
    assert code == 0
    assert result["batteries"][0]["soc"][1] >= 0.5 - 1e-6


def test_a_result_that_cannot_be_written_leaves_nothing_behind(tmp_path, capsys):
    (tmp_path / "result.json").mkdir()
    (tmp_path / "problem.json").write_text(json.dumps(PROBLEM))
    (tmp_path / "config.ini").write_text("")
    arguments = [
        "solve",
        "--input",
        str(tmp_path / "problem.json"),
        "--config",
        str(tmp_path / "config.ini"),
    ]
    assert optimization.main([*arguments, "--output", str(tmp_path / "result.json")]) == 2
    assert "cannot be written" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.ini",
        "problem.json",
        "result.json",
    ]


def test_an_infeasible_problem_writes_its_cause_and_ends_with_1(tmp_path, capsys, monkeypatch):
    # limits bend, so no valid problem is infeasible; numbers that a solver cannot work with are
    # reported by it as such
    monkeypatch.setitem(
        SOLVERS,
        "highs",
        lambda *_: SimpleNamespace(minimise=lambda *_: Outcome("infeasible")),
    )
    code, result = run_solve(tmp_path, PROBLEM)
    assert code == 1
    assert result["status"] == "infeasible"
    assert "daily cycles" in result["cause"]
    assert "infeasible: no schedule keeps to load" in capsys.readouterr().err


def test_the_committed_schema_is_the_one_that_the_dataclasses_write():
    assert json.loads(SCHEMA_PATH.read_text()) == problem_schema(), "run make schema"


FULL = PROBLEM | {
    "start": "2025-01-01T00:00:00Z",
    "time_zone": "Europe/Brussels",
    "renewables_kw": [0, 1, 2, 3, 4],
    "curtailable": False,
    "grid": {"import_limit_kw": 5000, "peak_price_eur_per_kw": 3, "peak_interval_min": 120},
    "co2_price_eur_per_t": 50,
    "gap": 1e-4,
}


FULL["batteries"] = [
    FULL["batteries"][0] | {"soc_min": 0.1, "soc_targets": [{"interval": 1, "soc_min": 0.5}]}
]


STRANGE = [
    None,
    True,
    "a",
    "",
    [],
    [[]],
    {},
    {"interval": 1},
    [None],
    ["a"],
    [-1] * 5,
    -1,
    0,
    1,
    1.5,
    1e4,
    [1, 2, 3, 4, "5"],
    {"a": 1},
]


def places(value, path=()):
    """Paths to all values of parsed JSON."""
    yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in inner:
        yield from places(item, (*path, key))


def test_the_reader_refuses_all_that_the_schema_refuses_and_names_where():
    """Every value of a full problem is replaced by strange ones.

    The reader also knows how fields depend on each other.
    """
    validator, both = jsonschema.Draft202012Validator(problem_schema()), {True: 0, False: 0}
    for path in places(FULL):
        for strange in STRANGE:
            raw = json.loads(json.dumps(FULL)) if path else strange
            if path:
                *way, last = path
                inside = raw
                for key in way:
                    inside = inside[key]
                inside[last] = strange
            try:
                parse_problem(raw)
                refused = None
            except FieldError as error:
                refused = error
            valid = validator.is_valid(raw)
            both[valid] += 1
            if not valid:
                assert refused, (path, strange)
            if refused and path:
                shown = "".join(
                    f"[{key}]" if isinstance(key, int) else f".{key}" for key in path
                ).lstrip(".")
                dependent = "time_zone" in path or "start" in path or "step_min" in path or valid
                assert refused.key.startswith(shown) or dependent, (path, strange, refused)
    assert min(both.values()) > 100


def test_a_field_of_the_file_is_written_down_once(tmp_path):
    """A new field of a dataclass is read, checked and in the schema without another line."""
    from dataclasses import dataclass

    @dataclass(frozen=True, eq=False)
    class Longer(Problem):
        standing_eur: float = stated("a standing charge", 0.0, low=0)

    assert read_object(Longer, PROBLEM | {"standing_eur": 3}, "").standing_eur == 3
    with pytest.raises(FieldError, match="standing_eur = -3: expected 0 or more"):
        read_object(Longer, PROBLEM | {"standing_eur": -3}, "")
    assert object_schema(Longer)["properties"]["standing_eur"]["minimum"] == 0


def test_defaults_are_those_of_the_schema(tmp_path):
    schema = json.loads(SCHEMA_PATH.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    stated = {
        name: field["default"] for name, field in schema["properties"].items() if "default" in field
    }
    battery = schema["properties"]["batteries"]["items"]["properties"]
    written = (
        PROBLEM
        | stated
        | {
            "batteries": [
                {name: field["default"] for name, field in battery.items() if "default" in field}
            ]
        }
    )
    written["batteries"][0] |= PROBLEM["batteries"][0]
    assert (
        run_solve(tmp_path, written)[1]["objective_eur"]
        == run_solve(tmp_path, PROBLEM)[1]["objective_eur"]
    )
    nothing = PROBLEM | {name: None for name in schema["properties"] if name not in PROBLEM}
    assert run_solve(tmp_path, nothing)[0] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"load_kw": [0, 0, "a", 0, 0]}, 'load_kw[2] = "a": expected a number'),
        ({"load_kw": [0, 0, True, 0, 0]}, "load_kw[2] = true: expected a number"),
        ({"load_kw": [0, 0, float("nan"), 0, 0]}, "load_kw[2] = nan: expected a finite number"),
        (
            {"renewables_kw": [0, 0, 0, float("inf"), 0]},
            "renewables_kw[3] = inf: expected a finite number",
        ),
        ({"renewables_kw": [0, 0, 0, -1, 0]}, "renewables_kw[3] = -1: expected 0 or more"),
        ({"renewables_kw": [0]}, "renewables_kw = 1 values: expected 5 values, as many as load_kw"),
        ({"load_kw": []}, "load_kw = []: expected at least 1 value"),
        ({"step_min": None}, "step_min = null: expected an integer"),
        ({"step_min": 0}, "step_min = 0: expected 1 or more"),
        ({"colour": "red"}, "colour = (unknown field): expected one of step_min"),
        ({"import_price": [1]}, "; nearest: import_price_eur_per_mwh"),
        (
            {"grid": {"peak_price": 3}},
            "grid.peak_price = (unknown field): expected one of import_limit_kw, export_limit_kw",
        ),
        (
            {"load_kw": [0, 0, 10**400, 0, 0]},
            "load_kw[2] = a number of 401 digits: expected a finite number of at most 1e+15",
        ),
        (
            {"load_kw": [0, 0, 3e16, 0, 0]},
            "load_kw[2] = 3e+16: expected a finite number of at most 1e+15",
        ),
        ({"gap": float("nan")}, "gap = nan: expected a finite number"),
        ({"step_min": 7.5}, "step_min = 7.5: expected an integer"),
        ({"step_min": "60"}, 'step_min = "60": expected an integer'),
        ({"curtailable": 1}, "curtailable = 1: expected a boolean"),
        ({"grid": 3}, "grid = 3: expected an object"),
        ({"batteries": {}}, "batteries = {}: expected an array"),
        (
            {"batteries": [PROBLEM["batteries"][0] | {"battery_id": ""}]},
            'batteries[0].battery_id = "": expected at least 1 character',
        ),
        (
            {
                "batteries": [
                    PROBLEM["batteries"][0] | {"soc_targets": [{"interval": 5, "soc_min": 1}]}
                ]
            },
            "batteries[0].soc_targets[0].interval = 5: expected 0 to 4",
        ),
        ({"start": "2025-01-01"}, "start = 2025-01-01: expected an ISO-8601 time with its zone"),
        (
            {"start": "0001-01-01T00:00+05:00"},
            "start = 0001-01-01T00:00+05:00: expected an ISO-8601 time with its zone in the "
            "years 1900",
        ),
        (
            {"start": "9999-12-31T23:00Z"},
            "start = 9999-12-31T23:00Z: expected an ISO-8601 time with its zone in the years 1900",
        ),
        ({"time_zone": "Mars/Olympus"}, "time_zone = Mars/Olympus: expected an IANA time zone"),
        ({"grid": {"import_limit_kw": -1}}, "grid.import_limit_kw = -1: expected 0 or more"),
        (
            {"grid": {"peak_interval_min": 90}},
            "grid.peak_interval_min = 90: expected a multiple of step_min = 60",
        ),
        (
            {"batteries": [{"battery_id": "b"}]},
            "batteries[0].capacity_kwh = (missing): expected a value",
        ),
        (
            {"batteries": [PROBLEM["batteries"][0] | {"eta_charge": 95}]},
            "batteries[0].eta_charge = 95: expected more than 0 and at most 1",
        ),
        (
            {"batteries": [PROBLEM["batteries"][0] | {"soc_min": 0.9, "soc_max": 0.1}]},
            "batteries[0].soc_min = 0.9: expected a fraction",
        ),
        (
            {"batteries": PROBLEM["batteries"] * 2},
            "batteries[1].battery_id = b: expected a name that no other battery has",
        ),
    ],
)
def test_a_bad_problem_names_field_value_and_what_is_expected(tmp_path, capsys, change, said):
    code, result = run_solve(tmp_path, PROBLEM | change)
    error = capsys.readouterr().err
    assert (code, result) == (2, None)
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a JSON file: Expecting value"),
        ("{", "not a JSON file: "),
        ("[]", "the problem = []: expected an object"),
        ('{"step_min": 60, "step_min": 30, "load_kw": [0]}', "field 'step_min' is given twice"),
        ("\x00", "not a JSON file: "),
        ("[" * 100_000, "the data are nested too deeply"),
        ('{"load_kw": [' + "9" * 5000 + "]}", "a number has too many digits"),
    ],
    ids=range(7),
)
def test_what_is_no_problem_is_refused_in_one_line(tmp_path, capsys, text, said):
    assert run_solve(tmp_path, None, text) == (2, None)
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error


def test_a_problem_that_is_no_text_or_a_folder_is_refused_in_words(tmp_path, capsys):
    path = tmp_path / "problem.bin"
    path.write_bytes(b"\xff\xfe{}")
    for place, said in ((path, "expected text in UTF-8"), (tmp_path, "Is a directory; name a")):
        with pytest.raises(ProblemError, match=said):
            read_problem(place)
