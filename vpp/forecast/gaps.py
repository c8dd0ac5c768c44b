"""The gap between the price of deviations and the day-ahead price, forecast one interval ahead.

A ridge regression on the last known gaps, their means over minutes to days, the hour, its profile
of the last two weeks and the step of the day-ahead price from hour to hour. It is fitted anew every
two weeks on all that is past. Pure: reads and writes nothing.

    python -c "from vpp.forecast.gaps import forecast_gaps; help(forecast_gaps)"

Prices and gaps are EUR/MWh, one an interval.
"""

import numpy as np

FIT_EVERY_DAYS = 14
PROFILE_DAYS = 14
LAGS = (1, 2, 3, 4, 5, 8)  # intervals
KEPT = (0.7, 0.9, 0.97, 0.995)  # of a mean, from one interval to the next
RIDGE = 30.0  # on regressors of unit variance
FIRST_DECAY = 0.5  # of the last gap, before there is a fit


def forecast_gaps(
    price_eur_per_mwh: np.ndarray, gap_eur_per_mwh: np.ndarray, step_min: int, first_min: int
) -> np.ndarray:
    """The gap of each interval as it is expected at its start.

    Parameters
    ----------
    price_eur_per_mwh : day-ahead prices [EUR/MWh]; that of the next hour is taken as published.
    gap_eur_per_mwh : price of deviations less day-ahead price [EUR/MWh]; the forecast of an
        interval uses those before it.
    step_min : length of an interval [min].
    first_min : minute of the UTC day at which the first interval begins [min].

    Returns
    -------
    Forecasts [EUR/MWh], one an interval. Before the first fit the last gap counts by half.
    """
    regressors = gap_regressors(price_eur_per_mwh, gap_eur_per_mwh, step_min, first_min)
    per_day, count = max(1, 1440 // step_min), len(gap_eur_per_mwh)
    forecast = FIRST_DECAY * _before(gap_eur_per_mwh, 1)
    for now in range(FIT_EVERY_DAYS * per_day, count, FIT_EVERY_DAYS * per_day):
        # the first day has no day before it
        past, ahead = slice(per_day, now), slice(now, now + FIT_EVERY_DAYS * per_day)
        forecast[ahead] = _ridge(regressors[past], gap_eur_per_mwh[past], regressors[ahead])
    return forecast


def _ridge(known: np.ndarray, values: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """Forecasts of a ridge regression that is fitted on what is known."""
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-9
    scaled, level = (known - mean) / deviation, values.mean()
    normal = scaled.T @ scaled + RIDGE * np.eye(scaled.shape[1])
    weights = np.linalg.solve(normal, scaled.T @ (values - level))
    return (ahead - mean) / deviation @ weights + level


def gap_regressors(
    price_eur_per_mwh: np.ndarray, gap_eur_per_mwh: np.ndarray, step_min: int, first_min: int
) -> np.ndarray:
    """Numbers that are known at the start of each interval and say something of its gap.

    Parameters
    ----------
    price_eur_per_mwh, gap_eur_per_mwh, step_min, first_min : as in `forecast_gaps`.

    Returns
    -------
    Regressors (interval, regressor).
    """
    price, gap, count = price_eur_per_mwh, gap_eur_per_mwh, len(gap_eur_per_mwh)
    per_hour, per_day = max(1, 60 // step_min), max(1, 1440 // step_min)
    minute = first_min + step_min * np.arange(count)
    last, day_before = _before(gap, 1), _before(gap, per_day)
    columns = [_before(gap, lag) for lag in LAGS] + [day_before]
    columns += [_smoothed(last, kept) for kept in KEPT] + [_smoothed(np.abs(last), 0.9)]
    rise = np.append(price[per_hour:], price[-per_hour:])[:count] - price
    risen = price - np.append(price[:per_hour], price[:-per_hour])[:count]
    part = minute % 60 // step_min if step_min < 60 else np.zeros(count, dtype=int)
    for number in range(per_hour):
        here = part == number
        columns += [np.where(here, rise, 0.0), np.where(here, risen, 0.0), here.astype(float)]
    columns += [price, np.minimum(price, 0.0), price - _mean_of_last(price, per_day)]
    angle = 2 * np.pi * (minute // 60) / 24
    columns += [np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)]
    profile = _profile(gap, per_day)
    hour = minute // 60 - minute[0] // 60
    columns += [profile, (np.bincount(hour, profile) / np.bincount(hour))[hour]]
    return np.column_stack(columns)


def _before(values: np.ndarray, count: int) -> np.ndarray:
    """Values so many intervals earlier; 0 before the first."""
    return np.concatenate(
        (np.zeros(min(count, len(values))), values[: max(0, len(values) - count)])
    )


def _smoothed(values: np.ndarray, kept: float) -> np.ndarray:
    """The mean of the values so far, of which each interval keeps a share."""
    from scipy.signal import lfilter

    return np.asarray(lfilter([1 - kept], [1, -kept], values))


def _mean_of_last(values: np.ndarray, count: int) -> np.ndarray:
    """The mean of the last so many values, with the present one."""
    sums = np.concatenate(([0.0], np.cumsum(values)))
    end = np.arange(1, len(values) + 1)
    first = np.maximum(end - count, 0)
    return (sums[end] - sums[first]) / (end - first)


def _profile(gap: np.ndarray, per_day: int) -> np.ndarray:
    """The mean gap at the same time of the days before, at most two weeks of them."""
    days = -(-len(gap) // per_day)
    table = np.zeros((days, per_day))
    table.ravel()[: len(gap)] = gap
    sums = np.concatenate((np.zeros((1, per_day)), np.cumsum(table, axis=0)))
    end = np.arange(days)
    first = np.maximum(end - PROFILE_DAYS, 0)
    means = (sums[end] - sums[first]) / np.maximum(end - first, 1)[:, None]
    return means.ravel()[: len(gap)]
