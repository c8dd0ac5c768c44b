"""Brings a real CSV file in: its columns become sources with power in kW or prices in EUR/MWh and
times in UTC.

    python sources.py import year.csv --time-column time --tz Europe/Berlin --load load:MW --price price:EUR/MWh --output data

The order of calculation: text -> times (format found, local clock to UTC) -> one series a column
(numbers, units, step, grid, physical range) -> what is reported (gaps, duplicates, flat lines,
outliers). Times label the START of an interval and values are means over it. Nothing is guessed
silently: what cannot be used is a reject with its line and reason."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime.errors import ConfigError, VppError, one_of
from vpp.runtime.files import DataFileError
from vpp.site.sources import STEPS_MIN, SourceError

# factor to kW or EUR/MWh; energies are per step and are divided by its hours
POWER_UNITS = {"w": 1e-3, "kw": 1.0, "mw": 1e3, "gw": 1e6}
ENERGY_UNITS = {"wh": 1e-3, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6}
PRICE_UNITS = {"eur/mwh": 1.0, "eur/kwh": 1e3, "ct/kwh": 10.0}

MISSING = {
    "",
    "-",
    "–",
    "na",
    "n/a",
    "n/e",
    "nan",
    "null",
    "none",
}  # of SMARD, ENTSO-E, pandas and databases
ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?"
TIME_FORMATS = (  # name shown, shape, formats tried in this order
    ("ISO-8601 with zone", re.compile(ISO + r" ?(Z|[+-]\d\d:?\d\d)"), ("ISO8601",)),
    ("ISO-8601", re.compile(ISO), ("ISO8601",)),
    ("day.month.year", re.compile(r"\d{1,2}\.\d{1,2}\.\d{4} \d\d?:\d\d"), ("%d.%m.%Y %H:%M",)),
    (
        "day.month.year with seconds",
        re.compile(r"\d{1,2}\.\d{1,2}\.\d{4} \d\d?:\d\d:\d\d"),
        ("%d.%m.%Y %H:%M:%S",),
    ),
    (
        "day/month/year",
        re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d\d?:\d\d"),
        ("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"),
    ),
    (
        "day/month/year with seconds",
        re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d\d?:\d\d:\d\d"),
        ("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"),
    ),
    ("year/month/day", re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d"), ("%Y/%m/%d %H:%M",)),
    ("yearmonthdayhourminute", re.compile(r"\d{12}"), ("%Y%m%d%H%M",)),
)
# of capacity: a plant's own consumption at night, taken as zero; below it a negative power is
# impossible
OWN_USE = 0.01
ABOVE_CAPACITY = 1.1  # of a stated capacity: more is impossible
FLAT_H = 6.0  # a value other than zero that stands so long is reported
OUTLIER_SCALES = 10.0  # robust standard deviations off the neighbours, on both sides


class ColumnError(SourceError, ConfigError):
    """A COLUMN:UNIT[:ID[:CAPACITY_KW]] of the command line cannot be used, whatever the file."""


@dataclass(frozen=True)
class Column:
    """One `--solar COLUMN:UNIT[:ID[:CAPACITY_KW]]` of the command line."""

    kind: str
    name: str
    unit: str
    source_id: str
    capacity_kw: float | None


@dataclass
class Series:
    """A column as it was read: values [kW or EUR/MWh] by UTC time, and what was found in it."""

    column: Column
    values: pd.Series
    step_min: int
    duplicates: int
    out_of_range: int
    set_to_zero: int
    gaps: int
    flat_lines: list = field(default_factory=list)  # (start, hours, value)
    outliers: list = field(default_factory=list)  # (time, value, median of its neighbours)
    rejects: list = field(default_factory=list)  # (line, source_id, time, value, reason)


def parse_column(kind: str, text: str, header: Sequence[str]) -> Column:
    """Read COLUMN:UNIT[:ID[:CAPACITY_KW]]; the column's own name may contain colons.

    Raises
    ------
    SourceError : no such column.
    ColumnError : unknown unit, or a capacity that is no positive number.
    """
    option = "price" if kind == "market" else kind
    names = [name for name in header if text == name or text.startswith(name + ":")]
    if not names and ":" in text:
        raise SourceError(
            f"--{option} {text}: no such column; {one_of(text.partition(':')[0], header)}"
        )
    name = max(names, key=len, default=text)
    unit, source_id, capacity, *rest = [*text[len(name) + 1 :].split(":"), "", ""]
    units = PRICE_UNITS if kind == "market" else POWER_UNITS | ENERGY_UNITS
    if unit.lower() not in units or any(rest):
        known = (
            "EUR/MWh, EUR/kWh, ct/kWh" if kind == "market" else "W, kW, MW, GW, Wh, kWh, MWh, GWh"
        )
        raise ColumnError(
            f"--{option} {text}: unit {unit!r}: expected {option} as "
            f"COLUMN:UNIT[:ID[:CAPACITY_KW]] with a unit of {known}"
        )
    if capacity and kind == "market":
        raise ColumnError(f"--price {text}: a price has no capacity; expected COLUMN:UNIT[:ID]")
    try:
        capacity_kw = float(capacity) if capacity else None
    except ValueError:
        capacity_kw = -1.0
    if capacity_kw is not None and not 0 < capacity_kw < np.inf:
        raise ColumnError(f"--{option} {text}: capacity {capacity}: expected more than 0 kW")
    source_id = source_id or re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:63]
    return Column(kind, name, unit.lower(), source_id, capacity_kw)


def read_text(path: Path) -> pd.DataFrame:
    """The cells of a CSV file (delimited by comma, semicolon, tab or bar) as text, indexed by line
    number.
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
    delimiter = max(
        ",;\t|", key=lambda mark: (first.count(mark), rest.partition("\n")[0].count(mark))
    )
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    header = [name.strip() for name in next(reader)]
    if len(set(header)) < len(header):
        raise DataFileError(
            f"{path}: column {next(name for name in header if header.count(name) > 1)!r} comes "
            "twice; rename one"
        )
    lines, cells = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row[len(header) :]):
                more = (
                    "; numbers with a decimal comma need quotes or another delimiter"
                    if delimiter == ","
                    else ""
                )
                raise DataFileError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, but {len(header)} "
                    f"column names{more}"
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
    return pd.DataFrame(cells, columns=header, index=pd.Index(lines, name="line"), dtype=str).apply(
        lambda column: column.str.strip()
    )


