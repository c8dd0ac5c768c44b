"""An accepted plan goes out: to schedule-topic, over MQTT, and to a webhook; alerts over MQTT.

    python -c "from vpp.devices.publish import publish_plan; help(publish_plan)"

One way that fails does not stop the others. `communication.py mqtt` (bridge.py) serves MQTT; where
none runs for the site, the plan and its set-points are published from here.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from psycopg2.extensions import connection

from vpp.devices.plan_messages import plan_messages, set_point
from vpp.devices.topics import check_names, publish_once, site_topics
from vpp.planning.alert_channels import Channel, Message, json_of
from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.runtime.words import in_words
from vpp.storage.jobs import read_clock
from vpp.storage.rows import select_rows
from vpp.stream.kafka import StreamError, kafka_settings, new_producer, schedule_topic, send
from vpp.stream.topics import ensure_topics

log = logging.getLogger("devices")

WAIT_S = 10.0  # patience with each server
CHANNEL = "vpp_plans"  # of NOTIFY: the site whose plan is new
TRIES = 3


class PublishError(VppError):
    """A plan could not be sent on every way."""


def publish_plan(conn: connection, config: Config, run_id: str | None) -> dict[str, int]:
    """Send an accepted plan to the batteries.

    Parameters
    ----------
    conn : the connection; its transaction is committed.
    config : names the servers.
    run_id : the plan; None: there is none yet.

    Returns
    -------
    Way (kafka, mqtt, webhook) -> messages that arrived.

    Raises
    ------
    PublishError : a way failed, after all were tried; each is told.
    """
    if run_id and config.mqtt.url:  # the bridge begins while the other ways are prepared
        with conn.cursor() as cur:
            of_site = "SELECT pg_notify(%s, site_id) FROM schedule_runs WHERE run_id = %s"
            cur.execute(of_site, (CHANNEL, run_id))
        conn.commit()
    messages = list(plan_messages(conn, run_id)) if run_id else []
    if not messages:
        return {}
    now = read_clock(conn, config.site.site_id).to_pydatetime()
    conn.commit()
    ways: dict[str, Callable[[], int]] = {}
    if config.mqtt.url:  # the quickest first
        ways["mqtt"] = lambda: _to_mqtt(conn, config, messages, now)
    ways["kafka"] = lambda: to_kafka(config, messages)
    if config.webhook.url:
        ways["webhook"] = lambda: to_webhook(config, messages)
    arrived, failures = {}, []
    for name, way in ways.items():
        try:
            arrived[name] = way()
        except Exception as error:  # whatever it is, the other ways are tried
            failures.append(f"{name}: {in_words(error)}")
    if failures:
        raise PublishError(f"plan {run_id} was not sent everywhere: {'; '.join(failures)}")
    return arrived


def to_kafka(config: Config, messages: Sequence[dict[str, Any]]) -> int:
    """Send the messages of a plan to `schedule-topic`, keyed by battery.

    Returns
    -------
    Number of messages that the broker has.

    Raises
    ------
    StreamError : the broker is away, or does not take them.
    """
    settings, topic = kafka_settings(config), schedule_topic(config)
    wait_s = min(WAIT_S, config.database.wait_s)
    ensure_topics(config.kafka, settings, [topic], wait_s)
    failures: Counter[str] = Counter()
    # a plan that comes twice is the same plan: an earlier one is worth more
    producer = new_producer(settings, wait_s, failures, idempotent=False)
    for message in messages:
        send(producer, topic, encoded(message), message["battery_id"])
    left = producer.flush(wait_s + 1)
    if left or failures:
        raise StreamError(f"{topic}: {', '.join(failures) or 'no answer'}")
    return len(messages)


def encoded(message: object) -> bytes:
    """A message as JSON."""
    return msgspec.json.encode(message)


def _to_mqtt(
    conn: connection, config: Config, messages: Sequence[dict[str, Any]], now: datetime
) -> int:
    """Publish a plan where no bridge runs, which has been told of it."""
    site_id = messages[0]["site_id"]
    if is_bridged(conn, site_id):
        return len(messages)
    check_names(site_id, (message["battery_id"] for message in messages))
    topics, found = replace(site_topics(config), site_id=site_id), []
    for message in messages:
        found.append((topics.of(message["battery_id"], "plan"), encoded(message)))
        if (point := set_point(message, now)) is not None:
            found.append((topics.of(message["battery_id"], "setpoint"), encoded(point)))
    publish_once(config, found, WAIT_S)
    return len(messages)


def alert_channels(config: Config) -> dict[str, Channel]:
    """The way of alerts over MQTT, by its name; none without a broker.

    Parameters
    ----------
    config : names the broker, `[mqtt]`.
    """

    def tell(message: Message) -> None:
        what = [(site_topics(config).alert, encoded(json_of(message)))]
        publish_once(config, what, WAIT_S, retain=False)

    return {"mqtt": tell} if config.mqtt.url else {}


def bridge_lock(site_id: str) -> str:
    """The text whose hash is the advisory lock of a site's bridge."""
    return f"vpp mqtt {site_id}"


def is_bridged(conn: connection, site_id: str) -> bool:
    """Whether a bridge runs for a site.

    Parameters
    ----------
    conn : the connection.
    site_id : the site.
    """
    query = "SELECT pg_try_advisory_xact_lock_shared(hashtext(%s)) AS free"
    free = select_rows(conn, query, (bridge_lock(site_id),))[0]["free"]
    conn.commit()
    return not free


def to_webhook(config: Config, messages: Sequence[dict[str, Any]]) -> int:
    """Post a plan to the webhook: its site_id, plan_id and issue_time, and a message a battery.

    Returns
    -------
    Number of messages.

    Raises
    ------
    PublishError : it does not answer, or not with success; the address is not told, since it may
        be a secret.
    """
    import requests
    import tenacity

    head = {name: messages[0][name] for name in ("site_id", "plan_id", "issue_time")}
    body = encoded(head | {"batteries": list(messages)})
    hook = config.webhook
    try:
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(requests.RequestException),
            stop=tenacity.stop_after_attempt(TRIES),
            wait=tenacity.wait_exponential(0.2, max=2),
            reraise=True,
        ):
            with attempt:
                answer = requests.post(
                    hook.url,
                    body,
                    headers={"Content-Type": "application/json"},
                    timeout=hook.timeout_s,
                    allow_redirects=False,
                )
                if answer.status_code == 429 or answer.status_code >= 500:  # which may pass
                    raise requests.HTTPError(f"answer {answer.status_code}")
    except requests.RequestException as error:
        why = str(error) if isinstance(error, requests.HTTPError) else "it cannot be reached"
        raise PublishError(f"{why}, tried {TRIES} times") from None
    if not 200 <= answer.status_code < 300:
        raise PublishError(f"answer {answer.status_code}; expected 200 to 299")
    return len(messages)
