"""Bands that hold: quantiles scaled and shifted by what earlier out-of-sample errors ask for.

A `Calibration` learns from the errors of a backtest. It widens or narrows the band of forecasts as
a whole, so that a band that knows when it is unsure stays one (normalised scores: Papadopoulos,
Vovk and Gammerman, Regression Conformal Prediction with Nearest Neighbours, 2011), and then shifts
each quantile (conformalised quantiles: Romano, Patterson and Candès, Conformalized Quantile
Regression, 2019).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.forecast.quantiles import FLAGS, QUANTILE_COLUMNS, QUANTILES
from vpp.forecast.sun import sin_elevation
from vpp.site.kinds import PLANT_KINDS
from vpp.site.sources import Source

# Errors of one day are alike: days make a group of errors trustworthy, not rows. All errors of so
# many days shift by half of what they ask for; a group of so many days counts half, and the wider
# group around it the other half.
ALL_DAYS, GROUP_DAYS = 5, 20
ERRORS_A_DAY = 2  # that are independent of each other, about
LOWEST_SUN = 0.05  # sine of the elevation: errors under a lower sun are measured in this
FEWEST_ERRORS = 20  # below them nothing is calibrated
LOW, MIDDLE, HIGH = (QUANTILES.index(level) for level in (0.1, 0.5, 0.9))
SMALLEST_HALF = 0.1  # of a band, in median absolute errors: a smaller one says nothing to scale
SCALES = (0.25, 4.0)  # the least and the largest
VALUE_SHARE = 0.5  # of the way of the median that the value goes, too
SCALE_DAYS = 2  # errors of so many days scale by half of what they ask for: all tell of one number

Levels = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Shifts of the quantiles by day of the horizon and local hour, each level by itself.

    A group's shift is the level's quantile of (actual − forecast quantile) over the errors of that
    day of the horizon at the local hour and its two neighbours. The fewer days those are of, the
    more it is drawn to the shift of all hours of the day, of all errors, and to none. Bands also
    become wider then, as the next error falls outside a quantile of n errors more often than its
    level says.

    Parameters
    ----------
    shifts : day of horizon × local hour × quantile [size of errors, see `size_of_errors`].
    scale : of the distances from the median, before the shifts [-].
    """

    shifts: np.ndarray
    scale: float = 1.0

    @classmethod
    def from_errors(
        cls,
        errors: np.ndarray,
        horizon_h: np.ndarray,
        times: pd.DatetimeIndex,
        levels: Levels = QUANTILES,
    ) -> "Calibration":
        """Learn the shifts from errors.

        Parameters
        ----------
        errors : actual − forecast quantile (row × quantile) [size of errors].
        horizon_h : from issue to valid time of each row [h].
        times : local time of each row [with its zone].
        levels : to take of the errors, one for each quantile [fractions].
        """
        ahead, wanted = (horizon_h // 24).astype(int), np.asarray(levels)
        date, hour = days_and_hours(times)
        return cls.from_arrays(errors, ahead, hour, date, wanted)

    @classmethod
    def from_arrays(
        cls,
        errors: np.ndarray,
        ahead: np.ndarray,
        hour: np.ndarray,
        date: np.ndarray,
        levels: np.ndarray,
    ) -> "Calibration":
        """As `from_errors`, of arrays.

        Parameters
        ----------
        errors : actual − forecast quantile (row × quantile) [size of errors].
        ahead : day of the horizon of each row, 0 for the first.
        hour, date : local ones of each row [h, ns].
        levels : to take of the errors, one for each quantile [fractions].
        """
        unique, place = np.unique(date, return_inverse=True)
        scale = 1.0
        if errors.shape[1] == len(QUANTILES):
            scale, middle = _scale(errors, len(unique)), errors[:, [MIDDLE]]
            errors = middle - scale * (middle - errors)
        days = int(ahead.max()) + 1
        there = np.zeros((days, 24, len(unique)), bool)  # dates with an error at the hour
        there[ahead, hour, place] = True
        all_dates = np.array([len(unique)])
        overall = _towards(
            np.zeros((1, len(levels))),
            errors,
            np.zeros(len(errors), int),
            all_dates,
            levels,
            ALL_DAYS,
        )
        of_day = _towards(
            np.repeat(overall, days, axis=0),
            errors,
            ahead,
            there.any(axis=1).sum(axis=1),
            levels,
            GROUP_DAYS,
        )
        near = there | np.roll(there, 1, axis=1) | np.roll(there, -1, axis=1)
        groups = np.concatenate([ahead * 24 + (hour + shift) % 24 for shift in (-1, 0, 1)])
        shifts = _towards(
            np.repeat(of_day, 24, axis=0),
            np.tile(errors, (3, 1)),
            groups,
            near.sum(axis=2).ravel(),
            levels,
            GROUP_DAYS,
        )
        return cls(shifts.reshape(days, 24, len(levels)), scale)

    def apply(self, quantiles: np.ndarray, horizon_h: np.ndarray, hour: np.ndarray) -> np.ndarray:
        """Scale and shift quantiles; beyond the days learnt from, the last of them counts.

        Parameters
        ----------
        quantiles : row × quantile [size of errors].
        horizon_h : from issue to valid time of each row [h].
        hour : local hour of each row [0–23].
        """
        day = np.minimum((horizon_h // 24).astype(int), len(self.shifts) - 1)
        if self.scale != 1:
            middle = quantiles[:, [MIDDLE]]
            quantiles = middle + self.scale * (quantiles - middle)
        return quantiles + self.shifts[day, hour]


def _scale(errors: np.ndarray, days: int) -> float:
    """The factor on the band from q10 to q90 with which 80 % of the errors lie in it; of few days
    nearer to 1.

    An error counts in half bands of its own side.
    """
    centre = errors[:, MIDDLE]
    halves = np.where(centre > 0, centre - errors[:, HIGH], errors[:, LOW] - centre)
    told = (centre != 0) | (halves > 0)
    if told.sum() < FEWEST_ERRORS:
        return 1.0
    centre, halves = np.abs(centre[told]), halves[told]
    size = np.median(centre)
    if size <= 0:
        return 1.0
    wanted = np.quantile(centre / np.maximum(halves, SMALLEST_HALF * size), 0.8)
    return float(np.clip(wanted, *SCALES) ** (days / (days + SCALE_DAYS)))


def _towards(
    shifts: np.ndarray,
    errors: np.ndarray,
    group: np.ndarray,
    days: np.ndarray,
    levels: np.ndarray,
    half_days: float,
) -> np.ndarray:
    """From the shifts of groups towards each level's quantile of their errors; more days go
    further.

    Parameters
    ----------
    shifts : group × quantile.
    errors : row × quantile.
    group : of each row.
    days : of each group; 0 where it has no row, and its shifts stay.
    levels : of the quantiles [fractions].
    half_days : that go half the way.
    """
    count, columns = shifts.shape
    rows = np.bincount(group, minlength=count)
    order = np.argsort(group, kind="stable")
    place = np.arange(len(group)) - np.repeat(np.cumsum(rows) - rows, rows)
    ordered = np.full((count, max(1, int(rows.max(initial=0))), columns), np.inf)
    ordered[group[order], place] = errors[order]
    ordered.sort(axis=1)
    some = np.maximum(days, 1)[:, None]
    # so a future error falls below with the level's probability, if so many are independent
    wider = 0.5 + (levels - 0.5) * (1 + 1 / (ERRORS_A_DAY * some))
    last = np.maximum(rows - 1, 0)[:, None]
    position = np.clip(wider * (rows[:, None] + 1) - 1, 0, last)
    low = position.astype(int)
    part, this, column = position - low, np.arange(count)[:, None], np.arange(columns)
    lower = np.where(rows[:, None] > 0, ordered[this, low, column], shifts)
    upper = np.where(rows[:, None] > 0, ordered[this, np.minimum(low + 1, last), column], shifts)
    quantile = lower * (1 - part) + upper * part
    return shifts + (quantile - shifts) * days[:, None] / (days + half_days)[:, None]


def days_and_hours(times: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    """Local date [ns] and local hour of local times.

    Parameters
    ----------
    times : with their zone.
    """
    return times.tz_localize(None).normalize().as_unit("ns").asi8, times.hour.to_numpy()


def size_of_errors(source: Source, times: pd.DatetimeIndex) -> np.ndarray:
    """The unit that errors at these times are measured in, as a column.

    For a solar plant it is the sine of the sun's elevation, so that bands close with the sun [-];
    for all others 1.

    Parameters
    ----------
    source : of the forecasts.
    times : starts of intervals [UTC].
    """
    if source.kind != "solar" or source.latitude is None or source.longitude is None:
        return np.ones((len(times), 1))
    step = pd.Timedelta(minutes=source.step_min)
    height = sin_elevation(times, step, source.latitude, source.longitude)
    return np.maximum(height, LOWEST_SUN)[:, None]


def calibration_of(
    backtest: pd.DataFrame, source: Source, zone: str, levels: Levels = QUANTILES
) -> Calibration | None:
    """The calibration that the errors of a backtest ask for; None below `FEWEST_ERRORS`.

    Rows that no model forecasts (night, published prices) do not count.

    Parameters
    ----------
    backtest : rows of `vpp.forecast.backtest.backtest`, not calibrated.
    source : of the rows.
    zone : of local hours.
    levels : to take of the errors, one for each quantile [fractions].
    """
    rows = backtest[backtest["actual"].notna() & ~is_given(backtest)]
    if len(rows) < FEWEST_ERRORS:
        return None
    times = pd.DatetimeIndex(rows["valid_time"])
    errors = rows["actual"].to_numpy()[:, None] - rows[list(QUANTILE_COLUMNS)].to_numpy()
    errors = errors / size_of_errors(source, times)
    horizon_h = hours_of(times - pd.DatetimeIndex(rows["issue_time"]))
    return Calibration.from_errors(errors, horizon_h, times.tz_convert(zone), levels)


def is_given(frame: pd.DataFrame) -> np.ndarray:
    """Of each row of forecasts whether its value is given: published, or at a plant's night.

    No model forecasts it, and it does not calibrate.
    """
    return np.asarray(frame[list(FLAGS)].to_numpy(bool).any(axis=1))


def calibrated(
    frame: pd.DataFrame,
    calibration: Calibration,
    issue_time: pd.Timestamp,
    times: pd.DatetimeIndex,
    source: Source,
    zone: str,
) -> np.ndarray:
    """The quantiles of forecasts shifted, sorted and within limits; given ones stay.

    Parameters
    ----------
    frame : forecasts, with their quantiles [kW or EUR/MWh] and flags.
    calibration : to apply.
    issue_time : of the forecasts [UTC].
    times : their valid times [UTC].
    source, zone : of the forecasts and of local hours.

    Returns
    -------
    Row × quantile [kW or EUR/MWh].
    """
    quantiles = frame[list(QUANTILE_COLUMNS)].to_numpy()
    size, hour = size_of_errors(source, times), times.tz_convert(zone).hour.to_numpy()
    shifted = calibration.apply(quantiles / size, hours_of(times - issue_time), hour) * size
    return np.where(is_given(frame)[:, None], quantiles, possible(np.sort(shifted, axis=1), source))


def hours_of(durations: pd.TimedeltaIndex) -> np.ndarray:
    """Durations in hours [h]."""
    return (durations / pd.Timedelta(hours=1)).to_numpy()


def within_band(value: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Values moved into their own 80 % bands, which know newer errors than the values do.

    Parameters
    ----------
    value : of each row [kW or EUR/MWh].
    quantiles : row × quantile [kW or EUR/MWh].
    """
    low, high = (quantiles[:, QUANTILES.index(level)] for level in (0.1, 0.9))
    return np.fmin(np.fmax(value, low), high)  # a value without a band stays


def in_own_band(frame: pd.DataFrame) -> pd.DataFrame:
    """Forecasts whose values lie in their own 80 % bands, as those that are calibrated do.

    Parameters
    ----------
    frame : to be issued [kW or EUR/MWh].
    """
    quantiles = frame[list(QUANTILE_COLUMNS)].to_numpy()
    return frame.assign(value=within_band(frame["value"].to_numpy(), quantiles))


def with_median(value: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Values that go half the way of their calibrated medians, and stay within their 80 % bands.

    By how much a model is mostly off at an hour is learned from few days: half of it is left out.

    Parameters
    ----------
    value : of each row, not calibrated [kW or EUR/MWh].
    before, after : row × quantile, not calibrated and calibrated [kW or EUR/MWh].
    """
    way = after[:, MIDDLE] - before[:, MIDDLE]
    return within_band(value + VALUE_SHARE * way, after)


def possible(values: np.ndarray, source: Source) -> np.ndarray:
    """Values within physical limits: power is not negative, a plant's not above its capacity.

    Parameters
    ----------
    values : of any shape [kW or EUR/MWh].
    source : whose values they are; prices have no limits.
    """
    if source.kind == "market":
        return values
    return np.clip(values, 0, source.capacity_kw if source.kind in PLANT_KINDS else None)
