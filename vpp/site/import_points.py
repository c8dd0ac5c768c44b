"""The numbers of one column by time: one a time, without codes for no value, summed where asked.

python sources.py import meters.csv --load kwh:kWh --where meter=m1 --where meter=m2
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vpp.runtime.files import DataFileError
from vpp.site.import_columns import Column
from vpp.site.import_options import Asked
from vpp.site.import_rows import Rows
from vpp.site.intervals import PART
from vpp.site.time_shapes import INVALID

OTHERS_MAX = 0.05  # of the rows have another value for the same time: with more it is refused
FAR = 3.0  # times the largest other value: 9999 is a code for no value
_NINES = np.array([999, 9999, 99999, 999999, 9999999, 999.9, 9999.9, 999.99, 9999.99])


@dataclass
class Points:
    """Numbers of one column by time, as they are in the file.

    Parameters
    ----------
    utc : sorted seconds since 1970.
    values : numbers of the file.
    rows : places among the rows of the file.
    file : the rows of the file, which know their lines and clocks.
    """

    utc: np.ndarray
    values: np.ndarray
    rows: np.ndarray
    file: Rows

    def only(self, keep: np.ndarray) -> "Points":
        """Give some of them."""
        if keep.dtype == bool and keep.all():
            return self
        return Points(self.utc[keep], self.values[keep], self.rows[keep], self.file)

    def line(self, place: int) -> int:
        """Give the line of the file of one of them."""
        return int(self.file.lines[self.rows[place]])

    def local(self, place: int) -> int:
        """Give the time of one of them on its clock, seconds since 1970."""
        return int(self.utc[place]) + 60 * int(self.file.offsets[self.rows[place]])


def points_of(file: Rows, number: int, last: bool) -> Points:
    """Give the numbers of a column that have a time.

    Parameters
    ----------
    file : the rows.
    number : of the column; its numbers are taken out of the rows.
    last : whether no column comes after it, so that the times are taken out, too.
    """
    values, utc = file.values[number], file.local
    keep = (utc != INVALID) & ~np.isnan(values)
    if file.part is not None:
        keep &= file.part >= 0
    file.values[number] = np.zeros(0)
    if last:
        file.local = np.zeros(0, np.int64)
    if keep.all():
        return Points(utc, values, np.arange(len(values), dtype=np.int32), file)
    utc = utc if last else utc.copy()
    rows = np.empty(int(keep.sum()), np.int32)
    end = 0
    for start in range(0, len(keep), PART):  # in place, so that large files fit
        some = np.flatnonzero(keep[start : start + PART]) + start
        place = slice(end, end + len(some))
        rows[place], utc[place], values[place] = some, utc[some], values[some]
        end += len(some)
    return Points(utc[:end], values[:end], rows, file)


def rising(utc: np.ndarray, least: int = 0) -> bool:
    """Tell whether times rise by at least so much everywhere [s].

    Parameters
    ----------
    utc : seconds.
    least : distance.
    """
    starts = range(0, len(utc), PART)
    return all((np.diff(utc[start : start + PART + 1]) >= least).all() for start in starts)


@dataclass
class Rejects:
    """Cells of a column that cannot be used, each with its line and reason."""

    source_id: str
    rows: list[tuple[int, str, str, str, str]] = field(default_factory=list)

    def add(self, points: Points, places: np.ndarray, reason: str) -> None:
        """Add cells of points.

        Parameters
        ----------
        points : of the column.
        places : of the cells among them.
        reason : in words.
        """
        for place in places:
            time = f"{np.datetime64(int(points.utc[place]), 's')}Z"
            cell = f"{points.values[place]:.10g}"
            self.rows.append((points.line(place), self.source_id, time, cell, reason))


Separator = Callable[[Sequence[tuple[int, int]]], tuple[str, list[str]] | None]


def sorted_points(points: Points) -> Points:
    """Put points into the order of time; rows of one time stay in that of the file."""
    if rising(points.utc):
        return points
    return points.only(np.argsort(points.utc, kind="stable"))


def one_a_time(
    points: Points, column: Column, rejects: Rejects, separator: Separator
) -> tuple[Points, int]:
    """Keep the first row of each time; refuse a file in which several series are mixed.

    Parameters
    ----------
    points : in the order of time.
    column : that they are of.
    rejects : get the others.
    separator : finds a column that tells rows of one time apart.

    Returns
    -------
    The rows kept, and how many more there were.

    Raises
    ------
    DataFileError : many times have several values, or a column tells them apart.
    """
    if rising(points.utc, 1):
        return points, 0
    again = np.zeros(len(points.utc), bool)
    again[1:] = points.utc[1:] == points.utc[:-1]
    groups = np.cumsum(~again) - 1
    first = np.flatnonzero(~again)[groups]
    other = again & (np.abs(points.values - points.values[first]) > 1e-9 * np.abs(points.values))
    if other.any():
        places = np.flatnonzero(other)
        pairs = [(int(points.rows[first[place]]), int(points.rows[place])) for place in places]
        apart = separator(pairs[:1000]) if len(pairs) > 2 else None
        if apart is not None:
            name, values = apart
            shown = ", ".join(values[:8])
            raise DataFileError(
                f"line {points.line(places[0])}, column {column.name}: another value for the time "
                f"of line {points.line(first[places[0]])}; column {name} tells them apart: say "
                f'--where "{name}={values[0]}" (there are {shown}; several are summed)'
            )
        if len(places) > OTHERS_MAX * len(points.utc) and len(places) > 2:
            raise DataFileError(
                f"line {points.line(places[0])}, column {column.name}: {len(places):,} rows have "
                "another value for the time of a row before, and no column tells them apart; "
                "expected one row for each time"
            )
        for place in places:
            line = points.line(first[place])
            rejects.add(points, np.array([place]), f"its time is that of line {line}")
    return points.only(~again), int(again.sum())


def sum_parts(points: Points, parts: np.ndarray, column: Column, rejects: Rejects) -> Points:
    """Sum the rows of one time that differ in `--where`; a time that lacks one of them is a gap.

    Parameters
    ----------
    points : in the order of time.
    parts : number of the combination of values that each row has.
    column : that they are of.
    rejects : get the rows that are left over.
    """
    twice = np.zeros(len(points.utc), bool)
    order = np.lexsort((parts, points.utc))
    same = (np.diff(points.utc[order]) == 0) & (np.diff(parts[order]) == 0)
    twice[order[1:][same]] = True
    if twice.any():
        rejects.add(points, np.flatnonzero(twice), "its time comes twice")
        points, parts = points.only(~twice), parts[~twice]
    new = np.ones(len(points.utc), bool)
    new[1:] = points.utc[1:] != points.utc[:-1]
    starts = np.flatnonzero(new)
    counts = np.diff(np.append(starts, len(points.utc)))
    sums = np.add.reduceat(points.values, starts)
    usual = int(np.bincount(counts).argmax())
    lacking = counts < usual
    if lacking.any():
        rejects.add(points, starts[lacking], f"{usual} rows are summed, but here are fewer")
    kept = points.only(starts)
    kept.values = sums
    return kept.only(~lacking)


def without_codes(points: Points, column: Column, asked: Asked, rejects: Rejects) -> Points:
    """Take out 9999 and the like, which many systems write for no value.

    Parameters
    ----------
    points : of the column.
    column : that they are of.
    asked : the options; `--missing` replaces the usual codes.
    rejects : get what is taken out.

    Raises
    ------
    DataFileError : such a number comes several times and may be a value as well.
    """
    if asked.missing is not None:
        return points
    code = np.zeros(len(points.values), bool)
    for start in range(0, len(code), PART):
        some = np.abs(points.values[start : start + PART])
        code[start : start + PART] = np.isin(np.round(some, 6), _NINES)
    if not code.any() or code.all():
        return points
    largest, places = 0.0, np.flatnonzero(code)
    for start in range(0, len(code), PART):  # in parts, so that large files fit
        others = points.values[start : start + PART][~code[start : start + PART]]
        largest = max(largest, float(np.abs(others).max(initial=0.0)))
    size = np.abs(points.values[places])
    far = size > FAR * largest
    near = ~far & (size > largest)
    if near.sum() > 1:
        place = int(places[near][0])
        value = points.values[place]
        raise DataFileError(
            f"line {points.line(place)}, column {column.name}: {value:g} comes several times and "
            f"may stand for no value; say --missing {value:g}, or --missing none if it is one"
        )
    rejects.add(points, places[far], "a number that stands for no value (--missing)")
    keep = np.ones(len(code), bool)
    keep[places[far]] = False
    return points.only(keep)
