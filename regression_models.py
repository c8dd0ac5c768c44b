"""Regressions: one ridge for each local hour, LightGBM quantiles, LEAR for prices, and the average of several models.

Prices are transformed by asinh of their distance to the median in units of the median absolute deviation, which keeps spikes and
negative prices in bounds (Uniejewski et al. 2018); a load is predicted as a deviation from what is typical of the kind of day.

    python -c "import regression_models; print(regression_models.Lear().parameters)"
"""

import warnings

import numpy as np
import pandas as pd

from direct_models import LEVELS, relative, training_pairs
from features import (
    DAY,
    LAG_DAYS,
    Known,
    aligned,
    design,
    first_known,
    local_lag,
    mean_known,
    public_holidays,
    same_hours,
    series_lookup,
    weather_at,
)
from forecast_base import QUANTILES, ForecastModel, ModelError
from kinds import PLANT_KINDS
from lookups import Lookup

MAD_TO_SIGMA = 1.4826  # the standard deviation of a normal distribution in units of its median absolute deviation
LOWEST_SCALE = 1e-6
TYPICAL_HALF_LIFE_DAYS = 14.0
BEYOND = 1.0  # transformed prices may go so far beyond those learnt from: sinh makes an explosion of what is further off
MOST_STEPS = 100  # of least angle regression: the penalty with the least AIC comes long before
MOST_ROUNDS = 2500  # of coordinate descent, as in the paper's code
FEWEST_DAYS = 10  # that an hour's regression learns from


def asinh(values: np.ndarray, centre, scale) -> np.ndarray:
    """asinh((values − centre) / scale) [-]."""
    return np.arcsinh((values - centre) / scale)


def sinh(transformed: np.ndarray, centre, scale) -> np.ndarray:
    """Inverse of `asinh` [unit of the values]."""
    return np.sinh(transformed) * scale + centre


def robust_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and scaled median absolute deviation of each column; 1 where that vanishes."""
    centre = np.nanmedian(values, axis=0)
    scale = MAD_TO_SIGMA * np.nanmedian(np.abs(values - centre), axis=0)
    return centre, np.where(scale > LOWEST_SCALE, scale, 1.0)


# Deviations from what is typical of a kind of day


def day_kinds(days: pd.DatetimeIndex, holidays_country: str) -> np.ndarray:
    """Kind of local dates (without zone): 0 Monday, 1 Tuesday to Thursday, 2 Friday, 3 Saturday, 4 Sunday or public holiday."""
    kinds = np.array([0, 1, 1, 1, 2, 3, 4])[days.dayofweek]
    if len(days):
        kinds[days.isin(public_holidays(holidays_country, days.year.min(), days.year.max()))] = 4
    return kinds


def day_flags(times: pd.DatetimeIndex, zone: str, holidays_country: str) -> pd.DataFrame:
    """The kind of each time's local day as flags, and whether the days beside it are free (Saturday, Sunday or public holiday)."""
    days, place = np.unique(times.tz_convert(zone).tz_localize(None).normalize(), return_inverse=True)
    days = pd.DatetimeIndex(days)
    kinds = day_kinds(days, holidays_country)
    flags = {name: kinds == kind for name, kind in (("monday", 0), ("friday", 2), ("saturday", 3), ("free_day", 4))}
    flags["free_before"] = day_kinds(days - DAY, holidays_country) >= 3
    flags["free_after"] = day_kinds(days + DAY, holidays_country) >= 3
    return pd.DataFrame({name: flag[place].astype(float) for name, flag in flags.items()})


def typical(
    lookup: Lookup, origins: pd.DatetimeIndex, times: pd.DatetimeIndex, zone: str, holidays_country: str, first_day: int = 1
) -> np.ndarray:
    """Mean of the same local hour on days of the same kind among the last `LAG_DAYS`, newer days counting more, as known at the origins.

    Where none is known, the mean of the same hour over the newest 7 days.
    """
    lags = np.arange(first_day, LAG_DAYS + 1)
    values, _ = same_hours(lookup, origins, times, lags, zone)
    days = times.tz_convert(zone).tz_localize(None).normalize()
    calendar_days = pd.date_range(days.min() - LAG_DAYS * DAY, days.max())
    kinds, place = day_kinds(calendar_days, holidays_country), calendar_days.get_indexer(days)
    alike = kinds[place[:, None] - lags] == kinds[place][:, None]
    weights = 0.5 ** (lags / TYPICAL_HALF_LIFE_DAYS) * (alike & ~np.isnan(values))
    total = weights.sum(axis=1)
    mean = (weights * np.nan_to_num(values)).sum(axis=1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, mean_known(values, 7))


