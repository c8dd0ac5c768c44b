"""Grafana's dashboards as files: panels, links, the data source and what the code makes."""

import importlib
import re

import yaml
from conftest import PROJECT
from small_dashboards import DASHBOARDS, FOLDER, panel

from vpp.site.kinds import KINDS, SERIES_KINDS


def test_the_link_to_the_newest_data_stays_on_its_dashboard():
    for name in ("operations", "plant", "forecasts", "value"):
        [link] = panel(name, "Newest data")["fieldConfig"]["defaults"]["links"]
        assert link["url"].startswith(
            f"/d/{DASHBOARDS[name]['uid']}?from=${{__data.fields.begins.numeric}}&to="
        ), name


def test_a_panel_lies_in_its_row_and_asks_the_provisioned_data_source():
    provisioned = yaml.safe_load(
        (FOLDER / "provisioning" / "datasources" / "timescaledb.yaml").read_text()
    )["datasources"][0]
    for name, board in DASHBOARDS.items():
        taken = set()
        assert [item["id"] for item in board["panels"]] == list(range(1, len(board["panels"]) + 1))
        for item in board["panels"]:
            place = item["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken and max(x for x, _ in cells) < 24, (name, item["title"])
            taken |= cells
            for target in item["targets"]:
                assert target["datasource"] == {
                    "type": provisioned["type"],
                    "uid": provisioned["uid"],
                }
                assert not re.search(r"time_bucket|time_weight|first\(|last\(", target["rawSql"])


def test_the_files_are_what_the_code_makes(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    made = importlib.import_module("make_dashboards").texts()
    kept = {path.name: path.read_text("utf-8") for path in FOLDER.glob("dashboards/*.json")}
    assert made == kept, "run python deploy/grafana/make_dashboards.py"


def test_grafana_logs_in_with_the_role_that_only_reads():
    source = yaml.safe_load(
        (FOLDER / "provisioning" / "datasources" / "timescaledb.yaml").read_text()
    )["datasources"][0]
    grafana = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]["grafana"]
    assert source["user"] == "vpp_read" and source["secureJsonData"] == {
        "password": "$__file{/run/secrets/read_password}"
    }
    assert (
        "read_password" in grafana["secrets"]
        and source["url"] == "timescaledb:5432"
        and source["jsonData"]["database"] == "vpp"
    )
    provider = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "vpp.yaml").read_text())[
        "providers"
    ][0]
    folder = provider["options"]["path"]
    assert f"./deploy/grafana/dashboards:{folder}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (
        home.startswith(folder)
        and (FOLDER / "dashboards" / home.removeprefix(f"{folder}/")).exists()
    )


def test_the_dashboards_read_the_tables_of_the_kinds():
    stream = (FOLDER / "dashboards" / "stream.json").read_text()
    forecasts = (FOLDER / "dashboards" / "forecasts.json").read_text()
    for kind in KINDS.values():
        assert f"AS stored FROM {kind.table} WHERE" in stream
        assert (f"{kind.value} AS value FROM {kind.table} WHERE" in forecasts) == (
            kind.name in SERIES_KINDS
        )
