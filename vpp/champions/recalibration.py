"""Bands of a forecast corrected by the errors of the forecasts that were really issued before.

A fitted model's bands are calibrated on the days before its training. The weeks after it show
whether they hold. Power in kW, prices in EUR/MWh; times are UTC."""

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.forecast.backtest import LEVEL_LIMITS
from vpp.forecast.calibration import (
    calibrated,
    calibration_of,
    in_own_band,
    is_given,
    possible,
    size_of_errors,
    with_median,
    within_band,
)
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.forecast.sun import dark, most_power
from vpp.site.sources import Source
from vpp.site.times import DAY
from vpp.storage.issued import read_own_forecasts
from vpp.storage.results import ForecastRun

ROLES = ("champion", "fallback")
WINDOW_DAYS = 60  # of issued forecasts that are looked at, of sums
BAND_DAYS = 30  # of those that correct bands
ADAPTATION = 0.05  # of the level of a quantile, for each share by which a day's values missed it
MOST_ADAPTED = 0.09  # of a level in all: the errors alone correct bands that were always wrong
# of a band from q05 to q95, in capacities; of a solar plant per sine of the sun's elevation
LEAST_WIDTH = 0.005
FEWEST_DAYS = 7  # of them: fewer correct nothing


def recalibrated(
    conn: connection, data: SourceData, run: ForecastRun, frame: pd.DataFrame
) -> pd.DataFrame:
    """A forecast with bands corrected by what is known of the errors of those issued before it.

    A later forecast does not matter, so that asking again gives the same.

    Parameters
    ----------
    conn : connection to the database.
    data : of the source.
    run, frame : the forecast, as its model made it [kW or EUR/MWh].
    """
    if run.role not in ROLES:
        return frame
    past = read_own_forecasts(conn, run.source_id, run.issue_time, BAND_DAYS, ROLES)
    found = corrected(frame, data, run.issue_time, past, moves=run.role == ROLES[0])
    return in_own_band(with_least_width(found, data.source))


def corrected(
    frame: pd.DataFrame,
    data: SourceData,
    issue_time: pd.Timestamp,
    past: pd.DataFrame,
    moves: bool = True,
) -> pd.DataFrame:
    """A forecast with bands corrected by the errors of those issued on the days before it.

    The levels that are taken of the errors adapt (Gibbs and Candès, Adaptive Conformal Inference
    Under Distribution Shift, 2021): that of a quantile below which too many values fell is lowered.
    So bands also follow errors that grow or shrink within the days. Few days correct little
    (`Calibration`), and fewer than `FEWEST_DAYS` nothing.

    Parameters
    ----------
    frame : the forecast, as its model made it [kW or EUR/MWh].
    data : of the source.
    issue_time : of the forecast [UTC].
    past : of `read_own_forecasts`, of the last `BAND_DAYS`.
    moves : whether its values go along with the medians (`with_median`); those of a stand-in stay,
        as the errors are another model's.
    """
    past = with_actual(past, data, issue_time)
    if past["issue_time"].nunique() < FEWEST_DAYS:
        return frame
    source, zone, times = data.source, data.zone, pd.DatetimeIndex(frame.index)
    calibration = calibration_of(past, source, zone, adapted_levels(past))
    if calibration is None:
        return frame
    quantiles = calibrated(frame, calibration, issue_time, times, source, zone)
    before, value = frame[list(QUANTILE_COLUMNS)].to_numpy(), frame["value"].to_numpy()
    value = with_median(value, before, quantiles) if moves else within_band(value, quantiles)
    if source.kind == "solar":
        most = most_power(known_at(data, issue_time), times)
        quantiles, value = np.minimum(quantiles, most[:, None]), np.minimum(value, most)
    columns = dict(zip(QUANTILE_COLUMNS, quantiles.T, strict=True))
    return frame.assign(value=np.where(frame["published"], frame["value"], value), **columns)


def with_least_width(frame: pd.DataFrame, source: Source) -> pd.DataFrame:
    """A forecast of a power whose band is nowhere of no width: what is not known is never certain,
    not even a calm. Given values and prices stay.

    Parameters
    ----------
    frame : the forecast [kW or EUR/MWh].
    source : of it.
    """
    if source.kind == "market" or source.capacity_kw is None:
        return frame
    quantiles, times = frame[list(QUANTILE_COLUMNS)].to_numpy(), pd.DatetimeIndex(frame.index)
    least = LEAST_WIDTH * source.capacity_kw * size_of_errors(source, times)[:, 0]
    gap = np.maximum(0.0, least - (quantiles[:, -1] - quantiles[:, 0]))
    gap[is_given(frame)] = 0.0
    # twice, as half of it is lost beside a limit, where the lower half of a calm stays a calm
    sides = 2 * (np.array(QUANTILES) - 0.5) / (QUANTILES[-1] - QUANTILES[0])
    wider = np.where(
        gap[:, None] > 0, possible(quantiles + gap[:, None] * sides, source), quantiles
    )
    return frame.assign(**dict(zip(QUANTILE_COLUMNS, wider.T, strict=True)))


def adapted_levels(past: pd.DataFrame) -> np.ndarray:
    """The levels to take of errors, after issued bands missed them by so much.

    Parameters
    ----------
    past : of `with_actual`.

    Returns
    -------
    One for each quantile [fractions].
    """
    nominal, counted = np.array(QUANTILES), past[~is_given(past)].sort_values("issue_time")
    if counted.empty:
        return np.clip(nominal, *LEVEL_LIMITS)
    quantiles, actual = counted[list(QUANTILE_COLUMNS)].to_numpy(), counted[["actual"]].to_numpy()
    # both are 0 at dusk, or at capacity: that says nothing
    below = np.where(actual == quantiles, nominal, actual < quantiles)
    issued = pd.DatetimeIndex(counted["issue_time"]).asi8
    _, starts, counts = np.unique(issued, return_index=True, return_counts=True)
    shares = np.add.reduceat(below, starts) / counts[:, None]
    levels = nominal + ADAPTATION * (nominal - shares).sum(axis=0)
    levels = np.clip(levels, nominal - MOST_ADAPTED, nominal + MOST_ADAPTED)
    return np.clip(np.sort(levels), *LEVEL_LIMITS)


def with_actual(past: pd.DataFrame, data: SourceData, issue_time: pd.Timestamp) -> pd.DataFrame:
    """Issued forecasts with the actual values that are known at an issue time, and their nights.

    Parameters
    ----------
    past : of `read_own_forecasts`.
    data : of the source.
    issue_time : now [UTC].
    """
    if past.empty:
        return past.assign(issue_time=[], valid_time=[], actual=[], dark=[])
    known, times = known_at(data, issue_time), pd.DatetimeIndex(past["valid_time"])
    night = dark(known, times) if data.source.kind == "solar" else np.zeros(len(past), bool)
    past = past.assign(actual=known.targets.reindex(times).to_numpy(), dark=night)
    return past[past["actual"].notna() & (past["valid_time"] >= issue_time - WINDOW_DAYS * DAY)]
