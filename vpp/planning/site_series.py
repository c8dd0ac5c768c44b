"""The series of the site: its sources, and their forecasts and actual values on one step.

All solar, wind and load sources are summed behind one grid connection, and one market source gives
the price, without fees; `vpp.schedule.tariff` adds them where a problem is made. Reads
sources, measurements and forecasts; writes nothing.

    python optimization.py --help

Powers are means over [time, time + step) [kW], prices EUR/MWh, times UTC.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.runtime.errors import ConfigError, check_known
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.schedule.basis import PlanBasis
from vpp.site.kinds import PLANT_KINDS
from vpp.site.sources import Source
from vpp.storage.connection import DataGapError
from vpp.storage.freshness import Freshness, newest_ends, read_freshness
from vpp.storage.measurements import read_series, read_sources
from vpp.storage.results import read_forecast_runs, read_forecasts

logger = logging.getLogger("optimization")


def site_sources(conn: connection, config: Config) -> list[Source]:
    """All solar, wind and load sources, and the market source of the site's price area.

    Of a site that is one of several they are only those that name it; there may be none. No market
    is among them where no price of the tariff is the market's. A source of which there is no
    measurement and no forecast yet is left out, where others have some.

    Raises
    ------
    DataGapError : there are no plants and loads.
    ConfigError : there is no market that the tariff needs, or more than one that may be meant.
    """
    several = config.portfolio_step_min is not None
    registered = _registered(conn, config)
    measured = newest_ends(conn, None, [source.source_id for source in registered])
    known = [
        source
        for source in registered
        if source.source_id in measured or len(read_forecast_runs(conn, source.source_id))
    ]
    if not known and not (several and newest_ends(conn)):
        known = registered
    sources = [source for source in known if source.kind in (*PLANT_KINDS, "load")]
    if (sources or several) and not config.tariff.needs_market:
        return sources
    markets = [source for source in known if source.kind == "market"]
    if (sources or several) and not markets:
        raise ConfigError(
            f"{config.path}: [tariff] needs a market price, and the database has none; run python"
            " communication.py with market.csv, or give import_eur_per_mwh and export_eur_per_mwh"
            " prices of their own"
        )
    if not sources and not several:
        raise DataGapError(
            "the database has no plants and loads; run python communication.py (after python"
            " generation.py)"
        )
    return [*sources, choose_market(config, markets)]


def _registered(conn: connection, config: Config) -> list[Source]:
    """All sources; of a site that is one of several its own and the markets, so that the plans of
    all sites read each source as often as that of one."""
    if config.portfolio_step_min is None:
        return read_sources(conn)
    own = read_sources(conn, site_id=config.site.site_id)
    return [*(source for source in own if source.kind != "market"), *read_sources(conn, "market")]


def choose_market(config: Config, markets: Sequence[Source]) -> Source:
    """The market whose price the site pays.

    Parameters
    ----------
    config : names it, or the price area that it is of.
    markets : at least one.

    Raises
    ------
    ConfigError : the named one is not there, or none is named and several are of the area.
    """
    deviating = config.site.deviation_prices
    markets = [market for market in markets if market.source_id != deviating] or markets
    by_name = {market.source_id: market for market in markets}
    if config.site.market:
        check_known(f"{config.path}: [site] market", config.site.market, by_name)
        return by_name[config.site.market]
    area = config.site.price_area
    in_area = [market for market in markets if market.parameters.get("price_area") == area]
    first, *others = in_area or markets
    if others:
        raise ConfigError(
            f"{config.path}: [site] market is empty, and there are {len(others) + 1} prices that"
            f" may be the site's; name the one that it pays: {', '.join(by_name)}"
        )
    return first


def basis_sources(conn: connection, basis: PlanBasis) -> list[Source]:
    """The sources that a plan was made for, whatever has been registered since.

    Raises
    ------
    DataGapError : one of them is registered no more.
    """
    own = read_sources(conn, source_ids=basis.source_ids)
    registered = {source.source_id: source for source in own}
    gone = [name for name in basis.source_ids if name not in registered]
    if gone:
        raise DataGapError(
            f"source {gone[0]}, which the plan was made for, is registered no more; register it"
            " again with python sources.py add"
        )
    return [registered[name] for name in basis.source_ids]


def plan_step_min(sources: Sequence[Source], config: Config | None = None) -> int:
    """The step of a plan [min].

    Parameters
    ----------
    sources : of the site.
    config : of the site; where it is one of several it says the step of all.

    Returns
    -------
    That step, else the finest of any source.
    """
    if config is not None and config.portfolio_step_min is not None:
        return config.portfolio_step_min
    return min(source.step_min for source in sources)


def on_steps(
    series: pd.Series, source_step_min: int, index: pd.DatetimeIndex, step_min: int
) -> pd.Series:
    """A mean power or price of a source on the steps of a plan.

    Parameters
    ----------
    series : values of the source [kW or EUR/MWh], by the start of its intervals.
    source_step_min : step of the source [min].
    index : starts of the plan's intervals.
    step_min : step of the plan [min].

    Returns
    -------
    A value for each interval of the plan: repeated inside longer intervals of the source, averaged
    over shorter ones; NaN where the source has none.
    """
    if source_step_min <= step_min:
        return series.resample(f"{step_min}min").mean().reindex(index)
    return series.reindex(index.floor(f"{source_step_min}min")).set_axis(index)


def site_frame(series: Sequence[tuple[str, pd.Series]], index: pd.DatetimeIndex) -> pd.DataFrame:
    """Load, renewables and price of the whole site.

    Parameters
    ----------
    series : kind and values [kW or EUR/MWh] of each source, on the steps of the index.
    index : starts of the intervals.

    Returns
    -------
    Columns `load_kw`, `renewables_kw` [kW] and `price_eur_per_mwh`; NaN where a source has no
    value. Without a market the price is 0: no price of the tariff is the market's.
    """
    price = np.nan if any(kind == "market" for kind, _ in series) else 0.0
    frame = pd.DataFrame(
        {"load_kw": 0.0, "renewables_kw": 0.0, "price_eur_per_mwh": price}, index=index
    )
    for kind, values in series:
        if kind == "market":
            frame["price_eur_per_mwh"] = values
        elif kind in PLANT_KINDS:
            # a plant's own use at night cannot be curtailed: it is load
            frame["renewables_kw"] += values.clip(lower=0.0)
            frame["load_kw"] -= values.clip(upper=0.0)
        else:
            frame["load_kw"] += values
    return frame


def forecast_frame(
    conn: connection,
    config: Config,
    issue_time: pd.Timestamp,
    or_before: bool = False,
    freshness: Freshness | None = None,
) -> tuple[pd.DataFrame, int] | None:
    """Forecasts of the site from the issue time on.

    Parameters
    ----------
    conn : connection to the database.
    config : names the price area, and says how far to plan.
    issue_time : the time [UTC] that the forecasts were made for, start of the first interval.
    or_before : where a source has none for that time, take its last one before.
    freshness : of all sources, if it is known; as of the issue time.

    Returns
    -------
    A `site_frame` and its step [min]; None where a source has no forecast for the issue time. It
    ends with the shortest forecast; a warning says whose. A plant or load that is not current and
    has no forecast is left out, and named in a warning.

    Raises
    ------
    DataGapError : the forecasts do not begin at the issue time.
    """
    sources = site_sources(conn, config)
    step = plan_step_min(sources, config)
    found = _forecasts(conn, config, sources, issue_time, or_before, freshness)
    if found is None:
        return None
    intervals = config.optimization.horizon_h * 60 // step
    index = pd.date_range(issue_time, periods=intervals, freq=f"{step}min", name="time")
    series = [
        (source.kind, on_steps(values, source.step_min, index, step)) for source, values in found
    ]
    frame = site_frame(series, index)
    known = frame.notna().all(axis=1).to_numpy()
    if not known[0]:
        raise DataGapError(
            f"the forecasts for issue time {shown(issue_time)} do not begin there; run python"
            " forecast_and_save.py"
        )
    if known.all():
        return frame, step
    count = int(np.argmin(known))
    ends = [
        source.source_id
        for (source, _), (_, values) in zip(found, series, strict=True)
        if np.isnan(values.iloc[count])
    ]
    hours = [intervals * step / 60 for intervals in (count, len(known))]
    logger.warning(
        "the forecasts cover %g of the %g h to plan: that of %s ends first", *hours, ends[0]
    )
    return frame[:count], step


def _forecasts(
    conn: connection,
    config: Config,
    sources: Sequence[Source],
    issue_time: pd.Timestamp,
    or_before: bool,
    freshness: Freshness | None,
) -> list[tuple[Source, pd.Series]] | None:
    """The forecast values of each source; None where one that is current has none."""
    found = []
    for source in sources:
        forecast = read_forecasts(conn, source.source_id, issue_time, or_before=or_before)
        if forecast is not None:
            found.append((source, forecast[1]["value"]))
            continue
        if source.kind == "market":
            return None
        freshness = freshness or read_freshness(conn, config.forecast.stale_after_h, issue_time)
        if source.source_id not in set(freshness.behind) - freshness.by_clock:
            return None
        logger.warning("%s has no forecast and is left out of the plan", source.source_id)
    return found


def without_forecast(conn: connection, config: Config, issue_time: pd.Timestamp) -> list[str]:
    """The sources of the site that have no forecast for an issue time [UTC], by their names."""
    return [
        source.source_id
        for source in site_sources(conn, config)
        if read_forecasts(conn, source.source_id, issue_time) is None
    ]


def actual_frame(
    conn: connection, sources: Sequence[Source], index: pd.DatetimeIndex, step_min: int
) -> pd.DataFrame:
    """Load, renewables and price as they turned out to be.

    Parameters
    ----------
    conn : connection to the database.
    sources : plants, loads and the market of the site.
    index : starts of the intervals [UTC].
    step_min : their length [min].

    Returns
    -------
    A `site_frame`; NaN where a value is not known.
    """
    series = []
    for source in sources:
        # an interval of a source may begin before the first of the plan
        first = index[0].floor(f"{max(source.step_min, step_min)}min")
        values = read_series(conn, source, first, index[-1] + pd.Timedelta(minutes=step_min))
        series.append((source.kind, on_steps(values, source.step_min, index, step_min)))
    return site_frame(series, index)