def deviations(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> pd.DataFrame:
    """What is typical at (origin, valid time) pairs, and how far the newest values were off what was typical of them.

    Columns [unit of the series]: typical; deviation_1 and deviation_2 (the newest two of the same local hour), deviation_3_h and
    deviation_day (means of the newest 3 and 24 hours). What was typical of a value is taken from two days before it and earlier.
    """
    lookup = series_lookup(known)
    recent = known.series[known.series.index >= origins.min() - 10 * DAY]
    usual = typical(lookup, recent.index, recent.index, known.zone, known.holidays_country, first_day=2)
    off = Lookup(recent - usual, known.available_at[len(known.series) - len(recent) :], known.step)
    same_hour, _ = same_hours(off, origins, times, range(1, 10), known.zone)
    end = off.newest(pd.DatetimeIndex(origins).as_unit("ns").asi8)
    sums = np.concatenate(([0.0], np.cumsum(np.nan_to_num(off.values))))
    table = {
        "typical": typical(lookup, origins, times, known.zone, known.holidays_country),
        "deviation_1": first_known(same_hour, 1),
        "deviation_2": first_known(same_hour, 2),
    }
    for name, hours in (("deviation_3_h", 3), ("deviation_day", 24)):
        length = max(1, int(pd.Timedelta(hours=hours) / known.step))
        table[name] = (sums[end + 1] - sums[np.maximum(end + 1 - length, 0)]) / length
    return pd.DataFrame(table)


# One ridge regression for each local hour


def daily_pairs(known: Known, horizon_h: float, first_day: int = 10) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Pairs (pseudo-origin, valid time) to train on: origins at the local clock time of the issue on each earlier day."""
    days = np.arange(1, int((known.issue_time - known.targets.index[0]) / DAY) - first_day + 1)
    issues = pd.DatetimeIndex(np.full(len(days), known.issue_time.value), tz="UTC")
    origins = local_lag(issues, days, known.zone).asi8
    steps = int(pd.Timedelta(hours=horizon_h) / known.step)
    times = (origins[:, None] + known.step.value * np.arange(steps)).ravel()
    pairs = pd.DatetimeIndex(np.repeat(origins, steps), tz="UTC"), pd.DatetimeIndex(times, tz="UTC")
    place = known.series.index.get_indexer(pairs[1])
    usable = pairs[1].isin(known.targets.index) & (known.available_at[place] > pairs[0])  # what was published then needs no forecast
    return pairs[0][usable], pairs[1][usable]


def groups_of(origins: pd.DatetimeIndex, times: pd.DatetimeIndex, zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Local days from issue to valid time, and the local hour of the latter."""
    start, local = origins.tz_convert(zone).tz_localize(None), times.tz_convert(zone)
    return ((local.tz_localize(None).normalize() - start.normalize()) / DAY).to_numpy().astype(int), local.hour.to_numpy()


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, levels=QUANTILES) -> np.ndarray:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return np.interp(levels, (share - 0.5 * weights[order]) / share[-1], values[order])


