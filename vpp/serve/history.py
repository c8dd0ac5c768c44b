"""Energy, money and key figures of a day, week, month or year: what `/api/history` answers.

python -c "from vpp.serve.history import read_history; help(read_history)"

All numbers are those of the ledger; money is positive where it is paid.
"""

from datetime import date, timedelta

import pandas as pd
from psycopg2.extensions import connection

from vpp.planning.ledger import read_ledger
from vpp.runtime.settings import Config
from vpp.schedule.value import captured_share
from vpp.serve.answers import records
from vpp.site.times import from_local
from vpp.storage.jobs import read_clock
from vpp.storage.rows import select_rows

# period -> the parts that it is shown in
PERIODS = {"day": "interval", "week": "day", "month": "day", "year": "month"}


def read_history(
    conn: connection, config: Config, period: str = "day", day: date | None = None
) -> dict:
    """The ledger of a local period, summed and in its parts.

    Parameters
    ----------
    conn : the connection.
    config : the site and its batteries.
    period : day, week (from Monday on), month or year.
    day : a local day in it; None for the newest of the ledger, today without one.

    Returns
    -------
    period, date, start and end [UTC], previous and next (a date in each), total: the sums with
    captured_share and cycles, or null without rows; rows: the intervals of a day, the days of a
    week or month, the months of a year.
    """
    site = config.site
    if day is None:
        day = _newest_day(conn, config)
    first, after = span(period, day)
    edges = from_local(pd.DatetimeIndex([first, after]), site.time_zone)
    start, end = edges[0], edges[1]
    rows = records(read_ledger(conn, site, start, end, PERIODS[period]))
    totals = records(read_ledger(conn, site, start, end, period))
    total = totals[0] if totals else None
    if total is not None:
        capacity_kwh = sum(battery.capacity_kwh for battery in config.batteries)
        discharged = float(total["discharge_kwh"])  # type: ignore[arg-type]
        total["cycles"] = discharged / capacity_kwh if capacity_kwh else None
        total["captured_share"] = _captured(conn, site.site_id, start, end)
    return {
        "period": period,
        "date": day.isoformat(),
        "start": start.to_pydatetime(),
        "end": end.to_pydatetime(),
        "previous": (first - timedelta(days=1)).isoformat(),
        "next": after.isoformat(),
        "total": total,
        "rows": rows,
    }


def span(period: str, day: date) -> tuple[date, date]:
    """The first day of a period, and the first day after it.

    Parameters
    ----------
    period : day, week, month or year.
    day : in it.
    """
    if period == "week":
        first = day - timedelta(days=day.weekday())
        return first, first + timedelta(days=7)
    if period == "month":
        first = day.replace(day=1)
        return first, (first + timedelta(days=31)).replace(day=1)
    if period == "year":
        return day.replace(month=1, day=1), date(day.year + 1, 1, 1)
    return day, day + timedelta(days=1)


def _newest_day(conn: connection, config: Config) -> date:
    """The local day of the ledger's newest interval; today without one."""
    query = "SELECT max(time) AS newest FROM ledger WHERE site_id = %s"
    newest = select_rows(conn, query, (config.site.site_id,))[0]["newest"]
    time = read_clock(conn, config.site.site_id) if newest is None else pd.Timestamp(newest)
    return time.tz_convert(config.site.time_zone).date()


def _captured(
    conn: connection, site_id: str, start: pd.Timestamp, end: pd.Timestamp
) -> float | None:
    """Share of what perfect foresight saves that the plans of a span saved, where both are known.

    The plans are those that `optimization.py value` has valued.
    """
    query = """
        SELECT count(*) AS plans, sum(perfect.cost_no_battery_eur) AS alone,
            sum(actual.cost_eur) AS done, sum(perfect.cost_eur) AS best
        FROM schedule_runs AS perfect
        JOIN schedule_runs AS actual USING (site_id, issue_time, input_hash)
        WHERE perfect.kind = 'perfect' AND actual.kind = 'actual' AND site_id = %s
            AND issue_time >= %s AND issue_time < %s"""
    values = (site_id, start.to_pydatetime(), end.to_pydatetime())
    row = select_rows(conn, query, values)[0]
    if not row["plans"]:
        return None
    return captured_share(row["alone"], row["done"], row["best"])
