"""Every model on series whose forecast is known, on gaps, clock changes and quarter-hours, and
against what is not known yet.
"""

import dataclasses
import logging
import pickle
import pickletools
import sys

import numpy as np
import pandas as pd
import pytest
from small_history import NOW, check_shape, data_of, forecasts_of_weather, noisy, sine

from vpp.forecast.known import SourceData, known_at
from vpp.forecast.model import ForecastModel, ModelError
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import COLUMNS
from vpp.site.sources import Source
from vpp.site.times import DAY

# small ones: what is tested does not need large ones
SMALL = {
    "prophet": {"daily_order": 4},
    "nbeats": {"epochs": 4, "input_h": 48.0, "width": 32},
    "random_forest": {"trees": 20, "most_rows": 2000},
    "lightgbm": {"trees": 30, "most_rows": 2000},
    "lear": {"windows_days": (28, 40)},
    "dnn": {"nets": 2, "units": (32, 16)},
    "combination": {"members": ("hourly_ridge",)},
}


NAMES = [name for name in MODELS if name != "first_day"]  # which test_first_day.py has


# test_regressions.py has the others
THERE = ("hourly_ridge", "lightgbm", "lear", "dnn", "combination")
HERE = [name for name in NAMES if name not in THERE]


def make(name: str) -> ForecastModel:
    return MODELS[name](**SMALL.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_series_is_forecast_as_it_is(name):
    known = known_at(data_of(lambda hour, day: np.full(len(hour), 70.0)), NOW)
    frame = make(name).fit(known).predict(known, 48)
    check_shape(frame, 48)
    np.testing.assert_allclose(frame["value"], 70.0, atol=0.5)
    assert (frame["q95"] - frame["q05"]).max() < 5


# largest mean error of a 48-hour forecast of a daily sine of amplitude 50, whose clock changed
# three days before
@pytest.mark.parametrize("name", NAMES)
def test_a_daily_sine_is_continued_at_its_local_hour(name):
    data = data_of(sine)
    known = known_at(data, NOW)
    frame = make(name).fit(known).predict(known, 48)
    check_shape(frame, 48)
    error = (frame["value"] - data.series.reindex(frame.index)).abs().mean()
    assert error < (0.01 if "naive" in name else 4.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_sine_with_a_trend_is_followed(name):
    data = data_of(lambda hour, day: sine(hour, day) + 0.5 * day)
    known = known_at(data, NOW)
    frame = make(name).fit(known).predict(known, 48)
    check_shape(frame, 48)
    error = (frame["value"] - data.series.reindex(frame.index)).abs().mean()
    assert error < 5.0  # last week is 3.5 below


@pytest.mark.parametrize("name", NAMES)
def test_missing_values_do_not_reach_the_forecast(name):
    data = data_of(noisy)
    series, generator = data.series.copy(), np.random.default_rng(1)
    series[generator.random(len(series)) < 0.03] = np.nan
    series.iloc[400:500] = np.nan  # four days
    series.iloc[len(series) - 72 - 6 : len(series) - 72] = np.nan  # and the six hours before NOW
    known = known_at(dataclasses.replace(data, series=series), NOW)
    frame = make(name).fit(known).predict(known, 48)
    check_shape(frame, 48)
    assert (
        frame["value"] - data.series.reindex(frame.index)
    ).abs().mean() < 12  # noise alone gives 4 to 5.7


def test_a_solar_plant_without_recent_values_is_still_dark_at_night():
    data = data_of(
        lambda hour, day: noisy(hour, day) * ((hour > 8) & (hour < 17)), "solar", days=80
    )
    known = known_at(
        dataclasses.replace(data, series=data.series[: -33 * 24]), NOW
    )  # the last 30 days are missing
    frame = make("seasonal_naive").fit(known).predict(known, 48)
    check_shape(frame, 48)
    night = (frame.index.hour >= 19) | (frame.index.hour < 4)
    assert (frame.loc[night, list(COLUMNS)] == 0).all().all()
    assert frame.loc[night, "dark"].all() and not frame["published"].any()
    assert frame["value"].max() > 50


@pytest.mark.parametrize("name", HERE)
def test_quarter_hours(name):
    data = data_of(noisy, step_min=15, days=30)
    known = known_at(data, NOW)
    frame = make(name).fit(known).predict(known, 4 * 48)
    check_shape(frame, 4 * 48, 15)
    assert (frame["value"] - data.series.reindex(frame.index)).abs().mean() < 12


@pytest.mark.parametrize("kind", ["load", "solar", "wind", "market"])
@pytest.mark.parametrize("name", HERE)
def test_what_is_not_known_yet_changes_neither_fit_nor_forecast(name, kind):
    forecasts = forecasts_of_weather()
    data = data_of(
        lambda hour, day: noisy(hour, day) * (1.0 if kind != "solar" else (hour > 8) & (hour < 17)),
        kind,
        weather=forecasts,
    )
    others = data.series.rename("other-1").to_frame() * 2
    data = dataclasses.replace(data, others=others if kind == "market" else None)
    series, later_others, later_forecasts = data.series.copy(), others.copy(), forecasts.copy()
    series[data.available_at > NOW] = -1e6
    later_others[others.index + data.step > NOW] = -1e6
    later_forecasts.loc[
        forecasts["issue_time"] > NOW, ["ghi", "dni", "dhi", "temp_air", "wind_speed"]
    ] = -1e6
    changed = dataclasses.replace(
        data,
        series=series,
        weather_forecasts=later_forecasts,
        others=later_others if kind == "market" else None,
    )
    models = [make(name).fit(known_at(version, NOW)) for version in (data, changed)]
    results = [
        model.predict(known_at(version, NOW), 48)
        for model, version in zip(models, (data, changed), strict=True)
    ]
    check_shape(results[0], 48)
    pd.testing.assert_frame_equal(*results, check_exact=True)
    assert models[0].trained_until == NOW

    values = results[0][list(COLUMNS)].to_numpy()
    if kind == "market":
        published = known_at(data, NOW).series.reindex(results[0].index).dropna()
        assert len(published) == 13  # NOW is 11:00 local: prices until midnight
        np.testing.assert_array_equal(
            values[:13], np.repeat(published.to_numpy()[:, None], len(COLUMNS), axis=1)
        )
        assert list(results[0]["published"]) == [True] * 13 + [False] * 35
        return
    assert values.min() >= 0
    if kind in ("solar", "wind"):
        assert values.max() <= 300
    if kind == "solar":  # 2 April in Luxembourg: the sun is down from 19 to 04 UTC at least
        night = (results[0].index.hour >= 19) | (results[0].index.hour < 4)
        assert (values[night] == 0).all()


@pytest.mark.parametrize("kind", ["solar", "wind", "market"])
@pytest.mark.parametrize(
    "name", [name for name in NAMES if "naive" not in name and name not in ("lear", "dnn")]
)  # which asks for a week of them
def test_weather_forecasts_that_come_no_more_do_not_stop_a_fitted_model(name, kind):
    data = data_of(
        lambda hour, day: noisy(hour, day) * (1.0 if kind != "solar" else (hour > 8) & (hour < 17)),
        kind,
    )
    forecasts = forecasts_of_weather()
    known = known_at(dataclasses.replace(data, weather_forecasts=forecasts), NOW)
    model, newest = make(name).fit(known), known.weather_forecasts["issue_time"].max()
    single = known_at(
        dataclasses.replace(data, weather_forecasts=forecasts[forecasts["issue_time"] == newest]),
        NOW,
    )
    for left in (single, known_at(data, NOW)):
        frame = model.predict(left, 48)
        check_shape(frame, 48)
        assert (
            abs(frame["value"] - data.series.reindex(frame.index)).mean() < 30
        )  # the level is about 100, or 30 over a solar day


@pytest.mark.parametrize("name", HERE)
def test_a_loaded_model_gives_the_same_forecast(name):
    known = known_at(data_of(noisy), NOW)
    model = make(name).fit(known)
    stored = pickle.dumps(model)
    assert pickle.loads(stored).predict(known, 48).equals(model.predict(known, 48))
    assert (
        pickle.loads(pickle.dumps(pickle.loads(stored)))
        .predict(known, 30)
        .equals(model.predict(known, 30))
    )
    assert (
        make(name).fit(known).predict(known, 48).equals(model.predict(known, 48))
    )  # same seed, same forecast


def test_a_stored_network_is_weights_and_parameters_and_nothing_that_runs_code():
    stored = pickle.dumps(make("nbeats").fit(known_at(data_of(noisy), NOW)))
    words = [word for _, word, _ in pickletools.genops(stored) if isinstance(word, str)]
    modules = {word.split(".")[0] for word in words if word.partition(".")[0] in sys.modules}
    assert "weights" in words
    assert modules & {"darts", "torch", "pytorch_lightning", "enum"} == set()
    assert {"getattr", "eval", "exec", "compile"} & set(words) == set()


def as_stored_before(model: ForecastModel, folder) -> ForecastModel:
    """The fitted N-BEATS as version 0.1 stored it: with the two files of darts for its network."""
    model.model.save(f"{folder}/nbeats.pt", clean=True)
    stored = {
        name: value for name, value in vars(model).items() if name not in ("weights", "columns")
    }
    before = object.__new__(type(model))
    vars(before).update(stored, model={path.name: path.read_bytes() for path in folder.iterdir()})
    return pickle.loads(pickle.dumps(before))


@pytest.mark.skipif(
    sys.version_info < (3, 11, 4),
    reason="its Enum pickles through getattr, which darts refuses to load",
)
def test_a_network_stored_by_the_version_before_forecasts_the_same_and_is_stored_as_weights(
    tmp_path,
):
    known = known_at(data_of(noisy), NOW)
    model = make("nbeats").fit(known)
    before = as_stored_before(model, tmp_path)
    again = pickle.loads(pickle.dumps(before))  # as it came, when nobody has used it
    assert before.predict(known, 48).equals(model.predict(known, 48))
    assert pickle.loads(pickle.dumps(before)).predict(known, 48).equals(model.predict(known, 48))
    assert isinstance(again.model, dict)
    assert again.predict(known, 48).equals(model.predict(known, 48))


def test_a_network_of_before_that_cannot_be_loaded_says_what_to_do(tmp_path):
    class Unsafe:
        def __reduce__(self):
            return getattr, (pd.Timestamp, "now")

    known = known_at(data_of(noisy), NOW)
    before = as_stored_before(make("nbeats").fit(known), tmp_path)
    before.model["nbeats.pt"] = pickle.dumps(Unsafe())
    with pytest.raises(
        ModelError, match=r"^nbeats: an earlier version stored .* run python train_forecast\.py$"
    ):
        before.predict(known, 48)


@pytest.mark.parametrize("name", NAMES)
def test_search_space_suggests_parameters_that_the_model_has(name):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    suggested = MODELS[name].search_space(optuna.create_study().ask())
    assert set(suggested) <= set(MODELS[name].defaults)
    MODELS[name](**suggested)


def test_an_unknown_parameter_is_refused():
    with pytest.raises(ModelError, match="trees_per_hectare"):
        MODELS["random_forest"](trees_per_hectare=400)


@pytest.mark.parametrize("name", NAMES)
def test_no_history_is_refused_in_one_line(name):
    empty = known_at(data_of(sine), NOW - 90 * DAY)
    with pytest.raises(ModelError, match="load-1"):
        make(name).fit(empty)


def test_models_are_quiet(capfd):
    known = known_at(data_of(noisy), NOW)
    for name in ("prophet", "arima", "nbeats", "random_forest", "lightgbm"):
        make(name).fit(known).predict(known, 24)
    output = capfd.readouterr()
    assert (output.out, output.err) == ("", "")
    assert logging.getLogger("cmdstanpy").level == logging.WARNING


@pytest.mark.parametrize("value", [500.0, 0.0])
@pytest.mark.parametrize("kind", ["load", "wind"])
@pytest.mark.parametrize("days", [1, 20])
def test_a_flat_line_need_not_go_on(days, kind, value):
    place = ("x", kind, "", "site-1", 1000.0, 60, 49.6, 6.1, "Europe/Brussels", {})
    times = pd.date_range("2025-01-01", periods=24 * days, freq="h", tz="UTC")
    known = known_at(SourceData(Source(*place), pd.Series(value, times)), times[-1] + DAY / 24)
    frame = MODELS["seasonal_naive"](24).fit(known).predict(known, 24)
    assert (frame["q90"] - frame["q10"]).min() > 0 and (frame["value"] == value).all()
