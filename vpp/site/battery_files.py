"""CSV files of measured states of batteries: `battery_id,time,soc,energy_kwh,power_kw`.

    python battery.py record --csv states.csv

A column that is not known may be absent. A file is taken as a whole or not at all.
"""

import csv
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from vpp.runtime.errors import ConfigError
from vpp.runtime.plant_settings import BatteryParameters
from vpp.runtime.words import in_one_line
from vpp.site.battery_messages import STATE_FIELDS, BatteryState, MessageError, read_state

TEXTS = ("battery_id", "time")


def read_states_file(
    path: Path, batteries: Mapping[str, BatteryParameters], now: datetime
) -> list[BatteryState]:
    """Read the states of a file.

    Parameters
    ----------
    path : the file.
    batteries : the batteries of the site by name.
    now : the time [UTC]; no state is measured later.

    Raises
    ------
    ConfigError : it cannot be read, or has no such columns.
    MessageError : a row is no possible state; its line is told.
    """
    states = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            names = rows.fieldnames or ()
            if not {*TEXTS} <= {*names} <= {*STATE_FIELDS} or len({*names}) < len(names):
                told = in_one_line(",".join(names))[:200]
                expected = ",".join(STATE_FIELDS)
                raise ConfigError(f"{path}, line 1: columns {told}: expected {expected}, each once")
            for row in rows:
                try:
                    states.append(read_state(_fields(row), batteries, now=now))
                except MessageError as error:
                    raise MessageError(f"{path}, line {rows.line_num}: {error}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or in_one_line(error)
        raise ConfigError(f"{path}: cannot be read: {reason}; expected a CSV in UTF-8") from None
    return states


def _fields(row: Mapping[str | None, str | None]) -> dict[str, object]:
    """A row as the fields of a message; empty cells are left out."""
    if None in row or None in row.values():
        raise MessageError("expected as many cells as there are columns")
    return {str(name): _value(str(name), text) for name, text in row.items() if text}


def _value(name: str, text: str) -> object:
    if name in TEXTS:
        return text
    try:
        return float(text)
    except ValueError:
        raise MessageError(f"{name} {in_one_line(text)[:80]!r}: expected a number") from None
