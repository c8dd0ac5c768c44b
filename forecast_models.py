"""The forecasting models, one class and one line in `MODELS` each; what they share is in `forecast_base.py`.

Naive forecasts, Prophet, ARIMA and N-BEATS are here; those that learn from a table of features (random forest and others) are in
`direct_models.py`.

    python -c "import forecast_models; print(*forecast_models.MODELS)"
"""

import tempfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

import terminal
from direct_models import RandomForest
from features import DAY, Known, aligned, calendar, dark, first_known, regressors, same_hours, seasonal_naive, series_lookup
from forecast_base import COLUMNS, QUANTILE_COLUMNS, QUANTILES, ForecastModel, ModelError, with_band
from kinds import PLANT_KINDS
from regression_models import Combination, HourlyRidge, Lear, LightGbm

__all__ = ["COLUMNS", "MODELS", "QUANTILES", "QUANTILE_COLUMNS", "ForecastModel", "ModelError"]


class SeasonalNaive(ForecastModel):
    """Last week's same local hour."""

    name = "seasonal_naive"
    days = 7

    def _value(self, known, times: pd.DatetimeIndex) -> np.ndarray:
        value = seasonal_naive(known, times, self.days)
        if np.isnan(value).any():  # a history shorter than that: the newest same hour, else the mean
            recent, _ = same_hours(series_lookup(known), pd.DatetimeIndex([known.issue_time] * len(times)), times, range(1, 29), known.zone)
            value = np.where(np.isnan(value), first_known(recent), value)
        return np.where(np.isnan(value), known.targets.mean() if len(known.targets) else 0.0, value)

    def _fit(self, known):
        targets = known.targets
        origins = pd.DatetimeIndex([known.issue_time] * len(targets))
        lagged, _ = same_hours(series_lookup(known), origins, targets.index, [self.days], known.zone)
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
    """The naive forecast of the price literature: the newest same hour for Tuesday to Friday, last week's for Saturday to Monday."""

    name = "mixed_naive"

    def _value(self, known, times):
        weekly = calendar(times, known.zone, "")["weekday"].isin((0, 5, 6)).to_numpy()
        return np.where(weekly, super()._value(known, times), DailyNaive._value(_DAILY, known, times))


_DAILY = DailyNaive()


class Regressors:
    """Regressors of the linear models, standardised on the history; the wind of a wind plant as the power learned for that wind speed."""

    def fit(self, known: Known, times: pd.DatetimeIndex) -> pd.DataFrame:
        from sklearn.isotonic import IsotonicRegression

        table, self.curves = regressors(known, times), {}
        self.columns = list(table)
        targets = known.targets.reindex(times).to_numpy()
        for name in table.columns.intersection(["wind_speed", "wind_speed_mean"]) if known.source.kind == "wind" else ():
            speed = table[name].to_numpy()
            usable = np.isfinite(speed) & np.isfinite(targets)
            if usable.sum() > 100:
                self.curves[name] = IsotonicRegression(out_of_bounds="clip").fit(speed[usable], targets[usable])
        table = self._shape(table)
        mean, std = table.mean(), table.std()
        self.mean, self.std = mean[std > 0], std[std > 0]
        return self._scale(table)

    def of(self, known: Known, times: pd.DatetimeIndex) -> pd.DataFrame:
        return self._scale(self._shape(aligned(regressors(known, times), self.columns)))

    def _shape(self, table: pd.DataFrame) -> pd.DataFrame:
        for name, curve in self.curves.items():
            speed = table[name]
            table[f"{name}_power"] = np.where(speed.isna(), np.nan, curve.predict(speed.interpolate(limit_direction="both").fillna(0.0)))
        return table

    def _scale(self, table: pd.DataFrame) -> pd.DataFrame:
        scaled = (table[self.mean.index] - self.mean) / self.std
        return scaled.fillna(0.0)  # no forecast then: the mean


def recent_targets(known: Known, days: float) -> pd.Series:
    """Measured values of the last days; of a solar plant those of daylight."""
    first = max(known.targets.index[-1] - days * DAY, min(known.targets.index[0] + 8 * DAY, known.targets.index[-1] - 7 * DAY))
    targets = known.targets[known.targets.index >= first]
    return targets[~dark(known, targets.index)] if known.source.kind == "solar" else targets


