"""A stored plan leaves as CSV and as JSON."""

import io
import json

import pandas as pd
from small_bridge import save_plan

import optimization
from vpp.runtime.config import load_config


def test_a_plan_is_exported(config_file, capsys, tmp_path):
    path = str(config_file(**{"battery:a": {}, "battery:b": {}}))
    config = load_config(path)
    export = ["--config", path, "export"]
    assert optimization.main(export) == 1
    assert "no plan is stored" in capsys.readouterr().err
    save_plan(config, "p1", "2025-03-30T00:00Z", steps=3)
    assert optimization.main([*export, "--csv"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(table["time"]) == [f"2025-03-30T00:{minute}:00Z" for minute in ("00", "15", "30")]
    assert list(table["b charge_kw"]) == [1, 2, 3] and list(table["a soc"]) == [0.5] * 3
    target = tmp_path / "plan.json"
    assert optimization.main([*export, "--json", "--run-id", "p1", "--output", str(target)]) == 0
    told = json.loads(target.read_text())
    assert told["run"]["run_id"] == "p1" and len(told["schedule"]) == 3
    assert [item["battery_id"] for item in told["batteries"]] == ["a", "b"]
    assert told["batteries"][1]["states"][2]["charge_kw"] == 3
    assert optimization.main([*export, "--run-id", "p2"]) == 2
    assert "run p2 is unknown; expected one of p1" in capsys.readouterr().err
    assert optimization.main([*export, "--csv", "--json"]) == 2
