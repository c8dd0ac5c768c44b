"""The columns of a table of regressors, and the values that each is made of."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_features import only
from small_series import at, hourly, source, weather

from vpp.forecast import features
from vpp.forecast.known import SourceData, known_at
from vpp.site.times import DAY


def test_a_table_gets_the_columns_that_a_model_was_fitted_with():
    table = pd.DataFrame({"extra": [0.0], "ghi": [5.0]})
    found = features.aligned(table, ["ghi_mean", "ghi", "temp_air", "wind_speed_mean"])
    assert list(found) == ["ghi_mean", "ghi", "temp_air", "wind_speed_mean"]
    np.testing.assert_equal(found.to_numpy(), [[5.0, 5.0, np.nan, np.nan]])


LAGS = ["recent_1", "mean_7_days", "week_1"]
FLAGS = ["working_day", "holiday", "day_before_holiday", "day_after_holiday"]


@pytest.mark.parametrize(
    ("kind", "place", "columns"),
    [
        ("load", {}, [*LAGS, *FLAGS]),
        ("market", {}, [*LAGS, *FLAGS]),
        ("wind", {}, LAGS),
        ("solar", {}, [*LAGS, "sin_elevation"]),
        ("solar", {"latitude": None}, LAGS),
        ("solar", {"longitude": None}, LAGS),
    ],
)
def test_regressors_of_each_kind(kind, place, columns):
    data = SourceData(source(kind, **place), hourly("2025-04-20", 24 * 18))
    known = known_at(data, at("2025-05-08T00:00"))
    # local midnight of 9 May in Luxembourg, a holiday, and of the 10th
    times = pd.DatetimeIndex([at("2025-05-08T22:00"), at("2025-05-09T22:00")])
    table = features.regressors(known, times)
    assert list(table) == columns
    pd.testing.assert_index_equal(table.index, times)
    if FLAGS[0] in columns:
        assert table[FLAGS].to_numpy().tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]
    if "sin_elevation" in columns:
        noon = features.regressors(known, pd.DatetimeIndex([at("2025-05-08T11:30")]))
        # 90° − 49.6° + 17.2° of declination: 57.6° above the horizon at the highest
        assert noon["sin_elevation"].iloc[0] == pytest.approx(np.sin(np.radians(57.6)), abs=0.01)
        assert (table["sin_elevation"] == 0).all()


def test_regressors_reach_back_14_days_and_two_weeks():
    now = pd.DatetimeIndex([at("2025-07-01")])
    for before, value in ((14, 5.0), (15, np.nan)):
        table = features.regressors(only({24 * before: 5, 30: 9}), now)
        np.testing.assert_equal(table[LAGS].to_numpy(), [[value] * 3])


def test_pseudo_origins_are_those_of_the_issue_and_as_many_that_wander():
    """History from 1 January: origins from the 9th on, each asked for two hours."""
    data = SourceData(source(), hourly("2025-01-01", 24 * 13))
    origins, times = features.pseudo_origins(known_at(data, at("2025-01-14T00:00")), 2)
    same = [f"2025-01-{day:02}T00:00" for day in (13, 12, 11, 10, 9)]
    # 0, 7, 14, 21 and 28 − 24 hours later; the first is there already
    wander = ["2025-01-12T07:00", "2025-01-11T14:00", "2025-01-10T21:00", "2025-01-09T04:00"]
    expected = pd.DatetimeIndex([at(text) for text in (*same, *wander)]).as_unit("ns")
    pd.testing.assert_index_equal(origins[::2], expected)
    pd.testing.assert_index_equal(origins[1::2], expected)
    pd.testing.assert_index_equal(times[::2], expected)
    pd.testing.assert_index_equal(times[1::2], expected + pd.Timedelta(hours=1))
    early, _ = features.pseudo_origins(known_at(data, at("2025-01-09T00:00")), 2)
    assert len(early) == 0
    young, _ = features.pseudo_origins(known_at(data, at("2025-01-14T00:00")), 2, first_day=12)
    assert list(young) == [at("2025-01-13T00:00")] * 2


def one_pair(known, ahead_h=0, origin=None):
    """Features of one pair at the issue time, and when they became known."""
    origins = pd.DatetimeIndex([origin or known.issue_time])
    table, available = features.design(known, origins, origins + pd.Timedelta(hours=ahead_h))
    return table.loc[0], available.loc[0]


def test_features_tell_when_they_became_known():
    """Value n at hour n since 1 January UTC; asked at 00:00 of 31 January, for 10:00."""
    data = SourceData(source(), hourly("2025-01-01", 24 * 30), weather(["2025-01-30T18:00"]))
    table, available = one_pair(known_at(data, at("2025-01-31T00:00")), ahead_h=10)
    always = ["horizon_h", "hour", "weekday", "season_sin", "season_cos", *FLAGS]
    expected = dict.fromkeys(always, pd.NaT)
    expected |= dict.fromkeys(["recent_1", "recent_2", "mean_7_days"], at("2025-01-30T11:00"))
    expected |= dict.fromkeys(["week_1", "week_2", "mean_4_weeks"], at("2025-01-24T11:00"))
    newest = ["last", "mean_day", "mean_week", "day_minus_week_before"]
    expected |= dict.fromkeys(newest, at("2025-01-31T00:00"))
    expected |= dict.fromkeys(["ghi", "wind_speed"], at("2025-01-30T18:00"))
    assert list(table.index) == list(available.index) == list(expected)
    for name, time in expected.items():
        found = available[name]
        assert found == time or (pd.isna(found) and pd.isna(time)), name
    assert (table["ghi"], table["wind_speed"]) == (16.0, 16.0)  # 16 h after the issue


def test_lags_reach_back_28_days():
    for before, value in ((28, 5.0), (29, np.nan)):
        table, _ = one_pair(only({24 * before: 5, 30: 9}))
        np.testing.assert_equal(table[["recent_1", "mean_7_days"]].to_numpy(), [value] * 2)
    weeks = ["week_1", "week_2", "mean_4_weeks"]
    table, available = one_pair(only({24 * 14: 5, 30: 9}))  # two weeks before, and no other
    np.testing.assert_equal(table[weeks].to_numpy(), [5, np.nan, 5])
    assert available["week_1"] == at("2025-06-29T19:00")  # the week before is a gap that ended then
    known = known_at(SourceData(source(), hourly("2025-01-01", 24 * 60), zone="UTC"), at("2025-03"))
    table, available = one_pair(known, ahead_h=24 * 8)  # a week before that is not known yet
    assert table[weeks].tolist() == [24 * 53, 24 * 46, 24 * (53 - 7)]
    assert (available[weeks] == at("2025-02-23T01:00")).all()


def test_means_are_over_what_there_is():
    known = only({5: 1.0, 4: 2.0, 1: 6.0})  # a gap of two hours is filled: 1 2 10/3 14/3 6
    newest = ["last", "mean_day", "mean_week"]
    table, available = one_pair(known)
    assert table[newest].tolist() == pytest.approx([6, 3.4, 3.4])
    assert np.isnan(table["day_minus_week_before"])
    table, available = one_pair(known, origin=at("2025-06-30T20:00"))  # the first is known
    assert table[newest].tolist() == [1, 1, 1]
    assert available["last"] == at("2025-06-30T20:00")
    table, available = one_pair(known, origin=at("2025-06-30T19:00"))  # nothing is
    assert table[newest].isna().all()
    assert pd.isna(available["last"])
    table, _ = one_pair(only({50: 9.0, 40: 1.0, 20: 3.0, 1: 6.0}))  # long gaps stay
    assert table[newest].tolist() == [6, 4.5, 19 / 4]


def test_of_a_history_without_values_there_is_only_the_calendar():
    empty = known_at(SourceData(source(), hourly("2025-01-01", 24)), at("2024-12-01"))
    table, available = one_pair(empty)
    assert table[["recent_1", "last", "mean_week"]].isna().all()
    assert (table["horizon_h"], table["weekday"]) == (0, 6)
    assert available["last"] == at("2024-12-01")


@pytest.mark.parametrize(
    ("before", "value"), [(1, 5.0), (2, 5.0), (3, 5.0), (4, np.nan), (7, 5.0), (8, np.nan)]
)
def test_other_series_count_at_the_same_hour_1_2_3_and_7_days_before(before, value):
    times = pd.date_range("2025-06-20", "2025-07-01", freq="h", tz="UTC", inclusive="left")
    others = pd.DataFrame({"other-1": np.where(times == at("2025-07-01") - before * DAY, 5, None)})
    others = others.set_index(times).astype(float)
    known = only({24: 5, 1: 9}, others=others)
    table, _ = one_pair(known)
    np.testing.assert_equal(table["other-1_recent"], value)


def test_other_series_are_known_after_their_delay():
    others = pd.DataFrame({"other-1": hourly("2025-06-20", 24 * 11)})
    known = only({24: 5, 3: 9}, others=others, measurement_delay_min=90)
    _, available = one_pair(known)
    assert available["other-1_recent"] == at("2025-06-30T02:30")


@pytest.mark.parametrize(
    ("kind", "place", "has"),
    [("solar", {}, True), ("solar", {"latitude": None}, False), ("wind", {}, False)],
)
def test_the_sun_is_a_feature_of_solar_plants(kind, place, has):
    data = SourceData(source(kind, **place), hourly("2025-05-01", 24 * 18))
    table, available = one_pair(known_at(data, at("2025-05-19")), ahead_h=11)
    assert ("sin_elevation" in table) == has
    if has:  # 90° − 49.6° + 19.7° of declination, in the hour before noon
        assert table["sin_elevation"] == pytest.approx(np.sin(np.radians(60.1)), abs=0.01)
        assert pd.isna(available["sin_elevation"])


def test_holidays_are_those_of_the_country():
    data = SourceData(source(), hourly("2025-05-01", 24 * 7), holidays_country="LU")
    for country, holiday in (("LU", 1), ("BE", 0)):
        known = known_at(dataclasses.replace(data, holidays_country=country), at("2025-05-08"))
        table, _ = one_pair(known, ahead_h=24)
        assert table["holiday"] == holiday  # 9 May, Europe Day