def parse_times(text: pd.Series, time_zone: str | None) -> tuple[pd.Series, dict[int, str]]:
    """Times of the interval starts in UTC by line, NaT where unusable, and the reason for each of
    those.

    The format is the one the first cell has. Local times are resolved by `localize`.

    Raises
    ------
    DataFileError : no known format, two formats in one file, or times without a zone and no `--tz`.
    """
    text = text.str.replace(r" - .*", "", regex=True)  # ENTSO-E writes "start - end"
    shape = pd.Series(-1, index=text.index)
    for number, (_, pattern, _) in reversed(list(enumerate(TIME_FORMATS))):
        shape[text.str.fullmatch(pattern)] = number
    known = shape[shape >= 0]
    if known.empty:
        names = ", ".join(name for name, _, _ in TIME_FORMATS)
        raise DataFileError(
            f"line {text.index[0]}: {text.iloc[0]!r} is no time; expected one of: {names}"
        )
    number = known.iloc[0]
    other = known[known != number]
    if len(other):
        line = other.index[0]
        raise DataFileError(
            f"line {line}: {text[line]!r} is {TIME_FORMATS[other.iloc[0]][0]} but line "
            f"{known.index[0]}, {text[known.index[0]]!r}, is "
            f"{TIME_FORMATS[number][0]}; expected one time format in the whole file"
        )
    name, _, formats = TIME_FORMATS[number]
    usable = text.where(shape == number)
    zoned = number == 0
    parsed = [pd.to_datetime(usable, format=form, utc=zoned, errors="coerce") for form in formats]
    # where day and month can be swapped, the right way leaves fewest unparsed and the shortest span
    times = min(parsed, key=lambda result: (result.isna().sum(), result.max() - result.min()))
    reasons = dict.fromkeys(times.index[times.isna()], f"no time of the format {name}")
    if zoned:
        return times, reasons
    if time_zone is None:
        raise DataFileError(
            f"line {text.index[0]}: {text.iloc[0]!r} has no time zone; say which clock it is "
            "with --tz, such as --tz UTC"
        )
    local, wrong = localize(times.dropna(), time_zone)
    return local.reindex(times.index), reasons | wrong


def localize(naive: pd.Series, time_zone: str) -> tuple[pd.Series, dict[int, str]]:
    """Local clock times to UTC, by line. Of an hour that comes twice the first in time is summer
    time, the second winter time.

    Raises
    ------
    DataFileError : a time the clock skips, or one of the repeated hour that comes once only, so
    that it cannot be told apart."""
    forward = naive if len(naive) < 2 or naive.iloc[0] <= naive.iloc[-1] else naive.iloc[::-1]
    occurrence = forward.groupby(forward).cumcount()
    clock = forward.dt
    summer = clock.tz_localize(time_zone, ambiguous=np.ones(len(forward), bool), nonexistent="NaT")
    winter = clock.tz_localize(time_zone, ambiguous=np.zeros(len(forward), bool), nonexistent="NaT")
    skipped = summer.isna()
    if skipped.any():
        line = skipped[skipped].index.min()
        raise DataFileError(
            f"line {line}: {naive[line]} does not exist in {time_zone} (the clock goes forward); "
            "a clock without summer time is --tz UTC or such as --tz Etc/GMT-1"
        )
    twofold = summer != winter
    alone = twofold & (forward.groupby(forward).transform("count") == 1)
    if alone.any():
        line = alone[alone].index.min()
        raise DataFileError(
            f"line {line}: {naive[line]} comes twice on the clock of {time_zone} but once in "
            "the file, so it cannot be told which it is; "
            "give times in UTC or with their offset, or leave that hour out"
        )
    times = summer.where(~twofold | (occurrence == 0), winter)
    return times.dt.tz_convert("UTC").reindex(naive.index), {}


