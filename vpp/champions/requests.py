"""Requests for the forecast of a source, and their answers: the first of some models that works.

Power in kW, prices in EUR/MWh; times are UTC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from vpp.champions.contenders import NAIVE, PHYSICS, silence
from vpp.champions.registry import Champion, valid_from_of
from vpp.forecast.backtest import REFIT_DAYS, ForecastError, fit_calibrated
from vpp.forecast.known import MIN_HISTORY_DAYS, PHYSICS_DAYS, Known, SourceData, is_young, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import COLUMNS
from vpp.runtime.errors import FieldError, VppError
from vpp.runtime.words import in_words, place_of
from vpp.site.kinds import POWER_KINDS
from vpp.site.sources import Source
from vpp.site.times import DAY
from vpp.storage.results import ForecastRun

STAND_INS = ("prophet", NAIVE)
SAME_CAPACITY = 0.05  # that of an import is its largest value, which now and then rises a little
NO_CHAMPION = "no champion; run python train_forecast.py"
CODE_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Choice:
    """A model that may forecast a source.

    Parameters
    ----------
    model, parameters : its name, and the parameters that are not its defaults.
    role : of its runs, champion or fallback.
    version : of the registered model; None for a stand-in.
    """

    model: str
    role: str
    parameters: dict = field(default_factory=dict)
    version: str | None = None


@dataclass(frozen=True)
class Request:
    """A source to forecast.

    Parameters
    ----------
    data : the source [kW or EUR/MWh].
    issue_times : of the forecasts [UTC].
    horizon_h : length of each [h].
    history_days : how far back models learn from [d].
    seed : of the models.
    choices : models in order; the first that works forecasts.
    notes : for the operator.
    """

    data: SourceData
    issue_times: tuple[pd.Timestamp, ...]
    horizon_h: int
    history_days: int
    seed: int
    choices: tuple[Choice, ...]
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Intervals of each forecast."""
        return int(pd.Timedelta(hours=self.horizon_h) / self.data.step)

    def make(self, choice: Choice) -> ForecastModel:
        """A new, unfitted model."""
        return MODELS[choice.model](horizon_h=self.horizon_h, seed=self.seed, **choice.parameters)


@dataclass
class Answer:
    """The forecasts of a source.

    Parameters
    ----------
    request : that it answers.
    runs : each run with its frame [kW or EUR/MWh]; none where no model works.
    notes : for the operator.
    """

    request: Request
    runs: list[tuple[ForecastRun, pd.DataFrame]]
    notes: tuple[str, ...]


def stand_ins(known: Known, problem: str | None) -> tuple[str, ...]:
    """The models that forecast a source without a champion, in order: of a plant or a load with
    little history physics or a profile first.

    Parameters
    ----------
    known : of the source.
    problem : why no model should learn from its history; None where it should.
    """
    new = is_young(known, MIN_HISTORY_DAYS if problem else PHYSICS_DAYS)
    physics = [PHYSICS] if new and known.source.kind in POWER_KINDS else []
    return (*physics, *([NAIVE] if problem else STAND_INS))


def choose(
    request: Request,
    champion: Champion | None,
    problem: str | None = None,
    stale: Mapping[str, str] | None = None,
    names: Sequence[str] = STAND_INS,
    missing: str = NO_CHAMPION,
) -> Request:
    """The request with the models that may forecast its source, in order, and why the champion is
    not the first, or does without an input.

    Parameters
    ----------
    request : of the source.
    champion : None where the source has no champion.
    problem : why no model should learn from its history; None where it should.
    stale : why an input is too old, by its name.
    names : of the models that stand in, in order.
    missing : why there is no champion.
    """
    others = tuple(Choice(name, "fallback") for name in names)
    notes, too_old = request.notes, tuple((stale or {}).values())
    if problem:
        notes = (*notes, problem, *(too_old if PHYSICS in names else ()))
        return replace(request, choices=others, notes=notes)
    if champion is None:
        return replace(request, choices=others, notes=(*notes, missing, *too_old))
    does_without = bool(stale) and MODELS[champion.model].reads_inputs
    role = "fallback" if does_without else "champion"
    first = Choice(champion.model, role, champion.parameters, champion.version)
    notes = (*notes, *too_old) if does_without else notes
    return replace(request, choices=(first, *others), notes=notes)


