"""ARIMA on the residuals of a regression on Fourier terms, calendar and weather."""

import warnings
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, ModelError, Trial, with_band
from vpp.forecast.models.linear import LinearTerms, recent_targets
from vpp.forecast.quantiles import QUANTILES


class Arima(ForecastModel):
    """Fourier terms and regressors by ridge regression, ARIMA(2,0,1) on the residuals.

    Regression with ARIMA errors: Hyndman and Athanasopoulos, Forecasting: Principles and Practice
    (2021), chapter 10. Its band is that of the filter. It needs at least two days of values.

    Parameters
    ----------
    half_life_days : a value counts half as much as one so much newer [days]; six of them are
        learnt from.
    daily_order, weekly_order : pairs of Fourier terms of the day and of the week.
    ridge : penalty of the regression [-].
    most_residuals : newest residuals that the ARIMA is fitted to [intervals].
    filter_days : history that it is filtered on before a forecast [days].
    """

    name = "arima"
    requires = ("statsmodels", "scikit-learn")
    defaults: ClassVar[dict[str, Any]] = {
        "half_life_days": 30.0,
        "daily_order": 6,
        "weekly_order": 3,
        "ridge": 1.0,
        "most_residuals": 3000,
        "filter_days": 10.0,
    }

    @staticmethod
    def search_space(trial: Trial) -> dict[str, Any]:
        return {
            "half_life_days": trial.suggest_float("half_life_days", 10.0, 200.0, log=True),
            "daily_order": trial.suggest_int("daily_order", 3, 10),
            "ridge": trial.suggest_float("ridge", 0.1, 100.0, log=True),
        }

    def _model(self, residuals: np.ndarray) -> Any:
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        return SARIMAX(residuals / self.scale, order=(2, 0, 1), concentrate_scale=True)

    def _fit(self, known: Known) -> None:
        from statsmodels.tools.sm_exceptions import ModelWarning

        given, step = self.parameters, f"{known.source.step_min}min"
        targets = recent_targets(known, 6 * given["half_life_days"])
        self.terms = LinearTerms(
            given["daily_order"], given["weekly_order"], given["ridge"], given["half_life_days"]
        )
        residuals = pd.Series(self.terms.fit(known, targets), targets.index).asfreq(step)
        self.residuals = np.quantile(residuals.dropna(), QUANTILES)
        self.scale, self.arma = float(residuals.std()), None
        if self.scale <= 1e-6 * max(1.0, float(np.abs(targets).max())):
            return  # the terms say it all
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ModelWarning)
            warnings.simplefilter("ignore", UserWarning)
            result = self._model(residuals.to_numpy()[-given["most_residuals"] :]).fit(
                disp=False, maxiter=200
            )
        if not result.mle_retvals["converged"]:
            raise ModelError(
                f"arima: {known.source.source_id}: no convergence in "
                f"{result.mle_retvals['iterations']} iterations"
            )
        self.arma = result.params

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        from scipy.stats import norm

        recent = recent_targets(known, self.parameters["filter_days"])
        both = pd.DatetimeIndex(recent.index).union(times)
        terms = pd.Series(self.terms.of(known, both), both)
        mean = terms[times].to_numpy()
        if self.arma is None:
            return with_band(mean, self.residuals)
        residuals = (recent - terms[recent.index]).asfreq(f"{known.source.step_min}min")
        ahead = ((times - residuals.index[-1]) // known.step).to_numpy()
        if ahead[-1] <= 0:  # all published
            return with_band(mean, self.residuals)
        result = self._model(residuals.to_numpy()).filter(self.arma).get_forecast(int(ahead[-1]))
        place = np.maximum(ahead - 1, 0)
        return with_band(
            mean + self.scale * result.predicted_mean[place],
            norm.ppf(QUANTILES),
            self.scale * result.se_mean[place],
        )
