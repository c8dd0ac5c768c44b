"""By what models are compared: the score they are tuned and selected by, and a test of whether one is really better by it.

A mean loss (absolute error or pinball loss) or, for a price, what a battery fails to earn by the forecast. Power in kW, prices in
EUR/MWh, values in EUR. Reads and writes nothing.

    python -c "import model_comparison; print(model_comparison.diebold_mariano.__doc__)"
"""

import numpy as np
import pandas as pd

from features import DAY, SourceData
from forecast_base import QUANTILE_COLUMNS, QUANTILES
from forecasting import battery_day, price_scores, scores

KEYS = ["issue_time", "valid_time"]


def scored(frame: pd.DataFrame, data: SourceData) -> pd.DataFrame:
    """The rows of a backtest that count: measured, and not a published price."""
    return frame[frame["actual"].notna() & ~frame["published"]]


def losses(frame: pd.DataFrame, data: SourceData, select_by: str) -> pd.DataFrame:
    """Losses of a backtest: issue_time, valid_time, loss.

    Of each row that counts, the absolute error or the mean pinball loss of its quantiles [kW or EUR/MWh]; by value, where there are
    whole days of a price, of each what the battery does not earn of what it could [EUR].
    """
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
    """What a battery that follows the forecast misses of what is possible [EUR], of each local day that counts for `captured_share`."""
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
    """What a model is tuned and selected by, smaller is better: mean loss, or minus the captured share of a price."""
    if select_by == "value" and data.source.kind == "market":
        share = scores(frame, data.source, data.zone)["captured_share"]
        if share is not None:
            return -share
        select_by = "mae"
    return float(losses(frame, data, select_by)["loss"].mean())


def diebold_mariano(worse: pd.DataFrame, better: pd.DataFrame) -> float:
    """p-value of the one-sided test that `better` has the smaller expected loss (Diebold and Mariano 1995), given the `losses` of both.

    The differences of the losses that both have are averaged over each day of each window; their variance allows for the correlation
    of the days of a window (Bartlett weights), and Student's t with the correction of Harvey, Leybourne and Newbold (1997) allows for
    their small number.
    """
    from scipy.stats import t

    pairs = worse.merge(better, on=KEYS, suffixes=("_worse", "_better"))
    day = (pairs["valid_time"] - pairs["issue_time"]) // DAY
    difference = (pairs["loss_worse"] - pairs["loss_better"]).groupby([pairs["issue_time"], day]).mean().to_numpy()
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
    return float(t.sf(difference.mean() / np.sqrt(variance / count) * np.sqrt(correction), count - 1))
