"""LEAR: lasso-estimated autoregression of day-ahead prices, averaged over calibration windows."""

import warnings
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.day_kinds import HOLIDAY, day_kinds
from vpp.forecast.external import External
from vpp.forecast.features import weather_at
from vpp.forecast.known import Known
from vpp.forecast.lookups import SECOND_NS, nanoseconds
from vpp.forecast.model import ForecastModel, ModelError
from vpp.forecast.quantiles import QUANTILES
from vpp.forecast.scaling import BEYOND, asinh, robust_scale, sinh
from vpp.site.times import DAY, from_local

FEWEST_DAYS = 21  # complete ones, to learn from
FEWEST_KNOWN = 0.75  # share of the days for which a forecast of others was known the day before
MOST_STEPS = 100  # of least angle regression: the penalty with the least AIC comes long before
MOST_ROUNDS = 2500  # of coordinate descent, as in the paper's code


class Lear(ForecastModel):
    """LEAR of Lago et al. (Applied Energy 293 (2021) 116983): a lasso for each hour of the day,
    averaged over calibration windows.

    Regressors are the prices of the last three days and of a week before, the forecasts (load,
    renewables, weather) for the day itself, the day before and a week before, all 24 hours of each,
    and a dummy for each weekday; a public holiday is a Sunday. Prices and forecasts are transformed
    by asinh. The penalty has the least AIC on the path of regressors of unit length, and the lasso
    is then fitted with it to the regressors as they are. This is the recipe of the paper's code,
    which penalises far less than the AIC by itself would. Later days are forecast with earlier
    forecasts in place of values not known yet. It needs 21 complete days, and a week before them.

    Parameters
    ----------
    windows_days : history that each lasso learns from [days]; a longer one than there is takes
        all.
    """

    name = "lear"
    kinds = ("market",)
    requires = ("scikit-learn",)
    defaults: ClassVar[dict[str, Any]] = {"windows_days": (56, 84, 1092, 1456)}
    # names of the forecasts of others that it was fitted with; None while it is fitted
    externals: tuple[str, ...] | None = ()
    lags_days = (1, 2, 3, 7)
    forecast_lags_days = (0, 1, 7)

    def _days(
        self, known: Known, ahead: int
    ) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray, list[np.ndarray]]:
        """Local days of the longest window, without zone, and `ahead` more.

        Returns
        -------
        The days; values (day × hour) and (day × slot); forecasts, each day × hour.
        """
        per_hour = max(1, int(pd.Timedelta(hours=1) / known.step))
        issue_day = known.issue_time.tz_convert(known.zone).tz_localize(None).normalize()
        first = known.targets.index[0].tz_convert(known.zone).tz_localize(None).normalize()
        first = max(first, issue_day - (max(self.parameters["windows_days"]) + 8) * DAY)
        days = pd.date_range(first, issue_day + ahead * DAY, freq="D")
        local = pd.DatetimeIndex(known.series.index).tz_convert(known.zone).tz_localize(None)
        slot = ((local - local.normalize()) // known.step).to_numpy()
        day = ((local.normalize() - first) // DAY).to_numpy()
        values = np.full((len(days), 24 * per_hour), np.nan)
        inside = (day >= 0) & (day < len(days))
        values[day[inside], slot[inside]] = known.series.to_numpy()[inside]
        # the hour that summer time skips gets the value before it; any other hole stays one
        clock_times = np.arange(24 * per_hour) * known.step.to_timedelta64()
        slots = pd.DatetimeIndex((days.to_numpy()[:, None] + clock_times).ravel())
        first_of_two = np.ones(len(slots), bool)
        slots = slots.tz_localize(known.zone, nonexistent="NaT", ambiguous=first_of_two)
        exists = np.reshape(slots.notna(), values.shape)
        skipped = ~exists & (np.arange(len(days))[:, None] < day[inside].max(initial=-1))
        before = pd.Series(values.ravel()).ffill().to_numpy().reshape(values.shape)
        values[skipped] = before[skipped]
        hourly = values.reshape(len(days), 24, per_hour).mean(axis=2)
        return days, hourly, values, self._forecasts(known, days)

    def _forecasts(self, known: Known, days: pd.DatetimeIndex) -> list[np.ndarray]:
        """Forecasts of each hour of local days (day × hour), as issued the day before."""
        if known.weather_forecasts is None and not known.external:
            return []
        now = known.issue_time.tz_convert(known.zone).tz_localize(None)
        hours = (days.to_numpy()[:, None] + np.arange(24) * np.timedelta64(1, "h")).ravel()
        origins = np.repeat((days - DAY + (now - now.normalize())).to_numpy(), 24)
        origins, hours = (
            from_local(pd.DatetimeIndex(local), known.zone) for local in (origins, hours)
        )
        found: list[np.ndarray] = []
        if known.weather_forecasts is not None:
            table, _ = weather_at(known, origins, hours)
            found = [table[name].to_numpy() for name in table]
        there = {
            item.name: _hourly(item, nanoseconds(origins), nanoseconds(hours))
            for item in known.external
        }
        if self.externals is None:  # it is fitted: some are not known the day before
            whole = {name: np.isfinite(values).mean() for name, values in there.items()}
            self.externals = tuple(name for name in whole if whole[name] >= FEWEST_KNOWN)
        nothing = np.full(len(hours), np.nan)
        found += [there.get(name, nothing) for name in self.externals]
        return [values.reshape(-1, 24) for values in found]

    def _regressors(
        self,
        weekdays: np.ndarray,
        hourly: np.ndarray,
        forecasts: list[np.ndarray],
        rows: np.ndarray,
    ) -> np.ndarray:
        parts = [hourly[rows - lag] for lag in self.lags_days]
        parts += [forecast[rows - lag] for forecast in forecasts for lag in self.forecast_lags_days]
        return np.hstack([*parts, np.eye(7)[weekdays[rows]]])

    def _fit(self, known: Known) -> None:
        self.externals = None
        days, hourly, values, forecasts = self._days(known, ahead=1)
        rows = np.arange(max(self.lags_days), len(days))
        weekdays = _weekdays(days, known.holidays_country)
        regressors = self._regressors(weekdays, hourly, forecasts, rows)
        complete = np.isfinite(regressors).all(axis=1) & np.isfinite(values[rows]).all(axis=1)
        regressors, targets, rows = regressors[complete], values[rows][complete], rows[complete]
        if len(rows) < FEWEST_DAYS:
            raise ModelError(
                f"{self.name}: {known.source.source_id}: {len(rows)} days have all that it looks "
                f"back to, {FEWEST_DAYS} needed"
            )
        windows = self.parameters["windows_days"]
        lengths = sorted({min(window - max(self.lags_days), len(rows)) for window in windows})
        self.fits = [self._window(regressors[-length:], targets[-length:]) for length in lengths]

    def _window(self, regressors: np.ndarray, targets: np.ndarray) -> tuple:
        """Transformations, coefficients between them, quantiles of the residuals, and limits."""
        inputs, target = robust_scale(regressors[:, :-7]), robust_scale(targets)
        x = np.hstack([asinh(regressors[:, :-7], *inputs), regressors[:, -7:]])
        y = asinh(targets, *target)
        learned = self._learn(x, y)
        residuals = np.quantile(y - self._value(learned, x), QUANTILES, axis=0).T
        limits = y.min(axis=0)[:, None] - BEYOND, y.max(axis=0)[:, None] + BEYOND
        return inputs, target, learned, residuals, limits

    def _learn(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Coefficients of each slot (regressor × slot), and constants, for `_value`."""
        x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
        x, y = x - x_mean, y - y_mean
        gram, products = x.T @ x, x.T @ y
        x, beta = np.asfortranarray(x), np.empty((x.shape[1], y.shape[1]))
        for slot, target_of_slot in enumerate(y.T):
            penalty = penalty_by_aic(
                gram, products[:, slot], target_of_slot @ target_of_slot, len(x)
            )
            beta[:, slot] = lasso(x, target_of_slot, gram, products[:, slot], penalty)
        return beta, y_mean - x_mean @ beta

    def _value(self, learned: Any, x: np.ndarray) -> np.ndarray:
        """Values of days (day × slot) from their regressors, all of them transformed."""
        beta, constant = learned
        return x @ beta + constant

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        local = times.tz_convert(known.zone).tz_localize(None)
        issue_day = known.issue_time.tz_convert(known.zone).tz_localize(None).normalize()
        ahead = max(1, (local[-1].normalize() - issue_day) // DAY)
        days, hourly, values, forecasts = self._days(known, ahead)
        # a missing regressor is the one of the last day that had it
        hourly, *forecasts = (
            pd.DataFrame(part).ffill().bfill().to_numpy(copy=True) for part in (hourly, *forecasts)
        )
        weekdays = _weekdays(days, known.holidays_country)
        bands = np.full((*values.shape, 1 + len(QUANTILES)), np.nan)
        for row in range(len(days) - ahead - 2, len(days)):
            unknown = np.isnan(values[row])
            if unknown.any():
                regressors = self._regressors(weekdays, hourly, forecasts, np.array([row]))
                bands[row] = np.mean(
                    [self._of_window(fit, regressors) for fit in self.fits], axis=0
                )
                values[row, unknown] = bands[row, unknown, 0]
                hourly[row] = values[row].reshape(24, -1).mean(axis=1)
        place = (local.normalize() - days[0]) // DAY, (local - local.normalize()) // known.step
        known_value = np.repeat(values[place][:, None], 1 + len(QUANTILES), axis=1)
        return np.where(np.isnan(bands[place]), known_value, bands[place])

    def _of_window(self, fit: tuple, regressors: np.ndarray) -> np.ndarray:
        inputs, (centre, scale), learned, residuals, limits = fit
        x = np.hstack([asinh(regressors[:, :-7], *inputs), regressors[:, -7:]])
        y = self._value(learned, x)[0]
        return sinh(
            np.clip(np.column_stack([y, y[:, None] + residuals]), *limits),
            centre[:, None],
            scale[:, None],
        )


def _hourly(item: External, origins: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """The mean of each hour of what others forecast, as known at its origin; NaN where nothing is.

    Parameters
    ----------
    item : the forecast of others.
    origins, hours : of each pair [ns].
    """
    step = min(60, item.step_min)
    within = hours[:, None] + np.arange(0, 60, step) * 60 * SECOND_NS
    values, _ = item.issues.at(np.repeat(origins, within.shape[1]), within.ravel())
    return pd.DataFrame(values[0].reshape(within.shape)).mean(axis=1).to_numpy()


def _weekdays(days: pd.DatetimeIndex, holidays_country: str) -> np.ndarray:
    """Weekday of each local day, from 0 for Monday; a public holiday is a Sunday."""
    free = day_kinds(days, holidays_country) == HOLIDAY
    return np.where(free, 6, days.dayofweek)


def penalty_by_aic(gram: np.ndarray, products: np.ndarray, total: float, rows: int) -> float:
    """The penalty with the least AIC on the lasso's path of regressors scaled to unit length.

    It is the one that scikit-learn's LassoLarsIC chose in 2021.

    Parameters
    ----------
    gram, products, total : X'X, X'y and y'y of centred regressors and target.
    rows : number of observations.

    Returns
    -------
    The penalty [-]; infinite for a target that does not vary.
    """
    from sklearn.linear_model import lars_path_gram

    if total < 1e-9 * rows:
        return np.inf
    length = np.sqrt(np.diag(gram))
    length = np.where(length > 1e-9, length, np.inf)
    gram, products = gram / np.outer(length, length), products / length
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a path that ends early is used as far as it goes
        penalties, _, path = lars_path_gram(
            products, gram, n_samples=rows, method="lasso", max_iter=MOST_STEPS
        )
    squares = np.maximum(
        total - 2 * products @ path + ((gram @ path) * path).sum(axis=0), 1e-9 * total
    )
    # the variance of the target stands for that of the noise
    return float(penalties[np.argmin(rows * squares / total + 2 * (np.abs(path) > 0).sum(axis=0))])


def lasso(
    x: np.ndarray, y: np.ndarray, gram: np.ndarray, products: np.ndarray, penalty: float
) -> np.ndarray:
    """Coefficients of the lasso by coordinate descent.

    Parameters
    ----------
    x, y : centred regressors (observation × regressor) and target.
    gram, products : X'X and X'y.
    penalty : [-].
    """
    from sklearn.linear_model import lasso_path

    if np.isinf(penalty):
        return np.zeros(x.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as far as MOST_ROUNDS bring it
        _, path, _ = lasso_path(
            x, y, alphas=[penalty], precompute=gram, Xy=products, max_iter=MOST_ROUNDS
        )
    return path[:, 0]
