"""Forecasts of every source by its champion, saved together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from vpp.champions import registry
from vpp.champions.history import check_issue_time, load_source_data, pick_sources
from vpp.champions.past_errors import day_error
from vpp.champions.tuning import NAIVE, silence
from vpp.forecast.backtest import (
    CALIBRATION_DAYS,
    REFIT_DAYS,
    ForecastError,
    fit_calibrated,
    rolling_calibration,
    walk,
)
from vpp.forecast.known import SourceData, history_problem, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import COLUMNS
from vpp.runtime import terminal
from vpp.runtime.config import Config
from vpp.runtime.parallel import parallel
from vpp.runtime.words import in_words
from vpp.site.times import DAY
from vpp.storage.connection import session
from vpp.storage.measurements import data_end
from vpp.storage.results import ForecastRun, read_forecasts, save_forecasts

STAND_INS = ("prophet", NAIVE)
PLANNED_ROLES = ("champion", "fallback")


@dataclass(frozen=True)
class Choice:
    """A model that may forecast a source, and the role it would do it in."""

    model: str
    role: str
    parameters: dict = field(default_factory=dict)
    version: str | None = None


@dataclass(frozen=True)
class Request:
    """What to forecast for a source, and with which models, the first that works."""

    data: SourceData
    issue_times: tuple[pd.Timestamp, ...]
    horizon_h: int
    history_days: int
    seed: int
    choices: tuple[Choice, ...]
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        return int(pd.Timedelta(hours=self.horizon_h) / self.data.step)

    def make(self, choice: Choice) -> ForecastModel:
        return MODELS[choice.model](horizon_h=self.horizon_h, seed=self.seed, **choice.parameters)


@dataclass
class Answer:
    """The forecasts of a source.

    Each run with its frame, and what the operator should know of them.
    """

    request: Request
    runs: list[tuple[ForecastRun, pd.DataFrame]]
    notes: tuple[str, ...]


def choose(
    data: SourceData, issue_time: pd.Timestamp, champion: registry.Champion | None
) -> tuple[tuple[Choice, ...], tuple[str, ...]]:
    """The models that may forecast a source at an issue time, in order, and why the champion is not
    the first of them.
    """
    stand_ins = tuple(Choice(name, "fallback") for name in STAND_INS)
    problem = history_problem(known_at(data, issue_time))
    if problem:
        return stand_ins[-1:], (problem,)
    if champion is None:
        return stand_ins, ("no champion; run python train_forecast.py",)
    return (
        Choice(champion.model, "champion", champion.parameters, champion.version),
        *stand_ins,
    ), ()


def is_usable(champion: registry.Champion, issue_time: pd.Timestamp) -> str | None:
    """Why the fitted copy of a champion may not forecast from an issue time; None where it may."""
    if champion.trained_until > issue_time:
        return (
            f"fitted anew: version {champion.version} has seen data "
            "until "
            f"{champion.trained_until:%Y-%m-%dT%H:%MZ}"
        )
    if issue_time - champion.trained_until > REFIT_DAYS * DAY:
        return (
            f"fitted anew: version {champion.version} was fitted "
            "until "
            f"{champion.trained_until:%Y-%m-%d}"
        )
    return None


def checked(frame: pd.DataFrame) -> pd.DataFrame:
    if not np.isfinite(frame[list(COLUMNS)].to_numpy()).all():
        raise ForecastError("its forecast is not finite")
    return frame


def predict(model: ForecastModel, request: Request) -> pd.DataFrame:
    """The forecast of a fitted model from the one issue time of a request."""
    return checked(
        model.predict(
            known_at(request.data, request.issue_times[0], request.history_days), request.steps
        )
    )


def answer(
    request: Request,
    choice: Choice,
    model: ForecastModel,
    frame: pd.DataFrame,
    notes: Sequence[str],
) -> Answer:
    run = ForecastRun(
        request.data.source.source_id,
        choice.model,
        choice.version,
        model.trained_until,
        request.issue_times[0],
        choice.role,
    )
    return Answer(request, [(run, frame)], tuple(notes))


def fit_and_predict(request: Request) -> Answer:
    """Fit and forecast with the first choice that works; runs in a process of its own.

    Without a run where none works.
    """
    silence()
    notes = list(request.notes)
    known = known_at(request.data, request.issue_times[0], request.history_days)
    for choice in request.choices:
        try:
            model = fit_calibrated(
                lambda made=choice: request.make(made),
                request.data,
                known,
                request.steps,
                request.history_days,
            )
            return answer(request, choice, model, predict(model, request), notes)
        except Exception as error:  # whatever its library raises, the next stands in
            notes.append(f"{choice.model}: {in_words(error)}")
    return Answer(request, [], tuple(notes))


def backfill(request: Request) -> Answer:
    """Forecast from past issue times with models fitted as time goes, quantiles calibrated on the
    origins before; role backtest.
    """
    silence()
    data, notes = request.data, list(request.notes)
    problems = {at: history_problem(known_at(data, at)) for at in request.issue_times}
    early = [at for at in request.issue_times if problems[at] and len(known_at(data, at).targets)]
    later = [at for at in request.issue_times if not problems[at]]
    runs = []
    for times, choices in ((early, request.choices[-1:]), (later, request.choices)):
        for choice in choices if times else ():
            try:
                runs += backtest_runs(request, choice, times)
                break
            except Exception as error:
                notes.append(f"{choice.model}: {in_words(error)}")
    missing = len(request.issue_times) - len(runs)
    if missing:
        notes.append(f"{missing} issue times without history")
    return Answer(request, runs, tuple(notes))


def backtest_runs(
    request: Request, choice: Choice, times: Sequence[pd.Timestamp]
) -> list[tuple[ForecastRun, pd.DataFrame]]:
    """A run for each issue time.

    Daily origins of the four weeks before the first, where there is history, only serve
    calibration.
    """
    data, first = request.data, min(times)
    before = [first - day * DAY for day in range(CALIBRATION_DAYS, 0, -1)]
    before = (
        [at for at in before if not history_problem(known_at(data, at))]
        if choice.model != NAIVE
        else []
    )
    fitted = {}

    def factory() -> ForecastModel:
        made = request.make(choice)
        fitted[len(fitted)] = made
        return made

    frames = list(
        walk(factory, data, [*before, *times], request.steps, REFIT_DAYS, request.history_days)
    )
    frame = rolling_calibration(checked(pd.concat(frames, ignore_index=True)), data)
    fits = pd.DatetimeIndex([made.trained_until for made in fitted.values()])
    runs = []
    for issue_time, rows in frame.groupby("issue_time"):
        if issue_time >= first:
            trained_until = fits[fits <= issue_time][-1]
            run = ForecastRun(
                data.source.source_id,
                choice.model,
                choice.version,
                trained_until,
                issue_time,
                "backtest",
            )
            runs.append((run, rows.set_index("valid_time")[[*COLUMNS, "published"]]))
    return runs


def forecast_all(
    config: Config,
    issue_time: pd.Timestamp | None = None,
    horizon_h: int | None = None,
    source: str | None = None,
    backfill_days: int = 0,
    every_h: int = 24,
) -> list[dict]:
    """Forecast every source and save.

    Parameters
    ----------
    config : the configuration.
    issue_time : nothing known later is used; default the data end.
    horizon_h : length of the forecast [h]; default `[forecast] horizon_h`.
    source : only this source_id.
    backfill_days, every_h : forecast instead from issue times every so many hours over so many days
        before `issue_time`.

    Returns
    -------
    A row for each source: source_id, model, version, role, issue_time, runs, rows, yesterday_mae
    [kW or EUR/MWh], note.

    Raises
    ------
    VppError : no data, an unknown source, or one that no model can forecast; the forecasts of the
    others are saved then."""
    with session(config) as connection:
        issue_time = (
            pd.Timestamp(issue_time).tz_convert("UTC")
            if issue_time is not None
            else data_end(connection)
        )
        stored = [
            load_source_data(connection, config, item)
            for item in pick_sources(connection, [source] if source else None)
        ]
    check_issue_time(issue_time, [data.source for data in stored])
    champions, trouble = read_champions(config, stored)
    answers: dict[str, Answer] = {}
    to_fit = []
    for data in stored:
        source_id = data.source.source_id
        champion = champions.get(source_id)
        choices, notes = choose(data, issue_time, champion)
        common = (
            horizon_h or config.forecast.horizon_h,
            config.training.history_days,
            config.training.seed,
            choices,
            (*trouble, *notes),
        )
        if backfill_days:
            count = backfill_days * 24 // every_h
            times = tuple(
                issue_time - step * pd.Timedelta(hours=every_h) for step in range(count, 0, -1)
            )
            to_fit.append(Request(data, times, *common))
            continue
        request = Request(data, (issue_time,), *common)
        reason = None
        if choices[0].role == "champion":
            reason = is_usable(champion, issue_time)
            if reason is None:
                try:
                    model = registry.load_champion(champion)
                    answers[source_id] = answer(
                        request, choices[0], model, predict(model, request), notes
                    )
                    continue
                except Exception as error:
                    reason = in_words(error)
                    request = replace(request, choices=choices[1:])
        to_fit.append(replace(request, notes=(*request.notes, reason)) if reason else request)
    work = backfill if backfill_days else fit_and_predict
    with (
        terminal.progress("forecasting", len(to_fit)) as advance,
        parallel(work, to_fit, config.training.jobs) as found,
    ):
        for item in found:
            answers[item.request.data.source.source_id] = item
            advance(1)
    ordered = [answers[data.source.source_id] for data in stored]
    with session(config) as connection:
        runs = [run for item in ordered for run in item.runs]
        save_forecasts(
            connection, [(run, frame) for run, frame in runs if is_new(connection, run, frame)]
        )
        rows = [summary_row(connection, config, item, issue_time) for item in ordered]
    failed = [f"{row['source_id']} ({row['note']})" for row in rows if not row["runs"]]
    if failed and not backfill_days:
        saved = (
            "the other sources' forecasts are saved"
            if len(failed) < len(rows)
            else "nothing is saved"
        )
        raise ForecastError(
            f"no forecast from {issue_time:%Y-%m-%dT%H:%MZ} of {', '.join(failed)}; {saved}"
        )
    return rows


def read_champions(
    config: Config, stored: Sequence[SourceData]
) -> tuple[dict[str, registry.Champion], tuple[str, ...]]:
    """The champion of each source that has one.

    And why there is none, where MLflow cannot be reached.
    """
    try:
        client = registry.open_store(config)
        found = {
            data.source.source_id: registry.read_champion(client, data.source.source_id)
            for data in stored
        }
    except registry.ModelStoreError as error:
        return {}, (in_words(error),)
    return {
        source_id: champion for source_id, champion in found.items() if champion is not None
    }, ()


def is_new(connection, run: ForecastRun, frame: pd.DataFrame) -> bool:
    """Whether saving a forecast would change anything.

    Not where the newest of its role and issue time is the same.
    """
    roles = PLANNED_ROLES if run.role in PLANNED_ROLES else (run.role,)
    newest = read_forecasts(connection, run.source_id, run.issue_time, roles)
    if newest is None or newest[0] != run or len(newest[1]) != len(frame):
        return True
    stored, made = (each[[*COLUMNS, "published"]].to_numpy(float) for each in (newest[1], frame))
    return not (newest[1].index.equals(frame.index) and np.array_equal(stored, made))


def summary_row(connection, config: Config, item: Answer, issue_time: pd.Timestamp) -> dict:
    source = item.request.data.source
    error = day_error(connection, config, source, issue_time)
    models = list(dict.fromkeys(run.model for run, _ in item.runs))
    first = item.runs[-1][0] if item.runs else None
    return {
        "source_id": source.source_id,
        "model": "+".join(models),
        "version": first and first.model_version,
        "role": first and first.role,
        "issue_time": first and first.issue_time,
        "runs": len(item.runs),
        "rows": sum(len(frame) for _, frame in item.runs),
        "yesterday_mae": error and error["mae"],
        "note": "; ".join(item.notes),
    }
