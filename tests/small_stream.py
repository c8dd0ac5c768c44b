"""A small set of sources and messages for the tests of the stream."""

import json

import pandas as pd
from confluent_kafka import Producer

import db
from sources import Source
from vpp.stream import kafka

START = pd.Timestamp("2025-01-01T00:00Z")


SOURCES = [
    Source("solar-1", "solar", "Solar", "site-1", 100.0, 15, 49.6, 6.1, "Europe/Brussels"),
    Source("wind-1", "wind", "Wind", "site-1", 200.0, 60, 49.6, 6.1, "Europe/Brussels"),
    Source("load-1", "load", "Load", "site-1", 50.0, 60, 49.6, 6.1, "Europe/Brussels"),
    Source("market-1", "market", "Market", "site-1", None, 60, None, None, "Europe/Brussels"),
    Source("weather-1", "weather", "Weather", "site-1", None, 60, 49.6, 6.1, "Europe/Brussels"),
]


def iso(step, minutes):
    return (START + pd.Timedelta(minutes=step * minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def register(config, sources=SOURCES):
    with db.session(config) as conn:
        db.upsert_sources(conn, sources)


def send(config, kind, values, timestamps=None):
    """Messages to the topic of a kind, all with the key "k", so that they keep their order."""
    settings = kafka.kafka_settings(config)
    client = Producer(
        settings | {"linger.ms": 20, "compression.type": "zstd", "message.max.bytes": 2_000_000}
    )
    topic = kafka.topic_names(config)[kind]
    kafka.wait_for_topics(client, [topic], 20)
    for place, value in enumerate(values):
        data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        while True:
            try:
                client.produce(
                    topic, data, "k", **({"timestamp": timestamps[place]} if timestamps else {})
                )
                break
            except BufferError:
                client.poll(0.1)
    assert client.flush(30) == 0


def power(time_text, value, source_id="solar-1"):
    return {"source_id": source_id, "time": time_text, "power_kw": value}


def read(config, source):
    with db.session(config) as conn:
        return db.read_series(conn, source)
