"""Old results are deleted, with all that hangs on them, and nothing else."""

import pandas as pd
import pytest
from small_storage import START, make_forecast, make_source

import db
from vpp.runtime.config import load_config
from vpp.runtime.settings import BatteryParameters
from vpp.storage import retention

DAY = pd.Timedelta(days=1)


@pytest.fixture
def filled(conn):
    """Runs of ten days from the start on, with a measured state of each day."""
    db.upsert_sources(conn, [make_source("load-1", "load")])
    db.upsert_batteries(conn, [BatteryParameters("b")])
    for day in range(10):
        at = START + day * DAY
        run = db.ForecastRun("load-1", "arima", None, None, at, "champion")
        db.save_forecasts(conn, [(run, make_forecast(1.0, at))])
        hour = pd.DatetimeIndex([at])
        states = pd.DataFrame({"battery_id": "b", "soc": 0.5}, hour)
        db.save_battery_states(conn, states.assign(kind="measured"))
        plan = {"run_id": f"plan-{day}", "site_id": "s", "issue_time": at, "kind": "plan"}
        devices = pd.DataFrame({"device_id": "car", "kind": "vehicle", "power_kw": 1.0}, hour)
        db.save_schedule(conn, plan, pd.DataFrame({"load_kw": 1.0}, hour), states, devices)
    conn.commit()
    return conn


ALL = {"forecast_runs": 10, "forecasts": 20, "schedule_runs": 10, "schedules": 10}
ALL |= {"device_states": 10}


def counts(conn):
    found = db.count_rows(conn)
    return {name: found[name] for name in (*ALL, "battery_states")}


@pytest.mark.parametrize("batch", [1, 500])
def test_what_is_older_than_the_newest_run_by_more_days_is_deleted(filled, monkeypatch, batch):
    """Of days 0 to 9 those before day 6 are older than 3 days: 6 runs of 10 remain 4."""
    monkeypatch.setattr(retention, "BATCH_RUNS", batch)
    assert retention.prune_results(filled, 0) == 0
    assert counts(filled) == ALL | {"battery_states": 20}
    # a run and two rows of a forecast; a run, a row, a state, a device of a plan; a measured state
    assert retention.prune_results(filled, 3) == 6 * (3 + 4 + 1)
    left = {name: number * 4 // 10 for name, number in ALL.items()}
    assert counts(filled) == left | {"battery_states": 8}
    assert retention.prune_results(filled, 3) == 0
    assert db.read_last_state(filled, "b", START + 30 * DAY)[0] == START + 9 * DAY
    assert db.count_rows(filled)["sources"] == 1


def test_db_py_prunes_as_configured(filled, config_file, capsys):
    assert db.main(["--config", str(config_file()), "prune"]) == 0
    assert counts(filled)["forecast_runs"] == 10
    filled.commit()
    path = config_file(database={"url": load_config(config_file()).database.url})
    path.write_text(
        path.read_text().replace("[database]", "[database]\nresults_retention_days = 1")
    )
    assert db.main(["--config", str(path), "prune"]) == 0
    assert counts(filled)["forecast_runs"] == 2
