"""What a source is (plant, load, market, weather of a site), the registry of sources, and the import of real data.

    python sources.py                                                   list the sources of the data folder
    python sources.py show solar-1
    python sources.py add --kind solar --name "Roof east" --capacity-kw 250 --tilt 30 --azimuth 90 --connect
    python sources.py connect solar-3                                   generate its series, stream and store it
    python sources.py remove solar-3 --with-data
    python sources.py import year.csv --time-column time --tz Europe/Berlin --load load:MW --price price:EUR/MWh --output data

Sources live in `sources.csv` of the data folder; `communication.py` and `connect` register them in the database. `import` turns
a CSV file into the project's files without a database: power in kW, prices in EUR/MWh, times in UTC that label the START of
their interval. It reports what it found first; rows that cannot be used go to `rejects.csv` with their line and reason.
"""

import argparse
import dataclasses
import json
import math
import re
import shutil
import tempfile
import time
import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd

import terminal
from config import Config, ConfigError, VppError, check_known
from kinds import KINDS, POWER_KINDS, SOURCE_KINDS

STEPS_MIN = (5, 15, 30, 60)
ADDED, IMPORTED = "added", "imported"  # the parameter `origin` of sources that generation.py did not make
SOURCES_FILE, REJECTS_FILE = "sources.csv", "rejects.csv"
LEFT_BEHIND_S = 24 * 3600
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class SourceError(VppError):
    """A source or its data cannot be used as asked."""


class DataFileError(VppError):
    """A data file cannot be read or written."""


@dataclass(frozen=True)
class Source:
    """A plant, a load, a market or the weather of a site: one row of `sources.csv`.

    `capacity_kw` is the largest power [kW] (AC rating of a PV plant; None for market and weather), `step_min` the step of its
    series [min], latitude and longitude are degrees north and east, `parameters` hold what only its kind has: `tilt`, `azimuth`,
    `dc_ac_ratio` (solar), `turbine`, `hub_height_m` (wind), `price_area` (market).
    """

    source_id: str
    kind: str
    name: str
    site_id: str
    capacity_kw: float | None
    step_min: int
    latitude: float | None
    longitude: float | None
    time_zone: str
    parameters: dict = field(default_factory=dict)

    def __post_init__(self):
        def refuse(name, value, expected):
            raise SourceError(f"source {self.source_id!r}: {name} = {value}: expected {expected}")

        if not ID_PATTERN.fullmatch(str(self.source_id)):
            refuse("source_id", self.source_id, "1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit")
        if self.kind not in SOURCE_KINDS:
            refuse("kind", self.kind, "one of " + ", ".join(SOURCE_KINDS))
        if not self.site_id:
            refuse("site_id", repr(self.site_id), "the name of a site")
        if self.kind in POWER_KINDS:
            if self.capacity_kw is None or not 0 < self.capacity_kw < math.inf:
                refuse("capacity_kw", self.capacity_kw, "more than 0 kW")
        elif self.capacity_kw is not None:
            refuse("capacity_kw", self.capacity_kw, f"nothing for the kind {self.kind}")
        if self.step_min not in STEPS_MIN:
            refuse("step_min", self.step_min, "one of " + ", ".join(map(str, STEPS_MIN)))
        for name, value, bound in (("latitude", self.latitude, 90), ("longitude", self.longitude, 180)):
            if value is not None and not -bound <= value <= bound:
                refuse(name, value, f"degrees from -{bound} to {bound}")
        try:
            zoneinfo.ZoneInfo(self.time_zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError):
            refuse("time_zone", self.time_zone, "an IANA time zone such as Europe/Brussels")
        if not isinstance(self.parameters, dict):
            refuse("parameters", self.parameters, "a JSON object")


# ------------------------------------------------------------------------------------------------------------ files


