"""Availability of measurements, prices and forecasts; gaps; histories not to learn from.

Times and values worked out by hand.
"""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_series import at, hourly, source, weather

from vpp.forecast.known import SourceData, fill_short_gaps, history_problem, known_at


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


def test_all_that_is_not_a_series_goes_on_as_it_is():
    data = SourceData(
        source(), hourly("2025-01-01", 8), zone="Europe/Lisbon", holidays_country="PT",
        measurement_delay_min=5,
    )  # fmt: skip
    known = known_at(data, pd.Timestamp("2025-01-01T06:00+01:00"))
    assert (known.source, known.zone, known.holidays_country) == (source(), "Europe/Lisbon", "PT")
    assert (known.issue_time, str(known.issue_time.tz)) == (at("2025-01-01T05:00"), "UTC")
    assert (known.measurement_delay, known.step) == (pd.Timedelta("5min"), pd.Timedelta("1h"))
    assert (known.weather_forecasts, known.others) == (None, None)


@pytest.mark.parametrize("step_min", [60, 15])
def test_a_forecast_is_for_the_intervals_from_the_issue_time_on(step_min):
    known = known_at(
        SourceData(source(step_min=step_min), hourly("2025-01-01", 96, step_min=step_min)),
        at("2025-01-01T06:00"),
    )
    expected = pd.date_range("2025-01-01T06:00Z", periods=3, freq=f"{step_min}min")
    pd.testing.assert_index_equal(known.valid_times(3), expected.rename("valid_time"))


@pytest.mark.parametrize(
    ("values", "longest", "expected"),
    [
        ([1, None, 3], 1, [1, 2, 3]),  # from the second place on
        ([None, 2, 3], 1, [None, 2, 3]),  # nothing before it
        ([1, 2, None], 1, [1, 2, None]),  # nothing after it
        ([1, None, None, 4], 1, [1, None, None, 4]),  # too long
        ([1, None, None, 4, None, 8], 2, [1, 2, 3, 4, 6, 8]),
        ([1, None, None, None, 5, None, 7], 2, [1, None, None, None, 5, 6, 7]),
    ],
)
def test_a_gap_is_filled_between_two_values_and_nowhere_else(values, longest, expected):
    series = pd.Series(values, hourly("2025-01-01", len(values)).index, dtype=float, name="kw")
    found, filled = fill_short_gaps(series, longest)
    wanted = pd.Series(expected, series.index, dtype=float, name="kw")
    pd.testing.assert_series_equal(found, wanted)
    assert list(filled) == list(series.isna() & wanted.notna())
    pd.testing.assert_index_equal(series.index[series.isna()], series.index[pd.isna(values)])


def history(days: float, flat_h: int = 0, kind="load") -> str | None:
    """The problem of a wave that was flat at 5 in its newest hours."""
    hours = round(24 * days)
    values = np.where(np.arange(hours) < hours - flat_h, 100 + np.sin(np.arange(hours)), 5.0)
    data = SourceData(source(kind), hourly("2025-01-01", hours, values))
    return history_problem(known_at(data, at("2025-01-01") + pd.Timedelta(hours=hours)))


def test_fourteen_days_are_enough_and_an_hour_less_is_not():
    assert history(14) is None
    assert history(14 - 1 / 24) == "14.0 days of history, 14 needed"


@pytest.mark.parametrize(
    ("flat_h", "kind", "problem"),
    [
        (168, "load", None),  # the value 7 days before the newest one is of the wave
        (169, "load", "flat line at 5 for 7 days"),
        (169, "solar", "flat line at 5 for 7 days"),
        (400, "market", None),  # a fixed price is rightly flat
    ],
)
def test_a_power_that_was_flat_for_seven_days_is_a_problem(flat_h, kind, problem):
    assert history(30, flat_h, kind) == problem
