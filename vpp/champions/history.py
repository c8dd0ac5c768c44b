"""A source's stored series and covariates, as `SourceData` for a forecast.

Power in kW, prices in EUR/MWh; times are UTC."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.forecast.backtest import ForecastError
from vpp.forecast.external import External
from vpp.forecast.known import SourceData
from vpp.forecast.stale import OTHERS_STALE_AFTER_H
from vpp.runtime.errors import ConfigError, check_known
from vpp.runtime.settings import Config
from vpp.runtime.terminal import utc_time
from vpp.site.kinds import SERIES_KINDS
from vpp.site.quantities import is_regressor_of
from vpp.site.sources import Source
from vpp.storage.freshness import Freshness, data_end, read_freshness
from vpp.storage.measurements import (
    read_available_at,
    read_capacities,
    read_external_forecasts,
    read_revisions,
    read_series,
    read_sources,
    read_weather_forecasts,
)


def load_measured(
    conn: connection,
    config: Config,
    source: Source,
    start: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
) -> SourceData:
    """Load the measured values of a source, and nothing else of it.

    Curtailed intervals (`parameters["curtailed"]`) are missing: no model learns from them, and no
    error counts them.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    source : a solar, wind, load or market source.
    start, end : the period [start, end) [UTC]; default all.

    Raises
    ------
    ForecastError : a curtailed period is not two times with their zone.
    """
    series = read_series(conn, source, start, end)
    step = pd.Timedelta(minutes=source.step_min)
    starts = pd.DatetimeIndex(series.index)
    for first, last in curtailed_periods(source):  # all intervals that it touches
        series[(starts + step > first) & (starts < last)] = np.nan
    stored = read_available_at(conn, source, start, end) if source.kind == "market" else None
    return SourceData(
        source,
        series,
        zone=source.time_zone,
        holidays_country=config.site.holidays_country,
        measurement_delay_min=delay_of(source, config.forecast.measurement_delay_min),
        publication=config.forecast.price_publication,
        publication_zone=config.forecast.price_publication_zone,
        stored_available_at=stored,
        weather_stale_after_h=config.forecast.weather_stale_after_h,
        others_stale_after_h=OTHERS_STALE_AFTER_H,
    )


def curtailed_periods(source: Source) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """The periods in which a source was curtailed, start and end [UTC].

    Raises
    ------
    ForecastError : one is not two times with their zone.
    """
    try:
        return [
            (utc_time(first), utc_time(last))
            for first, last in source.parameters.get("curtailed", [])
        ]
    except (TypeError, ValueError, argparse.ArgumentTypeError):
        given = source.parameters["curtailed"]
        raise ForecastError(
            f"{source.source_id}: curtailed = {given}: expected [start, end] with their zone, "
            'as [["2025-03-20T09:00Z", "2025-03-20T12:00Z"]]'
        ) from None


def load_source_data(
    conn: connection, config: Config, source: Source, start: pd.Timestamp | None = None
) -> SourceData:
    """Load all that the database holds about a source: its series, its site's weather forecasts,
    forecasts of others and, for a price, the site's powers.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    source : a solar, wind, load or market source.
    start : values and forecasts of earlier times are left out [UTC]; None for all.

    Raises
    ------
    ForecastError : a curtailed period is not two times with their zone.
    """
    data = load_measured(conn, config, source, start)
    data = with_capacities(conn, replace(data, revisions=load_revisions(conn, source)))
    site = [other for other in read_sources(conn) if other.site_id == source.site_id]
    weather = next((other for other in site if other.kind == "weather"), None)
    forecasts = load_weather(conn, weather, start) if weather else None
    others, longest = None, None
    if source.kind == "market":
        measured = [other for other in site if other.kind in ("load", "wind", "solar")]
        powers = [on_step(read_series(conn, item, start), item, source) for item in measured]
        others = pd.concat(powers, axis=1) if powers else None
        longest = max((other.step_min for other in measured), default=None)
    if source.latitude is None and source.site_id == config.site.site_id:
        latitude, longitude = config.site.latitude, config.site.longitude
        source = replace(source, latitude=latitude, longitude=longitude)
    weather_forecasts = forecasts if forecasts is not None and len(forecasts) else None
    return replace(
        data,
        source=source,
        weather_forecasts=weather_forecasts,
        others=others,
        others_step_min=longest,
        external=load_external(conn, source, start),
    )


def delay_of(source: Source, usual: float = 0.0) -> float:
    """How long after its end, or its issue, a value of a source is known [min].

    Parameters
    ----------
    source : its parameter `delay_min`, where it has one.
    usual : of a source that does not say [min].

    Raises
    ------
    ForecastError : it is no number of minutes.
    """
    delay = source.parameters.get("delay_min", usual)
    if isinstance(delay, bool) or not isinstance(delay, int | float) or not 0 <= delay < np.inf:
        raise ForecastError(f"{source.source_id}: delay_min = {delay}: expected 0 or more minutes")
    return float(delay)


def load_weather(
    conn: connection, weather: Source, start: pd.Timestamp | None = None
) -> pd.DataFrame:
    """Load a site's weather forecasts; `issue_time` is when its provider had published each.

    Parameters
    ----------
    conn : connection to the database.
    weather : the weather source, with its `delay_min`.
    start : forecasts of earlier times are left out [UTC].

    Raises
    ------
    ForecastError : the delay is no number of minutes.
    """
    frame = read_weather_forecasts(conn, weather.source_id, start)
    delay = pd.Timedelta(minutes=delay_of(weather))
    return frame.assign(issue_time=frame["issue_time"] + delay) if delay else frame


def load_revisions(conn: connection, source: Source) -> pd.DataFrame | None:
    """Load the values of a source that newer ones replaced; None where there are none.

    Parameters
    ----------
    conn : connection to the database.
    source : a solar, wind, load or market source.
    """
    frame = read_revisions(conn, source.source_id)
    if frame.empty:
        return None
    times = ("time", "known_from", "known_to")
    return frame.assign(
        **{name: pd.to_datetime(frame[name], utc=True).dt.as_unit("ns") for name in times}
    )


def with_capacities(conn: connection, data: SourceData) -> SourceData:
    """The source with a history as if its capacity had always been that of now.

    Parameters
    ----------
    conn : connection to the database, which knows earlier capacities and until when they held.
    data : of a plant or load.
    """
    source, revisions = data.source, data.revisions
    changes = read_capacities(conn, source.source_id)
    if not changes or source.capacity_kw is None:
        return data
    series, since = data.series.copy(), None
    for until, capacity_kw in changes:
        factor = source.capacity_kw / capacity_kw
        series[_between(pd.DatetimeIndex(series.index), since, until)] *= factor
        if revisions is not None:
            here = _between(pd.DatetimeIndex(revisions["time"]), since, until)
            values = revisions["value"].to_numpy()
            revisions = revisions.assign(value=np.where(here, values * factor, values))
        since = until
    return replace(data, series=series, revisions=revisions)


def _between(
    times: pd.DatetimeIndex, since: pd.Timestamp | None, until: pd.Timestamp
) -> np.ndarray:
    inside = np.asarray(times < until)
    return inside if since is None else inside & np.asarray(times >= since)


def on_step(series: pd.Series, own: Source, wanted: Source) -> pd.Series:
    """A series on the step of another source: means over it, or held where its own is longer.

    Parameters
    ----------
    series : by time [UTC].
    own, wanted : its source, and the one whose step it gets.
    """
    step = f"{wanted.step_min}min"
    if own.step_min <= wanted.step_min or series.empty:
        return series.resample(step).mean()
    last = series.index[-1] + pd.Timedelta(minutes=own.step_min - wanted.step_min)
    times = pd.date_range(series.index[0], last, freq=step, name=series.index.name)
    return series.reindex(times, method="ffill", tolerance=last - series.index[-1])


def load_external(
    conn: connection, source: Source, start: pd.Timestamp | None = None
) -> tuple[External, ...]:
    """Load the forecasts of others that are regressors of a source, from when they were at hand.

    Parameters
    ----------
    conn : connection to the database.
    source : a solar, wind, load or market source.
    start : forecasts of earlier times are left out [UTC].

    Raises
    ------
    ForecastError : the delay of one is no number of minutes.
    """
    found = []
    for item in read_sources(conn):
        if item.kind != "forecast" or not is_regressor_of(item, source):
            continue
        delay = delay_of(item)
        frame = read_external_forecasts(conn, item.source_id, start)
        if len(frame):
            known_from = frame["issue_time"] + pd.Timedelta(minutes=delay)
            quantity = str(item.parameters.get("quantity", "other"))
            frame = frame.assign(issue_time=known_from)
            made = External(item.source_id, quantity, item.step_min, frame)
            found.append(made.with_step(source.step_min))
    return tuple(found)


def pick_sources(
    conn: connection, wanted: Sequence[str] | None, markets: bool = True
) -> list[Source]:
    """The registered sources that are forecast.

    Parameters
    ----------
    conn : connection to the database.
    wanted : only these source_ids; default all.
    markets : whether markets are among all; a tariff of its own prices needs none.

    Raises
    ------
    ConfigError : a name is not registered; the nearest are given.
    ForecastError : nothing is registered.
    """
    known = [source for source in read_sources(conn) if source.kind in SERIES_KINDS]
    if not wanted and not markets:
        known = [source for source in known if source.kind != "market"]
    if not known:
        raise ForecastError(
            "no source is registered in the database; run python communication.py (after python "
            "generation.py)"
        )
    for name in wanted or ():
        check_known("source", name, [source.source_id for source in known])
    return [source for source in known if not wanted or source.source_id in wanted]


def read_issue(
    conn: connection,
    config: Config,
    issue_time: pd.Timestamp | None,
    clock: pd.Timestamp | None = None,
) -> tuple[pd.Timestamp, Freshness]:
    """The issue time, and which sources are current then.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    issue_time : with its zone; None for the data end.
    clock : of a plant in operation [UTC], which no source may be too far behind.

    Raises
    ------
    DataGapError : nothing is measured that had a data end.
    """
    freshness = read_freshness(conn, config.forecast.stale_after_h, issue_time, clock)
    if issue_time is not None:
        return pd.Timestamp(issue_time).tz_convert("UTC"), freshness
    return freshness.data_end or data_end(conn), freshness


def check_issue_time(issue_time: pd.Timestamp, sources: Iterable[Source]) -> None:
    """Refuse an issue time within an interval of a source: its forecast would begin with another
    interval than its values.

    Parameters
    ----------
    issue_time : to check [UTC].
    sources : that are forecast from it.

    Raises
    ------
    ConfigError : there is such a source.
    """
    for source in sources:
        if issue_time != issue_time.floor(f"{source.step_min}min"):
            raise ConfigError(
                f"--issue-time {issue_time:%Y-%m-%dT%H:%M:%SZ}: expected the start of an "
                f"interval of {source.source_id}, one in {source.step_min} min"
            )
