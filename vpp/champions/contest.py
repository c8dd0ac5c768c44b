"""Tunes, compares and decides for one source: which model, with which parameters, forecasts it.

Models are compared on one origin a day of the newest weeks, up to now; Optuna tunes each of them
on origins before. Bands are calibrated day by day on the errors known by then, and a combination
has the weights that these ask for. The test is nested: on each of the newest days it scores the
model that was best on the days before, so that no recent day is kept from the choice. An incumbent,
fitted anew, is compared on the same origins and stays, fitted to what is known now, unless the best
is better by a test of Diebold and Mariano. Reads and writes nothing but Optuna's studies."""

import pickle
import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vpp.champions.contenders import NAIVE, Contender, Contest, past_forecasts, silence
from vpp.champions.mixing import combine, members_of, models_of, nested_test
from vpp.champions.origins import (
    Origins,
    SelectionError,
    measured_origins,
    split_origins,
    too_few,
)
from vpp.champions.picture import draw
from vpp.champions.requests import grown, stand_ins
from vpp.champions.tuning import tune
from vpp.forecast.backtest import CALIBRATION_WINDOW_DAYS, rolling_calibration
from vpp.forecast.known import history_problem, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.combination import MEMBERS, Combination
from vpp.forecast.scores import diebold_mariano, losses, scores
from vpp.runtime.words import in_words
from vpp.site.times import DAY

P_VALUE = 0.1
P_ALONE = 0.01  # a model alone takes the place of the combination below it: it is seldom better


@dataclass
class Decision:
    """How the contest of one source ended.

    Parameters
    ----------
    contest : the source and the rules.
    contenders : all that were assessed, seasonal naive first.
    champion : one of them; None where the contest failed.
    verdict : why.
    p_value : of the test against the incumbent, where there was one [-].
    origins : of all phases, where there were any.
    fitted : the champion's model, where it is to be registered.
    test_scores : of the choice itself on the newest days (`nested_test`).
    """

    contest: Contest
    contenders: list[Contender]
    champion: Contender | None
    verdict: str
    p_value: float | None = None
    origins: Origins | None = None
    fitted: ForecastModel | None = None
    test_scores: dict = field(default_factory=dict)


def train_source(contest: Contest) -> Decision:
    """Compare the models of one source; runs in a process of its own and writes nothing but its
    studies.

    A failure, whatever it is, is the decision of this source, without a champion, so that the
    others are trained.
    """
    silence()
    try:
        return compare_models(contest)
    except Exception as error:
        return failure(contest, error)


def failure(contest: Contest, error: Exception) -> Decision:
    """The decision that there is no champion.

    Parameters
    ----------
    contest, error : of one source, and its failure.
    """
    reason = in_words(error)
    return Decision(contest, [Contender(NAIVE, {}, reason=reason)], None, f"failed: {reason}")


def fallback(contest: Contest, problem: str) -> Decision:
    """The decision where no model can be compared: for the champion so far, or what stands in.

    Parameters
    ----------
    contest, problem : of one source, and why.
    """
    known = known_at(contest.data, contest.issue_time, contest.training.history_days)
    found, champion = history_problem(known), contest.incumbent
    if champion and not found:  # it forecasts all the same
        stays = Contender(champion.model, champion.parameters, incumbent=True)
        return Decision(contest, [stays], stays, f"champion stays: {problem}")
    first, *_ = stand_ins(known, found)
    contender = Contender(first, {})
    return Decision(contest, [contender], contender, f"fallback: {problem}")


def compare_models(contest: Contest) -> Decision:
    """Hold the contest of one source; where no model can be compared, it is told which stands in.

    Each round decides for the best contender. One that cannot be fitted is out, and the next round
    decides without it.

    Raises
    ------
    SelectionError : none of `[training] models` forecasts such a source.
    """
    kind = contest.data.source.kind
    if not any(kind in MODELS[name].kinds for name in contest.training.models):
        wanted = ", ".join(contest.training.models)
        raise SelectionError(f"no model of {wanted} is for the kind {kind}; choose another")
    try:
        origins = lay_origins(contest)
    except SelectionError as problem:
        return fallback(contest, str(problem))
    contenders = assess_all(contest, origins)
    incumbent = find_incumbent(contest, contenders, origins)
    for _ in contenders:
        decision = decide(contest, contenders, incumbent)
        decision.origins = origins
        if decision.champion is None or decision.champion.reason:
            break
        if crown(decision, decision.champion):
            decision.test_scores = nested_test(contest, contenders)
            return decision
    naive = contenders[0]
    verdict = f"fallback: no model can be trained: {naive.reason}"
    return Decision(contest, contenders, naive, verdict, origins=origins)