class Prophet(ForecastModel):
    """Prophet with weather forecasts and holidays as regressors, and a daily course of its own for working and free days."""

    name = "prophet"
    requires = ("prophet", "scikit-learn")
    defaults = {"fit_days": 120.0, "seasonality_scale": 1.0, "regressor_scale": 1.0, "daily_order": 8, "most_rows": 4000}  # noqa: RUF012

    @staticmethod
    def search_space(trial):
        return {
            "fit_days": trial.suggest_float("fit_days", 42.0, 365.0, log=True),
            "seasonality_scale": trial.suggest_float("seasonality_scale", 0.01, 10.0, log=True),
            "daily_order": trial.suggest_int("daily_order", 4, 11),
        }

    def _fit(self, known):
        import logging

        logger = logging.getLogger("cmdstanpy")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        import prophet

        given, plant = self.parameters, known.source.kind in PLANT_KINDS
        targets = recent_targets(known, given["fit_days"])
        if len(targets) > given["most_rows"]:
            chosen = np.random.default_rng(self.seed).choice(len(targets), given["most_rows"], replace=False)
            targets = targets.iloc[np.sort(chosen)]
        self.regressors = Regressors()
        table = self.regressors.fit(known, targets.index)
        self.model = prophet.Prophet(
            growth="flat",  # the level follows the regressors; an extrapolated trend does harm
            seasonality_prior_scale=given["seasonality_scale"],
            daily_seasonality=given["daily_order"] if plant else False,
            weekly_seasonality=False if plant else 3,
            yearly_seasonality=False,
            uncertainty_samples=0,
        )
        if not plant:
            for part in ("working", "free"):
                self.model.add_seasonality(f"daily_{part}", period=1, fourier_order=given["daily_order"], condition_name=part)
        for column in table:
            self.model.add_regressor(column, prior_scale=given["regressor_scale"], standardize=False)
        try:
            self.model.fit(self._frame(known, table).assign(y=targets.to_numpy()), seed=self.seed)
        except RuntimeError as error:
            raise ModelError(f"prophet: {known.source.source_id}: {terminal.in_words(error)}") from None
        from scipy.stats import norm

        self.band = norm.ppf(QUANTILES) * float(self.model.params["sigma_obs"].item() * self.model.y_scale)  # its own noise

    def _frame(self, known: Known, table: pd.DataFrame) -> pd.DataFrame:
        working = calendar(table.index, known.zone, known.holidays_country)["working_day"].to_numpy() > 0
        local = table.index.tz_convert(known.zone).tz_localize(None)
        return table.reset_index(drop=True).assign(ds=local, working=working, free=~working)

    def _forecast(self, known, times):
        frame = self._frame(known, self.regressors.of(known, times))
        return with_band(self.model.predict(frame)["yhat"].to_numpy(), self.band)


class LinearTerms:
    """Fourier terms of day (apart for working and free days) and week, and regressors, by ridge regression; newer days count more."""

    def __init__(self, daily_order: int, weekly_order: int, ridge: float, half_life_days: float):
        self.daily_order, self.weekly_order, self.ridge, self.half_life_days = daily_order, weekly_order, ridge, half_life_days

    def fit(self, known: Known, targets: pd.Series) -> np.ndarray:
        """Learn from targets; returns what is left of them."""
        self.regressors = Regressors()
        terms = self._terms(known, self.regressors.fit(known, targets.index))
        age_days = (known.issue_time - targets.index) / DAY
        weighted = terms * (0.5 ** (age_days / self.half_life_days)).to_numpy()[:, None]
        penalty = np.eye(terms.shape[1]) * self.ridge
        penalty[0, 0] = 0.0
        self.weights = np.linalg.solve(weighted.T @ terms + penalty, weighted.T @ targets.to_numpy())
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
            parts += [daily * working, fourier((days["weekday"].to_numpy() + hour / 24) / 7, self.weekly_order)]
        return np.hstack(parts)


