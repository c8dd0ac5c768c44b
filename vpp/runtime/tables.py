"""Tables and values as a person reads them, and as JSON."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from vpp.runtime.words import printable


def json_text(value: object) -> str:
    """A value as JSON: times as the tables show them, null where there is no value or no number."""
    return json.dumps(_plain(value), default=str, indent=2)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    value = _python_value(value)
    if value is None or value != value:
        return None
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return shown(value) if isinstance(value, date) else value


def _python_value(value: object) -> object:
    """A number of numpy as that of Python."""
    if type(value).__name__ == "datetime64":
        return value.astype("M8[us]").item()
    return value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value


def print_rows(rows: Sequence[dict], title: str | None = None, as_json: bool = False) -> None:
    """Print rows with the same keys as a table, or as one JSON array."""
    if as_json:
        print(json_text(list(rows)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else box.ASCII2, show_edge=False)
    columns = list(rows[0]) if rows else ["(nothing)"]
    texts = []
    for column in columns:
        values = [_python_value(row.get(column)) for row in rows]
        numeric = any(isinstance(value, (int, float)) for value in values)
        table.add_column(cell(column), justify="right" if numeric else "left", overflow="fold")
        texts.append(list(map(cell, aligned(values))))
    for cells in zip(*texts, strict=True):
        table.add_row(*cells)
    # a pipe has no width: what reads it may want a whole address, or fold it itself
    console = Console(width=None if terminal else 1_000_000, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(table)
    print(
        "\n".join(
            [printable(title)] * (title is not None)
            + [line.rstrip() for line in capture.get().splitlines()]
        )
    )


def cell(text: str) -> str:
    """A cell of a table: one line, its control characters escaped."""
    return printable(text).replace("\n", "\\n")


def aligned(values: Sequence[object]) -> list[str]:
    """A column's values as a person reads them, its numbers with the same decimals.

    As many as leave 5 significant digits of the largest, at most 3, and one where small numbers
    stand beside large ones; numbers that are all below 0.01 get 3 significant digits.
    """
    numbers = [
        abs(value)
        for value in values
        if isinstance(value, float) and math.isfinite(value) and value
    ]
    if not numbers or max(numbers) < 1e-6:  # a gap of 1e-9 has no use for decimals
        return [shown(value) for value in values]
    magnitude = math.floor(math.log10(max(numbers)))
    if max(numbers) < 0.01:
        decimals = 2 - magnitude
    else:
        decimals = min(3, max(int(min(numbers) < 100), 4 - magnitude))
    return [  # adding 0 turns a -0 into 0
        f"{round(value, decimals) + 0.0:,.{decimals}f}"
        if isinstance(value, float) and math.isfinite(value)
        else shown(value)
        for value in values
    ]


def shown(value: object) -> str:
    """A value as a person reads it.

    5 significant digits, times as ISO-8601 UTC, paths relative to the working folder.
    """
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.5g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        in_utc = value.astimezone(UTC) if value.tzinfo else value
        return in_utc.strftime("%Y-%m-%dT%H:%MZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return (
            os.path.relpath(value) if not os.path.relpath(value).startswith("../..") else str(value)
        )
    return str(value)
