"""Columns of an imported CSV file: which one is meant, in which unit, and the numbers in it.

    python sources.py import year.csv --time-column time --tz UTC --load load:MW:load-1

Power ends in kW and prices in EUR/MWh. Energies are per step and are divided by its hours.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.runtime.errors import ConfigError, one_of
from vpp.site.sources import SourceError

# factor to kW or EUR/MWh
POWER_UNITS = {"w": 1e-3, "kw": 1.0, "mw": 1e3, "gw": 1e6}
ENERGY_UNITS = {"wh": 1e-3, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6}
PRICE_UNITS = {"eur/mwh": 1.0, "eur/kwh": 1e3, "ct/kwh": 10.0}
SHOWN_POWER_UNITS = "W, kW, MW, GW, Wh, kWh, MWh, GWh"
SHOWN_PRICE_UNITS = "EUR/MWh, EUR/kWh, ct/kWh"
# of SMARD, ENTSO-E, pandas and databases
MISSING = {"", "-", "–", "na", "n/a", "n/e", "nan", "null", "none"}


class ColumnError(SourceError, ConfigError):
    """A COLUMN:UNIT[:ID[:CAPACITY_KW]] of the command line cannot be used, whatever the file."""


@dataclass(frozen=True)
class Column:
    """One `--solar COLUMN:UNIT[:ID[:CAPACITY_KW]]` of the command line.

    Parameters
    ----------
    kind : of the source, such as `solar`.
    name : of the column in the file.
    unit : of its numbers, in small letters.
    source_id : of the source that it becomes.
    capacity_kw : largest power, where it is stated [kW].
    """

    kind: str
    name: str
    unit: str
    source_id: str
    capacity_kw: float | None

    def factor(self, step_min: int) -> float:
        """Give the factor from the column's numbers to kW or EUR/MWh, at a step [min]."""
        if self.unit in ENERGY_UNITS:
            return ENERGY_UNITS[self.unit] * 60 / step_min
        return (POWER_UNITS | PRICE_UNITS)[self.unit]


def parse_column(kind: str, text: str, header: Sequence[str]) -> Column:
    """Read COLUMN:UNIT[:ID[:CAPACITY_KW]]; the column's own name may contain colons.

    Parameters
    ----------
    kind : of the source.
    text : as it was typed.
    header : the names of the file's columns.

    Raises
    ------
    SourceError : no such column.
    ColumnError : unknown unit, or a capacity that is no positive number.
    """
    option = "price" if kind == "market" else kind
    names = [name for name in header if text == name or text.startswith(name + ":")]
    if not names and ":" in text:
        raise SourceError(
            f"--{option} {text}: no such column; {one_of(text.partition(':')[0], header)}"
        )
    name = max(names, key=len, default=text)
    unit, source_id, capacity, *rest = [*text[len(name) + 1 :].split(":"), "", ""]
    units = PRICE_UNITS if kind == "market" else POWER_UNITS | ENERGY_UNITS
    if unit.lower() not in units or any(rest):
        known = SHOWN_PRICE_UNITS if kind == "market" else SHOWN_POWER_UNITS
        raise ColumnError(
            f"--{option} {text}: unit {unit!r}: expected {option} as "
            f"COLUMN:UNIT[:ID[:CAPACITY_KW]] with a unit of {known}"
        )
    if capacity and kind == "market":
        raise ColumnError(f"--price {text}: a price has no capacity; expected COLUMN:UNIT[:ID]")
    try:
        capacity_kw = float(capacity) if capacity else None
    except ValueError:
        capacity_kw = -1.0
    if capacity_kw is not None and not 0 < capacity_kw < np.inf:
        raise ColumnError(f"--{option} {text}: capacity {capacity}: expected more than 0 kW")
    source_id = source_id or re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:63]
    return Column(kind, name, unit.lower(), source_id, capacity_kw)


def parse_numbers(text: pd.Series, decimal_comma: bool) -> tuple[pd.Series, pd.Series]:
    """Read numbers; thousands may be marked.

    Parameters
    ----------
    text : cells by line.
    decimal_comma : whether 1.234,5 is meant, else 1,234.5.

    Returns
    -------
    Numbers by line, NaN where one is missing or wrong, and which lines hold something that is no
    finite number.
    """
    missing = text.str.lower().isin(MISSING)
    if decimal_comma:
        clean = text.str.replace(".", "").str.replace(",", ".")
    else:
        clean = text.str.replace(",", "")
    numbers = pd.to_numeric(clean.where(~missing), errors="coerce")
    wrong = ~missing & ~np.isfinite(numbers)
    return numbers.where(~wrong), wrong


def uses_decimal_comma(text: pd.Series) -> bool:
    """Tell whether the last mark of the numbers is a comma, as in 1.234,5."""
    with_comma = text[text.str.contains(",", regex=False)]
    if with_comma.empty:
        return False
    return bool((with_comma.str.rfind(",") > with_comma.str.rfind(".")).all())
