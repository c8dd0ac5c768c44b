"""Kinds of days, what is typical of them, and training pairs by local hour."""

import numpy as np
import pandas as pd

from vpp.forecast.features import first_known, mean_known, same_hours, series_lookup
from vpp.forecast.known import LAG_DAYS, Known
from vpp.forecast.lookups import Lookup
from vpp.forecast.quantiles import QUANTILES
from vpp.site.times import DAY, local_lag, public_holidays

TYPICAL_HALF_LIFE_DAYS = 14.0


# Deviations from what is typical of a kind of day


def day_kinds(days: pd.DatetimeIndex, holidays_country: str) -> np.ndarray:
    """Kind of local dates (without zone).

    0 Monday, 1 Tuesday to Thursday, 2 Friday, 3 Saturday, 4 Sunday or public holiday.
    """
    kinds = np.array([0, 1, 1, 1, 2, 3, 4])[days.dayofweek]
    if len(days):
        kinds[days.isin(public_holidays(holidays_country, days.year.min(), days.year.max()))] = 4
    return kinds


def day_flags(times: pd.DatetimeIndex, zone: str, holidays_country: str) -> pd.DataFrame:
    """The kind of each time's local day as flags, and whether the days beside it are free
    (Saturday, Sunday or public holiday).
    """
    days, place = np.unique(
        times.tz_convert(zone).tz_localize(None).normalize(), return_inverse=True
    )
    days = pd.DatetimeIndex(days)
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
    """Mean of the same local hour on days of the same kind among the last `LAG_DAYS`, newer days
    counting more, as known at the origins.

    Where none is known, the mean of the same hour over the newest 7 days.
    """
    lags = np.arange(first_day, LAG_DAYS + 1)
    values, _ = same_hours(lookup, origins, times, lags, zone)
    days = times.tz_convert(zone).tz_localize(None).normalize()
    calendar_days = pd.date_range(days.min() - LAG_DAYS * DAY, days.max())
    kinds, place = day_kinds(calendar_days, holidays_country), calendar_days.get_indexer(days)
    alike = kinds[place[:, None] - lags] == kinds[place][:, None]
    weights = 0.5 ** (lags / TYPICAL_HALF_LIFE_DAYS) * (alike & ~np.isnan(values))
    total = weights.sum(axis=1)
    mean = (weights * np.nan_to_num(values)).sum(axis=1) / np.where(total > 0, total, 1.0)
    return np.where(total > 0, mean, mean_known(values, 7))


def deviations(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> pd.DataFrame:
    """What is typical at (origin, valid time) pairs, and how far the newest values were off what
    was typical of them.

    Columns [unit of the series]: typical; deviation_1 and deviation_2 (the newest two of the same
    local hour), deviation_3_h and deviation_day (means of the newest 3 and 24 hours). What was
    typical of a value is taken from two days before it and earlier."""
    lookup = series_lookup(known)
    recent = known.series[known.series.index >= origins.min() - 10 * DAY]
    usual = typical(
        lookup, recent.index, recent.index, known.zone, known.holidays_country, first_day=2
    )
    off = Lookup(recent - usual, known.available_at[len(known.series) - len(recent) :], known.step)
    same_hour, _ = same_hours(off, origins, times, range(1, 10), known.zone)
    end = off.newest(pd.DatetimeIndex(origins).as_unit("ns").asi8)
    sums = np.concatenate(([0.0], np.cumsum(np.nan_to_num(off.values))))
    table = {
        "typical": typical(lookup, origins, times, known.zone, known.holidays_country),
        "deviation_1": first_known(same_hour, 1),
        "deviation_2": first_known(same_hour, 2),
    }
    for name, hours in (("deviation_3_h", 3), ("deviation_day", 24)):
        length = max(1, int(pd.Timedelta(hours=hours) / known.step))
        table[name] = (sums[end + 1] - sums[np.maximum(end + 1 - length, 0)]) / length
    return pd.DataFrame(table)


# One ridge regression for each local hour


def daily_pairs(
    known: Known, horizon_h: float, first_day: int = 10
) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Pairs (pseudo-origin, valid time) to train on.

    Origins at the local clock time of the issue on each earlier day.
    """
    days = np.arange(1, int((known.issue_time - known.targets.index[0]) / DAY) - first_day + 1)
    issues = pd.DatetimeIndex(np.full(len(days), known.issue_time.value), tz="UTC")
    origins = local_lag(issues, days, known.zone).asi8
    steps = int(pd.Timedelta(hours=horizon_h) / known.step)
    times = (origins[:, None] + known.step.value * np.arange(steps)).ravel()
    pairs = pd.DatetimeIndex(np.repeat(origins, steps), tz="UTC"), pd.DatetimeIndex(times, tz="UTC")
    place = known.series.index.get_indexer(pairs[1])
    usable = pairs[1].isin(known.targets.index) & (
        known.available_at[place] > pairs[0]
    )  # what was published then needs no forecast
    return pairs[0][usable], pairs[1][usable]


def groups_of(
    origins: pd.DatetimeIndex, times: pd.DatetimeIndex, zone: str
) -> tuple[np.ndarray, np.ndarray]:
    """Local days from issue to valid time, and the local hour of the latter."""
    start, local = origins.tz_convert(zone).tz_localize(None), times.tz_convert(zone)
    return ((local.tz_localize(None).normalize() - start.normalize()) / DAY).to_numpy().astype(
        int
    ), local.hour.to_numpy()


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, levels=QUANTILES) -> np.ndarray:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return np.interp(levels, (share - 0.5 * weights[order]) / share[-1], values[order])
