"""Times of an imported file: one format for the whole file, then local times by row.

    python sources.py import year.csv --time-column time --tz Europe/Berlin --load load:MW

Which of day and month comes first is decided over the whole file: by a number above 12, by days
that follow one another in one reading only, or by the hour that comes twice when a clock goes
back. A file that fits both readings is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from vpp.runtime.files import DataFileError
from vpp.site.time_shapes import (
    INVALID,
    NO_OFFSET,
    TO_SHAPE,
    Recipe,
    days_of,
    read_numbers,
    read_shape,
    recipe_of,
)

Lines = Sequence[int] | np.ndarray  # one of each cell
FORMS = (
    "2025-01-31 13:15, 2025-01-31T13:15Z, 31.01.2025 13:15, 31/01/2025 13:15, 31-Jan-2025 13:15, "
    "202501311315, seconds since 1970, days of Excel"
)
DAY_FIRST, MONTH_FIRST = "%d{0}%m{0}{1} %H:%M", "%m{0}%d{0}{1} %H:%M"
_ORDER = re.compile(r"%([dm])([-/])%(?!\1)[dm]\2%([yY])(?: %H:%M)?")
SAMPLE = 5000  # stamps that are kept to find the hour that comes twice


@dataclass
class TimeSurvey:
    """The forms of the time cells of a whole file.

    Parameters
    ----------
    families : line and cell of the first of each way to write a date.
    swaps : line and cell of the first with a first, a second number above 12.
    days : the two numbers and the year of each day, in the order of the file, while they may be
        swapped.
    stamps : the first cells as they were written.
    zoned, unzoned : line and cell of the first with and without a zone.
    names : names of zones that have several meanings.
    midnight : counts of 24:00, 00:00 and dates without a time.
    mark, year_digits : between day and month that may be swapped, and of their year.
    outer : first and last numbers of dates whose year has two digits.
    first : line and cell of the first that is not empty.
    cells, times : how many cells were seen, and how many of them are times.
    """

    families: dict[str, tuple[int, str]] = field(default_factory=dict)
    swaps: dict[str, tuple[int, str]] = field(default_factory=dict)
    days: list[tuple[int, int, int]] = field(default_factory=list)
    stamps: list[str] = field(default_factory=list)
    zoned: tuple[int, str] | None = None
    unzoned: tuple[int, str] | None = None
    names: dict[str, int] = field(default_factory=dict)
    midnight: dict[str, int] = field(default_factory=lambda: {"24": 0, "00": 0, "none": 0})
    mark: str = ""
    year_digits: int = 4
    outer: dict[str, set[int]] = field(default_factory=lambda: {"a": set(), "y": set()})
    first: tuple[int, str] | None = None
    cells: int = 0
    times: int = 0

    def see(self, cells: Sequence[str], lines: Lines) -> np.ndarray:
        """Look at a part of the column.

        Parameters
        ----------
        cells : texts.
        lines : of the file, one for each.

        Returns
        -------
        Which cells have the shape of a time.
        """
        self.cells += len(cells)
        if self.first is None and cells:
            place = next((i for i, cell in enumerate(cells) if cell.strip()), 0)
            self.first = int(lines[place]), cells[place]
        is_time = np.zeros(len(cells), bool)
        days = np.zeros((len(cells), 3), np.int64)
        for shape, places in by_shape(cells):
            recipe = recipe_of(shape)
            if recipe is None or not recipe.dated:
                continue
            is_time[places] = True
            some = [cells[place] for place in places]
            self._note(recipe, some, int(lines[places[0]]))
            if recipe.swappable:
                days[places] = self._note_swaps(recipe, some, places, lines)
        if self.mark and not self.swaps:
            days = days[days[:, 2] > 0]
            new = np.ones(len(days), bool)
            new[1:] = (np.diff(days, axis=0) != 0).any(axis=1)
            self.days += [(a, b, year) for a, b, year in days[new].tolist()]
        self.times += int(is_time.sum())
        if len(self.stamps) < SAMPLE:
            self.stamps += [cells[place] for place in np.flatnonzero(is_time)[:SAMPLE]]
        return is_time

    def _note(self, recipe: Recipe, cells: list[str], line: int) -> None:
        example = (line, cells[0])
        self.families.setdefault(_family(recipe), example)
        if recipe.family == "epoch":
            return
        if recipe.zone_name:
            self.names.setdefault(recipe.zone_name, line)
        if recipe.zoned:
            self.zoned = self.zoned or example
            if "oh" in recipe.spans:
                self.families.setdefault("with its distance from UTC", example)
        else:
            self.unzoned = self.unzoned or example
        if not recipe.timed:
            self.midnight["none"] += len(cells)
        elif "H" in recipe.spans:
            number = read_numbers(cells, recipe)
            hours, minutes = number["H"], number.get("M", 0)
            self.midnight["24"] += int((hours == 24).sum())
            self.midnight["00"] += int(((hours == 0) & (minutes == 0)).sum())

    def _note_swaps(
        self,
        recipe: Recipe,
        cells: list[str],
        places: np.ndarray,
        lines: Lines,
    ) -> np.ndarray:
        number = read_numbers(cells, recipe)
        self.mark = recipe.mark
        self.year_digits = recipe.spans["y"][1] - recipe.spans["y"][0]
        if self.year_digits == 2:
            self.outer["a"].update(np.unique(number["a"]).tolist())
            self.outer["y"].update(np.unique(number["y"]).tolist())
        for name in "ab":
            above = np.flatnonzero(number[name] > 12)
            if len(above):
                place = places[above[0]]
                self.swaps.setdefault(name, (int(lines[place]), cells[above[0]]))
        return np.stack([number["a"], number["b"], np.maximum(number["y"], 1)], axis=1)

    def check(self) -> None:
        """Refuse a file without times, or with times that are written in two ways.

        Raises
        ------
        DataFileError : it has none, or two ways.
        """
        if not self.families:
            line, cell = self.first or (0, "")
            raise DataFileError(
                f"line {line}: {cell!r} is no time; expected one of: {FORMS}; or say the form with "
                "--time-format"
            )
        ways = [way for way in self.families if way != "with its distance from UTC"]
        both = self.zoned and self.unzoned and "with its distance from UTC" in self.families
        if len(ways) > 1 or both:
            pair = [self.families[way] for way in ways[:2]]
            if self.zoned and self.unzoned and len(ways) < 2:
                pair = [self.zoned, self.unzoned]
            (first, cell), (second, other) = sorted(pair)
            raise DataFileError(
                f"line {second}: {other!r} is written otherwise than {cell!r} in line {first}; "
                "expected one time format in the whole file"
            )

    def day_first(self, zone: str | None) -> tuple[bool, str]:
        """Decide whether the day comes before the month.

        Parameters
        ----------
        zone : of the clock, whose repeated hour may tell.

        Returns
        -------
        The answer, and how it was found, in words; no words where it does not matter.

        Raises
        ------
        DataFileError : both orders fit, or none.
        """
        if not self.mark:
            return True, ""
        self._check_year_last()
        if len(self.swaps) == 2:
            (line, cell), (other_line, other) = self.swaps["a"], self.swaps["b"]
            raise DataFileError(
                f"line {line}: {cell!r} has its day first and {other!r} in line {other_line} its "
                "month; expected one time format in the whole file"
            )
        if self.swaps:
            name, (line, cell) = next(iter(self.swaps.items()))
            return name == "a", f"{cell!r} in line {line} fits nothing else"
        jumps = {order: self._jumps(order) for order in (True, False)}
        if min(jumps.values()) == 0 < max(jumps.values()):
            return jumps[True] == 0, "so its days follow one another"
        if zone is not None:
            fits = [order for order in (True, False) if self._repeats_fit(order, zone)]
            if len(fits) == 1:
                return fits[0], f"so the hour that comes twice is that of {zone}"
        if self.mark == " ":
            return True, "usual with blanks between the numbers"
        year = "%Y" if self.year_digits == 4 else "%y"
        line, cell = next(iter(self.families.values()))
        raise DataFileError(
            f"line {line}: {cell!r} may have its day or its month first, and the whole file fits "
            f"both; say which with --time-format '{DAY_FIRST.format(self.mark, year)}' or "
            f"--time-format '{MONTH_FIRST.format(self.mark, year)}'"
        )

    def is_said(self, form: str) -> bool:
        """Tell whether `--time-format` says that the day comes before the month.

        Parameters
        ----------
        form : of which `says_order` holds.

        Raises
        ------
        DataFileError : the file has other dates.
        """
        said = _ORDER.fullmatch(form)
        name = "a" if said and said[1] == "m" else "b"  # the month's, which is at most 12
        wrong = self.swaps.get(name)
        if said is None or said[2] != self.mark or {"y": 2, "Y": 4}[said[3]] != self.year_digits:
            wrong = next(iter(self.families.values()), self.first or (0, ""))
        if wrong:
            raise DataFileError(f"line {wrong[0]}: {wrong[1]!r} is no time of the given form")
        return name == "b"

    def _check_year_last(self) -> None:
        """Refuse dates such as 25-01-07, whose year may stand first."""
        firsts, lasts = self.outer["a"], self.outer["y"]
        if self.year_digits == 4 or len(firsts) != 1 or max(lasts) > 31 or max(firsts) <= 12:
            return
        line, cell = next(iter(self.families.values()))
        forms = (f"%d{self.mark}%m{self.mark}%y %H:%M", f"%y{self.mark}%m{self.mark}%d %H:%M")
        raise DataFileError(
            f"line {line}: {cell!r} may have its year first or last; say which with --time-format "
            f"'{forms[0]}' or --time-format '{forms[1]}'"
        )

    def _dates(self, day_first: bool) -> np.ndarray:
        table = np.array(self.days, np.int64).reshape(-1, 3)
        first, second, years = table.T
        years = np.where(years < 70, years + 2000, years)
        months, days = (second, first) if day_first else (first, second)
        return days_of(years, months, days)

    def _jumps(self, day_first: bool) -> int:
        """How often a day is not followed by the next; or by the one before, if that is rarer."""
        dates = self._dates(day_first)
        distances = np.diff(dates[np.append(True, np.diff(dates) != 0)])
        return int(min((distances != 1).sum(), (distances != -1).sum()))

    def _repeats_fit(self, day_first: bool, zone: str) -> bool:
        """Whether stamps come twice, and only those of an hour that comes twice on the clock."""
        local, offsets, _ = read_cells(self.stamps, TimeStyle(day_first))
        local = local[(local != INVALID) & (offsets == NO_OFFSET)]
        values, counts = np.unique(local, return_counts=True)
        twice = pd.DatetimeIndex(values[counts > 1].astype("M8[s]"))
        if not len(twice):
            return False
        summer = np.ones(len(twice), bool)
        one = twice.tz_localize(zone, ambiguous=summer, nonexistent="NaT")
        other = twice.tz_localize(zone, ambiguous=~summer, nonexistent="NaT")
        return bool((one != other).all())


def _family(recipe: Recipe) -> str:
    return f"{recipe.family} {recipe.mark}" if recipe.mark else recipe.family


@dataclass(frozen=True)
class TimeStyle:
    """How the times of a file are read.

    Parameters
    ----------
    day_first : whether the day comes before the month.
    form : of strptime, where it was given.
    bare_midnight : whether a date alone is its midnight.
    """

    day_first: bool = True
    form: str | None = None
    bare_midnight: bool = False


def says_order(form: str | None) -> bool:
    """Tell whether a `--time-format` only says which of day and month comes first.

    Parameters
    ----------
    form : such as `%d/%m/%Y %H:%M`; the time of day may stand in another column or another form.
    """
    return form is not None and _ORDER.fullmatch(form) is not None


def by_shape(cells: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """Group cells by their shape.

    Parameters
    ----------
    cells : texts.

    Returns
    -------
    Each shape with the places of its cells.
    """
    if not len(cells):
        return []
    shapes = [cell.translate(TO_SHAPE) for cell in cells]
    numbers: dict[str, int] = {}
    codes = np.fromiter((numbers.setdefault(shape, len(numbers)) for shape in shapes), np.int64)
    if len(numbers) == 1:
        return [(shapes[0], np.arange(len(cells)))]
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(numbers)))
    return [
        (shape, places)
        for shape, places in zip(numbers, np.split(order, ends[:-1]), strict=True)
        if len(places)
    ]


def read_cells(cells: Sequence[str], style: TimeStyle) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read times as they are written.

    Parameters
    ----------
    cells : texts.
    style : of the whole file.

    Returns
    -------
    Local seconds since 1970 (`INVALID`: no time), the distance of each from UTC (`NO_OFFSET`: not
    said) [min], and which of an hour that comes twice it is (-1: not said).
    """
    count = len(cells)
    local = np.full(count, INVALID, np.int64)
    offsets, folds = np.full(count, NO_OFFSET, np.int16), np.full(count, -1, np.int8)
    if style.form is not None:
        return _read_form(cells, style.form, local, offsets, folds)
    for shape, places in by_shape(cells):
        recipe = recipe_of(shape)
        if recipe is None or not recipe.dated or not (recipe.timed or style.bare_midnight):
            continue
        read = read_shape([cells[place] for place in places], recipe, style.day_first)
        fits = (read.days != INVALID) & (read.seconds != INVALID)
        local[places] = np.where(fits, read.days * 86400 + read.seconds, INVALID)
        offsets[places] = read.offsets
        if recipe.fold is not None:
            folds[places] = recipe.fold
    return local, offsets, folds


def _read_form(
    cells: Sequence[str], form: str, local: np.ndarray, offsets: np.ndarray, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    for place, cell in enumerate(cells):
        try:
            found = datetime.strptime(cell, form)  # noqa: DTZ007  # a naive time is a local one
        except ValueError:
            continue
        distance = found.utcoffset()
        if distance is not None:
            offsets[place] = round(distance.total_seconds() / 60)
        local[place] = round(found.replace(tzinfo=UTC).timestamp())
    return local, offsets, folds
