"""One day a row, one interval a column: such a matrix becomes rows of date, time of day and value.

    python sources.py import prices.csv --time-column Date --tz Europe/Amsterdam \\
        --price "00:00-00:15:EUR/MWh:nl"

The columns may be named by start (`00:00`), end (`0:30` to `0:00`), interval (`00:00-00:15`) or
number (1 to 24, `H1`, `TP50`, `Hour 3B`, `Hour 1 Q1`). Any one of them names the matrix, and so
does `*`. Where each row has a time of day, such columns are series of their own, as of 24 meters.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vpp.site.numbers import MISSING

_CLOCK = re.compile(
    r"(\d{1,2})[:.h](\d\d)(?::00)?(?: ?[-–] ?(\d{1,2})[:.h](\d\d))?(?: ?([AaPp])\.?[Mm]\.?)?"
)
_COMPACT = re.compile(r"(\d\d)(\d\d)()()()")  # 0000, 0030, … 2330
# a word, the number, and which of an hour that comes twice: H1, TP50, Hour 3A, Hour 3B
_NUMBER = re.compile(r"([^\W\d]{0,12})[ _.-]?0*(\d{1,3})([AaBb])?")
_QUARTER = re.compile(r"([^\W\d]{0,12})[ _.-]?0*(\d{1,2})([AaBb])?[ _.-]?[Qq]([1-4])")
LEAST = 23  # columns that make a matrix


@dataclass(frozen=True)
class Matrix:
    """The columns of a matrix.

    Parameters
    ----------
    places : of the columns.
    labels : text of each interval's time of day, or its number.
    numbered : whether the labels count the intervals of a day.
    ends : whether the labels are the ends of intervals.
    step_min : of the intervals [min].
    """

    places: tuple[int, ...]
    labels: tuple[str, ...]
    numbered: bool
    ends: bool
    step_min: int


def find_matrix(names: Sequence[str]) -> Matrix | None:
    """Find the matrix among a table's columns; None where there is none.

    Parameters
    ----------
    names : of the columns.
    """
    clocks = [
        (place, match) for place, name in enumerate(names) if (match := _CLOCK.fullmatch(name))
    ]
    if len(clocks) >= LEAST:
        return _clocks(clocks)
    clocks = [
        (place, match) for place, name in enumerate(names) if (match := _COMPACT.fullmatch(name))
    ]
    if len(clocks) >= LEAST and (compact := _clocks(clocks)) and len(compact.labels) > 23:
        minutes = [int(label[:2]) * 60 + int(label[3:]) for label in compact.labels]
        steps = {after - before for before, after in itertools.pairwise(minutes)}
        return compact if steps == {compact.step_min} else None
    longest = _run([(place, *number) for place, name in enumerate(names) if (number := _of(name))])
    count = len({number for _, _, number, _ in longest})
    steps_min = {23: 60, 24: 60, 25: 60, 48: 30, 50: 30, 96: 15, 100: 15, 288: 5}
    if count not in steps_min:
        return None
    places = tuple(place for place, _, _, _ in longest)
    labels = tuple(f"{number}{fold}" for _, _, number, fold in longest)
    return Matrix(places, labels, True, False, steps_min[count])


def _of(name: str) -> tuple[str, int, str] | None:
    """Word, number and letter of a column that counts intervals."""
    if match := _QUARTER.fullmatch(name):
        return match[1].lower(), (int(match[2]) - 1) * 4 + int(match[4]), (match[3] or "").upper()
    match = _NUMBER.fullmatch(name)
    return (match[1].lower(), int(match[2]), (match[3] or "").upper()) if match else None


def _run(numbers: list[tuple[int, str, int, str]]) -> list[tuple[int, str, int, str]]:
    """The first run 1, 2, 3 … or 0, 1, 2 … of columns of one word; quarters come again with B."""
    for start, (_, word, first, _) in enumerate(numbers):
        if first not in (0, 1):
            continue
        run = [numbers[start]]
        for place, other, number, fold in numbers[start + 1 :]:
            before = run[-1]
            again = number <= before[2] and fold == "B" and before[3]
            if place != before[0] + 1 or other != word or not (number == before[2] + 1 or again):
                break
            run.append((place, other, number, fold))
        if len(run) >= LEAST:
            return run
    return []


def _clocks(clocks: list[tuple[int, re.Match]]) -> Matrix | None:
    minutes = []
    for _, match in clocks:
        hour = int(match[1])
        if match[5]:
            hour = hour % 12 + (12 if match[5].lower() == "p" else 0)
        minutes.append(hour * 60 + int(match[2]))
    step = minutes[1] - minutes[0]
    if step not in (5, 10, 15, 30, 60):
        return None
    is_range = clocks[0][1][3] is not None
    ends = not is_range and minutes[0] == step and minutes[-1] % 1440 == 0
    labels = [f"{minute // 60:02}:{minute % 60:02}" for minute in minutes]
    if ends:
        labels[-1] = "24:00"
    return Matrix(tuple(place for place, _ in clocks), tuple(labels), False, ends, step)


def melt(
    rows: Sequence[Sequence[str]], lines: Sequence[int], matrix: Matrix, width: int
) -> tuple[list[list[str]], list[int]]:
    """Write each value of a matrix in a row of its own.

    Parameters
    ----------
    rows : of the table, one a day.
    lines : of the rows in the file.
    matrix : of `find_matrix`.
    width : how many columns the table has.

    Returns
    -------
    Rows of the other columns, the time of day and the value, and their lines.
    """
    inside = set(matrix.places)
    others = [place for place in range(width) if place not in inside]
    found, places = [], []
    for row, line in zip(rows, lines, strict=True):
        if len(row) <= matrix.places[0]:
            continue
        kept = [row[place] if place < len(row) else "" for place in others]
        for place, label in zip(matrix.places, matrix.labels, strict=True):
            cell = row[place] if place < len(row) else ""
            # 23 values tell whether the numbers count on when the clock changes
            if cell.strip().lower() not in MISSING:
                found.append([*kept, label, cell])
                places.append(line)
    return found, places


def melted_names(names: Sequence[str], matrix: Matrix) -> list[str]:
    """Name the columns of the rows that `melt` gives.

    Parameters
    ----------
    names : of the table's columns.
    matrix : of `find_matrix`.
    """
    inside = set(matrix.places)
    others = [name for place, name in enumerate(names) if place not in inside]
    clock = "period" if matrix.numbered else "time of day"
    return [*others, clock, names[matrix.places[0]]]
