"""What the report shows, read from the database, the MLflow store and the broker.

A part that is not there yet is empty, so that the page can say which command makes it. The ways of
running the site are valued at actual values where perfect foresight is stored for the plan
(`optimization.py value`), else at forecast values.

    python report.py --help
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from vpp.champions import registry
from vpp.champions.past_errors import day_error
from vpp.planning import valuation
from vpp.report.figures import HISTORY, Money, SourceView
from vpp.runtime.config import EMBEDDED, BatteryParameters, Config, VppError
from vpp.schedule.basis import read_basis
from vpp.site.sources import Source
from vpp.storage import measurements
from vpp.storage.connection import DataGapError, session
from vpp.storage.measurements import count_measurements, read_latest, read_series, read_sources
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


@dataclass(frozen=True)
class Content:
    """All that the page shows."""

    site: str
    zone: str
    data_end: pd.Timestamp | None = None
    run: dict | None = None
    schedule: pd.DataFrame | None = None
    states: pd.DataFrame | None = None
    batteries: tuple[BatteryParameters, ...] = ()
    money: Money | None = None
    views: tuple[SourceView, ...] = ()
    leaderboard: Sequence[dict] = ()
    stream: Sequence[dict] = ()
    rows: dict[str, int] = field(default_factory=dict)


def read_content(config: Config, run_id: str | None = None) -> Content:
    """Read all that the page shows, of a run or of the newest plan.

    Raises
    ------
    ConfigError : there is no run of that name; the nearest are given.
    ReportError : the run has no schedule to show.
    DatabaseError : the database cannot be reached.
    """
    with session(config) as conn:
        if run_id is not None:
            check_run(conn, run_id)
        found = read_schedule(conn, run_id)
        run, schedule, states = found or (None, None, None)
        if run is not None and schedule.empty:
            raise ReportError(f"--run {run['run_id']}: {run['status']}, it has no schedule to show")
        try:
            data_end = measurements.data_end(conn)
        except DataGapError:
            data_end = None
        issue_time = run["issue_time"] if run else data_end
        sources = [source for source in read_sources(conn) if source.kind in KIND_ORDER]
        sources.sort(key=lambda source: (KIND_ORDER.index(source.kind), source.source_id))
        views = (
            ()
            if issue_time is None
            else tuple(read_view(conn, config, source, issue_time, data_end) for source in sources)
        )
        rows = count_measurements(conn)
        money = None if run is None else read_money(conn, run, schedule, states)
        basis = None if run is None else read_basis(run)
    return Content(
        site=config.site.name,
        zone=config.site.time_zone,
        data_end=data_end,
        run=run,
        schedule=schedule,
        states=states,
        batteries=basis.batteries if basis else config.batteries,
        money=money,
        views=views,
        leaderboard=read_leaderboard(config, [source.source_id for source in sources]),
        stream=read_stream(config),
        rows=rows,
    )


def read_view(
    conn, config: Config, source: Source, issue_time: pd.Timestamp, data_end: pd.Timestamp | None
) -> SourceView:
    """A source around an issue time [UTC], and the error of its last day with measurements."""
    found = read_forecasts(conn, source.source_id, issue_time)
    run, forecast = found if found and len(found[1]) else (None, None)
    end = issue_time + pd.Timedelta(hours=config.forecast.horizon_h)
    latest = read_latest(conn, source)
    actual = read_series(conn, source, issue_time - HISTORY, end)
    view = SourceView(
        source, actual, newest=latest[0] + pd.Timedelta(minutes=source.step_min) if latest else None
    )
    if run is not None:
        view = dataclasses.replace(view, model=run.model, role=run.role, forecast=forecast)
    if data_end is None:
        return view
    return dataclasses.replace(view, error=day_error(conn, config, source, min(end, data_end)))


def read_money(conn, run: dict, schedule: pd.DataFrame, states: pd.DataFrame) -> Money:
    """What a run costs beside other ways of running the site, as `valuation.read_value` values it.

    A run of a version that stored no basis is shown with the money that was stored with it, until
    `optimization.py value` has valued it.
    """
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


def read_leaderboard(config: Config, source_ids: Sequence[str]) -> list[dict]:
    """The models of each source's newest training in the MLflow store, best first.

    Empty where nothing was trained or no store answers.
    """
    if not source_ids or (
        config.mlflow.tracking_uri == EMBEDDED
        and not (config.paths.state_dir / "mlflow.db").is_file()
    ):
        return []
    rows = []
    try:
        client = registry.open_store(config)
        experiment = client.get_experiment_by_name(config.mlflow.experiment).experiment_id
        for source_id in source_ids:
            wanted = f"tags.source_id = '{source_id}'"  # a source_id has no quotation mark
            rows += newest_training(
                client.search_runs(
                    [experiment], wanted, order_by=["attributes.start_time DESC"], max_results=100
                )
            )
    except registry.ModelStoreError as error:
        log.warning("the report shows no leaderboard: %s", error)
    return rows


def newest_training(runs: Sequence) -> list[dict]:
    """The models of the newest of a source's trainings, best first, of its MLflow runs, newest
    first (a model's is a child run).
    """
    models = [
        run for run in runs if "mlflow.parentRunId" in run.data.tags and "mae" in run.data.metrics
    ]
    models = [
        run
        for run in models
        if run.data.tags["mlflow.parentRunId"] == models[0].data.tags["mlflow.parentRunId"]
    ]
    naive = next(
        (run.data.metrics["mae"] for run in models if run.data.params["model"] == "seasonal_naive"),
        None,
    )
    return [
        {
            "source_id": run.data.tags["source_id"],
            "model": run.data.params["model"],
            "champion": run.data.tags["champion"] == run.data.params["model"],
            "mae": run.data.metrics["mae"],
            "mae_ratio_naive": run.data.metrics["mae"] / naive if naive else None,
        }
        for run in sorted(models, key=lambda run: run.data.metrics["mae"])
    ]


def read_stream(config: Config) -> list[dict]:
    """Rows stored, messages waiting and dead letters of each topic.

    Empty where the broker is away.
    """
    try:
        partitions = status(config)
    except VppError as error:
        log.warning("the report does not show lag and dead letters: %s", error)
        return []
    rows = {}
    for partition in partitions:
        row = rows.setdefault(
            partition["topic"],
            {"topic": partition["topic"], "rows_stored": None, "lag": None, "dead_letters": None},
        )
        for name in ("rows_stored", "lag", "dead_letters"):
            if partition[name] is not None:
                row[name] = (row[name] or 0) + partition[name]
    return list(rows.values())
