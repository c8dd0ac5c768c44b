"""The script db.py: what it prints, and what a reset deletes."""

import re

import pandas as pd
import pytest
from small_storage import START, make_forecast, make_source, store

import db
from vpp.runtime.settings import BatteryParameters
from vpp.site.battery_messages import Acknowledgement
from vpp.site.fleet_files import FleetBattery, GridSite
from vpp.site.kinds import MEASUREMENTS, WEATHER
from vpp.storage import ledger, schema
from vpp.storage.battery_states import record_acknowledgements
from vpp.storage.jobs import record_clock, record_job
from vpp.storage.overrides import Override, record_override
from vpp.storage.sites import keep_fleet_totals, register_fleet, register_sites


def test_command(config_file, config, capsys):
    path = config_file()
    load = make_source("load-1", "load")
    with db.session(config) as conn:
        store(conn, load, [1, 2])

    def run(*arguments):
        code = db.main(["--config", str(path), *arguments])
        return code, capsys.readouterr()

    code, shown = run()
    assert code == 0 and "PostgreSQL" in shown.out and "2025-01-01T01:00Z" in shown.out
    code, shown = run("reset")  # standard input is no terminal here
    assert code == 1 and shown.err.endswith(
        ": reset deletes all tables with their rows; add --yes\n"
    )
    assert run("reset", "--table", "load", "--yes")[0] == 0
    with db.session(config) as conn:
        assert db.count_rows(conn)["load"] == 0
        store(conn, load, [1, 2])
    assert run("reset", "--yes")[0] == 0 and run("--json", "init")[0] == 0
    with db.session(config) as conn:
        assert set(db.count_rows(conn).values()) == {0}


def fill_every_table(conn):
    """A row of each table, hanging on the others, and a measured state that hangs on no plan."""
    sources = [make_source(f"{kind}-1", kind) for kind in ("solar", "load", "market")]
    db.upsert_sources(conn, sources)
    for source in sources:
        store(conn, source, [1, 2])
    with conn.cursor() as cursor:
        values = ", ".join(["1"] * len(WEATHER))
        cursor.execute(f"INSERT INTO weather VALUES (now(), 'load-1', {values}, now())")
        cursor.execute(
            f"INSERT INTO weather_forecasts VALUES ('load-1', now(), now(), {values}, now())"
        )
        cursor.execute("INSERT INTO external_forecasts VALUES ('load-1', now(), now(), 1, now())")
        cursor.execute("INSERT INTO revisions VALUES ('load-1', now(), 1, now(), now())")
        cursor.execute("INSERT INTO capacities VALUES ('load-1', now(), 1)")
        cursor.execute("INSERT INTO model_digests VALUES ('load-1', '1', 'a')")
        cursor.execute("""
            INSERT INTO alerts (rule, subject, fired_at, message, what_to_do)
            VALUES ('source_stale', 'load-1', now(), 'm', 'w')""")
        cursor.execute("INSERT INTO alert_messages VALUES (1, 'fired', 'log', 0, now())")
        cursor.execute("INSERT INTO positions VALUES ('s', now(), 60, -1)")
        cursor.execute("INSERT INTO claims VALUES ('task')")
        cursor.execute("INSERT INTO claim_steps VALUES ('task', 1, 2, 'here')")
    conn.commit()
    run = db.ForecastRun("load-1", "arima", None, None, START, "champion")
    db.save_forecasts(conn, [(run, make_forecast(1.0))])
    db.upsert_batteries(conn, [BatteryParameters("b")])
    hour = pd.DatetimeIndex([START])
    row = dict.fromkeys(ledger.COLUMNS, 1.0) | {"done": "plan", "currency": "EUR", "batteries": {}}
    ledger.save_versions(conn, "s", pd.DataFrame([row | {"step_min": 60}], hour))
    states = pd.DataFrame({"battery_id": "b", "soc": 0.5}, hour)
    db.save_battery_states(conn, states.assign(kind="measured"))
    plan = {"run_id": "plan-1", "site_id": "s", "issue_time": START, "kind": "plan"}
    devices = pd.DataFrame({"device_id": "car", "kind": "vehicle", "power_kw": 1.0}, hour)
    db.save_schedule(conn, plan, pd.DataFrame({"load_kw": 1.0}, hour), states, devices)
    record_acknowledgements(conn, [Acknowledgement("b", "plan-1", START, "obeyed")], [START])
    record_override(conn, Override("b", "hold"))
    record_job(conn, "s", "plan", "waiting")
    record_clock(conn, "s", "here", START, 1.0)
    register_sites(conn, [GridSite("s")])
    register_fleet(conn, [FleetBattery("s", BatteryParameters("b"))])
    keep_fleet_totals(conn, "plan-1", "s")


LEFT_HANGING = (
    "SELECT count(*) FROM forecasts LEFT JOIN forecast_runs r USING (run_id) WHERE r IS NULL",
    "SELECT count(*) FROM forecast_runs r LEFT JOIN forecasts f USING (run_id) WHERE f IS NULL",
    "SELECT count(*) FROM schedules LEFT JOIN schedule_runs r USING (run_id) WHERE r IS NULL",
    "SELECT count(*) FROM schedule_runs r LEFT JOIN schedules s USING (run_id) WHERE s IS NULL",
    """SELECT count(*) FROM battery_states s LEFT JOIN schedule_runs r USING (run_id)
        WHERE s.run_id <> '' AND r IS NULL""",
    """SELECT count(*) FROM schedule_runs r LEFT JOIN battery_states s USING (run_id)
        WHERE s IS NULL""",
    "SELECT count(*) FROM device_states LEFT JOIN schedule_runs r USING (run_id) WHERE r IS NULL",
    """SELECT count(*) FROM acknowledgements LEFT JOIN schedule_runs r ON r.run_id = plan_id
        WHERE r IS NULL""",
    "SELECT count(*) FROM battery_states LEFT JOIN batteries b USING (battery_id) WHERE b IS NULL",
    *(
        f"SELECT count(*) FROM {table} LEFT JOIN sources s USING (source_id) WHERE s IS NULL"
        for table in (*MEASUREMENTS, "revisions", "forecast_runs")
    ),
)


@pytest.mark.parametrize("table", schema.TABLES)
def test_a_reset_of_one_table_leaves_nothing_hanging(config_file, config, caplog, table):
    with db.session(config) as conn:
        fill_every_table(conn)
        before = db.count_rows(conn)
        assert all(before.values()), before
    with caplog.at_level("INFO"):
        assert db.main(["--config", str(config_file()), "reset", "--table", table, "--yes"]) == 0
    with db.session(config) as conn, conn.cursor() as cursor:
        after = db.count_rows(conn)
        for query in LEFT_HANGING:
            cursor.execute(query)
            assert cursor.fetchone()[0] == 0, query
    assert after[table] == 0
    changed = [name for name in before if after[name] != before[name]]
    said = caplog.text.partition("emptied: ")[2]
    assert set(changed) == {name for name in schema.TABLES if re.search(rf"\b{name}\b", said)}
    if table in ("schedules", "schedule_runs"):
        assert after["battery_states"] == 1  # the measured one
    assert table != "load" or changed == ["load"]


def test_a_reset_says_what_it_would_delete(config_file, capsys):
    path = str(config_file())
    assert db.main(["--config", path, "reset", "--table", "schedules"]) == 1
    told = "reset deletes all rows of schedules, schedule_runs, fleet_states, device_states, "
    told += "acknowledgements and the battery_states of plans"
    assert told in capsys.readouterr().err
