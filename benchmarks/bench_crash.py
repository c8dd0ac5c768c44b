"""Kill -9 in the middle of the stream, round after round; then count rows and dead letters.

    python benchmarks/bench_crash.py [--seed N] [--sink 20] [--postgres 5] [--producer 5]
                                     [--pair 5] [--host 5] [--power 5] [--stop 2] [--disk 5]
                                     [--slots 5] [--poison 1] [--fuzz 1]

Rounds: one sink killed and started again; PostgreSQL killed under a sink; `communication.py
produce` killed and run again; one of two sinks killed; the broker's host killed; everything killed
at once; one of two sinks stopped for a minute; a database without room on its disk, or without a
free connection; and without a kill, 100,000 messages of which 1,000 are bad in all ways of
`POISON`, each to be dead-lettered with its reason, and 200,000 random ones (fuzz.py). Each prints
its seed. After each, the rows must be the distinct keys with their newest values, and the dead
letters by origin the invalid messages. Runs on embedded servers of its own in a temporary folder;
exit 1 if a round fails. `--kafka` kills Apache Kafka instead (broker_kills.py).
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import psycopg2
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

import db
import embedded
from benchmarks import fuzz
from sources import Source, write_sources
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


def _power(time_text: str, value: object, source_id: str = "solar-1") -> bytes:
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
    "not UTF-8": (_power(HOUR, 1).replace(b"solar-1", b"\xff\xfe"), "not JSON"),
    "wrong type": (
        _power(HOUR, "12"),
        "wrong field: Expected `float`, got `str` - at `$.power_kw`",
    ),
    "NaN": (_power(HOUR, float("nan")), "not JSON"),
    "infinity": (_power(HOUR, float("inf")), "not JSON"),
    "1e400": (_power(HOUR, 1).replace(b": 1}", b": 1e400}"), "out of range"),
    "naive time": (
        _power("2025-01-01T00:00:00", 1),
        "wrong field: Expected `datetime` with a timezone component",
    ),
    "year 9999": (_power("9999-12-31T00:00:00Z", 1), "time 9999-12-31T00:00:00Z is after"),
    "year 10000": (_power("10000-01-01T00:00:00Z", 1), "wrong field: Invalid RFC3339"),
    "unknown source": (_power(HOUR, 1, "solar-9"), "unknown source 'solar-9'"),
    "negative power": (_power(HOUR, -50), "power_kw -50 is below"),
    "twice the capacity": (_power(HOUR, 2000), "power_kw 2000 is above"),
    "empty": (b"", "empty message"),
    "null": (None, "null message"),
    "900 kB": (_power(HOUR, 1, "x" * 900_000), "unknown source 'xxx"),
    "missing field": (
        json.dumps({"source_id": "solar-1", "time": HOUR}).encode(),
        "wrong field: Object missing required field `power_kw`",
    ),
}


class Round:
    """Messages of one seed, and what must be left of them."""

    def __init__(self, config: Config, seed: int):
        self.config, self.random = config, random.Random(seed)
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


def kill_sink(test: Round, sinks: int = 1) -> None:
    """One sink is killed at a random moment; where it is the only one, another is started."""
    running = [test.start_sink() for _ in range(sinks)]
    test.send_and_wait(500)
    test.send_for(test.random.uniform(0, 1.0))
    running[0].kill()
    if sinks == 1:
        test.start_sink()
    # more than the killed one can have stored with its last breath
    test.send_and_wait(500, before=len(test.newest))


def kill_postgres(test: Round) -> None:
    """PostgreSQL is killed at a random moment.

    Its daemon starts it again and the sink goes on by itself.
    """
    test.start_sink()
    test.send_and_wait(500)
    test.send_for(test.random.uniform(0, 1.0))
    kill_server(test)


def kill_producer(test: Round, sinks: int = 1) -> None:
    """`communication.py produce` is killed at a random moment and run again beside a sink."""
    rows, lines = 12_000, ["time,source_id,power_kw"]
    for n in range(rows):
        hour, name = iso(-1 - n // 4), f"load-{n % 4}"
        lines.append(f"{hour},{name},{n % 997}")
        test.newest["load", name, hour] = (2**60, 0, float(n % 997))
    folder = test.config.paths.data_dir
    folder.mkdir(exist_ok=True)
    write_sources(folder / "sources.csv", SOURCES)
    (folder / "load.csv").write_text("\n".join(lines))
    for _ in range(sinks):
        test.start_sink()
    test.send_and_wait(500)
    produce = command(test.config, "produce", "--topic", "load-topic")
    before = test.count_rows()
    first = subprocess.Popen(produce, stdout=subprocess.DEVNULL)
    test.processes.append(first)
    while test.count_rows() < before + rows // 100 and first.poll() is None:
        time.sleep(0.02)
    time.sleep(test.random.uniform(0, 0.3))
    first.kill()
    subprocess.run(produce, stdout=subprocess.DEVNULL, check=True)
    test.sequence += rows


def poison(test: Round, good: int = 99_000, bad: int = 1_000) -> None:
    """Bad messages of all kinds at random places among good ones."""
    test.start_sink()
    test.send_and_wait(500)  # a sink that is still starting would not end as a service does
    faults = [list(POISON.values())[number % len(POISON)] for number in range(bad)]
    messages = [*faults, *([None] * good)]
    test.random.shuffle(messages)
    hours = 0
    for fault in messages:
        test.sequence += 1
        if fault:
            test.produce("solar", fault[0], "solar-1", fault[1])
            continue
        hours += 1
        test.newest["solar", "solar-1", iso(-hours)] = (2**60, 0, hours % 1000.0)
        test.produce("solar", _power(iso(-hours), hours % 1000), "solar-1", None)
    assert test.producer.flush(60) == 0


def stop_sink(test: Round, seconds: float = 60) -> None:
    """One of two sinks is stopped for a minute, longer than its group waits, and goes on."""
    running = [test.start_sink() for _ in range(2)]
    test.send_and_wait(500)
    running[0].send_signal(signal.SIGSTOP)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        test.send_for(0.3)
        time.sleep(0.5)
    running[0].send_signal(signal.SIGCONT)
    test.send_for(1.0)


def kill_host(test: Round) -> None:
    """The broker's host is killed once all is stored; the embedded broker forgets its messages."""
    test.start_sink()
    test.send_and_wait(500)
    test.wait_for_all()
    kill_servers(test)
    test.invalid.clear()  # their dead letters are forgotten with the broker
    test.send_and_wait(500)


