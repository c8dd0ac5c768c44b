"""What is known at an issue time, and the features that models make of it.

`known_at(data, issue_time)` is the one place that decides availability: a measurement is known at
the end of its interval plus a delay, a day-ahead price of local day D at D-1 13:00 Brussels, a
weather forecast at its issue time. It returns a `Known`, and whatever a model fits or predicts
comes from one. Training pairs are (pseudo-origin, valid time): each feature of a pair carries when
it became known, and a value that was not known at the pseudo-origin is missing there, so that
fitting sees what predicting will.

Times are UTC and label the start of their interval; "same hour" and days are local. Power in kW,
price in EUR/MWh.

    python -c "import features, pandas as pd; print(features.price_available_at(pd.to_datetime(['2025-03-30T00:00Z'])))"
"""

import numpy as np
import pandas as pd

from vpp.forecast.known import LAG_DAYS, Known
from vpp.forecast.lookups import Lookup, nanoseconds
from vpp.forecast.sun import sin_elevation
from vpp.site.kinds import PLANT_KINDS
from vpp.site.times import DAY, calendar, local_lag

LAGGED_ISSUES = 6  # of weather forecasts, averaged


# Lags, weather


def same_hours(
    lookup: Lookup, origins: pd.DatetimeIndex, times: pd.DatetimeIndex, days, zone: str
) -> tuple[np.ndarray, np.ndarray]:
    """Values of the same local hour some days before, as known at the origins.

    Arrays (pair, day), and when they became known [ns].
    """
    unique, place = np.unique(nanoseconds(times), return_inverse=True)
    unique = pd.DatetimeIndex(unique, tz="UTC")
    days = np.asarray(days)
    repeated = pd.DatetimeIndex(np.repeat(unique.asi8, len(days)), tz="UTC")
    lagged = nanoseconds(local_lag(repeated, np.tile(days, len(unique)), zone)).reshape(
        -1, len(days)
    )[place]
    return lookup.at(lagged, nanoseconds(origins)[:, None])


def first_known(values: np.ndarray, rank: int = 1) -> np.ndarray:
    """Along each row the rank-th value that is not NaN."""
    known = ~np.isnan(values)
    chosen = known & (known.cumsum(axis=1) == rank)
    return np.where(
        chosen.any(axis=1), values[np.arange(len(values)), chosen.argmax(axis=1)], np.nan
    )


def mean_known(values: np.ndarray, count: int) -> np.ndarray:
    """Along each row the mean of the first `count` values that are not NaN."""
    known = ~np.isnan(values)
    chosen = known & (known.cumsum(axis=1) <= count)
    number = chosen.sum(axis=1)
    return np.where(
        number > 0, np.where(chosen, values, 0).sum(axis=1) / np.maximum(number, 1), np.nan
    )


def series_lookup(known: Known) -> Lookup:
    return Lookup(known.series, known.available_at, known.step)


def seasonal_naive(known: Known, times: pd.DatetimeIndex, days: int = 7) -> np.ndarray:
    """The value of the same local hour `days` before, or of the newest multiple of that before it
    that is known.
    """
    lags = range(days, LAG_DAYS + 14 * days + 1, days)
    values, _ = same_hours(
        series_lookup(known),
        pd.DatetimeIndex([known.issue_time] * len(times)),
        times,
        lags,
        known.zone,
    )
    return first_known(values)


def weather_at(
    known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
) -> tuple[pd.DataFrame, np.ndarray]:
    """Weather forecasts for each (origin, time) pair from the newest issue known at the origin,
    interpolated to the middle of the interval.

    Beyond the end of that issue the same hour of its last day stands in. Returns the values and the
    issue times used [ns]."""
    forecasts = known.forecasts
    newest = forecasts.newest(origins)
    used = np.where(newest >= 0, forecasts.issues[newest], np.iinfo(np.int64).min)
    return pd.DataFrame(
        forecasts.at(newest, nanoseconds(times))[0], index=times, columns=forecasts.columns
    ), used


