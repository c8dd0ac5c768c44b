"""What is known at an issue time, and the features that models make of it.

`known_at(data, issue_time)` is the one place that decides availability: a measurement is known at the end of its interval plus a
delay, a day-ahead price of local day D at D-1 13:00 Brussels, a weather forecast at its issue time. It returns a `Known`, and
whatever a model fits or predicts comes from one. Training pairs are (pseudo-origin, valid time): each feature of a pair carries
when it became known, and a value that was not known at the pseudo-origin is missing there, so that fitting sees what predicting will.

Times are UTC and label the start of their interval; "same hour" and days are local. Power in kW, price in EUR/MWh.

    python -c "import features, pandas as pd; print(features.price_available_at(pd.to_datetime(['2025-03-30T00:00Z'])))"
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd

from kinds import PLANT_KINDS
from lookups import Lookup, WeatherForecasts, nanoseconds
from sources import Source

DAY = pd.Timedelta(days=1)
SHORT_GAP_H = 3  # gaps up to this long are filled and marked; longer ones are cut
LAG_DAYS = 28  # the same hour is looked up so many days back
MIN_HISTORY_DAYS = 14
FLAT_DAYS = 7
STALE_DAYS = 2  # that the newest value may be old
LAGGED_ISSUES = 6  # of weather forecasts, averaged
DARK_SHARE = 0.01  # of the energy: more of it at night than this says that the coordinates are wrong


def price_available_at(
    times: pd.DatetimeIndex, publication: str = "13:00", publication_zone: str = "Europe/Brussels", area_zone: str = "Europe/Brussels"
) -> pd.DatetimeIndex:
    """When day-ahead prices become known: those of local day D at the publication time of D-1.

    Parameters
    ----------
    times : starts of the price intervals [UTC].
    publication : local time of publication [HH:MM].
    publication_zone, area_zone : time zones of the publication and of the market's days.

    Returns
    -------
    Availability of each price [UTC].
    """
    days, place = np.unique(pd.DatetimeIndex(times).tz_convert(area_zone).tz_localize(None).normalize(), return_inverse=True)
    published = pd.DatetimeIndex(days) - DAY + pd.Timedelta(publication + ":00")
    published = published.tz_localize(publication_zone, ambiguous=np.ones(len(days), bool), nonexistent="shift_forward")
    return published.tz_convert("UTC").as_unit("ns")[place]


@dataclass(frozen=True)
class SourceData:
    """All that is stored about one source, known or not yet.

    `series` is indexed by UTC time, NaN where missing; `weather_forecasts` has issue_time, valid_time and a column for each
    quantity (weather or any other forecast); `others` holds further measured series, a column each, used as lagged regressors.
    `stored_available_at` says when each price became known, by its time; `publication` stands in where it does not.
    """

    source: Source
    series: pd.Series
    weather_forecasts: pd.DataFrame | None = None
    others: pd.DataFrame | None = None
    zone: str = "Europe/Brussels"
    holidays_country: str = "LU"
    measurement_delay_min: float = 0.0
    publication: str = "13:00"
    publication_zone: str = "Europe/Brussels"
    stored_available_at: pd.Series | None = None

    @property
    def step(self) -> pd.Timedelta:
        return pd.Timedelta(minutes=self.source.step_min)

    @cached_property
    def grid(self) -> pd.Series:
        """The series without holes in its index."""
        series = self.series.dropna()
        if series.empty:
            return pd.Series([], index=pd.DatetimeIndex([], tz="UTC"), dtype=float, name=self.series.name)
        index = pd.date_range(series.index[0], series.index[-1], freq=self.step, name="time").tz_convert("UTC").as_unit("ns")
        return series.astype(float).reindex(index)

    @cached_property
    def available_at(self) -> pd.DatetimeIndex:
        """When each value of `grid` becomes known."""
        if self.source.kind == "market":
            times = self.grid.index
            rule = price_available_at(times, self.publication, self.publication_zone, self.zone)
            if self.stored_available_at is None:
                return rule
            stored = pd.DatetimeIndex(self.stored_available_at.reindex(times)).as_unit("ns")
            known = np.where(stored.isna(), rule.asi8, stored.asi8)
            # A price counts as known once those before it are: what is known ends at one place.
            return pd.DatetimeIndex(np.maximum.accumulate(known), tz="UTC")
        return self.grid.index + self.step + pd.Timedelta(minutes=self.measurement_delay_min)


@dataclass(frozen=True)
class Known:
    """What is known about a source at `issue_time`, and nothing else.

    `series` is on a regular grid, short gaps filled (`filled` marks them), long ones NaN. Published prices may lie after `issue_time`.
    A gap's `available_at` is that of the next measured value: only then is it known to end, and what fills it.
    """

    source: Source
    issue_time: pd.Timestamp
    series: pd.Series
    filled: np.ndarray
    available_at: pd.DatetimeIndex
    weather_forecasts: pd.DataFrame | None
    others: pd.DataFrame | None
    zone: str
    holidays_country: str
    measurement_delay: pd.Timedelta

    @property
    def step(self) -> pd.Timedelta:
        return pd.Timedelta(minutes=self.source.step_min)

    def valid_times(self, steps: int) -> pd.DatetimeIndex:
        """The times that a forecast of `steps` intervals is for."""
        return pd.date_range(self.issue_time, periods=steps, freq=self.step, name="valid_time")

    @cached_property
    def targets(self) -> pd.Series:
        """The measured values: what a model may learn to predict. Filled gaps are not."""
        return self.series[~self.filled].dropna()

    @cached_property
    def forecasts(self) -> WeatherForecasts:
        """The weather forecasts, which there must be, ordered to be looked up."""
        return WeatherForecasts(self.weather_forecasts, self.step)


def known_at(data: SourceData, issue_time: pd.Timestamp, history_days: float | None = None) -> Known:
    """What is known at an issue time. Everything that a model sees goes through here.

    Parameters
    ----------
    data : all that is stored.
    issue_time : now [UTC].
    history_days : how far back the series goes; default all of it.
    """
    issue_time = pd.Timestamp(issue_time).tz_convert("UTC")
    delay = pd.Timedelta(minutes=data.measurement_delay_min)
    count = int(data.available_at.searchsorted(issue_time, side="right"))
    first = 0 if history_days is None else int(data.grid.index.searchsorted(issue_time - history_days * DAY))
    series = data.grid.iloc[min(first, count) : count]
    available = data.available_at[min(first, count) : count]
    measured = np.flatnonzero(series.notna())
    end = measured[-1] + 1 if len(measured) else 0
    available = available[measured[np.searchsorted(measured, np.arange(end))]]
    series, filled = fill_short_gaps(series.iloc[:end], max(1, int(SHORT_GAP_H * 60 // data.source.step_min)))
    weather, others = data.weather_forecasts, data.others
    if weather is not None:
        weather = weather[weather["issue_time"] <= issue_time]
        if history_days is not None:
            weather = weather[weather["valid_time"] >= issue_time - history_days * DAY]
        weather = weather if len(weather) else None
    if others is not None:
        others = others[others.index + data.step + delay <= issue_time]
        others = others if len(others) else None
    return Known(
        data.source, issue_time, series, filled, available, weather, others, data.zone, data.holidays_country, delay
    )  # fmt: skip


def fill_short_gaps(series: pd.Series, longest: int) -> tuple[pd.Series, np.ndarray]:
    """Fill gaps of at most `longest` intervals along a straight line; returns the series and what was filled."""
    missing = series.isna().to_numpy()
    if not missing.any():
        return series, missing
    edges = np.flatnonzero(np.diff(np.concatenate(([0], missing.view(np.int8), [0]))))
    fill = np.zeros(len(series), bool)
    for start, end in edges.reshape(-1, 2):
        if end - start <= longest and start > 0 and end < len(series):
            fill[start:end] = True
    here = np.arange(len(series))
    values = series.to_numpy(copy=True)
    values[fill] = np.interp(here[fill], here[~missing], values[~missing])
    return pd.Series(values, series.index, name=series.name), fill


def history_problem(known: Known) -> str | None:
    """Why no model should be fitted to this history (then seasonal naive stands in), or None."""
    days = len(known.targets) * known.step / DAY
    if days < MIN_HISTORY_DAYS:
        return f"{days:.1f} days of history, {MIN_HISTORY_DAYS} needed"
    old = (known.issue_time - known.measurement_delay - known.targets.index[-1]) / DAY
    if old > STALE_DAYS:
        return f"the newest value is {old:.1f} days old"
    recent = known.targets[known.targets.index >= known.targets.index[-1] - FLAT_DAYS * DAY]
    if known.source.kind != "market" and recent.max() == recent.min():  # a fixed price is flat rightly
        return f"flat line at {recent.iloc[-1]:g} for {FLAT_DAYS} days"
    return None


# Times


def local_lag(times: pd.DatetimeIndex, days: int | np.ndarray, zone: str) -> pd.DatetimeIndex:
    """The same local clock time some days earlier [UTC]; the first of two where the clock went back, an hour on where it went ahead."""
    naive = times.tz_convert(zone).tz_localize(None) - pd.to_timedelta(days, unit="D")
    lagged = naive.tz_localize(zone, ambiguous=np.ones(len(naive), bool), nonexistent=pd.Timedelta(hours=1))
    return lagged.tz_convert("UTC").as_unit("ns")


@lru_cache(maxsize=64)
def public_holidays(country: str, first_year: int, last_year: int) -> pd.DatetimeIndex:
    """Dates (without zone) of the public holidays of a country; none without a country."""
    import holidays

    years = range(first_year, last_year + 1)
    return pd.DatetimeIndex(sorted(holidays.country_holidays(country, years=years)) if country else [])


def calendar(times: pd.DatetimeIndex, zone: str, holidays_country: str) -> pd.DataFrame:
    """Local calendar: hour, weekday, season, public holidays and the days beside them."""
    local = times.tz_convert(zone)
    free = public_holidays(holidays_country, local.year.min() - 1, local.year.max() + 1) if len(local) else pd.DatetimeIndex([])
    day = local.tz_localize(None).normalize()
    holiday = day.isin(free)
    season = 2 * np.pi * (local.dayofyear.to_numpy() - 1) / 365.25
    return pd.DataFrame(
        {
            "hour": local.hour.to_numpy() + local.minute.to_numpy() / 60,
            "weekday": local.dayofweek.to_numpy(),
            "season_sin": np.sin(season),
            "season_cos": np.cos(season),
            "working_day": ((local.dayofweek < 5) & ~holiday).astype(float),
            "holiday": holiday.astype(float),
            "day_before_holiday": (day + DAY).isin(free).astype(float),
            "day_after_holiday": (day - DAY).isin(free).astype(float),
        },
        index=times,
    )


# Sun


def sin_elevation(times: pd.DatetimeIndex, step: pd.Timedelta, latitude: float, longitude: float) -> np.ndarray:
    """Mean over the interval of the sine of the sun's elevation, 0 below the horizon; exactly 0 where the sun stays down [-]."""
    from pvlib.solarposition import ephemeris

    if not len(times):  # of which ephemeris makes an error
        return np.zeros(0)
    parts = nanoseconds(times) + np.array([[0], [step.value // 2], [step.value]])
    unique, place = np.unique(parts, return_inverse=True)
    elevation = ephemeris(pd.DatetimeIndex(unique, tz="UTC"), latitude, longitude)["apparent_elevation"].to_numpy()
    height = np.sin(np.radians(np.maximum(elevation, 0.0)))[place].reshape(parts.shape)
    return np.array([1, 4, 1]) / 6 @ height  # Simpson's rule


def dark(known: Known, times: pd.DatetimeIndex) -> np.ndarray:
    """Where a solar plant gives nothing: sun down or, without credible coordinates, times of day that were 0 throughout the last weeks."""
    source, recent = known.source, known.targets[known.targets.index >= known.issue_time - LAG_DAYS * DAY]
    if source.latitude is not None and source.longitude is not None:
        at_night = sin_elevation(recent.index, known.step, source.latitude, source.longitude) == 0
        if recent[at_night].sum() <= DARK_SHARE * recent.sum():
            return sin_elevation(times, known.step, source.latitude, source.longitude) == 0
    clock = recent.index.hour * 60 + recent.index.minute
    ever = recent.groupby(clock).max()
    return (ever.reindex(times.hour * 60 + times.minute).to_numpy() == 0) if len(recent) else np.zeros(len(times), bool)


# Lags, weather


def same_hours(lookup: Lookup, origins: pd.DatetimeIndex, times: pd.DatetimeIndex, days, zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of the same local hour some days before, as known at the origins: arrays (pair, day), and when they became known [ns]."""
    unique, place = np.unique(nanoseconds(times), return_inverse=True)
    unique = pd.DatetimeIndex(unique, tz="UTC")
    days = np.asarray(days)
    repeated = pd.DatetimeIndex(np.repeat(unique.asi8, len(days)), tz="UTC")
    lagged = nanoseconds(local_lag(repeated, np.tile(days, len(unique)), zone)).reshape(-1, len(days))[place]
    return lookup.at(lagged, nanoseconds(origins)[:, None])


def first_known(values: np.ndarray, rank: int = 1) -> np.ndarray:
    """Along each row the rank-th value that is not NaN."""
    known = ~np.isnan(values)
    chosen = known & (known.cumsum(axis=1) == rank)
    return np.where(chosen.any(axis=1), values[np.arange(len(values)), chosen.argmax(axis=1)], np.nan)


def mean_known(values: np.ndarray, count: int) -> np.ndarray:
    """Along each row the mean of the first `count` values that are not NaN."""
    known = ~np.isnan(values)
    chosen = known & (known.cumsum(axis=1) <= count)
    number = chosen.sum(axis=1)
    return np.where(number > 0, np.where(chosen, values, 0).sum(axis=1) / np.maximum(number, 1), np.nan)


def series_lookup(known: Known) -> Lookup:
    return Lookup(known.series, known.available_at, known.step)


def seasonal_naive(known: Known, times: pd.DatetimeIndex, days: int = 7) -> np.ndarray:
    """The value of the same local hour `days` before, or of the newest multiple of that before it that is known."""
    lags = range(days, LAG_DAYS + 14 * days + 1, days)
    values, _ = same_hours(series_lookup(known), pd.DatetimeIndex([known.issue_time] * len(times)), times, lags, known.zone)
    return first_known(values)


def weather_at(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> tuple[pd.DataFrame, np.ndarray]:
    """Weather forecasts for each (origin, time) pair from the newest issue known at the origin, interpolated to the middle of the interval.

    Beyond the end of that issue the same hour of its last day stands in. Returns the values and the issue times used [ns].
    """
    forecasts = known.forecasts
    newest = forecasts.newest(origins)
    used = np.where(newest >= 0, forecasts.issues[newest], np.iinfo(np.int64).min)
    return pd.DataFrame(forecasts.at(newest, nanoseconds(times))[0], index=times, columns=forecasts.columns), used


def weather_ensemble(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> tuple[pd.DataFrame, np.ndarray]:
    """As `weather_at`, and where issues overlap the mean over the newest `LAGGED_ISSUES` that reach a time, as columns `…_mean`.

    A time-lagged ensemble (Hoffman and Kalnay 1983): what one issue gets wrong by itself, the issues before it did not.
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
    used = np.where(issues[0] >= 0, forecasts.issues[issues[0]], np.iinfo(np.int64).min)
    return pd.DataFrame(np.hstack([values[0], mean]), index=times, columns=names), used


def aligned(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """A table with the columns that a model was fitted with, though its weather forecasts are others now.

    Of a single issue the newest is the mean as well; what there is no forecast of any more is NaN.
    """
    missing = {name: table.get(name.removesuffix("_mean"), np.nan) for name in columns if name not in table}
    return table.assign(**missing)[list(columns)]


def regressors(known: Known, times: pd.DatetimeIndex) -> pd.DataFrame:
    """What a linear model adds for each time: same hours before, working day and holidays, sun, weather forecasts.

    A past time gets what was known a day before it, as good as what a forecast for the next two days has; a time to come the newest.
    """
    kind, source = known.source.kind, known.source
    origins = pd.DatetimeIndex(np.minimum(nanoseconds(times) - DAY.value, known.issue_time.value), tz="UTC")
    lags, _ = same_hours(series_lookup(known), origins, times, range(1, LAG_DAYS // 2 + 1), known.zone)
    table = pd.DataFrame(
        {"recent_1": first_known(lags), "mean_7_days": mean_known(lags, 7), "week_1": first_known(lags[:, 6::7])}, index=times
    )
    if kind not in PLANT_KINDS:
        days = calendar(times, known.zone, known.holidays_country)
        table = table.join(days[["working_day", "holiday", "day_before_holiday", "day_after_holiday"]])
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


def pseudo_origins(known: Known, steps: int, first_day: int = 8) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Pairs (origin, valid time) to train on: origins one day apart at the clock time of the issue, and as many at one that wanders.

    The former are what the model will mostly be asked; the latter keep horizon and hour of day apart. Only pairs with a measured target.
    """
    targets = known.targets
    start = targets.index[0] + first_day * DAY
    count = max(0, int((known.issue_time - start) / DAY))
    same = known.issue_time - pd.to_timedelta(np.arange(1, count + 1), unit="D")
    wander = same + pd.to_timedelta(np.arange(count) * 7 % 24, unit="h")
    origins = same.append(wander).as_unit("ns").unique()
    origins = origins[origins < known.issue_time]
    times = (origins.asi8[:, None] + known.step.value * np.arange(steps)[None, :]).ravel()
    pairs = pd.DatetimeIndex(np.repeat(origins.asi8, steps), tz="UTC"), pd.DatetimeIndex(times, tz="UTC")
    measured = pairs[1].isin(targets.index)
    if known.source.kind == "market":  # what was published then needs no forecast
        place = known.series.index.get_indexer(pairs[1])
        measured &= known.available_at[place] > pairs[0]
    return pairs[0][measured], pairs[1][measured]


def design(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features of (origin, valid time) pairs and when each became known (NaT: always known, as the calendar is).

    Lags of the same local hour (the newest two known, one and two weeks, means of 7 days and of 4 weeks), the newest values,
    calendar, horizon [h], weather forecasts as issued at the origin, the sun for solar plants, and other series' newest same hour.
    """
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

    known_end = np.where(end >= 0, lookup.available[np.maximum(end, 0)], np.iinfo(np.int64).min) if len(lookup.available) else started
    add("last", mean_before(end, 1), known_end)
    add("mean_day", mean_before(end, per_day), known_end)
    add("mean_week", mean_before(end, 7 * per_day), known_end)
    add("day_minus_week_before", mean_before(end, per_day) - mean_before(end - 7 * per_day, per_day), known_end)

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
        sun = sin_elevation(pd.DatetimeIndex(unique, tz="UTC"), known.step, known.source.latitude, known.source.longitude)
        add("sin_elevation", sun[place])

    lowest = np.iinfo(np.int64).min
    known_from = {
        name: pd.DatetimeIndex(np.full(len(times), lowest) if when is None else when, tz="UTC") for name, when in available.items()
    }
    return pd.DataFrame(table), pd.DataFrame(known_from)
