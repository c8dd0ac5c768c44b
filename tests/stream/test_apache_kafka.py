"""Apache Kafka itself: who is let in, topics, transactions, retention, and a broker that is killed.

`make test-kafka` fetches it and names its jars in VPP_TEST_KAFKA_LIBS; else these are skipped.
"""

import os
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource
from kafka_server import GUEST, LIBS, PASSWORD, USER, KafkaServer
from small_stream import (
    SOURCES,
    drain,
    encoded,
    iso,
    power,
    read,
    register,
    running,
    send,
    wait_until,
    write_csvs,
)

import communication
from vpp.site.kinds import KINDS
from vpp.stream import dead_letters, kafka, refusals, sink, topics

TLS = {"security_protocol": "SASL_SSL", "ssl_ca_location": "ca.pem"}
SCRAM = TLS | {"sasl_username": USER, "sasl_password": PASSWORD}
PLAIN = SCRAM | {"sasl_mechanism": "PLAIN"}
TOKEN = {"enable.sasl.oauthbearer.unsecure.jwt": "true", "sasl.oauthbearer.config": "principal=vpp"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A broker of these tests' own, which makes no topic by itself; some of them kill it."""
    if not os.environ.get(LIBS):
        pytest.skip("needs Apache Kafka; run make test-kafka")
    settings = {"auto_create_topics_enable": "false", "num_partitions": 1}
    server = KafkaServer(
        Path(os.environ[LIBS]), tmp_path_factory.mktemp("kafka") / "server", **settings
    )
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture
def own(make_config, server, kafka_prefix):
    """Function that makes a configuration of that broker: keys of `[kafka]`, files from its folder.

    `own("sasl", sasl_password="wrong")`; `client` is the section `[kafka.client]`.
    """

    def make(listener="address", wait_s=30.0, client=None, **keys):
        for key in keys:
            if key.startswith("ssl") and key.endswith("location"):
                keys[key] = server.folder / keys[key]
        keys["bootstrap_servers"] = getattr(server, listener)
        config = make_config(wait_s, kafka=keys, **{"kafka.client": client or {}})
        register(config)
        return config

    yield make
    client = AdminClient({"bootstrap.servers": server.address})
    found = [name for name in client.list_topics(timeout=30).topics if kafka_prefix in name]
    for future in client.delete_topics(found).values() if found else ():
        future.result()


@pytest.mark.parametrize(
    ("listener", "keys", "client"),
    [
        ("sasl", SCRAM, {}),
        ("sasl", PLAIN, {}),
        ("sasl", TLS | {"sasl_mechanism": "OAUTHBEARER"}, TOKEN),
        (
            "mutual",
            {
                "security_protocol": "SSL",
                "ssl_ca_location": "ca.pem",
                "ssl_certificate_location": f"{USER}.crt",
                "ssl_key_location": f"{USER}.key",
            },
            {},
        ),
    ],
    ids=["SCRAM", "PLAIN", "token", "certificate"],
)
def test_every_way_to_log_in_streams(own, listener, keys, client):
    config = own(listener, client=client, **keys)
    expected = write_csvs(config, 20)
    rows = communication.stream(config)
    assert [row["in_database"] for row in rows] == list(expected.values())
    assert {row["lag"] for row in communication.status(config)} == {0}


@pytest.mark.parametrize(
    ("listener", "keys", "told"),
    [
        ("sasl", SCRAM | {"sasl_password": "wrong"}, ["invalid credentials", refusals.LOGIN]),
        ("sasl", PLAIN | {"sasl_password": "wrong"}, ["Invalid username", refusals.LOGIN]),
        ("sasl", SCRAM | {"sasl_mechanism": "SCRAM-SHA-256"}, ["mechanism", refusals.LOGIN]),
        ("sasl", SCRAM | {"ssl_ca_location": "stranger.pem"}, ["verif", refusals.AUTHORITY]),
        ("sasl", {}, [refusals.HUNG_UP, refusals.PROTOCOL]),
        ("sasl", SCRAM | {"security_protocol": "SASL_PLAINTEXT"}, [refusals.PROTOCOL]),
        ("sasl", TLS | {"security_protocol": "SSL"}, [refusals.PROTOCOL]),
        ("address", SCRAM, [refusals.PROTOCOL]),
        ("address", SCRAM | {"security_protocol": "SASL_PLAINTEXT"}, [refusals.PROTOCOL]),
        ("mutual", TLS | {"security_protocol": "SSL"}, [refusals.CERTIFICATE]),
    ],
    ids=[
        "SCRAM password",
        "PLAIN password",
        "mechanism",
        "authority",
        "plain text to TLS",
        "SASL without TLS",
        "TLS without SASL",
        "TLS to plain text",
        "SASL to plain text",
        "no certificate",
    ],
)
def test_a_refusal_is_told_within_seconds(own, capsys, listener, keys, told):
    """And not after `wait_s`, which is a minute here; by the producer, and once by the sink."""
    config = own(listener, 60.0, **keys)
    write_csvs(config, 2)
    sinks = [] if keys else [["consume", "--until-drained"]]
    for command in (["produce"], *sinks):
        began = time.monotonic()
        assert communication.main(["--config", str(config.path), *command]) == 1
        assert time.monotonic() - began < 25  # 3 s, and a busy machine
        (line,) = capsys.readouterr().err.splitlines()
        assert "Kafka at 127.0.0.1:" in line and PASSWORD not in line and "wrong" not in line
        for part in told:
            assert part in line


def test_topics_that_may_not_be_made_are_named_with_their_settings(own):
    config = own("sasl", **SCRAM | {"sasl_username": GUEST, "retention_h": 24, "partitions": 3})
    with pytest.raises(refusals.RefusedError) as caught:
        sink.run_sink(sink.Sink(config, until_drained=True))
    line = str(caught.value)
    for topic in kafka.topic_names(config).values():
        assert f" {topic}," in line and f" {topic}.dlq" in line
    for part in ("uthoriz", "allow the user CREATE", "partitions=3", "LogAppendTime", "86400000"):
        assert part in line
    assert "\n" not in line


def test_topics_are_made_as_configured(own):
    config = own(partitions=3, retention_h=24)
    write_csvs(config, 5)
    communication.stream(config)
    client, topic = AdminClient(kafka.kafka_settings(config)), kafka.topic_names(config)["load"]
    for name in (topic, f"{topic}.dlq"):
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        ((_, future),) = client.describe_configs([resource]).items()
        entries = {key: entry.value for key, entry in future.result().items()}
        assert entries["message.timestamp.type"] == "LogAppendTime"
        assert entries["retention.ms"] == str(24 * 3_600_000)
        assert len(client.list_topics(name, timeout=10).topics[name].partitions) == 3


def test_more_copies_than_brokers_are_refused(own):
    config = own(replication_factor=3)
    with pytest.raises(refusals.RefusedError, match=r"[Rr]eplication.*replication_factor=3"):
        topics.ensure_topics(config.kafka, kafka.kafka_settings(config), ["x-y"], 20)


def test_a_clock_of_1970_is_the_brokers_clock(own):
    """Retention would delete the message before it is read, if the meter's clock counted."""
    config = own(partitions=1, retention_h=24)
    send(config, "solar", [power(iso(n, 15), n) for n in range(5)], [1000 * n for n in range(5)])
    time.sleep(2)  # retention looks every half second
    counts = drain(config)["solar"]
    assert (counts.stored, counts.lost) == (5, 0)


def test_what_retention_took_is_counted_as_lost(own, caplog):
    config = own(partitions=1, retention_h=0.0002)
    send(config, "solar", [power(iso(n, 15), n) for n in range(40)])
    topic = kafka.topic_names(config)["solar"]
    client = kafka.new_consumer(kafka.kafka_settings(config), "probe")

    def is_gone():
        return next(iter(kafka.lags(client, {topic: [0]}))).low == 40

    wait_until(is_gone, 60)
    kafka.close(client)
    counts = drain(config)["solar"]
    assert (counts.stored, counts.lost) == (0, 40)
    assert "the broker dropped 40 messages before they were read" in caplog.text


def test_what_retention_took_between_the_last_read_and_the_end_is_lost_too(own):
    """All was read; ten more come and go before the sink asks whether it has reached the end."""
    config = own(partitions=1)
    send(config, "solar", [power(iso(n, 15), n) for n in range(40)])
    member, asked = sink.Sink(config, until_drained=True), []
    positions, unread = member.positions, member.positions.unread
    client, topic = AdminClient(kafka.kafka_settings(config)), kafka.topic_names(config)["solar"]

    def unread_at_last():
        if not asked and not unread():
            asked.append(True)
            positions.hold()
            send(config, "solar", [power(iso(n, 15), n) for n in range(40, 50)])
            (future,) = client.delete_records([TopicPartition(topic, 0, 50)]).values()
            future.result()
            positions.resume()
        return unread()

    positions.unread = unread_at_last
    sink.run_sink(member)
    assert asked and member.counts["solar"] == sink.Count(stored=40, lost=10)


def killing(server, action, killed):
    """The action, before whose first time the broker is killed."""

    def act(*arguments):
        if not killed.is_set():
            server.kill()
            killed.set()
        return action(*arguments)

    return act


@pytest.mark.parametrize("moment", ["joins", "reads", "commits", "sends letters"])
def test_a_broker_killed_at_any_moment_loses_and_doubles_nothing(own, server, moment):
    config = own(partitions=2, batch_rows=100, batch_s=0.1)
    values = [power(iso(n, 15), n % 100) for n in range(1000)]
    for place in range(0, 1000, 100):
        values[place] = b"broken"
    send(config, "solar", values)
    member, killed = sink.Sink(config), threading.Event()
    place, name = {
        "joins": (member.positions, "_on_assign"),
        "reads": (member, "take_batch"),
        "commits": (member.positions, "commit"),
        "sends letters": (member, "send"),
    }[moment]
    setattr(place, name, killing(server, getattr(place, name), killed))
    with running(member, seconds=120):
        wait_until(killed.is_set, 60)
        server.start()
        wait_until(lambda: len(read(config, SOURCES[0])) == 990, 60)
        wait_until(lambda: not any(row["lag"] for row in communication.status(config)), 60)
        member.stop.set()
    assert list(read(config, SOURCES[0])) == [n % 100 for n in range(1000) if n % 100]
    letters = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    assert sorted(letter.offset for letter in letters) == list(range(0, 1000, 100))
    assert member.counts["solar"].lost == 0


def test_the_producer_outlives_a_broker_that_is_killed(own, server):
    config, killed = own(partitions=2, wait_s=60.0), threading.Event()
    write_csvs(config, 3000)

    def kill(amount):
        if not killed.is_set():
            server.kill()
            killed.set()

    back = threading.Thread(target=lambda: (killed.wait(60), server.start()))
    back.start()
    try:
        sent = communication.produce(config, list(KINDS), advance=kill)
    finally:
        back.join()
    assert sum(sent.values()) == 6 * 3000
    counts = drain(config)
    ends = [count.stored + count.unchanged + count.dead_lettered for count in counts.values()]
    assert ends == [3000] * 6 and not any(count.lost for count in counts.values())


def test_a_transaction_counts_when_it_is_committed(own):
    """The log of each partition ends with a mark that is no message."""
    config = own(partitions=1)
    settings, topic = kafka.kafka_settings(config), kafka.topic_names(config)["solar"]
    topics.ensure_topics(config.kafka, settings, [topic], 20)
    client = Producer(settings | {"transactional.id": topic})
    client.init_transactions(30)
    for lot, end in ((0, "commit_transaction"), (20, "abort_transaction")):
        client.begin_transaction()
        for n in range(lot, lot + 20):
            client.produce(topic, encoded(power(iso(n, 15), n)), "solar-1")
        getattr(client, end)(30)
    counts = drain(config)["solar"]
    assert (counts.stored, counts.lost) == (20, 0)
    assert list(read(config, SOURCES[0])) == list(range(20))
    assert {row["lag"] for row in communication.status(config)} == {0}
