"""Fits for all sources of a kind, by which the model `global` forecasts each of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from vpp.forecast.calibration import Calibration
from vpp.forecast.features import aligned
from vpp.forecast.intraday import Intraday
from vpp.forecast.model import ForecastModel, ModelError
from vpp.forecast.models.lightgbm import fit_boosters
from vpp.forecast.quantiles import QUANTILES
from vpp.site.kinds import KINDS

HEADS = (0.1, 0.5, 0.9)  # boosters of a pool; the other quantiles lie as those of a normal law
WITHOUT_WEATHER = 0.1  # of the training rows, so that a pool knows days on which it does not come
WEATHER_NAMES = KINDS["weather"].value_names
FEWEST_ROWS = 60  # of a source, however many there are


@dataclass(frozen=True)
class Pool:
    """One fit for all sources of a kind.

    Parameters
    ----------
    kind : of the sources.
    trained_until : nothing known later was used [UTC].
    columns : features, in their order.
    turbines : names that the feature `turbine` numbers.
    boosters : one a quantile of `HEADS`.
    source_ids : that it has learned from.
    """

    kind: str
    trained_until: pd.Timestamp
    columns: tuple[str, ...]
    turbines: tuple[str, ...]
    boosters: tuple[Any, ...]
    source_ids: tuple[str, ...]

    def predict(self, table: pd.DataFrame) -> np.ndarray:
        """Value and quantiles of some rows, as shares, or as they were learned (row × column) [-].

        Parameters
        ----------
        table : features of each row.
        """
        from scipy.stats import norm

        rows = aligned(table, list(self.columns)).to_numpy(dtype=np.float32)
        low, middle, high = (booster.predict(rows, num_threads=1) for booster in self.boosters)
        steps = norm.ppf(QUANTILES) / norm.ppf(HEADS[-1])
        below, above = np.maximum(middle - low, 0), np.maximum(high - middle, 0)
        spread = np.where(steps < 0, below[:, None], above[:, None]) * steps
        return np.column_stack([middle, middle[:, None] + spread])


@dataclass(frozen=True)
class PoolRows:
    """The rows of one source, or of several, that a pool is to learn from.

    Parameters
    ----------
    table : features.
    target : share of capacity, relative to its level [-].
    turbines : of each row; "" where it has none.
    source_ids : of the sources.
    """

    table: pd.DataFrame
    target: np.ndarray
    turbines: np.ndarray
    source_ids: tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """All that a pool knows of one source beside its fit.

    Parameters
    ----------
    calibration, intraday : learned from its errors; None where they are too few.
    is_better : whether it beats last week's same local hour.
    """

    calibration: Calibration | None = None
    intraday: Intraday | None = None
    is_better: bool = True


def fit_pool(
    model: ForecastModel, kind: str, trained_until: pd.Timestamp, parts: Iterable[PoolRows]
) -> Pool:
    """Fit the boosters of a pool, one a quantile of `HEADS`.

    Parameters
    ----------
    model : with the parameters and the seed.
    kind : of the sources.
    trained_until : issue time of the rows [UTC].
    parts : rows of the sources.

    Raises
    ------
    ModelError : there are too few.
    """
    rows = merged(list(parts))
    if len(rows.target) < FEWEST_ROWS:
        raise ModelError(f"{model.name}: {len(rows.target)} pairs to learn, {FEWEST_ROWS} needed")
    names, table = rows.turbines, rows.table
    turbines = sorted({str(name) for name in names} - {""})
    numbers = {name: number for number, name in enumerate(turbines)}
    table["turbine"] = pd.Series([numbers.get(str(name), np.nan) for name in names], dtype="f4")
    _forget_weather(table, model.seed)
    columns = tuple(str(name) for name in table)
    heads = fit_boosters(model, table.to_numpy(dtype=np.float32), rows.target, HEADS)
    return Pool(kind, trained_until, columns, tuple(turbines), tuple(heads), rows.source_ids)


def merged(parts: Sequence[PoolRows]) -> PoolRows:
    """The rows of several sources as one.

    Parameters
    ----------
    parts : of each of them, in their order.
    """
    return PoolRows(
        pd.concat([part.table for part in parts], ignore_index=True).astype(np.float32),
        np.concatenate([part.target for part in parts]),
        np.concatenate([part.turbines for part in parts]),
        tuple(source_id for part in parts for source_id in part.source_ids),
    )


def _forget_weather(table: pd.DataFrame, seed: int) -> None:
    """Take the weather from some rows, so that a pool learns to do without."""
    names = [name for name in table if str(name).removesuffix("_mean") in WEATHER_NAMES]
    gone = np.random.default_rng(seed).random(len(table)) < WITHOUT_WEATHER
    table.loc[gone, names] = np.nan
