"""Bands shifted by earlier errors: levels, groups of errors, the sun, limits."""

import numpy as np
import pandas as pd
import pytest
from small_history import NOW, check_shape, data_of, noisy, source

from vpp.forecast.calibration import (
    Calibration,
    calibrated,
    calibration_of,
    size_of_errors,
    with_median,
)
from vpp.forecast.known import known_at
from vpp.forecast.models.naive import SeasonalNaive
from vpp.forecast.quantiles import COLUMNS, FLAGS, QUANTILE_COLUMNS, QUANTILES
from vpp.site.times import DAY

FORECAST = dict.fromkeys(FLAGS, False)  # what no row of a hand-made backtest is


def test_shifts_are_the_quantiles_of_the_errors():
    # 999 errors 1..999 at noon of as many days: the 10 % quantile of a future one is the 100th
    # of them (k = 0.1 × 1000)
    errors = np.repeat(np.arange(1.0, 1000.0)[:, None], len(QUANTILES), axis=1)
    noons = pd.date_range("2022-01-01T12:00Z", periods=999, freq="D")
    calibration = Calibration.from_errors(errors, np.full(999, 5.0), noons)
    shift = calibration.shifts[0, 12]
    np.testing.assert_allclose(shift, 1000 * np.array(QUANTILES), rtol=0.05)
    assert (np.diff(shift) > 0).all()


def test_a_value_goes_half_the_way_of_its_median_within_its_band():
    """Of the bands -3 .. 3 around the median: it moves from 10 to 14, so a value of 10.5 to 12.5;
    one of 2 to 4, which is below the new q10 of 12.
    """
    around = np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
    before, after = np.tile(10 + around, (2, 1)), np.tile(14 + around, (2, 1))
    found = with_median(np.array([10.5, 2.0]), before, after)
    np.testing.assert_allclose(found, [12.5, 12.0])
    np.testing.assert_allclose(with_median(np.array([10.5]), before[:1], before[:1]), [10.5])


def test_days_of_the_horizon_and_hours_differ():
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


def test_errors_of_few_days_move_little_and_widen():
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
    low, high = Calibration.from_errors(errors, np.arange(24.0), one_day, levels=(0.1, 0.9)).shifts[
        0, 12
    ]
    # noon's own are 12, 13, 14
    assert low == pytest.approx(((1 / 6) * 20 / 21 + 1 / 21) * 20 / 21 + 12 / 21)
    assert high == pytest.approx(((24 / 6) * 20 / 21 + 24 / 21) * 20 / 21 + 14 / 21)


