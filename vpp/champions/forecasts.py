"""Forecasts of every source by its champion, saved together."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import psycopg2
from psycopg2.extensions import connection

from vpp.champions.backfill import backfill
from vpp.champions.history import (
    check_issue_time,
    load_source_data,
    pick_sources,
    read_issue,
)
from vpp.champions.kept import KeptChampions
from vpp.champions.past_errors import day_error
from vpp.champions.recalibration import WINDOW_DAYS, recalibrated
from vpp.champions.registry import (
    Champion,
    ModelStoreError,
    load_champion,
    open_store,
    read_champion,
)
from vpp.champions.requests import (
    Answer,
    Choice,
    Request,
    answer,
    choose,
    fit_and_predict,
    reason_of,
    reason_to_refit,
)
from vpp.forecast.backtest import ForecastError
from vpp.forecast.known import Known, SourceData, history_problem, is_young, known_at
from vpp.forecast.quantiles import COLUMNS
from vpp.forecast.stale import missing_inputs
from vpp.runtime import terminal
from vpp.runtime.parallel import parallel
from vpp.runtime.settings import Config
from vpp.runtime.words import in_words
from vpp.site.kinds import POWER_KINDS
from vpp.site.sources import Source
from vpp.site.times import DAY
from vpp.storage.connection import session
from vpp.storage.digests import read_digests
from vpp.storage.errors import DatabaseError
from vpp.storage.results import ForecastRun, read_forecasts, save_forecasts
from vpp.storage.retention import prune_results

log = logging.getLogger("forecast_and_save")

PLANNED_ROLES = ("champion", "fallback")
MORE_DAYS = 9  # of history than a model learns from: lags of the first values


def forecast_all(
    config: Config,
    issue_time: pd.Timestamp | None = None,
    horizon_h: int | None = None,
    source: str | None = None,
    backfill_days: int = 0,
    every_h: int = 24,
    clock: pd.Timestamp | None = None,
    kept: KeptChampions | None = None,
) -> list[dict]:
    """Forecast every source and save.

    Parameters
    ----------
    config : the configuration.
    issue_time : nothing known later is used [UTC]; default the data end.
    horizon_h : length of the forecast [h]; default `[forecast] horizon_h`.
    source : only this source_id.
    backfill_days, every_h : forecast instead every so many hours [h] of the days [d] before.
    clock : of a plant in operation [UTC]: a source that is too far behind it is not current.
    kept : champions of the cycle before; without it they come from the model store.

    Returns
    -------
    A row for each source, of `summary_row`.

    Raises
    ------
    VppError : no data, an unknown source, or a current one without a forecast; others are saved.
    """
    with session(config) as conn:
        now, freshness = read_issue(conn, config, issue_time, clock)
        markets = config.tariff.needs_market
        sources = pick_sources(conn, [source] if source else None, markets)
        hours = range(backfill_days * 24 // every_h * every_h, 0, -every_h) or (0,)
        times = tuple(now - pd.Timedelta(hours=hour) for hour in hours)
        loaded = [load(conn, config, item, history_start(config, times[0])) for item in sources]
        digests, kept = read_digests(conn), kept or KeptChampions()
    check_issue_time(now, sources)
    names = [item.source_id for item in sources]
    champions, trouble = kept.read(names, digests, lambda: read_champions(config, sources))
    answers, to_fit = list[Answer](), list[Request]()
    for data, fault in loaded:
        name = data.source.source_id
        champion, notes = champions.get(name), (*trouble.get(name, ()), *fault)
        request = new_request(config, data, times, horizon_h, (), notes)
        found: Answer | Request
        if fault or (name in freshness.empty and data.source.kind == "market"):
            found = Answer(request, [], notes if fault else (*notes, freshness.behind[name]))
        elif backfill_days:  # which looks at the history of each of its issue times
            found = choose(request, champion)
        else:
            found = ask(request, champion, freshness.behind.get(name), digests, kept)
        (answers if isinstance(found, Answer) else to_fit).append(found)  # type: ignore[arg-type]
    answers += fit_all(to_fit, bool(backfill_days), config.training.jobs)
    by_source = {each.request.data.source.source_id: each for each in answers}
    rows = save(config, [by_source[name] for name in names], now)
    if not backfill_days:
        check_all_forecast([row for row in rows if row["source_id"] not in freshness.behind], now)
    return rows


def history_start(config: Config, issue_time: pd.Timestamp) -> pd.Timestamp:
    """Earlier values count in no forecast of an issue time.

    Parameters
    ----------
    config : says how far back models learn.
    issue_time : the first one [UTC].
    """
    return issue_time - (max(config.training.history_days, WINDOW_DAYS) + MORE_DAYS) * DAY


def new_request(
    config: Config,
    data: SourceData,
    times: tuple[pd.Timestamp, ...],
    horizon_h: int | None,
    choices: tuple[Choice, ...],
    notes: tuple[str, ...],
) -> Request:
    """A request with the reach and the seed of the configuration.

    Parameters
    ----------
    config : the configuration.
    data, times, choices, notes : as of `Request`.
    horizon_h : length of each forecast [h]; None for that of the configuration.
    """
    training = config.training
    reach = (horizon_h or config.forecast.horizon_h, training.history_days, training.seed)
    return Request(data, times, *reach, choices, notes)


def load(
    conn: connection, config: Config, source: Source, start: pd.Timestamp
) -> tuple[SourceData, tuple[str, ...]]:
    """The stored data of a source; where it cannot be read, nothing, and why.

    Parameters
    ----------
    conn, config, source, start : as of `load_source_data`.
    """
    try:
        found = load_source_data(conn, config, source, start)
        if not found.series.notna().any():  # one measured at other times is asked for a wrong one
            found = load_source_data(conn, config, source, None)
        return found, ()
    except (DatabaseError, psycopg2.Error):  # which is not of this source
        raise
    except Exception as error:  # whatever its rows or its parameters do, the others are forecast
        return SourceData(source, pd.Series([], pd.DatetimeIndex([], tz="UTC"), float)), (
            reason_of(error),
        )


def read_champions(
    config: Config, sources: Sequence[Source]
) -> tuple[dict[str, Champion], dict[str, tuple[str, ...]]]:
    """The champion of each source that has one; where it cannot be read, why."""
    names = [source.source_id for source in sources]
    found, trouble = dict[str, Champion](), dict[str, tuple[str, ...]]()
    try:
        client = open_store(config)
    except ModelStoreError as error:
        return {}, dict.fromkeys(names, (in_words(error),))
    for name in names:
        try:
            champion = read_champion(client, name)
        except ModelStoreError as error:  # it does not answer: it would not for the others
            return {}, dict.fromkeys(names, (in_words(error),))
        except Exception as error:  # of this source's version in the store alone
            trouble[name] = (f"its champion cannot be read: {reason_of(error)}",)
            continue
        if champion is not None:
            found[name] = champion
    return found, trouble


def ask(
    request: Request,
    champion: Champion | None,
    behind: str | None,
    digests: Mapping[tuple[str, str], str],
    kept: KeptChampions,
) -> Answer | Request:
    """The answer of a source's fitted champion for now, or the request for a model to fit.

    Parameters
    ----------
    request : without choices.
    champion, digests, kept : as of `answer_with_fitted`.
    behind : why the source is not current; None where it is.
    """
    known = known_at(request.data, request.issue_times[0], request.history_days)
    problem = behind or history_problem(known)
    # one that is not silent, but measured at other times only, is asked for a wrong time
    elsewhere = not behind and known.targets.empty and request.data.series.notna().any()
    young = is_young(known) and known.source.kind in POWER_KINDS and not elsewhere
    chosen = choose(request, champion, problem, known.stale, young)
    return answer_with_fitted(chosen, champion, known, digests, kept)


def answer_with_fitted(
    request: Request,
    champion: Champion | None,
    known: Known,
    digests: Mapping[tuple[str, str], str],
    kept: KeptChampions,
) -> Answer | Request:
    """Answer with the champion's fitted copy; where it may not or cannot forecast, return the
    request for a model that is fitted anew, with a note that says why.

    Parameters
    ----------
    request : of the source.
    champion : of the source; None where there is none.
    known : what is known at the issue time.
    digests : SHA-256 of each registered model, by source_id and version.
    kept : files of champions that need not be read again.
    """
    first, *others = request.choices
    if champion is None or first.version is None:
        return request
    reason = reason_to_refit(champion, request.issue_times[0])
    if reason is None:
        try:
            sha256 = digests.get((champion.source_id, champion.version))
            model = load_champion(champion, sha256, lambda: kept.file(champion, sha256))
            if missing_inputs(model, known):
                return request  # its notes say what is too old
            return answer(request, first, model, request.notes)
        except Exception as error:  # whatever its library raises, the next stands in
            reason = reason_of(error)
            request = replace(request, choices=tuple(others))
    return replace(request, notes=(*request.notes, reason))


def fit_all(requests: Sequence[Request], past: bool, jobs: int) -> list[Answer]:
    """The answers of models that are fitted, as they come.

    Parameters
    ----------
    requests : one a source.
    past : whether they are of issue times of the past.
    jobs : sources at the same time.
    """
    answers, work = [], backfill if past else fit_and_predict
    with (
        terminal.progress("forecasting", len(requests)) as advance,
        parallel(work, requests, jobs) as found,
    ):
        for each in found:
            answers.append(each)
            advance(1)
    return answers


def save(config: Config, answers: Sequence[Answer], issue_time: pd.Timestamp) -> list[dict]:
    """Save all forecasts that are new in one transaction.

    Parameters
    ----------
    config : the configuration.
    answers : one a source.
    issue_time : end of the day whose error is shown [UTC].

    Returns
    -------
    A row for each source, as of `forecast_all`.
    """
    with session(config) as conn:
        runs = [
            (run, recalibrated(conn, each.request.data, run, frame))
            for each in answers
            for run, frame in each.runs
        ]
        save_forecasts(conn, [(run, frame) for run, frame in runs if is_new(conn, run, frame)])
        prune_results(conn, config.database.results_retention_days)
        rows = [summary_row(conn, config, each, issue_time) for each in answers]
    for row in rows:
        if row["note"] and row["role"] in ("fallback", None):
            log.warning("%s: %s", row["source_id"], row["note"])
    return rows


def is_new(conn: connection, run: ForecastRun, frame: pd.DataFrame) -> bool:
    """Whether saving a forecast would change anything.

    Not where the newest of its role and issue time is the same.

    Parameters
    ----------
    conn : connection to the database.
    run, frame : the forecast [kW or EUR/MWh].
    """
    roles = PLANNED_ROLES if run.role in PLANNED_ROLES else (run.role,)
    newest = read_forecasts(conn, run.source_id, run.issue_time, roles)
    if newest is None or newest[0] != run or len(newest[1]) != len(frame):
        return True
    stored, made = (each[[*COLUMNS, "published"]].to_numpy(float) for each in (newest[1], frame))
    return not (newest[1].index.equals(frame.index) and np.array_equal(stored, made))


def summary_row(conn: connection, config: Config, found: Answer, issue_time: pd.Timestamp) -> dict:
    """The row of a source in the table of `forecast_all`.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    found : the forecasts of the source.
    issue_time : end of the day whose error is shown [UTC].

    Returns
    -------
    source_id, model, version, role, issue_time, runs, rows, yesterday_mae [kW or EUR/MWh], note.
    """
    source = found.request.data.source
    try:
        error = day_error(conn, config, source, issue_time)
    except ForecastError:  # which its note says
        error = None
    models = list(dict.fromkeys(run.model for run, _ in found.runs))
    first = found.runs[-1][0] if found.runs else None
    return {
        "source_id": source.source_id,
        "model": "+".join(models),
        "version": first and first.model_version,
        "role": first and first.role,
        "issue_time": first and first.issue_time,
        "runs": len(found.runs),
        "rows": sum(len(frame) for _, frame in found.runs),
        "yesterday_mae": error and error["mae"],
        "note": "; ".join(found.notes),
    }


def check_all_forecast(rows: Sequence[dict], issue_time: pd.Timestamp) -> None:
    """Complain of sources without a forecast, once the others are saved.

    Parameters
    ----------
    rows : of `forecast_all`.
    issue_time : of the forecasts [UTC].

    Raises
    ------
    ForecastError : there are such sources.
    """
    failed = [f"{row['source_id']} ({row['note']})" for row in rows if not row["runs"]]
    if not failed:
        return
    saved = "nothing is saved"
    if len(failed) < len(rows):
        saved = "the other sources' forecasts are saved"
    raise ForecastError(
        f"no forecast from {issue_time:%Y-%m-%dT%H:%MZ} of {', '.join(failed)}; {saved}"
    )
