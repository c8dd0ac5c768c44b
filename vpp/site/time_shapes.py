"""The shape of a written time, and the numbers at its places: `07.01.25 2:15 PM`, `20160101:0010`.

A shape is a text whose digits are all written as 0. A file has few of them, so that each is
understood once (`recipe_of`) and all cells of it are read at once (`read_shape`).

    python -c "from vpp.site.time_shapes import recipe_of; print(recipe_of('00.00.0000 00:00'))"
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

TO_SHAPE = str.maketrans("123456789", "000000000")
INVALID = np.iinfo(np.int64).min  # no time
NO_OFFSET = 32_767  # of a stamp without a zone

MONTHS = {
    word: number
    for number, words in enumerate(
        (
            "jan january januar janvier enero januari ene janv gennaio gen januar. jänner",
            "feb february februar février fevrier febrero februari febr fév febbraio",
            "mar march märz maerz mrz mär mars marzo maart mrt",
            "apr april avril abril avr abr aprile",
            "may mai mayo mei maj maggio mag",
            "jun june juni juin junio giugno giu",
            "jul july juli juillet julio juil luglio lug",
            "aug august août aout agosto augustus ago",
            "sep sept september septembre septiembre settembre set",
            "oct october oktober octobre octubre okt ottobre ott",
            "nov november novembre noviembre",
            "dec december dezember dez décembre diciembre dic déc dicembre",
        ),
        start=1,
    )
    for word in words.split()
}
# minutes ahead of UTC of names that mean one clock; IST, CST and BST mean several, so those in it
# are read only where --tz names a zone that has them
ZONE_NAMES = {
    "utc": 0, "gmt": 0, "z": 0, "wet": 0, "west": 60, "cet": 60, "mez": 60, "cest": 120,
    "mesz": 120, "eet": 120, "eest": 180, "aest": 600, "aedt": 660, "acst": 570, "acdt": 630,
    "awst": 480, "nzst": 720, "nzdt": 780, "jst": 540, "est": -300, "edt": -240, "cdt": -300,
    "mst": -420, "mdt": -360, "pst": -480, "pdt": -420,
}  # fmt: skip
AMBIGUOUS_NAMES = {"ist", "cst", "bst", "sast", "hst", "akst", "akdt"}

_MONTH = "|".join(sorted(map(re.escape, MONTHS), key=len, reverse=True))
_WEEKDAY = r"(?:[a-zäöüß]{2,10}[.,]?,? +)?"
_DATES = (  # family, pattern; a and b are day and month in an order that is to be found
    ("year-month-day", r"(?P<y>0000)(?P<s>[-/. ])(?P<m>00?)(?P=s)(?P<d>00?)\.?"),
    ("day-month", r"(?P<a>00?)(?P<s>[-/. ])(?P<b>00?)(?P=s)(?P<y>0000|00)\.?"),
    ("yearmonthday", r"(?P<y>0000)(?P<m>00)(?P<d>00)"),
    (
        "month name",
        rf"(?P<d>00?)(?:\.|st|nd|rd|th)?[-/ ]*(?P<mon>{_MONTH})\.?,?[-/ ]*(?P<y>0000|00)",
    ),
    ("month name", rf"(?P<mon>{_MONTH})\.?[-/ ](?P<d>00?)(?:st|nd|rd|th)?,?[-/ ](?P<y>0000)"),
    ("month name", rf"(?P<y>0000)[-/ ](?P<mon>{_MONTH})\.?[-/ ](?P<d>00?)"),
)
_CLOCKS = (
    r"(?P<H>00?)(?P<fold>[ab])?[:.h](?P<M>00)(?:[:.](?P<S>00)(?:[.,]0{1,9})?)?"
    r"(?P<fold2>[abx*])?(?:\s?(?P<ap>[ap])\.?\s?m\.?)?(?:\s?(?:uhr|h|dst))?",
    r"(?P<H>00?)\s?(?P<ap>[ap])\.?m\.?",
    r"(?P<H>00?)(?P<fold>[abx*])",
)
# the first or the second of an hour that comes twice: 2A and 2B, or 2 and 2*, or 2 and 2X
FOLDS = {"a": 0, "b": 1, "x": 1, "*": 1}
_COMPACT = r"(?P<H>00)(?P<M>00)(?P<S>00)?"
_ZONE = (
    r"(?:\s?(?P<z>z)|\s?\(?(?P<zn>[a-z]{2,5})\)?|\s?(?:utc|gmt)?(?P<sg>[+\-−])(?P<oh>00?)"
    r"(?::?(?P<om>00))?(?:\s?[(\[]?[a-z]+(?:/[a-z_]+)?[)\]]?)?)?(?:\[[a-z]+/[a-z_]+\])?"
)
_BLANKS = str.maketrans("\xa0\u2009\u202f", "   ")
_RANGES = (" - ", " – ", " — ", " -- ", " bis ", " to ", " until ", "/", "-", "–")


@dataclass(frozen=True)
class Recipe:
    """Where the numbers of a shape stand, and what its words say.

    Parameters
    ----------
    family : of the date, such as `year-month-day`; `clock` for a time without a date, `epoch`,
        `serial`.
    spans : first and last place of each number.
    dated, timed : whether it has a date, and a time of day.
    month : that its words name, else None.
    half : `a` or `p` of AM and PM, else None.
    fold : 0 for the first, 1 for the second of an hour that comes twice; None where unsaid.
    offset_min : ahead of UTC by the zone's name; None where unsaid [min].
    zone_name : as it was written, where it has several meanings.
    mark : between the numbers of its date.
    """

    family: str
    spans: dict[str, tuple[int, int]]
    dated: bool = True
    timed: bool = True
    month: int | None = None
    half: str | None = None
    fold: int | None = None
    offset_min: int | None = None
    zone_name: str | None = None
    mark: str = ""

    @property
    def zoned(self) -> bool:
        """Whether it states its distance from UTC by number or by a name of one meaning."""
        return self.offset_min is not None or "oh" in self.spans

    @property
    def swappable(self) -> bool:
        """Whether day and month stand in an order that only the whole file tells."""
        return "a" in self.spans and self.mark != "."


@lru_cache(maxsize=4096)
def recipe_of(shape: str) -> Recipe | None:
    """Understand a shape; None where it is no time.

    Parameters
    ----------
    shape : the text with all digits as 0, without blanks around it.
    """
    text = shape.lower().translate(_BLANKS)
    if len(text) > 80 or "0" not in text:
        return None
    if text.startswith("'"):  # Excel, keep this as text
        found = recipe_of(text[1:])
        if found is None or found.family in ("epoch", "serial"):
            return None
        return replace(found, spans={key: (a + 1, b + 1) for key, (a, b) in found.spans.items()})
    if re.fullmatch(r"0{10}(?:[.,]0+)?|0{13}(?:[.,]0+)?|0{16}|0{19}", text):
        return Recipe("epoch", {"n": (0, len(text))})
    if re.fullmatch(r"0{5}(?:[.,]0+)?", text):
        return Recipe("serial", {"n": (0, len(text))})
    found = _stamp(text)
    if found is None:
        for left, right in _halves(text):
            start, end = _stamp(left), _stamp(right)
            hours = re.fullmatch("00?", right) and start is not None and "M" not in start.spans
            if start is not None and start.timed and (hours or (end is not None and end.timed)):
                return start
    return found


def _halves(text: str) -> Iterator[tuple[str, str]]:
    """The two sides of each mark that may stand between start and end of an interval."""
    for mark in _RANGES:
        place = text.find(mark)
        while place > 0:
            yield text[:place].rstrip(), text[place + len(mark) :].lstrip()
            place = text.find(mark, place + 1)


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[str, bool, bool, re.Pattern]]:
    """Family, dated, timed and pattern of each way to write a time."""
    found = []
    for family, date in _DATES:
        found.append((family, True, False, re.compile(_WEEKDAY + date)))
        for clock in _CLOCKS:
            separator = r"(?:[t_:]| *[t,|] *| +(?:-|um|at|@)? *)"
            found.append(
                (family, True, True, re.compile(_WEEKDAY + date + separator + clock + _ZONE))
            )
        # no bare minus: 00-01 is the first hour of a day
        hour_only = r"[t ](?P<H>00)(?:(?P<z>z)|(?P<sg>[+\-−])(?P<oh>00):(?P<om>00))?"
        found.append((family, True, True, re.compile(date + hour_only)))
        separator = r"[t:_ -]?" if family == "yearmonthday" else r"[t:_ ]"
        found.append((family, True, True, re.compile(date + separator + _COMPACT + _ZONE)))
    found += [("clock", False, True, re.compile(clock + _ZONE)) for clock in _CLOCKS[:2]]
    return found


def _stamp(text: str) -> Recipe | None:
    for family, dated, timed, pattern in _patterns():
        match = pattern.fullmatch(text)
        if match is None:
            continue
        groups = match.groupdict()
        numbers = ("y", "m", "d", "a", "b", "H", "M", "S", "oh", "om")
        spans = {name: match.span(name) for name in numbers if groups.get(name)}
        offset = zone_name = None
        name = groups.get("z") or groups.get("zn")
        if name in ("am", "pm"):
            continue
        if name in ZONE_NAMES:
            offset = ZONE_NAMES[name]
        elif name in AMBIGUOUS_NAMES:
            zone_name = name.upper()
        elif name:
            continue
        fold = groups.get("fold") or groups.get("fold2")
        sign = groups.get("sg")
        if sign:
            spans["sg"] = match.span("sg")
        return Recipe(
            family,
            spans,
            dated,
            timed,
            month=MONTHS[groups["mon"]] if groups.get("mon") else None,
            half=groups.get("ap"),
            fold=FOLDS.get(fold or ""),
            offset_min=offset,
            zone_name=zone_name,
            mark=groups.get("s") or "",
        )
    return None


@dataclass
class Read:
    """Cells of one shape as numbers.

    Parameters
    ----------
    days : since 1970; `INVALID` where the date does not exist.
    seconds : of the day, 86,400 for 24:00; `INVALID` where the time does not exist [s].
    offsets : ahead of UTC; `NO_OFFSET` without a zone [min].
    """

    days: np.ndarray
    seconds: np.ndarray
    offsets: np.ndarray


def read_numbers(cells: list[str], recipe: Recipe) -> dict[str, np.ndarray]:
    """Read the numbers at the places of a recipe.

    Parameters
    ----------
    cells : texts of one shape.
    recipe : of this shape.

    Returns
    -------
    Name of each place -> its numbers.
    """
    width = len(cells[0])
    letters = np.array(cells, dtype=f"<U{width}").view("<u4").reshape(len(cells), width)
    found = {}
    for name, (start, end) in recipe.spans.items():
        if name == "sg":
            found[name] = np.where(letters[:, start] == ord("+"), 1, -1)
            continue
        number = np.zeros(len(cells), np.int64)
        for place in range(start, end):
            number = number * 10 + (letters[:, place].astype(np.int64) - 48)
        found[name] = number
    return found


def read_shape(cells: list[str], recipe: Recipe, day_first: bool) -> Read:
    """Read all cells of one shape.

    Parameters
    ----------
    cells : texts of one shape.
    recipe : of this shape.
    day_first : whether a day stands before its month, where both orders are in use.
    """
    count = len(cells)
    if recipe.family in ("epoch", "serial"):
        return _read_count(cells, recipe.family)
    number = read_numbers(cells, recipe)
    days = np.zeros(count, np.int64)
    if recipe.dated:
        if "a" in number:
            order = ("a", "b") if day_first or recipe.mark == "." else ("b", "a")
            number["d"], number["m"] = number[order[0]], number[order[1]]
        if recipe.month is not None:
            number["m"] = np.full(count, recipe.month)
        years = number["y"]
        if recipe.spans["y"][1] - recipe.spans["y"][0] == 2:
            years = years + np.where(years < 70, 2000, 1900)
        days = days_of(years, number["m"], number["d"])
    return Read(days, _seconds(number, recipe, count), _offsets(number, recipe, count))


def _seconds(number: dict[str, np.ndarray], recipe: Recipe, count: int) -> np.ndarray:
    nothing = np.zeros(count, np.int64)
    hours = number.get("H", nothing)
    minutes, seconds = number.get("M", nothing), number.get("S", nothing)
    wrong = (minutes > 59) | (seconds > 59)
    if recipe.half is None:
        wrong |= (hours > 24) | ((hours == 24) & ((minutes > 0) | (seconds > 0)))
    else:
        wrong |= (hours < 1) | (hours > 12)
        hours = hours % 12 + (12 if recipe.half == "p" else 0)
    return np.where(wrong, INVALID, hours * 3600 + minutes * 60 + seconds)


def _offsets(number: dict[str, np.ndarray], recipe: Recipe, count: int) -> np.ndarray:
    if "oh" in number:
        minutes = number["oh"] * 60 + number.get("om", 0)
        minutes = np.where(minutes <= 15 * 60, minutes, 0)
        return (number["sg"] * minutes).astype(np.int16)
    offset = NO_OFFSET if recipe.offset_min is None else recipe.offset_min
    return np.full(count, offset, np.int16)


def days_of(years: np.ndarray, months: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Count the days of dates since 1970; `INVALID` for those that do not exist.

    Parameters
    ----------
    years, months, days : of the dates.
    """
    fits = (months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)
    fits &= (years >= 1900) & (years <= 2100)
    month = (np.where(fits, (years - 1970) * 12 + months - 1, 0)).astype("M8[M]")
    date = month.astype("M8[D]") + (np.where(fits, days, 1) - 1)
    fits &= date.astype("M8[M]") == month
    return np.where(fits, date.astype(np.int64), INVALID)


def _read_count(cells: list[str], family: str) -> Read:
    """Seconds since 1970, also in ms, µs and ns, or Excel's days since the end of 1899."""
    count = len(cells)
    numbers = np.array([cell.replace(",", ".") for cell in cells], dtype=float)
    if family == "epoch":
        whole = len(cells[0].replace(",", ".").partition(".")[0])
        seconds = np.floor(numbers / 10.0 ** (whole - 10)).astype(np.int64)
        offset = 0
    else:
        seconds = np.round((numbers - 25569) * 86400).astype(np.int64)
        offset = NO_OFFSET
    in_range = (seconds > -(10**9)) & (seconds < 4_102_444_800)
    days = np.where(in_range, seconds // 86400, INVALID)
    return Read(days, seconds % 86400, np.full(count, offset, np.int16))
