"""How long Grafana's panels and the scripts' reads take where results have grown for years.

    python benchmarks/bench_database.py [--rows 3500000]
    python benchmarks/bench_database.py --measurements 50000000

Fills forecasts, schedules and battery states with that many rows each: hourly forecasts of four
sources and hourly plans, of 48 hours. Prints the seconds of each query of each panel that shows a
window of two days, with measurements beside them, the slowest last, and of the reads of the
scripts. Runs on embedded servers in a temporary folder.

With `--measurements` the database gets so many of them beside the results: values of 15 minutes of
400 plants and 200 loads, and a tenth of them weather forecasts. `db.py` and `communication.py
status` are then run three times as whole commands, before the measurements were ever analysed, and
after. The slowest run counts: its seconds by the clock, CPU seconds with those of the
servers, and memory. Each number of rows that they show stands beside the exact one.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import pandas as pd
from bench_scale import run, server_seconds
from small_dashboards import DASHBOARDS, expand
from small_length import SOURCES, START, fill
from small_storage import make_source

import db
import embedded
from vpp.runtime.config import load_config
from vpp.runtime.tables import print_rows
from vpp.storage import counts
from vpp.stream.kafka import kafka_settings, topic_names
from vpp.stream.topics import ensure_topics

HORIZON, TIMES = 48, 3
PLANTS = {"solar": 300, "wind": 100, "load": 200}
POWER = """
INSERT INTO {table} SELECT %(start)s + n * interval '15 min', source_id, n %% 100,
    %(start)s + n * interval '15 min'
    FROM generate_series(%(first)s, %(last)s) AS n, sources WHERE kind = ANY(%(kinds)s)"""
# of 50 places every 6 h for 32 h, which is a ninth of the rows above
ISSUES = """
INSERT INTO weather_forecasts SELECT 'weather-' || place,
    %(start)s + n * interval '15 min', %(start)s + (n + 4 * h) * interval '15 min',
    1, 1, 1, 1, 1, %(start)s + n * interval '15 min'
    FROM generate_series(%(first)s, %(last)s) AS n, generate_series(1, 50) AS place,
    generate_series(1, 32) AS h WHERE n %% 24 = 0"""
PART_STEPS = 1000
FILLED = ("renewables", "load", "weather_forecasts")


def timed(action: Callable[[], object]) -> float:
    """The best of some runs [s]."""
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def panels(conn, first: pd.Timestamp) -> list[dict]:
    """The seconds of each query of the panels that read results."""
    days = (first, first + pd.Timedelta(days=2))
    start, end = (f"{day:%Y-%m-%dT%H:%M:%SZ}" for day in days)
    rows = []
    for name in ("forecasts", "operations", "value"):
        for panel in DASHBOARDS[name]["panels"]:
            for target in panel["targets"]:
                query = expand(target["rawSql"], DASHBOARDS[name], SOURCES, start, end)

                def ask(query: str = query) -> None:
                    with conn, conn.cursor() as cursor:
                        cursor.execute(query)
                        cursor.fetchall()

                rows.append({"board": name, "panel": panel["title"], "seconds": timed(ask)})
    return sorted(rows, key=lambda row: row["seconds"])


def reads(conn, at: pd.Timestamp) -> list[dict]:
    """The seconds of the scripts' reads."""
    actions = {
        "newest forecast before a time": lambda: db.read_forecasts(
            conn, "wind-1", at, or_before=True
        ),
        "last state of a battery": lambda: db.read_last_state(conn, "battery-1", at),
        "newest plan": lambda: db.read_schedule(conn),
    }
    return [{"read": name, "seconds": timed(action)} for name, action in actions.items()]


def fill_measurements(conn, rows: int) -> None:
    """Store so many measurements in the order of their times, in parts, without statistics."""
    sources = [
        make_source(f"{kind}.{number}", kind, 15)
        for kind, count in PLANTS.items()
        for number in range(count)
    ]
    sources += [make_source(f"weather-{place}", "weather") for place in range(1, 51)]
    db.upsert_sources(conn, sources)
    steps = rows * 9 // 10 // sum(PLANTS.values())
    with conn.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(FILLED)}")  # which also takes their statistics
        for table in FILLED:
            cursor.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = false)")
        for first in range(1, steps + 1, PART_STEPS):
            values = {"start": START, "first": first, "last": min(first + PART_STEPS - 1, steps)}
            for table, kinds in (("renewables", ["solar", "wind"]), ("load", ["load"])):
                cursor.execute(POWER.format(table=table), values | {"kinds": kinds})
            cursor.execute(ISSUES, values)
            conn.commit()
            print(f"{values['last']:,} of {steps:,} steps", end="\r", file=sys.stderr)


