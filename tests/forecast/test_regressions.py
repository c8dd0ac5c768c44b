import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest
from small_midnights import MIDNIGHTS, hours_around

from vpp.forecast.day_kinds import day_kinds, weighted_quantiles
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.model import ModelError
from vpp.forecast.models.combination import Combination
from vpp.forecast.models.dnn import Dnn
from vpp.forecast.models.lear import Lear, lasso, penalty_by_aic
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.ridge import HourlyRidge
from vpp.forecast.quantiles import COLUMNS, FLAGS
from vpp.forecast.scaling import asinh, robust_scale, sinh
from vpp.site.sources import Source
from vpp.site.times import DAY

ZONE = "Europe/Brussels"
SMALL_TREES = {"trees": 20, "most_rows": 2000}
HOUR = pd.Timedelta(hours=1)
MODELS = {
    "hourly_ridge": HourlyRidge,
    "lightgbm": lambda: LightGbm(**SMALL_TREES),
    "lear": lambda: Lear(windows_days=(28, 56)),
    "dnn": lambda: Dnn(nets=3),
}
# mean error of prices that last week's miss by 20; networks learn less from three months
CLOSE = dict.fromkeys([*MODELS, "combination"], 8) | {"dnn": 14}
EVERY = MODELS | {"combination": lambda: Combination(members=("hourly_ridge", "lear"))}


def make_data(kind="market", days=100, step_min=60, start="2025-01-01", seed=1):
    """Prices that follow a known forecast of the residual load, or a load with a weekly and daily
    shape, from local midnight on.
    """
    first = pd.Timestamp(start, tz=ZONE).tz_convert("UTC")
    times = pd.date_range(
        first, periods=days * 24 * 60 // step_min, freq=f"{step_min}min", name="time"
    ).as_unit("ns")
    local, noise = times.tz_convert(ZONE), np.random.default_rng(seed).normal(0, 1, len(times))
    shape = np.sin(2 * np.pi * (local.hour + local.minute / 60 - 9) / 24)
    source = Source(
        "s", kind, "s", "site", None if kind == "market" else 5000.0, step_min, None, None, ZONE, {}
    )
    if kind == "load":
        free = day_kinds(local.tz_localize(None).normalize(), "LU") >= 3
        values = 2000 + 500 * shape - 400 * free + 20 * noise
        return SourceData(source, pd.Series(values, times), zone=ZONE, holidays_country="LU")
    hours = pd.date_range(first, periods=(days + 3) * 24, freq="h").as_unit("ns")
    residual = pd.Series(np.random.default_rng(seed + 1).normal(50, 15, len(hours)), hours)
    values = 10 + 1.2 * residual.reindex(times, method="ffill").to_numpy() + 5 * shape + noise
    issued = (
        (hours.tz_convert(ZONE).tz_localize(None).normalize() - pd.Timedelta(hours=14))
        .tz_localize(ZONE)
        .tz_convert("UTC")
    )
    forecasts = pd.DataFrame(
        {"issue_time": issued, "valid_time": hours, "residual_mw": residual.to_numpy()}
    )
    return SourceData(source, pd.Series(values, times), forecasts, zone=ZONE, holidays_country="LU")


def issue(text):
    return pd.Timestamp(text, tz=ZONE).tz_convert("UTC")


def test_asinh_round_trip():
    prices = np.array([-500.0, -0.05, 0.0, 47.3, 2096.81])
    np.testing.assert_allclose(
        sinh(asinh(prices, 80.0, 40.0), 80.0, 40.0), prices, rtol=1e-12, atol=1e-9
    )
    assert asinh(np.array([80.0]), 80.0, 40.0)[0] == 0


def test_robust_scale_ignores_a_spike():
    centre, scale = robust_scale(np.array([[1.0], [2.0], [3.0], [4.0], [1000.0]]))
    assert centre[0] == 3  # distances 2 1 0 1 997: median 1
    assert scale[0] == pytest.approx(1.4826)
    assert robust_scale(np.full((5, 1), 7.0))[1][0] == 1  # a constant column is not divided by zero


