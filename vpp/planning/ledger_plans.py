"""The plans that were in force, as the ledger needs them: planned values and what they rest on.

The plan in force in an interval is that of the latest issue time; of two the one made last. Reads
the database; writes nothing.

    python report.py --period day

Powers are means over an interval [kW], times UTC.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.site_series import plan_step_min, site_sources
from vpp.runtime.settings import Config
from vpp.schedule.basis import PlanBasis, basis_json, basis_of, peaks_of, read_basis
from vpp.schedule.devices import ScheduledBattery
from vpp.storage.rows import select_frame, select_rows

MINUTE = pd.Timedelta(minutes=1)


def first_plan(conn: connection, site_id: str) -> pd.Timestamp | None:
    """The issue time of the site's first plan [UTC]; None without a plan.

    Parameters
    ----------
    conn : connection to the database.
    site_id : the grid connection.
    """
    query = """
        SELECT issue_time FROM (
            SELECT run_id, issue_time FROM schedule_runs
            WHERE site_id = %s AND kind = 'plan' ORDER BY issue_time OFFSET 0) AS run
        WHERE EXISTS (SELECT FROM schedules WHERE schedules.run_id = run.run_id) LIMIT 1"""
    first = select_rows(conn, query, (site_id,))
    return pd.Timestamp(first[0]["issue_time"]).tz_convert("UTC") if first else None


def plans_in_force(
    conn: connection, config: Config, start: pd.Timestamp, end: pd.Timestamp
) -> pd.DataFrame:
    """The plan in force in each interval; a gap between plans has rows without one.

    Parameters
    ----------
    conn : connection to the database.
    config : the site.
    start, end : the range [UTC]; an interval that ends after its end is not in it.

    Returns
    -------
    run_id (None without a plan), step_min [min], the planned values of `schedules` and device_kw by
    time [UTC].
    """
    query = """
        SELECT DISTINCT ON (time) time, runs.run_id, step_min,
            load_kw, renewables_kw, curtailed_kw, grid_import_kw, grid_export_kw,
            market_price_eur_per_mwh, import_price_eur_per_mwh
        FROM (
            SELECT run_id, issue_time, created_at,
                (basis ->> 'step_min')::double precision AS step_min FROM schedule_runs
            WHERE site_id = %(site)s AND kind = 'plan'
                AND issue_time >= %(start)s - interval '14 days' AND issue_time < %(end)s) AS runs
        JOIN LATERAL (
            SELECT * FROM schedules WHERE schedules.run_id = runs.run_id
                AND time >= %(start)s AND time < %(end)s OFFSET 0) AS rows ON true
        WHERE issue_time <= time
        ORDER BY time, issue_time DESC, created_at DESC"""
    span = {"start": start.to_pydatetime(), "end": end.to_pydatetime()}
    rows = select_frame(conn, query, {"site": config.site.site_id} | span, "time")
    finest = plan_step_min(site_sources(conn, config), config)
    apart = pd.Series(rows.index, rows.index).diff().shift(-1) / MINUTE
    # an older version did not store the step; one of another step may begin inside an interval
    rows["step_min"] = np.fmin(rows["step_min"].fillna(apart).fillna(finest), apart.fillna(np.inf))
    until = rows.index + pd.to_timedelta(rows["step_min"], unit="min")
    edges = zip([start, *until], [*rows.index, end], strict=True)
    gaps = [
        time
        for low, high in edges
        if low < high
        for time in pd.date_range(low, high, freq=f"{finest}min", inclusive="left")
    ]
    rows = rows.reindex(rows.index.union(pd.DatetimeIndex(gaps, tz="UTC"))).rename_axis("time")
    rows["run_id"] = rows["run_id"].astype(object).where(rows["run_id"].notna(), None)
    rows["step_min"] = rows["step_min"].fillna(finest).astype(int)
    rows["device_kw"] = _device_kw(conn, rows)
    return rows[rows.index + pd.to_timedelta(rows["step_min"], unit="min") <= end]


def _device_kw(conn: connection, plans: pd.DataFrame) -> np.ndarray:
    """Power of all flexible loads, as planned [kW], one an interval."""
    of = _of_plans(conn, plans, "device_states", "sum(power_kw) AS power_kw", "GROUP BY 1, 2")
    return of["power_kw"].reindex(_keys(plans)).fillna(0.0).to_numpy(float)


def planned_batteries(conn: connection, plans: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The planned powers of each battery in the intervals of the plans in force.

    Parameters
    ----------
    conn : connection to the database.
    plans : as `plans_in_force` gives them.

    Returns
    -------
    By battery_id the columns charge_kw and discharge_kw [kW] by time [UTC]; 0 where no plan says.
    """
    rows = _of_plans(conn, plans, "battery_states", "battery_id, charge_kw, discharge_kw")
    keys = _keys(plans)
    return {
        battery: part[["charge_kw", "discharge_kw"]].reindex(keys).fillna(0.0).set_axis(plans.index)
        for battery, part in rows.groupby("battery_id")
    }


