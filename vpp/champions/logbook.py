"""Keeps the record of a training in MLflow: parameters, scores, pictures and champions."""

import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vpp.champions.contenders import Contender
from vpp.champions.contest import Decision
from vpp.champions.leaderboard import leaderboard
from vpp.champions.registry import register
from vpp.champions.studies import data_hash
from vpp.forecast.known import known_at

if TYPE_CHECKING:
    from mlflow import MlflowClient

# of the champion, in the parent run: error, that over last week's, coverage, value
CHOICE = ("mae", "mae_ratio_naive", "coverage_80", "captured_share")
Keep = Callable[[str, str, str], None]


def record(client: "MlflowClient", decision: Decision, version: str, keep: Keep) -> None:
    """Write a source to MLflow: a parent run with the champion and its scores, picture and
    leaderboard, in it a run for each model, and the champion's model where it is new.

    Parameters
    ----------
    client : of the store.
    decision : of the source.
    version : of the code.
    keep : records source, version and SHA-256 of a registered model.
    """
    import mlflow

    tags = tags_of(decision, version)
    with mlflow.start_run(run_name=tags["source_id"], tags=tags):
        training = vars(decision.contest.training)
        mlflow.log_params({key: str(value) for key, value in training.items()})
        record_choice(decision)
        tested = numbers(decision.test_scores)
        mlflow.log_metrics({f"test_{key}": value for key, value in tested.items()})
        for contender in decision.contenders:
            record_contender(client, decision, contender, tags, keep)


def record_choice(decision: Decision) -> None:
    """Write to the active run which model was chosen, how good it is, and beside which others.

    Parameters
    ----------
    decision : of the source.
    """
    import mlflow

    champion = decision.champion
    mlflow.log_param("champion", champion.model if champion else "none")
    rows = leaderboard(decision)
    mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "leaderboard.csv")
    chosen = next((row for row in rows if row["champion"]), {})
    mlflow.log_metrics(numbers({name: chosen.get(name) for name in CHOICE}))
    if champion and champion.picture:
        log_bytes(champion.picture, "champion.png")


def tags_of(decision: Decision, version: str) -> dict[str, str]:
    """The tags of each run of a source: source, issue time, data, code and decision.

    Parameters
    ----------
    decision : of the source.
    version : of the code.
    """
    contest, champion = decision.contest, decision.champion
    known = known_at(contest.data, contest.issue_time, contest.training.history_days)
    return {
        "source_id": contest.data.source.source_id,
        "issue_time": contest.issue_time.isoformat(),
        "data_start": str(known.series.index[0]) if len(known.series) else "",
        "data_end": str(known.series.index[-1] + known.step) if len(known.series) else "",
        "data_hash": data_hash(contest.data, contest.issue_time),
        "code_version": version,
        "verdict": decision.verdict,
        "champion": champion.model if champion else "",
    }


def record_contender(
    client: "MlflowClient",
    decision: Decision,
    contender: Contender,
    tags: dict[str, str],
    keep: Keep,
) -> None:
    """Write the run of one model; the champion's fitted model is registered with it.

    Parameters
    ----------
    client : of the store.
    decision, contender : of the source, and the model.
    tags : of the source.
    keep : as of `record`.
    """
    import mlflow

    reason = contender.reason
    ended = {"status": "failed", "reason": reason} if reason else {"status": "done"}
    name = contender.model + " (incumbent)" * contender.incumbent
    with mlflow.start_run(run_name=name, nested=True, tags=tags | ended) as run:
        mlflow.log_params(contender.parameters | {"model": contender.model})
        mlflow.log_metrics(numbers(contender.scores) | {"seconds": contender.seconds})
        if contender.frame is not None:
            rows = contender.frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
            mlflow.log_text(rows, "backtest.csv")
        if contender.picture:
            log_bytes(contender.picture, "backtest.png")
        if contender is decision.champion and decision.fitted is not None:
            kept = partial(keep, tags["source_id"])
            register(client, decision.contest.data, decision.fitted, tags, kept)
    if reason:
        client.set_terminated(run.info.run_id, "FAILED")


def log_bytes(content: bytes, name: str) -> None:
    """Write an artifact to the active MLflow run.

    Parameters
    ----------
    content, name : of the artifact.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        mlflow.log_artifact(str(path))


def numbers(found: dict) -> dict[str, float]:
    """The finite numbers among some scores."""
    return {
        key: float(value)
        for key, value in found.items()
        if value is not None and np.isfinite(value)
    }


def code_version() -> str:
    """The commit of the working copy, with a mark where it was changed; "unknown" outside one."""
    folder = str(Path(__file__).resolve().parents[2])
    describe = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        done = subprocess.run(
            ["git", "-C", folder, *describe], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
