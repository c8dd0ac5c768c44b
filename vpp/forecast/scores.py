"""Scores that models are compared by, and a test of whether one is really better than another.

A score is a mean loss (absolute error or pinball loss) or, for a price, the value that a battery
fails to earn by the forecast. Power in kW, prices in EUR/MWh, values in EUR.

    python -c "from vpp.forecast.scores import diebold_mariano; help(diebold_mariano)"
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from vpp.forecast.backtest import ForecastError
from vpp.forecast.known import SourceData
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.site.sources import Source
from vpp.site.times import DAY, day_start

# the battery that prices forecasts, empty at both ends of a local day
BATTERY_MW, BATTERY_MWH, BATTERY_ETA = 1.0, 2.0, 0.95

SEASONS = ("winter", "spring", "summer", "autumn")  # of the months from December on
ROUNDING = 1e-9  # of the values: a smaller error is one of the arithmetic, and none to compare with
KEYS = ["issue_time", "valid_time"]


def pinball_loss(
    actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float] = QUANTILES
) -> float:
    """Mean over rows and levels of max(level·e, (level−1)·e), e = actual − quantile.

    Parameters
    ----------
    actual : of each row [unit of the series].
    quantiles : row × level [unit of the series].
    levels : of the quantiles [fractions].
    """
    return float(pinball_losses(actual, quantiles, levels).mean())


def pinball_losses(
    actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float] = QUANTILES
) -> np.ndarray:
    """Mean over levels of the pinball loss of each row.

    Parameters
    ----------
    actual, quantiles, levels : as of `pinball_loss`.
    """
    error = np.asarray(actual)[:, None] - np.asarray(quantiles)
    return np.maximum(np.asarray(levels) * error, (np.asarray(levels) - 1) * error).mean(axis=1)


def battery_day(prices: np.ndarray, hours: float) -> np.ndarray:
    """Net power that the battery sells in each interval to earn most, empty at both ends [MW].

    A linear programme. Only where a price is negative does it pay to charge and discharge at once;
    there a binary forbids it.

    Parameters
    ----------
    prices : of each interval [EUR/MWh].
    hours : length of an interval [h].

    Raises
    ------
    ForecastError : the solver found no plan.
    """
    return _battery_day(np.ascontiguousarray(prices, dtype=float).tobytes(), hours)


@lru_cache(maxsize=4096)
def _battery_day(content: bytes, hours: float) -> np.ndarray:
    """The plan of a day, kept: many forecasts are valued at the same actual prices."""
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import coo_array, eye_array, hstack, tril, vstack

    prices = np.frombuffer(content)
    n, negative = len(prices), np.flatnonzero(prices < 0)
    # columns: charge, discharge [MW], then one binary "charging" for each negative price
    stored = tril(coo_array(np.ones((n, n)))) * hours
    energy = hstack([BATTERY_ETA * stored, -stored / BATTERY_ETA, coo_array((n, len(negative)))])
    constraints = [LinearConstraint(energy.tocsr(), 0, np.append(np.full(n - 1, BATTERY_MWH), 0.0))]
    if len(negative):
        pick = eye_array(n).tocsr()[negative]
        none, chosen = coo_array(pick.shape), BATTERY_MW * eye_array(len(negative))
        exclusive = vstack([hstack([pick, none, -chosen]), hstack([none, pick, chosen])])
        constraints.append(
            LinearConstraint(
                exclusive.tocsr(), -np.inf, np.repeat([0.0, BATTERY_MW], len(negative))
            )
        )
    upper = np.append(np.full(2 * n, BATTERY_MW), np.ones(len(negative)))
    cost = np.concatenate([prices, -prices, np.zeros(len(negative))]) * hours
    solved = milp(
        cost,
        constraints=constraints,
        bounds=(0, upper),
        integrality=np.append(np.zeros(2 * n), np.ones(len(negative))),
    )
    if solved.x is None:
        raise ForecastError(f"the battery that values prices found no plan: {solved.message}")
    return solved.x[n : 2 * n] - solved.x[:n]


def price_scores(frame: pd.DataFrame, step: pd.Timedelta, zone: str) -> dict[str, float | None]:
    """Share of the possible value that a battery earns by the forecast, and Kendall's τ.

    Only complete local days of one issue count, and none that was published as a whole.

    Parameters
    ----------
    frame : rows of a backtest.
    step : length of an interval.
    zone : of local days.

    Returns
    -------
    captured_share, of what perfect foresight earns, and kendall_tau [-]; None without such a day.
    """
    from scipy.stats import kendalltau

    earned, possible_value, taus, hours = 0.0, 0.0, [], step / pd.Timedelta(hours=1)
    days = frame["valid_time"].dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
    for _, rows in frame.groupby(["issue_time", days]):
        time = rows["valid_time"].iloc[0]
        length = day_start(time, zone, 1) - day_start(time, zone)
        if len(rows) * step < length or rows["actual"].isna().any() or rows["published"].all():
            continue
        actual, forecast = rows["actual"].to_numpy(), rows["value"].to_numpy()
        earned += float(battery_day(forecast, hours) @ actual) * hours
        possible_value += float(battery_day(actual, hours) @ actual) * hours
        taus.append(kendalltau(forecast, actual).statistic)
    taus = [tau for tau in taus if not np.isnan(tau)]
    return {
        "captured_share": earned / possible_value if possible_value > 0 else None,
        "kendall_tau": float(np.mean(taus)) if taus else None,
    }


def scored(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of a backtest that count: measured, and not a published price."""
    return frame[frame["actual"].notna() & ~frame["published"]]