class HourlyRidge(ForecastModel):
    """A ridge regression for each local hour and day ahead; newer days count more, outliers less (Huber weights).

    The band is that of leave-one-out errors at the hour and its neighbours.
    """

    name = "hourly_ridge"
    defaults = {"penalty": 3.0, "half_life_days": 365.0, "outlier": 2.0}  # noqa: RUF012

    @staticmethod
    def search_space(trial):
        return {
            "penalty": trial.suggest_float("penalty", 0.3, 100.0, log=True),
            "half_life_days": trial.suggest_float("half_life_days", 30.0, 730.0, log=True),
            "outlier": trial.suggest_float("outlier", 0.5, 10.0, log=True),
        }

    def _table(self, known: Known, origins, times) -> tuple[pd.DataFrame, np.ndarray]:
        """Features and the level that targets are relative to, transformed."""
        table, _ = design(known, origins, times)
        if known.source.kind in PLANT_KINDS:
            return table.drop(columns=["horizon_h", "hour", "weekday"]), np.zeros(len(table))
        rest = day_flags(times, known.zone, known.holidays_country)
        if known.weather_forecasts is not None:
            rest = rest.join(table[[name for name in known.weather_forecasts if name in table]])
        if known.source.kind == "market":
            return asinh(table[[*LEVELS, "mean_week"]], *self.scale).join(rest), np.zeros(len(table))
        off = deviations(known, origins, times)
        level = off.pop("typical").to_numpy()
        return off.join(rest), level

    def _fit(self, known):
        origins, times = daily_pairs(known, self.horizon_h)
        if not len(times):
            raise ModelError(f"{self.name}: {known.source.source_id}: no pairs to train on, {FEWEST_DAYS} days needed")
        self.scale = robust_scale(known.targets.to_numpy())
        table, level = self._table(known, origins, times)
        self.columns, table = list(table), table.to_numpy(dtype=float)
        target = known.series.reindex(times).to_numpy()
        target = (asinh(target, *self.scale) if known.source.kind == "market" else target) - level
        usable = np.isfinite(table).all(axis=1) & np.isfinite(target)
        age = ((known.issue_time - origins) / DAY).to_numpy()
        weights = 0.5 ** (age / self.parameters["half_life_days"])
        days, hours = groups_of(origins, times, known.zone)
        self.regressions, errors = {}, {}
        for day, hour in sorted(set(zip(days[usable].tolist(), hours[usable].tolist(), strict=True))):
            rows = usable & (days == day) & (hours == hour)
            if rows.sum() < FEWEST_DAYS:
                continue
            self.regressions[day, hour], error = self._regression(table[rows], target[rows], weights[rows])
            errors[day, hour] = error, weights[rows]
        if not errors:
            raise ModelError(f"{self.name}: {known.source.source_id}: too few days to train on, {FEWEST_DAYS} needed")
        self.range = target[usable].min() - BEYOND, target[usable].max() + BEYOND
        self.bands = {}
        for day, hour in errors:
            near = [errors[day, beside % 24] for beside in (hour - 1, hour, hour + 1) if (day, beside % 24) in errors]
            self.bands[day, hour] = weighted_quantiles(*(np.concatenate(part) for part in zip(*near, strict=True)))

    def _regression(self, table, target, weights) -> tuple[tuple[np.ndarray, float], np.ndarray]:
        """Coefficients and constant by reweighted least squares, and the leave-one-out errors."""
        centre, spread = np.average(table, axis=0, weights=weights), table.std(axis=0)
        spread = np.where(spread > 1e-9, spread, np.inf)
        scaled, used = (table - centre) / spread, weights
        ridge = np.append(np.full(table.shape[1], self.parameters["penalty"]), 1e-9)
        scaled = np.column_stack([scaled, np.ones(len(scaled))])
        for _ in range(4):
            inverse = np.linalg.inv((scaled * used[:, None]).T @ scaled + np.diag(ridge))
            beta = inverse @ (scaled * used[:, None]).T @ target
            error = target - scaled @ beta
            limit = self.parameters["outlier"] * np.median(np.abs(error))
            leverage = used * ((scaled @ inverse) * scaled).sum(axis=1)
            used = weights * np.minimum(1.0, limit / np.maximum(np.abs(error), 1e-12))
        coefficients = beta[:-1] / spread
        return (coefficients, float(beta[-1] - centre @ coefficients), centre), error / np.maximum(1 - leverage, 0.2)

    def _forecast(self, known, times):
        origins = pd.DatetimeIndex([known.issue_time] * len(times))
        table, level = self._table(known, origins, times)
        table = aligned(table, self.columns).to_numpy(dtype=float)
        result = np.empty((len(times), 1 + len(QUANTILES)))
        for row, (day, hour) in enumerate(zip(*groups_of(origins, times, known.zone), strict=True)):
            group = min(self.regressions, key=lambda key: (abs(key[1] - hour), abs(key[0] - day)))
            coefficients, constant, centre = self.regressions[group]
            # no further from the level than was ever learnt: a regressor that hardly varied in training extrapolates far
            value = np.clip(constant + coefficients @ np.where(np.isnan(table[row]), centre, table[row]), *self.range) + level[row]
            result[row] = np.append(value, value + self.bands[group])
        return sinh(np.clip(result, *self.range), *self.scale) if known.source.kind == "market" else result


# LightGBM