class Arima(ForecastModel):
    """Fourier terms and regressors by least squares, ARIMA(2,0,1) on what they leave."""

    name = "arima"
    requires = ("statsmodels", "scikit-learn")
    defaults = {"half_life_days": 30.0, "daily_order": 6, "weekly_order": 3, "ridge": 1.0, "most_residuals": 3000, "filter_days": 10.0}  # noqa: RUF012

    @staticmethod
    def search_space(trial):
        return {
            "half_life_days": trial.suggest_float("half_life_days", 10.0, 200.0, log=True),
            "daily_order": trial.suggest_int("daily_order", 3, 10),
            "ridge": trial.suggest_float("ridge", 0.1, 100.0, log=True),
        }

    def _model(self, residuals: np.ndarray):
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        return SARIMAX(residuals / self.scale, order=(2, 0, 1), concentrate_scale=True)

    def _fit(self, known):
        from statsmodels.tools.sm_exceptions import ModelWarning

        given = self.parameters
        targets = recent_targets(known, 6 * given["half_life_days"])
        self.terms = LinearTerms(given["daily_order"], given["weekly_order"], given["ridge"], given["half_life_days"])
        residuals = pd.Series(self.terms.fit(known, targets), targets.index).asfreq(known.step)
        self.residuals = np.quantile(residuals.dropna(), QUANTILES)
        self.scale, self.arma = float(residuals.std()), None
        if self.scale <= 1e-6 * max(1.0, float(np.abs(targets).max())):
            return  # the terms say it all
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModelWarning)
            warnings.simplefilter("ignore", UserWarning)
            result = self._model(residuals.to_numpy()[-given["most_residuals"] :]).fit(disp=False, maxiter=200)
        if not result.mle_retvals["converged"]:
            raise ModelError(f"arima: {known.source.source_id}: no convergence in {result.mle_retvals['iterations']} iterations")
        self.arma = result.params

    def _forecast(self, known, times):
        from scipy.stats import norm

        recent = recent_targets(known, self.parameters["filter_days"])
        both = recent.index.union(times)
        terms = pd.Series(self.terms.of(known, both), both)
        mean = terms[times].to_numpy()
        if self.arma is None:
            return with_band(mean, self.residuals)
        residuals = (recent - terms[recent.index]).asfreq(known.step)
        ahead = ((times - residuals.index[-1]) // known.step).to_numpy()
        if ahead[-1] <= 0:  # all published
            return with_band(mean, self.residuals)
        result = self._model(residuals.to_numpy()).filter(self.arma).get_forecast(int(ahead[-1]))
        place = np.maximum(ahead - 1, 0)
        return with_band(mean + self.scale * result.predicted_mean[place], norm.ppf(QUANTILES), self.scale * result.se_mean[place])


class NBeats(ForecastModel):
    """A small N-BEATS (darts) with quantile likelihood, for the whole horizon at once.

    It learns what the linear terms leave. It takes covariates of the past only, so those of the time to come are given to it one
    horizon earlier.
    """

    name = "nbeats"
    requires = ("darts", "torch", "pytorch-lightning", "scikit-learn")
    defaults = {  # noqa: RUF012
        "fit_days": 365.0,
        "input_h": 72.0,
        "width": 64,
        "epochs": 10,
        "learning_rate": 1e-3,
        "stride_h": 5.0,
        "half_life_days": 45.0,
    }
    batch_size = 64

    @staticmethod
    def search_space(trial):
        return {
            "width": trial.suggest_categorical("width", [32, 64, 128]),
            "epochs": trial.suggest_int("epochs", 6, 24, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 5e-4, 5e-3, log=True),
        }

    def _fit(self, known):
        self._quiet()
        given, hours = self.parameters, known.step / pd.Timedelta(hours=1)
        self.inputs = int(given["input_h"] / hours)
        self.outputs = int(np.ceil((self.horizon_h + known.measurement_delay / pd.Timedelta(hours=1)) / hours))
        recent = known.series[known.series.index >= known.series.index[-1] - given["fit_days"] * DAY]
        self.terms = LinearTerms(6, 3, 1.0, given["half_life_days"])
        self.terms.fit(known, recent_targets(known, 6 * given["half_life_days"]))
        recent = recent - self.terms.of(known, recent.index)
        self.scale = float(recent.std()) or 1.0
        missing = recent.isna().to_numpy()
        edges = np.flatnonzero(np.diff(np.concatenate(([True], missing, [True])))).reshape(-1, 2)
        pieces = [recent.iloc[first:last] for first, last in edges if last - first >= self.inputs + self.outputs]
        if not pieces:
            raise ModelError(f"nbeats: {known.source.source_id}: no {self.inputs + self.outputs} intervals without a gap to learn from")
        series = [self._series(piece.to_numpy()) for piece in pieces]
        covariates = [self._covariates(known, piece.index) for piece in pieces]
        self.model = self._untrained(given["epochs"])
        stride = max(1, int(given["stride_h"] / hours))
        with self._no_warnings():
            self.model.fit(series, past_covariates=covariates, stride=stride, dataloader_kwargs={"pin_memory": False})
        self._keep_weights()

    def _forecast(self, known, times):
        network = self._network()
        full = pd.date_range(end=known.series.index[-1], periods=self.inputs, freq=known.step)
        window = (known.series.reindex(full) - self.terms.of(known, full)).interpolate(limit_direction="both").fillna(0.0)
        with self._no_warnings():
            forecast = network.predict(
                self.outputs,
                series=self._series(window.to_numpy()),
                past_covariates=self._covariates(known, full),
                predict_likelihood_parameters=True,
                show_warnings=False,
                dataloader_kwargs={"pin_memory": False},
            )
        quantiles = self.scale * forecast.values()
        per_day = int(DAY / known.step)
        ahead = ((times - full[-1]) // known.step).to_numpy() - 1
        ahead = np.where(ahead >= self.outputs, self.outputs - per_day + (ahead - self.outputs) % per_day, np.maximum(ahead, 0))
        quantiles = quantiles[ahead] + self.terms.of(known, times)[:, None]  # beyond its horizon the same hour of its last day
        return np.column_stack([quantiles[:, QUANTILES.index(0.5)], quantiles])

    def _series(self, values: np.ndarray):
        from darts import TimeSeries

        return TimeSeries.from_values((values / self.scale).astype(np.float32))

    def _covariates(self, known: Known, index: pd.DatetimeIndex):
        from darts import TimeSeries

        valid = index + self.outputs * known.step
        table = self.terms.regressors.of(known, valid)
        hour = calendar(valid, known.zone, "")["hour"].to_numpy() * (2 * np.pi / 24)
        return TimeSeries.from_values(np.column_stack([table.to_numpy(), np.sin(hour), np.cos(hour)]).astype(np.float32))

    @staticmethod
    def _quiet() -> None:
        import logging

        import pytorch_lightning  # noqa: F401 — importing it sets the levels that are raised here
        from darts.models import NBEATSModel  # noqa: F401

        for name in ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning.fabric", "darts"):
            for child in (name, f"{name}.utilities.rank_zero"):
                logging.getLogger(child).setLevel(logging.ERROR)

    def _untrained(self, epochs: int):
        """The darts model of these parameters, without weights."""
        from darts.models import NBEATSModel
        from darts.utils.likelihood_models import QuantileRegression

        return NBEATSModel(
            self.inputs,
            self.outputs,
            num_stacks=2,
            num_blocks=1,
            num_layers=2,
            layer_widths=self.parameters["width"],
            n_epochs=epochs,
            batch_size=self.batch_size,
            optimizer_kwargs={"lr": self.parameters["learning_rate"]},
            likelihood=QuantileRegression(list(QUANTILES)),
            random_state=self.seed,
            save_checkpoints=False,
            pl_trainer_kwargs=self._trainer(),
        )

    def __getstate__(self) -> dict:
        """Weights and parameters only.

        The files of darts name classes and functions. Those that Python 3.11.2 writes call getattr,
        and darts rightly refuses to load them.
        """
        state = self.__dict__.copy()
        if "weights" in state:
            state.pop("model", None)
        return state

    def _keep_weights(self) -> None:
        """Remember by what the network is built again: its weights, and the count of covariates."""
        network = self.model.model
        weights = network.state_dict()
        self.weights = {name: tensor.numpy().copy() for name, tensor in weights.items()}
        self.columns = network.train_sample_shape["past_covariates"][1]

    def _network(self):
        """The darts model; where it was stored, a new one that is given the stored weights."""
        self._quiet()
        if "model" not in self.__dict__:
            self.model = self._from_weights()
        elif isinstance(self.model, dict):
            self.model = self._from_darts_files(self.model)
            self._keep_weights()
        return self.model

    def _from_weights(self):
        import torch
        from darts import TimeSeries

        model, length = self._untrained(epochs=0), self.inputs + self.outputs
        target = TimeSeries.from_values(np.zeros((length, 1), np.float32))
        covariates = TimeSeries.from_values(np.zeros((length, self.columns), np.float32))
        with self._no_warnings():
            model.fit(target, past_covariates=covariates)  # no epoch: it only makes the layers
        weights = {name: torch.from_numpy(values) for name, values in self.weights.items()}
        model.model.load_state_dict(weights)
        return model

    def _from_darts_files(self, files: dict[str, bytes]):
        """The network of a model that was stored before version 0.2, as the two files of darts."""
        from darts.models import NBEATSModel

        with tempfile.TemporaryDirectory() as folder, self._no_warnings():
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            try:
                return NBEATSModel.load(f"{folder}/nbeats.pt", pl_trainer_kwargs=self._trainer())
            except Exception as error:  # whatever darts and torch raise for what they do not trust
                message = "an earlier version stored this network in a form that cannot be loaded"
                raise ModelError(f"nbeats: {message}; run python train_forecast.py") from error

    @staticmethod
    def _trainer() -> dict:
        silent = ("enable_progress_bar", "enable_model_summary", "logger", "enable_checkpointing")
        return {"accelerator": "cpu"} | dict.fromkeys(silent, False)

    @staticmethod
    @contextmanager
    def _no_warnings():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield


MODELS: dict[str, type[ForecastModel]] = {
    model.name: model
    for model in (SeasonalNaive, DailyNaive, MixedNaive, Prophet, Arima, NBeats, RandomForest, HourlyRidge, LightGbm, Lear, Combination)
}
