"""A stored plan as messages to devices: one a battery, and the set-point of one of its steps.

    python -c "from vpp.devices.plan_messages import set_point; help(set_point)"

Powers are at the AC terminals [kW], both >= 0; `soc` is at the end of an interval [fraction]. Times
are UTC. Equal neighbours are not merged.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from psycopg2.extensions import connection

from vpp.schedule.following import NO_POWER_KW
from vpp.storage.rows import select_rows

POWER_DIGITS, SOC_DIGITS = 6, 9
ACCEPTED = ("optimal", "feasible")


@lru_cache(10_000)  # all batteries of a plan have the same times
def iso(time: datetime) -> str:
    """A time as messages state it, such as 2026-01-05T12:00:00Z."""
    text = time.astimezone(UTC).isoformat()
    return text.replace("+00:00", "Z")


def newest_plan(conn: connection, site_id: str) -> dict | None:
    """The plan that was made last: its row of `schedule_runs`; None where there is none.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.
    """
    rows = select_rows(
        conn,
        """
        SELECT * FROM schedule_runs WHERE kind = 'plan' AND site_id = %s AND status = ANY(%s)
        ORDER BY created_at DESC LIMIT 1""",
        (site_id, list(ACCEPTED)),
    )
    return rows[0] if rows else None


def plan_messages(conn: connection, run_id: str) -> Iterator[dict[str, Any]]:
    """A plan as messages of `schedule-topic`, one for each battery, by their names.

    Parameters
    ----------
    conn : the connection.
    run_id : the plan.

    Yields
    ------
    battery_id, site_id, plan_id, issue_time and intervals, each with valid_from, valid_until,
    charge_kw, discharge_kw [kW] and soc [fraction]; none for a plan that was not accepted. Where
    batteries follow the meter also follow: whether they keep the exchange with the grid at 0.
    """
    query = """
        SELECT site_id, issue_time, (basis ->> 'step_min')::double precision AS step_min,
            coalesce((basis ->> 'follow')::boolean, false)
                AND coalesce(made_from -> 'overrides', '[]') = '[]' AS follow
        FROM schedule_runs WHERE run_id = %s AND status = ANY(%s)"""
    runs = select_rows(conn, query, (run_id, list(ACCEPTED)))
    if not runs:
        return
    query = """
        SELECT battery_id, array_agg(time ORDER BY time) AS times,
            array_agg(coalesce(charge_kw, 0) ORDER BY time) AS charge_kw,
            array_agg(coalesce(discharge_kw, 0) ORDER BY time) AS discharge_kw,
            array_agg(soc ORDER BY time) AS soc,
            array_agg(abs(grid_import_kw - grid_export_kw) < %s ORDER BY time) AS at_zero
        FROM battery_states LEFT JOIN schedules USING (run_id, time)
        WHERE run_id = %s AND kind = 'planned'
        GROUP BY battery_id ORDER BY battery_id"""
    (run,) = runs
    head = {"site_id": run["site_id"], "plan_id": run_id, "issue_time": iso(run["issue_time"])}
    for row in select_rows(conn, query, (NO_POWER_KW, run_id)):
        yield {"battery_id": row["battery_id"], **head, "intervals": _intervals(row, run)}


def _intervals(row: dict, run: dict) -> list[dict[str, Any]]:
    step_min, at_zero = run["step_min"], row["at_zero"]
    times: Sequence[datetime] = row["times"]
    if step_min is None:  # of a plan that an older version made
        step_min = (times[1] - times[0]).total_seconds() / 60 if len(times) > 1 else 60.0
    step = timedelta(minutes=step_min)
    starts, ends = list(map(iso, times)), [iso(time + step) for time in times]
    return [
        {
            "valid_from": start,
            "valid_until": end,
            "charge_kw": round(charge_kw, POWER_DIGITS) + 0.0,  # no -0.0
            "discharge_kw": round(discharge_kw, POWER_DIGITS) + 0.0,
            "soc": round(soc, SOC_DIGITS),
        }
        | ({"follow": bool(zero)} if run["follow"] else {})
        for start, end, charge_kw, discharge_kw, soc, zero in zip(
            starts, ends, row["charge_kw"], row["discharge_kw"], row["soc"], at_zero, strict=True
        )
    ]


def set_point(message: dict[str, Any], now: datetime) -> dict[str, Any] | None:
    """The set-point that holds now; None where the plan does not reach so far.

    Parameters
    ----------
    message : of `plan_messages`.
    now : the time [UTC].

    Returns
    -------
    plan_id, valid_from, valid_until, charge_kw and discharge_kw [kW], and follow where the plan
    says it.
    """
    text = iso(now.replace(microsecond=0))
    for item in message["intervals"]:  # times of one form are in the order of their texts
        if item["valid_from"] <= text < item["valid_until"]:
            fields = ("valid_from", "valid_until", "charge_kw", "discharge_kw", "follow")
            told = {name: item[name] for name in fields if name in item}
            return {"plan_id": message["plan_id"], **told}
    return None


def next_change(messages: Sequence[dict[str, Any]], now: datetime) -> datetime | None:
    """When the next step of a plan begins [UTC]; None after its end.

    Parameters
    ----------
    messages : of one plan; all batteries have the same steps.
    now : the time [UTC].
    """
    text = iso(now.replace(microsecond=0))
    for item in messages[0]["intervals"] if messages else ():
        if item["valid_from"] > text:
            return datetime.fromisoformat(item["valid_from"])
    return None
