"""Brings a real CSV file in: its columns become sources with power [kW] or prices [EUR/MWh] in UTC.

    python sources.py import year.csv --time-column time --tz Europe/Berlin \\
        --load load:MW --price price:EUR/MWh --output data

The order of calculation: text -> times (`import_times`: format found, local clock to UTC) -> one
series a column (`import_columns`: numbers and units; here: step, grid, physical range) -> checks
(`import_checks`: gaps, flat lines, outliers). Times label the START of an interval and values are
means over it. Nothing is guessed silently: a cell that cannot be used is a reject with its line and
reason.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.fields import is_time_zone
from vpp.runtime.files import DataFileError, check_not_read
from vpp.runtime.settings import Site
from vpp.site.csv_files import series_frame
from vpp.site.import_checks import Series, flat_lines, outliers
from vpp.site.import_columns import Column, parse_column, parse_numbers, uses_decimal_comma
from vpp.site.import_times import find_step, parse_times
from vpp.site.kinds import KINDS
from vpp.site.sources import IMPORTED, REJECTS_FILE, SOURCES_FILE, Source, SourceError

# of capacity: a plant's own consumption at night, taken as zero; below it a negative power is
# impossible
OWN_USE = 0.01
ABOVE_CAPACITY = 1.1  # of a stated capacity: more is impossible


def read_text(path: Path) -> pd.DataFrame:
    """Read the cells of a CSV file as text, indexed by line number.

    Comma, semicolon, tab or bar may stand between them.

    Raises
    ------
    DataFileError : it cannot be read, or its lines do not fit its header.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = path.read_text(encoding="cp1252", errors="replace")
    except OSError as error:
        raise DataFileError(
            f"{path}: cannot be read: {error.strerror}; expected a CSV file"
        ) from None
    first, _, rest = text.partition("\n")
    if not first.strip() or not rest.strip():
        raise DataFileError(f"{path}: is empty; expected a line of column names and lines of data")
    second = rest.partition("\n")[0]
    delimiter = max(",;\t|", key=lambda mark: (first.count(mark), second.count(mark)))
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    header = [name.strip() for name in next(reader)]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise DataFileError(f"{path}: column {twice[0]!r} comes twice; rename one")
    lines, cells = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row[len(header) :]):
                more = "; numbers with a decimal comma need quotes or another delimiter"
                raise DataFileError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, but {len(header)} "
                    f"column names{more if delimiter == ',' else ''}"
                )
            if any(cell.strip() for cell in row):
                lines.append(reader.line_num)
                cells.append((row + [""] * len(header))[: len(header)])
    except csv.Error as error:
        raise DataFileError(
            f"{path}, line {reader.line_num}: {error}; expected a CSV file"
        ) from None
    if not cells:
        raise DataFileError(f"{path}: has column names but no data")
    frame = pd.DataFrame(cells, columns=header, index=pd.Index(lines, name="line"), dtype=str)
    return frame.apply(lambda column: column.str.strip())


@dataclass
class _Rejects:
    """Cells of a column that cannot be used, each with its line and reason."""

    source_id: str
    cells: pd.Series
    times: pd.Series
    rows: list[tuple[int, str, str, str, str]] = field(default_factory=list)

    def add(self, lines: pd.Index, reason: str | Mapping[int, str]) -> None:
        for line in lines:
            why = reason if isinstance(reason, str) else reason[line]
            time = f"{self.times[line]:%Y-%m-%dT%H:%M:%SZ}"
            self.rows.append((line, self.source_id, time, self.cells[line], why))


