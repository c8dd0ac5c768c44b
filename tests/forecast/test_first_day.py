"""A forecast from the first day: physics, what the days that come change, and its band."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_series import at, source

from vpp.forecast.backtest import fit_calibrated
from vpp.forecast.features import seasonal_naive
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.model import ModelError
from vpp.forecast.models.first_day import LEVEL_DAYS, FirstDay
from vpp.physics.expected import expected_power
from vpp.physics.sky import clear_sky, sun_of

NOW = at("2025-06-10T06:00")


def plant_of(kind: str, level=1.0, days=60) -> SourceData:
    """A plant that is physics times a level, and weather forecasts with errors that persist."""
    rng, plant = np.random.default_rng(5), source(kind)
    times = pd.date_range(NOW - pd.Timedelta(days=days), periods=(days + 3) * 24, freq="h")
    hours = len(times)

    def wander(scale, hours_back):
        keep = np.exp(-1 / hours_back)
        noise, found = rng.normal(0, scale * np.sqrt(1 - keep**2), hours), np.zeros(hours)
        for i in range(1, hours):
            found[i] = keep * found[i - 1] + noise[i]
        return found

    sky = clear_sky(sun_of(times, 60), plant.latitude, plant.longitude)
    cloud = np.clip(0.6 + wander(0.3, 12), 0.05, 1)
    weather = pd.DataFrame(
        {
            "ghi": sky.ghi_clear * cloud,
            "temp_air": 15 + wander(5, 72),
            "wind_speed": np.abs(5 + wander(3, 24)),
        },
        index=times,
    )
    series = pd.Series(level * expected_power(plant, times, weather, "LU"), times)
    rows = []
    for issue in times[::24][:-3]:
        ahead = times[(times >= issue) & (times < issue + pd.Timedelta(hours=72))]
        rows.append(
            (weather.loc[ahead] * np.exp(rng.normal(0, 0.12))).assign(
                issue_time=issue, valid_time=ahead
            )
        )
    forecasts = pd.concat(rows, ignore_index=True)
    return SourceData(plant, series, forecasts, zone="Europe/Brussels", holidays_country="LU")


def aged(data: SourceData, days: float) -> SourceData:
    """The same plant, built so many days ago."""
    return dataclasses.replace(data, series=data.series[NOW - pd.Timedelta(days=days) :])


@pytest.mark.parametrize("kind", ["solar", "wind", "load"])
def test_a_plant_without_a_measurement_has_physics_and_a_band_that_widens(kind):
    data = plant_of(kind)
    empty = dataclasses.replace(data, series=data.series[:0])
    known = known_at(empty, NOW)
    frame = fit_calibrated(FirstDay, empty, known, 48).predict(known, 48)
    actual = data.series.reindex(frame.index)
    assert len(frame) == 48 and np.isfinite(frame["value"]).all()
    assert abs(frame["value"] - actual).mean() < 0.25 * actual.mean()
    lit = frame[(frame["value"] > 100) & ~frame["dark"]]
    assert (lit["q95"] > lit["q05"]).all()
    if kind != "solar":
        width = (frame["q75"] - frame["q25"]).to_numpy() / frame["value"].to_numpy()
        assert kind == "wind" or width[30] > width[6]


@pytest.mark.parametrize("kind", ["solar", "wind"])
def test_a_plant_of_three_days_beats_last_weeks_hours(kind):
    data = plant_of(kind)
    frame = fit_calibrated(FirstDay, aged(data, 3), known_at(aged(data, 3), NOW), 48).predict(
        known_at(aged(data, 3), NOW), 48
    )
    naive = seasonal_naive(known_at(data, NOW), pd.DatetimeIndex(frame.index))
    actual = data.series.reindex(frame.index)
    assert abs(frame["value"] - actual).mean() <= 0.7 * np.abs(naive - actual).mean()


@pytest.mark.parametrize("kind", ["solar", "wind", "load"])
def test_the_level_is_learned_from_the_days_that_come(kind):
    """A plant gives 60 % of what physics says: its level comes from 1 to 0.6."""
    data = plant_of(kind, level=0.6)
    levels = [FirstDay().fit(known_at(aged(data, days), NOW)).level for days in (0.5, 3, 15)]
    assert 1 > levels[0] > levels[1] > levels[2] > 0.5
    assert levels[2] == pytest.approx(0.6, abs=0.12)


def of_hours(kind: str, first: str, hours: int, share: float, clear=1.0):
    """What is known of a plant that has measured so many hours, each a share of its physics, in a
    weather with less sun and wind; its physics; what was known before.
    """
    data, times = plant_of(kind), pd.date_range(first, periods=hours, freq="h", tz="UTC")
    now, weather = times[-1] + pd.Timedelta(hours=1), data.weather_forecasts.copy()
    weather.loc[weather["valid_time"] <= now, ["ghi", "wind_speed"]] *= clear
    data = dataclasses.replace(data, weather_forecasts=weather, series=data.series[:0])
    before = known_at(data, now)
    physics = FirstDay().fit(before)._expected(before, times)
    data = dataclasses.replace(data, series=pd.Series(share * physics, times))
    return known_at(data, now), physics, before


@pytest.mark.parametrize(
    ("kind", "first", "hours", "clear"),
    [
        ("solar", "2025-06-09T21:00", 6, 1.0),
        ("solar", "2025-06-10T00:00", 1, 1.0),
        ("wind", "2025-06-09", 6, 0.0),
    ],
)
def test_a_night_and_a_calm_say_nothing_of_the_level(kind, first, hours, clear):
    known, physics, before = of_hours(kind, first, hours, 1.0, clear)
    assert not physics.any() and len(known.targets) == hours
    assert FirstDay().fit(known).level == 1.0
    value, unmeasured = (
        FirstDay().fit(each).predict(each, 24)["value"] for each in (known, before)
    )
    np.testing.assert_allclose(value, unmeasured)
    assert value.max() > 100


@pytest.mark.parametrize(("kind", "share"), [("solar", 0.0), ("solar", 8.0), ("wind", 8.0)])
def test_little_sun_or_wind_says_little_of_the_level_and_more_of_it_more(kind, share):
    """Eight times the physics, or nothing, in six hours from almost dark or calm on."""
    away, powers = [], []
    for clear in np.geomspace(1e-3, 2, 20):
        known, physics, _ = of_hours(kind, "2025-06-09T06:00", 6, share, clear)
        powers.append(np.sqrt((physics**2).mean()))
        away.append(abs(FirstDay().fit(known).level - 1))
    away, powers = np.array(away), np.array(powers)
    assert powers.min() < 1 < 50 < powers.max()
    assert (away[powers < 1] <= 0.02 * away[-1]).all()  # 1 kW of 1000
    assert (np.diff(away) > -1e-9).all()
    assert ((away > 0.05 * away[-1]) & (away < 0.95 * away[-1])).any()  # no jump
    assert away[-1] == pytest.approx(abs(share - 1) * 0.25 / (0.25 + LEVEL_DAYS[kind]))


def test_the_band_of_a_load_of_three_days_holds_for_calm_and_for_restless_ones():
    """Errors of 4 or 8 % of the power that last for hours: about 80 % of the values lie in it."""
    rng, data = np.random.default_rng(3), plant_of("load")
    noise = pd.Series(rng.normal(0, 1, len(data.series))).ewm(halflife=4).mean()
    for size in (0.04, 0.08):
        series = data.series * (1 + size * noise / noise.std()).to_numpy()
        inside = []
        for now in NOW - pd.timedelta_range("0D", "45D", freq="3D"):
            part = series[(series.index >= now - pd.Timedelta(days=3)) & (series.index < now)]
            known = known_at(dataclasses.replace(data, series=part), now)
            frame = FirstDay(48).fit(known).predict(known, 48)
            inside.append(series.reindex(frame.index).between(frame["q10"], frame["q90"]).mean())
        assert 0.7 < np.mean(inside) < 0.9


def test_it_becomes_the_learned_model_as_days_come():
    data = plant_of("wind")
    young, old = (FirstDay().fit(known_at(aged(data, days), NOW)) for days in (10, 40))
    assert young.learned is None and old.learned is not None
    known = known_at(aged(data, 40), NOW)
    value = old.predict(known, 24)["value"]
    learned = old.learned.predict(known, 24)["value"]
    old.learned = None
    physics = old.predict(known, 24)["value"]
    np.testing.assert_allclose(value, 0.6 * physics + 0.4 * learned, atol=1)  # 40 of 40 + 60


def test_a_price_has_no_physics_and_a_sun_needs_a_place():
    market = SourceData(source("market"), pd.Series([1.0], [at("2025-06-09")]))
    with pytest.raises(ModelError, match="market-1 is a price; it needs a history"):
        FirstDay().fit(known_at(market, NOW))
    nowhere = SourceData(source("solar", latitude=None, longitude=None), market.series)
    with pytest.raises(ModelError, match="no place; set latitude and longitude"):
        FirstDay().fit(known_at(nowhere, NOW))


def test_what_is_not_known_yet_changes_nothing():
    data = aged(plant_of("wind"), 5)
    later = data.series.copy()
    later[later.index >= NOW] *= 9
    weather = data.weather_forecasts.copy()
    weather.loc[weather["issue_time"] > NOW, "wind_speed"] = 0.0
    changed = dataclasses.replace(data, series=later, weather_forecasts=weather)
    found, expected = (
        FirstDay().fit(known_at(each, NOW)).predict(known_at(each, NOW), 48)
        for each in (changed, data)
    )
    pd.testing.assert_frame_equal(found, expected)