def test_weighted_quantiles():
    # four equal weights lie at the middle of their quarters: 1/8, 3/8, 5/8, 7/8
    assert weighted_quantiles(
        np.array([4.0, 1.0, 3.0, 2.0]), np.ones(4), [0.125, 0.5, 0.875]
    ) == pytest.approx([1, 2.5, 4])
    # a weight of three is three observations: their centre of mass moves the median to it
    assert weighted_quantiles(np.array([1.0, 2.0]), np.array([1.0, 3.0]), [0.625]) == pytest.approx(
        [2.0]
    )


def test_penalty_by_aic_is_that_of_scikit_learn():
    from sklearn.linear_model import LassoLarsIC

    rng = np.random.default_rng(3)
    x = rng.normal(size=(300, 20)) * np.arange(1, 21)
    y = x @ np.where(np.arange(20) < 3, 2.0, 0.0) + rng.normal(size=300)
    x, y = x - x.mean(axis=0), y - y.mean()
    unit = x / np.linalg.norm(x, axis=0)
    expected = (
        LassoLarsIC("aic", noise_variance=y @ y / 300, fit_intercept=False).fit(unit, y).alpha_
    )
    assert penalty_by_aic(x.T @ x, x.T @ y, y @ y, 300) == pytest.approx(expected, rel=1e-9)
    assert penalty_by_aic(x.T @ x, x.T @ (0 * y), 0.0, 300) == np.inf  # a constant target


def test_lasso_is_that_of_scikit_learn_and_finds_the_three_regressors_that_count():
    from sklearn.linear_model import Lasso

    rng = np.random.default_rng(4)
    x = rng.normal(size=(49, 247))
    y = x[:, :3] @ [3.0, -2.0, 2.0] + 0.1 * rng.normal(size=49)
    x, y = np.asfortranarray(x - x.mean(axis=0)), y - y.mean()
    beta = lasso(x, y, x.T @ x, x.T @ y, 0.05)
    np.testing.assert_allclose(
        beta, Lasso(0.05, fit_intercept=False, tol=1e-8, max_iter=100000).fit(x, y).coef_, atol=0.02
    )
    assert set(np.argsort(-np.abs(beta))[:3]) == {0, 1, 2}
    np.testing.assert_allclose(beta[:3], [3, -2, 2], atol=0.2)
    assert not lasso(x, y, x.T @ x, x.T @ y, np.inf).any()


def test_lear_recovers_a_linear_structure():
    data = make_data()
    known = known_at(
        data, issue("2025-04-05T11:00")
    )  # prices of the 5th are published, those of the 6th are asked for
    frame = Lear(windows_days=(56, 84)).fit(known).predict(known, 37)
    day = frame[frame.index >= issue("2025-04-06")]
    actual = data.series.reindex(day.index)
    assert len(day) == 24
    # the noise has a standard deviation of 1, hence a mean absolute value of 0.8; last week's price
    # is off by 20
    assert (day["value"] - actual).abs().mean() < 1.6
    assert (data.series.reindex(day.index - 7 * DAY).to_numpy() - actual).abs().mean() > 10


def test_a_free_day_is_forecast_as_a_sunday():
    data = make_data("load", days=140)
    known = known_at(data, issue("2025-04-30T11:00"))  # Thursday 1 May 2025 is a public holiday
    frame = HourlyRidge().fit(known).predict(known, 37)
    day = frame[frame.index >= issue("2025-05-01")]["value"]
    assert (
        day - data.series.reindex(day.index)
    ).abs().mean() < 30  # the noise alone: 20 * 0.8 = 16
    assert day.mean() == pytest.approx(1600, abs=15)  # a Thursday's mean is 2,000


def test_lear_forecasts_a_public_holiday_nearer_to_a_sunday():
    data, errors = make_data("load", days=140), []
    for country in ("LU", ""):
        known = known_at(
            dataclasses.replace(data, holidays_country=country), issue("2025-04-30T11:00")
        )
        frame = Lear().fit(known).predict(known, 37)
        day = frame[frame.index >= issue("2025-05-01")]["value"]
        errors.append((day - data.series.reindex(day.index)).abs().mean())
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["market", "load"])
def test_pickled_models_forecast_the_same(name, kind):
    known = known_at(make_data(kind), issue("2025-03-28T11:00"))
    model = MODELS[name]().fit(known)
    frame = model.predict(known, 48)
    pd.testing.assert_frame_equal(
        pickle.loads(pickle.dumps(model)).predict(known, 48), frame, check_exact=True
    )
    values = frame[list(COLUMNS)].to_numpy(float)
    assert list(frame.columns) == [*COLUMNS, *FLAGS]
    assert np.isfinite(values).all()
    assert (np.diff(values[:, 1:], axis=1) >= 0).all()


