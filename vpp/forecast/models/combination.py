"""The weighted average of several models."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, ModelError
from vpp.forecast.models.arima import Arima
from vpp.forecast.models.dnn import Dnn
from vpp.forecast.models.lear import Lear
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.nbeats import NBeats
from vpp.forecast.models.prophet import Prophet
from vpp.forecast.models.ridge import HourlyRidge
from vpp.forecast.models.trees import RandomForest

REWEIGHTED = 6  # times, after which weights move by less than they are rounded
SMALLEST_ERROR = 0.05  # of the mean one: a smaller one counts as this

MEMBERS: dict[str, type[ForecastModel]] = {
    model.name: model
    for model in (Prophet, Arima, NBeats, RandomForest, HourlyRidge, LightGbm, Lear, Dnn)
}


class Combination(ForecastModel):
    """The average of several models' values and quantiles.

    Errors that each makes in its own way cancel (Bates and Granger, The Combination of Forecasts,
    1969). A training gives it the weights that `simplex_weights` finds on the newest days. It needs
    the history that its members need.

    Parameters
    ----------
    members : names of models; lear and dnn take part for prices only.
    weights : of each, 0 or more, with the sum 1; none for equal ones.
    of : parameters of each member that are not its defaults, by its name.
    """

    name = "combination"
    requires: tuple[str, ...] = ("lightgbm", "scikit-learn")
    defaults: ClassVar[dict[str, Any]] = {
        "members": ("hourly_ridge", "lightgbm", "lear", "dnn"),
        "weights": (),
        "of": {},
    }

    def _fit(self, known: Known) -> None:
        names, of = self.parameters["members"], self.parameters["of"]
        weights = self.parameters["weights"] or [1.0] * len(names)
        if len(weights) != len(names) or min(weights, default=0) < 0 or not sum(weights) > 0:
            raise ModelError(f"combination: {len(names)} members have the weights {weights}")
        pairs = [
            (name, weight)
            for name, weight in zip(names, weights, strict=True)
            if weight > 0 and known.source.kind in MEMBERS[name].kinds
        ]
        self.members = [
            MEMBERS[name](horizon_h=self.horizon_h, seed=self.seed, **of.get(name, {})).fit(known)
            for name, _ in pairs
        ]
        total = sum(weight for _, weight in pairs)
        self.weights = [weight / total for _, weight in pairs]
        self.requires = tuple(sorted({need for each in self.members for need in each.requires}))

    @property
    def takes_pairs(self) -> bool:
        alone = self.calibration is None and self.intraday is None
        return alone and all(member.takes_pairs for member in self.members)

    def forecast_pairs(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> np.ndarray:
        return self._average(
            [member.forecast_pairs(known, origins, times) for member in self.members]
        )

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        return self._average([member._forecast(known, times) for member in self.members])

    def _average(self, found: Sequence[np.ndarray]) -> np.ndarray:
        # a model that was stored before there were weights has equal ones
        weights = getattr(self, "weights", [1.0] * len(found))
        return np.average(found, axis=0, weights=weights)


def simplex_weights(errors: np.ndarray, days: float, half_days: float = 5.0) -> np.ndarray:
    """Weights of models, 0 or more, with the sum 1 and the least mean absolute error of their mean.

    They are drawn to weights inverse to the mean squared errors (Bates and Granger, 1969), the more
    the fewer days the errors are of. The least absolute error is found by least squares in which a
    row counts the less the larger its error is (Schlossmacher, Journal of the American Statistical
    Association 68, 1973).

    Parameters
    ----------
    errors : row x model [unit of the series].
    days : that the errors are of [d].
    half_days : so many days of the best model's errors count as much as the pull [d].
    """
    count = errors.shape[1]
    weights, typical = np.full(count, 1 / count), np.abs(errors).mean() if len(errors) else 0.0
    if typical <= 0:
        return weights
    squares = (errors**2).mean(axis=0)
    inverse = 1 / np.maximum(squares, 1e-9 * squares.sum())
    for _ in range(1 + REWEIGHTED):
        off = np.maximum(np.abs(errors @ weights), SMALLEST_ERROR * typical)
        weights = _least_squares(
            errors / np.sqrt(off)[:, None], half_days / max(days, 1.0), inverse / inverse.sum()
        )
    return weights


def _least_squares(errors: np.ndarray, pull: float, towards: np.ndarray) -> np.ndarray:
    """Weights with the least mean squared error, pulled by so much of that of the best model."""
    from scipy.optimize import nnls

    count = errors.shape[1]
    products = errors.T @ errors / len(errors)
    squares = np.diag(products)
    # of the best: the errors of a model that is far off would pull the more the larger they are
    pull *= max(squares.min(), 1e-9 * squares.mean())
    root = np.linalg.cholesky(products + pull * np.eye(count)).T
    target = np.linalg.solve(root.T, pull * towards)
    heavy = 1e3 * np.sqrt(squares.mean())  # holds the sum at 1
    weights, _ = nnls(
        np.vstack([root, np.full(count, heavy)]), np.append(target, heavy), maxiter=100 * count
    )
    return weights / weights.sum()


def average_of(
    frames: Sequence[pd.DataFrame], weights: np.ndarray, columns: Sequence[str]
) -> pd.DataFrame:
    """Rows of the first frame with the weighted average of all in some columns.

    Parameters
    ----------
    frames : of the same rows.
    weights : of each row and frame (row x frame) [-].
    columns : that are averaged.
    """
    names = list(columns)
    values = np.stack([frame[names].to_numpy() for frame in frames], axis=1)
    mean: Mapping[str, np.ndarray] = dict(
        zip(names, (values * weights[:, :, None]).sum(axis=1).T, strict=True)
    )
    return frames[0].assign(**mean)
