"""The features that models make of a `Known`: lags, means, calendar, sun, weather forecasts.

A model learns from pairs (pseudo-origin, valid time). Each feature of a pair carries when it became
known, and a value that was not known at the pseudo-origin is missing there. So fitting sees as much
as predicting will.

Times are UTC and label the start of their interval; "same hour" and days are local. Power in kW,
price in EUR/MWh.

    python -c "from vpp.forecast.features import design; help(design)"
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.forecast.external import external_features
from vpp.forecast.known import LAG_DAYS, Known, ends_of
from vpp.forecast.lookups import Lookup, nanoseconds
from vpp.forecast.sun import sin_elevation
from vpp.site.kinds import PLANT_KINDS
from vpp.site.times import DAY, calendar, local_lag

LOWEST_NS = np.iinfo(np.int64).min  # known always, or not at all
LAGGED_ISSUES = 6  # of weather forecasts, averaged
HEATED_BELOW, COOLED_ABOVE = 15.0, 22.0  # outside temperature [°C]


# Lags


def same_hours(
    lookup: Lookup,
    origins: pd.DatetimeIndex,
    times: pd.DatetimeIndex,
    days: Sequence[int] | np.ndarray,
    zone: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the same local hour some days before, as known at the origins.

    Parameters
    ----------
    lookup : of the series.
    origins, times : of each pair [UTC].
    days : how many days before.
    zone : of local hours.

    Returns
    -------
    Values (pair × day), NaN where not known; when they became known [ns] (pair × day).
    """
    unique, place = np.unique(nanoseconds(times), return_inverse=True)
    before = np.asarray(days)
    repeated = pd.DatetimeIndex(np.repeat(unique, len(before)), tz="UTC")
    lagged = nanoseconds(local_lag(repeated, np.tile(before, len(unique)), zone))
    return lookup.at(lagged.reshape(-1, len(before))[place], nanoseconds(origins)[:, None])


def first_known(values: np.ndarray, rank: int = 1) -> np.ndarray:
    """Along each row the `rank`-th value that is not NaN; NaN where there are fewer.

    Parameters
    ----------
    values : row × value, the newest first.
    rank : 1 for the first.
    """
    known = ~np.isnan(values)
    chosen = known & (known.cumsum(axis=1) == rank)
    return np.where(
        chosen.any(axis=1), values[np.arange(len(values)), chosen.argmax(axis=1)], np.nan
    )


def mean_known(values: np.ndarray, count: int) -> np.ndarray:
    """Along each row the mean of the first values that are not NaN; NaN for none.

    Parameters
    ----------
    values : row × value, the newest first.
    count : values in a mean, at most.
    """
    known = ~np.isnan(values)
    chosen = known & (known.cumsum(axis=1) <= count)
    number = chosen.sum(axis=1)
    return np.where(
        number > 0, np.where(chosen, values, 0).sum(axis=1) / np.maximum(number, 1), np.nan
    )


def series_lookup(known: Known) -> Lookup:
    """Look-up of the series itself."""
    return Lookup(known.series, known.available_at, known.step)


def seasonal_naive(known: Known, times: pd.DatetimeIndex, days: int = 7) -> np.ndarray:
    """The value of the same local hour some days before, or the newest known multiple of them.

    Parameters
    ----------
    known : what is known at the issue time.
    times : starts of intervals [UTC].
    days : how many days before.

    Returns
    -------
    A value for each time [kW or EUR/MWh]; NaN where none is known.
    """
    origins = pd.DatetimeIndex([known.issue_time] * len(times))
    lags = range(days, LAG_DAYS + 14 * days + 1, days)
    values, _ = same_hours(series_lookup(known), origins, times, lags, known.zone)
    return first_known(values)


# Weather forecasts


def weather_at(
    known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
) -> tuple[pd.DataFrame, np.ndarray]:
    """Weather forecasts of the newest issue known at each origin, in the middle of each interval.

    Beyond the end of that issue the same hour of its last day stands in.

    Parameters
    ----------
    known : what is known, forecasts among it.
    origins, times : of each pair [UTC].

    Returns
    -------
    Index times, a column for each quantity; the issue times used [ns], the lowest int64 for none.
    """
    forecasts = known.forecasts
    newest = forecasts.newest(origins)
    used = np.where(newest >= 0, forecasts.issues[newest], LOWEST_NS)
    values, _ = forecasts.at(newest, nanoseconds(times))
    return pd.DataFrame(values, index=times, columns=forecasts.columns), used