def _keys(plans: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_arrays([plans["run_id"], plans.index])


def _of_plans(
    conn: connection, plans: pd.DataFrame, table: str, columns: str, group: str = ""
) -> pd.DataFrame:
    """Rows of a table that belong to these plans and intervals, by run_id and time."""
    # a run has rows for its whole horizon, most of which another run has replaced
    query = f"""
        SELECT run_id, time, {columns}
        FROM unnest(%s::text[], %s::timestamptz[]) AS plan (run_id, time)
        JOIN {table} USING (run_id, time) WHERE time >= %s AND time <= %s {group}"""
    in_force = plans["run_id"].dropna()
    times = list(in_force.index.to_pydatetime())
    ends = (plans.index[0].to_pydatetime(), plans.index[-1].to_pydatetime())
    rows = select_frame(conn, query, (list(in_force), times, *ends))
    return rows.set_index(["run_id", "time"])


def read_bases(conn: connection, config: Config, run_ids: Sequence[str]) -> dict[str, PlanBasis]:
    """The basis of each run, without what holds for its own horizon alone.

    Parameters
    ----------
    conn : connection to the database.
    config : gives the basis of a run that stored none.
    run_ids : the runs.
    """
    query = "SELECT run_id, basis FROM schedule_runs WHERE run_id = ANY(%s)"
    found = {}
    for row in select_rows(conn, query, (list(run_ids),)):
        basis = read_basis(row) or basis_today(conn, config)
        found[row["run_id"]] = replace(
            basis,
            batteries=tuple(_plain(battery) for battery in basis.batteries),
            devices={},
            peak_so_far_kw=0.0,
            peaks=peaks_of(basis.tariff, basis.step_min),
            terminal_price_eur_per_mwh=None,
        )
    return found


def basis_today(conn: connection, config: Config) -> PlanBasis:
    """The basis of intervals of which no plan says it.

    Parameters
    ----------
    conn : connection to the database.
    config : the site as it is now.
    """
    sources = site_sources(conn, config)
    batteries = [ScheduledBattery(**vars(battery)) for battery in config.batteries]
    basis = basis_of(config, plan_step_min(sources, config), batteries)
    return replace(basis, source_ids=tuple(source.source_id for source in sources))


def _plain(battery: ScheduledBattery) -> ScheduledBattery:
    """The battery as it is at any time: an override of one plan bounds no measured power."""
    return replace(
        battery,
        charge_kw=float(np.max(battery.charge_kw)),
        discharge_kw=float(np.max(battery.discharge_kw)),
        soc_min=float(np.min(battery.soc_min)),
        soc_max=float(np.max(battery.soc_max)),
        soc_final=None,
        soc_final_min=None,
        soc_targets=(),
        terminal_value_eur_per_mwh=None,
    )


def parts(
    plans: pd.DataFrame, bases: Mapping[str, PlanBasis], today: PlanBasis, zone: str
) -> Iterator[tuple[PlanBasis, pd.DataFrame]]:
    """The intervals cut into neighbours of one local day, length and basis, with a position or not.

    Parameters
    ----------
    plans : as `plans_in_force` gives them, with position_kw.
    bases : of each plan; an interval without one has that of the plan before.
    today : of all where there is none.
    zone : of the local days.

    Returns
    -------
    The basis at these intervals' step, and their rows.
    """
    run_id = plans["run_id"].ffill().bfill()
    alike = {name: _settles(basis) for name, basis in bases.items()}
    key = run_id.map(alike).fillna("")
    step = pd.to_timedelta(plans["step_min"], unit="min")
    day = pd.Series(pd.DatetimeIndex(plans.index).tz_convert(zone).date, plans.index)
    follows = (pd.Series(plans.index, plans.index) + step).shift() == plans.index
    has_position = plans["position_kw"].notna()
    new = (
        (key != key.shift())
        | (has_position != has_position.shift())
        | (step != step.shift())
        | (day != day.shift())
        | ~follows
    )
    for _, part in plans.groupby(new.cumsum()):
        basis = bases.get(run_id[part.index[0]], today)
        yield replace(basis, step_min=int(part["step_min"].iloc[0])), part


def _settles(basis: PlanBasis) -> str:
    """The common part of two plans that settle alike; their batteries may be at other states."""
    same = tuple(replace(b, soc_initial=0.5, cycles_so_far=0.0) for b in basis.batteries)
    return json.dumps(basis_json(replace(basis, batteries=same)), sort_keys=True, default=str)
