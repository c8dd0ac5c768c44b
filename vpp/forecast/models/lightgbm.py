"""LightGBM with one booster a quantile, the horizon being a feature."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.day_kinds import day_flags, deviations
from vpp.forecast.features import aligned, design_table
from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, Trial
from vpp.forecast.models.trees import LEVELS, relative, training_pairs
from vpp.forecast.plant_power import plant_power
from vpp.forecast.quantiles import QUANTILES
from vpp.forecast.scaling import robust_scale


def fit_boosters(
    model: ForecastModel,
    values: np.ndarray,
    target: np.ndarray,
    levels: Sequence[float],
    coarser: int = 1,
) -> list[Any]:
    """Boosters of quantiles.

    Parameters
    ----------
    model : with the parameters and the seed.
    values, target : row × feature, and the value of each row.
    levels : of the quantiles [fraction].
    coarser : trees have so many times fewer leaves, each of so many times more rows.
    """
    import lightgbm

    given = model.parameters
    # its filter drops columns that leaves of 20 rows cannot split, and refuses smaller leaves
    quiet = {"verbosity": -1, "feature_pre_filter": False}
    rows = lightgbm.Dataset(values, target, params=quiet).construct()
    settings = {
        "objective": "quantile",
        "learning_rate": given["learning_rate"],
        "num_leaves": max(2, given["leaves"] // coarser),
        "min_data_in_leaf": given["min_leaf"] * coarser,
        "feature_fraction": 0.6,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "num_threads": 1,
        "seed": model.seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    return [lightgbm.train(settings | {"alpha": level}, rows, given["trees"]) for level in levels]


class LightGbm(ForecastModel):
    """Gradient-boosted trees for each quantile (pinball loss), the horizon a feature.

    Ke et al., LightGBM: A Highly Efficient Gradient Boosting Decision Tree (2017). The value is the
    median. It needs 100 pairs to learn from: after 8 days of history, some days more.

    Parameters
    ----------
    trees : of each quantile.
    learning_rate : share of each tree [-].
    leaves : of a tree, at most; half as many where a plant's power in the weather is known.
    min_leaf : fewest rows of a leaf; twice as many there.
    most_rows : pairs drawn to learn from, at most.
    """

    name = "lightgbm"
    requires = ("lightgbm",)
    has_physics = True  # whether the power of a plant in the forecast weather is a feature
    defaults: ClassVar[dict[str, Any]] = {
        "trees": 150,
        "learning_rate": 0.06,
        "leaves": 15,
        "min_leaf": 40,
        "most_rows": 12000,
    }

    @staticmethod
    def search_space(trial: Trial) -> dict[str, Any]:
        return {
            "trees": trial.suggest_int("trees", 50, 400, log=True),
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.15, log=True),
            "leaves": trial.suggest_int("leaves", 7, 63, log=True),
            "min_leaf": trial.suggest_int("min_leaf", 10, 100, log=True),
        }

    def _table(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Features, and the level that targets are relative to."""
        table = design_table(known, origins, times)
        if known.source.kind == "load":
            off = deviations(known, origins, times)
            level = off.pop("typical").to_numpy()
            flags = day_flags(times, known.zone, known.holidays_country)
            lags = {name: table[name] - level for name in LEVELS}
            return pd.concat([table.assign(**lags), off, flags], axis=1), level
        if self.has_physics:
            table = table.join(plant_power(known, origins, times))
        return relative(table, known)

    def _fit(self, known: Known) -> None:
        origins, times = training_pairs(self, known)
        table, level = self._table(known, origins, times)
        target = known.series.reindex(times).to_numpy() - level
        self.scale = float(robust_scale(target)[1]) if known.source.kind == "market" else None
        usable = np.isfinite(target)
        target = np.arcsinh(target / self.scale) if self.scale else target
        self.columns = [str(name) for name in table]
        values = table.to_numpy(dtype=np.float32)[usable]
        # physics has told a plant's trees most of what they would have to find
        coarser = 2 if "physics" in self.columns else 1
        self.boosters = fit_boosters(self, values, target[usable], QUANTILES, coarser)

    def forecast_pairs(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> np.ndarray:
        table, level = self._table(known, origins, times)
        rows = aligned(table, self.columns).to_numpy(dtype=np.float32)
        result = np.column_stack(
            [booster.predict(rows, num_threads=1) for booster in self.boosters]
        )
        result = (np.sinh(result) * self.scale if self.scale else result) + level[:, None]
        return np.column_stack([result[:, QUANTILES.index(0.5)], result])
