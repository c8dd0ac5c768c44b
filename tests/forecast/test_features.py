"""Availability, gaps, local time, weather forecasts and the features made of them.

Times and values worked out by hand.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from sources import Source
from vpp.forecast import features
from vpp.forecast.known import SourceData, history_problem, known_at
from vpp.forecast.sun import dark, sin_elevation
from vpp.site.times import DAY, calendar, local_lag, price_available_at

BRUSSELS = "Europe/Brussels"


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def source(kind="load", step_min=60, latitude=49.6, longitude=6.1, capacity_kw=1000.0) -> Source:
    capacity_kw = None if kind == "market" else capacity_kw
    return Source(
        f"{kind}-1", kind, kind, "site-1", capacity_kw, step_min, latitude, longitude, BRUSSELS, {}
    )


def hourly(start: str, hours: int, values=None, step_min=60) -> pd.Series:
    index = pd.date_range(start, periods=hours, freq=f"{step_min}min", tz="UTC")
    return pd.Series(np.arange(hours, dtype=float) if values is None else values, index)


def weather(issues: list[str], hours=48, step_min=60) -> pd.DataFrame:
    """ghi = 100 × number of the issue + lead hour; wind_speed = lead hour."""
    parts = []
    for number, issue in enumerate(issues):
        valid = pd.date_range(issue, periods=hours, freq=f"{step_min}min", tz="UTC")
        lead = np.arange(hours) * step_min / 60
        parts.append(
            pd.DataFrame(
                {
                    "issue_time": at(issue),
                    "valid_time": valid,
                    "ghi": 100.0 * number + lead,
                    "wind_speed": lead,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("time", "known"),
    [
        ("2025-01-10T12:00", "2025-01-09T12:00"),  # 13:00 CET of the day before
        ("2025-01-10T23:00", "2025-01-10T12:00"),  # local midnight of the 11th
        (
            "2025-03-30T00:00",
            "2025-03-29T12:00",
        ),  # the 30th has 23 hours; published on the 29th, still CET
        (
            "2025-03-30T22:00",
            "2025-03-30T11:00",
        ),  # local midnight of the 31st; published at 13:00 CEST
        (
            "2025-10-26T22:30",
            "2025-10-25T11:00",
        ),  # the last half hour but one of the 25-hour day; published in summer time
        ("2025-10-26T23:00", "2025-10-26T12:00"),
    ],
)
def test_prices_are_known_from_13_00_of_the_day_before(time, known):
    assert price_available_at(pd.DatetimeIndex([at(time)]))[0] == at(known)


def test_publication_time_and_zone_are_settings():
    got = price_available_at(
        pd.DatetimeIndex([at("2025-01-10T12:00")]), "12:42", "Europe/London", BRUSSELS
    )
    assert got[0] == at("2025-01-09T12:42")


def test_a_measurement_is_known_at_the_end_of_its_interval_and_its_delay():
    data = SourceData(
        source(step_min=15), hourly("2025-01-01", 8, step_min=15), measurement_delay_min=20
    )
    # the interval 00:30–00:45 is known at 01:05
    assert known_at(data, at("2025-01-01T01:04")).series.index[-1] == at("2025-01-01T00:15")
    assert known_at(data, at("2025-01-01T01:05")).series.index[-1] == at("2025-01-01T00:30")


def test_published_prices_are_known_ahead():
    data = SourceData(source("market"), hourly("2025-01-01T23:00", 72))
    assert known_at(data, at("2025-01-03T11:59")).series.index[-1] == at("2025-01-03T22:00")
    assert known_at(data, at("2025-01-03T12:00")).series.index[-1] == at("2025-01-04T22:00")


def test_weather_forecasts_are_known_from_their_issue():
    data = SourceData(
        source(), hourly("2025-01-01", 48), weather(["2025-01-01T00:00", "2025-01-01T06:00"])
    )
    assert known_at(data, at("2025-01-01T05:59")).weather_forecasts["issue_time"].max() == at(
        "2025-01-01T00:00"
    )
    assert known_at(data, at("2025-01-01T06:00")).weather_forecasts["issue_time"].max() == at(
        "2025-01-01T06:00"
    )


def test_short_gaps_are_filled_and_marked_and_long_ones_cut():
    values = np.arange(20, dtype=float)
    values[[3, 4]] = np.nan  # two hours
    values[8:13] = np.nan  # five hours
    values[18] = np.nan  # the last known hour: nothing after it to fill to
    known = known_at(SourceData(source(), hourly("2025-01-01", 20, values)), at("2025-01-01T19:00"))
    assert known.series.iloc[3] == 3.0
    assert known.series.iloc[4] == 4.0
    assert list(np.flatnonzero(known.filled)) == [3, 4]
    assert known.series.iloc[8:13].isna().all()
    assert known.series.index[-1] == at("2025-01-01T17:00")
    assert len(known.targets) == 11  # 18 hours without 2 filled and 5 cut ones


def test_what_fills_a_gap_is_known_when_the_next_measured_value_is():
    values = np.arange(20, dtype=float)
    values[[3, 4, 9, 10, 11, 12, 13]] = np.nan
    known = known_at(SourceData(source(), hourly("2025-01-01", 20, values)), at("2025-01-01T20:00"))
    expected = np.arange(1, 21)
    expected[[3, 4]], expected[9:14] = 6, 15  # the ends of the hours 5 and 14
    assert list(known.available_at.hour) == [hour % 24 for hour in expected]


def test_a_hole_in_the_index_is_a_gap():
    series = hourly("2025-01-01", 10).drop(at("2025-01-01T04:00"))
    known = known_at(SourceData(source(), series), at("2025-01-01T10:00"))
    assert known.series[at("2025-01-01T04:00")] == 4.0
    assert known.filled.sum() == 1


def test_history_days_cut_the_start():
    known = known_at(
        SourceData(source(), hourly("2025-01-01", 24 * 30)), at("2025-01-21T00:00"), history_days=5
    )
    assert known.series.index[0] == at("2025-01-16T00:00")


def test_too_little_history_and_a_flat_line_are_problems():
    wave = 100 + np.sin(np.arange(24 * 30))
    good = SourceData(source(), hourly("2025-01-01", 24 * 30, wave))
    assert history_problem(known_at(good, at("2025-01-31T00:00"))) is None
    assert "13.0 days" in history_problem(known_at(good, at("2025-01-14T00:00")))
    flat = SourceData(
        source(), hourly("2025-01-01", 24 * 30, np.where(np.arange(24 * 30) < 24 * 22, wave, 42.0))
    )
    assert "flat line at 42" in history_problem(known_at(flat, at("2025-01-31T00:00")))


@pytest.mark.parametrize("kind", ["load", "market"])
def test_a_history_that_ended_days_ago_is_a_problem(kind):
    data = SourceData(
        source(kind), hourly("2025-01-01", 24 * 30, 100 + np.sin(np.arange(24 * 30)))
    )  # the newest: 30 January, 23:00
    assert history_problem(known_at(data, at("2025-01-30T11:00"))) is None
    assert history_problem(known_at(data, at("2025-02-01T23:00"))) is None
    assert (
        history_problem(known_at(data, at("2025-02-03T11:00")))
        == "the newest value is 3.5 days old"
    )
    late = dataclasses.replace(
        data, measurement_delay_min=2 * 24 * 60
    )  # values that come two days late are not old
    assert history_problem(known_at(late, at("2025-02-03T11:00"))) is None


@pytest.mark.parametrize(
    ("time", "days", "expected"),
    [
        ("2025-04-02T10:00", 7, "2025-03-26T11:00"),  # noon before and after the clock goes ahead
        ("2025-10-29T11:00", 7, "2025-10-22T10:00"),  # and back
        (
            "2025-03-31T00:30",
            1,
            "2025-03-30T01:30",
        ),  # 02:30 did not exist on the 30th: an hour on, 03:30 CEST
        ("2025-10-27T01:30", 1, "2025-10-26T00:30"),  # 02:30 was twice on the 26th: the first one
    ],
)
def test_the_same_local_hour_some_days_before(time, days, expected):
    assert local_lag(pd.DatetimeIndex([at(time)]), days, BRUSSELS)[0] == at(expected)


def test_seasonal_naive_is_last_weeks_same_local_hour():
    data = SourceData(source(), hourly("2025-03-01", 24 * 60))
    known = known_at(data, at("2025-04-01T00:00"))
    got = features.seasonal_naive(
        known, pd.DatetimeIndex([at("2025-04-02T10:00"), at("2025-04-09T10:00")])
    )
    # hour number of 2025-03-26T11:00 = 25 × 24 + 11; a week later it is not known, so the same
    # value stands in
    assert list(got) == [611.0, 611.0]


def test_calendar_knows_holidays_and_working_days():
    days = calendar(
        pd.DatetimeIndex([at("2025-05-09T10:00"), at("2025-05-10T10:00"), at("2025-05-12T22:00")]),
        BRUSSELS,
        "LU",
    )
    assert list(days["holiday"]) == [1, 0, 0]  # Europe Day is a public holiday in Luxembourg
    assert list(days["working_day"]) == [0, 0, 1]  # a Friday, a Saturday, and Tuesday 00:00 local
    assert list(days["hour"]) == [12, 12, 0]
    assert days["day_after_holiday"].iloc[1] == 1


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
    for (
        first,
        last,
        # two short gaps that end after an origin at 09:00, one before local midnight, and a long one
        # around an origin
    ) in (
        ("2025-03-01T07:00", "2025-03-01T09:00"),
        ("2025-03-01T21:00", "2025-03-01T22:00"),
        ("2025-03-10T20:00", "2025-03-11T10:00"),
    ):
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


def test_other_series_are_known_at_the_end_of_their_interval_and_its_delay():
    others = pd.DataFrame({"other-1": hourly("2025-01-01", 8, step_min=15)})
    series = hourly("2025-01-01", 8, step_min=15)
    data = SourceData(source(step_min=15), series, others=others, measurement_delay_min=20)
    # the interval 00:30–00:45 is known at 01:05, and that of 00:00 at 00:35
    for now, newest in (("01:04", "00:15"), ("01:05", "00:30"), ("00:35", "00:00")):
        known = known_at(data, at(f"2025-01-01T{now}"))
        assert known.others.index[-1] == at(f"2025-01-01T{newest}")
    assert known_at(data, at("2025-01-01T00:34")).others is None


def test_history_days_cut_the_start_of_weather_forecasts():
    data = SourceData(source(), hourly("2025-01-01", 240), weather(["2025-01-05T00:00"]))
    known = known_at(data, at("2025-01-07T12:00"), history_days=1)
    assert known.weather_forecasts["valid_time"].min() == at("2025-01-06T12:00")
    assert known_at(data, at("2025-01-09T00:00"), history_days=1).weather_forecasts is None


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


@pytest.mark.parametrize(("missing", "filled"), [(3, True), (4, False)])
@pytest.mark.parametrize("step_min", [60, 15])
def test_gaps_of_three_hours_are_filled(missing, filled, step_min):
    values = np.arange(100, dtype=float)
    values[10 : 10 + missing * 60 // step_min] = np.nan
    data = SourceData(source(step_min=step_min), hourly("2025-01-01", 100, values, step_min))
    known = known_at(data, at("2025-01-06T00:00"))
    assert known.filled.sum() == (missing * 60 // step_min if filled else 0)
    if filled:
        assert list(known.series) == list(range(100))


def test_prices_are_known_from_the_time_stored_with_them():
    """The prices of 11 January.

    Stored as known at 09:00, but for one hour with no such time and one known at 15:00 only.
    """
    times = pd.date_range("2025-01-09T23:00Z", periods=48, freq="h")
    by_rule = SourceData(source("market"), pd.Series(np.arange(48.0), times))
    assert (by_rule.available_at[24:] == at("2025-01-10T12:00")).all()
    stored = pd.Series(pd.DatetimeIndex(by_rule.available_at), times)
    pd.testing.assert_index_equal(
        dataclasses.replace(by_rule, stored_available_at=stored).available_at, by_rule.available_at
    )
    stored[times[24:]] = at("2025-01-10T09:00")
    early = dataclasses.replace(by_rule, stored_available_at=stored)
    assert len(known_at(early, at("2025-01-10T08:59")).series) == 24
    assert len(known_at(early, at("2025-01-10T09:00")).series) == 48
    missing = dataclasses.replace(early, stored_available_at=stored.drop(times[40]))
    assert len(known_at(missing, at("2025-01-10T09:00")).series) == 40
    stored[times[40]] = at("2025-01-10T15:00")
    late = dataclasses.replace(by_rule, stored_available_at=stored)
    assert len(known_at(late, at("2025-01-10T14:59")).series) == 40  # nor those after it
    assert len(known_at(late, at("2025-01-10T15:00")).series) == 48
