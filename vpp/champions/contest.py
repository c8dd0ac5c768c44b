"""Tunes, compares and decides for one source: which model, with which parameters, should forecast
it.

The history is cut into tuning, selection, calibration and test origins, disjoint in time and in
that order. Optuna tunes each model on the first; the models are compared on the second, their bands
calibrated on the first; the quantiles of the best are calibrated on the third; what it then scores
on the last is reported and decides nothing. An incumbent, fitted anew, is compared on the same
selection origins and stays, fitted to what is known now, unless the best is better by a test of
Diebold and Mariano. Reads and writes nothing but Optuna's studies."""

import pickle
import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vpp.champions.origins import Origins, SelectionError, measured_origins, split_origins
from vpp.champions.tuning import NAIVE, Result, Task, backtest, draw, make, silence, tune
from vpp.forecast.calibration import calibrated, calibration_of
from vpp.forecast.known import history_problem, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import QUANTILE_COLUMNS
from vpp.forecast.scores import diebold_mariano, losses, score_of, scores
from vpp.runtime.words import in_words
from vpp.site.times import DAY

P_VALUE = 0.1


@dataclass
class Outcome:
    """What came of one source: every model's result, the champion (None.

    It failed), and the fitted model where it is to be registered.
    """

    task: Task
    results: list[Result]
    champion: Result | None
    origins: Origins | None = None
    p_value: float | None = None
    fitted: ForecastModel | None = None
    test_scores: dict = field(default_factory=dict)
    verdict: str = ""


def train_source(task: Task) -> Outcome:
    """Tune, compare and decide for one source; runs in a process of its own and writes nothing but
    its studies.

    Whatever goes wrong with one source is its outcome, without a champion, so that the others are
    trained."""
    silence()
    try:
        return compare_models(task)
    except Exception as error:
        return failure(task, error)


def failure(task: Task, error: Exception) -> Outcome:
    reason = in_words(error)
    return Outcome(task, [Result(NAIVE, {}, reason=reason)], None, verdict=f"failed: {reason}")


def fallback(task: Task, problem: str) -> Outcome:
    naive = Result(NAIVE, {})
    return Outcome(task, [naive], naive, verdict=f"fallback: {problem}")


def compare_models(task: Task) -> Outcome:
    """The outcome for one source; seasonal naive as a fallback where no model can be compared."""
    data, issue_time = task.data, task.issue_time
    known = known_at(data, issue_time, task.training.history_days)
    problem = history_problem(known)
    if problem:
        return fallback(task, problem)
    origins = split_origins(
        known.targets.index[0], issue_time, task.horizon_h, task.training.origins
    )
    if origins is None:
        days = len(known.targets) * known.step / DAY
        return fallback(
            task,
            f"{days:.1f} days of history are too few for tuning, selection, calibration and test",
        )
    laid, origins = origins, measured_origins(origins, known, task.horizon_h)
    for phase, left in vars(origins).items():
        if left.empty:
            first, last = vars(laid)[phase][[0, -1]]
            return fallback(
                task,
                f"nothing measured after the {phase} origins, {first:%Y-%m-%dT%H:%MZ} to "
                f"{last:%Y-%m-%dT%H:%MZ}",
            )
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
            return Outcome(
                task,
                results,
                naive,
                origins,
                verdict=f"fallback: no model can be trained: {naive.reason}",
            )
        if (
            winner.incumbent and task.incumbent.trained_until >= issue_time
        ):  # then its version is as good
            return outcome
        try:
            outcome.fitted, outcome.test_scores = fit_champion(task, winner, origins)
            return outcome
        except Exception as error:  # then it cannot win
            winner.reason, winner.score = in_words(error), np.inf


def assess(
    task: Task,
    model: type[ForecastModel],
    origins: Origins,
    deadline: float = np.inf,
    parameters: dict | None = None,
) -> Result:
    """Tune a model unless parameters are given, then score it on the selection origins with a band
    calibrated on the tuning origins.
    """
    began = time.monotonic()
    result, earlier = Result(model.name, parameters or {}), None
    try:
        if parameters is None:
            parameters, result.trials, earlier = tune(task, model, origins.tuning, deadline)
        result.parameters = make(task, model, parameters).parameters
        if earlier is None:
            earlier = backtest(task, model, result.parameters, origins.tuning)
        calibration = calibration_of(earlier, task.data.source, task.data.zone)
        result.frame = backtest(
            task, model, result.parameters, origins.selection, calibration=calibration
        )
        result.scores = scores(result.frame, task.data.source, task.data.zone)
        result.score = score_of(result.frame, task.data, task.training.select_by)
        result.picture = draw(
            result.frame,
            f"{task.data.source.source_id}: {model.name}, selection origins",
            task.data,
        )
    except (
        Exception
    ) as error:  # one model's failure, whatever its library raises, leaves the others be
        result.reason = in_words(error)
        result.score = np.inf
    result.seconds = time.monotonic() - began
    return result


def decide(task: Task, results: list[Result], incumbent: Result | None) -> Outcome:
    """Who is champion.

    The best, unless the incumbent still beats seasonal naive (the first result) and is not clearly
    worse.
    """
    naive = results[0]
    best = min(
        results, key=lambda result: result.score
    )  # the first of equals, so seasonal naive wins a tie
    if incumbent is None:
        return Outcome(task, results, best, verdict="first champion")
    if incumbent is best:
        return Outcome(task, results, best, verdict="champion stays: still the best")
    if incumbent.reason or (incumbent.score >= naive.score and incumbent is not naive):
        return Outcome(
            task,
            results,
            best,
            verdict=f"champion replaced: {incumbent.reason or 'it no longer beats seasonal naive'}",
        )
    p_value = diebold_mariano(
        *(losses(result.frame, task.data, task.training.select_by) for result in (incumbent, best))
    )
    wins = p_value < P_VALUE
    verdict = (
        f"{'champion replaced' if wins else 'champion stays'}: Diebold-Mariano p "
        "= "
        f"{p_value:.3f} against {best.model}"
    )
    return Outcome(task, results, best if wins else incumbent, p_value=p_value, verdict=verdict)


def fit_champion(task: Task, winner: Result, origins: Origins) -> tuple[ForecastModel, dict]:
    """Score on the test origins, calibrated on the origins before them.

    Then fit to, and calibrate on, all known at the issue time.
    """
    model, source, zone = MODELS[winner.model], task.data.source, task.data.zone
    earlier, test = (
        backtest(task, model, winner.parameters, phase)
        for phase in (origins.calibration, origins.test)
    )
    tested, calibration = test.copy(), calibration_of(earlier, source, zone)
    if calibration is not None:
        issue_times, times = (pd.DatetimeIndex(test[name]) for name in ("issue_time", "valid_time"))
        tested[list(QUANTILE_COLUMNS)] = calibrated(
            test, calibration, issue_times, times, source, zone
        )
    known = known_at(task.data, task.issue_time, task.training.history_days)
    past = pd.concat([earlier, test])
    past = past[
        past["valid_time"].isin(known.targets.index)
    ]  # the last values may not be known yet
    fitted = make(task, model, winner.parameters).fit(known).calibrate(past, source, zone)
    loaded, steps = (
        pickle.loads(pickle.dumps(fitted)),
        int(pd.Timedelta(hours=task.horizon_h) / task.data.step),
    )
    if not np.array_equal(loaded.predict(known, steps), fitted.predict(known, steps)):
        raise SelectionError("saved and loaded it forecasts something else")
    return fitted, scores(tested, source, zone)