def read_column(
    column: Column, cells: pd.Series, times: pd.Series, price_limits: tuple[float, float]
) -> Series:
    """Read one column as a regular series on the grid of its own step; the rest are rejects.

    Parameters
    ----------
    column : what the cells are.
    cells : text by line.
    times : UTC interval starts by line (NaT: a reject already).
    price_limits : lowest and highest price [EUR/MWh] that is possible.

    Raises
    ------
    DataFileError : no number in the column, or a step that is not 5, 15, 30 or 60 min.
    """
    rejects = _Rejects(column.source_id, cells, times)
    numbers, duplicates = _one_number_a_time(column, rejects)
    at = times[numbers.index].sort_values()
    step_min = find_step(at, column.name)
    at = _on_the_grid(column, at, step_min, rejects)
    values = numbers[at.index] * column.factor(step_min)
    values, set_to_zero, impossible = _possible(column, values, price_limits, rejects)
    if values.empty or (column.kind != "market" and not values.max() > 0):
        raise DataFileError(
            f"column {column.name}: no possible value is left; check its unit {column.unit} and "
            "capacity"
        )
    index = pd.DatetimeIndex(at[values.index], name="time")
    series = pd.Series(values.to_numpy(), index=index, name=column.source_id)
    expected = round((index[-1] - index[0]) / pd.Timedelta(minutes=step_min)) + 1
    return Series(
        column=column,
        values=series,
        step_min=step_min,
        duplicates=duplicates,
        out_of_range=impossible,
        set_to_zero=set_to_zero,
        gaps=expected - len(series),
        flat_lines=flat_lines(series, step_min, column.kind),
        outliers=outliers(series),
        rejects=rejects.rows,
    )


def _one_number_a_time(column: Column, rejects: _Rejects) -> tuple[pd.Series, int]:
    """Numbers by line, the first of each time, and how many more there were."""
    cells, times = rejects.cells, rejects.times
    numbers, wrong = parse_numbers(cells, uses_decimal_comma(cells))
    rejects.add(wrong.index[wrong & times.notna()], "is no number")
    values = numbers[numbers.notna() & times.notna()]
    if values.empty:
        raise DataFileError(f"column {column.name}: no line has both a time and a number")
    again = times[values.index].duplicated()
    kept, duplicates = values[~again], values.index[again]
    if len(duplicates):
        line_of = dict(zip(times[kept.index], kept.index, strict=True))
        reasons = {line: f"its time is that of line {line_of[times[line]]}" for line in duplicates}
        rejects.add(duplicates, reasons)
    return kept, len(duplicates)


def _on_the_grid(column: Column, at: pd.Series, step_min: int, rejects: _Rejects) -> pd.Series:
    """The times that are on the grid of the step; a column of mostly others is refused."""
    off_grid = at != at.dt.floor(pd.Timedelta(minutes=step_min))
    if off_grid.mean() > 0.5:
        raise DataFileError(
            f"column {column.name}: its times, such as {at.iloc[0]:%Y-%m-%dT%H:%MZ}, are not on "
            f"the {step_min} min grid of UTC"
        )
    rejects.add(at.index[off_grid], f"its time is not on the {step_min} min grid of UTC")
    return at[~off_grid]


def _possible(
    column: Column, values: pd.Series, price_limits: tuple[float, float], rejects: _Rejects
) -> tuple[pd.Series, int, int]:
    """Values that are possible [kW or EUR/MWh], how many became 0, and how many are impossible."""
    set_to_zero = 0
    if column.kind == "market":
        low, high = price_limits
        reason = f"a price outside {low:g} to {high:g} EUR/MWh"
    else:
        capacity_kw = column.capacity_kw or values.max()
        own_use = (values < 0) & (values >= -OWN_USE * capacity_kw) & (column.kind != "load")
        set_to_zero = int(own_use.sum())
        values = values.mask(own_use, 0.0)
        low, high = 0.0, ABOVE_CAPACITY * capacity_kw
        allowed = f"0 to {ABOVE_CAPACITY:g} times the capacity of {capacity_kw:g} kW"
        reason = f"a power outside {allowed}"
    impossible = (values < low) | (values > high)
    rejects.add(values.index[impossible], reason)
    return values[~impossible], set_to_zero, int(impossible.sum())


