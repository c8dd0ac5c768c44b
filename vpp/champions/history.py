"""A source's stored series and covariates, as `SourceData` for a forecast."""

import argparse
import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from vpp.forecast.backtest import ForecastError
from vpp.forecast.known import SourceData
from vpp.runtime import terminal
from vpp.runtime.config import Config, ConfigError, check_known
from vpp.site.kinds import SERIES_KINDS
from vpp.site.sources import Source
from vpp.storage.measurements import (
    read_available_at,
    read_series,
    read_sources,
    read_weather_forecasts,
)

# The I/O edge


def load_measured(conn, config: Config, source: Source, start=None, end=None) -> SourceData:
    """What was measured of a source in [start, end), and nothing else of it.

    Curtailed intervals (`parameters["curtailed"]`) are missing: no model learns from them, and no
    error counts them.

    Raises
    ------
    ForecastError : a curtailed period is not two times with their zone.
    """
    series = read_series(conn, source, start, end)
    try:
        curtailed = [
            (terminal.utc_time(first), terminal.utc_time(last))
            for first, last in source.parameters.get("curtailed", [])
        ]
    except (TypeError, ValueError, argparse.ArgumentTypeError):
        given, example = (
            source.parameters["curtailed"],
            '[["2025-03-20T09:00Z", "2025-03-20T12:00Z"]]',
        )
        raise ForecastError(
            f"{source.source_id}: curtailed = {given}: expected [start, end] with their zone, "
            f"as {example}"
        ) from None
    for first, last in curtailed:  # all intervals that it touches
        series[
            (series.index + pd.Timedelta(minutes=source.step_min) > first) & (series.index < last)
        ] = np.nan
    return SourceData(
        source,
        series,
        zone=source.time_zone,
        holidays_country=config.site.holidays_country,
        measurement_delay_min=config.forecast.measurement_delay_min,
        publication=config.forecast.price_publication,
        publication_zone=config.forecast.price_publication_zone,
        stored_available_at=read_available_at(conn, source, start, end)
        if source.kind == "market"
        else None,
    )


def load_source_data(conn, config: Config, source: Source) -> SourceData:
    """All that the database holds about a source.

    That is its series, its site's weather forecasts and, for a price, the site's powers.

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
        source = dataclasses.replace(
            source, latitude=config.site.latitude, longitude=config.site.longitude
        )
    weather_forecasts = forecasts if forecasts is not None and len(forecasts) else None
    return dataclasses.replace(
        data, source=source, weather_forecasts=weather_forecasts, others=others
    )


def pick_sources(conn, wanted: Sequence[str] | None) -> list[Source]:
    """The sources that are forecast, or those named.

    Raises
    ------
    ConfigError : a name is not registered; the nearest are given.
    ForecastError : nothing is registered.
    """
    known = [source for source in read_sources(conn) if source.kind in SERIES_KINDS]
    if not known:
        raise ForecastError(
            "no source is registered in the database; run python communication.py (after python "
            "generation.py)"
        )
    for name in wanted or ():
        check_known("source", name, [source.source_id for source in known])
    return [source for source in known if not wanted or source.source_id in wanted]


def check_issue_time(issue_time: pd.Timestamp, sources: Iterable[Source]) -> None:
    """Refuse an issue time within an interval of a source: its forecast would begin with another
    interval than its values.

    Raises
    ------
    ConfigError : there is such a source.
    """
    for source in sources:
        if issue_time != issue_time.floor(f"{source.step_min}min"):
            raise ConfigError(
                f"--issue-time {issue_time:%Y-%m-%dT%H:%M:%SZ}: expected the start of an "
                f"interval of {source.source_id}, "
                f"one in {source.step_min} min"
            )
