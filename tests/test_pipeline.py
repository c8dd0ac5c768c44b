"""The main job end to end on real servers, twice, and what happens when it is interrupted."""

import json
import os
import signal
import subprocess

import numpy as np
import pandas as pd
import pytest

import db
import pipeline
from vpp.planning import valuation
from vpp.report import content
from vpp.runtime.config import load_config

pytestmark = pytest.mark.usefixtures("elsewhere")
FAST = {"models": "arima", "trials": 1, "origins": 2, "jobs": 1}


def check(summary: dict, config) -> dict[str, int]:
    """The promises of every run; returns the rows of each measurement table."""
    for topic, counts in summary["rows"].items():
        assert counts["produced"] > 0, topic
        assert counts["stored"] == counts["produced"] - counts["dlq"], topic
    for champion in summary["champions"]:
        assert champion["mae_ratio_naive"] < 1 or champion["model"] == "seasonal_naive"
    cost = summary["cost_eur"]
    tolerance = 1e-6 * max(1.0, abs(cost["no_battery"]))
    assert cost["perfect_foresight"] <= cost["plan"] + tolerance
    assert cost["perfect_foresight"] <= cost["rule"] + tolerance
    assert cost["perfect_foresight"] <= cost["no_battery"] + tolerance
    saved = cost["no_battery"] - cost["perfect_foresight"]
    assert cost["captured_share"] == pytest.approx(
        (cost["no_battery"] - cost["plan"]) / saved, rel=1e-6
    )
    value, money = valuation.value_plan(config), content.read_content(config).money
    assert cost == {name: value[name] for name in cost}
    assert money.total_eur | {"captured_share": money.captured_share} == cost
    with db.session(config) as connection:
        run, schedule, _ = db.read_schedule(connection, kind="plan")
        counts = db.count_rows(connection)
    assert run["cost_eur"] <= run["cost_no_battery_eur"] + tolerance  # both at forecast values
    step = schedule.index[1] - schedule.index[0]
    assert len(schedule) * step.total_seconds() / 3600 == pipeline.HELD_BACK_H
    return counts


def test_twice_on_generated_data(config_file, tmp_path, capsys):
    path = config_file(generation={"days": 30, "start": "2025-03-10"}, training=FAST)
    config, summaries, counts = load_config(path), [], []
    for name in ("first.json", "second.json"):
        assert pipeline.main(["--config", str(path), "--json", str(tmp_path / name)]) == 0
        summaries.append(json.loads((tmp_path / name).read_text()))
        counts.append(check(summaries[-1], config))
    assert counts[0] == counts[1], "the second run doubled something"
    assert summaries[0]["rows"] == summaries[1]["rows"]
    assert summaries[0]["cost_eur"] == pytest.approx(summaries[1]["cost_eur"])
    # 30 days of hours: 2 plants a kind, and prices to the end of the local day of the data end
    # (22:00 UTC in summer: 22 more)
    assert summaries[0]["rows"][config.kafka.topic_prefix + "solar-topic"] == {
        "produced": 1440,
        "stored": 1440,
        "dlq": 0,
    }
    assert summaries[0]["rows"][config.kafka.topic_prefix + "market-topic"] == {
        "produced": 742,
        "stored": 742,
        "dlq": 0,
    }
    assert {row["source_id"] for row in summaries[0]["champions"]} == {
        "solar-1",
        "solar-2",
        "wind-1",
        "wind-2",
        "load-1",
        "market-1",
    }
    printed = capsys.readouterr().out
    assert "captured share of what perfect foresight saves" in printed
    assert "report: " in printed


