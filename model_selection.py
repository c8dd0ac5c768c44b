"""Tunes, compares and decides for one source: which model, with which parameters, should forecast it.

The history is cut into tuning, selection, calibration and test origins, disjoint in time and in that order. Optuna tunes each model
on the first; the models are compared on the second, their bands calibrated on the first; the quantiles of the best are calibrated
on the third; what it then scores on the last is reported and decides nothing. An incumbent, fitted anew, is compared on the same
selection origins and stays, fitted to what is known now, unless the best is better by a test of Diebold and Mariano. Reads and
writes nothing but Optuna's studies.
"""

import hashlib
import inspect
import io
import json
import logging
import pickle
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

import features
import model_registry
import terminal
from config import Training, VppError
from features import DAY, Known, SourceData, known_at
from forecast_base import calibrated, calibration_of
from forecast_models import MODELS, QUANTILE_COLUMNS, ForecastModel
from forecasting import scores, walk
from model_comparison import diebold_mariano, losses, score_of

NAIVE = "seasonal_naive"
P_VALUE = 0.1
TUNING_ORIGINS_MAX = 4  # each is a fit where they are a month or more apart
# shares of the days that can be forecast, and the most days, of the phases that end the history
SELECTION, CALIBRATION, TEST = (0.3, 56), (0.25, 28), (0.15, 14)


class SelectionError(VppError):
    """A model cannot be compared."""


@dataclass(frozen=True)
class Origins:
    """Issue times of the backtests [UTC]; the windows they forecast are disjoint between the phases."""

    tuning: pd.DatetimeIndex
    selection: pd.DatetimeIndex
    calibration: pd.DatetimeIndex
    test: pd.DatetimeIndex


