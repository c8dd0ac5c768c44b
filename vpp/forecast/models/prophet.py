"""Prophet with the regressors of the source."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, ModelError, Trial, with_band
from vpp.forecast.models.linear import Regressors, recent_targets
from vpp.forecast.quantiles import QUANTILES
from vpp.runtime.words import in_words
from vpp.site.kinds import PLANT_KINDS
from vpp.site.times import calendar


class Prophet(ForecastModel):
    """Prophet with weather forecasts and holidays as regressors, and a daily course of its own for
    working and free days.

    Taylor and Letham, Forecasting at Scale (The American Statistician 72, 2018). Its band is that
    of its noise. It needs at least two days of values.

    Parameters
    ----------
    fit_days : history that it learns from [days].
    seasonality_scale, regressor_scale : standard deviations of their priors [-].
    daily_order : pairs of Fourier terms of the day.
    most_rows : values drawn to learn from, at most.
    """

    name = "prophet"
    dear = True
    requires = ("prophet", "scikit-learn")
    defaults: ClassVar[dict[str, Any]] = {
        "fit_days": 120.0,
        "seasonality_scale": 1.0,
        "regressor_scale": 1.0,
        "daily_order": 8,
        "most_rows": 4000,
    }

    @staticmethod
    def search_space(trial: Trial) -> dict[str, Any]:
        return {
            "fit_days": trial.suggest_float("fit_days", 42.0, 365.0, log=True),
            "seasonality_scale": trial.suggest_float("seasonality_scale", 0.01, 10.0, log=True),
            "daily_order": trial.suggest_int("daily_order", 4, 11),
        }

    def _fit(self, known: Known) -> None:
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
        table = self.regressors.fit(known, pd.DatetimeIndex(targets.index))
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
        scale = given["regressor_scale"]
        for column in table:
            self.model.add_regressor(str(column), prior_scale=scale, standardize=False)
        try:
            self.model.fit(self._frame(known, table).assign(y=targets.to_numpy()), seed=self.seed)
        except RuntimeError as error:
            raise ModelError(f"prophet: {known.source.source_id}: {in_words(error)}") from None
        from scipy.stats import norm

        noise = float(self.model.params["sigma_obs"].item() * self.model.y_scale)
        self.band = norm.ppf(QUANTILES) * noise

    def _frame(self, known: Known, table: pd.DataFrame) -> pd.DataFrame:
        times = pd.DatetimeIndex(table.index)
        days = calendar(times, known.zone, known.holidays_country)
        working = days["working_day"].to_numpy() > 0
        local = times.tz_convert(known.zone).tz_localize(None)
        return table.reset_index(drop=True).assign(ds=local, working=working, free=~working)

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        frame = self._frame(known, self.regressors.of(known, times))
        return with_band(self.model.predict(frame)["yhat"].to_numpy(), self.band)