def test_on_a_real_month(config_file, tmp_path, real_data, script):
    with (real_data / "lu_2024_15min_utc.csv").open() as file:
        lines = [next(file) for _ in range(1 + 96 * 28)]
    (tmp_path / "month.csv").write_text("".join(lines))
    path = config_file(
        training=FAST,
        grid={"import_limit_kw": 1e6, "export_limit_kw": 1e6},
        **{"battery:lu": {"capacity_kwh": 100_000, "charge_kw": 50_000, "discharge_kw": 50_000}},
    )
    columns = [
        "--solar",
        "pv_mw:MW",
        "--wind",
        "wind_mw:MW",
        "--load",
        "load_mw:MW",
        "--price",
        "price_da_eur_mwh:EUR/MWh",
    ]
    command = script(
        "sources.py",
        "import",
        tmp_path / "month.csv",
        "--time-column",
        "time_utc",
        "--tz",
        "UTC",
        *columns,
    )
    subprocess.run(
        [*command, "--output", str(tmp_path / "real"), "--config", str(path)],
        check=True,
        capture_output=True,
        cwd=tmp_path,
    )
    assert (
        pipeline.main(
            [
                "--config",
                str(path),
                "--data",
                str(tmp_path / "real"),
                "--json",
                str(tmp_path / "s.json"),
            ]
        )
        == 0
    )
    summary = json.loads((tmp_path / "s.json").read_text())
    check(summary, load_config(path))
    assert {tuple(counts.values()) for counts in summary["rows"].values()} == {
        (2688, 2688, 0)
    }  # 28 days of 96 quarter-hours


def test_other_data_in_the_database_is_told(config_file, capsys):
    path = config_file(generation={"days": 20}, training=FAST)
    config = load_config(path)
    other = db.Source("wind-of-before", "wind", "Before", "site-1", 10.0, 60, 49.6, 6.1, "UTC", {})
    with db.session(config) as connection:
        db.upsert_sources(connection, [other])
        times = pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC").as_unit("us").asi8
        columns = {
            "source": np.zeros(3, int),
            "time": times,
            "power_kw": np.ones(3),
            "sent_at": times,
        }
        db.store_measurements(connection, "renewables", [other.source_id], columns)
    assert pipeline.main(["--config", str(path)]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "start anew with python db.py reset --yes" in message


@pytest.mark.parametrize("stage", ["generate", "train"])
def test_interrupted_and_run_again(stage, config_file, script, tmp_path):
    path = config_file(generation={"days": 25}, training=FAST)
    process = subprocess.Popen(
        script("pipeline.py", "--config", path),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        cwd=tmp_path,
    )
    for line in process.stderr:
        if line.rstrip().endswith(f": {stage}"):
            os.killpg(
                process.pid, signal.SIGINT
            )  # as a terminal does: to the script and its workers
            break
    rest = process.stderr.read()
    assert process.wait(timeout=30) == 130, rest
    assert (
        rest.rstrip().splitlines()[-1]
        == "pipeline.py: interrupted; run the same command again to complete it"
    )
    data = load_config(path).paths.data_dir
    assert not data.exists() or {entry.name for entry in data.iterdir() if entry.is_file()} in (
        set(),
        {
            "solar.csv",
            "wind.csv",
            "load.csv",
            "market.csv",
            "weather.csv",
            "weather_forecast.csv",
            "sources.csv",
        },
    )
    assert pipeline.main(["--config", str(path)]) == 0


def test_watch_operates_with_its_period(config_file, monkeypatch):
    """`--watch N` is `operate` on the wall's clock with a plan every N minutes."""
    told = []
    monkeypatch.setattr(pipeline, "run_operation", lambda *given: told.append(given) or 0)
    path = str(config_file())
    assert pipeline.main(["--config", path, "--watch", "30"]) == 0
    assert pipeline.main(["--config", path, "operate"]) == 0
    periods = [config.operation.plan_every_min for config, *_ in told]
    assert periods == [30, 60]
    assert [given[1:4] for given in told] == [(False, None, 1.0)] * 2


def test_data_folder_without_sources(config_file, tmp_path, capsys):
    assert pipeline.main(["--config", str(config_file()), "--data", str(tmp_path)]) == 1
    assert "sources.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [["--json", "."], ["--watch", "0"], ["--watch", "nan"], ["--watch", "5", "--json", "s.json"]],
)
def test_wrong_arguments_are_refused_before_any_work(
    wrong, config_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert pipeline.main(["--config", str(config_file()), *wrong]) == 2
    assert wrong[0] in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_page_that_cannot_be_written_is_refused_before_any_work(
    config_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report.html").mkdir()
    assert pipeline.main(["--config", str(config_file())]) == 2
    assert capsys.readouterr().err.endswith(
        "report.html: cannot be written: is a folder; name a file in a folder you may write\n"
    )
    assert not (tmp_path / "data").exists()
