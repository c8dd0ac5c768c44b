"""The content of a page, read from the database, the MLflow store and the broker.

A part that is not there yet is empty, so that the page can say which command makes it. The ways of
running the site are valued at actual values where perfect foresight is stored for the plan
(`optimization.py value`), else at forecast values.

    python report.py --help
"""

import dataclasses
import logging
from collections.abc import Sequence

import pandas as pd
from psycopg2.extensions import connection

from vpp.champions.leaderboard import read_leaderboard
from vpp.champions.past_errors import day_error, issued_coverage
from vpp.planning import valuation
from vpp.report.figures.fan import HISTORY
from vpp.report.views import MOST_FANS, Content, Money, SourceView
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.schedule.basis import read_basis
from vpp.site.sources import Source
from vpp.storage.connection import session
from vpp.storage.counts import measurement_counts
from vpp.storage.device_states import read_plan
from vpp.storage.freshness import read_freshness, stale_feeds
from vpp.storage.measurements import read_latest, read_series, read_sources
from vpp.storage.results import check_run, read_forecasts, read_schedule
from vpp.stream.status import status

log = logging.getLogger("report")
KIND_ORDER = ("load", "solar", "wind", "market")
LABELS = {
    "plan": "The plan",
    "actual": "The plan as carried out",
    "backtest": "The rolling plan",
    "perfect": "Perfect foresight",
}
AT_ACTUAL, AT_FORECAST = "at the actual load, renewables and prices", "at forecast values"


class ReportError(VppError):
    """The report asked for cannot be made."""


def read_content(config: Config, run_id: str | None = None) -> Content:
    """Read all that the page shows, of a run or of the newest plan.

    Parameters
    ----------
    config : the configuration.
    run_id : the run; None takes the newest plan.

    Raises
    ------
    ConfigError : there is no run of that name; the nearest are given.
    ReportError : the run has no schedule to show.
    DatabaseError : the database cannot be reached.
    """
    with session(config) as conn:
        if run_id is not None:
            check_run(conn, run_id)
        content = read_run(conn, config, run_id)
        sources = [source for source in read_sources(conn) if source.kind in KIND_ORDER]
        if config.portfolio_step_min is not None:  # one site of several
            own = config.site.site_id
            sources = [one for one in sources if one.kind == "market" or one.site_id == own]
        sources.sort(key=lambda source: (KIND_ORDER.index(source.kind), source.source_id))
        content = dataclasses.replace(
            content,
            views=read_views(conn, config, sources, content),
            rows=measurement_counts(conn),
        )
    return dataclasses.replace(
        content,
        leaderboard=read_leaderboard(config, [source.source_id for source in sources]),
        stream=read_stream(config),
    )


def read_run(conn: connection, config: Config, run_id: str | None) -> Content:
    """Read a run, or the newest plan, with its money; without one the data end alone.

    Parameters
    ----------
    conn : connection to the database.
    config : the configuration.
    run_id : the run; None takes the newest plan."""
    freshness = read_freshness(conn, config.forecast.stale_after_h)
    now, most_h = freshness.data_end, config.forecast.weather_stale_after_h
    behind, own = dict(freshness.behind), None
    if config.portfolio_step_min is not None:  # one site of several
        own = config.site.site_id
        names = {source.source_id for source in read_sources(conn) if source.site_id == own}
        behind = {name: why for name, why in behind.items() if name in names}
    content = Content(
        config.site.name,
        config.site.time_zone,
        now,
        behind | (stale_feeds(conn, most_h, now, own) if now is not None else {}),
        batteries=config.batteries,
        currency=config.tariff.currency,
        made_at=pd.Timestamp.now("UTC"),
        stale_after_h=config.forecast.stale_after_h,
    )
    found = read_schedule(conn, run_id)
    if found is None:
        return content
    run, schedule, states = found
    if schedule.empty:
        raise ReportError(f"--run {run['run_id']}: {run['status']}, it has no schedule to show")
    basis = read_basis(run)
    return dataclasses.replace(
        content,
        run=run,
        schedule=schedule,
        states=states,
        devices=read_plan(conn, run["run_id"]),
        batteries=basis.batteries if basis else config.batteries,
        currency=(basis or config).tariff.currency,
        money=read_money(conn, run, schedule, states),
        costs=valuation.own_costs(conn, run, schedule, states),
    )


