"""The rows of an import's tables: seen once, so that all is decided over the whole, then read.

    python sources.py import big.csv --time-column time --tz UTC --load load:kW --dry-run

A large file is read twice in parts and never lies in memory as text.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from vpp.runtime.errors import one_of
from vpp.runtime.files import DataFileError
from vpp.site.day_slots import Slots
from vpp.site.import_columns import UNIT_COLUMNS, Column
from vpp.site.import_options import Asked
from vpp.site.import_times import TimeStyle, TimeSurvey, read_cells, says_order
from vpp.site.numbers import MISSING, Survey, parse
from vpp.site.tables import Table
from vpp.site.time_columns import TimeColumns
from vpp.site.time_shapes import INVALID, NO_OFFSET

ROWS_MAX = 60_000_000
KEPT_ROWS = 100_000  # of a small import, whose text is not read twice
_NUMERIC = re.compile(r"[-+]?\d[\d.,']*")
NOTED = 200_000  # cells that cannot be used and are listed
PREVIEW = 3
MOST_APART = 0.9  # of the pairs of rows of one time differ in the column that tells them apart

Part = tuple[int, np.ndarray, dict[str, list[str]], np.ndarray | None]


@dataclass
class Rows:
    """The rows of all tables, as numbers.

    Parameters
    ----------
    local : seconds since 1970 on the clock of the file (`INVALID`: no time).
    offsets : ahead of UTC (`NO_OFFSET`: unsaid) [min].
    folds : which of an hour that comes twice a row is; None where no row says so.
    slots : number of a row's slot of the day; None where times are complete.
    lines : of the file.
    part : number of the combination of `--where` values; None with one.
    values : of each column, NaN where there is none.
    said_missing : rows with a word for no value, such as `unavailable`, of each column.
    wrong : row, and cell, of what is no number, of each column.
    no_time : table, line, text and whether it is among the data, of each line without a time.
    notes : how many lines without a time there are.
    untimed : how many of those have digits where the time stands, and a number.
    heads : row, line, name and cell of each line that has other names where the numbers stand.
    starts : first row of each table.
    first : place, line, text of the time and cells of the first rows.
    """

    local: np.ndarray
    offsets: np.ndarray
    folds: np.ndarray | None
    slots: np.ndarray | None
    lines: np.ndarray
    part: np.ndarray | None
    values: list[np.ndarray]
    said_missing: list[np.ndarray]
    wrong: list[list[tuple[int, str]]]
    no_time: list[tuple[int, int, str]] = field(default_factory=list)
    notes: int = 0
    untimed: int = 0
    heads: list[tuple[int, int, str, str]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    first: list[tuple[int, int, str, list[str]]] = field(default_factory=list)


class Tables:
    """Tables of one import, which have the same columns.

    Parameters
    ----------
    tables : in their order.
    columns : that are read.
    time : columns of the times.
    asked : the options.
    """

    def __init__(
        self, tables: Sequence[Table], columns: Sequence[Column], time: TimeColumns, asked: Asked
    ) -> None:
        self.tables, self.columns, self.time, self.asked = tables, columns, time, asked
        self.slot = Slots(time.slot) if time.slot else None
        where = list(asked.where)
        # a column of units beside the numbers may say that some rows are of another quantity
        used = {*time.all_names, *(column.name for column in columns)}
        self.units = [name for name in tables[0].names if name.lower() in UNIT_COLUMNS - used]
        self.units = [name for name in self.units if all(name in t.names for t in tables)]
        self.stated: dict[tuple[str, str], int] = {}
        names = [*time.all_names, *self.units, *where, *(column.name for column in columns)]
        self.names = list(dict.fromkeys(names))
        self.times = TimeSurvey()
        self.numbers = {column.name: Survey(column.name) for column in columns}
        self.there: dict[str, dict[str, int]] = {name: {} for name in where}
        self.rows = 0
        self.kept: list[Part] | None = []
        self.choices: list[dict[str, str]] = []

    def survey(self) -> None:
        """See all cells once.

        Raises
        ------
        DataFileError : there is no row, or too many.
        """
        said = self.asked.time_format or None
        form = TimeStyle(form=None if says_order(said) else said)
        for number, table in enumerate(self.tables):
            for lines, columns in table.parts(self.names):
                cells = dict(zip(self.names, columns, strict=True))
                keep = self._where_of(cells)
                if keep is not None:
                    lines, cells = lines[keep], _only(cells, keep)
                self.rows += len(lines)
                if self.rows > ROWS_MAX:
                    raise DataFileError(
                        f"{table.label}: more than {ROWS_MAX:,} rows; import it in parts"
                    )
                texts = self._texts(cells)
                is_time = self._see_times(texts, lines, form)
                self._see_units(cells, lines, is_time)
                for column in self.columns:
                    self._see_numbers(column.name, cells[column.name], lines, is_time)
                self._keep((number, lines, cells, None))
        if not self.rows:
            self._refuse_empty()
        self._check_units()

    def _see_units(
        self, cells: dict[str, list[str]], lines: np.ndarray, is_time: np.ndarray
    ) -> None:
        for name in self.units:
            there = np.flatnonzero(is_time)
            some = [cells[name][place] for place in there]
            for unit in set(some) - {""}:
                self.stated.setdefault((name, unit), int(lines[there[some.index(unit)]]))

    def _check_units(self) -> None:
        """Refuse rows of several units, such as kWh and therms."""
        for name in self.units:
            found = {unit: line for (column, unit), line in self.stated.items() if column == name}
            if len({unit.lower() for unit in found}) > 1:
                (one, _), (two, line) = sorted(found.items(), key=lambda item: item[1])[:2]
                raise DataFileError(
                    f"line {line}: column {name} says {two}, and {one} before; expected one unit: "
                    f'say --where "{name}={one}", or of another column'
                )

    def _see_times(self, texts: list[str], lines: np.ndarray, form: TimeStyle) -> np.ndarray:
        if form.form is not None:
            local, offsets, _ = read_cells(texts, form)
            is_time = local != INVALID
            self.times.cells += len(texts)
            self.times.times += int(is_time.sum())
            naive = np.flatnonzero(is_time & (offsets == NO_OFFSET))
            if len(naive) and self.times.unzoned is None:
                self.times.unzoned = int(lines[naive[0]]), texts[naive[0]]
            if len(texts) and self.times.first is None:
                self.times.first = int(lines[0]), texts[0]
        else:
            is_time = self.times.see(texts, lines)
        return is_time

    def _see_numbers(
        self, name: str, cells: list[str], lines: np.ndarray, is_time: np.ndarray
    ) -> None:
        if not is_time.all():
            places = np.flatnonzero(is_time)
            cells, lines = [cells[place] for place in places], lines[places]
        if cells:
            self.numbers[name].see(cells, lines)

    def _texts(self, cells: dict[str, list[str]]) -> list[str]:
        return self.time.texts([cells[name] for name in self.time.names])

    def _keep(self, part: Part) -> None:
        if self.kept is not None:
            self.kept.append(part)
            if self.rows > KEPT_ROWS:
                self.kept = None

    def _refuse_empty(self) -> None:
        label = self.tables[0].label
        for name, values in self.there.items():
            asked = self.asked.where[name]
            known = {
                choice for one in asked for choice in ((one,) if isinstance(one, str) else one)
            }
            if not known & values.keys():
                raise DataFileError(
                    f"{label}: no row has {name}={next(iter(sorted(known)))}; "
                    f"{one_of(next(iter(known)), values)}"
                )
        raise DataFileError(f"{label}: has column names but no data")

    def _where_of(self, cells: dict[str, list[str]]) -> np.ndarray | None:
        """Places of the rows that `--where` keeps; None for all."""
        keep = None
        for name, asked in self.asked.where.items():
            known = {
                choice for one in asked for choice in ((one,) if isinstance(one, str) else one)
            }
            there = self.there[name]
            for value in set(cells[name]):
                if len(there) < 10_000:
                    there[value] = there.get(value, 0) + 1
            fits = np.fromiter((cell in known for cell in cells[name]), bool, len(cells[name]))
            keep = fits if keep is None else keep & fits
        return None if keep is None or keep.all() else np.flatnonzero(keep)

    def _parts(self) -> Iterator[Part]:
        if self.kept is not None:
            yield from self.kept
            return
        for number, table in enumerate(self.tables):
            for lines, columns in table.parts(self.names):
                cells = dict(zip(self.names, columns, strict=True))
                keep = self._where_of(cells)
                if keep is not None:
                    lines, cells = lines[keep], _only(cells, keep)
                yield number, lines, cells, None

    def read(self, style: TimeStyle, marks: dict[str, str]) -> Rows:
        """Read all cells.

        Parameters
        ----------
        style : of the times.
        marks : decimal mark of each column.
        """
        count = self.rows
        rows = Rows(
            local=np.full(count, INVALID, np.int64),
            offsets=np.full(count, NO_OFFSET, np.int16),
            folds=None,
            slots=np.full(count, INVALID, np.int64) if self.slot else None,
            lines=np.zeros(count, np.int32),
            part=np.zeros(count, np.int16) if self.asked.where else None,
            values=[np.full(count, np.nan) for _ in self.columns],
            said_missing=[np.zeros(0, np.int64) for _ in self.columns],
            wrong=[[] for _ in self.columns],
        )
        start, table = 0, -1
        for number, lines, cells, _ in self._parts():
            while table < number:
                rows.starts.append(start)
                table += 1
            self._read_part(rows, start, number, lines, cells, style, marks)
            start += len(lines)
        while len(rows.starts) < len(self.tables):
            rows.starts.append(start)
        return rows

    def _read_part(
        self,
        rows: Rows,
        start: int,
        number: int,
        lines: np.ndarray,
        cells: dict[str, list[str]],
        style: TimeStyle,
        marks: dict[str, str],
    ) -> None:
        places = slice(start, start + len(lines))
        texts = self._texts(cells)
        local, offsets, folds = read_cells(texts, style)
        if self.slot is not None and rows.slots is not None:
            slots = self.time.slots(cells)
            self.slot.see(np.where(local == INVALID, INVALID, local // 86400), slots)
            rows.slots[places], folds = self.slot.read(slots)
            local[rows.slots[places] == INVALID] = INVALID
        rows.local[places], rows.offsets[places], rows.lines[places] = local, offsets, lines
        if (folds >= 0).any() and rows.folds is None:
            rows.folds = np.full(self.rows, -1, np.int8)
        if rows.folds is not None:
            rows.folds[places] = folds
        if rows.part is not None:
            rows.part[places] = self._choice_of(cells, len(lines))
        is_time = local != INVALID
        for place in np.flatnonzero(~is_time):
            if any(cells[name][place] for name in self.names) and not texts[place].startswith("#"):
                rows.notes += 1
                beside = [cells[column.name][place] for column in self.columns]
                is_data = re.search(r"\d", texts[place]) and any(map(_NUMERIC.fullmatch, beside))
                rows.untimed += bool(is_data)
                self._note_head(rows, start + int(place), int(lines[place]), texts[place], beside)
                if len(rows.no_time) < NOTED:
                    rows.no_time.append((start + int(place), int(lines[place]), texts[place]))
        if len(rows.first) < PREVIEW:
            self._note_first(rows, start, lines, texts, cells, is_time)
        for column, numbers in enumerate(rows.values):
            numbers[places] = self._numbers(rows, column, start, cells, is_time, marks)

    def _note_head(self, rows: Rows, row: int, line: int, text: str, beside: Sequence[str]) -> None:
        """Note a line that looks like the names of another table's columns."""
        for column, cell in zip(self.columns, beside, strict=True):
            is_word = re.search(r"[^\W\d]{2}", cell) and not _NUMERIC.match(cell)
            if is_word and cell != column.name and cell.lower() not in MISSING:
                if not re.search(r"\d", text) and len(rows.heads) < NOTED:
                    rows.heads.append((row, line, column.name, cell))
                return

    def _note_first(
        self,
        rows: Rows,
        start: int,
        lines: np.ndarray,
        texts: list[str],
        cells: dict[str, list[str]],
        is_time: np.ndarray,
    ) -> None:
        for place in np.flatnonzero(is_time)[:50]:
            values = [cells[column.name][place] for column in self.columns]
            if any(values) and len(rows.first) < PREVIEW:
                text = texts[place]
                if self.slot is not None:
                    text = f"{text} {self.time.slots(cells)[place]}"
                rows.first.append((start + int(place), int(lines[place]), text, values))

    def _numbers(
        self,
        rows: Rows,
        column: int,
        start: int,
        cells: dict[str, list[str]],
        is_time: np.ndarray,
        marks: dict[str, str],
    ) -> np.ndarray:
        name = self.columns[column].name
        texts, there = cells[name], np.flatnonzero(is_time)
        found = np.full(len(texts), np.nan)
        if not len(there):
            return found
        some = texts if len(there) == len(texts) else [texts[place] for place in there]
        numbers, wrong = parse(some, self.numbers[name], marks[name])
        numbers, wrong = self._without_missing(some, numbers, wrong)
        found[there] = numbers
        for place in there[wrong]:
            if len(rows.wrong[column]) < NOTED:
                rows.wrong[column].append((start + int(place), texts[place]))
        empty = there[np.isnan(numbers) & ~wrong]
        words = [start + place for place in empty if texts[place]]
        if words:
            rows.said_missing[column] = np.append(rows.said_missing[column], words)
        return found

    def _without_missing(
        self, cells: list[str], numbers: np.ndarray, wrong: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        for code in self.asked.missing or ():
            same = np.fromiter((cell == code for cell in cells), bool, len(cells))
            with suppress(ValueError):
                same |= numbers == float(code)
            numbers[same], wrong[same] = np.nan, False
        return numbers, wrong

    def _choice_of(self, cells: dict[str, list[str]], count: int) -> np.ndarray:
        """The number of each row's combination of `--where` values; -1 for none that counts."""
        numbers: dict[tuple[str, ...], int] = {}
        for one in self.choices:
            numbers[tuple(one.values())] = len(numbers)
        allowed = self._allowed()
        found = np.empty(count, np.int16)
        for place, values in enumerate(
            zip(*(cells[name] for name in self.asked.where), strict=True)
        ):
            fits = all(value in good for value, good in zip(values, allowed, strict=True))
            if fits and values not in numbers:
                numbers[values] = len(numbers)
                self.choices.append(dict(zip(self.asked.where, values, strict=True)))
            found[place] = numbers[values] if fits else -1
        return found

    def _allowed(self) -> list[set[str]]:
        """Of each column of `--where` the values that count: of alternatives the first there."""
        return [
            {
                one
                if isinstance(one, str)
                else next((choice for choice in one if choice in self.there[name]), one[0])
                for one in asked
            }
            for name, asked in self.asked.where.items()
        ]

    def column_apart(
        self, rows: Rows, pairs: Sequence[tuple[int, int]]
    ) -> tuple[str, list[str]] | None:
        """Find a column that differs in each pair of rows of one time, and its values.

        Parameters
        ----------
        rows : of `read`.
        pairs : places of rows of one time.
        """
        wanted = {row for pair in pairs for row in pair}
        cells: dict[int, list[str]] = {}
        ends = [*rows.starts[1:], len(rows.lines)]
        for table, start, end in zip(self.tables, rows.starts, ends, strict=True):
            lines = {int(rows.lines[row]): row for row in wanted if start <= row < end}
            for there, columns in table.parts(table.names) if lines else ():
                for place in np.flatnonzero(np.isin(there, list(lines))):
                    cells[lines[int(there[place])]] = [column[place] for column in columns]
        if not all(one in cells and two in cells for one, two in pairs):
            return None
        for place, name in enumerate(self.tables[0].names):
            found = [cells[row][place] for pair in pairs for row in pair]
            distinct = list(dict.fromkeys(found))
            apart = sum(cells[one][place] != cells[two][place] for one, two in pairs)
            # in an hour that comes twice on the clock, rows of one area may stand for another's
            differs = apart >= MOST_APART * len(pairs)
            few = len(distinct) <= max(2, min(20, len(found) // 4))
            if name not in self.names and differs and few:
                return name, distinct
        return None


def _only(cells: dict[str, list[str]], places: np.ndarray) -> dict[str, list[str]]:
    return {name: [column[place] for place in places] for name, column in cells.items()}
