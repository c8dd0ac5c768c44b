"""Forecasts that repeat the past: last week's, yesterday's, or a mix by the kind of day."""

import numpy as np
import pandas as pd

from vpp.forecast.features import first_known, same_hours, seasonal_naive, series_lookup
from vpp.forecast.model import ForecastModel, with_band
from vpp.forecast.quantiles import QUANTILES
from vpp.site.times import calendar


class SeasonalNaive(ForecastModel):
    """Last week's same local hour."""

    name = "seasonal_naive"
    days = 7

    def _value(self, known, times: pd.DatetimeIndex) -> np.ndarray:
        value = seasonal_naive(known, times, self.days)
        if np.isnan(
            value
        ).any():  # a history shorter than that: the newest same hour, else the mean
            recent, _ = same_hours(
                series_lookup(known),
                pd.DatetimeIndex([known.issue_time] * len(times)),
                times,
                range(1, 29),
                known.zone,
            )
            value = np.where(np.isnan(value), first_known(recent), value)
        return np.where(np.isnan(value), known.targets.mean() if len(known.targets) else 0.0, value)

    def _fit(self, known):
        targets = known.targets
        origins = pd.DatetimeIndex([known.issue_time] * len(targets))
        lagged, _ = same_hours(
            series_lookup(known), origins, targets.index, [self.days], known.zone
        )
        errors = targets.to_numpy() - lagged[:, 0]
        errors = errors[~np.isnan(errors)]
        self.residuals = np.quantile(errors, QUANTILES) if len(errors) else np.zeros(len(QUANTILES))

    def _forecast(self, known, times):
        return with_band(self._value(known, times), self.residuals)


class DailyNaive(SeasonalNaive):
    """The newest same local hour that is known."""

    name = "daily_naive"
    days = 1


class MixedNaive(SeasonalNaive):
    """The naive forecast of the price literature.

    The newest same hour for Tuesday to Friday, last week's for Saturday to Monday.
    """

    name = "mixed_naive"

    def _value(self, known, times):
        weekly = calendar(times, known.zone, "")["weekday"].isin((0, 5, 6)).to_numpy()
        return np.where(
            weekly, super()._value(known, times), DailyNaive._value(_DAILY, known, times)
        )


_DAILY = DailyNaive()