def read_sources(path: Path | str) -> list[Source]:
    """Read `sources.csv`.

    Raises
    ------
    DataFileError : there is no such file, or it is not a table of sources.
    SourceError : a row has an impossible value, or a source_id comes twice.
    """
    path = Path(path)
    columns = [item.name for item in fields(Source)]
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataFileError(
            f"{terminal.shown(path)}: no such file; run python generation.py, or import real data with python sources.py import"
        ) from None
    except (OSError, ValueError) as error:
        reason = terminal.in_words(error)
        expected = ",".join(columns)
        raise DataFileError(f"{terminal.shown(path)}: cannot be read: {reason}; expected the columns {expected}") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataFileError(f"{terminal.shown(path)}: column {missing[0]} is missing; expected {','.join(columns)}")
    sources = []
    for line, row in enumerate(table[columns].to_dict("records"), start=2):
        try:
            for name in ("capacity_kw", "latitude", "longitude"):
                row[name] = float(row[name]) if row[name] else None
            row["step_min"] = int(row["step_min"])
            row["parameters"] = json.loads(row["parameters"] or "{}")
            sources.append(Source(**row))
        except (ValueError, SourceError) as error:
            raise SourceError(f"{terminal.shown(path)}, line {line}: {error}") from None
    seen = set()
    for source in sources:
        if source.source_id in seen:
            raise SourceError(f"{terminal.shown(path)}: source {source.source_id} comes twice; delete one of its lines")
        seen.add(source.source_id)
    return sources


def write_sources(path: Path | str, sources: Iterable[Source]) -> None:
    """Write `sources.csv` under a temporary name and rename it."""
    path = Path(path)
    with replacing_files(path.parent) as folder:
        _sources_table(sources).to_csv(folder / path.name, index=False, lineterminator="\n")


def _sources_table(sources: Iterable[Source]) -> pd.DataFrame:
    rows = [{item.name: getattr(source, item.name) for item in fields(Source)} for source in sources]
    for row in rows:
        row["parameters"] = json.dumps(row["parameters"], sort_keys=True)
    return pd.DataFrame(rows, columns=[item.name for item in fields(Source)])


