"""Prophet (Taylor and Letham 2018) with the regressors of the source."""

import numpy as np
import pandas as pd

from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, ModelError, with_band
from vpp.forecast.models.linear import Regressors, recent_targets
from vpp.forecast.quantiles import QUANTILES
from vpp.runtime.words import in_words
from vpp.site.kinds import PLANT_KINDS
from vpp.site.times import calendar


class Prophet(ForecastModel):
    """Prophet with weather forecasts and holidays as regressors, and a daily course of its own for
    working and free days.
    """

    name = "prophet"
    requires = ("prophet", "scikit-learn")
    defaults = {
        "fit_days": 120.0,
        "seasonality_scale": 1.0,
        "regressor_scale": 1.0,
        "daily_order": 8,
        "most_rows": 4000,
    }

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
            chosen = np.random.default_rng(self.seed).choice(
                len(targets), given["most_rows"], replace=False
            )
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
                self.model.add_seasonality(
                    f"daily_{part}",
                    period=1,
                    fourier_order=given["daily_order"],
                    condition_name=part,
                )
        for column in table:
            self.model.add_regressor(
                column, prior_scale=given["regressor_scale"], standardize=False
            )
        try:
            self.model.fit(self._frame(known, table).assign(y=targets.to_numpy()), seed=self.seed)
        except RuntimeError as error:
            raise ModelError(f"prophet: {known.source.source_id}: {in_words(error)}") from None
        from scipy.stats import norm

        self.band = norm.ppf(QUANTILES) * float(
            self.model.params["sigma_obs"].item() * self.model.y_scale
        )  # its own noise

    def _frame(self, known: Known, table: pd.DataFrame) -> pd.DataFrame:
        working = (
            calendar(table.index, known.zone, known.holidays_country)["working_day"].to_numpy() > 0
        )
        local = table.index.tz_convert(known.zone).tz_localize(None)
        return table.reset_index(drop=True).assign(ds=local, working=working, free=~working)

    def _forecast(self, known, times):
        frame = self._frame(known, self.regressors.of(known, times))
        return with_band(self.model.predict(frame)["yhat"].to_numpy(), self.band)
