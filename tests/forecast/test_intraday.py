"""The next hours by the newest measurements: shares by hand, and nothing that was not known."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_midnights import MIDNIGHTS, dates, hours_around
from small_series import at, hourly, source, weather

from vpp.forecast.intraday import Intraday, as_of, intraday_of
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.naive import DailyNaive
from vpp.forecast.models.pooled import Global
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.forecast.sun import sin_elevation


def backtest_of(errors: np.ndarray, kind="load") -> pd.DataFrame:
    """An origin a day at midnight, a row of errors each; the forecast is 100."""
    parts = []
    for day, of_day in enumerate(errors):
        issue = at("2025-03-01") + pd.Timedelta(days=day)
        times = pd.date_range(issue, periods=len(of_day), freq="h")
        parts.append(
            pd.DataFrame(
                {"issue_time": issue, "valid_time": times, "value": 100.0, "actual": 100 + of_day}
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(published=False, dark=False, **dict.fromkeys(QUANTILE_COLUMNS, 100.0))


def test_an_error_that_halves_each_hour_is_found_by_hand():
    """The error is 2^-h of its first: after k + 1 hours 2^-(k+1) of it is left, times the trust in
    four days, 4 / 5.
    """
    errors = np.outer([80.0, -40.0, 20.0, -10.0], 0.5 ** np.arange(24))
    found = intraday_of(backtest_of(errors), source())
    np.testing.assert_allclose(found.left[:4], 0.8 * np.array([0.5, 0.25, 0.125, 0.0625]))
    # of the error's width a share of 1 - 0.8 is left, less than 0.05 of the variance is never said
    np.testing.assert_allclose(found.width[:4], np.sqrt(0.05), atol=1e-9)


def test_errors_that_do_not_last_leave_nothing():
    errors = np.random.default_rng(1).normal(0, 10, (40, 48))
    found = intraday_of(backtest_of(errors), source())
    assert found.left.max() < 0.1 and found.width.min() > 0.9
    assert (np.diff(found.left) <= 0).all()
    assert intraday_of(backtest_of(errors), source("market")) is None
    assert intraday_of(backtest_of(errors).iloc[:0], source()) is None


def daily(level_of_today=100.0) -> SourceData:
    """100 kW for 20 days; from midnight of the last day on another level."""
    series = hourly("2025-03-01", 20 * 24, np.full(20 * 24, 100.0))
    series[series.index >= at("2025-03-20T00:00")] = level_of_today
    return SourceData(source(), series)


def fitted(data: SourceData, left=0.8) -> DailyNaive:
    model = DailyNaive().fit(known_at(data, at("2025-03-20T00:00")))
    model.intraday = Intraday(left ** np.arange(1, 13), np.full(12, 0.5))
    return model


def test_the_next_hours_follow_the_newest_error_and_the_later_ones_do_not():
    """Since midnight 140 kW are measured, and the morning said 100: its error is 40."""
    data = daily(140.0)
    model, known = fitted(data), known_at(data, at("2025-03-20T06:00"))
    value = model.predict(known, 24)["value"]
    # yesterday's hours say 100 for all; 0.8 of the error is left at the first hour, and counts with
    # the weight sqrt(0.8)
    share = 0.8 ** np.arange(1, 13)
    np.testing.assert_allclose(value[:12], 100 + np.sqrt(share) * share * 40)
    assert (value.iloc[12:18] == 100).all()


@pytest.mark.parametrize(("kind", "until"), [("solar", 17), ("load", 0)])
def test_of_the_sun_the_rest_of_the_day_starts_from_the_mornings_forecast(kind, until):
    """The forecast of midnight UTC said 100 and 100 are measured; the one of noon says 300. The sun
    is up until 17:00 UTC, and the local day ends at 23:00. No error is left after an hour.
    """
    data = dataclasses.replace(daily(), source=source(kind))
    known, update = known_at(data, at("2025-03-20T12:00")), Intraday(np.zeros(12), np.ones(12))
    asked = update.asks(known, known.valid_times(24), at("2025-03-10T00:00"))
    assert asked[0].issue_time == at("2025-03-20T00:00")
    frame = DailyNaive().fit(known).predict(known, 24)
    frame[["value", *QUANTILE_COLUMNS]] = 300.0
    frame["dark"] = frame.index >= at("2025-03-20T17:00")
    found = update.update(frame, known, asked, np.full((len(asked[1]), 8), 100.0))
    morning = found.index[found["value"] == 100]
    assert list(morning.hour) == list(range(12, until))
    assert (found["q90"][morning] == 100).all() and (found["value"].drop(morning) == 300).all()


@pytest.mark.parametrize(("zone", "change"), MIDNIGHTS)
def test_the_rest_of_a_day_is_that_of_the_local_day_where_clocks_change_at_midnight(zone, change):
    """The morning said 100 and the newest forecast says 300, with no error left."""
    hours = hours_around(change, days=12)
    data = SourceData(source("solar"), pd.Series(100.0, hours), zone=zone)
    for now in hours_around(change)[::5]:
        known = known_at(data, now)
        asked = Intraday(np.zeros(12), np.ones(12)).asks(known, known.valid_times(24), now)
        frame = DailyNaive().fit(known).predict(known, 24)
        frame[["value", *QUANTILE_COLUMNS]] = 300.0
        frame["dark"] = False
        values = np.full((len(asked[1]), 8), 100.0)
        found = Intraday(np.zeros(12), np.ones(12)).update(frame, known, asked, values)
        morning = dates(pd.DatetimeIndex([asked[0].issue_time]), zone)[0]
        same = [day == morning for day in dates(found.index[:12], zone)]
        lit = sin_elevation(asked[1][:1], known.step, 49.6, 6.1)[0] >= 0.1
        assert list(found["value"][:12] == 100) == [lit and day for day in same]


def test_without_a_newest_error_nothing_changes():
    data = daily()
    model, known = fitted(data), known_at(data, at("2025-03-20T06:00"))
    model.intraday = None
    plain = model.predict(known, 24)
    np.testing.assert_allclose(fitted(data).predict(known, 24)["value"], plain["value"])
    late = dataclasses.replace(data, measurement_delay_min=13 * 60.0)
    known = known_at(late, at("2025-03-20T06:00"))
    pd.testing.assert_frame_equal(fitted(data).predict(known, 24), model.predict(known, 24))


def test_what_comes_later_changes_nothing():
    now = at("2025-03-20T06:00")
    data, changed = daily(140.0), daily(140.0)
    changed.series[changed.series.index >= now] = 900.0
    found, expected = (fitted(daily()).predict(known_at(each, now), 24) for each in (data, changed))
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("now", ["2025-03-10T00:00", "2025-03-19T07:00"])
def test_what_was_known_earlier_is_what_known_at_says(now):
    data = daily()
    earlier, expected = (
        as_of(known_at(data, at("2025-03-20T00:00")), at(now)),
        known_at(data, at(now)),
    )
    pd.testing.assert_series_equal(earlier.series, expected.series, check_freq=False)
    assert earlier.issue_time == expected.issue_time


def test_the_band_narrows_where_the_error_says_so():
    data = daily(140.0)
    model, known = fitted(data), known_at(data, at("2025-03-20T06:00"))
    model.residuals = np.array(QUANTILES) * 40 - 20
    frame = model.predict(known, 24)
    width = frame["q90"] - frame["q10"]
    np.testing.assert_allclose(width.iloc[:12] / width.iloc[15], 0.5)


@pytest.mark.parametrize("kind", ["load", "solar"])
def test_a_model_of_a_kind_makes_both_forecasts_at_once_and_they_are_the_same(kind, monkeypatch):
    """With gaps before and after the earlier issue time, which was known without the later one."""
    rng, hours = np.random.default_rng(4), 30 * 24
    wave = 300 + 200 * np.sin(2 * np.pi * (np.arange(hours) - 6) / 24) + rng.normal(0, 40, hours)
    series = hourly("2025-03-01", hours, np.maximum(wave, 0))
    fitted_at = at("2025-03-25T00:00")
    series[[fitted_at - pd.Timedelta(hours=5), fitted_at + pd.Timedelta(hours=2)]] = np.nan
    data = SourceData(source(kind), series, weather([str(day) for day in series.index[::24]]))
    model = Global(24, trees=15, min_leaf=10, most_rows=1500).fit(known_at(data, fitted_at))
    model.intraday = Intraday(0.9 ** np.arange(1, 13), np.full(12, 0.5))
    later = [known_at(data, fitted_at + pd.Timedelta(hours=hour)) for hour in (3, 4, 10, 60)]
    found = [model.predict(known, 24) for known in later]
    monkeypatch.setattr(Global, "_own", ForecastModel._own)
    for each, known in zip(found, later, strict=True):
        pd.testing.assert_frame_equal(each, model.predict(known, 24), check_exact=True)
    model.intraday = None
    assert not found[2].equals(model.predict(later[2], 24))
