"""Knowledge at an issue time: the one gate between what is stored and what a model may see.

`known_at(data, issue_time)` alone decides availability: a measurement is known at the end of its
interval plus a delay, a day-ahead price of local day D at D-1 13:00 Brussels, a weather forecast at
its issue time. It returns a `Known`, and a model fits and predicts from nothing else.

Times are UTC and label the start of their interval. Power in kW, price in EUR/MWh.

    python -c "from vpp.forecast.known import known_at; help(known_at)"
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from vpp.forecast.external import External
from vpp.forecast.lookups import WeatherForecasts
from vpp.forecast.stale import fresh_external, fresh_others, fresh_weather
from vpp.site.sources import Source
from vpp.site.times import DAY, price_available_at

SHORT_GAP_H = 3  # gaps up to this long are filled and marked; longer ones are cut
LAG_DAYS = 28  # the same hour is looked up so many days back
MIN_HISTORY_DAYS = 14
PHYSICS_DAYS = 28  # of history, in which physics still stands in and competes
FLAT_DAYS = 7
STALE_DAYS = 2  # that the newest value may be old
LIVE_DAYS = 1  # that a first message may be late, and its value still count as known in time


@dataclass(frozen=True)
class SourceData:
    """All that is stored about one source, known or not yet.

    Parameters
    ----------
    source : the plant, load or market.
    series : its values by time [UTC; kW or EUR/MWh], NaN where missing.
    weather_forecasts : issue_time and valid_time [UTC], and a column for each quantity (weather or
        any other forecast).
    others : further measured series by time [UTC], a column each: lagged regressors.
    zone : of local hours and days.
    holidays_country : two letters; empty for no holidays.
    measurement_delay_min : from the end of an interval until its value is known [min].
    publication : when prices of the next local day are known [HH:MM].
    publication_zone : time zone of `publication`.
    stored_available_at : when each price became known [UTC], by its time; `publication` stands in
        where it does not say.
    external : forecasts that others issue, which are regressors.
    others_step_min : the longest step of `others` as they were measured [min]; its values are known
        at the end of such an interval. None for the step of the source.
    weather_stale_after_h : the newest forecast of the weather, or of others, may be so old [h].
    others_stale_after_h : the newest value of one of the others may be so old [h].
    revisions : values that newer ones replaced: time, value [kW or EUR/MWh], known_from and
        known_to [UTC].
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
    external: tuple[External, ...] = ()
    others_step_min: int | None = None
    weather_stale_after_h: float = np.inf
    others_stale_after_h: float = np.inf
    revisions: pd.DataFrame | None = None

    @property
    def step(self) -> pd.Timedelta:
        """Length of an interval."""
        return pd.Timedelta(minutes=self.source.step_min)

    @cached_property
    def grid(self) -> pd.Series:
        """The series without holes in its index."""
        series = self.series.dropna()
        if series.empty:
            none = pd.DatetimeIndex([], tz="UTC")
            return pd.Series([], index=none, dtype=float, name=self.series.name)
        index = pd.date_range(series.index[0], series.index[-1], freq=self.step, name="time")
        return series.astype(float).reindex(index.tz_convert("UTC").as_unit("ns"))

    @cached_property
    def available_at(self) -> pd.DatetimeIndex:
        """When each value of `grid` becomes known [UTC]."""
        times = pd.DatetimeIndex(self.grid.index)
        if self.source.kind == "market":
            rule = price_available_at(times, self.publication, self.publication_zone, self.zone)
            if self.stored_available_at is None:
                return rule
            stored = pd.DatetimeIndex(self.stored_available_at.reindex(times)).as_unit("ns")
            known = np.where(stored.isna(), rule.asi8, stored.asi8)
            # A price counts as known once those before it are: what is known ends at one place.
            return pd.DatetimeIndex(np.maximum.accumulate(known), tz="UTC")
        return times + self.step + pd.Timedelta(minutes=self.measurement_delay_min)


