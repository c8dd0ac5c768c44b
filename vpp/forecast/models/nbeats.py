"""N-BEATS through darts, on the residuals of linear terms."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, ModelError, Trial
from vpp.forecast.models.linear import LinearTerms, recent_targets
from vpp.forecast.quantiles import QUANTILES
from vpp.site.times import DAY, calendar


class NBeats(ForecastModel):
    """A small N-BEATS (darts) with quantile likelihood, for the whole horizon at once.

    Oreshkin et al., N-BEATS: Neural basis expansion analysis for interpretable time series
    forecasting (2020). It learns the residuals of linear terms. It takes covariates of the past
    only, so those of the time to come are given to it one horizon earlier. It needs a piece of
    history without a gap as long as input and horizon together.

    Parameters
    ----------
    fit_days : history that it learns from [days].
    input_h : values that it looks back at [h].
    width : of its layers.
    epochs : passes over the history.
    learning_rate : of the optimiser [-].
    stride_h : between two windows that it learns from [h].
    half_life_days : of the linear terms: a value counts half as much as one so much newer [days].
    """

    name = "nbeats"
    dear = True
    requires = ("darts", "torch", "pytorch-lightning", "scikit-learn")
    defaults: ClassVar[dict[str, Any]] = {
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
    def search_space(trial: Trial) -> dict[str, Any]:
        return {
            "width": trial.suggest_categorical("width", [32, 64, 128]),
            "epochs": trial.suggest_int("epochs", 6, 24, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 5e-4, 5e-3, log=True),
        }

    def _fit(self, known: Known) -> None:
        self._quiet()
        given, hours = self.parameters, known.step / pd.Timedelta(hours=1)
        self.inputs = int(given["input_h"] / hours)
        self.outputs = int(
            np.ceil((self.horizon_h + known.measurement_delay / pd.Timedelta(hours=1)) / hours)
        )
        recent = known.series[
            known.series.index >= known.series.index[-1] - given["fit_days"] * DAY
        ]
        self.terms = LinearTerms(6, 3, 1.0, given["half_life_days"])
        self.terms.fit(known, recent_targets(known, 6 * given["half_life_days"]))
        recent = recent - self.terms.of(known, recent.index)
        self.scale = float(recent.std()) or 1.0
        missing = recent.isna().to_numpy()
        edges = np.flatnonzero(np.diff(np.concatenate(([True], missing, [True])))).reshape(-1, 2)
        pieces = [
            recent.iloc[first:last]
            for first, last in edges
            if last - first >= self.inputs + self.outputs
        ]
        if not pieces:
            raise ModelError(
                f"nbeats: {known.source.source_id}: no {self.inputs + self.outputs} intervals "
                "without a gap to learn from"
            )
        series = [self._series(piece.to_numpy()) for piece in pieces]
        covariates = [self._covariates(known, piece.index) for piece in pieces]
        self.model = self._untrained(given["epochs"])
        stride = max(1, int(given["stride_h"] / hours))
        with self._no_warnings():
            self.model.fit(
                series,
                past_covariates=covariates,
                stride=stride,
                dataloader_kwargs={"pin_memory": False},
            )
        self._keep_weights()

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        network = self._network()
        full = pd.date_range(end=known.series.index[-1], periods=self.inputs, freq=known.step)
        window = (
            (known.series.reindex(full) - self.terms.of(known, full))
            .interpolate(limit_direction="both")
            .fillna(0.0)
        )
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
        ahead = np.where(  # beyond its horizon the same hour of its last day
            ahead >= self.outputs,
            self.outputs - per_day + (ahead - self.outputs) % per_day,
            np.maximum(ahead, 0),
        )
        quantiles = quantiles[ahead] + self.terms.of(known, times)[:, None]
        return np.column_stack([quantiles[:, QUANTILES.index(0.5)], quantiles])

    def _series(self, values: np.ndarray) -> Any:
        from darts import TimeSeries

        return TimeSeries.from_values((values / self.scale).astype(np.float32))

    def _covariates(self, known: Known, index: pd.DatetimeIndex) -> Any:
        from darts import TimeSeries

        valid = index + self.outputs * known.step
        table = self.terms.regressors.of(known, valid)
        hour = calendar(valid, known.zone, "")["hour"].to_numpy() * (2 * np.pi / 24)
        return TimeSeries.from_values(
            np.column_stack([table.to_numpy(), np.sin(hour), np.cos(hour)]).astype(np.float32)
        )

    @staticmethod
    def _quiet() -> None:
        import logging

        import pytorch_lightning  # noqa: F401 — importing it sets the levels that are raised here
        from darts.models import NBEATSModel  # noqa: F401

        loggers = ("pytorch_lightning", "lightning", "lightning.pytorch", "lightning.fabric")
        for name in (*loggers, "darts"):
            for child in (name, f"{name}.utilities.rank_zero"):
                logging.getLogger(child).setLevel(logging.ERROR)

    def _untrained(self, epochs: int) -> Any:
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
        """Weights and parameters only, nothing that runs code.

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

    def _network(self) -> Any:
        """The darts model; where it was stored, a new one that is given the stored weights."""
        self._quiet()
        if "model" not in self.__dict__:
            self.model = self._from_weights()
        elif isinstance(self.model, dict):
            self.model = self._from_darts_files(self.model)
            self._keep_weights()
        return self.model

    def _from_weights(self) -> Any:
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

    def _from_darts_files(self, files: dict[str, bytes]) -> Any:
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
    def _no_warnings() -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
