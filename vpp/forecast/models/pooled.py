"""One LightGBM for all sources of a kind: `global`.

It learns shares of capacity from the pairs of all sources together, and tells them apart by what
does not change: capacity, place, tilt, azimuth, turbine. So it costs one fit for hundreds of
sources, and knows a new one from its first weeks on. A `Pool` is such a fit; it was made of what
was known of each source when it was made, and no earlier forecast may use it.

    python forecasting.py --source wind-1 --model global --no-save

Montero-Manso and Hyndman, Principles and Algorithms for Forecasting Groups of Time Series
(International Journal of Forecasting 37, 2021).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.external import is_external
from vpp.forecast.known import Known
from vpp.forecast.lookups import nanoseconds
from vpp.forecast.model import ForecastModel, ModelError, Trial
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.naive import SeasonalNaive
from vpp.forecast.models.pools import Member, Pool, PoolRows, fit_pool
from vpp.forecast.models.trees import training_pairs
from vpp.forecast.together import forecasts_from

NUMBERS = ("tilt", "azimuth", "hub_height_m", "dc_ac_ratio")  # among a source's parameters


class Global(LightGbm):
    """One LightGBM for all sources of a kind, with shares of capacity and fixed features.

    Alone, without a pool, it learns from the one source. It needs 100 pairs of it then: after 8
    days of history, some days more. With a pool it needs none.

    Parameters
    ----------
    trees : of each quantile.
    learning_rate : share of each tree [-].
    leaves : of a tree, at most.
    min_leaf : fewest rows of a leaf.
    most_rows : pairs drawn to learn from, at most, of all sources together.
    source_rows : of one source, at most.
    """

    name = "global"
    by_sun = False  # a pool has learned rows of its own
    has_physics = False  # hundreds of sources would pay for it at each forecast
    takes_pairs = False  # the size of a source without a capacity is of all that is known
    defaults: ClassVar[dict[str, Any]] = {
        "trees": 200,
        "learning_rate": 0.06,
        "leaves": 31,
        "min_leaf": 40,
        "most_rows": 100_000,
        "source_rows": 4000,
    }
    pool: Pool
    members: Mapping[str, Member] = MappingProxyType({})  # of a pool that is registered

    @staticmethod
    def search_space(trial: Trial) -> dict[str, Any]:
        return {}

    def _fit(self, known: Known) -> None:
        usable = [
            pool
            for pool in self.pools
            if pool.kind == known.source.kind and pool.trained_until <= known.issue_time
        ]
        if usable:
            self.pool = max(usable, key=lambda pool: pool.trained_until)
            return
        rows = self.rows(known, self.parameters["source_rows"])
        self.pool = fit_pool(self, known.source.kind, known.issue_time, [rows])

    def rows(self, known: Known, most: int) -> PoolRows:
        """The rows of one source that a pool learns from.

        Parameters
        ----------
        known : what is known of it.
        most : how many, at most.

        Raises
        ------
        ModelError : the history is too short.
        """
        drawn = Global(self.horizon_h, self.seed, **self.parameters | {"most_rows": most})
        origins, times = training_pairs(drawn, known)
        table, level = self.features(known, origins, times)
        target = known.series.reindex(times).to_numpy() / size_of(known)
        target = _squeezed(target, known) - level
        turbine = str(known.source.parameters.get("turbine", ""))
        usable = np.isfinite(target)
        return PoolRows(
            table[usable].astype(np.float32),
            target[usable].astype(np.float32),
            np.full(usable.sum(), turbine, dtype=object),
            (known.source.source_id,),
        )

    def features(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> tuple[pd.DataFrame, np.ndarray]:
        """Features of (origin, valid time) pairs in shares of capacity, fixed ones among them, and
        the level that targets are relative to.

        Parameters
        ----------
        known : what is known of the source.
        origins, times : of each pair [UTC].
        """
        source, size = known.source, size_of(known)
        shares = _squeezed(known.series / size, known)
        table, level = self._table(replace(known, series=shares), origins, times)
        table = table[[name for name in table if not is_external(str(name))]]
        fixed: dict[str, float] = {"log_capacity": np.log(size), **_place(source)}
        for name in NUMBERS:
            number = source.parameters.get(name, np.nan)
            fixed[name] = float(number) if isinstance(number, int | float) else np.nan
        return table.assign(**fixed), level

    def _own(self, asked: Sequence[tuple[Known, pd.DatetimeIndex]]) -> list[np.ndarray]:
        known = asked[0][0]
        issued = [np.full(len(times), then.issue_time.value) for then, times in asked]
        times = [nanoseconds(times) for _, times in asked]
        origins, valid = (
            pd.DatetimeIndex(np.concatenate(each), tz="UTC") for each in (issued, times)
        )
        ends = np.cumsum([len(each) for each in times])[:-1]
        return np.split(self.forecast_pairs(known, origins, valid), ends)

    def forecast_pairs(
        self, known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex
    ) -> np.ndarray:
        """Value and quantiles of (origin, valid time) pairs, each as known at its origin.

        Parameters
        ----------
        known : what is known of the source.
        origins, times : of each pair [UTC].

        Returns
        -------
        Pair × column [kW or EUR/MWh].
        """
        table, level = self.features(known, origins, times)
        turbine = str(known.source.parameters.get("turbine", ""))
        names = self.pool.turbines
        table["turbine"] = names.index(turbine) if turbine in names else np.nan
        found = self.pool.predict(table) + level[:, None]
        return (np.sinh(found) if known.source.kind == "market" else found) * size_of(known)

    def backtest(self, known: Known, issue_times: Sequence[pd.Timestamp]) -> pd.DataFrame:
        """The rows of a backtest from several issue times at once, as of
        `vpp.forecast.backtest.backtest`, for a power.

        Parameters
        ----------
        known : what is known after the last of them.
        issue_times : not before the pool was made [UTC].

        Raises
        ------
        ModelError : the pool has seen what came after one of them.
        """
        if min(issue_times) < self.pool.trained_until:
            raise ModelError(f"{self.name}: the pool is of {self.pool.trained_until}, a later time")
        steps = int(pd.Timedelta(hours=self.horizon_h) / known.step)
        frame = forecasts_from(self, known, issue_times, [steps] * len(issue_times))
        times = pd.DatetimeIndex(frame["valid_time"])
        return frame.assign(actual=known.targets.reindex(times).to_numpy())

    def of(self, known: Known) -> ForecastModel:
        """The model as it is for one source: last week's same local hour where that is better.

        Parameters
        ----------
        known : what is known of the source; one that it has not learned from has no bands of its
            own.
        """
        member = self.members.get(known.source.source_id, Member())
        if not member.is_better:
            return SeasonalNaive(self.horizon_h, self.seed).fit(known)
        made = Global(self.horizon_h, self.seed, **self.parameters)
        made.pool, made.trained_until = self.pool, self.trained_until
        made.input_names = frozenset()  # it has learned to do without
        made.calibration, made.intraday = member.calibration, member.intraday
        return made


def size_of(known: Known) -> float:
    """The power of a share of 1: the capacity; of a source without one the median absolute value.

    Parameters
    ----------
    known : what is known of the source.

    Returns
    -------
    Its size [kW or EUR/MWh].
    """
    capacity = known.source.capacity_kw
    if capacity is not None and capacity > 0:
        return float(capacity)
    typical = float(known.targets.abs().median()) if len(known.targets) else 1.0
    return typical if np.isfinite(typical) and typical > 0 else 1.0


def _squeezed(values: Any, known: Known) -> Any:
    """Prices by asinh, which keeps spikes in bounds; powers as they are."""
    return np.arcsinh(values) if known.source.kind == "market" else values


def _place(source: Any) -> dict[str, float]:
    latitude, longitude = source.latitude, source.longitude
    return {
        "latitude": np.nan if latitude is None else float(latitude),
        "longitude": np.nan if longitude is None else float(longitude),
    }
