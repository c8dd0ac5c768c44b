"""The table in a file: its header, which may stand below a preamble, and its columns in parts.

    python sources.py import pvgis.csv --time-column time --tz UTC --solar P:W:pv

The columns that were asked for find the header: it is the first line that has them all. So a
preamble, comment lines and `sep=;` need no option.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vpp.runtime.files import DataFileError
from vpp.site.containers import Content, Rows, RowSource, row_sources
from vpp.site.matrices import Matrix, find_matrix, melt, melted_names
from vpp.site.time_columns import kind_of

UNIT_WORDS = {"unit", "units", "einheit", "eenheid", "unité", "unidad", "unità", "måleenhed"}
HEADER_ROWS = 200  # a header stands above this line
SEEN = 30  # rows that tell whether a table is a matrix
_MIDNIGHT = re.compile(r"(?<!\d)(?:00?:00(?::00)?|12:00(?::00)? ?AM)(?![:\d])", re.IGNORECASE)
_NUMERIC = re.compile(r"[-+]?\d+(?:[.,]\d+)*")


@dataclass(frozen=True)
class Table:
    """A table of a file.

    Parameters
    ----------
    label : of file and sheet.
    names : of its columns.
    header : line of the names.
    delimiter : between cells; empty where they are apart by themselves.
    source : gives the rows.
    matrix : of one day a row, which was melted.
    zone : of its times, where the format itself says so.
    unit : of its values, where the format itself says so.
    """

    label: str
    names: tuple[str, ...]
    header: int
    delimiter: str
    source: Callable[[], Rows]
    matrix: Matrix | None = None
    zone: str | None = None
    unit: str = ""

    def parts(self, wanted: Sequence[str]) -> Iterator[tuple[np.ndarray, list[list[str]]]]:
        """Give some columns, in parts.

        Parameters
        ----------
        wanted : names of the columns.

        Yields
        ------
        Lines of the file, and the cells of each column.
        """
        places = [self.names.index(name) for name in wanted]
        for first, rows in self.source():
            lines: Sequence[int]
            if isinstance(first, int):
                skip = max(0, self.header - first + 1)
                lines, there = range(first + skip, first + len(rows)), rows[skip:]
            else:
                lines, there = first, rows
            if not there:
                continue
            if self.matrix is not None:
                width = len(self.names) - 2 + len(self.matrix.places)
                there, lines = melt(there, lines, self.matrix, width)
            self._check_width(there, lines)
            yield np.asarray(lines, np.int32), [_column(there, place) for place in places]

    def _check_width(self, rows: list[list[str]], lines: Sequence[int]) -> None:
        """Refuse a line with more cells than names, unless it is a note after the data."""
        width = len(self.names)
        if max(map(len, rows)) <= width:
            return
        for row, line in zip(rows, lines, strict=True):
            more = any(cell.strip() for cell in row[width:])
            if more and sum(bool(_NUMERIC.fullmatch(cell.strip())) for cell in row) > 1:
                hint = "; numbers with a decimal comma need quotes or another delimiter"
                raise DataFileError(
                    f"{self.label}, line {line}: {len(row)} cells, but {width} column names"
                    f"{hint if self.delimiter == ',' else ''}"
                )

    def sample(self, count: int) -> list[list[str]]:
        """Give the first rows, all columns."""
        columns: list[list[str]] = [[] for _ in self.names]
        for _, cells in self.parts(self.names):
            for column, more in zip(columns, cells, strict=True):
                column += more[:count]
            if len(columns[0]) >= count:
                break
        rows = [list(row) for row in zip(*columns, strict=True)]
        return [row for row in rows if any(row)][:count]


def _column(rows: list[list[str]], place: int) -> list[str]:
    try:
        cells = [row[place].strip() for row in rows]
    except IndexError:
        cells = [row[place].strip() if place < len(row) else "" for row in rows]
    if any(cell.startswith('="') for cell in cells[:50]):  # Excel, keep this as text
        cells = [cell[2:-1] if cell.startswith('="') else cell for cell in cells]
    return cells


def has_columns(names: Sequence[str], times: Sequence[str], wanted: Sequence[str]) -> bool:
    """Tell whether a line names all columns that are asked for.

    Parameters
    ----------
    names : cells of the line.
    times : names of the time columns.
    wanted : COLUMN:UNIT… of the others; `*` is a matrix.
    """
    if is_data(names):
        return False
    there = {name for name in names if name}
    unnamed = {_number_of(place, names) for place, name in enumerate(names) if not name}
    return all(name in there | unnamed for name in times) and all(
        any(text.startswith(name + ":") for name in there)
        or (text.startswith("*:") and find_matrix(names) is not None)
        for text in wanted
    )


def is_data(cells: Sequence[str]) -> bool:
    """Tell whether a line is one of data: none of its cells is a name, and it heads no matrix.

    Parameters
    ----------
    cells : of the line.
    """
    there = [cell for cell in cells if cell]
    no_names = len(there) > 1 and all(cell.lstrip("+-−'\"")[:1].isdigit() for cell in there)
    return no_names and find_matrix(cells) is None


def without_header(content: Content, times: Sequence[str], wanted: Sequence[str]) -> list[Table]:
    """Find the tables of a content whose columns have no names, so that their numbers were asked.

    Parameters
    ----------
    content : of a file or a member of an archive.
    times : numbers of the time columns, from 1; nothing where they are to be found.
    wanted : NUMBER:UNIT… of the others.

    Returns
    -------
    As of `find_tables`; none where names were asked for.

    Raises
    ------
    DataFileError : it cannot be read.
    """
    asked = [*times, *(text.partition(":")[0] for text in wanted)]
    if not all(text.isdecimal() and int(text) > 0 for text in asked):
        return []
    most = max(map(int, asked))
    for sources in row_sources(content):
        found = []
        try:
            for source in sources:
                lines = ((n, row) for n, row in _first_rows(source) if is_data(row))
                line, row = next(lines, (0, []))
                if len(row) >= most:
                    names = tuple(str(number + 1) for number in range(len(row)))
                    found.append(
                        Table(source.label, names, line - 1, source.delimiter, source.rows)
                    )
        except UnicodeError:
            continue
        if found:
            return found
    return []


def find_tables(content: Content, times: Sequence[str], wanted: Sequence[str]) -> list[Table]:
    """Find the tables of a content that have the columns asked for.

    Parameters
    ----------
    content : of a file or a member of an archive.
    times : names of the time columns; nothing where they are to be found.
    wanted : COLUMN:UNIT… of the others.

    Returns
    -------
    One table, or one of each sheet that has them; none where no line does.

    Raises
    ------
    DataFileError : it cannot be read.
    """
    for sources in row_sources(content):
        try:
            found = [table for source in sources for table in _in_source(source, times, wanted)]
        except UnicodeError:
            continue
        if found:
            return found
    return []


def _in_source(source: RowSource, times: Sequence[str], wanted: Sequence[str]) -> list[Table]:
    for line, names in _first_rows(source):
        if has_columns(names, times, wanted):
            return [table_of(source, line, names, wanted, times)]
    return []


def _first_rows(source: RowSource) -> Iterator[tuple[int, list[str]]]:
    for first, rows in source.rows():
        lines = itertools.count(first) if isinstance(first, int) else first
        for line, row in zip(lines, rows, strict=False):
            if line > HEADER_ROWS:
                return
            yield line, [cell.strip().lstrip("#").strip() for cell in row]


def table_of(
    source: RowSource, line: int, names: list[str], wanted: Sequence[str], times: Sequence[str]
) -> Table:
    """Make the table below a header.

    Parameters
    ----------
    source : of the rows.
    line : of the header.
    names : in it.
    wanted : COLUMN:UNIT… of the columns that are read.
    times : names of the time columns; nothing where they are to be found.

    Raises
    ------
    DataFileError : one of these names comes twice.
    """
    while names and not names[-1]:
        names = names[:-1]
    # pandas writes its index without a name
    names = [name or _number_of(place, names) for place, name in enumerate(names)]
    matrix = find_matrix(names)
    if matrix is not None and _has_clock(source, line, names, matrix, times):
        matrix = None
    if matrix is not None:
        inside = [names[place] for place in matrix.places]
        asked = [text for text in wanted if any(text.startswith(name + ":") for name in inside)]
        asked += [text for text in wanted if text.startswith("*:")]
        if not asked:
            matrix = None
        elif len(asked) < len(wanted):
            raise DataFileError(
                f"{source.label}: {asked[0]} names a matrix of one day a row; import the other "
                "columns by a command of their own"
            )
    for name in dict.fromkeys(names):
        if names.count(name) > 1 and any(text.startswith(name + ":") for text in wanted):
            raise DataFileError(f"{source.label}: column {name!r} comes twice; rename one")
    if matrix is not None:
        names = melted_names(names, matrix)
    unit = _unit_above(source, line)
    return Table(source.label, tuple(names), line, source.delimiter, source.rows, matrix, unit=unit)


def _unit_above(source: RowSource, line: int) -> str:
    """The unit that a line above the header states, such as `Einheit;kWh`; else nothing."""
    above = [[cell for cell in row if cell] for n, row in _first_rows(source) if n < line]
    units = [row[1] for row in above if len(row) == 2 and row[0].rstrip(":").lower() in UNIT_WORDS]
    return units[0] if units else ""


def _number_of(place: int, names: Sequence[str]) -> str:
    """The number of a column without a name, from 1; nothing where another is called so."""
    return "" if str(place + 1) in names else str(place + 1)


def _has_clock(
    source: RowSource, line: int, names: list[str], matrix: Matrix, times: Sequence[str]
) -> bool:
    """Tell whether each row has a time of day, so that columns are no intervals of its day."""
    inside = set(matrix.places)
    rows = [row for number, row in _first_rows(source) if number > line][:SEEN]
    found = set()
    for place, name in enumerate(names):
        if place in inside or (times and name not in times):
            continue
        cells = [row[place] for row in rows if place < len(row)]
        kind = kind_of(cells)
        if kind == "stamp" and all(map(_MIDNIGHT.search, filter(None, cells))):
            kind = "date"
        found.add("" if kind == "count" and not times else kind)
    return "date" not in found and bool(found & {"stamp", "count"})


def place_of(content: Content, name: str) -> tuple[int, int] | None:
    """Find the line, and the number from 1 of the column, that has a name among the first lines.

    Parameters
    ----------
    content : in which no line names all columns.
    name : of one; None comes back where no line has it.
    """
    for sources in row_sources(content):
        try:
            for source in sources:
                for line, row in _first_rows(source):
                    if name in row and len(row) > 1:
                        return line, row.index(name) + 1
        except UnicodeError:
            continue
    return None


def likely_header(content: Content) -> tuple[int, list[str]]:
    """Find the line that most likely names the columns, for a message.

    Parameters
    ----------
    content : in which no line names the columns asked for.

    Returns
    -------
    The number of its lines up to `HEADER_ROWS`, and the names; none where there is no table.
    """
    best: list[str] = []
    count = 0
    for sources in row_sources(content):
        try:
            rows = list(itertools.chain.from_iterable(_first_rows(source) for source in sources))
        except UnicodeError:
            continue
        count = max(count, len(rows))
        for _, row in rows:
            named = [cell for cell in row if cell and not cell[:1].isdigit()]
            if len(named) > len(best):
                best = [cell for cell in row if cell]
                break
        if len(best) > 1:
            break
    return count, best
