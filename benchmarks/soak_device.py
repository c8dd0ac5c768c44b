"""The device of the soak: it obeys set-points over MQTT by the clock of the plant.

    python -c "from benchmarks.soak_device import MeteredDevice; help(MeteredDevice)"

It is examples/device.py with a meter: its state at the end of each interval goes to the topic
`state`. All that it obeyed and did is kept in files, so that it goes on where it was stopped.
"""

import importlib.util
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TICK_S = 0.005
STEPS, OBEYED = "steps.jsonl", "obeyed.jsonl"


def load_example() -> Any:
    """The module examples/device.py."""
    spec = importlib.util.spec_from_file_location("device", ROOT / "examples" / "device.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["device"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = load_example()


class MeteredDevice(example.Device):  # type: ignore[misc]
    """A battery on a broker that meters what it does.

    Parameters
    ----------
    client, base, battery, clock : as of `Device`.
    begin : of its first step [UTC].
    step : length of a step.
    folder : of its files.
    """

    def __init__(
        self,
        client: Any,
        base: str,
        battery: Any,
        clock: Callable[[], datetime],
        begin: datetime,
        step: timedelta,
        folder: Path,
    ):
        super().__init__(client, base, battery, clock)
        self.step = step
        self.steps, self.obeyed = read_lines(folder / STEPS), read_lines(folder / OBEYED)
        self.step_log, self.obeyed_log = (folder / STEPS).open("a"), (folder / OBEYED).open("a")
        self.ran_at = begin + len(self.steps) * step
        self.moved_kwh, self.plan_id = 0.0, None
        if self.steps:
            self.battery = replace(self.battery, energy_kwh=self.steps[-1][2])
        if self.obeyed:
            self._remember()

    def _remember(self) -> None:
        """What it obeyed before it was stopped."""
        mind, (plan_id, issued, *span, power_kw, _) = self.obedience, self.obeyed[-1]
        times = [datetime.fromisoformat(text) for text in span]
        mind.plan_id, mind.issue_time = plan_id, datetime.fromisoformat(issued)
        mind.current = example.SetPoint(plan_id, *times, power_kw)
        mind.older = {row[0] for row in self.obeyed} - {plan_id}

    def _run(self, now: datetime) -> float:
        """Run the battery up to now, and tell its state at the end of each step."""
        power_kw = 0.0
        while self.ran_at < now:
            edge = self.ran_at + self.step - (self.ran_at - example_epoch()) % self.step
            until, power_kw = min(edge, now), self.obedience.power_kw(self.ran_at)
            point = self.obedience.current
            if point is not None and point.valid_from <= self.ran_at < point.valid_until:
                self.plan_id = point.plan_id
            hours = (until - self.ran_at) / timedelta(hours=1)
            done = self.battery.step(power_kw, hours)
            self.battery, power_kw = done.battery, done.charge_kw - done.discharge_kw
            self.moved_kwh += power_kw * hours
            self.ran_at = until
            if until == edge:
                row = [self.plan_id, self.moved_kwh, self.battery.energy_kwh]
                keep(self.steps, self.step_log, row)
                self.moved_kwh, self.plan_id = 0.0, None
                self.tell()
                self._acknowledge(self.obedience.wake(edge))
        return power_kw

    def _acknowledge(self, decided: tuple[Any, str] | None) -> None:
        if decided is not None and decided[1] == "obeyed":
            point, mind = decided[0], self.obedience
            times = [example.iso(time) for time in (mind.issue_time, *span_of(point))]
            row = [point.plan_id, *times, point.power_kw, example.iso(self.ran_at)]
            keep(self.obeyed, self.obeyed_log, row)
        super()._acknowledge(decided)

    def tell(self) -> None:
        """Tell the state at the end of the last step."""
        told = {"time": example.iso(self.ran_at), "soc": round(self.battery.soc, 9)}
        self.client.publish(f"{self.base}/state", json.dumps(told), 1)

    def work(self, stop: threading.Event) -> None:
        """Run until told to stop."""
        with self.lock:
            if self.steps:  # it may have been killed before it told the last one
                self.tell()
        while not stop.wait(TICK_S):
            with self.lock:
                self._run(self.clock())
        self.client.disconnect()
        self.client.loop_stop()
        self.step_log.close()
        self.obeyed_log.close()


def example_epoch() -> datetime:
    """From which steps are counted."""
    return datetime.fromisoformat("1970-01-01T00:00:00Z")


def span_of(point: Any) -> tuple[datetime, datetime]:
    """Begin and end of a set-point."""
    return point.valid_from, point.valid_until


def read_lines(path: Path) -> list[list[Any]]:
    """The rows of a file of JSON lines; of one that is not there none."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("]")]


def keep(rows: list[list[Any]], log: Any, row: list[Any]) -> None:
    """Append a row to a list and to its file."""
    rows.append(row)
    log.write(json.dumps(row) + "\n")
    log.flush()


def obeyed_wrongly(obeyed: list[list[Any]], planned_kw: dict[tuple[str, str], float]) -> dict:
    """Set-points that were obeyed but should not have been, by what is wrong with them.

    Parameters
    ----------
    obeyed : plan_id, issue_time, valid_from, valid_until, power_kw and time of each, in order.
    planned_kw : power of each plan and start of an interval, as the database has it.

    Returns
    -------
    twice : of one plan and interval; stale : out of its interval, of a plan that a newer one
    followed, or of none that the database has; another_kw : another power than planned.
    """
    found, seen, left = {"twice": 0, "stale": 0, "another_kw": 0}, set(), set()
    before, newest = None, example_epoch()
    for plan_id, issue_time, start, end, power_kw, time in obeyed:
        texts = (issue_time, start, end, time)
        issued, begins, ends, at = (datetime.fromisoformat(text) for text in texts)
        found["twice"] += (plan_id, start) in seen
        seen.add((plan_id, start))
        if plan_id != before:
            left.add(before)
        is_known = (plan_id, start) in planned_kw
        is_stale = not begins <= at < ends or issued < newest or plan_id in left
        found["stale"] += is_stale or not is_known
        found["another_kw"] += is_known and abs(planned_kw[plan_id, start] - power_kw) > 1e-5
        newest, before = max(newest, issued), plan_id
    return found
