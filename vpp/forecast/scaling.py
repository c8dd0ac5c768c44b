"""Robust scaling: distance to the median in units of the median absolute deviation, and asinh of
it, which keeps spikes in bounds.

Uniejewski, Weron and Ziel (2018) call it the variance-stabilising transformation of electricity
prices."""

import numpy as np

# the standard deviation of a normal distribution in units of its median absolute deviation
MAD_TO_SIGMA = 1.4826
LOWEST_SCALE = 1e-6
# transformed prices may go so far beyond those learnt from: sinh makes an explosion of what is
# further off
BEYOND = 1.0


def asinh(values: np.ndarray, centre, scale) -> np.ndarray:
    """asinh((values − centre) / scale) [-]."""
    return np.arcsinh((values - centre) / scale)


def sinh(transformed: np.ndarray, centre, scale) -> np.ndarray:
    """Inverse of `asinh` [unit of the values]."""
    return np.sinh(transformed) * scale + centre


def robust_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and scaled median absolute deviation of each column; 1 where that vanishes."""
    centre = np.nanmedian(values, axis=0)
    scale = MAD_TO_SIGMA * np.nanmedian(np.abs(values - centre), axis=0)
    return centre, np.where(scale > LOWEST_SCALE, scale, 1.0)
