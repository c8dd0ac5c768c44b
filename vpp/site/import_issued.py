"""Forecasts of a file whose column states when each value was issued.

    python sources.py import tso.csv --tz Europe/Berlin --forecast wind_mw:MW:tso-wind \\
        --issued published

It has many rows for one valid time; a row counts by both times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vpp.runtime.errors import one_of
from vpp.runtime.files import DataFileError
from vpp.site.import_checks import Series
from vpp.site.import_columns import Column
from vpp.site.import_decisions import style_of
from vpp.site.import_options import Asked
from vpp.site.import_points import Rejects
from vpp.site.import_rows import Rows, Tables
from vpp.site.local_clock import to_utc
from vpp.site.sources import STEPS_MIN
from vpp.site.time_columns import TimeColumns
from vpp.site.time_shapes import INVALID

WRONG_MAX = 0.05  # of the rows: with more of one fault the file is refused


def read_issues(
    reading: Tables, column: str, asked: Asked, zone: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the column of issue times.

    Parameters
    ----------
    reading : of the tables.
    column : of the times.
    asked : the options.
    zone : of the clock of times without an offset.

    Returns
    -------
    Of each row when it was issued, seconds since 1970 UTC (`INVALID`: no time); and the number of
    its issue, by the text of the cell.

    Raises
    ------
    DataFileError : there is no such column, or it holds no times.
    """
    names = reading.tables[0].names
    if column not in names:
        raise DataFileError(
            f"--issued {column}: is no column of the file, which has {', '.join(names)}; expected "
            'one of them, or a rule such as "D-1 10:00" or 36h'
        )
    asked = replace(asked, time_format="")
    other = Tables(reading.tables, [], TimeColumns((column,)), asked)
    other.survey()
    other.times.check()
    if other.times.unzoned and zone is None:
        raise DataFileError(f"--issued {column}: its times have no time zone; say it with --tz")
    rows = other.read(style_of(asked, other, zone)[0], {})
    _, number = np.unique(rows.local, return_inverse=True)
    later = np.ones(len(rows.local), np.int8)  # of an hour that comes twice: it leaks nothing
    return to_utc(rows.local, rows.offsets, later, zone).utc, number.astype(np.int32)


def lead_column(name: str, names: Sequence[str]) -> Column:
    """Give the column of leads [h].

    Parameters
    ----------
    name : of the column.
    names : of the columns of the file.

    Raises
    ------
    DataFileError : there is no such column.
    """
    if name not in names:
        raise DataFileError(f"--issued {name}:h: no such column; {one_of(name, names)}")
    return Column("forecast", name, "h", "", None)


def issued_series(
    reading: Tables,
    rows: Rows,
    number: int,
    issued: np.ndarray,
    asked: Asked,
    price_limits: tuple[float, float],
) -> Series:
    """A column of a file that states the issue of each row, as a series.

    Parameters
    ----------
    reading : of the tables.
    rows : of it, with times in UTC.
    number : of the column.
    issued : of each row, seconds since 1970 UTC.
    asked : the options.
    price_limits : lowest and highest price that is possible [EUR/MWh].

    Raises
    ------
    DataFileError : no step, or many rows that cannot be used.
    """
    column, values, utc = reading.columns[number], rows.values[number], rows.local
    faults, unit = _Faults(rows, number, Rejects(column.source_id), column), column.result_unit
    good = (utc != INVALID) & (issued != INVALID)
    faults.add(np.array([row for row, _ in rows.wrong[number] if good[row]]), "is no number")
    faults.add(np.flatnonzero(issued == INVALID), f"no time of issue by {asked.issued}")
    there, twice = _one_a_time(np.flatnonzero(good & ~np.isnan(values)), values, utc, issued)
    faults.add(twice, "another value for the same issue and time (--where?)")
    step = _step(utc[there], issued[there], column)
    early = {"end": step, "middle": step // 2}.get(asked.stamp, 0)
    start = utc - np.where(utc == INVALID, 0, early)
    there = faults.without(
        there, start[there] % step != 0, f"its time is not on the {step // 60} min grid"
    )
    there = faults.without(there, issued[there] >= start[there] + step, "issued after its interval")
    factor = column.factor * (3600 / step if column.is_energy else 1.0)
    low, high = column.limits(price_limits)
    found = values * factor + column.offset
    wrong = (found[there] < low) | (found[there] > high)
    there = faults.without(there, wrong, f"{column.quantity} outside {low:g} to {high:g} {unit}")
    if not len(there):
        raise DataFileError(f"column {column.name}: no possible value is left")
    return Series(
        column=column,
        values=pd.Series(found[there], _times(start[there]).rename("time"), name=column.source_id),
        step_min=step // 60,
        duplicates=0,
        out_of_range=int(wrong.sum()),
        set_to_zero=0,
        gaps=0,
        rejects=faults.rejects.rows,
        preview={
            row: (int(start[row]), int(start[row]) + step, float(found[row]))
            for row, _, _, _ in rows.first
            if row in there
        },
        issued=_times(issued[there]),
    )


@dataclass
class _Faults:
    """Rows of a column that cannot be used; many of one kind refuse the file."""

    rows: Rows
    number: int
    rejects: Rejects
    column: Column

    def add(self, places: np.ndarray, reason: str) -> None:
        """Reject rows."""
        rows, values = self.rows, self.rows.values[self.number]
        if len(places) > max(2, WRONG_MAX * len(values)):
            line = int(rows.lines[int(places[0])])
            raise DataFileError(
                f"line {line}, column {self.column.name}: {reason}, as {len(places):,} of "
                f"{len(values):,} rows"
            )
        cells = dict(rows.wrong[self.number])
        for row in places.astype(int).tolist():
            utc = int(rows.local[row])
            time = f"{np.datetime64(utc, 's')}Z" if utc != INVALID else ""
            cell = cells.get(row, f"{values[row]:.10g}")
            line = int(rows.lines[row])
            self.rejects.rows.append((line, self.column.source_id, time, cell, reason))

    def without(self, there: np.ndarray, wrong: np.ndarray, reason: str) -> np.ndarray:
        """Reject some of the rows, and give the others."""
        self.add(there[wrong], reason)
        return there[~wrong]


def _one_a_time(
    there: np.ndarray, values: np.ndarray, utc: np.ndarray, issued: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows by issue and time, the first of each; those that say another value for the same."""
    there = there[np.lexsort((utc[there], issued[there]))]
    again = (np.diff(utc[there]) == 0) & (np.diff(issued[there]) == 0)
    places = np.flatnonzero(again) + 1
    other = values[there[places]] != values[there[places - 1]]
    return np.delete(there, places), there[places[other]]


def _step(utc: np.ndarray, issued: np.ndarray, column: Column) -> int:
    """The usual distance of the times of one issue [s]."""
    apart = np.diff(utc)[np.diff(issued) == 0]
    apart = apart[apart > 0]
    usual = int(np.bincount(np.minimum(apart, 86400)).argmax()) if len(apart) else 0
    if usual // 60 not in STEPS_MIN or usual % 60:
        raise DataFileError(
            f"column {column.name}: the times of an issue are {usual / 60:g} min apart; expected "
            f"one of {', '.join(map(str, STEPS_MIN))} min"
        )
    return usual


def _times(seconds: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(seconds.astype("M8[s]").astype("M8[ns]"), tz="UTC")
