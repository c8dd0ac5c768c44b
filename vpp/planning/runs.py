"""Schedules as rows of the tables `schedule_runs`, `schedules` and `battery_states`, and back.

Pure: reads and writes nothing.

    python optimization.py --json

Powers are kW, energies kWh, prices EUR/MWh.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vpp.planning.device_rows import device_rows, stored_devices
from vpp.runtime.plant_settings import Tariff
from vpp.runtime.settings import Config
from vpp.schedule.basis import PlanBasis, basis_json
from vpp.schedule.dispatch import self_consumption
from vpp.schedule.frames import battery_frame, schedule_frame
from vpp.schedule.problem import Certificate, Problem, Result, Schedule
from vpp.schedule.value import NO_BATTERY, PLAN, RULE, Valuation, replay_or_raise, value_ways
from vpp.storage.connection import DataGapError
from vpp.storage.results import run_id

SCHEDULE_COLUMNS = (
    "grid_import_kw",
    "grid_export_kw",
    "load_kw",
    "renewables_kw",
    "curtailed_kw",
    "market_price_eur_per_mwh",
    "import_price_eur_per_mwh",
    "export_price_eur_per_mwh",
    "stored_value_eur_per_mwh",
    "bus_price_eur_per_mwh",
    "reason",
)


def schedule_frames(
    problem: Problem, result: Result, frame: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """A schedule as rows of the tables `schedules`, `battery_states` and `device_states`.

    Parameters
    ----------
    problem : what was solved.
    result : its schedule.
    frame : the `site_frame` that the problem was made of; it has the prices without fees.

    Returns
    -------
    One row an interval, one row an interval of each battery, and of each flexible load.
    """
    rows = schedule_frame(problem, result)
    rows["market_price_eur_per_mwh"] = frame["price_eur_per_mwh"]
    frames = battery_frame(problem, result), device_rows(problem, result)
    return rows[list(SCHEDULE_COLUMNS)], *frames


def carried_out(problem: Problem, schedule: Schedule, seconds: float = 0.0) -> Result:
    """A schedule that was carried out, as a result that can be stored.

    Parameters
    ----------
    problem : the span at actual values.
    schedule : what was done in it.
    seconds : how long its plans took [s].

    Raises
    ------
    BrokenScheduleError : it breaks physics.
    """
    money = replay_or_raise(problem, schedule, "what was carried out")
    return Result(
        status="feasible",
        certificate=Certificate("rolling", 0, None, None, seconds),
        schedule=schedule,
        cost_eur=money.cost_eur,
        objective_eur=money.objective_eur,
        violations=money.bends,
        stored_value_eur_per_mwh=np.full(problem.intervals, np.nan),
        bus_price_eur_per_mwh=np.full(problem.intervals, np.nan),
        reason=("carried out",) * problem.intervals,
    )


def stored_frame(schedule: pd.DataFrame) -> pd.DataFrame:
    """The `site_frame` that a stored schedule was made of."""
    names = {"market_price_eur_per_mwh": "price_eur_per_mwh"}
    columns = ["load_kw", "renewables_kw", "price_eur_per_mwh"]
    return schedule.rename(columns=names)[columns].astype(float)


def stored_schedule(
    problem: Problem, rows: pd.DataFrame, states: pd.DataFrame, devices: pd.DataFrame
) -> Schedule:
    """A schedule as it was before `schedule_frames` made rows of it.

    Parameters
    ----------
    problem : the problem of the run.
    rows, states, devices : its rows of `schedules`, `battery_states` and `device_states`.
    """
    return Schedule(
        charge_kw=by_battery(states, problem, "charge_kw"),
        discharge_kw=by_battery(states, problem, "discharge_kw"),
        curtailed_kw=rows["curtailed_kw"].to_numpy(float),
        grid_import_kw=rows["grid_import_kw"].to_numpy(float),
        grid_export_kw=rows["grid_export_kw"].to_numpy(float),
        soc=by_battery(states, problem, "soc"),
        devices=stored_devices(problem, devices),
    )


def by_battery(states: pd.DataFrame, problem: Problem, column: str) -> np.ndarray:
    """A column of stored battery states.

    Parameters
    ----------
    states : rows of `battery_states` of one run.
    problem : its problem, which gives the order of the batteries.
    column : name of the column.

    Returns
    -------
    Its values (battery, interval).

    Raises
    ------
    DataGapError : a state is missing.
    """
    shape = len(problem.batteries), problem.intervals
    places = {battery.battery_id: b for b, battery in enumerate(problem.batteries)}
    battery = states["battery_id"].map(places)
    known = battery.notna().to_numpy()
    if known.sum() != shape[0] * shape[1]:
        raise DataGapError(
            f"{known.sum()} states of {shape[0]} batteries x {shape[1]} intervals are stored; those"
            " of a fleet are kept for the newest plan of its site only: take that one"
        )
    # the states of a battery are in the order of time, and those of all in that of their names
    order = np.argsort(battery.to_numpy()[known], kind="stable")
    return states[column].to_numpy(float)[known][order].reshape(shape)


def run_key(config: Config, kind: str, issue_time: pd.Timestamp, *inputs: object) -> dict:
    """The first columns of a row of `schedule_runs`.

    Parameters
    ----------
    config : what the run is made with.
    kind : `plan` or `backtest`.
    issue_time : start of its first interval [UTC].
    inputs : what else tells it from others of that time.

    Returns
    -------
    `run_id`, which the other columns and the configuration give, `site_id`, `issue_time`, `kind`.
    """
    flexible = filter(None, (config.vehicles, config.deferrable_loads, config.heat_stores))
    # runs of before there was a tariff keep their names
    tariff = () if config.tariff == Tariff() else (config.tariff,)
    name = run_id(
        kind,
        config.site.site_id,
        issue_time,
        config.site,
        config.grid,
        config.optimization,
        config.batteries,
        *flexible,
        *tariff,
        *inputs,
    )
    return {"run_id": name, "site_id": config.site.site_id, "issue_time": issue_time, "kind": kind}


def valued_plan(problem: Problem, result: Result, rule: Schedule | None = None) -> Valuation:
    """A result valued beside the rule and the site without batteries.

    Parameters
    ----------
    problem : what was solved.
    result : its schedule.
    rule : what the rule does, where it is known already.

    Raises
    ------
    BrokenScheduleError : the schedule breaks physics.
    """
    rule = self_consumption(problem) if rule is None else rule
    return value_ways(problem, {RULE: rule, PLAN: result.found})


def run_row(
    key: Mapping[str, object],
    basis: PlanBasis,
    problem: Problem,
    result: Result,
    valued: Valuation | None = None,
) -> dict:
    """A row of the table `schedule_runs`; a run with the same key replaces it.

    Parameters
    ----------
    key : its first columns, as `run_key` gives them.
    basis : what the run was made with.
    problem : what was solved.
    result : its schedule.
    valued : the result as `valued_plan` gives it, where it is known already.

    Raises
    ------
    BrokenScheduleError : the schedule breaks physics.
    """
    valued = valued or valued_plan(problem, result)
    return dict(key) | {
        "status": result.status,
        "certificate": result.certificate.word,
        "gap": result.certificate.gap,
        "objective_eur": result.objective_eur,
        "cost_eur": valued.cost_eur[PLAN],
        "cost_no_battery_eur": valued.cost_eur[NO_BATTERY],
        "cost_rule_eur": valued.cost_eur[RULE],
        "seconds": result.certificate.seconds,
        "input_hash": run_id(problem),
        "basis": basis_json(basis),
    }
