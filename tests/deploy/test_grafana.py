"""Grafana's dashboards: every query of every panel runs on the real schema and returns rows.

The files are what the code makes.
"""

import numpy as np
import pandas as pd
import psycopg2
import pytest
from small_dashboards import DASHBOARDS, panel
from small_dashboards import expand as expand_for

import db
from sources import Source
from vpp.runtime.settings import BatteryParameters
from vpp.storage import ledger

ISSUE_TIME = pd.Timestamp("2025-03-29T00:00Z")
HOURS = pd.date_range(ISSUE_TIME - pd.Timedelta("24h"), periods=48, freq="h")
CAPACITY_KW = {"solar": 1000.0, "wind": 1000.0, "load": 1000.0, "market": None, "weather": None}
SOURCES = [
    Source(
        f"{kind}-1",
        kind,
        kind.capitalize(),
        "site-1",
        capacity,
        60,
        49.6,
        6.1,
        "Europe/Brussels",
        {},
    )
    for kind, capacity in CAPACITY_KW.items()
]
BATTERY = BatteryParameters("battery-1", capacity_kwh=200.0)


def expand(query: str, board: dict) -> str:
    return expand_for(query, board, [source.source_id for source in SOURCES])


def microseconds(time: pd.Timestamp) -> int:
    return time.value // 1000


def store(conn, table: str, source_id: str, **values) -> None:
    count = len(HOURS)
    columns = {"source": np.zeros(count, np.int32), "time": HOURS.as_unit("us").asi8}
    columns |= {name: np.full(count, value) for name, value in values.items()}
    db.store_measurements(
        conn,
        table,
        [source_id],
        columns | {"sent_at": np.full(count, microseconds(pd.Timestamp.now("UTC")))},
    )
    conn.commit()


def fill(conn) -> None:
    """Two days of measurements, and a forecast and a plan of the second day, which was valued at
    what came.

    Load 500 kW, solar 200, wind 100, price 80 EUR/MWh: without a battery 200 kW are imported. The
    plan discharges 100 kW in the first hour of the day and charges 100 kW in the second. A plan of
    the same time with another battery was valued before it."""
    db.upsert_sources(conn, SOURCES)
    db.upsert_batteries(conn, [BATTERY])
    store(conn, "renewables", "solar-1", power_kw=200.0)
    store(conn, "renewables", "wind-1", power_kw=100.0)
    store(conn, "load", "load-1", power_kw=500.0)
    store(
        conn,
        "market_prices",
        "market-1",
        price_eur_per_mwh=80.0,
        available_at=microseconds(ISSUE_TIME - pd.Timedelta("2D")),
    )
    store(conn, "weather", "weather-1", ghi=0.0, dni=0.0, dhi=0.0, temp_air=5.0, wind_speed=4.0)
    day = HOURS[24:]
    save_forecasts(conn, day)
    save_plans(conn, day)
    db.save_stream_status(conn, {"load-topic": (7, 2)})
    measured = pd.DataFrame({"battery_id": "battery-1", "kind": "measured", "soc": 0.4}, HOURS[:24])
    db.save_battery_states(conn, measured)
    conn.commit()
    fill_operation(conn)


def save_forecasts(conn, day) -> None:
    runs = []
    for source, level in (
        ("solar-1", 220.0),
        ("wind-1", 100.0),
        ("load-1", 500.0),
        ("market-1", 80.0),
    ):
        band = {f"q{q:02}": level * (1 + (q - 50) / 100) for q in (5, 10, 25, 50, 75, 90, 95)}
        runs.append(
            (
                db.ForecastRun(source, "test", "1", ISSUE_TIME, ISSUE_TIME, "champion"),
                pd.DataFrame({"value": level, **band}, day),
            )
        )
    db.save_forecasts(conn, runs)


def save_plans(conn, day) -> None:
    discharge = np.r_[100.0, np.zeros(23)]
    charge = np.r_[0.0, 100.0, np.zeros(22)]
    schedule = pd.DataFrame(
        {"grid_import_kw": 200.0 - discharge + charge, "grid_export_kw": 0.0}, day
    )
    schedule = schedule.assign(
        load_kw=500.0,
        renewables_kw=300.0,
        curtailed_kw=0.0,
        stored_value_eur_per_mwh=80.0,
        reason="because",
    )
    schedule = schedule.assign(
        import_price_eur_per_mwh=np.r_[100.0, 50.0, np.full(22, 80.0)],
        export_price_eur_per_mwh=40.0,
    )
    states = pd.DataFrame(
        {
            "battery_id": "battery-1",
            "soc": 0.5,
            "energy_kwh": 100.0,
            "charge_kw": charge,
            "discharge_kw": discharge,
        },
        day,
    )
    before = [
        (f"{kind} before", kind, cost)
        for kind, cost in (("plan", -1.0), ("actual", -1.0), ("perfect", -2.0))
    ]
    for run_id, kind, cost in [
        *before,
        ("plan", "plan", -8.0),
        ("perfect", "perfect", -10.0),
        ("actual", "actual", -6.0),
    ]:
        run = {
            "run_id": run_id,
            "site_id": "site-1",
            "issue_time": ISSUE_TIME,
            "kind": kind,
            "status": "optimal",
        }
        run |= {
            "certificate": "lp-exact",
            "gap": 0.0,
            "objective_eur": cost,
            "cost_eur": cost,
            "seconds": 0.1,
        }
        run |= {"cost_no_battery_eur": 0.0, "cost_rule_eur": -2.0}
        db.save_schedule(conn, run, schedule, states)