def read_views(
    conn: connection, config: Config, sources: Sequence[Source], content: Content
) -> tuple[SourceView, ...]:
    """Read each source around the run's issue time, without a run around the data end.

    Parameters
    ----------
    conn : connection to the database.
    config : the configuration.
    sources : the sources to read, in the order of the page.
    content : with the run and the data end."""
    issue_time = content.run["issue_time"] if content.run else content.data_end
    if issue_time is None:
        return ()
    views = [read_view(conn, config, source, issue_time, content.data_end) for source in sources]
    if content.data_end is not None and len(views) <= MOST_FANS:
        views = [
            dataclasses.replace(
                view, coverage=issued_coverage(conn, config, view.source, content.data_end)
            )
            for view in views
        ]
    return tuple(views)


def read_view(
    conn: connection,
    config: Config,
    source: Source,
    issue_time: pd.Timestamp,
    data_end: pd.Timestamp | None,
) -> SourceView:
    """Read a source around an issue time, and the error of its last day with measurements.

    Parameters
    ----------
    conn : connection to the database.
    config : the configuration.
    source : the source.
    issue_time : of the forecast.
    data_end : end of the measurements; None where there are none."""
    found = read_forecasts(conn, source.source_id, issue_time)
    end = issue_time + pd.Timedelta(hours=config.forecast.horizon_h)
    latest = read_latest(conn, source)
    view = SourceView(
        source,
        read_series(conn, source, issue_time - HISTORY, end),
        newest=latest[0] + pd.Timedelta(minutes=source.step_min) if latest else None,
    )
    if found and len(found[1]):
        run, forecast = found
        view = dataclasses.replace(view, model=run.model, role=run.role, note=run.note)
        view = dataclasses.replace(view, forecast=forecast)
    if data_end is None:
        return view
    return dataclasses.replace(view, error=day_error(conn, config, source, min(end, data_end)))


def read_money(conn: connection, run: dict, schedule: pd.DataFrame, states: pd.DataFrame) -> Money:
    """The cost of a run beside other ways of running the site, as `valuation.read_value` has it.

    A run of a version that stored no basis is shown with the money that was stored with it, until
    `optimization.py value` has valued it.

    Parameters
    ----------
    conn : connection to the database.
    run, schedule, states : the run, as `read_schedule` returns it."""
    label, value = LABELS[run["kind"]], valuation.read_value(conn, run, schedule, states)
    if value is None:
        total = {"no_battery": run["cost_no_battery_eur"], "rule": run["cost_rule_eur"]}
        values = AT_FORECAST if run["kind"] == "plan" else AT_ACTUAL
        note = (
            f"As stored when it was made, {values}: an older version made it and did not store its"
            " fees, limits and batteries."
        )
        return Money(None, total | {"plan": run["cost_eur"]}, note, label=label)
    note = (AT_ACTUAL if value.at_actual else AT_FORECAST).capitalize()
    note += ". Energy added to the batteries counts at one price."
    bent = value.ways.bent_limits
    if any(bent.values()):
        note += (
            f" Limits were not kept in {bent['no_battery']:,} places without battery and in"
            f" {bent['plan']:,} with it; what that may cost is in no amount."
        )
    if value.note:
        note += f" {value.note}"
    return Money(value.by_interval(), value.ways.cost_eur, note, value.captured_share, label)


def read_stream(config: Config) -> list[dict]:
    """Read the state of each topic, as `status` has it; none where the broker is away."""
    try:
        return status(config)
    except VppError as error:
        log.warning("the report does not show lag and dead letters: %s", error)
        return []
