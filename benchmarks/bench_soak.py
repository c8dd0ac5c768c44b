"""A past is replayed through the whole plant, with kills; then plans, rows and memory are checked.

    python benchmarks/bench_soak.py [--days 14] [--speed 1800] [--every-min 60] [--step-min 60]
                                    [--kills 6] [--late 20] [--corrected 10] [--silent-h 72]
                                    [--train-h 168] [--twice] [--seed N]
                                    [--folder FOLDER] [--minutes N]

Synthetic rows go as the clock passes them through Kafka and the sink of `pipeline.py operate` into
the database. Of two such processes one leads. A simulated device does what the newest plan says for
each step, and its state comes back as measured. Meanwhile a random process is killed with -9 and
begun again, values come late or corrected, some of them while they wait in Kafka and the leader is
killed, and a load is silent for hours. Then must hold: no plan missing for more than 2 periods,
each step obeyed by a plan made before its end, each plan from a state that was there, all rows in
the database with their newest values, and both processes ended by SIGTERM with 0. The ledger must
equal a recomputation from rows and measured states to 0.01 EUR. `--twice` replays it without the
faults first, and the savings with them must be 0.97 of those without. Models are trained every
`--train-h` hours. Memory is the last tenth over the second tenth, of each process that leads at
least half as long as the one that leads longest. Runs on embedded servers of its own in a temporary
folder; exit 1 if something does not hold. The device reads the plan from the database.

With `--folder` all is kept there, and the same command goes on where it was stopped or killed.
`--minutes` stops after so long on the wall, and checks what was replayed until then.
"""

import argparse
import json
import math
import os
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import pandas as pd
from confluent_kafka import TopicPartition

import db
import embedded
from sources import Source, write_sources
from vpp.planning.ledger import read_ledger, update_ledger
from vpp.runtime.config import load_config
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows
from vpp.schedule.battery import Battery
from vpp.storage.rows import select_rows
from vpp.stream.kafka import close, kafka_settings, new_consumer, new_producer, topic_names