def lay_origins(contest: Contest) -> Origins:
    """The origins of each phase, those without an actual value left out.

    Raises
    ------
    SelectionError : the history is too short, too old or a flat line, or nothing was measured in a
        phase.
    """
    known = known_at(contest.data, contest.issue_time, contest.training.history_days)
    problem = history_problem(known)
    if problem:
        raise SelectionError(problem)
    first, count = known.targets.index[0], contest.training.origins
    laid = split_origins(first, contest.issue_time, contest.horizon_h, count)
    if laid is None:
        raise SelectionError(too_few(known))
    measured = measured_origins(laid, known, contest.horizon_h)
    for phase, left in vars(measured).items():
        if left.empty:
            start, end = vars(laid)[phase][[0, -1]]
            raise SelectionError(
                f"nothing measured after the {phase} origins, {start:%Y-%m-%dT%H:%MZ} to "
                f"{end:%Y-%m-%dT%H:%MZ}"
            )
    return measured


def assess_all(contest: Contest, origins: Origins) -> list[Contender]:
    """Assess seasonal naive and the models of `[training] models`; each has an equal share of the
    time that is left.

    Parameters
    ----------
    contest : the source and the rules.
    origins : of all phases.
    """
    began, timeout_s = time.monotonic(), contest.training.timeout_s
    names = models_of(contest)
    mixed = Combination.name in names and any(name in MEMBERS for name in names)
    names = [name for name in names if not (mixed and name == Combination.name)]
    contenders = []
    for position, name in enumerate(names):
        left = began + timeout_s - time.monotonic()
        share = left / (len(names) - position) if timeout_s else np.inf
        contenders.append(assess(contest, MODELS[name], origins, time.monotonic() + share))
    if mixed:
        contenders.append(assess_combination(contest, contenders, origins))
    return contenders


def assess_combination(
    contest: Contest, contenders: list[Contender], origins: Origins
) -> Contender:
    """Score the combination of the contenders; it costs no further fit.

    Parameters
    ----------
    contest : the source and the rules.
    contenders : that were assessed.
    origins : of all phases.
    """
    began, contender = time.monotonic(), Contender(Combination.name, {})
    try:
        contender.parameters, raw = combine(contest, members_of(contenders))
        score_backtest(contest, contender, raw, origins)
    except Exception as error:  # the models alone are assessed all the same
        contender.fail(in_words(error))
    contender.seconds = time.monotonic() - began
    return contender


def find_incumbent(
    contest: Contest, contenders: list[Contender], origins: Origins
) -> Contender | None:
    """The contender that is the champion so far, None where there is no champion.

    It is assessed, and added to the contenders, where it is not among them.

    Parameters
    ----------
    contest : the source and the rules.
    contenders : those that were assessed.
    origins : of all phases.
    """
    champion = contest.incumbent
    if champion is None:
        return None
    wanted = Contender(champion.model, champion.parameters).key
    incumbent = next((each for each in contenders if each.key == wanted), None)
    if incumbent is None:
        model = MODELS[champion.model]
        incumbent = assess(contest, model, origins, parameters=champion.parameters)
        contenders.append(incumbent)
    incumbent.incumbent = True
    return incumbent


def assess(
    contest: Contest,
    model: type[ForecastModel],
    origins: Origins,
    deadline: float = np.inf,
    parameters: dict | None = None,
) -> Contender:
    """Tune a model, then score it on the selection origins, its bands calibrated as time goes.

    Parameters
    ----------
    contest : the source and the rules.
    model : the class of the model.
    origins : of all phases.
    deadline : no trial of the tuning starts after it [s of `time.monotonic`].
    parameters : taken as they are, without tuning; default tuned ones.

    Returns
    -------
    The contender; `reason` says why it failed, and its score is infinite then.
    """
    began = time.monotonic()
    contender, frames = Contender(model.name, parameters or {}), []
    try:
        try:
            frames = [tuned(contest, contender, model, origins.tuning, deadline, parameters)]
        except Exception as error:  # so early it may have too little to learn from
            if parameters is None and not contender.trials:  # by its defaults then
                contender.untuned = in_words(error)
            contender.parameters = contest.make(model, contender.parameters).parameters
        frames.append(past_forecasts(contest, model, contender.parameters, origins.selection))
        score_backtest(contest, contender, pd.concat(frames, ignore_index=True), origins)
    except Exception as error:  # whatever its library raises, the other models are assessed
        contender.fail(in_words(error))
    contender.seconds = time.monotonic() - began
    contest.step()
    return contender


def tuned(
    contest: Contest,
    contender: Contender,
    model: type[ForecastModel],
    origins: pd.DatetimeIndex,
    deadline: float,
    parameters: dict | None,
) -> pd.DataFrame:
    """The backtest from the tuning origins; the contender is given the parameters that it tunes.

    Parameters
    ----------
    contest, model, origins, deadline, parameters : as of `assess`.
    contender : of the model.

    Raises
    ------
    VppError : the model cannot be fitted so early.
    """
    frame = None
    if parameters is None:
        parameters, contender.trials, frame = tune(contest, model, origins, deadline)
    contender.parameters = contest.make(model, parameters).parameters
    if frame is not None:
        return frame
    return past_forecasts(contest, model, contender.parameters, origins, np.inf)


