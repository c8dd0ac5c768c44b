"""A small set of sources and messages for the tests of the stream, and looks at their end."""

import dataclasses
import json
import threading
import time
from contextlib import contextmanager

import pandas as pd
import psycopg2
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

import db
from sources import Source, write_sources
from vpp.stream import kafka, sink, topics

START = pd.Timestamp("2025-01-01T00:00Z")
SOURCES = [
    Source("solar-1", "solar", "Solar", "site-1", 100.0, 15, 49.6, 6.1, "Europe/Brussels"),
    Source("wind-1", "wind", "Wind", "site-1", 200.0, 60, 49.6, 6.1, "Europe/Brussels"),
    Source("load-1", "load", "Load", "site-1", 50.0, 60, 49.6, 6.1, "Europe/Brussels"),
    Source("market-1", "market", "Market", "site-1", None, 60, None, None, "Europe/Brussels"),
    Source("weather-1", "weather", "Weather", "site-1", None, 60, 49.6, 6.1, "Europe/Brussels"),
]


def iso(step, minutes):
    """The time of a step of so many minutes, as a message states it."""
    return (START + pd.Timedelta(minutes=step * minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def power(time_text, value, source_id="solar-1"):
    """A message of a plant or load."""
    return {"source_id": source_id, "time": time_text, "power_kw": value}


def encoded(value):
    """A message as bytes; bytes and None stay as they are."""
    return value if value is None or isinstance(value, bytes) else json.dumps(value).encode()


def patient(config, wait_s):
    """A configuration with another patience with servers [s]."""
    return dataclasses.replace(config, database=dataclasses.replace(config.database, wait_s=wait_s))


def register(config, sources=SOURCES):
    """Write sources to the database."""
    with db.session(config) as conn:
        db.upsert_sources(conn, sources)


def make_topic(config, kind):
    """The topic of a kind, made if it is not there; returns its name."""
    topic = kafka.topic_names(config)[kind]
    topics.ensure_topics(config.kafka, kafka.kafka_settings(config), [topic], 20)
    return topic


def believe_clocks(config, kind):
    """The topic of a kind keeps the times that producers state, also those far ahead."""
    topic = make_topic(config, kind)
    client = AdminClient(kafka.kafka_settings(config))
    if topics.has_little_room(client):  # the embedded broker keeps them anyway
        return
    wanted = {"message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": 2**62}
    entries = [
        ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in wanted.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    for future in client.incremental_alter_configs([resource]).values():
        future.result()


def send(config, kind, values, timestamps=None):
    """Messages to one partition of the topic of a kind, so that they keep their order.

    The key is the source; that of bytes is "k".
    """
    settings = kafka.kafka_settings(config)
    topic = make_topic(config, kind)
    settings |= {"linger.ms": 20, "compression.type": "zstd", "message.max.bytes": 2_000_000}
    client = Producer(settings)
    for place, value in enumerate(values):
        sent_at = {"timestamp": timestamps[place]} if timestamps else {}
        while True:
            try:
                key = value["source_id"] if isinstance(value, dict) else "k"
                client.produce(topic, encoded(value), key, partition=0, **sent_at)
                break
            except BufferError:
                client.poll(0.1)
    assert client.flush(30) == 0


def send_batch(config, topic, value, count):
    """One compressed batch of so many equal messages, which librdkafka's consumer cannot inflate.

    It makes room for no more than some hundred times the compressed size.
    """
    settings = {
        "compression.type": "zstd",
        "message.max.bytes": 1_000_000_000,
        "batch.size": 200_000_000,
        "queue.buffering.max.kbytes": 1_000_000,
        "linger.ms": 60_000,  # flush waits for nothing, and until then all go into one
    }
    topics.ensure_topics(config.kafka, kafka.kafka_settings(config), [topic], 20)
    client, refused = Producer(kafka.kafka_settings(config) | settings), []
    client.list_topics(topic, timeout=20)  # or the first is sent as soon as the partition is known
    for _ in range(count):
        client.produce(
            topic,
            value,
            "solar-1",
            partition=0,
            on_delivery=lambda error, _: refused.append(error) if error else None,
        )
    assert client.flush(60) == 0 and not refused, refused


def write_csvs(config, count=48):
    """A data folder with so many messages of each kind; returns kind -> their number."""
    folder = config.paths.data_dir
    write_sources(folder / "sources.csv", SOURCES)
    weather = "ghi,dni,dhi,temp_air,wind_speed"
    lines = {
        "solar": ["time,source_id,power_kw"]
        + [f"{iso(n, 15)},solar-1,{n % 100}" for n in range(count)],
        "wind": ["time,source_id,power_kw"]
        + [f"{iso(n, 60)},wind-1,{n + 0.25}" for n in range(count)],
        "load": ["time,source_id,power_kw"] + [f"{iso(n, 60)},load-1,{n}" for n in range(count)],
        "market": ["time,source_id,price_eur_per_mwh"]
        + [f"{iso(n, 60)},market-1,{-n}" for n in range(count)],
        "weather": [f"time,source_id,{weather}"]
        + [f"{iso(n, 60)},weather-1,1,2,3,4,{n}" for n in range(count)],
        "weather_forecast": [f"issue_time,valid_time,source_id,{weather}"]
        + [f"{iso(0, 60)},{iso(n, 60)},weather-1,1,2,3,4,{n}" for n in range(count)],
    }
    for name, text in lines.items():
        (folder / f"{name}.csv").write_text("\n".join(text) + "\n")
    return {name.replace("_", "-"): count for name in lines}


def write_loads(config, count, step=1, sources=("load-1",)):
    """A load.csv of so many hours from the start on, or before it with a step of -1."""
    lines = [f"{iso(step * n, 60)},{name},{n % 50}" for n in range(count) for name in sources]
    text = "\n".join(["time,source_id,power_kw", *lines])
    (config.paths.data_dir / "load.csv").write_text(text)


def drain(config):
    """Run a sink until everything is stored; returns kind -> its counts."""
    member = sink.Sink(config, until_drained=True)
    sink.run_sink(member)
    return member.counts


@contextmanager
def running(*members, seconds=120):
    """The sinks at work in threads; in the end they have drained, or are stopped at once."""
    errors, produced = [], threading.Event()

    def run(member):
        try:
            sink.run_sink(member, lambda: produced.wait(seconds))
        except BaseException as error:
            errors.append(error)

    def stop():
        errors.append(f"the sinks were not done within {seconds} s")
        for member in members:
            member.stop.set()

    threads = [threading.Thread(target=run, args=(member,)) for member in members]
    late = threading.Timer(seconds, stop)
    for thread in (*threads, late):
        thread.start()
    try:
        yield
    finally:
        produced.set()
        for member in members:
            if not member.until_drained:
                member.stop.set()
        for thread in threads:
            thread.join()
        late.cancel()
    assert errors == []


def wait_until(is_so, seconds=30):
    """Wait until something is so, and fail if it never is."""
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert is_so()


def read(config, source):
    """The series of a source as it is stored."""
    with db.session(config) as conn:
        return db.read_series(conn, source)


def committed(config, kind):
    """Offset committed for each partition of a topic; below 0 where there is none."""
    client = kafka.new_consumer(kafka.kafka_settings(config), config.kafka.group_id)
    try:
        topic = kafka.topic_names(config)[kind]
        numbers = sorted(client.list_topics(topic, timeout=5).topics[topic].partitions)
        items = client.committed([TopicPartition(topic, n) for n in numbers], timeout=5)
        return [item.offset for item in items]
    finally:
        client.close()


def commit(config, kind, offset):
    """Say that the group has stored everything before an offset, in each partition of a topic."""
    topic = kafka.topic_names(config)[kind]
    client = Consumer(kafka.kafka_settings(config) | {"group.id": config.kafka.group_id})
    numbers = client.list_topics(topic, timeout=5).topics[topic].partitions
    items = [TopicPartition(topic, number, offset) for number in numbers]
    for left in range(20, -1, -1):
        try:
            client.commit(offsets=items, asynchronous=False)
            break
        except KafkaException as error:  # a group's broker is not chosen at once
            if not left or not error.args[0].retriable():
                raise
            time.sleep(0.5)
    client.close()


@contextmanager
def locked(config, table):
    """Another session holds the table; yields a check that a transaction waits for it."""
    connection = psycopg2.connect(config.database.url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table}")

            def is_waiting():
                waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
                cursor.execute(waiting, (table,))
                return cursor.fetchone() is not None

            yield is_waiting
    finally:
        connection.close()
