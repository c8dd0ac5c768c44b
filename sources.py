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
import json
import math
import os
import re
import shutil
import tempfile
import zoneinfo
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
import pandas as pd

import terminal
from config import Config, ConfigError, VppError

KINDS = ("solar", "wind", "load", "market", "weather")
POWER_KINDS = ("solar", "wind", "load")
STEPS_MIN = (5, 15, 30, 60)
VALUE_COLUMN = {"solar": "power_kw", "wind": "power_kw", "load": "power_kw", "market": "price_eur_per_mwh"}
WEATHER_COLUMNS = ("ghi", "dni", "dhi", "temp_air", "wind_speed")
SOURCES_FILE, REJECTS_FILE = "sources.csv", "rejects.csv"
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
        if self.kind not in KINDS:
            refuse("kind", self.kind, "one of " + ", ".join(KINDS))
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
        raise DataFileError(f"{terminal.shown(path)}: cannot be read: {error}; expected the columns {','.join(columns)}") from None
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
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder))
        yield temporary
        written = sorted(temporary.iterdir())
        for path in written:
            if (folder / path.name).is_dir():
                raise IsADirectoryError(f"{path.name} is a folder")
        for path in written:
            os.replace(path, folder / path.name)
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
    return pd.DataFrame(
        {"time": time_text(values.index), "source_id": source.source_id, VALUE_COLUMN[source.kind]: values.to_numpy().round(3)}
    )


def read_series_file(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of one of the project's CSV files; no rows where there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=list(columns))
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)  # text, so that rows that stay are written as they were
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataFileError(f"{terminal.shown(path)}: column {missing[0]} is missing; expected {','.join(columns)}")
    return frame


def save_series(folder: Path, added: Sequence[tuple[Source, pd.DataFrame]], rejects: Sequence[tuple] = ()) -> None:
    """Put sources and the rows of their series into a data folder, in place of what it holds of the same sources, all together."""
    path = folder / SOURCES_FILE
    new_ids = {source.source_id for source, _ in added}
    kept = [source for source in (read_sources(path) if path.exists() else []) if source.source_id not in new_ids]
    with replacing_files(folder) as temporary:
        for kind in VALUE_COLUMN:
            columns = ("time", "source_id", VALUE_COLUMN[kind])
            frames = [frame for source, frame in added if source.kind == kind]
            before = read_series_file(folder / f"{kind}.csv", columns)
            stay = before[~before["source_id"].isin(new_ids)]
            if frames or len(stay) < len(before):
                parts = [part for part in (stay, *frames) if len(part)]
                pd.concat(parts or [stay]).to_csv(temporary / f"{kind}.csv", index=False, lineterminator="\n")
        if rejects:
            columns = ["line", "source_id", "time", "value", "reason"]
            pd.DataFrame(rejects, columns=columns).to_csv(temporary / REJECTS_FILE, index=False, lineterminator="\n")
        _sources_table([*kept, *(source for source, _ in added)]).to_csv(temporary / SOURCES_FILE, index=False, lineterminator="\n")


# ------------------------------------------------------------------------------------------------------------ commands


def list_sources(args: argparse.Namespace, config: Config) -> None:
    rows = []
    for source in read_sources(config.paths.data_dir / SOURCES_FILE):
        row = {item.name: getattr(source, item.name) for item in fields(Source)}
        rows.append(row | {"parameters": ", ".join(f"{key} {value}" for key, value in source.parameters.items())})
    terminal.print_rows(rows, f"Sources in {terminal.shown(config.paths.data_dir)}", as_json=args.json)


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
    limits = (config.kafka.price_min_eur_per_mwh, config.kafka.price_max_eur_per_mwh)
    found = real_data.load_file(Path(args.file), args.time_column, args.tz, args.wanted, limits)
    rejects = sorted(reject for series in found for reject in series.rejects)
    terminal.print_rows([real_data.report_row(series) for series in found], f"Read from {args.file}", as_json=args.json)
    if not args.json:
        for line in real_data.remarks(found):
            print(line)
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
            parameters={"price_area": site.price_area} if market else {},
        )
        added.append((source, series_frame(source, series.values)))
    folder = Path(args.output) if args.output else config.paths.data_dir
    save_series(folder, added, rejects)
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
