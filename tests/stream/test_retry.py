"""A server that is away is told in one line, and again when it is back."""

import logging
import threading
import time

import psycopg2
import pytest
from confluent_kafka import KafkaError, KafkaException

import db
from vpp.stream import sink
from vpp.stream.kafka import StreamError
from vpp.stream.retry import Retry, Stopped


def test_an_outage_is_one_line_in_the_log(make_config, caplog):
    member, calls = sink.Sink(make_config()), []

    def action():
        calls.append(1)
        if len(calls) < 4:
            raise db.DatabaseError("database, load: the server is away")

    with caplog.at_level(logging.INFO):
        member.retry("database", action)
    assert [record.message for record in caplog.records] == [
        "database away, trying again until it is back: database, load: the server is away",
        "database is back",
    ]
    member.stop.set()
    calls.clear()
    with pytest.raises(Stopped):  # a service that is told to stop does not wait for its servers
        member.retry("database", action)


def refuse(error):
    """An action that always fails so."""

    def action():
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KafkaException(KafkaError(KafkaError._TRANSPORT, "broker away")), "broker away"),
        (psycopg2.OperationalError("server closed\n\tThis means it ended"), "server closed"),
        (psycopg2.InterfaceError(), "an error without a text"),
    ],
)
def test_a_bounded_wait_ends_in_words(error, told, caplog):
    """Not in the name of a class; and the log does not have it either."""
    waiting = Retry(0.3, threading.Event(), lambda: None, lambda: None)
    began = time.monotonic()
    with caplog.at_level(logging.INFO), pytest.raises(StreamError) as caught:
        waiting("Kafka", refuse(error))
    assert 0.2 < time.monotonic() - began < 5
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(f"Kafka away, trying again until it is back: {told}")
    assert str(caught.value).startswith(f"Kafka: {told}")
    assert str(caught.value).endswith("; this lasted 0.3 s")
    for text in (line, str(caught.value)):
        assert "Error" not in text and "\n" not in text


def test_the_first_cause_is_told_first():
    """A disk that is full ends the server, which then refuses the connection."""
    causes = iter([psycopg2.errors.DiskFull("could not extend file: No space left on device")])
    away = db.DatabaseError("PostgreSQL at host:5432/vpp cannot be used: Connection refused")

    def action():
        raise next(causes, away)

    waiting = Retry(0.3, threading.Event(), lambda: None, lambda: None)
    with pytest.raises(StreamError) as caught:
        waiting("database", action)
    assert str(caught.value) == (
        "database: could not extend file: No space left on device; then PostgreSQL at "
        "host:5432/vpp cannot be used: Connection refused; this lasted 0.3 s"
    )


def test_an_expected_failure_keeps_its_own_words():
    waiting = Retry(0.0, threading.Event(), lambda: None, lambda: None)
    with pytest.raises(db.DatabaseError, match=r"^database, load: no room$"):
        waiting("database", refuse(db.DatabaseError("database, load: no room")))


def test_while_it_waits_the_sink_is_held_and_resumed_afterwards():
    did = []
    waiting = Retry(None, threading.Event(), lambda: did.append("hold"), lambda: did.append("on"))
    assert waiting("Kafka", lambda: 1) == 1 and did == []
    attempts = iter([refuse(StreamError("away")), lambda: 2])
    assert waiting("Kafka", lambda: next(attempts)()) == 2
    assert set(did[:-1]) == {"hold"} and did[-1] == "on"
    assert waiting("Kafka", lambda: 3) == 3 and did.count("on") == 1
