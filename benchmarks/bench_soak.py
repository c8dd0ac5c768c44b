"""A past is replayed through the whole plant, with kills; then plans, rows and memory are checked.

    python benchmarks/bench_soak.py [--days 14] [--speed 3600] [--kills 6] [--late 20]
                                    [--corrected 10] [--silent-h 72] [--train-h 168] [--synthetic]
                                    [--seed N] [--kafka] [--folder FOLDER] [--minutes N]

Luxembourg 2024 by quarter-hours (soak_site.py; `--synthetic`: two hourly loads) goes as the clock
passes it through Kafka and the sink of `pipeline.py operate` into the database. Of two such
processes one leads. Each set-point goes over a real mosquitto to a device (soak_device.py) that
obeys only what is valid; its acknowledgements and measured states come back the same way. Meanwhile
random processes are killed with -9 (soak_kills.py), values come late or corrected, some of them
while they wait in Kafka and a process is killed, and a meter is silent for hours. Models are
trained before it begins, and each `--train-h` hours. It prints each check with its figure; exit 1
if one does not hold. Savings are compared with those of the same plans, carried out from their
first second on. The ledger is computed again from rows and measured states. Memory is the last
tenth over the second tenth, of each process that leads at least half as long as the one that leads
longest; the first tenth of the replay does not count, in which the history fills that models read.
Runs on embedded servers of its own in a temporary folder; with `--kafka` on Apache Kafka.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]

import pandas as pd
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from kafka_server import LIBS, KafkaServer, fetch
from small_broker import PLACES, Broker, shutil
from soak_checks import check, checked, growth, wrong_rows
from soak_device import MeteredDevice
from soak_kills import end_others, kill_one
from soak_site import HOUR, Site, luxembourg, synthetic

import db
import embedded
from vpp.devices.topics import new_client, site_topics
from vpp.runtime.config import load_config
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows
from vpp.schedule.battery import Battery
from vpp.storage.jobs import STANDS_S
from vpp.storage.rows import select_rows
from vpp.stream.kafka import close, kafka_settings, new_consumer, new_producer, topic_names

KEPT = "soak.pkl"  # in the folder: all that a next run must know
CARRIED = ("kept", "told", "deaths", "fixes", "memory", "parts", "wall_min", "killed")
CLOCK_S = 0.01  # the device reads the plant's clock so often


@dataclass
class Soak:
    """A replay.

    Parameters
    ----------
    folder : of its files.
    site : what is replayed.
    speed : times the wall's clock.
    every_min : from one plan to the next [min].
    kills, late, corrected : how many processes are killed, values come late, and are corrected.
    silent_h : `load-2` sends nothing for so long in the middle [h].
    train_h : models are trained each so many hours [h]; 0: never.
    seed : of all that is random.
    minutes : it stops after so long on the wall [min]; None: at its end.
    servers : sections of the configuration that name other servers than its own.
    kafka : the broker, where it is not the embedded one.
    """

    folder: Path
    site: Site
    speed: float
    every_min: int = 60
    kills: int = 0
    late: int = 0
    corrected: int = 0
    silent_h: int = 0
    train_h: int = 0
    seed: int = 1
    minutes: float | None = None
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    kafka: KafkaServer | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.begin, self.end, self.step = self.site.begin, self.site.end, self.site.step
        self.memory: dict[tuple[int, int], list[float]] = {}
        self.processes: list[subprocess.Popen] = []
        self.logs: dict[subprocess.Popen, Path] = {}
        self.told: list[tuple[pd.Timestamp, str, float]] = []  # what was sent late or corrected
        self.seen: set[tuple[pd.Timestamp, str]] = set()  # rows that Kafka has
        self.parts, self.wall_min, self.killed = 1, 0.0, Counter[str]()
        self.path, self.broker = self.folder / "config.ini", Broker(self.folder / "mosquitto")
        # what the database must hold in the end, and what was true
        self.values, self.truth = self.site.powers, self.site.powers
        self.silent = self._silent()
        self.values = {key: value for key, value in self.values.items() if key not in self.silent}
        early = [
            key
            for key in self.values
            if self.begin <= key[0] < self.end - 12 * HOUR and is_load(key)
        ]
        chosen = self.random.sample(early, min(self.late, len(early)))
        self.kept = sorted((time, name, self.values[time, name]) for time, name in chosen)
        self.left_out = self.silent | {row[:2] for row in self.kept}
        span = (self.end - self.begin) / max(self.kills + 1, 1)
        self.deaths = [self.begin + (n + 1) * span for n in range(self.kills)]
        # half of the corrections come just before a kill, in rows that may wait still
        others = max(self.corrected - len(self.deaths[::2]), 0)
        whole = self.end - self.begin
        self.fixes = sorted(
            self.deaths[::2][: self.corrected]
            + [self.begin + whole * (n + 1) / (others + 2) for n in range(others)]
        )
        if (self.folder / KEPT).exists():
            vars(self).update(pickle.loads((self.folder / KEPT).read_bytes()))
            self.parts += 1
            for time_, name, value in self.told:
                self.values[time_, name] = self.truth[time_, name] = value
        self.config = self._configured()

    def _silent(self) -> set[tuple[pd.Timestamp, str]]:
        """The rows of the meter that is dead for a while."""
        middle = (self.begin + (self.end - self.begin) / 2).floor("h")
        return {
            (time, "load-2")
            for time, name in self.truth
            if name == "load-2" and middle <= time < middle + self.silent_h * HOUR
        }

    def _configured(self) -> Config:
        """The configuration, written."""
        sections: dict[str, dict[str, Any]] = {
            "paths": {"data_dir": self.folder / "data", "state_dir": self.folder / "state"},
            "site": {"holidays_country": ""},
            "training": {
                "jobs": 1,
                "models": "hourly_ridge, seasonal_naive",
                "trials": 1,
                "origins": 7,
                "history_days": 60,
            },
            "grid": {"import_fee_eur_per_mwh": 0},
            "operation": {"plan_every_min": self.every_min, "retrain_every_h": self.train_h},
            "mqtt": {"url": self.broker.url, "discovery_prefix": ""},
            **self.site.sections,
            **self.servers,
        }
        text = [
            line
            for name, values in sections.items()
            for line in (f"[{name}]", *(f"{key} = {value}" for key, value in values.items()))
        ]
        self.path.write_text("\n".join(text) + "\n")
        return load_config(self.path)

    def _prepare(self) -> None:
        """The data folder; before the first part the history is stored, and models are trained."""
        data = self.config.paths.data_dir
        if self.train_h and self.parts == 1:
            self.site.write(data, self.left_out, self.begin)
            issue = ["--issue-time", self.begin.isoformat()]
            for words in (["communication.py"], ["train_forecast.py", *issue]):
                with (self.folder / "prepare.log").open("a") as log:
                    command = [sys.executable, str(ROOT / words[0]), *words[1:]]
                    command += ["--config", str(self.path)]
                    subprocess.run(command, stdout=log, stderr=log, check=True)
        self.site.write(data, self.left_out)

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
        stop, before = threading.Event(), self.wall_min
        end_others(self.path)
        self._prepare()
        began = time.monotonic()
        try:
            self.broker.start()
            with db.session(self.config) as conn:
                self.start = self._clock_before(conn) or self.begin
                self.processes = [self.begin_process()]
                while not self._now(conn):
                    time.sleep(0.2)
            self.processes.append(self.begin_process())
            self.device = self._new_device()
            threads = [
                threading.Thread(target=work, args=[stop], daemon=True)
                for work in (self._follow_clock, self.device.work)
            ]
            for thread in threads:
                thread.start()
            self.device.client.loop_start()
            self._disturb(began)
            self.wall_min = before + (time.monotonic() - began) / 60
            stop.set()
            for thread in threads:
                thread.join(30)
            codes = self._end()
            self._keep()
            return self._seen(codes)
        finally:
            stop.set()
            for process in self.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
            self.broker.kill()

    def _now(self, conn: Any) -> pd.Timestamp | None:
        """The plant's clock; None where none of our processes has begun it."""
        query = """
            SELECT leader, clock_time + speed
                * least(clock_timestamp() - beat_at, make_interval(secs => %s)) AS now
            FROM operations"""
        rows = select_rows(conn, query, (STANDS_S,))
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

    def _keep(self) -> None:
        """Keep what a next run must know."""
        part = self.folder / f"{KEPT}.part"
        part.write_bytes(pickle.dumps({name: vars(self)[name] for name in CARRIED}))
        part.replace(self.folder / KEPT)

    def _new_device(self) -> MeteredDevice:
        """The device, by the plant's clock."""
        self.device_at = self.start.to_pydatetime()
        battery = self.config.batteries[0]
        client = new_client(self.config, "", is_kept=False)
        client.reconnect_delay_set(0.2, 1)
        base = site_topics(self.config).of(battery.battery_id, "x")[:-2]
        span = self.begin.to_pydatetime(), self.step.to_pytimedelta()
        mine = (client, base, Battery.of(battery), lambda: self.device_at)
        return MeteredDevice(*mine, *span, self.folder)

    def _follow_clock(self, stop: threading.Event) -> None:
        """Read the plant's clock for the device, which is never ahead of it."""
        while not stop.is_set():  # PostgreSQL may be killed
            with suppress(db.DatabaseError), db.session(self.config) as conn:
                while not stop.wait(CLOCK_S):
                    now = self._now(conn)
                    if now is not None:  # nor does it ever go back
                        self.device_at = max(self.device_at, now.to_pydatetime())

    def _disturb(self, began: float) -> None:
        """Kill processes, send late and corrected values, until the clock has passed all."""
        self.producer = new_producer(kafka_settings(self.config), 30, Counter[str]())
        watch, topic = new_consumer(kafka_settings(self.config), "watch"), self._topic()
        numbers = watch.list_topics(topic).topics[topic].partitions
        places = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]
        watch.assign(places)
        for told in self.told[-3:]:  # a run that was killed may not have sent them
            self._send(*told)
        is_over = False
        while not is_over:  # PostgreSQL may be killed
            with suppress(db.DatabaseError), db.session(self.config) as conn:
                is_over = self._watch(conn, watch, began)
        with db.session(self.config) as conn:
            until = time.monotonic() + 60  # the last rows are stored
            while wrong_rows(self, conn) and time.monotonic() < until:
                time.sleep(0.5)
        close(watch)

    def _watch(self, conn: Any, watch: Any, began: float) -> bool:
        """Look at messages, clock and memory, and disturb; returns True when all is over."""
        while True:
            for message in watch.consume(10_000, 0.01):
                if message.error() is None:
                    record = json.loads(message.value())
                    self.seen.add((pd.Timestamp(record["time"]), record["source_id"]))
            now = self._now(conn)
            if now is not None and now >= self.begin + (self.end - self.begin) / 10:
                self._look_at_memory(conn)
            is_late = time.monotonic() - began > 60 * (self.minutes or math.inf)
            if is_late or (now is not None and now >= self.end + 3 * HOUR):
                self.now = now or self.end
                return True
            if now is not None:
                self._change(now)
            time.sleep(0.3)

    def _change(self, now: pd.Timestamp) -> None:
        """What is due: late and corrected values, and kills."""
        while self.kept and self.kept[0][0] + 8 * HOUR < now:
            self._tell_all(self.kept.pop(0))
        while self.fixes and self.fixes[0] < now:
            self.fixes.pop(0)
            waits, known = {item[:2] for item in self.kept}, {item[:2] for item in self.told}
            rows = [key for key in self.seen - waits - known if key[1] == "load-1"]
            if not rows:  # Kafka has nothing that was not corrected
                self.fixes.insert(0, now + HOUR)
                break
            key = max(rows)  # the newest: it may wait to be stored
            self.values[key] = self.truth[key] = round(self.truth[key] + 7.0, 3)
            self._tell_all((*key, self.values[key]))
        if self.deaths and self.deaths[0] < now:
            self.deaths.pop(0)
            kill_one(self)
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

    def _seen(self, codes: list[int]) -> list[dict[str, Any]]:
        """The checks, with what was seen."""
        with db.session(self.config) as conn:
            rows = checked(self, conn)
            wrong = wrong_rows(self, conn)
            conn.commit()
        longest = max(self.memory.values(), key=len, default=[0.0])
        ratios = [growth(each) for each in self.memory.values() if 2 * len(each) >= len(longest)]
        traces = [
            path.name for path in self.folder.glob("*.log") if "Traceback" in path.read_text()
        ]
        failed = [f"exit code {code}" for code in codes if code] + traces
        rows += [
            check("rows that are missing or wrong", len(wrong), 0, wrong[:1]),
            check("memory, last tenth over second tenth", round(max(ratios, default=0), 3), 1.1),
            check("exit codes and tracebacks", len(failed), 0, failed[:1]),
        ]
        return rows