def commands(conn, config: Path, state: Path, when: str) -> None:
    """Print what `db.py` and `communication.py status` cost, and how well they estimate."""
    rows = []
    for script, arguments in (("db.py", ()), ("communication.py", ("status",))):
        slowest: dict = {"clock_s": 0.0}
        for _ in range(TIMES):
            before = server_seconds(state)
            given = ["--config", str(config), *arguments]
            spent, clock, peak = run(config.parent, script, given)
            servers = server_seconds(state) - before
            found = {"clock_s": clock, "cpu_s": spent, "servers_cpu_s": servers, "peak_mb": peak}
            slowest = max(slowest, found, key=lambda one: one["clock_s"])
        rows.append({"command": " ".join((script, *arguments))} | slowest)
    print_rows(rows, f"Commands, {when}, the slowest of three")
    conn.commit()
    began = time.perf_counter()
    exact: dict = db.count_measurements(conn)
    seconds = time.perf_counter() - began
    estimates = counts.measurement_counts(conn)
    exact |= db.count_rows(conn)
    estimates |= counts.table_counts(conn)
    conn.commit()
    compared = [
        {"of": name, "exact": exact[name], "shown": each.words, "ratio": each.rows / exact[name]}
        for name, each in estimates.items()
        if each.is_estimate
    ]
    print_rows(compared, f"Rows, {when}; all measurements are counted in {seconds:.1f} s")


def at_length(measurements: int, hours: int, plans: int, folder: Path) -> None:
    """Measure the commands that tell of the number of rows."""
    state, path = folder / "state", folder / "config.ini"
    path.write_text(f"[paths]\ndata_dir = {folder}\nstate_dir = {state}\n")
    servers = embedded.ensure_running(state, 60)
    config = load_config(path)
    settings = kafka_settings(config) | {"bootstrap.servers": servers.bootstrap_servers}
    ensure_topics(config.kafka, settings, list(topic_names(config).values()), 30)
    conn = db.connect_url(servers.database_url, 60)
    began = time.perf_counter()
    fill(conn, hours, plans)
    fill_measurements(conn, measurements)
    print(f"{measurements:,} measurements, filled in {time.perf_counter() - began:.0f} s")
    commands(conn, path, state, "measurements never analysed")
    with conn, conn.cursor() as cursor:
        cursor.execute("ANALYZE")
    commands(conn, path, state, "all analysed")
    conn.close()


def panels_and_reads(state: Path, hours: int, plans: int) -> None:
    """Measure Grafana's panels and the scripts' reads."""
    conn = db.connect_url(embedded.ensure_running(state, 60).database_url, 60)
    began = time.perf_counter()
    fill(conn, hours, plans)
    found = db.count_rows(conn)
    held = ", ".join(
        f"{found[table]:,} {table}" for table in ("forecasts", "schedules", "battery_states")
    )
    print(f"{held}, filled in {time.perf_counter() - began:.0f} s")
    shown = START + pd.Timedelta(days=100)
    print_rows(panels(conn, shown), "Panels, two days, best of three")
    print_rows(reads(conn, shown), "Reads of the scripts, best of three")
    conn.close()


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    about = "of forecasts, schedules and states each (default: 3,500,000)"
    parser.add_argument("--rows", type=int, default=3_500_000, help=about)
    about = "time db.py and communication.py status beside so many measurements"
    parser.add_argument("--measurements", type=int, metavar="ROWS", help=about)
    args = parser.parse_args(argv)
    hours, plans = args.rows // HORIZON // len(SOURCES), args.rows // HORIZON
    with tempfile.TemporaryDirectory() as name:
        state = Path(name) / "state"
        try:
            if args.measurements:
                at_length(args.measurements, hours, plans, Path(name))
            else:
                panels_and_reads(state, hours, plans)
        finally:
            embedded.stop(state, delete=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
