"""Weather and forecasts of any quantity: units that a file may state, and what they become.

    python sources.py import tso.csv --forecast load_mw:MW:tso-load --issued "D-1 10:00" --tz UTC

Power ends in kW, prices in EUR/MWh, temperatures in °C, speeds in m/s, irradiance in W/m².
"""

import re

from vpp.runtime.errors import one_of
from vpp.site.kinds import KINDS, SERIES_KINDS, WEATHER
from vpp.site.sources import Source, SourceError

# unit in small letters -> unit that it becomes, factor, what is added then
OTHER_UNITS = {
    "w/m2": ("W/m²", 1.0, 0.0),
    "kw/m2": ("W/m²", 1e3, 0.0),
    "c": ("°C", 1.0, 0.0),
    "k": ("°C", 1.0, -273.15),
    "f": ("°C", 5 / 9, -160 / 9),
    "m/s": ("m/s", 1.0, 0.0),
    "km/h": ("m/s", 1 / 3.6, 0.0),
    "kn": ("m/s", 1852 / 3600, 0.0),
    "mph": ("m/s", 0.44704, 0.0),
    "%": ("%", 1.0, 0.0),
    "hpa": ("hPa", 1.0, 0.0),
    "mm": ("mm", 1.0, 0.0),
    "-": ("-", 1.0, 0.0),
}
SHOWN_OTHER_UNITS = "W/m2, kW/m2, C, K, F, m/s, km/h, kn, mph, %, hPa, mm, -"
UNIT_OF_WEATHER = {column.name: column.unit for column in KINDS["weather"].values}
DERIVED = ("dni", "dhi")  # of the weather, from ghi, where the file lacks them
# what names of columns mean
_WORDS = {
    "dni": r"dni|direct.?normal|beam|gb\(n\)",
    "dhi": r"dhi|diffus|gd\(h\)",
    "ghi": r"ghi|global|short.?wave|ssrd|^g\(h\)",
    "temp_air": r"temp|t2m|t_?air",
    "wind_speed": r"wind.{0,3}(speed|geschw|vel)|ws\d*m?$|wspd|ff\d*$|wind",
}
_POWER_WORDS = {
    "load": r"load|last|demand|consum|verbrauch",
    "wind": r"wind",
    "solar": r"solar|photovolt|(?<![a-z])pv(?![a-z])|sun|sonne",
    "renewables": r"renewable|erneuerbar",
}
# the targets of a forecast that names none: sources of its site of these kinds
_TARGETS = {
    "load": ("load", "market"),
    "wind": ("wind", "market"),
    "solar": ("solar", "market"),
    "renewables": ("market",),
    "price": ("market",),
}


def plain_unit(text: str) -> str:
    """A unit in small letters without its signs: `W/m²` is `w/m2`, `°C` is `c`."""
    small = text.strip().lower().replace("²", "2").replace("^2", "2").replace("°", "")
    return {"degc": "c", "celsius": "c", "kelvin": "k", "degf": "f", "kt": "kn"}.get(small, small)


def weather_quantity(name: str, text: str) -> str:
    """Which quantity of the weather a column is.

    Parameters
    ----------
    name : of the column.
    text : the quantity as it was said; empty: by the name.

    Raises
    ------
    SourceError : there is no such quantity, or the name does not tell.
    """
    if text in WEATHER:
        return text
    if text:
        raise SourceError(f"--weather {name}: quantity {text!r}: {one_of(text, WEATHER)}")
    found = [key for key, words in _WORDS.items() if re.search(words, name, re.IGNORECASE)]
    if len(found) != 1:
        raise SourceError(
            f"--weather {name}: its name does not tell which quantity it is; say "
            f"COLUMN:UNIT:QUANTITY with one of {', '.join(WEATHER)}"
        )
    return found[0]


def forecast_quantity(name: str, source_id: str, unit: str) -> str:
    """Of what a forecast is: load, wind, solar, renewables, price, or a quantity of the weather.

    Parameters
    ----------
    name, source_id : of the column and of the source, which may tell it.
    unit : of the values once they are read.
    """
    if unit == "EUR/MWh":
        return "price"
    words = _POWER_WORDS if unit == "kW" else _WORDS
    for text in (source_id, name):
        found = [key for key, each in words.items() if re.search(each, text, re.IGNORECASE)]
        if len(found) == 1:
            return found[0]
    return "other"


def is_regressor_of(forecast: Source, target: Source) -> bool:
    """Whether a forecast that others issue helps to forecast a source.

    Its parameter `regressor_of` names the sources. Without it they are those of its site that its
    quantity belongs to: a load for loads and prices, wind for wind plants and prices, and so on;
    any other quantity for all.

    Parameters
    ----------
    forecast : of the kind `forecast`.
    target : a plant, a load or a market.
    """
    named = forecast.parameters.get("regressor_of")
    if named:
        return target.source_id in ([named] if isinstance(named, str) else named)
    kinds = _TARGETS.get(str(forecast.parameters.get("quantity")), SERIES_KINDS)
    return forecast.site_id == target.site_id and target.kind in kinds
