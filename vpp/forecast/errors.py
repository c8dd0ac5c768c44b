"""The errors of a backtest as arrays, for bands that are calibrated at each of its origins."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.forecast.calibration import (
    FEWEST_ERRORS,
    Calibration,
    Levels,
    days_and_hours,
    hours_of,
    is_given,
    possible,
    size_of_errors,
)
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.site.sources import Source


@dataclass(frozen=True)
class Errors:
    """The rows of a backtest as arrays, so that it is calibrated at many origins for little.

    Parameters
    ----------
    quantiles : row × quantile [kW or EUR/MWh].
    errors : actual − quantile of each row, NaN where not measured [size of errors].
    size : of errors at each row, as a column [kW, EUR/MWh or -].
    given : of each row whether no model forecasts it.
    horizon_h : from issue to valid time [h].
    date, hour : local ones of each row [ns, h].
    source : of the rows.
    """

    quantiles: np.ndarray
    errors: np.ndarray
    size: np.ndarray
    given: np.ndarray
    horizon_h: np.ndarray
    date: np.ndarray
    hour: np.ndarray
    source: Source

    @classmethod
    def of(cls, backtest: pd.DataFrame, source: Source, zone: str) -> "Errors":
        """Of the rows of a backtest.

        Parameters
        ----------
        backtest : rows of `vpp.forecast.backtest.backtest`, not calibrated.
        source : of the rows.
        zone : of local hours.
        """
        times = pd.DatetimeIndex(backtest["valid_time"])
        quantiles, size = backtest[list(QUANTILE_COLUMNS)].to_numpy(), size_of_errors(source, times)
        errors = (backtest["actual"].to_numpy()[:, None] - quantiles) / size
        horizon_h = hours_of(times - pd.DatetimeIndex(backtest["issue_time"]))
        date, hour = days_and_hours(times.tz_convert(zone))
        return cls(quantiles, errors, size, is_given(backtest), horizon_h, date, hour, source)

    def calibration(self, rows: np.ndarray, levels: Levels = QUANTILES) -> Calibration | None:
        """The calibration that some rows ask for; None below `FEWEST_ERRORS`.

        Parameters
        ----------
        rows : of each row whether it counts, where it is measured and not given.
        levels : to take of the errors, one for each quantile [fractions].
        """
        counted = np.flatnonzero(rows & ~self.given & ~np.isnan(self.errors[:, 0]))
        if len(counted) < FEWEST_ERRORS:
            return None
        ahead = (self.horizon_h[counted] // 24).astype(int)
        return Calibration.from_arrays(
            self.errors[counted],
            ahead,
            self.hour[counted],
            self.date[counted],
            np.asarray(levels),
        )

    def calibrated(self, calibration: Calibration, rows: np.ndarray) -> np.ndarray:
        """The quantiles of some rows as of the function `calibrated` [kW or EUR/MWh].

        Parameters
        ----------
        calibration : to apply.
        rows : numbers of the rows.
        """
        quantiles, size = self.quantiles[rows], self.size[rows]
        shifted = calibration.apply(quantiles / size, self.horizon_h[rows], self.hour[rows]) * size
        found = possible(np.sort(shifted, axis=1), self.source)
        return np.where(self.given[rows, None], quantiles, found)