def weather_ensemble(
    known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
) -> tuple[pd.DataFrame, np.ndarray]:
    """As `weather_at`, and where issues overlap the mean over the newest `LAGGED_ISSUES` that reach
    a time, as columns `…_mean`.

    A time-lagged ensemble (Hoffman and Kalnay 1983): what one issue gets wrong by itself, the
    issues before it did not."""
    forecasts = known.forecasts
    if not forecasts.overlap:
        return weather_at(known, origins, times)
    issues = forecasts.newest(origins) - np.arange(LAGGED_ISSUES)[:, None]
    values, reaches = forecasts.at(issues.ravel(), np.tile(nanoseconds(times), LAGGED_ISSUES))
    values, reaches = values.reshape(*issues.shape, -1), reaches.reshape(issues.shape)
    reaches[0] = True  # the newest also where the same hour of its last day stands in
    mean = np.where(reaches[:, :, None], values, 0.0).sum(axis=0) / reaches.sum(axis=0)[:, None]
    names = [*forecasts.columns, *(f"{name}_mean" for name in forecasts.columns)]
    used = np.where(issues[0] >= 0, forecasts.issues[issues[0]], np.iinfo(np.int64).min)
    return pd.DataFrame(np.hstack([values[0], mean]), index=times, columns=names), used


