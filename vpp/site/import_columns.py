"""Columns of an imported file: which one is meant, in which unit, and whether its name agrees.

    python sources.py import year.csv --time-column time --tz UTC --load load:MW:load-1

Power ends in kW and prices in EUR/MWh. Energies are divided by the hours of their interval.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from vpp.runtime.errors import ConfigError, one_of
from vpp.site.kinds import KINDS, POWER_KINDS
from vpp.site.quantities import (
    OTHER_UNITS,
    SHOWN_OTHER_UNITS,
    UNIT_OF_WEATHER,
    forecast_quantity,
    plain_unit,
    weather_quantity,
)
from vpp.site.sources import SourceError

# factor to kW or EUR/MWh
POWER_UNITS = {"w": 1e-3, "kw": 1.0, "mw": 1e3, "gw": 1e6}
ENERGY_UNITS = {"wh": 1e-3, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6}
PRICE_UNITS = {"eur/mwh": 1.0, "eur/kwh": 1e3, "ct/kwh": 10.0}
SHOWN_POWER_UNITS = "W, kW, MW, GW, Wh, kWh, MWh, GWh"
SHOWN_PRICE_UNITS = "EUR/MWh, EUR/kWh, ct/kWh"
_OTHER_MONEY = re.compile(r"([a-z]{3})(/[mk]wh)")  # of another currency, such as aud/mwh
_POWER_NAME = re.compile(r"(?<![a-z])([kmg]?wh?)(?![a-z]|/m)", re.IGNORECASE)
_SMALL_MONEY = "ct|cents?|c|¢|p|pence|öre|øre|ore|oere|rp|rappen"
_PRICE_NAME = re.compile(
    rf"((?<![a-z])(?:{_SMALL_MONEY}|eur|euro|usd|aud|gbp|chf|sek|nok|dkk|pln|inr|jpy|cad|nzd|zar|brl)"
    r"|[€$£₹¥])(?:[ _]*(?:/|per|pro)[ _]*|[ _]+)([km])wh",
    re.IGNORECASE,
)
_A_PRICE_OF = re.compile(r"(?:/|(?<![a-z])(?:per|pro))[ _]*([km])wh", re.IGNORECASE)
_NOT_POWER = re.compile(
    r"(?<![a-z])(ghi|dni|dhi|gti|poa)(?![a-z])|irradian|radiation|w/m"
    r"|(?<![a-z])([kmg]var?h?|varh)(?![a-z])|(?<!in)reactive|apparent|blind(arbeit|leist)|scheinleist"
    r"|[\[(](m?a|k?v|hz|°c|m3|m³|l|bar)[\])]\s*$",
    re.IGNORECASE,
)
UNIT_COLUMNS = {
    "unit", "units", "uom", "einheit", "eenheid", "måleenhed", "maleenhed", "enhet", "unité",
    "unidad", "yksikkö", "unita", "unità", "unit_of_measurement",
}  # fmt: skip


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
    quantity : of weather and of forecasts, such as `temp_air` or `load`.
    currency : label of its money.
    """

    kind: str
    name: str
    unit: str
    source_id: str
    capacity_kw: float | None
    quantity: str = ""
    currency: str = "EUR"

    @property
    def is_energy(self) -> bool:
        """Whether its numbers are energies."""
        return self.unit in ENERGY_UNITS

    @property
    def factor(self) -> float:
        """From its numbers to kW, kWh, EUR/MWh or the unit of its quantity."""
        others = {unit: factor for unit, (_, factor, _) in OTHER_UNITS.items()}
        return (POWER_UNITS | PRICE_UNITS | ENERGY_UNITS | others)[self.unit]

    @property
    def offset(self) -> float:
        """Number that is added after the factor, as from K to °C."""
        return OTHER_UNITS.get(self.unit, ("", 1.0, 0.0))[2]

    @property
    def option(self) -> str:
        """The option that named it."""
        return "--price" if self.kind == "market" else f"--{self.kind}"

    @property
    def result_unit(self) -> str:
        """The unit that its numbers end in."""
        if self.unit in OTHER_UNITS:
            return OTHER_UNITS[self.unit][0]
        return f"{self.currency}/MWh" if self.unit in PRICE_UNITS else "kW"

    def limits(self, price_limits: tuple[float, float]) -> tuple[float, float]:
        """Give the least and the largest value that is possible, of prices, weather, forecasts.

        Parameters
        ----------
        price_limits : of prices [EUR/MWh].
        """
        if self.unit in PRICE_UNITS:
            return price_limits
        for known in KINDS["weather"].values:
            if self.quantity == known.name and UNIT_OF_WEATHER[known.name] == self.result_unit:
                return known.least, known.most
        return -math.inf, math.inf


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
    if kind in ("weather", "forecast"):
        return _of_quantity(kind, name, text)
    unit, source_id, capacity, *rest = [*text[len(name) + 1 :].split(":"), "", ""]
    units = PRICE_UNITS if kind == "market" else POWER_UNITS | ENERGY_UNITS
    money = _OTHER_MONEY.fullmatch(unit.lower()) if kind == "market" else None
    if money is not None:
        unit = f"eur{money[2]}"
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
    if capacity_kw is not None and not 0 < capacity_kw < math.inf:
        raise ColumnError(f"--{option} {text}: capacity {capacity}: expected more than 0 kW")
    currency = money[1].upper() if money else "EUR"
    source_id = source_id or _id_of(name)
    return Column(kind, name, unit.lower(), source_id, capacity_kw, currency=currency)


