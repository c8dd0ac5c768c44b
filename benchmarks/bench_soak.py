"""A past is replayed through the whole plant, with kills; then plans, rows and memory are checked.

    python benchmarks/bench_soak.py [--days 14] [--speed 1800] [--every-min 60] [--kills 6]
                                    [--late 20] [--corrected 10] [--silent-h 72]
                                    [--train-h 168] [--twice] [--seed N]

Synthetic rows go as the clock passes them through Kafka and the sink of `pipeline.py operate` into
the database. Of two such processes one leads. A simulated device does what the newest plan says for
each step, and its state comes back as measured. Meanwhile a random process is killed with -9 and
begun again, values come late or corrected, and a load is silent for hours. Then must hold: no plan
missing for more than 2 periods, each step obeyed once and by a plan made before its end, each plan
from a state that was there, all rows in the database with their newest values, and both processes
ended by SIGTERM with 0. The ledger must equal a recomputation from rows and measured states to
0.01 EUR. `--twice` replays it without the faults first, and the savings with them must be 0.97 of
those without. Models are trained every `--train-h` hours. Memory is the last tenth over the second
tenth, of each process that leads at least half as long as the one that leads longest. Runs on
embedded servers of its own in a temporary folder; exit 1 if something does not hold. The device
reads the plan from the database.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import pandas as pd

import db
import embedded
from sources import Source, write_sources
from vpp.planning.ledger import read_ledger, update_ledger
from vpp.runtime.config import load_config
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows
from vpp.schedule.battery import Battery
from vpp.storage.jobs import read_clock
from vpp.storage.rows import select_rows
from vpp.stream.kafka import kafka_settings, new_producer, topic_names

START, HISTORY_DAYS = pd.Timestamp("2025-03-12T00:00Z"), 10  # a day of 23 hours is among them
PLACE = (49.6, 6.1, "Europe/Brussels")
LOADS = ("load-1", "load-2")
HOUR = pd.Timedelta(hours=1)
LEFT_EUR_PER_KWH = 0.2  # value of the energy left at the end, fixed beforehand
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
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.begin = START + pd.Timedelta(days=HISTORY_DAYS)
        self.end = self.begin + pd.Timedelta(days=self.days)
        self.obeyed: list[tuple[pd.Timestamp, str]] = []
        self.moved_kwh: list[float] = []  # by the battery in each step, at its terminals
        self.memory: dict[int, list[float]] = {}
        self.processes: list[subprocess.Popen] = []
        self.left_kwh = 0.0
        self.kept: list[tuple[pd.Timestamp, str, float]] = []  # values that come late
        self.path = self.folder / "config.ini"
        self.config = self._write()

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
        config.paths.data_dir.mkdir(parents=True)
        loads = [Source(name, "load", name, "site-1", 500.0, 60, *PLACE, {}) for name in LOADS]
        write_sources(config.paths.data_dir / "sources.csv", loads)
        index = pd.date_range(START, self.end, freq="h", inclusive="left")
        noise = np.random.default_rng(self.seed).normal(0, 5, (2, len(index)))
        shape = 100 + 40 * np.sin(np.arange(len(index)) / 24 * 2 * np.pi)
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

    def begin_process(self, number: int) -> subprocess.Popen:
        """Begin `pipeline.py operate`; its log grows in the folder."""
        words = [sys.executable, str(ROOT / "pipeline.py"), "--config", str(self.path), "operate"]
        words += ["--clock", "data", "--from", self.begin.isoformat(), "--speed", str(self.speed)]
        with (self.folder / f"operate-{number}.log").open("a") as log:
            return subprocess.Popen(words, stdout=log, stderr=log)

    def run(self) -> dict[str, object]:
        """Replay all of it; returns what was seen."""
        self.processes = [self.begin_process(0)]
        stop = threading.Event()
        try:
            with db.session(self.config) as conn:
                while not self._now(conn):
                    time.sleep(0.2)
            self.processes.append(self.begin_process(1))
            device = threading.Thread(target=self._device, args=[stop], daemon=True)
            device.start()
            self._disturb()
            codes = self._end()
            stop.set()
            device.join(30)
            return self._seen(codes)
        finally:
            stop.set()
            for process in self.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()

    def _now(self, conn: Any) -> pd.Timestamp | None:
        """The plant's clock; None where it does not run."""
        now = read_clock(conn, self.config.site.site_id)
        conn.commit()
        return now if now < self.end + pd.Timedelta(days=365) else None

    def _device(self, stop: threading.Event) -> None:
        """Do in each step what the newest plan says for it, and tell the SOC at its end."""
        battery, done = Battery.of(self.config.batteries[0]), self.begin
        query = """
            SELECT run_id, charge_kw - discharge_kw AS power_kw FROM battery_states
            JOIN schedule_runs USING (run_id)
            WHERE battery_states.kind = 'planned' AND schedule_runs.kind = 'plan' AND time = %s
            ORDER BY created_at DESC LIMIT 1"""
        with db.session(self.config) as conn:
            while not stop.wait(0.1):
                now = self._now(conn)
                while now is not None and done + HOUR <= min(now, self.end):
                    found = select_rows(conn, query, (done.to_pydatetime(),))
                    power = found[0]["power_kw"] if found else 0.0  # idle without a set-point
                    if found:
                        self.obeyed.append((done, found[0]["run_id"]))
                    step = battery.step(power, 1.0)
                    battery = step.battery
                    self.moved_kwh.append(step.charge_kw - step.discharge_kw)
                    self.left_kwh = battery.energy_kwh
                    done += HOUR
                    row = {"battery_id": "store", "kind": "measured", "soc": battery.soc}
                    db.save_battery_states(conn, pd.DataFrame([row | {"time": done}]))
                    conn.commit()

    def _disturb(self) -> None:
        """Kill processes, send late and corrected values, until the clock has passed all."""
        span = (self.end - self.begin) / max(self.kills + 1, 1)
        kills = [self.begin + (n + 1) * span for n in range(self.kills)]
        fixes = [self.begin + self.days * 24 * HOUR * (n + 1) / (self.corrected + 2)
                 for n in range(self.corrected)]  # fmt: skip
        failures = Counter[str]()
        producer = new_producer(kafka_settings(self.config), 30, failures)
        with db.session(self.config) as conn:
            while True:
                now = self._now(conn)
                self._look_at_memory(conn)
                if now is not None and now >= self.end + 3 * HOUR:
                    break
                while now is not None and self.kept and self.kept[0][0] + 8 * HOUR < now:
                    self._send(producer, *self.kept.pop(0))
                while now is not None and fixes and fixes[0] < now:
                    at = fixes.pop(0).floor("h") - 6 * HOUR
                    waits = any(item[:2] == (at, "load-1") for item in self.kept)
                    if waits or at < self.begin:  # the late value would be the newest
                        continue
                    if not self._is_stored(conn, at):  # the plant is behind: it is corrected later
                        fixes.insert(0, now + HOUR)
                    else:
                        self.values[at, "load-1"] += 7.0
                        self.truth[at, "load-1"] += 7.0
                        self._send(producer, at, "load-1", self.values[at, "load-1"])
                if now is not None and kills and kills[0] < now:
                    kills.pop(0)
                    place = self.random.randrange(2)
                    self.processes[place].kill()
                    self.processes[place].wait()
                    self.processes[place] = self.begin_process(place)
                time.sleep(0.3)
            time.sleep(5)  # the last rows are stored

    def _is_stored(self, conn: Any, at: pd.Timestamp) -> bool:
        query = "SELECT 1 FROM load WHERE source_id = 'load-1' AND time = %s"
        found = select_rows(conn, query, (at.to_pydatetime(),))
        conn.commit()
        return bool(found)

    def _send(self, producer: Any, at: pd.Timestamp, name: str, value: float) -> None:
        record = {"source_id": name, "time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "power_kw": value}
        producer.produce(topic_names(self.config)["load"], json.dumps(record).encode(), name)
        producer.flush(30)

    def _look_at_memory(self, conn: Any) -> None:
        """Of the process that leads; a standby has not loaded what a leader needs."""
        rows = select_rows(conn, "SELECT leader FROM operations")
        conn.commit()
        pid = int(rows[0]["leader"].split()[-1]) if rows else 0
        with suppress(OSError, IndexError), open(f"/proc/{pid}/statm") as file:
            pages = int(file.read().split()[1])
            mb = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
            self.memory.setdefault(pid, []).append(mb)

    def _end(self) -> list[int]:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        return [process.wait(60) for process in self.processes]

    def _seen(self, codes: list[int]) -> dict[str, object]:
        """Figures, and `faults`: in words, all that does not hold."""
        query = "SELECT run_id, issue_time, made_from FROM schedule_runs WHERE kind = 'plan'"
        with db.session(self.config) as conn:
            booked = self._booked(conn)
            plans = pd.DataFrame(select_rows(conn, f"{query} ORDER BY issue_time"))
            stored = select_rows(conn, "SELECT time, source_id, power_kw FROM load")
        found = {(pd.Timestamp(row["time"]), row["source_id"]): row["power_kw"] for row in stored}
        wrong = [key for key in self.values if found.get(key) != self.values[key]]
        wrong += [key for key in found if key not in self.values]
        if plans.empty:
            return {"rows": len(found), "faults": ["no plan was made"]}
        gaps = plans["issue_time"].diff().dropna() / pd.Timedelta(minutes=self.every_min)
        kinds = Counter(plan["states"][0]["kind"] for plan in plans["made_from"])
        longest = max(self.memory.values(), key=len, default=[0.0])
        ratios = [growth(each) for each in self.memory.values() if 2 * len(each) >= len(longest)]
        query = "SELECT count(DISTINCT model_version) AS n FROM forecast_runs"
        with db.session(self.config) as conn:
            trained = select_rows(conn, query)[0]["n"]
        steps = [time for time, _ in self.obeyed]
        faults = [f"exit code {code}" for code in codes if code]
        if abs(booked["apart_eur"]) > 0.01 * booked["months"]:
            faults.append(f"the ledger is {booked['apart_eur']:.2f} EUR off")
        faults += [f"{len(wrong)} rows are wrong, such as {wrong[0]}"] if wrong else []
        faults += ["a step was obeyed twice"] if len(set(steps)) < len(steps) else []
        if gaps.max() > 3:
            faults.append(f"{gaps.max() - 1:.0f} plans are missing in a row")
        traces = [
            path.name for path in self.folder.glob("*.log") if "Traceback" in path.read_text()
        ]
        faults += [f"traceback in {name}" for name in traces]
        return {
            "days": self.days,
            "plans": len(plans),
            "longest_gap_periods": float(gaps.max()),
            "starts": dict(kinds),
            "steps_obeyed": len(steps),
            "rows": len(found),
            **booked,
            "saved_eur": round(self.saved_eur(), 2),
            "memory_mb": round(float(np.median(longest)), 1),
            "memory_ratio": round(max(ratios, default=0.0), 3),
            "trained": trained,
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
            if at not in soc or at + HOUR not in soc or at not in load:
                continue
            moved = (soc[at + HOUR] - soc[at]) * own.capacity_kwh
            moved = moved / own.eta_charge if moved > 0 else moved * own.eta_discharge
            found += price_eur(at, load[at] + moved)
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
        times = pd.date_range(self.begin, periods=len(self.moved_kwh), freq="h")
        saved = (self.left_kwh - start) * LEFT_EUR_PER_KWH
        for at, moved in zip(times, self.moved_kwh, strict=True):
            load = sum(self.truth[at, name] for name in LOADS)
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
    numbers = {"--days": 14, "--every-min": 60, "--kills": 6, "--late": 20, "--corrected": 10}
    for name, default in (numbers | {"--silent-h": 72, "--train-h": 168, "--seed": 1}).items():
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--speed", type=float, default=1800.0)
    parser.add_argument("--twice", action="store_true", help="without the faults, too")
    return parser


def replayed(**events: Any) -> dict[str, Any]:
    """One replay in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), **events)
        try:
            began = time.monotonic()
            return soak.run() | {"minutes": round((time.monotonic() - began) / 60, 1)}
        finally:
            embedded.stop(soak.config.paths.state_dir, delete=True)


def main(argv: Sequence[str] | None = None) -> int:
    args = vars(build_parser().parse_args(argv))
    seen = []
    if args.pop("twice"):
        calm = args | {"kills": 0, "late": 0, "corrected": 0, "silent_h": 0}
        seen.append({"faults": [], **replayed(**calm)})
    seen.append(replayed(**args))
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
