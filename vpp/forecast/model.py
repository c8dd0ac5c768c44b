"""All models share this: `fit(known)`, then `predict(known, steps)` with a value and quantiles for
each interval.

A model learns its parameters from the `Known` given to `fit`; lags and weather come from the one
given to `predict`, which may be newer. Earlier out-of-sample errors shift the quantiles
(`calibrate`); then they are sorted and kept within physical limits. A published price is the
forecast of its hour. Every model pickles, is deterministic by its `seed`, and imports its library
only when it is used.

    python -c "from vpp.forecast.model import ForecastModel; help(ForecastModel)"
"""

from collections.abc import Sequence
from copy import copy
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pandas as pd

from vpp.forecast.calibration import (
    Calibration,
    calibrated,
    calibration_of,
    possible,
    with_median,
    within_band,
)
from vpp.forecast.features import series_lookup
from vpp.forecast.intraday import Intraday, intraday_of
from vpp.forecast.known import Known
from vpp.forecast.lookups import nanoseconds
from vpp.forecast.quantiles import COLUMNS, QUANTILE_COLUMNS
from vpp.forecast.stale import inputs_of
from vpp.forecast.sun import dark, under_the_sun
from vpp.runtime.errors import VppError
from vpp.site.kinds import SERIES_KINDS
from vpp.site.sources import Source

# an Optuna trial, or another object with its suggest_float, suggest_int, suggest_categorical
Trial: TypeAlias = Any


class ModelError(VppError):
    """A model cannot be fitted or does not converge; it cannot win then."""


def within_limits(
    values: np.ndarray,
    known: Known,
    times: pd.DatetimeIndex,
    origins: pd.DatetimeIndex | None = None,
) -> pd.DataFrame:
    """Values and quantiles of a model within the limits of their source.

    Quantiles are sorted; power is possible, and 0 at a solar plant's night; a published price is
    its own forecast.

    Parameters
    ----------
    values : value and quantiles (time × column) [kW or EUR/MWh].
    known : what is known at the issue time.
    times : starts of the intervals [UTC].
    origins : of each time, where it is an earlier one than the issue time [UTC]; a plant's night is
        that of the issue time all the same.

    Returns
    -------
    Index times; value and quantiles [kW or EUR/MWh]; published; dark.
    """
    values = possible(np.column_stack([values[:, 0], np.sort(values[:, 1:], axis=1)]), known.source)
    published = night = np.zeros(len(times), bool)
    if known.source.kind == "solar":
        night = dark(known, times)
        values[night] = 0.0
    if known.source.kind == "market":
        issued = [known.issue_time.value] if origins is None else nanoseconds(origins)
        price, _ = series_lookup(known).at(nanoseconds(times), np.asarray(issued))
        published = ~np.isnan(price)
        values[published] = price[published, None]
    columns = dict(zip(COLUMNS, values.T, strict=True))  # at once: adding columns takes longer
    return pd.DataFrame(columns | {"published": published, "dark": night}, times)


