"""sources.py import.

Units, clocks, formats, what is reported, what is rejected, what is refused.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_import import hours, write

import sources
from sources import SourceError, read_sources
from vpp.runtime.config import load_config
from vpp.runtime.files import DataFileError
from vpp.site import import_checks, import_columns
from vpp.site.csv_import import load_files
from vpp.site.import_columns import check_unit, parse_column
from vpp.site.import_options import Asked

LIMITS = (-1000.0, 10_000.0)
PROJECT = Path(sources.__file__).parent


def load(path, *wanted, zone=None, column="time", limits=LIMITS):
    wanted = wanted or (("load", "load:kW"),)
    asked = Asked(wanted, (column,), zone, why={"zone": "said"})
    return load_files([path], asked, limits).series


@pytest.mark.parametrize(
    ("kind", "name", "unit"),
    [
        ("market", "price_eur_per_mwh", "EUR/MWh"),
        ("market", "group_mwh", "EUR/MWh"),
        ("market", "price_ct_kwh", "ct/kWh"),
        ("load", "Active power [kW]", "kW"),
        ("load", "inactive kW", "kW"),
        ("load", "variance kWh", "kWh"),
    ],
)
def test_a_name_that_says_the_unit_or_none_is_taken(kind, name, unit):
    assert check_unit(parse_column(kind, f"{name}:{unit}:x", [name]), name, "its name") == ""


def test_units_of_power_energy_and_price(tmp_path):
    # 15 min steps: 1 MWh in a quarter-hour is 4 MW
    path = write(
        tmp_path, ["time,a,b,c,d,e", *(f"{time},1,1,2,3,40" for time in hours(8, step="15min"))]
    )
    wanted = (
        ("load", "a:MWh:x"),
        ("solar", "b:W"),
        ("wind", "c:GW"),
        ("market", "d:ct/kWh"),
        ("market", "e:EUR/kWh:f"),
    )
    found = load(path, *wanted, limits=(-1e9, 1e9))
    values = [series.values.iloc[0] for series in found]
    assert values == pytest.approx([4000.0, 0.001, 2e6, 30.0, 40_000.0])


def test_names_ids_and_capacities():
    header = ["time", "power: net", "power", "price"]
    column = import_columns.parse_column("solar", "power: net:kW:roof:250", header)
    assert (column.name, column.unit, column.source_id, column.capacity_kw) == (
        "power: net",
        "kw",
        "roof",
        250.0,
    )
    assert import_columns.parse_column("load", "power: net:MW", header).source_id == "power-net"
    assert import_columns.parse_column("market", "price:EUR/MWh:DE-LU", header).source_id == "DE-LU"
    for kind, text, expected in (
        ("load", "nothing:kW", "no such column"),
        ("load", "power:kilowatt", "with a unit of W, kW"),
        ("load", "power", "with a unit of"),
        ("market", "price:kW", "EUR/MWh"),
        ("market", "price:EUR/MWh:a:5", "has no capacity"),
        ("solar", "power:kW:a:-5", "more than 0 kW"),
        ("solar", "power:kW:a:much", "more than 0 kW"),
        ("solar", "power:kW:a:5:6", "expected solar as"),
    ):
        with pytest.raises(SourceError, match=expected):
            import_columns.parse_column(kind, text, header)


def test_german_file_with_bom_semicolons_decimal_commas_and_thousands_dots(tmp_path):
    lines = ["Datum;Netzlast [MWh];Preis"]
    lines += [f"0{day}.01.2024 {hour:02}:00;1.234,5;-0,5" for day in (1, 2) for hour in range(24)]
    path = write(tmp_path, lines, encoding="utf-8-sig")
    wanted = (("load", "Netzlast [MWh]:MWh:netz"), ("market", "Preis:ct/kWh"))
    netz, price = load(path, *wanted, zone="Europe/Berlin", column="Datum")
    assert netz.values.iloc[0] == 1_234_500.0 and price.values.iloc[0] == -5.0
    assert netz.values.index[0] == pd.Timestamp("2023-12-31T23:00Z") and len(netz.values) == 48
    assert netz.column.source_id == "netz" and price.column.source_id == "Preis"


def local_file(folder, start, end, zone, step="h", change=lambda lines: lines):
    utc = pd.date_range(start, end, freq=step, tz=zone, inclusive="left")
    lines = [f"{time:%Y-%m-%d %H:%M},{number + 1}" for number, time in enumerate(utc)]
    return write(folder, ["time,load", *change(lines)]), utc.tz_convert("UTC")


@pytest.mark.parametrize("step", ["h", "15min"])
@pytest.mark.parametrize(
    ("zone", "day", "count"),
    [
        ("Europe/Berlin", "2024-10-27", 25),
        ("Europe/Berlin", "2024-03-31", 23),
        ("America/New_York", "2024-11-03", 25),
        ("Australia/Sydney", "2024-04-07", 25),
        ("Australia/Lord_Howe", "2024-04-07", 24.5),
    ],
)
def test_days_of_23_and_25_hours(tmp_path, zone, day, count, step):
    if zone == "Australia/Lord_Howe":
        step = "30min"  # its clock changes by half an hour
    start = pd.Timestamp(day)
    path, utc = local_file(tmp_path, start, start + pd.Timedelta(days=1), zone, step)
    (found,) = load(path, zone=zone)
    assert (found.values.index == utc).all() and found.gaps == 0 and not found.rejects
    assert len(utc) == count * (
        pd.Timedelta("1h") / pd.Timedelta(1, "h")
        if step == "h"
        else pd.Timedelta("1h") / pd.Timedelta(step)
    )
    backwards, _ = local_file(
        tmp_path, start, start + pd.Timedelta(days=1), zone, step, lambda lines: lines[::-1]
    )
    (again,) = load(backwards, zone=zone)
    pd.testing.assert_series_equal(
        again.values, found.values
    )  # newest first: the first 02:00 is winter time


def in_periods(tmp_path, zone, start, rows, step_min):
    """A file that counts the periods of local days from 1, and its times."""
    times = pd.date_range(start, periods=rows, freq=f"{step_min}min", tz="UTC")
    local = times.tz_convert(zone)
    numbers = (times - local.normalize().tz_convert("UTC")) // pd.Timedelta(minutes=step_min) + 1
    cells = zip(local.strftime("%Y-%m-%d"), numbers, range(rows), strict=True)
    lines = ["date,period,load", *(f"{day},{number},{value}" for day, number, value in cells)]
    return write(tmp_path, lines), times


def test_periods_of_a_day_on_which_the_file_ends_are_no_hours_of_the_clock(tmp_path):
    """24 of the 25 hours of a day: it cannot be told whether the numbers count on, so it is out."""
    path, times = in_periods(tmp_path, "Europe/Berlin", "2025-10-25T20:00", 26, 60)
    (found,) = load(path, column="date", zone="Europe/Berlin")
    assert (found.values.index == times[:2]).all()


@pytest.mark.parametrize(
    ("zone", "start", "rows", "step_min", "is_told"),
    [
        ("Asia/Kolkata", "2025-10-26T00:30", 26, 5, False),  # 73 to 98: no half-hours, no quarters
        ("Australia/Sydney", "2025-02-03T18:30", 26, 5, False),  # 67 to 92: no day of 23 hours
        ("Europe/Berlin", "2025-02-03T23:00", 92, 5, False),  # 1 to 92: nor that
        ("Europe/Berlin", "2025-02-03T08:00", 186, 5, True),  # to the end of a day, and on
        ("Europe/Berlin", "2025-02-03T23:00", 96, 15, True),  # one day
        ("Europe/Berlin", "2025-03-29T23:00", 92, 15, True),  # one of 23 hours
        ("Europe/Berlin", "2025-10-25T22:00", 300, 5, True),  # one of 25
    ],
)
def test_periods_tell_the_step_where_a_day_ends_with_them(
    tmp_path, zone, start, rows, step_min, is_told
):
    path, times = in_periods(tmp_path, zone, start, rows, step_min)
    if is_told:
        (found,) = load(path, column="date", zone=zone)
        assert found.step_min == step_min and (found.values.index == times).all()
    else:
        with pytest.raises(DataFileError, match=r"column period: its (highest|numbers)"):
            load(path, column="date", zone=zone)


def test_hours_that_cannot_be_told_or_do_not_exist_are_left_out_one_by_one(tmp_path):
    def without_one(lines):
        return [*lines[:26], *lines[27:]]  # 02:00 of the longer day comes once

    path, utc = local_file(tmp_path, "2024-10-26", "2024-10-29", "Europe/Berlin", "h", without_one)
    (found,) = load(path, zone="Europe/Berlin")
    assert found.values.index.equals(utc.delete([26, 27])) and found.gaps == 2
    ((line, _, time, _, reason),) = found.rejects
    assert (line, time) == (28, "2024-10-27T02:00") and "twice on the clock" in reason
    path = write(tmp_path, ["time,load", *(f"2024-03-31 {hour:02}:00,5" for hour in range(24))])
    (found,) = load(path, zone="Europe/Berlin")
    assert len(found.values) == 23 and found.gaps == 0
    assert "does not exist in Europe/Berlin" in found.rejects[0][4]
    assert len(load(path, zone="Etc/GMT-1")[0].values) == 24


def test_gaps_duplicates_flat_lines_and_steps_are_reported(tmp_path):
    times = hours(96)
    rows = [
        f"{time},{10 + number % 7},{30 if 40 <= number < 50 else number % 5}"
        for number, time in enumerate(times)
    ]
    rows[60:63] = []  # a gap of three hours
    rows.insert(20, rows[19].replace(",", ",9", 1))  # the same time again
    path = write(tmp_path, ["time,load,wind", *rows])
    first, wind = load(path, ("load", "load:kW"), ("wind", "wind:kW"))
    assert (first.gaps, first.duplicates, first.step_min) == (3, 1, 60)
    assert first.rejects[0][0] == 22 and "that of line 21" in first.rejects[0][4]
    assert wind.flat_lines == [(pd.Timestamp("2024-01-02T16:00Z"), 10.0, 30.0)]
    assert not first.flat_lines


def test_steps_may_differ_by_column(tmp_path):
    rows = [
        f"{time},{number % 9},{'50' if number % 4 == 0 else ''}"
        for number, time in enumerate(hours(96, step="15min"))
    ]
    found, price = load(
        write(tmp_path, ["time,load,price", *rows]),
        ("load", "load:kW"),
        ("market", "price:EUR/MWh"),
    )
    assert (found.step_min, price.step_min, len(price.values), price.gaps) == (15, 60, 24, 0)


def test_the_luxembourg_year(real_data, tmp_path, run_import):
    path = real_data / "lu_2024_15min_utc.csv"
    wanted = (
        "--load",
        "load_mw:MW:load-lu",
        "--wind",
        "wind_mw:MW:wind-lu",
        "--solar",
        "pv_mw:MW:solar-lu",
        "--price",
        "price_da_eur_mwh:EUR/MWh",
    )
    code, out, _ = run_import(path, "--time-column", "time_utc", "--tz", "UTC", *wanted)
    assert code == 0
    assert "outlier kept: load-lu 2024-05-14T23:45Z 69,000 kW" in out
    source = pd.read_csv(path)
    for name, column in (("load", "load_mw"), ("wind", "wind_mw"), ("solar", "pv_mw")):
        frame = pd.read_csv(tmp_path / "out" / f"{name}.csv")
        assert len(frame) == 35_136 and frame["time"].iloc[0] == "2023-12-31T23:00:00Z"
        assert (frame["power_kw"] == source[column] * 1000).all()
    assert (
        pd.read_csv(tmp_path / "out" / "market.csv")["price_eur_per_mwh"]
        == source["price_da_eur_mwh"]
    ).all()
    found = {item.source_id: item for item in read_sources(tmp_path / "out" / "sources.csv")}
    assert found["load-lu"].capacity_kw == 814_000 and found["load-lu"].step_min == 15
    assert found["price_da_eur_mwh"].capacity_kw is None
    assert pd.read_csv(tmp_path / "out" / "rejects.csv").empty
    files = {item.name: item.read_bytes() for item in (tmp_path / "out").iterdir()}
    assert (
        run_import(path, "--time-column", "time_utc", "--tz", "UTC", *wanted)[0] == 0
    )  # again: the same files
    assert {item.name: item.read_bytes() for item in (tmp_path / "out").iterdir()} == files


def test_the_luxembourg_example_fits_its_data():
    config = load_config(PROJECT / "examples" / "luxembourg.ini", {})
    assert config.grid.import_limit_kw > 814_000  # the highest load
    assert config.grid.export_limit_kw > 197_000 + 266_000  # wind and sun at their highest
    assert config.paths.data_dir.resolve() == PROJECT / "data" / "luxembourg"
    (battery,) = config.batteries
    assert (battery.charge_kw, battery.capacity_kwh) == (50_000, 100_000)


def test_outliers_are_found_on_any_scale():
    rng = np.random.default_rng(1)
    index = pd.date_range("2024-01-01", periods=2000, freq="15min", tz="UTC")
    values = pd.Series(
        500 + 100 * np.sin(np.arange(2000) / 96 * 2 * np.pi) + rng.normal(0, 3, 2000), index
    )
    values.iloc[777] = 69
    assert [item[0] for item in import_checks.outliers(values)] == [index[777]]
    assert [item[0] for item in import_checks.outliers(values * 1000)] == [index[777]]
    step = values.copy()
    step.iloc[1000:] += 300  # a plant switched on is no outlier
    assert [item[0] for item in import_checks.outliers(step)] == [index[777]]


def test_a_second_import_adds_to_the_folder_and_replaces_its_own(tmp_path, run_import):
    first = write(
        tmp_path,
        ["time,a", *(f"{time},{number % 9}" for number, time in enumerate(hours(24)))],
        "a.csv",
    )
    second = write(
        tmp_path,
        ["time,b", *(f"{time},{number % 7}.125" for number, time in enumerate(hours(30)))],
        "b.csv",
    )
    assert run_import(first, "--time-column", "time", "--load", "a:kW")[0] == 0
    assert run_import(second, "--time-column", "time", "--load", "b:kW")[0] == 0
    assert run_import(first, "--time-column", "time", "--load", "a:kW")[0] == 0
    frame = pd.read_csv(tmp_path / "out" / "load.csv")
    assert frame["source_id"].value_counts().to_dict() == {"a": 24, "b": 30}
    assert [source.source_id for source in read_sources(tmp_path / "out" / "sources.csv")] == [
        "b",
        "a",
    ]


# nines alone, as 999.99, stand for no value where others are small
PRICES = st.decimals(-500, 5000, places=2, allow_nan=False).filter(
    lambda price: set(str(abs(price)).rstrip("0").replace(".", "")) != {"9"}
)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(PRICES, min_size=8, max_size=60),
    comma=st.booleans(),
    step=st.sampled_from((5, 15, 30, 60)),
    zone=st.sampled_from(("UTC", "Europe/Brussels", "America/New_York")),
    start=st.sampled_from(
        ("2024-02-28T22:00", "2024-03-31T00:00", "2024-06-01T05:00", "2024-12-31T20:00")
    ),
)
def test_prices_come_out_as_they_were_written(tmp_path_factory, values, comma, step, zone, start):
    times = pd.date_range(start, periods=len(values), freq=f"{step}min", tz="UTC")
    mark = ";" if comma else ","
    cells = [str(value).replace(".", ",") if comma else str(value) for value in values]
    local = times.tz_convert(zone)
    # from one step after midnight to midnight is asked back, as stamps may be ends
    clock = local.hour * 60 + local.minute
    assume((clock[0], clock[-1]) != (step, 0))
    lines = [
        f"time{mark}price",
        *(f"{time:%d.%m.%Y %H:%M}{mark}{cell}" for time, cell in zip(local, cells, strict=True)),
    ]
    path = write(tmp_path_factory.mktemp("import"), lines)
    (found,) = load(path, ("market", "price:EUR/MWh"), zone=zone)
    assert found.step_min == step and (found.values.index == times).all()
    assert found.values.to_numpy() == pytest.approx([float(value) for value in values])
