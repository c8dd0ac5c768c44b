"""A source's stored series and covariates, as `SourceData` for a forecast.

Power in kW, prices in EUR/MWh; times are UTC."""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.champions.capacities import with_capacities
from vpp.champions.recalibration import WINDOW_DAYS
from vpp.champions.surroundings import Surroundings, delay_of
from vpp.forecast.backtest import ForecastError
from vpp.forecast.known import SourceData
from vpp.forecast.stale import OTHERS_STALE_AFTER_H
from vpp.runtime.errors import ConfigError, check_known
from vpp.runtime.settings import Config
from vpp.runtime.terminal import utc_time
from vpp.site.kinds import SERIES_KINDS
from vpp.site.sources import Source
from vpp.site.times import DAY
from vpp.storage.freshness import Freshness, data_end, read_freshness
from vpp.storage.measurements import (
    read_available_at,
    read_revisions,
    read_series,
    read_sources,
)

MORE_DAYS = 9  # of history than a model learns from: lags of the first values


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


def load_actual(
    conn: connection, config: Config, source: Source, start: pd.Timestamp, end: pd.Timestamp
) -> SourceData:
    """Load the values of a source to compare forecasts with: those that were known at a time, in
    the units of the capacity of now.

    Parameters
    ----------
    conn, config, source, start, end : as of `load_measured`.
    """
    data = load_measured(conn, config, source, start, end)
    return with_capacities(conn, replace(data, revisions=load_revisions(conn, source)))


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
    conn: connection, config: Config, source: Source, around: Surroundings | None = None
) -> SourceData:
    """Load all that the database holds about a source: its series, its site's weather forecasts,
    forecasts of others and, for a price, the site's powers.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    source : a solar, wind, load or market source.
    around : all that stands around the sources, where more of them are loaded, and from when on
        values are loaded.

    Raises
    ------
    ForecastError : a curtailed period is not two times with their zone.
    """
    around = around or Surroundings(conn)
    data = load_measured(conn, config, source, around.start)
    if source.source_id in around.revised:
        data = replace(data, revisions=load_revisions(conn, source))
    if source.source_id in around.grown:
        data = with_capacities(conn, data)
    weather_forecasts, others, longest = around.weather(source), None, None
    if source.kind == "market":
        others, longest = around.others(source)
    if source.latitude is None and source.site_id == config.site.site_id:
        latitude, longitude = config.site.latitude, config.site.longitude
        source = replace(source, latitude=latitude, longitude=longitude)
    return replace(
        data,
        source=source,
        weather_forecasts=weather_forecasts,
        others=others,
        others_step_min=longest,
        external=around.external(source),
    )


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


def revisions_of_sum(parts: Sequence[SourceData]) -> pd.DataFrame | None:
    """The values of a sum that a newer value of a part replaced; None where there are none.

    Parameters
    ----------
    parts : of the sum, each as it was known at one time.
    """
    revised = [part.revisions for part in parts if part.revisions is not None]
    if not revised:
        return None
    ends = pd.concat(revised)[["time", "known_to"]].drop_duplicates().sort_values("known_to")
    value, since = np.zeros(len(ends)), []
    for part in parts:
        held = part.series.reindex(pd.DatetimeIndex(ends["time"])).to_numpy()
        if part.revisions is not None:
            # of each part the value that held until then
            old = part.revisions.sort_values("known_to")
            old = pd.merge_asof(ends, old, on="known_to", by="time", direction="forward")
            held = old["value"].fillna(pd.Series(held)).to_numpy()
            since.append(old["known_from"])
        value += held
    known_from = pd.concat(since, axis=1).max(axis=1).to_numpy()
    return ends.assign(value=value, known_from=pd.DatetimeIndex(known_from, tz="UTC"))


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


def history_start(config: Config, issue_time: pd.Timestamp) -> pd.Timestamp:
    """Earlier values count in no forecast of an issue time.

    Parameters
    ----------
    config : says how far back models learn.
    issue_time : the first one [UTC].
    """
    return issue_time - (max(config.training.history_days, WINDOW_DAYS) + MORE_DAYS) * DAY