START, HISTORY_DAYS = pd.Timestamp("2025-03-12T00:00Z"), 10  # a day of 23 hours is among them
PLACE = (49.6, 6.1, "Europe/Brussels")
LOADS = ("load-1", "load-2")
HOUR = pd.Timedelta(hours=1)
LEFT_EUR_PER_KWH = 0.2  # value of the energy left at the end, fixed beforehand
DAY = pd.Timedelta(days=1)
KEPT, STEPS = "soak.pkl", "steps.jsonl"  # in the folder: all that a next run must know
CARRIED = ("values", "truth", "kept", "told", "deaths", "fixes", "memory", "parts", "wall_min")
LEAST_SHARE = 0.97  # of the savings without faults


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
        self.config = self._write()
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

    def _write(self) -> Config:
        """Configuration and CSV files; `self.values` is what the database must hold in the end."""
        sections: dict[str, dict[str, Any]] = {
            "paths": {"data_dir": self.folder / "data", "state_dir": self.folder / "state"},
            "site": {"holidays_country": ""},
            "training": {"jobs": 1, "models": "hourly_ridge, seasonal_naive", "trials": 1},
            "grid": {"import_fee_eur_per_mwh": 0},
            "tariff": {"import_eur_per_mwh": "300 06:00-20:00; 150", "export_eur_per_mwh": "50"},
            "operation": {"plan_every_min": self.every_min, "retrain_every_h": self.train_h},
            "battery:store": {"capacity_kwh": 400, "charge_kw": 100, "discharge_kw": 100},
        } | self.servers
        text = [
            line
            for name, values in sections.items()
            for line in (f"[{name}]", *(f"{key} = {value}" for key, value in values.items()))
        ]
        self.path.write_text("\n".join(text) + "\n")
        config = load_config(self.path)
        config.paths.data_dir.mkdir(parents=True, exist_ok=True)
        loads = [
            Source(name, "load", name, "site-1", 500.0, self.step_min, *PLACE, {}) for name in LOADS
        ]
        write_sources(config.paths.data_dir / "sources.csv", loads)
        index = pd.date_range(START, self.end, freq=self.step, inclusive="left")
        noise = np.random.default_rng(self.seed).normal(0, 5, (2, len(index)))
        shape = 100 + 40 * np.sin(np.arange(len(index)) * (self.step / DAY) * 2 * np.pi)
        self.values = {
            (time, name): round(float(value), 1)
            for name, row in zip(LOADS, shape + noise, strict=True)
            for time, value in zip(index, row, strict=True)
        }
        self.truth = dict(self.values)
        middle = self.begin + (self.end - self.begin) / 2
        silent = {
            (time, "load-2") for time in index if middle <= time < middle + self.silent_h * HOUR
        }
        replayed = [key for key in self.values if key[0] >= self.begin and key not in silent]
        for key in silent:
            del self.values[key]
        early = [key for key in replayed if key[0] < self.end - 12 * HOUR]
        chosen = self.random.sample(early, min(self.late, len(early)))
        self.kept = sorted((time, name, self.values[time, name]) for time, name in chosen)
        rows = [
            (f"{time:%Y-%m-%dT%H:%M:%SZ}", name, value)
            for (time, name), value in sorted(self.values.items())
            if (time, name) not in set(chosen)
        ]
        frame = pd.DataFrame(rows, columns=["time", "source_id", "power_kw"])
        frame.to_csv(config.paths.data_dir / "load.csv", index=False)
        return config

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
            return self._seen(codes)
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
            while self._wrong(conn) and time.monotonic() < until:  # the last rows are stored
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

    def _wrong(self, conn: Any) -> list[str]:
        """Rows that are missing, have another value, or should not be there, in words."""
        stored = select_rows(conn, "SELECT time, source_id, power_kw FROM load")
        conn.commit()
        found = {(pd.Timestamp(row["time"]), row["source_id"]): row["power_kw"] for row in stored}
        # of a run that was stopped, what its clock has passed and what was not kept back
        late = {item[:2] for item in self.kept}
        due = {key for key in self.values if key[0] + 2 * self.step < self.now} - late
        wrong = [key for key in due if found.get(key) != self.values[key]]
        wrong += [key for key in found if key not in self.values]
        return [
            f"{name} at {time} is {found.get((time, name))}, not {self.values.get((time, name))}"
            for time, name in sorted(wrong)
        ]

    def _seen(self, codes: list[int]) -> dict[str, object]:
        """Figures, and `faults`: in words, all that does not hold."""
        query = "SELECT run_id, issue_time, made_from FROM schedule_runs WHERE kind = 'plan'"
        with db.session(self.config) as conn:
            booked = self._booked(conn)
            plans = pd.DataFrame(select_rows(conn, f"{query} ORDER BY issue_time"))
            wrong = self._wrong(conn)
            rows = select_rows(conn, "SELECT count(*) AS n FROM load")[0]["n"]
        if plans.empty:
            return {"rows": rows, "faults": ["no plan was made"]}
        gaps = plans["issue_time"].diff().dropna() / pd.Timedelta(minutes=self.every_min)
        kinds = Counter(plan["states"][0]["kind"] for plan in plans["made_from"])
        longest = max(self.memory.values(), key=len, default=[0.0])
        ratios = [growth(each) for each in self.memory.values() if 2 * len(each) >= len(longest)]
        query = "SELECT count(DISTINCT model_version) AS n FROM forecast_runs"
        with db.session(self.config) as conn:
            trained = select_rows(conn, query)[0]["n"]
        faults = [f"exit code {code}" for code in codes if code]
        if abs(booked["apart_eur"]) > 0.01 * booked["months"]:
            faults.append(f"the ledger is {booked['apart_eur']:.2f} EUR off")
        faults += [f"{len(wrong)} rows are wrong, such as {wrong[0]}"] if wrong else []
        if gaps.max() > 3:
            faults.append(f"{gaps.max() - 1:.0f} plans are missing in a row")
        traces = [
            path.name for path in self.folder.glob("*.log") if "Traceback" in path.read_text()
        ]
        faults += [f"traceback in {name}" for name in traces]
        return {
            "days": round(min(self.now - self.begin, self.end - self.begin) / DAY, 1),
            "parts": self.parts,
            "plans": len(plans),
            "longest_gap_periods": float(gaps.max()),
            "starts": dict(kinds),
            "steps": len(self.steps),
            "steps_obeyed": sum(run_id is not None for run_id, *_ in self.steps),
            "rows": rows,
            **booked,
            "saved_eur": round(self.saved_eur(), 2),
            "memory_mb": round(float(np.median(longest)), 1),
            "memory_ratio": round(max(ratios, default=0.0), 3),
            "trained": trained,
            "minutes": round(self.wall_min, 1),
            "faults": faults,
        }

    def _booked(self, conn: Any) -> dict[str, float]:
        """The ledger's sum, and how far it is from what rows and measured states say."""
        update_ledger(conn, self.config)
        ledger = read_ledger(conn, self.config.site)
        ledger = ledger[ledger["done"] == "measured"]
        # an hour of which a meter is missing is booked with what stands in for it
        query = "SELECT time, sum(power_kw) AS kw FROM load GROUP BY 1 HAVING count(*) = %s"
        rows = select_rows(conn, query, (len(LOADS),))
        load = {pd.Timestamp(row["time"]): row["kw"] for row in rows}
        query = "SELECT time, soc FROM battery_states WHERE kind = 'measured'"
        soc = {pd.Timestamp(row["time"]): row["soc"] for row in select_rows(conn, query)}
        conn.commit()
        own, known = self.config.batteries[0], 0
        found = booked = 0.0
        for at, row in ledger.iterrows():
            if at not in soc or at + self.step not in soc or at not in load:
                continue
            moved = (soc[at + self.step] - soc[at]) * own.capacity_kwh
            moved = moved / own.eta_charge if moved > 0 else moved * own.eta_discharge
            found += price_eur(at, load[at] * self.step_min / 60 + moved)
            booked += row["energy_eur"]
            known += 1
        return {
            "booked": known,
            "ledger_eur": round(booked, 2),
            "apart_eur": round(booked - found, 4),
            "months": max(1, round(self.days / 30)),
        }

    def saved_eur(self) -> float:
        """By what the battery did, at the true loads, beside a plant without it."""
        start = Battery.of(self.config.batteries[0]).energy_kwh
        times = pd.date_range(self.begin, periods=len(self.steps), freq=self.step)
        saved = (self.steps[-1][2] - start) * LEFT_EUR_PER_KWH if self.steps else 0.0
        for at, (_, moved, _) in zip(times, self.steps, strict=True):
            load = sum(self.truth[at, name] for name in LOADS) * self.step_min / 60
            saved += price_eur(at, load) - price_eur(at, load + moved)
        return saved