def score_backtest(
    contest: Contest, contender: Contender, raw: pd.DataFrame, origins: Origins
) -> None:
    """Calibrate the bands of a backtest as time went, and score its selection origins.

    Parameters
    ----------
    contest : the source and the rules.
    contender : is given backtest and scores.
    raw : the backtest from all origins, the quantiles the model's own.
    origins : of all phases.
    """
    moves = MODELS[contender.model].value_moves
    frame = rolling_calibration(raw, contest.data, moves=moves)
    frame = frame[frame["issue_time"] >= origins.selection[0]].reset_index(drop=True)
    contender.raw, contender.frame = raw, frame
    contender.scores = scores(frame, contest.data.source, contest.data.zone)
    contender.score = contest.score(frame)


def decide(contest: Contest, contenders: list[Contender], incumbent: Contender | None) -> Decision:
    """Decide for the best, unless the incumbent still beats seasonal naive and is not clearly
    worse. The combination is the best unless another is so beyond doubt.

    Parameters
    ----------
    contest : the source and the rules.
    contenders : all that were assessed, seasonal naive first.
    incumbent : which of them is the champion so far; None for a first contest.
    """
    naive = contenders[0]
    # the first of equals, so seasonal naive wins a tie
    best = min(contenders, key=lambda contender: contender.score)
    mixed = next((each for each in contenders if each.model == Combination.name), None)
    if mixed and mixed.score < naive.score and p_value_of(contest, mixed, best) >= P_ALONE:
        best = mixed
    if incumbent is None:
        return Decision(contest, contenders, best, "first champion")
    if incumbent is best:
        return Decision(contest, contenders, best, "champion stays: still the best")
    if incumbent.reason or (incumbent.score >= naive.score and incumbent is not naive):
        reason = incumbent.reason or "it no longer beats seasonal naive"
        return Decision(contest, contenders, best, f"champion replaced: {reason}")
    p_value = p_value_of(contest, incumbent, best)
    champion, word = (best, "replaced") if p_value < P_VALUE else (incumbent, "stays")
    verdict = f"champion {word}: Diebold-Mariano p = {p_value:.3f} against {best.model}"
    return Decision(contest, contenders, champion, verdict, p_value)


def p_value_of(contest: Contest, incumbent: Contender, challenger: Contender) -> float:
    """Diebold and Mariano's p-value that the challenger is better than the incumbent [-].

    Parameters
    ----------
    contest : the source and the rules.
    incumbent, challenger : with their backtests.
    """
    if incumbent.frame is None or challenger.frame is None:
        raise SelectionError("only contenders that were scored can be compared")
    select_by = contest.training.select_by
    return diebold_mariano(
        losses(incumbent.frame, contest.data, select_by),
        losses(challenger.frame, contest.data, select_by),
    )


def crown(decision: Decision, winner: Contender) -> bool:
    """Fit the champion where it is to be registered anew.

    Parameters
    ----------
    decision : is given the fitted model.
    winner : its champion.

    Returns
    -------
    False where it cannot be fitted; it is out of the contest then.
    """
    contest = decision.contest
    if winner.frame is not None:
        title = f"{contest.data.source.source_id}: {winner.model}, selection origins"
        winner.picture = draw(winner.frame, title, contest.data)
    champion = contest.incumbent
    if winner.incumbent and champion and champion.is_intact:
        later = champion.trained_until > contest.issue_time
        same = champion.trained_until == contest.issue_time
        if later or (same and not grown(champion, contest.data.source)):
            return True  # its version is as good
    try:
        decision.fitted = fit_champion(contest, winner)
    except Exception as error:  # whatever its library raises
        winner.fail(in_words(error))
        return False
    return True


def fit_champion(contest: Contest, winner: Contender) -> ForecastModel:
    """Fit a winner to all that is known at the issue time, calibrated on its errors until then.

    Parameters
    ----------
    contest : the source and the rules.
    winner : its model, parameters and backtest.

    Raises
    ------
    SelectionError : saved and loaded, the model forecasts something else.
    """
    model, source, zone = MODELS[winner.model], contest.data.source, contest.data.zone
    known = known_at(contest.data, contest.issue_time, contest.training.history_days)
    fitted = contest.make(model, winner.parameters).fit(known)
    if winner.raw is not None:  # the last windows are not known yet to their end
        past = winner.raw[winner.raw["valid_time"].isin(known.targets.index)]
        since = contest.issue_time - CALIBRATION_WINDOW_DAYS * DAY
        fitted.calibrate(past[past["issue_time"] >= since], source, zone)
    loaded = pickle.loads(pickle.dumps(fitted))
    steps = int(pd.Timedelta(hours=contest.horizon_h) / contest.data.step)
    if not np.array_equal(loaded.predict(known, steps), fitted.predict(known, steps)):
        raise SelectionError("saved and loaded it forecasts something else")
    return fitted
