"""Brings real files in: their columns become sources with power [kW] or prices [EUR/MWh] in UTC.

    python sources.py import year.csv --time-column time --tz Europe/Berlin \\
        --load load:MW --price price:EUR/MWh --output data

The order of the calculation: containers -> tables (`tables`: header, matrix) -> rows as numbers
(`import_rows`: one decision over the whole file) -> UTC (`local_clock`) -> one series a column
(`import_series`: one row a time, grid, physical range) -> checks (`import_checks`: gaps, flat
lines, outliers). Times label the START of an interval and values are means over it. Where two
readings fit, the file is refused; whatever is decided is told.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime.errors import VppError, one_of
from vpp.runtime.files import DataFileError
from vpp.runtime.tables import shown
from vpp.site import meter_formats
from vpp.site.containers import Content, contents_of, files_of
from vpp.site.import_checks import Series
from vpp.site.import_clock import lines_without_time, midnights_of_the_day_before, turn_rows
from vpp.site.import_columns import Column, parse_column, with_capacity
from vpp.site.import_decisions import (
    in_force,
    marks_of,
    stamp_of,
    style_of,
    unit_notes,
    zone_of,
)
from vpp.site.import_issued import issued_series, lead_column, read_issues
from vpp.site.import_options import Asked, check_where
from vpp.site.import_points import (
    Rejects,
    one_a_time,
    points_of,
    sorted_points,
    sum_parts,
    without_codes,
)
from vpp.site.import_rows import Rows, Tables
from vpp.site.import_rules import IssueRule, issue_rule
from vpp.site.import_series import make_series
from vpp.site.import_times import says_order
from vpp.site.sources import SourceError
from vpp.site.tables import Table, find_tables, likely_header, place_of, without_header
from vpp.site.time_columns import SAMPLE, TimeColumns, choose, kind_of
from vpp.site.time_shapes import INVALID

WRONG_MAX = 0.05  # of the cells: with more that are no numbers the file is refused
_NO_ROW = ", and no line has both a time and a number"


@dataclass
class Imported:
    """The series of a file, as it was understood; nothing is written yet.

    Parameters
    ----------
    series : one for each column that was asked for.
    in_force : option, value and where it comes from.
    notes : what else is told.
    preview : the first rows as they were understood.
    zone : of the place, where the clock is that of one.
    """

    series: list[Series]
    in_force: list[tuple[str, str, str]]
    notes: list[str] = field(default_factory=list)
    preview: list[dict] = field(default_factory=list)
    zone: str | None = None

    def rejects(self, strict: str | None = None) -> list[tuple]:
        """Give the cells of all series that cannot be used, in the order of their lines.

        Parameters
        ----------
        strict : name of the file, where any such cell refuses it.

        Raises
        ------
        DataFileError : there is one, and `strict` is given.
        """
        rejects = sorted(reject for series in self.series for reject in series.rejects)
        if rejects and strict is not None:
            line, source_id, _, value, reason = rejects[0]
            raise DataFileError(
                f"{strict}, line {line}: {value!r} of {source_id}: {reason}; {len(rejects)} such "
                "cells, nothing was written (--strict)"
            )
        return rejects


def load_files(
    paths: Sequence[Path],
    asked: Asked,
    price_limits: tuple[float, float],
    capacity_kw: float | None = None,
) -> Imported:
    """Read columns of files as series; nothing is written.

    Parameters
    ----------
    paths : files and folders.
    asked : the options.
    price_limits : lowest and highest price that is possible [EUR/MWh].
    capacity_kw : of the one plant or load, where it is stated [kW].

    Raises
    ------
    VppError : of the functions below; the message names the file.
    """
    keep: list[tempfile._TemporaryFileWrapper] = []
    label = shown(paths[0]) if len(paths) == 1 else f"{shown(paths[0])} and {len(paths) - 1} more"
    try:
        contents = [content for path in files_of(paths) for content in contents_of(path, keep)]
        tables, asked = _tables(contents, asked)
        return _read(tables, asked, price_limits, capacity_kw)
    except VppError as error:
        message = str(error)
        named = any(shown(path) in message for path in paths)
        raise type(error)(message if named else f"{label}: {message}") from None
    finally:
        for file in keep:
            file.close()


def _tables(contents: list[Content], asked: Asked) -> tuple[list[Table], Asked]:
    """The tables of all contents, and the options with those of the format."""
    wanted = [text for _, text in asked.wanted]
    tables: list[Table] = []
    format_name = ""
    for content in contents:
        found, format_name = meter_formats.tables_of(content, wanted)
        if not found:
            times = tuple(filter(None, asked.time_columns))
            found = (
                find_tables(content, times, wanted)
                or _find_with_commas(content, asked, wanted)
                or without_header(content, times, wanted)
            )
        if not found:
            _refuse(content, asked)
        tables += found
    names = tables[0].names
    asked = asked.with_profile(names, format_name)
    if format_name:
        asked = replace(asked, time_columns=(names[0],))
    check_where(asked.where, names)
    for table in tables[1:]:
        lacking = [name for name in asked.where if name not in table.names]
        if lacking:
            raise DataFileError(f"{table.label}: has no column {lacking[0]}; import it apart")
    return tables, asked


def _find_with_commas(content: Content, asked: Asked, wanted: list[str]) -> list[Table]:
    """The tables whose time column has commas in its name."""
    if len(asked.time_columns) < 2:
        return []
    return find_tables(content, (",".join(asked.time_columns),), wanted)


def _numbered(asked: Asked) -> str:
    kind, text = asked.wanted[0]
    return f"--{kind.replace('market', 'price')} 2:{text.partition(':')[2]}"


def _refuse(content: Content, asked: Asked) -> None:
    """Say which column is missing."""
    count, names = likely_header(content)
    if count > 1 and not names:
        raise DataFileError(
            f"{content.label}: no line has names of columns; say the number of a column in place "
            f"of its name, such as {_numbered(asked)}, and --time-column 1"
        )
    if count < 2:
        raise DataFileError(
            f"{content.label}: is empty; expected a line of column names and lines of data"
        )
    _refuse_apart(content, asked)
    for name in asked.time_columns:
        if name not in names:
            raise DataFileError(
                f"{content.label}: no time column {name!r}; the file has {', '.join(names)}"
            )
    for kind, text in asked.wanted:
        parse_column(kind, text, names)
    raise DataFileError(
        f"{content.label}: no line names all columns that were asked for; "
        f"{one_of(asked.wanted[0][1].partition(':')[0], names)}"
    )


def _refuse_apart(content: Content, asked: Asked) -> None:
    """Say the numbers of columns whose names stand in several lines."""
    wanted = [text.partition(":")[0] for _, text in asked.wanted if ":" in text]
    names = {*asked.time_columns, *wanted}
    places = {name: found for name in names if (found := place_of(content, name))}
    lines = {line for line, _ in places.values()}
    if len(places) == len(names) and len(lines) > 1 and len(wanted) == len(asked.wanted):
        times = ",".join(str(places[name][1]) for name in asked.time_columns) or "1"
        kind, text = asked.wanted[0]
        number, unit = places[wanted[0]][1], text.partition(":")[2]
        raise DataFileError(
            f"{content.label}: the names of its columns stand in several lines; say their numbers, "
            f"such as --time-column {times} --{kind.replace('market', 'price')} {number}:{unit}"
        )


def _read(
    tables: list[Table], asked: Asked, price_limits: tuple[float, float], capacity_kw: float | None
) -> Imported:
    names = list(tables[0].names)
    columns = [parse_column(kind, _starless(text, names), names) for kind, text in asked.wanted]
    columns = with_capacity(columns, capacity_kw)
    ids = [column.source_id for column in columns]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise SourceError(f"source_id {twice} comes twice; name another as COLUMN:UNIT:ID")
    rule = issue_rule(asked.issued)
    if rule.is_lead:
        columns.append(lead_column(rule.column, names))
    sample = tables[0].sample(SAMPLE)
    if not sample:
        raise DataFileError(f"{tables[0].label}: is empty; it has column names but no data")
    time = _time_columns(tables[0], sample, asked, columns, rule.column)
    reading = Tables(tables, columns, time, asked)
    reading.survey()
    if not asked.time_format or says_order(asked.time_format):
        reading.times.check()
    zone, zone_why = zone_of(tables[0], time, asked, reading)
    if zone is None and (reading.times.unzoned or reading.slot):
        line, text = reading.times.unzoned or reading.times.first or (0, "")
        raise DataFileError(
            f"line {line}: {text!r} has no time zone; say which clock it is with --tz, such as "
            "--tz UTC"
        )
    asked = stamp_of(tables[0], time, asked, reading)
    style, order = style_of(asked, reading, zone)
    marks, found_by = marks_of(tables[0], asked, reading)
    notes = unit_notes(tables[0], sample, columns, asked, reading)
    rows = reading.read(style, marks)
    if midnights_of_the_day_before(rows):
        if asked.stamp not in ("", "end"):
            raise DataFileError(
                f"column {time.shown}: 00:00 stands at the end of its own date, so stamps are ends "
                "of intervals; say --stamp end"
            )
        why = dict(asked.why) | {"stamp": "00:00 stands at the end of its own date"}
        asked = replace(asked, stamp="end", why=why)
    no_time = lines_without_time(reading, rows, notes)
    series, lost = _all_series(reading, rows, rule, asked, zone, price_limits, notes)
    series[0].rejects.extend(no_time + lost)
    told = in_force(asked, time, zone, zone_why, order, marks, found_by, reading)
    place = zone if zone and "/" in zone and not zone.startswith("Etc/") else None
    imported = Imported(series, told, notes, zone=place if asked.zone else None)
    imported.preview = _preview(rows, series, place or "UTC")
    return imported


def _all_series(
    reading: Tables,
    rows: Rows,
    rule: IssueRule,
    asked: Asked,
    zone: str | None,
    price_limits: tuple[float, float],
    notes: list[str],
) -> tuple[list[Series], list[tuple]]:
    """The series of all columns, and the rejects of rows whose time is none."""
    issued = None
    if rule.column and not rule.is_lead:
        issued, rows.part = read_issues(reading, rule.column, asked, zone)
    by_user = asked.why.get("stamp", "said") == "said"
    stamp = asked.stamp if by_user or reading.slot is None else ""
    lost = turn_rows(reading, rows, zone, stamp, notes)
    if reading.slot is not None:  # its numbers are starts now
        asked = replace(asked, stamp="start")
    if rule.is_lead:
        lead = rows.values.pop()
        reading.columns = reading.columns[:-1]
        issued = np.where(np.isnan(lead), INVALID, rows.local - 3600 * np.nan_to_num(lead))
        issued = issued.astype(np.int64)
    numbers = range(len(reading.columns))
    if issued is None:
        return [_series(reading, rows, number, asked, price_limits) for number in numbers], lost
    return [
        issued_series(reading, rows, number, issued, asked, price_limits) for number in numbers
    ], lost


def _starless(text: str, names: Sequence[str]) -> str:
    """`*` for the matrix is its first column, under which it was melted."""
    return names[-1] + text[1:] if text.startswith("*:") else text


def _time_columns(
    table: Table,
    sample: list[list[str]],
    asked: Asked,
    columns: Sequence[Column],
    issued: str,
) -> TimeColumns:
    names = table.names
    times = asked.time_columns
    if len(times) > 1 and not set(times) <= set(names) and ",".join(times) in names:
        times = (",".join(times),)
    if table.matrix is None:
        return choose(names, sample, times, {issued, *(column.name for column in columns)})
    clock = names[-2]
    if not times:
        others = list(names[:-2])
        days = [
            n for place, n in enumerate(others) if kind_of([r[place] for r in sample]) == "date"
        ]
        times = tuple(days)
        if len(days) != 1:
            times = choose(others, [row[:-2] for row in sample], (), set()).names
    if table.matrix.numbered:
        return TimeColumns(tuple(times), clock)
    return TimeColumns((*times, clock))


def _series(
    reading: Tables,
    rows: Rows,
    number: int,
    asked: Asked,
    price_limits: tuple[float, float],
) -> Series:
    column = reading.columns[number]
    values, rejects = rows.values[number], Rejects(column.source_id)
    wrong = [item for item in rows.wrong[number] if rows.local[item[0]] != INVALID]
    count = len(values) - int(np.isnan(values).sum())
    if len(wrong) > WRONG_MAX * (count + len(wrong)) and (len(wrong) > 2 or not count):
        row, cell = wrong[0]
        raise DataFileError(
            f"line {rows.lines[row]}, column {column.name}: {cell!r} is no number, as are "
            f"{len(wrong):,} of {count + len(wrong):,} cells{'' if count else _NO_ROW}; say what "
            "stands for no value with --missing, or the mark before decimals with --decimal"
        )
    broken = rows.local[rows.said_missing[number]]
    for row, cell in wrong:
        time = f"{np.datetime64(int(rows.local[row]), 's')}Z"
        rejects.rows.append((int(rows.lines[row]), column.source_id, time, cell, "is no number"))
    del values
    points = points_of(rows, number, number == len(reading.columns) - 1)
    points = without_codes(sorted_points(points), column, asked, rejects)
    duplicates = 0
    if rows.part is not None and len(reading.choices) > 1:
        points = sum_parts(points, rows.part[points.rows], column, rejects)
    else:
        points, duplicates = one_a_time(
            points, column, rejects, lambda pairs: reading.column_apart(rows, pairs)
        )
    series = make_series(points, broken[broken != INVALID], column, asked, price_limits, rejects)
    series.duplicates = duplicates
    return series


def _preview(rows: Rows, series: Sequence[Series], zone: str) -> list[dict]:
    """The first rows as they were understood."""
    found = []
    for row, line, text, cells in rows.first:
        for column, cell in zip(series, cells, strict=False):
            if row in column.preview:
                start, end, value = column.preview[row]
                begin = pd.Timestamp(start, unit="s", tz="UTC")
                local = begin.tz_convert(zone)
                found.append(
                    {
                        "line": line,
                        "written": text,
                        "local": f"{local:%Y-%m-%d %H:%M %Z}",
                        "utc": f"{begin:%Y-%m-%dT%H:%M}Z to {pd.Timestamp(end, unit='s'):%H:%M}Z",
                        "source_id": column.column.source_id,
                        "cell": cell,
                        "value": f"{value:,.6g} {column.column.result_unit}",
                    }
                )
    return found