def scores(frame: pd.DataFrame, source: Source, zone: str | None = None) -> dict[str, float | None]:
    """Scores of a backtest; published prices do not count.

    Parameters
    ----------
    frame : rows of `vpp.forecast.backtest.backtest`, calibrated or not.
    source : of the rows.
    zone : of local days; None for that of the source.

    Returns
    -------
    mae, rmse, pinball, width_80 [kW or EUR/MWh]; nmae (per capacity; None without one), rmae (per
    MAE of last week's same local hour), coverage_80 (of the band from q10 to q90, not at night)
    [fractions]; rows; for prices also captured_share and kendall_tau [-].

    Raises
    ------
    ForecastError : no row has an actual value to score.
    """
    rows = scored(frame)
    if rows.empty:
        raise ForecastError(
            f"{source.source_id}: the backtest has no row with an actual value to score"
        )
    actual = rows["actual"].to_numpy()
    error = actual - rows["value"].to_numpy()
    least = ROUNDING * max(1.0, np.abs(actual).mean())
    mae, naive_mae = (
        each if each > least else 0.0
        for each in (np.abs(error).mean(), np.abs(actual - rows["naive"].to_numpy()).mean())
    )
    band = rows[~rows["dark"]]
    inside = (band["actual"] >= band["q10"]) & (band["actual"] <= band["q90"])
    result = {
        "mae": float(mae),
        "rmse": float(np.sqrt((error**2).mean())),
        "nmae": float(mae / source.capacity_kw) if source.capacity_kw else None,
        "rmae": float(mae / naive_mae) if naive_mae > 0 else None,
        "pinball": pinball_loss(actual, rows[list(QUANTILE_COLUMNS)].to_numpy()),
        "coverage_80": float(inside.mean()) if len(band) else None,
        "width_80": float((band["q90"] - band["q10"]).mean()) if len(band) else None,
        "rows": len(rows),
    }
    if source.kind == "market":
        result |= price_scores(
            frame, pd.Timedelta(minutes=source.step_min), zone or source.time_zone
        )
    return result


