"""The average of several models."""

import numpy as np

from vpp.forecast.model import ForecastModel
from vpp.forecast.models.lear import Lear
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.ridge import HourlyRidge

# Several models


class Combination(ForecastModel):
    """The average of several models' values and quantiles.

    What each gets wrong in its own way cancels. LEAR is for prices only.
    """

    name = "combination"
    requires = ("lightgbm", "scikit-learn")
    defaults = {"members": ("hourly_ridge", "lightgbm", "lear")}  # noqa: RUF012

    def _fit(self, known):
        kinds = {model.name: model for model in (HourlyRidge, LightGbm, Lear)}
        names = [
            name
            for name in self.parameters["members"]
            if name != Lear.name or known.source.kind == "market"
        ]
        self.members = [
            kinds[name](horizon_h=self.horizon_h, seed=self.seed).fit(known) for name in names
        ]

    def _forecast(self, known, times):
        return np.mean([member._forecast(known, times) for member in self.members], axis=0)
