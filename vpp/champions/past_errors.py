"""How far off the newest forecasts were: the one error of the last day that the script and the
report show, and how often the bands of the last weeks held.

Power in kW, prices in EUR/MWh; times are UTC."""

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.champions.capacities import with_capacities
from vpp.champions.history import load_actual, load_measured
from vpp.forecast.known import known_at
from vpp.forecast.scores import coverage_by
from vpp.runtime.settings import Config
from vpp.site.sources import Source
from vpp.site.times import DAY, local_lag
from vpp.storage.issued import read_own_forecasts
from vpp.storage.results import read_forecasts

ROLES = ("champion", "fallback", "backtest")
NAIVE_DAYS = 7
COVERAGE_DAYS = 60  # whose forecasts tell how often bands hold
# A day before, the prices of a day are mostly published: their forecast is that of two days before.
AGE_DAYS = {"market": 2}
LEAST_SHARE = 0.5  # of the day that must be both forecast and measured


def day_error(conn: connection, config: Config, source: Source, end: pd.Timestamp) -> dict | None:
    """The mean absolute error of the day before a time, as it was forecast a day (a price: two
    days) before.

    It is that of the newest forecast of role champion, fallback or backtest that is old enough.
    Prices that were published when it was made, curtailed intervals, and values not known yet at
    `end` do not count.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    source : a solar, wind, load or market source.
    end : end of the day [UTC].

    Returns
    -------
    mae, and naive, that of last week's same local hour, which may be None [kW or EUR/MWh]; end;
    issue_time of the forecast. None where less than half of the day is forecast and measured.
    """
    issued = end - AGE_DAYS.get(source.kind, 1) * DAY
    found = read_forecasts(conn, source.source_id, issued, ROLES, or_before=True)
    if found is None:
        return None
    run, forecast = found
    data = load_measured(conn, config, source, end - (NAIVE_DAYS + 2) * DAY, end)
    measured = known_at(data, end).targets
    day = measured.index[measured.index >= end - DAY]
    forecast = forecast[forecast.index.isin(day)]
    if len(forecast) * data.step < LEAST_SHARE * DAY or forecast["published"].all():
        return None
    value = forecast.loc[~forecast["published"], "value"]
    times = pd.DatetimeIndex(value.index)
    actual = measured[times].to_numpy()
    alike = known_at(with_capacities(conn, data), end).targets
    week_before = alike.reindex(local_lag(times, NAIVE_DAYS, data.zone)).to_numpy()
    naive = np.abs(week_before - actual)
    return {
        "mae": float(np.abs(value.to_numpy() - actual).mean()),
        "naive": float(np.nanmean(naive)) if np.isfinite(naive).any() else None,
        "end": end,
        "issue_time": run.issue_time,
    }


def issued_coverage(
    conn: connection, config: Config, source: Source, end: pd.Timestamp
) -> pd.DataFrame:
    """How often the 80 % band held, of the forecasts issued on the last `COVERAGE_DAYS` days.

    Of each 24 h the oldest forecast of role champion, fallback or backtest counts.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    source : a solar, wind, load or market source.
    end : end of the days [UTC].

    Returns
    -------
    As of `coverage_by`; without a row where no forecast with a band was issued.
    """
    frame = read_own_forecasts(conn, source.source_id, end, COVERAGE_DAYS, ROLES)
    frame = frame[frame["q10"].notna()]
    if frame.empty:
        return pd.DataFrame(columns=["by", "group", "rows", "coverage_80", "width_80"])
    data = load_actual(conn, config, source, frame["valid_time"].min(), end)
    actual = known_at(data, end).targets.reindex(pd.DatetimeIndex(frame["valid_time"])).to_numpy()
    is_dark = (frame["q95"] == 0) & (source.kind == "solar")
    return coverage_by(frame.assign(actual=actual, dark=is_dark), config.site.time_zone)
