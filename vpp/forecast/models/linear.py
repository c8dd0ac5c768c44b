"""The linear terms that Prophet, ARIMA and N-BEATS share: regressors, scaling, recent targets."""

import numpy as np
import pandas as pd

from vpp.forecast.features import aligned, regressors
from vpp.forecast.known import Known
from vpp.forecast.sun import dark
from vpp.site.kinds import PLANT_KINDS
from vpp.site.times import DAY, calendar


class Regressors:
    """Regressors of the linear models, standardised on the history.

    For a wind plant, a wind speed also gives the power learnt for it.
    """

    def fit(self, known: Known, times: pd.DatetimeIndex) -> pd.DataFrame:
        """Learn shape and scale, and return the regressors of these times.

        Parameters
        ----------
        known : what is known at the issue time.
        times : to learn from [UTC].

        Returns
        -------
        A row for each time, a column for each regressor that varies [standard deviations].
        """
        from sklearn.isotonic import IsotonicRegression

        table, self.curves = regressors(known, times), {}
        self.columns = [str(name) for name in table]
        targets = known.targets.reindex(times).to_numpy()
        winds = ("wind_speed", "wind_speed_mean") if known.source.kind == "wind" else ()
        for name in (name for name in self.columns if name in winds):
            speed = table[name].to_numpy()
            usable = np.isfinite(speed) & np.isfinite(targets)
            if usable.sum() > 100:
                self.curves[name] = IsotonicRegression(out_of_bounds="clip").fit(
                    speed[usable], targets[usable]
                )
        table = self._shape(table)
        mean, std = table.mean(), table.std()
        self.mean, self.std = mean[std > 0], std[std > 0]
        return self._scale(table)

    def of(self, known: Known, times: pd.DatetimeIndex) -> pd.DataFrame:
        """Regressors of these times, as `fit` returns them.

        Parameters
        ----------
        known : what is known at the issue time.
        times : past or to come [UTC].
        """
        return self._scale(self._shape(aligned(regressors(known, times), self.columns)))

    def _shape(self, table: pd.DataFrame) -> pd.DataFrame:
        for name, curve in self.curves.items():
            speed = table[name]
            power = curve.predict(speed.interpolate(limit_direction="both").fillna(0.0))
            table[f"{name}_power"] = np.where(speed.isna(), np.nan, power)
        return table

    def _scale(self, table: pd.DataFrame) -> pd.DataFrame:
        scaled = (table[self.mean.index] - self.mean) / self.std
        return scaled.fillna(0.0)  # without a forecast the mean


def recent_targets(known: Known, days: float) -> pd.Series:
    """Measured values of the last days; of a solar plant those of daylight.

    The first 8 days of the history, which have few lags, are left out where a week remains.

    Parameters
    ----------
    known : what is known at the issue time.
    days : how far back from the newest value [days].
    """
    oldest, newest = known.targets.index[0], known.targets.index[-1]
    first = max(newest - days * DAY, min(oldest + 8 * DAY, newest - 7 * DAY))
    targets = known.targets[known.targets.index >= first]
    if known.source.kind != "solar":
        return targets
    return targets[~dark(known, pd.DatetimeIndex(targets.index))]


class LinearTerms:
    """Fourier terms of day (apart for working and free days) and week, and regressors, by ridge
    regression; newer days count more.

    Parameters
    ----------
    daily_order, weekly_order : pairs of Fourier terms of the day and of the week.
    ridge : penalty of all terms but the constant [-].
    half_life_days : a value counts half as much as one so much newer [days].
    """

    def __init__(
        self, daily_order: int, weekly_order: int, ridge: float, half_life_days: float
    ) -> None:
        self.daily_order, self.weekly_order = daily_order, weekly_order
        self.ridge, self.half_life_days = ridge, half_life_days

    def fit(self, known: Known, targets: pd.Series) -> np.ndarray:
        """Learn from targets; returns their residuals.

        Parameters
        ----------
        known : what is known at the issue time.
        targets : measured values by time [UTC; unit of the series].
        """
        self.regressors, times = Regressors(), pd.DatetimeIndex(targets.index)
        terms = self._terms(known, self.regressors.fit(known, times))
        age_days = (known.issue_time - times) / DAY
        weighted = terms * (0.5 ** (age_days / self.half_life_days)).to_numpy()[:, None]
        penalty = np.eye(terms.shape[1]) * self.ridge
        penalty[0, 0] = 0.0
        self.weights = np.linalg.solve(
            weighted.T @ terms + penalty, weighted.T @ targets.to_numpy()
        )
        return targets.to_numpy() - terms @ self.weights

    def of(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        """Value of the terms at each time [unit of the series].

        Parameters
        ----------
        known : what is known at the issue time.
        times : past or to come [UTC].
        """
        return self._terms(known, self.regressors.of(known, times)) @ self.weights

    def _terms(self, known: Known, table: pd.DataFrame) -> np.ndarray:
        times = pd.DatetimeIndex(table.index)
        days = calendar(times, known.zone, known.holidays_country)
        hour, working = days["hour"].to_numpy(), days["working_day"].to_numpy()[:, None]

        def fourier(phase: np.ndarray, order: int) -> np.ndarray:
            angles = 2 * np.pi * phase[:, None] * np.arange(1, order + 1)
            return np.hstack([np.sin(angles), np.cos(angles)])

        daily = fourier(hour / 24, self.daily_order)
        parts = [np.ones((len(table), 1)), daily, table.to_numpy()]
        if known.source.kind not in PLANT_KINDS:
            parts += [
                daily * working,
                fourier((days["weekday"].to_numpy() + hour / 24) / 7, self.weekly_order),
            ]
        return np.hstack(parts)
