"""Words of devices in the database: measured states of batteries, and acknowledgements.

    python -c "from vpp.storage.battery_states import record_states; help(record_states)"

Times are UTC; a measured state holds at its time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg2.extras
from psycopg2.extensions import connection, cursor

from vpp.site.battery_messages import Acknowledgement, BatteryState
from vpp.storage.errors import explained
from vpp.storage.rows import select_rows

# A battery that no plan has met yet is registered by its name, so that its states are found.
REGISTER = """
    INSERT INTO batteries (battery_id) SELECT unnest(%s::text[]) ORDER BY 1
    ON CONFLICT DO NOTHING"""
RECORD = """
    INSERT INTO battery_states AS stored
        (battery_id, kind, run_id, time, soc, energy_kwh, charge_kw, discharge_kw, sent_at)
    VALUES %s
    ON CONFLICT (battery_id, kind, run_id, time) DO UPDATE SET
        soc = excluded.soc, energy_kwh = excluded.energy_kwh, charge_kw = excluded.charge_kw,
        discharge_kw = excluded.discharge_kw, sent_at = excluded.sent_at
    WHERE coalesce(stored.sent_at, '-infinity') <= excluded.sent_at
        AND (stored.soc, stored.energy_kwh, stored.charge_kw, stored.discharge_kw)
            IS DISTINCT FROM
            (excluded.soc, excluded.energy_kwh, excluded.charge_kw, excluded.discharge_kw)"""
ACKNOWLEDGE = """
    INSERT INTO acknowledgements (battery_id, plan_id, valid_from, status, received_at)
    SELECT told.* FROM (VALUES %s) AS told (battery_id, plan_id, valid_from, status, received_at)
    JOIN schedule_runs ON run_id = told.plan_id
    ON CONFLICT DO NOTHING"""


def record_states(
    conn: connection,
    states: Sequence[BatteryState],
    kind: str = "measured",
    sent_at: Sequence[datetime] | None = None,
) -> int:
    """Write states; of those of one battery and time the one that was sent last counts.

    Parameters
    ----------
    conn : the connection; the caller commits.
    states : as they came.
    kind : measured or simulated.
    sent_at : when each was sent [UTC]; None: now.

    Returns
    -------
    Number of rows inserted or replaced.

    Raises
    ------
    DatabaseError : the server refuses.
    """
    with explained("battery_states"), conn.cursor() as cur:
        return write_states(cur, states, kind, sent_at)


def write_states(
    cur: cursor,
    states: Sequence[BatteryState],
    kind: str = "measured",
    sent_at: Sequence[datetime] | None = None,
) -> int:
    """As `record_states`, whose errors come as the driver raises them.

    Parameters
    ----------
    cur : of the transaction.
    states, kind, sent_at : as of `record_states`.

    Returns
    -------
    Number of rows inserted or replaced.
    """
    if not states:
        return 0
    times = sent_at or [datetime.now(UTC)] * len(states)
    newest: dict[tuple[str, datetime], tuple[datetime, BatteryState]] = {}
    for state, sent in zip(states, times, strict=True):
        key = (state.battery_id, state.time)
        if key not in newest or newest[key][0] <= sent:
            newest[key] = (sent, state)
    cur.execute(REGISTER, (sorted({name for name, _ in newest}),))
    rows = [
        (
            *(state.battery_id, kind, "", state.time, state.soc, state.energy_kwh),
            *(state.charge_kw, state.discharge_kw, sent),
        )
        for _, (sent, state) in sorted(newest.items())  # writers do not block each other
    ]
    psycopg2.extras.execute_values(cur, RECORD, rows, page_size=len(rows))
    return cur.rowcount


def record_acknowledgements(
    conn: connection, items: Sequence[Acknowledgement], received_at: Sequence[datetime]
) -> int:
    """Write what devices say of set-points; the same word again changes nothing.

    Parameters
    ----------
    conn : the connection; the caller commits.
    items : as they came; those of a plan that is not stored are left out.
    received_at : when each came [UTC].

    Returns
    -------
    Number of rows inserted.

    Raises
    ------
    DatabaseError : the server refuses.
    """
    if not items:
        return 0
    rows = [
        (item.battery_id, item.plan_id, item.valid_from, item.status, at)
        for item, at in zip(items, received_at, strict=True)
    ]
    with explained("acknowledgements"), conn.cursor() as cur:
        psycopg2.extras.execute_values(cur, ACKNOWLEDGE, rows, page_size=len(rows))
        return cur.rowcount


def read_acknowledgements(conn: connection, plan_id: str) -> list[dict]:
    """The acknowledgements of a plan's set-points, in the order in which they came.

    Parameters
    ----------
    conn : the connection.
    plan_id : the plan.

    Returns
    -------
    battery_id, valid_from and received_at [UTC], status.
    """
    query = """
        SELECT battery_id, valid_from, status, received_at FROM acknowledgements
        WHERE plan_id = %s ORDER BY received_at, battery_id, valid_from"""
    return select_rows(conn, query, (plan_id,))


def count_measured(conn: connection) -> int:
    """The number of measured states of all batteries."""
    query = """
        SELECT coalesce(sum(number), 0)::bigint AS number FROM batteries
        CROSS JOIN LATERAL (
            SELECT count(*) AS number FROM battery_states AS state
            WHERE state.battery_id = batteries.battery_id AND kind = 'measured') AS counted"""
    return select_rows(conn, query)[0]["number"]
