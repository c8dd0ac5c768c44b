"""Forecasts that repeat the past: last week's, yesterday's, or a mix by the kind of day."""

import numpy as np
import pandas as pd

from vpp.forecast.features import first_known, same_hours, seasonal_naive, series_lookup
from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, with_band
from vpp.forecast.quantiles import QUANTILES
from vpp.site.times import calendar

LEAST_SPREAD = 0.2  # of a history of one value, as a share of it


class SeasonalNaive(ForecastModel):
    """Last week's same local hour.

    Where it is not known: the newest same hour, else the mean. Its band is that of the differences
    of the history from the week before. It needs one value.
    """

    name = "seasonal_naive"
    reads_inputs = False
    by_sun = False
    days = 7

    def _value(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        value = seasonal_naive(known, times, self.days)
        if np.isnan(value).any():  # the history is shorter than that
            origins, days = pd.DatetimeIndex([known.issue_time] * len(times)), range(1, 29)
            recent, _ = same_hours(series_lookup(known), origins, times, days, known.zone)
            value = np.where(np.isnan(value), first_known(recent), value)
        return np.where(np.isnan(value), known.targets.mean() if len(known.targets) else 0.0, value)

    def _fit(self, known: Known) -> None:
        targets = known.targets
        times = pd.DatetimeIndex(targets.index)
        origins = pd.DatetimeIndex([known.issue_time] * len(times))
        lagged, _ = same_hours(series_lookup(known), origins, times, [self.days], known.zone)
        errors = targets.to_numpy() - lagged[:, 0]
        errors = errors[~np.isnan(errors)]
        if not len(errors) and len(targets):  # no week yet: as wide as the values differ
            errors = targets.to_numpy() - targets.mean()
            errors = errors if errors.any() else LEAST_SPREAD * targets.iloc[-1] * np.array([-1, 1])
        self.residuals = np.quantile(errors, QUANTILES) if len(errors) else np.zeros(len(QUANTILES))

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        return with_band(self._value(known, times), self.residuals)


class DailyNaive(SeasonalNaive):
    """The newest same local hour that is known; it needs one value."""

    name = "daily_naive"
    days = 1


class MixedNaive(SeasonalNaive):
    """The newest same hour for Tuesday to Friday, last week's for Saturday to Monday.

    It is the naive forecast of the price literature: Nogales et al., IEEE Transactions on Power
    Systems 17 (2002). It needs one value.
    """

    name = "mixed_naive"

    def _value(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        weekly = calendar(times, known.zone, "")["weekday"].isin((0, 5, 6)).to_numpy()
        return np.where(
            weekly, super()._value(known, times), DailyNaive._value(_DAILY, known, times)
        )


_DAILY = DailyNaive()
