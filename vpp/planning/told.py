"""Plans as a person reads them: one site's plan at length, a row for each of many sites.

python optimization.py
"""

from calendar import month_name
from collections.abc import Mapping

import pandas as pd

from vpp.planning.carrying import starts_in_words
from vpp.planning.flexible import device_lines
from vpp.planning.plans import cost_rows, plan_rows
from vpp.planning.portfolio import Planned
from vpp.planning.previous import changes_in_words
from vpp.planning.runs import stored_frame
from vpp.planning.site_configs import newest_plans
from vpp.planning.valuation import value_plan
from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.settings import Config
from vpp.runtime.tables import json_text, print_rows, shown
from vpp.runtime.words import printable
from vpp.schedule.basis import PlanBasis, read_basis
from vpp.schedule.site import site_problem
from vpp.schedule.value import bent_in_words, captured_share
from vpp.storage.connection import DataGapError, session
from vpp.storage.results import read_schedule

WAYS = ("no_battery", "rule", "plan", "perfect_foresight")


def print_plans(config: Config, planned: Planned, as_json: bool) -> None:
    """Print what was planned: a single plan at length, of more a row each.

    Parameters
    ----------
    config : of all sites.
    planned : the plans.
    as_json : JSON instead of tables.
    """
    if len(planned.runs) == 1 and planned.total is None:
        print_plan(config, planned.runs[0], as_json)
        return
    rows = [site_row(run) for run in planned.runs]
    if as_json:
        told = {"runs": planned.runs, "portfolio": planned.total, "faults": planned.faults}
        print(json_text(told))
        return
    first = planned.runs[0]["issue_time"]
    names = [name for name in rows[0] if name.endswith("_eur") or name == "bent_limits"]
    total = {name: sum(row[name] for row in rows) for name in names}
    rows.append(dict.fromkeys(rows[0]) | {"site_id": f"all {len(rows)}"} | total)
    money = config.tariff.currency
    print_rows(rows, f"plans from {shown(first)}; {money} at forecast values")
    if planned.total is not None:
        print(f"\n{portfolio_in_words(planned.total, money)}")


def site_row(run: Mapping) -> dict:
    """A site's plan as a row to print.

    Parameters
    ----------
    run : as of `plans.plan`.
    """
    return {
        "site_id": run["site_id"],
        "status": run["status"],
        "no_battery_eur": run["cost_no_battery_eur"],
        "rule_eur": run["cost_rule_eur"],
        "plan_eur": run["cost_eur"],
        "saved_eur": run["cost_no_battery_eur"] - run["cost_eur"],
        "bent_limits": run["bent_limits"]["plan"],
        "run_id": run["run_id"],
    }


def portfolio_in_words(total: Mapping, currency: str) -> str:
    """The run of all sites together, in a sentence.

    Parameters
    ----------
    total : its row of `schedule_runs`.
    currency : label of the money.
    """
    made, gap = total["made_from"], total["gap"]
    text = f"portfolio: objective {total['objective_eur']:,.2f} {currency}, at most {gap:.3%} above"
    text += f" the bound {made['bound_eur']:,.2f}; deviation {made['deviation_eur']:,.2f}"
    if made["excess_kwh"] > 1e-6:
        text += f"; the common limits are exceeded by {made['excess_kwh']:,.1f} kWh"
    return f"{text}; run {total['run_id']}"


def print_plan(config: Config, run: Mapping, as_json: bool) -> None:
    """Print a plan at length, and its worth where actual values are known.

    Parameters
    ----------
    config : names the database and the currency.
    run : as of `plans.plan`.
    as_json : JSON instead of tables.
    """
    with session(config) as conn:
        stored = read_schedule(conn, run["run_id"])
        assert stored is not None  # it has just been made
        made, schedule, states = stored
        devices = device_lines(conn, run["run_id"])
    basis = read_basis(made)
    batteries = config.batteries if basis is None else basis.batteries
    rows = plan_rows(schedule, states, sum(battery.capacity_kwh for battery in batteries))
    actual = note = None
    try:
        actual = value_plan(config, run["run_id"])
    except DataGapError as error:
        note = f"no value at actual values: {printable(str(error))}"
    if as_json:
        print(json_text({"run": run, "value": actual, "schedule": rows, "devices": devices}))
        return
    found = f"{run['status']}, {run['certificate']}, run {run['run_id']}"
    print_rows(rows, f"plan from {shown(run['issue_time'])}: {found}")
    print()
    about = "energy left at the end valued at one price"
    print_rows(cost_rows(run, actual), f"{config.tariff.currency}, {about}")
    bent = {"forecast": run["bent_limits"], "actual": actual["bent_limits"] if actual else {}}
    for when, counts in bent.items():
        if any(counts.values()):
            print(f"at {when} values: {bent_in_words(counts)}")
    told = [
        *peaks_in_words(basis, schedule),
        *starts_in_words(run["made_from"]["states"]),
        *changes_in_words(run["changes"]),
    ]
    for text in [*told, *([note] if note else [])]:
        print(f"\n{text}")


