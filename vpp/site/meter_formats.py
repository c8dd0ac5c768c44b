"""Formats of meter data that say all by themselves: NEM12 of Australia, Green Button ESPI XML.

    python sources.py import nem12.csv --load E1:kWh:home
    python sources.py import greenbutton.xml --load value:Wh:home

NEM12 has a record a day for each register; its columns are the registers (`E1`, `B1`), its times
market time, which is UTC+10 all year. ESPI readings say start and length in UTC; the column is
`value`, or `delivered` and `received` where both directions come.
"""

import csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from functools import partial

from vpp.runtime.files import DataFileError
from vpp.site.containers import PART_ROWS, Content, Rows, number_text
from vpp.site.tables import Table

ESPI_UNITS = {"72": "Wh", "38": "W"}
DIRECTIONS = {"1": "delivered", "19": "received"}
XML_MAX = 512 * 2**20  # bytes


def tables_of(content: Content, wanted: Sequence[str]) -> tuple[list[Table], str]:
    """Find out whether a content has one of these formats, and give its table.

    Parameters
    ----------
    content : of a file or a member of an archive.
    wanted : COLUMN:UNIT… of the columns asked for.

    Returns
    -------
    The table, or none, and the name of the format's profile.

    Raises
    ------
    DataFileError : it is one of them, and damaged.
    """
    try:
        head = content.head(4096).lstrip(b"\xef\xbb\xbf \r\n")
    except (OSError, EOFError):
        return [], ""
    if head.startswith((b"100,NEM12", b"200,")):
        names = _nem12_names(content)
        return [Table(content.label, names, 0, "", partial(_nem12, content, names))], "nem12"
    if head.startswith(b"<") and (b"espi" in head or b"IntervalBlock" in head or b"<feed" in head):
        rows, unit = _espi(content)
        return [
            Table(content.label, tuple(rows[0]), 1, "", partial(_in_parts, rows), unit=unit)
        ], "green-button"
    return [], ""


def _in_parts(rows: list[list[str]]) -> Rows:
    for start in range(0, len(rows), PART_ROWS):
        yield start + 1, rows[start : start + PART_ROWS]


def _records(content: Content) -> list[tuple[int, list[str]]]:
    with io.TextIOWrapper(content.open(), "utf-8-sig", errors="replace", newline="") as stream:
        reader = csv.reader(stream)
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]


def _nem12_names(content: Content) -> tuple[str, ...]:
    registers = dict.fromkeys(row[4] for _, row in _records(content) if row[0] == "200")
    return ("300", "NMI", "uom", *registers)


def _nem12(content: Content, names: tuple[str, ...]) -> Rows:
    """A row for each interval of each record, with a clock that says its distance from UTC."""
    nmi = register = uom = ""
    minutes = 30
    for line, row in _records(content):
        try:
            if row[0] == "200":
                nmi, register, uom, minutes = row[1], row[4], row[7], int(row[8])
            if row[0] != "300":
                continue
            count = 1440 // minutes
            values = row[2 : 2 + count]
            if len(values) < count or not row[1].isdigit() or len(row[1]) != 8:
                raise ValueError
        except (ValueError, IndexError, ZeroDivisionError):
            raise DataFileError(
                f"{content.label}, line {line}: is no record {row[0]} of NEM12 with "
                f"{1440 // max(minutes, 1)} values of {minutes} min"
            ) from None
        day, part = row[1], []
        place = names.index(register)
        for number, value in enumerate(values):
            minute = number * minutes
            time = f"{day[:4]}-{day[4:6]}-{day[6:]} {minute // 60:02}:{minute % 60:02}+10:00"
            cells = [time, nmi, uom] + [""] * (len(names) - 3)
            cells[place] = "" if row[2 + count : 3 + count] == ["N"] else value
            part.append(cells)
        yield [line] * len(part), part


def _espi(content: Content) -> tuple[list[list[str]], str]:
    """Header and rows: start, and a column for each direction; and the unit of the values."""
    try:
        with content.open() as stream:
            data = stream.read(XML_MAX + 1)
        if len(data) > XML_MAX or b"<!ENTITY" in data[:10_000]:
            raise DataFileError(f"{content.label}: is too large an XML file, or defines entities")
        root = ET.fromstring(data)
    except ET.ParseError as error:
        raise DataFileError(f"{content.label}: is no whole XML file: {error}") from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    types = _reading_types(root)
    units = {unit for unit, _, _ in types} or {"Wh"}
    if len(units) > 1 or "" in units:
        raise DataFileError(
            f"{content.label}: its readings have the units {', '.join(sorted(units))}; expected Wh "
            "or W (uom 72 or 38)"
        )
    directions = list(dict.fromkeys(direction for _, _, direction in types)) or ["value"]
    columns = ["value"] if len(directions) == 1 else directions
    rows = [["start", "duration", *columns]]
    blocks = _blocks(root)
    if len(types) > 1 and len(types) != len(blocks):
        raise DataFileError(
            f"{content.label}: has {len(types)} reading types for {len(blocks)} meter readings; "
            "expected one for each"
        )
    for number, block in enumerate(blocks):
        _, power, direction = (
            types[number] if len(types) > 1 else (types or [("Wh", 0, "value")])[0]
        )
        place = columns.index(direction) if len(columns) > 1 else 0
        rows += _readings(content, block, power, place, len(columns))
    if len(rows) < 2:
        raise DataFileError(f"{content.label}: has no interval reading")
    return rows, units.pop()


def _reading_types(root: ET.Element) -> list[tuple[str, int, str]]:
    found = []
    for item in root.iter("ReadingType"):
        power = int(item.findtext("powerOfTenMultiplier") or 0)
        unit = ESPI_UNITS.get(item.findtext("uom") or "", "")
        direction = DIRECTIONS.get(item.findtext("flowDirection") or "1", "value")
        found.append((unit, power, direction))
    return found


def _blocks(root: ET.Element) -> list[list[ET.Element]]:
    """The readings of each meter reading: entries of one link belong together."""
    groups: dict[str, list[ET.Element]] = {}
    for entry in root.iter("entry"):
        link = next(
            (item.get("href", "") for item in entry.iter("link") if item.get("rel") == "up"), ""
        )
        for block in entry.iter("IntervalBlock"):
            groups.setdefault(link, []).extend(block.iter("IntervalReading"))
    if not groups:
        groups[""] = list(root.iter("IntervalReading"))
    return list(groups.values())


def _readings(
    content: Content, readings: list[ET.Element], power: int, place: int, width: int
) -> list[list[str]]:
    rows = []
    for number, reading in enumerate(readings, start=1):
        start = reading.findtext("timePeriod/start") or ""
        value = reading.findtext("value") or ""
        if not start.lstrip("-").isdigit():
            raise DataFileError(
                f"{content.label}: interval reading {number} has no start in seconds since 1970"
            )
        cells = [""] * width
        if value:
            try:
                cells[place] = number_text(float(value) * 10.0**power)
            except ValueError:
                cells[place] = value
        rows.append([f"{int(start):010}", reading.findtext("timePeriod/duration") or "", *cells])
    return rows
