"""Tables and values as a person reads them, and as JSON."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from vpp.runtime.words import printable


def json_text(value: object) -> str:
    """Write a value as JSON: times as in tables, null for no value and for no number."""
    return json.dumps(_plain(value), default=str, indent=2)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    value = python_value(value)
    if value is None or value != value:
        return None
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return shown(value) if isinstance(value, date) else value


def python_value(value: Any) -> Any:
    """Turn a number or time of numpy into that of Python; other values stay."""
    if type(value).__name__ == "datetime64":
        return value.astype("M8[us]").item()
    return value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value


def print_rows(rows: Sequence[dict], title: str | None = None, as_json: bool = False) -> None:
    """Print rows with the same keys as a table, or as one JSON array.

    Parameters
    ----------
    rows : column -> value, in the order of the columns.
    title : line above the table.
    as_json : whether to print JSON, in full precision and without the title.
    """
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
        values = [python_value(row.get(column)) for row in rows]
        numeric = any(isinstance(value, (int, float)) for value in values)
        table.add_column(cell(column), justify="right" if numeric else "left", overflow="fold")
        texts.append(list(map(cell, aligned(values))))
    for cells in zip(*texts, strict=True):
        table.add_row(*cells)
    # a pipe has no width: what reads it may want a whole address, or fold it itself
    console = Console(width=None if terminal else 1_000_000, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(table)
    lines = [] if title is None else [printable(title)]
    lines += [line.rstrip() for line in capture.get().splitlines()]
    print("\n".join(lines))


def cell(text: str) -> str:
    """Put a cell of a table on one line, its control characters escaped."""
    return printable(text).replace("\n", "\\n")


def aligned(values: Sequence[object]) -> list[str]:
    """Show a column's values as a person reads them, its numbers with the same decimals.

    There are as many decimals as leave 5 significant digits of the largest number, at most 3, and
    one where small numbers stand beside large ones. Numbers that are all below 0.01 get 3
    significant digits.

    Returns
    -------
    One text for each value.
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
    """Show a value as a person reads it.

    Numbers have 5 significant digits, times are ISO-8601 UTC, and paths are relative to the
    working folder unless they lie far from it.
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
        relative = os.path.relpath(value)
        return str(value) if relative.startswith("../..") else relative
    return str(value)
