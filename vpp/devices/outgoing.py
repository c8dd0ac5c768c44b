"""Messages that the bridge publishes: plans and set-points, orders in force, and how the site is.

    python -c "from vpp.devices.outgoing import Outgoing; help(Outgoing)"

All of it is retained. A message that has not changed is not sent again, but for set-points: they
are sent at each new step and each connection.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from psycopg2.extensions import connection

from vpp.devices.discovery import entities
from vpp.devices.plan_messages import iso, newest_plan, next_change, plan_messages, set_point
from vpp.devices.topics import Topics
from vpp.runtime.settings import Config
from vpp.storage.overrides import AUTO, Override, read_overrides
from vpp.storage.rows import select_rows

FRESH = timedelta(hours=1)  # an older measured state is not that of now

Publish = Callable[[str, bytes], None]


class Outgoing:
    """Publishes what is new.

    Parameters
    ----------
    config : names the batteries.
    topics : of the site.
    publish : sends a retained message.
    """

    def __init__(self, config: Config, topics: Topics, publish: Publish):
        self.config, self.topics, self.publish = config, topics, publish
        self.names = [battery.battery_id for battery in config.batteries]
        self.run: dict | None = None
        self.plans: list[dict[str, Any]] = []
        self.next_step: datetime | None = None
        self.step_length = timedelta(0)
        self.sent: dict[str, bytes] = {}

    def forget(self) -> None:
        """Send everything again: the connection is new."""
        self.sent, self.next_step, self.run = {}, None, None
        if self.config.mqtt.discovery_prefix:
            for topic, told in entities(self.config, self.topics):
                self._send(topic, told)

    def look(self, conn: connection, now: datetime) -> None:
        """Publish what is new in the database: the plan, the orders, the states.

        Parameters
        ----------
        conn : the connection.
        now : time of the plant's clock [UTC].
        """
        run = newest_plan(conn, self.topics.site_id)
        if run is not None and (self.run is None or _made(run) != _made(self.run)):
            self._send_plans(plan_messages(conn, run["run_id"]), now)
            self.run = run
        orders = read_overrides(conn, now)
        for name in self.names:
            self._send(self.topics.of(name, "override"), _order(orders.get(name)))
        self._send_now(conn, now)

    def step(self, now: datetime) -> None:
        """Publish the set-points of a step that has begun.

        Parameters
        ----------
        now : time of the plant's clock [UTC].
        """
        if self.next_step is not None and now >= self.next_step:
            self._send_points(now)

    def _send_plans(self, plans: Iterable[dict[str, Any]], now: datetime) -> None:
        """Each battery's plan, and its set-point after it, as soon as the plan is read."""
        known, self.plans = set(self.names), []
        for plan in plans:
            if plan["battery_id"] not in known:
                continue
            self.plans.append(plan)
            self.publish(self.topics.of(plan["battery_id"], "plan"), _encoded(plan))
            self._send_point(plan, now)
        self.next_step = next_change(self.plans, now)
        if self.plans:
            begin, end = (
                datetime.fromisoformat(self.plans[0]["intervals"][0][name])
                for name in ("valid_from", "valid_until")
            )
            self.step_length = end - begin

    def _send_points(self, now: datetime) -> None:
        for plan in self.plans:
            self._send_point(plan, now)
        self.next_step = next_change(self.plans, now)

    def _send_point(self, plan: dict[str, Any], now: datetime) -> None:
        if (point := set_point(plan, now)) is not None:
            self.publish(self.topics.of(plan["battery_id"], "setpoint"), _encoded(point))

    def _send(self, topic: str, told: object) -> None:
        """Send a message that has changed."""
        payload = _encoded(told)
        if self.sent.get(topic) != payload:
            self.sent[topic] = payload
            self.publish(topic, payload)

    def _send_now(self, conn: connection, now: datetime) -> None:
        """How each battery and the site are."""
        states, plans = self._states(conn, now), {plan["battery_id"]: plan for plan in self.plans}
        for name in self.names:
            told = _battery_now(plans.get(name), states.get(name), now, self.config.site.time_zone)
            self._send(self.topics.of(name, "now"), told)
        self._send(self.topics.now, {"savings": self._savings(), "health": self._health(now)})

    def _states(self, conn: connection, now: datetime) -> dict[str, dict]:
        """The newest state of each battery that is not planned, where it is of now."""
        query = """
            SELECT newest.battery_id, soc, charge_kw - discharge_kw AS power_kw
            FROM unnest(%s::text[]) AS battery (battery_id)
            CROSS JOIN LATERAL (
                SELECT * FROM battery_states AS state
                WHERE state.battery_id = battery.battery_id AND kind IN ('measured', 'simulated')
                    AND run_id = '' AND time > %s AND time <= %s
                ORDER BY time DESC, kind LIMIT 1) AS newest"""
        rows = select_rows(conn, query, (self.names, now - FRESH, now + timedelta(seconds=1)))
        return {row["battery_id"]: row for row in rows}

    def _savings(self) -> float | None:
        """Cost without battery less cost of the newest plan."""
        costs = [(self.run or {}).get(name) for name in ("cost_no_battery_eur", "cost_eur")]
        if costs[0] is None or costs[1] is None:
            return None
        return round(costs[0] - costs[1], 2)

    def _health(self, now: datetime) -> str:
        if self.run is None:
            return "no plan yet"
        if self.plans and any(set_point(plan, now) is None for plan in self.plans):
            return f"the newest plan, of {iso(self.run['issue_time'])}, does not reach to now"
        return "ok"


