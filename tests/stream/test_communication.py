"""The script communication.py end to end on real servers."""

import json

import pandas as pd
import pytest
from small_stream import SOURCES, START, write_csvs

import communication
import db
from vpp.storage import counts
from vpp.stream import kafka, sink


def test_every_csv_is_stored_once_however_often_it_is_streamed(make_config):
    config = make_config()
    expected = write_csvs(config)
    for everything in (False, True):
        rows = communication.stream(config, everything)
        topics = kafka.topic_names(config)
        del topics["forecast"], topics["battery"]  # no file holds any
        assert [row["topic"] for row in rows] == list(topics.values())
        for row in rows:
            assert row["produced"] == 48 == row["stored"] + row["unchanged"]
            assert (row["dead_lettered"], row["in_database"]) == (0, 48)
    with db.session(config) as conn:
        assert db.count_measurements(conn) == expected | {"forecast": 0, "battery": 0}
        solar = db.read_series(conn, SOURCES[0])
        assert list(solar) == [n % 100 for n in range(48)]
        assert solar.index[1] == START + pd.Timedelta("15min")
        assert list(db.read_weather_forecasts(conn, "weather-1")["issue_time"].unique()) == [START]
        with conn.cursor() as cursor:
            cursor.execute("SELECT wind_speed FROM weather ORDER BY time DESC LIMIT 1")
            assert cursor.fetchone()[0] == 47
            # Prices of 2 January, local time, became known on 1 January at 13:00 in Brussels,
            # which is 12:00 UTC.
            known = "SELECT available_at FROM market_prices WHERE time = '2025-01-02T10:00Z'"
            cursor.execute(known)
            assert cursor.fetchone()[0] == pd.Timestamp("2025-01-01T12:00Z")
    rows = communication.status(config)
    assert {row["lag"] for row in rows} == {0}
    assert sum(row["end"] for row in rows) == 2 * 6 * 48
    assert communication.list_dead_letters(config) == []


def test_status_says_which_numbers_of_rows_are_estimates(make_config, monkeypatch, capsys):
    """48 rows of each kind but two, of which 47 are counted; ANALYZE reads so few all."""
    config = make_config()
    write_csvs(config)
    communication.stream(config)
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("ANALYZE")
    monkeypatch.setattr(counts, "EXACT_MOST", 47)
    few = [kafka.topic_names(config)[kind] for kind in ("forecast", "battery")]
    for by_partition in (False, True):
        rows = communication.status(config, by_partition)
        rows = [row for row in rows if row["rows_stored"] is not None]
        assert [row["topic"] for row in rows if not row["rows_estimated"]] == few
        assert {row["rows_stored"] for row in rows if row["rows_estimated"]} == {48}
    command = ["--config", str(config.path)]
    assert communication.main([*command, "--json", "status"]) == 0
    assert [row["rows_stored"] for row in json.loads(capsys.readouterr().out)] == [48] * 6 + [0, 0]
    assert communication.main([*command, "status"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("~ 48") == 6 and shown.endswith("up to 47 rows are counted\n")
    # a stream counts whatever the limit is
    assert {row["in_database"] for row in communication.stream(config, everything=True)} == {48}


def test_commands_end_with_one_line_when_kafka_is_away(make_config):
    config = make_config(wait_s=1.0, kafka={"bootstrap_servers": "127.0.0.1:1"})
    write_csvs(config)
    for command in (
        lambda: communication.stream(config),
        lambda: sink.run_sink(sink.Sink(config, until_drained=True)),
    ):
        with pytest.raises(kafka.StreamError, match="Kafka") as caught:
            command()
        assert "\n" not in str(caught.value)


def test_no_secret_is_shown(make_config, config_file, capsys):
    path = config_file(
        database={"url": "postgresql://vpp:s3cret@127.0.0.1:1/vpp", "wait_s": 0},
        kafka={
            "bootstrap_servers": "127.0.0.1:1",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_username": "u",
            "sasl_password": "s3cret",
        },
    )
    for command in (["produce"], ["dlq", "list"]):
        assert communication.main(["--config", str(path), *command]) == 1
    shown = capsys.readouterr()
    assert "s3cret" not in shown.out + shown.err and shown.err.count("\n") == 2
