"""A round of messages of one seed, the sinks that store them, and what must be left of them."""

import json
import random
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from kafka_server import KafkaServer

import db
from sources import Source
from vpp.runtime.config import load_config
from vpp.runtime.settings import EMBEDDED, Config
from vpp.site.kinds import KINDS, SERIES_KINDS
from vpp.stream import dead_letters, kafka, sink, topics

START = datetime(2025, 1, 1, tzinfo=UTC)
TIME = "%Y-%m-%dT%H:%M:%SZ"
SOURCES = [
    Source(f"{kind}-{n}", kind, kind, "site-1", capacity_kw, 60, 49.6, 6.1, "Europe/Brussels")
    for kind in SERIES_KINDS
    for capacity_kw in [None if kind == "market" else 1000.0]
    for n in range(4)
]


def power_message(time_text: str, value: object, source_id: str = "solar-1") -> bytes:
    return json.dumps({"source_id": source_id, "time": time_text, "power_kw": value}).encode()


def iso(hour: int) -> str:
    """The start of an hour from `START` on, as a message states it."""
    return (START + timedelta(hours=hour)).strftime(TIME)


def spoilt(message: bytes) -> tuple[bytes | None, ...]:
    """Ways in which a message is no record."""
    cut, naive, strange = message[:-5], message.replace(b"Z", b""), message.replace(b"-", b"+", 1)
    return b"", None, cut, naive, strange


def command(config: Config, *arguments: str) -> list[str]:
    """A command line of communication.py."""
    script = str(ROOT / "communication.py")
    return [sys.executable, script, "--config", str(config.path), *arguments]