def plant(kind):
    """The prices of `make_data` are the power of a plant; that of a solar one by day only."""
    data = make_data()
    source = dataclasses.replace(
        data.source, kind=kind, capacity_kw=200.0, latitude=49.6, longitude=6.1
    )
    day = 1.0 if kind == "wind" else (data.series.index.hour > 7) & (data.series.index.hour < 16)
    return dataclasses.replace(data, source=source, series=data.series.clip(lower=0) * day)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((n, k) for n in EVERY for k in ("market", "load")),
        *((n, k) for n in ("hourly_ridge", "lightgbm") for k in ("wind", "solar")),
    ],
)
def test_what_is_not_known_yet_changes_nothing(name, kind):
    data, now = (
        plant(kind) if kind in ("wind", "solar") else make_data(kind, days=85),
        issue("2025-03-20T11:00"),
    )
    series = data.series.copy()
    series[data.available_at > now] = 12345.0  # later measurements, and prices published at 13:00
    forecasts = data.weather_forecasts
    if forecasts is not None:
        forecasts = forecasts.assign(
            residual_mw=forecasts["residual_mw"].where(forecasts["issue_time"] <= now, -999.0)
        )
    others = None
    if kind == "market":
        data = dataclasses.replace(
            data, others=(2 * data.series + np.arange(len(series)) % 7).to_frame("load-1")
        )
        others = data.others.where((data.series.index + HOUR <= now)[:, None], -999.0)
    changed = dataclasses.replace(data, series=series, weather_forecasts=forecasts, others=others)
    before, after = (
        EVERY[name]().fit(known_at(d, now)).predict(known_at(d, now), 48) for d in (data, changed)
    )
    pd.testing.assert_frame_equal(before, after, check_exact=True)


# hours from a local midnight three days before the day that is forecast: over that midnight, days,
# all until the forecast
@pytest.mark.parametrize("gap", [(-5, 5), (-100, -60), (-20, 200)])
@pytest.mark.parametrize("name", ["lear", "dnn", "combination"])
def test_a_gap_in_the_prices_leaves_a_whole_forecast(name, gap):
    data, now, midnight = make_data(), issue("2025-04-05T11:00"), issue("2025-04-03")
    series, (first, last) = data.series.copy(), (midnight + hours * HOUR for hours in gap)
    series[(series.index >= first) & (series.index < last)] = np.nan
    known = known_at(dataclasses.replace(data, series=series), now)
    frame = EVERY[name]().fit(known).predict(known, 48)
    assert np.isfinite(frame.to_numpy(float)).all()
    day = frame[frame.index >= issue("2025-04-06")]["value"]
    assert (day - data.series.reindex(day.index)).abs().mean() < CLOSE[name]


def test_lear_fills_the_hour_that_summer_time_skips_and_no_other():
    data = make_data()
    series = data.series.copy()
    series[issue("2025-03-25T03:00") : issue("2025-03-25T20:00")] = np.nan  # 18 hours
    days, hourly, _, _ = Lear()._days(
        known_at(dataclasses.replace(data, series=series), issue("2025-04-05T11:00")), ahead=1
    )
    missing = pd.DataFrame(np.isnan(hourly), index=days)
    assert missing.loc["2025-03-25"].to_numpy().nonzero()[0].tolist() == list(range(3, 21))
    assert missing.drop(pd.Timestamp("2025-03-25"))[:-1].to_numpy().sum() == 0
    spring = hourly[days == "2025-03-30"][0]
    assert spring[2] == spring[1] == data.series[issue("2025-03-30T01:00")]


