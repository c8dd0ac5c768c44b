"""Files, cells and arguments that an import rejects or refuses, in one line each."""

import re

import pandas as pd
import pytest
from small_import import hours, write

from vpp.site.import_columns import ColumnError, check_unit, parse_column


def test_impossible_and_unparsable_cells_are_rejects_with_line_and_reason(tmp_path, run_import):
    rows = [f"{time},{number % 24},{number % 5}" for number, time in enumerate(hours(48))]
    rows[3] = rows[3].split(",")[0] + ",-9,1"  # a negative power
    rows[5] = rows[5].split(",")[0] + ",abc,2"
    rows[7] = "yesterday,5,5"
    rows[9] = (
        rows[9].split(",")[0] + ",-0.1,88888"
    )  # own consumption at night; a price beyond the limits
    rows[11] = rows[11].split(",")[0] + ",-,3"  # a gap
    rows[13] = rows[13].split(",")[0] + ",inf,3"
    path = write(tmp_path, ["time,pv,price", *rows])
    code, out, _ = run_import(
        path, "--time-column", "time", "--solar", "pv:kW:pv:23", "--price", "price:EUR/MWh"
    )
    assert code == 0 and "6 rejects" not in out
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv", keep_default_na=False)
    assert rejects["line"].tolist() == [5, 7, 9, 11, 15]
    assert rejects["source_id"].tolist() == ["pv", "pv", "", "price", "pv"]
    for reason, expected in zip(
        rejects["reason"],
        ("outside 0 to", "no number", "no time", "price outside", "no number"),
        strict=True,
    ):
        assert expected in reason
    pv = pd.read_csv(tmp_path / "out" / "solar.csv")
    assert len(pv) == 48 - 5 and pv["power_kw"].min() == 0
    code, _, lines = run_import(
        path,
        "--time-column",
        "time",
        "--solar",
        "pv:kW",
        "--output",
        tmp_path / "strict",
        "--strict",
    )
    assert code == 1 and "line 5" in lines[0] and "--strict" in lines[0]
    assert not (tmp_path / "strict").exists()


BAD = (
    (
        "missing column",
        ["time,load", "2024-01-01T00:00Z,1"],
        ["--load", "lode:kW"],
        "no such column",
    ),
    (
        "missing time column",
        ["zeit,load", "2024-01-01T00:00Z,1"],
        ["--load", "load:kW"],
        "no time column 'time'",
    ),
    ("no column asked for", ["time,load", "2024-01-01T00:00Z,1"], [], "say one or more of"),
    ("empty", [], ["--load", "load:kW"], "is empty"),
    ("header only", ["time,load"], ["--load", "load:kW"], "is empty"),
    (
        "text only",
        ["time,load", *(f"{time},abc" for time in hours(4))],
        ["--load", "load:kW"],
        "no line has both",
    ),
    ("one row", ["time,load", "2024-01-01T00:00Z,1"], ["--load", "load:kW"], "expected a series"),
    (
        "step of 7 min",
        ["time,load", *(f"{time},1" for time in hours(9, step="7min"))],
        ["--load", "load:kW"],
        "7 min apart",
    ),
    (
        "half hours",
        ["time,load", *(f"{time},1" for time in hours(9, "2024-01-01T00:30"))],
        ["--load", "load:kW"],
        "60 min grid of UTC",
    ),
    (
        "two formats",
        ["time,load", "2024-01-01 00:00,1", "01.01.2024 01:00,2"],
        ["--load", "load:kW", "--tz", "UTC"],
        "one time format",
    ),
    (
        "no zone",
        ["time,load", "2024-01-01 00:00,1", "2024-01-01 01:00,2"],
        ["--load", "load:kW"],
        "--tz",
    ),
    ("no time", ["time,load", "soon,1", "later,2"], ["--load", "load:kW"], "is no time"),
    (
        "unknown zone",
        ["time,load", "2024-01-01 00:00,1"],
        ["--load", "load:kW", "--tz", "Mars"],
        "IANA",
    ),
    ("twice", ["time,load,load", "2024-01-01T00:00Z,1,2"], ["--load", "load:kW"], "comes twice"),
    (
        "same id",
        ["time,a,b", *(f"{time},1,2" for time in hours(4))],
        ["--load", "a:kW:x", "--load", "b:kW:x"],
        "comes twice",
    ),
    (
        "decimal commas without quotes",
        ["time,load", *(f"{time},1,5" for time in hours(4))],
        ["--load", "load:kW"],
        "line 2: 3 cells",
    ),
    (
        "never on",
        ["time,load", *(f"{time},0" for time in hours(4))],
        ["--load", "load:kW"],
        "no possible value",
    ),
)


@pytest.mark.parametrize(
    ("name", "lines", "arguments", "expected"), BAD, ids=[item[0] for item in BAD]
)
def test_bad_files_end_in_one_line_and_write_nothing(
    tmp_path, run_import, name, lines, arguments, expected
):
    code, _, errors = run_import(write(tmp_path, lines), "--time-column", "time", *arguments)
    assert code in (1, 2) and len(errors) == 1 and expected in errors[0], errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wanted", "code"),
    [("lode:kW", 1), ("load:kilowatt", 2), ("load", 2), ("lode", 2), ("load:kW:a:-5", 2)],
)
def test_a_wrong_argument_and_a_missing_column_differ_in_exit_code(
    tmp_path, run_import, wanted, code
):
    path = write(tmp_path, ["time,load", "2024-01-01T00:00Z,1"])
    assert run_import(path, "--time-column", "time", "--load", wanted)[0] == code


def test_no_file_and_binary_files(tmp_path, run_import):
    code, _, errors = run_import(
        tmp_path / "none.csv", "--time-column", "time", "--load", "load:kW"
    )
    assert code == 1 and "No such file" in errors[0]
    (tmp_path / "x.csv").write_bytes(bytes(range(256)) * 20)
    code, _, errors = run_import(tmp_path / "x.csv", "--time-column", "time", "--load", "load:kW")
    assert code == 1 and len(errors) == 1


@pytest.mark.parametrize(
    ("kind", "name", "unit", "wrong"),
    [
        *(
            ("market", name, "EUR/MWh", "ct/kWh")
            for name in ("price_ct_kwh", "p_kwh", "c/kWh", "Cent pro kWh", "öre/kWh", "ct kWh")
        ),
        ("market", "price_eur_kwh", "EUR/MWh", "EUR/kWh"),
        ("market", "price_eur_mwh", "ct/kWh", "EUR/MWh"),
        ("market", "price_per_kwh", "EUR/MWh", "a price of a kWh"),
        *(
            ("load", name, unit, "no power")
            for name, unit in (
                ("load_kVA", "kW"),
                ("Blindarbeit kvarh", "kWh"),
                ("Reactive Energy", "kWh"),
                ("Strom (A)", "kW"),
                ("Verbrauch (m³)", "kWh"),
            )
        ),
    ],
)
def test_a_name_that_says_another_quantity_is_refused(kind, name, unit, wrong):
    column = parse_column(kind, f"{name}:{unit}:x", [name])
    with pytest.raises(ColumnError, match=re.escape(wrong)):
        check_unit(column, name, "its name")
