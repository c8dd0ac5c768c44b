"""Forecasts from issue times of the past, as a live system would have made them."""

from collections.abc import Sequence

import pandas as pd

from vpp.champions.contenders import NAIVE, silence
from vpp.champions.requests import Answer, Choice, Request, finite
from vpp.forecast.backtest import CALIBRATION_DAYS, REFIT_DAYS, rolling_calibration, walk
from vpp.forecast.known import history_problem, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.quantiles import COLUMNS
from vpp.runtime.words import in_words
from vpp.site.times import DAY
from vpp.storage.results import ForecastRun


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
    frame = rolling_calibration(finite(pd.concat(list(walked), ignore_index=True)), data)
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
