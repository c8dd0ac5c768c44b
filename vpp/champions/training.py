"""Trains the models of every source: reads the series, holds the contests, registers champions."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from vpp.champions import registry
from vpp.champions.history import check_issue_time, pick_sources, read_issue
from vpp.champions.leaderboard import not_trained
from vpp.champions.logbook import code_version
from vpp.champions.pooling import is_pooled, train_kind
from vpp.champions.studies import prepare_storage
from vpp.champions.tasks import TrainTask, cut, keep_digest, train_task
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.pooled import Global
from vpp.forecast.models.pools import Pool
from vpp.runtime.errors import ConfigError, FieldError, check_known
from vpp.runtime.memory import give_back, one_heap
from vpp.runtime.settings import Config, Training
from vpp.site.kinds import POWER_KINDS
from vpp.site.sources import Source
from vpp.storage.claims import server_time
from vpp.storage.connection import session
from vpp.storage.sharing import shared_out

__all__ = ["cut", "keep_digest", "settings", "train"]

log = logging.getLogger("train_forecast")


def train(
    config: Config,
    issue_time: pd.Timestamp | None = None,
    source: str | None = None,
    models: Sequence[str] | None = None,
    trials: int | None = None,
    timeout_s: float | None = None,
    jobs: int | None = None,
) -> list[dict]:
    """Train the models of every source and register champions.

    Parameters
    ----------
    config : the configuration.
    issue_time : nothing known later is used [UTC]; default the data end.
    source : only this source_id.
    models, trials, timeout_s, jobs : instead of those of `[training]`; timeout [s] for each
        source, 0 for none.

    Returns
    -------
    The leaderboard, a row for each source and model: source_id, model, champion, mae,
    mae_ratio_naive, pinball, coverage_80, …. A source that cannot be trained, or is not current,
    has no row with champion; its note says why, and the others are trained.

    Raises
    ------
    VppError : no data, an unknown source or model, or no MLflow.
    """
    training, began = settings(config.training, models, trials, timeout_s, jobs), time.monotonic()
    one_heap()
    registry.open_store(config)
    given = read_sources_to_train(config, issue_time, source)
    pools, rows, pooled = train_pools(config, given, training, bool(source))
    version = code_version()
    tasks = [
        TrainTask(
            config,
            item,
            given.issue_time,
            training,
            given.storage,
            version,
            given.since,
            tuple(pool for pool in pools if pool.kind == item.kind),
        )
        for item in given.sources
        if item.source_id not in pooled
    ]
    for outcome in shared_out(config, train_task, tasks, training.jobs, "train_forecast"):
        rows[outcome.result[0]["source_id"]] = outcome.result
        say(outcome.result)
    left_out = [not_trained(source_id, why) for source_id, why in given.left_out.items()]
    log.info("%d sources in %.0f s", len(given.sources), time.monotonic() - began)
    return [row for item in given.sources for row in rows[item.source_id]] + left_out


@dataclass(frozen=True)
class Given:
    """The sources to train, and what is common to them.

    Parameters
    ----------
    issue_time : nothing known later is used [UTC].
    since : when the command began [UTC of the database].
    sources : to train.
    every : all that could be, whether current or not.
    left_out : why a source is not trained; it keeps the champion that it has.
    storage : where Optuna keeps its studies.
    """

    issue_time: pd.Timestamp
    since: pd.Timestamp
    sources: list[Source]
    every: list[Source]
    left_out: dict[str, str]
    storage: str | Path


def read_sources_to_train(
    config: Config, issue_time: pd.Timestamp | None, source: str | None
) -> Given:
    """Read which sources are to be trained, and as of which time.

    Parameters
    ----------
    config : the configuration.
    issue_time : now [UTC]; default the data end.
    source : only this source_id; default all.
    """
    with session(config) as conn:
        since = server_time(conn)
        now, freshness = read_issue(conn, config, issue_time)
        markets = config.tariff.needs_market
        sources = pick_sources(conn, [source] if source else None, markets)
        check_issue_time(now, sources)
        names = [item.source_id for item in sources]
        left_out = {name: freshness.behind[name] for name in names if name in freshness.behind}
        current = [item for item in sources if item.source_id not in left_out]
        return Given(now, since, current, sources, left_out, prepare_storage(config, conn))


def train_pools(
    config: Config, given: Given, training: Training, alone: bool
) -> tuple[tuple[Pool, ...], dict[str, list[dict]], set[str]]:
    """Train the models of whole kinds that are wanted.

    Parameters
    ----------
    config : the configuration.
    given : the sources to train.
    training : the rules.
    alone : whether one source was named, which has models of its own.

    Returns
    -------
    The pools; rows of the leaderboard by source_id; the sources without models of their own.
    """
    pooled = {
        item.source_id
        for item in given.sources
        if not alone and is_pooled(item, given.every, training)
    }
    pools, rows = tuple[Pool, ...](), dict[str, list[dict]]()
    for kind in POWER_KINDS:
        of_kind = [item for item in given.sources if item.kind == kind]
        without = [item for item in of_kind if item.source_id in pooled]
        if without or (of_kind and Global.name in training.models):
            found = train_kind(
                config, kind, of_kind, without, given.issue_time, training, given.since
            )
            pools += found.pools
            for row in found.rows:
                rows.setdefault(row["source_id"], []).append(row)
            give_back()
    return pools, rows, pooled


def say(rows: Sequence[dict]) -> None:
    """Log how the training of a source ended.

    Parameters
    ----------
    rows : of its leaderboard.
    """
    best = next((row for row in rows if row["champion"]), None)
    champion = best["model"] if best else "no champion"
    log.info("%s: %s (%s)", rows[0]["source_id"], champion, (best or rows[0])["note"])


def settings(
    training: Training,
    models: Sequence[str] | None,
    trials: int | None,
    timeout_s: float | None,
    jobs: int | None,
) -> Training:
    """`[training]` with what was given instead.

    Parameters
    ----------
    training : the section.
    models, trials, timeout_s, jobs : None leaves the section's; timeout [s].

    Raises
    ------
    ConfigError : a value is out of bounds, a model is unknown, or there is none.
    """
    names = models if models is None else tuple(name.strip() for name in models if name.strip())
    given = {"models": names, "trials": trials, "timeout_s": timeout_s, "jobs": jobs}
    changes: dict = {key: value for key, value in given.items() if value is not None}
    try:
        training = replace(training, **changes)
    except FieldError as error:
        flag = error.key.removesuffix("_s")
        raise ConfigError(f"--{flag} {error.value}: expected {error.expected}") from None
    if not training.models:
        raise ConfigError(
            f"no model in [training] models or --models; expected some of {', '.join(MODELS)}"
        )
    for name in training.models:
        check_known("[training] models or --models: model", name, MODELS)
    return training
