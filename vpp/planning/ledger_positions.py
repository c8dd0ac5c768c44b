"""Positions of a site in its ledger: bought or sold day-ahead, and billed with the deviation.

A position settles at the day-ahead price, and what the connection takes beside it at the price of
deviations: that of `[site] deviation_prices`, else import and export price of the tariff.

    python optimization.py position --csv positions.csv

Powers are means over an interval [kW], below 0 where they are sold; times are UTC.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.site_series import on_steps
from vpp.runtime.errors import ConfigError, check_known
from vpp.runtime.files import DataFileError
from vpp.runtime.plant_settings import Tariff
from vpp.runtime.settings import Config
from vpp.schedule.problem import Problem, Schedule
from vpp.site.csv_files import read_series_file
from vpp.site.sources import Source
from vpp.storage.measurements import read_series
from vpp.storage.positions import read_positions, save_positions

COLUMNS = ("time", "position_kw")
LONGEST = pd.Timedelta(days=1)  # a position that began before a range may reach so far into it
SETTLED_MIN = 24 * 60  # the longest interval of a position [min]


def check_market_price(config: Config, why: str) -> None:
    """Refuse a tariff that is not the market's price alone; its currency is a label.

    Parameters
    ----------
    config : the tariff, and the file that states it.
    why : ends the sentence of the refusal.

    Raises
    ------
    ConfigError : another tariff; the message names its first such key.
    """
    plain = Tariff(currency=config.tariff.currency)
    for item in fields(plain):
        value, usual = getattr(config.tariff, item.name), getattr(plain, item.name)
        if value != usual:
            raise ConfigError(
                f"{config.path}: [tariff] {item.name} = {value}: expected {usual}: {why}"
            )


def record_positions(conn: connection, config: Config, path: Path) -> dict[str, object]:
    """Store the positions of a CSV file; those of the same times are replaced.

    Parameters
    ----------
    conn : connection to the database; its transaction is committed.
    config : names the site, whose tariff must be the market's price.
    path : a CSV file with the columns of `COLUMNS`.

    Returns
    -------
    site_id, rows, changed (new or of another value), step_min, first and last.

    Raises
    ------
    ConfigError : the tariff knows no position.
    DataFileError : the file cannot be read, or a value of it cannot be meant.
    """
    check_market_price(config, "a position settles at the day-ahead price alone")
    if config.grid.export_fee_eur_per_mwh:
        raise ConfigError(
            f"{config.path}: [grid] export_fee_eur_per_mwh = {config.grid.export_fee_eur_per_mwh}:"
            " expected 0: with a position the metered import alone pays a fee"
        )
    position = read_position_file(path)
    step_min = int(np.diff(position.index.asi8).min() // 60_000_000_000)
    changed = save_positions(conn, config.site.site_id, position, step_min)
    return {
        "site_id": config.site.site_id,
        "rows": len(position),
        "changed": changed,
        "step_min": step_min,
        "first": position.index[0],
        "last": position.index[-1],
    }


def read_position_file(path: Path) -> pd.Series:
    """The positions of a CSV file [kW] by time [UTC].

    Parameters
    ----------
    path : of the file, with the columns of `COLUMNS`.

    Raises
    ------
    DataFileError : it cannot be read, a value is no number, or times do not follow one another.
    """
    if not path.exists():
        raise DataFileError(f"{path}: is not there; expected {','.join(COLUMNS)}")
    frame = read_series_file(path, COLUMNS)
    if len(frame) < 2:
        raise DataFileError(f"{path}: has {len(frame)} rows; expected 2 or more, which show a step")
    times = [_time(text, path, line) for line, text in enumerate(frame["time"], 2)]
    numbers = pd.to_numeric(frame["position_kw"], errors="coerce").to_numpy(float)
    if not np.isfinite(numbers).all():
        line = int(np.flatnonzero(~np.isfinite(numbers))[0])
        text = frame["position_kw"].iloc[line]
        raise DataFileError(f"{path}, line {line + 2}: position_kw {text!r}: expected a number, kW")
    index = pd.DatetimeIndex(times).as_unit("ns")
    steps = np.diff(index.asi8) / 60e9
    least = steps.min()
    wrong = np.flatnonzero((steps <= 0) | (steps % max(least, 1.0) != 0))
    if len(wrong):
        line = int(wrong[0]) + 3
        raise DataFileError(
            f"{path}, line {line}: time {frame['time'].iloc[line - 2]}: expected times in order,"
            " each a whole number of steps after the one before"
        )
    if not least <= SETTLED_MIN or index.asi8[0] % (least * 60e9):
        raise DataFileError(
            f"{path}: steps of {least:g} min from {frame['time'].iloc[0]} on: expected a step of"
            " at most a day that begins on the clock, such as 15 or 60 min"
        )
    return pd.Series(numbers, index, name="position_kw")


def _time(text: str, path: Path, line: int) -> pd.Timestamp:
    try:
        time = pd.Timestamp(text)
    except ValueError:
        time = pd.NaT
    if time is pd.NaT or time.tzinfo is None:
        expected = "expected an ISO-8601 time with its zone, such as 2025-03-01T00:00:00Z"
        raise DataFileError(f"{path}, line {line}: time {text!r}: {expected}")
    return time.tz_convert("UTC")


def with_positions(
    conn: connection, config: Config, plans: pd.DataFrame, sources: Mapping[str, Source]
) -> pd.DataFrame:
    """The intervals of the ledger with the position in each, and the price of its deviation.

    Parameters
    ----------
    conn : connection to the database.
    config : names the site and the source of the prices of deviations.
    plans : as `vpp.planning.ledger_plans.plans_in_force` gives them.
    sources : all that are registered, by their ids.

    Returns
    -------
    The rows with position_kw [kW], NaN without a position, and deviation_price_eur_per_mwh, NaN
    where it is not known.

    Raises
    ------
    ConfigError : there is no such source of prices.
    """
    found = plans.assign(position_kw=np.nan, deviation_price_eur_per_mwh=np.nan)
    begin, end = plans.index[0] - LONGEST, plans.index[-1] + LONGEST
    positions = read_positions(conn, config.site.site_id, begin, end)
    if positions.empty:
        return found
    name, price = config.site.deviation_prices, None
    if name:
        markets = {key: source for key, source in sources.items() if source.kind == "market"}
        check_known(f"{config.path}: [site] deviation_prices", name, markets)
        price = read_series(conn, markets[name], begin, end)
    for step, rows in plans.groupby("step_min"):
        index, step_min = pd.DatetimeIndex(rows.index), int(str(step))
        parts = [
            on_steps(part["position_kw"], int(str(own)), index, step_min)
            for own, part in positions.groupby("step_min")
        ]
        for part in parts:
            found.loc[index, "position_kw"] = found.loc[index, "position_kw"].fillna(part)
        if price is not None:
            values = on_steps(price, sources[name].step_min, index, step_min)
            found.loc[index, "deviation_price_eur_per_mwh"] = values
    return found


def settled(
    problem: Problem,
    rows: pd.DataFrame,
    day_ahead_eur_per_mwh: pd.Series,
    fee_eur_per_mwh: float,
    by_source: bool,
) -> Problem:
    """The problem of some intervals with their position, of which all or none have one.

    Parameters
    ----------
    problem : without one.
    rows : as `with_positions` gives them.
    day_ahead_eur_per_mwh : at which the position settles [EUR/MWh].
    fee_eur_per_mwh : paid on metered import, and part of the import price of the problem.
    by_source : whether the deviation settles at its price in the rows, either way; else at import
        and export price.
    """
    if rows["position_kw"].isna().any():
        return problem
    # a price that is not known yet leaves its interval out
    price = rows["deviation_price_eur_per_mwh"].fillna(0.0).to_numpy(float)
    bare, sold = (
        problem.import_price_eur_per_mwh - fee_eur_per_mwh,
        problem.export_price_eur_per_mwh,
    )
    short, long = (price, price) if by_source else (np.maximum(bare, sold), sold)
    return replace(
        problem,
        import_price_eur_per_mwh=bare,
        import_fee_eur_per_mwh=problem.import_fee_eur_per_mwh + fee_eur_per_mwh,
        position_kw=rows["position_kw"].to_numpy(float),
        position_price_eur_per_mwh=day_ahead_eur_per_mwh.to_numpy(float),
        deviation_short_eur_per_mwh=short,
        deviation_long_eur_per_mwh=long,
    )


def is_known(actual: pd.DataFrame, rows: pd.DataFrame, by_source: bool) -> pd.Series:
    """Whether all values of each interval are known that its bill needs.

    Parameters
    ----------
    actual : its actual values.
    rows, by_source : as of `settled`.
    """
    priced = rows["position_kw"].isna() | rows["deviation_price_eur_per_mwh"].notna()
    return actual.notna().all(axis=1) & (priced if by_source else True)


def position_columns(problem: Problem, rows: pd.DataFrame, done: Schedule) -> dict[str, object]:
    """The columns of the ledger on the position in each interval; NaN without one.

    Parameters
    ----------
    problem : of the intervals, as `settled` gives it.
    rows : as `with_positions` gives them.
    done : the powers of the connection [kW].
    """
    none, settlement = rows["position_kw"].isna(), problem.settlement
    deviation = settlement.deviation_eur(done.grid_import_kw, done.grid_export_kw)
    return {
        "position_kw": rows["position_kw"],
        "deviation_price_eur_per_mwh": rows["deviation_price_eur_per_mwh"],
        "position_eur": np.where(none, np.nan, settlement.position_eur()),
        "deviation_eur": np.where(none, np.nan, deviation),
    }
