"""Where the sun stands over an interval, and when a solar plant is dark."""

import numpy as np
import pandas as pd

from vpp.forecast.known import LAG_DAYS, Known
from vpp.forecast.lookups import nanoseconds
from vpp.site.times import DAY

DARK_SHARE = (
    0.01  # of the energy: more of it at night than this says that the coordinates are wrong
)


# Sun


def sin_elevation(
    times: pd.DatetimeIndex, step: pd.Timedelta, latitude: float, longitude: float
) -> np.ndarray:
    """Mean over the interval of the sine of the sun's elevation, 0 below the horizon.

    Exactly 0 where the sun stays down [-].
    """
    from pvlib.solarposition import ephemeris

    if not len(times):  # of which ephemeris makes an error
        return np.zeros(0)
    parts = nanoseconds(times) + np.array([[0], [step.value // 2], [step.value]])
    unique, place = np.unique(parts, return_inverse=True)
    elevation = ephemeris(pd.DatetimeIndex(unique, tz="UTC"), latitude, longitude)[
        "apparent_elevation"
    ].to_numpy()
    height = np.sin(np.radians(np.maximum(elevation, 0.0)))[place].reshape(parts.shape)
    return np.array([1, 4, 1]) / 6 @ height  # Simpson's rule


def dark(known: Known, times: pd.DatetimeIndex) -> np.ndarray:
    """Where a solar plant gives nothing.

    Sun down or, without credible coordinates, times of day that were 0 throughout the last weeks.
    """
    source, recent = (
        known.source,
        known.targets[known.targets.index >= known.issue_time - LAG_DAYS * DAY],
    )
    if source.latitude is not None and source.longitude is not None:
        at_night = sin_elevation(recent.index, known.step, source.latitude, source.longitude) == 0
        if recent[at_night].sum() <= DARK_SHARE * recent.sum():
            return sin_elevation(times, known.step, source.latitude, source.longitude) == 0
    clock = recent.index.hour * 60 + recent.index.minute
    ever = recent.groupby(clock).max()
    return (
        (ever.reindex(times.hour * 60 + times.minute).to_numpy() == 0)
        if len(recent)
        else np.zeros(len(times), bool)
    )
