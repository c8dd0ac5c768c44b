"""Where the sun stands over an interval, and when a solar plant is dark."""

import numpy as np
import pandas as pd

from vpp.forecast.known import LAG_DAYS, Known
from vpp.forecast.lookups import nanoseconds
from vpp.site.times import DAY

# of the energy: a plant that gives more of it at night is not where its coordinates say
DARK_SHARE = 0.01


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
    from pvlib.solarposition import ephemeris

    if not len(times):  # ephemeris fails on none
        return np.zeros(0)
    parts = nanoseconds(times) + np.array([[0], [step.value // 2], [step.value]])
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
