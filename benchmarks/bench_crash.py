"""Kill -9 in the middle of the stream, round after round; then count rows and dead letters.

    python benchmarks/bench_crash.py [--seed N] [--sink 20] [--postgres 5] [--producer 5]
                                     [--pair 5] [--host 5] [--power 5] [--stop 2] [--disk 5]
                                     [--slots 5] [--poison 1] [--fuzz 1]
                                     [--kafka [--kills 20] [--rows 2000000]]

Rounds: one sink killed and started again; PostgreSQL killed under a sink; `communication.py
produce` killed and run again; one of two sinks killed; the broker's host killed; everything killed
at once; one of two sinks stopped for a minute; a database without room on its disk, or without a
free connection; and without a kill, 100,000 messages of which 1,000 are bad in all ways of
`POISON`, each to be dead-lettered with its reason, and 200,000 random ones (fuzz.py). Each prints
its seed. After each, the rows must be the distinct keys with their newest values, and the dead
letters by origin the invalid messages. Runs on embedded servers of its own in a temporary folder;
exit 1 if a round fails. With `--kafka` the broker is Apache Kafka, which is then killed beside
2,000,000 messages, too (broker_kills.py); it comes by Maven.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import psycopg2
from kafka_server import LIBS, KafkaServer, fetch

import db
import embedded
from benchmarks import broker_kills, fuzz
from benchmarks.crash_round import (
    POISON,
    SOURCES,
    Round,
    command,
    delete_topics,
    iso,
    new_config,
    power_message,
)
from sources import write_sources
from vpp.runtime.settings import EMBEDDED, Config


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
        test.produce("solar", power_message(iso(-hours), hours % 1000), "solar-1", None)
    assert test.producer.flush(60) == 0


def stop_sink(test: Round, seconds: float = 60) -> None:
    """One of two sinks is stopped for a minute, longer than its group waits, and goes on."""
    first = test.start_sink()
    test.send_and_wait(500)  # one that is still starting would not end as a service does
    test.start_sink()
    first.send_signal(signal.SIGSTOP)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        test.send_for(0.3)
        time.sleep(0.5)
    first.send_signal(signal.SIGCONT)
    test.send_for(1.0)


def kill_host(test: Round) -> None:
    """The broker's host is killed once all is stored; the embedded broker forgets its messages."""
    test.start_sink()
    test.send_and_wait(500)
    test.wait_for_all()
    kill_servers(test)
    test.send_and_wait(500)


def cut_power(test: Round) -> None:
    """All is killed at a random moment, started again, and the producer sends its data again."""
    test.start_sink()
    test.send_and_wait(500)
    test.send_for(test.random.uniform(0, 1.0))
    test.processes[0].kill()
    kill_servers(test)
    test.start_sink()
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
    """The daemon of the embedded servers is killed, and comes back at another address.

    So is Apache Kafka, where it is the broker.
    """
    state = test.config.paths.state_dir
    before = embedded.ensure_running(state, 60)
    if test.kafka is not None:
        test.kafka.kill()
    os.kill(int(embedded.find_places(state).lock.read_text()), signal.SIGKILL)
    while embedded.ensure_running(state, 60) == before:
        time.sleep(0.05)
    if test.kafka is not None:
        test.kafka.start()
    else:
        test.invalid.clear()  # their dead letters are forgotten with the broker
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


def run_round(
    config: Config, seed: int, scenario, kafka: KafkaServer | None = None, **arguments
) -> str:
    """One round, independent of the others; returns what was counted."""
    with db.session(config) as conn:
        db.reset(conn)
    test = Round(config, seed, kafka)
    try:
        return scenario(test, **arguments) or test.finish()
    finally:
        test.stop()


def run_rounds(args: argparse.Namespace, folder: Path, kafka: KafkaServer | None) -> int:
    """All rounds that are asked for, each said; returns how many failed."""
    plan = [
        (title, scenario, arguments)
        for name, (_, title, scenario, arguments) in SCENARIOS.items()
        for _ in range(getattr(args, name))
    ]
    address, failed = EMBEDDED if kafka is None else kafka.address, 0
    for number, (name, scenario, arguments) in enumerate(plan):
        began, seed = time.monotonic(), args.seed + number
        config = new_config(folder, number, address)
        try:
            result = run_round(config, seed, scenario, kafka, **arguments)
        except AssertionError as error:
            failed, result = failed + 1, f"FAILED: {error}"
        delete_topics(config)
        print(f"{name}, seed {seed}: {result}, {time.monotonic() - began:.1f} s", flush=True)
    print(
        f"{len(plan) - failed} of {len(plan)} rounds: every newest value stored once, every "
        "invalid message dead-lettered once"
    )
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    for name, (count, *_) in SCENARIOS.items():
        parser.add_argument(f"--{name}", type=int, default=count, metavar="ROUNDS")
    parser.add_argument("--kafka", action="store_true", help="on Apache Kafka")
    parser.add_argument("--kills", type=int, default=20, help="of Apache Kafka beside messages")
    parser.add_argument("--rows", type=int, default=2_000_000, help="number of those messages")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder, server = Path(name), None
        try:
            if args.kafka:
                libs = Path(os.environ[LIBS]) if os.environ.get(LIBS) else fetch(folder)
                if libs is None:
                    return 0
                server = KafkaServer(libs, folder / "server", auto_create_topics_enable="false")
                server.start()
            failed = run_rounds(args, folder, server)
            if server is not None and args.kills:
                broker_kills.run(server, folder, args.kills, args.rows, args.seed)
        finally:
            embedded.stop(folder / "state", delete=True)
            if server is not None:
                server.stop()
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
