"""What the report shows, read from the database, the MLflow store and the broker.

A part that is not there yet is empty, so that the page can say which command makes it. The ways of running the site are valued at
actual values where perfect foresight is stored for the plan (`optimization.py value`), else at forecast values.

    python report.py --help
"""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

import db
import schedule_site
from config import EMBEDDED, BatteryParameters, Config, VppError
from figures import HISTORY, Money, SourceView, interval_length
from past_errors import day_error
from schedule_dispatch import carry_out
from schedule_problem import Problem, Schedule
from schedule_replay import replay
from sources import Source

log = logging.getLogger("report")
KIND_ORDER = ("load", "solar", "wind", "market")
LABELS = {"plan": "The plan", "actual": "The plan as carried out", "backtest": "The rolling plan", "perfect": "Perfect foresight"}
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
    with db.session(config) as conn:
        if run_id is not None:
            db.check_run(conn, run_id)
        found = db.read_schedule(conn, run_id)
        run, schedule, states = found or (None, None, None)
        if run is not None and schedule.empty:
            raise ReportError(f"--run {run['run_id']}: {run['status']}, it has no schedule to show")
        try:
            data_end = db.data_end(conn)
        except db.DataGapError:
            data_end = None
        issue_time = run["issue_time"] if run else data_end
        sources = [source for source in db.read_sources(conn) if source.kind in KIND_ORDER]
        sources.sort(key=lambda source: (KIND_ORDER.index(source.kind), source.source_id))
        views = () if issue_time is None else tuple(read_view(conn, config, source, issue_time, data_end) for source in sources)
        rows = db.count_measurements(conn)
        money = None if run is None else read_money(conn, config, run, schedule, states)
    return Content(
        site=config.site.name,
        zone=config.site.time_zone,
        data_end=data_end,
        run=run,
        schedule=schedule,
        states=states,
        batteries=config.batteries,
        money=money,
        views=views,
        leaderboard=read_leaderboard(config, [source.source_id for source in sources]),
        stream=read_stream(config),
        rows=rows,
    )


def read_view(conn, config: Config, source: Source, issue_time: pd.Timestamp, data_end: pd.Timestamp | None) -> SourceView:
    """A source around an issue time [UTC], and the error of its last day with measurements."""
    found = db.read_forecasts(conn, source.source_id, issue_time)
    run, forecast = found if found and len(found[1]) else (None, None)
    end = issue_time + pd.Timedelta(hours=config.forecast.horizon_h)
    latest = db.read_latest(conn, source)
    actual = db.read_series(conn, source, issue_time - HISTORY, end)
    view = SourceView(source, actual, newest=latest[0] + pd.Timedelta(minutes=source.step_min) if latest else None)
    if run is not None:
        view = dataclasses.replace(view, model=run.model, role=run.role, forecast=forecast)
    if data_end is None:
        return view
    return dataclasses.replace(view, error=day_error(conn, config, source, min(end, data_end)))


def read_money(conn, config: Config, run: dict, schedule: pd.DataFrame, states: pd.DataFrame) -> Money:
    """What a run costs beside other ways of running the site.

    A plan that has been valued is shown at actual values beside perfect foresight. A run that was made with another configuration
    than the present one is shown with the money that was stored with it: what its batteries and its tariff were is not known any more.
    """
    step = int(interval_length(schedule.index).total_seconds()) // 60
    label = LABELS[run["kind"]]
    total = {"no_battery": run["cost_no_battery_eur"], "rule": run["cost_rule_eur"], "plan": run["cost_eur"]}
    made = schedule_site.config_of(config, run, len(schedule) * step / 60)
    if made is None:
        basis = f"As stored when it was made, {AT_FORECAST if run['kind'] == 'plan' else AT_ACTUAL}: the configuration has changed since."
        return Money(None, total, basis, label=label)
    perfect = db.read_schedule(conn, schedule_site.run_id_of(made, "perfect", run["issue_time"])) if run["kind"] == "plan" else None
    known = perfect is not None and perfect[1].index.equals(schedule.index)
    batteries = schedule_site.starting_batteries(conn, made, run["issue_time"], set(states["battery_id"]))
    peak = schedule_site.peak_so_far(conn, made, run["issue_time"])

    def problem_of(frame: pd.DataFrame) -> Problem:
        price = frame["import_price_eur_per_mwh"] - made.grid.import_fee_eur_per_mwh
        return schedule_site.site_problem(made, schedule.index[0], frame.assign(price_eur_per_mwh=price), step, batteries, peak)

    price = schedule_site.terminal_price(problem_of(schedule))
    problem = schedule_site.with_terminal_value(problem_of(perfect[1] if known else schedule), price)
    wanted = by_battery(states, problem, "charge_kw") - by_battery(states, problem, "discharge_kw")
    ways = schedule_site.alternatives(problem)
    if run["kind"] == "plan":
        ways["plan"] = (problem, carry_out(problem, lambda t, _: wanted[:, t]))
    else:  # carried out already
        ways["plan"] = (problem, stored_schedule(problem, schedule, states))
    if known:
        ways["perfect"] = (problem, stored_schedule(problem, *perfect[1:]))
    if known or run["kind"] == "plan":
        total = {name: schedule_site.net_cost_eur(*way) for name, way in ways.items()}
    by_interval = pd.DataFrame({name: interval_costs(*way, total[name]) for name, way in ways.items()}, index=schedule.index)
    share = schedule_site.captured_share(total["no_battery"], total["plan"], total["perfect"]) if known else None
    basis = (
        AT_ACTUAL if known or run["kind"] != "plan" else AT_FORECAST
    ).capitalize() + ". Energy added to the batteries counts at one price."
    bent = {name: len(replay(*way).bends) for name, way in ways.items()}
    if any(bent.values()):
        basis += (
            f" Limits were not kept in {bent['no_battery']:,} places without battery and in {bent['plan']:,} with it;"
            " what that may cost is in no amount."
        )
    return Money(by_interval, total, basis, share, label)


