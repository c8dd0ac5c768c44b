"""By what models are compared: the score they are tuned and selected by, and a test of whether one
is really better by it.

A mean loss (absolute error or pinball loss) or, for a price, what a battery fails to earn by the
forecast. Power in kW, prices in EUR/MWh, values in EUR. Reads and writes nothing.

    python -c "import model_comparison; print(model_comparison.diebold_mariano.__doc__)"
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.forecast.backtest import ForecastError
from vpp.forecast.known import SourceData
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.site.sources import Source
from vpp.site.times import DAY

BATTERY_MW, BATTERY_MWH, BATTERY_ETA = (
    1.0,
    2.0,
    0.95,
)  # the battery that prices forecasts, empty at both ends of a local day

KEYS = ["issue_time", "valid_time"]


# Scores


def pinball_loss(
    actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float] = QUANTILES
) -> float:
    """Mean over rows and levels of max(level·e, (level−1)·e), e = actual − quantile [unit of the
    series].
    """
    error = np.asarray(actual)[:, None] - np.asarray(quantiles)
    return float(np.maximum(np.asarray(levels) * error, (np.asarray(levels) - 1) * error).mean())


def battery_day(prices: np.ndarray, hours: float) -> np.ndarray:
    """Net power sold in each interval [MW] by the battery that earns most at these prices
    [EUR/MWh], empty to empty.

    A linear programme; where a price is negative, a binary keeps it from charging and discharging
    at once, which only pays there."""
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import coo_array, eye_array, hstack, tril, vstack

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
    """Share of the perfect-foresight value that a battery earns by the forecast, and Kendall's τ,
    over complete local days.
    """
    from scipy.stats import kendalltau

    earned, possible_value, taus, hours = 0.0, 0.0, [], step / pd.Timedelta(hours=1)
    days = frame["valid_time"].dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
    for (_, day), rows in frame.groupby(["issue_time", days]):
        length = (day + DAY).tz_localize(zone) - day.tz_localize(zone)
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


def scores(frame: pd.DataFrame, source: Source, zone: str | None = None) -> dict[str, float | None]:
    """Scores of a backtest; published prices do not count.

    Returns
    -------
    mae, rmse, pinball, width_80 [kW or EUR/MWh]; nmae (per capacity; None without one), rmae (per
    MAE of last week's same local hour), coverage_80 (of the band from q10 to q90, not at night)
    [fractions]; rows; for prices also captured_share and kendall_tau [-]."""
    rows = frame[frame["actual"].notna() & ~frame["published"]]
    if rows.empty:
        raise ForecastError(
            f"{source.source_id}: the backtest has no row with an actual value to score"
        )
    actual = rows["actual"].to_numpy()
    error = actual - rows["value"].to_numpy()
    mae, naive_mae = np.abs(error).mean(), np.abs(actual - rows["naive"].to_numpy()).mean()
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


def scored(frame: pd.DataFrame, data: SourceData) -> pd.DataFrame:
    """The rows of a backtest that count: measured, and not a published price."""
    return frame[frame["actual"].notna() & ~frame["published"]]


def losses(frame: pd.DataFrame, data: SourceData, select_by: str) -> pd.DataFrame:
    """Losses of a backtest: issue_time, valid_time, loss.

    Of each row that counts, the absolute error or the mean pinball loss of its quantiles [kW or
    EUR/MWh]; by value, where there are whole days of a price, of each what the battery does not
    earn of what it could [EUR]."""
    if select_by == "value" and data.source.kind == "market":
        days = foregone_values(frame, data)
        if len(days):
            return days
    rows = scored(frame, data)
    if select_by == "pinball":
        error = rows["actual"].to_numpy()[:, None] - rows[list(QUANTILE_COLUMNS)].to_numpy()
        levels = np.array(QUANTILES)
        return rows[KEYS].assign(loss=np.maximum(levels * error, (levels - 1) * error).mean(axis=1))
    return rows[KEYS].assign(loss=(rows["actual"] - rows["value"]).abs())


def foregone_values(frame: pd.DataFrame, data: SourceData) -> pd.DataFrame:
    """What a battery that follows the forecast misses of what is possible [EUR], of each local day
    that counts for `captured_share`.
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
    """What a model is tuned and selected by, smaller is better.

    Mean loss, or minus the captured share of a price.
    """
    if select_by == "value" and data.source.kind == "market":
        share = scores(frame, data.source, data.zone)["captured_share"]
        if share is not None:
            return -share
        select_by = "mae"
    return float(losses(frame, data, select_by)["loss"].mean())


def diebold_mariano(worse: pd.DataFrame, better: pd.DataFrame) -> float:
    """p-value of the one-sided test that `better` has the smaller expected loss (Diebold and
    Mariano 1995), given the `losses` of both.

    The differences of the losses that both have are averaged over each day of each window; their
    variance allows for the correlation of the days of a window (Bartlett weights), and Student's t
    with the correction of Harvey, Leybourne and Newbold (1997) allows for their small number."""
    from scipy.stats import t

    pairs = worse.merge(better, on=KEYS, suffixes=("_worse", "_better"))
    day = (pairs["valid_time"] - pairs["issue_time"]) // DAY
    difference = (
        (pairs["loss_worse"] - pairs["loss_better"])
        .groupby([pairs["issue_time"], day])
        .mean()
        .to_numpy()
    )
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
