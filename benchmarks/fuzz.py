"""Messages of random bytes, keys, headers, times and codecs, and a count of how each must end.

    python benchmarks/bench_crash.py --sink 0 --postgres 0 --producer 0 --pair 0 --poison 0 --fuzz 1

Each valid message has a key of its own, or repeats one word for word. So it is known of every
message whether it is stored, unchanged, dead-lettered or lost: the last are batches that the client
cannot inflate.
"""

import json
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer

from sources import Source
from vpp.runtime.settings import Config
from vpp.site.kinds import KINDS, SERIES_KINDS, WEATHER
from vpp.stream import kafka, sink, topics

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
LOT = 2_000  # the embedded broker holds little: each lot is stored before the next is sent
START = datetime(2000, 1, 1, tzinfo=UTC)
DEEP = b"[" * 3000 + b"]" * 3000


class Fuzz:
    """Sends random messages to the topics of a configuration.

    Parameters
    ----------
    config : names the servers; the sources are registered.
    sources : the registered ones.
    seed : the same seed gives the same messages.
    """

    def __init__(self, config: Config, sources: list[Source], seed: int):
        self.random, self.names = random.Random(seed), kafka.topic_names(config)
        self.sources = [source for source in sources if source.kind in SERIES_KINDS]
        self.due = Counter(dict.fromkeys(("stored", "unchanged", "dead_lettered", "lost"), 0))
        self.valid: list[tuple[str, bytes, bytes]] = []  # topic, key, value
        settings = kafka.kafka_settings(config)
        topics.ensure_topics(config.kafka, settings, list(self.names.values()), 20)
        more = {"message.max.bytes": 1_000_000, "linger.ms": 5}
        self.producers = [
            Producer(settings | more | {"compression.type": codec}) for codec in CODECS
        ]
        pill = {"compression.type": "zstd", "message.max.bytes": 10**9, "batch.size": 2 * 10**8}
        pill |= {"linger.ms": 60_000, "queue.buffering.max.kbytes": 10**6}
        self.pill = Producer(settings | pill)

    def record(self) -> tuple[str, bytes, bytes]:
        """A valid message with a key of its own: topic, key and value."""
        number = len(self.valid)
        source = self.sources[number % len(self.sources)]
        at = START + timedelta(hours=number // len(self.sources))
        value = {
            "source_id": source.source_id,
            "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            KINDS[source.kind].value: round(self.random.uniform(0, 1000), 3),
        }
        text = json.dumps(value).encode()
        self.valid.append((self.names[source.kind], source.source_id.encode(), text))
        return self.valid[-1]

    def spoilt(self) -> tuple[str, bytes | None, bytes | None]:
        """A message that is not valid, and mostly nearly is: topic, key and value."""
        chance = self.random
        topic = chance.choice(list(self.names.values()))
        key = chance.choice([None, b"", b"load-1", chance.randbytes(chance.randrange(40))])
        at, value = "2025-01-01T00:00:00Z", chance.choice([0, 1e300, -5e9, "1", None, [], {}])
        names = ["source_id", "time", "issue_time", "valid_time", "power_kw", *WEATHER]
        fields = {name: chance.choice([at, value, "load-1", -1e9]) for name in names}
        fields["source_id"] = chance.choice(["load-9", "\x00", "", value, "x" * 500])
        message = json.dumps(fields).encode()
        message = chance.choice(
            [
                None,
                b"",
                message,
                message[: chance.randrange(len(message))],
                message[:-1] + b',"more":' + DEEP + b"}",
                DEEP,
                chance.randbytes(chance.randrange(300)),
                b'{"source_id":"load-1","time":"0000-00-00T99:99:99Z","power_kw":1e999}',
            ]
        )
        if chance.random() < 0.002:
            key = chance.randbytes(900_000)
        elif chance.random() < 0.002:
            message = chance.randbytes(900_000)
        return topic, key, message

    def send(self, count: int) -> int:
        """Send so many messages, one of them in a hundred thousand a batch; returns how many."""
        chance, done = self.random, 0
        for _ in range(count):
            draw = chance.random()
            if draw < 0.4 or not self.valid:
                topic, key, value = self.record()
                self.due["stored"] += 1
            elif draw < 0.5:
                topic, key, value = chance.choice(self.valid)
                self.due["unchanged"] += 1
            else:
                topic, key, value = self.spoilt()
                self.due["dead_lettered"] += 1
            self._produce(chance.choice(self.producers), topic, key, value)
            done += 1
        if chance.random() < 0.1:
            number = chance.randrange(70, 100)
            topic = chance.choice(list(self.names.values()))
            for _ in range(number):
                self.pill.produce(topic, b"x" * 1_000_000, b"k", partition=0)
            self.due["lost"] += number
            done += number
        for producer in (*self.producers, self.pill):
            assert producer.flush(60) == 0
        return done

    def _produce(self, producer: Producer, topic: str, key: bytes, value: bytes) -> None:
        chance = self.random
        now_ms = time.time_ns() // 1_000_000
        sent_ms = chance.choice([0, 1, now_ms, now_ms + 10**9, chance.randrange(1, 2**62)])
        headers = [
            (chance.choice(["", "topic", "é" * 50]), chance.choice([None, chance.randbytes(9)]))
            for _ in range(chance.randrange(3))
        ]
        while True:
            try:
                producer.produce(topic, value, key, timestamp=sent_ms, headers=headers)
                return
            except BufferError:
                producer.poll(0.01)


def run(config: Config, sources: list[Source], seed: int, count: int) -> str:
    """Send random messages beside a sink, lot by lot, and compare how they ended.

    Parameters
    ----------
    config : names the servers.
    sources : the registered ones.
    seed : of the messages.
    count : number of messages.

    Raises
    ------
    AssertionError : a message ended otherwise than it must, or blocks its topic.
    """
    fuzz, sent = Fuzz(config, sources, seed), 0
    member = sink.Sink(config)
    service = threading.Thread(target=sink.run_sink, args=(member,), daemon=True)
    service.start()
    try:
        while sent < count:
            sent += fuzz.send(min(LOT, count - sent))
            until = time.monotonic() + 120
            while sum(_ends(member).values()) < sent:
                assert time.monotonic() < until, f"{_ends(member)} of {sent}: a topic is blocked"
                assert service.is_alive(), "the sink has ended"
                time.sleep(0.02)
    finally:
        member.stop.set()
        service.join(20)
    found = _ends(member)
    # a batch that was sent in two parts may be small enough to be inflated, and is then no JSON
    saved = fuzz.due["lost"] - found["lost"]
    assert 0 <= saved <= fuzz.due["lost"], f"{found['lost']} lost of {fuzz.due['lost']}"
    due = fuzz.due | {"lost": found["lost"], "dead_lettered": fuzz.due["dead_lettered"] + saved}
    assert dict(found) == dict(due), f"{dict(found)}, due are {dict(due)}"
    sink.run_sink(sink.Sink(config, until_drained=True))  # its offsets have reached the ends
    assert sum(found.values()) == sent
    return f"{sent:,} messages = " + " + ".join(f"{n:,} {name}" for name, n in found.items())


def _ends(member: sink.Sink) -> Counter:
    """How all messages of a sink ended."""
    names = ("stored", "unchanged", "dead_lettered", "lost")
    counts = list(member.counts.values())
    return Counter({name: sum(getattr(count, name) for count in counts) for name in names})
