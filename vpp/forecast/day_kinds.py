"""Kinds of days, the values that are typical of them, and training pairs by local hour."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.forecast.features import first_known, mean_known, same_hours, series_lookup
from vpp.forecast.known import LAG_DAYS, Known
from vpp.forecast.lookups import Lookup, nanoseconds
from vpp.forecast.quantiles import QUANTILES
from vpp.site.times import DAY, local_days, local_lag, public_holidays

TYPICAL_HALF_LIFE_DAYS = 14.0
HOLIDAY = 4  # the kind of a Sunday or a public holiday


# Typical values of a kind of day, and deviations from them


def day_kinds(days: pd.DatetimeIndex, holidays_country: str) -> np.ndarray:
    """Kind of each day: 0 Monday, 1 Tuesday to Thursday, 2 Friday, 3 Saturday, 4 Sunday or holiday.

    Parameters
    ----------
    days : local dates [without zone].
    holidays_country : whose public holidays count; empty for none.
    """
    kinds = np.array([0, 1, 1, 1, 2, 3, 4])[days.dayofweek]
    if len(days):
        holidays = public_holidays(holidays_country, days.year.min(), days.year.max())
        kinds[days.isin(holidays)] = HOLIDAY
    return kinds


def day_flags(times: pd.DatetimeIndex, zone: str, holidays_country: str) -> pd.DataFrame:
    """The kind of each time's local day as flags, and whether the days beside it are free.

    Free are Saturdays, Sundays and public holidays.

    Parameters
    ----------
    times : starts of intervals [UTC].
    zone : of local days.
    holidays_country : whose public holidays count; empty for none.

    Returns
    -------
    A row for each time, numbered from 0; columns of 0 or 1.
    """
    unique, place = np.unique(local_days(times, zone), return_inverse=True)
    days = pd.DatetimeIndex(unique)
    kinds = day_kinds(days, holidays_country)
    flags = {
        name: kinds == kind
        for name, kind in (("monday", 0), ("friday", 2), ("saturday", 3), ("free_day", 4))
    }
    flags["free_before"] = day_kinds(days - DAY, holidays_country) >= 3
    flags["free_after"] = day_kinds(days + DAY, holidays_country) >= 3
    return pd.DataFrame({name: flag[place].astype(float) for name, flag in flags.items()})


def typical(
    lookup: Lookup,
    origins: pd.DatetimeIndex,
    times: pd.DatetimeIndex,
    zone: str,
    holidays_country: str,
    first_day: int = 1,
) -> np.ndarray:
    """Mean of the same local hour on days of the same kind among the last `LAG_DAYS`.

    A day counts half as much as one `TYPICAL_HALF_LIFE_DAYS` newer. Where no such day is known,
    it is the mean of the same hour over the newest 7 days.

    Parameters
    ----------
    lookup : of the series.
    origins, times : of each pair [UTC]; only values known at the origin count.
    zone : of local hours and days.
    holidays_country : whose public holidays count; empty for none.
    first_day : how many days before the time the newest of them is.

    Returns
    -------
    A value for each pair [unit of the series]; NaN where nothing is known.
    """
    lags = np.arange(first_day, LAG_DAYS + 1)
    values, _ = same_hours(lookup, origins, times, lags, zone)
    days = local_days(times, zone)
    calendar_days = pd.date_range(days.min() - LAG_DAYS * DAY, days.max())
    kinds, place = day_kinds(calendar_days, holidays_country), calendar_days.get_indexer(days)
    alike = kinds[place[:, None] - lags] == kinds[place][:, None]
    weights = 0.5 ** (lags / TYPICAL_HALF_LIFE_DAYS) * (alike & ~np.isnan(values))
    total = weights.sum(axis=1)
    mean = (weights * np.nan_to_num(values)).sum(axis=1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, mean_known(values, 7))


def deviations(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> pd.DataFrame:
    """Typical values of (origin, valid time) pairs, and how far the newest values were off theirs.

    The typical value of a past value is taken from two days before it and earlier.

    Parameters
    ----------
    known : what is known at the issue time.
    origins, times : of each pair [UTC].

    Returns
    -------
    Columns [unit of the series]: typical; deviation_1 and deviation_2 (the newest two of the same
    local hour), deviation_3_h and deviation_day (means of the newest 3 and 24 hours).
    """
    lookup, zone, country = series_lookup(known), known.zone, known.holidays_country
    recent = known.series[known.series.index >= origins.min() - 10 * DAY]
    measured = pd.DatetimeIndex(recent.index)
    usual = typical(lookup, measured, measured, zone, country, first_day=2)
    off = Lookup(recent - usual, known.available_at[len(known.series) - len(recent) :], known.step)
    same_hour, _ = same_hours(off, origins, times, range(1, 10), zone)
    issued, pair = np.unique(nanoseconds(origins), return_inverse=True)
    end, values = off.newest(issued), np.append(np.nan_to_num(off.values), 0.0)
    table = {
        "typical": typical(lookup, origins, times, zone, country),
        "deviation_1": first_known(same_hour, 1),
        "deviation_2": first_known(same_hour, 2),
    }
    for name, hours in (("deviation_3_h", 3), ("deviation_day", 24)):
        length = max(1, int(pd.Timedelta(hours=hours) / known.step))
        before = end[:, None] - np.arange(length)
        # not by running sums: they would depend on where the series begins
        summed = np.where(before >= 0, values[np.maximum(before, 0)], 0.0).sum(axis=1)
        table[name] = summed[pair] / length
    return pd.DataFrame(table)


# Training pairs of a regression for each local hour


def daily_pairs(
    known: Known, horizon_h: float, first_day: int = 10
) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Pairs (origin, valid time) to train on; origins at the issue's local time on earlier days.

    Parameters
    ----------
    known : what is known at the issue time.
    horizon_h : hours from each origin [h].
    first_day : days of history before the first origin.

    Returns
    -------
    Origin and valid time of each pair [UTC]. Its value is measured, and was not known yet.
    """
    days = np.arange(1, int((known.issue_time - known.targets.index[0]) / DAY) - first_day + 1)
    issues = pd.DatetimeIndex(np.full(len(days), known.issue_time.value), tz="UTC")
    origins = local_lag(issues, days, known.zone).asi8
    steps = int(pd.Timedelta(hours=horizon_h) / known.step)
    times = (origins[:, None] + known.step.value * np.arange(steps)).ravel()
    pairs = pd.DatetimeIndex(np.repeat(origins, steps), tz="UTC"), pd.DatetimeIndex(times, tz="UTC")
    place = known.series.index.get_indexer(pairs[1])
    # a price published then needs no forecast
    usable = pairs[1].isin(known.targets.index) & (known.available_at[place] > pairs[0])
    return pairs[0][usable], pairs[1][usable]


def groups_of(
    origins: pd.DatetimeIndex, times: pd.DatetimeIndex, zone: str
) -> tuple[np.ndarray, np.ndarray]:
    """Local days from issue to valid time of each pair, and the local hour of the latter.

    Parameters
    ----------
    origins, times : of each pair [UTC].
    zone : of local days and hours.
    """
    ahead = (local_days(times, zone) - local_days(origins, zone)) / DAY
    return ahead.to_numpy().astype(int), times.tz_convert(zone).hour.to_numpy()


def weighted_quantiles(
    values: np.ndarray, weights: np.ndarray, levels: Sequence[float] = QUANTILES
) -> np.ndarray:
    """Quantiles of values that count by their weights.

    Each value lies at the middle of its share of all weights; between two it is a straight line.

    Parameters
    ----------
    values, weights : of the same length.
    levels : of the quantiles [fractions].
    """
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return np.interp(levels, (share - 0.5 * weights[order]) / share[-1], values[order])