def start_sink(config: Config) -> subprocess.Popen:
    """A sink in a process of its own."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command(config, "consume"), **quiet)


def wait_until_drained(config: Config, seconds: float) -> None:
    """Wait until the group is at the ends of its topics."""
    until = time.monotonic() + seconds
    observer = kafka.new_consumer(kafka.kafka_settings(config), config.kafka.group_id)
    known = observer.list_topics(timeout=5).topics
    names = kafka.topic_names(config).values()
    partitions = {name: sorted(known[name].partitions) for name in names}
    while any(item.unread for item in kafka.lags(observer, partitions)):
        assert time.monotonic() < until, f"not all is stored in {seconds} s"
        time.sleep(0.05)
    kafka.close(observer)


HOUR = "2025-01-01T00:00:00Z"
POISON = {  # kind of fault -> message of solar-1, part of the reason
    "not JSON": (b"{solar-1}", "not JSON"),
    "not UTF-8": (power_message(HOUR, 1).replace(b"solar-1", b"\xff\xfe"), "not JSON"),
    "wrong type": (
        power_message(HOUR, "12"),
        "wrong field: Expected `float`, got `str` - at `$.power_kw`",
    ),
    "NaN": (power_message(HOUR, float("nan")), "not JSON"),
    "infinity": (power_message(HOUR, float("inf")), "not JSON"),
    "1e400": (power_message(HOUR, 1).replace(b": 1}", b": 1e400}"), "out of range"),
    "naive time": (
        power_message("2025-01-01T00:00:00", 1),
        "wrong field: Expected `datetime` with a timezone component",
    ),
    "year 9999": (power_message("9999-12-31T00:00:00Z", 1), "time 9999-12-31T00:00:00Z is after"),
    "year 10000": (power_message("10000-01-01T00:00:00Z", 1), "wrong field: Invalid RFC3339"),
    "unknown source": (power_message(HOUR, 1, "solar-9"), "unknown source 'solar-9'"),
    "negative power": (power_message(HOUR, -50), "power_kw -50 is below"),
    "twice the capacity": (power_message(HOUR, 2000), "power_kw 2000 is above"),
    "empty": (b"", "empty message"),
    "null": (None, "null message"),
    "900 kB": (power_message(HOUR, 1, "x" * 900_000), "unknown source 'xxx"),
    "missing field": (
        json.dumps({"source_id": "solar-1", "time": HOUR}).encode(),
        "wrong field: Object missing required field `power_kw`",
    ),
}


class Round:
    """Messages of one seed, and what must be left of them; `kafka` is no embedded broker."""

    def __init__(self, config: Config, seed: int, kafka: KafkaServer | None = None):
        self.config, self.random, self.kafka = config, random.Random(seed), kafka
        # kind, source, time -> sent, sequence, value
        self.newest: dict[tuple[str, str, str], tuple[int, int, float]] = {}
        # topic, partition, offset -> part of the reason
        self.invalid: dict[tuple[str, int, int], str] = {}
        self.sequence = 0
        self.log: list[tuple] = []  # of `send`, as `produce` takes them
        self.processes: list[subprocess.Popen] = []
        with db.session(config) as conn:
            db.upsert_sources(conn, SOURCES)
        self.connect()

    def connect(self) -> None:
        """A producer for the broker as it is now."""
        settings, names = kafka.kafka_settings(self.config), kafka.topic_names(self.config)
        topics.ensure_topics(self.config.kafka, settings, list(names.values()), 20)
        settings |= {"enable.idempotence": True, "linger.ms": 5, "compression.type": "zstd"}
        self.producer = Producer(settings)

    def send(self, count: int) -> None:
        """So many messages.

        New keys, newer and older values of keys that were there, two in a hundred invalid.
        """
        for _ in range(count):
            self.sequence += 1
            kind = self.random.choice(SERIES_KINDS)
            name, hour = f"{kind}-{self.random.randrange(4)}", iso(self.random.randrange(300))
            value = round(self.random.uniform(0, 1000), 3)
            sent = 1_750_000_000_000 + self.sequence // 2 - self.random.choice((0, 0, 0, 0, 500))
            record = {"source_id": name, "time": hour, KINDS[kind].value: value}
            message, part, row = json.dumps(record).encode(), None, (kind, name, hour, value)
            if self.random.random() < 0.02:
                message, part, row = self.random.choice(spoilt(message)), "", None
            self.log.append((kind, message, name, part, sent, row))
            self.produce(*self.log[-1])
        assert self.producer.flush(30) == 0

    def produce(
        self,
        kind: str,
        message: bytes | None,
        key: str,
        part: str | None,
        sent_ms: int = 0,
        row: tuple[str, str, str, float] | None = None,
    ) -> None:
        """One message; `part` of the reason for which it will be refused, None for a good one.

        `sent_ms` 0 stands for now; the broker may have a clock of its own. `row` is what it says:
        kind, source, time and value.
        """
        sequence = self.sequence

        def report(error, delivered) -> None:
            if error is not None:
                raise RuntimeError(error)
            if row is not None:
                # Apache Kafka's own clock is ahead of sent_ms; the embedded broker says 1234
                counts_as = max(sent_ms, delivered.timestamp()[1])
                place, new = row[:3], (counts_as, sequence, row[3])
                self.newest[place] = max(self.newest.get(place, new), new)
            if part is not None:
                self.invalid[delivered.topic(), delivered.partition(), delivered.offset()] = part

        topic, more = kafka.topic_names(self.config)[kind], {"on_delivery": report}
        while True:
            try:
                self.producer.produce(topic, message, key, timestamp=sent_ms, **more)
                break
            except BufferError:
                self.producer.poll(0.01)
        self.producer.poll(0)

    def send_again(self) -> None:
        """All messages of `send` so far, each with the time at which it was sent first."""
        for message in list(self.log):
            self.sequence += 1
            self.produce(*message)
        assert self.producer.flush(30) == 0

    def wait_for_all(self, seconds: float = 90) -> None:
        """Wait until there are as many rows as keys, and the group is at the ends of its topics.

        So all dead letters have arrived, too: they do before the offsets of their batch.
        """
        until = time.monotonic() + seconds
        while self.count_rows() < len(self.newest):
            assert time.monotonic() < until, f"not all is stored in {seconds} s"
            time.sleep(0.05)
        wait_until_drained(self.config, seconds)

    def send_for(self, seconds: float) -> None:
        """Small lots of messages, one after the other."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.send(self.random.randrange(1, 200))
            time.sleep(0.02)

    def start_sink(self) -> subprocess.Popen:
        """A sink in a process of its own."""
        self.processes.append(start_sink(self.config))
        return self.processes[-1]

    def count_rows(self) -> int:
        with db.session(self.config) as conn:
            return sum(db.count_measurements(conn).values())

    def send_and_wait(self, count: int, before: int | None = None, seconds: float = 90) -> None:
        """Send messages and wait until there are more rows than before.

        A sink has joined its group and is at work.
        """
        before = self.count_rows() if before is None else before
        until = time.monotonic() + seconds
        self.send(count)
        while self.count_rows() <= before:
            assert time.monotonic() < until, f"no new rows in {seconds} s"
            time.sleep(0.05)

    def finish(self) -> str:
        """End the sinks as a service ends, store the rest, and compare; returns what was counted.

        Raises
        ------
        AssertionError : something was lost, doubled or overwritten by an older value.
        """
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes:
            assert process.wait(20) in (0, -signal.SIGKILL), process.returncode
        sink.run_sink(sink.Sink(self.config, until_drained=True))
        expected = {key: value for key, (_, _, value) in self.newest.items()}
        stored = {}
        with db.session(self.config) as conn:
            for source in SOURCES:
                for at, value in db.read_series(conn, source).items():
                    stored[source.kind, source.source_id, at.strftime(TIME)] = value
        differ = len(set(stored.items()) ^ set(expected.items()))
        assert not differ, f"{len(stored)} rows, expected {len(expected)}; {differ} differ"
        letters = dead_letters.read_dead_letters(self.config, kafka.kafka_settings(self.config))
        assert sorted(letter.origin[:3] for letter in letters) == sorted(self.invalid), (
            f"{len(letters)} dead letters, {len(self.invalid)} due"
        )
        parts = [(letter.error, self.invalid[letter.origin[:3]]) for letter in letters]
        wrong = [error for error, part in parts if part not in error]
        assert not wrong, f"{len(wrong)} dead letters with another reason, among them: {wrong[0]}"
        return f"{self.sequence} messages, {len(expected)} rows, {len(letters)} dead letters"

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def delete_topics(config: Config) -> None:
    """Delete the topics of a configuration, where the broker is no embedded one."""
    if config.kafka.bootstrap_servers == EMBEDDED:
        return
    client, prefix = AdminClient(kafka.kafka_settings(config)), config.kafka.topic_prefix
    names = [name for name in client.list_topics(timeout=30).topics if name.startswith(prefix)]
    for future in client.delete_topics(names).values() if names else ():
        future.result()


def new_config(folder: Path, number: int, address: str = EMBEDDED, batch_rows: int = 300) -> Config:
    """A configuration of one round.

    Small batches unless told otherwise, topics and group of its own on the embedded PostgreSQL of a
    folder, and on the broker of an address.
    """
    path = folder / f"round-{number}.ini"
    prefix = f"r{number}-" if address == EMBEDDED else f"r{number}-{uuid.uuid4().hex[:8]}-"
    path.write_text(
        f"[paths]\ndata_dir = {folder}/data\nstate_dir = {folder}/state\n"
        "[database]\nwait_s = 60\n"
        f"[kafka]\nbootstrap_servers = {address}\ntopic_prefix = {prefix}\n"
        f"group_id = {prefix}sink\nretention_h = 0\n"
        f"batch_rows = {batch_rows}\nbatch_s = 0.1\n"
    )
    return load_config(path, {})
