"""Tunes a model's parameters for one source with Optuna, on rolling origins."""

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vpp.champions.contenders import Contest, walk_origins
from vpp.champions.origins import SelectionError
from vpp.champions.studies import open_study
from vpp.forecast.model import ForecastModel
from vpp.runtime.words import in_words

# that tuned parameters must take off the error of the defaults: less is luck on so few origins
LEAST_GAIN = 0.1

if TYPE_CHECKING:
    import optuna


def tune(
    contest: Contest, model: type[ForecastModel], origins: pd.DatetimeIndex, deadline: float
) -> tuple[dict, int, pd.DataFrame | None]:
    """Search a model's parameters on the tuning origins.

    The first trial has the model's defaults; the sampler is seeded by the number of trials that
    ended, so a search that was interrupted or killed ends as one without a break.

    Parameters
    ----------
    contest : the source and the rules.
    model : whose parameters are searched.
    origins : issue times of the backtests [UTC].
    deadline : no trial starts after it [s of `time.monotonic`].

    Returns
    -------
    The best parameters (none where no trial came to its end; the defaults unless they are better by
    `LEAST_GAIN`), the number of trials and, where it was made now, their backtest.

    Raises
    ------
    SelectionError : all trials failed; the last one says why.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not model.search_space(optuna.trial.FixedTrial(model.defaults)):
        return {}, 0, None
    study = open_study(contest, model, origins)
    reasons, backtests = [], {}
    trials = contest.training.trials
    trials = (trials + 1) // 2 if model.dear else trials
    while (done := count_finished(study)) < trials and time.monotonic() <= deadline:
        # a trial of a process that was killed has taken a number, and is done again
        study.sampler = optuna.samplers.TPESampler(seed=contest.training.seed + done)
        trial = study.ask()
        parameters = model.search_space(trial)
        try:
            frame = run_trial(contest, model, parameters, origins, study, trial, deadline)
            if frame is not None:
                backtests[trial.number] = frame
        except Exception as error:  # whatever its library raises, other parameters may do
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            reasons.append(in_words(error))
        contest.step()
    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if complete:
        best, usual = study.best_trial, min(complete, key=lambda trial: trial.number)
        has_defaults = all(usual.params[name] == model.defaults[name] for name in usual.params)
        gained = study.best_value <= (1 - LEAST_GAIN) * float(usual.value or 0.0)
        if has_defaults and not gained:  # unless that trial failed
            best = usual
        return best.params, count_finished(study), backtests.get(best.number)
    if reasons:
        raise SelectionError(reasons[-1])
    return {}, count_finished(study), None


def count_finished(study: "optuna.Study") -> int:
    """Trials of a study that count: neither running nor cut short."""
    from optuna.trial import TrialState

    finished = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return len(study.get_trials(deepcopy=False, states=finished))


def run_trial(
    contest: Contest,
    model: type[ForecastModel],
    parameters: dict,
    origins: pd.DatetimeIndex,
    study: "optuna.Study",
    trial: "optuna.Trial",
    deadline: float,
) -> pd.DataFrame | None:
    """Backtest one trial's parameters, and tell the study how good they are.

    Parameters
    ----------
    contest : the source and the rules.
    model, parameters : what forecasts.
    origins : issue times of the backtest [UTC].
    study, trial : the study, and which of its trials this is.
    deadline : cuts the trial short [s of `time.monotonic`]; it stays as a killed process leaves it,
        and its parameters are the first to be tried when the study goes on.

    Returns
    -------
    The backtest; None where the trial was pruned or cut short.
    """
    import optuna

    frames = []
    # one fit a trial: what is compared is the parameters, not how old a fit may be
    for step, frame in enumerate(walk_origins(contest, model, parameters, origins, np.inf)):
        frames.append(frame)
        trial.report(contest.score(pd.concat(frames)), step)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return None
        if step + 1 < len(origins) and time.monotonic() > deadline:
            study.enqueue_trial(trial.params)
            return None
    backtest = pd.concat(frames, ignore_index=True)
    study.tell(trial, contest.score(backtest))
    return backtest
