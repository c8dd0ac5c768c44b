"""The worth of a stored plan at actual load, renewables and prices, beside its alternatives.

`value_plan` stores what was carried out, and perfect foresight; `read_value` reads them back, for
the report.

    python optimization.py value

Money is EUR, positive where it is paid.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.device_rows import stored_devices
from vpp.planning.plans import solve_or_raise
from vpp.planning.runs import (
    by_battery,
    carried_out,
    run_row,
    schedule_frames,
    stored_frame,
    stored_schedule,
    valued_plan,
)
from vpp.planning.site_series import actual_frame, basis_sources
from vpp.planning.site_state import site_basis
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.schedule.basis import PlanBasis, read_basis
from vpp.schedule.dispatch import carry_out, self_consumption, with_load_of
from vpp.schedule.following import Following
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.site import site_problem, with_terminal_price
from vpp.schedule.value import NO_BATTERY, PERFECT, PLAN, RULE, Valuation, value_ways
from vpp.storage import results
from vpp.storage.connection import DataGapError, session
from vpp.storage.device_states import read_plan as read_devices
from vpp.storage.results import check_run, read_schedule, save_schedule

logger = logging.getLogger("optimization")

OLDER = (
    "An older version made the plan and did not store its fees, limits and batteries:"
    " those of the configuration at its valuation count."
)


class ValuationError(VppError):
    """A run that cannot be valued as a plan; names it and what it is."""


@dataclass(frozen=True, eq=False)
class RunValue:
    """A stored run and the ways it is compared with.

    Parameters
    ----------
    run : its row of `schedule_runs`.
    index : starts of its intervals [UTC].
    ways : what each way costs; the run itself is "plan".
    at_actual : whether it is valued at actual values, else at forecasts.
    note : what a reader has to know of the basis.
    """

    run: Mapping[str, object]
    index: pd.DatetimeIndex
    ways: Valuation
    at_actual: bool
    note: str | None = None

    @property
    def captured_share(self) -> float | None:
        """Share of what perfect foresight saves that the plan saves; None where it is not known."""
        return self.ways.captured_share(PLAN)

    def by_interval(self) -> pd.DataFrame:
        """Cost of each interval [EUR], one column for each way; the sums are `ways.cost_eur`."""
        return pd.DataFrame(self.ways.by_interval(), index=self.index)


def read_value(
    conn: connection, run: Mapping[str, object], schedule: pd.DataFrame, states: pd.DataFrame
) -> RunValue | None:
    """Value a stored run from what the database holds of it.

    A plan that `value_plan` has valued is carried out at actual values, beside perfect foresight;
    one that it has not is valued at its forecasts. Any other run is valued as it was carried out.

    Parameters
    ----------
    conn : connection to the database.
    run, schedule, states : the run, as `read_schedule` returns it.

    Returns
    -------
    RunValue, or None where neither the run nor its valuation has a basis.

    Raises
    ------
    BasisError : a newer version stored the basis.
    BrokenScheduleError : what is stored breaks physics.
    """
    is_plan, basis = run["kind"] == "plan", read_basis(run)
    perfect = read_schedule(conn, value_key(run, "perfect")["run_id"]) if is_plan else None
    note = OLDER if basis is None else None
    if perfect is not None:
        made = read_basis(perfect[0])
        if basis not in (None, made) or not perfect[1].index.equals(schedule.index):
            perfect = None  # it belongs to the plan that this one has replaced
        else:
            basis = made
    if basis is None:
        return None
    frame = stored_frame(schedule if perfect is None else perfect[1])
    problem = site_problem(basis, schedule.index[0], frame)
    schedules = {RULE: self_consumption(problem)}
    if perfect is None:
        devices = read_devices(conn, str(run["run_id"]))
        schedules[PLAN] = stored_schedule(problem, schedule, states, devices)
    else:
        devices = read_devices(conn, str(run["run_id"]))
        schedules[PLAN] = carry_out_plan(problem, basis, run, schedule, states, devices)
        devices = read_devices(conn, perfect[0]["run_id"])
        schedules[PERFECT] = stored_schedule(problem, *perfect[1:], devices)
    ways = value_ways(problem, schedules)
    return RunValue(
        run, pd.DatetimeIndex(schedule.index), ways, perfect is not None or not is_plan, note
    )


def own_costs(
    conn: connection, run: Mapping[str, object], schedule: pd.DataFrame, states: pd.DataFrame
) -> pd.Series | None:
    """The cost of each interval of a run at the values that it was made with.

    Parameters
    ----------
    conn : connection to the database.
    run, schedule, states : the run, as `read_schedule` returns it.

    Returns
    -------
    Costs [EUR] by time; the energy that each interval adds to the batteries counts at the run's
    terminal price, and a peak is in the last. None for a run of a version that stored no basis.
    """
    basis = read_basis(run)
    if basis is None:
        return None
    problem = site_problem(basis, schedule.index[0], stored_frame(schedule))
    own = stored_schedule(problem, schedule, states, read_devices(conn, str(run["run_id"])))
    costs = value_ways(problem, {PLAN: own}).by_interval()[PLAN]
    return pd.Series(costs, schedule.index)


def value_plan(config: Config, run_id: str | None = None) -> dict:
    """The cost of a stored plan at the actual load, renewables and prices, beside its alternatives.

    The batteries do what was planned as far as `Battery.step` and the limits of the grid
    connection let them; curtailment is decided at actual prices and the grid takes the rest. The
    rule charges on surplus and discharges on deficit. Perfect foresight is the optimum for the
    actual values. All four cost energy, peak, CO2 and wear, less the value of the energy added to
    the batteries at the plan's terminal price. Perfect foresight costs least of what the
    batteries can do without bending more limits; no battery may cost less still where self-
    discharge loses what the batteries began with. Fees, limits, batteries and terminal price are
    those that the plan was made with.

    Parameters
    ----------
    config : where the database is; for a plan of a version that stored no basis also the basis.
    run_id : the plan; default the newest.

    Returns
    -------
    run_id, issue_time, no_battery, rule, plan, perfect_foresight [EUR], captured_share [fraction],
    and bent_limits of each way.

    Raises
    ------
    VppError : there is no plan, or actual values of its intervals are missing.
    """
    with session(config) as conn:
        run, schedule, states = read_plan(conn, run_id)
        basis = read_basis(run)
        if basis is None:
            basis = basis_today(conn, config, run, schedule, states)
            logger.warning("run %s: %s", run["run_id"], OLDER)
        actual = known_frame(conn, basis, pd.DatetimeIndex(schedule.index))
        problem = site_problem(basis, schedule.index[0], actual)
        devices = read_devices(conn, str(run["run_id"]))
        perfect = solve_or_raise(problem, basis.optimization.solver)
        carried = carry_out_plan(problem, basis, run, schedule, states, devices)
        done = carried_out(problem, carried)
        rule = self_consumption(problem)
        for kind, result in (("perfect", perfect), ("actual", done)):
            valued = valued_plan(problem, result, rule)
            row = run_row(value_key(run, kind), basis, problem, result, valued)
            save_schedule(conn, row, *schedule_frames(problem, result, actual))
        value = read_value(conn, run, schedule, states)
    assert value is not None  # perfect foresight, stored above, has a basis
    value.ways.warn_of_bent_limits()
    costs = {name: value.ways.cost_eur[name] for name in (NO_BATTERY, RULE, PLAN, PERFECT)}
    return {
        "run_id": run["run_id"],
        "issue_time": run["issue_time"],
        **costs,
        "captured_share": value.captured_share,
        "bent_limits": value.ways.bent_limits,
    }


def value_key(run: Mapping[str, object], kind: str) -> dict:
    """The first columns of the row of `schedule_runs` that a plan's valuation is.

    Parameters
    ----------
    run : the plan.
    kind : `perfect` or `actual`.
    """
    return {
        "run_id": results.run_id(kind, run["run_id"]),
        "site_id": run["site_id"],
        "issue_time": run["issue_time"],
        "kind": kind,
    }


def read_plan(conn: connection, run_id: str | None) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """A stored plan.

    Parameters
    ----------
    conn : connection to the database.
    run_id : its name; default the newest.

    Returns
    -------
    Run, schedule and battery states, as `read_schedule` returns them.

    Raises
    ------
    VppError : there is no plan, or none of this name.
    """
    if run_id is not None:
        check_run(conn, run_id)
    stored = read_schedule(conn, run_id)
    if stored is None:
        raise DataGapError("no plan in the database; run python optimization.py")
    if stored[0]["kind"] != "plan":
        raise ValuationError(
            f"run {run_id} is of kind {stored[0]['kind']}; expected one of kind plan, which can be"
            " carried out at actual values"
        )
    return stored


def carry_out_plan(
    problem: Problem,
    basis: PlanBasis,
    run: Mapping[str, object],
    schedule: pd.DataFrame,
    states: pd.DataFrame,
    devices: pd.DataFrame,
) -> Schedule:
    """A plan's battery powers, carried out as far as a problem allows.

    Parameters
    ----------
    problem : the plan's intervals at actual values.
    basis : of the plan, which says whether batteries follow the meter; where someone has overridden
        one of them, they do what was planned.
    run, schedule, states, devices : the plan's rows of `schedule_runs`, `schedules`,
        `battery_states` and `device_states`; flexible loads do what was planned.
    """
    own, made_from = stored_devices(problem, devices), run.get("made_from")
    overridden = isinstance(made_from, Mapping) and made_from.get("overrides")
    if not basis.follow or overridden:
        wanted_kw = by_battery(states, problem, "charge_kw")
        wanted_kw = wanted_kw - by_battery(states, problem, "discharge_kw")
        return carry_out(problem, lambda t, _: wanted_kw[:, t], own)
    planned = site_problem(basis, schedule.index[0], stored_frame(schedule))
    plan = stored_schedule(planned, schedule, states, devices)
    following, net_kw = Following.of(planned, plan), with_load_of(problem, own).load_kw
    net_kw = net_kw - problem.renewables_kw
    return carry_out(problem, lambda t, _: following.wanted_kw(t, float(net_kw[t])), own)


def known_frame(conn: connection, basis: PlanBasis, index: pd.DatetimeIndex) -> pd.DataFrame:
    """The actual values of a plan's intervals.

    Parameters
    ----------
    conn : connection to the database.
    basis : names the plan's sources and its step.
    index : starts of its intervals [UTC].

    Returns
    -------
    A `site_frame`.

    Raises
    ------
    DataGapError : some values are not known.
    """
    actual = actual_frame(conn, basis_sources(conn, basis), index, basis.step_min)
    missing = int(actual.isna().any(axis=1).sum())
    if missing:
        raise DataGapError(
            f"actual values of {missing} of the plan's {len(index)} intervals from"
            f" {shown(index[0])} are not known yet;"
            " plan an earlier time with --issue-time to value it"
        )
    return actual


def basis_today(
    conn: connection, config: Config, run: Mapping, schedule: pd.DataFrame, states: pd.DataFrame
) -> PlanBasis:
    """The basis that a plan of a version that stored none would have with today's configuration.

    Parameters
    ----------
    conn : connection to the database.
    config : today's configuration.
    run, schedule, states : the plan, as `read_schedule` returns it.

    Raises
    ------
    ValuationError : the configuration has a battery of the plan no more.
    """
    index, own = schedule.index, set(states["battery_id"])
    gone = sorted(own - {battery.battery_id for battery in config.batteries})
    if gone:
        raise ValuationError(
            f"run {run['run_id']}: an older version made the plan and did not store its battery "
            f"{gone[0]}, which {config.path} has no more; add [battery:{gone[0]}] as it was"
        )
    step = int((index[1] - index[0]).total_seconds()) // 60 if len(index) > 1 else 60
    basis = site_basis(conn, config, run["issue_time"], step)
    basis = replace(basis, batteries=tuple(b for b in basis.batteries if b.battery_id in own))
    fee = basis.grid.import_fee_eur_per_mwh  # no market price is stored either
    market_price = schedule["import_price_eur_per_mwh"] - fee
    frame = stored_frame(schedule.assign(market_price_eur_per_mwh=market_price))
    return with_terminal_price(basis, frame)
