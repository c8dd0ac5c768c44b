"""The cases of ../shared/cases/files: read right, or refused with the option that helps."""

import json
import os
import shlex
from pathlib import Path

import pandas as pd
import pytest
from export_shapes import imported

import sources

FILES = Path(os.environ.get("VPP_TEST_DATA", "../shared/data")).parent / "cases" / "files"
INDEX = FILES / "index.json"
CASES = json.loads(INDEX.read_text())["cases"] if INDEX.exists() else []
# what the refusal of the plain command asks for, as its line spells it
ASKED = {
    "aemo_tradingprice.csv": '--where "REGIONID=NSW1"',
    "register_kwh.csv": "--cumulative",
    "us_one_day_month_first.csv": "--time-format '%m/%d/%Y %H:%M'",
}
REFUSED = {  # parts of the line: what is wrong, and what helps
    "nsrdb_psm.csv": ["GHI", "no power", "--unit-as-said"],
    "price_in_ct_taken_for_eur.csv": ["66 of 240 values (28%)", "say --price price:EUR/MWh"],
    "own_data_file_two_sources.csv": ['--where "source_id=load-1"', "load-2"],
}
TOLD = {"pv_in_wrong_zone.csv": ["while the sun is down", "check --tz"]}


def run(case, folder, capsys, *more):
    (folder / "config.ini").write_text("")
    words = [FILES / word if word == case["file"] else word for word in case["command"][2:]]
    words = [folder / "out" if word == "DIR" else word for word in words]
    code = sources.main([str(w) for w in ("--config", folder / "config.ini", *words, *more)])
    return code, capsys.readouterr()


@pytest.mark.skipif(not CASES, reason=f"no cases in {FILES}")
@pytest.mark.parametrize("case", CASES, ids=[case["file"] for case in CASES])
def test_a_case_is_read_right_or_refused(tmp_path, capsys, case):
    code, streams = run(case, tmp_path, capsys)
    more = ASKED.get(case["file"])
    if more:
        assert code == 1 and more in streams.err and not (tmp_path / "out").exists()
        code, streams = run(case, tmp_path, capsys, *shlex.split(more))
    if case["file"] in REFUSED:
        assert code in (1, 2) and not (tmp_path / "out").exists()
        assert len(streams.err.strip().splitlines()) == 1
        assert not [word for word in REFUSED[case["file"]] if word not in streams.err]
        return
    assert code == 0, streams.err
    assert not [word for word in TOLD.get(case["file"], []) if word not in streams.out]
    found = imported(tmp_path / "out")
    for name, want in case["expect"].items():
        times = pd.date_range(
            want["start"], periods=len(want["values"]), freq=f"{want['step_min']}min"
        )
        expected = pd.Series(want["values"], times, dtype=float).dropna()
        assert found[name].index.equals(
            pd.DatetimeIndex(expected.index.astype(found[name].index.dtype))
        )
        # readings of a register are rounded to 1 Wh, which is 8 W over two quarters of an hour
        near = 9e-3 if case["file"] == "register_kwh.csv" else 2e-3
        assert found[name].to_numpy() == pytest.approx(expected.to_numpy(), rel=5e-4, abs=near)


@pytest.mark.parametrize(
    ("file", "words", "rows", "step"),
    [
        ("lu_2024_15min_utc.csv", ["--load", "load_mw:MW:l"], 35_136, 15),
        (
            "nl_day_ahead_quarters_wide.csv",
            ["--tz", "Europe/Amsterdam", "--price", "*:EUR/MWh:nl"],
            326 * 96 - 8,  # the hours that the clock skips, and that come twice
            15,
        ),
        (
            "be_day_ahead_imbalance_15min_utc.csv",
            [
                "--price",
                "day_ahead_eur_per_mwh:EUR/MWh",
                "--price",
                "imbalance_eur_per_mwh:EUR/MWh",
            ],
            38_870,
            15,
        ),
    ],
)
def test_real_files_come_in_by_one_command(real_data, tmp_path, capsys, file, words, rows, step):
    (tmp_path / "config.ini").write_text("")
    argv = ["--config", tmp_path / "config.ini", "import", real_data / file, *words, "--json"]
    assert sources.main([str(word) for word in [*argv, "--output", tmp_path / "out"]]) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["rows"], first["step_min"]) == (rows, step)
