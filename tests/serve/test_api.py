"""The HTTP API as a client sees it: rows of the tables, and refusals in one line.

The server runs in a process of its own, on a real database.
"""

import json
from datetime import UTC, datetime, timedelta

import httpx
import pandas as pd
import pytest
from small_api import ORDER, STATE, count, detail
from small_plant import NOW
from small_report import ISSUE

import db
from vpp.schedule.problem_file import problem_schema
from vpp.serve.now import _age_s, _reason, _spoken
from vpp.storage.jobs import record_clock
from vpp.storage.overrides import Override

ROUTES = ["/metrics", "/api/now", "/api/plan", "/api/forecasts?source_id=wind-1", "/api/history"]


def columns(config, table: str) -> set[str]:
    with db.session(config) as conn, conn.cursor() as cur:
        cur.execute(f"SELECT * FROM {table} LIMIT 0")
        return {column.name for column in cur.description}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Cookie": "vpp_00000000=0000"},
        {"Cookie": 'vpp_00000000="\\'},
    ],
    ids=str,
)
def test_without_the_token_nothing_is_read(served, headers):
    for route in [*ROUTES, "/api/events", "/nothing"]:
        answer = httpx.get(served.url + route, headers=headers, trust_env=False)
        assert answer.status_code == 401, route
        assert "python serve.py --show-token" in detail(answer)


@pytest.mark.parametrize("route", ["solve", "state", "override"])
def test_without_the_token_nothing_is_written(served, plant, route):
    before = [count(plant, table) for table in ("battery_states", "overrides")]
    for body in (json.dumps(STATE).encode(), json.dumps(ORDER).encode(), b"x" * 9_000_000):
        answer = httpx.post(f"{served.url}/api/{route}", content=body, trust_env=False)
        assert answer.status_code == 401, answer.text
    assert [count(plant, table) for table in ("battery_states", "overrides")] == before


