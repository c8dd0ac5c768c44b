"""Trains the models of every source: reads the series, holds the contests, registers champions."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vpp.champions import registry
from vpp.champions.contenders import Contest
from vpp.champions.contest import failure, train_source
from vpp.champions.history import (
    check_issue_time,
    load_source_data,
    pick_sources,
    read_issue,
)
from vpp.champions.leaderboard import leaderboard, not_trained
from vpp.champions.logbook import Keep, code_version, record
from vpp.champions.studies import prepare_storage
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError, FieldError, check_known
from vpp.runtime.parallel import parallel
from vpp.runtime.settings import Config, Training
from vpp.storage.connection import session
from vpp.storage.digests import read_digests, save_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

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
    training = settings(config.training, models, trials, timeout_s, jobs)
    times = [time.monotonic()]
    issue_time, stored, left_out, storage = read_history(config, issue_time, source)
    times.append(time.monotonic())
    client = registry.open_store(config)
    with session(config) as conn:
        digests = read_digests(conn)
    contests = []
    for data in stored:
        incumbent = registry.read_champion(client, data.source.source_id)
        if incumbent is not None:
            sha256 = digests.get((incumbent.source_id, incumbent.version))
            incumbent = registry.with_check(incumbent, sha256)
        horizon_h = config.forecast.horizon_h
        contests.append(Contest(data, issue_time, horizon_h, training, storage, incumbent))
    times.append(time.monotonic())
    rows = hold(contests, client, training.jobs, partial(keep_digest, config))
    rows += [not_trained(source_id, why) for source_id, why in left_out.items()]
    times.append(time.monotonic())
    log.info(
        "%d sources in %.0f s: data %.1f, MLflow %.1f, models %.1f",
        len(contests),
        times[-1] - times[0],
        *np.diff(times),
    )
    return rows


def read_history(
    config: Config, issue_time: pd.Timestamp | None, source: str | None
) -> tuple[pd.Timestamp, list[SourceData], dict[str, str], str | Path]:
    """Read the sources to train, as known at the issue time.

    Parameters
    ----------
    config : the configuration.
    issue_time : now [UTC]; default the data end.
    source : only this source_id; default all.

    Returns
    -------
    The issue time, the sources, those that are left out with the reason, and where Optuna keeps
    its studies. A source that is not current keeps the champion that it has.
    """
    with session(config) as conn:
        now, freshness = read_issue(conn, config, issue_time)
        markets = config.tariff.needs_market
        sources = pick_sources(conn, [source] if source else None, markets)
        check_issue_time(now, sources)
        names = [item.source_id for item in sources]
        left_out = {name: freshness.behind[name] for name in names if name in freshness.behind}
        stored = [
            cut(load_source_data(conn, config, item), now)
            for item in sources
            if item.source_id not in left_out
        ]
        return now, stored, left_out, prepare_storage(config, conn)


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


def hold(contests: Sequence[Contest], client: "MlflowClient", jobs: int, keep: Keep) -> list[dict]:
    """Hold the contests, and record each in MLflow as it ends.

    Parameters
    ----------
    contests : one a source.
    client : of the MLflow store.
    jobs : contests at the same time.
    keep : records source, version and SHA-256 of a registered model.

    Returns
    -------
    The leaderboard, in the order of the contests.
    """
    rows: dict[str, list[dict]] = {}
    version = code_version()
    with (
        terminal.progress("training", len(contests)) as advance,
        parallel(train_source, contests, jobs) as decisions,
    ):
        for decision in decisions:
            source_id = decision.contest.data.source.source_id
            try:
                record(client, decision, version, keep)
            except Exception as error:  # whatever MLflow raises, the others are registered
                decision = failure(decision.contest, error)
            rows[source_id] = leaderboard(decision)
            champion = decision.champion.model if decision.champion else "no champion"
            log.info("%s: %s (%s)", source_id, champion, decision.verdict)
            advance(1)
    return [row for contest in contests for row in rows[contest.data.source.source_id]]


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
