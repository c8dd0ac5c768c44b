"""Forecasts of sites and of all plants of a kind, which agree with those of their sources.

`[forecast] reconcile` says how: `bottom_up` adds up the forecasts of the sources; `mint` also
forecasts the sums themselves, and changes the sources' forecasts with them, by the covariance of
the errors of the past. A sum is stored as a run of its own: `SITE/KIND`, or `all/KIND`.

Power in kW; times are UTC."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.champions.history import (
    history_start,
    load_actual,
    load_source_data,
    revisions_of_sum,
)
from vpp.champions.past_errors import ROLES
from vpp.champions.recalibration import WINDOW_DAYS
from vpp.forecast.backtest import REFIT_DAYS, walk
from vpp.forecast.known import SourceData, history_problem, known_at
from vpp.forecast.models.ridge import HourlyRidge
from vpp.forecast.quantiles import COLUMNS, QUANTILE_COLUMNS
from vpp.forecast.reconcile import (
    FEWEST,
    correlation_of,
    reconciled,
    shrunk_covariance,
    structural_covariance,
    width_of_sums,
)
from vpp.runtime.settings import Config
from vpp.runtime.words import in_words
from vpp.site.kinds import POWER_KINDS
from vpp.site.sources import Source
from vpp.storage.issued import read_own_forecasts
from vpp.storage.results import ForecastRun

log = logging.getLogger("forecast_and_save")

Run = tuple[ForecastRun, pd.DataFrame]
ALL = "all"


@dataclass(frozen=True)
class Parts:
    """The forecasts of one kind from one issue time, over the same intervals.

    Parameters
    ----------
    sources : with a forecast.
    runs : of each source, with its frame [kW].
    names : of the sums.
    groups : 1 where a source belongs to a sum, shape (sums, sources).
    """

    sources: list[Source]
    runs: list[Run]
    names: list[str]
    groups: np.ndarray

    @property
    def times(self) -> pd.DatetimeIndex:
        """Starts of the intervals [UTC]."""
        return pd.DatetimeIndex(self.runs[0][1].index)

    def column(self, name: str) -> np.ndarray:
        """A column of all frames [kW], shape (sources, steps)."""
        return np.array([frame[name].to_numpy(float) for _, frame in self.runs])


def with_sums(
    conn: connection, config: Config, sources: Sequence[Source], runs: Sequence[Run]
) -> tuple[list[Run], dict[str, str]]:
    """Forecasts of one issue time with those of their sums, which agree.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    sources : all that are forecast.
    runs : of them.

    Returns
    -------
    The runs, changed where `mint` is asked for, and those of the sums; by kind, why it has none.
    """
    if config.forecast.reconcile == "none":
        return list(runs), {}
    faults = dict[str, str]()
    given = {run.source_id: (run, frame) for run, frame in runs}
    for kind in POWER_KINDS:
        parts = parts_of([item for item in sources if item.kind == kind], given)
        if parts is None:
            continue
        try:
            found = agreed(conn, config, parts)
        except Exception as error:  # the forecasts of the sources stand
            faults[kind] = in_words(error)
            continue
        given |= {run.source_id: (run, frame) for run, frame in found}
    return list(given.values()), faults


def parts_of(sources: Sequence[Source], given: dict[str, Run]) -> Parts | None:
    """The forecasts of the sources of a kind and which sums they have; None where they have none.

    Sources whose intervals are not those of most others are left out, and said.

    Parameters
    ----------
    sources : of one kind.
    given : the run of each source that has one.
    """
    steps = [item.step_min for item in sources if item.source_id in given]
    if not steps:
        return None
    usual = max(sorted(set(steps)), key=steps.count)
    kept = [item for item in sources if item.source_id in given and item.step_min == usual]
    if len(kept) < len(sources):
        names = ", ".join(item.source_id for item in sources if item not in kept)
        log.warning("the sums of %s forecasts leave out %s", sources[0].kind, names)
    sites = [item.site_id for item in kept]
    groups = {
        f"{site}/{kept[0].kind}": [float(other == site) for other in sites]
        for site in dict.fromkeys(sites)
        if sites.count(site) > 1
    }
    if len(set(sites)) > 1:
        groups[f"{ALL}/{kept[0].kind}"] = [1.0] * len(kept)
    if not groups:
        return None
    runs = [given[item.source_id] for item in kept]
    return Parts(kept, runs, list(groups), np.array(list(groups.values())))


def agreed(conn: connection, config: Config, parts: Parts) -> list[Run]:
    """The forecasts of sources and sums, which agree.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    parts : the forecasts of one kind.
    """
    issue_time = parts.runs[0][0].issue_time
    data = [measured(conn, config, item, issue_time) for item in parts.sources]
    errors = past_errors(conn, parts, data, issue_time)
    runs = list(parts.runs)
    if config.forecast.reconcile == "mint":
        runs = changed(parts, *direct_sums(conn, config, parts, data, errors, issue_time), errors)
    agreeing = replace(parts, runs=runs)
    return runs + sums_of(agreeing, correlation_of(errors.to_numpy()), config.forecast.reconcile)


def measured(
    conn: connection, config: Config, source: Source, issue_time: pd.Timestamp
) -> SourceData:
    """The values of a source that are known at an issue time [kW], with those that newer ones had
    replaced by then.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    source : a plant or load.
    issue_time : now [UTC].
    """
    data = load_actual(conn, config, source, history_start(config, issue_time), issue_time)
    old = data.revisions
    old = None if old is None else old[old["known_to"] <= issue_time]
    return replace(data, series=known_at(data, issue_time).targets, revisions=old)


def past_errors(
    conn: connection, parts: Parts, data: Sequence[SourceData], issue_time: pd.Timestamp
) -> pd.DataFrame:
    """Actual less forecast values of the past, where all sources have both [kW].

    Parameters
    ----------
    conn : connection to the database.
    parts : the sources.
    data : of `measured`, of each.
    issue_time : now [UTC].

    Returns
    -------
    A column a source; index issue_time and valid_time.
    """
    found = {}
    for item, known in zip(parts.sources, data, strict=True):
        past = read_own_forecasts(conn, item.source_id, issue_time, WINDOW_DAYS, ROLES)
        if past.empty:
            return pd.DataFrame()
        past = past.set_index(["issue_time", "valid_time"])["value"]
        actual = known.series.reindex(past.index.get_level_values("valid_time")).to_numpy()
        found[item.source_id] = actual - past
    return pd.DataFrame(found).dropna()


def direct_sums(
    conn: connection,
    config: Config,
    parts: Parts,
    data: Sequence[SourceData],
    errors: pd.DataFrame,
    issue_time: pd.Timestamp,
) -> tuple[np.ndarray, list[int], pd.DataFrame]:
    """Forecast the sums themselves, with the weather of their largest source.

    Parameters
    ----------
    conn, config, parts, data, errors, issue_time : as of `past_errors`.

    Returns
    -------
    Forecasts [kW]; which sums have one; their errors at the times of those of the sources.
    """
    origins = sorted(set(errors.index.get_level_values(0))) if len(errors) else []
    values, kept, past = [], [], {}
    for number, name in enumerate(parts.names):
        members = np.flatnonzero(parts.groups[number])
        whole = sum_data(conn, config, [data[each] for each in members])
        try:
            value, off = direct_sum(config, whole, issue_time, parts.times, origins)
        except Exception as error:  # its parts are added up
            log.warning("%s is the sum of its sources: %s", name, in_words(error))
            continue
        values.append(value)
        kept.append(number)
        past[name] = off
    return np.array(values), kept, pd.DataFrame(past)


def sum_data(conn: connection, config: Config, parts: Sequence[SourceData]) -> SourceData:
    """The largest of some sources, with the capacity and the values of all.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    parts : of the sum, as of `measured`.
    """
    sources = [part.source for part in parts]
    largest = max(sources, key=lambda item: item.capacity_kw or 0.0)
    data = load_source_data(conn, config, largest)
    known = [item.capacity_kw for item in sources if item.capacity_kw is not None]
    capacity = float(sum(known)) if len(known) == len(sources) else None
    whole, series = replace(data.source, capacity_kw=capacity), sum(part.series for part in parts)
    return replace(data, source=whole, series=series, revisions=revisions_of_sum(parts))


def direct_sum(
    config: Config,
    data: SourceData,
    issue_time: pd.Timestamp,
    times: pd.DatetimeIndex,
    origins: Sequence[pd.Timestamp],
) -> tuple[np.ndarray, pd.Series]:
    """A ridge regression's forecast of a sum [kW], and its errors at earlier issue times.

    Parameters
    ----------
    config : says how far back models learn.
    data : of the sum.
    issue_time : now [UTC].
    times : starts of the intervals to forecast [UTC].
    origins : earlier issue times [UTC].
    """
    training, days = config.training, config.training.history_days
    horizon_h = int(len(times) * data.step / pd.Timedelta(hours=1))

    def factory() -> HourlyRidge:
        return HourlyRidge(horizon_h=horizon_h, seed=training.seed)

    known = known_at(data, issue_time, days)
    value = factory().fit(known).predict(known, len(times))["value"].reindex(times).to_numpy()
    able = [at for at in origins if not history_problem(known_at(data, at, days))]
    walked = list(walk(factory, data, able, len(times), REFIT_DAYS, days))
    if not walked:
        return value, pd.Series([], dtype=float)
    past = pd.concat(walked, ignore_index=True).set_index(["issue_time", "valid_time"])
    return value, past["actual"] - past["value"]


def changed(
    parts: Parts, sums: np.ndarray, kept: Sequence[int], past: pd.DataFrame, errors: pd.DataFrame
) -> list[Run]:
    """The sources' forecasts of least variance, given those of the sums.

    A band moves with its value. Nothing leaves what the source can do.

    Parameters
    ----------
    parts : the forecasts.
    sums, kept, past : of `direct_sums`.
    errors : of `past_errors`.
    """
    if not len(kept):
        return list(parts.runs)
    groups, base = parts.groups[list(kept)], parts.column("value")
    joint = past.join(errors, how="inner").dropna() if len(errors) else errors
    if len(joint) >= FEWEST:
        covariance = shrunk_covariance(joint.to_numpy())
    else:
        log.warning("mint knows no errors of the past; run forecast_and_save.py --backfill-days")
        covariance = structural_covariance(groups)
    moves = reconciled(sums, base, groups, covariance) - base
    runs = []
    for (run, frame), source, move in zip(parts.runs, parts.sources, moves, strict=True):
        value = frame["value"].to_numpy()
        most = np.maximum(np.inf if source.capacity_kw is None else source.capacity_kw, value)
        columns = frame[list(COLUMNS)].to_numpy() + move[:, None]
        columns = np.clip(columns, np.minimum(0, value)[:, None], most[:, None])
        runs.append((run, frame.assign(**dict(zip(COLUMNS, columns.T, strict=True)))))
    return runs


def sums_of(parts: Parts, correlation: np.ndarray | None, model: str) -> list[Run]:
    """Runs of the sums; their bands are as wide as the errors of their sources go together.

    Parameters
    ----------
    parts : the forecasts that agree.
    correlation : of their errors; None: they all err alike, which makes the widest band.
    model : name of the way.
    """
    groups, middle = parts.groups, parts.column("q50")
    if correlation is None:
        correlation = np.ones((len(parts.sources), len(parts.sources)))
    columns = {"value": groups @ parts.column("value"), "q50": groups @ middle}
    for name in QUANTILE_COLUMNS:
        if name != "q50":
            apart = parts.column(name) - middle
            sign = -1.0 if name < "q50" else 1.0
            columns[name] = columns["q50"] + sign * width_of_sums(apart, groups, correlation)
    bands = np.sort(np.stack([columns[name] for name in QUANTILE_COLUMNS], axis=-1), axis=-1)
    first = parts.runs[0][0]
    runs = []
    for number, name in enumerate(parts.names):
        of_sum = [parts.runs[each][0] for each in np.flatnonzero(groups[number])]
        role = "champion" if all(run.role == "champion" for run in of_sum) else "fallback"
        note = "" if role == "champion" else "a stand-in forecasts a part of it"
        frame = pd.DataFrame(bands[number], parts.times, list(QUANTILE_COLUMNS))
        frame = frame.assign(value=columns["value"][number], published=False)
        run = ForecastRun(name, model, None, None, first.issue_time, role, note)
        runs.append((run, frame))
    return runs
