"""Where the sun stands over an interval, when a solar plant is dark, and how much it can give."""

from functools import lru_cache

import numpy as np
import pandas as pd

from vpp.forecast.known import LAG_DAYS, Known
from vpp.forecast.lookups import nanoseconds
from vpp.site.times import DAY

# of the energy: a plant that gives more of it at night is not where its coordinates say
DARK_SHARE = 0.01
BEST_DAYS = 60  # that a plant's best is taken from
FEWEST_DAYS = 14  # of them: from fewer its best is not known
LOWEST_SIN = 0.05  # of the elevation, below which power is not in proportion to it
NEAR_H = 2.0  # from the same time of day: clouds may have covered the same hour on all days
MARGIN = 1.15  # clouds beside a clear sun, and clearer days than any of the last ones


def sin_elevation(
    times: pd.DatetimeIndex, step: pd.Timedelta, latitude: float, longitude: float
) -> np.ndarray:
    """Mean over each interval of the sine of the sun's elevation, 0 below the horizon [-].

    It is exactly 0 where the sun stays down. The position is pvlib's `ephemeris`, the mean that of
    Simpson's rule over start, middle and end.

    Parameters
    ----------
    times : starts of the intervals [UTC].
    step : their length.
    latitude, longitude : of the plant [degrees north and east].
    """
    if not len(times):  # ephemeris fails on none
        return np.zeros(0)
    return _sin_elevation(nanoseconds(times).tobytes(), step, latitude, longitude).copy()


@lru_cache(maxsize=32)  # plants of a site, and the trials of a model, ask for the same times
def _sin_elevation(
    moments: bytes, step: pd.Timedelta, latitude: float, longitude: float
) -> np.ndarray:
    from pvlib.solarposition import ephemeris

    parts = np.frombuffer(moments, np.int64) + np.array([[0], [step.value // 2], [step.value]])
    unique, place = np.unique(parts, return_inverse=True)
    elevation = ephemeris(pd.DatetimeIndex(unique, tz="UTC"), latitude, longitude)[
        "apparent_elevation"
    ].to_numpy()
    height = np.sin(np.radians(np.maximum(elevation, 0.0)))[place].reshape(parts.shape)
    return np.array([1, 4, 1]) / 6 @ height


def dark(known: Known, times: pd.DatetimeIndex) -> np.ndarray:
    """Where a solar plant gives nothing.

    The sun is down or, without credible coordinates, that time of day gave 0 throughout the last
    `LAG_DAYS`.

    Parameters
    ----------
    known : what is known of the plant.
    times : starts of intervals [UTC].
    """
    source, targets = known.source, known.targets
    recent = targets[targets.index >= known.issue_time - LAG_DAYS * DAY]
    measured = pd.DatetimeIndex(recent.index)
    if source.latitude is not None and source.longitude is not None:
        at_night = sin_elevation(measured, known.step, source.latitude, source.longitude) == 0
        if recent[at_night].sum() <= DARK_SHARE * recent.sum():
            return sin_elevation(times, known.step, source.latitude, source.longitude) == 0
    if recent.empty:
        return np.zeros(len(times), bool)
    ever = recent.groupby(measured.hour * 60 + measured.minute).max()
    return ever.reindex(times.hour * 60 + times.minute).to_numpy() == 0


def most_power(known: Known, times: pd.DatetimeIndex) -> np.ndarray:
    """The most that a solar plant can give at times, by its own best so far [kW].

    Its best is the most power in proportion to the sine of the sun's elevation, of the last
    `BEST_DAYS` at times of day not farther than `NEAR_H`. It bounds nothing where it is not known,
    or where the plant is not where its coordinates say.

    Parameters
    ----------
    known : what is known of the plant.
    times : starts of intervals [UTC].
    """
    source, targets = known.source, known.targets
    bound = np.full(len(times), np.inf if source.capacity_kw is None else source.capacity_kw)
    recent = targets[targets.index >= known.issue_time - BEST_DAYS * DAY]
    days = len(recent) * known.step / DAY
    if source.latitude is None or source.longitude is None or days < FEWEST_DAYS:
        return bound
    measured, place = pd.DatetimeIndex(recent.index), (source.latitude, source.longitude)
    height = sin_elevation(measured, known.step, *place)
    if recent[height == 0].sum() > DARK_SHARE * recent.sum() or recent.max() <= 0:
        return bound
    slots = int(DAY / known.step)
    best = np.zeros(slots)
    share = recent.to_numpy() / np.maximum(height, LOWEST_SIN)
    np.maximum.at(best, _slots(measured, known.step), share)
    reach = int(pd.Timedelta(hours=NEAR_H) / known.step)
    best = np.max([np.roll(best, shift) for shift in range(-reach, reach + 1)], axis=0)
    height = np.maximum(sin_elevation(times, known.step, *place), LOWEST_SIN)
    return np.minimum(bound, MARGIN * best[_slots(times, known.step)] * height)


def _slots(times: pd.DatetimeIndex, step: pd.Timedelta) -> np.ndarray:
    """Number of the interval of the day, by UTC [index]."""
    return (nanoseconds(times) % DAY.value) // step.value


def under_the_sun(values: np.ndarray, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
    """Forecasts of a solar plant, none above `most_power`.

    Parameters
    ----------
    values : time × column [kW].
    known : what is known of the plant.
    times : starts of the intervals [UTC].
    """
    return np.minimum(values, most_power(known, times)[:, None])
