"""Decisions over a whole file: its clock, its stamps, its marks, its units.

    python sources.py import year.csv --load load:MW --tz Europe/Berlin --dry-run

Each decision is an option that was said, that the format's profile says, or that the cells prove;
where two readings fit, the file is refused and the message names the option to give.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from vpp.runtime.files import DataFileError
from vpp.site.import_columns import (
    ENERGY_UNITS,
    POWER_UNITS,
    UNIT_COLUMNS,
    Column,
    check_unit,
)
from vpp.site.import_options import Asked
from vpp.site.import_rows import Tables
from vpp.site.import_times import TimeStyle, says_order
from vpp.site.local_clock import fixed_offset
from vpp.site.numbers import decimal_mark, unit_in_cells
from vpp.site.profiles import PROFILES
from vpp.site.tables import Table
from vpp.site.time_columns import TimeColumns, says_end
from vpp.site.time_shapes import AMBIGUOUS_NAMES

ZONES_IN_NAMES = {
    r"(?<![a-z])utc(?![+-]?\d)|utc$": "UTC",
    r"(?<![a-z])gmt(?![+-]?\d)": "UTC",
    "cet/cest": "Europe/Brussels",
}
_AHEAD = re.compile(r"(?:utc|gmt)([+-])(\d{1,2})(?::?([0-5]\d))?(?!\d)")  # UTC+1, GMT+05:30
_CENTRAL = re.compile(r"(?<![a-z])(?:cet|cest|mez|mesz)(?![a-z])")


def zone_of(
    table: Table, time: TimeColumns, asked: Asked, reading: Tables
) -> tuple[str | None, str]:
    """Find the clock of times without an offset.

    Parameters
    ----------
    table : the first one.
    time : its columns of times.
    asked : the options.
    reading : of all tables, surveyed.

    Returns
    -------
    The zone, None without one, and who says so.

    Raises
    ------
    DataFileError : the column's name or the names of zones in cells say another.
    """
    if table.zone is not None and asked.zone is None:
        return table.zone, "the format of the file"
    name = " ".join(time.names).lower().replace(" ", "")
    in_name = next((zone for word, zone in ZONES_IN_NAMES.items() if re.search(word, name)), None)
    ahead = _AHEAD.search(name)
    if ahead:
        in_name = f"{ahead[1]}{int(ahead[2]):02}:{ahead[3] or '00'}"
    why = asked.why.get("zone", "")
    if asked.zone and why == "said" and reading.times.unzoned:
        _check_zone(asked.zone, in_name, name, time.names[0])
    zone = asked.zone or in_name
    unknown = reading.times.names
    if unknown and zone is None:
        word, line = next(iter(unknown.items()))
        raise DataFileError(f"line {line}: {word} means several clocks; say which with --tz")
    if unknown and zone is not None:
        _check_names(unknown, zone)
    return zone, "said" if why == "said" else why or "the column's name"


def _check_zone(said: str, in_name: str | None, name: str, column: str) -> None:
    """Refuse a clock that is never that of the column's name."""
    if in_name is None:
        if not _CENTRAL.search(name) or _clocks_of(said) & {60, 120}:
            return
        in_name = "Europe/Brussels, or Etc/GMT-1 where the clock never changes"
        stated = "CET"
    else:
        if in_name == "UTC" and _clocks_of(said) == {0}:
            return
        ours, theirs = _clocks_of(said), _clocks_of(in_name)
        both_change = len(ours) == len(theirs) == 2
        if in_name != "UTC" and (ours == theirs or (ours & theirs and not both_change)):
            return
        stated = in_name
    raise DataFileError(
        f"column {column}: its name says {stated}, but --tz {said} was said; say --tz {in_name}"
    )


def _clocks_of(zone: str) -> set[int]:
    """How far a zone is ahead of UTC in winter and in summer [min]."""
    fixed = fixed_offset(zone)
    if fixed is not None:
        return {fixed}
    days = [pd.Timestamp(day).tz_localize(zone) for day in ("2025-01-01", "2025-07-01")]
    return {round(day.utcoffset().total_seconds() / 60) for day in days}


def _check_names(names: dict[str, int], zone: str) -> None:
    there = {
        str(pd.Timestamp(day).tz_localize(zone).tzname()) for day in ("2025-01-01", "2025-07-01")
    }
    for word, line in names.items():
        if word in {name.upper() for name in AMBIGUOUS_NAMES} and word not in there:
            raise DataFileError(
                f"line {line}: {word} is no clock of {zone}, which has {', '.join(sorted(there))}; "
                "say another --tz"
            )


def stamp_of(table: Table, time: TimeColumns, asked: Asked, reading: Tables) -> Asked:
    """Complete the options by the meaning of a stamp, where the file tells it.

    Parameters
    ----------
    table : the first one.
    time : its columns of times.
    asked : the options.
    reading : of all tables, surveyed.
    """
    if asked.stamp:
        return asked
    why = dict(asked.why)
    midnight = reading.times.midnight
    if table.matrix is not None and table.matrix.ends:
        why["stamp"] = "the columns of the day begin with its first step"
    elif any(says_end(name) for name in time.names) and not time.slot:
        why["stamp"] = "the column's name"
    elif midnight["24"] and not midnight["00"] and not time.slot:
        why["stamp"] = "24:00 comes, and 00:00 does not"
    else:
        return asked
    return replace(asked, stamp="end", why=why)


