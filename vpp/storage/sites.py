"""Sites with connections of their own, the fleets of batteries behind them, and what these do.

    python -c "from vpp.storage import sites; print(sites.read_sites.__doc__)"

A database without rows in `sites` has one site: that of the configuration.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import psycopg2.extras
from psycopg2.extensions import connection, cursor

from vpp.runtime.plant_settings import BatteryParameters
from vpp.site.fleet_files import FleetBattery, GridSite
from vpp.storage.errors import explained
from vpp.storage.rows import select_rows

if TYPE_CHECKING:
    import pandas as pd

SITE_COLUMNS = [item.name for item in dataclasses.fields(GridSite)]
BATTERY_COLUMNS = [item.name for item in dataclasses.fields(BatteryParameters)]


def register_sites(conn: connection, sites: Sequence[GridSite]) -> None:
    """Write sites, and forget those that are not among them and have nothing.

    Parameters
    ----------
    conn : the connection; the caller commits.
    sites : all that there are.
    """
    with explained("sites"), conn.cursor() as cur:
        _upsert(cur, "sites", SITE_COLUMNS, [dataclasses.astuple(site) for site in sites])
        cur.execute(
            """
            DELETE FROM sites WHERE site_id <> ALL(%s::text[])
                AND NOT EXISTS (SELECT 1 FROM sources WHERE sources.site_id = sites.site_id)
                AND NOT EXISTS (SELECT 1 FROM batteries WHERE batteries.site_id = sites.site_id)""",
            ([site.site_id for site in sites],),
        )


def register_fleet(conn: connection, fleet: Sequence[FleetBattery]) -> None:
    """Write the batteries of fleets; those of before that are not among them are planned no more.

    Parameters
    ----------
    conn : the connection; the caller commits.
    fleet : all batteries of all fleets.
    """
    rows = [(*dataclasses.astuple(one.battery), one.site_id, True) for one in fleet]
    with explained("batteries"), conn.cursor() as cur:
        names = [one.battery.battery_id for one in fleet]
        query = "UPDATE batteries SET imported = false WHERE imported AND battery_id <> ALL(%s)"
        cur.execute(query, (names,))
        _upsert(cur, "batteries", [*BATTERY_COLUMNS, "site_id", "imported"], rows)


def _upsert(cur: cursor, table: str, columns: Sequence[str], rows: Sequence[tuple]) -> None:
    """Insert or replace rows whose first column is their key, thousands at a time."""
    if not rows:
        return
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    statement = (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES %s "
        f"ON CONFLICT ({columns[0]}) DO UPDATE SET {sets}"
    )
    psycopg2.extras.execute_values(cur, statement, rows, page_size=1000)


def read_sites(conn: connection) -> list[GridSite]:
    """The registered sites in the order of their names; none where one connection takes all."""
    query = f"SELECT {', '.join(SITE_COLUMNS)} FROM sites ORDER BY site_id"
    return [GridSite(**row) for row in select_rows(conn, query)]


def read_fleet(conn: connection) -> dict[str, list[BatteryParameters]]:
    """The batteries of fleets by site, in the order of their names."""
    query = f"""
        SELECT site_id, {", ".join(BATTERY_COLUMNS)} FROM batteries WHERE imported
        ORDER BY site_id, battery_id"""
    found: dict[str, list[BatteryParameters]] = {}
    for row in select_rows(conn, query):
        found.setdefault(row.pop("site_id"), []).append(BatteryParameters(**row))
    return found


def save_site_of(conn: connection, site_id: str, battery_ids: Sequence[str]) -> None:
    """Say at which site batteries stand.

    Parameters
    ----------
    conn : the connection; the caller commits.
    site_id : the site.
    battery_ids : the batteries.
    """
    with explained("batteries"), conn.cursor() as cur:
        cur.execute(
            "UPDATE batteries SET site_id = %s WHERE battery_id = ANY(%s)"
            " AND site_id IS DISTINCT FROM %s",
            (site_id, list(battery_ids), site_id),
        )


def keep_fleet_totals(conn: connection, run_id: str, site_id: str) -> int:
    """Sum what the imported batteries do by a plan, and delete their rows of older plans.

    The states up to now are kept apart from plans, so no older plan is needed to carry on.

    Parameters
    ----------
    conn : the connection; the caller commits.
    run_id : the newest plan of the site.
    site_id : the site.

    Returns
    -------
    Number of rows deleted.
    """
    with explained("fleet_states"), conn.cursor() as cur:
        cur.execute("DELETE FROM fleet_states WHERE run_id = %s", (run_id,))
        cur.execute(
            """
            INSERT INTO fleet_states (run_id, time, batteries, energy_kwh, charge_kw, discharge_kw)
            SELECT run_id, time, count(*), sum(energy_kwh), sum(charge_kw), sum(discharge_kw)
            FROM battery_states
            WHERE run_id = %s AND battery_id IN (SELECT battery_id FROM batteries WHERE imported)
            GROUP BY run_id, time""",
            (run_id,),
        )
        if not cur.rowcount:
            return 0
        cur.execute(
            """
            DELETE FROM battery_states WHERE kind = 'planned' AND run_id IN (
                SELECT run_id FROM schedule_runs JOIN fleet_states USING (run_id)
                WHERE site_id = %s AND kind = 'plan' AND run_id <> %s GROUP BY run_id)
                AND battery_id IN (SELECT battery_id FROM batteries WHERE imported)""",
            (site_id, run_id),
        )
        return cur.rowcount


def read_fleet_states(conn: connection, run_id: str) -> "pd.DataFrame":
    """Sums of the imported batteries of a plan.

    Parameters
    ----------
    conn : the connection.
    run_id : the plan.

    Returns
    -------
    batteries, energy_kwh [kWh], charge_kw and discharge_kw [kW] by time [UTC].
    """
    from vpp.storage.rows import select_frame

    query = """
        SELECT time, batteries, energy_kwh, charge_kw, discharge_kw FROM fleet_states
        WHERE run_id = %s ORDER BY time"""
    return select_frame(conn, query, (run_id,), "time")


def read_site_plans(conn: connection, run_ids: Sequence[str]) -> list[dict]:
    """Money, status, and the largest powers of plans beside the limits of their connections.

    Parameters
    ----------
    conn : connection to the database.
    run_ids : the plans.

    Returns
    -------
    A row for each, by site.
    """
    query = """
        SELECT run_id, site_id, issue_time, status, certificate, gap, cost_no_battery_eur,
            cost_rule_eur, cost_eur,
            most.import_kw, basis -> 'grid' ->> 'import_limit_kw' AS import_limit_kw,
            most.export_kw, basis -> 'grid' ->> 'export_limit_kw' AS export_limit_kw
        FROM schedule_runs JOIN LATERAL (
            SELECT max(grid_import_kw) AS import_kw, max(grid_export_kw) AS export_kw
            FROM schedules WHERE schedules.run_id = schedule_runs.run_id) AS most ON true
        WHERE run_id = ANY(%s) ORDER BY site_id"""
    return select_rows(conn, query, (list(run_ids),))
