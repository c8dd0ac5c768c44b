"""Which columns of an imported table say the time, and the slots of a day: hours, periods.

    python sources.py import nesodemand.csv --time-column SETTLEMENT_DATE --tz Europe/London \\
        --load ND:MW

A date may have its time of day in a column beside it: `00:15`, an hour 1 to 24, a settlement
period 1 to 48 (46 and 50 on the days on which the clock changes). Year, month, day and hour may
stand in four columns.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vpp.runtime.errors import one_of
from vpp.runtime.files import DataFileError
from vpp.site.time_shapes import INVALID, TO_SHAPE, recipe_of

END_WORDS = {
    "end", "ende", "ends", "ending", "bis", "to", "tot", "till", "until", "fin", "hasta", "slut",
    "til", "stop", "finish", "loppu", "koniec", "he", "he.",
}  # fmt: skip
_PARTS = {
    "month": ("month", "monat", "mes", "mois", "maand", "mo", "mm"),
    "day": ("day", "tag", "dia", "día", "jour", "dag", "dd", "dy"),
    "hour": ("hour", "stunde", "hora", "heure", "uur", "hh", "hr"),
    "minute": ("minute", "minuten", "minuto", "min"),
}
_YEARS = ("year", "jahr", "año", "ano", "annee", "année", "jaar", "yyyy", "yr")
_YEAR = re.compile(r"(19|20)\d\d")
_SLOT_NAME = re.compile(
    r"\b(hours?|stunden?|hora|heures?|uur|ora|time|zeit|periods?|periodo|période|interval|block|"
    r"slot|sp|he|hh|hr|quarter|viertelstunde|mtu|timme|time.?code|tijd|h)\b|時刻"
)
_TIME_NAME = re.compile(
    r"time|date|datum|zeit|unix|epoch|utc|stamp|hora|fecha|tijd|heure|tid|ts$|日時", re.IGNORECASE
)
_SLOT = re.compile(
    r"(?:[A-Za-z]{1,8}[ _.]?)?(\d{1,3})(?:[.,]0)?([AaBb])?(?: ?[-–] ?\d{1,2}[AaBb]?)?"
)
USUAL = {24: 60, 48: 30, 96: 15, 288: 5}  # slots of a day -> minutes of a slot
CHANGED = {23: 60, 25: 60, 46: 30, 50: 30, 92: 15, 100: 15, 276: 5, 300: 5}  # of one with a change
COUNTS = USUAL | CHANGED
SAMPLE = 400  # rows that tell what a column holds


@dataclass(frozen=True)
class TimeColumns:
    """The columns of a table that say the time.

    Parameters
    ----------
    names : those whose texts make the stamp, in their order.
    slot : the one whose number counts the slots of a day, else None.
    parts : whether `names` are year, month, day and perhaps hour and minute.
    """

    names: tuple[str, ...]
    slot: str | None = None
    parts: bool = False

    @property
    def shown(self) -> str:
        """Names as `--time-column` takes them."""
        return ",".join((*self.names, *([self.slot] if self.slot else [])))

    def texts(self, columns: Sequence[Sequence[str]]) -> list[str]:
        """Write the stamp of each row in one text.

        Parameters
        ----------
        columns : cells of `names`.
        """
        if len(columns) == 1:
            return list(columns[0])
        if not self.parts:
            return [" ".join(cells) if all(cells) else "" for cells in zip(*columns, strict=True)]
        date = [f"{y}-{m:0>2}-{d:0>2}" for y, m, d in zip(*columns[:3], strict=True)]
        if len(columns) == 3:
            return date
        hours = columns[3]
        minutes = columns[4] if len(columns) > 4 else ["0"] * len(hours)
        return [f"{d} {h:0>2}:{m:0>2}" for d, h, m in zip(date, hours, minutes, strict=True)]


def says_end(name: str) -> bool:
    """Tell whether the name of a column says that it holds the ends of intervals."""
    words = re.findall(r"[a-zäöüáéíóúñ]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    return any(word in END_WORDS for word in words)


def kind_of(cells: Sequence[str]) -> str:
    """Say what most cells of a column are: stamp, date, clock, slot, count, or nothing of it.

    A count may be one of seconds since 1970 or of days, or a value like any other.

    Parameters
    ----------
    cells : a sample.
    """
    there = [cell for cell in cells if cell]
    counts = dict.fromkeys(("stamp", "date", "clock", "slot", "count", ""), 0)
    for cell in there:
        recipe = recipe_of(cell.translate(TO_SHAPE))
        if recipe is None:
            counts["slot" if _SLOT.fullmatch(cell) else ""] += 1
        elif recipe.family in ("epoch", "serial"):
            counts["count"] += 1
        elif not recipe.dated:  # 21.14 is rather a number than a time of day
            counts["clock" if re.search(r"[:hHmM]", cell) else ""] += 1
        else:
            counts["stamp" if recipe.timed else "date"] += 1
    if counts["stamp"] and counts["stamp"] + counts["date"] > 0.5 * len(there):
        return "stamp"
    kind = max(counts, key=lambda name: counts[name])
    return kind if there and counts[kind] > 0.5 * len(there) else ""


def choose(
    names: Sequence[str], sample: Sequence[Sequence[str]], asked: Sequence[str], not_times: set[str]
) -> TimeColumns:
    """Find the columns that say the time.

    Parameters
    ----------
    names : of the table's columns.
    sample : its first rows.
    asked : what `--time-column` names; nothing where it is left out.
    not_times : columns that are read as values.

    Raises
    ------
    DataFileError : a column is missing, or several would do.
    """
    columns = {name: [row[place] for row in sample] for place, name in enumerate(names)}
    kinds = {name: kind_of(cells) for name, cells in columns.items() if name not in not_times}
    if len(asked) > 1:
        slot = [name for name in asked if kinds.get(name) == "slot"]
        # year, month and day apart are known by their names, or by what they hold
        years = asked[0].lower() in _YEARS or (
            len(asked) > 2 and _are_years(columns.get(asked[0], []))
        )
        if len(slot) == 1 and len(asked) == 2:
            return TimeColumns(tuple(name for name in asked if name not in slot), slot[0])
        return TimeColumns(tuple(asked), parts=years)
    if asked and asked[0].lower() in _YEARS:
        return TimeColumns((asked[0], *_parts(names)), parts=True)
    if not asked:
        asked = [_guess(kinds)]
    kind = kinds.get(asked[0], "")
    if kind == "date":
        return _with_clock(asked[0], kinds, columns)
    if kind in ("clock", "slot"):
        dates = [name for name, found in kinds.items() if found == "date" and not says_end(name)]
        if len(dates) == 1:
            slot_name = asked[0] if kind == "slot" else None
            clock = () if slot_name else (asked[0],)
            return TimeColumns((dates[0], *clock), slot_name)
        if kind == "clock":
            raise DataFileError(
                f"column {asked[0]} has times without a date; name both columns, such as "
                f"--time-column DATE,{asked[0]}; {one_of('date', dates or names)}"
            )
    return TimeColumns((asked[0],))


def _are_years(cells: Sequence[str]) -> bool:
    """Whether cells are years, but for a line or two that may stand below them."""
    return sum(bool(_YEAR.fullmatch(cell)) for cell in cells) > max(0, len(cells) - 3)


def _guess(kinds: dict[str, str]) -> str:
    """The one column that holds times, when none was named."""
    stamps = [name for name, kind in kinds.items() if kind == "stamp"]
    starts = [name for name in stamps if not says_end(name)]
    years = [name for name in kinds if name.lower() in _YEARS]
    counts = [name for name, kind in kinds.items() if kind == "count" and _TIME_NAME.search(name)]
    dates = [name for name, kind in kinds.items() if kind == "date" and not says_end(name)]
    for found in (starts, stamps, dates, years, counts):
        if len(found) == 1:
            return found[0]
        if found:
            raise DataFileError(
                f"columns {', '.join(found)} hold times; say which one with --time-column"
            )
    raise DataFileError(
        f"no column holds times; say one with --time-column; {one_of('time', kinds)}"
    )


def _parts(names: Sequence[str]) -> list[str]:
    found = []
    for part, words in _PARTS.items():
        name = next((name for name in names if name.lower() in words), None)
        if name is None:
            if part in ("month", "day"):
                raise DataFileError(f"no column {part} beside that of the year; name one")
            break
        found.append(name)
    return found


def _with_clock(date: str, kinds: dict[str, str], columns: dict[str, list[str]]) -> TimeColumns:
    """A date with the time of day that stands in another column."""
    after = list(kinds)[list(kinds).index(date) + 1 :] + list(kinds)
    clocks = [name for name in dict.fromkeys(after) if kinds[name] == "clock"]
    starts = [name for name in clocks if not says_end(name)] or clocks
    if len(starts) == 1:
        return TimeColumns((date, starts[0]))
    slots = [
        name
        for name in dict.fromkeys(after)
        if kinds[name] == "slot" and _SLOT_NAME.search(re.sub(r"[_\-.]", " ", name).lower())
    ]
    if not starts and len(slots) == 1:
        return TimeColumns((date,), slots[0])
    if starts or slots:
        raise DataFileError(
            f"column {date} has dates, and columns {', '.join(starts or slots)} times of day; say "
            f"which one with --time-column {date},COLUMN"
        )
    return TimeColumns((date,))


@dataclass
class Slots:
    """Numbers that count the slots of a day, and what they mean.

    Parameters
    ----------
    name : of the column.
    lowest, highest : number.
    counts : day -> how often each number comes.
    """

    name: str
    lowest: int = 10**6
    highest: int = 0
    counts: dict[int, Counter] = field(default_factory=dict)

    def read(self, cells: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Read numbers and letters of slots.

        Parameters
        ----------
        cells : such as 1, 2A, H24.

        Returns
        -------
        Number of each (`INVALID`: none), and which of an hour that comes twice it is (-1: unsaid).
        """
        known: dict[str, tuple[int, int]] = {}
        for cell in set(cells):
            match = _SLOT.fullmatch(cell)
            fold = -1 if match is None or not match[2] else "ab".index(match[2].lower())
            known[cell] = (INVALID, -1) if match is None else (int(match[1]), fold)
        pairs = np.array([known[cell] for cell in cells], np.int64).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1].astype(np.int8)

    def see(self, days: np.ndarray, cells: Sequence[str]) -> None:
        """Look at a part of the column.

        Parameters
        ----------
        days : since 1970 (`INVALID`: none).
        cells : of the column.
        """
        numbers, _ = self.read(cells)
        there = (days != INVALID) & (numbers != INVALID)
        if there.any():
            self.lowest = min(self.lowest, int(numbers[there].min()))
            self.highest = max(self.highest, int(numbers[there].max()))
            pairs = zip(days[there].tolist(), numbers[there].tolist(), strict=True)
            for (day, number), count in Counter(pairs).items():
                self.counts.setdefault(day, Counter())[number] += count

    def step_min(self) -> int:
        """Find how long a slot is [min].

        Raises
        ------
        DataFileError : the highest number is that of no known division of a day.
        """
        count = self.highest + (1 if self.lowest == 0 else 0)
        if count in COUNTS:
            return COUNTS[count]
        if count <= 25 and re.search(r"(?i)hour|stund|hora|heure|uur|\bhe\b|\bhr?\b", self.name):
            return 60
        raise DataFileError(
            f"column {self.name}: its highest number is {self.highest}; expected 24 hours, or 48, "
            "96 or 288 periods of a day"
        )

    def check_end(self, lengths: dict[int, int]) -> None:
        """Refuse numbers that end inside the file's last day, where they tell no division of it.

        Parameters
        ----------
        lengths : as of `counted`.

        Raises
        ------
        DataFileError : 92 may be the end of 23 hours, or of the morning in steps of 5 minutes.
        """
        count = self.highest + (1 if self.lowest == 0 else 0)
        days = [day for day, numbers in self.counts.items() if self.highest in numbers]
        is_named = count not in COUNTS  # hours by the column's name
        if is_named or count in USUAL or min(days) < max(self.counts):
            return
        if lengths.get(days[0]) != count:
            raise DataFileError(
                f"column {self.name}: its numbers end with {self.highest} inside the only day that "
                "has it, so that nothing tells how long a slot is; import the whole day, or more"
            )

    def counted(self, lengths: dict[int, int]) -> tuple[bool, set[int]]:
        """Tell whether slots are counted through from midnight, also when the clock changes.

        Else a slot is a time on the clock.

        Parameters
        ----------
        lengths : day -> how many slots long it is, of the days on which the clock changes.

        Returns
        -------
        The answer, and the days of which it cannot be told.

        Raises
        ------
        DataFileError : one day says so, another the opposite.
        """
        says: dict[bool, list[int]] = {True: [], False: []}
        unknown = set()
        for day, length in lengths.items():
            answer = self._counted_on(day, length)
            if answer is None:
                unknown.add(day)
            else:
                says[answer].append(day)
        if says[True] and says[False]:
            raise DataFileError(
                f"column {self.name}: on {np.datetime64(says[True][0], 'D')} its numbers count on "
                f"when the clock changes, on {np.datetime64(says[False][0], 'D')} they do not"
            )
        return bool(says[True]), set() if any(says.values()) else unknown

    def _counted_on(self, day: int, length: int) -> bool | None:
        there = self.counts.get(day, Counter())
        usual, base = 24 * 60 // self.step_min(), 0 if self.lowest == 0 else 1
        numbers = {number - base + 1 for number in there}
        if length > usual:
            if max(numbers, default=0) > usual:
                return True
            both = max(there.values(), default=0) > 1
            is_whole = len(numbers) == usual and day < max(self.counts)  # the file goes on after it
            return False if both or is_whole else None
        if max(numbers, default=0) > length:
            return False
        return True if len(numbers) == length else None