def _made(run: dict) -> tuple[str, datetime]:
    return run["run_id"], run["created_at"]


def _encoded(told: object) -> bytes:
    return msgspec.json.encode(told)


def _order(order: Override | None) -> dict[str, Any]:
    """An order in force, or auto."""
    if order is None:
        return {"override": AUTO, "soc": None, "until": None, "name": "", "reason": ""}
    until = None if order.until is None else iso(order.until)
    told = {"override": order.override, "soc": order.soc, "until": until}
    return told | {"name": order.name, "reason": order.reason}


def _battery_now(
    plan: dict[str, Any] | None, state: dict | None, now: datetime, zone: str
) -> dict[str, Any]:
    """SOC [%], power [kW, positive charges] and next action of a battery.

    They are measured where a state is of now, else as planned.
    """
    point = None if plan is None else set_point(plan, now)
    planned_kw = None if point is None else point["charge_kw"] - point["discharge_kw"]
    soc, power_kw = (state["soc"], state["power_kw"]) if state else (None, None)
    if soc is None and plan is not None:
        ended = [item for item in plan["intervals"] if item["valid_until"] <= iso(now)]
        soc = (ended[-1] if ended else plan["intervals"][0])["soc"]
    return {
        "soc_percent": None if soc is None else round(soc * 100, 1),
        "power_kw": _rounded(power_kw if power_kw is not None else planned_kw),
        "next_action": _next_action(plan, point, zone),
    }


def _rounded(power_kw: float | None) -> float | None:
    return None if power_kw is None else round(power_kw, 3) + 0.0


def _next_action(plan: dict[str, Any] | None, point: dict[str, Any] | None, zone: str) -> str:
    """When the battery next does something else, and what, at most 255 characters."""
    if plan is None or point is None:
        return "no plan"
    doing = _action(point)
    for item in plan["intervals"]:
        if item["valid_from"] > point["valid_from"] and _action(item) != doing:
            at = datetime.fromisoformat(item["valid_from"]).astimezone(ZoneInfo(zone))
            power_kw = item["charge_kw"] + item["discharge_kw"]
            size = f" {power_kw:.4g} kW" if power_kw else ""
            return f"{_action(item)}{size} at {at:%H:%M}"
    return f"{doing} to the end of the plan"


def _action(item: dict[str, Any]) -> str:
    if item["charge_kw"] > item["discharge_kw"]:
        return "charge"
    return "discharge" if item["discharge_kw"] > item["charge_kw"] else "idle"
