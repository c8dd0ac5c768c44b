"""The broker's own reason is told, with what to do; and settings that librdkafka does not take."""

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from vpp.runtime.errors import ConfigError
from vpp.stream import kafka, refusals, topics
from vpp.stream.kafka import StreamError

PREFIX, SUFFIX = "sasl_ssl://127.0.0.1:9/bootstrap: ", " (after 325ms in state AUTH_REQ)"


@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        (KafkaError._AUTHENTICATION, "SASL authentication error: Authentication failed", "LOGIN"),
        (KafkaError._AUTHENTICATION, "SASL SCRAM-SHA-256 mechanism handshake failed", "LOGIN"),
        (
            KafkaError._AUTHENTICATION,
            "SASL SCRAM-SHA-512 mechanism handshake failed: Broker: Request not valid in current "
            "SASL state: broker's supported mechanisms:",
            "PROTOCOL",
        ),
        (KafkaError._SSL, "SSL handshake failed: certificate verify failed", "AUTHORITY"),
        (KafkaError._TRANSPORT, "connecting to a PLAINTEXT broker listener?", "PROTOCOL"),
        (
            KafkaError._TRANSPORT,
            "ssl/tls alert bad certificate: SSL alert number 42",
            "CERTIFICATE",
        ),
    ],
)
def test_a_refusal_is_told_with_what_to_do(code, text, advice):
    ear = refusals.Ear()
    ear(KafkaError(code, PREFIX + text + SUFFIX))
    ear(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert ear.refusal() == f"{text}; {getattr(refusals, advice)}" == ear.reason("transport")


def test_a_broker_that_is_away_is_no_refusal():
    ear = refusals.Ear()
    assert (ear.refusal(), ear.reason("no answer")) == ("", f"no answer; {refusals.START}")
    ear(KafkaError(KafkaError._TRANSPORT, "127.0.0.1:1/1: Connect failed: Connection refused"))
    ear(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert ear.refusal() == ""
    assert ear.reason("x") == f"Connect failed: Connection refused; {refusals.START}"


def test_a_broker_that_only_hangs_up_expects_another_protocol():
    ear = refusals.Ear()
    ear(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert ear.refusal() == f"{refusals.HUNG_UP}; {refusals.PROTOCOL}"


PLAIN = "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?"
CLOSED = "Disconnected: SSL connection closed by peer"
RESET = "SSL transport error: Connection reset by peer"
AWAY = "Connect to ipv4#127.0.0.1:9092 failed: Connection refused"
STRANGER = "SSL handshake failed: certificate verify failed: broker certificate"
ALERT = "SSL handshake failed: ssl/record/rec_layer_s3.c:1605: SSL alert number 116"


@pytest.mark.parametrize(
    ("reasons", "told"),
    [
        ([CLOSED], f"{CLOSED}; {refusals.ENDED}"),
        ([RESET, ""], f"{RESET}; {refusals.ENDED}"),
        # the one that tells most counts, whichever came last
        ([CLOSED, PLAIN], f"{PLAIN}; {refusals.PROTOCOL}"),
        ([PLAIN, CLOSED], f"{PLAIN}; {refusals.PROTOCOL}"),
        ([ALERT, CLOSED], f"{ALERT}; {refusals.CERTIFICATE}"),
        ([CLOSED, STRANGER, CLOSED], f"{STRANGER}; {refusals.AUTHORITY}"),
        # it may be that the broker went just then
        ([CLOSED, AWAY], ""),
    ],
)
def test_an_end_of_tls_counts_where_nothing_tells_more(reasons, told):
    """An empty reason is that all brokers are down."""
    ear = refusals.Ear()
    for reason in reasons:
        code = KafkaError._SSL if reason else KafkaError._ALL_BROKERS_DOWN
        ear(KafkaError(code, PREFIX + reason + SUFFIX))
    line = ear.reason("no answer")
    assert ear.refusal() == told
    assert line == (told or f"{reasons[-1]}; {refusals.START}")


def test_an_error_of_rights_says_which():
    error = KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED))
    assert refusals.explained(error).endswith(
        "allow the user READ on the group of [kafka] group_id"
    )


def test_an_address_without_a_broker_is_one_line_with_the_reason(make_config):
    config = make_config(wait_s=1.0, kafka={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(StreamError) as caught:
        topics.ensure_topics(config.kafka, kafka.kafka_settings(config), ["x"], 1.0)
    told = str(caught.value)
    assert told.startswith("Kafka at 127.0.0.1:1: ") and "Connection refused" in told
    assert told.endswith("or correct [kafka]") and "\n" not in told


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"no.such.setting": "1"}, 'No such configuration property: "no.such.setting"'),
        ({"linger.ms": "long"}, "Invalid value for configuration property"),
        ({"security.protocol": "sasl_ssl", "sasl.mechanism": "NIX"}, "Unsupported SASL mechanism"),
    ],
)
def test_a_setting_that_librdkafka_does_not_take_is_one_line(make_config, section, told):
    config = make_config(**{"kafka.client": section})
    settings = kafka.kafka_settings(config)
    for make in (
        lambda: kafka.new_consumer(settings, "group"),
        lambda: topics.ensure_topics(config.kafka, settings, ["x"], 1.0),
    ):
        with pytest.raises(ConfigError, match=told) as caught:
            make()
        assert "\n" not in str(caught.value) and "[kafka.client]" in str(caught.value)


def test_settings_of_the_client_stand_above_ours_and_below_the_promises(make_config, tmp_path):
    for name in ("own.crt", "own.key"):
        (tmp_path / name).write_text("x")
    config = make_config(
        kafka={
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "OAUTHBEARER",
            "ssl_certificate_location": "own.crt",
            "ssl_key_location": "own.key",
            "ssl_key_password": "p%",
        },
        **{"kafka.client": {"linger.ms": "7", "client.id": "meter", "sasl.username": "me"}},
    )
    settings = kafka.kafka_settings(config)
    assert settings["sasl.mechanism"] == "OAUTHBEARER" and "sasl.password" not in settings
    assert settings["ssl.certificate.location"] == str(tmp_path / "own.crt")
    assert (settings["ssl.key.password"], settings["client.id"]) == ("p%", "meter")
    assert (settings["linger.ms"], settings["sasl.username"]) == ("7", "me")


def test_a_file_that_is_not_there_is_named(make_config, tmp_path):
    config = make_config(kafka={"ssl_ca_location": "nowhere.pem"})
    with pytest.raises(ConfigError, match=r"\[kafka\] ssl_ca_location = .*nowhere\.pem: no such"):
        kafka.kafka_settings(config)


def test_only_the_embedded_broker_gets_a_session_that_kafka_refuses(make_config, monkeypatch):
    least_ms = 6_000  # Kafka's group.min.session.timeout.ms, where nobody has set it
    server = SimpleNamespace(bootstrap_servers="127.0.0.1:9")
    monkeypatch.setattr(kafka, "ensure_running", lambda *arguments: server)
    name = "session.timeout.ms"
    embedded = kafka.kafka_settings(make_config(kafka={"bootstrap_servers": "embedded"}))
    assert embedded["bootstrap.servers"] == "127.0.0.1:9" and embedded[name] < least_ms
    assert name not in kafka.kafka_settings(make_config(kafka={"bootstrap_servers": "127.0.0.1:1"}))
    assert least_ms <= kafka.SESSION_MS
