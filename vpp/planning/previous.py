"""The plan before: what a new plan stays close to, and why it departs from it.

Reads the newest stored plan that was issued before; writes nothing.

    python optimization.py

Powers are means over [time, time + step) [kW], positive where a battery charges.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.runtime.tables import shown
from vpp.schedule.basis import read_basis
from vpp.schedule.frames import problem_index
from vpp.schedule.previous import Previous, PreviousBattery
from vpp.schedule.problem import Problem, Schedule
from vpp.storage.results import read_schedule
from vpp.storage.rows import select_rows

SHOWN = 8  # changes that are printed
LEAST_KW, LEAST_EUR_PER_MWH, LEAST_SOC = 0.5, 0.005, 0.0005  # of a change that is told
# what a plan is made of, by its column of `schedules`
CAUSES = {
    "import_price_eur_per_mwh": ("price", "EUR/MWh", LEAST_EUR_PER_MWH),
    "load_kw": ("load", "kW", LEAST_KW),
    "renewables_kw": ("renewables", "kW", LEAST_KW),
}


@dataclass(frozen=True, eq=False)
class PlanBefore:
    """A stored plan, on the intervals of a new one.

    Parameters
    ----------
    issue_time : when it was issued [UTC].
    schedule : its rows of `schedules` by the new intervals; NaN where it said nothing.
    charge_kw, discharge_kw : its planned powers [kW] (battery, interval), likewise.
    soc_at_start : the SOC that it planned for the new start; NaN where it said nothing.
    """

    issue_time: pd.Timestamp
    schedule: pd.DataFrame
    charge_kw: np.ndarray
    discharge_kw: np.ndarray
    soc_at_start: np.ndarray


def read_plan_before(
    conn: connection, site_id: str, problem: Problem, run_id: str | None = None
) -> PlanBefore | None:
    """The newest plan that was issued before a new one.

    Parameters
    ----------
    conn : connection to the database.
    site_id : the site.
    problem : of the new plan.
    run_id : of the new plan, where others of its issue time count as made before.

    Returns
    -------
    The plan; None where there is none of the same step that reaches into the new one.
    """
    query = """
        SELECT run_id FROM schedule_runs
        WHERE kind = 'plan' AND site_id = %(site)s AND (issue_time < %(start)s
            OR (issue_time = %(start)s AND run_id <> %(own)s))
        ORDER BY issue_time DESC, created_at DESC LIMIT 1"""
    wanted = {"site": site_id, "start": problem.start, "own": run_id}
    rows = select_rows(conn, query, wanted)
    stored = read_schedule(conn, rows[0]["run_id"]) if rows else None
    if stored is None:
        return None
    run, schedule, states = stored
    basis, index = read_basis(run), problem_index(problem)
    if basis is None or basis.step_min != problem.step_min or index[0] > schedule.index[-1]:
        return None
    names = [battery.battery_id for battery in problem.batteries]
    before = index[0] - pd.Timedelta(minutes=problem.step_min)
    parts = {
        name: states.pivot_table(index="battery_id", columns=states.index, values=name)
        .reindex(index=names, columns=index.insert(0, before))
        .to_numpy(float)
        for name in ("charge_kw", "discharge_kw", "soc")
    }
    charge, discharge = (parts[name][:, 1:] for name in ("charge_kw", "discharge_kw"))
    start = parts["soc"][:, 0]
    return PlanBefore(run["issue_time"], schedule.reindex(index), charge, discharge, start)


def close_to(problem: Problem, before: PlanBefore | None) -> Problem:
    """The problem that knows the plan before.

    Parameters
    ----------
    problem : of the new plan.
    before : the plan before, if there is one.
    """
    if before is None:
        return problem
    batteries = tuple(
        PreviousBattery(battery.battery_id, charge, discharge)
        for battery, charge, discharge in zip(
            problem.batteries, before.charge_kw, before.discharge_kw, strict=True
        )
        if np.isfinite(charge).any()
    )
    return replace(problem, previous=Previous(batteries))


def changes(problem: Problem, schedule: Schedule, before: PlanBefore | None) -> list[str]:
    """Why a plan departs from the one before.

    Parameters
    ----------
    problem : of the new plan.
    schedule : the new plan.
    before : the plan before, if there is one.

    Returns
    -------
    A sentence for each interval in which the power of all batteries changes: the price or forecast
    of the interval that is new, else the state of charge at the start, else the first interval with
    other values, else that the plan reaches further.
    """
    if before is None or not problem.batteries:
        return []
    index = problem_index(problem)
    now_kw = (schedule.charge_kw - schedule.discharge_kw).sum(axis=0)
    before_kw = (before.charge_kw - before.discharge_kw).sum(axis=0)
    causes = _causes(problem, before, index)
    first = next(
        (f"{words} at {shown(index[t])}" for t in sorted(causes) for words in [causes[t][0]]), None
    )
    elsewhere = _of_state(problem, before) or first or "the plan reaches further"
    return [
        f"{shown(index[t])}: {now_kw[t]:,.0f} kW instead of {before_kw[t]:,.0f} kW:"
        f" {', '.join(causes.get(t, [])) or elsewhere}"
        for t in np.flatnonzero(np.abs(now_kw - before_kw) > LEAST_KW).tolist()
    ]


def _causes(problem: Problem, before: PlanBefore, index: pd.DatetimeIndex) -> dict[int, list[str]]:
    """The values of each interval that are new."""
    found: dict[int, list[str]] = {}
    for column, (word, unit, least) in CAUSES.items():
        now, old = getattr(problem, column), before.schedule[column].to_numpy(float)
        for t in np.flatnonzero(np.abs(now - old) > least).tolist():
            words = f"{word} {now[t]:,.2f} instead of {old[t]:,.2f} {unit}"
            found.setdefault(t, []).append(words)
    return found


def _of_state(problem: Problem, before: PlanBefore) -> str | None:
    """How the batteries start otherwise than planned, if they do."""
    stack = problem.stack
    known = np.isfinite(before.soc_at_start)
    if not known.any():
        return None
    weights = stack.capacity_kwh[known, 0]
    now = float(np.average(stack.soc_initial[known, 0], weights=weights))
    old = float(np.average(before.soc_at_start[known], weights=weights))
    if abs(now - old) <= LEAST_SOC:
        return None
    return f"state of charge {now:.1%} instead of {old:.1%} at the start"


def changes_in_words(sentences: Sequence[str]) -> list[str]:
    """Changes of a plan as a text to print.

    Parameters
    ----------
    sentences : as `changes` gives them.

    Returns
    -------
    The text; nothing where the plan is as before.
    """
    if not sentences:
        return []
    more = len(sentences) - SHOWN
    rest = [f"and {more} more, which --json prints"] if more > 0 else []
    return ["\n".join(["otherwise than in the plan before:", *sentences[:SHOWN], *rest])]
