"""The plan of the site from an issue time on: read forecasts and states, solve, store.

    python optimization.py

Powers are means over [time, time + step) [kW]; money is EUR, positive where it is paid.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.carrying import Starts, read_starts
from vpp.planning.flexible import Span, site_devices
from vpp.planning.orders import overrides_json, with_overrides
from vpp.planning.previous import PlanBefore, changes, close_to, read_plan_before
from vpp.planning.runs import run_key, run_row, schedule_frames, valued_plan
from vpp.planning.site_series import forecast_frame, without_forecast
from vpp.planning.site_state import site_basis
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.schedule.basis import PlanBasis
from vpp.schedule.problem import InfeasibleScheduleError, Problem, Result, Violation
from vpp.schedule.site import site_problem, with_terminal_price
from vpp.storage.connection import DataGapError, session
from vpp.storage.freshness import Freshness, data_end, read_freshness
from vpp.storage.overrides import read_overrides
from vpp.storage.results import save_battery_states, save_schedule, upsert_batteries
from vpp.storage.sites import keep_fleet_totals, save_site_of

logger = logging.getLogger("optimization")

Forecaster = Callable[[Config, pd.Timestamp], object]  # makes and saves all sources' forecasts


@dataclass(frozen=True, eq=False)
class Prepared:
    """A plan before it is solved.

    Parameters
    ----------
    config : of the site.
    key : first columns of its run.
    basis, frame, problem : as of `plan_problem`; the problem knows the plan before.
    before : the plan before, if there is one.
    made_from : states, orders, and sources that are not current.
    """

    config: Config
    key: dict
    basis: PlanBasis
    frame: pd.DataFrame
    problem: Problem
    before: PlanBefore | None
    made_from: dict

    def solved(self) -> Result:
        """The plan's schedule, which leans where batteries follow the meter, as in a backtest.

        Raises
        ------
        InfeasibleScheduleError : there is none; names the cause.
        """
        # a battery that someone has overridden does not follow the meter
        lean = self.basis.follow and not self.made_from["overrides"]
        return solve_or_raise(self.problem, self.config.optimization.solver, lean)


def solve_or_raise(problem: Problem, solver: str, lean: bool = False) -> Result:
    """The cheapest schedule of a problem; warns of limits that bend.

    Parameters
    ----------
    problem : what is to be scheduled.
    solver : `highs` or `cbc`.
    lean : as of `vpp.schedule.solver.solve`.

    Raises
    ------
    InfeasibleScheduleError : there is none; names the cause.
    """
    from vpp.schedule.solver import solve

    result = solve(problem, solver, lean)
    if result.schedule is None:
        start = shown(problem.start)
        raise InfeasibleScheduleError(f"the plan from {start} is infeasible: {result.cause}")
    for line in bent_lines(result.violations):
        logger.warning("%s", line)
    return result


def bent_lines(violations: Sequence[Violation], most: int = 3) -> list[str]:
    """Limits that bend, as lines to log.

    Parameters
    ----------
    violations : the limits that bend.
    most : lines of one kind of limit; of more only the worst is told, and how many there are.

    Returns
    -------
    The lines.
    """
    kinds: dict[str, list[Violation]] = {}
    for bend in violations:
        kinds.setdefault(re.sub(r"\[\d+\]", "", bend.field), []).append(bend)
    lines = []
    for kind, bends in kinds.items():
        told, begin = bends, ""
        if len(bends) > most:
            told = [max(bends, key=lambda bend: bend.amount)]
            begin = f"{kind} cannot be kept in {len(bends):,} places; the worst: "
        lines += [
            f"{begin}{bend.field} cannot be kept in interval {bend.interval}: exceeded by"
            f" {bend.amount:.1f} {bend.unit}"
            for bend in told
        ]
    return lines


def plan_problem(
    conn: connection,
    config: Config,
    issue_time: pd.Timestamp | None,
    forecaster: Forecaster | None = None,
    starts: Starts | None = None,
    now: pd.Timestamp | None = None,
    freshness: Freshness | None = None,
) -> tuple[PlanBasis, pd.DataFrame, Problem]:
    """The problem that `plan` solves.

    Parameters
    ----------
    conn : connection to the database; its transaction ends where forecasts have to be made.
    config : the site, its batteries, its grid and its tariff.
    issue_time : from when on; default the data end.
    forecaster : makes forecasts that are missing; without one they are refused.
    starts : states from which the batteries start; default those that are known.
    now : as of `plan`.
    freshness : as of `forecast_frame`.

    Returns
    -------
    The basis, the forecasts as a `site_frame` that begins at the issue time, and the problem.

    Raises
    ------
    DataGapError : a source has no forecast for the issue time.
    """
    issue_time = _issue_time(conn, config, issue_time)
    found = forecast_frame(conn, config, issue_time, now is not None, freshness)
    if found is None and forecaster is not None:
        logger.info("no forecasts for issue time %s: making them first", shown(issue_time))
        conn.commit()
        forecaster(config, issue_time)
        found = forecast_frame(conn, config, issue_time, freshness=freshness)
    if found is None:
        names = ", ".join(without_forecast(conn, config, issue_time)[:3]) or "a source"
        raise DataGapError(
            f"{names} has no forecast for issue time {shown(issue_time)};"
            " run python forecast_and_save.py"
        )
    frame, step = found
    span = Span(issue_time, step, len(frame), config.site.time_zone)
    starts = starts or read_starts(conn, config, issue_time, now)
    basis = replace(
        site_basis(conn, config, issue_time, step, starts.batteries),
        devices=site_devices(conn, config, span),
    )
    basis = with_terminal_price(basis, frame)
    return basis, frame, site_problem(basis, issue_time, frame)


def _issue_time(conn: connection, config: Config, issue_time: pd.Timestamp | None) -> pd.Timestamp:
    if issue_time is None:
        issue_time = data_end(conn, config.forecast.stale_after_h)
    return issue_time.tz_convert("UTC")


def plan(
    config: Config,
    issue_time: pd.Timestamp | None = None,
    forecaster: Forecaster | None = None,
    now: pd.Timestamp | None = None,
) -> dict:
    """Plan the next `[optimization] horizon_h` hours, and store schedule, run and planned states.

    Parameters
    ----------
    config : the site, its batteries, its grid and its tariff.
    issue_time : from when on (UTC); default the data end. Nothing known later is used.
    forecaster : makes forecasts that are missing; without one they are refused.
    now : time of the clock of a plant in operation, within the first interval [UTC]. States that
        are measured by then count, older forecasts stand in, and a plan that is made anew of other
        inputs stands beside the one before instead of replacing it.

    Returns
    -------
    The row of `schedule_runs`, `bent_limits` of each way, and `changes` from the plan before, each
    with its cause. Its costs are those at forecast
    values, energy left at the end valued at one price; no penalty of a limit that bends is in them.

    Raises
    ------
    VppError : no data, no forecast, or no schedule keeps to physics.
    """
    if not config.batteries:
        logger.warning("%s has no [battery:NAME] section: planned without a battery", config.path)
    with session(config) as conn:
        made = prepare(conn, config, issue_time, forecaster, now)
        return store(conn, made, made.solved())


def prepare(
    conn: connection,
    config: Config,
    issue_time: pd.Timestamp | None,
    forecaster: Forecaster | None = None,
    now: pd.Timestamp | None = None,
    freshness: Freshness | None = None,
) -> Prepared:
    """All that a plan needs before it is solved; simulated states on the way are saved.

    Parameters
    ----------
    conn : connection to the database.
    config, issue_time, forecaster, now : as of `plan`.
    freshness : of all sources as of the issue time and `now`, if it is known.

    Raises
    ------
    VppError : no data, or no forecast.
    """
    issue_time = _issue_time(conn, config, issue_time)
    freshness = freshness or read_freshness(conn, config.forecast.stale_after_h, issue_time, now)
    starts = read_starts(conn, config, issue_time, now)
    if len(starts.simulated):
        save_battery_states(conn, starts.simulated)  # the day's cycles and the peak need them
    basis, frame, problem = plan_problem(
        conn, config, issue_time, forecaster, starts, now, freshness
    )
    orders = read_overrides(conn, now or issue_time)
    problem = with_overrides(problem, orders, now or issue_time)
    behind = dict(freshness.behind)
    if config.portfolio_step_min is not None:
        behind = {name: why for name, why in behind.items() if name in basis.source_ids}
    made_from = {
        "states": [state.as_json() for state in starts.batteries],
        "overrides": overrides_json(orders),
        "not_current": behind,
    }
    inputs = () if now is None else (made_from, problem)
    key = run_key(config, "plan", issue_time, *inputs)
    own = None if now is None else key["run_id"]
    before = read_plan_before(conn, config.site.site_id, problem, own)
    return Prepared(config, key, basis, frame, close_to(problem, before), before, made_from)


def store(conn: connection, made: Prepared, result: Result) -> dict:
    """Store a plan with its run and planned states.

    Parameters
    ----------
    conn : connection to the database; its transaction is committed.
    made : what was planned.
    result : its schedule.

    Returns
    -------
    As of `plan`.
    """
    problem, config = made.problem, made.config
    valued = valued_plan(problem, result)
    row = run_row(made.key, made.basis, problem, result, valued) | {"made_from": made.made_from}
    site_id = config.site.site_id
    upsert_batteries(conn, config.batteries)
    save_site_of(conn, site_id, [battery.battery_id for battery in config.batteries])
    save_schedule(conn, row, *schedule_frames(problem, result, made.frame))
    keep_fleet_totals(conn, str(row["run_id"]), site_id)
    logger.info(
        "%s: %d intervals in %.2f s, %s",
        *(result.status, problem.intervals, result.certificate.seconds, result.certificate.word),
    )
    valued.warn_of_bent_limits()
    told = changes(problem, result.found, made.before)
    return row | {"bent_limits": valued.bent_limits, "changes": told}


def plan_rows(schedule: pd.DataFrame, states: pd.DataFrame, capacity_kwh: float) -> list[dict]:
    """The plan as rows to print; battery and grid power are positive where they take and import.

    Parameters
    ----------
    schedule : intervals of a stored plan.
    states : planned states of its batteries, by time.
    capacity_kwh : of all batteries [kWh].

    Returns
    -------
    A row for each interval.
    """
    powers = states.groupby(level=0)[["energy_kwh", "charge_kw", "discharge_kw"]].sum()
    totals = powers.reindex(schedule.index, fill_value=0.0)
    return [
        {
            "time": row.Index,
            "price": row.import_price_eur_per_mwh,
            "load_kw": row.load_kw,
            "renewables_kw": row.renewables_kw,
            "battery_kw": total.charge_kw - total.discharge_kw,
            "soc": total.energy_kwh / capacity_kwh if capacity_kwh else None,
            "grid_kw": row.grid_import_kw - row.grid_export_kw,
            "reason": row.reason,
        }
        for row, total in zip(schedule.itertuples(), totals.itertuples(), strict=True)
    ]


def cost_rows(run: Mapping, actual: Mapping | None) -> list[dict]:
    """The cost of a plan beside its alternatives, at forecast and at actual values if known.

    Parameters
    ----------
    run : a stored plan.
    actual : its value at actual values, if known.

    Returns
    -------
    Rows to print.
    """
    ways: tuple[str, ...] = ("no_battery", "rule", "plan")
    expected = (run["cost_no_battery_eur"], run["cost_rule_eur"], run["cost_eur"])
    rows = [{"cost at": "forecast values"} | dict(zip(ways, expected, strict=True))]
    if actual is not None:
        ways += ("perfect_foresight", "captured_share")
        rows.append({"cost at": "actual values"} | {name: actual[name] for name in ways})
    names = ("cost at", *ways)
    return [{name.replace("_", " "): row.get(name) for name in names} for row in rows]
