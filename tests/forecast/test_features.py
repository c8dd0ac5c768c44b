"""Lags, weather forecasts and the features made of them: times and values worked out by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_features import only
from small_series import at, hourly, source, weather

from vpp.forecast import features
from vpp.forecast.known import SourceData, known_at
from vpp.site.times import DAY, price_available_at


def test_seasonal_naive_is_last_weeks_same_local_hour():
    data = SourceData(source(), hourly("2025-03-01", 24 * 60))
    known = known_at(data, at("2025-04-01T00:00"))
    got = features.seasonal_naive(
        known, pd.DatetimeIndex([at("2025-04-02T10:00"), at("2025-04-09T10:00")])
    )
    # hour number of 2025-03-26T11:00 = 25 × 24 + 11; a week later it is not known, so the same
    # value stands in
    assert list(got) == [611.0, 611.0]


def known_weather(forecasts, now, step_min=60):
    return known_at(
        SourceData(
            source(step_min=step_min), hourly("2024-12-01", 24 * 90, step_min=step_min), forecasts
        ),
        at(now),
    )


def test_weather_comes_from_the_newest_issue_known_at_the_origin():
    known = known_weather(weather(["2025-01-01T00:00", "2025-01-01T06:00"]), "2025-01-02T00:00")
    origins = pd.DatetimeIndex(
        [at("2025-01-01T05:00"), at("2025-01-01T06:00"), at("2024-12-31T00:00")]
    )
    values, issued = features.weather_at(
        known, origins, pd.DatetimeIndex([at("2025-01-01T10:00")] * 3)
    )
    assert list(values["ghi"][:2]) == [10.0, 104.0]
    assert np.isnan(values["ghi"].iloc[2])  # nothing was issued yet
    assert (issued[:2] == [at("2025-01-01T00:00").value, at("2025-01-01T06:00").value]).all()


def test_hourly_weather_is_interpolated_between_the_middles_of_its_hours():
    known = known_weather(weather(["2025-01-01T00:00"]), "2025-01-01T00:00", step_min=15)
    times = pd.DatetimeIndex(
        [at("2025-01-01T10:00"), at("2025-01-01T10:15"), at("2025-01-01T10:30")]
    )
    values, _ = features.weather_at(known, pd.DatetimeIndex([known.issue_time] * 3), times)
    # the hour 10–11 has 10 at 10:30; the quarter 10:00–10:15 has its middle 22.5 min before that
    np.testing.assert_allclose(values["ghi"], [10 - 22.5 / 60, 10 - 7.5 / 60, 10 + 7.5 / 60])


def test_beyond_a_weather_forecast_the_same_hour_of_its_last_day_stands_in():
    known = known_weather(weather(["2025-01-01T00:00"]), "2025-01-01T00:00")
    times = pd.DatetimeIndex([at("2025-01-02T23:00"), at("2025-01-03T05:00")])
    values, _ = features.weather_at(known, pd.DatetimeIndex([known.issue_time] * 2), times)
    assert list(values["ghi"]) == [47.0, 29.0]


def test_the_mean_of_issues_counts_those_that_were_known_and_reach_the_time():
    known = known_weather(
        weather(["2025-01-01T00:00", "2025-01-01T06:00", "2025-01-01T12:00"]), "2025-01-02T00:00"
    )
    origins = pd.DatetimeIndex(
        [
            at("2025-01-01T05:00"),
            at("2025-01-01T06:00"),
            at("2025-01-01T06:00"),
            at("2024-12-31T00:00"),
        ]
    )
    times = pd.DatetimeIndex(
        [
            at("2025-01-01T10:00"),
            at("2025-01-01T10:00"),
            at("2025-01-03T02:00"),
            at("2025-01-01T10:00"),
        ]
    )
    values, issued = features.weather_ensemble(known, origins, times)
    # (10 + 104) / 2; the first issue ends with 2025-01-02, so the second one stands alone at 02:00
    # of the 3rd, 44 h after it
    assert list(values["ghi_mean"][:3]) == [10.0, 57.0, 144.0]
    assert np.isnan(values["ghi_mean"].iloc[3])
    assert list(values["ghi"][:3]) == [10.0, 104.0, 144.0]
    assert issued[1] == at("2025-01-01T06:00").value
    alone = known_weather(weather(["2025-01-01T00:00", "2025-01-03T00:00"]), "2025-01-04T00:00")
    assert (
        "ghi_mean" not in features.weather_ensemble(alone, origins[:1], times[:1])[0]
    )  # where issues do not overlap


def sample(kind="load", days=60, now="2025-03-31T09:00") -> SourceData:
    generator = np.random.default_rng(3)
    index = pd.date_range(
        at(now).floor("D") - days * DAY, periods=24 * (days + 3), freq="h", tz="UTC"
    )
    series = pd.Series(
        100 + 20 * np.sin(index.hour / 24 * 2 * np.pi) + generator.normal(size=len(index)), index
    )
    issues = [str(time.tz_localize(None)) for time in index[::12]]
    others = (
        pd.DataFrame({"other-1": generator.normal(size=len(index))}, index)
        if kind == "market"
        else None
    )
    return SourceData(source(kind), series, weather(issues), others)


def scrambled(data: SourceData, now: pd.Timestamp) -> SourceData:
    """The same data with everything that is not known at `now` replaced."""
    series, forecasts = data.series.copy(), data.weather_forecasts.copy()
    later = data.available_at > now
    assert later.any()
    series[later] = -1e6
    forecasts.loc[forecasts["issue_time"] > now, ["ghi", "wind_speed"]] = -1e6
    others = data.others
    if others is not None:
        others = others.copy()
        others[others.index + data.step > now] = -1e6
    return dataclasses.replace(data, series=series, weather_forecasts=forecasts, others=others)


@pytest.mark.parametrize("kind", ["load", "market", "solar"])
def test_what_is_not_known_yet_changes_no_feature(kind):
    data, now = sample(kind), at("2025-03-31T09:00")
    one, two = known_at(data, now), known_at(scrambled(data, now), now)
    origins, times = features.pseudo_origins(one, 48)
    table, _ = features.design(one, origins, times)
    other, _ = features.design(two, *features.pseudo_origins(two, 48))
    assert table.to_numpy().tobytes() == other.to_numpy().tobytes()
    ahead = one.valid_times(48)
    assert (
        features.regressors(one, ahead).to_numpy().tobytes()
        == features.regressors(two, ahead).to_numpy().tobytes()
    )


@pytest.mark.parametrize("kind", ["load", "market"])
def test_no_feature_of_a_pair_was_known_after_its_origin(kind):
    data = sample(kind)
    # two short gaps that end after an origin at 09:00, one before local midnight, and a long one
    # around an origin
    gaps = (
        ("2025-03-01T07:00", "2025-03-01T09:00"),
        ("2025-03-01T21:00", "2025-03-01T22:00"),
        ("2025-03-10T20:00", "2025-03-11T10:00"),
    )
    for first, last in gaps:
        data.series[at(first) : at(last)] = np.nan
    known = known_at(data, at("2025-03-31T09:00"))
    origins, times = features.pseudo_origins(known, 48)
    table, available = features.design(known, origins, times)
    assert len(table) > 1000
    assert table["week_1"].notna().any()
    late = available.gt(pd.Series(origins), axis=0)
    assert not late.any().any(), list(late.columns[late.any()])
    # and the features of one pseudo-origin are those that a forecast issued then would have had
    for then in (origins[len(origins) // 2], at("2025-03-01T09:00"), at("2025-03-11T09:00")):
        chosen = origins == then
        at_the_time, _ = features.design(known_at(data, then), origins[chosen], times[chosen])
        assert len(at_the_time) > 20
        pd.testing.assert_frame_equal(table[chosen].reset_index(drop=True), at_the_time)


def test_pseudo_origins_ask_only_for_prices_that_were_not_published():
    known = known_at(sample("market"), at("2025-03-31T09:00"))
    origins, times = features.pseudo_origins(known, 48)
    assert (price_available_at(times) > origins).all()
    assert times.isin(known.targets.index).all()


def test_beyond_the_newest_issue_its_last_day_counts_among_those_that_reach_further():
    forecasts = weather(["2025-01-01T00:00", "2025-01-01T06:00"])
    second = forecasts["issue_time"] == at("2025-01-01T06:00")
    forecasts = forecasts[~second | (forecasts["valid_time"] < at("2025-01-02T06:00"))]
    known = known_weather(forecasts, "2025-01-02T00:00")
    times = pd.DatetimeIndex([at("2025-01-02T10:00"), at("2025-01-03T10:00")])
    values, _ = features.weather_ensemble(known, pd.DatetimeIndex([known.issue_time] * 2), times)
    # The second issue ends at 06:00 of the 2nd: 10:00 of the 1st stands in, 4 h after it: 104.
    # The first one has 34 for 10:00 of the 2nd, and ends before the 3rd: it counts there no more.
    assert list(values["ghi"]) == [104.0, 104.0]
    assert list(values["ghi_mean"]) == [(104 + 34) / 2, 104.0]


def test_the_mean_is_that_of_the_newest_six_issues():
    issues = pd.date_range("2025-01-01", periods=8, freq="6h")
    known = known_weather(weather([f"{issue:%Y-%m-%dT%H:%M}" for issue in issues]), "2025-01-04")
    now = pd.DatetimeIndex([issues[-1].tz_localize("UTC")])
    values, _ = features.weather_ensemble(known, now, pd.DatetimeIndex([at("2025-01-02T20:00")]))
    # issue n has 100 n + 44 − 6 n, and all eight reach: the mean over 2 to 7 is 94 × 4.5 + 44
    assert values["ghi_mean"].iloc[0] == pytest.approx(94 * 4.5 + 44)
    assert values["ghi"].iloc[0] == pytest.approx(94 * 7 + 44)


@pytest.mark.parametrize(("kind", "has"), [("load", True), ("market", True), ("wind", False)])
def test_it_is_heated_below_15_and_cooled_above_22_degrees(kind, has):
    forecasts = weather(["2025-01-18T00:00"], hours=53).iloc[48:]
    forecasts["temp_air"] = [-5.0, 15.0, 18.0, 22.0, 30.0]
    data = SourceData(source(kind), hourly("2025-01-01", 24 * 19), forecasts)
    known = known_at(data, at("2025-01-20T00:00"))
    table = features.regressors(known, known.valid_times(5))
    assert list(table["temp_air"]) == [-5, 15, 18, 22, 30]
    assert ("heating" in table, "cooling" in table) == (has, has)
    if has:
        assert list(table["heating"]) == [20, 0, 0, 0, 0]
        assert list(table["cooling"]) == [0, 0, 0, 0, 8]


def test_regressors_are_the_same_hours_before_as_a_forecast_would_have_known_them():
    """Value n at hour n since 1 January; asked at 00:00 of the 21st, hour 480."""
    known = known_at(SourceData(source(), hourly("2025-01-01", 24 * 20)), at("2025-01-21T00:00"))
    times = pd.DatetimeIndex([at("2025-01-18T10:00"), at("2025-01-22T10:00")])
    table = features.regressors(known, times)
    # Hour 418 is asked at hour 394: hour 370, two days before, is the newest of its hours then.
    # Hour 514 is asked at 480: hour 466 is the newest of its hours.
    assert list(table["recent_1"]) == [370, 466]
    # the mean of the newest seven known: three days before the newest
    assert list(table["mean_7_days"]) == [370 - 72, 466 - 72]
    assert list(table["week_1"]) == [418 - 168, 514 - 168]


def test_the_features_of_one_pair_by_hand():
    """Value n at hour n since 1 January UTC; asked at 00:00 of 31 January, hour 720, for 10:00."""
    others = pd.DataFrame({"other-1": hourly("2025-01-01", 24 * 30) + 1000})
    data = SourceData(source(), hourly("2025-01-01", 24 * 30), others=others)
    now = pd.DatetimeIndex([at("2025-01-31T00:00")])
    table, available = features.design(known_at(data, now[0]), now, now + pd.Timedelta("10h"))
    expected = {
        "horizon_h": 10,
        "hour": 11,  # in Brussels
        "weekday": 4,
        "recent_1": 706,  # 730 − 24
        "recent_2": 682,
        "mean_7_days": 706 - 72,
        "week_1": 562,  # 730 − 168
        "week_2": 394,
        "mean_4_weeks": 730 - 168 * 2.5,
        "last": 719,
        "mean_day": 719 - 11.5,
        "mean_week": 719 - 83.5,
        "day_minus_week_before": 168,
        "other-1_recent": 1706,
    }
    assert table.loc[0, list(expected)].to_dict() == expected
    known_from = {"recent_1": "30T11", "week_1": "24T11", "last": "31T00"}
    for name, time in (known_from | {"other-1_recent": "30T11"}).items():
        assert available.loc[0, name] == at(f"2025-01-{time}:00"), name


NOTHING = np.iinfo(np.int64).min


@pytest.mark.parametrize(
    ("values", "first", "second", "mean_of_two"),
    [
        ([np.nan, 1, 2, 9], 1, 2, 1.5),
        ([3, np.nan, 5, 9], 3, 5, 4),
        ([np.nan, np.nan, 7, np.nan], 7, np.nan, 7),
        ([np.nan] * 4, np.nan, np.nan, np.nan),
    ],
)
def test_the_first_values_that_are_known(values, first, second, mean_of_two):
    row = np.array([values])
    np.testing.assert_equal(features.first_known(row), [first])
    np.testing.assert_equal(features.first_known(row, 2), [second])
    np.testing.assert_equal(features.mean_known(row, 2), [mean_of_two])


@pytest.mark.parametrize(("days", "reach"), [(7, 126), (1, 42)])
def test_seasonal_naive_reaches_back_so_many_days(days, reach):
    now = pd.DatetimeIndex([at("2025-07-01")])
    for before, value in ((reach, 5.0), (reach + days, np.nan)):
        known = only({24 * before: 5, 3: 9})
        np.testing.assert_equal(features.seasonal_naive(known, now, days), [value])


@pytest.mark.parametrize("make", [features.weather_at, features.weather_ensemble])
def test_the_issue_that_a_forecast_is_of_is_told(make):
    known = known_weather(weather(["2025-01-01T00:00", "2025-01-01T06:00"]), "2025-01-02T00:00")
    origins = pd.DatetimeIndex([at("2024-12-31"), at("2025-01-01"), at("2025-01-01T07:00")])
    times = pd.DatetimeIndex([at("2025-01-01T10:00")] * 3)
    table, issued = make(known, origins, times)
    pd.testing.assert_index_equal(table.index, times)
    assert issued.dtype == np.int64
    expected = [NOTHING, at("2025-01-01").value, at("2025-01-01T06:00").value]
    assert issued.tolist() == expected
    assert [column for column in table if not column.endswith("_mean")] == ["ghi", "wind_speed"]
