"""One silent source: all else is of now, it is marked, and the exit code says so."""

import dataclasses
import json

import pandas as pd
import pytest

import communication
import db
import forecast_and_save
import generation
import optimization
import pipeline
import report
import train_forecast
from vpp.champions import requests
from vpp.champions.contenders import NAIVE
from vpp.runtime.config import load_config
from vpp.site.sources import read_sources, write_sources

FAST = {"models": "arima", "trials": 1, "origins": 2, "jobs": 1}
END = pd.Timestamp("2025-03-30T00:00Z")  # of 20 days from 10 March
SILENT = END - pd.Timedelta(days=3)
BEHIND = "solar-2: not current, its newest value ends 2025-03-27T00:00Z, 72 h before the others'"


@pytest.fixture
def config_path(config_file, tmp_path, monkeypatch):
    """The configuration of a plant of 20 days whose solar-2 is silent for the last three."""
    path = config_file(
        generation={"days": 20, "start": "2025-03-10", "wind": 1},
        training=FAST,
        forecast={"horizon_h": 24},
        optimization={"horizon_h": 24},
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(requests, "STAND_INS", (NAIVE,))  # a quick one
    config = load_config(path)
    generation.generate_files(config, config.paths.data_dir)
    cut(config.paths.data_dir, "solar", "solar-2", SILENT)
    return path


def cut(folder, kind, source_id, end):
    """Drop what a source measured from a time on."""
    path = folder / f"{kind}.csv"
    rows = pd.read_csv(path, dtype=str)
    kept = (rows["source_id"] != source_id) | (pd.to_datetime(rows["time"]) < end)
    rows[kept].to_csv(path, index=False, lineterminator="\n")


def call(script, path, *arguments) -> int:
    return script.main(["--config", str(path), *arguments])


def test_each_stage_is_of_now_and_marks_the_silent_source(config_path, capsys, tmp_path):
    config = load_config(config_path)
    communication.stream(config)
    with db.session(config) as conn:
        assert db.data_end(conn) == END

    assert call(train_forecast, config_path, "--json") == 1
    shown = capsys.readouterr()
    rows = {row["source_id"]: row for row in json.loads(shown.out) if row["champion"]}
    assert sorted(rows) == ["load-1", "market-1", "solar-1", "wind-1"]
    assert BEHIND in shown.err.splitlines()[-1]

    assert call(forecast_and_save, config_path, "--json") == 1
    shown = capsys.readouterr()
    rows = {row["source_id"]: row for row in json.loads(shown.out)}
    assert {row["issue_time"] for row in rows.values()} == {"2025-03-30T00:00Z"}
    fallbacks = {name: row["model"] for name, row in rows.items() if row["role"] == "fallback"}
    assert fallbacks == {"solar-2": NAIVE, "market-1": "arima"}  # prices are without its power
    assert rows["market-1"]["note"].startswith("forecast without solar-2: the newest is of ")
    assert "not current" in rows["solar-2"]["note"]
    assert BEHIND in shown.err.splitlines()[-1]

    assert call(optimization, config_path, "--json") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["run"]["issue_time"] == "2025-03-30T00:00Z"
    assert BEHIND in shown.err.splitlines()[-1]

    assert call(report, config_path) == 1
    page = (tmp_path / "report.html").read_text()
    assert "Solar 2: not current" in page
    assert "Market 1: forecast without solar-2: the newest is of 2025-03-27T00:00Z" in page
    assert "no champion could be used" not in page  # market-1 has one, and each says its own reason
    assert "measurements until Sun 30 Mar 2025" in page
    assert BEHIND in capsys.readouterr().err.splitlines()[-1]


def test_the_pipeline_ends_its_work_and_says_so(config_path, capsys, tmp_path):
    data = load_config(config_path).paths.data_dir
    assert call(pipeline, config_path, "--data", str(data), "--json", "summary.json") == 1
    shown = capsys.readouterr()
    assert BEHIND in shown.err.splitlines()[-1]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["issue_time"] == "2025-03-28T00:00Z"
    assert {row["source_id"] for row in summary["champions"]} == {
        "load-1",
        "market-1",
        "solar-1",
        "wind-1",
    }
    assert [stage["name"] for stage in summary["stages"]][-1] == "report"
    assert set(summary["cost_eur"].values()) == {None}  # no actual value of solar-2
    assert "not valued" in shown.out


def test_a_new_source_without_rows_is_named_and_a_plant_forecast_from_physics(config_path, capsys):
    config = load_config(config_path)
    path = config.paths.data_dir / "sources.csv"
    sources = read_sources(path)
    new = [dataclasses.replace(item, source_id=f"new-{item.kind}") for item in sources[:2]]
    cut(config.paths.data_dir, "solar", "solar-2", SILENT - pd.Timedelta(days=30))
    write_sources(path, [*sources, *new])
    communication.stream(config)
    assert call(forecast_and_save, config_path, "--json") == 1
    shown = capsys.readouterr()
    rows = {row["source_id"]: row for row in json.loads(shown.out)}
    for item, runs, model in (("new-market", 0, ""), ("solar-2", 1, "first_day")):
        assert (rows[item]["runs"], rows[item]["model"]) == (runs, model)
        assert "run python communication.py" in rows[item]["note"]
        assert item in shown.err.splitlines()[-1]
    assert rows["solar-1"]["issue_time"] == "2025-03-30T00:00Z"
    assert call(optimization, config_path, "--json") == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)["run"]["issue_time"] == "2025-03-30T00:00Z"
    assert "solar-2: no measurement yet" in shown.err.splitlines()[-1]
    assert call(report, config_path) == 1
