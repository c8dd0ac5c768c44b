"""The physics of the synthetic weather, plants, loads and market.

The PVWatts golden year, hand values, night, clipping, and properties over the globe.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import generation
from sources import Source
from vpp.physics import plants
from vpp.physics.profiles import local_profiles
from vpp.physics.sky import clear_sky, sun_of
from vpp.runtime.settings import Generation
from vpp.synthetic import market, weather
from vpp.synthetic.noise import persistent_noise, smooth_noise

WEATHER = ("ghi", "dni", "dhi", "temp_air", "wind_speed")


@pytest.fixture(scope="module")
def golden(real_data):
    """The PVWatts year, its sky, and its plant: 4 kW DC, 3.333 kW AC, tilt 20, south.

    Losses 14.08 %.
    """
    frame = pd.read_csv(real_data / "pvwatts_golden_4kw_8760.csv")
    times = pd.date_range("2021-01-01", periods=8760, freq="h", tz="Etc/GMT+7").tz_convert("UTC")
    sky = clear_sky(sun_of(times, 60), 39.73, -105.18)
    cosine = np.cos(np.radians(np.minimum(sky.zenith, 90)))
    found = {"dni": frame["dni"], "dhi": frame["dhi"], "ghi": frame["dni"] * cosine + frame["dhi"]}
    found |= {"temp_air": frame["tamb_c"], "wind_speed": frame["wind_ms"]}
    return frame, sky, {name: values.to_numpy() for name, values in found.items()}


def test_pvwatts_year_from_its_plane_of_array_and_cell_temperature(golden):
    frame, sky, found = golden
    poa, transmitted = plants.plane_of_array(found, sky, 20, 180)
    passes = np.where(
        poa > 0, transmitted / np.maximum(poa, 1e-9), 1.0
    )  # the share that the glass lets through
    dc, ac = plants.pv_power(
        frame["poa"].to_numpy() * passes, frame["tcell_c"].to_numpy(), 4.0, 4 / 1.2, losses=0.1408
    )
    print(
        f"from POA and cell temperature: AC {1000 * ac.sum() / frame['ac_w'].sum():.5f} of PVWatts"
    )
    assert ac.sum() == pytest.approx(frame["ac_w"].sum() / 1000, rel=0.005)
    assert dc.sum() == pytest.approx(frame["dc_w"].sum() / 1000, rel=0.005)
    assert np.corrcoef(ac, frame["ac_w"])[0, 1] > 0.995


def test_pvwatts_year_from_its_dni_and_dhi(golden):
    frame, sky, found = golden
    poa, _ = plants.plane_of_array(found, sky, 20, 180)
    assert poa.sum() == pytest.approx(frame["poa"].sum(), rel=0.01)
    power = plants.solar_power(
        found, sky, {"tilt": 20, "azimuth": 180, "dc_ac_ratio": 1.2}, 4 / 1.2
    )
    assert power.sum() == pytest.approx(
        frame["ac_w"].sum() / 1000, rel=0.025
    )  # with 14 % instead of 14.08 % losses
    print(f"from DNI and DHI: AC {1000 * power.sum() / frame['ac_w'].sum():.5f} of PVWatts")
    assert np.corrcoef(power, frame["ac_w"])[0, 1] > 0.995


def test_pv_power_by_hand():
    # 1000 W/m2 at 25 deg C: DC = 10 kW * (1 - 0.14) = 8.6 kW; at 35 deg C 4.7 % less: 8.1958 kW
    dc, ac = plants.pv_power(
        np.array([1000.0, 1000.0, 0.0]), np.array([25.0, 35.0, 25.0]), 10.0, 100.0
    )
    assert dc == pytest.approx([8.6, 8.1958, 0.0])
    # PVWatts inverter of 100 / 0.96 = 104.17 kW: at 8.256 % of that its efficiency is
    # 0.96 / 0.9637 * (-0.0162 * 0.08256 - 0.0059 / 0.08256 + 0.9858) = 0.9095
    assert ac[0] == pytest.approx(8.6 * 0.9095, rel=1e-3)
    # an inverter of 5 kW clips
    assert plants.pv_power(np.array([1000.0]), np.array([25.0]), 10.0, 5.0)[1] == pytest.approx(
        [5.0]
    )


def flat_sky(hours=24, latitude=49.6):
    times = pd.date_range("2025-06-21", periods=hours, freq="h", tz="UTC")
    return clear_sky(sun_of(times, 60), latitude, 6.1)


def test_no_irradiance_no_power():
    sky = flat_sky()
    dark = {name: np.zeros(24) for name in WEATHER}
    assert (plants.solar_power(dark, sky, {}, 100.0) == 0).all()


def test_wind_power_by_hand():
    sky = flat_sky(3)
    # At hub height 10 m there is no shear. 15 deg C, 10 m: air density 1.2240 to 1.2252 kg/m3,
    # about the standard one. E-82/2300: 1580 of 2350 kW at 10 m/s; calm: 0; 26 m/s is beyond its
    # cut-out of 25 m/s.
    found = {"wind_speed": np.array([10.0, 0.0, 26.0]), "temp_air": np.full(3, 15.0)}
    power = plants.wind_power(found, sky, {"turbine": "E-82/2300", "hub_height_m": 10}, 2350.0)
    assert power == pytest.approx([1580 * 0.9, 0.0, 0.0], rel=0.005)
    # colder air is denser: at -15 deg C by 11.6 %, which is 3.7 % of wind speed, more power below
    # the rated one
    cold = plants.wind_power(
        found | {"temp_air": np.full(3, -15.0)},
        sky,
        {"turbine": "E-82/2300", "hub_height_m": 10},
        2350.0,
    )
    assert 1.05 < cold[0] / power[0] < 1.12
    # rated power, less 10 % losses, and never more
    strong = {"wind_speed": np.full(3, 18.0), "temp_air": np.full(3, 15.0)}
    assert plants.wind_power(
        strong, sky, {"turbine": "E-82/2300", "hub_height_m": 10}, 1000.0
    ) == pytest.approx([900.0] * 3)


def test_wind_shear_by_hand():
    # at 14:00 solar time the exponent is 0.20 - 0.07 = 0.13: 5 m/s at 10 m are 5 * 10**0.13 = 6.745
    # m/s at 100 m
    times = pd.DatetimeIndex(
        ["2025-06-21T13:06"], tz="UTC"
    )  # mid-interval 13:36, and 6.1 deg east is 24.4 min of sun
    sky = clear_sky(sun_of(times, 60), 49.6, 6.1)
    assert sky.solar_hour == pytest.approx([14.0], abs=0.01)
    found = {"wind_speed": np.array([5.0]), "temp_air": np.array([15.0])}
    speeds, powers = plants.turbine_curve("E-82/2300")
    at_hub = 6.745 * (1.213 / 1.225) ** (1 / 3)  # density at 100 m and 14.4 deg C
    expected = np.interp(at_hub, speeds, powers) / 2350 * 0.9
    assert plants.wind_power(
        found, sky, {"turbine": "E-82/2300", "hub_height_m": 100}, 1.0
    ) == pytest.approx([expected], rel=0.01)


def test_every_turbine_of_windpowerlib_works():
    names = plants.turbine_types()["turbine_type"]
    assert len(names) > 50
    for name in names:
        speeds, powers = plants.turbine_curve(name)
        assert (np.diff(speeds) > 0).all() and powers.min() >= 0 and powers.max() > 0


def test_merit_order_by_hand():
    calm = np.random.default_rng(0)
    price = market.day_ahead_price(np.array([30.0] * 400), 1.0, 1.0, calm)
    assert 60 < np.median(price) < 100  # 79 EUR/MWh at 30 GW, before fuel, outages and bids
    low = market.day_ahead_price(np.array([-30.0] * 400), 1.0, 1.0, calm)
    high = market.day_ahead_price(np.array([75.0] * 400), 1.0, 1.0, calm)
    assert low.max() < 0 < 150 < np.median(high)


def test_sun_position_is_pvlibs():
    import pvlib

    times = pd.date_range("2024-02-20", periods=400, freq="5h", tz="UTC")
    for latitude, longitude in ((49.6, 6.1), (-33.0, 151.0), (89.0, 0.0), (0.0, 180.0)):
        sky = clear_sky(sun_of(times, 30), latitude, longitude)
        sun = pvlib.solarposition.get_solarposition(
            times + pd.Timedelta("15min"), latitude, longitude, delta_t=None
        )
        assert sky.zenith == pytest.approx(sun["apparent_zenith"].to_numpy(), abs=1e-6)
        assert sky.azimuth == pytest.approx(sun["azimuth"].to_numpy(), abs=1e-6)


def test_noise_has_unit_variance_and_the_stated_persistence():
    noise = persistent_noise(np.random.default_rng(1), (20_000, 4), 0.5, 3.0)
    assert noise.std() == pytest.approx(1.0, abs=0.03)
    # correlation after 3 h, 6 steps: exp(-1)
    assert np.corrcoef(noise[6:].ravel(), noise[:-6].ravel())[0, 1] == pytest.approx(
        np.exp(-1), abs=0.03
    )
    first = [persistent_noise(np.random.default_rng(seed), 2, 1.0, 50.0)[0] for seed in range(2000)]
    assert np.std(first) == pytest.approx(1.0, abs=0.05)
    smooth = smooth_noise(np.random.default_rng(1), 20_000, 4, 20.0, 2.0)
    assert smooth.std() == pytest.approx(1.0, abs=0.05)
    leads = np.arange(0, 72, 0.25)
    along = weather.lead_noise(np.random.default_rng(1), 5000, leads)
    assert along.std(axis=0) == pytest.approx(1.0, abs=0.05)


def test_ghi_is_its_parts():
    world = generation.make_world(Generation(days=60, seed=2), "LU")
    place = generation.make_place(world, "here", 49.6, 6.1)
    found, sky = place.weather, place.sky
    high = sky.zenith < 85
    total = found["dni"] * np.cos(np.radians(sky.zenith)) + found["dhi"]
    assert total[high].to_numpy() == pytest.approx(found["ghi"][high].to_numpy(), abs=0.5)
    assert (found.loc[~sky.day, ["ghi", "dni", "dhi"]] == 0).all(axis=None)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**31),
    step_min=st.sampled_from((5, 15, 30, 60)),
    latitude=st.one_of(st.floats(-90, 90), st.sampled_from((-90.0, -77.8, 0.0, 69.6, 90.0))),
    longitude=st.floats(-180, 180),
    start=st.dates(pd.Timestamp(1990, 1, 1).date(), pd.Timestamp(2060, 1, 1).date()),
    tilt=st.floats(0, 90),
    azimuth=st.floats(0, 360),
)
def test_series_are_possible_anywhere(seed, step_min, latitude, longitude, start, tilt, azimuth):
    world = generation.make_world(
        Generation(start=start, days=3, step_min=step_min, seed=seed), "LU"
    )
    place = generation.make_place(world, "here", latitude, longitude)
    found, sky = place.weather, place.sky
    assert np.isfinite(found.to_numpy()).all()
    assert (found[["ghi", "dni", "dhi", "wind_speed"]] >= 0).all(axis=None)
    assert found["ghi"].max() < 1400 and found["dni"].max() < 1400
    assert (
        found["temp_air"].min() > -60
        and found["temp_air"].max() < 55
        and found["wind_speed"].max() < 60
    )
    common = ("here", 500.0, step_min, latitude, longitude, "UTC")
    solar = Source("s", "solar", "", *common, {"tilt": tilt, "azimuth": azimuth})
    wind = Source("w", "wind", "", *common, {"turbine": "E-82/2300"})
    load = Source("l", "load", "", *common, {})
    profiles = local_profiles(world.times, step_min, "UTC", "LU")
    for source in (solar, wind, load):
        power = generation.plant_series(world, source, place, profiles)
        assert len(power) == 3 * 1440 // step_min
        assert (power >= 0).all() and (power <= 500.0).all()
        if source is solar:
            assert (power[~sky.day[: world.rows]] == 0).all()
    made = weather.forecasts_at(seed, "here", place.systems, sky, found, world.end)
    for name in WEATHER:
        assert np.isfinite(made[name]).all()
        assert name == "temp_air" or made[name].min() >= 0
    assert (made["ghi"][~sky.day[made["valid"]]] == 0).all()


def test_polar_night_and_the_southern_summer():
    world = generation.make_world(
        Generation(start=pd.Timestamp(2025, 12, 10).date(), days=20, seed=1), "NO"
    )
    tromso = generation.make_place(world, "north", 69.6, 18.9).weather.iloc[: world.rows]
    assert (tromso["ghi"] == 0).all()
    sydney = generation.make_place(world, "south", -33.9, 151.2).weather.iloc[: world.rows]
    paris = generation.make_place(world, "paris", 48.9, 2.3).weather.iloc[: world.rows]
    assert sydney["ghi"].mean() > 5 * paris["ghi"].mean()
    assert sydney["temp_air"].mean() > paris["temp_air"].mean() + 10
    # a plant of the south faces north by default: more than facing south
    place = generation.make_place(world, "south", -33.9, 151.2)
    north = plants.solar_power(place.weather, place.sky, {"tilt": 50}, 1.0).sum()
    assert (
        north
        > plants.solar_power(place.weather, place.sky, {"tilt": 50, "azimuth": 180}, 1.0).sum()
    )
