"""Scores against a second implementation, and the battery that values prices."""

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from small_days import END, data_of, source

from vpp.champions.leaderboard import ratio_to_naive
from vpp.forecast.backtest import ForecastError, backtest
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.forecast.scores import battery_day, coverage_by, scores
from vpp.site.times import DAY


def market_days(forecast, actual, start="2025-03-01T23:00") -> pd.DataFrame:
    """A backtest of whole local days issued the day before."""
    times = pd.date_range(start, periods=len(actual), freq="h", tz="UTC")
    frame = pd.DataFrame(
        {
            "issue_time": times[0] - pd.Timedelta(hours=13),
            "valid_time": times,
            "value": forecast,
            "actual": actual,
        }
    )
    for column, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True):
        frame[column] = frame["value"] + 10 * (level - 0.5)
    return frame.assign(published=False, dark=False, naive=50.0)


class TestScores:
    def test_they_agree_with_scikit_learn(self):
        data = data_of()
        frame = backtest(MODELS["arima"], data, [END - day * DAY for day in range(20, 2, -3)], 48)
        frame.loc[5, "actual"] = np.nan  # not measured: does not count
        found, rows = scores(frame, data.source), frame.drop(index=5)
        mae = sklearn.metrics.mean_absolute_error(rows["actual"], rows["value"])
        assert found["mae"] == pytest.approx(mae)
        assert found["rmse"] == pytest.approx(
            sklearn.metrics.root_mean_squared_error(rows["actual"], rows["value"])
        )
        assert found["nmae"] == pytest.approx(mae / 400)
        assert found["rmae"] == pytest.approx(
            mae / sklearn.metrics.mean_absolute_error(rows["actual"], rows["naive"])
        )
        each = [
            sklearn.metrics.mean_pinball_loss(rows["actual"], rows[column], alpha=level)
            for column, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)
        ]
        assert found["pinball"] == pytest.approx(np.mean(each))
        assert found["rows"] == len(rows)

    @pytest.mark.parametrize("size", [0.0, 1.0, 400.0, 1e6])
    @pytest.mark.parametrize("off", [0.0, 1e-16, 1e-13])
    def test_nothing_is_compared_with_an_error_of_the_arithmetic(self, size, off):
        actual = np.tile([0.25 * size, size], 12)
        frame = market_days(actual + 0.5, actual).assign(naive=actual + off * max(size, 1.0))
        found = scores(frame, source("load"))
        assert found["mae"] == pytest.approx(0.5) and found["rmae"] is None
        naive = scores(frame.assign(value=frame["naive"]), source("load"))
        assert ratio_to_naive(found["mae"], naive["mae"]) is None
        near = frame.assign(naive=actual + 1e-5 * max(size, 1.0))  # an error that could be measured
        assert scores(near, source("load"))["rmae"] == pytest.approx(0.5e5 / max(size, 1.0))

    def test_a_certain_forecast_has_scores_like_any_other(self):
        """Its band has no width: a price is not published because of that, nor is an hour dark."""
        actual = np.concatenate([np.full(18, 100.0), np.full(6, 104.0)])
        for kind in ("market", "load"):
            frame = market_days(np.full(24, 100.0), actual)
            frame[list(QUANTILE_COLUMNS)] = 100.0
            found = scores(frame, source(kind))
            assert (found["mae"], found["rows"]) == (1.0, 24)
            assert (found["coverage_80"], found["width_80"]) == (0.75, 0.0)

    def test_a_solar_plants_night_is_in_no_coverage(self):
        frame = market_days(np.zeros(24), np.zeros(24))
        frame[list(QUANTILE_COLUMNS)] = 0.0
        frame.loc[:11, "dark"] = True
        frame.loc[12:14, "actual"] = 5.0
        found = scores(frame, source("solar"))
        assert (found["coverage_80"], found["rows"]) == (0.75, 24)

    def test_coverage_and_width_of_the_80_percent_band(self):
        frame = market_days(
            np.full(24, 100.0), np.concatenate([np.full(18, 103.9), np.full(6, 104.1)])
        )
        found = scores(frame, source("load"))
        assert found["coverage_80"] == 0.75  # the band is 96 to 104
        assert found["width_80"] == pytest.approx(8.0)

    def test_published_prices_do_not_count(self):
        frame = market_days(np.full(48, 100.0), np.full(48, 103.0))
        frame.loc[:23, ["value", "actual", *QUANTILE_COLUMNS]] = 7.0
        frame.loc[:23, "published"] = True
        found = scores(frame, source("market"))
        assert (found["mae"], found["rows"]) == (3.0, 24)

    def test_a_perfect_price_forecast_captures_everything(self):
        prices = 50 + 30 * np.sin(np.arange(48) / 24 * 2 * np.pi)
        found = scores(market_days(prices, prices), source("market"))
        assert found["captured_share"] == pytest.approx(1.0)
        assert found["kendall_tau"] == pytest.approx(1.0)
        upside_down = scores(market_days(-prices, prices), source("market"))
        assert upside_down["captured_share"] < 0
        assert upside_down["kendall_tau"] == pytest.approx(-1.0)

    def test_a_day_that_begins_at_one_o_clock_counts_as_a_whole(self):
        prices = 50 + 30 * np.sin(np.arange(23) / 24 * 2 * np.pi)
        frame = market_days(prices, prices, "2025-04-24T22:00")  # 01:00 to 24:00 in Cairo
        assert scores(frame, source("market"), "Africa/Cairo")["captured_share"] is not None
        assert scores(frame[:22], source("market"), "Africa/Cairo")["captured_share"] is None

    def test_without_actual_values_there_is_nothing_to_score(self):
        with pytest.raises(ForecastError, match="no row"):
            scores(market_days(np.ones(24), np.full(24, np.nan)), source("load"))


