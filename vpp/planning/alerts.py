"""Alerts: each rule is looked at, and what is new or resolved goes out by the channels.

An alert fires once, however often it is looked at, and resolves once its rule finds nothing more
of its subject. Messages wait in the table `alert_messages` until their channel has taken them: one
that is down holds up neither the rules nor the others.

    python -c "from vpp.planning.alerts import evaluate; help(evaluate)"

Times are UTC.
"""

import logging
from collections.abc import Mapping

import pandas as pd
import psycopg2
from psycopg2.extensions import connection

from vpp.planning.alert_channels import Channel, channels, text_of
from vpp.planning.alert_rules import LIMITS, RULES, Finding
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.runtime.words import in_words
from vpp.storage.alerts import (
    fire,
    note_attempt,
    queue_messages,
    read_alerts,
    read_due,
    resolve,
)

logger = logging.getLogger("alerts")

MOST_DOUBLINGS = 4  # of the time between two attempts


def evaluate(
    conn: connection,
    now: pd.Timestamp,
    config: Config,
    more: Mapping[str, Channel] | None = None,
) -> list[dict]:
    """Look at all rules, store what fired and what resolved, and send what is due.

    Parameters
    ----------
    conn : connection to the database; its transactions are committed.
    now : the plant's clock [UTC].
    config : limits and channels, `[alerts]`.
    more : further channels by their names, such as one to MQTT; each takes a message.

    Returns
    -------
    The alerts that fired or resolved now: event, the columns of `alerts` and site_id of each.
    """
    ways = channels(config) | dict(more or {})
    found = {rule: _found(conn, now, config, rule) for rule in RULES}
    events = _stored(conn, now, found, list(ways))
    for event in events:
        event["site_id"] = config.site.site_id
        log = logger.warning if event["event"] == "fired" else logger.info
        log("%s: %s", event["rule"], text_of(event).replace("\n", "; "))
    _send(conn, now, config, ways)
    return events


def _found(
    conn: connection, now: pd.Timestamp, config: Config, rule: str
) -> dict[str, Finding] | None:
    """The findings of a rule by subject; None where it cannot be told, so that its alerts stay."""
    if not getattr(config.alerts, LIMITS.get(rule, rule)):
        return {}
    try:
        with conn:
            return {finding.subject: finding for finding in RULES[rule](conn, now, config)}
    except (VppError, psycopg2.Error) as error:
        if conn.closed:
            raise
        conn.rollback()
        logger.warning("rule %s cannot be told now: %s", rule, in_words(error))
        return None


def _stored(
    conn: connection,
    now: pd.Timestamp,
    found: Mapping[str, Mapping[str, Finding] | None],
    ways: list[str],
) -> list[dict]:
    """Open and close alerts in one transaction, with the messages that have to go out."""
    events = []
    with conn:
        for rule, findings in found.items():
            for finding in (findings or {}).values():
                row = {"rule": rule, **vars(finding), "value": float(finding.value)}
                alert_id = fire(conn, row, now)
                if alert_id is not None:
                    queue_messages(conn, alert_id, "fired", ways, now)
                    events.append(row | {"event": "fired", "alert_id": alert_id, "fired_at": now})
                    events[-1]["resolved_at"] = None
        open_alerts = {row["alert_id"]: row for row in read_alerts(conn)}
        over = []
        for alert_id, row in open_alerts.items():
            findings = found.get(row["rule"], {})
            if findings is not None and row["subject"] not in findings:
                over.append(alert_id)
        for alert_id in resolve(conn, over, now):
            queue_messages(conn, alert_id, "resolved", ways, now)
            resolved = {"event": "resolved", "resolved_at": now}
            events.append(open_alerts[alert_id] | resolved)
    return events


def _send(conn: connection, now: pd.Timestamp, config: Config, ways: Mapping[str, Channel]) -> None:
    """Send what is due; a channel that fails is left alone until its next time."""
    down: set[str] = set()
    for message in read_due(conn, list(ways), now):
        name, error = message["channel"], None
        if name in down:
            continue
        try:
            ways[name](message | {"site_id": config.site.site_id})
        except Exception as failed:  # whatever a channel does, the rules go on
            error = in_words(failed)
            down.add(name)
            logger.warning("an alert waits, since its channel is down: %s", error)
        wait_min = config.alerts.retry_min * 2 ** min(message["attempts"], MOST_DOUBLINGS)
        with conn:
            note_attempt(conn, message, now, error, now + pd.Timedelta(minutes=wait_min))
    conn.rollback()  # the reading of what is due