@pytest.mark.parametrize(("zone", "change"), MIDNIGHTS)
def test_lear_learns_from_a_day_without_midnight(zone, change):
    times = hours_around(change, days=20)
    data = dataclasses.replace(make_data(), series=pd.Series(1.0, times), zone=zone)
    days, hourly, _, _ = Lear()._days(known_at(data, times[-1]), ahead=1)
    assert np.isfinite(hourly[(days > days[1]) & (days < days[-3])]).all()


@pytest.mark.parametrize("day, hours", [("2025-03-30", 23), ("2024-10-27", 25)])
@pytest.mark.parametrize("name", ["hourly_ridge", "lear", "dnn"])
def test_days_of_23_and_25_hours(name, day, hours):
    start = pd.Timestamp(day) - 90 * DAY
    data = make_data(days=95, start=str(start.date()))
    now = issue(day) - pd.Timedelta(hours=13)
    known = known_at(data, now)
    frame = MODELS[name]().fit(known).predict(known, 13 + hours)
    frame = frame[frame.index >= issue(day)]
    assert len(frame) == hours
    assert (frame["value"] - data.series.reindex(frame.index)).abs().mean() < CLOSE[name]


def test_quarter_hours():
    data = make_data(days=45, step_min=15)
    known = known_at(data, issue("2025-02-10T11:00"))
    for name, model in MODELS.items():
        frame = model().fit(known).predict(known, 4 * 37)
        assert (frame["value"] - data.series.reindex(frame.index)).abs().mean() < CLOSE[name]


def test_combination_is_the_mean_of_its_members():
    known = known_at(make_data("load", days=30), issue("2025-01-25T00:00"))
    both = Combination(members=("hourly_ridge", "lightgbm")).fit(known)
    assert [member.name for member in both.members] == ["hourly_ridge", "lightgbm"]
    expected = np.mean([member.predict(known, 24)["value"] for member in both.members], axis=0)
    np.testing.assert_allclose(both.predict(known, 24)["value"], expected)
    assert [member.name for member in Combination().fit(known).members] == [
        "hourly_ridge",
        "lightgbm",
    ]  # LEAR and DNN are for prices


def test_too_little_history_is_refused():
    known = known_at(make_data(days=12), issue("2025-01-11T11:00"))
    for model in (HourlyRidge(), Lear(), Dnn(), LightGbm()):
        with pytest.raises(ModelError, match="needed"):
            model.fit(known)


def test_a_regressor_that_hardly_varied_does_not_run_away_with_the_forecast():
    """Weather of 10.0 +- 0.1 degrees was learnt from.

    At 40 degrees, 300 standard deviations off, the load stays near its level.
    """
    data = make_data("load", days=60)
    hours = data.series.index
    weather = pd.DataFrame({"issue_time": hours[0], "valid_time": hours, "temp_air": 10.0})
    weather["temp_air"] += 0.1 * np.random.default_rng(2).normal(size=len(hours))
    now = hours[24 * 56]
    weather.loc[weather["valid_time"] >= now, "temp_air"] = 40.0
    known = known_at(
        SourceData(data.source, data.series, weather, zone=ZONE, holidays_country="LU"), now
    )
    model = HourlyRidge().fit(known)
    forecast, history = model.predict(known, 48), known.targets
    reach = history.max() - history.min()
    assert forecast["value"].between(history.min() - reach, history.max() + reach).all()
    model.range = (-np.inf, np.inf)  # what holds it is the range that was learnt
    assert (
        not model.predict(known, 48)["value"]
        .between(history.min() - reach, history.max() + reach)
        .all()
    )


@pytest.mark.parametrize("kind", ["market", "load"])
def test_every_setting_of_lightgbm_that_is_tried_can_be_fitted(kind):
    class Lowest:
        """The lowest value of each range that tuning tries."""

        @staticmethod
        def suggest_int(name, low, high, log=False):
            return low

        suggest_float = suggest_int

    known = known_at(make_data(kind, days=30), issue("2025-01-25T00:00"))
    settings = LightGbm.search_space(Lowest)
    assert settings["min_leaf"] < 20
    for min_leaf in (settings["min_leaf"], 19, 40):
        model = LightGbm(**settings | {"min_leaf": min_leaf}).fit(known)
        assert model.predict(known, 24)["value"].notna().all()