class TestBattery:
    def test_four_hours_by_hand(self):
        # charge 1 MW in both cheap hours: 2 × 0.95 = 1.9 MWh stored, 1.9 × 0.95 = 1.805 MWh
        # delivered: 1 at 100 and 0.805 at 90
        prices = np.array([10.0, 20.0, 100.0, 90.0])
        sold = battery_day(prices, 1.0)
        np.testing.assert_allclose(sold, [-1, -1, 1, 0.805], atol=1e-6)
        assert sold @ prices == pytest.approx(100 + 0.805 * 90 - 30)

    def test_quarter_hours_hold_power_and_energy(self):
        # at most 2 MWh stored: 2 / 0.95 = 2.105 MWh bought of the 3 h × 1 MW that are cheap
        sold = battery_day(np.repeat([1.0, 1.0, 1.0, 80.0, 80.0], 4), 0.25)
        assert sold.max() <= 1 + 1e-9
        assert -sold[:12].sum() * 0.25 <= 2 / 0.95 + 1e-9
        assert sold[12:].sum() * 0.25 == pytest.approx(1.9)

    def test_a_negative_price_pays_for_losses_but_not_for_charging_and_discharging_at_once(self):
        # one hour in, one hour out: 50 earned, 0.9025 × 50 paid back
        assert battery_day(np.array([-50.0, -50.0]), 1.0) @ np.array(
            [-50.0, -50.0]
        ) == pytest.approx(50 - 45.125)

    def test_flat_prices_are_left_alone(self):
        np.testing.assert_allclose(battery_day(np.full(24, 60.0), 1.0), 0, atol=1e-9)


def test_coverage_by_lead_hour_and_season():
    """Two days ahead, of which the band holds on the first and in the afternoon of the second."""
    times = pd.date_range("2025-07-01T00:00Z", periods=48, freq="h")
    held = np.arange(48) < 24
    held |= times.tz_convert("Europe/Brussels").hour >= 12
    frame = pd.DataFrame({"issue_time": times[0], "valid_time": times, "actual": 10.0})
    frame["q10"], frame["q90"] = np.where(held, 9.0, 11.0), 12.0
    frame = frame.assign(published=False, dark=False)
    frame.loc[0, "dark"] = True
    found = coverage_by(frame, "Europe/Brussels").set_index(["by", "group"])
    # the second day is 24 h from 02:00 local on: 10 hours until noon, and those after midnight
    assert found.loc[("lead", 1), "coverage_80"] == 1
    assert found.loc[("lead", 1), "rows"] == 23
    assert found.loc[("lead", 2), "coverage_80"] == 12 / 24
    assert found.loc[("hour", 14), "coverage_80"] == 1
    assert found.loc[("hour", 3), "coverage_80"] == 0.5
    assert found.loc[("hour", 3), "width_80"] == 2
    assert list(found.loc["season"].index) == ["summer"]
