"""The training of one source as a task: loads, holds the contest, registers, and says how it went.

It may run in any process on any machine that reaches the servers of the configuration, and twice: a
champion that is registered already stays as it is."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vpp.champions import contest as contests
from vpp.champions import logbook, registry
from vpp.champions.contenders import Contest
from vpp.champions.history import load_source_data
from vpp.champions.leaderboard import leaderboard
from vpp.champions.mixing import models_of
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.pools import Pool
from vpp.runtime.settings import Config, Training
from vpp.site.sources import Source
from vpp.storage.claims import claimed
from vpp.storage.connection import session
from vpp.storage.digests import read_digests, save_digest
from vpp.storage.sharing import Outcome, Steps

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("train_forecast")


@dataclass(frozen=True)
class TrainTask:
    """A source to train.

    Parameters
    ----------
    config : the configuration.
    source : to train.
    issue_time : nothing known later is used [UTC].
    training : the rules.
    storage : where Optuna keeps its studies.
    version : of the code.
    since : when the command began [UTC of the database].
    pools : of all kinds, for the model `global`.
    wait : whether to wait for another command that trains the source.
    """

    config: Config
    source: Source
    issue_time: pd.Timestamp
    training: Training
    storage: str | Path
    version: str
    since: pd.Timestamp
    pools: tuple[Pool, ...] = ()
    wait: bool = False

    @property
    def name(self) -> str:
        """By which the training is claimed."""
        training = replace(self.training, jobs=1, timeout_s=0.0)
        rules = (str(self.issue_time), self.config.forecast, self.config.mlflow, training)
        digest = hashlib.sha256(repr(rules).encode()).hexdigest()[:16]
        return f"train/{self.source.source_id}/{digest}"


def train_task(task: TrainTask) -> Outcome:
    """Train one source where no other command does.

    Parameters
    ----------
    task : the source, and the rules.

    Returns
    -------
    The rows of its leaderboard; None where another command is at it.
    """
    with claimed(task.config, task.name, task.since, task.wait) as claim:
        if claim is None:
            return Outcome(task.name, None)
        if not claim.done:
            claim.finish(train_and_record(task))
        return Outcome(task.name, claim.result)


def train_and_record(task: TrainTask) -> list[dict]:
    """Hold the contest of a source, and record it in MLflow.

    Parameters
    ----------
    task : the source, and the rules.

    Returns
    -------
    The rows of its leaderboard.
    """
    config, source = task.config, task.source
    client = registry.open_store(config)
    steps = Steps(config, task.name, 1)
    try:
        contest = contest_of(task, client, steps)
        names = models_of(contest)
        trials = sum(task.training.trials for name in names if not MODELS[name].dear)
        steps.steps = len(names) + trials
        decision = contests.train_source(contest)
    except (registry.ModelStoreError, OSError):
        raise
    except Exception as error:  # its rows or parameters; the other sources are trained
        empty = Contest(
            SourceData(source, pd.Series([], pd.DatetimeIndex([], tz="UTC"), float)),
            task.issue_time,
            config.forecast.horizon_h,
            task.training,
            task.storage,
            None,
        )
        decision = contests.failure(empty, error)
    finally:
        steps.close()
    try:
        with registry.store_lock(config):
            logbook.record(client, decision, task.version, partial(keep_digest, config))
    except Exception as error:  # whatever MLflow raises, the others are registered
        decision = contests.failure(decision.contest, error)
    return leaderboard(decision)


def contest_of(task: TrainTask, client: "MlflowClient", step: Callable[[], None]) -> Contest:
    """The contest of a source, with its data and the champion that it has by now.

    Parameters
    ----------
    task : the source, and the rules.
    client : of the MLflow store.
    step : is called at each step.
    """
    config = task.config
    with session(config) as conn:
        data = cut(load_source_data(conn, config, task.source), task.issue_time)
        digests = read_digests(conn, task.source.source_id)
    incumbent = registry.read_champion(client, task.source.source_id)
    if incumbent is not None:
        sha256 = digests.get((incumbent.source_id, incumbent.version))
        incumbent = registry.with_check(incumbent, sha256)
    horizon_h, training = config.forecast.horizon_h, task.training
    return Contest(
        data, task.issue_time, horizon_h, training, task.storage, incumbent, task.pools, step
    )


def cut(data: SourceData, issue_time: pd.Timestamp) -> SourceData:
    """The source as if nothing later than the issue time were stored.

    Parameters
    ----------
    data : the source.
    issue_time : now [UTC].
    """
    known = known_at(data, issue_time)
    return replace(
        data,
        series=known.targets,
        weather_forecasts=known.weather_forecasts,
        others=known.others,
        external=known.external,
    )


def keep_digest(config: Config, source_id: str, version: str, sha256: str) -> None:
    """Record the digest of a registered model in the database.

    Parameters
    ----------
    config : names the database.
    source_id, version : of the model.
    sha256 : of its file.
    """
    with session(config) as conn:
        save_digest(conn, source_id, version, sha256)
