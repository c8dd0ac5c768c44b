"""The CPU time of a backtest of a year with many sources, planned every hour.

    python benchmarks/bench_backtest.py [--sources 60] [--days 365]

Fills a database with random hourly values of a market, loads, solar plants and wind turbines, and
with forecasts of them of 48 h from every day at 10:00 on. Then `optimization.py backtest --every-h
1` runs in a process of its own: with stored forecasts, with last week's values, with perfect ones
and with perfect foresight. Prints its tables and its CPU seconds, without those of the database
server. Runs on embedded servers in a temporary folder.
"""

import argparse
import configparser
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import pandas as pd
from small_storage import make_source

import db
import embedded

START = pd.Timestamp("2024-01-01T00:00Z")
FILL = """
SELECT setseed(0.5);
CREATE TEMPORARY TABLE made AS
    SELECT time, source_id, sent_at, value * (0.8 + 0.4 * random()) AS value FROM (
        SELECT %(start)s + n * interval '1 hour' AS time, source_id,
            %(start)s + (n + 1) * interval '1 hour' AS sent_at, CASE split_part(source_id, '-', 1)
            WHEN 'load' THEN 60 + 25 * sin((n - 9) * pi() / 12)
            WHEN 'solar' THEN greatest(0, 45 * sin((n - 6) * pi() / 12))
            WHEN 'wind' THEN 30 + 30 * sin(n * pi() / 90)
            ELSE 70 + 45 * sin((n - 12) * pi() / 6) + 20 * sin(n * pi() / 80) END AS value
        FROM generate_series(0, %(hours)s - 1) AS n, unnest(%(sources)s) AS source_id) AS shape;
INSERT INTO renewables SELECT time, source_id, value, sent_at FROM made
    WHERE source_id LIKE 'solar%%' OR source_id LIKE 'wind%%';
INSERT INTO load SELECT time, source_id, value, sent_at FROM made WHERE source_id LIKE 'load%%';
INSERT INTO market_prices
    SELECT time, source_id, value, date_trunc('day', time) - interval '11 hours', sent_at FROM made
    WHERE source_id LIKE 'market%%';
INSERT INTO forecast_runs (run_id, source_id, model, issue_time, role)
    SELECT source_id || '/' || n, source_id, 'random',
        %(start)s + n * interval '1 day' + interval '10 h', 'backtest'
    FROM generate_series(0, %(hours)s / 24 - 1) AS n, unnest(%(sources)s) AS source_id;
INSERT INTO forecasts
    SELECT run_id, time, v, v, v, v, v, v, v, v, false FROM (
        SELECT run_id, time, value * (0.9 + 0.2 * random()) AS v FROM forecast_runs
        JOIN made USING (source_id)
        WHERE time >= issue_time AND time < issue_time + interval '48 hours') AS forecast;
"""


def names(count: int) -> list[str]:
    """A market, a load for each six sources, and as many solar plants as wind turbines."""
    loads = max(1, count // 6)
    plants = [f"{('solar', 'wind')[n % 2]}-{n}" for n in range(count - loads - 1)]
    return ["market-1", *(f"load-{n}" for n in range(loads)), *plants]


def fill(url: str, sources: list[str], days: int) -> None:
    """Sources, values and forecasts of so many days and eight more."""
    conn = db.connect_url(url, 60)
    db.upsert_sources(conn, [make_source(name, name.split("-")[0], 60) for name in sources])
    with conn.cursor() as cursor:
        cursor.execute(FILL, {"start": START, "hours": 24 * (days + 8), "sources": sources})
        conn.commit()
        conn.autocommit = True
        cursor.execute("VACUUM ANALYZE")
    conn.close()


def spent_s() -> float:
    """CPU time of the processes that have ended [s]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--sources", type=int, default=60, help="how many (default: 60)")
    parser.add_argument("--days", type=int, default=365, help="of the backtest (default: 365)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        settings = configparser.ConfigParser()
        settings["paths"] = {"data_dir": f"{name}/data", "state_dir": f"{name}/state"}
        settings["grid"] = {"import_limit_kw": "5000", "export_limit_kw": "5000"}
        settings["battery:store"] = {
            "capacity_kwh": "2000", "charge_kw": "1000", "discharge_kw": "1000",
        }  # fmt: skip
        config = Path(name) / "backtest.ini"
        with config.open("w") as file:
            settings.write(file)
        try:
            url = embedded.ensure_running(Path(name) / "state", 60).database_url
            fill(url, names(args.sources), args.days)
            command = [sys.executable, str(ROOT / "optimization.py"), "--config", str(config)]
            command += ["backtest", "--days", str(args.days), "--every-h", "1"]
            before = spent_s()
            subprocess.run(command, check=True)
            print(f"{spent_s() - before:.0f} CPU s")
        finally:
            embedded.stop(Path(name) / "state", delete=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
