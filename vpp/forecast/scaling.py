"""Robust scaling: distance to the median in units of the median absolute deviation, and asinh of
it, which keeps spikes in bounds.

It is the variance-stabilising transformation of electricity prices of Uniejewski, Weron and Ziel
(IEEE Transactions on Power Systems 33, 2018).
"""

from typing import Any

import numpy as np

# the standard deviation of a normal distribution in units of its median absolute deviation
MAD_TO_SIGMA = 1.4826
LOWEST_SCALE = 1e-6
# transformed prices may go so far beyond those learnt from: further off, sinh explodes
BEYOND = 1.0


def asinh(values: Any, centre: Any, scale: Any) -> Any:
    """asinh((values − centre) / scale) [-], of an array or of a table.

    Parameters
    ----------
    values : to transform [unit of the series].
    centre, scale : as `robust_scale` returns them [unit of the series].
    """
    return np.arcsinh((values - centre) / scale)


def sinh(transformed: np.ndarray, centre: Any, scale: Any) -> np.ndarray:
    """Inverse of `asinh` [unit of the series].

    Parameters
    ----------
    transformed : as `asinh` returns it [-].
    centre, scale : with which it did [unit of the series].
    """
    return np.sinh(transformed) * scale + centre


def robust_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median of each column, and its median absolute deviation as a standard deviation.

    The latter is 1 where it would vanish. Units are those of the values.
    """
    centre = np.nanmedian(values, axis=0)
    scale = MAD_TO_SIGMA * np.nanmedian(np.abs(values - centre), axis=0)
    return centre, np.where(scale > LOWEST_SCALE, scale, 1.0)
