"""An input that is too old is not used: the model without it forecasts, and says so."""

import dataclasses
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from small_series import source

from vpp.forecast.backtest import backtest, fit_calibrated
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import COLUMNS
from vpp.forecast.stale import WEATHER, inputs_of, missing_inputs, without

DAYS, DEAD = 40, 34
START = pd.Timestamp("2025-03-01T00:00Z")
DIED = START + timedelta(days=DEAD)


def world(max_age_h=36.0) -> SourceData:
    """A load of 10 kW for each degree of a temperature that wanders, forecast without error every
    day at midnight until `DIED`.
    """
    rng, hours = np.random.default_rng(3), DAYS * 24 + 48
    times = pd.date_range(START, periods=hours, freq="h")
    temp = pd.Series(15 + np.cumsum(rng.normal(0, 0.7, hours)), times)
    issues = pd.date_range(START, DIED, freq="D")
    rows = [
        pd.DataFrame({"issue_time": at, "valid_time": ahead, "temp_air": temp[ahead].to_numpy()})
        for at in issues
        for ahead in [times[(times >= at) & (times < at + timedelta(hours=48))]]
    ]
    load = (500 + 10 * temp)[: DAYS * 24]
    return SourceData(
        source(), load, pd.concat(rows, ignore_index=True), weather_stale_after_h=max_age_h
    )


@pytest.mark.parametrize("name", ["hourly_ridge", "lightgbm", "random_forest", "arima"])
def test_a_dead_feed_is_never_worse_than_no_feed(name):
    """Three days after the last issue the forecast is that of a model that never had weather."""
    data, now = world(), DIED + timedelta(days=3)
    bare = dataclasses.replace(data, weather_forecasts=None)
    found, expected = (
        fit_calibrated(MODELS[name], each, known_at(each, now), 24).predict(known_at(each, now), 24)
        for each in (data, bare)
    )
    pd.testing.assert_frame_equal(found, expected)
    assert (known_at(data, now).stale, known_at(bare, now).stale) == (
        {
            WEATHER: "forecast without weather forecast: the newest is of 2025-04-04T00:00Z, 72 h "
            "old, at most 36 h are used"
        },
        {},
    )


def test_a_backtest_changes_its_model_when_the_feed_dies_and_when_it_is_back():
    data = world()
    origins = [DIED + timedelta(days=day) for day in range(-3, 5)]
    made = []

    def factory():
        made.append(MODELS["hourly_ridge"]())
        return made[-1]

    backtest(factory, data, origins, 24)
    # with the weather at first, and without it from the first origin that is 48 h after its end
    assert [WEATHER in model.input_names for model in made] == [True, False]
    assert made[1].trained_until == DIED + timedelta(days=2)
    later = data.weather_forecasts[data.weather_forecasts["issue_time"] == DIED]
    back = origins[-2]
    later = later.assign(
        issue_time=back, valid_time=later["valid_time"] + (back - DIED), temp_air=15.0
    )
    again = pd.concat([data.weather_forecasts, later], ignore_index=True)
    made.clear()
    backtest(factory, dataclasses.replace(data, weather_forecasts=again), origins, 24)
    assert len(made) == 2  # that with weather serves again


@pytest.mark.parametrize(("age_h", "is_used"), [(36, True), (37, False)])
def test_the_age_counts_from_the_newest_issue(age_h, is_used):
    known = known_at(world(), DIED + timedelta(hours=age_h))
    assert (known.weather_forecasts is not None) == is_used == (not known.stale)


def test_a_series_of_others_that_fell_silent_is_left_out_alone():
    data = world()
    others = pd.DataFrame({"solar-1": data.series, "wind-1": data.series})
    now = START + timedelta(days=20)
    others.loc[others.index >= now - timedelta(hours=49), "wind-1"] = np.nan
    data = dataclasses.replace(data, others=others, others_stale_after_h=48.0)
    known = known_at(data, now)
    assert list(known.others) == ["solar-1"] and list(known.stale) == ["wind-1"]
    assert list(without(data, known.stale).others) == ["solar-1"]
    earlier = known_at(data, now - timedelta(hours=2))
    assert list(earlier.others) == ["solar-1", "wind-1"]


def test_a_model_says_what_it_misses():
    data = world()
    before, after = known_at(data, DIED), known_at(data, DIED + timedelta(days=3))
    assert inputs_of(before) == {WEATHER}
    ridge, naive = (MODELS[name]().fit(before) for name in ("hourly_ridge", "seasonal_naive"))
    assert list(missing_inputs(ridge, after)) == [WEATHER]
    assert missing_inputs(naive, after) == missing_inputs(ridge, before) == {}
    del ridge.input_names  # one that an earlier version has stored
    assert list(missing_inputs(ridge, after)) == [WEATHER]
    assert np.isfinite(ridge.predict(after, 24)[list(COLUMNS)].to_numpy()).all()
