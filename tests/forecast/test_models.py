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

from vpp.forecast.calibration import Calibration, calibrated, calibration_of, size_of_errors
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.model import ForecastModel, ModelError
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import COLUMNS, FLAGS, QUANTILE_COLUMNS, QUANTILES
from vpp.site.sources import Source
from vpp.site.times import DAY

NOW = pd.Timestamp("2025-04-02T09:00", tz="UTC")  # three days after the clock went ahead
# small ones: what is tested does not need large ones
SMALL = {
    "prophet": {"daily_order": 4},
    "nbeats": {"epochs": 4, "input_h": 48.0, "width": 32},
    "random_forest": {"trees": 20, "most_rows": 2000},
    "lightgbm": {"trees": 30, "most_rows": 2000},
    "lear": {"windows_days": (28, 40)},
    "combination": {"members": ("hourly_ridge",)},
}
NAMES = list(MODELS)
# test_regressions.py has the others
HERE = [name for name in MODELS if name not in ("hourly_ridge", "lightgbm", "lear", "combination")]


def make(name: str) -> ForecastModel:
    return MODELS[name](**SMALL.get(name, {}))


def source(kind="load", step_min=60) -> Source:
    return Source(
        f"{kind}-1",
        kind,
        kind,
        "site-1",
        None if kind == "market" else 300.0,
        step_min,
        49.6,
        6.1,
        "Europe/Brussels",
        {},
    )


def data_of(values, kind="load", step_min=60, days=50, weather=None) -> SourceData:
    """`days` of history before NOW and three after it.

    `values` from the local hour of the day and the day's number.
    """
    index = pd.date_range(
        NOW - days * DAY, NOW + 3 * DAY, freq=f"{step_min}min", tz="UTC", inclusive="left"
    )
    local = index.tz_convert("Europe/Brussels").tz_localize(None)
    hour = (local.hour + local.minute / 60).to_numpy()
    return SourceData(
        source(kind, step_min),
        pd.Series(values(hour, (index - index[0]) / DAY), index).astype(float),
        weather,
    )


def sine(hour, day):
    return 100 + 50 * np.sin(2 * np.pi * hour / 24)


def noisy(hour, day):
    return sine(hour, day) + np.random.default_rng(5).normal(scale=5, size=len(hour))


def forecasts_of_weather(days=50) -> pd.DataFrame:
    """Issued every 12 hours for 60 hours, with sun by day and a wind that wanders."""
    generator, parts = np.random.default_rng(7), []
    for issue in pd.date_range(NOW.floor("12h") - (days + 1) * DAY, NOW + 3 * DAY, freq="12h"):
        valid = pd.date_range(issue, periods=60, freq="h")
        ghi = np.clip(
            np.sin((valid.hour.to_numpy() - 5) / 14 * np.pi), 0, None
        ) * generator.uniform(200, 800)
        wind = (
            6
            + 3 * np.sin((valid.dayofyear + valid.hour / 24).to_numpy() / 3)
            + generator.normal(size=60)
        )
        columns = {
            "ghi": ghi,
            "dni": ghi * 0.6,
            "dhi": ghi * 0.4,
            "temp_air": 10.0,
            "wind_speed": wind.clip(0),
        }
        parts.append(pd.DataFrame({"issue_time": issue, "valid_time": valid} | columns))
    return pd.concat(parts, ignore_index=True)


FORECAST = dict.fromkeys(FLAGS, False)  # what no row of a hand-made backtest is


