"""Files as people have them: text in any encoding, gz, zip, spreadsheets, Parquet, folders of them.

    python sources.py import meter-2024.zip --time-column time --tz UTC --load load:kW

Each container gives rows of cells as text, again and again, in parts, so that a large file is never
in memory. Numbers and times that a spreadsheet or Parquet keeps as such are written so that they
cannot be misread.
"""

import codecs
import csv
import datetime
import gzip
import io
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from vpp.runtime.files import DataFileError
from vpp.runtime.tables import shown
from vpp.runtime.words import in_words

FIRST_ROWS, PART_ROWS = 1_000, 50_000  # a header is found in few rows
LINE_MAX = 1_000_000  # characters
PIPE_MAX = 256 * 2**20  # bytes that are kept of what is no file
DELIMITERS = (",", ";", "\t", "|")
ENCODINGS = ("cp1252", "cp850", "cp932", "mac_roman")  # where it is not utf-8
SUFFIXES = {
    ".csv", ".txt", ".tsv", ".dat", ".gz", ".zip", ".xlsx", ".xlsm", ".xls", ".ods", ".parquet",
    ".xml", ".prn", ".asc",
}  # fmt: skip
# line of the first row, rows of neighbouring lines; or the line of each row
Rows = Iterator[tuple[int | Sequence[int], list[list[str]]]]


@dataclass(frozen=True)
class RowSource:
    """Rows of one file, sheet or member of an archive.

    Parameters
    ----------
    label : file, and sheet or member.
    delimiter : between the cells of a line of text; empty where cells are apart by themselves.
    rows : gives all rows anew, in parts.
    """

    label: str
    delimiter: str
    rows: Callable[[], Rows]


@dataclass(frozen=True)
class Content:
    """Bytes of a file or of a member of an archive.

    Parameters
    ----------
    label : its name.
    open : opens it anew.
    """

    label: str
    open: Callable[[], BinaryIO]

    def head(self, size: int = 65_536) -> bytes:
        """Read the first bytes."""
        with self.open() as stream:
            return stream.read(size)


def files_of(paths: Sequence[Path]) -> list[Path]:
    """List the files that paths name; a folder stands for the data files in it, by name.

    Raises
    ------
    DataFileError : a path or a folder cannot be read, or a folder holds no data file.
    """
    found = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        try:
            inside = sorted(item for item in path.iterdir() if item.suffix.lower() in SUFFIXES)
        except OSError as error:
            raise DataFileError(f"{shown(path)}: cannot be read: {error.strerror}") from None
        if not inside:
            raise DataFileError(
                f"{shown(path)}: holds no data file; expected files that end in "
                f"{', '.join(sorted(SUFFIXES))}"
            )
        found += inside
    return found


