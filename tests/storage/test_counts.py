"""Rows are counted up to a limit and estimated above it, and the output says which, on a real
server."""

import json

import pytest
from small_length import fill
from small_storage import START, make_source

import db
from vpp.runtime.settings import BatteryParameters
from vpp.storage import counts, overview
from vpp.storage.counts import RowCount
from vpp.storage.schema import HYPERTABLES, TABLES

MANY = """
    INSERT INTO {table} SELECT %s + n * interval '1 hour', %s, 1, %s
    FROM generate_series(1, %s) AS n"""


@pytest.fixture
def limit(monkeypatch):
    """Function that sets the number of rows that are counted."""
    return lambda rows: monkeypatch.setattr(counts, "EXACT_MOST", rows)


@pytest.fixture
def conn(conn):
    """As everywhere, but nothing makes statistics beside the test."""
    with conn.cursor() as cursor:
        for table in ("renewables", "load", "battery_states"):
            cursor.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
    conn.commit()
    return conn


def add(conn, source_id, rows, table="load"):
    """Registers a source and stores so many hours of it."""
    db.upsert_sources(conn, [make_source(source_id, source_id.split("-")[0])])
    with conn.cursor() as cursor:
        cursor.execute(MANY.format(table=table), (START, source_id, START, rows))
    conn.commit()


def analyse(conn, *tables):
    with conn.cursor() as cursor:
        for table in tables:
            cursor.execute(f"ANALYZE {table}")
    conn.commit()


def test_an_empty_database_is_counted(conn):
    assert counts.table_counts(conn) == dict.fromkeys(TABLES, RowCount(0, False))
    assert set(counts.measurement_counts(conn).values()) == {RowCount(0, False)}


def test_up_to_the_limit_rows_are_counted_and_beyond_it_estimated(conn, limit):
    """ANALYZE reads each page of a table that is so small: its estimate is right."""
    limit(1000)
    add(conn, "load-1", 1000)
    assert counts.table_counts(conn)["load"] == RowCount(1000, False)
    assert counts.measurement_counts(conn)["load"] == RowCount(1000, False)
    for name, rows in (("load-2", 500), ("load-3", 3500)):  # up to 2,000 are looked at, beyond not
        add(conn, name, rows)
        analyse(conn, "load")
        found = RowCount(db.count_rows(conn)["load"], True)
        assert counts.table_counts(conn)["load"] == found
        assert counts.measurement_counts(conn)["load"] == found
    # what decides counts whatever the limit is
    assert db.count_rows(conn)["load"] == db.count_measurements(conn)["load"] == 5000


def test_a_table_without_statistics_is_judged_by_its_size(conn, limit, has_timescaledb):
    limit(1000)
    add(conn, "load-1", 5000)
    if not has_timescaledb:
        with conn.cursor() as cursor:
            cursor.execute("SELECT reltuples FROM pg_class WHERE oid = 'load'::regclass")
            assert cursor.fetchone() == (-1,)  # PostgreSQL's word for never
    found = counts.table_counts(conn)["load"]
    assert found.is_estimate and 2500 < found.rows < 10_000


def test_statistics_that_are_old_do_not_hide_what_is_counted(conn, limit):
    """A table of 10 rows was analysed; 90 more do not fill another page, so that the planner says
    10 or so still, and a count knows better."""
    limit(60)
    add(conn, "load-1", 10)
    analyse(conn, "load")
    add(conn, "load-2", 90)
    assert counts.table_counts(conn)["load"] == RowCount(61, True)
    limit(100)
    assert counts.table_counts(conn)["load"] == RowCount(100, False)


def test_kinds_share_the_estimate_of_their_table(conn, limit):
    """40,000 + 10,000 hours of two plants of the sun and 50 of one of the wind, which are counted;
    then the wind has 20,050. A wrong clock has sent a few of them in 1970."""
    limit(1000)
    for name, rows in (("solar-1", 40_000), ("solar-2", 10_000), ("wind-1", 45)):
        add(conn, name, rows, "renewables")
    with conn.cursor() as cursor:
        cursor.execute("""
            INSERT INTO renewables SELECT '1970-01-01T00:00Z'::timestamptz + n * interval '1 hour',
            'wind-1', 1, now() FROM generate_series(1, 5) AS n""")
    analyse(conn, "renewables")
    found = counts.measurement_counts(conn)
    assert (found["solar"].is_estimate, found["wind"]) == (True, RowCount(50, False))
    assert found["solar"].rows == pytest.approx(50_000, rel=0.02)
    add(conn, "wind-2", 20_000, "renewables")
    analyse(conn, "renewables")
    found = counts.measurement_counts(conn)
    assert found["solar"].is_estimate and found["wind"].is_estimate
    assert found["solar"].rows == pytest.approx(50_000, rel=0.02)
    assert found["solar"].rows + found["wind"].rows == pytest.approx(70_050, abs=1)
    assert found["load"] == RowCount(0, False)