def test_a_calibrated_band_covers_what_it_says():
    generator, hours = np.random.default_rng(2), 24 * 200
    issue = pd.date_range("2025-01-01", periods=200, freq="D", tz="UTC").repeat(24)
    frame = pd.DataFrame(
        {
            "issue_time": issue,
            "valid_time": issue + pd.to_timedelta(np.tile(np.arange(24), 200), unit="h"),
        }
    )
    raw = np.zeros((hours, len(QUANTILES))) + np.linspace(-1, 1, len(QUANTILES))  # far too narrow
    frame = frame.join(pd.DataFrame(raw, columns=QUANTILE_COLUMNS)).assign(**FORECAST)
    frame = frame.assign(actual=generator.normal(scale=20, size=hours))
    early, late = frame[: hours // 2], frame[hours // 2 :]
    calibration = calibration_of(early, source(), "UTC")
    shifted = calibration.apply(
        raw[hours // 2 :], np.tile(np.arange(24.0), 100), np.tile(np.arange(24), 100)
    )
    inside = (late["actual"] >= shifted[:, 1]) & (late["actual"] <= shifted[:, 5])
    assert 0.77 < inside.mean() < 0.83


def test_given_rows_do_not_count_and_few_errors_calibrate_nothing():
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


def test_the_band_of_a_solar_plant_opens_and_closes_with_the_sun():
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
    calibration = calibration_of(frame.assign(actual=100 + error, **FORECAST), known.source, "UTC")
    raw = pd.DataFrame(
        np.linspace(99, 101, len(QUANTILES)) * np.ones((24, 1)), columns=QUANTILE_COLUMNS
    ).assign(**FORECAST)
    band = calibrated(raw, calibration, NOW, times, known.source, "UTC")
    width = (band[:, 5] - band[:, 1]) / height
    # errors of 40 times the sun's height: an 80 % band is 2 x 1.28 x 40 = 103 wide at a height
    # of 1, and as much per height at dawn
    assert ((width > 60) & (width < 160)).all()
    assert height.max() > 5 * height.min()


def test_a_value_is_within_its_own_calibrated_band():
    known = known_at(data_of(noisy), NOW)
    model = SeasonalNaive().fit(known)
    bare = model.predict(known, 24)
    model.calibration = Calibration(
        np.full((1, 24, len(QUANTILES)), 1000.0)
    )  # it forecast 1000 kW too little of late
    frame = model.predict(known, 24)
    assert (bare["value"] < frame["q10"]).all()
    pd.testing.assert_series_equal(frame["value"], frame["q10"], check_names=False)


def test_a_calibrated_forecast_stays_within_what_is_possible():
    known = known_at(
        data_of(lambda hour, day: noisy(hour, day) * ((hour > 8) & (hour < 17)), "solar"), NOW
    )
    model = SeasonalNaive().fit(known)
    model.calibration = Calibration(
        np.full((2, 24, len(QUANTILES)), 1000.0) * np.linspace(-1, 1, len(QUANTILES))
    )
    frame = model.predict(known, 48)
    check_shape(frame, 48)
    assert frame["q95"].max() == 300.0
    assert frame["q05"].min() == 0.0
    night = (frame.index.hour >= 19) | (frame.index.hour < 4)
    assert (frame.loc[night, list(COLUMNS)] == 0).all().all()


@pytest.mark.parametrize("factor", [0.2, 1.0, 4.0])
@pytest.mark.parametrize("days", [10, 60])
def test_a_band_that_knows_when_it_is_unsure_is_scaled(factor, days):
    """Errors of 10 at one hour of two, of 40 at the next, by a chance that no hour of day tells.

    The band has the right shape and the wrong size: it is to cover 80 % of both.
    """
    rng = np.random.default_rng(4)
    issue = pd.date_range("2025-01-01", periods=days + 200, freq="D", tz="UTC").repeat(24)
    size = rng.choice([10.0, 40.0], len(issue))
    levels = np.array([-1.645, -1.282, -0.674, 0, 0.674, 1.282, 1.645])
    raw = pd.DataFrame(factor * size[:, None] * levels, columns=QUANTILE_COLUMNS)
    hours = np.tile(np.arange(24), days + 200)
    frame = raw.assign(
        issue_time=issue,
        valid_time=issue + pd.to_timedelta(hours, unit="h"),
        actual=rng.normal(0, size),
        **FORECAST,
    )
    early = frame["issue_time"] < frame["issue_time"].iloc[0] + days * DAY
    late = ~early.to_numpy()
    made = calibration_of(frame[early], source(), "UTC")
    band = made.apply(raw.to_numpy()[late], hours[late].astype(float), hours[late])
    actual = frame["actual"].to_numpy()[late]
    inside = (actual >= band[:, 1]) & (actual <= band[:, 5])
    few = days < 20  # which say less
    for of in (10.0, 40.0):
        assert 0.70 < inside[size[late] == of].mean() < (0.97 if few else 0.90), of
    assert (0.72 if few else 0.76) < inside.mean() < (0.92 if few else 0.84)


def test_the_shift_of_a_group_is_that_of_its_own_errors_sorted_one_by_one():
    """The arrays of all groups at once against a loop over each, with hours that have no error."""
    draw = np.random.default_rng(3)
    times = pd.date_range("2025-03-01T00:00Z", periods=900, freq="h").tz_convert("Europe/Brussels")
    times = times[(times.hour < 9) | (times.hour > 20)]
    horizon_h, errors = draw.uniform(0, 60, len(times)), draw.normal(size=(len(times), 2))
    levels = np.array([0.1, 0.7])
    found = Calibration.from_errors(errors, horizon_h, times, levels).shifts

    def towards(shift, rows, half):
        days = len(set(times[rows].date))
        if not days:
            return shift
        wider = 0.5 + (levels - 0.5) * (1 + 1 / (2 * days))
        place = np.clip(wider * (rows.sum() + 1) - 1, 0, rows.sum() - 1)
        columns = zip(place, errors[rows].T, strict=True)
        wanted = np.array([np.interp(p, range(rows.sum()), sorted(col)) for p, col in columns])
        return shift + (wanted - shift) * days / (days + half)

    overall = towards(np.zeros(2), np.ones(len(times), bool), 5)
    for day in range(3):
        on_day = horizon_h // 24 == day
        of_day = towards(overall, on_day, 20)
        for hour in range(24):
            near = on_day & np.isin(times.hour, [(hour + shift) % 24 for shift in (-1, 0, 1)])
            np.testing.assert_allclose(found[day, hour], towards(of_day, near, 20), atol=1e-12)
