"""A database at the length of months: hourly forecasts and plans, and measurements of 5 minutes."""

import pandas as pd
from small_storage import make_source

import db
from vpp.runtime.settings import BatteryParameters

START = pd.Timestamp("2025-01-01T00:00Z")
SOURCES = ("load-1", "market-1", "solar-1", "wind-1")
FILL = """
INSERT INTO forecast_runs (run_id, source_id, model, issue_time, role)
    SELECT source_id || n, source_id, 'arima', %(start)s + n * interval '1 hour', 'champion'
    FROM generate_series(1, %(hours)s) AS n, unnest(%(sources)s) AS source_id;
INSERT INTO forecasts
    SELECT run_id, issue_time + h * interval '1 hour', h, h, h, h, h, h, h, h, false
    FROM forecast_runs, generate_series(0, 47) AS h;
INSERT INTO schedule_runs (run_id, site_id, issue_time, kind)
    SELECT 'p' || n, 'site-1', %(start)s + n * interval '1 hour', 'plan'
    FROM generate_series(1, %(plans)s) AS n;
INSERT INTO schedules (run_id, time, load_kw)
    SELECT run_id, issue_time + h * interval '1 hour', h
    FROM schedule_runs, generate_series(0, 47) AS h;
INSERT INTO battery_states (battery_id, kind, run_id, time, soc)
    SELECT 'battery-1', 'planned', run_id, time, 0.5 FROM schedules;
INSERT INTO battery_states (battery_id, kind, time, soc)
    SELECT 'battery-1', 'measured', %(start)s + n * interval '1 hour', 0.5
    FROM generate_series(1, 100) AS n;
INSERT INTO renewables SELECT %(start)s + n * interval '5 min', source_id, 1, %(start)s + n
    * interval '5 min' FROM unnest('{solar-1,wind-1}'::text[]) AS source_id,
    generate_series(1, 50000) AS n;
INSERT INTO load SELECT time, 'load-1', 1, sent_at FROM renewables WHERE source_id = 'wind-1';
INSERT INTO market_prices SELECT time, 'market-1', 1, time, sent_at FROM load;
"""


def fill(conn, hours: int, plans: int) -> None:
    """Forecasts of four sources for so many hours, plans for so many; 48 rows each."""
    db.upsert_sources(conn, [make_source(name, name.split("-")[0], 5) for name in SOURCES])
    db.upsert_batteries(conn, [BatteryParameters("battery-1")])
    values = {"start": START, "hours": hours, "plans": plans, "sources": list(SOURCES)}
    with conn.cursor() as cursor:
        cursor.execute(FILL, values)
        conn.commit()
        conn.autocommit = True
        cursor.execute("VACUUM ANALYZE")
        conn.autocommit = False
