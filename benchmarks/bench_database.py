"""How long Grafana's panels and the scripts' reads take where results have grown for years.

    python benchmarks/bench_database.py [--rows 3500000]

Fills forecasts, schedules and battery states with that many rows each: hourly forecasts of four
sources and hourly plans, of 48 hours. Prints the seconds of each query of each panel that shows a
window of two days, with measurements beside them, the slowest last, and of the reads of the
scripts. Runs on embedded servers in a temporary folder.
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
from small_dashboards import DASHBOARDS, expand
from small_length import SOURCES, START, fill

import db
import embedded
from vpp.runtime.tables import print_rows

HORIZON, TIMES = 48, 3


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


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    about = "of forecasts, schedules and states each (default: 3,500,000)"
    parser.add_argument("--rows", type=int, default=3_500_000, help=about)
    args = parser.parse_args(argv)
    hours, plans = args.rows // HORIZON // len(SOURCES), args.rows // HORIZON
    with tempfile.TemporaryDirectory() as name:
        state = Path(name) / "state"
        try:
            url = embedded.ensure_running(state, 60).database_url
            conn = db.connect_url(url, 60)
            began = time.perf_counter()
            fill(conn, hours, plans)
            counts = db.count_rows(conn)
            held = ", ".join(
                f"{counts[table]:,} {table}"
                for table in ("forecasts", "schedules", "battery_states")
            )
            print(f"{held}, filled in {time.perf_counter() - began:.0f} s")
            shown = START + pd.Timedelta(days=100)
            print_rows(panels(conn, shown), "Panels, two days, best of three")
            print_rows(reads(conn, shown), "Reads of the scripts, best of three")
            conn.close()
        finally:
            embedded.stop(state, delete=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
