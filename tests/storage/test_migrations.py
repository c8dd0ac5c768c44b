"""Databases of earlier versions come to the newest one with their rows. On a real server."""

import dataclasses
import shutil
from pathlib import Path

import psycopg2
import pytest

import db
from vpp.runtime.config import load_config
from vpp.runtime.settings import BatteryParameters
from vpp.storage import schema, timescale

BEFORE_FILES = Path(__file__).with_name("schema_before_files.sql")
NUMBERS = list(schema.migration_files())
# the version of the schema when its migrations became files
VERSION_BEFORE_FILES = 2
ROWS = """
INSERT INTO sources (source_id, kind, name, site_id, step_min, time_zone)
    VALUES ('market-1', 'market', 'DE-LU', 'site-1', 60, 'Europe/Brussels'),
           ('load-1', 'load', 'Works', 'site-1', 60, 'Europe/Brussels');
INSERT INTO market_prices VALUES
    ('2025-01-01T00:00Z', 'market-1', 80, '2024-12-31T12:00Z', '2024-12-31T12:00Z');
INSERT INTO load VALUES ('2025-01-01T00:00Z', 'load-1', 500, '2025-01-01T01:00Z');
INSERT INTO forecast_runs (run_id, source_id, model, issue_time, role)
    VALUES ('price', 'market-1', 'arima', '2025-01-01T00:00Z', 'champion'),
           ('load', 'load-1', 'arima', '2025-01-01T00:00Z', 'champion');
INSERT INTO forecasts (run_id, valid_time, value, q05, q10, q25, q50, q75, q90, q95) VALUES
    ('price', '2025-01-01T00:00Z', 80, 80, 80, 80, 80, 80, 80, 80),
    ('price', '2025-01-02T00:00Z', 90, 70, 75, 80, 90, 95, 97, 99),
    ('load', '2025-01-01T00:00Z', 500, 500, 500, 500, 500, 500, 500, 500);
INSERT INTO forecasts (run_id, valid_time, value) VALUES ('price', '2025-01-03T00:00Z', 91);
INSERT INTO batteries (battery_id, capacity_kwh) VALUES ('battery-1', 1000);
INSERT INTO battery_states (battery_id, kind, time, soc)
    VALUES ('battery-1', 'measured', '2025-01-01T00:00Z', 0.5);
INSERT INTO schedule_runs (run_id, site_id, issue_time, kind, status, cost_eur)
    VALUES ('plan', 'site-1', '2025-01-01T00:00Z', 'plan', 'optimal', 12.5);
INSERT INTO schedules (run_id, time, load_kw, reason)
    VALUES ('plan', '2025-01-01T00:00Z', 500, 'idle');
"""
# Everything that a schema is made of, in words that do not depend on the order of its making.
LOOK = {
    "columns": """
        SELECT table_name, column_name, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = current_schema()""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = current_schema()""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'""",
    "views": """
        SELECT viewname, definition FROM pg_views WHERE schemaname = current_schema()""",
}


def look(conn) -> dict[str, set]:
    found = {}
    with conn.cursor() as cursor:
        for name, query in LOOK.items():
            cursor.execute(query)
            found[name] = set(cursor.fetchall())
    assert all(found.values())
    return found


def execute(url, text: str) -> None:
    with psycopg2.connect(url) as conn, conn.cursor() as cursor:
        cursor.execute(text)
    conn.close()


@pytest.fixture
def config(config_file):
    return load_config(config_file())


@pytest.fixture
def version(monkeypatch, tmp_path):
    """Function that makes the code one that knows only the migrations up to a number."""
    real = schema.FOLDER

    def choose(number):
        folder = tmp_path / f"migrations-{number}"
        folder.mkdir()
        for known, files in schema.migration_files().items():
            if known <= number:
                for path in files:
                    shutil.copy(path, folder)
        monkeypatch.setattr(schema, "FOLDER", folder)

    yield choose
    monkeypatch.setattr(schema, "FOLDER", real)


def upgraded(config, monkeypatch):
    """Open the database with the newest code: its schema, its rows by table, and its forecasts."""
    monkeypatch.undo()
    with db.session(config) as conn, conn.cursor() as cursor:
        assert schema.schema_version(conn) == NUMBERS[-1]
        cursor.execute("SELECT * FROM forecasts ORDER BY run_id DESC, valid_time")
        names = [column.name for column in cursor.description]
        forecasts = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return look(conn), db.count_rows(conn), forecasts


def test_the_files_are_numbered_without_a_gap_and_say_where_they_run():
    assert list(range(1, NUMBERS[-1] + 1)) == NUMBERS
    names = [path.name for files in schema.migration_files().values() for path in files]
    assert sorted(names) == sorted(path.name for path in schema.FOLDER.iterdir())
    assert names[:4] == [
        "0001_tables.sql",
        "0001_tables.timescaledb.sql",
        "0001_tables.community.sql",
        "0001_tables.plain.sql",
    ]


def test_the_files_make_the_schema_that_the_code_made_before(config, has_timescaledb, version):
    if has_timescaledb:
        pytest.skip("the earlier schema was written down on plain PostgreSQL")
    version(VERSION_BEFORE_FILES)
    with db.session(config) as conn:
        by_files = look(conn)
        with conn.cursor() as cursor:
            cursor.execute("CREATE SCHEMA earlier; SET search_path TO earlier")
            cursor.execute(BEFORE_FILES.read_text())
        assert schema.schema_version(conn) == VERSION_BEFORE_FILES
        before = look(conn)
    for name in LOOK:
        here, there = (
            {repr(row).replace("public.", "").replace("earlier.", "") for row in found[name]}
            for found in (by_files, before)
        )
        assert here == there, name


@pytest.mark.parametrize("number", NUMBERS)
def test_a_database_of_each_version_is_upgraded_with_its_rows(
    config, database_url, version, monkeypatch, number
):
    with db.session(config) as conn:
        newest = look(conn)
        with conn.cursor() as cursor:
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    version(number)
    db.connect(config).close()
    execute(database_url, ROWS)
    schema_now, rows, forecasts = upgraded(config, monkeypatch)
    assert schema_now == newest
    expected = {"sources": 2, "market_prices": 1, "load": 1, "forecast_runs": 2, "forecasts": 4}
    expected |= {"batteries": 1, "battery_states": 1, "schedule_runs": 1, "schedules": 1}
    assert rows == dict.fromkeys(schema.TABLES, 0) | expected
    assert [row["value"] for row in forecasts] == [80, 90, 91, 500]
    # of old rows those of a price whose band has no width; a load is never published
    assert [row["published"] for row in forecasts] == [number < 3, False, False, False]


def test_a_database_of_the_code_before_there_were_files_is_upgraded(
    config, database_url, monkeypatch
):
    execute(database_url, BEFORE_FILES.read_text() + ROWS)
    schema_now, rows, _ = upgraded(config, monkeypatch)
    assert rows["forecasts"] == 4
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with db.session(config) as conn:
        if timescale.timescale_licence(conn) is None:
            assert schema_now == look(conn)


def test_the_newest_schema_has_a_column_for_each_battery_parameter(config):
    """A new parameter needs a migration of its own."""
    with db.session(config) as conn:
        db.upsert_batteries(conn, config.batteries)
        columns = {row[1] for row in look(conn)["columns"] if row[0] == "batteries"}
    own = {field.name for field in dataclasses.fields(BatteryParameters)}
    assert columns == own | {"site_id", "imported"}
