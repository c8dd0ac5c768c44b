"""A simulated battery that obeys the set-points of its plan over MQTT, and tells its state.

    python examples/device.py --battery battery-1              # with the broker of config.ini
    python examples/device.py --config cabin.ini --battery cellar --every-s 10

A set-point is obeyed once, while it holds, and only if it is of the newest plan. One that is late,
doubled or of an older plan is not. Where nothing valid came for an interval the battery is idle.
`Obedience` is all of this and knows no broker: a real device needs no more.
"""

import argparse
import json
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
log = logging.getLogger("device")


@dataclass(frozen=True)
class SetPoint:
    """A power for an interval.

    Parameters
    ----------
    plan_id : the plan that it is of.
    valid_from, valid_until : it holds from the first to before the second [UTC].
    power_kw : positive where it charges [kW].
    """

    plan_id: str
    valid_from: datetime
    valid_until: datetime
    power_kw: float


@dataclass
class Obedience:
    """What a device obeys.

    Parameters
    ----------
    plan_id, issue_time : of the newest plan that it has seen.
    current : the set-point that it obeys, or obeyed last.
    waiting : a set-point whose plan, or whose time, has not come yet.
    older : plans that others have followed.
    """

    plan_id: str | None = None
    issue_time: datetime | None = None
    current: SetPoint | None = None
    waiting: SetPoint | None = None
    older: set[str] = field(default_factory=set)

    def take_plan(self, message: Any, now: datetime) -> tuple[SetPoint, str] | None:
        """Take note of a plan; returns a set-point that waited for it, and what became of it.

        Parameters
        ----------
        message : the JSON object of the topic `plan`.
        now : the time [UTC].
        """
        try:
            plan_id, issue_time = str(message["plan_id"]), _time(message["issue_time"])
        except (KeyError, TypeError, ValueError):
            return None
        # Plans of one issue time follow each other; one that was followed does not come
        # back, though a broker that was killed may have kept it.
        known = self.issue_time
        if known is not None and (issue_time, plan_id not in self.older) < (known, True):
            return None
        if self.plan_id is not None and plan_id != self.plan_id:
            self.older.add(self.plan_id)
        self.plan_id, self.issue_time = plan_id, issue_time
        return self.wake(now)

    def take_set_point(self, message: Any, now: datetime) -> tuple[SetPoint | None, str]:
        """Obey a set-point, or not.

        Parameters
        ----------
        message : the JSON object of the topic `setpoint`.
        now : the time [UTC].

        Returns
        -------
        The set-point, None where it is none, and what became of it: obeyed, waiting, late, doubled,
        older plan or invalid.
        """
        try:
            point = SetPoint(
                str(message["plan_id"]),
                _time(message["valid_from"]),
                _time(message["valid_until"]),
                _power(message["charge_kw"]) - _power(message["discharge_kw"]),
            )
        except (KeyError, TypeError, ValueError):
            return None, "invalid"
        return point, self._decide(point, now)

    def _decide(self, point: SetPoint, now: datetime) -> str:
        last = self.current
        if point.valid_until <= now or point.valid_until <= point.valid_from:
            return "late"
        if point.plan_id in self.older:
            return "older plan"
        if last is not None and point.plan_id == last.plan_id:
            if point.valid_from == last.valid_from:
                return "doubled"
            if point.valid_from < last.valid_from:
                return "late"
        if point.plan_id != self.plan_id or point.valid_from > now:
            self.waiting = point
            return "waiting"
        self.current, self.waiting = point, None
        return "obeyed"

    def wake(self, now: datetime) -> tuple[SetPoint, str] | None:
        """Decide again on a set-point that waits; None where none is decided.

        Parameters
        ----------
        now : the time [UTC].
        """
        point, self.waiting = self.waiting, None
        if point is None:
            return None
        status = self._decide(point, now)
        return None if status == "waiting" else (point, status)

    def power_kw(self, now: datetime) -> float:
        """The power to run with [kW]: idle where no set-point holds.

        Parameters
        ----------
        now : the time [UTC].
        """
        point = self.current
        if point is None or not point.valid_from <= now < point.valid_until:
            return 0.0
        return point.power_kw


