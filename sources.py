"""Lists, adds, connects and removes sources (plants, loads, markets), and imports real data.

    python sources.py                               list the sources of the data folder
    python sources.py show solar-1
    python sources.py init cabin.ini                ask, and write a configuration of your site
    python sources.py add --kind solar --name "Roof east" --capacity-kw 250 --tilt 30 --connect
    python sources.py connect solar-3               generate its series, stream and store it
    python sources.py remove solar-3 --with-data
    python sources.py import year.csv --time-column time --tz Europe/Berlin \\
        --load load:MW --price price:EUR/MWh --output data
    python sources.py import-fleet batteries.csv
    python sources.py fetch open-meteo --from 2025-01-01 --to 2025-01-31
    python sources.py fetch open-meteo --follow     keep fetching what is new, until Ctrl-C

Sources live in `sources.csv` of the data folder; `communication.py` and `connect` register them in
the database. `import` turns files as people have them into the project's files without a database:
power in kW, prices in EUR/MWh, times in UTC that label the START of their interval. It shows first
how it understood them; rows that cannot be used go to `rejects.csv` with their line and reason.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import communication
from vpp.connect.fetching import add_fetch_options
from vpp.connect.following import fetch_command
from vpp.physics.plants import turbine_curve
from vpp.runtime import terminal
from vpp.runtime.files import DataFileError, locked_folder, replacing_files
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows, shown
from vpp.site.csv_files import (
    save_series,
    series_frame,
    source_facts,
    stored_times,
    time_text,
)
from vpp.site.csv_import import load_files
from vpp.site.fleet_import import add_fleet_options, import_fleet, site_of_folder, site_rows
from vpp.site.import_options import add_options, asked_of, check_not_written, place_of
from vpp.site.import_report import print_understood
from vpp.site.import_sources import make_sources, write
from vpp.site.new_source import OPTIONS, add_source_options, new_source
from vpp.site.selection import add_site_option, chosen
from vpp.site.setup import add_init_options, add_tariff, add_tariff_options, init_command
from vpp.site.sources import (
    ADDED,
    IMPORTED,
    REJECTS_FILE,
    SOURCES_FILE,
    Source,
    SourceError,
    add_to_registry,
    find_source,
    read_sources,
    write_sources,
)
from vpp.storage.connection import session
from vpp.storage.measurements import delete_source
from vpp.storage.sites import register_fleet, register_sites
from vpp.synthetic.series import generate_one, make_world

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
    rows, sources = [], read_sources(config.paths.data_dir / SOURCES_FILE)
    wanted = chosen(dict.fromkeys(source.site_id for source in sources), args.sites)
    for source in (source for source in sources if source.site_id in wanted):
        row = {item.name: getattr(source, item.name) for item in fields(Source)}
        if not args.json:
            facts = (f"{key} {value}" for key, value in source.parameters.items())
            row["parameters"] = ", ".join(facts)
        rows.append(row)
    print_rows(rows, f"Sources in {shown(config.paths.data_dir)}", as_json=args.json)


def show_source(args: argparse.Namespace, config: Config) -> None:
    source = find_source(config, args.source_id)
    facts = source_facts(source, stored_times(config.paths.data_dir, source))
    rows = [{"field": name, "value": shown(value)} for name, value in facts.items()]
    print_rows([facts] if args.json else rows, source.name, as_json=args.json)


def add_source(args: argparse.Namespace, config: Config) -> None:
    if args.kind == "tariff":
        add_tariff(args, config)
        return
    names = ("name", "capacity_kw", "latitude", "longitude", *sum(OPTIONS.values(), ()))
    said = {name: getattr(args, name) for name in names}
    place = site_of_folder(config, args.site)
    source = new_source(place, args.kind, source_id=args.id, time_zone=args.tz, **said)
    if source.kind == "wind":
        turbine_curve(source.parameters["turbine"])  # refuses an unknown type
    add_to_registry(config, source)
    if args.connect:
        connect(source, config, args.json)
    else:
        print(f"{source.source_id} added to {shown(config.paths.data_dir / SOURCES_FILE)}")
        print(f"its series: python sources.py connect {source.source_id}")


def connect_source(args: argparse.Namespace, config: Config) -> None:
    connect(find_source(config, args.source_id), config, args.json)


def connect(source: Source, config: Config, as_json: bool) -> None:
    """Generate a source's series for the configured period, into its CSV file and the database."""
    if source.kind == "weather" or source.parameters.get("origin") == IMPORTED:
        what = "a site's weather" if source.kind == "weather" else "imported"
        raise SourceError(
            f"source {source.source_id} is {what} and is not generated here; run python "
            "communication.py to stream its data"
        )
    source = dataclasses.replace(source, step_min=config.generation.step_min)
    world = make_world(config.generation, config.site.holidays_country)
    frame = series_frame(source, generate_one(world, source))
    with locked_folder(config.paths.data_dir):
        save_series(config.paths.data_dir, [(source, source.kind, frame)])
    with tempfile.TemporaryDirectory() as name:  # a data folder that holds this source alone
        save_series(Path(name), [(source, source.kind, frame)])
        paths = dataclasses.replace(config.paths, data_dir=Path(name))
        rows = communication.stream(dataclasses.replace(config, paths=paths))
    print_rows(rows, f"{source.source_id} connected", as_json)