def test_health_needs_no_token_and_tells_nothing(served):
    answer = httpx.get(f"{served.url}/health", trust_env=False)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_every_answer_has_the_security_headers(served):
    with httpx.Client(base_url=served.url, trust_env=False) as anybody:
        for path in ("/health", "/api/now", "/nothing", "/", "/assets/page.js", "/openapi.json"):
            for client in (served.client, anybody):
                headers = client.get(path).headers
                policy = headers["content-security-policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
                assert "unsafe" not in policy and "http" not in policy
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["cache-control"] == "no-store"
                assert not [name for name in headers if name.startswith("access-control")]
                assert "server" not in headers


def test_the_page_is_for_those_who_have_the_token(served):
    for headers, status in (({}, 401), ({"Authorization": f"Bearer {served.token}"}, 200)):
        answer = httpx.get(served.url, headers=headers, trust_env=False)
        assert answer.status_code == status
        assert ('id="now"' in answer.text) == (status == 200)
    for query in ("token=wrong", "token=", f"token=wrong&token={served.token}x"):
        answer = httpx.get(f"{served.url}/?{query}", trust_env=False)
        assert answer.status_code == 401 and "set-cookie" not in answer.headers
        assert "This is not the token." in answer.text


def test_a_page_of_another_origin_may_not_write(served):
    with httpx.Client(base_url=served.url, trust_env=False) as client:
        assert client.post("/login", data={"token": "wrong"}).status_code == 401
        entered = client.post("/login", data={"token": served.token})
        assert entered.status_code == 303
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and served.token not in cookie
        assert client.get("/api/now").status_code == 200
        for origin in ({}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
            answer = client.post("/api/state", json=STATE, headers=origin)
            assert answer.status_code == 403 and detail(answer)
        answer = client.post("/api/state", json=STATE, headers={"Origin": served.url})
        assert answer.status_code == 200


def test_the_plan_has_the_rows_of_the_tables(served, plant):
    found = served.client.get("/api/plan").json()
    with db.session(plant) as conn:
        run, schedule, states = db.read_schedule(conn)
    assert set(found["run"]) == columns(plant, "schedule_runs")
    assert found["run"]["run_id"] == run["run_id"]
    assert found["run"]["issue_time"] == "2025-03-12T23:00:00Z"
    assert set(found["schedule"][0]) == columns(plant, "schedules")
    for row, (time, stored) in zip(found["schedule"], schedule.iterrows(), strict=True):
        assert pd.Timestamp(row["time"]) == time and row["time"].endswith("Z")
        assert row["grid_import_kw"] == stored["grid_import_kw"]
        assert row["reason"] == stored["reason"]
    assert [one["battery_id"] for one in found["batteries"]] == ["battery-1", "cellar"]
    own = found["batteries"][1]["states"]
    assert set(own[0]) == columns(plant, "battery_states")
    assert [row["soc"] for row in own] == list(states[states["battery_id"] == "cellar"]["soc"])


def test_the_plans_money_adds_up_to_its_cost(served):
    found = served.client.get("/api/plan").json()
    costs = found["costs"]
    assert [row["time"] for row in costs] == [row["time"] for row in found["schedule"]]
    run = found["run"]
    assert sum(row["cost_eur"] for row in costs) == pytest.approx(run["cost_eur"], abs=1e-6)
    alone = sum(row["cost_no_battery_eur"] for row in costs)
    assert alone == pytest.approx(run["cost_no_battery_eur"], abs=1e-6)
    assert found["changes"] and all(" kW instead of " in text for text in found["changes"])


def test_bands_are_the_sums_of_the_plants(served):
    bands = {row["time"]: row for row in served.client.get("/api/plan").json()["bands"]}
    values = [
        served.client.get(f"/api/forecasts?source_id={name}").json()["values"]
        for name in ("solar-1", "wind-1")
    ]
    assert len(bands) == 48
    for one, other in zip(*values, strict=True):
        band = bands[one["valid_time"]]
        assert band["q10_kw"] == pytest.approx(one["q10"] + other["q10"])
        assert band["q90_kw"] == pytest.approx(one["q90"] + other["q90"])


def test_a_named_run_and_one_that_is_not_there(served):
    first = served.client.get("/api/plan").json()["run"]["run_id"]
    assert served.client.get(f"/api/plan?run_id={first}").json()["run"]["run_id"] == first
    answer = served.client.get("/api/plan?run_id=nothing")
    assert (answer.status_code, detail(answer)) == (404, "run_id 'nothing': there is no such run")


def test_forecasts_have_the_rows_of_the_tables(served, plant):
    found = served.client.get("/api/forecasts?source_id=market-1").json()
    assert set(found["run"]) == columns(plant, "forecast_runs")
    assert found["run"]["role"] == "champion"
    assert pd.Timestamp(found["run"]["issue_time"]) == ISSUE
    assert set(found["values"][0]) == columns(plant, "forecasts")
    assert len(found["values"]) == 48
    assert set(found["actual"][0]) == {"time", "price_eur_per_mwh"}


def test_now_is_the_interval_of_the_data_end(served):
    now = served.client.get("/api/now").json()
    assert pd.Timestamp(now["time"]) == NOW and now["clock"] == "data"
    assert now["interval"]["time"] == "2025-03-13T13:00:00Z"
    planned = now["power"]["planned"]
    supply = ("discharge_kw", "renewables_kw", "grid_import_kw")
    demand = ("charge_kw", "load_kw", "grid_export_kw", "curtailed_kw")
    total = [sum(planned[name] for name in names) for names in (supply, demand)]
    assert total[0] == pytest.approx(total[1])
    first = now["batteries"][0]
    assert first["state"]["kind"] == "measured" and first["age_s"] == 300
    assert first["doing"] in ("charge", "discharge", "hold")
    assert first["next"]["doing"] != first["doing"]
    assert pd.Timestamp(first["next"]["time"]) > NOW
    assert first["reason"].startswith(first["doing"])
    sources = [row["source_id"] for row in now["health"]["sources"]]
    assert sources == ["load-1", "market-1", "solar-1", "wind-1"]
    assert now["health"]["jobs"][0]["job"] == "plan"


@pytest.mark.parametrize("replayed", [True, False])
def test_now_after_a_replay_is_no_time_of_another_clock(served, plant, replayed):
    """A device beside a replay has the time of the wall; without a replay that is the plant's."""
    later, at = NOW + pd.Timedelta("300d"), NOW.to_pydatetime()
    with db.session(plant) as conn, conn.cursor() as cur:
        cur.execute(
            "INSERT INTO battery_states (battery_id, kind, run_id, time, soc)"
            " VALUES ('cellar', 'measured', '', %s, 0.5)",
            (later.to_pydatetime(),),
        )
        if replayed:
            record_clock(conn, plant.site.site_id, "", at, 3600.0)
            cur.execute("UPDATE operations SET beat_at = now() - interval '1 day'")
        conn.commit()
        try:
            now = served.client.get("/api/now").json()
        finally:
            cur.execute("DELETE FROM battery_states WHERE time = %s", (later.to_pydatetime(),))
            cur.execute("DELETE FROM operations")
            conn.commit()
    assert pd.Timestamp(now["time"]) == (NOW if replayed else later)
    ended = any("the newest plan ended" in text for text in now["health"]["problems"])
    assert ended != replayed


def test_what_is_measured_now_has_ended(served, plant):
    """A replay over stored rows has the interval that runs already."""
    with db.session(plant) as conn, conn.cursor() as cur:
        before = served.client.get("/api/now").json()["power"]["measured"]
        query = "INSERT INTO load SELECT %s, source_id, 7, now() FROM load LIMIT 1"
        cur.execute(query, ((NOW - pd.Timedelta("30min")).to_pydatetime(),))
        conn.commit()
        try:
            assert served.client.get("/api/now").json()["power"]["measured"] == before
        finally:
            cur.execute("DELETE FROM load WHERE power_kw = 7")
            conn.commit()


def test_a_battery_has_a_reason_of_its_own():
    """The reason of an interval speaks of the battery that moves most."""
    at, later = datetime(2025, 3, 13, 13, tzinfo=UTC), datetime(2025, 3, 13, 14, tzinfo=UTC)

    def row(name, time, charge_kw, discharge_kw=0.0):
        powers = {"charge_kw": charge_kw, "discharge_kw": discharge_kw}
        return {"battery_id": name, "time": time} | powers

    plans = {
        "big": [row("big", at, 50.0), row("big", later, 0.0)],
        "small": [row("small", at, 0.0), row("small", later, 0.0, 3.0)],
    }
    schedule = [{"time": at, "reason": "charge: cheap"}, {"time": later, "reason": "discharge: x"}]
    spoken = _spoken(schedule, plans)
    assert spoken == {("big", at): "charge: cheap", ("small", later): "discharge: x"}
    assert _reason(plans["small"][0], None, spoken) is None
    order = Override("small", "hold", name="A", reason="fault")
    assert _reason(plans["small"][0], order, spoken) == "hold is ordered by A: fault"
    assert _reason(None, Override("small", "off"), spoken) == "off is ordered"


def test_a_simulated_state_is_that_of_the_end_of_its_interval():
    at, hour = datetime(2025, 3, 13, 16, tzinfo=UTC), timedelta(hours=1)
    ages = [
        _age_s({"time": at, "kind": kind}, at + 1.4 * hour, hour)
        for kind in ("measured", "simulated")
    ]
    assert ages == [5040, 1440]


def test_history_is_the_ledgers(served):
    found = served.client.get("/api/history?period=day&date=2025-03-13").json()
    assert (found["start"], found["end"]) == ("2025-03-12T23:00:00Z", "2025-03-13T23:00:00Z")
    assert (found["previous"], found["next"]) == ("2025-03-12", "2025-03-14")
    assert len(found["rows"]) == 14  # until the data end
    total = found["total"]
    assert sum(row["cost_eur"] for row in found["rows"]) == pytest.approx(total["cost_eur"])
    assert total["cycles"] == pytest.approx(total["discharge_kwh"] / 2400)
    week = served.client.get("/api/history?period=week&date=2025-03-13").json()
    assert (week["start"], week["next"]) == ("2025-03-09T23:00:00Z", "2025-03-17")
    assert 0 < week["total"]["captured_share"] <= 1
    days = [row["cost_eur"] for row in week["rows"]]
    assert len(days) == 2 and sum(days) == pytest.approx(week["total"]["cost_eur"])
    assert served.client.get("/api/history?date=2031-01-01").json()["total"] is None
    # a local day of 23 hours
    spring = served.client.get("/api/history?date=2025-03-30").json()
    assert (spring["start"], spring["end"]) == ("2025-03-29T23:00:00Z", "2025-03-30T22:00:00Z")


def test_metrics_are_prometheus(served):
    from prometheus_client.parser import text_string_to_metric_families

    text = served.client.get("/metrics").text
    families = {one.name: one.samples for one in text_string_to_metric_families(text)}
    ages = {one.labels["source_id"]: one.value for one in families["vpp_source_age_seconds"]}
    assert ages["load-1"] == 0
    assert families["vpp_plan_age_seconds"][0].value == 14 * 3600
    assert families["vpp_battery_soc"][0].value == pytest.approx(0.42)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/forecasts", "source_id: Field required"),
        ("/api/forecasts?source_id=x", "source_id x is unknown; expected one of "),
        ("/api/forecasts?source_id=%00", "is unknown"),
        ("/api/forecasts?source_id=weather-1", "is unknown"),
        ("/api/now?x=1", "unknown parameter 'x'; expected one of site"),
        ("/health?x=1", "unknown parameter 'x'"),
        ("/api/plan?run_id=a&run_id=b", "parameter run_id comes twice"),
        ("/api/plan?run_id=%00", "run_id"),
        ("/api/history?period=hour", "period = 'hour'"),
        ("/api/history?date=2025-02-30", "date 2025-02-30: expected a day"),
        ("/api/history?date=0000-01-01", "date 0000-01-01: expected a day"),
        ("/api/history?date=9999-12-31&period=year", "date 9999-12-31: expected a day"),
        ("/api/history?date=%D9%A1", "date"),
    ],
)
def test_impossible_parameters_are_one_line(served, path, words):
    answer = served.client.get(path)
    assert answer.status_code == 422
    assert words in detail(answer)


