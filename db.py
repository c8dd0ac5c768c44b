"""The database: connection, sources, reads of measurements, reset; and, by their own modules, bulk
writes and results. SQL only.

TimescaleDB where the extension is there (hypertables; with its Community licence also compression
and continuous aggregates), else plain PostgreSQL with the same tables, keys and views. The schema
is made and migrated on every connect, so no command has to come first. All times are UTC; a time
labels the start of its interval. Ranges are `[start, end)`; None leaves a side open.

    python db.py                          # the state: server, tables, rows, times, sizes
    python db.py init                     # make or migrate the schema
    python db.py reset --yes              # drop everything and make the schema anew
    python db.py reset --table load --yes # empty one table, and those whose rows hang on it
"""

import argparse
import logging
import sys
from collections.abc import Sequence

from vpp.runtime import terminal
from vpp.runtime.config import Config
from vpp.runtime.tables import print_rows
from vpp.site.sources import Source
from vpp.storage import schema
from vpp.storage.bulk import store_measurements
from vpp.storage.connection import DataGapError, connect, connect_url, is_compressing, session
from vpp.storage.measurements import (
    count_measurements,
    data_end,
    delete_source,
    read_available_at,
    read_latest,
    read_resampled,
    read_series,
    read_sources,
    read_weather_forecasts,
    save_stream_status,
    upsert_sources,
)
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
from vpp.storage.schema import TABLES, DatabaseError, after_import, count_rows, reset

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
    "read_forecast_runs",
    "read_forecasts",
    "read_last_state",
    "read_latest",
    "read_resampled",
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
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("init", help="make or migrate the schema")
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
    if args.command == "reset" and not args.yes:
        what = (
            f"all rows of {schema.emptied_with(args.table)}"
            if args.table
            else "all tables with their rows"
        )
        if not sys.stdin.isatty():
            raise DatabaseError(f"reset deletes {what}; add --yes")
        if input(f"Delete {what}? [y/N] ").strip().lower() not in ("y", "yes"):
            return 1
    with session(config) as conn:
        if args.command == "reset":
            if args.table:
                schema.empty_table(conn, args.table)
                log.info("emptied: %s", schema.emptied_with(args.table))
            else:
                reset(conn)
        rows = schema.table_rows(conn)
        print_rows(rows, None if args.json else schema.server_name(conn), as_json=args.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
