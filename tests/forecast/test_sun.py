"""Where the sun stands, and when a solar plant is dark."""

import numpy as np
import pandas as pd
from small_series import at, source

from vpp.forecast.known import SourceData, known_at
from vpp.forecast.sun import dark, sin_elevation


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
