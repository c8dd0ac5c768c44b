"""The CSV files of the data folder as messages of the stream."""

import csv
import hashlib
import io
import operator
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from vpp.runtime.settings import Config
from vpp.site.kinds import KINDS
from vpp.stream.kafka import StreamError

# Lines that are read, encoded and sent at once. In between the producer looks for delivery reports
# and for a signal to stop.
CHUNK_ROWS = 500
BLOCK_BYTES = 2**20
Chunk = tuple[Sequence[str], Sequence[str], list[bytes]]  # times as written, keys and values


@dataclass(frozen=True)
class Mark:
    """A position in a file.

    Parameters
    ----------
    position : bytes before it; a line begins there.
    lines : number of lines before it.
    digest : of the bytes before it.
    """

    position: int = 0
    lines: int = 0
    digest: str = ""


START = Mark()


def csv_path(config: Config, kind: str) -> Path:
    """The file of the data folder with the messages of a kind."""
    return config.paths.data_dir / KINDS[kind].file


def count_lines(
    config: Config, kinds: Sequence[str], starts: Mapping[str, Mark] | None = None
) -> int:
    """Lines of the files of these kinds after their headers, for a progress bar.

    Parameters
    ----------
    config : names the data folder.
    kinds : keys of `KINDS`.
    starts : kind -> the position from which its lines count.
    """
    total = 0
    for kind in kinds:
        if (path := csv_path(config, kind)).exists():
            start = (starts or {}).get(kind, START)
            with path.open("rb") as file:
                file.seek(start.position)
                blocks = iter(partial(file.read, BLOCK_BYTES), b"")
                lines = sum(block.count(b"\n") for block in blocks)
                total += lines if start.position else max(0, lines - 1)
    return total


def measure(path: Path, before: Mark | None = None) -> tuple[Mark, bool]:
    """The end of the last line of a file, and whether the file still begins as it did.

    Parameters
    ----------
    path : of the file.
    before : an earlier end.

    Returns
    -------
    The end; the beginning where there are quotes, for between them a line break ends no line. And
    whether all before the earlier end is as it was.
    """
    digest, size, lines, has_quotes = hashlib.blake2b(digest_size=16), 0, 0, False
    stop, last, is_same = before.position if before else 0, _last_line_end(path), False
    with path.open("rb") as file:
        while size < last:
            limit = stop if size < stop <= last else last
            block = file.read(min(BLOCK_BYTES, limit - size))
            if not block:
                break
            digest.update(block)
            size, lines = size + len(block), lines + block.count(b"\n")
            has_quotes |= b'"' in block
            if before and size == stop:
                is_same = digest.hexdigest() == before.digest
    return Mark() if has_quotes else Mark(size, lines, digest.hexdigest()), is_same


def _last_line_end(path: Path) -> int:
    """The position after the last line break of a file."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        while size > 0:
            start = max(0, size - 4096)
            file.seek(start)
            found = file.read(size - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            size = start
    return 0


def read_messages(path: Path, kind: str, start: Mark = START) -> Iterator[Chunk]:
    """The messages of a CSV file, some hundred at a time.

    A cell that is no number is sent as it is, so that the sink dead-letters it with its reason.

    Parameters
    ----------
    path : the file.
    kind : of its messages.
    start : the lines before it are left out.

    Yields
    ------
    Times as written, keys and values of the messages.

    Raises
    ------
    StreamError : the file lacks a column, is not UTF-8 or has a cell of more than 128 KiB.
    """
    try:
        yield from _read_messages(path, kind, start)
    except UnicodeDecodeError:
        line = _line_not_utf8(path)
        raise StreamError(f"{path}, line {line}: is not UTF-8; save the file as UTF-8") from None


def _line_not_utf8(path: Path) -> int:
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if text != text.decode(errors="ignore").encode():
                return number
    return 1


def _read_messages(path: Path, kind: str, start: Mark) -> Iterator[Chunk]:
    fields = KINDS[kind].fields
    texts = len(fields) - len(KINDS[kind].values)  # they come first
    encode = msgspec.json.Encoder().encode
    record: Any = msgspec.defstruct("Line", [(name, object) for name in fields], gc=False)
    with ExitStack() as stack:
        rows = csv.reader(stack.enter_context(path.open(newline="", encoding="utf-8-sig")))
        header = next(iter(_lines(rows, 1, path)), [])
        if missing := [name for name in fields if name not in header]:
            raise StreamError(
                f"{path}: no column {', '.join(missing)}; expected {','.join(fields)}"
            )
        if start.position:
            file = stack.enter_context(path.open("rb"))
            file.seek(start.position)
            rows = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
        pick = operator.itemgetter(*(header.index(name) for name in fields))
        while lines := _lines(rows, CHUNK_ROWS, path, start.lines):
            if min(map(len, lines)) < len(header):
                lines = [line + [""] * (len(header) - len(line)) for line in lines if line]
            columns = list(zip(*map(pick, lines), strict=True))
            try:
                numbers = [map(float, column) for column in columns[texts:]]
                values = list(map(encode, map(record, *columns[:texts], *numbers)))
            except ValueError:  # a cell is no number, or no text at all
                values = [encode(_line(record, cells, texts)) for cells in map(pick, lines)]
            if lines:
                yield columns[1], columns[0], values


def _line(record: Any, cells: Sequence[str], texts: int) -> msgspec.Struct:
    try:
        return record(*cells[:texts], *map(float, cells[texts:]))
    except ValueError:
        return record(*cells)


def _lines(reader: Any, count: int, path: Path, before: int = 0) -> list[list[str]]:
    """The next `count` lines of a `csv.reader`, or those that are left."""
    try:
        return list(islice(reader, count))
    except csv.Error as error:
        line = before + reader.line_num
        raise StreamError(f"{path}, line {line}: {error}; expected a CSV file") from None
