"""Forecasts from issue times of the past, as a live system would have made them.

But for the first four weeks of a plant: `first_day` stands in then in a live system only.
"""

from collections.abc import Sequence

import pandas as pd

from vpp.champions.contenders import NAIVE, silence
from vpp.champions.history import load_source_data
from vpp.champions.requests import Answer, Choice, Request, choose, finite
from vpp.champions.saving import save_new, summary_row, warned
from vpp.champions.studies import data_hash
from vpp.champions.wanted import Wanted, loaded, new_request
from vpp.forecast.backtest import CALIBRATION_DAYS, REFIT_DAYS, rolling_calibration, walk
from vpp.forecast.calibration import in_own_band
from vpp.forecast.known import history_problem, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import COLUMNS
from vpp.runtime.words import in_words
from vpp.site.times import DAY
from vpp.storage.claims import claimed
from vpp.storage.connection import session
from vpp.storage.issued import count_runs
from vpp.storage.results import ForecastRun
from vpp.storage.retention import prune_results
from vpp.storage.sharing import Outcome, shared_out


def backfilled(task: Wanted) -> list[dict]:
    """Forecast past issue times source by source; each is saved when it is done, and not done
    again.

    Parameters
    ----------
    task : all sources.

    Returns
    -------
    A row for each source, of `summary_row`.
    """
    config, tasks = task.config, [task.of([source]) for source in task.sources]
    jobs, rows = config.training.jobs, dict[str, dict]()
    for outcome in shared_out(config, backfill_source, tasks, jobs, "forecast_and_save"):
        row = outcome.result["row"]
        if row["issue_time"] is not None:
            row |= {"issue_time": pd.Timestamp(row["issue_time"])}
        rows[row["source_id"]] = row
    with session(config) as conn:
        prune_results(conn, config.database.results_retention_days)
    return warned([rows[source.source_id] for source in task.sources])


def backfill_source(task: Wanted) -> Outcome:
    """Forecast past issue times of one source and save, unless that is done.

    It is done where the same data were forecast from the same times by the same champion, and the
    forecasts are still there.

    Parameters
    ----------
    task : of one source.
    """
    config, [source] = task.config, task.sources
    with claimed(config, task.name, task.since, task.wait) as claim:
        if claim is None or claim.done:
            return Outcome(task.name, claim and claim.result)
        with session(config) as conn:
            data, fault = loaded(source, lambda: load_source_data(conn, config, source))
            stored = count_runs(conn, source.source_id, "backtest", task.times)
        state, earlier = "" if fault else data_hash(data, task.now), claim.earlier or {}
        if state and earlier.get("data") == state and earlier["row"]["runs"] == stored:
            claim.finish(earlier)
            return Outcome(task.name, earlier)
        notes = (*task.trouble.get(source.source_id, ()), *fault)
        request = new_request(config, data, task.times, task.horizon_h, (), notes)
        behind = task.freshness.behind.get(source.source_id)
        if fault or (source.source_id in task.freshness.empty and source.kind == "market"):
            answer = Answer(request, [], (*notes, *(() if fault else (str(behind),))))
        else:  # which looks at the history of each of its issue times
            answer = backfill(choose(request, task.champions.get(source.source_id)))
        with session(config) as conn:
            save_new(conn, answer.runs)
            row = summary_row(conn, config, answer, task.now)
        claim.finish({"data": state, "row": row})
    return Outcome(task.name, claim.result)


def backfill(request: Request) -> Answer:
    """Forecast from past issue times with models fitted as time goes, quantiles calibrated on the
    origins before; role backtest.

    Seasonal naive forecasts from those with too little history. Runs in a process of its own.
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
            except Exception as error:  # whatever its library raises, the next stands in
                notes.append(f"{choice.model}: {in_words(error)}")
    missing = len(request.issue_times) - len(runs)
    if missing:
        notes.append(f"{missing} issue times without history")
    return Answer(request, runs, tuple(notes))


def backtest_runs(
    request: Request, choice: Choice, times: Sequence[pd.Timestamp]
) -> list[tuple[ForecastRun, pd.DataFrame]]:
    """A run for each issue time.

    Daily origins of the weeks before the first, where there is history, only serve calibration.

    Parameters
    ----------
    request : of the source.
    choice : the model.
    times : issue times [UTC].
    """
    data, first, before = request.data, min(times), []
    if choice.model != NAIVE:
        before = [first - day * DAY for day in range(CALIBRATION_DAYS, 0, -1)]
        before = [at for at in before if not history_problem(known_at(data, at))]
    fitted: list[ForecastModel] = []

    def factory() -> ForecastModel:
        fitted.append(request.make(choice))
        return fitted[-1]

    origins = [*before, *times]
    walked = walk(factory, data, origins, request.steps, REFIT_DAYS, request.history_days)
    raw = finite(pd.concat(list(walked), ignore_index=True))
    frame = in_own_band(rolling_calibration(raw, data, moves=MODELS[choice.model].value_moves))
    fits = pd.DatetimeIndex([made.trained_until for made in fitted])
    runs = []
    for at in sorted(times):
        rows = frame[frame["issue_time"] == at].set_index("valid_time")
        run = ForecastRun(
            data.source.source_id,
            choice.model,
            choice.version,
            trained_until=fits[fits <= at][-1],
            issue_time=at,
            role="backtest",
        )
        runs.append((run, rows[[*COLUMNS, "published"]]))
    return runs