def split_origins(first: pd.Timestamp, issue_time: pd.Timestamp, horizon_h: float, count: int) -> Origins | None:
    """Lay tuning, selection, calibration and test origins between the first value and the issue time.

    Parameters
    ----------
    first : time of the first value [UTC].
    issue_time : all windows end by then [UTC]; origins are whole days before it.
    horizon_h : length of a window [h].
    count : origins of the selection; calibration and test take one a day.

    Returns
    -------
    None where the history is too short. Models are fitted to at least 14 days and a third of the history before the first origin.
    """
    window = int(np.ceil(horizon_h / 24))
    history = (issue_time - first) / DAY
    days = int(history - max(features.MIN_HISTORY_DAYS, history / 3))
    selection, calibration, test = (max(window, min(int(share * days), most)) for share, most in (SELECTION, CALIBRATION, TEST))
    tuning = days - selection - calibration - test
    if tuning < window:
        return None

    def phase(length: int, ends_before: int, number: int) -> pd.DatetimeIndex:
        """`number` origins (fewer in a short phase) spread over `length` days that end `ends_before` days before the issue time."""
        room = length - window
        spacing = max(1, room // max(1, number - 1))
        if spacing % 7 == 0:  # else every window would start on the same weekday
            spacing -= 1
        days_back = [ends_before + window + step * spacing for step in range(min(number, room // spacing + 1))]
        return pd.DatetimeIndex([issue_time - back * DAY for back in reversed(days_back)], name="issue_time")

    return Origins(
        tuning=phase(tuning, selection + calibration + test, min(count, TUNING_ORIGINS_MAX)),
        selection=phase(selection, calibration + test, count),
        calibration=phase(calibration, test, calibration),
        test=phase(test, 0, test),
    )


def measured_origins(origins: Origins, known: Known, horizon_h: float) -> Origins:
    """Those origins of each phase in whose window something was measured that was not known at the origin."""
    measured = ~known.filled & known.series.notna().to_numpy()
    times, when, window = known.series.index[measured], known.available_at[measured], pd.Timedelta(hours=horizon_h)

    def kept(phase: pd.DatetimeIndex) -> pd.DatetimeIndex:
        return phase[[bool(((times >= at) & (times < at + window) & (when > at)).any()) for at in phase]]

    return Origins(**{name: kept(phase) for name, phase in vars(origins).items()})


# --- one model -------------------------------------------------------------------------------------------------------------------


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
    incumbent: model_registry.Champion | None


@dataclass
class Outcome:
    """What came of one source: every model's result, the champion (None: it failed), and the fitted model where it is to be registered."""

    task: Task
    results: list[Result]
    champion: Result | None
    origins: Origins | None = None
    p_value: float | None = None
    fitted: ForecastModel | None = None
    test_scores: dict = field(default_factory=dict)
    verdict: str = ""


def make(task: Task, model: type[ForecastModel], parameters: dict) -> ForecastModel:
    return model(horizon_h=task.horizon_h, seed=task.training.seed, **parameters)


def walk_origins(
    task: Task, model: type[ForecastModel], parameters: dict, origins: pd.DatetimeIndex, calibration=None
) -> Iterator[pd.DataFrame]:
    """Backtest a model; yields the rows of each origin. Its quantiles are calibrated where a calibration is given."""
    steps = int(pd.Timedelta(hours=task.horizon_h) / task.data.step)

    def factory() -> ForecastModel:
        made = make(task, model, parameters)
        made.calibration = calibration
        return made

    for frame in walk(factory, task.data, origins, steps, history_days=task.training.history_days):
        if not np.isfinite(frame[["value", *QUANTILE_COLUMNS]].to_numpy()).all():
            raise SelectionError(f"the forecast issued at {frame['issue_time'].iloc[0]} is not finite")
        yield frame


def backtest(*arguments, **options) -> pd.DataFrame:
    return pd.concat(list(walk_origins(*arguments, **options)), ignore_index=True)


def tune(task: Task, model: type[ForecastModel], origins: pd.DatetimeIndex, deadline: float) -> tuple[dict, int, pd.DataFrame | None]:
    """Search the parameters with Optuna on the tuning origins; returns the best, the number of trials and, if made now, the best backtest.

    The study is named by what it answers, so that running again, or on another machine, goes on where it is. The first trial has
    the model's defaults; the sampler is seeded by the trial's number. No trial starts after `deadline` (of `time.monotonic`); the one
    that it cuts short does not count, and its parameters are the first to be tried when the study goes on.
    """
    import optuna

    if not model.search_space(optuna.trial.FixedTrial(model.defaults)):
        return {}, 0, None
    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED, optuna.trial.TrialState.FAIL)
    study = optuna.create_study(
        storage=open_storage(task.storage),
        study_name=f"{task.data.source.source_id}/{model.name}/{study_digest(task, model, origins)}",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=1, n_warmup_steps=0),
        load_if_exists=True,
    )
    if not study.trials:
        study.enqueue_trial(model.defaults)
    reasons, backtests = [], {}
    while len(study.get_trials(deepcopy=False, states=finished)) < task.training.trials and time.monotonic() <= deadline:
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
                    study.enqueue_trial(trial.params)  # this one stays as a killed process leaves it
                    break
            else:
                backtests[trial.number] = pd.concat(frames, ignore_index=True)
                study.tell(trial, score_of(backtests[trial.number], task.data, task.training.select_by))
        except Exception as error:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            reasons.append(terminal.in_words(error))
    count = len(study.get_trials(deepcopy=False, states=finished))
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not complete and reasons:
        raise SelectionError(reasons[-1])
    if not complete:
        return {}, count, None
    return study.best_params, count, backtests.get(study.best_trial.number)


def study_digest(task: Task, model: type[ForecastModel], origins: pd.DatetimeIndex) -> str:
    """What the values of a study depend on: data, origins, horizon, score, seed and the code of the model."""
    files = {inspect.getfile(parent) for parent in model.__mro__ if parent is not object} | {features.__file__, inspect.getfile(walk)}
    code = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in sorted(files)]
    settings = (task.horizon_h, task.training.history_days, task.training.select_by, task.training.seed)
    known = data_hash(task.data, origins[-1] + pd.Timedelta(hours=task.horizon_h))
    return hashlib.sha256(repr((known, [str(at) for at in origins], settings, code)).encode()).hexdigest()[:16]


def data_hash(data: SourceData, issue_time: pd.Timestamp) -> str:
    """Hash of all that is known about a source at a time."""
    known = known_at(data, issue_time)
    digest = hashlib.sha256(repr(data.source).encode())
    for frame in (known.series, known.weather_forecasts, known.others):
        if frame is not None:
            digest.update(pd.util.hash_pandas_object(frame).to_numpy().tobytes())
    return digest.hexdigest()[:16]


def open_storage(storage: str | Path):
    """The Optuna storage: a PostgreSQL URL, or a journal file whose lock does not outlive a kill."""
    import optuna

    if isinstance(storage, Path):
        from optuna.storages.journal import JournalFileBackend

        lock = model_registry.FileLock(storage.with_name(storage.name + ".lock"))
        return optuna.storages.JournalStorage(JournalFileBackend(str(storage), lock_obj=lock))
    import psycopg2

    options = {"pool_pre_ping": True, "creator": lambda: psycopg2.connect(storage)}  # whatever URL libpq reads
    return optuna.storages.RDBStorage("postgresql+psycopg2://", engine_kwargs=options)


# --- one source ------------------------------------------------------------------------------------------------------------------


def train_source(task: Task) -> Outcome:
    """Tune, compare and decide for one source; runs in a process of its own and writes nothing but its studies.

    Whatever goes wrong with one source is its outcome, without a champion, so that the others are trained.
    """
    silence()
    try:
        return compare_models(task)
    except Exception as error:
        return failure(task, error)


def failure(task: Task, error: Exception) -> Outcome:
    reason = terminal.in_words(error)
    return Outcome(task, [Result(NAIVE, {}, reason=reason)], None, verdict=f"failed: {reason}")


def fallback(task: Task, problem: str) -> Outcome:
    naive = Result(NAIVE, {})
    return Outcome(task, [naive], naive, verdict=f"fallback: {problem}")


def compare_models(task: Task) -> Outcome:
    """The outcome for one source; seasonal naive as a fallback where no model can be compared."""
    data, issue_time = task.data, task.issue_time
    known = known_at(data, issue_time, task.training.history_days)
    problem = features.history_problem(known)
    if problem:
        return fallback(task, problem)
    origins = split_origins(known.targets.index[0], issue_time, task.horizon_h, task.training.origins)
    if origins is None:
        days = len(known.targets) * known.step / DAY
        return fallback(task, f"{days:.1f} days of history are too few for tuning, selection, calibration and test")
    laid, origins = origins, measured_origins(origins, known, task.horizon_h)
    for phase, left in vars(origins).items():
        if left.empty:
            first, last = vars(laid)[phase][[0, -1]]
            return fallback(task, f"nothing measured after the {phase} origins, {first:%Y-%m-%dT%H:%MZ} to {last:%Y-%m-%dT%H:%MZ}")
    began = time.monotonic()
    names = [NAIVE, *(name for name in task.training.models if name != NAIVE)]
    results = []
    for position, name in enumerate(names):
        left = began + task.training.timeout_s - time.monotonic()
        share = left / (len(names) - position) if task.training.timeout_s else np.inf
        results.append(assess(task, MODELS[name], origins, time.monotonic() + share))
    incumbent = None
    if task.incumbent is not None:
        incumbent = Result(task.incumbent.model, task.incumbent.parameters)
        same = [result for result in results if result.key == incumbent.key]
        if not same:
            same = [assess(task, MODELS[incumbent.model], origins, parameters=incumbent.parameters)]
            results += same
        incumbent = same[0]
        incumbent.incumbent = True
    while True:
        outcome = decide(task, results, incumbent)
        outcome.origins, winner = origins, outcome.champion
        if winner.reason:
            naive = results[0]
            return Outcome(task, results, naive, origins, verdict=f"fallback: no model can be trained: {naive.reason}")
        if winner.incumbent and task.incumbent.trained_until >= issue_time:  # then its version is as good
            return outcome
        try:
            outcome.fitted, outcome.test_scores = fit_champion(task, winner, origins)
            return outcome
        except Exception as error:  # then it cannot win
            winner.reason, winner.score = terminal.in_words(error), np.inf


def assess(task: Task, model: type[ForecastModel], origins: Origins, deadline: float = np.inf, parameters: dict | None = None) -> Result:
    """Tune a model unless parameters are given, then score it on the selection origins with a band calibrated on the tuning origins."""
    began = time.monotonic()
    result, earlier = Result(model.name, parameters or {}), None
    try:
        if parameters is None:
            parameters, result.trials, earlier = tune(task, model, origins.tuning, deadline)
        result.parameters = make(task, model, parameters).parameters
        if earlier is None:
            earlier = backtest(task, model, result.parameters, origins.tuning)
        calibration = calibration_of(earlier, task.data.source, task.data.zone)
        result.frame = backtest(task, model, result.parameters, origins.selection, calibration=calibration)
        result.scores = scores(result.frame, task.data.source, task.data.zone)
        result.score = score_of(result.frame, task.data, task.training.select_by)
        result.picture = draw(result.frame, f"{task.data.source.source_id}: {model.name}, selection origins", task.data)
    except Exception as error:  # one model's failure, whatever its library raises, leaves the others be
        result.reason = terminal.in_words(error)
        result.score = np.inf
    result.seconds = time.monotonic() - began
    return result


def decide(task: Task, results: list[Result], incumbent: Result | None) -> Outcome:
    """Who is champion: the best, unless the incumbent still beats seasonal naive (the first result) and is not clearly worse."""
    naive = results[0]
    best = min(results, key=lambda result: result.score)  # the first of equals, so seasonal naive wins a tie
    if incumbent is None:
        return Outcome(task, results, best, verdict="first champion")
    if incumbent is best:
        return Outcome(task, results, best, verdict="champion stays: still the best")
    if incumbent.reason or (incumbent.score >= naive.score and incumbent is not naive):
        return Outcome(task, results, best, verdict=f"champion replaced: {incumbent.reason or 'it no longer beats seasonal naive'}")
    p_value = diebold_mariano(*(losses(result.frame, task.data, task.training.select_by) for result in (incumbent, best)))
    wins = p_value < P_VALUE
    verdict = f"{'champion replaced' if wins else 'champion stays'}: Diebold-Mariano p = {p_value:.3f} against {best.model}"
    return Outcome(task, results, best if wins else incumbent, p_value=p_value, verdict=verdict)


def fit_champion(task: Task, winner: Result, origins: Origins) -> tuple[ForecastModel, dict]:
    """Score on the test origins, calibrated on the origins before them; then fit to, and calibrate on, all known at the issue time."""
    model, source, zone = MODELS[winner.model], task.data.source, task.data.zone
    earlier, test = (backtest(task, model, winner.parameters, phase) for phase in (origins.calibration, origins.test))
    tested, calibration = test.copy(), calibration_of(earlier, source, zone)
    if calibration is not None:
        issue_times, times = (pd.DatetimeIndex(test[name]) for name in ("issue_time", "valid_time"))
        tested[list(QUANTILE_COLUMNS)] = calibrated(test, calibration, issue_times, times, source, zone)
    known = known_at(task.data, task.issue_time, task.training.history_days)
    past = pd.concat([earlier, test])
    past = past[past["valid_time"].isin(known.targets.index)]  # the last values may not be known yet
    fitted = make(task, model, winner.parameters).fit(known).calibrate(past, source, zone)
    loaded, steps = pickle.loads(pickle.dumps(fitted)), int(pd.Timedelta(hours=task.horizon_h) / task.data.step)
    if not np.array_equal(loaded.predict(known, steps), fitted.predict(known, steps)):
        raise SelectionError("saved and loaded it forecasts something else")
    return fitted, scores(tested, source, zone)


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
    axis.set_xticks(np.arange(len(issues)) * (len(part) + 2), [issue.strftime("%Y-%m-%d\n%H:%MZ") for issue in issues])
    axis.set_ylabel("EUR/MWh" if data.source.kind == "market" else "kW")
    axis.set_title(title)
    axis.legend(loc="upper right", ncols=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def silence() -> None:
    """Keep the libraries' chatter off the terminal; a process of joblib starts without what `terminal` has set."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for name in terminal.CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
