"""At the length of years each panel, and each read of the scripts, finds its rows by an index.

200,000 rows of forecasts, and as many of schedules and states, hourly plans of four sources.
"""

import re
from types import SimpleNamespace

import pandas as pd
import pytest
from small_dashboards import DASHBOARDS, expand
from small_databases import drop_database
from small_length import SOURCES, START, fill

import db
from vpp.planning.ledger_plans import first_plan, plans_in_force
from vpp.runtime.config import load_config
from vpp.storage import results
from vpp.storage.alert_evidence import band_shares, states_beside_plan
from vpp.storage.issued import read_own_forecasts, read_values

HOURLY = {  # what a plant in operation reads each hour, of (connection, configuration, time)
    "forecasts of the days before": lambda conn, _, at: read_own_forecasts(
        conn, "wind-1", at, 60, ["champion"]
    ),
    "values of many runs": lambda conn, _, at: read_values(
        conn, [SimpleNamespace(run_id=f"wind-1{n}") for n in range(1, 500)]
    ),
    "share in the band": lambda conn, _, at: band_shares(
        conn, "wind-1", "renewables", "power_kw", at - pd.Timedelta("7d"), at
    ),
    "states beside the plan": lambda conn, *_: states_beside_plan(
        conn, "site-1", START + pd.Timedelta("100h")
    ),
    "first plan": lambda conn, *_: [first_plan(conn, "site-1")],
    "plans in force": lambda conn, config, at: plans_in_force(
        conn, config, at - pd.Timedelta("2d"), at
    ),
}
LONG = ("forecasts", "schedules", "battery_states", "renewables", "load", "market_prices")


@pytest.fixture(scope="module")
def conn(servers):
    """A connection to a database of the module's own, filled once."""
    from urllib.parse import urlsplit, urlunsplit

    from conftest import _execute

    name = "at_length"
    drop_database(servers.database_url, name)
    _execute(servers.database_url, f"CREATE DATABASE {name}")
    url = urlunsplit(urlsplit(servers.database_url)._replace(path=f"/{name}"))
    connection = db.connect_url(url, 20)
    try:
        fill(connection, 1042, 4168)  # 200,064 rows each
        yield connection
    finally:
        connection.close()
        drop_database(servers.database_url, name)


def scans(conn, query, parameters=None) -> list[str]:
    """The long tables that the plan of a query reads as a whole."""
    with conn.cursor() as cursor:
        cursor.execute(f"EXPLAIN {query}", parameters)
        plan = "\n".join(line for (line,) in cursor)
    conn.rollback()
    # with TimescaleDB a chunk is named after the number of its table
    found = re.findall(r"Seq Scan on (\w+)", plan)
    return [name for name in found if name in LONG or name.startswith("_hyper")]


@pytest.mark.parametrize("name", ["forecasts", "operations", "value"])
def test_each_panel_finds_its_rows_by_an_index(conn, name):
    board = DASHBOARDS[name]
    for panel in board["panels"]:
        for target in panel["targets"]:
            query = expand(
                target["rawSql"], board, SOURCES, "2025-02-01T00:00:00Z", "2025-02-03T00:00:00Z"
            )
            assert scans(conn, query) == [], (panel["title"], query)


def test_what_a_scan_is_would_be_seen(conn):
    assert scans(conn, "SELECT count(*) FROM forecasts WHERE value > 3") == ["forecasts"]


def name_run(conn, run) -> None:
    """Give a run that SQL has made the name that the code gives it."""
    found = "SELECT run_id FROM forecast_runs WHERE source_id = %s AND issue_time = %s"
    for table in ("forecasts", "forecast_runs"):
        with conn.cursor() as cursor:
            cursor.execute(
                f"UPDATE {table} SET run_id = %s WHERE run_id = ({found})",
                (run.run_id, run.source_id, run.issue_time),
            )
    conn.commit()


def test_the_reads_of_the_scripts_find_their_rows_by_an_index(conn, monkeypatch):
    at, asked = START + pd.Timedelta("500h"), []
    name_run(conn, db.ForecastRun("wind-1", "arima", None, None, at, "champion"))
    for name in ("select_rows", "select_frame"):
        real = getattr(results, name)

        def noted(conn, query, parameters=(), *rest, real=real):
            asked.append((query, parameters))
            return real(conn, query, parameters, *rest)

        monkeypatch.setattr(results, name, noted)
    run, frame = db.read_forecasts(conn, "wind-1", at, or_before=True)
    assert (run.issue_time, len(frame)) == (at, 48)
    assert db.read_last_state(conn, "battery-1", at) == (START + pd.Timedelta("100h"), 0.5)
    assert len(db.read_schedule(conn)[1]) == len(db.read_schedule(conn, "p7")[2]) == 48
    assert len(db.read_states(conn, "battery-1", START, at)) == 100
    assert len(asked) >= 9
    for query, parameters in asked:
        text = query if isinstance(query, str) else query.as_string(conn)
        assert scans(conn, text, parameters) == [], text


def rows_scanned(conn) -> int:
    """Rows of the long tables that this connection has read without an index, lately."""
    query = "SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables"
    with conn.cursor() as cursor:
        cursor.execute(query)
        return sum(n for name, n in cursor if name in LONG or name.startswith("_hyper"))


def scanned(conn, read) -> int:
    """Rows of the long tables that a call reads without an index."""
    with conn.cursor() as cursor:
        cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")
    before = rows_scanned(conn)
    read()
    after = rows_scanned(conn)
    conn.rollback()
    return after - before


def test_what_is_scanned_would_be_seen(conn):
    query = "SELECT count(*) FROM forecasts WHERE value > 3"
    assert scanned(conn, lambda: results.select_rows(conn, query)) >= 200_000


@pytest.mark.parametrize("name", [*HOURLY])
def test_what_a_plant_reads_each_hour_is_found_by_an_index(conn, name, tmp_path):
    (tmp_path / "config.ini").write_text("[site]\nsite_id = site-1\n")
    config, answers = load_config(tmp_path / "config.ini", {}), []
    at = START + pd.Timedelta("1000h")
    assert scanned(conn, lambda: answers.append(HOURLY[name](conn, config, at))) == 0
    assert len(answers[0])


def test_a_run_is_replaced_by_an_index(conn):
    for table in ("forecasts", "schedules", "battery_states"):
        assert scans(conn, f"DELETE FROM {table} WHERE run_id = 'p7'") == []
