"""Hourly means on every server, and compression where TimescaleDB is there."""

import pandas as pd
import pytest
from small_storage import START, make_source, store

import db
from vpp.storage import overview, schema


def test_hourly_means(config, conn):
    solar = make_source("solar-1", "solar", 15)
    store(conn, solar, [1, 2, 3, 6, 8])
    db.after_import(conn, 7, 0)
    with conn.cursor() as cursor:
        cursor.execute(
            "SELECT time, power_kw FROM renewables_hourly WHERE source_id = 'solar-1' ORDER BY time"
        )
        assert cursor.fetchall() == [(START, 3), (START + pd.Timedelta("1h"), 8)]


def test_timescaledb_compresses_and_still_takes_corrections(config, conn, has_timescaledb):
    if not has_timescaledb or not db.is_compressing(conn):
        pytest.skip("needs TimescaleDB (Community); name such a server in VPP_TEST_DATABASE_URL")
    load = make_source("load-1", "load")
    store(conn, load, range(24 * 60))
    with conn.cursor() as cursor:
        cursor.execute("""
            SELECT count(*) FROM timescaledb_information.hypertables
            WHERE hypertable_schema = current_schema()""")
        assert cursor.fetchone() == (len(schema.HYPERTABLES),)
        for days, retention in ((7, 0), (9, 10_000), (9, 0)):
            db.after_import(conn, days, retention)
            cursor.execute("""
                SELECT config ->> 'compress_after', config ->> 'drop_after'
                FROM timescaledb_information.jobs
                WHERE hypertable_name = 'load'
                    AND config ?| array['compress_after', 'drop_after']
                ORDER BY 1""")
            assert cursor.fetchall() == [(f"{days} days", None)] + [
                (None, f"{retention} days")
            ] * bool(retention)
        cursor.execute(
            "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks('load') c"
        )
        conn.commit()
    assert store(conn, load, range(24 * 60)) == 0
    assert store(conn, load, [-5] * 48, sent_ms=2000) == 48
    assert store(conn, load, [6] * 48, sent_ms=1500) == 0
    series = db.read_series(conn, load)
    assert len(series) == 1440 and list(series.iloc[:48]) == [-5] * 48 and series.iloc[48] == 48
    with conn.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM show_chunks('load')")
        assert cursor.fetchone()[0] >= 2
    shown = {row["table"]: row for row in overview.table_rows(conn)}
    assert shown["load"]["rows"] == 1440 and shown["load"]["compressed_mb"] > 0
    db.reset(conn)
    assert db.count_rows(conn)["load"] == 0
