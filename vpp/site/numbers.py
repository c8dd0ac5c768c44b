"""Numbers as files write them: 1.234,5 or 1,234.5 or 4'123.5, -€12, (5), 12.5 kW, n/e.

A mark between groups stands before exactly three digits, in India before two and at last three
(1,23,456.5), and a number has one decimal mark. Which
mark is which is decided over all cells of the file; where both readings fit, nothing is guessed.

    python sources.py import year.csv --time-column time --tz UTC --load load:MW --decimal ,
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vpp.runtime.files import DataFileError
from vpp.site.time_shapes import TO_SHAPE

# of SMARD, ENTSO-E, pandas, Excel in several languages, databases, SCADA and Home Assistant
MISSING_WORDS = (
    "- – — -- --- na n/a n/e n.a. n.v. k.a. nan null none nil ? ?? #n/a #nv #n/v #value! #wert! "
    "#div/0! #ref! #bezug! bad error unavailable unknown missing invalid offline void nodata . "
    "<null> (null) \\n n/d s/d nd n.d. no-data"
)
MISSING = {"", "no data", "not available", "no value", "bad input", *MISSING_WORDS.split(" ")}

_GROUPS = "[ '’\u2009\u202f\xa0]"
_SIGN = "[-+−–]"
_MONEY = r"(?:€|\$|£|¥|₹|zł|kč|kr\.?|chf|eur|usd|gbp|aud|inr|sek|nok|dkk|pln|fr\.|r\$|us\$|a\$)"
_UNIT = (
    r"(?:[kmg]?wh?|[kmg]va?|%|(?:€|\$|£|eur|ct|cent|p|c|chf|usd|aud|gbp|sek|nok|dkk)"
    r"(?:/[km]wh)?)"
)
_NUMBER = re.compile(
    rf"(?P<open>\()?(?P<s1>{_SIGN})? ?(?P<money>{_MONEY})? ?(?P<s2>{_SIGN})? ?"
    r"(?P<core>[0.,'’\u2009\u202f\xa0 ]*0[.,]?)(?P<exp>e[-+]?0{1,3})? ?"
    rf"(?P<s3>{_SIGN})?\s*(?P<unit>{_UNIT})?(?P<close>\))?",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"0+")
_ONE_MARK = re.compile(r"0*([.,])0*")
_AMBIGUOUS = re.compile(r"0{1,3}([.,])000")
_GROUPED = re.compile(r"0{1,3}([.,])000(?:(?:\1)000)+")
_SPACED = re.compile(rf"0{{1,3}}({_GROUPS})000(?:(?:\1)000)*(?:([.,])0*)?")
_BOTH = re.compile(r"0{1,3}([.,])000(?:(?:\1)000)*(?!\1)([.,])0*")
_INDIAN = re.compile(r"0{1,2},(?:00,)+000(\.0*)?")  # nothing else is written so
_BELOW_ONE = re.compile(r"^[^\d\n]*0([.,])\d{3}[^\d\n]*$", re.MULTILINE)
_SAFE = set("0123456789+-")


@dataclass(frozen=True)
class Form:
    """How the cells of one shape can be read.

    Parameters
    ----------
    decimals : decimal marks with which the shape is a number; empty where it is none.
    marked : whether a point or a comma stands in it.
    sure : the decimal mark that the shape proves, else None.
    groups : the grouping mark that the shape proves, else None.
    unit : written beside the number, in small letters.
    """

    decimals: str
    marked: bool = False
    sure: str | None = None
    groups: str | None = None
    unit: str = ""


def form_of(shape: str) -> Form:
    """Find the readings of a number's shape.

    Parameters
    ----------
    shape : the text with all digits as 0.
    """
    match = _NUMBER.fullmatch(shape)
    if match is None or bool(match["open"]) != bool(match["close"]):
        return Form("")
    if sum(bool(match[name]) for name in ("s1", "s2", "s3")) > 1:
        return Form("")
    core = match["core"].strip()
    unit = ((match["money"] or "") + (match["unit"] or "")).lower()
    if _PLAIN.fullmatch(core):
        return Form(".,", unit=unit)
    other = {".": ",", ",": "."}
    if found := _AMBIGUOUS.fullmatch(core):
        return Form(".," if not match["exp"] else found[1], True, unit=unit)
    if found := _GROUPED.fullmatch(core):
        return Form(other[found[1]], True, groups=found[1], unit=unit)
    if found := _BOTH.fullmatch(core):
        return Form(found[2], True, sure=found[2], groups=found[1], unit=unit)
    if found := _INDIAN.fullmatch(core):
        return Form(".", True, sure="." if found[1] else None, groups=",", unit=unit)
    if found := _SPACED.fullmatch(core):
        return Form(found[2] or ".,", bool(found[2]), sure=found[2], unit=unit)
    if (found := _ONE_MARK.fullmatch(core)) and core != found[1]:
        return Form(found[1], True, sure=found[1], unit=unit)
    return Form("")


@dataclass
class Survey:
    """All shapes of a column's cells, for one decision over the whole file.

    Parameters
    ----------
    name : of the column.
    shapes : how often each comes.
    examples : line and cell of the first of each.
    forms : how each can be read.
    below_one : marks that stand behind a leading zero, as in 0.125.
    sizes : unit beside the numbers -> factor, where there are several.
    """

    name: str
    shapes: Counter = field(default_factory=Counter)
    examples: dict[str, tuple[int, str]] = field(default_factory=dict)
    forms: dict[str, Form] = field(default_factory=dict)
    below_one: set[str] = field(default_factory=set)
    sizes: dict[str, float] = field(default_factory=dict)

    def see(self, cells: Sequence[str], lines: Sequence[int] | np.ndarray) -> None:
        """Look at a part of the column.

        Parameters
        ----------
        cells : texts.
        lines : of the file, one for each.
        """
        shapes = [cell.translate(TO_SHAPE) for cell in cells]
        found = Counter(shapes)
        for shape in found.keys() - self.shapes.keys():
            if len(self.shapes) > 5000:
                raise DataFileError(
                    f"column {self.name}: its cells, such as {cells[0]!r}, are no numbers; name "
                    "another column"
                )
            place = shapes.index(shape)
            self.examples[shape] = (int(lines[place]), cells[place])
            self.forms[shape] = form_of(shape)
        self.shapes.update(found)
        if any(self.forms[shape].marked for shape in found) and len(self.below_one) < 2:
            self.below_one.update(_BELOW_ONE.findall("\n".join(cells)))

    def marks(self) -> dict[str, set[str]]:
        """Say which decimal and grouping marks are proven, and which marks are open."""
        forms = [self.forms[shape] for shape in self.shapes]
        return {
            "sure": {form.sure for form in forms if form.sure} | self.below_one,
            "groups": {form.groups for form in forms if form.groups},
            "open": {
                found[1]
                for shape, form in self.forms.items()
                if len(form.decimals) == 2
                and form.marked
                and (found := re.search(r"([.,])000(?!.*[.,])", shape))
            },
        }

    def plain(self) -> int:
        """Count the cells that are whole numbers without a mark, other than one zero."""
        return sum(
            count
            for shape, count in self.shapes.items()
            if self.forms[shape].decimals and not self.forms[shape].marked and shape != "0"
        )

    def example(self, mark: str) -> tuple[int, str]:
        """Give line and cell of one that may be read in both ways."""
        for shape, form in self.forms.items():
            if len(form.decimals) == 2 and form.marked and mark in shape:
                return self.examples[shape]
        return next(iter(self.examples.values()))


def decimal_mark(survey: Survey, others: Iterable[Survey], delimiter: str) -> tuple[str, str]:
    """Decide on a column's decimal mark: `.`, `,` or, where each cell proves its own, `.,`.

    Parameters
    ----------
    survey : of the column.
    others : of the file's other columns of numbers.
    delimiter : between the file's cells; empty where numbers came as numbers.

    Returns
    -------
    The mark, and how it was found, in words.

    Raises
    ------
    DataFileError : both readings fit, or both marks are proven to group.
    """
    marks = survey.marks()
    sure, groups, undecided = marks["sure"], marks["groups"], marks["open"]
    if not delimiter and "," not in sure | groups | undecided:
        return ".", "numbers"
    decimals = sure | {{".": ",", ",": "."}[mark] for mark in groups}
    if len(decimals) == 1:
        return decimals.pop(), "found"
    if len(decimals) == 2:
        return ".,", "both marks come, each cell proves its own"
    if not undecided:
        return ".", "no number has a mark"
    elsewhere: set[str] = set()
    for other in others:
        found = other.marks()
        elsewhere |= found["sure"] | {{".": ",", ",": "."}[mark] for mark in found["groups"]}
    if len(elsewhere) == 1:
        return elsewhere.pop(), "found in another column"
    if delimiter == "," and undecided == {"."} and not survey.plain():
        return ".", "commas stand between the cells"
    mark = "." if "." in undecided else ","
    line, cell = survey.example(mark)
    raise DataFileError(
        f"line {line}, column {survey.name}: {cell!r} may have three decimals or thousands, and no "
        "cell of the file tells; say which mark stands before decimals, with --decimal . or "
        "--decimal ,"
    )


def unit_in_cells(survey: Survey, sizes: Mapping[str, float]) -> tuple[str, int]:
    """Find the unit or currency that stands beside the numbers of a column.

    Parameters
    ----------
    survey : of the column; where cells have units of several sizes, as `850 W` and `1.2 kW`, it
        takes over what each is to be multiplied by.
    sizes : unit in small letters -> its factor to the unit that was said.

    Returns
    -------
    The unit in small letters, empty without one, and the line of the first.

    Raises
    ------
    DataFileError : there are two of which one is no other's multiple.
    """
    units: dict[str, int] = {}
    for shape, form in survey.forms.items():
        if form.unit:
            line = survey.examples[shape][0]
            units[form.unit] = min(units.get(form.unit, line), line)
    bare = any(form.decimals and not form.unit for form in survey.forms.values())
    if len(units) > 1 and set(units) <= set(sizes) and not bare:
        survey.sizes = {unit: sizes[unit] for unit in units}
        return "", 0
    if len(units) > 1:
        (one, first), (two, second) = list(units.items())[:2]
        raise DataFileError(
            f"column {survey.name}: cells have the units {one} (line {first}) and {two} (line "
            f"{second}); expected one unit in a column"
        )
    return next(iter(units.items()), ("", 0))


def parse(cells: Sequence[str], survey: Survey, decimal: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a part of a column that was surveyed.

    Parameters
    ----------
    cells : texts.
    survey : of the whole column.
    decimal : its mark, of `decimal_mark`.

    Returns
    -------
    Numbers, NaN where one is missing or wrong, and which cells hold something that is no number.
    """
    alphabet = set("".join(cells))
    if len(decimal) == 1 and alphabet <= _SAFE | {decimal}:
        plain = cells if decimal == "." else [cell.replace(",", ".") for cell in cells]
        numbers = pd.to_numeric(np.array(plain, dtype=object), errors="coerce")
        if not np.isnan(numbers).any():
            return numbers.astype(float), np.zeros(len(cells), bool)
    shapes = [cell.translate(TO_SHAPE) for cell in cells]
    readings = {shape: _reading(survey.forms[shape], decimal) for shape in set(shapes)}
    numbers = np.full(len(cells), np.nan)
    wrong = np.zeros(len(cells), bool)
    tables = {mark: _table(mark) for mark in ".,"}
    good = [place for place, shape in enumerate(shapes) if readings[shape]]
    texts = [
        _clean(cells[place].translate(tables[readings[shapes[place]]]), shapes[place])
        for place in good
    ]
    numbers[good] = pd.to_numeric(np.array(texts, dtype=object), errors="coerce")
    wrong[good] = ~np.isfinite(numbers[good])
    if survey.sizes:
        factors = {shape: survey.sizes.get(survey.forms[shape].unit, 1.0) for shape in readings}
        numbers *= np.array([factors[shape] for shape in shapes])
    for place, shape in enumerate(shapes):
        if not readings[shape]:
            wrong[place] = cells[place].strip().lower() not in MISSING
    numbers[wrong] = np.nan
    return numbers, wrong


def _reading(form: Form, decimal: str) -> str:
    """The decimal mark with which a shape is read; empty where it is no number then."""
    if decimal == ".,":
        return form.decimals if len(form.decimals) == 1 else "" if form.marked else "."
    return decimal if decimal in form.decimals else ""


def _table(decimal: str) -> dict[int, str | None]:
    table: dict[int, str | None] = dict.fromkeys(map(ord, " '’\u2009\u202f\xa0+"), None)
    table |= {ord("−"): "-", ord("–"): "-", ord(","): None, ord("."): None}
    table[ord(decimal)] = "."
    return table


def _clean(text: str, shape: str) -> str:
    """A number without unit, currency and brackets; a sign behind it comes before it."""
    if shape.strip("0.,-") == "" and not shape.endswith("-"):
        return text
    match = re.search(r"(?:\d[\d.]*|\.\d+)(?:[eE]-?\d{1,3}(?!\w))?", text)
    if match is None:
        return ""
    negative = text.startswith("(") or "-" in text[: match.start()] + text[match.end() :]
    return ("-" if negative else "") + match[0]
