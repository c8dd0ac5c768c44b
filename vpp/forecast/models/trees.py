"""Random forest on a table of features of (pseudo-origin, valid time) pairs.

One model serves all horizons: the horizon is a feature. LightGBM learns from the same pairs.
"""

from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.features import aligned, design_table, pseudo_origins
from vpp.forecast.known import Known
from vpp.forecast.model import ForecastModel, ModelError, Trial, with_band
from vpp.forecast.plant_power import plant_power
from vpp.forecast.quantiles import QUANTILES
from vpp.site.kinds import PLANT_KINDS

LEVELS = (
    "recent_1",
    "recent_2",
    "mean_7_days",
    "week_1",
    "week_2",
    "mean_4_weeks",
    "last",
    "mean_day",
)


def relative(table: pd.DataFrame, known: Known) -> tuple[pd.DataFrame, np.ndarray]:
    """Features relative to a level, and the level, which targets are relative to as well.

    It is the week's mean for load and prices, which drift; 0 for plants.

    Parameters
    ----------
    table : features of `design`.
    known : what is known of the source.

    Returns
    -------
    The table; the level of each row [kW or EUR/MWh].
    """
    if known.source.kind in PLANT_KINDS:
        return table, np.zeros(len(table))
    level = table["mean_week"].fillna(0.0).to_numpy()
    return table.assign(**{name: table[name] - level for name in LEVELS}), level


def training_pairs(model: ForecastModel, known: Known) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Pairs drawn from those of all pseudo-origins of the history, at most `most_rows`.

    Parameters
    ----------
    model : with the parameter `most_rows`.
    known : what is known at the issue time.

    Returns
    -------
    Origin and valid time of each pair [UTC].

    Raises
    ------
    ModelError : the history is too short.
    """
    origins, times = pseudo_origins(known, int(pd.Timedelta(hours=model.horizon_h) / known.step))
    if len(times) < 100:
        raise ModelError(
            f"{model.name}: {known.source.source_id}: {len(times)} pairs to train on, 100 needed"
        )
    most = model.parameters["most_rows"]
    if len(times) > most:
        chosen = np.sort(np.random.default_rng(model.seed).choice(len(times), most, replace=False))
        origins, times = origins[chosen], times[chosen]
    return origins, times


class RandomForest(ForecastModel):
    """Random forest on lags, calendar and weather forecasts.

    Breiman, Random Forests (Machine Learning 45, 2001). The band is as wide as its trees differ. It
    needs 100 pairs to learn from: after 8 days of history, some days more.

    Parameters
    ----------
    trees : how many.
    max_features : share of the features that a split chooses from.
    min_leaf : fewest rows of a leaf.
    most_rows : pairs drawn to learn from, at most.
    """

    name = "random_forest"
    requires = ("scikit-learn",)
    defaults: ClassVar[dict[str, Any]] = {
        "trees": 100,
        "max_features": 0.4,
        "min_leaf": 4,
        "most_rows": 6000,
    }

    @staticmethod
    def search_space(trial: Trial) -> dict[str, Any]:
        return {
            "max_features": trial.suggest_float("max_features", 0.2, 0.8),
            "min_leaf": trial.suggest_int("min_leaf", 2, 20, log=True),
        }

    def _table(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Features, and the level that targets are relative to."""
        table = design_table(known, origins, times)
        return relative(table.join(plant_power(known, origins, times)), known)

    def _fit(self, known: Known) -> None:
        from sklearn.ensemble import RandomForestRegressor

        given = self.parameters
        origins, times = training_pairs(self, known)
        table, level = self._table(known, origins, times)
        self.forest = RandomForestRegressor(
            n_estimators=given["trees"],
            max_features=given["max_features"],
            min_samples_leaf=given["min_leaf"],
            random_state=self.seed,
        ).fit(table.to_numpy(dtype=np.float32), known.series.reindex(times).to_numpy() - level)
        self.columns = [str(name) for name in table]

    def _trees(self, table: pd.DataFrame) -> np.ndarray:
        rows = aligned(table, self.columns).to_numpy(dtype=np.float32)
        return np.stack([tree.tree_.predict(rows)[:, 0] for tree in self.forest.estimators_])

    def forecast_pairs(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> np.ndarray:
        from scipy.stats import norm

        table, level = self._table(known, origins, times)
        trees = self._trees(table)
        return with_band(trees.mean(axis=0) + level, norm.ppf(QUANTILES), trees.std(axis=0))
