"""Kill -9 of Apache Kafka while messages are sent, read, stored and dead-lettered; then count.

    python benchmarks/bench_crash.py --kafka [--kills 20] [--rows 2000000]

Every message has a key of its own, one in a thousand is broken. In the end the database holds each
valid one once with its value, each broken one is a dead letter once, and none is lost.
"""

import random
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "tests")]

from kafka_server import KafkaServer

import db
from benchmarks import crash_round
from sources import Source
from vpp.runtime.settings import Config
from vpp.stream import dead_letters, kafka, topics

START = datetime(2005, 1, 1, tzinfo=UTC)
SOURCES = [  # so many that two million hours of them lie in the past
    Source(f"load-{n}", "load", "Load", "site-1", 1000.0, 60, 49.6, 6.1, "Europe/Brussels")
    for n in range(40)
]
BROKEN_EVERY = 1000


def message(number: int) -> tuple[str, bytes]:
    """Key and value of a message; its time and source are its own."""
    name = SOURCES[number % len(SOURCES)].source_id
    if number % BROKEN_EVERY == 7:
        return name, b"broken %d" % number
    at = START + timedelta(hours=number // len(SOURCES))
    text = f'{{"source_id":"{name}","time":"{at:%Y-%m-%dT%H:%M:%SZ}","power_kw":{number % 997}}}'
    return name, text.encode()


class Sender(threading.Thread):
    """Sends messages with an idempotent producer, whatever becomes of the broker meanwhile."""

    def __init__(self, config: Config, numbers: range):
        super().__init__(name="sender", daemon=True)
        self.config, self.numbers = config, numbers
        self.failed: Counter[str] = Counter()

    def run(self) -> None:
        settings = kafka.kafka_settings(self.config)
        producer = kafka.new_producer(settings, 300, self.failed)
        topic = kafka.topic_names(self.config)["load"]
        for number in self.numbers:
            key, value = message(number)
            kafka.send(producer, topic, value, key)
            if number % 500 == 0:
                producer.poll(0)
        if left := producer.flush(300):
            self.failed["not sent"] += left


def check(config: Config, rows: int) -> str:
    """Compare what is stored and dead-lettered with what was sent; returns the figures."""
    broken = set(range(7, rows, BROKEN_EVERY))
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT source_id, time, power_kw FROM load")
        stored = list(cursor)
    wrong = 0
    for name, at, value in stored:
        place = int((at - START).total_seconds()) // 3600 * len(SOURCES)
        number = place + int(name.rpartition("-")[2])
        wrong += number in broken or number >= rows or value != number % 997
    letters = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    figures = f"{rows:,} sent = {len(stored):,} stored + {len(letters):,} dead-lettered"
    strange = [letter for letter in letters if not (letter.value or b"").startswith(b"broken ")]
    assert not strange, f"{figures}; among them {strange[0]}"
    told = Counter(int(letter.value.split()[1]) for letter in letters)
    assert len(stored) == rows - len(broken) and not wrong, f"{figures}; {wrong} are wrong"
    assert set(told) == broken and max(told.values()) == 1, f"{figures}, {len(broken)} were due"
    return figures + ", 0 lost, 0 doubled"


def run(server: KafkaServer, folder: Path, kills: int, rows: int, seed: int) -> None:
    """All kills, with so many messages in total; prints the result.

    Parameters
    ----------
    server : is killed.
    folder : of the embedded PostgreSQL.
    kills, rows : their numbers.
    seed : of the moments.

    Raises
    ------
    AssertionError : a message was lost or doubled, or a client gave up.
    """
    chance, began = random.Random(seed), time.monotonic()
    config = crash_round.new_config(folder, 0, server.address, batch_rows=5000)
    with db.session(config) as conn:
        db.reset(conn)
        db.upsert_sources(conn, SOURCES)
    wanted = list(kafka.topic_names(config).values())
    topics.ensure_topics(config.kafka, kafka.kafka_settings(config), wanted, 30)
    sink = crash_round.start_sink(config)
    try:
        for kill in range(kills):
            part = range(kill * rows // kills, (kill + 1) * rows // kills)
            sender = Sender(config, part)
            sender.start()
            time.sleep(chance.uniform(0, 4))
            server.kill()
            time.sleep(chance.uniform(0, 2))
            server.start()
            sender.join()
            assert not sender.failed, f"the producer gave up: {dict(sender.failed)}"
            print(f"kill {kill + 1}: {part.stop:,} messages are sent", flush=True)
        crash_round.wait_until_drained(config, 600)
        figures = check(config, rows)
        print(f"seed {seed}, {kills} kills of the broker: {figures}, ", end="")
        print(f"{time.monotonic() - began:.0f} s", flush=True)
    finally:
        sink.terminate()
        sink.wait(30)
