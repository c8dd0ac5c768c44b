"""Scenarios drawn from the quantiles of forecasts, correlated along time, and the money they bring.

Quantities are drawn apart from each other; along time their normal scores follow an autoregression
of first order (a Gaussian copula: Pinson et al., Wind Energy 12 (2009) 51). Pure: reads and writes
nothing.

    python optimization.py backtest --days 60 --scenarios 10
"""

import numpy as np

PRIOR, PRIOR_WEIGHT = 0.9, 24.0  # of an hour; as many values as of two dozen intervals
BLOCK_D, DRAWS, LEVEL = 7, 2000, 0.9


def scores(quantiles: np.ndarray, probabilities: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Normal scores of what came, in the bands that were forecast.

    Parameters
    ----------
    quantiles : of the forecast (quantile, interval).
    probabilities : of the quantiles, ascending.
    actual : what came, one an interval.

    Returns
    -------
    A score for each interval; NaN where the forecast had no band.
    """
    from scipy.stats import norm

    deviates, found = norm.ppf(probabilities), np.full(len(actual), np.nan)
    for t in np.flatnonzero(quantiles[-1] > quantiles[0]).tolist():
        values, first = np.unique(quantiles[:, t], return_index=True)
        found[t] = np.interp(actual[t], values, deviates[first])
    return found


def correlation(found: np.ndarray, hours: float) -> np.ndarray:
    """Correlation of neighbouring scores by what was known before each interval.

    Parameters
    ----------
    found : scores of the intervals; NaN where there is none.
    hours : length of an interval [h].

    Returns
    -------
    For each interval, and for that after the last, the correlation, at most 0.999.
    """
    pairs = found[1:] * found[:-1]
    squares = np.where(np.isnan(pairs), 0.0, (found[1:] ** 2 + found[:-1] ** 2) / 2)
    sums = np.zeros((2, len(found) + 1))
    sums[0, 2:] = np.cumsum(np.nan_to_num(pairs))
    sums[1, 2:] = np.cumsum(squares)
    rho = (PRIOR**hours * PRIOR_WEIGHT + sums[0]) / (PRIOR_WEIGHT + sums[1])
    return np.clip(rho, 0.0, 0.999)


def draw(
    quantiles: np.ndarray,
    probabilities: np.ndarray,
    rho: float,
    count: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """Ways in which a quantity may come.

    Beyond the outer quantiles the last slope goes on, in normal scores, to twice their distance
    from the middle at most. Draws come in pairs of opposite scores, so that few of them are about
    even.

    Parameters
    ----------
    quantiles : of the forecast (quantile, interval), ascending.
    probabilities : of the quantiles, ascending.
    rho : correlation of the scores of neighbouring intervals.
    count : how many.
    generator : of random numbers.

    Returns
    -------
    Values (way, interval).
    """
    from scipy.stats import norm

    steps, half = quantiles.shape[1], (count + 1) // 2
    noise = generator.standard_normal((steps, half)) * np.sqrt(1.0 - rho**2)
    score = np.empty((steps, half))
    now = generator.standard_normal(half)
    for t in range(steps):
        now = now if t == 0 else rho * now + noise[t]
        score[t] = now
    score = np.concatenate((score, -score), axis=1)[:, :count]
    deviates = norm.ppf(probabilities)
    rise = np.diff(quantiles[[0, 1, -2, -1]], axis=0)[[0, 2]] / np.diff(deviates)[[0, -1], None]
    deviates = np.concatenate(([2 * deviates[0]], deviates, [2 * deviates[-1]]))
    low = quantiles[0] + rise[0] * (deviates[0] - deviates[1])
    high = quantiles[-1] + rise[1] * (deviates[-1] - deviates[-2])
    wide = np.vstack((low, quantiles, high))
    ways = [np.interp(score[t], deviates, wide[:, t]) for t in range(steps)]
    return np.array(ways).reshape(steps, count).T


def block_bootstrap(per_day: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a day, and between which means it lies.

    Days that follow each other are alike, so whole blocks of them are drawn, of 7 days, or
    a quarter of fewer; the last day is followed by the first.

    Parameters
    ----------
    per_day : one number a day.
    seed : of the draws.

    Returns
    -------
    The mean, and the 5 % and 95 % quantile of 2,000 drawn means.
    """
    days = len(per_day)
    block = max(1, min(BLOCK_D, days // 4))
    firsts = np.random.default_rng(seed).integers(0, days, (DRAWS, -(-days // block)))
    places = (firsts[:, :, None] + np.arange(block)).reshape(DRAWS, -1)[:, :days] % days
    means = per_day[places].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(per_day.mean()), float(low), float(high)