def cut_power(test: Round) -> None:
    """All is killed at a random moment, started again, and the producer sends its data again."""
    test.start_sink()
    test.send_and_wait(500)
    test.send_for(test.random.uniform(0, 1.0))
    test.processes[0].kill()
    kill_servers(test)
    test.start_sink()
    test.invalid.clear()
    test.send_again()
    test.send_and_wait(500)


def fill_disk(test: Round) -> None:
    """The database refuses rows for some seconds as it does on a full disk, by a trigger."""
    test.start_sink()
    test.send_and_wait(500)
    with db.session(test.config) as conn, conn.cursor() as cursor:
        cursor.execute("""
            CREATE OR REPLACE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE 'could not extend file: No space left on device'
                USING ERRCODE = 'disk_full'; END $$""")
        for table in ("renewables", "load", "market_prices"):
            cursor.execute(
                f"CREATE TRIGGER disk_full BEFORE INSERT ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION disk_full()"
            )
    test.send_for(test.random.uniform(1, 4))
    with db.session(test.config) as conn, conn.cursor() as cursor:
        cursor.execute("DROP FUNCTION disk_full() CASCADE")
    test.send_for(0.5)
    test.wait_for_all()


def take_slots(test: Round) -> None:
    """Others have all connections of the database while a sink is started, for some seconds."""
    url, held = embedded.ensure_running(test.config.paths.state_dir, 60).database_url, []
    try:
        while len(held) < 2_000:
            try:
                held.append(psycopg2.connect(url))
            except psycopg2.OperationalError:
                break
        test.start_sink()
        test.send_for(test.random.uniform(1, 4))
    finally:
        for conn in held:
            conn.close()
    test.wait_for_all()


