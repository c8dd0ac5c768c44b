"""A stored plan as rows: what `/api/plan` answers and the page's table shows.

    curl -H "Authorization: Bearer $(python serve.py --show-token)" http://127.0.0.1:8080/api/plan

Rows have the names and units of the tables.
"""

import logging
from collections.abc import Mapping

from psycopg2.extensions import connection

from vpp.planning.previous import changes, read_plan_before
from vpp.planning.runs import stored_frame, stored_schedule
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.schedule.basis import read_basis
from vpp.schedule.site import site_problem
from vpp.schedule.value import NO_BATTERY, PLAN, value_ways
from vpp.serve.answers import NotFoundError
from vpp.site.kinds import PLANT_KINDS
from vpp.storage.device_states import read_plan as read_devices
from vpp.storage.errors import DatabaseError
from vpp.storage.results import read_schedule
from vpp.storage.rows import select_rows

log = logging.getLogger("serve")
_kept: dict[tuple, dict] = {}  # a run that is replaced has another created_at
MOST_KEPT = 32  # plans whose money is kept in memory
NO_PLAN = "there is no plan yet; run python optimization.py"


def newest_run(conn: connection, site_id: str) -> dict | None:
    """The row of `schedule_runs` of the plan that was made last; None where there is none.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.
    """
    query = """
        SELECT * FROM schedule_runs WHERE kind = 'plan' AND site_id = %s
        ORDER BY created_at DESC LIMIT 1"""
    rows = select_rows(conn, query, (site_id,))
    return rows[0] if rows else None


def read_run(conn: connection, site_id: str, run_id: str | None) -> dict:
    """The row of `schedule_runs` of a run, or of the newest plan.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.
    run_id : the run; None for the newest plan.

    Raises
    ------
    NotFoundError : there is none.
    """
    if run_id is None:
        run = newest_run(conn, site_id)
        if run is None:
            raise NotFoundError(NO_PLAN)
        return run
    query = "SELECT * FROM schedule_runs WHERE run_id = %s AND site_id = %s"
    rows = select_rows(conn, query, (run_id, site_id))
    if not rows:
        raise NotFoundError(f"run_id {run_id!r}: there is no such run")
    return rows[0]


def read_plan(conn: connection, config: Config, run_id: str | None = None) -> dict:
    """A plan with its rows, its money by interval, and what it does otherwise than the one before.

    Parameters
    ----------
    conn : the connection.
    config : names the site.
    run_id : the plan; None for the newest.

    Returns
    -------
    run, schedule, batteries with their states, devices; costs: cost_eur and cost_no_battery_eur of
    each interval [EUR]; bands: the sums of the plants' q10 and q90 [kW]; changes: a sentence each.

    Raises
    ------
    NotFoundError : there is no such plan.
    """
    run = read_run(conn, config.site.site_id, run_id)
    key = (run["run_id"],)
    schedule = select_rows(conn, "SELECT * FROM schedules WHERE run_id = %s ORDER BY time", key)
    query = "SELECT * FROM battery_states WHERE run_id = %s ORDER BY battery_id, time"
    states: dict[str, list] = {}
    for row in select_rows(conn, query, key):
        states.setdefault(row["battery_id"], []).append(row)
    query = "SELECT * FROM device_states WHERE run_id = %s ORDER BY kind, device_id, time"
    told = _told(conn, config, run)
    return {
        "run": run,
        "schedule": schedule,
        "batteries": [
            {"battery_id": name, "states": rows} for name, rows in sorted(states.items())
        ],
        "devices": select_rows(conn, query, key),
        "bands": read_bands(conn, run),
        **told,
    }


def _told(conn: connection, config: Config, run: Mapping) -> dict:
    """Money and changes of a plan; nothing where they are not known."""
    key = (run["run_id"], run["created_at"])
    found = _kept.get(key)
    if found is None:
        try:
            found = money_and_changes(conn, config.site.site_id, str(run["run_id"]))
        except DatabaseError:
            raise
        except (VppError, ValueError) as error:
            log.warning("run %s: its money is not shown: %s", run["run_id"], error)
            found = {"costs": [], "changes": []}
        if len(_kept) >= MOST_KEPT:
            _kept.clear()
        _kept[key] = found
    return found


def money_and_changes(conn: connection, site_id: str, run_id: str) -> dict:
    """The planned cost of each interval, and why a plan departs from the one before.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.
    run_id : the plan.

    Raises
    ------
    VppError : what is stored breaks physics, or a newer version stored it.
    ValueError : states are missing.
    """
    stored = read_schedule(conn, run_id)
    basis = read_basis(stored[0]) if stored else None
    if stored is None or basis is None or stored[1].empty:
        return {"costs": [], "changes": []}
    _, rows, states = stored
    problem = site_problem(basis, rows.index[0], stored_frame(rows))
    schedule = stored_schedule(problem, rows, states, read_devices(conn, run_id))
    money = value_ways(problem, {PLAN: schedule}).by_interval()
    both = zip(money[PLAN].tolist(), money[NO_BATTERY].tolist(), strict=True)
    costs = [
        {"time": time, "cost_eur": plan, "cost_no_battery_eur": alone}
        for time, (plan, alone) in zip(rows.index.to_pydatetime(), both, strict=True)
    ]
    before = read_plan_before(conn, site_id, problem)
    return {"costs": costs, "changes": changes(problem, schedule, before)}


def read_bands(conn: connection, run: Mapping) -> list[dict]:
    """The 80 % bands of the plants that a plan counts on, added up.

    The sum of quantiles is no quantile of the sum: together the plants stay within this band more
    often than in 80 % of cases.

    Parameters
    ----------
    conn : the connection.
    run : the plan.

    Returns
    -------
    time, q10_kw and q90_kw of each interval of the forecasts; only where every plant has a band.
    """
    query = """
        WITH newest AS (
            SELECT DISTINCT ON (source_id) source_id, run_id
            FROM forecast_runs JOIN sources USING (source_id)
            WHERE issue_time = %s AND role IN ('champion', 'fallback') AND kind = ANY(%s)
                AND (%s OR source_id = ANY(%s))
            ORDER BY source_id, created_at DESC)
        SELECT valid_time AS time, sum(q10) AS q10_kw, sum(q90) AS q90_kw
        FROM newest
        CROSS JOIN LATERAL (
            SELECT * FROM forecasts WHERE forecasts.run_id = newest.run_id OFFSET 0) AS forecast
        GROUP BY valid_time HAVING count(q10) = (SELECT count(*) FROM newest)
        ORDER BY valid_time"""
    names = list((run["basis"] or {}).get("source_ids", ()))
    return select_rows(conn, query, (run["issue_time"], list(PLANT_KINDS), not names, names))