def check_currency(columns: Iterable[Column], currency: str) -> None:
    """Refuse prices in another currency than the site's: no rate of exchange is known.

    Parameters
    ----------
    columns : that were read.
    currency : label of the site's money; a unit of EUR stands for it, whatever it is.

    Raises
    ------
    ColumnError : a column is in another currency.
    """
    for column in columns:
        if column.currency not in ("EUR", currency.upper()):
            raise ColumnError(
                f"--price {column.name}: its prices are in {column.currency}, the site's money is "
                f"{currency}; say [tariff] currency = {column.currency} in the configuration"
            )


def _id_of(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-_.")[:63]


def _of_quantity(kind: str, name: str, text: str) -> Column:
    """A column of weather, COLUMN:UNIT[:QUANTITY], or a forecast, COLUMN:UNIT[:ID[:QUANTITY]]."""
    said, *more = text[len(name) + 1 :].split(":")
    unit, most = plain_unit(said), 1 if kind == "weather" else 2
    energies, prices = POWER_UNITS | ENERGY_UNITS, {} if kind == "weather" else PRICE_UNITS
    known = OTHER_UNITS if kind == "weather" else energies | prices | OTHER_UNITS
    if unit not in known or len(more) > most:
        form = "COLUMN:UNIT[:QUANTITY]" if kind == "weather" else "COLUMN:UNIT[:ID[:QUANTITY]]"
        powers = "" if kind == "weather" else f"{SHOWN_POWER_UNITS}, {SHOWN_PRICE_UNITS}, "
        raise ColumnError(
            f"--{kind} {text}: unit {said!r}: expected {form} with a unit of "
            f"{powers}{SHOWN_OTHER_UNITS}"
        )
    first, second = [*more, "", ""][:2]
    if kind == "forecast":
        source_id = first or _id_of(name)
        column = Column(kind, name, unit, source_id, None)
        found = second or forecast_quantity(name, source_id, column.result_unit)
        return replace(column, quantity=found)
    quantity = weather_quantity(name, first)
    column = Column(kind, name, unit, quantity, None, quantity)
    if column.result_unit != UNIT_OF_WEATHER[quantity]:
        expected = [
            key for key, item in OTHER_UNITS.items() if item[0] == UNIT_OF_WEATHER[quantity]
        ]
        raise ColumnError(
            f"--weather {text}: {quantity} in {said}: expected one of {', '.join(expected)}"
        )
    return column


def unit_of_text(text: str, kind: str) -> str:
    """Find the unit that a name, a line of units or a cell states; empty where there is none.

    Parameters
    ----------
    text : such as `Netzlast [MWh]`, `load_mw`, `€/kWh`.
    kind : of the source.
    """
    if kind == "market":
        found = _PRICE_NAME.search(text)
        if found is None:
            return ""
        if re.fullmatch(_SMALL_MONEY, found[1].lower()):
            return "ct/kwh" if found[2].lower() == "k" else ""
        return f"eur/{found[2].lower()}wh"
    words = text.replace("_", " ")
    units = [
        unit.lower()
        for unit in _POWER_NAME.findall(words)
        if len(unit) > 1 or unit == "W" or words.lower().endswith(" w")
    ]
    return units[-1] if units else ""


def check_unit(column: Column, text: str, where: str, scaled: bool = False) -> str:
    """Refuse a unit that contradicts what the file says.

    Parameters
    ----------
    column : as it was asked for.
    text : that may state a unit.
    where : it stands, for the message.
    scaled : whether another size of the same unit, such as Wh for kWh, is a warning only.

    Returns
    -------
    The warning; else nothing.

    Raises
    ------
    ColumnError : the file states another unit.
    """
    if column.kind not in POWER_KINDS and column.kind != "market":
        return _check_stated(column, text, where)
    if column.kind != "market" and _NOT_POWER.search(text):
        raise ColumnError(
            f"{column.option} {column.name}: {where} says {text!r}, which is no power; expected "
            "a column of power or energy (--unit-as-said if it is one)"
        )
    if re.search(r"(^|[\s(\[])%[)\]]?$", text):
        raise ColumnError(
            f"{column.option} {column.name}: {where} says {text!r}, which is a share; expected a "
            f"column in {column.unit} (--unit-as-said if it is one)"
        )
    stated = unit_of_text(text, column.kind)
    of = _A_PRICE_OF.search(text) if column.kind == "market" and not stated else None
    if of and not column.unit.endswith(f"/{of[1].lower()}wh"):
        raise ColumnError(
            f"{column.option} {column.name}: {where} says {text!r}, a price of a {of[1]}Wh, but "
            f"{column.unit} was said (--unit-as-said if yours is right)"
        )
    if not stated or stated == column.unit:
        return ""
    shown = next(
        unit
        for unit in (*SHOWN_POWER_UNITS.split(", "), *SHOWN_PRICE_UNITS.split(", "))
        if unit.lower() == stated
    )
    if scaled and column.kind != "market" and (stated in ENERGY_UNITS) == column.is_energy:
        return f"{column.name}: {where} says {shown}, taken as {column.unit} as you said"
    raise ColumnError(
        f"{column.option} {column.name}: its unit is {shown} by {where}, but {column.unit} was "
        f"said; say {column.option} {column.name}:{shown} (--unit-as-said if yours is right)"
    )


def _check_stated(column: Column, text: str, where: str) -> str:
    """Refuse the unit of weather or a forecast where the file states another one in brackets."""
    found = re.search(r"[\[(]([^\])]+)[\])]\s*$", text)
    stated = plain_unit(found[1] if found else text)
    known = POWER_UNITS | ENERGY_UNITS | PRICE_UNITS | OTHER_UNITS
    power = "" if column.unit in OTHER_UNITS else unit_of_text(text, "load")
    stated = stated if stated in known else power
    if not stated or stated == column.unit:
        return ""
    raise ColumnError(
        f"{column.option} {column.name}: its unit is {stated} by {where}, but {column.unit} was "
        "said (--unit-as-said if yours is right)"
    )


def with_capacity(columns: Sequence[Column], capacity_kw: float | None) -> list[Column]:
    """Give the one plant or load its capacity.

    Parameters
    ----------
    columns : that are read.
    capacity_kw : of `--capacity`; None leaves all as they are [kW].

    Raises
    ------
    ColumnError : there is not one plant or load, or the capacity is not above zero.
    """
    if capacity_kw is None:
        return list(columns)
    if not 0 < capacity_kw < math.inf:
        raise ColumnError(f"--capacity {capacity_kw:g}: expected more than 0 kW")
    if sum(column.kind in POWER_KINDS for column in columns) != 1:
        raise ColumnError(
            "--capacity: is of one plant or load; with several say COLUMN:UNIT:ID:CAPACITY_KW"
        )
    return [
        replace(column, capacity_kw=capacity_kw) if column.kind in POWER_KINDS else column
        for column in columns
    ]
