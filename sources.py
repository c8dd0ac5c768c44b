"""Lists, adds, connects and removes sources (plants, loads, markets), and imports real data.

    python sources.py                               list the sources of the data folder
    python sources.py show solar-1
    python sources.py add --kind solar --name "Roof east" --capacity-kw 250 --tilt 30 --connect
    python sources.py connect solar-3               generate its series, stream and store it
    python sources.py remove solar-3 --with-data
    python sources.py import year.csv --time-column time --tz Europe/Berlin \\
        --load load:MW --price price:EUR/MWh --output data

Sources live in `sources.csv` of the data folder; `communication.py` and `connect` register them in
the database. `import` turns a CSV file into the project's files without a database: power in kW,
prices in EUR/MWh, times in UTC that label the START of their interval. It reports what it found
first; rows that cannot be used go to `rejects.csv` with their line and reason.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd

import communication
from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.fields import is_time_zone
from vpp.runtime.files import DataFileError, check_not_read, replacing_files
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows, shown
from vpp.runtime.words import printable
from vpp.site.csv_files import save_series, series_frame, stored_times, time_text
from vpp.site.csv_import import imported_sources, load_file
from vpp.site.import_checks import remarks, report_row
from vpp.site.kinds import KINDS
from vpp.site.new_source import new_source
from vpp.site.sources import (
    ADDED,
    IMPORTED,
    REJECTS_FILE,
    SOURCES_FILE,
    Source,
    SourceError,
    find_source,
    read_sources,
    registry,
    write_sources,
)
from vpp.storage.connection import session
from vpp.storage.measurements import delete_source
from vpp.synthetic.plants import turbine_curve
from vpp.synthetic.series import generate, make_world

__all__ = [
    "ADDED",
    "IMPORTED",
    "SOURCES_FILE",
    "DataFileError",
    "Source",
    "SourceError",
    "read_sources",
    "replacing_files",
    "time_text",
    "write_sources",
]


def list_sources(args: argparse.Namespace, config: Config) -> None:
    rows = []
    for source in read_sources(config.paths.data_dir / SOURCES_FILE):
        row = {item.name: getattr(source, item.name) for item in fields(Source)}
        if not args.json:
            facts = (f"{key} {value}" for key, value in source.parameters.items())
            row["parameters"] = ", ".join(facts)
        rows.append(row)
    print_rows(rows, f"Sources in {shown(config.paths.data_dir)}", as_json=args.json)


def show_source(args: argparse.Namespace, config: Config) -> None:
    source = find_source(config, args.source_id)
    times = stored_times(config.paths.data_dir, source)
    names = [item.name for item in fields(Source) if item.name != "parameters"]
    facts = {name: getattr(source, name) for name in names} | source.parameters
    facts |= {
        "rows": len(times),
        "first": times.min() if len(times) else None,
        "last": times.max() if len(times) else None,
    }
    if args.json:
        print_rows([facts], as_json=True)
    else:
        rows = [{"field": name, "value": shown(value)} for name, value in facts.items()]
        print_rows(rows, source.name)


def add_source(args: argparse.Namespace, config: Config) -> None:
    source = new_source(
        config,
        kind=args.kind,
        name=args.name,
        source_id=args.id,
        capacity_kw=args.capacity_kw,
        latitude=args.latitude,
        longitude=args.longitude,
        tilt=args.tilt,
        azimuth=args.azimuth,
        turbine=args.turbine,
        hub_height=args.hub_height,
    )
    if source.kind == "wind":
        turbine_curve(source.parameters["turbine"])  # refuses an unknown type
    path, sources = config.paths.data_dir / SOURCES_FILE, registry(config)
    if source.source_id in {other.source_id for other in sources}:
        raise SourceError(
            f"source {source.source_id} exists already; choose another name, or name it with --id"
        )
    write_sources(path, [*sources, source])
    if args.connect:
        connect(source, config, args.json)
    else:
        print(f"{source.source_id} added to {shown(path)}")
        print(f"its series: python sources.py connect {source.source_id}")


def connect_source(args: argparse.Namespace, config: Config) -> None:
    connect(find_source(config, args.source_id), config, args.json)


def connect(source: Source, config: Config, as_json: bool) -> None:
    """Generate a source's series for the configured period, into its CSV file and the database.

    Parameters
    ----------
    source : that is generated.
    as_json : whether to print JSON.

    Raises
    ------
    SourceError : the source's data were imported, or it is a site's weather.
    """
    if source.kind == "weather" or source.parameters.get("origin") == IMPORTED:
        what = "a site's weather" if source.kind == "weather" else "imported"
        raise SourceError(
            f"source {source.source_id} is {what} and is not generated here; run python "
            "communication.py to stream its data"
        )
    source = dataclasses.replace(source, step_min=config.generation.step_min)
    world = make_world(config.generation, config.site.holidays_country)
    ((_, _, columns, _),) = generate(world, [source])
    values = pd.Series(columns[KINDS[source.kind].value], world.times[columns["time"]])
    frame = series_frame(source, values)
    save_series(config.paths.data_dir, [(source, frame)])
    with tempfile.TemporaryDirectory() as name:  # a data folder that holds this source alone
        save_series(Path(name), [(source, frame)])
        paths = dataclasses.replace(config.paths, data_dir=Path(name))
        rows = communication.stream(dataclasses.replace(config, paths=paths))
    print_rows(rows, f"{source.source_id} connected", as_json)


def remove_source(args: argparse.Namespace, config: Config) -> None:
    """Take a source out of `sources.csv` and the database; its data only with `--with-data`."""
    source, folder = find_source(config, args.source_id), config.paths.data_dir
    with session(config) as connection:
        in_files = len(stored_times(folder, source))
        in_database = delete_source(connection, source.source_id)
        if (in_files or in_database) and not args.with_data:
            connection.rollback()
            raise SourceError(
                f"source {source.source_id} has {in_files} rows in {shown(folder)} and "
                f"{in_database} in the database; add --with-data to delete them too"
            )
        save_series(folder, [], removed=[source.source_id])
    print(
        f"{source.source_id} removed, with {in_files} rows in {shown(folder)} and {in_database} "
        "in the database"
    )


def import_file(args: argparse.Namespace, config: Config) -> None:
    """Read the file, report what it holds, then write all files of the output folder together."""
    folder = Path(args.output) if args.output else config.paths.data_dir
    check_import(args, folder)
    limits = (config.kafka.price_min_eur_per_mwh, config.kafka.price_max_eur_per_mwh)
    found = load_file(Path(args.file), args.time_column, args.tz, args.wanted, limits)
    rejects = sorted(reject for series in found for reject in series.rejects)
    print_rows([report_row(series) for series in found], f"Read from {args.file}", args.json)
    if not args.json:
        for line in remarks(found):
            print(printable(line))
    if rejects and args.strict:
        line, source_id, _, value, reason = rejects[0]
        raise DataFileError(
            f"{args.file}, line {line}: {value!r} of {source_id}: {reason}; {len(rejects)} such "
            "cells, nothing was written (--strict)"
        )
    added = imported_sources(found, config.site)
    save_series(folder, added, rejects=rejects)
    if not args.json:
        rows = sum(len(frame) for _, frame in added)
        more = f"; {len(rejects)} rejects in {REJECTS_FILE}" if rejects else ""
        print(f"{rows:,} rows of {len(added)} sources written to {shown(folder)}{more}")


def check_import(args: argparse.Namespace, folder: Path) -> None:
    """Refuse an import without a column, with an unknown zone, or over the file that it reads."""
    if not args.wanted:
        raise ConfigError(
            "import: no column named; say one or more of --solar, --wind, --load and --price "
            "COLUMN:UNIT[:ID[:CAPACITY_KW]]"
        )
    if args.tz is not None and not is_time_zone(args.tz):
        raise ConfigError(f"--tz {args.tz}: expected an IANA time zone such as Europe/Berlin")
    for name in (*(kind.file for kind in KINDS.values()), SOURCES_FILE, REJECTS_FILE):
        check_not_read(folder / name, "--output", Path(args.file), "FILE")


class _Wanted(argparse.Action):
    """Collects --solar, --wind, --load and --price in the order they come."""

    def __call__(self, parser, namespace, value, option_string=None):
        kind = "market" if option_string == "--price" else option_string[2:]
        namespace.wanted = [*(namespace.wanted or []), (kind, value)]


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=list_sources)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, work, about in (
        ("list", list_sources, "the sources of the data folder (as without a command)"),
        ("show", show_source, "all that is known of one source"),
        ("add", add_source, "register a plant, a load or a market"),
        ("remove", remove_source, "forget a source"),
        ("connect", connect_source, "generate its series, stream and store it"),
        ("import", import_file, "turn a CSV file with real data into the project's files"),
    ):
        command = commands.add_parser(name, help=about)
        command.set_defaults(command=work)
        if name in ("show", "remove", "connect"):
            command.add_argument("source_id", metavar="ID")
        if name == "remove":
            about = "delete its rows in files and database too"
            command.add_argument("--with-data", action="store_true", help=about)
        elif name == "add":
            add_options_of_add(command)
        elif name == "import":
            add_options_of_import(command)
    return parser


def add_options_of_add(command: argparse.ArgumentParser) -> None:
    """Give `add` its options."""
    about = "solar, wind, load or market"
    command.add_argument("--kind", required=True, choices=KINDS, metavar="KIND", help=about)
    command.add_argument("--name", required=True)
    command.add_argument("--id", help="default: from the name")
    about = "of a wind plant: a turbine type of windpowerlib, such as E-82/2300"
    command.add_argument("--turbine", metavar="TYPE", help=about)
    for name, unit, about in (
        ("capacity-kw", "KW", "largest power; the AC rating of a solar plant; not for a market"),
        ("latitude", "DEG", "default: the site's"),
        ("longitude", "DEG", "default: the site's"),
        ("tilt", "DEG", "of a solar plant, 0 = flat"),
        ("azimuth", "DEG", "of a solar plant, 180 = south"),
        ("hub-height", "M", "of a wind plant"),
    ):
        command.add_argument(f"--{name}", type=float, metavar=unit, help=about)
    about = "generate, stream and store its series at once"
    command.add_argument("--connect", action="store_true", help=about)


def add_options_of_import(command: argparse.ArgumentParser) -> None:
    """Give `import` its arguments."""
    command.add_argument("file", metavar="FILE")
    about = "time of the interval's start"
    command.add_argument("--time-column", required=True, metavar="COLUMN", help=about)
    about = "the clock of times without an offset, such as Europe/Berlin or UTC"
    command.add_argument("--tz", metavar="ZONE", help=about)
    about = "may come several times"
    for option in ("--solar", "--wind", "--load", "--price"):
        form = "COLUMN:UNIT[:ID]" if option == "--price" else "COLUMN:UNIT[:ID[:CAPACITY_KW]]"
        command.add_argument(option, dest="wanted", action=_Wanted, metavar=form, help=about)
    about = "the folder to write to (default: data_dir of the configuration)"
    command.add_argument("--output", metavar="DIR", help=about)
    about = "refuse the file if any cell cannot be used"
    command.add_argument("--strict", action="store_true", help=about)


def run(args: argparse.Namespace, config: Config) -> int | None:
    return args.command(args, config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