def peaks_in_words(basis: PlanBasis | None, schedule: pd.DataFrame) -> list[str]:
    """The peaks of the tariff under a plan, as a text to print.

    Parameters
    ----------
    basis : of the plan.
    schedule : its rows of `schedules`.

    Returns
    -------
    The text; nothing where the tariff has no peaks.
    """
    if basis is None or not basis.peaks:
        return []
    money = basis.tariff.currency
    problem = site_problem(basis, schedule.index[0], stored_frame(schedule))
    imports, lines = schedule["grid_import_kw"].to_numpy(float), list[str]()
    for one in problem.peaks[-len(problem.grid.peaks) :] if problem.grid.peaks else ():
        peak, excess = one.peak, one.excess_kw(imports, problem.hours)
        highest = float(one.means_kw(imports, problem.hours).max(initial=0.0))
        lines.append(
            f"peak of {peak.interval_min} min at {peak.price_eur_per_kw:g} {money}/kW in"
            f" {month_name[(peak.window.months or (0,))[0]]}: {peak.so_far_kw:,.1f} kW so far,"
            f" {highest:,.1f} kW planned, which adds {excess * peak.price_eur_per_kw:,.2f} {money}"
        )
    return ["\n".join(lines)] if lines else []


def print_values(config: Config, run_id: str | None, wanted: str | None, as_json: bool) -> None:
    """Value stored plans, and print what they cost.

    Parameters
    ----------
    config : of all sites.
    run_id : a plan; None for the newest.
    wanted : the newest plans of these sites instead, as of `portfolio.chosen`.
    as_json : JSON instead of tables.

    Raises
    ------
    VppError : a plan cannot be valued; the others are, and printed.
    """
    about = f"{config.tariff.currency} at actual values"
    if wanted is None:
        value = value_plan(config, run_id)
        bent = {} if as_json else value.pop("bent_limits")
        print_rows([value], about, as_json)
        if any(bent.values()):
            print(bent_in_words(bent))
        return
    if run_id is not None:
        raise ConfigError("--run-id: a plan is of one site; leave --site out")
    with session(config) as conn:
        runs = newest_plans(conn, config, wanted)
    values, faults = value_runs(config, runs)
    rows = [{"site_id": name} | value for name, value in values.items()]
    if not as_json:
        rows = [{key: row[key] for key in row if key != "bent_limits"} for row in rows]
        if len(rows) > 1:
            rows.append(dict.fromkeys(rows[0]) | {"site_id": f"all {len(rows)}"} | totals(values))
    print_rows(rows, about, as_json)
    if faults or not runs:
        told = "; ".join(f"{name}: {cause}" for name, cause in faults.items())
        raise DataGapError(told or "no plan in the database; run python optimization.py")


def value_runs(config: Config, runs: Mapping[str, str]) -> tuple[dict[str, dict], dict[str, str]]:
    """Value the plans of sites.

    Parameters
    ----------
    config : of all sites.
    runs : run_id by site.

    Returns
    -------
    The answer of `value_plan` by site, and the cause by each site whose plan cannot be valued.
    """
    values, faults = dict[str, dict](), dict[str, str]()
    for name, run in runs.items():
        try:
            values[name] = value_plan(config, run)
        except VppError as error:
            faults[name] = str(error)
    return values, faults


def totals(values: Mapping[str, Mapping]) -> dict:
    """Cost of each way over all sites, and the share that their plans captured together.

    Parameters
    ----------
    values : what `value_plan` gives by site.
    """
    sums = {way: sum(value[way] for value in values.values()) for way in WAYS}
    share = captured_share(*(sums[way] for way in ("no_battery", "plan", "perfect_foresight")))
    return sums | {"captured_share": share}


def value_planned(config: Config, planned: Planned) -> tuple[dict, str | None]:
    """Value plans that have just been made.

    Parameters
    ----------
    config : of all sites.
    planned : the plans.

    Returns
    -------
    The answer of `value_plan`, of several sites the `totals`; nothing and the cause where actual
    values are missing.

    Raises
    ------
    VppError : a single plan cannot be valued for another reason.
    """
    if len(planned.runs) == 1:
        try:
            return value_plan(config, planned.runs[0]["run_id"]), None
        except DataGapError as error:
            return {}, str(error)
    runs = {run["site_id"]: run["run_id"] for run in planned.runs}
    values, faults = value_runs(config, runs)
    if faults:
        return {}, "; ".join(f"{name}: {cause}" for name, cause in faults.items())
    return totals(values), None
