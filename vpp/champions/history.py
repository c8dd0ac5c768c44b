"""A source's stored series and covariates, as `SourceData` for a forecast.

Power in kW, prices in EUR/MWh; times are UTC."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.forecast.backtest import ForecastError
from vpp.forecast.known import SourceData
from vpp.forecast.stale import OTHERS_STALE_AFTER_H
from vpp.runtime.errors import ConfigError, check_known
from vpp.runtime.settings import Config
from vpp.runtime.terminal import utc_time
from vpp.site.kinds import SERIES_KINDS
from vpp.site.sources import Source
from vpp.storage.freshness import Freshness, data_end, read_freshness
from vpp.storage.measurements import (
    read_available_at,
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
        measurement_delay_min=config.forecast.measurement_delay_min,
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


def load_source_data(conn: connection, config: Config, source: Source) -> SourceData:
    """Load all that the database holds about a source: its series, its site's weather forecasts
    and, for a price, the site's powers.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    source : a solar, wind, load or market source.

    Raises
    ------
    ForecastError : a curtailed period is not two times with their zone.
    """
    data = load_measured(conn, config, source)
    site = [other for other in read_sources(conn) if other.site_id == source.site_id]
    weather = next((other for other in site if other.kind == "weather"), None)
    forecasts = read_weather_forecasts(conn, weather.source_id) if weather else None
    others = None
    if source.kind == "market":
        powers = [
            read_series(conn, other).resample(f"{source.step_min}min").mean()
            for other in site
            if other.kind in ("load", "wind", "solar")
            and other.step_min <= source.step_min  # a coarser one is known only after its hour
        ]
        others = pd.concat(powers, axis=1) if powers else None
    if source.latitude is None and source.site_id == config.site.site_id:
        latitude, longitude = config.site.latitude, config.site.longitude
        source = replace(source, latitude=latitude, longitude=longitude)
    weather_forecasts = forecasts if forecasts is not None and len(forecasts) else None
    return replace(data, source=source, weather_forecasts=weather_forecasts, others=others)


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
    conn: connection, config: Config, issue_time: pd.Timestamp | None
) -> tuple[pd.Timestamp, Freshness]:
    """The issue time, and which sources are current then.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    issue_time : with its zone; None for the data end.

    Raises
    ------
    DataGapError : nothing is measured that had a data end.
    """
    freshness = read_freshness(conn, config.forecast.stale_after_h, issue_time)
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
