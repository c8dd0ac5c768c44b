"""Lists by interval, wherever a problem has them: their common length, and parts of them.

A field that is stated as a series is a number or an array of one an interval.

    python -c "from vpp.schedule.series import common_length; help(common_length)"
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from vpp.runtime.errors import FieldError

PLAIN = (float, int, bool, str)
Stated = TypeVar("Stated")


def lists(section: Any, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """All lists by interval in a section and in those inside it.

    Parameters
    ----------
    section : a dataclass with stated fields.
    path : its place in the file.

    Returns
    -------
    Path and values of each.
    """
    dot = f"{path}." if path else ""
    kind: type = type(section)
    for name, is_series in _stated(kind):
        value = getattr(section, name)
        if value is None or type(value) in PLAIN:
            continue
        if is_series:
            if isinstance(value, np.ndarray):
                yield dot + name, value
        elif isinstance(value, tuple):
            for i, inner in enumerate(value):
                if is_dataclass(inner):
                    yield from lists(inner, f"{dot}{name}[{i}]")
        elif is_dataclass(value):
            yield from lists(value, dot + name)


@cache
def _stated(kind: type) -> tuple[tuple[str, bool], ...]:
    """Name of each field of a dataclass, and whether it is a series."""
    return tuple((item.name, bool(item.metadata.get("series"))) for item in fields(kind))


def by_interval(value: float | np.ndarray, count: int) -> np.ndarray:
    """A series as one number an interval.

    Parameters
    ----------
    value : a number, or an array of one an interval.
    count : number of intervals.

    Returns
    -------
    The numbers.
    """
    if isinstance(value, np.ndarray):
        return value
    values = np.empty(count)  # np.full takes several times as long
    values[:] = value
    return values


def common_length(section: Any) -> int:
    """The number of intervals: the length that lists by interval have in common.

    Parameters
    ----------
    section : a problem.

    Returns
    -------
    The length.

    Raises
    ------
    FieldError : there is no list, or one is of another length than most.
    """
    found = list(lists(section))
    if not found:
        expected = "at least one list by interval, such as import_price_eur_per_mwh"
        raise FieldError("the problem", "(numbers only)", f"{expected}: it says how many there are")
    lengths = [len(values) for _, values in found]
    if min(lengths) == max(lengths):
        return lengths[0]
    count = Counter(lengths).most_common(1)[0][0]
    like = next(path for path, values in found if len(values) == count)
    for path, values in found:
        if len(values) != count:
            expected = f"{count} values, as many as {like}"
            raise FieldError(path, f"{len(values)} values", expected)
    return count


def part_of(section: Stated, part: slice) -> Stated:
    """The section with a part of each of its lists by interval.

    Parameters
    ----------
    section : a dataclass with stated fields.
    part : the intervals to keep.

    Returns
    -------
    The section; all else is as it was.
    """
    changed: dict[str, Any] = {}
    for item in fields(section):  # type: ignore[arg-type]  # a dataclass
        value = getattr(section, item.name)
        if item.metadata.get("series"):
            if isinstance(value, np.ndarray):
                changed[item.name] = value[part]
        elif is_dataclass(value):
            changed[item.name] = part_of(value, part)
        elif isinstance(value, tuple) and any(map(is_dataclass, value)):
            changed[item.name] = tuple(part_of(inner, part) for inner in value)
    return replace(section, **changed)  # type: ignore[type-var]