@contextmanager
def replacing_files(folder: Path | str) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends well, its files replace those of `folder`, else `folder` is as before.

    Raises
    ------
    DataFileError : the folder cannot be written or the disk is full.
    """
    folder = Path(folder)
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(".writing-*"):  # by a process that was killed
            if time.time() - left.stat().st_mtime > LEFT_BEHIND_S:
                shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        yield temporary
        written = sorted(temporary.iterdir())
        for path in written:
            if (folder / path.name).is_dir():
                raise IsADirectoryError(f"{path.name} is a folder")
        for path in written:
            terminal.put_in_place(path, folder / path.name)
    except OSError as error:
        reason = error.strerror or error
        raise DataFileError(f"{terminal.shown(folder)}: cannot be written: {reason}; nothing was changed, choose another folder") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def time_text(times: pd.DatetimeIndex) -> np.ndarray:
    """Times as ISO-8601 with Z, such as 2025-01-01T00:00:00Z."""
    return np.char.add(np.datetime_as_string(times.tz_convert(None).to_numpy().astype("datetime64[s]")), "Z")


def series_frame(source: Source, values: pd.Series) -> pd.DataFrame:
    """A series in the columns of its CSV file, values rounded to the watt or a tenth of a cent."""
    (column,) = KINDS[source.kind].values
    rounded = values.to_numpy().round(column.decimals)
    return pd.DataFrame({"time": time_text(values.index), "source_id": source.source_id, column.name: rounded})


def read_series_file(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of one of the project's CSV files; no rows where there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=list(columns))
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)  # text, so that rows that stay are written as they were
    except (OSError, ValueError) as error:
        raise DataFileError(f"{terminal.shown(path)}: cannot be read: {terminal.in_words(error)}; expected {','.join(columns)}") from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataFileError(f"{terminal.shown(path)}: column {missing[0]} is missing; expected {','.join(columns)}")
    return frame


def save_series(
    folder: Path, added: Sequence[tuple[Source, pd.DataFrame]], removed: Sequence[str] = (), rejects: Sequence[tuple] | None = None
) -> None:
    """Change a data folder in one go: sources with the rows of their series take the place of those of the same name, others go.

    `rejects` (line, source_id, time, value, reason) become `rejects.csv`; None leaves that file alone.
    """
    path = folder / SOURCES_FILE
    gone = {source.source_id for source, _ in added} | set(removed)
    kept = [source for source in (read_sources(path) if path.exists() else []) if source.source_id not in gone]
    with replacing_files(folder) as temporary:
        for kind in KINDS.values():
            frames = [frame for source, frame in added if source.kind == kind.name]
            before = read_series_file(folder / kind.file, ("source_id", kind.value))
            stay = before[~before["source_id"].isin(gone)]
            if frames or len(stay) < len(before):
                parts = [part for part in (stay, *frames) if len(part)] or [stay]
                pd.concat(parts).to_csv(temporary / kind.file, index=False, lineterminator="\n")
        if rejects is not None:
            columns = ["line", "source_id", "time", "value", "reason"]
            pd.DataFrame(rejects, columns=columns).to_csv(temporary / REJECTS_FILE, index=False, lineterminator="\n")
        _sources_table([*kept, *(source for source, _ in added)]).to_csv(temporary / SOURCES_FILE, index=False, lineterminator="\n")


# ------------------------------------------------------------------------------------------------------------ commands


def registry(config: Config) -> list[Source]:
    """The sources of the data folder; none where there is no `sources.csv` yet."""
    path = config.paths.data_dir / SOURCES_FILE
    return read_sources(path) if path.exists() else []


def find_source(config: Config, source_id: str) -> Source:
    """The source of this name.

    Raises
    ------
    ConfigError : there is none; the nearest names are given.
    """
    sources = {source.source_id: source for source in read_sources(config.paths.data_dir / SOURCES_FILE)}
    check_known("source", source_id, sources)
    return sources[source_id]


def list_sources(args: argparse.Namespace, config: Config) -> None:
    rows = []
    for source in read_sources(config.paths.data_dir / SOURCES_FILE):
        row = {item.name: getattr(source, item.name) for item in fields(Source)}
        rows.append(row if args.json else row | {"parameters": ", ".join(f"{key} {value}" for key, value in source.parameters.items())})
    terminal.print_rows(rows, f"Sources in {terminal.shown(config.paths.data_dir)}", as_json=args.json)


def show_source(args: argparse.Namespace, config: Config) -> None:
    source = find_source(config, args.source_id)
    times = stored_times(config.paths.data_dir, source)
    facts = {item.name: getattr(source, item.name) for item in fields(Source) if item.name != "parameters"} | source.parameters
    facts |= {"rows": len(times), "first": times.min() if len(times) else None, "last": times.max() if len(times) else None}
    if args.json:
        terminal.print_rows([facts], as_json=True)
    else:
        terminal.print_rows([{"field": name, "value": terminal.shown(value)} for name, value in facts.items()], source.name)


def stored_times(folder: Path, source: Source) -> pd.Series:
    """Times of a source's rows in the data folder, as text."""
    frame = read_series_file(folder / KINDS[source.kind].file, ("time", "source_id"))
    return frame.loc[frame["source_id"] == source.source_id, "time"]


def add_source(args: argparse.Namespace, config: Config) -> None:
    source = new_source(args, config)
    sources = registry(config)
    if source.source_id in {other.source_id for other in sources}:
        raise SourceError(f"source {source.source_id} exists already; choose another name, or name it with --id")
    write_sources(config.paths.data_dir / SOURCES_FILE, [*sources, source])
    if args.connect:
        connect(source, config, args.json)
    else:
        print(f"{source.source_id} added to {terminal.shown(config.paths.data_dir / SOURCES_FILE)}")
        print(f"its series: python sources.py connect {source.source_id}")


