"""generation.py as a whole.

The look of a year, reproducible and independent series, calendar, files, bad input.
"""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import generation
from sources import read_sources, write_sources
from vpp.physics import plants
from vpp.physics.profiles import local_profiles, year_profiles
from vpp.physics.sky import clear_sky, sun_of
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Generation
from vpp.synthetic import weather

PROJECT = Path(generation.__file__).parent
FILES = ("solar", "wind", "load", "market", "weather", "weather_forecast", "sources")


def settings(**values):
    return dataclasses.replace(
        load_config(PROJECT / "config.ini", {}), generation=Generation(**values)
    )


def make(folder, **values):
    rows = generation.generate_files(settings(**values), folder)
    return {row["source_id"]: row for row in rows}


def series(folder, kind):
    """source_id -> series of a file of one value column."""
    frame = pd.read_csv(folder / f"{kind}.csv")
    times = pd.to_datetime(frame["time"], utc=True)
    return {
        name: pd.Series(part.iloc[:, 2].to_numpy(), times[part.index])
        for name, part in frame.groupby("source_id")
    }


@pytest.fixture(scope="module")
def year():
    """Table rows and folder of a leap year of hours, at Luxembourg."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        yield make(Path(name), start=date(2024, 1, 1), days=366, seed=3), Path(name)


def test_a_year_of_pv(year):
    rows, folder = year
    for source in (
        source for source in read_sources(folder / "sources.csv") if source.kind == "solar"
    ):
        power = series(folder, "solar")[source.source_id]
        dc_kw = source.capacity_kw * source.parameters["dc_ac_ratio"]
        assert 800 < power.sum() / dc_kw < 1200  # kWh per DC kWp of hourly means [kW]
        assert 0.09 < power.mean() / dc_kw < 0.14
        assert power.max() <= source.capacity_kw
        sky = clear_sky(sun_of(power.index, 60), source.latitude, source.longitude)
        assert (power[~sky.day] == 0).all() and (~sky.day).sum() > 4000
    assert rows["solar-1"]["rows"] == 366 * 24


def test_a_year_of_wind(year):
    rows, folder = year
    for name in ("wind-1", "wind-2"):
        assert 0.20 < rows[name]["capacity_factor"] < 0.40
        assert rows[name]["corr_next_hour"] > 0.9
    power = series(folder, "wind")
    sun = series(folder, "solar")["solar-1"].resample("D").mean()
    assert -0.6 < sun.corr(power["wind-1"].resample("D").mean()) < -0.05


def test_a_year_of_load_has_weekends_evenings_and_holidays(year):
    _, folder = year
    load = series(folder, "load")["load-1"].tz_convert("Europe/Brussels")
    weekday = load[load.index.dayofweek < 5]
    assert load[load.index.dayofweek >= 5].mean() < 0.92 * weekday.mean()
    by_hour = weekday.groupby(weekday.index.hour).mean()
    assert by_hour[19] > 1.3 * by_hour[3]
    winter = (
        weekday[weekday.index.month.isin([1, 2, 11, 12])]
        .groupby(weekday[weekday.index.month.isin([1, 2, 11, 12])].index.hour)
        .mean()
    )
    assert winter[18] > winter[15] and winter[18] > winter[22]  # the evening peak
    labour_day = load[load.index.date == date(2024, 5, 1)]  # a Wednesday
    other = load[[day in (date(2024, 4, 24), date(2024, 5, 15)) for day in load.index.date]]
    assert labour_day.mean() < 0.95 * other.mean()
    assert load.max() <= 3000


def test_a_year_of_prices(year):
    rows, folder = year
    assert rows["market-1"]["corr_residual_load"] > 0.5
    assert 0.01 < rows["market-1"]["negative"] < 0.08
    price = series(folder, "market")["market-1"]
    width = price.quantile(0.95) - price.quantile(0.05)
    assert 144 / 1.5 < width < 144 * 1.5  # DE-LU 2024: 144 EUR/MWh
    assert price.max() > 300  # scarcity
    published = pd.Timestamp(
        "2024-12-31T23:00Z"
    )  # 2025-01-01 00:00 in Brussels; data end 01:00 there, prices to the day's end
    assert price.index[-1] == published + pd.Timedelta(hours=23)


def test_prices_spread_as_the_real_ones(year, real_data):
    frame = pd.read_csv(real_data / "lu_2024_15min_utc.csv")
    real = frame["price_da_eur_mwh"].quantile([0.05, 0.95])
    price = series(year[1], "market")["market-1"].quantile([0.05, 0.95])
    ratio = (price[0.95] - price[0.05]) / (real[0.95] - real[0.05])
    assert 1 / 1.5 < ratio < 1.5


@pytest.fixture(scope="module")
def forecasts(year):
    frame = pd.read_csv(year[1] / "weather_forecast.csv")
    for name in ("issue_time", "valid_time"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    actual = (
        pd.read_csv(year[1] / "weather.csv")
        .assign(time=lambda x: pd.to_datetime(x["time"], utc=True))
        .set_index("time")
    )
    frame = frame[frame["valid_time"].isin(actual.index)]
    frame["lead_h"] = (frame["valid_time"] - frame["issue_time"]) // pd.Timedelta(hours=1)
    for name in ("ghi", "temp_air", "wind_speed"):
        frame[f"{name}_error"] = (
            frame[name].to_numpy() - actual.loc[frame["valid_time"], name].to_numpy()
        )
    frame["day"] = actual.loc[frame["valid_time"], "ghi"].to_numpy() > 0
    return frame, actual


def test_forecast_errors_grow_with_lead_time(forecasts):
    frame, actual = forecasts
    squares = frame.groupby("lead_h")[["wind_speed_error", "temp_air_error"]].agg(
        lambda x: np.sqrt((x**2).mean())
    )
    assert 1.3 < squares.loc[24, "wind_speed_error"] < 2.0
    assert 1.2 < squares.loc[24, "temp_air_error"] < 2.0
    assert 1.4 < squares.loc[71, "wind_speed_error"] / squares.loc[6, "wind_speed_error"] < 2.5
    assert 1.4 < squares.loc[71, "temp_air_error"] / squares.loc[6, "temp_air_error"] < 2.5
    day = frame[frame["day"]]
    ghi = day.groupby("lead_h")["ghi_error"].agg(lambda x: np.sqrt((x**2).mean()))
    assert 0.2 < ghi[24] / actual["ghi"][actual["ghi"] > 0].mean() < 0.4
    assert 1.1 < ghi[69:71].mean() / ghi[5:7].mean() < 1.8


def test_forecasts_are_unbiased_and_their_errors_persist(forecasts):
    frame, _ = forecasts
    for name in ("wind_speed_error", "temp_air_error", "ghi_error"):
        part = frame if name != "ghi_error" else frame[frame["day"]]
        daily = (
            part[part["lead_h"].between(12, 35)].groupby(part["issue_time"].dt.date)[name].mean()
        )
        # daily means are still correlated over some days: blocks of ten days are not
        blocks = daily.groupby(np.arange(len(daily)) // 10).mean()
        assert abs(blocks.mean()) < 3 * blocks.std() / np.sqrt(len(blocks)), name
    wide = frame.pivot(index="issue_time", columns="lead_h", values="temp_air_error")
    assert wide[30].corr(wide[31]) > 0.8 > wide[30].corr(wide[60])


def test_forecasts_are_issued_every_six_hours_until_the_data_end(tmp_path):
    make(tmp_path, days=2, step_min=30)
    frame = pd.read_csv(tmp_path / "weather_forecast.csv")
    issues = pd.to_datetime(frame["issue_time"].unique())
    assert len(issues) == 9 and issues[-1] == pd.Timestamp("2025-01-03T00:00Z")  # 0, 6, … 48 h
    first = frame[frame["issue_time"] == "2025-01-01T00:00:00Z"]
    assert len(first) == 144 and first["valid_time"].iloc[[0, -1]].tolist() == [
        "2025-01-01T00:00:00Z",
        "2025-01-03T23:30:00Z",
    ]


def test_same_seed_same_bytes_other_seed_other_series(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        make(tmp_path / name, days=8, seed=seed)
    for file in FILES:
        assert (tmp_path / "a" / f"{file}.csv").read_bytes() == (
            tmp_path / "b" / f"{file}.csv"
        ).read_bytes()
        if file != "sources":
            assert (tmp_path / "a" / f"{file}.csv").read_bytes() != (
                tmp_path / "c" / f"{file}.csv"
            ).read_bytes()


def test_adding_plants_and_sites_changes_no_other_series(tmp_path):
    make(tmp_path / "few", days=6, sites=1, solar=1, wind=1)
    make(tmp_path / "many", days=6, sites=3, solar=2, wind=3, loads=2)
    for kind in ("solar", "wind", "load", "market"):
        few, many = series(tmp_path / "few", kind), series(tmp_path / "many", kind)
        assert set(few) <= set(many)
        for name in few:
            pd.testing.assert_series_equal(few[name], many[name])
    for kind in ("weather", "weather_forecast"):
        few, many = (tmp_path / name / f"{kind}.csv" for name in ("few", "many"))
        assert many.read_text().startswith(few.read_text())


def test_near_sites_have_similar_weather():
    fields = weather.make_fields(1, 24 * 400)
    here = fields["wind"].at(49.6, 6.1)
    near, far = fields["wind"].at(49.6, 7.1), fields["wind"].at(40.0, -3.7)  # 72 km, 1,300 km
    assert np.corrcoef(here, near)[0, 1] > 0.95 > 0.5 > abs(np.corrcoef(here, far)[0, 1])


@pytest.mark.parametrize("step_min", [5, 15, 30, 60])
def test_every_step_and_the_days_the_clock_changes(tmp_path, step_min):
    make(
        tmp_path, start=date(2024, 10, 26), days=2, step_min=step_min
    )  # 27 October 2024 has 25 hours
    for kind in ("solar", "wind", "load"):
        for values in series(tmp_path, kind).values():
            assert len(values) == 2 * 24 * 60 // step_min
            assert (
                values.index.to_series().diff().dropna() == pd.Timedelta(minutes=step_min)
            ).all()
    price = series(tmp_path, "market")["market-1"]
    assert price.index[-1] + pd.Timedelta(minutes=step_min) == pd.Timestamp("2024-10-28T23:00Z")
    if step_min == 5:  # the market trades quarter-hours
        assert (price.groupby(price.index.floor("15min")).nunique() == 1).all()


def test_the_load_follows_the_local_clock_across_a_clock_change():
    times = pd.date_range("2024-03-25", "2024-04-08", freq="h", tz="UTC", inclusive="left")
    profiles = local_profiles(times, 60, "Europe/Brussels", "LU")["industry"]
    local = profiles.tz_convert("Europe/Brussels")
    # shifts begin at 6 local time on Thursdays before and after 31 March: 05:00 UTC, then 04:00 UTC
    for day in ("2024-03-28", "2024-04-04"):
        morning = local[day]
        assert morning[f"{day} 08:00"] > 1.2 * morning[f"{day} 03:00"]
    assert profiles["2024-03-28T05:00Z"] > 1.1 * profiles["2024-03-28T04:00Z"]
    assert profiles["2024-04-04T04:00Z"] > 1.1 * profiles["2024-04-04T03:00Z"]
    assert local["2024-04-01"].max() < 0.9 * local["2024-04-02"].max()  # Easter Monday


def test_leap_day_and_year_boundary(tmp_path):
    make(tmp_path / "leap", start=date(2024, 2, 28), days=3)
    assert "2024-02-29T12:00:00Z" in (tmp_path / "leap" / "load.csv").read_text()
    make(tmp_path / "turn", start=date(2024, 12, 30), days=4)
    for kind in ("solar", "wind", "load"):
        for values in series(tmp_path / "turn", kind).values():
            assert len(values) == 96 and values.notna().all()
    load = series(tmp_path / "turn", "load")["load-1"]
    assert load["2025-01-01"].mean() < load["2024-12-30"].mean()  # a holiday


def test_written_numbers_are_plain_and_times_are_utc(tmp_path):
    make(tmp_path, days=1)
    assert (
        (tmp_path / "solar.csv")
        .read_text()
        .startswith("time,source_id,power_kw\n2025-01-01T00:00:00Z,solar-1,0\n")
    )
    for kind in FILES[:-1]:
        text = (tmp_path / f"{kind}.csv").read_text()
        assert "nan" not in text and "e-" not in text and "-0\n" not in text and '"' not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{name}.csv" for name in FILES
    )


def test_added_sources_are_kept_and_imported_data_are_not_overwritten(tmp_path):
    make(tmp_path, days=1)
    sources = read_sources(tmp_path / "sources.csv")
    roof = dataclasses.replace(
        sources[2], source_id="roof", parameters={"origin": "added", "tilt": 10}
    )
    write_sources(tmp_path / "sources.csv", [*sources, roof])
    before = series(tmp_path, "solar")
    make(tmp_path, days=1)
    after = series(tmp_path, "solar")
    assert set(after) == set(before) | {"roof"}
    pd.testing.assert_series_equal(before["solar-1"], after["solar-1"])
    real = dataclasses.replace(roof, source_id="real", parameters={"origin": "imported"})
    write_sources(tmp_path / "sources.csv", [*sources, real])
    with pytest.raises(generation.GenerationError, match="imported data \\(real\\)"):
        make(tmp_path, days=1)


BAD = (
    (["--days", "-3"], 2, "--days -3: expected 1 or more"),
    (["--step-min", "7"], 2, "--step-min 7: expected one of 5, 15, 30, 60"),
    (["--start", "tomorrow"], 2, "--start tomorrow: expected a date"),
    (["--start", "1500-01-01"], 2, "expected days of the years"),
    (["--solar", "-1"], 2, "--solar -1: expected 0 or more"),
    (["--plot", "week.pdf"], 2, "expected a file that ends in .html or .png"),
)


@pytest.mark.parametrize(("arguments", "code", "message"), BAD)
def test_bad_arguments_end_in_one_line(tmp_path, capsys, arguments, code, message):
    assert generation.main(["--output", str(tmp_path / "out"), *arguments]) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
    assert not (tmp_path / "out").exists()


def test_unknown_turbine_and_country(tmp_path, capsys):
    for section, code, expected in (
        ("[generation]\nwind_turbine = E-82/2301", 2, "E-82/2300, "),
        ("[site]\nholidays_country = XX", 2, "a country's code such as LU"),
    ):
        (tmp_path / "config.ini").write_text(section)
        assert generation.main(["--config", str(tmp_path / "config.ini"), "--days", "1"]) == code
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and expected in lines[0]
        assert not list((tmp_path / "data").glob("*"))
    with pytest.raises(ConfigError, match="E-82/2300"):
        plants.turbine_curve("E-82/230")


def test_without_a_country_no_day_is_a_holiday():
    new_year = year_profiles(2025, "")[: 24 * 4]  # a Wednesday
    assert np.allclose(new_year, year_profiles(2025, "")[7 * 24 * 4 :][: 24 * 4], rtol=0.1)
    assert not np.allclose(new_year, year_profiles(2025, "LU")[: 24 * 4], rtol=0.1)


def test_unwritable_folder(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert generation.main(["--output", str(tmp_path / "file"), "--days", "1"]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "x"


def test_a_full_disk_changes_nothing(tmp_path):
    make(tmp_path, days=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, "
        "(40_000, "
        "40_000)); import generation; sys.exit(generation.main())"
    )
    command = [sys.executable, "-c", limited, "--output", str(tmp_path), "--days", "20"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=120,
        env=os.environ | {"MPLCONFIGDIR": str(tmp_path.parent)},
    )
    assert (
        done.returncode == 1
        and "File too large" in done.stderr
        and len(done.stderr.strip().splitlines()) == 1
    ), done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_interrupt_leaves_the_folder_as_it_was(tmp_path):
    make(tmp_path, days=1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    command = [
        sys.executable,
        str(PROJECT / "generation.py"),
        "--output",
        str(tmp_path),
        "--days",
        "300",
        "--sites",
        "200",
    ]
    # a shell's background jobs ignore SIGINT, and so would all that they start
    listening = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=listening)
    deadline = time.monotonic() + 60
    while (
        not list(tmp_path.glob(".writing-*/solar.csv"))
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in errors
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("ending", ["html", "png"])
def test_plot_shows_a_week(tmp_path, ending):
    picture = tmp_path / f"week.{ending}"
    generation.generate_files(settings(days=9), tmp_path / "data", picture)
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG") if ending == "png" else b"weather-1 forecast" in content
    assert len(content) > 20_000


def test_json_and_the_command_line(tmp_path, capsys):
    arguments = (
        "--output",
        tmp_path,
        "--days",
        2,
        "--sites",
        1,
        "--solar",
        1,
        "--wind",
        0,
        "--seed",
        9,
        "--json",
    )
    assert generation.main(list(map(str, arguments))) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["source_id"] for row in rows] == ["market-1", "weather-1", "solar-1", "load-1"]
