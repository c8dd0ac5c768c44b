"""Tunes a model's parameters for one source with Optuna, on rolling origins."""

import hashlib
import inspect
import io
import json
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.champions import registry
from vpp.champions.origins import SelectionError
from vpp.forecast import features
from vpp.forecast.backtest import walk
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.quantiles import QUANTILE_COLUMNS
from vpp.forecast.scores import score_of
from vpp.runtime import terminal
from vpp.runtime.config import Training
from vpp.runtime.files import FileLock
from vpp.runtime.words import in_words

NAIVE = "seasonal_naive"


@dataclass
class Result:
    """What came of one model of one source; `reason` says why it failed."""

    model: str
    parameters: dict
    frame: pd.DataFrame | None = None
    score: float = np.inf
    scores: dict = field(default_factory=dict)
    trials: int = 0
    seconds: float = 0.0
    reason: str | None = None
    incumbent: bool = False
    picture: bytes | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Which model this is: two results with the same key are of the same."""
        return self.model, json.dumps(self.parameters, sort_keys=True)


@dataclass(frozen=True)
class Task:
    """A source to train, with all that a process needs for it."""

    data: SourceData
    issue_time: pd.Timestamp
    horizon_h: int
    training: Training
    storage: str | Path
    incumbent: registry.Champion | None


def make(task: Task, model: type[ForecastModel], parameters: dict) -> ForecastModel:
    return model(horizon_h=task.horizon_h, seed=task.training.seed, **parameters)


def walk_origins(
    task: Task,
    model: type[ForecastModel],
    parameters: dict,
    origins: pd.DatetimeIndex,
    calibration=None,
) -> Iterator[pd.DataFrame]:
    """Backtest a model; yields the rows of each origin.

    Its quantiles are calibrated where a calibration is given.
    """
    steps = int(pd.Timedelta(hours=task.horizon_h) / task.data.step)

    def factory() -> ForecastModel:
        made = make(task, model, parameters)
        made.calibration = calibration
        return made

    for frame in walk(factory, task.data, origins, steps, history_days=task.training.history_days):
        if not np.isfinite(frame[["value", *QUANTILE_COLUMNS]].to_numpy()).all():
            raise SelectionError(
                f"the forecast issued at {frame['issue_time'].iloc[0]} is not finite"
            )
        yield frame


def backtest(*arguments, **options) -> pd.DataFrame:
    return pd.concat(list(walk_origins(*arguments, **options)), ignore_index=True)


def tune(
    task: Task, model: type[ForecastModel], origins: pd.DatetimeIndex, deadline: float
) -> tuple[dict, int, pd.DataFrame | None]:
    """Search the parameters with Optuna on the tuning origins; returns the best, the number of
    trials and, if made now, the best backtest.

    The study is named by what it answers, so that running again, or on another machine, goes on
    where it is. The first trial has the model's defaults; the sampler is seeded by the trial's
    number. No trial starts after `deadline` (of `time.monotonic`); the one that it cuts short does
    not count, and its parameters are the first to be tried when the study goes on."""
    import optuna

    if not model.search_space(optuna.trial.FixedTrial(model.defaults)):
        return {}, 0, None
    finished = (
        optuna.trial.TrialState.COMPLETE,
        optuna.trial.TrialState.PRUNED,
        optuna.trial.TrialState.FAIL,
    )
    study = optuna.create_study(
        storage=open_storage(task.storage),
        study_name=f"{task.data.source.source_id}/{model.name}/{study_digest(task, model, origins)}",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0),
        load_if_exists=True,
    )
    if not study.trials:
        study.enqueue_trial(model.defaults)
    reasons, backtests = [], {}
    while (
        len(study.get_trials(deepcopy=False, states=finished)) < task.training.trials
        and time.monotonic() <= deadline
    ):
        trial = study.ask()
        study.sampler = optuna.samplers.TPESampler(seed=task.training.seed + trial.number)
        parameters = model.search_space(trial)
        frames = []
        try:
            for step, frame in enumerate(walk_origins(task, model, parameters, origins)):
                frames.append(frame)
                trial.report(score_of(pd.concat(frames), task.data, task.training.select_by), step)
                if trial.should_prune():
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
                if step + 1 < len(origins) and time.monotonic() > deadline:
                    study.enqueue_trial(
                        trial.params
                    )  # this one stays as a killed process leaves it
                    break
            else:
                backtests[trial.number] = pd.concat(frames, ignore_index=True)
                study.tell(
                    trial, score_of(backtests[trial.number], task.data, task.training.select_by)
                )
        except Exception as error:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            reasons.append(in_words(error))
    count = len(study.get_trials(deepcopy=False, states=finished))
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not complete and reasons:
        raise SelectionError(reasons[-1])
    if not complete:
        return {}, count, None
    return study.best_params, count, backtests.get(study.best_trial.number)


def study_digest(task: Task, model: type[ForecastModel], origins: pd.DatetimeIndex) -> str:
    """What the values of a study depend on.

    Data, origins, horizon, score, seed and the code of the model.
    """
    files = {inspect.getfile(parent) for parent in model.__mro__ if parent is not object} | {
        *map(str, Path(features.__file__).parent.glob("*.py")),
    }
    code = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sorted(files)]
    settings = (
        task.horizon_h,
        task.training.history_days,
        task.training.select_by,
        task.training.seed,
    )
    known = data_hash(task.data, origins[-1] + pd.Timedelta(hours=task.horizon_h))
    return hashlib.sha256(
        repr((known, [str(at) for at in origins], settings, code)).encode()
    ).hexdigest()[:16]


def data_hash(data: SourceData, issue_time: pd.Timestamp) -> str:
    """Hash of all that is known about a source at a time."""
    known = known_at(data, issue_time)
    digest = hashlib.sha256(repr(data.source).encode())
    for frame in (known.series, known.weather_forecasts, known.others):
        if frame is not None:
            digest.update(pd.util.hash_pandas_object(frame).to_numpy().tobytes())
    return digest.hexdigest()[:16]


def open_storage(storage: str | Path):
    """The Optuna storage.

    A PostgreSQL URL, or a journal file whose lock does not outlive a kill.
    """
    import optuna

    if isinstance(storage, Path):
        from optuna.storages.journal import JournalFileBackend

        lock = FileLock(storage.with_name(storage.name + ".lock"))
        return optuna.storages.JournalStorage(JournalFileBackend(str(storage), lock_obj=lock))
    import psycopg2

    options = {
        "pool_pre_ping": True,
        "creator": lambda: psycopg2.connect(storage),
    }  # whatever URL libpq reads
    return optuna.storages.RDBStorage("postgresql+psycopg2://", engine_kwargs=options)


def draw(frame: pd.DataFrame, title: str, data: SourceData) -> bytes:
    """A PNG of forecast, 80 % band and actual, the windows of the origins side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 3.5))
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, (_, part) in enumerate(frame.groupby("issue_time")):
        place = np.arange(len(part)) + number * (len(part) + 2)
        labels = ("80 % band", "forecast", "actual") if number == 0 else (None,) * 3
        axis.fill_between(place, part["q10"], part["q90"], color="C0", alpha=0.3, label=labels[0])
        axis.plot(place, part["value"], color="C0", label=labels[1])
        axis.plot(place, part["actual"], color="black", linewidth=1, label=labels[2])
    issues = frame["issue_time"].unique()
    axis.set_xticks(
        np.arange(len(issues)) * (len(part) + 2),
        [issue.strftime("%Y-%m-%d\n%H:%MZ") for issue in issues],
    )
    axis.set_ylabel("EUR/MWh" if data.source.kind == "market" else "kW")
    axis.set_title(title)
    axis.legend(loc="upper right", ncols=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def silence() -> None:
    """Keep the libraries' chatter off the terminal.

    A process of joblib starts without what `terminal` has set.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in terminal.CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
