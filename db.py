"""The database: its state, its schema, and, for other scripts and notebooks, all reads and writes.

TimescaleDB where the extension is there (hypertables; with its Community licence also compression
and continuous aggregates), else plain PostgreSQL with the same tables, keys and views. The schema
is made and migrated on every connect, so no command has to come first. `db.session` is a
connection for one block; each function says who commits. The code is in vpp/storage. All times are
UTC; a time labels the start of its interval. Ranges are `[start, end)`; None leaves a side open.

    python db.py                          # the state: server, tables, rows, times, sizes
    python db.py init                     # make or migrate the schema
    python db.py prune                    # delete old results ([database] results_retention_days)
    python db.py reset --yes              # drop everything and make the schema anew
    python db.py reset --table load --yes # empty one table, and those whose rows hang on it
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from vpp.runtime import terminal
from vpp.runtime.settings import Config
from vpp.site.sources import Source
from vpp.storage.bulk import store_measurements
from vpp.storage.connection import DataGapError, connect, connect_url, session
from vpp.storage.counts import count_measurements, count_rows, print_counts
from vpp.storage.errors import DatabaseError
from vpp.storage.freshness import data_end
from vpp.storage.measurements import (
    delete_source,
    read_available_at,
    read_external_forecasts,
    read_latest,
    read_resampled,
    read_revisions,
    read_series,
    read_sources,
    read_weather_forecasts,
    save_stream_status,
    upsert_sources,
)
from vpp.storage.overview import server_name, table_rows
from vpp.storage.results import (
    ForecastRun,
    check_run,
    read_forecast_runs,
    read_forecasts,
    read_last_state,
    read_schedule,
    read_states,
    run_id,
    save_battery_states,
    save_forecasts,
    save_schedule,
    upsert_batteries,
)
from vpp.storage.retention import prune_results
from vpp.storage.schema import TABLES, emptied_with, empty_table, reset
from vpp.storage.timescale import after_import, is_compressing

__all__ = [
    "DataGapError",
    "DatabaseError",
    "ForecastRun",
    "Source",
    "after_import",
    "check_run",
    "connect",
    "connect_url",
    "count_measurements",
    "count_rows",
    "data_end",
    "delete_source",
    "is_compressing",
    "read_available_at",
    "read_external_forecasts",
    "read_forecast_runs",
    "read_forecasts",
    "read_last_state",
    "read_latest",
    "read_resampled",
    "read_revisions",
    "read_schedule",
    "read_series",
    "read_sources",
    "read_states",
    "read_weather_forecasts",
    "reset",
    "run_id",
    "save_battery_states",
    "save_forecasts",
    "save_schedule",
    "save_stream_status",
    "session",
    "store_measurements",
    "upsert_batteries",
    "upsert_sources",
]

log = logging.getLogger("db")


def build_parser() -> argparse.ArgumentParser:
    """The command line of this script."""
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("init", help="make or migrate the schema")
    commands.add_parser("prune", help="delete results older than results_retention_days")
    again = commands.add_parser("reset", help="drop everything and make the schema anew")
    again.add_argument(
        "--table",
        choices=TABLES,
        metavar="TABLE",
        help="only empty this table, and those whose rows hang on it",
    )
    again.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def run(args: argparse.Namespace, config: Config) -> int:
    """Do what the command says, and print the state; returns 1 if a person declines a reset."""
    if args.command == "reset" and not args.yes:
        victims = "all tables with their rows"
        if args.table:
            victims = f"all rows of {emptied_with(args.table)}"
        if not sys.stdin.isatty():
            raise DatabaseError(f"reset deletes {victims}; add --yes")
        if input(f"Delete {victims}? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    with session(config) as conn:
        if args.command == "reset":
            if args.table:
                empty_table(conn, args.table)
                log.info("emptied: %s", emptied_with(args.table))
            else:
                reset(conn)
        if args.command == "prune":
            prune_results(conn, config.database.results_retention_days)
        rows = table_rows(conn)
        title = None if args.json else server_name(conn)
        print_counts(rows, "rows", title, args.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The script; returns its exit code."""
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
