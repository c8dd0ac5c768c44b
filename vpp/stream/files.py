"""The CSV files of the data folder as messages of the stream."""

import csv
import operator
from collections.abc import Iterator, Sequence
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


def csv_path(config: Config, kind: str) -> Path:
    """The file of the data folder with the messages of a kind."""
    return config.paths.data_dir / KINDS[kind].file


def count_lines(config: Config, kinds: Sequence[str]) -> int:
    """Lines of the files of these kinds after their headers, for a progress bar."""
    total = 0
    for path in (csv_path(config, kind) for kind in kinds):
        if path.exists():
            with path.open("rb") as file:
                blocks = iter(partial(file.read, BLOCK_BYTES), b"")
                total += max(0, sum(block.count(b"\n") for block in blocks) - 1)
    return total


def read_messages(path: Path, kind: str) -> Iterator[Chunk]:
    """The messages of a CSV file, some hundred at a time.

    A cell that is no number is sent as it is, so that the sink dead-letters it with its reason.

    Parameters
    ----------
    path : the file.
    kind : of its messages.

    Yields
    ------
    Times as written, keys and values of the messages.

    Raises
    ------
    StreamError : the file lacks a column, is not UTF-8 or has a cell of more than 128 KiB.
    """
    try:
        yield from _read_messages(path, kind)
    except UnicodeDecodeError:
        line = _line_not_utf8(path)
        raise StreamError(f"{path}, line {line}: is not UTF-8; save the file as UTF-8") from None


def _line_not_utf8(path: Path) -> int:
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if text != text.decode(errors="ignore").encode():
                return number
    return 1


def _read_messages(path: Path, kind: str) -> Iterator[Chunk]:
    fields = KINDS[kind].fields
    texts = len(fields) - len(KINDS[kind].values)  # they come first
    encode = msgspec.json.Encoder().encode
    record: Any = msgspec.defstruct("Line", [(name, object) for name in fields], gc=False)
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        header = next(iter(_lines(rows, 1, path)), [])
        if missing := [name for name in fields if name not in header]:
            raise StreamError(
                f"{path}: no column {', '.join(missing)}; expected {','.join(fields)}"
            )
        pick = operator.itemgetter(*(header.index(name) for name in fields))
        while lines := _lines(rows, CHUNK_ROWS, path):
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


def _lines(reader: Any, count: int, path: Path) -> list[list[str]]:
    """The next `count` lines of a `csv.reader`, or those that are left."""
    try:
        return list(islice(reader, count))
    except csv.Error as error:
        raise StreamError(f"{path}, line {reader.line_num}: {error}; expected a CSV file") from None
