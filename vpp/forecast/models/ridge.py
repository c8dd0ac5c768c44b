"""One ridge regression for each local hour."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.day_kinds import daily_pairs, day_flags, deviations, groups_of, weighted_quantiles
from vpp.forecast.external import is_external
from vpp.forecast.features import aligned, design_table
from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, ModelError, Trial
from vpp.forecast.models.trees import LEVELS
from vpp.forecast.plant_power import plant_power
from vpp.forecast.scaling import BEYOND, asinh, robust_scale, sinh
from vpp.site.kinds import PLANT_KINDS
from vpp.site.times import DAY

FEWEST_DAYS = 10  # that an hour's regression learns from
PLANT_PENALTY = 3.0  # of its regressors, which tell of one weather, many are alike
PLANT_OUTLIER = 0.35  # weather that comes otherwise than forecast makes large errors
FEWEST_KNOWN = 0.75  # share of them in which a forecast of others was known


class HourlyRidge(ForecastModel):
    """A ridge regression for each local hour and day ahead, of a wind plant for all hours; newer
    days count more, outliers less.

    Ridge regression: Hoerl and Kennard (Technometrics 12, 1970); weights of outliers: Huber (1964).
    The band is that of leave-one-out errors at the hour and its neighbours. It needs
    `FEWEST_DAYS` days to learn from, after 10 days that only give lags.

    Parameters
    ----------
    penalty : of standardised regressors; of a plant `PLANT_PENALTY` times as much [-].
    half_life_days : a value counts half as much as one so much newer [days].
    outlier : from so many median absolute errors on, an error counts less; of a plant from
        `PLANT_OUTLIER` times as many [-].
    """

    name = "hourly_ridge"
    hours_are_one = False  # as of a model that an earlier version has stored
    defaults: ClassVar[dict[str, Any]] = {"penalty": 3.0, "half_life_days": 365.0, "outlier": 2.0}

    @staticmethod
    def search_space(trial: Trial) -> dict[str, Any]:
        return {
            "penalty": trial.suggest_float("penalty", 0.3, 100.0, log=True),
            "half_life_days": trial.suggest_float("half_life_days", 30.0, 730.0, log=True),
            "outlier": trial.suggest_float("outlier", 0.5, 10.0, log=True),
        }

    def _table(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Features and the level that targets are relative to, transformed."""
        table = design_table(known, origins, times)
        if known.source.kind in PLANT_KINDS:
            table = table.drop(columns=["horizon_h", "hour", "weekday"])
            return table.join(plant_power(known, origins, times)), np.zeros(len(table))
        rest = day_flags(times, known.zone, known.holidays_country)
        if known.weather_forecasts is not None:
            rest = rest.join(table[[name for name in known.weather_forecasts if name in table]])
        rest = rest.join(table[[name for name in table if is_external(str(name))]])
        if known.source.kind == "market":
            prices = asinh(table[[*LEVELS, "mean_week"]], *self.scale)
            return prices.join(rest), np.zeros(len(table))
        off = deviations(known, origins, times)
        level = off.pop("typical").to_numpy()
        return off.join(rest), level

    def _fit(self, known: Known) -> None:
        origins, times = daily_pairs(known, self.horizon_h)
        if not len(times):
            raise ModelError(
                f"{self.name}: {known.source.source_id}: no pairs to train on, {FEWEST_DAYS} "
                "days needed"
            )
        self.hours_are_one = known.source.kind == "wind"
        is_plant = known.source.kind in PLANT_KINDS
        self.penalty = self.parameters["penalty"] * (PLANT_PENALTY if is_plant else 1.0)
        self.outlier = self.parameters["outlier"] * (PLANT_OUTLIER if is_plant else 1.0)
        self.scale = robust_scale(known.targets.to_numpy())
        table, level = self._table(known, origins, times)
        self.columns, features = [str(name) for name in table], table.to_numpy(dtype=float)
        target = known.series.reindex(times).to_numpy()
        target = (asinh(target, *self.scale) if known.source.kind == "market" else target) - level
        finite, optional = np.isfinite(features), np.array([is_external(n) for n in self.columns])
        usable = finite[:, ~optional].all(axis=1) & np.isfinite(target)
        age = ((known.issue_time - origins) / DAY).to_numpy()
        weights = 0.5 ** (age / self.parameters["half_life_days"])
        days, hours = self._groups(known, origins, times)
        self.regressions, errors, most = {}, {}, 0
        groups = set(zip(days[usable].tolist(), hours[usable].tolist(), strict=True))
        for day, hour in sorted(groups):
            rows = usable & (days == day) & (hours == hour)
            most = max(most, origins[rows].nunique())
            if origins[rows].nunique() < FEWEST_DAYS:
                continue
            # what others had mostly not issued by then is left out at this hour
            kept = ~optional | (finite[rows].mean(axis=0) >= FEWEST_KNOWN)
            kept &= ~optional | ((rows & finite[:, kept].all(axis=1)).sum() >= FEWEST_DAYS)
            rows &= finite[:, kept].all(axis=1)
            self.regressions[day, hour], error = self._regression(
                np.where(kept, features[rows], 0.0), target[rows], weights[rows]
            )
            errors[day, hour] = error, weights[rows]
        if not errors:
            raise ModelError(
                f"{self.name}: {known.source.source_id}: {most} days have all that it looks back "
                f"to, {FEWEST_DAYS} needed"
            )
        self.range = target[usable].min() - BEYOND, target[usable].max() + BEYOND
        self.bands = {}
        for day, hour in errors:
            beside = [(day, other % 24) for other in (hour - 1, hour, hour + 1)]
            near = [errors[group] for group in beside if group in errors]
            values, counts = (np.concatenate(part) for part in zip(*near, strict=True))
            self.bands[day, hour] = weighted_quantiles(values, counts)

    def _regression(
        self, table: np.ndarray, target: np.ndarray, weights: np.ndarray
    ) -> tuple[tuple[np.ndarray, float, np.ndarray], np.ndarray]:
        """Coefficients, constant and centre by reweighted least squares; leave-one-out errors."""
        centre, spread = np.average(table, axis=0, weights=weights), table.std(axis=0)
        spread = np.where(spread > 1e-9, spread, np.inf)
        scaled, used = (table - centre) / spread, weights
        ridge = np.append(np.full(table.shape[1], self.penalty), 1e-9)
        scaled = np.column_stack([scaled, np.ones(len(scaled))])
        for _ in range(4):
            inverse = np.linalg.inv((scaled * used[:, None]).T @ scaled + np.diag(ridge))
            beta = inverse @ (scaled * used[:, None]).T @ target
            error = target - scaled @ beta
            limit = self.outlier * np.median(np.abs(error))
            leverage = used * ((scaled @ inverse) * scaled).sum(axis=1)
            used = weights * np.minimum(1.0, limit / np.maximum(np.abs(error), 1e-12))
        coefficients = beta[:-1] / spread
        constant = float(beta[-1] - centre @ coefficients)
        return (coefficients, constant, centre), error / np.maximum(1 - leverage, 0.2)

    def forecast_pairs(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> np.ndarray:
        table, level = self._table(known, origins, times)
        features = aligned(table, self.columns).to_numpy(dtype=float)
        days, hours = self._groups(known, origins, times)
        groups, place = np.unique(24 * days + hours, return_inverse=True)
        nearest = [self._nearest(group // 24, group % 24) for group in groups.tolist()]
        of_groups = zip(*(self.regressions[group] for group in nearest), strict=True)
        coefficients, constant, centre = (np.array(each)[place] for each in of_groups)
        features = np.where(np.isnan(features), centre, features)
        # no further from the level than was ever learnt: a regressor that hardly varied in
        # training extrapolates far
        value = np.clip(constant + (coefficients * features).sum(axis=1), *self.range) + level
        bands = np.array([self.bands[group] for group in nearest])[place]
        result = np.column_stack([value, value[:, None] + bands])
        if known.source.kind == "market":
            return sinh(np.clip(result, *self.range), *self.scale)
        return result

    def _groups(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> tuple[np.ndarray, np.ndarray]:
        """Day ahead and local hour of each pair; a wind plant's hours are all one."""
        days, hours = groups_of(origins, times, known.zone)
        return days, np.zeros_like(hours) if self.hours_are_one else hours

    def _nearest(self, day: int, hour: int) -> tuple[int, int]:
        """The regression of a day and hour, or the one nearest to them."""
        if (day, hour) in self.regressions:
            return day, hour
        return min(self.regressions, key=lambda k: (abs(k[1] - hour), abs(k[0] - day)))