def style_of(asked: Asked, reading: Tables, zone: str | None) -> tuple[TimeStyle, str]:
    """Find how times are written.

    Parameters
    ----------
    asked : the options.
    reading : of all tables, surveyed.
    zone : of the clock.

    Returns
    -------
    The style, and how it was found, in words.

    Raises
    ------
    DataFileError : day and month may be swapped.
    """
    midnight = reading.times.midnight
    bare = bool(reading.slot) or not midnight["00"]
    if asked.time_format and says_order(asked.time_format):
        day_first = reading.times.is_said(asked.time_format)
        return TimeStyle(day_first, bare_midnight=bare), asked.time_format
    if asked.time_format:
        return TimeStyle(form=asked.time_format), asked.time_format
    clock = zone if zone and not zone.startswith(("+", "-")) else None
    day_first, why = reading.times.day_first(clock)
    words = f"{'day' if day_first else 'month'} first ({why})" if why else ""
    return TimeStyle(day_first, bare_midnight=bare), words


def marks_of(table: Table, asked: Asked, reading: Tables) -> tuple[dict[str, str], dict[str, str]]:
    """Find the decimal mark of each column.

    Parameters
    ----------
    table : the first one.
    asked : the options.
    reading : of all tables, surveyed.

    Returns
    -------
    The mark of each column, and how it was found.

    Raises
    ------
    DataFileError : a column fits both.
    """
    marks, why = {}, {}
    for name, survey in reading.numbers.items():
        if asked.decimal and asked.why.get("decimal") == "said":
            marks[name], why[name] = asked.decimal, "said"
            continue
        others = [other for other in reading.numbers.values() if other is not survey]
        try:
            marks[name], why[name] = decimal_mark(survey, others, table.delimiter)
        except DataFileError:
            if not asked.decimal:
                raise
            marks[name], why[name] = asked.decimal, asked.why.get("decimal", "")
    return marks, why


def unit_notes(
    table: Table,
    sample: list[list[str]],
    columns: Sequence[Column],
    asked: Asked,
    reading: Tables,
) -> list[str]:
    """Compare units with what names, cells, a line or a column of units say.

    Parameters
    ----------
    table : the first one.
    sample : its first rows.
    columns : that are read.
    asked : the options.
    reading : of all tables, surveyed.

    Returns
    -------
    Warnings.

    Raises
    ------
    ColumnError : the file contradicts.
    """
    if asked.unit_as_said:
        return []
    notes = []
    for column in columns:
        place = table.names.index(column.name)
        survey = reading.numbers[column.name]
        of_kind = ENERGY_UNITS if column.is_energy else POWER_UNITS
        known = of_kind if column.unit in of_kind else {}
        sizes = {unit: factor / column.factor for unit, factor in known.items()}
        in_cells, line = unit_in_cells(survey, sizes)
        if survey.sizes:
            notes.append(f"{column.name}: cells have the units {', '.join(survey.sizes)}")
        said = [(column.name, "its name")] if not table.matrix else []
        said += [(in_cells, f"its cell in line {line}")] if in_cells else []
        said += [
            (row[place], "the line of units") for row in sample[:2] if not row[place][:1].isdigit()
        ]
        for name in table.names:
            if name.lower() in UNIT_COLUMNS and name != column.name:
                units = {row[table.names.index(name)] for row in sample} - {""}
                said += [(unit, f"column {name}") for unit in units] if len(units) == 1 else []
        said += [(table.unit, "the file")] if table.unit else []
        scaled = bool(asked.profile) and PROFILES[asked.profile].scaled
        for text, where in said:
            notes.append(check_unit(column, text, where, scaled and where == "its name"))
    return list(dict.fromkeys(filter(None, notes)))


def in_force(
    asked: Asked,
    time: TimeColumns,
    zone: str | None,
    zone_why: str,
    order: str,
    marks: dict[str, str],
    found_by: dict[str, str],
    reading: Tables,
) -> list[tuple[str, str, str]]:
    """List the options in force.

    Parameters
    ----------
    asked : the options.
    time : columns of times.
    zone, zone_why : the clock, and who says so.
    order : of day and month, in words.
    marks, found_by : decimal mark of each column, and how it was found.
    reading : of all tables, read.

    Returns
    -------
    Option, value and where it comes from.
    """
    why = asked.why
    rows = []
    if asked.profile:
        rows.append(("--profile", asked.profile, why.get("profile", "said")))
    rows.append(("--time-column", time.shown, why.get("time_columns", "found")))
    if zone is not None and (reading.times.unzoned or reading.slot):
        rows.append(("--tz", zone, zone_why))
    else:
        rows.append(("--tz", "not needed", "times say their distance from UTC"))
    if order:
        rows.append(("--time-format", order, why.get("time_format", "found")))
    rows.append(("--stamp", asked.stamp or "start", why.get("stamp", "default")))
    for name, mark in marks.items():
        if found_by[name] != "no number has a mark":
            rows.append(
                (
                    "--decimal",
                    mark if len(mark) == 1 else "each cell's own",
                    f"{name}: {found_by[name]}",
                )
            )
    for name in asked.where:
        there = {choice[name] for choice in reading.choices}
        rows.append(("--where", f"{name}={' + '.join(sorted(there))}", why.get("where", "said")))
    for option, value in (
        ("--missing", ", ".join(asked.missing or ())),
        ("--cumulative", {True: "yes", False: "no", None: ""}[asked.cumulative]),
        ("--step", asked.step_min or ""),
    ):
        if value:
            rows.append((option, str(value), "said"))
    return rows