def contents_of(path: Path, keep: list) -> list[Content]:
    """Open a file, and the members of an archive.

    Parameters
    ----------
    path : of the file.
    keep : gets what must live as long as the contents are read.

    Raises
    ------
    DataFileError : it cannot be read.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            content = Content(shown(path), lambda: path.open("rb"))
        else:
            content = _kept(path, keep)
        head = content.head()
    except OSError as error:
        raise DataFileError(
            f"{shown(path)}: cannot be read: {error.strerror or error}; expected a file of data"
        ) from None
    if not head:
        raise DataFileError(
            f"{shown(path)}: is empty; expected a line of column names and lines of data"
        )
    if head.startswith(b"\x1f\x8b"):
        return [Content(content.label, lambda: gzip.GzipFile(fileobj=content.open()))]  # type: ignore[arg-type, return-value]
    if head.startswith(b"PK") and not _is_spreadsheet(content):
        return _members(content)
    return [content]


def _kept(path: Path, keep: list) -> Content:
    """The bytes of a pipe or a device, which can be read once, kept in a file."""
    with path.open("rb") as stream:
        first = stream.read(65_536)
        if first.count(0) > len(first) // 2:
            raise DataFileError(
                f"{shown(path)}: is no file of data; expected text or a spreadsheet"
            )
        kept = tempfile.NamedTemporaryFile()  # noqa: SIM115  # lives as long as `keep`
        keep.append(kept)
        size, block = 0, first
        while block:
            size += len(block)
            if size > PIPE_MAX:
                raise DataFileError(
                    f"{shown(path)}: more than {PIPE_MAX // 2**20} MB come out of it; save it to a "
                    "file and import that"
                )
            kept.write(block)
            block = stream.read(2**20)
    kept.flush()
    return Content(shown(path), lambda: open(kept.name, "rb"))


def _is_spreadsheet(content: Content) -> bool:
    try:
        with content.open() as stream, zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        raise DataFileError(f"{content.label}: is a damaged zip file; fetch it again") from None
    return "[Content_Types].xml" in names or "content.xml" in names


def _members(content: Content) -> list[Content]:
    with content.open() as stream, zipfile.ZipFile(stream) as archive:
        infos = [
            info
            for info in archive.infolist()
            if Path(info.filename).suffix.lower() in SUFFIXES - {".zip", ".gz"}
            and not Path(info.filename).name.startswith((".", "__"))
            and not info.filename.startswith("__MACOSX")
        ]
    if not infos:
        raise DataFileError(
            f"{content.label}: holds no data file; expected .csv, .xlsx or .parquet"
        )
    if any(info.flag_bits & 1 for info in infos):
        raise DataFileError(f"{content.label}: is locked by a password; unlock it first")

    def member(name: str) -> Content:
        def open_member() -> BinaryIO:
            archive = zipfile.ZipFile(content.open())
            return archive.open(name)  # type: ignore[return-value]

        return Content(f"{content.label}:{name}", open_member)

    return [member(info.filename) for info in sorted(infos, key=lambda info: info.filename)]


def row_sources(content: Content) -> Iterator[list[RowSource]]:
    """Give the ways in which a content may be read; a header that is found decides among them.

    Parameters
    ----------
    content : of `contents_of`.

    Yields
    ------
    Sheets that belong together.

    Raises
    ------
    DataFileError : it is none that we read.
    """
    try:
        head = content.head()
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"{content.label}: cannot be unpacked: {in_words(error)}") from None
    if head.startswith(b"PAR1"):
        yield [_parquet(content)]
    elif head.startswith((b"PK", b"\xd0\xcf\x11\xe0")):
        yield _sheets(content)
    else:
        for encoding in _encodings(content, head):
            for delimiter in _delimiters(head, encoding):
                rows = _text_rows(content, encoding, delimiter)
                yield [RowSource(content.label, delimiter, rows)]


def _encodings(content: Content, head: bytes) -> Sequence[str]:
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if head.startswith(mark):
            return (encoding,)
    if head.count(0):
        if head[1::2].count(0) > 0.4 * len(head):
            return ("utf-16-le",)
        raise DataFileError(
            f"{content.label}: is no text, spreadsheet or Parquet file; expected one of them"
        )
    if len(head) == 65_536 and b"\n" not in head and b"\r" not in head:
        raise DataFileError(f"{content.label}: its first line never ends; expected lines of data")
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with content.open() as stream:
            while block := stream.read(2**20):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return ENCODINGS
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"{content.label}: cannot be unpacked: {in_words(error)}") from None
    return ("utf-8",)


def _delimiters(head: bytes, encoding: str) -> list[str]:
    text = head.decode(encoding, errors="replace")
    first = text.lstrip("\ufeff").splitlines()[:1]
    if first and first[0].lower().startswith("sep=") and len(first[0].strip()) == 5:
        return [first[0].strip()[-1]]
    return sorted(DELIMITERS, key=lambda mark: -text.count(mark))


def _lines(stream: io.TextIOWrapper, label: str) -> Iterator[str]:
    while line := stream.readline(LINE_MAX):
        if len(line) == LINE_MAX:
            raise DataFileError(f"{label}: a line of more than {LINE_MAX:,} characters")
        yield line


def _text_rows(content: Content, encoding: str, delimiter: str) -> Callable[[], Rows]:
    def rows() -> Rows:
        with io.TextIOWrapper(content.open(), encoding, newline="") as stream:
            reader = csv.reader(_lines(stream, content.label), delimiter=delimiter)
            part: list[list[str]] = []
            first, most = 1, FIRST_ROWS
            try:
                for row in reader:
                    part.append(row)
                    if len(part) == most or reader.line_num != first + len(part) - 1:
                        yield reader.line_num - len(part) + 1, part
                        part, first, most = [], reader.line_num + 1, PART_ROWS
            except csv.Error as error:
                raise DataFileError(
                    f"{content.label}, line {reader.line_num}: {error}; expected a CSV file"
                ) from None
            except (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile) as error:
                raise DataFileError(
                    f"{content.label}, line {reader.line_num}: cannot be unpacked: "
                    f"{in_words(error)}; fetch the file again"
                ) from None
            if part:
                yield first, part

    return rows


def number_text(value: float) -> str:
    """Write a number so that its point cannot be taken for a mark between thousands."""
    if value != value:
        return ""
    text = repr(value)
    return text + "0" if len(text.rpartition(".")[2]) == 3 and "e" not in text else text


def cell_text(value: object) -> str:
    """Write a cell of a spreadsheet or Parquet file as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else number_text(value)
    if isinstance(value, datetime.datetime):
        value = (value + datetime.timedelta(microseconds=500_000)).replace(microsecond=0)
        return value.isoformat(" ")
    if isinstance(value, datetime.timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return str(value)


def _sheets(content: Content) -> list[RowSource]:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        with content.open() as stream:
            book = CalamineWorkbook.from_filelike(io.BytesIO(stream.read()))
    except (CalamineError, OSError) as error:
        raise DataFileError(
            f"{content.label}: cannot be read as a spreadsheet: {in_words(error)}"
        ) from None

    def sheet(name: str) -> RowSource:
        def rows() -> Rows:
            cells = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
            for start in range(0, len(cells), PART_ROWS):
                part = cells[start : start + PART_ROWS]
                yield start + 1, [[cell_text(cell) for cell in row] for row in part]

        return RowSource(f"{content.label}:{name}", "", rows)

    return [sheet(name) for name in book.sheet_names]


def _parquet(content: Content) -> RowSource:
    import pyarrow
    import pyarrow.parquet

    def rows() -> Rows:
        line = 1
        try:
            with content.open() as stream:
                file = pyarrow.parquet.ParquetFile(stream)
                yield line, [file.schema_arrow.names]
                for batch in file.iter_batches(PART_ROWS):
                    columns = [_parquet_column(column) for column in batch.columns]
                    yield line + 1, [list(row) for row in zip(*columns, strict=True)]
                    line += batch.num_rows
        except (pyarrow.ArrowException, OSError) as error:
            raise DataFileError(f"{content.label}: cannot be read: {in_words(error)}") from None

    return RowSource(content.label, "", rows)


def _parquet_column(column: object) -> list[str]:
    import pyarrow

    kind = column.type  # type: ignore[attr-defined]
    if pyarrow.types.is_timestamp(kind):
        zoned = kind.tz is not None
        seconds = column.cast(pyarrow.timestamp("s"), safe=False)  # type: ignore[attr-defined]
        return [
            "" if value is None else value.isoformat(" ") + ("Z" if zoned else "")
            for value in seconds.to_pylist()
        ]
    return [cell_text(value) for value in column.to_pylist()]  # type: ignore[attr-defined]