def new_source(args: argparse.Namespace, config: Config) -> Source:
    """The source that the arguments of `add` describe; place and time zone are the site's where they are not given.

    Raises
    ------
    ConfigError : an option does not belong to the kind, or its value is impossible.
    SourceError : the source is impossible, or the turbine unknown.
    """
    import plants

    allowed = {"solar": ("tilt", "azimuth"), "wind": ("turbine", "hub_height")}
    bounds = {"tilt": (0, 90, "degrees"), "azimuth": (0, 360, "degrees"), "hub_height": (10, 300, "m")}
    parameters: dict = {"origin": ADDED}
    for name in ("tilt", "azimuth", "turbine", "hub_height"):
        value = getattr(args, name)
        if value is None:
            continue
        option = "--" + name.replace("_", "-")
        if name not in allowed.get(args.kind, ()):
            raise ConfigError(f"{option} {value}: does not belong to the kind {args.kind}")
        if name in bounds and not bounds[name][0] <= value <= bounds[name][1]:
            raise ConfigError(f"{option} {value:g}: expected {bounds[name][0]} to {bounds[name][1]} {bounds[name][2]}")
        parameters["hub_height_m" if name == "hub_height" else name] = value
    if args.kind == "weather":
        raise SourceError("kind = weather: a site has one, which generation.py makes; expected solar, wind, load or market")
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
    """Generate a source's series for the configured period, put it into its CSV file, and stream it into the database.

    Raises
    ------
    SourceError : the source's data were imported, or it is a site's weather.
    """
    import communication
    import generation

    if source.kind == "weather" or source.parameters.get("origin") == IMPORTED:
        what = "a site's weather" if source.kind == "weather" else "imported"
        raise SourceError(f"source {source.source_id} is {what} and is not generated here; run python communication.py to stream its data")
    source = dataclasses.replace(source, step_min=config.generation.step_min)
    world = generation.make_world(config.generation, config.site.holidays_country)
    ((_, _, columns, _),) = generation.generate(world, [source])
    values = pd.Series(columns[KINDS[source.kind].value], world.times[columns["time"]])
    frame = series_frame(source, values)
    save_series(config.paths.data_dir, [(source, frame)])
    with tempfile.TemporaryDirectory() as name:  # a data folder that holds this source alone
        save_series(Path(name), [(source, frame)])
        alone = dataclasses.replace(config, paths=dataclasses.replace(config.paths, data_dir=Path(name)))
        rows = communication.stream(alone)
    terminal.print_rows(rows, f"{source.source_id} connected", as_json)


def remove_source(args: argparse.Namespace, config: Config) -> None:
    """Take a source out of `sources.csv` and the database; its data only with `--with-data`."""
    import db

    source, folder = find_source(config, args.source_id), config.paths.data_dir
    with db.session(config) as connection:
        in_files, in_database = len(stored_times(folder, source)), db.delete_source(connection, source.source_id)
        if (in_files or in_database) and not args.with_data:
            connection.rollback()
            raise SourceError(
                f"source {source.source_id} has {in_files} rows in {terminal.shown(folder)} and {in_database} in the database; "
                "add --with-data to delete them too"
            )
        save_series(folder, [], removed=[source.source_id])
    print(f"{source.source_id} removed, with {in_files} rows in {terminal.shown(folder)} and {in_database} in the database")