def fill_operation(conn) -> None:
    """A ledger of the second day, of which an hour was corrected, an alert, a job, an order and an
    acknowledgement: each hour costs 3 EUR, 5 without a battery; 50 kWh are discharged in one."""
    row = dict.fromkeys(ledger.NUMBERS, 0.0) | {
        "step_min": 60,
        "plan_id": "plan",
        "currency": "EUR",
    }
    row |= {"energy_eur": 2.0, "wear_eur": 1.0, "cost_eur": 3.0, "cost_no_battery_eur": 5.0}
    rows = pd.DataFrame([row | {"planned_cost_eur": 2.5, "done": "plan"}] * 24, HOURS[24:])
    rows["batteries"] = [
        {"battery-1": {"soc": 0.5, "charge_kw": 0.0, "discharge_kw": 50.0 * (hour == 3)}}
        for hour in range(24)
    ]
    rows.loc[HOURS[24:30], "done"] = "measured"
    ledger.save_versions(conn, "site-1", rows)
    ledger.save_versions(conn, "site-1", rows[:1].assign(cost_eur=4.0))
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "INSERT INTO alerts (rule, subject, fired_at, message, what_to_do)"
            " VALUES ('plan_late', 'site-1', %s, 'late', 'look')",
            (ISSUE_TIME,),
        )
        cursor.execute(
            "INSERT INTO jobs (site_id, job, state) VALUES ('site-1', 'plan', 'waiting')"
        )
        cursor.execute(
            "INSERT INTO overrides (battery_id, override, name, reason)"
            " VALUES ('battery-1', 'hold', 'me', 'test')"
        )
        cursor.execute(
            "INSERT INTO acknowledgements (battery_id, plan_id, valid_from, status)"
            " VALUES ('battery-1', 'plan', %s, 'accepted')",
            (ISSUE_TIME,),
        )


@pytest.fixture
def query(database_url):
    """Function that runs one query on a filled database; rows as dictionaries."""
    conn = db.connect_url(database_url, 20)
    fill(conn)

    def run(text: str) -> list[dict]:
        with conn, conn.cursor() as cursor:
            cursor.execute(text)
            return [
                dict(zip([column.name for column in cursor.description], row, strict=True))
                for row in cursor
            ]

    yield run
    conn.close()


def test_every_query_of_every_dashboard_returns_rows(query):
    assert set(DASHBOARDS) == {"operations", "plant", "forecasts", "stream", "value"}
    wrong = []
    for name, board in DASHBOARDS.items():
        queries = [(item["name"], item["query"]) for item in board["templating"]["list"]]
        queries += [
            (item["title"], target["rawSql"])
            for item in board["panels"]
            for target in item["targets"]
        ]
        for title, text in queries:
            try:
                rows = query(expand(text, board))
            except psycopg2.Error as error:
                wrong.append(f"{name}, {title}: {error}")
                continue
            if not any(
                value is not None for row in rows for key, value in row.items() if key != "time"
            ):
                wrong.append(f"{name}, {title}: no rows")
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def ask(query):
    """Function that gives the rows of a panel."""

    def asked(board: str, title: str, target: int = 0) -> list[dict]:
        return query(expand(panel(board, title)["targets"][target]["rawSql"], DASHBOARDS[board]))

    return asked