def test_measured_states_are_estimated_among_the_planned_ones(conn, limit):
    limit(500)
    db.upsert_batteries(conn, [BatteryParameters("b")])
    with conn.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO battery_states (battery_id, kind, run_id, time, soc)
            SELECT 'b', CASE WHEN n %% 4 = 0 THEN 'measured' ELSE 'planned' END, '',
                %s + n * interval '1 hour', 0.5 FROM generate_series(1, 8000) AS n""",
            (START,),
        )
    analyse(conn, "battery_states")
    assert counts.measurement_counts(conn)["battery"].is_estimate
    assert counts.measurement_counts(conn)["battery"].rows == pytest.approx(2000, rel=0.01)
    limit(2000)
    assert counts.measurement_counts(conn)["battery"] == RowCount(2000, False)


def test_a_partitioned_table_has_the_sum_of_its_parts(conn, limit, monkeypatch):
    """3,000 + 2,000 rows in two parts, of which the server knows statistics; it has none of the
    whole."""
    with conn.cursor() as cursor:
        cursor.execute("CREATE TABLE parted (part int NOT NULL) PARTITION BY LIST (part)")
        for part, rows in ((1, 3000), (2, 2000)):
            cursor.execute(
                f"CREATE TABLE part_{part} PARTITION OF parted FOR VALUES IN ({part});"
                f"INSERT INTO parted SELECT {part} FROM generate_series(1, {rows})"
            )
    analyse(conn, "part_1", "part_2")
    monkeypatch.setattr(counts, "TABLES", ("parted",))
    assert counts.table_counts(conn) == {"parted": RowCount(5000, False)}
    limit(1000)
    assert counts.table_counts(conn) == {"parted": RowCount(5000, True)}


def test_ends_are_the_same_by_key_and_by_reading_all(conn, limit):
    """Forecasts and plans of 50 hours, weather forecasts of two issues, measured states."""
    fill(conn, 50, 50)
    db.upsert_sources(conn, [make_source("weather-1", "weather")])
    with conn.cursor() as cursor:
        for table in ("weather", "weather_forecasts"):
            issued = "'weather-1', %(at)s + n * interval '6 hours'," * (table != "weather")
            own = ", 'weather-1'" * (table == "weather")
            cursor.execute(
                f"""INSERT INTO {table} SELECT {issued} %(at)s + (n * 6 + h) * interval '1 hour'
                {own}, 1, 1, 1, 1, 1, %(at)s FROM generate_series(0, 1) AS n,
                generate_series(1, 5) AS h""",
                {"at": START},
            )
        cursor.execute(
            """INSERT INTO external_forecasts SELECT 'load-1', time, time, 1, time FROM load
            WHERE source_id = 'load-1' LIMIT 10"""
        )
    conn.commit()
    read = {row["table"]: row for row in overview.table_rows(conn)}
    assert not any(row["rows_estimated"] for row in read.values())
    limit(5)
    looked_up = {row["table"]: row for row in overview.table_rows(conn)}
    for table in HYPERTABLES:
        assert looked_up[table]["rows_estimated"] and read[table]["first"] is not None, table
        for end in ("first", "last"):
            assert looked_up[table][end] == read[table][end], (table, end)


def test_what_is_read_does_not_grow_with_the_rows(conn, limit):
    """Of 60,000 forecasts and states and 150,000 measurements none are read, of tables with up to
    1,000 rows all."""
    fill(conn, 100, 800)
    limit(1000)

    def tuples_read() -> int:
        with conn.cursor() as cursor:
            cursor.execute("""
                SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))
                FROM pg_stat_xact_user_tables WHERE schemaname = current_schema()""")
            return cursor.fetchone()[0]

    before = tuples_read()
    found = {row["table"]: row for row in overview.table_rows(conn)}
    shared = counts.measurement_counts(conn)
    assert tuples_read() - before < 10_000
    assert found["renewables"]["rows"] == shared["solar"].rows + shared["wind"].rows == 100_000
    assert found["schedule_runs"]["rows"] == 800 and not found["schedule_runs"]["rows_estimated"]


def test_the_script_says_what_is_an_estimate(conn, limit, config_file, capsys):
    add(conn, "load-1", 5000)
    analyse(conn, "load")
    path = str(config_file())
    for rows, mark, lines in ((5000, "5,000", 0), (1000, "~ 5,000", 1)):
        limit(rows)
        assert db.main(["--config", path, "--json"]) == 0
        shown = {row["table"]: row for row in json.loads(capsys.readouterr().out)}
        assert (shown["load"]["rows"], shown["load"]["rows_estimated"]) == (5000, lines == 1)
        assert shown["sources"]["rows_estimated"] is False
        assert db.main(["--config", path]) == 0
        printed = capsys.readouterr().out
        assert f"| {mark} |" in printed and "rows_estimated" not in printed
        assert printed.count(f"up to {rows:,} rows are counted") == lines


@pytest.mark.parametrize(
    ("rows", "words"), [(5, "~ 5"), (50_023_417, "~ 50,000,000"), (1_237_000, "~ 1,240,000")]
)
def test_an_estimate_has_three_digits(rows, words):
    assert RowCount(rows, True).words == words and RowCount(rows).words == f"{rows:,}"
