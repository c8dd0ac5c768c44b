"""A backtest with two settlements, on the day-ahead and deviation prices that the database holds.

Reads measurements and prices of two market sources; writes nothing.

    python optimization.py backtest --days 30 --settlement two --deviation-prices imbalance-1

Powers are means over [time, time + step) [kW]; money is EUR, positive where it is paid.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.forecast.gaps import forecast_gaps
from vpp.planning.ledger_positions import check_market_price
from vpp.planning.site_series import actual_frame, choose_market, on_steps
from vpp.planning.site_state import starting_batteries
from vpp.runtime.errors import ConfigError, one_of
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.schedule.basis import basis_of
from vpp.schedule.deviations import Gaps
from vpp.schedule.site import site_problem, with_terminal_price
from vpp.schedule.two_settlements import Span, compared, run_span
from vpp.site.kinds import PLANT_KINDS
from vpp.site.sources import Source
from vpp.site.times import day_start, local_lag
from vpp.storage.connection import DataGapError, session
from vpp.storage.measurements import read_series, read_sources

MOST_FILLED = 12  # intervals in a row without a day-ahead price, which lie on a line


def settle_past(
    config: Config, days: int, deviation_prices: str, step_min: int | None = None
) -> list[dict]:
    """Earnings of a position, and of departing from it, over the last days of the data.

    Parameters
    ----------
    config : the site, its batteries and its grid.
    days : length of the span [d], whole local days back from the end of the data.
    deviation_prices : market source of the prices of deviations.
    step_min : step of the plans [min]; default that of the prices of deviations.

    Returns
    -------
    A row for each way to run the batteries, as `vpp.schedule.two_settlements.compared` has them.

    Raises
    ------
    ConfigError : no such market source, no battery, or a price that two settlements do not know.
    DataGapError : prices or measurements are missing.
    """
    if not config.batteries:
        raise ConfigError(f"{config.path}: no [battery:NAME]; expected one, which departs")
    _check_known(config)
    with session(config) as conn:
        span = read_span(conn, config, days, deviation_prices, step_min)
    return compared(run_span(span, config.optimization.solver))


def _check_known(config: Config) -> None:
    """Refuse prices and devices that two settlements do not know."""
    check_market_price(config, "with two settlements energy settles at the prices of both markets")
    for name in ("export_fee_eur_per_mwh", "peak_price_eur_per_kw"):
        if getattr(config.grid, name):
            raise ConfigError(
                f"{config.path}: [grid] {name} = {getattr(config.grid, name)}: expected 0: a"
                " backtest with two settlements knows import_fee_eur_per_mwh alone"
            )
    if config.vehicles or config.deferrable_loads or config.heat_stores:
        raise ConfigError(
            f"{config.path}: expected no [vehicle:], [deferrable:] and [heat:]: a backtest with two"
            " settlements knows batteries alone"
        )


def settling_sources(
    conn: connection, config: Config, deviation_prices: str
) -> tuple[list[Source], Source]:
    """Plants, loads and the day-ahead market, and the market of deviations.

    Parameters
    ----------
    conn : connection to the database.
    config : names the price area.
    deviation_prices : source of the latter.

    Raises
    ------
    ConfigError : there is no such source, or no other market.
    """
    registered = read_sources(conn)
    markets = {source.source_id: source for source in registered if source.kind == "market"}
    if deviation_prices not in markets:
        raise ConfigError(
            f"--deviation-prices {deviation_prices}: expected a market source,"
            f" {one_of(deviation_prices, markets)}"
        )
    deviating = markets.pop(deviation_prices)
    if not markets:
        raise ConfigError(
            f"--deviation-prices {deviation_prices}: it is the only market source; expected"
            " another one with the day-ahead price"
        )
    sources = [source for source in registered if source.kind in (*PLANT_KINDS, "load")]
    return [*sources, choose_market(config, list(markets.values()))], deviating


def read_span(
    conn: connection,
    config: Config,
    days: int,
    deviation_prices: str,
    step_min: int | None = None,
) -> Span:
    """The last whole local days that all sources have, and all prices before them.

    Load and renewables were expected a day ahead as a week before, at the same local hour.

    Parameters
    ----------
    conn : connection to the database.
    config, days, deviation_prices, step_min : as in `settle_past`.

    Returns
    -------
    The span.

    Raises
    ------
    DataGapError : values are missing.
    """
    sources, deviating = settling_sources(conn, config, deviation_prices)
    step, zone = step_min or deviating.step_min, config.site.time_zone
    index, before = _span_index(conn, sources, deviating, days, step, zone)
    frame = actual_frame(conn, sources, index, step)
    frame["price_eur_per_mwh"] = frame["price_eur_per_mwh"].interpolate(limit=MOST_FILLED)
    prices = read_series(conn, deviating, index[0], index[-1] + pd.Timedelta(minutes=step))
    deviation = on_steps(prices, deviating.step_min, index, step)
    seen = frame[["load_kw", "renewables_kw"]][before:]
    week = frame[["load_kw", "renewables_kw"]].reindex(local_lag(index[before:], 7, zone))
    if len(sources) == 1:  # prices alone: no load, whatever the week before
        week = week.fillna(0.0)
    for name, values in (
        ("day-ahead prices", frame["price_eur_per_mwh"]),
        (f"prices of {deviation_prices}", deviation),
        ("measurements", seen.sum(axis=1, skipna=False)),
        ("measurements of the week before", week.sum(axis=1, skipna=False)),
    ):
        gaps = int(values.isna().sum())
        if gaps:
            raise DataGapError(
                f"{name} are missing in {gaps} of {len(values)} intervals from"
                f" {shown(index[0])}; fewer --days?"
            )
    price = frame["price_eur_per_mwh"].to_numpy()
    gap = deviation.to_numpy() - price
    first_min = index[0].hour * 60 + index[0].minute
    gaps_seen = Gaps(before, 1440 // step, gap, forecast_gaps(price, gap, step, first_min))
    basis = basis_of(config, step, starting_batteries(conn, config, index[before]))
    basis = with_terminal_price(basis, frame[before:])
    # the fee is paid on what is metered, and is no part of a price at which anything settles
    fee = basis.grid.import_fee_eur_per_mwh
    bare = replace(basis, grid=replace(basis.grid, import_fee_eur_per_mwh=0.0))
    actual = site_problem(bare, index[before], frame[before:])
    actual = replace(actual, import_fee_eur_per_mwh=np.full(actual.intervals, fee))
    load, renewables = (week[name].to_numpy() for name in ("load_kw", "renewables_kw"))
    return Span(actual, load, renewables, deviation.to_numpy()[before:], gaps_seen)


def _span_index(
    conn: connection,
    sources: Sequence[Source],
    deviating: Source,
    days: int,
    step_min: int,
    zone: str,
) -> tuple[pd.DatetimeIndex, int]:
    """Intervals from the first known price to the end of the data, and where the span begins."""
    begins, ends = [], []
    for source in (*sources, deviating):
        times = read_series(conn, source).index
        if not len(times):
            raise DataGapError(f"{source.source_id} has no values; run python communication.py")
        ends.append(times[-1] + pd.Timedelta(minutes=source.step_min))
        if source.kind == "market":
            begins.append(times[0])
    end = day_start(min(ends), zone)
    start, first = day_start(end, zone, -days), max(begins).ceil("h")
    if start < first:
        raise DataGapError(
            f"--days {days}: prices of {deviating.source_id} and day-ahead prices begin at"
            f" {shown(first)}, whole days of both end at {shown(end)}; fewer --days?"
        )
    index = pd.date_range(first, end, freq=f"{step_min}min", inclusive="left", name="time")
    return index, int(index.searchsorted(start))
