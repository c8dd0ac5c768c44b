"""Trains the models of every source and keeps the record in MLflow.

Parameters, scores and champions.
"""

import logging
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.champions import registry
from vpp.champions.contest import Outcome, failure, train_source
from vpp.champions.history import check_issue_time, load_source_data, pick_sources
from vpp.champions.tuning import NAIVE, Result, Task, data_hash, open_storage
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime import terminal
from vpp.runtime.config import EMBEDDED, Config, ConfigError, FieldError, check_known
from vpp.runtime.parallel import parallel
from vpp.storage.connection import session
from vpp.storage.measurements import data_end

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
    issue_time : nothing known later is used; default the data end.
    source : only this source_id.
    models, trials, timeout_s, jobs : instead of those of `[training]`; timeout in seconds for each
        source, 0 for none.

    Returns
    -------
    The leaderboard, a row for each source and model: source_id, model, champion, mae,
    mae_ratio_naive, pinball, coverage_80, …. A source that cannot be trained has no row with
    champion; its note says why, and the others are trained.

    Raises
    ------
    VppError : no data, an unknown source or model, or no MLflow.
    """
    if models is not None:
        models = tuple(name.strip() for name in models if name.strip())
    given = {"models": models, "trials": trials, "timeout_s": timeout_s, "jobs": jobs}
    try:
        training = replace(
            config.training, **{key: value for key, value in given.items() if value is not None}
        )
    except FieldError as error:
        raise ConfigError(
            f"--{error.key.removesuffix('_s')} {error.value}: expected {error.expected}"
        ) from None
    if not training.models:
        raise ConfigError(
            f"no model in [training] models or --models; expected some of {', '.join(MODELS)}"
        )
    for name in training.models:
        check_known("[training] models or --models: model", name, MODELS)
    began = time.monotonic()
    with session(config) as connection:
        issue_time = (
            pd.Timestamp(issue_time).tz_convert("UTC")
            if issue_time is not None
            else data_end(connection)
        )
        sources = pick_sources(connection, [source] if source else None)
        check_issue_time(issue_time, sources)
        stored = [cut(load_source_data(connection, config, item), issue_time) for item in sources]
        storage = prepare_storage(config, connection)
    loaded = time.monotonic()
    client = registry.open_store(config)
    tasks = [
        Task(
            data,
            issue_time,
            config.forecast.horizon_h,
            training,
            storage,
            registry.read_champion(client, data.source.source_id),
        )
        for data in stored
    ]
    opened = time.monotonic()
    rows: dict[str, list[dict]] = {}
    version = code_version()
    with (
        terminal.progress("training", len(tasks)) as advance,
        parallel(train_source, tasks, training.jobs) as outcomes,
    ):
        for outcome in outcomes:
            source_id = outcome.task.data.source.source_id
            try:
                record(client, outcome, version)
            except (
                Exception
            ) as error:  # whatever MLflow raises; the other sources are still to be registered
                outcome = failure(outcome.task, error)
            rows[source_id] = leaderboard(outcome)
            log.info(
                "%s: %s (%s)",
                source_id,
                outcome.champion.model if outcome.champion else "no champion",
                outcome.verdict,
            )
            advance(1)
    log.info(
        "%d sources in %.0f s: data %.1f, MLflow %.1f, models %.1f",
        len(tasks), time.monotonic() - began, loaded - began, opened - loaded, time.monotonic() - opened,
    )  # fmt: skip
    return [row for item in sources for row in rows[item.source_id]]


def cut(data: SourceData, issue_time: pd.Timestamp) -> SourceData:
    """The source as if nothing later than the issue time were stored."""
    known = known_at(data, issue_time)
    return replace(
        data, series=known.targets, weather_forecasts=known.weather_forecasts, others=known.others
    )


def prepare_storage(config: Config, connection) -> str | Path:
    """Where studies lie.

    The database when it is a named server, so that several machines share them, else a journal
    file.
    """
    if config.database.url == EMBEDDED:
        config.paths.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return config.paths.state_dir.resolve() / "optuna.journal"
    with connection.cursor() as cursor:  # one at a time makes the tables
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('optuna'))")
        open_storage(config.database.url)
    return config.database.url


def leaderboard(outcome: Outcome) -> list[dict]:
    """A row for each model of a source, the best first."""
    naive = outcome.results[0].scores.get("mae", np.nan)
    rows = []
    for result in sorted(outcome.results, key=lambda result: (result.score, result.model != NAIVE)):
        found, champion = result.scores, result is outcome.champion
        mae = found.get("mae")
        rows.append(
            {
                "source_id": outcome.task.data.source.source_id,
                "model": result.model,
                "champion": champion,
                "mae": mae,
                "mae_ratio_naive": mae / naive if mae is not None and naive > 0 else None,
                "rmse": found.get("rmse"),
                "nmae": found.get("nmae"),
                "pinball": found.get("pinball"),
                "coverage_80": found.get("coverage_80"),
                "width_80": found.get("width_80"),
                "captured_share": found.get("captured_share"),
                "kendall_tau": found.get("kendall_tau"),
                "trials": result.trials,
                "seconds": round(result.seconds, 2),
                "note": note_of(outcome, result),
            }
        )
    return rows


def note_of(outcome: Outcome, result: Result) -> str:
    if result is outcome.champion:
        return outcome.verdict
    if result.reason:
        return f"failed: {result.reason}"
    return "former champion" if result.incumbent else ""


def record(client, outcome: Outcome, version: str) -> None:
    """Write a source to MLflow.

    A parent run, a run for each model, and the champion's model where it is new.
    """
    import mlflow

    task, source_id = outcome.task, outcome.task.data.source.source_id
    known = known_at(task.data, task.issue_time, task.training.history_days)
    tags = {
        "source_id": source_id,
        "issue_time": task.issue_time.isoformat(),
        "data_start": str(known.series.index[0]) if len(known.series) else "",
        "data_end": str(known.series.index[-1] + known.step) if len(known.series) else "",
        "data_hash": data_hash(task.data, task.issue_time),
        "code_version": version,
        "verdict": outcome.verdict,
        "champion": outcome.champion.model if outcome.champion else "",
    }
    with mlflow.start_run(run_name=source_id, tags=tags):
        mlflow.log_params({key: str(value) for key, value in vars(task.training).items()})
        mlflow.log_metrics(
            {f"test_{key}": value for key, value in numbers(outcome.test_scores).items()}
        )
        for result in outcome.results:
            failed = (
                {"status": "failed", "reason": result.reason}
                if result.reason
                else {"status": "done"}
            )
            with mlflow.start_run(
                run_name=result.model + " (incumbent)" * result.incumbent,
                nested=True,
                tags=tags | failed,
            ) as run:
                mlflow.log_params(result.parameters | {"model": result.model})
                mlflow.log_metrics(numbers(result.scores) | {"seconds": result.seconds})
                if result.frame is not None:
                    mlflow.log_text(
                        result.frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ"),
                        "backtest.csv",
                    )
                if result.picture:
                    log_bytes(result.picture, "backtest.png")
                if result is outcome.champion and outcome.fitted is not None:
                    registry.register(client, task.data, outcome.fitted, tags)
            if result.reason:
                client.set_terminated(run.info.run_id, "FAILED")


def log_bytes(content: bytes, name: str) -> None:
    """Write an artifact of the active MLflow run."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        mlflow.log_artifact(str(path))


def numbers(found: dict) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in found.items()
        if value is not None and np.isfinite(value)
    }


def code_version() -> str:
    """The commit of the working copy, with a mark where it was changed; "unknown" outside one."""
    folder = Path(__file__).resolve().parents[2]
    command = [
        "git",
        "-C",
        str(folder),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
