"""The past of several sites from a real database: each is rolled once, behind its connection."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from small_planning import DAYS, START, a_source, series, store_forecasts, store_site

import db
import optimization
from vpp.planning import past_tasks
from vpp.planning.past_tasks import Rolls, config_of_one, roll_sites
from vpp.runtime.config import load_config
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import BatteryParameters
from vpp.schedule.value import NO_BATTERY, PERFECT, RULE
from vpp.site.fleet_files import FleetBattery, GridSite
from vpp.storage.rows import select_rows
from vpp.storage.schema import QUANTILES
from vpp.storage.sites import register_fleet, register_sites

ROOT = Path(__file__).resolve().parents[2]
NORTH, ROLLS = "north", Rolls(days=2, every_h=12, horizon_h=24)
PAST = pd.date_range(START + pd.Timedelta(days=DAYS - 2), periods=2, freq="D")
STORE = {
    "battery:store": {"capacity_kwh": 1000, "charge_kw": 400, "discharge_kw": 400},
    "training": {"jobs": 1},
}


@pytest.fixture
def sites(config_file):
    """Configuration file of a database with two sites, and two days of forecasts of the past."""
    path = config_file(**STORE)
    load = dataclasses.replace(a_source("load-north", "load"), site_id=NORTH)
    values = series("load", 0) / 3
    with db.session(load_config(path)) as conn:
        store_site(conn)
        db.upsert_sources(conn, [load])
        with conn.cursor() as cur:
            cur.execute("""INSERT INTO load SELECT time, 'load-north', power_kw / 3, sent_at
                FROM load WHERE source_id = 'load-1'""")
        runs = []
        for day in PAST:
            store_forecasts(conn, day, "backtest")
            steps = pd.date_range(day, periods=48, freq="h")
            known = values.reindex(steps - pd.Timedelta(days=2)).to_numpy()
            frame = pd.DataFrame(dict.fromkeys(("value", *QUANTILES), known), steps)
            run = db.ForecastRun("load-north", "daily_naive", None, day, day, "backtest")
            runs.append((run, frame))
        db.save_forecasts(conn, runs)
        register_sites(conn, [GridSite("site-1"), GridSite(NORTH, import_limit_kw=900.0)])
        register_fleet(conn, [FleetBattery(NORTH, BatteryParameters("north-b", 300.0, 90.0, 90.0))])
    return path


def runs_of(config):
    with db.session(config) as conn:
        query = """SELECT site_id, run_id, basis -> 'source_ids' AS sources, created_at
            FROM schedule_runs WHERE kind = 'backtest' ORDER BY site_id"""
        return select_rows(conn, query)


def test_each_site_is_rolled_behind_its_own_connection_and_once(sites, monkeypatch, capsys):
    config = load_config(sites)
    rows, faults = roll_sites(config, ROLLS)
    assert not faults
    of_site = {(row["site_id"], row["way"]): row for row in rows}
    ways = list(dict.fromkeys(way for _, way in of_site))
    assert {name.replace("_", " ") for name in (NO_BATTERY, RULE, PERFECT)} < set(ways)
    for way in ways:  # the sums are those of the sites
        parts = [of_site[name, way] for name in (NORTH, "site-1")]
        whole = of_site["all 2", way]
        for key in ("cost_eur", "saved_eur", "bent_limits"):
            assert whole[key] == pytest.approx(sum(part[key] for part in parts))
    # without a battery a site pays for its own load at its own price, nothing of the other's
    stored = runs_of(config)
    assert [(row["site_id"], row["sources"]) for row in stored] == [
        (NORTH, ["load-north", "price-1"]),
        ("site-1", ["load-1", "solar-1", "wind-1", "price-1"]),
    ]
    # again: nothing is rolled, and the rows are the same; also from the command line
    monkeypatch.setattr(past_tasks, "rolled", lambda *_: pytest.fail("rolled again"))
    assert roll_sites(config, ROLLS) == (rows, {})
    options = ["backtest", "--days", "2", "--every-h", "12", "--horizon-h", "24", "--json"]
    assert optimization.main(["--config", str(sites), *options, "--site", NORTH]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert [{"site_id": NORTH} | row for row in alone] == rows[: len(alone)]
    assert runs_of(config) == stored
    # other data of one site: that one is rolled, the other is not
    monkeypatch.undo()
    with db.session(config) as conn, conn.cursor() as cur:
        cur.execute("UPDATE load SET power_kw = power_kw + 1 WHERE source_id = 'load-north'")
        conn.commit()
    anew, _ = roll_sites(config, ROLLS)
    assert anew[0]["cost_eur"] != rows[0]["cost_eur"]
    then = runs_of(config)
    assert then[0]["created_at"] > stored[0]["created_at"] and then[1] == stored[1]


def test_two_commands_share_sites_and_a_fault_of_one_stops_no_other(sites):
    config = load_config(sites)
    with db.session(config) as conn, conn.cursor() as cur:
        cur.execute("DELETE FROM load WHERE source_id = 'load-1' AND time = %s", (PAST[0],))
        conn.commit()
    options = ["backtest", "--days", "2", "--every-h", "12", "--horizon-h", "24", "--json"]
    command = [sys.executable, str(ROOT / "optimization.py"), "--config", str(sites), *options]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [1, 1]
    first, second = (json.loads(out) for out, _ in ended)
    assert first == second and {row["site_id"] for row in first} == {NORTH, "all 1"}
    for _, told in ended:
        assert "no backtest of site-1: actual values are missing in 4 of 192 intervals" in told
    assert [row["site_id"] for row in runs_of(config)] == [NORTH]
    with db.session(config) as conn:
        workers = select_rows(conn, "SELECT worker FROM claims WHERE task LIKE 'past/north/%%'")
    assert len(workers) == 1


def test_two_settlements_are_of_one_site(sites):
    config = load_config(sites)
    assert config_of_one(config, NORTH).grid.import_limit_kw == 900.0
    with pytest.raises(ConfigError, match="name one of 2 sites with --site"):
        config_of_one(config, None)