def coverage_by(frame: pd.DataFrame, zone: str) -> pd.DataFrame:
    """How often the 80 % band held, by day ahead, local hour and season.

    Parameters
    ----------
    frame : rows of a backtest, or issued forecasts with their actual values.
    zone : of local hours.

    Returns
    -------
    by (`lead`, `hour` or `season`), group (day ahead from 1, hour of the day, or season), rows,
    coverage_80 [fraction] and width_80 [kW or EUR/MWh]; night and published prices do not count.
    """
    rows = scored(frame)
    rows = rows[~rows["dark"]]
    local = pd.DatetimeIndex(rows["valid_time"]).tz_convert(zone)
    ahead = (pd.DatetimeIndex(rows["valid_time"]) - pd.DatetimeIndex(rows["issue_time"])) // DAY
    inside = (rows["actual"] >= rows["q10"]) & (rows["actual"] <= rows["q90"])
    table = pd.DataFrame({"inside": inside, "width": rows["q90"] - rows["q10"]})
    seasons = np.array(SEASONS)[local.month.to_numpy() % 12 // 3]
    parts = []
    for by, groups in (("lead", ahead + 1), ("hour", local.hour), ("season", seasons)):
        found = table.groupby(np.asarray(groups)).agg(
            rows=("inside", "size"), coverage_80=("inside", "mean"), width_80=("width", "mean")
        )
        parts.append(found.rename_axis("group").reset_index().assign(by=by))
    every = pd.concat(parts, ignore_index=True)
    return every[["by", "group", "rows", "coverage_80", "width_80"]]


def losses(frame: pd.DataFrame, data: SourceData, select_by: str) -> pd.DataFrame:
    """Losses of a backtest.

    Parameters
    ----------
    frame : rows of a backtest.
    data : of the source.
    select_by : mae, pinball or value. By value a loss is of each whole day of a price; where there
        is none, and for powers, absolute errors stand in.

    Returns
    -------
    issue_time, valid_time [UTC]; loss: the absolute error or the mean pinball loss of each row that
    counts [kW or EUR/MWh], or the value that the battery misses on a day [EUR].
    """
    if select_by == "value" and data.source.kind == "market":
        days = foregone_values(frame, data)
        if len(days):
            return days
    rows = scored(frame)
    if select_by == "pinball":
        quantiles = rows[list(QUANTILE_COLUMNS)].to_numpy()
        return rows[KEYS].assign(loss=pinball_losses(rows["actual"].to_numpy(), quantiles))
    return rows[KEYS].assign(loss=(rows["actual"] - rows["value"]).abs())


def foregone_values(frame: pd.DataFrame, data: SourceData) -> pd.DataFrame:
    """The value that a battery misses by following the forecast.

    Parameters
    ----------
    frame : rows of a backtest of a price.
    data : of the price.

    Returns
    -------
    issue_time, valid_time (its first) [UTC] and loss [EUR] of each local day that counts for
    `captured_share`.
    """
    found, hours = [], data.step / pd.Timedelta(hours=1)
    days = frame["valid_time"].dt.tz_convert(data.zone).dt.date
    for (issue_time, _), rows in frame.groupby(["issue_time", days]):
        share = price_scores(rows, data.step, data.zone)["captured_share"]
        if share is not None:
            actual = rows["actual"].to_numpy()
            possible = float(battery_day(actual, hours) @ actual) * hours
            found.append((issue_time, rows["valid_time"].iloc[0], (1 - share) * possible))
    return pd.DataFrame(found, columns=[*KEYS, "loss"])


def score_of(frame: pd.DataFrame, data: SourceData, select_by: str) -> float:
    """The score that a model is tuned and selected by; smaller is better.

    Parameters
    ----------
    frame : rows of a backtest.
    data : of the source.
    select_by : mae, pinball or value.

    Returns
    -------
    Mean loss [kW or EUR/MWh]; by value minus the captured share of a price [-].
    """
    if select_by == "value" and data.source.kind == "market":
        share = scores(frame, data.source, data.zone)["captured_share"]
        if share is not None:
            return -share
        select_by = "mae"
    return float(losses(frame, data, select_by)["loss"].mean())


def diebold_mariano(worse: pd.DataFrame, better: pd.DataFrame) -> float:
    """p-value of the one-sided test that `better` has the smaller expected loss.

    The test of Diebold and Mariano (1995). The differences of the losses that both have are
    averaged over each day of each window. Their variance allows for the correlation of the days of
    a window (Bartlett weights), and Student's t with the correction of Harvey, Leybourne and
    Newbold (1997) for their small number.

    Parameters
    ----------
    worse, better : `losses` of two models.
    """
    from scipy.stats import t

    pairs = worse.merge(better, on=KEYS, suffixes=("_worse", "_better"))
    ahead = pd.DatetimeIndex(pairs["valid_time"]) - pd.DatetimeIndex(pairs["issue_time"])
    day = (ahead // DAY).to_numpy()
    gain = pairs["loss_worse"] - pairs["loss_better"]
    difference = gain.groupby([pairs["issue_time"], day]).mean().to_numpy()
    count, lag = len(difference), int(day.max()) if len(day) else 0
    if count < 2 or not difference.any():
        return 1.0
    centred = difference - difference.mean()
    variance = centred @ centred / count
    for step in range(1, min(lag + 1, count)):
        variance += 2 * (1 - step / (lag + 1)) * (centred[step:] @ centred[:-step]) / count
    correction = (count + 1 - 2 * (lag + 1) + lag * (lag + 1) / count) / count
    if variance <= 0 or correction <= 0:
        return 0.0 if difference.min() > 0 else 1.0
    return float(
        t.sf(difference.mean() / np.sqrt(variance / count) * np.sqrt(correction), count - 1)
    )