def test_operations_and_forecasts_are_those_worked_out_by_hand(ask):
    power = {row["metric"]: row["power_kw"] for row in ask("operations", "Power by kind")}
    assert power == {"solar": 200.0, "wind": 100.0, "load": 500.0}
    assert {row["without battery"] for row in ask("operations", "Net grid power")} == {200.0}
    assert [row["planned"] for row in ask("operations", "Net grid power", 1)][:3] == [
        100.0,
        300.0,
        200.0,
    ]
    soc = ask("operations", "State of charge")  # measured on the first day, planned on the second
    assert [row["soc"] for row in soc] == [0.4] * 24 + [0.5] * 24
    # every actual lies in its band (solar: q10 = 132 <= 200 <= q90 = 308); |220 - 200| / (200 + 100
    # + 500 + 80) = 2.27 %
    assert float(ask("forecasts", "Coverage of the 80 % band")[0]["coverage"]) == 1.0
    for title, name, groups in (
        ("Coverage by lead time", "lead time", ["0 h on", "6 h on", "12 h on", "18 h on"]),
        ("Coverage by local hour", "hour", [f"{hour:02d}" for hour in range(24)]),
        ("Coverage by season", "season", ["spring"]),
    ):
        rows = ask("forecasts", title)
        assert [row[name] for row in rows] == groups
        assert {float(row["coverage"]) for row in rows} == {1.0}
    leads = ask("forecasts", "Error by lead time")
    assert [row["lead time"] for row in leads] == ["0–6 h", "6–12 h", "12–18 h", "18–24 h"]
    assert [row["error"] for row in leads] == pytest.approx([20 / 880] * 4)
    accuracy = {row["source"]: row for row in ask("forecasts", "Accuracy by source")}
    assert (
        accuracy["solar-1"]["values"] == 24
        and accuracy["solar-1"]["MAE"] == accuracy["solar-1"]["bias"] == 20.0
    )


def test_values_and_the_stream_are_those_worked_out_by_hand(ask):
    # (0 - -6) / (0 - -10) = 60 % captured; 100 kWh at 100 saved, 100 kWh at 50 paid: 10 - 5 = 5
    # EUR; 100 / 200 kWh = half a cycle
    assert ask("value", "Captured share")[0].popitem()[1] == pytest.approx(0.6)
    assert ask("value", "Saved against the simple rule")[0].popitem()[1] == pytest.approx(4.0)
    assert ask("value", "Saved against no battery")[0].popitem()[1] == pytest.approx(6.0)
    assert [row["plan"] for row in ask("value", "Cost against the baselines")] == [-6.0]
    assert [row["plan"] for row in ask("value", "Cost at forecast values")] == [-8.0]
    saved = [row["saved"] for row in ask("value", "Planned saving, added up")]
    assert saved == pytest.approx([10.0] + [5.0] * 23)
    assert [row["cycles"] for row in ask("value", "Cycles by day")] == pytest.approx([0.5])
    # by the newest versions: 23 hours at 3 EUR and one at 4, each 5 without; 50 of 200 kWh
    assert ask("plant", "Cost")[0]["value"] == pytest.approx(73.0)
    assert ask("plant", "Saved against no battery")[0]["value"] == pytest.approx(120 - 73)
    assert float(ask("plant", "Measured")[0]["value"]) == pytest.approx(0.25)
    assert [row["cycles"] for row in ask("plant", "Cycles done by day")] == pytest.approx([0.25])
    assert [row["corrections"] for row in ask("plant", "Corrected intervals by day")] == [1]
    # 48 rows of renewables a source, 2 sources, in a bin of 30 minutes
    rates = {
        row["metric"]: float(row["rows_per_s"]) for row in ask("stream", "Rows stored per second")
    }
    assert rates["renewables"] == pytest.approx(96 / 1800) and rates["load"] == pytest.approx(
        48 / 1800
    )
    assert float(ask("stream", "Rows stored")[0]["stored"]) == 48 * 5
    assert [(row["metric"], row["lag"]) for row in ask("stream", "Lag")] == [("load-topic", 7)]
    assert [(row["metric"], row["dead_letters"]) for row in ask("stream", "Dead letters")] == [
        ("load-topic", 2)
    ]
    assert {row["source"] for row in ask("stream", "Last message by source")} == {
        source.source_id for source in SOURCES
    }


def test_a_variable_narrows_what_its_dashboard_shows(query):
    for name, board in DASHBOARDS.items():
        texts = " ".join(target["rawSql"] for item in board["panels"] for target in item["targets"])
        for variable in board["templating"]["list"]:
            assert f"${{{variable['name']}:sqlstring}}" in texts, (
                f"{name}: no panel uses {variable['name']}"
            )
    offered = query(
        DASHBOARDS["stream"]["templating"]["list"][0]["query"]
    )  # weather is streamed too
    assert {row["source_id"] for row in offered} == {source.source_id for source in SOURCES}
    found = {}
    for title in ("Rows stored per second", "Rows stored", "Last message by source"):
        text = panel("stream", title)["targets"][0]["rawSql"].replace(
            "${source:sqlstring}", "'load-1'"
        )
        found[title] = query(expand(text, DASHBOARDS["stream"]))
    assert {row["metric"] for row in found["Rows stored per second"]} == {"load"}
    assert float(found["Rows stored"][0]["stored"]) == 48
    assert [row["source"] for row in found["Last message by source"]] == ["load-1"]
