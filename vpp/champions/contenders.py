"""A contest of models over one source, and a model that takes part: its parameters, its forecasts
from origins of the past, its scores.

Power in kW, prices in EUR/MWh; times are UTC."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.champions.origins import SelectionError
from vpp.champions.registry import Champion
from vpp.forecast.backtest import REFIT_DAYS, walk
from vpp.forecast.known import SourceData
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.pools import Pool
from vpp.forecast.quantiles import QUANTILE_COLUMNS
from vpp.forecast.scores import score_of
from vpp.runtime import terminal
from vpp.runtime.settings import Training

NAIVE = "seasonal_naive"
PHYSICS = "first_day"
DEAR_REFIT_DAYS = 60  # of a model whose fit takes seconds


@dataclass(frozen=True)
class Contest:
    """A source whose models compete, with all that a process needs for it.

    Parameters
    ----------
    data : the source, nothing later than the issue time [kW or EUR/MWh].
    issue_time : now [UTC].
    horizon_h : length of a forecast [h].
    training : the rules.
    storage : where Optuna keeps its studies.
    incumbent : the champion so far; None where there is none.
    pools : fits for all sources of a kind, for the model `global`.
    step : is called when a trial, or a model, is done.
    """

    data: SourceData
    issue_time: pd.Timestamp
    horizon_h: int
    training: Training
    storage: str | Path
    incumbent: Champion | None
    pools: tuple[Pool, ...] = ()
    step: Callable[[], None] = lambda: None

    def make(self, model: type[ForecastModel], parameters: dict) -> ForecastModel:
        """A new, unfitted model with the horizon and the seed of this contest.

        Parameters
        ----------
        model, parameters : its class, and the parameters that are not its defaults.
        """
        made = model(horizon_h=self.horizon_h, seed=self.training.seed, **parameters)
        made.pools = self.pools
        return made

    def score(self, frame: pd.DataFrame) -> float:
        """The score of a backtest by which this contest selects; less is better."""
        return score_of(frame, self.data, self.training.select_by)


@dataclass
class Contender:
    """A model with its parameters in a contest.

    Parameters
    ----------
    model, parameters : what it is.
    frame : that from the selection origins, calibrated as time went [kW or EUR/MWh].
    score : by which the contest selects; less is better.
    scores : all scores of the backtest.
    trials : of Optuna.
    seconds : that tuning and scoring took [s].
    reason : why it failed; None where it did not.
    untuned : why it has its default parameters; None where it was tuned.
    incumbent : whether it is the champion so far.
    picture : of the backtest, a PNG; of the champion only.
    raw : its backtest from all origins, the quantiles its own [kW or EUR/MWh].
    """

    model: str
    parameters: dict
    frame: pd.DataFrame | None = None
    score: float = np.inf
    scores: dict = field(default_factory=dict)
    trials: int = 0
    seconds: float = 0.0
    reason: str | None = None
    untuned: str | None = None
    incumbent: bool = False
    picture: bytes | None = None
    raw: pd.DataFrame | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Its model and parameters; two contenders with the same key forecast the same."""
        return self.model, json.dumps(self.parameters, sort_keys=True)

    def fail(self, reason: str) -> None:
        """Take it out of the contest."""
        self.reason, self.score = reason, np.inf


def walk_origins(
    contest: Contest,
    model: type[ForecastModel],
    parameters: dict,
    origins: pd.DatetimeIndex,
    refit_days: float | None = None,
) -> Iterator[pd.DataFrame]:
    """Forecast from each origin with what was known then; yields the rows of one at a time.

    Parameters
    ----------
    contest : the source and the rules.
    model, parameters : what forecasts; it is fitted as time goes.
    origins : issue times [UTC].
    refit_days : longest time between two fits [d]; default that of its kind.

    Yields
    ------
    The columns of `vpp.forecast.backtest.walk`.

    Raises
    ------
    SelectionError : a forecast is not finite.
    """
    steps = int(pd.Timedelta(hours=contest.horizon_h) / contest.data.step)
    if refit_days is None:
        refit_days = DEAR_REFIT_DAYS if model.dear else REFIT_DAYS

    def factory() -> ForecastModel:
        return contest.make(model, parameters)

    history_days = contest.training.history_days
    for frame in walk(factory, contest.data, origins, steps, refit_days, history_days):
        if not np.isfinite(frame[["value", *QUANTILE_COLUMNS]].to_numpy()).all():
            raise SelectionError(
                f"the forecast issued at {frame['issue_time'].iloc[0]} is not finite"
            )
        yield frame


def past_forecasts(
    contest: Contest,
    model: type[ForecastModel],
    parameters: dict,
    origins: pd.DatetimeIndex,
    refit_days: float | None = None,
) -> pd.DataFrame:
    """The rows of all origins of `walk_origins` in one frame.

    Parameters
    ----------
    contest, model, parameters, origins, refit_days : as of `walk_origins`.
    """
    frames = walk_origins(contest, model, parameters, origins, refit_days)
    return pd.concat(list(frames), ignore_index=True)


def silence() -> None:
    """Keep the libraries' chatter off the terminal.

    A process of joblib starts without what `terminal` has set.
    """
    for name in terminal.CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
