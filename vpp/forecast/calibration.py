"""Bands that hold: quantiles shifted by what earlier out-of-sample errors ask for.

A `Calibration` is learned from the errors of a backtest (conformalised quantiles, Romano et al.
2019) and applied to forecasts."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.forecast.quantiles import FLAGS, QUANTILE_COLUMNS, QUANTILES
from vpp.forecast.sun import sin_elevation
from vpp.site.kinds import PLANT_KINDS
from vpp.site.sources import Source

# Errors of one day are alike: it is days that make a group of errors trustworthy, not rows. All
# errors of so many days count half of what is asked for, nothing the other half; the errors of a
# group of so many days count half, the wider group around it the other half.
ALL_DAYS, GROUP_DAYS = 5, 20
ERRORS_A_DAY = 3  # that are independent of each other, about
LOWEST_SUN = 0.05  # sine of the elevation; errors below are measured in it
FEWEST_ERRORS = 20  # below them nothing is calibrated


@dataclass(frozen=True)
class Calibration:
    """Shifts of the quantiles by day of the horizon and local hour (conformalised quantiles, Romano
    et al. 2019, each level by itself).

    A group's shift is the level's quantile of (actual − forecast quantile) over the errors of that
    day of the horizon at the local hour and its two neighbours; the fewer days those are of, the
    more it is that of all hours of the day, of all errors, and none, and the wider the band, as a
    quantile of n errors leaves out more than it says of the next one."""

    shifts: np.ndarray  # day of horizon × local hour × quantile

    @classmethod
    def from_errors(
        cls, errors: np.ndarray, horizon_h: np.ndarray, times: pd.DatetimeIndex, levels=QUANTILES
    ) -> "Calibration":
        """Errors: actual − forecast quantile (row × quantile).

        Horizon [h] and local time of each row; levels to take of the errors.
        """
        ahead, levels = (horizon_h // 24).astype(int), np.asarray(levels)
        hour, date = times.hour.to_numpy(), times.tz_localize(None).normalize().asi8

        def towards(shift: np.ndarray, rows: np.ndarray, half_days: float) -> np.ndarray:
            return _towards(shift, errors[rows], len(np.unique(date[rows])), levels, half_days)

        overall = towards(np.zeros(len(levels)), np.ones(len(errors), bool), ALL_DAYS)
        shifts = np.zeros((ahead.max() + 1, 24, len(levels)))
        for this_day in range(len(shifts)):
            on_day = ahead == this_day
            of_day = towards(overall, on_day, GROUP_DAYS)
            for this_hour in range(24):
                near = on_day & (np.abs((hour - this_hour + 12) % 24 - 12) <= 1)
                shifts[this_day, this_hour] = towards(of_day, near, GROUP_DAYS)
        return cls(shifts)

    def apply(self, quantiles: np.ndarray, horizon_h: np.ndarray, hour: np.ndarray) -> np.ndarray:
        day = np.minimum((horizon_h // 24).astype(int), len(self.shifts) - 1)
        return quantiles + self.shifts[day, hour]


def _towards(
    shift: np.ndarray, errors: np.ndarray, days: int, levels: np.ndarray, half_days: float
) -> np.ndarray:
    """From a shift towards each level's quantile of a column of errors, the further the more days
    they are of.
    """
    rows = len(errors)
    if not rows:
        return shift
    # what makes a future error fall below with the level's probability, were so many errors
    # independent
    levels = 0.5 + (levels - 0.5) * (1 + 1 / (ERRORS_A_DAY * days))
    position = np.clip(levels * (rows + 1) - 1, 0, rows - 1)
    low, column, ordered = position.astype(int), np.arange(len(levels)), np.sort(errors, axis=0)
    part = position - low
    quantile = (
        ordered[low, column] * (1 - part) + ordered[np.minimum(low + 1, rows - 1), column] * part
    )
    return shift + (quantile - shift) * days / (days + half_days)


def size_of_errors(source: Source, times: pd.DatetimeIndex) -> np.ndarray:
    """What errors at these times are measured in, as a column.

    For a solar plant the height of the sun, so that bands close with it [-].
    """
    if source.kind != "solar" or source.latitude is None or source.longitude is None:
        return np.ones((len(times), 1))
    height = sin_elevation(
        times, pd.Timedelta(minutes=source.step_min), source.latitude, source.longitude
    )
    return np.maximum(height, LOWEST_SUN)[:, None]


def calibration_of(
    backtest: pd.DataFrame, source: Source, zone: str, levels=QUANTILES
) -> Calibration | None:
    """What the errors of a backtest ask for; None where it holds too few.

    Rows that no model forecasts (night, published prices) do not count.
    """
    rows = backtest[backtest["actual"].notna() & ~is_given(backtest)]
    if len(rows) < FEWEST_ERRORS:
        return None
    times = pd.DatetimeIndex(rows["valid_time"])
    errors = (
        rows["actual"].to_numpy()[:, None] - rows[list(QUANTILE_COLUMNS)].to_numpy()
    ) / size_of_errors(source, times)
    horizon_h = ((rows["valid_time"] - rows["issue_time"]) / pd.Timedelta(hours=1)).to_numpy()
    return Calibration.from_errors(errors, horizon_h, times.tz_convert(zone), levels)


def is_given(frame: pd.DataFrame) -> np.ndarray:
    """Of each row of forecasts whether its value is given.

    No model forecasts it, no score counts it.
    """
    return frame[list(FLAGS)].to_numpy(bool).any(axis=1)


def calibrated(
    frame: pd.DataFrame,
    calibration: Calibration,
    issue_time,
    times: pd.DatetimeIndex,
    source: Source,
    zone: str,
) -> np.ndarray:
    """The quantiles of forecasts shifted, sorted and within limits.

    Given ones (night, published prices) stay.
    """
    quantiles = frame[list(QUANTILE_COLUMNS)].to_numpy()
    horizon_h = ((times - issue_time) / pd.Timedelta(hours=1)).to_numpy()
    size = size_of_errors(source, times)
    shifted = (
        calibration.apply(quantiles / size, horizon_h, times.tz_convert(zone).hour.to_numpy())
        * size
    )
    return np.where(is_given(frame)[:, None], quantiles, possible(np.sort(shifted, axis=1), source))


def within_band(value: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """A value within its own 80 % band, which knows the newest errors where it does not."""
    return np.clip(value, quantiles[:, QUANTILES.index(0.1)], quantiles[:, QUANTILES.index(0.9)])


def possible(values: np.ndarray, source: Source) -> np.ndarray:
    """Power that is physically possible: not negative, and of a plant not above its capacity."""
    if source.kind == "market":
        return values
    return np.clip(values, 0, source.capacity_kw if source.kind in PLANT_KINDS else None)
