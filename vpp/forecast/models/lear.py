"""LEAR: lasso-estimated autoregression of day-ahead prices (Lago et al.

2021), averaged over calibration windows.
"""

import warnings

import numpy as np
import pandas as pd

from vpp.forecast.features import weather_at
from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, ModelError
from vpp.forecast.quantiles import QUANTILES
from vpp.forecast.scaling import BEYOND, asinh, robust_scale, sinh
from vpp.site.times import DAY

MOST_STEPS = 100  # of least angle regression: the penalty with the least AIC comes long before
MOST_ROUNDS = 2500  # of coordinate descent, as in the paper's code


# LEAR


class Lear(ForecastModel):
    """LEAR of Lago et al. (Applied Energy 293 (2021) 116983): a lasso for each hour of the day,
    averaged over calibration windows.

    Regressors: the prices of the last three days and of a week before, the forecasts (load,
    renewables, weather) for the day itself, the day before and a week before, all 24 hours of each,
    and a dummy for each weekday. Prices and forecasts are transformed by asinh. The penalty is the
    one with the least AIC on the path of regressors of unit length, and the lasso is then fitted
    with it to the regressors as they are: the recipe of the paper's code, which penalises far less
    than the AIC by itself would. Later days are forecast with earlier forecasts in place of values
    not known yet."""

    name = "lear"
    requires = ("scikit-learn",)
    defaults = {"windows_days": (56, 84, 1092, 1456)}  # noqa: RUF012
    lags_days = (1, 2, 3, 7)
    forecast_lags_days = (0, 1, 7)

    def _days(
        self, known: Known, ahead: int
    ) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray, list[np.ndarray]]:
        """Local days of the longest window and `ahead` more [no zone].

        Days, values by hour, by slot, and forecasts by hour.
        """
        per_hour = max(1, int(pd.Timedelta(hours=1) / known.step))
        issue_day = known.issue_time.tz_convert(known.zone).tz_localize(None).normalize()
        first = known.targets.index[0].tz_convert(known.zone).tz_localize(None).normalize()
        first = max(first, issue_day - (max(self.parameters["windows_days"]) + 8) * DAY)
        days = pd.date_range(first, issue_day + ahead * DAY, freq="D")
        local = known.series.index.tz_convert(known.zone).tz_localize(None)
        slot = ((local - local.normalize()) // known.step).to_numpy()
        day = ((local.normalize() - first) // DAY).to_numpy()
        values = np.full((len(days), 24 * per_hour), np.nan)
        inside = (day >= 0) & (day < len(days))
        values[day[inside], slot[inside]] = known.series.to_numpy()[inside]
        # the hour that summer time skips gets the value before it; any other hole stays one
        slots = pd.DatetimeIndex(
            (
                days.to_numpy()[:, None] + np.arange(24 * per_hour) * known.step.to_timedelta64()
            ).ravel()
        )
        exists = (
            slots.tz_localize(known.zone, nonexistent="NaT", ambiguous=np.ones(len(slots), bool))
            .notna()
            .reshape(values.shape)
        )
        skipped = ~exists & (np.arange(len(days))[:, None] < day[inside].max(initial=-1))
        values[skipped] = pd.DataFrame(values).ffill(axis=1).to_numpy()[skipped]
        forecasts = []
        if known.weather_forecasts is not None:
            clock = known.issue_time.tz_convert(known.zone).tz_localize(None) - issue_day
            hours = (days.to_numpy()[:, None] + np.arange(24) * np.timedelta64(1, "h")).ravel()
            origins = np.repeat((days - DAY + clock).to_numpy(), 24)
            place = {"nonexistent": "shift_forward", "ambiguous": np.ones(len(hours), bool)}
            hours, origins = (
                pd.DatetimeIndex(part).tz_localize(known.zone, **place).tz_convert("UTC")
                for part in (hours, origins)
            )
            table, _ = weather_at(known, origins, hours)
            forecasts = [table[name].to_numpy().reshape(-1, 24) for name in table]
        return days, values.reshape(len(days), 24, per_hour).mean(axis=2), values, forecasts

    def _regressors(
        self,
        days: pd.DatetimeIndex,
        hourly: np.ndarray,
        forecasts: list[np.ndarray],
        rows: np.ndarray,
    ) -> np.ndarray:
        parts = [hourly[rows - lag] for lag in self.lags_days]
        parts += [forecast[rows - lag] for forecast in forecasts for lag in self.forecast_lags_days]
        return np.hstack([*parts, np.eye(7)[days.dayofweek[rows]]])

    def _fit(self, known):
        days, hourly, values, forecasts = self._days(known, ahead=1)
        rows = np.arange(max(self.lags_days), len(days))
        regressors = self._regressors(days, hourly, forecasts, rows)
        complete = np.isfinite(regressors).all(axis=1) & np.isfinite(values[rows]).all(axis=1)
        regressors, targets, rows = regressors[complete], values[rows][complete], rows[complete]
        if len(rows) < 21:
            raise ModelError(
                f"{self.name}: {known.source.source_id}: {len(rows)} complete days to train on, "
                "21 needed"
            )
        lengths = sorted(
            {
                min(window - max(self.lags_days), len(rows))
                for window in self.parameters["windows_days"]
            }
        )
        self.fits = [self._window(regressors[-length:], targets[-length:]) for length in lengths]

    def _window(self, regressors: np.ndarray, targets: np.ndarray) -> tuple:
        """Coefficients of each slot of the day fitted to a window, with the transformations, and
        the quantiles of the residuals.
        """
        inputs, target = robust_scale(regressors[:, :-7]), robust_scale(targets)
        x = np.hstack([asinh(regressors[:, :-7], *inputs), regressors[:, -7:]])
        y = asinh(targets, *target)
        x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
        x, y = x - x_mean, y - y_mean
        gram, products = x.T @ x, x.T @ y
        x, beta = np.asfortranarray(x), np.empty((x.shape[1], y.shape[1]))
        for slot, target_of_slot in enumerate(y.T):
            penalty = penalty_by_aic(
                gram, products[:, slot], target_of_slot @ target_of_slot, len(x)
            )
            beta[:, slot] = lasso(x, target_of_slot, gram, products[:, slot], penalty)
        residuals = np.quantile(y - x @ beta, QUANTILES, axis=0).T
        limits = (
            (y + y_mean).min(axis=0)[:, None] - BEYOND,
            (y + y_mean).max(axis=0)[:, None] + BEYOND,
        )
        return inputs, target, beta, y_mean - x_mean @ beta, residuals, limits

    def _forecast(self, known, times):
        local = times.tz_convert(known.zone).tz_localize(None)
        issue_day = known.issue_time.tz_convert(known.zone).tz_localize(None).normalize()
        ahead = max(1, (local[-1].normalize() - issue_day) // DAY)
        days, hourly, values, forecasts = self._days(known, ahead)
        # a regressor that is missing is what it was on the last day that had it
        hourly, *forecasts = (
            pd.DataFrame(part).ffill().bfill().to_numpy(copy=True) for part in (hourly, *forecasts)
        )
        bands = np.full((*values.shape, 1 + len(QUANTILES)), np.nan)
        for row in range(len(days) - ahead - 2, len(days)):
            unknown = np.isnan(values[row])
            if unknown.any():
                regressors = self._regressors(days, hourly, forecasts, np.array([row]))
                bands[row] = np.mean(
                    [self._of_window(fit, regressors) for fit in self.fits], axis=0
                )
                values[row, unknown] = bands[row, unknown, 0]
                hourly[row] = values[row].reshape(24, -1).mean(axis=1)
        place = (local.normalize() - days[0]) // DAY, (local - local.normalize()) // known.step
        known_value = np.repeat(values[place][:, None], 1 + len(QUANTILES), axis=1)
        return np.where(np.isnan(bands[place]), known_value, bands[place])

    @staticmethod
    def _of_window(fit: tuple, regressors: np.ndarray) -> np.ndarray:
        inputs, (centre, scale), beta, constant, residuals, limits = fit
        x = np.hstack([asinh(regressors[:, :-7], *inputs), regressors[:, -7:]])
        y = (x @ beta + constant)[0]
        return sinh(
            np.clip(np.column_stack([y, y[:, None] + residuals]), *limits),
            centre[:, None],
            scale[:, None],
        )


def penalty_by_aic(gram: np.ndarray, products: np.ndarray, total: float, rows: int) -> float:
    """The penalty with the least AIC on the lasso's path of regressors scaled to unit length, as
    LassoLarsIC had it in 2021.

    Parameters
    ----------
    gram, products, total : X'X, X'y and y'y of centred regressors and target.
    rows : number of observations.
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
    """Coefficients of the lasso of centred regressors and target by coordinate descent."""
    from sklearn.linear_model import lasso_path

    if np.isinf(penalty):
        return np.zeros(x.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as far as MOST_ROUNDS bring it
        return lasso_path(
            x, y, alphas=[penalty], precompute=gram, Xy=products, max_iter=MOST_ROUNDS
        )[1][:, 0]
