"""A past that is replayed through the whole plant, with kills."""

import json
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pandas as pd
from confluent_kafka import TopicPartition

import db
from benchmarks.soak_checks import seen, wrong_rows
from benchmarks.soak_plant import DAY, HISTORY_DAYS, HOUR, LOADS, START, write_plant
from vpp.schedule.battery import Battery
from vpp.storage.rows import select_rows
from vpp.stream.kafka import close, kafka_settings, new_consumer, new_producer, topic_names

KEPT, STEPS = "soak.pkl", "steps.jsonl"  # in the folder: all that a next run must know
CARRIED = ("values", "truth", "kept", "told", "deaths", "fixes", "memory", "parts", "wall_min")


@dataclass
class Soak:
    """A replay.

    Parameters
    ----------
    folder : of its files.
    days : so many days are replayed [d].
    speed : times the wall's clock.
    every_min : from one plan to the next [min].
    kills, late, corrected : how many processes are killed, values come late, and are corrected.
    silent_h : `load-2` sends nothing for so long in the middle [h].
    train_h : models are trained each so many hours [h]; 0: never.
    seed : of all that is random.
    step_min : length of an interval of the loads, the plans and the device [min].
    minutes : it stops after so long on the wall [min]; None: at its end.
    servers : sections of the configuration that name other servers than its own.
    """

    folder: Path
    days: int
    speed: float
    every_min: int = 60
    kills: int = 0
    late: int = 0
    corrected: int = 0
    silent_h: int = 0
    train_h: int = 0
    seed: int = 1
    step_min: int = 60
    minutes: float | None = None
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.step = pd.Timedelta(minutes=self.step_min)
        self.begin = START + pd.Timedelta(days=HISTORY_DAYS)
        self.end = self.begin + pd.Timedelta(days=self.days)
        # of each step the run_id of its plan or None, what the battery moved at its terminals
        # [kWh], and the energy left in it [kWh]
        self.steps: list[tuple[str | None, float, float]] = []
        self.memory: dict[tuple[int, int], list[float]] = {}
        self.processes: list[subprocess.Popen] = []
        self.logs: dict[subprocess.Popen, Path] = {}
        self.kept: list[tuple[pd.Timestamp, str, float]] = []  # values that come late
        self.told: list[tuple[pd.Timestamp, str, float]] = []  # what was sent late or corrected
        self.seen: set[tuple[pd.Timestamp, str]] = set()  # rows that Kafka has
        self.parts, self.wall_min = 1, 0.0
        self.path = self.folder / "config.ini"
        self.config = write_plant(self)
        span = (self.end - self.begin) / max(self.kills + 1, 1)
        self.deaths = [self.begin + (n + 1) * span for n in range(self.kills)]
        # half of the corrections come just before a kill, in rows that may wait still
        others = max(self.corrected - len(self.deaths[::2]), 0)
        self.fixes = sorted(
            self.deaths[::2][: self.corrected]
            + [self.begin + self.days * DAY * (n + 1) / (others + 2) for n in range(others)]
        )
        if (self.folder / KEPT).exists():
            vars(self).update(pickle.loads((self.folder / KEPT).read_bytes()))
            self.parts += 1

    def begin_process(self) -> subprocess.Popen:
        """Begin `pipeline.py operate`, with a log of its own in the folder."""
        words = [sys.executable, str(ROOT / "pipeline.py"), "--config", str(self.path), "operate"]
        words += ["--clock", "data", "--from", self.start.isoformat(), "--speed", str(self.speed)]
        path = self.folder / f"operate-{self.parts}-{len(self.logs)}.log"
        with path.open("w") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        self.logs[process] = path
        return process

    def run(self) -> dict[str, object]:
        """Replay all of it; returns what was seen."""
        stop, began, before = threading.Event(), time.monotonic(), self.wall_min
        self._end_others()
        try:
            with db.session(self.config) as conn:
                self.start = self._clock_before(conn) or self.begin
                self.processes = [self.begin_process()]
                while not self._now(conn):
                    time.sleep(0.2)
            self.processes.append(self.begin_process())
            device = threading.Thread(target=self._device, args=[stop], daemon=True)
            device.start()
            self._disturb(began)
            self.wall_min = before + (time.monotonic() - began) / 60
            stop.set()
            device.join(30)
            codes = self._end()
            self._keep()
            return seen(self, codes)
        finally:
            stop.set()
            for process in self.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()

    def _now(self, conn: Any) -> pd.Timestamp | None:
        """The plant's clock; None where none of our processes has begun it."""
        query = """
            SELECT leader, clock_time + (clock_timestamp() - beat_at) * speed AS now
            FROM operations"""
        rows = select_rows(conn, query)
        conn.commit()
        own = {str(process.pid) for process in self.logs}
        if not rows or rows[0]["leader"].rpartition(" ")[2] not in own:
            return None
        return pd.Timestamp(rows[0]["now"]).tz_convert("UTC")

    def _clock_before(self, conn: Any) -> pd.Timestamp | None:
        """Where the clock of the run before stood; None for a first run."""
        rows = select_rows(conn, "SELECT clock_time FROM operations")
        conn.commit()
        return pd.Timestamp(rows[0]["clock_time"]).tz_convert("UTC") if rows else None

    def _end_others(self) -> None:
        """End the processes of a run that was killed."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                words = path.read_bytes().split(b"\0")
                if b"operate" in words and str(self.path).encode() in words:
                    os.kill(int(path.parent.name), signal.SIGKILL)

    def _keep(self) -> None:
        """Keep what a next run must know."""
        part = self.folder / f"{KEPT}.part"
        part.write_bytes(pickle.dumps({name: vars(self)[name] for name in CARRIED}))
        part.replace(self.folder / KEPT)

    def _device(self, stop: threading.Event) -> None:
        """Do in each step what the newest plan says for it, and tell the SOC at its end."""
        battery = Battery.of(self.config.batteries[0])
        path = self.folder / STEPS
        if path.exists():
            self.steps = [tuple(json.loads(line)) for line in path.read_text().splitlines()]
        if self.steps:
            battery = replace(battery, energy_kwh=self.steps[-1][2])
        query = """
            SELECT run_id, charge_kw - discharge_kw AS power_kw FROM battery_states
            JOIN schedule_runs USING (run_id)
            WHERE battery_states.kind = 'planned' AND schedule_runs.kind = 'plan' AND time = %s
            ORDER BY created_at DESC LIMIT 1"""
        hours = self.step_min / 60
        with db.session(self.config) as conn, path.open("a") as log:
            self._tell(conn, battery.soc)  # a run that was killed may not have told its last one
            while not stop.wait(0.1):
                now = self._now(conn)
                while now is not None and self.done + self.step <= min(now, self.end):
                    found = select_rows(conn, query, (self.done.to_pydatetime(),))
                    power = found[0]["power_kw"] if found else 0.0  # idle without a set-point
                    step = battery.step(power, hours)
                    battery = step.battery
                    moved_kwh = (step.charge_kw - step.discharge_kw) * hours
                    run_id = found[0]["run_id"] if found else None
                    self.steps.append((run_id, moved_kwh, battery.energy_kwh))
                    log.write(json.dumps(self.steps[-1]) + "\n")
                    log.flush()
                    self._tell(conn, battery.soc)

    @property
    def done(self) -> pd.Timestamp:
        """The start of the device's next step."""
        return self.begin + len(self.steps) * self.step

    def _tell(self, conn: Any, soc: float) -> None:
        """Store the SOC at the end of the device's last step."""
        if self.steps:
            row = {"battery_id": "store", "kind": "measured", "soc": soc}
            db.save_battery_states(conn, pd.DataFrame([row | {"time": self.done}]))
            conn.commit()

    def _disturb(self, began: float) -> None:
        """Kill processes, send late and corrected values, until the clock has passed all."""
        self.producer = new_producer(kafka_settings(self.config), 30, Counter[str]())
        watch, topic = new_consumer(kafka_settings(self.config), "watch"), self._topic()
        numbers = watch.list_topics(topic).topics[topic].partitions
        places = [TopicPartition(topic, number) for number in numbers]
        for place in places:
            place.offset = watch.get_watermark_offsets(place)[0]
        watch.assign(places)
        for told in self.told[-3:]:  # a run that was killed may not have sent them
            self._send(*told)
        with db.session(self.config) as conn:
            while True:
                for message in watch.consume(10_000, 0.01):
                    if message.error() is None:
                        record = json.loads(message.value())
                        self.seen.add((pd.Timestamp(record["time"]), record["source_id"]))
                now = self._now(conn)
                self._look_at_memory(conn)
                is_late = time.monotonic() - began > 60 * (self.minutes or math.inf)
                if is_late or (now is not None and now >= self.end + 3 * HOUR):
                    break
                if now is not None:
                    self._change(now)
                time.sleep(0.3)
            self.now, until = now or self.end, time.monotonic() + 60
            while wrong_rows(self, conn) and time.monotonic() < until:  # the last rows are stored
                time.sleep(0.5)
        close(watch)

    def _change(self, now: pd.Timestamp) -> None:
        """What is due: late and corrected values, and kills."""
        while self.kept and self.kept[0][0] + 8 * HOUR < now:
            self._tell_all(self.kept.pop(0))
        while self.fixes and self.fixes[0] < now:
            self.fixes.pop(0)
            waits, known = {item[:2] for item in self.kept}, {item[:2] for item in self.told}
            rows = [key for key in self.seen - waits - known if key[1] == LOADS[0]]
            if not rows:  # Kafka has nothing that was not corrected
                self.fixes.insert(0, now + HOUR)
                break
            key = max(rows)  # the newest: it may wait to be stored
            self.values[key] += 7.0
            self.truth[key] += 7.0
            self._tell_all((*key, self.values[key]))
        if self.deaths and self.deaths[0] < now:
            self.deaths.pop(0)
            place = self.random.randrange(2)
            self.processes[place].kill()
            self.processes[place].wait()
            self.processes[place] = self.begin_process()
            self._keep()

    def _tell_all(self, row: tuple[pd.Timestamp, str, float]) -> None:
        """Send a value, of which a next run knows before."""
        self.told.append(row)
        self._keep()
        self._send(*row)

    def _topic(self) -> str:
        return topic_names(self.config)["load"]

    def _send(self, at: pd.Timestamp, name: str, value: float) -> None:
        record = {"source_id": name, "time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "power_kw": value}
        self.producer.produce(self._topic(), json.dumps(record).encode(), name)
        self.producer.flush(30)

    def _look_at_memory(self, conn: Any) -> None:
        """Of the process that leads; a standby has not loaded what a leader needs."""
        rows = select_rows(conn, "SELECT leader FROM operations")
        conn.commit()
        pid = int(rows[0]["leader"].rpartition(" ")[2] or 0) if rows else 0
        with suppress(OSError, IndexError), open(f"/proc/{pid}/statm") as file:
            pages = int(file.read().split()[1])
            mb = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
            self.memory.setdefault((self.parts, pid), []).append(mb)

    def _end(self) -> list[int]:
        """Ask both to end; one that has just begun is asked when it hears it."""
        for process in self.processes:
            until = time.monotonic() + 60
            while "lead" not in self.logs[process].read_text() and time.monotonic() < until:
                time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
        return [process.wait(60) for process in self.processes]