def growth(memory: list[float]) -> float:
    """Last tenth over second tenth of a process's memory [fraction]."""
    tenth = max(1, len(memory) // 10)
    early = memory[tenth : 2 * tenth] or memory
    return float(np.median(memory[-tenth:]) / np.median(early))


def price_eur(time: pd.Timestamp, energy_kwh: float) -> float:
    """Cost of an hour's import, by the tariff of the replay [EUR]; an export is paid for."""
    by_day = 6 <= time.tz_convert(PLACE[2]).hour < 20
    return energy_kwh / 1000 * ((300 if by_day else 150) if energy_kwh > 0 else 50)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    numbers = {"--days": 14, "--every-min": 60, "--step-min": 60, "--kills": 6, "--late": 20}
    numbers |= {"--corrected": 10}
    for name, default in (numbers | {"--silent-h": 72, "--train-h": 168, "--seed": 1}).items():
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--speed", type=float, default=1800.0)
    parser.add_argument("--twice", action="store_true", help="without the faults, too")
    parser.add_argument("--folder", type=Path, help="where all is kept; it goes on there")
    parser.add_argument("--minutes", type=float, help="stops after so long on the wall [min]")
    return parser


def replayed(kept: Path | None, **events: Any) -> dict[str, Any]:
    """One replay, in a folder of its own unless all is kept."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
    with nullcontext(kept) if kept is not None else tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder).resolve(), **events)
        try:
            return soak.run()
        finally:
            embedded.stop(soak.config.paths.state_dir, delete=kept is None)


def main(argv: Sequence[str] | None = None) -> int:
    args = vars(build_parser().parse_args(argv))
    seen, folder = [], args.pop("folder")
    if args.pop("twice"):
        calm = args | {"kills": 0, "late": 0, "corrected": 0, "silent_h": 0}
        seen.append({"faults": [], **replayed(folder and folder / "calm", **calm)})
    seen.append(replayed(folder and folder / "faults", **args))
    faults = [fault for row in seen for fault in row.pop("faults")]
    if len(seen) == 2:
        share = seen[1]["saved_eur"] / seen[0]["saved_eur"]
        seen = [row | {"share": share} for row in seen]
        if share < LEAST_SHARE:
            faults.append(f"with faults only {share:.3f} of the savings is left")
    print_rows(seen)
    for fault in faults:
        print(f"does not hold: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