def aligned(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """A table with the columns that a model was fitted with, though its weather forecasts are
    others now.

    Of a single issue the newest is the mean as well; what there is no forecast of any more is NaN.
    """
    missing = {
        name: table.get(name.removesuffix("_mean"), np.nan) for name in columns if name not in table
    }
    return table.assign(**missing)[list(columns)]


def regressors(known: Known, times: pd.DatetimeIndex) -> pd.DataFrame:
    """What a linear model adds for each time: same hours before, working day and holidays, sun,
    weather forecasts.

    A past time gets what was known a day before it, as good as what a forecast for the next two
    days has; a time to come the newest."""
    kind, source = known.source.kind, known.source
    origins = pd.DatetimeIndex(
        np.minimum(nanoseconds(times) - DAY.value, known.issue_time.value), tz="UTC"
    )
    lags, _ = same_hours(
        series_lookup(known), origins, times, range(1, LAG_DAYS // 2 + 1), known.zone
    )
    table = pd.DataFrame(
        {
            "recent_1": first_known(lags),
            "mean_7_days": mean_known(lags, 7),
            "week_1": first_known(lags[:, 6::7]),
        },
        index=times,
    )
    if kind not in PLANT_KINDS:
        days = calendar(times, known.zone, known.holidays_country)
        table = table.join(
            days[["working_day", "holiday", "day_before_holiday", "day_after_holiday"]]
        )
    if kind == "solar" and source.latitude is not None and source.longitude is not None:
        table["sin_elevation"] = sin_elevation(times, known.step, source.latitude, source.longitude)
    if known.weather_forecasts is None:
        return table
    weather, _ = weather_ensemble(known, origins, times)
    if "temp_air" in weather and kind in ("load", "market"):
        weather["heating"] = (15.0 - weather["temp_air"]).clip(lower=0)
        weather["cooling"] = (weather["temp_air"] - 22.0).clip(lower=0)
    return pd.concat([table, weather], axis=1)


# The design matrix of the direct models


def pseudo_origins(
    known: Known, steps: int, first_day: int = 8
) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Pairs (origin, valid time) to train on: origins one day apart at the clock time of the issue,
    and as many at one that wanders.

    The former are what the model will mostly be asked; the latter keep horizon and hour of day
    apart. Only pairs with a measured target."""
    targets = known.targets
    start = targets.index[0] + first_day * DAY
    count = max(0, int((known.issue_time - start) / DAY))
    same = known.issue_time - pd.to_timedelta(np.arange(1, count + 1), unit="D")
    wander = same + pd.to_timedelta(np.arange(count) * 7 % 24, unit="h")
    origins = same.append(wander).as_unit("ns").unique()
    origins = origins[origins < known.issue_time]
    times = (origins.asi8[:, None] + known.step.value * np.arange(steps)[None, :]).ravel()
    pairs = (
        pd.DatetimeIndex(np.repeat(origins.asi8, steps), tz="UTC"),
        pd.DatetimeIndex(times, tz="UTC"),
    )
    measured = pairs[1].isin(targets.index)
    if known.source.kind == "market":  # what was published then needs no forecast
        place = known.series.index.get_indexer(pairs[1])
        measured &= known.available_at[place] > pairs[0]
    return pairs[0][measured], pairs[1][measured]


def design(
    known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features of (origin, valid time) pairs and when each became known (NaT: always known, as the
    calendar is).

    Lags of the same local hour (the newest two known, one and two weeks, means of 7 days and of 4
    weeks), the newest values, calendar, horizon [h], weather forecasts as issued at the origin, the
    sun for solar plants, and other series' newest same hour."""
    started, hour = nanoseconds(origins), pd.Timedelta(hours=1).value
    table, available = {}, {}

    def add(name, values, when=None):
        table[name], available[name] = values, when

    add("horizon_h", (nanoseconds(times) - started) / hour)
    unique, place = np.unique(nanoseconds(times), return_inverse=True)
    days = calendar(pd.DatetimeIndex(unique, tz="UTC"), known.zone, known.holidays_country)
    for name in days:
        add(name, days[name].to_numpy()[place])

    lookup = series_lookup(known)
    lags, when = same_hours(lookup, origins, times, range(1, LAG_DAYS + 1), known.zone)
    newest = when.max(axis=1)
    add("recent_1", first_known(lags, 1), newest)
    add("recent_2", first_known(lags, 2), newest)
    add("mean_7_days", mean_known(lags, 7), newest)
    weeks, when_weeks = lags[:, 6::7], when[:, 6::7].max(axis=1)
    add("week_1", first_known(weeks, 1), when_weeks)
    add("week_2", first_known(weeks, 2), when_weeks)
    add("mean_4_weeks", mean_known(weeks, 4), when_weeks)

    end = lookup.newest(started)
    sums = np.concatenate(([0.0], np.cumsum(np.nan_to_num(lookup.values))))
    counts = np.concatenate(([0], np.cumsum(~np.isnan(lookup.values))))
    per_day = max(1, DAY.value // known.step.value)

    def mean_before(last, length):
        high, low = np.maximum(last + 1, 0), np.maximum(last + 1 - length, 0)
        number = counts[high] - counts[low]
        return np.where(number > 0, (sums[high] - sums[low]) / np.maximum(number, 1), np.nan)

    known_end = (
        np.where(end >= 0, lookup.available[np.maximum(end, 0)], np.iinfo(np.int64).min)
        if len(lookup.available)
        else started
    )
    add("last", mean_before(end, 1), known_end)
    add("mean_day", mean_before(end, per_day), known_end)
    add("mean_week", mean_before(end, 7 * per_day), known_end)
    add(
        "day_minus_week_before",
        mean_before(end, per_day) - mean_before(end - 7 * per_day, per_day),
        known_end,
    )

    if known.others is not None:
        for name, series in known.others.items():
            grid = series.asfreq(known.step)
            other = Lookup(grid, grid.index + known.step + known.measurement_delay, known.step)
            values, when = same_hours(other, origins, times, (1, 2, 3, 7), known.zone)
            add(f"{name}_recent", first_known(values), when.max(axis=1))
    if known.weather_forecasts is not None:
        weather, issued = weather_ensemble(known, origins, times)
        for name in weather:
            add(name, weather[name].to_numpy(), issued)
    if known.source.kind == "solar" and known.source.latitude is not None:
        sun = sin_elevation(
            pd.DatetimeIndex(unique, tz="UTC"),
            known.step,
            known.source.latitude,
            known.source.longitude,
        )
        add("sin_elevation", sun[place])

    lowest = np.iinfo(np.int64).min
    known_from = {
        name: pd.DatetimeIndex(np.full(len(times), lowest) if when is None else when, tz="UTC")
        for name, when in available.items()
    }
    return pd.DataFrame(table), pd.DataFrame(known_from)
