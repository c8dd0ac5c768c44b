"""Tunes and compares the models of every source, and registers the best as its champion.

    python train_forecast.py
    python train_forecast.py --source load-1 --models arima,random_forest --trials 20
    python train_forecast.py --issue-time 2025-03-01T00:00Z --json

Reads the series from the database as known at the issue time (default: the data end), tunes with Optuna and compares on origins of the
past (`model_selection.py` says how), and writes to MLflow: a run for each source, in it one for each model with parameters, scores,
backtest and picture. The alias `champion` of the registered model `vpp-<source_id>` moves only to a model that beats the one that
has it, or to that one fitted anew. A source that cannot be trained leaves the others be, and the exit code is 1. A run that was
interrupted goes on where it was: the study lies in the database, or in `state_dir` with the embedded one.

Power in kW, prices in EUR/MWh; `mae_ratio_naive` is the MAE over that of last week's same local hour.
"""

import argparse
import logging
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import db
import model_registry
import terminal
from config import EMBEDDED, Config, ConfigError, FieldError, check_known
from features import SourceData, known_at
from forecast_models import MODELS
from forecasting import check_issue_time, load_source_data, pick_sources
from model_selection import NAIVE, Outcome, Result, SelectionError, Task, data_hash, failure, open_storage, train_source

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
    models, trials, timeout_s, jobs : instead of those of `[training]`; timeout in seconds for each source, 0 for none.

    Returns
    -------
    The leaderboard, a row for each source and model: source_id, model, champion, mae, mae_ratio_naive, pinball, coverage_80, ….
    A source that cannot be trained has no row with champion; its note says why, and the others are trained.

    Raises
    ------
    VppError : no data, an unknown source or model, or no MLflow.
    """
    if models is not None:
        models = tuple(name.strip() for name in models if name.strip())
    given = {"models": models, "trials": trials, "timeout_s": timeout_s, "jobs": jobs}
    try:
        training = replace(config.training, **{key: value for key, value in given.items() if value is not None})
    except FieldError as error:
        raise ConfigError(f"--{error.key.removesuffix('_s')} {error.value}: expected {error.expected}") from None
    if not training.models:
        raise ConfigError(f"no model in [training] models or --models; expected some of {', '.join(MODELS)}")
    for name in training.models:
        check_known("[training] models or --models: model", name, MODELS)
    began = time.monotonic()
    with db.session(config) as connection:
        issue_time = pd.Timestamp(issue_time).tz_convert("UTC") if issue_time is not None else db.data_end(connection)
        sources = pick_sources(connection, [source] if source else None)
        check_issue_time(issue_time, sources)
        stored = [cut(load_source_data(connection, config, item), issue_time) for item in sources]
        storage = prepare_storage(config, connection)
    loaded = time.monotonic()
    client = model_registry.open_store(config)
    tasks = [
        Task(data, issue_time, config.forecast.horizon_h, training, storage, model_registry.read_champion(client, data.source.source_id))
        for data in stored
    ]
    opened = time.monotonic()
    rows: dict[str, list[dict]] = {}
    version = code_version()
    with terminal.progress("training", len(tasks)) as advance, parallel(train_source, tasks, training.jobs) as outcomes:
        for outcome in outcomes:
            source_id = outcome.task.data.source.source_id
            try:
                record(client, outcome, version)
            except Exception as error:  # whatever MLflow raises; the other sources are still to be registered
                outcome = failure(outcome.task, error)
            rows[source_id] = leaderboard(outcome)
            log.info("%s: %s (%s)", source_id, outcome.champion.model if outcome.champion else "no champion", outcome.verdict)
            advance(1)
    log.info(
        "%d sources in %.0f s: data %.1f, MLflow %.1f, models %.1f",
        len(tasks), time.monotonic() - began, loaded - began, opened - loaded, time.monotonic() - opened,
    )  # fmt: skip
    return [row for item in sources for row in rows[item.source_id]]


def cut(data: SourceData, issue_time: pd.Timestamp) -> SourceData:
    """The source as if nothing later than the issue time were stored."""
    known = known_at(data, issue_time)
    return replace(data, series=known.targets, weather_forecasts=known.weather_forecasts, others=known.others)


def prepare_storage(config: Config, connection) -> str | Path:
    """Where studies lie: the database when it is a named server, so that several machines share them, else a journal file."""
    if config.database.url == EMBEDDED:
        config.paths.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return config.paths.state_dir.resolve() / "optuna.journal"
    with connection.cursor() as cursor:  # one at a time makes the tables
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('optuna'))")
        open_storage(config.database.url)
    return config.database.url


@contextmanager
def parallel(work: Callable, tasks: Sequence, jobs: int) -> Iterator[Iterator]:
    """`work` of each task as it comes, from processes of joblib where there are several; on the way out no process stays."""
    if min(jobs, len(tasks)) <= 1:
        yield map(work, tasks)
        return
    import joblib
    from joblib.externals.loky import get_reusable_executor

    try:
        yield joblib.Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator_unordered")(
            joblib.delayed(work_in_child)(work, task, os.getpid()) for task in tasks
        )
    finally:
        get_reusable_executor().shutdown(wait=False, kill_workers=True)


def work_in_child(work: Callable, task, parent: int):
    """Run `work` in a process of joblib that ends with its parent, which may be killed."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return work(task)


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
    """Write a source to MLflow: a parent run, a run for each model, and the champion's model where it is new."""
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
        mlflow.log_metrics({f"test_{key}": value for key, value in numbers(outcome.test_scores).items()})
        for result in outcome.results:
            failed = {"status": "failed", "reason": result.reason} if result.reason else {"status": "done"}
            with mlflow.start_run(run_name=result.model + " (incumbent)" * result.incumbent, nested=True, tags=tags | failed) as run:
                mlflow.log_params(result.parameters | {"model": result.model})
                mlflow.log_metrics(numbers(result.scores) | {"seconds": result.seconds})
                if result.frame is not None:
                    mlflow.log_text(result.frame.to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%SZ"), "backtest.csv")
                if result.picture:
                    log_bytes(result.picture, "backtest.png")
                if result is outcome.champion and outcome.fitted is not None:
                    model_registry.register(client, task.data, outcome.fitted, tags)
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
    return {key: float(value) for key, value in found.items() if value is not None and np.isfinite(value)}


def code_version() -> str:
    """The commit of the working copy, with a mark where it was changed; "unknown" outside one."""
    folder = Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


# --- command line ----------------------------------------------------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--issue-time", metavar="T", type=terminal.utc_time, help="use nothing known later (default: the data end)")
    parser.add_argument("--source", metavar="ID", help="only this source")
    parser.add_argument(
        "--models", metavar="A,B", type=lambda text: text.split(","), help=f"instead of [training] models; of {', '.join(MODELS)}"
    )
    parser.add_argument("--trials", metavar="N", type=int, help="Optuna trials for each model")
    parser.add_argument("--timeout", metavar="S", type=float, help="seconds of tuning for each source; 0: no limit")
    parser.add_argument("--jobs", metavar="N", type=int, help="sources trained at the same time")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


SHOWN = (
    "source_id",
    "model",
    "champion",
    "mae",
    "mae_ratio_naive",
    "pinball",
    "coverage_80",
    "captured_share",
    "trials",
    "seconds",
    "note",
)


def run(args: argparse.Namespace, config: Config) -> None:
    rows = train(config, args.issue_time, args.source, args.models, args.trials, args.timeout, args.jobs)
    if args.json:
        print(terminal.json_text(rows))
    else:
        terminal.print_rows([{key: row[key] for key in SHOWN} for row in rows], "Selection origins (mae, pinball in kW or EUR/MWh)")
    trained = {row["source_id"] for row in rows if row["champion"]}
    failed = [f"{row['source_id']}: {row['note']}" for row in rows if row["source_id"] not in trained]
    if failed:
        raise SelectionError(f"{'; '.join(failed)}; the other sources ({len(trained)}) are trained; mend the cause, then run with --source")


def main(argv=None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
