"""A pandas series becomes the data of a source, or is refused in one line; and the example."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vpp.forecast.frames import source_data
from vpp.forecast.known import known_at
from vpp.site.sources import SourceError

ROOT = Path(__file__).resolve().parents[2]


def hourly(hours=48, zone="UTC", step_min=60) -> pd.Series:
    times = pd.date_range("2025-01-01", periods=hours, freq=f"{step_min}min", tz=zone)
    return pd.Series(np.arange(hours, dtype=float), times)


@pytest.mark.parametrize("step_min", [5, 15, 30, 60])
def test_the_step_is_that_of_the_times(step_min):
    data = source_data(hourly(step_min=step_min), "load")
    assert (data.source.step_min, data.source.capacity_kw) == (step_min, 47.0)
    assert data.grid.to_list() == list(range(48))


def test_times_of_another_zone_are_taken_in_utc_and_holes_are_missing_values():
    series = hourly(zone="Europe/Brussels").drop(pd.Timestamp("2025-01-01T02:00+01:00"))
    data = source_data(series.astype("float32"), "market")
    assert data.source.capacity_kw is None
    assert data.series.index[0] == pd.Timestamp("2024-12-31T23:00Z")
    assert np.flatnonzero(data.grid.isna()).tolist() == [2]
    known = known_at(data, pd.Timestamp("2025-01-01T11:00Z"))  # prices until midnight
    assert known.series.index[-1] == pd.Timestamp("2025-01-01T22:00Z")


def test_covariates_are_known_as_of_any_source():
    times = hourly().index
    forecasts = pd.DataFrame({"issue_time": times[0], "valid_time": times, "wind_speed": 7})
    data = source_data(
        hourly(),
        "wind",
        capacity_kw=50.0,
        weather_forecasts=forecasts,
        others=hourly().to_frame("other"),
        measurement_delay_min=60,
        latitude=49.6,
        longitude=6.1,
    )
    assert (data.source.latitude, data.source.longitude) == (49.6, 6.1)
    known = known_at(data, times[10])
    assert known.series.index[-1] == known.others.index[-1] == times[8]
    assert (known.weather_forecasts["wind_speed"] == 7.0).all()


def changed(index=None, **values) -> pd.Series:
    series = hourly()
    if index is not None:
        series.index = index(series.index)
    for hour, value in values.items():
        series = series.astype(object)
        series.iloc[int(hour.removeprefix("hour"))] = value
    return series


REFUSED = {
    "kind": (changed(), "sun", "kind 'sun': expected one of solar, wind, load, market"),
    "weather": (changed(), "weather", "kind 'weather': expected one of"),
    "capacity": (changed(), "solar", "a solar plant: expected its capacity_kw"),
    "frame": (changed().to_frame(), "load", "expected a pandas Series, found a DataFrame"),
    "naive": (changed(lambda t: t.tz_localize(None)), "load", "index: times without zone"),
    "numbers": (changed().reset_index(drop=True), "load", "expected times, found int64"),
    "empty": (changed()[:0], "load", "expected two times or more, found 0"),
    "missing": (changed() * np.nan, "load", "expected values, found none"),
    "text": (changed(hour3="?"), "load", "expected numbers, found other values"),
    "infinite": (changed(hour3=np.inf), "load", "expected finite numbers"),
    "twice": (
        changed(lambda t: t[[0, 1, 1, *range(3, 48)]]),
        "load",
        "2025-01-01T01:00:00Z comes twice or too late",
    ),
    "order": (changed()[::-1], "load", "2025-01-02T22:00:00Z comes twice or too late"),
    "irregular": (
        changed(lambda t: t + pd.to_timedelta(17 * (np.arange(48) == 5), unit="min")),
        "load",
        "2025-01-01T05:17:00Z and 2025-01-01T06:00:00Z are 43 min apart; expected a step of 5, 15",
    ),
    "off the grid": (
        changed(lambda t: t + pd.to_timedelta(7 * (np.arange(48) > 5), unit="min")),
        "load",
        "2025-01-01T06:07:00Z is not the start of an interval of 60 min",
    ),
    "every two hours": (changed()[::2], "load", "are 120 min apart"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_series_that_cannot_be_used_is_refused_in_one_line(name):
    series, kind, message = REFUSED[name]
    with pytest.raises(SourceError) as refused:
        source_data(series, kind)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_covariates_that_cannot_be_used_are_refused_in_one_line():
    times = hourly().index
    frame = pd.DataFrame({"issue_time": times, "valid_time": times, "ghi": 1.0})
    for wrong, message in (
        (frame.drop(columns="issue_time"), "column issue_time is missing"),
        (frame.assign(valid_time=times.tz_localize(None)), "valid_time: times without zone"),
        (frame.assign(valid_time=frame["valid_time"].where(frame.index > 3)), "found NaT"),
        (frame.assign(ghi="sunny"), "weather_forecasts: expected numbers"),
    ):
        with pytest.raises(SourceError, match=message):
            source_data(hourly(), "load", weather_forecasts=wrong)
    with pytest.raises(SourceError, match="others: index: times without zone"):
        source_data(hourly(), "load", others=hourly(zone=None).to_frame("other"))


def test_the_example_forecasts_scores_and_draws(tmp_path):
    """In a folder of its own, without a database or a configuration file."""
    command = [sys.executable, ROOT / "examples" / "forecast_from_dataframe.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    *_, naive, ridge, last = done.stdout.splitlines()
    error = {line.split()[0]: float(line.split()[2]) for line in (naive, ridge)}
    assert error["hourly_ridge"] < 0.7 * error["seasonal_naive"]
    assert last == "load.png: the forecast and its bands"
    assert [path.name for path in tmp_path.iterdir()] == ["load.png"]
