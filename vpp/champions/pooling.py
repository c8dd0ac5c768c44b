"""Trains one model for all sources of a kind, `global`, by shards of its sources.

A pool is fitted to rows of all sources as they were known at one time. That of three weeks ago
tells by its forecasts since then how wide the bands of each source are, and whether it beats last
week's same local hour; that of now forecasts. One registered model a kind, `vpp-global~<kind>`,
holds the newest pool and what is known of each source."""

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vpp.champions import registry
from vpp.champions.assessing import (
    Assessed,
    LeftOut,
    Shard,
    assess_shard,
    left_out,
    loaded,
    parts_of,
    rows_of,
)
from vpp.champions.contenders import silence
from vpp.champions.history import load_source_data
from vpp.champions.logbook import numbers
from vpp.champions.tasks import cut, keep_digest
from vpp.forecast.backtest import CALIBRATION_DAYS, REFIT_DAYS
from vpp.forecast.known import known_at
from vpp.forecast.model import ModelError
from vpp.forecast.models.pooled import Global
from vpp.forecast.models.pools import Pool, PoolRows, fit_pool, merged
from vpp.runtime.compute import computed
from vpp.runtime.memory import give_back
from vpp.runtime.settings import Config, Training
from vpp.runtime.words import in_words
from vpp.site.kinds import POWER_KINDS
from vpp.site.sources import Source
from vpp.site.times import DAY
from vpp.storage.claims import claimed
from vpp.storage.connection import session

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("train_forecast")


CUTS = 7  # pools of earlier times, where `global` competes with the models of large sources
FEWEST = 60  # rows of a source, however many sources there are


@dataclass(frozen=True)
class Fit:
    """A pool to fit.

    Parameters
    ----------
    config : the configuration.
    model : with its parameters and seed.
    kind : of the sources.
    cut : as of which the rows are [UTC].
    rows : of all sources.
    """

    config: Config
    model: Global
    kind: str
    cut: pd.Timestamp
    rows: PoolRows


@dataclass
class Trained:
    """How the training of a kind ended.

    Parameters
    ----------
    pools : by time, the newest last.
    rows : of the leaderboard.
    """

    pools: tuple[Pool, ...]
    rows: list[dict]


def is_pooled(source: Source, sources: Sequence[Source], training: Training) -> bool:
    """Whether the model of its kind forecasts a source: it is not among the `own_models` largest.

    Parameters
    ----------
    source : a plant, load or market; each market has models of its own.
    sources : all of them.
    training : the rules.
    """
    if source.kind not in POWER_KINDS:
        return False
    largest = sorted(
        (other for other in sources if other.kind == source.kind),
        key=lambda other: (-(other.capacity_kw or 0.0), other.source_id),
    )
    return source not in largest[: training.own_models]


def train_kind(
    config: Config,
    kind: str,
    sources: Sequence[Source],
    pooled: Sequence[Source],
    issue_time: pd.Timestamp,
    training: Training,
    since: pd.Timestamp,
) -> Trained:
    """Train the model of a kind, assess it on the sources that it forecasts, and register it.

    Parameters
    ----------
    config : the configuration.
    kind : of the sources.
    sources : that it learns from.
    pooled : those of them that have no models of their own.
    issue_time : nothing known later is used [UTC].
    training : the rules.
    since : when the command began [UTC of the database].
    """
    began, client = time.monotonic(), registry.open_store(config)
    name = registry.pool_name(kind)
    rules = (issue_time, config.forecast, training, [source.source_id for source in sources])
    task = f"pool/{kind}/{hashlib.sha256(repr(rules).encode()).hexdigest()[:16]}"
    with claimed(config, task, since, wait=True) as claim:
        assert claim is not None  # it waits
        competes = Global.name in training.models and len(pooled) < len(sources)
        if claim.done and not competes:
            return Trained((), claim.result)
        pools, reasons = make_pools(config, sources, issue_time, training, competes)
        if claim.done:
            return Trained(pools, claim.result)
        newest = [pool for pool in pools if pool.trained_until == issue_time]
        assessed = assess(config, pooled, issue_time, training, pools) if newest else []
        rows = rows_of(pooled, assessed, reasons)
        if newest:
            register(config, client, name, newest[0], assessed, sources, issue_time, training, rows)
        claim.finish(rows)
    log.info(
        "%s: %d sources, %d of them without models of their own, %.0f s",
        name,
        len(sources),
        len(pooled),
        time.monotonic() - began,
    )
    return Trained(pools, rows)


def cuts_of(issue_time: pd.Timestamp, training: Training, competes: bool) -> list[pd.Timestamp]:
    """The times as of which pools are made: now, three weeks ago and, for a contest, each refit.

    Parameters
    ----------
    issue_time : now [UTC].
    training : the rules.
    competes : whether `global` is compared with the models of single sources.
    """
    days = {0, CALIBRATION_DAYS}
    if competes:
        days |= {training.origins, *(number * REFIT_DAYS for number in range(1, CUTS))}
    return [issue_time - number * DAY for number in sorted(days, reverse=True)]


