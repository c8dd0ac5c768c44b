"""Prometheus's rules: promtool takes them and finds their cases; their metrics exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import PROJECT

RULES = PROJECT / "deploy" / "alerts.yml"
CASES = Path(__file__).with_name("alerts_test.yml")


@pytest.fixture
def promtool():
    found = shutil.which("promtool")
    if not found:
        pytest.skip("no promtool on this machine: apt-get install prometheus")

    def run(*arguments):
        done = subprocess.run([found, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def rules() -> list[dict]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_promtool_takes_the_rules(promtool):
    assert f"{len(rules())} rules found" in promtool("check", "rules", str(RULES))


def test_they_fire_where_they_should_and_nowhere_else(promtool, tmp_path):
    cases = CASES.read_text(encoding="utf-8").replace("ALERTS", str(RULES))
    (tmp_path / "cases.yml").write_text(cases, encoding="utf-8")
    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "cases.yml"))


def test_every_rule_has_cases_in_which_it_fires_and_stays_silent():
    tests = yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]
    asked = [case for test in tests for case in test["alert_rule_test"]]
    for rule in rules():
        own = [case.get("exp_alerts") for case in asked if case["alertname"] == rule["alert"]]
        assert any(own) and not all(own), rule["alert"]


def test_every_rule_says_what_to_do_and_names_metrics_that_are_exported():
    served = PROJECT / "vpp" / "serve" / "metrics.py"
    exported = (PROJECT / "vpp" / "stream" / "metrics.py").read_text(encoding="utf-8")
    if served.exists():
        exported += served.read_text(encoding="utf-8")
    for rule in rules():
        assert {"summary", "what_to_do"} == set(rule["annotations"]), rule["alert"]
        for name in re.findall(r"\bvpp_\w+", rule["expr"]):
            if name.startswith("vpp_sink_") or served.exists():
                assert f'"{name.removesuffix("_total")}"' in exported, name
