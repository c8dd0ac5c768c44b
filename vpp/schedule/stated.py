"""A field of the problem file: its meaning, default and bounds; reader and schema follow them.

python -m vpp.schedule.problem_file
"""

import math
from dataclasses import MISSING, field
from typing import Any


def stated(about: str, default: Any = MISSING, **bounds: Any) -> Any:
    """A field of the problem file.

    Parameters
    ----------
    about : its meaning, with the unit.
    default : its value where the file has none; without it the file must have one.
    bounds : `low`, `high` and `above` (more than) of a number or of each value of a series,
        `least_length` of a text or a list, and `series` (true for a number or a list of one an
        interval), with `null`, the number that null stands for in such a list.

    Returns
    -------
    The field of a dataclass.
    """
    if bounds.keys() & {"low", "high", "above"}:
        bounds = {"low": -math.inf, "high": math.inf, "above": -math.inf} | bounds
    return field(default=default, metadata={"about": about} | bounds)
