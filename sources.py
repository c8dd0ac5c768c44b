"""What a source is (plant, load, market, weather of a site), the registry of sources, and the
import of real data.

    python sources.py                                                   list the sources of the data folder
    python sources.py show solar-1
    python sources.py add --kind solar --name "Roof east" --capacity-kw 250 --tilt 30 --azimuth 90 --connect
    python sources.py connect solar-3                                   generate its series, stream and store it
    python sources.py remove solar-3 --with-data
    python sources.py import year.csv --time-column time --tz Europe/Berlin --load load:MW --price price:EUR/MWh --output data

Sources live in `sources.csv` of the data folder; `communication.py` and `connect` register them in
the database. `import` turns a CSV file into the project's files without a database: power in kW,
prices in EUR/MWh, times in UTC that label the START of their interval. It reports what it found
first; rows that cannot be used go to `rejects.csv` with their line and reason."""

import argparse
import dataclasses
import re
import tempfile
import zoneinfo
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pandas as pd

import communication
from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.files import DataFileError, check_not_read, replacing_files
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows, shown
from vpp.runtime.words import printable
from vpp.site import csv_import
from vpp.site.csv_files import save_series, series_frame, stored_times, time_text
from vpp.site.kinds import KINDS
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
from vpp.synthetic import plants
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
        rows.append(
            row
            if args.json
            else row
            | {
                "parameters": ", ".join(
                    f"{key} {value}" for key, value in source.parameters.items()
                )
            }
        )
    print_rows(rows, f"Sources in {shown(config.paths.data_dir)}", as_json=args.json)


def show_source(args: argparse.Namespace, config: Config) -> None:
    source = find_source(config, args.source_id)
    times = stored_times(config.paths.data_dir, source)
    facts = {
        item.name: getattr(source, item.name)
        for item in fields(Source)
        if item.name != "parameters"
    } | source.parameters
    facts |= {
        "rows": len(times),
        "first": times.min() if len(times) else None,
        "last": times.max() if len(times) else None,
    }
    if args.json:
        print_rows([facts], as_json=True)
    else:
        print_rows(
            [{"field": name, "value": shown(value)} for name, value in facts.items()], source.name
        )


def add_source(args: argparse.Namespace, config: Config) -> None:
    source = new_source(args, config)
    sources = registry(config)
    if source.source_id in {other.source_id for other in sources}:
        raise SourceError(
            f"source {source.source_id} exists already; choose another name, or name it with --id"
        )
    write_sources(config.paths.data_dir / SOURCES_FILE, [*sources, source])
    if args.connect:
        connect(source, config, args.json)
    else:
        print(f"{source.source_id} added to {shown(config.paths.data_dir / SOURCES_FILE)}")
        print(f"its series: python sources.py connect {source.source_id}")


def new_source(args: argparse.Namespace, config: Config) -> Source:
    """The source that the arguments of `add` describe; place and time zone are the site's where
    they are not given.

    Raises
    ------
    ConfigError : an option does not belong to the kind, or its value is impossible.
    SourceError : the source is impossible, or the turbine unknown.
    """
    allowed = {"solar": ("tilt", "azimuth"), "wind": ("turbine", "hub_height")}
    bounds = {
        "tilt": (0, 90, "degrees"),
        "azimuth": (0, 360, "degrees"),
        "hub_height": (10, 300, "m"),
    }
    parameters: dict = {"origin": ADDED}
    for name in ("tilt", "azimuth", "turbine", "hub_height"):
        value = getattr(args, name)
        if value is None:
            continue
        option = "--" + name.replace("_", "-")
        if name not in allowed.get(args.kind, ()):
            raise ConfigError(f"{option} {value}: does not belong to the kind {args.kind}")
        if name in bounds and not bounds[name][0] <= value <= bounds[name][1]:
            raise ConfigError(
                f"{option} {value:g}: expected {bounds[name][0]} to {bounds[name][1]} "
                f"{bounds[name][2]}"
            )
        parameters["hub_height_m" if name == "hub_height" else name] = value
    if args.kind == "weather":
        raise SourceError(
            "kind = weather: a site has one, which generation.py makes; expected solar, wind, "
            "load or market"
        )
    if args.kind == "wind":
        plants.turbine_curve(parameters.setdefault("turbine", config.generation.wind_turbine))
    if args.kind == "market":
        parameters["price_area"] = config.site.price_area
    return Source(
        source_id=args.id or re.sub(r"[^a-z0-9]+", "-", args.name.lower()).strip("-")[:63],
        kind=args.kind,
        name=args.name,
        site_id=config.site.site_id,
        capacity_kw=args.capacity_kw,
        step_min=config.generation.step_min,
        latitude=config.site.latitude if args.latitude is None else args.latitude,
        longitude=config.site.longitude if args.longitude is None else args.longitude,
        time_zone=config.site.time_zone,
        parameters=parameters,
    )


