"""One LightGBM for all sources of a kind: `global`.

It learns shares of capacity from the pairs of all sources together, and tells them apart by what
does not change: capacity, place, tilt, azimuth, turbine. So it costs one fit for hundreds of
sources, and knows a new one from its first weeks on. A `Pool` is such a fit; it was made of what
was known of each source when it was made, and no earlier forecast may use it.

    python forecasting.py --source wind-1 --model global --no-save

Montero-Manso and Hyndman, Principles and Algorithms for Forecasting Groups of Time Series
(International Journal of Forecasting 37, 2021).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vpp.forecast.calibration import Calibration
from vpp.forecast.external import is_external
from vpp.forecast.features import LAG_DAYS, aligned, first_known, same_hours, series_lookup
from vpp.forecast.intraday import Intraday
from vpp.forecast.known import Known
from vpp.forecast.lookups import nanoseconds
from vpp.forecast.model import ForecastModel, ModelError, Trial, within_limits
from vpp.forecast.models.lightgbm import LightGbm
from vpp.forecast.models.naive import SeasonalNaive
from vpp.forecast.models.trees import training_pairs
from vpp.forecast.quantiles import COLUMNS, FLAGS, QUANTILES

HEADS = (0.1, 0.5, 0.9)  # boosters of a pool; the other quantiles lie as those of a normal law
NUMBERS = ("tilt", "azimuth", "hub_height_m", "dc_ac_ratio")  # among a source's parameters
WITHOUT_WEATHER = 0.1  # of the training rows, so that a pool knows days on which it does not come
WEATHER_NAMES = ("ghi", "dni", "dhi", "temp_air", "wind_speed")
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
    """What a pool knows of one source beside its fit.

    Parameters
    ----------
    calibration, intraday : learned from its errors; None where they are too few.
    is_better : whether it beats last week's same local hour.
    """

    calibration: Calibration | None = None
    intraday: Intraday | None = None
    is_better: bool = True


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
    defaults: ClassVar[dict[str, Any]] = {
        "trees": 200,
        "learning_rate": 0.06,
        "leaves": 31,
        "min_leaf": 40,
        "most_rows": 100_000,
        "source_rows": 4000,
    }
    pool: Pool
    members: dict[str, Member]

    def __init__(self, horizon_h: float = 48.0, seed: int = 1, **parameters: Any) -> None:
        super().__init__(horizon_h, seed, **parameters)
        self.members = {}

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

    def _forecast(self, known: Known, times: pd.DatetimeIndex) -> np.ndarray:
        origins = pd.DatetimeIndex([known.issue_time] * len(times))
        return self.forecast_pairs(known, origins, times)

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
        issued = nanoseconds(pd.DatetimeIndex(issue_times))
        valid = (issued[:, None] + known.step.value * np.arange(steps)).ravel()
        origins = pd.DatetimeIndex(np.repeat(issued, steps), tz="UTC")
        times = pd.DatetimeIndex(valid, tz="UTC")
        frame = within_limits(self.forecast_pairs(known, origins, times), known, times)
        lags, _ = same_hours(
            series_lookup(known), origins, times, range(7, LAG_DAYS + 99, 7), known.zone
        )
        frame = frame.rename_axis("valid_time").reset_index()
        frame = frame.assign(
            issue_time=origins,
            actual=known.targets.reindex(times).to_numpy(),
            naive=first_known(lags),
        )
        return frame[["issue_time", "valid_time", *COLUMNS, *FLAGS, "actual", "naive"]]

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


def fit_pool(
    model: Global, kind: str, trained_until: pd.Timestamp, parts: Iterable[PoolRows]
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
    boosters = fit_heads(model, table.to_numpy(dtype=np.float32), rows.target)
    return Pool(kind, trained_until, columns, tuple(turbines), boosters, rows.source_ids)


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


def fit_heads(model: Global, values: np.ndarray, target: np.ndarray) -> tuple[Any, ...]:
    """Boosters of the quantiles of `HEADS`.

    Parameters
    ----------
    model : with the parameters and the seed.
    values, target : row × feature, and the value of each row [-].
    """
    import lightgbm

    given = model.parameters
    quiet = {"verbosity": -1, "feature_pre_filter": False}
    rows = lightgbm.Dataset(values, target, params=quiet).construct()
    settings = {
        "objective": "quantile",
        "learning_rate": given["learning_rate"],
        "num_leaves": given["leaves"],
        "min_data_in_leaf": given["min_leaf"],
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
    return tuple(
        lightgbm.train(settings | {"alpha": level}, rows, given["trees"]) for level in HEADS
    )


def _forget_weather(table: pd.DataFrame, seed: int) -> None:
    """Take the weather from some rows, so that a pool learns to do without."""
    names = [name for name in table if str(name).removesuffix("_mean") in WEATHER_NAMES]
    gone = np.random.default_rng(seed).random(len(table)) < WITHOUT_WEATHER
    table.loc[gone, names] = np.nan


def size_of(known: Known) -> float:
    """What a share of 1 is: the capacity; of a source without one the median absolute value.

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