def remove_source(args: argparse.Namespace, config: Config) -> None:
    """Take a source out of `sources.csv` and the database; its data only with `--with-data`."""
    source, folder = find_source(config, args.source_id), config.paths.data_dir
    with locked_folder(folder), session(config) as connection:
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


def import_files(args: argparse.Namespace, config: Config) -> None:
    """Read files, show what they hold as understood, then change the folder's files together."""
    paths = [Path(name) for name in args.file]
    folder = Path(args.output) if args.output else config.paths.data_dir
    asked, stated = asked_of(args), dataclasses.replace(place_of(args), zone=args.tz)
    check_not_written(paths, folder)
    limits = (config.kafka.price_min_eur_per_mwh, config.kafka.price_max_eur_per_mwh)
    found = load_files(paths, asked, limits, args.capacity)
    place = dataclasses.replace(stated, zone=found.zone)
    extra = {"regressor_of": args.regressor_of, "delay_min": args.delay_min}
    extra = {name: value for name, value in extra.items() if value is not None}
    made = make_sources(found.series, config, place, asked.issued, extra)
    found.notes += made.notes
    print_understood(found, made.added, ", ".join(args.file), args.json)
    rejects = found.rejects(", ".join(args.file) if args.strict else None)
    if args.dry_run:
        return
    told = write(folder, made, rejects, ", ".join(args.file), stated)
    if not args.json:
        print_rows(told, f"Written to {shown(folder)}")
        rows = sum(len(series.values) for series in found.series)
        more = f"; {len(rejects)} rejects in {REJECTS_FILE}" if rejects else ""
        print(f"{rows:,} rows of {len(told)} sources written to {shown(folder)}{more}")


def list_sites(args: argparse.Namespace, config: Config) -> None:
    rows = site_rows(config, args.sites)
    print_rows(rows, f"Sites in {shown(config.paths.data_dir)}", args.json)


def import_batteries(args: argparse.Namespace, config: Config) -> None:
    sites, fleet, count = import_fleet(config, [Path(name) for name in args.file], args.sites_file)
    with session(config) as connection:
        if sites:
            register_sites(connection, sites)
        register_fleet(connection, fleet)
    print(f"{count} batteries imported; {shown(config.paths.data_dir)} has {len(fleet)}")


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_site_option(parser)
    parser.read_by = {"--site": ("list", "sites")}
    parser.set_defaults(command=list_sources)
    commands = parser.add_subparsers(metavar="COMMAND")
    for name, work, about in (
        ("list", list_sources, "the sources of the data folder (as without a command)"),
        ("show", show_source, "all that is known of one source"),
        ("add", add_source, "register a plant, a load or a market"),
        ("remove", remove_source, "forget a source"),
        ("connect", connect_source, "generate its series, stream and store it"),
        ("import", import_files, "turn files with real data into the project's files"),
        ("fetch", fetch_command, "ask a provider for real data"),
        ("init", init_command, "ask for site and battery, and write a configuration"),
        ("sites", list_sites, "the sites of the data folder, each with its connection"),
        ("import-fleet", import_batteries, "take a fleet of batteries from a table"),
    ):
        command = commands.add_parser(name, help=about)
        command.set_defaults(command=work)
        if name in ("list", "sites"):
            add_site_option(command, argparse.SUPPRESS)
        elif name in ("show", "remove", "connect"):
            command.add_argument("source_id", metavar="ID")
        if name == "remove":
            about = "delete its rows in files and database too"
            command.add_argument("--with-data", action="store_true", help=about)
        elif name == "add":
            add_source_options(command)
            add_tariff_options(command)
        elif name == "import-fleet":
            add_fleet_options(command)
        elif name == "import":
            add_options(command)
        elif name in ("fetch", "init"):
            (add_fetch_options if name == "fetch" else add_init_options)(command)
    return parser


def run(args: argparse.Namespace, config: Config) -> int | None:
    return args.command(args, config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
