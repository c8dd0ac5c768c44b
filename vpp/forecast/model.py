"""What all forecasting models share: `fit(known)`, then `predict(known, steps)` with a value and
quantiles for each interval.

A model learns its parameters from the `Known` given to `fit`; lags and weather come from the one
given to `predict`, which may be newer. Quantiles are shifted by what earlier out-of-sample errors
ask for (`calibrate`), sorted, and kept within what is physically possible; published prices are the
forecast of their hours. Every model pickles, is deterministic by its `seed`, and imports its
library only when it is used.

    python -c "import forecast_base; print(*forecast_base.COLUMNS)"
"""

import numpy as np
import pandas as pd

from vpp.forecast.calibration import Calibration, calibrated, calibration_of, possible, within_band
from vpp.forecast.known import Known
from vpp.forecast.quantiles import COLUMNS, QUANTILE_COLUMNS
from vpp.forecast.sun import dark
from vpp.runtime.config import VppError
from vpp.site.sources import Source


class ModelError(VppError):
    """A model cannot be fitted or does not converge; it cannot win then."""


def within_limits(values: np.ndarray, known: Known, times: pd.DatetimeIndex) -> pd.DataFrame:
    """A model's value and quantiles sorted, possible, zero at night for a solar plant, and
    published prices as they are; `FLAGS`.
    """
    values = possible(np.column_stack([values[:, 0], np.sort(values[:, 1:], axis=1)]), known.source)
    published = night = np.zeros(len(times), bool)
    if known.source.kind == "solar":
        night = dark(known, times)
        values[night] = 0.0
    if known.source.kind == "market":
        price = known.series.reindex(times).to_numpy()
        published = ~np.isnan(price)
        values[published] = price[published, None]
    return pd.DataFrame(values, times, COLUMNS).assign(published=published, dark=night)


class ForecastModel:
    """Base of all models: subclasses give `name`, `defaults`, `search_space`, `_fit` and
    `_forecast`.

    `horizon_h` is the horizon [h] that a model is trained for; it forecasts longer ones less well.
    """

    name = ""
    requires: tuple[
        str, ...
    ] = ()  # distributions that a stored model needs beyond numpy, pandas and scipy
    defaults: dict = {}  # noqa: RUF012

    def __init__(self, horizon_h: float = 48.0, seed: int = 1, **parameters):
        unknown = set(parameters) - set(self.defaults)
        if unknown:
            raise ModelError(
                f"{self.name}: unknown parameter {', '.join(sorted(unknown))}; expected "
                f"{', '.join(self.defaults) or 'none'}"
            )
        self.parameters = self.defaults | parameters
        self.horizon_h, self.seed = float(horizon_h), int(seed)
        self.calibration: Calibration | None = None
        self.trained_until: pd.Timestamp | None = None

    @staticmethod
    def search_space(trial) -> dict:
        """Parameters that an Optuna trial suggests."""
        return {}

    def fit(self, known: Known) -> "ForecastModel":
        """Learn from what is known.

        Raises
        ------
        ModelError : no usable rows, or no convergence.
        """
        if known.targets.empty:
            raise ModelError(
                f"{self.name}: {known.source.source_id} has no measured values before "
                f"{known.issue_time:%Y-%m-%dT%H:%MZ}"
            )
        self._fit(known)
        self.trained_until = known.issue_time
        return self

    def calibrate(self, backtest: pd.DataFrame, source: Source, zone: str) -> "ForecastModel":
        """Calibrate the quantiles on the errors of earlier origins.

        A backtest of this model, itself not calibrated.
        """
        self.calibration = calibration_of(backtest, source, zone)
        return self

    def predict(self, known: Known, steps: int) -> pd.DataFrame:
        """Forecast the `steps` intervals from the issue time.

        Returns
        -------
        Index valid_time; value and quantiles [kW or EUR/MWh]; published, whether it is a price that
        was known; dark, whether it is a solar plant's night.
        """
        times = known.valid_times(steps)
        frame = within_limits(self._forecast(known, times), known, times)
        if self.calibration is not None:
            quantiles = calibrated(
                frame, self.calibration, known.issue_time, times, known.source, known.zone
            )
            frame[list(QUANTILE_COLUMNS)] = quantiles
            frame["value"] = within_band(frame["value"].to_numpy(), quantiles)
        return frame

    def _fit(self, known: Known) -> None:
        raise NotImplementedError

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        """Rows of value and quantiles, before calibration and limits."""
        raise NotImplementedError


def with_band(
    value: np.ndarray, residual_quantiles: np.ndarray, scale: np.ndarray | float = 1.0
) -> np.ndarray:
    """A point forecast and its quantiles from those of (scaled) residuals."""
    return np.column_stack(
        [value, value[:, None] + np.reshape(scale, (-1, 1)) * residual_quantiles]
    )