def weather_ensemble(
    known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
) -> tuple[pd.DataFrame, np.ndarray]:
    """As `weather_at`, and where issues overlap also means, as columns `…_mean`.

    They are over the newest `LAGGED_ISSUES` issues that reach a time: a time-lagged ensemble
    (Hoffman and Kalnay, Tellus 35A, 1983), because the errors of one issue are not those of the
    issues before it.

    Parameters
    ----------
    known : what is known, forecasts among it.
    origins, times : of each pair [UTC].

    Returns
    -------
    Index times, a column for each quantity and mean; the newest issue times used [ns].
    """
    forecasts = known.forecasts
    if not forecasts.overlap:
        return weather_at(known, origins, times)
    issues = forecasts.newest(origins) - np.arange(LAGGED_ISSUES)[:, None]
    values, reaches = forecasts.at(issues.ravel(), np.tile(nanoseconds(times), LAGGED_ISSUES))
    values, reaches = values.reshape(*issues.shape, -1), reaches.reshape(issues.shape)
    reaches[0] = True  # the newest also where the same hour of its last day stands in
    mean = np.where(reaches[:, :, None], values, 0.0).sum(axis=0) / reaches.sum(axis=0)[:, None]
    names = [*forecasts.columns, *(f"{name}_mean" for name in forecasts.columns)]
    used = np.where(issues[0] >= 0, forecasts.issues[issues[0]], LOWEST_NS)
    return pd.DataFrame(np.hstack([values[0], mean]), index=times, columns=names), used