def reason_to_refit(champion: Champion, issue_time: pd.Timestamp) -> str | None:
    """Why the fitted copy of a champion may not forecast; None where it may.

    Parameters
    ----------
    champion : of the source.
    issue_time : of the forecast [UTC].
    """
    anew, until = f"fitted anew: version {champion.version}", champion.trained_until
    if until > issue_time:
        return f"{anew} has seen data until {until:%Y-%m-%dT%H:%MZ}"
    if issue_time - until > REFIT_DAYS * DAY:
        return f"{anew} was fitted until {until:%Y-%m-%d}"
    return None


def grown(champion: Champion, source: Source) -> str | None:
    """Why the fitted copy of a champion is in other units than the history is now, or knows another
    plant; None where it is not, or where it does not say: a model for its kind learns shares of the
    capacity.

    Parameters
    ----------
    champion : of the source.
    source : as it is now.
    """
    then, now = champion.capacity_kw, source.capacity_kw
    if then is None or now is None:
        return None
    was, since = champion.valid_from or "not stated", valid_from_of(source) or "not stated"
    if then != now and (was != since or abs(now / then - 1) > SAME_CAPACITY):
        return f"fitted anew: its capacity was {then:g} kW and is {now:g} kW"
    if was != since:  # another history was scaled, or none
        return f"fitted anew: its valid_from was {was} and is {since}"
    return None


def finite(frame: pd.DataFrame) -> pd.DataFrame:
    """The forecast as it is.

    Raises
    ------
    ForecastError : a value is not finite.
    """
    if not np.isfinite(frame[list(COLUMNS)].to_numpy()).all():
        raise ForecastError("its forecast is not finite")
    return frame


def answer(
    request: Request, choice: Choice, model: ForecastModel, notes: Sequence[str], known: Known
) -> Answer:
    """Forecast from the one issue time of a request.

    Parameters
    ----------
    request : of the source.
    choice, model : which model it is, and the fitted model.
    notes : for the operator.
    known : what is known at that time.

    Raises
    ------
    ForecastError : a value is not finite.
    """
    [issue_time] = request.issue_times
    frame = finite(model.predict(known, request.steps))
    source_id, until = request.data.source.source_id, model.trained_until
    run = ForecastRun(
        source_id, choice.model, choice.version, until, issue_time, choice.role, "; ".join(notes)
    )
    return Answer(request, [(run, frame)], tuple(notes))


def reason_of(error: Exception) -> str:
    """Why a model, or its store, does not serve, for the operator.

    The text of a fault in code, ours or a library's, helps nobody; where it came does.

    Parameters
    ----------
    error : whatever was raised.
    """
    if isinstance(error, (VppError, FieldError)) or not isinstance(error, CODE_FAULTS):
        return in_words(error)
    return (
        f"it cannot use these data{place_of(error)}; look at them with python db.py, or choose "
        "other models in [training] models"
    )


def fit_and_predict(request: Request) -> Answer:
    """Fit and forecast with the first choice that works; runs in a process of its own.

    The answer has no run where none works.
    """
    silence()
    notes, days = list(request.notes), request.history_days
    known = known_at(request.data, request.issue_times[0], days)
    for choice in request.choices:

        def factory(made: Choice = choice) -> ForecastModel:
            return request.make(made)

        try:
            model = fit_calibrated(factory, request.data, known, request.steps, days)
            return answer(request, choice, model, notes, known)
        except Exception as error:  # whatever its library raises, the next stands in
            notes.append(f"{choice.model}: {reason_of(error)}")
    return Answer(request, [], tuple(notes))
