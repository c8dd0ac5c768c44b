"""`battery.py record`: a measured state is written without Kafka, or refused in one line."""

import json

import pandas as pd
import pytest

import battery
import db
from vpp.runtime.config import load_config
from vpp.storage.battery_states import count_measured

NOON = pd.Timestamp("2026-01-05T12:00Z")


@pytest.fixture
def record(config_file, capsys):
    """Function that runs the command; returns exit code, and what it printed."""
    path = config_file(**{"battery:b": {"capacity_kwh": 100}})

    def run(*arguments):
        command = ["--config", str(path), "record", *map(str, arguments)]
        code = battery.main(command)
        return code, capsys.readouterr()

    run.config = load_config(path)
    return run


def last(config, at=None):
    with db.session(config) as conn:
        return db.read_last_state(conn, "b", at or pd.Timestamp.now("UTC"))


def test_a_state_is_recorded_now_or_at_a_time(record):
    began = pd.Timestamp.now("UTC")
    code, shown = record("--battery", "b", "--energy-kwh", 42, "--json")
    assert code == 0 and json.loads(shown.out)[0]["soc"] == 0.42
    time, soc = last(record.config)
    assert began <= time <= pd.Timestamp.now("UTC") and soc == 0.42
    code, _ = record("--battery", "b", "--soc", 0.4, "--time", NOON.isoformat(), "--power-kw", -7)
    assert code == 0 and last(record.config, NOON) == (NOON, 0.4)
    assert record("--battery", "b", "--soc", 0.5, "--time", NOON.isoformat())[0] == 0
    assert last(record.config, NOON) == (NOON, 0.5)  # said later


def test_what_is_impossible_is_refused(record):
    ahead = (pd.Timestamp.now("UTC") + pd.Timedelta("1h")).isoformat()
    for arguments, words in (
        (["--soc", 42], "soc 42.0: expected a fraction"),
        (["--soc", "nan"], "soc nan"),
        ([], "soc is missing"),
        (["--soc", 0.4, "--energy-kwh", 90], "agree"),
        (["--soc", 0.4, "--time", ahead], "ahead of the clock"),
        (["--soc", 0.4, "--power-kw", 1e6], "charges"),
    ):
        code, shown = record("--battery", "b", *arguments)
        assert code == 2 and words in shown.err and shown.err.count("\n") == 1
    code, shown = record("--battery", "c", "--soc", 0.4)
    assert code == 2 and "battery c is unknown; expected one of b" in shown.err
    with db.session(record.config) as conn:
        assert count_measured(conn) == 0


def test_a_file_is_taken_as_a_whole(record, tmp_path):
    path = tmp_path / "states.csv"
    path.write_text(
        "time,battery_id,soc,power_kw\n2026-01-05T12:00Z,b,0.4,\n2026-01-05T12:15Z,b,2,"
    )
    code, shown = record("--csv", path)
    assert code == 1 and "states.csv, line 3: soc 2.0" in shown.err
    with db.session(record.config) as conn:
        assert count_measured(conn) == 0
    path.write_text(path.read_text()[:-2] + "0.5,3\n")
    assert record("--csv", path)[0] == 0
    assert last(record.config)[1] == 0.5
    for text, words in (
        ("", "columns"),
        ("time,battery_id,soc,soc\n", "each once"),
        ("time,battery_id,SoC\n", "columns time,battery_id,SoC"),
        ("time,battery_id,soc\n2026-01-05T12:00Z,b\n", "line 2: expected as many"),
        ("time,battery_id,soc\n2026-01-05T12:00Z,b,1;2\n", "'1;2': expected a number"),
        ("time,battery_id,soc\n2026-01-05T12:00,b,0.5\n", "with its zone"),
    ):
        path.write_text(text)
        code, shown = record("--csv", path)
        assert code in (1, 2) and words in shown.err and shown.err.count("\n") == 1
    path.write_bytes(b"time,battery_id\n\xff")
    assert record("--csv", path)[0] == 2
    assert record("--csv", path, "--soc", 0.3)[0] == 2
    assert record("--soc", 0.3)[0] == 2
    assert record("--soc", 0.3)[0] == 2