def parse_numbers(text: pd.Series, decimal_comma: bool) -> tuple[pd.Series, pd.Series]:
    """Numbers by line (NaN where missing or wrong) and which lines hold something that is no finite
    number.
    """
    missing = text.str.lower().isin(MISSING)
    clean = (
        text.str.replace(".", "").str.replace(",", ".")
        if decimal_comma
        else text.str.replace(",", "")
    )
    numbers = pd.to_numeric(clean.where(~missing), errors="coerce")
    wrong = ~missing & ~np.isfinite(numbers)
    return numbers.where(~wrong), wrong


def uses_decimal_comma(text: pd.Series) -> bool:
    """Whether the last mark of the numbers is a comma, as in 1.234,5."""
    with_comma = text[text.str.contains(",", regex=False)]
    return bool(len(with_comma)) and bool(
        (with_comma.str.rfind(",") > with_comma.str.rfind(".")).all()
    )


def read_column(
    column: Column, cells: pd.Series, times: pd.Series, price_limits: tuple[float, float]
) -> Series:
    """One column as a regular series: numbers in kW or EUR/MWh on the grid of its own step, the
    rest as rejects.

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
    rejects = []

    def reject(lines, reason):
        why = reason if isinstance(reason, dict) else dict.fromkeys(lines, reason)
        rejects.extend(
            (line, column.source_id, f"{times[line]:%Y-%m-%dT%H:%M:%SZ}", cells[line], why[line])
            for line in lines
        )

    numbers, wrong = parse_numbers(cells, uses_decimal_comma(cells))
    reject(wrong.index[wrong & times.notna()], "is no number")
    values = numbers[numbers.notna() & times.notna()]
    if values.empty:
        raise DataFileError(f"column {column.name}: no line has both a time and a number")
    again = times[values.index].duplicated()
    duplicates = values.index[again]
    first_line = (
        dict(zip(times[values.index[~again]], values.index[~again], strict=True))
        if again.any()
        else {}
    )
    reject(
        duplicates,
        {line: f"its time is that of line {first_line[times[line]]}" for line in duplicates},
    )
    values = values[~again]
    at = times[values.index].sort_values()
    step_min = find_step(at, column.name)
    values = values[at.index]
    off_grid = at != at.dt.floor(pd.Timedelta(minutes=step_min))
    if off_grid.mean() > 0.5:
        raise DataFileError(
            f"column {column.name}: its times, such as {at.iloc[0]:%Y-%m-%dT%H:%MZ}, are not on "
            f"the {step_min} min grid of UTC"
        )
    reject(at.index[off_grid], f"its time is not on the {step_min} min grid of UTC")
    values, at = values[~off_grid], at[~off_grid]

    unit_factor = (
        PRICE_UNITS.get(column.unit)
        or POWER_UNITS.get(column.unit)
        or ENERGY_UNITS[column.unit] * 60 / step_min
    )
    values = values * unit_factor
    set_to_zero = 0
    if column.kind == "market":
        low, high = price_limits
        impossible = (values < low) | (values > high)
        reject(values.index[impossible], f"a price outside {low:g} to {high:g} EUR/MWh")
    else:
        capacity_kw = column.capacity_kw or values.max()
        own_use = (values < 0) & (values >= -OWN_USE * capacity_kw) & (column.kind != "load")
        set_to_zero = int(own_use.sum())
        values = values.mask(own_use, 0.0)
        impossible = (values < 0) | (values > ABOVE_CAPACITY * capacity_kw)
        reject(
            values.index[impossible],
            f"a power outside 0 to {ABOVE_CAPACITY:g} times the capacity of {capacity_kw:g} kW",
        )
    values = values[~impossible]
    if values.empty or (column.kind != "market" and not values.max() > 0):
        raise DataFileError(
            f"column {column.name}: no possible value is left; check its unit {column.unit} and "
            "capacity"
        )
    series = pd.Series(
        values.to_numpy(),
        index=pd.DatetimeIndex(at[values.index], name="time"),
        name=column.source_id,
    )
    expected = round((series.index[-1] - series.index[0]) / pd.Timedelta(minutes=step_min)) + 1
    return Series(
        column,
        series,
        step_min,
        len(duplicates),
        int(impossible.sum()),
        set_to_zero,
        expected - len(series),
        flat_lines(series, step_min, column.kind),
        outliers(series),
        rejects,
    )


def find_step(times: pd.Series, name: str) -> int:
    """The most frequent distance of sorted times [min]."""
    distances = times.diff().dropna() / pd.Timedelta(minutes=1)
    if distances.empty:
        raise DataFileError(f"column {name}: one time only; expected a series")
    step = distances.mode().iloc[0]
    if step not in STEPS_MIN:
        raise DataFileError(
            f"column {name}: most times are {step:g} min apart; expected a step of "
            f"{', '.join(map(str, STEPS_MIN))} min"
        )
    return int(step)


def flat_lines(
    series: pd.Series, step_min: int, kind: str
) -> list[tuple[pd.Timestamp, float, float]]:
    """Runs of one and the same value for `FLAT_H` and longer; zero is ordinary for a plant."""
    values = series.to_numpy()
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    hours = np.diff(starts, append=len(values)) * step_min / 60
    long = (hours >= FLAT_H) & ((values[starts] != 0) | (kind == "load"))
    return [
        (series.index[start], float(length), float(values[start]))
        for start, length in zip(starts[long], hours[long], strict=True)
    ]


def outliers(series: pd.Series) -> list[tuple[pd.Timestamp, float, float]]:
    """Single values that leave their neighbours and come back at once.

    A value is one where its distance from the median of its neighbours, three on each side, is more
    than `OUTLIER_SCALES` times the robust standard deviation (1.4826 median absolute deviation) of
    such distances; after Hampel (1974)."""
    values = series.to_numpy()
    if len(values) < 8:
        return []
    padded = np.pad(values, 3, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 7)
    centre = np.median(windows, axis=1)
    distance = values - centre
    moved = np.abs(distance[distance != 0])
    scale = 1.4826 * np.median(moved) if len(moved) else 0.0
    before, after = np.diff(values, prepend=values[0]), np.diff(values, append=values[-1])
    alone = before * -after > 0  # up and down again, or down and up
    found = np.flatnonzero(alone & (np.abs(distance) > OUTLIER_SCALES * scale))
    return [(series.index[i], float(values[i]), float(centre[i])) for i in found]


def load_file(
    path: Path,
    time_column: str,
    time_zone: str | None,
    wanted: Sequence[tuple[str, str]],
    price_limits: tuple[float, float],
) -> list[Series]:
    """Read `wanted`, pairs of kind and COLUMN:UNIT[:ID[:CAPACITY_KW]], from a file.

    Nothing is written.
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
        raise type(error)(
            f"{path}: {error}" if str(path) not in str(error) else str(error)
        ) from None
    found[0].rejects.extend(
        (line, "", cells[time_column][line], "", reason) for line, reason in reasons.items()
    )
    return found