def kill_servers(test: Round) -> None:
    """The daemon of the embedded servers is killed, and comes back at another address."""
    state = test.config.paths.state_dir
    before = embedded.ensure_running(state, 60)
    os.kill(int(embedded.find_places(state).lock.read_text()), signal.SIGKILL)
    while embedded.ensure_running(state, 60) == before:
        time.sleep(0.05)
    test.connect()


def fuzz_all(test: Round, count: int = 200_000) -> str:
    """Random bytes, keys, headers, times and codecs beside a sink: each message ends as it must."""
    return fuzz.run(test.config, SOURCES, test.random.randrange(10**6), count)


def kill_each(test: Round) -> None:
    """The producer, one of two sinks and PostgreSQL are killed, one after the other."""
    kill_producer(test, sinks=2)
    test.processes[0].kill()
    test.send_for(test.random.uniform(0, 0.5))
    kill_server(test)


def kill_server(test: Round) -> None:
    """PostgreSQL is killed; what comes after is stored all the same."""
    folder = embedded.find_places(test.config.paths.state_dir).postgres / "data"
    os.kill(int((folder / "postmaster.pid").read_text().split("\n")[0]), signal.SIGKILL)
    while not postgres_answers(test.config):
        time.sleep(0.05)
    test.send_and_wait(500)


def postgres_answers(config: Config) -> bool:
    """Whether a session can be opened now."""
    try:
        db.connect(config, 0.0).close()
    except db.DatabaseError:
        return False
    return True


SCENARIOS = {  # flag -> rounds by default, title, function and its arguments
    "sink": (20, "sink killed", kill_sink, {}),
    "postgres": (5, "PostgreSQL killed", kill_postgres, {}),
    "producer": (5, "producer killed", kill_producer, {}),
    "pair": (5, "one of two sinks killed", kill_sink, {"sinks": 2}),
    "host": (5, "broker's host killed", kill_host, {}),
    "power": (5, "power cut", cut_power, {}),
    "stop": (2, "sink stopped for a minute", stop_sink, {}),
    "disk": (5, "disk full", fill_disk, {}),
    "slots": (5, "no free connection", take_slots, {}),
    "poison": (1, "poison", poison, {}),
    "fuzz": (1, "fuzz", fuzz_all, {}),
}


def run_round(config: Config, seed: int, scenario, **arguments) -> str:
    """One round, independent of the others; returns what was counted."""
    with db.session(config) as conn:
        db.reset(conn)
    test = Round(config, seed)
    try:
        return scenario(test, **arguments) or test.finish()
    finally:
        test.stop()


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


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    for name, (count, *_) in SCENARIOS.items():
        parser.add_argument(f"--{name}", type=int, default=count, metavar="ROUNDS")
    parser.add_argument("--kafka", action="store_true", help="kill Apache Kafka instead")
    parser.add_argument("--kills", type=int, default=20, help="of Apache Kafka")
    parser.add_argument("--rows", type=int, default=2_000_000, help="beside them")
    args = parser.parse_args(argv)
    if args.kafka:
        from benchmarks import broker_kills

        broker_kills.run(args.kills, args.rows, args.seed)
        return 0
    plan = [
        (title, scenario, arguments)
        for name, (_, title, scenario, arguments) in SCENARIOS.items()
        for _ in range(getattr(args, name))
    ]
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number, (name, scenario, arguments) in enumerate(plan):
                began, seed = time.monotonic(), args.seed + number
                try:
                    config = new_config(Path(folder), number)
                    result = run_round(config, seed, scenario, **arguments)
                except AssertionError as error:
                    failed, result = failed + 1, f"FAILED: {error}"
                seconds = time.monotonic() - began
                print(f"{name}, seed {seed}: {result}, {seconds:.1f} s", flush=True)
        finally:
            embedded.stop(Path(folder) / "state", delete=True)
    print(
        f"{len(plan) - failed} of {len(plan)} rounds: every newest value stored once, every "
        "invalid message dead-lettered once"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
