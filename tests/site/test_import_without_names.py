"""Files without names of columns, and lines whose time is not understood."""

import pandas as pd
import pytest

import sources


@pytest.fixture
def bring(tmp_path, capsys):
    """Function that imports a text; returns exit code, values by time, and the last line told."""

    def run(text, *words):
        (tmp_path / "a.csv").write_text(text)
        out = tmp_path / "out"
        code = sources.main(["import", str(tmp_path / "a.csv"), *words, "--output", str(out)])
        told = capsys.readouterr()
        tables = [path for path in out.glob("*.csv") if path.stem in ("load", "market")]
        if not tables:
            return code, None, told.err.strip().splitlines()[-1]
        found = pd.read_csv(tables[0], parse_dates=["time"]).set_index("time").iloc[:, -1]
        return code, found, told.out

    return run


TIMES = pd.date_range("2025-06-01", periods=96, freq="15min")


def test_columns_without_names_have_numbers(bring):
    text = "\n".join(f"{time:%Y-%m-%d %H:%M},{number}" for number, time in enumerate(TIMES))
    code, found, _ = bring(text, "--tz", "UTC", "--load", "2:kW:mill")
    assert code == 0
    # the third line has a cell 2, and is no line of names
    assert found.tolist() == list(range(96))


def test_names_that_a_file_does_not_have_are_asked_for_by_number(bring):
    text = "\n".join(f"{time:%Y-%m-%d %H:%M},{number}" for number, time in enumerate(TIMES))
    code, found, told = bring(text, "--tz", "UTC", "--load", "kw:kW:mill")
    assert (code, found) == (1, None)
    assert "--load 2:kW:mill" in told


def test_year_month_day_and_hour_without_names(bring):
    # as the Iberian market operator gives a day: hours 1 to 24, then a star
    lines = [f"2025;06;01;{hour};{50 + hour}.1;{40 + hour}.2;" for hour in range(1, 25)]
    text = "\n".join(["MARGINALPDBC;", *lines, "*", ""])
    words = ["--tz", "Europe/Madrid", "--time-column", "1,2,3,4", "--price", "6:EUR/MWh:es"]
    code, found, _ = bring(text, *words)
    assert code == 0
    # hour 1 is midnight to one, 22:00Z of the day before
    assert found.index[0] == pd.Timestamp("2025-05-31T22:00Z")
    assert found.tolist() == [round(40.2 + hour, 1) for hour in range(1, 25)]


@pytest.mark.parametrize("place", ["before", "after"])
def test_data_whose_time_is_not_understood_is_no_note(bring, place):
    good = [f"{day:%Y-%m-%d} {hour:02}:00,{hour}" for day in pd.date_range("2025-06-02", periods=20)
            for hour in range(24)]  # fmt: skip
    odd = [f"2025-06-01 {hour}h,{hour}" for hour in range(24)]
    lines = odd + good if place == "before" else good + odd
    code, found, told = bring("\n".join(["time,kw", *lines]), "--tz", "UTC", "--load", "kw:kW:m")
    assert (code, found) == (1, None)
    assert "is no time" in told
    assert "--time-format" in told


def test_a_few_totals_below_the_data_are_notes(bring):
    lines = [f"{time:%Y-%m-%d %H:%M},{number % 7}" for number, time in enumerate(TIMES)]
    totals = ["Sum of 96,285", "Mean,3", "Q1 least,0", "Q4 most,6"]
    words = ["--tz", "UTC", "--load", "kw:kW:m"]
    code, found, _ = bring("\n".join(["time,kw", *lines, *totals]), *words)
    assert code == 0
    assert len(found) == 96