@dataclass(frozen=True)
class Known:
    """All that is known about a source at `issue_time`, and nothing else.

    Published prices may lie after `issue_time`. A gap's `available_at` is that of the next measured
    value: only then is it known to end, and what fills it.

    Parameters
    ----------
    source : the plant, load or market.
    issue_time : now [UTC].
    series : its values on a regular grid [kW or EUR/MWh]; short gaps are filled, long ones NaN.
    filled : of each value whether it fills a gap.
    available_at : when each value became known [UTC].
    weather_forecasts, others : as in `SourceData`; None where nothing is known.
    zone, holidays_country : as in `SourceData`.
    measurement_delay : from the end of an interval until its value is known.
    external, others_step_min : as in `SourceData`.
    stale : why an input is left out that is too old, by its name.
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
    external: tuple[External, ...] = ()
    others_step_min: int | None = None
    stale: Mapping[str, str] = field(default_factory=dict)

    @property
    def step(self) -> pd.Timedelta:
        """Length of an interval."""
        return pd.Timedelta(minutes=self.source.step_min)

    def valid_times(self, steps: int) -> pd.DatetimeIndex:
        """Starts of the `steps` intervals from the issue time on [UTC]."""
        return pd.date_range(self.issue_time, periods=steps, freq=self.step, name="valid_time")

    @cached_property
    def targets(self) -> pd.Series:
        """The measured values, which a model may learn to predict; filled gaps are left out."""
        return self.series[~self.filled].dropna()

    @cached_property
    def forecasts(self) -> WeatherForecasts:
        """The weather forecasts, ordered to be looked up; there must be some."""
        assert self.weather_forecasts is not None
        return WeatherForecasts(self.weather_forecasts, self.step)


def known_at(
    data: SourceData, issue_time: pd.Timestamp, history_days: float | None = None
) -> Known:
    """All that is known at an issue time; everything that a model sees goes through here.

    Parameters
    ----------
    data : all that is stored.
    issue_time : now [with its zone].
    history_days : how far back series and forecasts go [days]; None for all of them.
    """
    issue_time = pd.Timestamp(issue_time).tz_convert("UTC")
    delay = pd.Timedelta(minutes=data.measurement_delay_min)
    count = int(data.available_at.searchsorted(issue_time, side="right"))
    first = 0
    if history_days is not None:
        start = data.grid.index.searchsorted(issue_time - history_days * DAY)
        first = min(int(start), count)
    series = as_known_then(data, issue_time).iloc[first:count]
    available = data.available_at[first:count]
    measured = np.flatnonzero(series.notna())
    end = measured[-1] + 1 if len(measured) else 0
    available = available[measured[np.searchsorted(measured, np.arange(end))]]
    longest = max(1, SHORT_GAP_H * 60 // data.source.step_min)
    series, filled = fill_short_gaps(series.iloc[:end], longest)
    weather, others = data.weather_forecasts, data.others
    if weather is not None:
        weather = weather[weather["issue_time"] <= issue_time]
    weather, stale = fresh_weather(weather, issue_time, data.weather_stale_after_h)
    if weather is not None:
        if history_days is not None:
            weather = weather[weather["valid_time"] >= issue_time - history_days * DAY]
        weather = weather if len(weather) else None
    if others is not None:
        ends = ends_of(pd.DatetimeIndex(others.index), data.step, data.others_step_min)
        others = others[ends + delay <= issue_time]
    since = None if history_days is None else issue_time - history_days * DAY
    external, stale_external = fresh_external(
        [item.known_at(issue_time, since) for item in data.external],
        issue_time,
        data.weather_stale_after_h,
    )
    others, stale_others = fresh_others(others, data.step, issue_time, data.others_stale_after_h)
    return Known(
        data.source,
        issue_time,
        series,
        filled,
        available,
        weather_forecasts=weather,
        others=others,
        zone=data.zone,
        holidays_country=data.holidays_country,
        measurement_delay=delay,
        external=external,
        others_step_min=data.others_step_min,
        stale=stale | stale_others | stale_external,
    )


def as_known_then(data: SourceData, issue_time: pd.Timestamp) -> pd.Series:
    """The grid with those values that were known at a time and replaced later.

    The first version of a value counts from when it became known by the rule of `available_at`
    where its message came within `LIVE_DAYS`; one that came later, with an import of old data, does
    not count before its message.

    Parameters
    ----------
    data : all that is stored, with the values that were replaced.
    issue_time : now [UTC].
    """
    grid, old = data.grid, data.revisions
    if old is None or old.empty or grid.empty:
        return grid
    old = old[old["known_to"] > issue_time]
    place = grid.index.get_indexer(pd.DatetimeIndex(old["time"]))
    old, place = old[place >= 0], place[place >= 0]
    rule = data.available_at[place]
    live = pd.DatetimeIndex(old["known_from"]) <= rule + LIVE_DAYS * DAY
    known = np.where(live, rule <= issue_time, old["known_from"] <= issue_time)
    old = old.assign(place=place)[known].sort_values("known_to")
    old = old.drop_duplicates("place")  # the first to be replaced is the one that held
    values = grid.to_numpy(copy=True)
    there = old["place"].to_numpy()[~np.isnan(values[old["place"].to_numpy()])]
    values[there] = old.set_index("place")["value"].reindex(there).to_numpy()
    return pd.Series(values, grid.index, name=grid.name)


def ends_of(times: pd.DatetimeIndex, step: pd.Timedelta, step_min: int | None) -> pd.DatetimeIndex:
    """Ends of the intervals in which other series were measured [UTC].

    Parameters
    ----------
    times : starts of intervals of the source [UTC].
    step : of the source.
    step_min : of the other series [min], where it is longer.
    """
    if step_min is None or pd.Timedelta(minutes=step_min) <= step:
        return times + step
    return times.floor(f"{step_min}min") + pd.Timedelta(minutes=step_min)


def fill_short_gaps(series: pd.Series, longest: int) -> tuple[pd.Series, np.ndarray]:
    """Fill gaps of at most `longest` intervals along a straight line.

    Parameters
    ----------
    series : on a regular grid, NaN where missing.
    longest : gap that is filled [intervals].

    Returns
    -------
    The series; of each value whether it was filled.
    """
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


def is_young(known: Known, least_days: float = MIN_HISTORY_DAYS) -> bool:
    """Whether the history is too short: by default to learn from it.

    Parameters
    ----------
    known : the source.
    least_days : of history [d].
    """
    return len(known.targets) * known.step / DAY < least_days


def history_problem(known: Known) -> str | None:
    """Why no model should learn from this history, in words; None where it should.

    There is too little of it, its newest value is old, or a power did not change for `FLAT_DAYS`.
    """
    days = len(known.targets) * known.step / DAY
    if is_young(known):
        return f"{days:.1f} days of history, {MIN_HISTORY_DAYS} needed"
    old = (known.issue_time - known.measurement_delay - known.targets.index[-1]) / DAY
    if old > STALE_DAYS:
        return f"the newest value is {old:.1f} days old"
    recent = known.targets[known.targets.index >= known.targets.index[-1] - FLAT_DAYS * DAY]
    # a fixed price is rightly flat
    if known.source.kind != "market" and recent.max() == recent.min():
        return f"flat line at {recent.iloc[-1]:g} for {FLAT_DAYS} days"
    return None