def make_pools(
    config: Config,
    sources: Sequence[Source],
    issue_time: pd.Timestamp,
    training: Training,
    competes: bool,
) -> tuple[tuple[Pool, ...], dict[str, LeftOut]]:
    """Fit the pools of a kind.

    Parameters
    ----------
    config, sources, issue_time, training, competes : as of `train_kind` and `cuts_of`.

    Returns
    -------
    The pools by time, those left out that had too little to learn from; why a source was.
    """
    cuts = tuple(cuts_of(issue_time, training, competes))
    given = Global.defaults
    most = max(FEWEST, min(given["source_rows"], given["most_rows"] // len(sources)))
    shards = [Shard(config, part, issue_time, training, cuts, most) for part in parts_of(sources)]
    parts: dict[pd.Timestamp, dict[str, PoolRows]] = {at: {} for at in cuts}
    reasons: dict[str, LeftOut] = {}
    with computed(config, rows_of_shard, shards, training.jobs) as found:
        for first, made, why in found:
            reasons |= why
            for at, rows in made.items():
                parts[at][first] = rows
    fits = [
        Fit(config, shards[0].model(), sources[0].kind, at, merged([by[key] for key in sorted(by)]))
        for at, by in parts.items()
        if by
    ]
    parts.clear()
    give_back()  # while pools are fitted, which needs most memory
    pools = []
    with computed(config, fit_task, fits, training.jobs) as done:
        pools = [pool for pool in done if pool is not None]
    return tuple(sorted(pools, key=lambda pool: pool.trained_until)), reasons


def fit_task(fit: Fit) -> Pool | None:
    """Fit one pool; None where it has too little to learn from."""
    silence()
    try:
        return fit_pool(fit.model, fit.kind, fit.cut, [fit.rows])
    except ModelError:
        return None


def rows_of_shard(
    shard: Shard,
) -> tuple[str, dict[pd.Timestamp, PoolRows], dict[str, LeftOut]]:
    """The rows that pools learn from some sources.

    Parameters
    ----------
    shard : the sources.

    Returns
    -------
    The first source, by which shards are ordered; the rows as of each time; why a source has none.
    """
    silence()
    model, reasons = shard.model(), dict[str, LeftOut]()
    found: dict[pd.Timestamp, list[PoolRows]] = {at: [] for at in shard.cuts}
    for source, data in loaded(shard, reasons):
        for at in shard.cuts:
            try:
                known = known_at(data, at, shard.training.history_days)
                reason = left_out(known)
                if not reason:
                    found[at].append(model.rows(known, shard.most))
            except Exception as error:  # whatever is wrong with it, the others are learned from
                reason = LeftOut(in_words(error))
            if reason and at == shard.issue_time:
                reasons[source.source_id] = reason
    rows = {at: merged(parts) for at, parts in found.items() if parts}
    return shard.sources[0].source_id, rows, reasons


def assess(
    config: Config,
    pooled: Sequence[Source],
    issue_time: pd.Timestamp,
    training: Training,
    pools: Sequence[Pool],
) -> list[Assessed]:
    """Assess the pool of three weeks ago on the days since then, source by source.

    Parameters
    ----------
    config, pooled, issue_time, training : as of `train_kind`.
    pools : of all times.
    """
    then = [pool for pool in pools if pool.trained_until == issue_time - CALIBRATION_DAYS * DAY]
    if not then or not pooled:
        return []
    shards = [
        Shard(config, part, issue_time, training, (), 0, tuple(then)) for part in parts_of(pooled)
    ]
    with computed(config, assess_shard, shards, training.jobs) as found:
        made = {each.source_id: each for part in found for each in part}
    return [made[source.source_id] for source in pooled if source.source_id in made]


def register(
    config: Config,
    client: "MlflowClient",
    name: str,
    pool: Pool,
    assessed: Sequence[Assessed],
    sources: Sequence[Source],
    issue_time: pd.Timestamp,
    training: Training,
    rows: list[dict],
) -> None:
    """Register the model of a kind, with what is known of each source.

    Parameters
    ----------
    config, client : names the store, and its client.
    name : under which it is registered.
    pool : the newest.
    assessed : of the sources.
    sources, issue_time, training : as of `train_kind`.
    rows : of the leaderboard.
    """
    import mlflow

    shown = next(source for source in sources if source.source_id in pool.source_ids)
    with session(config) as conn:
        data = cut(load_source_data(conn, config, shown), issue_time)
    model = Global(config.forecast.horizon_h, training.seed)
    model.pools = (pool,)
    model.fit(known_at(data, issue_time, training.history_days))
    model.members = {each.source_id: each.member for each in assessed if not each.reason}
    ratios = [row["mae_ratio_naive"] for row in rows if row["model"] == Global.name]
    tags = {"source_id": name, "issue_time": issue_time.isoformat(), "champion": Global.name}
    with registry.store_lock(config), mlflow.start_run(run_name=name, tags=tags):
        mlflow.log_params({"sources": len(pool.source_ids), "model": Global.name})
        mlflow.log_metrics(numbers({"mae_ratio_naive": np.mean(ratios) if ratios else None}))
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "leaderboard.csv")
        keep = partial(keep_digest, config, name)
        registry.register(client, data, model, tags, keep, name)
