"""The linear terms that Prophet, ARIMA and N-BEATS share.

Regressors, scaling and recent targets.
"""

import numpy as np
import pandas as pd

from vpp.forecast.features import aligned, regressors
from vpp.forecast.known import Known
from vpp.forecast.sun import dark
from vpp.site.kinds import PLANT_KINDS
from vpp.site.times import DAY, calendar


class Regressors:
    """Regressors of the linear models, standardised on the history.

    The wind of a wind plant as the power learned for that wind speed.
    """

    def fit(self, known: Known, times: pd.DatetimeIndex) -> pd.DataFrame:
        from sklearn.isotonic import IsotonicRegression

        table, self.curves = regressors(known, times), {}
        self.columns = list(table)
        targets = known.targets.reindex(times).to_numpy()
        for name in (
            table.columns.intersection(["wind_speed", "wind_speed_mean"])
            if known.source.kind == "wind"
            else ()
        ):
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
        return self._scale(self._shape(aligned(regressors(known, times), self.columns)))

    def _shape(self, table: pd.DataFrame) -> pd.DataFrame:
        for name, curve in self.curves.items():
            speed = table[name]
            table[f"{name}_power"] = np.where(
                speed.isna(),
                np.nan,
                curve.predict(speed.interpolate(limit_direction="both").fillna(0.0)),
            )
        return table

    def _scale(self, table: pd.DataFrame) -> pd.DataFrame:
        scaled = (table[self.mean.index] - self.mean) / self.std
        return scaled.fillna(0.0)  # no forecast then: the mean


def recent_targets(known: Known, days: float) -> pd.Series:
    """Measured values of the last days; of a solar plant those of daylight."""
    first = max(
        known.targets.index[-1] - days * DAY,
        min(known.targets.index[0] + 8 * DAY, known.targets.index[-1] - 7 * DAY),
    )
    targets = known.targets[known.targets.index >= first]
    return targets[~dark(known, targets.index)] if known.source.kind == "solar" else targets


class LinearTerms:
    """Fourier terms of day (apart for working and free days) and week, and regressors, by ridge
    regression; newer days count more.
    """

    def __init__(self, daily_order: int, weekly_order: int, ridge: float, half_life_days: float):
        self.daily_order, self.weekly_order, self.ridge, self.half_life_days = (
            daily_order,
            weekly_order,
            ridge,
            half_life_days,
        )

    def fit(self, known: Known, targets: pd.Series) -> np.ndarray:
        """Learn from targets; returns what is left of them."""
        self.regressors = Regressors()
        terms = self._terms(known, self.regressors.fit(known, targets.index))
        age_days = (known.issue_time - targets.index) / DAY
        weighted = terms * (0.5 ** (age_days / self.half_life_days)).to_numpy()[:, None]
        penalty = np.eye(terms.shape[1]) * self.ridge
        penalty[0, 0] = 0.0
        self.weights = np.linalg.solve(
            weighted.T @ terms + penalty, weighted.T @ targets.to_numpy()
        )
        return targets.to_numpy() - terms @ self.weights

    def of(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        """What the terms say for each time [unit of the series]."""
        return self._terms(known, self.regressors.of(known, times)) @ self.weights

    def _terms(self, known: Known, table: pd.DataFrame) -> np.ndarray:
        days = calendar(table.index, known.zone, known.holidays_country)
        hour, working = days["hour"].to_numpy(), days["working_day"].to_numpy()[:, None]

        def fourier(phase, order):
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