def by_battery(states: pd.DataFrame, problem: Problem, column: str) -> np.ndarray:
    """A column of stored battery states, one row a battery of the problem."""
    own = (states.loc[states["battery_id"] == battery.battery_id, column] for battery in problem.batteries)
    return np.array([part.to_numpy(float) for part in own]).reshape(len(problem.batteries), problem.intervals)


def stored_schedule(problem: Problem, frame: pd.DataFrame, states: pd.DataFrame) -> Schedule:
    """A schedule as it was before it was stored."""
    batteries = (by_battery(states, problem, name) for name in ("charge_kw", "discharge_kw", "soc"))
    grid = (frame[name].to_numpy(float) for name in ("curtailed_kw", "grid_import_kw", "grid_export_kw"))
    charge, discharge, soc = batteries
    return Schedule(charge, discharge, *grid, soc)


def interval_costs(problem: Problem, schedule: Schedule, total_eur: float) -> np.ndarray:
    """What each interval of a schedule costs [EUR]; the peak, which belongs to none, is in the last, so that the sum is `total_eur`."""
    costs = schedule_site.interval_costs_eur(problem, schedule)
    costs[-1] += total_eur - costs.sum()
    return costs


def read_leaderboard(config: Config, source_ids: Sequence[str]) -> list[dict]:
    """The models of each source's newest training in the MLflow store, best first; empty where nothing was trained or no store answers."""
    if not source_ids or (config.mlflow.tracking_uri == EMBEDDED and not (config.paths.state_dir / "mlflow.db").is_file()):
        return []
    import model_registry

    rows = []
    try:
        client = model_registry.open_store(config)
        experiment = client.get_experiment_by_name(config.mlflow.experiment).experiment_id
        for source_id in source_ids:
            wanted = f"tags.source_id = '{source_id}'"  # a source_id has no quotation mark
            rows += newest_training(client.search_runs([experiment], wanted, order_by=["attributes.start_time DESC"], max_results=100))
    except model_registry.ModelStoreError as error:
        log.warning("the report shows no leaderboard: %s", error)
    return rows


def newest_training(runs: Sequence) -> list[dict]:
    """The models of the newest of a source's trainings, best first, of its MLflow runs, newest first (a model's is a child run)."""
    models = [run for run in runs if "mlflow.parentRunId" in run.data.tags and "mae" in run.data.metrics]
    models = [run for run in models if run.data.tags["mlflow.parentRunId"] == models[0].data.tags["mlflow.parentRunId"]]
    naive = next((run.data.metrics["mae"] for run in models if run.data.params["model"] == "seasonal_naive"), None)
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
    """Rows stored, messages waiting and dead letters of each topic; empty where the broker is away."""
    import communication

    try:
        partitions = communication.status(config)
    except VppError as error:
        log.warning("the report does not show lag and dead letters: %s", error)
        return []
    rows = {}
    for partition in partitions:
        row = rows.setdefault(partition["topic"], {"topic": partition["topic"], "rows_stored": None, "lag": None, "dead_letters": None})
        for name in ("rows_stored", "lag", "dead_letters"):
            if partition[name] is not None:
                row[name] = (row[name] or 0) + partition[name]
    return list(rows.values())