def check_import(path: Path, folder: Path, wanted: Sequence | None, zone: str | None) -> None:
    """Refuse an import without a column, with an unknown zone, or over the file that it reads.

    Parameters
    ----------
    path : of the file.
    folder : that is written to.
    wanted : kind and column of each series.
    zone : of times without an offset.

    Raises
    ------
    ConfigError : it is refused.
    """
    if not wanted:
        raise ConfigError(
            "import: no column named; say one or more of --solar, --wind, --load and --price "
            "COLUMN:UNIT[:ID[:CAPACITY_KW]]"
        )
    if zone is not None and not is_time_zone(zone):
        raise ConfigError(f"--tz {zone}: expected an IANA time zone such as Europe/Berlin")
    for name in (*(kind.file for kind in KINDS.values()), SOURCES_FILE, REJECTS_FILE):
        check_not_read(folder / name, "--output", path, "FILE")


def load_file(
    path: Path,
    time_column: str,
    time_zone: str | None,
    wanted: Sequence[tuple[str, str]],
    price_limits: tuple[float, float],
) -> list[Series]:
    """Read columns of a file as series; nothing is written.

    Parameters
    ----------
    path : the file.
    time_column : name of the column of the intervals' starts.
    time_zone : the clock of times without an offset; UTC where the column's name ends so.
    wanted : kind and COLUMN:UNIT[:ID[:CAPACITY_KW]] of each column.
    price_limits : lowest and highest price [EUR/MWh] that is possible.

    Returns
    -------
    A series for each column; lines without a usable time are among the rejects of the first.

    Raises
    ------
    VppError : of the functions below; the message names the file.
    """
    try:
        cells = read_text(path)
        if time_column not in cells.columns:
            raise DataFileError(
                f"no time column {time_column!r}; the file has {', '.join(cells.columns)}"
            )
        columns = [parse_column(kind, text, list(cells.columns)) for kind, text in wanted]
        ids = [column.source_id for column in columns]
        if len(set(ids)) < len(ids):
            twice = next(name for name in ids if ids.count(name) > 1)
            raise SourceError(f"source_id {twice} comes twice; name another as COLUMN:UNIT:ID")
        if time_zone is None and time_column.lower().endswith("utc"):
            time_zone = "UTC"
        times, reasons = parse_times(cells[time_column], time_zone)
        found = [read_column(column, cells[column.name], times, price_limits) for column in columns]
    except VppError as error:
        message = str(error) if str(path) in str(error) else f"{path}: {error}"
        raise type(error)(message) from None
    found[0].rejects.extend(
        (line, "", cells[time_column][line], "", reason) for line, reason in reasons.items()
    )
    return found


def rejects_of(found: Sequence[Series], strict: Path | None = None) -> list[tuple]:
    """Give the cells of all series that cannot be used, in the order of their lines.

    Parameters
    ----------
    found : of `load_file`.
    strict : the file, where any such cell refuses it.

    Raises
    ------
    DataFileError : there is one, and `strict` is given.
    """
    rejects = sorted(reject for series in found for reject in series.rejects)
    if rejects and strict is not None:
        line, source_id, _, value, reason = rejects[0]
        raise DataFileError(
            f"{strict}, line {line}: {value!r} of {source_id}: {reason}; {len(rejects)} such "
            "cells, nothing was written (--strict)"
        )
    return rejects


def imported_sources(found: Sequence[Series], site: Site) -> list[tuple[Source, pd.DataFrame]]:
    """Make each imported series a source of a site, with the rows of its file.

    Parameters
    ----------
    found : of `load_file`.
    site : gives place, time zone and price area. A plant whose capacity is not stated has its
        largest power.
    """
    made = []
    for series in found:
        column, market = series.column, series.column.kind == "market"
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
        made.append((source, series_frame(source, series.values)))
    return made