def check_shape(frame: pd.DataFrame, steps: int, step_min: int = 60) -> None:
    assert list(frame.columns) == [*COLUMNS, *FLAGS]
    assert frame.index.equals(pd.date_range(NOW, periods=steps, freq=f"{step_min}min"))
    assert np.isfinite(frame.to_numpy(float)).all()
    assert (np.diff(frame[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()


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
    "name", [name for name in NAMES if "naive" not in name and name != "lear"]
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


class TestCalibration:
    def test_shifts_are_the_quantiles_of_the_errors(self):
        # 999 errors 1..999 at noon of as many days: the 10 % quantile of a future one is the 100th
        # of them (k = 0.1 × 1000)
        errors = np.repeat(np.arange(1.0, 1000.0)[:, None], len(QUANTILES), axis=1)
        noons = pd.date_range("2022-01-01T12:00Z", periods=999, freq="D")
        calibration = Calibration.from_errors(errors, np.full(999, 5.0), noons)
        shift = calibration.shifts[0, 12]
        np.testing.assert_allclose(shift, 1000 * np.array(QUANTILES), rtol=0.05)
        assert (np.diff(shift) > 0).all()

    def test_days_of_the_horizon_and_hours_differ(self):
        horizon, hour = np.repeat([5.0, 30.0], 500), np.tile([3, 15], 500)
        times = pd.Timestamp("2025-01-01T00:00Z") + pd.to_timedelta(
            np.repeat(np.tile(np.arange(250) * 24, 2), 2) + hour, unit="h"
        )
        size = np.where(horizon > 24, 10.0, 1.0) * np.where(hour == 15, 3.0, 1.0)
        errors = np.repeat(
            (np.random.default_rng(0).normal(size=1000) * size)[:, None], len(QUANTILES), axis=1
        )
        shifts = Calibration.from_errors(errors, horizon, times).shifts
        width = shifts[:, :, -1] - shifts[:, :, 0]
        assert width[1, 15] > 2 * width[1, 3] > 4 * width[0, 3]

    def test_errors_of_few_days_move_little_and_widen(self):
        """A day's 24 errors of 100.

        Of all errors 1/(1 + 5) of the way, then 1/(1 + 20) of the rest, twice: 100 × (1 − 5/6 ×
        (20/21)²).
        """
        errors, one_day = (
            np.full((24, len(QUANTILES)), 100.0),
            pd.date_range("2025-01-01T00:00Z", periods=24, freq="h"),
        )
        shifts = Calibration.from_errors(errors, np.arange(24.0), one_day).shifts
        np.testing.assert_allclose(shifts, 100 * (1 - 5 / 6 * (20 / 21) ** 2))
        # errors 1..24: of 10 % and 90 % become 0.5 ∓ 0.4 × (1 + 1/3) < 0 and > 1: the least and the
        # largest error, at first
        errors = np.repeat(np.arange(1.0, 25.0)[:, None], 2, axis=1)
        low, high = Calibration.from_errors(
            errors, np.arange(24.0), one_day, levels=(0.1, 0.9)
        ).shifts[0, 12]
        # noon's own are 12, 13, 14
        assert low == pytest.approx(((1 / 6) * 20 / 21 + 1 / 21) * 20 / 21 + 12 / 21)
        assert high == pytest.approx(((24 / 6) * 20 / 21 + 24 / 21) * 20 / 21 + 14 / 21)

    def test_a_calibrated_band_covers_what_it_says(self):
        generator, hours = np.random.default_rng(2), 24 * 200
        issue = pd.date_range("2025-01-01", periods=200, freq="D", tz="UTC").repeat(24)
        frame = pd.DataFrame(
            {
                "issue_time": issue,
                "valid_time": issue + pd.to_timedelta(np.tile(np.arange(24), 200), unit="h"),
            }
        )
        raw = np.zeros((hours, len(QUANTILES))) + np.linspace(
            -1, 1, len(QUANTILES)
        )  # far too narrow
        frame = frame.join(pd.DataFrame(raw, columns=QUANTILE_COLUMNS)).assign(**FORECAST)
        frame = frame.assign(actual=generator.normal(scale=20, size=hours))
        early, late = frame[: hours // 2], frame[hours // 2 :]
        calibration = calibration_of(early, source(), "UTC")
        shifted = calibration.apply(
            raw[hours // 2 :], np.tile(np.arange(24.0), 100), np.tile(np.arange(24), 100)
        )
        inside = (late["actual"] >= shifted[:, 1]) & (late["actual"] <= shifted[:, 5])
        assert 0.77 < inside.mean() < 0.83

    def test_given_rows_do_not_count_and_few_errors_calibrate_nothing(self):
        frame = pd.DataFrame(
            {
                "issue_time": [NOW] * 50,
                "valid_time": pd.date_range(NOW, periods=50, freq="h"),
                "actual": 1.0,
            }
        )
        frame[list(QUANTILE_COLUMNS)] = 0.0
        frame = frame.assign(**FORECAST)
        for flag in FLAGS:
            assert calibration_of(frame.assign(**{flag: True}), source(), "UTC") is None
        assert calibration_of(frame[:5], source(), "UTC") is None
        # A forecast that was certain and off by 1 learns from it, though its band had no width: the
        # errors are of 3 days, all of them count 3 / (3 + 5), and more those of the hour.
        assert (calibration_of(frame, source(), "UTC").shifts >= 0.375).all()

    def test_the_band_of_a_solar_plant_opens_and_closes_with_the_sun(self):
        known = known_at(
            data_of(lambda hour, day: noisy(hour, day) * ((hour > 8) & (hour < 17)), "solar"), NOW
        )
        times = known.valid_times(24)
        height = size_of_errors(known.source, times)[:, 0]
        past = pd.date_range(NOW - 20 * DAY, NOW, freq="h", inclusive="left")
        frame = pd.DataFrame({"issue_time": past.floor("D"), "valid_time": past})
        error = size_of_errors(known.source, past)[:, 0] * np.random.default_rng(3).normal(
            scale=40, size=len(past)
        )
        frame = frame.join(
            pd.DataFrame(
                np.linspace(99, 101, len(QUANTILES)) * np.ones((len(past), 1)),
                columns=QUANTILE_COLUMNS,
            )
        )
        calibration = calibration_of(
            frame.assign(actual=100 + error, **FORECAST), known.source, "UTC"
        )
        raw = pd.DataFrame(
            np.linspace(99, 101, len(QUANTILES)) * np.ones((24, 1)), columns=QUANTILE_COLUMNS
        ).assign(**FORECAST)
        band = calibrated(raw, calibration, NOW, times, known.source, "UTC")
        width = (band[:, 5] - band[:, 1]) / height
        # errors of 40 times the sun's height: an 80 % band is 2 x 1.28 x 40 = 103 wide at a height
        # of 1, and as much per height at dawn
        assert ((width > 60) & (width < 160)).all()
        assert height.max() > 5 * height.min()

    def test_a_value_is_within_its_own_calibrated_band(self):
        known = known_at(data_of(noisy), NOW)
        model = make("seasonal_naive").fit(known)
        bare = model.predict(known, 24)
        model.calibration = Calibration(
            np.full((1, 24, len(QUANTILES)), 1000.0)
        )  # it forecast 1000 kW too little of late
        frame = model.predict(known, 24)
        assert (bare["value"] < frame["q10"]).all()
        pd.testing.assert_series_equal(frame["value"], frame["q10"], check_names=False)

    def test_a_calibrated_forecast_stays_within_what_is_possible(self):
        known = known_at(
            data_of(lambda hour, day: noisy(hour, day) * ((hour > 8) & (hour < 17)), "solar"), NOW
        )
        model = make("seasonal_naive").fit(known)
        model.calibration = Calibration(
            np.full((2, 24, len(QUANTILES)), 1000.0) * np.linspace(-1, 1, len(QUANTILES))
        )
        frame = model.predict(known, 48)
        check_shape(frame, 48)
        assert frame["q95"].max() == 300.0
        assert frame["q05"].min() == 0.0
        night = (frame.index.hour >= 19) | (frame.index.hour < 4)
        assert (frame.loc[night, list(COLUMNS)] == 0).all().all()
