"""Rolling-origin backtest, and calibration over its origins."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_days import BRUSSELS, END, data_of, source

from vpp.forecast.backtest import ForecastError, backtest, fit_calibrated, rolling_calibration
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.forecast.scores import scores
from vpp.site.times import DAY, day_ahead_origins


class TestBacktest:
    def test_rows_of_each_origin(self):
        data, origins = data_of(), [END - 5 * DAY, END - 4 * DAY]
        frame = backtest(MODELS["seasonal_naive"], data, origins, 36)
        assert len(frame) == 72
        first = frame.iloc[40]
        assert (first["issue_time"], first["valid_time"]) == (
            END - 4 * DAY,
            END - 4 * DAY + pd.Timedelta(hours=4),
        )
        assert first["actual"] == data.series[first["valid_time"]]
        # the clock has not changed in the week before
        assert first["value"] == first["naive"] == data.series[first["valid_time"] - 7 * DAY]

    @pytest.mark.parametrize(
        ("day", "hours"), [("2025-03-29", 24), ("2025-03-30", 23), ("2025-03-31", 24)]
    )
    def test_the_local_hours_of_the_next_day(self, day, hours):
        data, day = data_of(), pd.Timestamp(day)
        origins = day_ahead_origins(day.date(), day.date(), "11:00", BRUSSELS)
        frame = backtest(MODELS["seasonal_naive"], data, origins, None)
        local = frame["valid_time"].dt.tz_convert(BRUSSELS)
        assert len(frame) == hours
        assert (local.dt.date == day.date()).all()
        assert (
            str(origins[0].tz_convert(BRUSSELS).tz_localize(None))
            == f"{(day - DAY).date()} 11:00:00"
        )

    def test_a_day_of_25_hours(self):
        index = pd.date_range("2025-10-01", "2025-10-28", freq="h", tz="UTC")
        data = SourceData(source(), pd.Series(np.arange(len(index), dtype=float), index))
        day = pd.Timestamp("2025-10-26").date()
        frame = backtest(
            MODELS["seasonal_naive"], data, day_ahead_origins(day, day, "11:00", BRUSSELS), None
        )
        assert len(frame) == 25
        assert frame["valid_time"].iloc[0] == pd.Timestamp("2025-10-25T22:00", tz="UTC")
        # both hours from 02:00 to 03:00 take the one of the week before
        assert frame["value"].iloc[2] == frame["value"].iloc[3]

    def test_it_refits_as_it_walks(self):
        fits = []

        class Counting(MODELS["seasonal_naive"]):
            def _fit(self, known):
                fits.append(known.issue_time)
                super()._fit(known)

        origins = [END - day * DAY for day in range(30, 2, -3)]
        backtest(Counting, data_of(), origins, 24, refit_days=9)
        assert fits == [END - 30 * DAY, END - 21 * DAY, END - 12 * DAY, END - 3 * DAY]
        fits.clear()
        backtest(Counting, data_of(), origins, 24, refit_days=np.inf)
        assert fits == [END - 30 * DAY]

    @pytest.mark.parametrize("kind", ["load", "market"])
    def test_nothing_after_an_origin_touches_its_forecast(self, kind):
        data, origins = data_of(kind), [END - 12 * DAY, END - 8 * DAY, END - 4 * DAY]
        frame = rolling_calibration(backtest(MODELS["arima"], data, origins, 48), data)
        for origin in origins:
            series = data.series.copy()
            series[data.available_at > origin] = 1e5
            changed = dataclasses.replace(data, series=series)
            other = rolling_calibration(
                backtest(MODELS["arima"], changed, [o for o in origins if o <= origin], 48), changed
            )
            columns = ["value", *QUANTILE_COLUMNS, "naive"]
            one, two = (
                part.loc[part["issue_time"] == origin, columns].to_numpy()
                for part in (frame, other)
            )
            assert one.tobytes() == two.tobytes()

    def test_no_origins_are_refused(self):
        with pytest.raises(ForecastError, match="no origins"):
            backtest(MODELS["seasonal_naive"], data_of(), [], 24)


class TestCalibrationOverOrigins:
    def test_bands_cover_what_they_say(self):
        data = data_of(days=200)
        raw = backtest(
            MODELS["seasonal_naive"], data, [END - day * DAY for day in range(160, 1, -1)], 24
        )
        raw[list(QUANTILE_COLUMNS)] = raw[["value"]].to_numpy() + np.linspace(
            -0.1, 0.1, len(QUANTILES)
        )  # far too narrow
        before, after = (
            scores(raw, data.source),
            scores(rolling_calibration(raw, data, moves=False), data.source),
        )
        assert before["coverage_80"] < 0.05
        assert 0.75 < after["coverage_80"] < 0.85
        assert after["pinball"] < before["pinball"]
        assert after["mae"] == before["mae"]
        moved = scores(rolling_calibration(raw, data), data.source)
        assert moved["mae"] != before["mae"]
        assert moved["mae"] == pytest.approx(before["mae"], rel=0.01)  # nothing is off for long

    @pytest.mark.parametrize("issue", [END - 4000 * DAY, END + 4000 * DAY])
    def test_a_time_far_from_the_data_is_refused_in_words(self, issue):
        data = data_of()
        known = known_at(data, issue, 30)
        span = f"its data are from {data.series.index[0]:%Y-%m-%dT%H:%MZ} to "
        with pytest.raises(ForecastError, match=f"nothing measured in the 30 days .*; {span}"):
            fit_calibrated(MODELS["seasonal_naive"], data, known, 24, 30)

    def test_a_single_forecast_is_calibrated_on_the_days_before(self):
        data = data_of()
        known = known_at(data, END - 2 * DAY)
        model = fit_calibrated(MODELS["seasonal_naive"], data, known, 24)
        assert model.calibration is not None
        assert model.trained_until == END - 2 * DAY
        later = data.series.copy()
        later[later.index >= END - 2 * DAY] = 1e5
        again = fit_calibrated(
            MODELS["seasonal_naive"], dataclasses.replace(data, series=later), known, 24
        )
        assert again.predict(known, 24).equals(model.predict(known, 24))
