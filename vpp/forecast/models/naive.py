"""Forecasts that repeat the past: last week's, yesterday's, or a mix by the kind of day."""

import numpy as np
import pandas as pd

from vpp.forecast.features import first_known, same_hours, series_lookup
from vpp.forecast.intraday import as_of
from vpp.forecast.known import LAG_DAYS, Known
from vpp.forecast.model import ForecastModel, with_band
from vpp.forecast.quantiles import QUANTILES
from vpp.site.times import DAY, calendar

FARTHEST_WEEKS = 14  # beyond `LAG_DAYS`, of as many days as the period has
# of a line that is flat for a day, as a share of it, or of the capacity where it is 0; less by the
# number of days of a longer one
LEAST_SPREAD = 0.2


def weeks_before(
    known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex, days: int = 7
) -> np.ndarray:
    """`vpp.forecast.features.seasonal_naive` of (origin, valid time) pairs.

    Parameters
    ----------
    known : what is known at the last of the origins.
    origins, times : of each pair [UTC].
    days : how many days before.
    """
    lags = range(days, LAG_DAYS + FARTHEST_WEEKS * days + 1, days)
    values, _ = same_hours(series_lookup(known), origins, times, lags, known.zone)
    return first_known(values)


class SeasonalNaive(ForecastModel):
    """Last week's same local hour.

    Where it is not known: the newest same hour, else the mean. Its band is that of the differences
    of the history from the week before. It needs one value.
    """

    name = "seasonal_naive"
    reads_inputs = False
    value_moves = False
    by_sun = False
    days = 7

    def _value(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> np.ndarray:
        value = weeks_before(known, origins, times, self.days)
        if np.isnan(value).any():  # the history is shorter than that
            days = range(1, LAG_DAYS + 1)
            recent, _ = same_hours(series_lookup(known), origins, times, days, known.zone)
            value = np.where(np.isnan(value), first_known(recent), value)
        for origin in origins[np.isnan(value)].unique():
            targets = as_of(known, origin).targets
            there = np.isnan(value) & (origins == origin)
            value[there] = targets.mean() if len(targets) else 0.0
        return value

    def _fit(self, known: Known) -> None:
        targets = known.targets
        times = pd.DatetimeIndex(targets.index)
        origins = pd.DatetimeIndex([known.issue_time] * len(times))
        lagged, _ = same_hours(series_lookup(known), origins, times, [self.days], known.zone)
        errors = targets.to_numpy() - lagged[:, 0]
        errors = errors[~np.isnan(errors)]
        is_short = not len(errors)
        if is_short and len(targets):  # no week yet: as wide as the values differ
            errors = targets.to_numpy() - targets.mean()
        # a flat line need not go on; but the price of a tariff, which is known, does
        flat = len(targets) and targets.max() == targets.min()
        if flat and (is_short or known.source.kind != "market"):
            level = float(targets.abs().max()) or float(known.source.capacity_kw or 1.0)
            days = max(1.0, len(targets) * known.step / DAY)
            errors = LEAST_SPREAD / days * level * np.array([-1, 1])
        self.residuals = np.quantile(errors, QUANTILES) if len(errors) else np.zeros(len(QUANTILES))

    def forecast_pairs(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> np.ndarray:
        return with_band(self._value(known, origins, times), self.residuals)


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

    def _value(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> np.ndarray:
        weekly = calendar(times, known.zone, "")["weekday"].isin((0, 5, 6)).to_numpy()
        daily = DailyNaive._value(_DAILY, known, origins, times)
        return np.where(weekly, super()._value(known, origins, times), daily)


_DAILY = DailyNaive()
