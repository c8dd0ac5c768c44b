"""The table `ledger`: per interval what was planned, what was done and what it cost.

A row never changes: `save_versions` adds a version where a value differs from the newest one.

    python -c "from vpp.storage.ledger import read_newest; help(read_newest)"

Powers are kW, money is in the site's currency, positive where it is paid; times are UTC.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.storage.errors import explained
from vpp.storage.rows import Moment, select_frame, select_rows, upsert_rows

KEYS = ("site_id", "time", "version")
MONEY = (
    "planned_cost_eur",
    "position_eur",
    "deviation_eur",
    "energy_eur",
    "wear_eur",
    "peak_eur",
    "cost_eur",
    "cost_no_battery_eur",
)
NUMBERS = (
    "load_kw",
    "renewables_kw",
    "device_kw",
    "curtailed_kw",
    "charge_kw",
    "discharge_kw",
    "grid_import_kw",
    "grid_export_kw",
    "import_no_battery_kw",
    "soc",
    "import_price_eur_per_mwh",
    "export_price_eur_per_mwh",
    "position_kw",
    "deviation_price_eur_per_mwh",
    "planned_charge_kw",
    "planned_discharge_kw",
    "planned_import_kw",
    "planned_export_kw",
    *MONEY,
)
TEXTS = ("step_min", "plan_id", "done", "currency")
COLUMNS = (*TEXTS, *NUMBERS, "batteries")
DIGITS = 6  # decimals that are kept of each number: of a year's intervals they sum up to a cent


def save_versions(conn: connection, site_id: str, rows: pd.DataFrame) -> int:
    """Add the rows that are new, or differ from the newest version of their interval.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    site_id : the grid connection.
    rows : the columns of `COLUMNS`, by time [UTC].

    Returns
    -------
    Number of rows added.
    """
    if rows.empty:
        return 0
    rows = rows.copy()
    for name in NUMBERS:  # 0.0 and -0.0 are the same
        rows[name] = rows[name].astype(float).round(DIGITS) + 0.0
    with explained("ledger"), conn, conn.cursor() as cur:
        # two writers would both find the same newest version
        cur.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"vpp ledger {site_id}",))
        known = read_newest(conn, site_id, rows.index[0], rows.index[-1] + pd.Timedelta("1s"))
        known = known.reindex(rows.index)
        same = pd.Series(True, rows.index)
        for name in NUMBERS:
            alike = np.isclose(rows[name], known[name], rtol=0, atol=10.0**-DIGITS, equal_nan=True)
            same &= alike
        for name in TEXTS:
            there, here = (part[name].astype(object) for part in (known, rows))
            same &= (there == here) | (there.isna() & here.isna())
        changed = rows[~same]
        version = known["version"].reindex(changed.index).astype(float).fillna(0).astype(int) + 1
        added = changed.assign(site_id=site_id, version=version).rename_axis("time").reset_index()
        upsert_rows(cur, "ledger", KEYS, added.to_dict("records"))
    return len(changed)


def read_newest(
    conn: connection, site_id: str, start: Moment | None = None, end: Moment | None = None
) -> pd.DataFrame:
    """The newest version of each interval.

    Parameters
    ----------
    conn : the connection.
    site_id : the grid connection.
    start, end : the range `[start, end)` of times, with a zone; None leaves a side open.

    Returns
    -------
    version, recorded_at and the columns of `COLUMNS` by time [UTC].
    """
    query = """
        SELECT DISTINCT ON (time) * FROM ledger
        WHERE site_id = %s AND (%s::timestamptz IS NULL OR time >= %s)
            AND (%s::timestamptz IS NULL OR time < %s)
        ORDER BY time, version DESC"""
    first, last = (None if at is None else pd.Timestamp(at).to_pydatetime() for at in (start, end))
    return select_frame(conn, query, (site_id, first, first, last, last), "time")


def read_versions(conn: connection, site_id: str, time: Moment) -> pd.DataFrame:
    """All versions of an interval, the first one first.

    Parameters
    ----------
    conn : the connection.
    site_id : the grid connection.
    time : start of the interval, with a zone.
    """
    query = "SELECT * FROM ledger WHERE site_id = %s AND time = %s ORDER BY version"
    return select_frame(conn, query, (site_id, pd.Timestamp(time).to_pydatetime()))


def read_ends(
    conn: connection, site_id: str
) -> tuple[pd.Timestamp, pd.Timestamp, pd.Timestamp] | None:
    """First and last interval [UTC], and when the newest row was added; None for an empty ledger.

    Parameters
    ----------
    conn : the connection.
    site_id : the grid connection.
    """
    query = """
        SELECT min(time) AS first, max(time) AS last, max(recorded_at) AS recorded
        FROM ledger WHERE site_id = %s"""
    row = select_rows(conn, query, (site_id,))[0]
    if row["first"] is None:
        return None
    first, last, recorded = (
        pd.Timestamp(row[name]).tz_convert("UTC") for name in ("first", "last", "recorded")
    )
    return first, last, recorded


def first_changed(
    conn: connection, site_id: str, tables: Sequence[str], source_ids: Sequence[str], since: Moment
) -> pd.Timestamp | None:
    """The time of the first value, measured state or position sent after a time; None: none [UTC].

    Parameters
    ----------
    conn : the connection.
    site_id : the grid connection.
    tables : of measurements.
    source_ids : those that count.
    since : with a zone.
    """
    parts = [f"SELECT time FROM {table} WHERE source_id = ANY(%(ids)s)" for table in tables]
    parts.append("SELECT time FROM battery_states WHERE kind = 'measured' AND run_id = ''")
    parts.append("SELECT time FROM positions WHERE site_id = %(site_id)s")
    union = " UNION ALL ".join(f"({part} AND sent_at > %(since)s)" for part in parts)
    values = {"ids": list(source_ids), "since": pd.Timestamp(since).to_pydatetime()}
    values["site_id"] = site_id
    first = select_rows(conn, f"SELECT min(time) AS first FROM ({union}) AS sent", values)[0][
        "first"
    ]
    return None if first is None else pd.Timestamp(first).tz_convert("UTC")
