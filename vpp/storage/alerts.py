"""The tables `alerts` and `alert_messages`: what fired, what resolved, and what has to go out.

    python -c "from vpp.storage.alerts import read_alerts; help(read_alerts)"

Of a rule and a subject one alert is open at a time. Times are UTC.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
from psycopg2.extensions import connection

from vpp.storage.rows import Moment, select_rows

COLUMNS = "alert_id, rule, subject, fired_at, resolved_at, value, message, what_to_do"


def read_alerts(conn: connection, since: Moment | None = None) -> list[dict]:
    """The open alerts, and those that fired or were resolved since a time; the newest first.

    Parameters
    ----------
    conn : the connection.
    since : with a zone; None for the open ones alone.

    Returns
    -------
    alert_id, rule, subject, fired_at, resolved_at [UTC; None while open], value, message and
    what_to_do of each.
    """
    query = f"""
        SELECT {COLUMNS} FROM alerts
        WHERE resolved_at IS NULL OR resolved_at >= %s
        ORDER BY fired_at DESC, alert_id DESC"""
    at = None if since is None else pd.Timestamp(since).to_pydatetime()
    return [_in_utc(row) for row in select_rows(conn, query, (at,))]


def _in_utc(row: dict) -> dict:
    times = {name: row[name] for name in ("fired_at", "resolved_at", "next_at") if row.get(name)}
    return row | {name: pd.Timestamp(time).tz_convert("UTC") for name, time in times.items()}


def fire(conn: connection, found: Mapping[str, object], now: Moment) -> int | None:
    """Open an alert.

    Parameters
    ----------
    conn : the connection; the caller commits.
    found : rule, subject, value, message and what_to_do.
    now : when it fires, with a zone.

    Returns
    -------
    Its alert_id; None where one of this rule and subject is open: its message and value follow.
    """
    row = dict(found) | {"fired_at": pd.Timestamp(now).to_pydatetime()}
    names = ("rule", "subject", "fired_at", "value", "message", "what_to_do")
    statement = f"""
        INSERT INTO alerts ({", ".join(names)}) VALUES ({", ".join(["%s"] * len(names))})
        ON CONFLICT (rule, subject) WHERE resolved_at IS NULL
        DO UPDATE SET value = excluded.value, message = excluded.message
        RETURNING alert_id, xmax = 0"""
    with conn.cursor() as cur:
        cur.execute(statement, [row[name] for name in names])
        alert_id, is_new = cur.fetchall()[0]
    return alert_id if is_new else None


def resolve(conn: connection, alert_ids: Sequence[int], now: Moment) -> list[int]:
    """Close alerts; returns those that were open.

    Parameters
    ----------
    conn : the connection; the caller commits.
    alert_ids : the alerts.
    now : with a zone.
    """
    statement = """
        UPDATE alerts SET resolved_at = greatest(%s, fired_at)
        WHERE alert_id = ANY(%s) AND resolved_at IS NULL RETURNING alert_id"""
    with conn.cursor() as cur:
        cur.execute(statement, (pd.Timestamp(now).to_pydatetime(), list(alert_ids)))
        return [alert_id for (alert_id,) in cur.fetchall()]


def queue_messages(
    conn: connection, alert_id: int, event: str, channels: Sequence[str], now: Moment
) -> None:
    """Note what has to go out of an alert.

    Parameters
    ----------
    conn : the connection; the caller commits.
    alert_id : the alert.
    event : fired or resolved.
    channels : names of the channels.
    now : from when on it may be sent, with a zone.
    """
    statement = """
        INSERT INTO alert_messages (alert_id, event, channel, next_at) VALUES (%s, %s, %s, %s)
        ON CONFLICT DO NOTHING"""
    with conn.cursor() as cur:
        for channel in channels:
            at = pd.Timestamp(now).to_pydatetime()
            cur.execute(statement, (alert_id, event, channel, at))


def read_due(conn: connection, channels: Sequence[str], now: Moment) -> list[dict]:
    """The messages that have to go out now, in the order of their alerts.

    Parameters
    ----------
    conn : the connection.
    channels : the names of those that there are.
    now : with a zone.

    Returns
    -------
    The alert's columns with event, channel and attempts. A resolved one waits for its fired one.
    """
    names = ", ".join(f"alert.{name.strip()}" for name in COLUMNS.split(","))
    query = f"""
        SELECT {names}, event, channel, attempts, next_at
        FROM alert_messages AS message JOIN alerts AS alert USING (alert_id)
        WHERE sent_at IS NULL AND channel = ANY(%s) AND next_at <= %s
            AND (event = 'fired' OR NOT EXISTS (
                SELECT 1 FROM alert_messages AS before
                WHERE before.alert_id = message.alert_id AND before.channel = message.channel
                    AND before.event = 'fired' AND before.sent_at IS NULL
                    AND before.next_at > %s))
        ORDER BY alert_id, event, channel"""
    at = pd.Timestamp(now).to_pydatetime()
    return [_in_utc(row) for row in select_rows(conn, query, (list(channels), at, at))]


def note_attempt(
    conn: connection, message: Mapping, now: Moment, error: str | None, again_at: Moment
) -> None:
    """Note that a message was sent, or why it was not and when it is tried again.

    Parameters
    ----------
    conn : the connection; the caller commits.
    message : as `read_due` gives it.
    now : of the attempt, with a zone.
    error : why it failed; None where it was sent.
    again_at : when it is tried again, with a zone.
    """
    statement = """
        UPDATE alert_messages SET attempts = attempts + 1, error = %s, sent_at = %s, next_at = %s
        WHERE alert_id = %s AND event = %s AND channel = %s"""
    moment, again = (pd.Timestamp(at).to_pydatetime() for at in (now, again_at))
    key = (message["alert_id"], message["event"], message["channel"])
    with conn.cursor() as cur:
        cur.execute(statement, (error, None if error else moment, again, *key))
