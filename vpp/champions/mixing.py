"""The combination of a contest's models, and a test of the whole choice by nested days.

Both go through the origins in their order, and see at each only the errors that were known by then.
Power in kW, prices in EUR/MWh; times are UTC."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.champions.contenders import NAIVE, PHYSICS, Contender, Contest
from vpp.champions.origins import SelectionError
from vpp.forecast.known import PHYSICS_DAYS, is_young, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.models.combination import MEMBERS, Combination, average_of, simplex_weights
from vpp.forecast.quantiles import COLUMNS
from vpp.forecast.scores import losses, scored, scores
from vpp.site.times import DAY

LEAST_WEIGHT = 0.1  # a smaller one is not worth a fit
WINDOW_DAYS = 90  # of errors that weights are found from
TEST_DAYS = 14


def members_of(contenders: Sequence[Contender]) -> list[Contender]:
    """The contenders that a combination may be made of, at most one of a model."""
    found: dict[str, Contender] = {}
    for each in contenders:
        if each.raw is not None and each.reason is None and each.model in MEMBERS:
            found.setdefault(each.model, each)
    return list(found.values())


def combine(contest: Contest, members: Sequence[Contender]) -> tuple[dict, pd.DataFrame]:
    """The parameters of the combination now, and its backtest with the weights of each origin.

    Parameters
    ----------
    contest : the source and the rules.
    members : with backtests; those origins count that all of them have.

    Returns
    -------
    Parameters of `Combination`; rows as of `vpp.forecast.backtest.backtest`.

    Raises
    ------
    SelectionError : there are fewer than two members.
    """
    if len(members) < 2:
        raise SelectionError("a combination needs two models that forecast")
    frames = _common([each.raw for each in members if each.raw is not None])
    weights = np.empty((len(frames[0]), len(frames)))
    errors = np.stack([(frame["actual"] - frame["value"]).to_numpy() for frame in frames], axis=1)
    counted = scored(frames[0]).index
    for issue_time, rows in frames[0].groupby("issue_time").indices.items():
        weights[rows] = _weights(frames[0].loc[counted], errors[counted], issue_time)
    now = _weights(frames[0].loc[counted], errors[counted], contest.issue_time)
    now = np.where(now >= LEAST_WEIGHT, now, 0.0)
    kept = [(each, weight) for each, weight in zip(members, now / now.sum(), strict=True) if weight]
    parameters = Combination.defaults | {
        "members": tuple(each.model for each, _ in kept),
        "weights": tuple(round(float(weight), 3) for _, weight in kept),
        "of": {each.model: each.parameters for each, _ in kept},
    }
    return parameters, average_of(frames, weights, COLUMNS)


def _common(frames: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The rows of the origins from which all have forecast: some need more days to learn from."""
    common = set.intersection(*(set(frame["issue_time"]) for frame in frames))
    return [frame[frame["issue_time"].isin(common)].reset_index(drop=True) for frame in frames]


def _weights(frame: pd.DataFrame, errors: np.ndarray, issue_time: pd.Timestamp) -> np.ndarray:
    """The weights that errors known by an issue time ask for."""
    valid = frame["valid_time"]
    known = ((valid < issue_time) & (valid >= issue_time - WINDOW_DAYS * DAY)).to_numpy()
    known &= (frame["issue_time"] < issue_time).to_numpy()
    days = valid[known].dt.floor("D").nunique()
    return simplex_weights(errors[known], days)


def nested_test(contest: Contest, contenders: Sequence[Contender]) -> dict:
    """Scores of the choice itself on the newest days.

    On each of them it takes the contender that was best on the days before, so that no day both
    chooses and tests.

    Parameters
    ----------
    contest : the source and the rules.
    contenders : with their backtests.

    Returns
    -------
    Scores; none where the days are too few.
    """
    there = [each for each in contenders if each.frame is not None and each.reason is None]
    if not there:
        return {}
    frames = [each.frame for each in there if each.frame is not None]
    lost = [losses(frame, contest.data, contest.training.select_by) for frame in frames]
    origins = pd.DatetimeIndex(frames[0]["issue_time"].unique()).sort_values()
    parts = []
    for origin in origins[max(1, len(origins) // 2) :][-TEST_DAYS:]:
        past = [each.loc[each["valid_time"] < origin, "loss"].mean() for each in lost]
        best = int(np.nanargmin(past)) if np.isfinite(past).any() else 0
        parts.append(frames[best][frames[best]["issue_time"] == origin])
    if not parts:
        return {}
    test = pd.concat(parts, ignore_index=True)
    return scores(test, contest.data.source, contest.data.zone) if len(scored(test)) else {}


def models_of(contest: Contest) -> list[str]:
    """The models that take part: seasonal naive, those of `[training] models`, and for a price
    yesterday's hour, which is the better yardstick in many markets; for a plant or load with little
    history also physics.

    A model that is not for the kind of the source takes no part.

    Parameters
    ----------
    contest : the source and the rules.
    """
    kind = contest.data.source.kind
    known = known_at(contest.data, contest.issue_time, contest.training.history_days)
    usual = [NAIVE]
    if kind == "market":
        usual.append("daily_naive")
    elif is_young(known, PHYSICS_DAYS):
        usual.append(PHYSICS)
    names = dict.fromkeys([*usual, *contest.training.models])
    return [name for name in names if kind in MODELS[name].kinds]
