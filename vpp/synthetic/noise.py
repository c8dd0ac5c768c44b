"""Random numbers that depend on a seed and on names only, and Gaussian noise that persists.

python generation.py --seed 2
"""

import hashlib

import numpy as np


def stream(seed: int, *names: str) -> np.random.Generator:
    """Make random numbers that depend on a seed and names only.

    Parameters
    ----------
    seed : of all series.
    *names : what they are for, and of which source or place.
    """
    digest = hashlib.sha256("/".join(names).encode()).digest()
    words = np.frombuffer(digest[:16], "<u4").tolist()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words])))


def persistent_noise(
    rng: np.random.Generator,
    shape: int | tuple[int, ...],
    step_h: float,
    time_h: float,
    axis: int = 0,
) -> np.ndarray:
    """Make stationary Gaussian noise of unit variance that persists along an axis (AR(1)).

    Its correlation falls as exp(-distance / time_h).

    Parameters
    ----------
    rng : random numbers of this noise alone.
    shape : of the array.
    step_h : from one value to the next [h].
    time_h : time scale [h].
    axis : along which it persists.
    """
    from scipy.signal import lfilter

    memory = np.exp(-step_h / time_h)
    fresh = np.sqrt(1 - memory**2)
    noise = rng.standard_normal(shape)
    np.moveaxis(noise, axis, 0)[0] /= fresh  # so that the first value has unit variance too
    return lfilter([fresh], [1, -memory], noise, axis=axis)


def smooth_noise(
    rng: np.random.Generator, hours: int, count: int, time_h: float, smoothing_h: float
) -> np.ndarray:
    """Make hourly noise as `persistent_noise`, smoothed over some hours (AR(2)), (hours, count).

    Parameters
    ----------
    rng : random numbers of this noise alone.
    hours, count : shape; each column is a series of its own.
    time_h : time scale [h].
    smoothing_h : over which it is smooth [h].
    """
    from scipy.signal import lfilter

    first, second = np.exp(-1 / time_h), np.exp(-1 / smoothing_h)
    total, product = first + second, first * second
    # Box and Jenkins, of unit innovations
    variance = (1 + product) / ((1 - product) * ((1 + product) ** 2 - total**2))
    before = round(6 * time_h)  # it begins at zero so early that the first hour does not show it
    noise = rng.standard_normal((before + hours, count))
    return lfilter([1 / np.sqrt(variance)], [1, -total, product], noise, axis=0)[before:]