def report_row(series: Series) -> dict:
    """What was found in a column, as a row of the table that is printed before anything is written."""
    values = series.values
    return {
        "source_id": series.column.source_id,
        "kind": series.column.kind,
        "rows": len(values),
        "from": values.index[0],
        "to": values.index[-1] + pd.Timedelta(minutes=series.step_min),
        "step_min": series.step_min,
        "gaps": series.gaps,
        "duplicates": series.duplicates,
        "impossible": series.out_of_range,
        "set_to_0": series.set_to_zero,
        "flat_lines": len(series.flat_lines),
        "outliers": len(series.outliers),
        "rejects": len(series.rejects),
        "min": float(values.min()),
        "mean": float(values.mean()),
        "max": float(values.max()),
    }


def remarks(found: Sequence[Series], most: int = 3) -> list[str]:
    """The largest outliers and the longest flat lines of each series, in words."""
    lines = []
    for series in found:
        unit = "EUR/MWh" if series.column.kind == "market" else "kW"
        largest = sorted(series.outliers, key=lambda item: -abs(item[1] - item[2]))[:most]
        lines += [
            f"outlier kept: {series.column.source_id} {time:%Y-%m-%dT%H:%MZ} {value:,.6g} "
            f"{unit}, its neighbours {centre:,.6g}"
            for time, value, centre in largest
        ]
        longest = sorted(series.flat_lines, key=lambda item: -item[1])[:most]
        lines += [
            f"flat line kept: {series.column.source_id} {start:%Y-%m-%dT%H:%MZ} {value:,.6g} "
            f"{unit} for {hours:g} h"
            for start, hours, value in longest
        ]
    return lines
