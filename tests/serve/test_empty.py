"""A plant without data, and one without a plan: the page and the API say what is missing."""

import pytest
from chromium import Chromium, find
from small_report import fill
from small_server import Served

import db
from vpp.runtime.config import load_config


def told(browser, identifier: str) -> str:
    return browser.run(f"document.getElementById('{identifier}').textContent")


def test_what_is_missing_is_named(config_file):
    path = config_file(serve={"port": 0})
    with Served(path) as served:
        now = served.client.get("/api/now").json()
        assert (now["plan"], now["interval"], now["clock"]) == (None, None, "wall")
        assert now["health"]["problems"] == ["there is no plan yet; run python optimization.py"]
        answer = served.client.get("/api/plan")
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            "there is no plan yet; run python optimization.py",
        )
        answer = served.client.get("/api/forecasts?source_id=wind-1")
        assert (answer.status_code, answer.json()["detail"]) == (
            422,
            "source_id wind-1 is unknown; there is none",
        )
        assert served.client.get("/api/history").json()["total"] is None
        assert "vpp_healthy 0.0" in served.client.get("/metrics").text
        if not find():
            pytest.skip("no Chromium: apt-get install chromium")
        with Chromium() as browser:
            served.open(browser, 390)
            assert browser.messages == []
            for part in ("now-body", "plan-body"):
                assert "There is no plan yet. Run python optimization.py." in told(browser, part)
            assert "There are no sources yet." in told(browser, "forecasts-body")
            config = load_config(path, {})
            fill(config, plan=False)
            with db.session(config) as conn, conn.cursor() as cur:
                cur.execute("DELETE FROM forecast_runs WHERE source_id = 'wind-1'")
            served.open(browser, 390)
            assert browser.messages == []
            shown = told(browser, "forecasts-body")
            assert shown.count("There is no forecast yet.") == 1, shown
            drawn = "document.querySelectorAll('#forecasts svg').length"
            assert browser.run(drawn) == 3, shown
        answer = served.client.get("/api/forecasts?source_id=wind-1")
        assert answer.status_code == 404
        assert answer.json()["detail"].endswith("run python forecast_and_save.py")
