"""Forecasts of every source by its champion, saved together."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
from psycopg2.extensions import connection

from vpp.champions.backfill import backfilled
from vpp.champions.contenders import silence
from vpp.champions.history import (
    check_issue_time,
    history_start,
    load_source_data,
    pick_sources,
    read_issue,
)
from vpp.champions.kept import KeptChampions
from vpp.champions.origins import split_origins, too_few
from vpp.champions.reading import read_champions
from vpp.champions.reconciling import with_sums
from vpp.champions.registry import Champion, load_champion
from vpp.champions.requests import (
    NO_CHAMPION,
    STAND_INS,
    Answer,
    Request,
    answer,
    choose,
    fit_and_predict,
    grown,
    reason_of,
    reason_to_refit,
    stand_ins,
)
from vpp.champions.saving import (
    bands_corrected,
    check_all_forecast,
    rows_without_sums,
    save_new,
    summary_row,
    warned,
)
from vpp.champions.surroundings import Surroundings
from vpp.champions.wanted import Wanted, loaded, new_request
from vpp.forecast.known import Known, SourceData, history_problem, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.pooled import Global
from vpp.forecast.stale import missing_inputs
from vpp.runtime import terminal
from vpp.runtime.compute import computed
from vpp.runtime.parallel import parallel
from vpp.runtime.settings import Config
from vpp.site.sources import Source
from vpp.storage.claims import server_time
from vpp.storage.connection import session
from vpp.storage.digests import read_digests
from vpp.storage.results import ForecastRun
from vpp.storage.retention import prune_results

log = logging.getLogger("forecast_and_save")

SHARD = 50  # sources that a worker forecasts at a time; fewer are forecast here


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
        since = server_time(conn)
        now, freshness = read_issue(conn, config, issue_time, clock)
        markets = config.tariff.needs_market
        sources = pick_sources(conn, [source] if source else None, markets)
        digests = read_digests(conn)
    check_issue_time(now, sources)
    backs = range(backfill_days * 24 // every_h, 0, -1) if backfill_days else (0,)
    times = tuple(now - back * pd.Timedelta(hours=every_h) for back in backs)
    # a plant in operation shows no table, and need not know yesterday's errors
    shown_day = now if kept is None else None
    names, kept = [item.source_id for item in sources], kept or KeptChampions()
    champions, trouble = kept.read(names, digests, lambda: read_champions(config, sources))
    task = Wanted(
        config, tuple(sources), times, horizon_h, now, freshness, champions, trouble, digests, since
    )
    if backfill_days:
        return backfilled(task)
    if len(sources) > SHARD or config.compute.engine != "local":
        rows = forecast_shards(task)
    else:
        rows = save(config, answers_of(task, kept), shown_day)
    check_all_forecast([row for row in rows if row["source_id"] not in freshness.behind], now)
    return rows


def answers_of(task: Wanted, kept: KeptChampions | None = None) -> list[Answer]:
    """The forecasts from the one issue time of a task, in the order of its sources.

    Parameters
    ----------
    task : the sources.
    kept : files of champions that need not be read again.
    """
    config, kept = task.config, kept or KeptChampions()
    models = dict[str, ForecastModel]()
    origins = (config.forecast.horizon_h, config.training.origins)
    with session(config) as conn:
        around = Surroundings(conn, history_start(config, task.times[0]))
        everything = [load(conn, config, item, around) for item in task.sources]
    answers, to_fit = list[Answer](), list[Request]()
    for data, fault in everything:
        name = data.source.source_id
        notes = (*task.trouble.get(name, ()), *fault)
        request = new_request(config, data, task.times, task.horizon_h, (), notes)
        behind = task.freshness.behind
        if fault or (name in task.freshness.empty and data.source.kind == "market"):
            answers.append(Answer(request, [], (*notes, *(() if fault else (behind[name],)))))
            continue
        champion = task.champions.get(name)
        found = ask(request, champion, behind.get(name), origins, task.digests, models, kept)
        (answers if isinstance(found, Answer) else to_fit).append(found)  # type: ignore[arg-type]
    answers += fit_all(to_fit, config.training.jobs)
    by_source = {each.request.data.source.source_id: each for each in answers}
    return [by_source[item.source_id] for item in task.sources]


def forecast_shards(task: Wanted) -> list[dict]:
    """Forecast many sources in shards side by side, and save: on this machine all of them in one
    transaction, on a cluster each shard by its worker.

    Parameters
    ----------
    task : all sources.

    Returns
    -------
    A row for each source, of `summary_row`.
    """
    config, jobs = task.config, task.config.training.jobs
    ordered = sorted(task.sources, key=lambda source: (source.site_id, source.source_id))
    parts = jobs * -(-len(ordered) // (jobs * SHARD))  # as many for each process
    size = max(1, -(-len(ordered) // parts))
    shards = [task.of(ordered[at : at + size]) for at in range(0, len(ordered), size)]
    runs, rows = list[tuple[ForecastRun, pd.DataFrame]](), dict[str, dict]()
    with (
        terminal.progress("forecasting", len(ordered)) as advance,
        computed(config, forecast_shard, shards, jobs) as found,
    ):
        for made, told in found:
            runs += made
            rows |= {row["source_id"]: row for row in told}
            advance(len(told))
    faults = dict[str, str]()
    if runs:
        with session(config) as conn:
            runs, faults = with_sums(conn, config, task.sources, runs)
            save_new(conn, runs)
            prune_results(conn, config.database.results_retention_days)
    return warned([rows[source.source_id] for source in task.sources] + rows_without_sums(faults))


def forecast_shard(task: Wanted) -> tuple[list[tuple[ForecastRun, pd.DataFrame]], list[dict]]:
    """Forecast some sources in a worker.

    Parameters
    ----------
    task : the sources.

    Returns
    -------
    The runs that are to be saved; on a cluster none, as they are saved already. A row for each
    source.
    """
    silence()
    training = replace(task.config.training, jobs=1)
    task = replace(task, config=replace(task.config, training=training))
    answers = answers_of(task)
    with session(task.config) as conn:
        runs = bands_corrected(conn, answers)
        rows = [summary_row(conn, task.config, each, task.now) for each in answers]
        if task.config.compute.engine != "local" and task.config.forecast.reconcile == "none":
            save_new(conn, runs)
            runs = []
    return runs, rows


def load(
    conn: connection, config: Config, source: Source, around: Surroundings
) -> tuple[SourceData, tuple[str, ...]]:
    """All that is stored about a source; where it cannot be read, nothing, and why.

    Parameters
    ----------
    conn, config, source, around : as of `load_source_data`.
    """

    def read() -> SourceData:
        found = load_source_data(conn, config, source, around)
        if found.series.notna().any():
            return found
        return load_source_data(conn, config, source)  # it may have been measured at other times

    return loaded(source, read)


def ask(
    request: Request,
    champion: Champion | None,
    behind: str | None,
    origins: tuple[int, int],
    digests: Mapping[tuple[str, str], str],
    models: dict[str, ForecastModel],
    kept: KeptChampions,
) -> Answer | Request:
    """The answer of a source's fitted champion for now, or the request for a model to fit.

    Parameters
    ----------
    request : without choices.
    champion, digests : as of `answer_with_fitted`.
    behind : why the source is not current; None where it is.
    origins : horizon [h] and number of those that a training compares on, at most.
    models : that serve several sources, by name, once they are loaded.
    kept : files of champions that need not be read again.
    """
    known = known_at(request.data, request.issue_times[0], request.history_days)
    problem = behind or history_problem(known)
    # one that is not silent, but measured at other times only, is asked for a wrong time
    elsewhere = not behind and known.targets.empty and request.data.series.notna().any()
    names = STAND_INS[-1:] if elsewhere else stand_ins(known, problem)
    missing = NO_CHAMPION
    if not problem and split_origins(known.targets.index[0], known.issue_time, *origins) is None:
        missing = f"no champion: {too_few(known)}"
    chosen = choose(request, champion, problem, known.stale, names, missing)
    return answer_with_fitted(chosen, champion, known, digests, models, kept)


def answer_with_fitted(
    request: Request,
    champion: Champion | None,
    known: Known,
    digests: Mapping[tuple[str, str], str],
    models: dict[str, ForecastModel],
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
    models, kept : as of `ask`.
    """
    first, *others = request.choices
    if champion is None or first.version is None:
        return request
    reason = reason_to_refit(champion, request.issue_times[0])
    if reason is None:
        try:
            model = models.get(champion.source_id)
            if model is None:
                sha256 = digests.get((champion.source_id, champion.version))
                model = load_champion(champion, sha256, lambda: kept.file(champion, sha256))
            if champion.source_id != known.source.source_id and isinstance(model, Global):
                models[champion.source_id] = model
                model = model.of(known)
                first = replace(first, model=model.name)
            gone = missing_inputs(model, known)
            if gone:
                notes = dict.fromkeys((*request.notes, *gone.values()))  # some say it already
                first = replace(request.choices[0], role="fallback")
                return replace(request, choices=(first, *others), notes=tuple(notes))
            reason = grown(champion, known.source)
            if reason:
                return replace(request, notes=(*request.notes, reason))
            return answer(request, first, model, request.notes, known)
        except Exception as error:  # whatever its library raises, the next stands in
            reason = reason_of(error)
            request = replace(request, choices=tuple(others))
    return replace(request, notes=(*request.notes, reason))


def fit_all(requests: Sequence[Request], jobs: int) -> list[Answer]:
    """The answers of models that are fitted, as they come.

    Parameters
    ----------
    requests : one a source.
    jobs : sources at the same time.
    """
    answers = []
    with (
        terminal.progress("forecasting", len(requests)) as advance,
        parallel(fit_and_predict, requests, jobs) as found,
    ):
        for each in found:
            answers.append(each)
            advance(1)
    return answers


def save(config: Config, answers: Sequence[Answer], issue_time: pd.Timestamp | None) -> list[dict]:
    """Save all forecasts that are new in one transaction.

    Parameters
    ----------
    config : the configuration.
    answers : one a source.
    issue_time : end of the day whose error is shown [UTC]; None for no error.

    Returns
    -------
    A row for each source, as of `forecast_all`, and for each kind whose sums failed.
    """
    with session(config) as conn:
        sources = [each.request.data.source for each in answers]
        runs, faults = with_sums(conn, config, sources, bands_corrected(conn, answers))
        save_new(conn, runs)
        prune_results(conn, config.database.results_retention_days)
        rows = [summary_row(conn, config, each, issue_time) for each in answers]
    return warned(rows + rows_without_sums(faults))
