"""Bands learn from the forecasts that were really issued."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, load_data, series

import db
from vpp.champions.recalibration import (
    ADAPTATION,
    MOST_ADAPTED,
    adapted_levels,
    corrected,
    recalibrated,
    with_least_width,
)
from vpp.forecast.backtest import LEVEL_LIMITS
from vpp.forecast.calibration import size_of_errors
from vpp.forecast.known import SourceData
from vpp.forecast.quantiles import COLUMNS, QUANTILE_COLUMNS, QUANTILES
from vpp.storage.results import ForecastRun, save_forecasts

DAY = pd.Timedelta(days=1)


def issued(values, at, half):
    """A forecast of a day that is off by noise of 20, its 80 % band half wide on either side."""
    times = pd.date_range(at, periods=24, freq="h", name="valid_time")
    noise = np.random.default_rng(at.dayofyear).normal(0, 20, 24)
    value = values.reindex(times).fillna(300.0).to_numpy() + noise
    bands = value[:, None] + np.linspace(-1.5, 1.5, 7) * half
    frame = pd.DataFrame(np.column_stack([value, bands]), times, COLUMNS)
    return frame.assign(published=False, dark=False)


def run_at(at, role="champion"):
    return ForecastRun("load-1", "arima", "1", END - 40 * DAY, at, role)


def widths(frame):
    return (frame["q90"] - frame["q10"]).to_numpy()


def test_bands_that_were_too_narrow_or_too_wide_are_corrected(quick_world):
    """An 80 % band of noise of 20 is 51 wide; one that misses for a month in spite of corrections
    is widened as far as it may be.
    """
    data = load_data(quick_world, LOAD)
    with db.session(quick_world) as conn:
        for half, low, high in ((2.0, 35.0, 110.0), (100.0, 30.0, 95.0)):
            made = [
                (run_at(END - back * DAY), issued(data.series, END - back * DAY, half))
                for back in range(1, 31)
            ]
            save_forecasts(conn, made)
            now, frame = run_at(END), issued(data.series, END, half)
            found = recalibrated(conn, data, now, frame)
            assert low < np.median(widths(found)) < high, np.median(widths(found))
            assert (np.diff(found[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()
            # again the same, though this one was issued by then
            save_forecasts(conn, [(now, found)])
            pd.testing.assert_frame_equal(recalibrated(conn, data, now, frame), found)
            for role in ("backtest", "manual"):
                same = recalibrated(conn, data, run_at(END, role), frame)
                pd.testing.assert_frame_equal(same, frame)


def test_values_that_were_too_low_follow_by_no_more_than_half(quick_world):
    """Issued 20 too low for thirty days: half of that is 10, and a month says most of it."""
    data = load_data(quick_world, LOAD)
    days = [END - back * DAY for back in range(1, 31)]
    past = pd.concat(
        issued(data.series - 20, day, 30.0).reset_index().assign(issue_time=day) for day in days
    )
    frame = issued(data.series - 20, END, 30.0)
    moved = corrected(frame, data, END, past)["value"] - frame["value"]
    assert 6 < moved.mean() < 13
    published = frame.assign(published=True)
    assert corrected(published, data, END, past)["value"].equals(frame["value"])


def test_few_days_correct_nothing_and_later_values_are_not_known(quick_world):
    data = load_data(quick_world, LOAD)
    with db.session(quick_world) as conn:
        made = [
            (run_at(END - back * DAY), issued(data.series, END - back * DAY, 2.0))
            for back in range(1, 31)
        ]
        save_forecasts(conn, made[-5:])
        frame = issued(data.series, END, 2.0)
        pd.testing.assert_frame_equal(recalibrated(conn, data, run_at(END), frame), frame)
        save_forecasts(conn, made)
        early = run_at(END - 3 * DAY)
        before = recalibrated(conn, data, early, frame.set_axis(frame.index - 3 * DAY))
        data.series[END - 3 * DAY :] = 9e3
        after = recalibrated(conn, data, early, frame.set_axis(frame.index - 3 * DAY))
        pd.testing.assert_frame_equal(before, after)
        assert np.median(widths(before)) > 30


def test_the_levels_move_by_the_share_of_values_that_missed():
    """Of one day a half of the values lies below the quantiles; those of a night say nothing."""
    days = [([-1.0, 1e9], False), ([1e9, 1e9], True)]
    past = pd.concat(
        pd.DataFrame(dict.fromkeys(QUANTILE_COLUMNS, 5.0), range(2)).assign(
            issue_time=END + day * DAY, actual=actual, dark=dark, published=False
        )
        for day, (actual, dark) in enumerate(days)
    )
    levels = np.array(QUANTILES)
    expected = levels + ADAPTATION * (levels - 0.5)
    np.testing.assert_allclose(adapted_levels(past), np.clip(expected, *LEVEL_LIMITS))
    often = pd.concat(past.assign(issue_time=END + day * DAY) for day in range(40))
    moved = adapted_levels(often.assign(actual=-1.0)) - levels  # all lie below, day after day
    expected = np.maximum(levels - MOST_ADAPTED, LEVEL_LIMITS[0]) - levels
    np.testing.assert_allclose(moved, expected)
    equal = past.assign(actual=5.0)  # to all quantiles
    np.testing.assert_allclose(adapted_levels(equal), levels)


@pytest.mark.parametrize("kind", ["solar", "wind", "load", "market"])
def test_a_power_is_nowhere_certain_but_where_it_is_given(kind):
    """A calm, a full load, and what lies between; the flags of a night."""
    capacity = None if kind == "market" else 1000.0
    plant = replace(LOAD, kind=kind, capacity_kw=capacity, latitude=49.6, longitude=6.1)
    times = pd.date_range("2025-06-21T00:00Z", periods=24, freq="h")
    levels = np.tile([0.0, 500.0, 1000.0], 8)
    frame = pd.DataFrame(dict.fromkeys(COLUMNS, levels), times).assign(published=False, dark=False)
    frame.loc[times[3], "dark"] = True
    found = with_least_width(frame, plant)
    if kind == "market":
        assert found is frame  # the price of a tariff is known
        return
    assert found["value"].equals(frame["value"])
    quantiles = found[list(QUANTILE_COLUMNS)].to_numpy()
    width, least = quantiles[:, -1] - quantiles[:, 0], 5.0 * size_of_errors(plant, times)[:, 0]
    assert width[3] == 0 and quantiles[3, 0] == 0
    others = np.delete(np.arange(24), 3)
    assert (width[others] >= 0.999 * least[others]).all() and (width <= 2.001 * least).all()
    assert (np.diff(quantiles, axis=1) >= 0).all() and (quantiles >= 0).all()
    assert kind == "load" or (quantiles <= 1000).all()
    middle = QUANTILES.index(0.5)
    np.testing.assert_array_equal(quantiles[:, middle], levels)
    assert (quantiles[levels == 0, :middle] == 0).all()  # a calm stays within its band
    wide = frame[levels < 1000].assign(q95=levels[levels < 1000] + 100)  # wide enough
    pd.testing.assert_frame_equal(with_least_width(wide, plant), wide)


def save_halves(conn, power):
    """Forecasts of half of a load for a month."""
    made = [
        (run_at(END - back * DAY), issued(power / 2, END - back * DAY, 25.0))
        for back in range(1, 31)
    ]
    save_forecasts(conn, made)


def moved(conn, source, power):
    """How far the errors of those forecasts move the next one, in the mean."""
    data = SourceData(source, power)  # scaled to the capacity of now
    frame = issued(power, END, 25.0)
    return (recalibrated(conn, data, run_at(END), frame)["value"] - frame["value"]).mean()


@pytest.mark.parametrize("since_days", [1, 20, 40])
@pytest.mark.parametrize("stays", [True, False])
def test_forecasts_that_were_made_in_a_former_capacity_correct_nothing(
    quick_world, since_days, stays
):
    """Also those from after the change, where it was told late, or its date is lost again."""
    power, grown = series(LOAD), replace(LOAD, capacity_kw=2000.0)
    with db.session(quick_world) as conn:
        save_halves(conn, power)
        assert moved(conn, grown, power) > 50  # what is to be left out
        since = {"valid_from": (END - since_days * DAY).isoformat()}
        db.upsert_sources(conn, [replace(grown, parameters=since)])
        if not stays:
            db.upsert_sources(conn, [grown])
        conn.commit()
        assert moved(conn, grown, power) == 0
        save_halves(conn, power)  # made anew, of what is stored now
        assert moved(conn, grown, power) > 50


def test_a_change_that_an_earlier_version_kept_counts_from_its_time(quick_world):
    """When it was told is not known: the 20 forecasts issued since then count."""
    power = series(LOAD)
    with db.session(quick_world) as conn:
        for days, counts in ((1, False), (20, True)):
            with conn.cursor() as cursor:
                cursor.execute("DELETE FROM capacities")
                at = (END - days * DAY).to_pydatetime()
                cursor.execute("INSERT INTO capacities VALUES ('load-1', %s, 500)", (at,))
            save_halves(conn, power)
            assert (moved(conn, LOAD, power) > 50) == counts