def import_file(args: argparse.Namespace, config: Config) -> None:
    """Read the file, report what it holds, then write all files of the output folder together."""
    import real_data

    if not args.wanted:
        raise ConfigError("import: no column named; say one or more of --solar, --wind, --load and --price COLUMN:UNIT[:ID[:CAPACITY_KW]]")
    if args.tz is not None:
        try:
            zoneinfo.ZoneInfo(args.tz)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigError(f"--tz {args.tz}: expected an IANA time zone such as Europe/Berlin") from None
    folder = Path(args.output) if args.output else config.paths.data_dir
    for kind in KINDS.values():
        terminal.check_not_read(folder / kind.file, "--output", Path(args.file), "FILE")
    for name in (SOURCES_FILE, REJECTS_FILE):
        terminal.check_not_read(folder / name, "--output", Path(args.file), "FILE")
    limits = (config.kafka.price_min_eur_per_mwh, config.kafka.price_max_eur_per_mwh)
    found = real_data.load_file(Path(args.file), args.time_column, args.tz, args.wanted, limits)
    rejects = sorted(reject for series in found for reject in series.rejects)
    terminal.print_rows([real_data.report_row(series) for series in found], f"Read from {args.file}", as_json=args.json)
    if not args.json:
        for line in real_data.remarks(found):
            print(terminal.printable(line))
    if rejects and args.strict:
        line, source_id, _, value, reason = rejects[0]
        raise DataFileError(
            f"{args.file}, line {line}: {value!r} of {source_id}: {reason}; {len(rejects)} such cells, nothing was written (--strict)"
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
        print(f"{sum(len(frame) for _, frame in added):,} rows of {len(added)} sources written to {terminal.shown(folder)}{more}")


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
    command = commands.add_parser("list", help="the sources of the data folder (as without a command)")
    command.set_defaults(command=list_sources)
    command = commands.add_parser("show", help="all that is known of one source")
    command.add_argument("source_id", metavar="ID")
    command.set_defaults(command=show_source)
    command = commands.add_parser("add", help="register a plant, a load or a market")
    command.add_argument("--kind", required=True, choices=KINDS, metavar="KIND", help="solar, wind, load or market")
    command.add_argument("--name", required=True)
    command.add_argument("--id", help="default: from the name")
    command.add_argument("--capacity-kw", type=float, metavar="KW", help="largest power; the AC rating of a solar plant; not for a market")
    command.add_argument("--latitude", type=float, metavar="DEG", help="default: the site's")
    command.add_argument("--longitude", type=float, metavar="DEG", help="default: the site's")
    command.add_argument("--tilt", type=float, metavar="DEG", help="of a solar plant, 0 = flat")
    command.add_argument("--azimuth", type=float, metavar="DEG", help="of a solar plant, 180 = south")
    command.add_argument("--turbine", metavar="TYPE", help="of a wind plant: a turbine type of windpowerlib, such as E-82/2300")
    command.add_argument("--hub-height", type=float, metavar="M", help="of a wind plant")
    command.add_argument("--connect", action="store_true", help="generate, stream and store its series at once")
    command.set_defaults(command=add_source)
    command = commands.add_parser("remove", help="forget a source")
    command.add_argument("source_id", metavar="ID")
    command.add_argument("--with-data", action="store_true", help="delete its rows in files and database too")
    command.set_defaults(command=remove_source)
    command = commands.add_parser("connect", help="generate a source's series for the configured period, stream and store it")
    command.add_argument("source_id", metavar="ID")
    command.set_defaults(command=connect_source)
    command = commands.add_parser("import", help="turn a CSV file with real data into the project's files")
    command.add_argument("file", metavar="FILE")
    command.add_argument("--time-column", required=True, metavar="COLUMN", help="time of the interval's start")
    command.add_argument("--tz", metavar="ZONE", help="the clock of times without an offset, such as Europe/Berlin or UTC")
    for option in ("--solar", "--wind", "--load", "--price"):
        form = "COLUMN:UNIT[:ID]" if option == "--price" else "COLUMN:UNIT[:ID[:CAPACITY_KW]]"
        command.add_argument(option, dest="wanted", action=_Wanted, metavar=form, help="may come several times")
    command.add_argument("--output", metavar="DIR", help="the folder to write to (default: data_dir of the configuration)")
    command.add_argument("--strict", action="store_true", help="refuse the file if any cell cannot be used")
    command.set_defaults(command=import_file)
    return parser


def run(args: argparse.Namespace, config: Config) -> int | None:
    return args.command(args, config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
