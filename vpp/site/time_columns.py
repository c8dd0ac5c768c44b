"""Which columns of an imported table say the time, and the slots of a day: hours, periods.

    python sources.py import nesodemand.csv --time-column SETTLEMENT_DATE --tz Europe/London \\
        --load ND:MW

A date may have its time of day in a column beside it: `00:15`, an hour 1 to 24, a settlement
period 1 to 48 (46 and 50 on the days on which the clock changes). Year, month, day and hour may
stand in four columns.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vpp.runtime.errors import one_of
from vpp.runtime.files import DataFileError
from vpp.site.day_slots import SLOT
from vpp.site.time_shapes import TO_SHAPE, recipe_of

END_WORDS = {
    "end", "ende", "ends", "ending", "bis", "to", "tot", "until", "fin", "hasta", "slut",
    "til", "till", "stop", "finish", "loppu", "koniec", "konec", "fim", "he", "he.",
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
    r"slot|sp|he|hh|hr|quarter|viertelstunde|mtu|timme|time.?code|tijd|h|min|minutes?|hhmm|clock|"
    r"uhrzeit|tid|godz(?:ina)?)\b|時刻"
)
_HOUR_NAME = re.compile(r"\b(hours?|stunden?|hora|heures?|uur|ora|hh|hr|he|timme|h)\b")
_TIME_NAME = re.compile(
    r"time|date|datum|zeit|unix|epoch|utc|stamp|hora|fecha|tijd|heure|tid|ts$|日時", re.IGNORECASE
)
SAMPLE = 400  # rows that tell what a column holds


@dataclass(frozen=True)
class TimeColumns:
    """The columns of a table that say the time.

    Parameters
    ----------
    names : those whose texts make the stamp, in their order.
    slot : the one whose number counts the slots of a day, else None.
    parts : whether `names` are year, month, day and perhaps hour and minute.
    within : the column that counts from 1 the parts of the hour that `slot` counts, else None.
    per_hour : how many of these an hour has.
    first_hour : number of the hour after midnight.
    clock : how the time of day stands in the columns after the date: `hhmm` for 0, 15 and 2345,
        `hour,minute` for two columns; empty for one of a usual form.
    """

    names: tuple[str, ...]
    slot: str | None = None
    parts: bool = False
    within: str | None = None
    per_hour: int = 1
    first_hour: int = 1
    clock: str = ""

    @property
    def all_names(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (*self.names, *filter(None, (self.slot, self.within)))

    @property
    def shown(self) -> str:
        """Names as `--time-column` takes them."""
        return ",".join(self.all_names)

    def slots(self, columns: Mapping[str, list[str]]) -> list[str]:
        """Give the slot of each row.

        Parameters
        ----------
        columns : cells by name.
        """
        hours = columns[self.slot or ""]
        if self.within is None:
            return hours
        return [
            self._slot_of(hour, part)
            for hour, part in zip(hours, columns[self.within], strict=True)
        ]

    def _slot_of(self, hour: str, part: str) -> str:
        """The slot of the day of a part of an hour; nothing where one of both is none."""
        found, place = SLOT.fullmatch(hour), SLOT.fullmatch(part)
        before = int(found[1]) - self.first_hour if found else -1
        if found is None or place is None or before < 0:
            return ""
        return f"{before * self.per_hour + int(place[1])}{found[2] or ''}"

    def texts(self, columns: Sequence[Sequence[str]]) -> list[str]:
        """Write the stamp of each row in one text.

        Parameters
        ----------
        columns : cells of `names`.
        """
        if len(columns) == 1:
            return list(columns[0])
        if self.clock == "hhmm":
            *dates, clocks = columns
            columns = [*dates, [cell and cell.zfill(4) for cell in clocks]]
        elif self.clock:
            *dates, hours, minutes = columns
            both = zip(hours, minutes, strict=True)
            columns = [*dates, [f"{h:0>2}:{m:0>2}" if h and m else "" for h, m in both]]
        if not self.parts:
            return [" ".join(cells) if all(cells) else "" for cells in zip(*columns, strict=True)]
        date = [f"{y}-{m:0>2}-{d:0>2}" for y, m, d in zip(*columns[:3], strict=True)]
        if len(columns) == 3:
            return date
        hours = columns[3]
        minutes = columns[4] if len(columns) > 4 else ["0"] * len(hours)
        return [f"{d} {h:0>2}:{m:0>2}" for d, h, m in zip(date, hours, minutes, strict=True)]


def _words(name: str) -> str:
    """The words of a name such as TradingPeriod, TRADING_PERIOD or trading.period."""
    return re.sub(r"[_\-.]", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", name)).lower()


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
            counts["slot" if SLOT.fullmatch(cell) else ""] += 1
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
        if years:
            return _of_parts(asked, columns)
        if len(asked) == 2 and _is_hhmm(columns.get(asked[1], [])):
            return TimeColumns(tuple(asked), clock="hhmm")
        if len(slot) == 1 and len(asked) == 2:
            return TimeColumns(tuple(name for name in asked if name not in slot), slot[0])
        if len(slot) == 2 and len(asked) == 3:
            return _hour_and_part(asked, columns)
        return TimeColumns(tuple(asked))
    if asked and asked[0].lower() in _YEARS:
        return _of_parts((asked[0], *_parts(names)), columns)
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


def _numbers(cells: Sequence[str]) -> set[int]:
    return {int(cell) for cell in cells if cell.isdecimal()}


def _is_hhmm(cells: Sequence[str]) -> bool:
    """Whether cells are times of day such as 0, 15, 130 and 2345."""
    there = [cell for cell in cells if cell]
    numbers = _numbers([cell for cell in there if len(cell) <= 4])
    few = sum(cell.isdecimal() for cell in there) < 0.9 * len(there)
    if not numbers or few or max(map(len, filter(str.isdecimal, there))) > 4:
        return False
    # of several hours: periods 205 to 230 are of one, but for numbers in lines of totals below them
    hours = Counter(number // 100 for number in numbers)
    are_several = len(numbers) - max(hours.values()) > max(1.0, 0.1 * len(numbers))
    return are_several and max(numbers) <= 2400 and all(number % 100 < 60 for number in numbers)


def _of_parts(names: Sequence[str], columns: Mapping[str, list[str]]) -> TimeColumns:
    """Year, month and day, and perhaps an hour, a minute, or a period that is counted from 1."""
    counted = _numbers(columns.get(names[3], [])) if len(names) == 4 else set()
    if counted and min(counted) == 1 and max(counted) >= 23:
        return TimeColumns(tuple(names[:3]), names[3], parts=True)
    return TimeColumns(tuple(names), parts=True)


def _hour_and_part(names: Sequence[str], columns: Mapping[str, list[str]]) -> TimeColumns:
    """A date, an hour, and its minute or the number of a part of it."""
    date, hour, part = names
    numbers = _numbers(columns[part])
    if not numbers or 0 in numbers or max(numbers) > 12:
        return TimeColumns((date, hour, part), clock="hour,minute")
    first = 0 if 0 in _numbers(columns[hour]) else 1
    return TimeColumns((date,), hour, within=part, per_hour=max(numbers), first_hour=first)


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
    named = [name for name in dict.fromkeys(after) if _SLOT_NAME.search(_words(name))]
    slots = [name for name in named if kinds[name] == "slot"]
    compact = [name for name in named if kinds[name] in ("slot", "") and _is_hhmm(columns[name])]
    if not starts and compact:
        starts = [name for name in compact if not says_end(name)] or compact
        if len(starts) == 1:
            return TimeColumns((date, starts[0]), clock="hhmm")
    if not starts and len(slots) == 1:
        return TimeColumns((date,), slots[0])
    hours = [name for name in slots if _HOUR_NAME.search(_words(name))]
    if not starts and len(slots) == 2 and len(hours) == 1:
        part = next(name for name in slots if name not in hours)
        return _hour_and_part((date, *hours, part), columns)
    if starts or slots:
        raise DataFileError(
            f"column {date} has dates, and columns {', '.join(starts or slots)} times of day; say "
            f"which one with --time-column {date},COLUMN"
        )
    return TimeColumns((date,))