class ForecastModel:
    """Base of all models: subclasses give `name`, `defaults`, `search_space`, `_fit` and
    `forecast_pairs`, or `_forecast` where what is forecast from one issue time hangs together.

    Parameters
    ----------
    horizon_h : the horizon that it is trained for [h]; it forecasts longer ones less well.
    seed : of everything that it draws.
    **parameters : those of `defaults` that are to differ.

    Raises
    ------
    ModelError : it has no such parameter.
    """

    name = ""
    # distributions that a stored model needs beyond numpy, pandas and scipy
    requires: tuple[str, ...] = ()
    dear = False  # whether a fit takes seconds, so that a comparison makes fewer of them
    # whether it learns from anything beside the series and the calendar
    reads_inputs = True
    kinds: tuple[str, ...] = SERIES_KINDS  # of sources that it forecasts
    # whether it can say nothing without a measured value; one that can has a band of its own
    needs_history = True
    # whether its value goes along with its median; last week's hours stay what they are
    value_moves = True
    # whether a solar plant's hours are those of the sun, not of a clock with summer time
    by_sun = True
    # a model that an earlier version has stored has neither
    intraday: Intraday | None = None
    clock: str | None = None  # zone of the hours that it counts; None for the local one
    defaults: ClassVar[dict[str, Any]] = {}
    # fits for all sources of a kind, which a model of the name `global` takes in place of its own
    pools: tuple[Any, ...] = ()

    def __init__(self, horizon_h: float = 48.0, seed: int = 1, **parameters: Any) -> None:
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
        self.input_names: frozenset[str] = frozenset()

    @staticmethod
    def search_space(trial: Trial) -> dict[str, Any]:
        """Parameters that a trial suggests."""
        return {}

    def fit(self, known: Known) -> "ForecastModel":
        """Learn from what is known.

        Raises
        ------
        ModelError : no usable rows, or no convergence.
        """
        if known.targets.empty and self.needs_history:
            raise ModelError(
                f"{self.name}: {known.source.source_id} has no measured values before "
                f"{known.issue_time:%Y-%m-%dT%H:%MZ}"
            )
        self.clock = "UTC" if known.source.kind == "solar" and self.by_sun else None
        self._fit(self.by_clock(known))
        self.input_names = inputs_of(known) if self.reads_inputs else frozenset()
        self.trained_until = known.issue_time
        return self

    def calibrate(self, backtest: pd.DataFrame, source: Source, zone: str) -> "ForecastModel":
        """Calibrate the quantiles on the errors of earlier origins, and learn how long errors last.

        Parameters
        ----------
        backtest : rows of this model, themselves not calibrated.
        source : of the rows.
        zone : of local hours.
        """
        self.calibration = calibration_of(backtest, source, zone)
        self.intraday = intraday_of(backtest, source)
        return self

    def predict(self, known: Known, steps: int) -> pd.DataFrame:
        """Forecast the intervals from the issue time on.

        Parameters
        ----------
        known : what is known at the issue time.
        steps : number of intervals.

        Returns
        -------
        Index valid_time [UTC]; value and quantiles [kW or EUR/MWh]; published, whether it is a
        price that was known; dark, whether it is a solar plant's night.
        """
        times = known.valid_times(steps)
        asked = None
        if self.intraday is not None and self.trained_until is not None:
            asked = self.intraday.asks(known, times, self.trained_until)
        own, *earlier = self._own([(known, times), *([asked] if asked else [])])
        frame = within_limits(own, known, times)
        if self.calibration is not None:
            quantiles = calibrated(
                frame, self.calibration, known.issue_time, times, known.source, known.zone
            )
            before = frame[list(QUANTILE_COLUMNS)].to_numpy(copy=True)
            frame[list(QUANTILE_COLUMNS)] = quantiles
            value = frame["value"].to_numpy()
            frame["value"] = (
                with_median(value, before, quantiles)
                if self.value_moves
                else within_band(value, quantiles)
            )
        if asked is not None and self.intraday is not None:
            frame = self.intraday.update(frame, known, asked, *earlier)
        if known.source.kind == "solar":
            frame[list(COLUMNS)] = under_the_sun(frame[list(COLUMNS)].to_numpy(), known, times)
        return frame

    @property
    def takes_pairs(self) -> bool:
        """Whether `forecast_pairs` is there, and nothing comes after it but limits."""
        own = type(self)
        usual = own._forecast is ForecastModel._forecast and own.predict is ForecastModel.predict
        return usual and self.calibration is None and self.intraday is None

    def forecast_pairs(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> np.ndarray:
        """Value and quantiles of (origin, valid time) pairs, before calibration and limits.

        Each sees what was known at its origin, and does not depend on the other pairs.

        Parameters
        ----------
        known : what is known at the last of the origins.
        origins, times : of each pair [UTC].

        Returns
        -------
        Pair × column [kW or EUR/MWh].
        """
        raise NotImplementedError

    def _own(self, asked: Sequence[tuple[Known, pd.DatetimeIndex]]) -> list[np.ndarray]:
        """`_forecast` of now, and of times before, by the clock of the fit."""
        return [self._forecast(self.by_clock(known), times) for known, times in asked]

    def by_clock(self, known: Known) -> Known:
        """The same source with the local hours of the clock that the fit counted by.

        Parameters
        ----------
        known : what is known of it.
        """
        if self.clock is None:
            return known
        same = copy(known)  # with what it has looked up so far
        same.__dict__["zone"] = self.clock
        return same

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "pools"}

    def _fit(self, known: Known) -> None:
        raise NotImplementedError

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        """Rows of value and quantiles, before calibration and limits."""
        origins = pd.DatetimeIndex([known.issue_time] * len(times))
        return self.forecast_pairs(known, origins, times)


def with_band(
    value: np.ndarray, residual_quantiles: np.ndarray, scale: np.ndarray | float = 1.0
) -> np.ndarray:
    """A point forecast and its quantiles, from the quantiles of its residuals.

    Parameters
    ----------
    value : a forecast for each time [kW or EUR/MWh].
    residual_quantiles : of each level [in units of the scale].
    scale : of the residuals, one or one for each time [kW or EUR/MWh].

    Returns
    -------
    Value and quantiles (time × column) [kW or EUR/MWh].
    """
    return np.column_stack(
        [value, value[:, None] + np.reshape(scale, (-1, 1)) * residual_quantiles]
    )