def aligned(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """A table with the columns that a model was fitted with, though other forecasts come now.

    Of a single issue the newest is the mean as well; without a forecast a column is NaN.

    Parameters
    ----------
    table : features, as they can be made now.
    columns : those that the model was fitted with.
    """
    missing = {
        name: table.get(name.removesuffix("_mean"), np.nan) for name in columns if name not in table
    }
    return table.assign(**missing)[list(columns)]


def regressors(known: Known, times: pd.DatetimeIndex) -> pd.DataFrame:
    """The columns of a linear model: same hours before, working day and holidays, sun, weather
    forecasts, forecasts of others.

    Each time sees as much as was known a day before it, or at the issue time where that is earlier:
    as much as a forecast of the next two days has. So the first day of a forecast does not see the
    newest values.

    Parameters
    ----------
    known : what is known at the issue time.
    times : starts of intervals, past or to come [UTC].

    Returns
    -------
    Index times; values [kW or EUR/MWh], flags [0 or 1], sine of the sun's elevation [-], weather,
    and heating and cooling degrees [K].
    """
    kind, source = known.source.kind, known.source
    origins = pd.DatetimeIndex(
        np.minimum(nanoseconds(times) - DAY.value, known.issue_time.value), tz="UTC"
    )
    days = range(1, LAG_DAYS // 2 + 1)
    lags, _ = same_hours(series_lookup(known), origins, times, days, known.zone)
    columns = {
        "recent_1": first_known(lags),
        "mean_7_days": mean_known(lags, 7),
        "week_1": first_known(lags[:, 6::7]),
    }
    table = pd.DataFrame(columns, index=times)
    if kind not in PLANT_KINDS:
        flags = ["working_day", "holiday", "day_before_holiday", "day_after_holiday"]
        table = table.join(calendar(times, known.zone, known.holidays_country)[flags])
    if kind == "solar" and source.latitude is not None and source.longitude is not None:
        table["sin_elevation"] = sin_elevation(times, known.step, source.latitude, source.longitude)
    if known.weather_forecasts is not None:
        weather, _ = weather_ensemble(known, origins, times)
        if "temp_air" in weather and kind in ("load", "market"):
            weather["heating"] = (HEATED_BELOW - weather["temp_air"]).clip(lower=0)
            weather["cooling"] = (weather["temp_air"] - COOLED_ABOVE).clip(lower=0)
        table = pd.concat([table, weather], axis=1)
    external = external_features(known.external, kind, known.zone, origins, times)
    return table.assign(**{name: values for name, (values, _) in external.items()})


# The table that trees and ridge regressions learn from


def pseudo_origins(
    known: Known, steps: int, first_day: int = 8
) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Pairs (origin, valid time) with a measured target, to train on.

    Origins are one day apart at the clock time of the issue, and as many at a time that wanders.
    The model will mostly be asked at the former; the latter keep horizon and hour of day apart.

    Parameters
    ----------
    known : what is known at the issue time.
    steps : intervals from each origin.
    first_day : days of history before the first origin.

    Returns
    -------
    Origin and valid time of each pair [UTC].
    """
    targets = known.targets
    start = targets.index[0] + first_day * DAY
    count = max(0, int((known.issue_time - start) / DAY))
    same = known.issue_time - pd.to_timedelta(np.arange(1, count + 1), unit="D")
    wander = same + pd.to_timedelta(np.arange(count) * 7 % 24, unit="h")
    origins = pd.DatetimeIndex(same.append(wander)).as_unit("ns").unique()
    origins = origins[origins < known.issue_time]
    times = (origins.asi8[:, None] + known.step.value * np.arange(steps)[None, :]).ravel()
    pairs = (
        pd.DatetimeIndex(np.repeat(origins.asi8, steps), tz="UTC"),
        pd.DatetimeIndex(times, tz="UTC"),
    )
    measured = pairs[1].isin(targets.index)
    if known.source.kind == "market":  # a price published then needs no forecast
        place = known.series.index.get_indexer(pairs[1])
        measured &= known.available_at[place] > pairs[0]
    return pairs[0][measured], pairs[1][measured]


# of each feature its values, and when they became known [ns]; None: always
Columns = dict[str, tuple[np.ndarray, np.ndarray | None]]


def design(
    known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features of (origin, valid time) pairs, and when each became known.

    Lags of the same local hour (the newest two known, one and two weeks, means of 7 days and of 4
    weeks), the newest values, calendar, horizon [h], weather forecasts as issued at the origin,
    forecasts of others, the sun for solar plants, and other series' newest same hour.

    Parameters
    ----------
    known : what is known at the issue time.
    origins, times : of each pair [UTC].

    Returns
    -------
    A row for each pair, a column for each feature; the same with the time from which each is known
    [UTC], NaT for always, as the calendar is.
    """
    columns = features_of(known, origins, times)
    always = np.full(len(times), LOWEST_NS)
    known_from = {
        name: pd.DatetimeIndex(always if when is None else when, tz="UTC")
        for name, (_, when) in columns.items()
    }
    return as_table(columns), pd.DataFrame(known_from)


def design_table(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> pd.DataFrame:
    """The features of `design` alone, in less time.

    Parameters
    ----------
    known, origins, times : as of `design`.
    """
    return as_table(features_of(known, origins, times))


def as_table(columns: Columns) -> pd.DataFrame:
    """The values of features as a table."""
    return pd.DataFrame({name: values for name, (values, _) in columns.items()})


def features_of(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> Columns:
    """Each feature of (origin, valid time) pairs, with the time from which it is known.

    Parameters
    ----------
    known, origins, times : as of `design`.
    """
    source, hour = known.source, pd.Timedelta(hours=1).value
    unique, place = np.unique(nanoseconds(times), return_inverse=True)
    unique_times = pd.DatetimeIndex(unique, tz="UTC")
    days = calendar(unique_times, known.zone, known.holidays_country)
    lookup = series_lookup(known)
    columns: Columns = {"horizon_h": ((nanoseconds(times) - nanoseconds(origins)) / hour, None)}
    columns |= {str(name): (days[name].to_numpy()[place], None) for name in days}
    columns |= _lags(lookup, origins, times, known.zone)
    columns |= _newest(lookup, origins)
    columns |= _other_series(known, origins, times)
    if known.weather_forecasts is not None:
        weather, issued = weather_ensemble(known, origins, times)
        columns |= {str(name): (weather[name].to_numpy(), issued) for name in weather}
    columns |= external_features(known.external, source.kind, known.zone, origins, times)
    if source.kind == "solar" and source.latitude is not None and source.longitude is not None:
        sun = sin_elevation(unique_times, known.step, source.latitude, source.longitude)
        columns["sin_elevation"] = sun[place], None
    return columns


def _lags(lookup: Lookup, origins: pd.DatetimeIndex, times: pd.DatetimeIndex, zone: str) -> Columns:
    """The same local hour on the days and in the weeks before."""
    lags, when = same_hours(lookup, origins, times, range(1, LAG_DAYS + 1), zone)
    newest = when.max(axis=1)
    weeks, newest_week = lags[:, 6::7], when[:, 6::7].max(axis=1)
    return {
        "recent_1": (first_known(lags, 1), newest),
        "recent_2": (first_known(lags, 2), newest),
        "mean_7_days": (mean_known(lags, 7), newest),
        "week_1": (first_known(weeks, 1), newest_week),
        "week_2": (first_known(weeks, 2), newest_week),
        "mean_4_weeks": (mean_known(weeks, 4), newest_week),
    }


def _newest(lookup: Lookup, origins: pd.DatetimeIndex) -> Columns:
    """The newest value at each origin, and means of those up to it."""
    started = nanoseconds(origins)
    end = lookup.newest(started)
    sums = np.concatenate(([0.0], np.cumsum(np.nan_to_num(lookup.values))))
    counts = np.concatenate(([0], np.cumsum(~np.isnan(lookup.values))))
    per_day = max(1, DAY.value // lookup.step)

    def mean_before(last: np.ndarray, length: int) -> np.ndarray:
        high, low = np.maximum(last + 1, 0), np.maximum(last + 1 - length, 0)
        number = counts[high] - counts[low]
        return np.where(number > 0, (sums[high] - sums[low]) / np.maximum(number, 1), np.nan)

    known_end = started
    if len(lookup.available):
        known_end = np.where(end >= 0, lookup.available[np.maximum(end, 0)], LOWEST_NS)
    day, week_before = mean_before(end, per_day), mean_before(end - 7 * per_day, per_day)
    return {
        "last": (mean_before(end, 1), known_end),
        "mean_day": (day, known_end),
        "mean_week": (mean_before(end, 7 * per_day), known_end),
        "day_minus_week_before": (day - week_before, known_end),
    }


def _other_series(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> Columns:
    """Of each other series the newest known of the same local hour."""
    columns: Columns = {}
    if known.others is None:
        return columns
    for name, series in known.others.items():
        grid = series.asfreq(f"{known.source.step_min}min")
        ends = ends_of(pd.DatetimeIndex(grid.index), known.step, known.others_step_min)
        lookup = Lookup(grid, ends + known.measurement_delay, known.step)
        values, when = same_hours(lookup, origins, times, (1, 2, 3, 7), known.zone)
        columns[f"{name}_recent"] = first_known(values), when.max(axis=1)
    return columns
