"""The average of several models."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.lear import Lear
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.ridge import HourlyRidge


class Combination(ForecastModel):
    """The average of several models' values and quantiles.

    Errors that each makes in its own way cancel (Bates and Granger, The Combination of Forecasts,
    1969). It needs the history that its members need.

    Parameters
    ----------
    members : names of hourly_ridge, lightgbm and lear; the last takes part for prices only.
    """

    name = "combination"
    requires = ("lightgbm", "scikit-learn")
    defaults: ClassVar[dict[str, Any]] = {"members": ("hourly_ridge", "lightgbm", "lear")}

    def _fit(self, known: Known) -> None:
        kinds = {model.name: model for model in (HourlyRidge, LightGbm, Lear)}
        names = [
            name
            for name in self.parameters["members"]
            if name != Lear.name or known.source.kind == "market"
        ]
        self.members = [
            kinds[name](horizon_h=self.horizon_h, seed=self.seed).fit(known) for name in names
        ]

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        return np.mean([member._forecast(known, times) for member in self.members], axis=0)