def is_load(key: tuple[pd.Timestamp, str]) -> bool:
    """Whether a row is of a load."""
    return key[1].startswith("load")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    numbers = {"--days": 14, "--every-min": 60, "--kills": 6, "--late": 20, "--corrected": 10}
    for name, default in (numbers | {"--silent-h": 72, "--train-h": 168, "--seed": 1}).items():
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--speed", type=float, default=3600.0)
    parser.add_argument("--synthetic", action="store_true", help="two hourly loads")
    parser.add_argument("--kafka", action="store_true", help="Apache Kafka is the broker")
    parser.add_argument("--folder", type=Path, help="where all is kept; it goes on there")
    parser.add_argument("--minutes", type=float, help="stops after so long on the wall [min]")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = vars(build_parser().parse_args(argv))
    kept, days, is_synthetic = args.pop("folder"), args.pop("days"), args.pop("synthetic")
    if not any(shutil.which("mosquitto", path=place) for place in PLACES):
        print("the broker mosquitto is missing; apt-get install mosquitto", file=sys.stderr)
        return 1
    try:
        site = synthetic(days, args["seed"]) if is_synthetic else luxembourg(days)
    except (OSError, ValueError) as error:
        print(f"{error}; see VPP_TEST_DATA, or take --synthetic", file=sys.stderr)
        return 1
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
    with nullcontext(kept) if kept is not None else tempfile.TemporaryDirectory() as name:
        folder, kafka = Path(name).resolve(), None
        if args["kafka"]:
            libs = Path(os.environ[LIBS]) if os.environ.get(LIBS) else fetch(folder)
            if libs is None:
                return 1
            kafka = KafkaServer(libs, folder / "kafka").start()
            args["servers"] = {"kafka": {"bootstrap_servers": kafka.address}}
        soak = Soak(folder, site, **args | {"kafka": kafka})
        try:
            rows = soak.run()
        finally:
            embedded.stop(soak.config.paths.state_dir, delete=kept is None)
            if kafka is not None:
                kafka.kill()
    print_rows(rows)
    return 0 if all(row["holds"] != "no" for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
