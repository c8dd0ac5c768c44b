"""Tables and JSON as they are printed."""

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from vpp.runtime import tables
from vpp.runtime.tables import aligned, print_rows


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (
            [93.686, 42.233, 387.17],
            ["93.69", "42.23", "387.17"],
        ),  # five digits of 387.17 leave two decimals
        ([0.76237, None, 1.2], ["0.762", "–", "1.200"]),  # three at most
        ([2_171_788.4, -701.13], ["2,171,788", "-701"]),
        (
            [36_226.3, 32.4, -0.04],
            ["36,226.3", "32.4", "0.0"],
        ),  # one decimal for the small ones, and no -0
        ([float("nan"), 12_345.6, 3], ["–", "12,346", "3"]),  # a count stays one
        ([1e-9, 0.0], ["1e-09", "0"]),  # decimals would hide it
        ([0.0012, 0.000345, None], ["0.00120", "0.00034", "–"]),  # below 0.01 they need more
        ([np.float32(1.5), 2.25], ["1.500", "2.250"]),
        (["a", True, 7000], ["a", "yes", "7,000"]),
        ([], []),
    ],
)
def test_the_numbers_of_a_column_have_the_same_decimals(values, texts):
    assert aligned([tables.python_value(value) for value in values]) == texts


def test_a_table_is_plain_text_when_piped_and_json_when_asked(capsys):
    rows = [{"name": "load-1", "mae": 93.686}, {"name": "price", "mae": 4.2}]
    print_rows(rows, "Errors")
    assert capsys.readouterr().out.splitlines() == [
        "Errors",
        " name   |    mae",
        "--------+--------",
        " load-1 | 93.686",
        " price  |  4.200",
    ]
    print_rows(rows, as_json=True)
    assert json.loads(capsys.readouterr().out) == rows
    print_rows([])
    assert "(nothing)" in capsys.readouterr().out


def test_a_long_cell_stays_on_its_line_when_piped(capsys):
    print_rows([{"server": "PostgreSQL", "address": "x" * 500, "log": "y z " * 100}])
    assert (
        capsys.readouterr().out.splitlines()[2]
        == f" PostgreSQL | {'x' * 500} | {('y z ' * 100).rstrip()}"
    )


TIMES = [
    pd.Timestamp("2025-03-30T01:00", tz="UTC"),
    pd.Timestamp("2025-03-30T03:00", tz="Europe/Brussels"),
    datetime(2025, 3, 30, 1, tzinfo=UTC),
    datetime(2025, 3, 30, 3, tzinfo=timezone(timedelta(hours=2))),
    np.datetime64("2025-03-30T01:00:00"),
]


@pytest.mark.parametrize("time", TIMES, ids=repr)
def test_a_time_is_printed_the_same_in_tables_and_in_json(time, capsys):
    print_rows([{"time": time}])
    assert capsys.readouterr().out.splitlines()[-1].strip() == "2025-03-30T01:00Z"
    print_rows([{"time": time, "inner": {"times": [time]}}], as_json=True)
    [row] = json.loads(capsys.readouterr().out)
    assert row == {"time": "2025-03-30T01:00Z", "inner": {"times": ["2025-03-30T01:00Z"]}}


def test_json_holds_no_value_that_is_no_json(capsys):
    row = {
        "a": float("nan"),
        "b": pd.NaT,
        "c": np.float64(1.5),
        "d": np.int64(2),
        "e": float("inf"),
    }
    print_rows([row | {"f": np.bool_(True), "g": None}], as_json=True)
    text = capsys.readouterr().out
    [found] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found == {"a": None, "b": None, "c": 1.5, "d": 2, "e": "inf", "f": True, "g": None}