def _time(text: Any) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text}: no zone")
    return time.astimezone(UTC)


def _power(value: Any) -> float:
    if isinstance(value, bool) or not 0 <= value < 1e9:
        raise ValueError(f"{value}: no power")
    return float(value)


def iso(time: datetime) -> str:
    """A time as messages state it."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Device:
    """A battery on a broker: obeys, runs, acknowledges and tells its state.

    Parameters
    ----------
    client : of paho-mqtt; it is not connected yet.
    base : topic of the battery, such as vpp/site-1/battery-1.
    battery : as `battery.Battery`.
    clock : the time [UTC]; default the machine's.
    """

    def __init__(
        self,
        client: Any,
        base: str,
        battery: Any,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ):
        self.client, self.base, self.battery, self.clock = client, base, battery, clock
        self.obedience, self.lock = Obedience(), threading.Lock()
        self.ran_at = clock()
        client.on_connect, client.on_message = self._on_connect, self._on_message

    def _on_connect(self, client: Any, *_: Any) -> None:
        client.subscribe([(f"{self.base}/plan", 1), (f"{self.base}/setpoint", 1)])

    def _on_message(self, _: Any, __: Any, message: Any) -> None:
        now = self.clock()
        try:
            told = json.loads(message.payload)
        except (ValueError, RecursionError):
            return
        with self.lock:
            self._run(now)
            if message.topic.endswith("/plan"):
                self._acknowledge(self.obedience.take_plan(told, now))
            else:
                self._acknowledge(self.obedience.take_set_point(told, now))

    def _acknowledge(self, decided: tuple[SetPoint | None, str] | None) -> None:
        if decided is None or decided[0] is None or decided[1] == "waiting":
            return
        point, status = decided
        # told again, it was obeyed: the first word of that may have gone with a broker
        status = "obeyed" if status == "doubled" else status
        start = iso(point.valid_from)
        log.info("%s from %s: %s, %+.1f kW", point.plan_id, start, status, point.power_kw)
        told = {"plan_id": point.plan_id, "valid_from": start, "status": status}
        self.client.publish(f"{self.base}/ack", json.dumps(told), 1)

    def _run(self, now: datetime) -> float:
        """Run the battery up to now; returns its power [kW]."""
        hours = (now - self.ran_at) / timedelta(hours=1)
        power_kw = self.obedience.power_kw(now)
        if hours > 0:
            done = self.battery.step(power_kw, hours)
            self.battery, power_kw = done.battery, done.charge_kw - done.discharge_kw
        self.ran_at = now
        return power_kw

    def tick(self) -> None:
        """Run, obey what has waited for its time, and tell the state."""
        now = self.clock()
        with self.lock:
            power_kw = self._run(now)
            self._acknowledge(self.obedience.wake(now))
            told = {"time": iso(now), "soc": round(self.battery.soc, 6), "power_kw": power_kw}
        self.client.publish(f"{self.base}/state", json.dumps(told), 1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a device until Ctrl-C or SIGTERM."""
    import sys

    sys.path.insert(0, str(ROOT))
    from battery import Battery
    from vpp.devices.topics import new_client, site_topics
    from vpp.runtime import terminal
    from vpp.runtime.errors import check_known

    parser = terminal.new_parser(__doc__ or "")
    parser.add_argument("--battery", metavar="ID", help="battery (default: the first)")
    about = "seconds between two states (default 5)"
    parser.add_argument("--every-s", type=float, default=5.0, metavar="S", help=about)

    def run(args: argparse.Namespace, config: Any) -> int:
        batteries = {battery.battery_id: battery for battery in config.batteries}
        name = args.battery or next(iter(batteries), "")
        check_known("battery", name, batteries)
        topics, stop = site_topics(config), threading.Event()
        client = new_client(config, "", is_kept=False)
        device = Device(client, topics.of(name, "x")[:-2], Battery.of(batteries[name]))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        client.loop_start()
        while not stop.wait(args.every_s):
            device.tick()
        client.disconnect()
        client.loop_stop()
        return 0

    return terminal.run_script(parser, run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