def test_the_description_tells_all_routes(served):
    found = served.client.get("/openapi.json").json()
    assert found["openapi"].startswith("3.1")
    assert set(found["paths"]) == {
        *("/health", "/metrics", "/api/now", "/api/plan", "/api/forecasts", "/api/history"),
        *("/api/solve", "/api/state", "/api/override", "/api/events", "/api/sites"),
    }
    content = found["paths"]["/api/solve"]["post"]["requestBody"]["content"]
    assert set(content["application/json"]["schema"]["properties"]) == set(
        problem_schema()["properties"]
    )


def test_whatever_the_description_allows_is_no_server_error(served):
    import requests
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings

    session = requests.Session()
    schema = schemathesis.openapi.from_dict(served.client.get("/openapi.json").json())
    quick = settings(
        max_examples=8,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    asked = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == "/api/events":  # does not end
            continue

        @quick
        @given(case=operation.as_strategy())
        def ask(case):
            headers = {"Authorization": f"Bearer {served.token}"}
            # not case.call, which needs an urllib3 that no other library has replaced
            asking = case.as_transport_kwargs(base_url=served.url)
            asking["headers"].update(headers)  # the description's own are made up
            answer = session.send(requests.Request(**asking).prepare(), timeout=60)
            assert answer.status_code < 500, answer.text
            asked.append(answer.status_code)

        ask()
    assert len(asked) > 40 and 200 in asked and 422 in asked
