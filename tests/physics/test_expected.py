"""The power that physics expects, with values worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from small_series import source

from vpp.physics.expected import WIND_SHARE, clear_power, expected_power
from vpp.physics.plants import WIND_LOSSES, solar_power, turbine_curve, wind_power
from vpp.physics.sky import clear_sky, sun_of

TIMES = pd.date_range("2025-06-21T00:00Z", periods=24, freq="h")


def day(**columns) -> pd.DataFrame:
    return pd.DataFrame({name: np.full(24, value) for name, value in columns.items()}, TIMES)


def test_a_solar_plant_is_the_synthetic_one_in_the_same_weather():
    plant = source("solar")
    sky = clear_sky(sun_of(TIMES, 60), plant.latitude, plant.longitude)
    weather = day(dni=300.0, dhi=150.0, temp_air=20.0, wind_speed=3.0)
    weather = weather.assign(ghi=sky.ghi_clear / 2)
    expected = solar_power(weather, sky, {}, 1000.0)
    np.testing.assert_array_equal(expected_power(plant, TIMES, weather), expected)
    assert expected.max() > 100 and (expected[~sky.day] == 0).all()


def test_light_that_is_missing_follows_from_the_global_one_and_never_passes_a_clear_sky():
    plant = source("solar")
    sky = clear_sky(sun_of(TIMES, 60), plant.latitude, plant.longitude)
    clear = clear_power(plant, TIMES)
    half = expected_power(plant, TIMES, pd.DataFrame({"ghi": sky.ghi_clear / 2}, TIMES))
    without = expected_power(plant, TIMES, None)
    assert (half <= clear + 1e-9).all() and (without <= clear + 1e-9).all()
    assert 0.4 * clear.sum() < half.sum() < 0.7 * clear.sum()
    assert not clear[~sky.day].any()


@pytest.mark.parametrize(("wind", "share"), [(0.0, 0.0), (60.0, 0.0)])
def test_a_turbine_stands_in_calm_and_in_a_storm(wind, share):
    power = expected_power(source("wind"), TIMES, day(wind_speed=wind, temp_air=10.0))
    np.testing.assert_array_equal(power, share * 1000)


def test_a_turbine_at_full_power_loses_what_wakes_take():
    """At 12 m/s at 10 m there are 16 to 22 m/s at the hub: the curve's highest value."""
    power = expected_power(source("wind"), TIMES, day(wind_speed=12.0, temp_air=10.0))
    np.testing.assert_allclose(power, 1000 * (1 - WIND_LOSSES), rtol=0.02)
    speeds, curve = turbine_curve("E-82/2300")
    assert curve.max() == pytest.approx(curve[np.searchsorted(speeds, 16)], rel=0.02)


def test_without_weather_a_wind_farm_gives_its_usual_share():
    weather = day(wind_speed=np.nan, temp_air=10.0)
    for given in (None, weather):
        np.testing.assert_array_equal(
            expected_power(source("wind"), TIMES, given), 1000 * WIND_SHARE
        )
    sky = clear_sky(sun_of(TIMES, 60), 49.6, 6.1)
    known = day(wind_speed=7.0, temp_air=10.0)
    np.testing.assert_array_equal(
        expected_power(source("wind"), TIMES, known),
        wind_power(known, sky, {"turbine": "E-82/2300"}, 1000.0),
    )


def test_a_load_has_its_profile_in_any_order_and_heats_when_it_is_cold():
    load = source("load")
    warm = expected_power(load, TIMES, day(temp_air=18.0))
    cold = expected_power(load, TIMES, day(temp_air=-5.0))
    # 0.8 % a degree below 15
    np.testing.assert_allclose(cold / warm, 1.16)
    assert 0 < warm.min() < warm.max() < 1000
    back = expected_power(load, TIMES[::-1], None)
    np.testing.assert_array_equal(back[::-1], expected_power(load, TIMES, None))