class LightGbm(ForecastModel):
    """Gradient-boosted trees for each quantile (pinball loss), the horizon a feature; the value is the median."""

    name = "lightgbm"
    requires = ("lightgbm",)
    defaults = {"trees": 150, "learning_rate": 0.06, "leaves": 15, "min_leaf": 40, "most_rows": 12000}  # noqa: RUF012

    @staticmethod
    def search_space(trial):
        return {
            "trees": trial.suggest_int("trees", 50, 400, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
            "leaves": trial.suggest_int("leaves", 7, 63, log=True),
            "min_leaf": trial.suggest_int("min_leaf", 10, 100, log=True),
        }

    def _table(self, known: Known, origins, times) -> tuple[pd.DataFrame, np.ndarray]:
        """Features, and the level that targets are relative to."""
        table, _ = design(known, origins, times)
        if known.source.kind == "load":
            off = deviations(known, origins, times)
            level = off.pop("typical").to_numpy()
            flags = day_flags(times, known.zone, known.holidays_country)
            lags = {name: table[name] - level for name in LEVELS}
            return pd.concat([table.assign(**lags), off, flags], axis=1), level
        return relative(table, known)

    def _fit(self, known):
        import lightgbm

        origins, times = training_pairs(self, known)
        table, level = self._table(known, origins, times)
        target = known.series.reindex(times).to_numpy() - level
        self.scale = float(robust_scale(target)[1]) if known.source.kind == "market" else None
        usable = np.isfinite(target)
        target = np.arcsinh(target / self.scale) if self.scale else target
        # its filter drops columns that leaves of 20 rows cannot split, and refuses smaller leaves
        quiet = {"verbosity": -1, "feature_pre_filter": False}
        values = table.to_numpy(dtype=np.float32)[usable]
        rows = lightgbm.Dataset(values, target[usable], params=quiet).construct()
        given, self.columns = self.parameters, list(table)
        settings = {
            "objective": "quantile",
            "learning_rate": given["learning_rate"],
            "num_leaves": given["leaves"],
            "min_data_in_leaf": given["min_leaf"],
            "feature_fraction": 0.6,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "lambda_l2": 5.0,
            "num_threads": 1,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }
        self.boosters = [lightgbm.train(settings | {"alpha": level}, rows, given["trees"]) for level in QUANTILES]

    def _forecast(self, known, times):
        table, level = self._table(known, pd.DatetimeIndex([known.issue_time] * len(times)), times)
        rows = aligned(table, self.columns).to_numpy(dtype=np.float32)
        result = np.column_stack([booster.predict(rows, num_threads=1) for booster in self.boosters])
        result = (np.sinh(result) * self.scale if self.scale else result) + level[:, None]
        return np.column_stack([result[:, QUANTILES.index(0.5)], result])


# LEAR


class Lear(ForecastModel):
    """LEAR of Lago et al. (Applied Energy 293 (2021) 116983): a lasso for each hour of the day, averaged over calibration windows.

    Regressors: the prices of the last three days and of a week before, the forecasts (load, renewables, weather) for the day itself,
    the day before and a week before, all 24 hours of each, and a dummy for each weekday. Prices and forecasts are transformed by
    asinh. The penalty is the one with the least AIC on the path of regressors of unit length, and the lasso is then fitted with it to the
    regressors as they are: the recipe of the paper's code, which penalises far less than the AIC by itself would.
    Later days are forecast with earlier forecasts in place of values not known yet.
    """

    name = "lear"
    requires = ("scikit-learn",)
    defaults = {"windows_days": (56, 84, 1092, 1456)}  # noqa: RUF012
    lags_days = (1, 2, 3, 7)
    forecast_lags_days = (0, 1, 7)

    def _days(self, known: Known, ahead: int) -> tuple[pd.DatetimeIndex, np.ndarray, np.ndarray, list[np.ndarray]]:
        """Local days of the longest window and `ahead` more [no zone]: days, values by hour, by slot, and forecasts by hour."""
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
        slots = pd.DatetimeIndex((days.to_numpy()[:, None] + np.arange(24 * per_hour) * known.step.to_timedelta64()).ravel())
        exists = slots.tz_localize(known.zone, nonexistent="NaT", ambiguous=np.ones(len(slots), bool)).notna().reshape(values.shape)
        skipped = ~exists & (np.arange(len(days))[:, None] < day[inside].max(initial=-1))
        values[skipped] = pd.DataFrame(values).ffill(axis=1).to_numpy()[skipped]
        forecasts = []
        if known.weather_forecasts is not None:
            clock = known.issue_time.tz_convert(known.zone).tz_localize(None) - issue_day
            hours = (days.to_numpy()[:, None] + np.arange(24) * np.timedelta64(1, "h")).ravel()
            origins = np.repeat((days - DAY + clock).to_numpy(), 24)
            place = {"nonexistent": "shift_forward", "ambiguous": np.ones(len(hours), bool)}
            hours, origins = (pd.DatetimeIndex(part).tz_localize(known.zone, **place).tz_convert("UTC") for part in (hours, origins))
            table, _ = weather_at(known, origins, hours)
            forecasts = [table[name].to_numpy().reshape(-1, 24) for name in table]
        return days, values.reshape(len(days), 24, per_hour).mean(axis=2), values, forecasts

    def _regressors(self, days: pd.DatetimeIndex, hourly: np.ndarray, forecasts: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
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
            raise ModelError(f"{self.name}: {known.source.source_id}: {len(rows)} complete days to train on, 21 needed")
        lengths = sorted({min(window - max(self.lags_days), len(rows)) for window in self.parameters["windows_days"]})
        self.fits = [self._window(regressors[-length:], targets[-length:]) for length in lengths]

    def _window(self, regressors: np.ndarray, targets: np.ndarray) -> tuple:
        """Coefficients of each slot of the day fitted to a window, with the transformations, and the quantiles of the residuals."""
        inputs, target = robust_scale(regressors[:, :-7]), robust_scale(targets)
        x = np.hstack([asinh(regressors[:, :-7], *inputs), regressors[:, -7:]])
        y = asinh(targets, *target)
        x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
        x, y = x - x_mean, y - y_mean
        gram, products = x.T @ x, x.T @ y
        x, beta = np.asfortranarray(x), np.empty((x.shape[1], y.shape[1]))
        for slot, target_of_slot in enumerate(y.T):
            penalty = penalty_by_aic(gram, products[:, slot], target_of_slot @ target_of_slot, len(x))
            beta[:, slot] = lasso(x, target_of_slot, gram, products[:, slot], penalty)
        residuals = np.quantile(y - x @ beta, QUANTILES, axis=0).T
        limits = (y + y_mean).min(axis=0)[:, None] - BEYOND, (y + y_mean).max(axis=0)[:, None] + BEYOND
        return inputs, target, beta, y_mean - x_mean @ beta, residuals, limits

    def _forecast(self, known, times):
        local = times.tz_convert(known.zone).tz_localize(None)
        issue_day = known.issue_time.tz_convert(known.zone).tz_localize(None).normalize()
        ahead = max(1, (local[-1].normalize() - issue_day) // DAY)
        days, hourly, values, forecasts = self._days(known, ahead)
        # a regressor that is missing is what it was on the last day that had it
        hourly, *forecasts = (pd.DataFrame(part).ffill().bfill().to_numpy(copy=True) for part in (hourly, *forecasts))
        bands = np.full((*values.shape, 1 + len(QUANTILES)), np.nan)
        for row in range(len(days) - ahead - 2, len(days)):
            unknown = np.isnan(values[row])
            if unknown.any():
                regressors = self._regressors(days, hourly, forecasts, np.array([row]))
                bands[row] = np.mean([self._of_window(fit, regressors) for fit in self.fits], axis=0)
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
        return sinh(np.clip(np.column_stack([y, y[:, None] + residuals]), *limits), centre[:, None], scale[:, None])


def penalty_by_aic(gram: np.ndarray, products: np.ndarray, total: float, rows: int) -> float:
    """The penalty with the least AIC on the lasso's path of regressors scaled to unit length, as LassoLarsIC had it in 2021.

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
        penalties, _, path = lars_path_gram(products, gram, n_samples=rows, method="lasso", max_iter=MOST_STEPS)
    squares = np.maximum(total - 2 * products @ path + ((gram @ path) * path).sum(axis=0), 1e-9 * total)
    # the variance of the target stands for that of the noise
    return float(penalties[np.argmin(rows * squares / total + 2 * (np.abs(path) > 0).sum(axis=0))])


def lasso(x: np.ndarray, y: np.ndarray, gram: np.ndarray, products: np.ndarray, penalty: float) -> np.ndarray:
    """Coefficients of the lasso of centred regressors and target by coordinate descent."""
    from sklearn.linear_model import lasso_path

    if np.isinf(penalty):
        return np.zeros(x.shape[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as far as MOST_ROUNDS bring it
        return lasso_path(x, y, alphas=[penalty], precompute=gram, Xy=products, max_iter=MOST_ROUNDS)[1][:, 0]


# Several models


class Combination(ForecastModel):
    """The average of several models' values and quantiles: what each gets wrong in its own way cancels. LEAR is for prices only."""

    name = "combination"
    requires = ("lightgbm", "scikit-learn")
    defaults = {"members": ("hourly_ridge", "lightgbm", "lear")}  # noqa: RUF012

    def _fit(self, known):
        kinds = {model.name: model for model in (HourlyRidge, LightGbm, Lear)}
        names = [name for name in self.parameters["members"] if name != Lear.name or known.source.kind == "market"]
        self.members = [kinds[name](horizon_h=self.horizon_h, seed=self.seed).fit(known) for name in names]

    def _forecast(self, known, times):
        return np.mean([member._forecast(known, times) for member in self.members], axis=0)