def connect_source(args: argparse.Namespace, config: Config) -> None:
    connect(find_source(config, args.source_id), config, args.json)


def connect(source: Source, config: Config, as_json: bool) -> None:
    """Generate a source's series for the configured period, put it into its CSV file, and stream it
    into the database.

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
        alone = dataclasses.replace(
            config, paths=dataclasses.replace(config.paths, data_dir=Path(name))
        )
        rows = communication.stream(alone)
    print_rows(rows, f"{source.source_id} connected", as_json)


def remove_source(args: argparse.Namespace, config: Config) -> None:
    """Take a source out of `sources.csv` and the database; its data only with `--with-data`."""
    source, folder = find_source(config, args.source_id), config.paths.data_dir
    with session(config) as connection:
        in_files, in_database = (
            len(stored_times(folder, source)),
            delete_source(connection, source.source_id),
        )
        if (in_files or in_database) and not args.with_data:
            connection.rollback()
            raise SourceError(
                f"source {source.source_id} has {in_files} rows in {shown(folder)} and "
                f"{in_database} in the database; "
                "add --with-data to delete them too"
            )
        save_series(folder, [], removed=[source.source_id])
    print(
        f"{source.source_id} removed, with {in_files} rows in {shown(folder)} and {in_database} "
        "in the database"
    )


def import_file(args: argparse.Namespace, config: Config) -> None:
    """Read the file, report what it holds, then write all files of the output folder together."""
    if not args.wanted:
        raise ConfigError(
            "import: no column named; say one or more of --solar, --wind, --load and --price "
            "COLUMN:UNIT[:ID[:CAPACITY_KW]]"
        )
    if args.tz is not None:
        try:
            zoneinfo.ZoneInfo(args.tz)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigError(
                f"--tz {args.tz}: expected an IANA time zone such as Europe/Berlin"
            ) from None
    folder = Path(args.output) if args.output else config.paths.data_dir
    for kind in KINDS.values():
        check_not_read(folder / kind.file, "--output", Path(args.file), "FILE")
    for name in (SOURCES_FILE, REJECTS_FILE):
        check_not_read(folder / name, "--output", Path(args.file), "FILE")
    limits = (config.kafka.price_min_eur_per_mwh, config.kafka.price_max_eur_per_mwh)
    found = csv_import.load_file(Path(args.file), args.time_column, args.tz, args.wanted, limits)
    rejects = sorted(reject for series in found for reject in series.rejects)
    print_rows(
        [csv_import.report_row(series) for series in found],
        f"Read from {args.file}",
        as_json=args.json,
    )
    if not args.json:
        for line in csv_import.remarks(found):
            print(printable(line))
    if rejects and args.strict:
        line, source_id, _, value, reason = rejects[0]
        raise DataFileError(
            f"{args.file}, line {line}: {value!r} of {source_id}: {reason}; {len(rejects)} such "
            "cells, nothing was written (--strict)"
        )
    site = config.site
    added = []
    for series in found:
        column = series.column
        market = column.kind == "market"
        source = Source(
            source_id=column.source_id,
            kind=column.kind,
            name=column.name,
            site_id=site.site_id,
            capacity_kw=None if market else float(column.capacity_kw or series.values.max()),
            step_min=series.step_min,
            latitude=site.latitude,
            longitude=site.longitude,
            time_zone=site.time_zone,
            parameters={"origin": IMPORTED} | ({"price_area": site.price_area} if market else {}),
        )
        added.append((source, series_frame(source, series.values)))
    save_series(folder, added, rejects=rejects)
    if not args.json:
        more = f"; {len(rejects)} rejects in {REJECTS_FILE}" if rejects else ""
        print(
            f"{sum(len(frame) for _, frame in added):,} rows of {len(added)} sources written to "
            f"{shown(folder)}{more}"
        )


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
    command = commands.add_parser(
        "list", help="the sources of the data folder (as without a command)"
    )
    command.set_defaults(command=list_sources)
    command = commands.add_parser("show", help="all that is known of one source")
    command.add_argument("source_id", metavar="ID")
    command.set_defaults(command=show_source)
    command = commands.add_parser("add", help="register a plant, a load or a market")
    command.add_argument(
        "--kind", required=True, choices=KINDS, metavar="KIND", help="solar, wind, load or market"
    )
    command.add_argument("--name", required=True)
    command.add_argument("--id", help="default: from the name")
    command.add_argument(
        "--capacity-kw",
        type=float,
        metavar="KW",
        help="largest power; the AC rating of a solar plant; not for a market",
    )
    command.add_argument("--latitude", type=float, metavar="DEG", help="default: the site's")
    command.add_argument("--longitude", type=float, metavar="DEG", help="default: the site's")
    command.add_argument("--tilt", type=float, metavar="DEG", help="of a solar plant, 0 = flat")
    command.add_argument(
        "--azimuth", type=float, metavar="DEG", help="of a solar plant, 180 = south"
    )
    command.add_argument(
        "--turbine",
        metavar="TYPE",
        help="of a wind plant: a turbine type of windpowerlib, such as E-82/2300",
    )
    command.add_argument("--hub-height", type=float, metavar="M", help="of a wind plant")
    command.add_argument(
        "--connect", action="store_true", help="generate, stream and store its series at once"
    )
    command.set_defaults(command=add_source)
    command = commands.add_parser("remove", help="forget a source")
    command.add_argument("source_id", metavar="ID")
    command.add_argument(
        "--with-data", action="store_true", help="delete its rows in files and database too"
    )
    command.set_defaults(command=remove_source)
    command = commands.add_parser(
        "connect", help="generate a source's series for the configured period, stream and store it"
    )
    command.add_argument("source_id", metavar="ID")
    command.set_defaults(command=connect_source)
    command = commands.add_parser(
        "import", help="turn a CSV file with real data into the project's files"
    )
    command.add_argument("file", metavar="FILE")
    command.add_argument(
        "--time-column", required=True, metavar="COLUMN", help="time of the interval's start"
    )
    command.add_argument(
        "--tz",
        metavar="ZONE",
        help="the clock of times without an offset, such as Europe/Berlin or UTC",
    )
    for option in ("--solar", "--wind", "--load", "--price"):
        form = "COLUMN:UNIT[:ID]" if option == "--price" else "COLUMN:UNIT[:ID[:CAPACITY_KW]]"
        command.add_argument(
            option, dest="wanted", action=_Wanted, metavar=form, help="may come several times"
        )
    command.add_argument(
        "--output",
        metavar="DIR",
        help="the folder to write to (default: data_dir of the configuration)",
    )
    command.add_argument(
        "--strict", action="store_true", help="refuse the file if any cell cannot be used"
    )
    command.set_defaults(command=import_file)
    return parser


def run(args: argparse.Namespace, config: Config) -> int | None:
    return args.command(args, config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
