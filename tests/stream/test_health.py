"""The health check is about the sink: whether one is at work, not only whether servers answer."""

import signal
import subprocess
import time

import pytest
from small_stream import SOURCES, iso, locked, power, read, register, running, send, wait_until

import communication
import db
from vpp.stream import health, kafka, sink
from vpp.stream.writer import session_name


def counts(config):
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM stream_status")
        return cursor.fetchone()


def test_a_sink_at_work_is_healthy_and_nothing_is_written(sink_config):
    config = sink_config()
    before = counts(config)
    with running(sink.Sink(config)) as _:
        wait_until(lambda: is_healthy(config))
        send(config, "solar", [power(iso(n, 15), n) for n in range(100)])
        wait_until(lambda: len(read(config, SOURCES[0])) == 100)
        found = communication.health(config)
        assert found["healthy"] and found["sinks"] == 1 and found["ms"] < 5000
        assert counts(config) == before


def is_healthy(config):
    try:
        return health.health(config)["healthy"]
    except kafka.StreamError:
        return False


def test_without_a_sink_it_is_unhealthy(sink_config, capsys):
    config = sink_config()
    send(config, "solar", [power(iso(0, 15), 1)])
    assert communication.main(["--config", str(config.path), "status", "--health"]) == 1
    told = capsys.readouterr()
    assert told.out == "" and told.err.endswith(
        f": no sink of the group {config.kafka.group_id} is connected to the database; run "
        "python communication.py consume\n"
    )


def test_a_sink_that_hangs_is_unhealthy_with_messages_waiting_and_without(
    make_config, script, monkeypatch
):
    monkeypatch.setattr(health, "PROGRESS_S", 1.0)
    config = make_config()
    register(config)
    service = subprocess.Popen(
        script("communication.py", "--config", config.path, "consume"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        send(config, "solar", [power(iso(0, 15), 1)])
        wait_until(lambda: len(read(config, SOURCES[0])) == 1, 60)
        wait_until(lambda: is_healthy(config))
        service.send_signal(signal.SIGSTOP)
        send(config, "solar", [power(iso(n, 15), 1) for n in range(1, 4)])
        topic = kafka.topic_names(config)["solar"]
        why = rf"3 messages wait and none was stored for 1 s, the first at {topic} \[0\], offset 1"
        with pytest.raises(kafka.StreamError, match=f"{why}|no member of the group"):
            health.health(config)
        monkeypatch.setattr(health, "SILENT_S", 0.5)
        time.sleep(1)
        with db.session(config) as conn, conn.cursor() as cursor:
            state = "SELECT state FROM pg_stat_activity WHERE application_name = %s"
            cursor.execute(state, (session_name(config),))
            assert cursor.fetchall() == [("idle",)]  # and not in a transaction
        with pytest.raises(kafka.StreamError, match=r"silent for more than 0\.5 s"):
            health.health(config)
        monkeypatch.undo()
        service.send_signal(signal.SIGCONT)
        wait_until(lambda: is_healthy(config))
    finally:
        service.kill()
        service.wait()


def test_a_sink_that_waits_for_a_statement_is_at_work(sink_config, monkeypatch):
    monkeypatch.setattr(health, "PROGRESS_S", 0.5)
    config = sink_config()
    with running(sink.Sink(config)), locked(config, "renewables") as is_waiting:
        send(config, "solar", [power(iso(0, 15), 1)])
        wait_until(is_waiting)
        assert is_healthy(config)


def test_servers_that_are_away_are_told_and_not_started(make_config, config_file, tmp_path):
    path = config_file(
        database={"url": "embedded"},
        kafka={"bootstrap_servers": "embedded"},
        paths={"state_dir": tmp_path / "nothing"},
    )
    assert communication.main(["--config", str(path), "status", "--health"]) == 1
    assert not (tmp_path / "nothing").exists()
    away = make_config(kafka={"bootstrap_servers": "127.0.0.1:1"})
    with pytest.raises(kafka.StreamError, match="no sink"):
        health.health(away)


def test_a_long_name_of_a_group_still_tells_its_sinks(make_config):
    """PostgreSQL keeps 63 bytes of a session's name."""
    names = [session_name(make_config(kafka={"group_id": "g" * 100 + end})) for end in "ab"]
    assert len(set(names)) == 2 and max(len(name.encode()) for name in names) < 64
