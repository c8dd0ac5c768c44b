"""Dataclasses whose fields state their bounds, and refuse values outside them.

python -c "from vpp.runtime.fields import check_zone; check_zone('zone', 'Europe/Brussels')"
"""

import dataclasses
import math
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from vpp.runtime.errors import FieldError

USUAL_COUNTRY = "LU"  # is not looked up: the library takes a while to import


def number(
    default: float | None, low: float = -math.inf, high: float = math.inf, above: float = -math.inf
) -> Any:
    """Make a dataclass's field that holds a number within bounds.

    Parameters
    ----------
    default : its value where none is given.
    low, high : least and largest value.
    above : values are more than this.
    """
    return field(default=default, metadata={"low": low, "high": high, "above": above})


def choice(default: object, *choices: object) -> Any:
    """Make a dataclass's field that holds one of some values.

    Parameters
    ----------
    default : its value where none is given.
    *choices : the values that it takes.
    """
    return field(default=default, metadata={"choices": choices})


@dataclass(frozen=True)
class Section:
    """Base of all sections: refuses a value outside the bounds or choices that its field states.

    Raises
    ------
    FieldError : the first such value.
    """

    def __post_init__(self) -> None:
        kind: type = type(self)
        for name, meta in _limited(kind):
            value = getattr(self, name)
            if "choices" in meta and value not in meta["choices"]:
                raise FieldError(name, value, "one of " + ", ".join(map(str, meta["choices"])))
            if "low" in meta and value is not None:
                _check_bounds(name, value, meta["low"], meta["high"], meta["above"])


@cache
def _limited(kind: type) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Name and limits of each field of a dataclass that has some."""
    items = dataclasses.fields(kind)
    return tuple((i.name, i.metadata) for i in items if {"choices", "low"} & i.metadata.keys())


def _check_bounds(key: str, value: Any, low: float, high: float, above: float) -> None:
    if isinstance(value, np.ndarray):
        if low > -math.inf or high < math.inf or above > -math.inf:
            wrong = np.flatnonzero((value < low) | (value > high) | (value <= above))
            if len(wrong):
                _check_bounds(f"{key}[{wrong[0]}]", value[wrong[0]].item(), low, high, above)
        return
    if low <= value <= high and value > above:
        return
    expected = "a number"
    if above > -math.inf:
        expected = f"more than {above:g}"
    elif low > -math.inf:
        expected = f"{low:g} or more"
    raise FieldError(key, value, expected + (f" and at most {high:g}" if high < math.inf else ""))


def is_time_zone(name: object) -> bool:
    """Tell whether a name is that of an IANA time zone of this machine."""
    try:
        zoneinfo.ZoneInfo(name)  # type: ignore[arg-type]  # a wrong type is what we ask about
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        return False
    return True


def check_zone(key: str, name: str) -> None:
    """Refuse a field whose value is not an IANA time zone.

    Parameters
    ----------
    key : name of the field, for the message.
    name : its value.

    Raises
    ------
    FieldError : there is no such zone.
    """
    if not is_time_zone(name):
        raise FieldError(key, name, "an IANA time zone such as Europe/Brussels")


def check_country(key: str, code: str) -> None:
    """Refuse a field whose value is not the code of a country with known holidays, or nothing.

    Parameters
    ----------
    key : name of the field, for the message.
    code : its value.

    Raises
    ------
    FieldError : there is no such country.
    """
    if code in ("", USUAL_COUNTRY):
        return
    import holidays

    try:
        holidays.country_holidays(code)
    except NotImplementedError:
        raise FieldError(key, code, "a country's code such as LU, or nothing") from None
