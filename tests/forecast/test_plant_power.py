"""The power of a plant in the forecast weather, as a feature."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_series import at, hourly, source, weather

from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.pooled import Global
from vpp.forecast.models.ridge import HourlyRidge
from vpp.forecast.plant_power import plant_power
from vpp.physics.expected import clear_power, expected_power

ISSUES = ["2025-06-01T00:00", "2025-06-01T06:00", "2025-06-01T12:00"]
TIMES = pd.date_range("2025-06-01T08:00", periods=6, freq="h", tz="UTC")
ORIGINS = pd.DatetimeIndex([at("2025-06-01T07:00")] * 5 + [at("2025-05-31T00:00")])


def known_of(kind, forecasts=None, **place):
    data = SourceData(
        source(kind, **place),
        hourly("2025-05-01T00:00", 800),
        weather(ISSUES) if forecasts is None else forecasts,
    )
    return known_at(data, at("2025-06-01T07:00"))


@pytest.mark.parametrize(("kind", "names"), [("wind", 2), ("solar", 3)])
def test_it_is_physics_of_the_weather_as_it_was_forecast(kind, names):
    known = known_of(kind)
    table = plant_power(known, ORIGINS, TIMES)
    assert list(table) == ["physics", "physics_mean", "physics_clear"][:names]
    # the issue of 06:00 has 100 W/m2 more than that of 00:00, and the hours since it as wind speed
    lead = np.arange(2.0, 7.0)
    newest = pd.DataFrame({"ghi": 100 + lead, "wind_speed": lead})
    mean = pd.DataFrame({"ghi": 53 + lead, "wind_speed": 3 + lead})
    for name, given in (("physics", newest), ("physics_mean", mean)):
        wanted = expected_power(known.source, TIMES[:5], given)
        np.testing.assert_allclose(table[name][:5], wanted)
        assert np.isnan(table[name][5])  # nothing was issued by then
        assert wanted.max() > 0
    if kind == "solar":
        np.testing.assert_array_equal(table["physics_clear"], clear_power(known.source, TIMES))


def test_without_what_it_needs_there_is_none():
    calm = weather(ISSUES).drop(columns="wind_speed")
    nothing = (
        known_of("load"),
        known_of("market"),
        known_of("solar", latitude=None),
        known_of("wind", calm),
        dataclasses.replace(known_of("wind"), weather_forecasts=None),
    )
    for known in nothing:
        assert plant_power(known, ORIGINS, TIMES).shape == (len(TIMES), 0)


def test_models_of_plants_learn_from_it_and_the_pool_does_not():
    known = known_of("wind")
    tables = [made._table(known, ORIGINS, TIMES)[0] for made in (HourlyRidge(), LightGbm())]
    assert all("physics" in table for table in tables)
    assert "physics" not in Global()._table(known, ORIGINS, TIMES)[0]
