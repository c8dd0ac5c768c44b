"""DNN: neural networks of day-ahead prices, all hours of a day at once, averaged."""

import warnings
from typing import Any, ClassVar

import numpy as np

from vpp.forecast.models.lear import Lear


class Dnn(Lear):
    """The deep neural network of Lago et al. (Applied Energy 293 (2021) 116983), made small.

    It reads what LEAR reads, learns from its longest window, and gives all hours of a day. Two
    layers of rectified linear units are trained until their error on days that are left out grows.
    Several that begin otherwise and leave out other days are averaged. Unlike the paper's, neither
    layers nor regressors are searched for.

    Parameters
    ----------
    windows_days : history that it learns from [days].
    nets : how many are averaged.
    units : of each layer.
    penalty : of squared weights [-].
    """

    name = "dnn"
    defaults: ClassVar[dict[str, Any]] = {
        "windows_days": (1456,),
        "nets": 5,
        "units": (128, 64),
        "penalty": 1.0,
    }

    def _learn(self, x: np.ndarray, y: np.ndarray) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """Weights and biases of each layer of each network."""
        from sklearn.neural_network import MLPRegressor

        nets = []
        for number in range(self.parameters["nets"]):
            net = MLPRegressor(
                hidden_layer_sizes=self.parameters["units"],
                alpha=self.parameters["penalty"],
                batch_size=int(np.clip(len(x) // 20, 8, 64)),
                early_stopping=True,
                validation_fraction=0.15,
                n_iter_no_change=15,
                max_iter=300,
                random_state=1000 * self.seed + number,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it may still get better: as far as it has come
                net.fit(x, y)
            nets.append(list(zip(net.coefs_, net.intercepts_, strict=True)))
        return nets

    def _value(self, learned: list, x: np.ndarray) -> np.ndarray:
        found = []
        for *hidden, (weights, bias) in learned:
            values = x
            for layer, shift in hidden:
                values = np.maximum(values @ layer + shift, 0.0)
            found.append(values @ weights + bias)
        return np.mean(found, axis=0)
