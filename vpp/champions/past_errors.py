"""How far off the newest forecasts were: the one error of the last day that the script and the
report show.

Power in kW, prices in EUR/MWh; times are UTC."""

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.champions.history import load_measured
from vpp.forecast.known import known_at
from vpp.runtime.settings import Config
from vpp.site.sources import Source
from vpp.site.times import DAY, local_lag
from vpp.storage.results import read_forecasts

ROLES = ("champion", "fallback", "backtest")
NAIVE_DAYS = 7
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
    week_before = measured.reindex(local_lag(times, NAIVE_DAYS, data.zone)).to_numpy()
    naive = np.abs(week_before - actual)
    return {
        "mae": float(np.abs(value.to_numpy() - actual).mean()),
        "naive": float(np.nanmean(naive)) if np.isfinite(naive).any() else None,
        "end": end,
        "issue_time": run.issue_time,
    }
