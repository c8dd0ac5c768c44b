"""Where the sun stands, and when a solar plant is dark."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_series import at, source

from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import COLUMNS
from vpp.forecast.sun import MARGIN, dark, most_power, sin_elevation


def test_night_comes_from_the_sun_or_from_history():
    index = pd.date_range("2025-05-01", periods=24 * 40, freq="h", tz="UTC")
    power = (
        np.clip(np.sin((index.hour - 4) / 16 * np.pi), 0, None)
        * ((index.hour >= 4) & (index.hour < 20))
        * 100.0
    )
    series = pd.Series(power, index)
    times = pd.date_range("2025-06-08", periods=24, freq="h", tz="UTC")
    # Luxembourg, 8 June: sunrise 03:31 UTC, sunset 19:35 UTC, so the hours from 20:00 to 03:00 lie
    # in the dark
    with_place = dark(known_at(SourceData(source("solar"), series), at("2025-06-08")), times)
    assert list(times.hour[with_place]) == [0, 1, 2, 20, 21, 22, 23]
    without = dark(
        known_at(
            SourceData(source("solar", latitude=None, longitude=None), series), at("2025-06-08")
        ),
        times,
    )
    assert list(times.hour[without]) == [0, 1, 2, 3, 4, 20, 21, 22, 23]  # sin(0) = 0 at 04:00
    elsewhere = dark(
        known_at(SourceData(source("solar", longitude=-170.0), series), at("2025-06-08")), times
    )
    assert (
        elsewhere == without
    ).all()  # a plant that feeds in at night is not where it is said to be
    # nothing measured for five weeks: there is still the sun
    assert (
        dark(known_at(SourceData(source("solar"), series[: -24 * 35]), at("2025-06-08")), times)
        == with_place
    ).all()
    assert sin_elevation(times[:0], pd.Timedelta(hours=1), 49.6, 6.1).size == 0


HOUR = pd.Timedelta(hours=1)


def plant(end, days=80, cloud=0.5):
    """A plant in Luxembourg under a sky that changes from day to day, until a time."""
    times = pd.date_range(end=at(end), periods=24 * days, freq="h", inclusive="left")
    sun = sin_elevation(times, HOUR, 49.6, 6.1)
    clouds = 1 - cloud * np.random.default_rng(3).random(days + 1).repeat(24)[: len(times)]
    return SourceData(source("solar"), pd.Series(800 * sun * clouds, times), zone="Europe/Brussels")


def test_no_more_than_the_best_in_proportion_to_the_sun():
    known = known_at(plant("2025-04-12", cloud=0.0), at("2025-04-12"))
    times = known.valid_times(24)
    sun = sin_elevation(times, HOUR, 49.6, 6.1)
    lit = sun > 0.06
    expected = np.minimum(MARGIN * 800 * sun, known.source.capacity_kw)
    np.testing.assert_allclose(most_power(known, times)[lit], expected[lit])
    for few in (  # where its best is not known only the capacity bounds it
        known_at(plant("2025-04-12", days=13), at("2025-04-12")),
        replace(known, source=replace(known.source, longitude=None)),
        replace(known, source=replace(known.source, longitude=-170.0)),
    ):
        assert (most_power(few, times) == known.source.capacity_kw).all()


@pytest.mark.parametrize("name", ["hourly_ridge", "lightgbm", "arima"])
def test_summer_time_changes_no_forecast_of_a_plant_and_none_is_above_the_sun(name):
    """The clocks go ahead on 30 March: 18:00 was nearly dark on most days of the history."""
    data, now = plant("2025-04-12"), at("2025-04-12T11:00")
    fits = [replace(data, zone=zone) for zone in ("Europe/Brussels", "UTC")]
    with_clock, without = (
        MODELS[name]().fit(known_at(each, now)).predict(known_at(each, now), 48) for each in fits
    )
    pd.testing.assert_frame_equal(with_clock, without)
    most = most_power(known_at(data, now), pd.DatetimeIndex(with_clock.index))
    assert (with_clock[list(COLUMNS)].to_numpy() <= most[:, None]).all()
    assert with_clock["value"].max() > 200
