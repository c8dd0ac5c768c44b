"""Energy-Charts (Fraunhofer ISE): day-ahead prices, load, generation, and day-ahead forecasts.

Areas are bidding zones (`DE-LU`, `FR`) for prices and countries (`de`, `fr`) for power; a bidding
zone's first two letters are taken for its country. Power is in MW, times are seconds since 1970.

    python sources.py fetch energy-charts --area DE-LU --from 2025-01-01 --to 2025-01-31
"""

from collections.abc import Iterator

import pandas as pd

from vpp.connect.answers import (
    Fetched,
    Wanted,
    as_times,
    day_ahead,
    market,
    numbers,
    power,
    series,
    take,
)
from vpp.connect.web import Web

TERMS = {"licence": "CC BY 4.0", "attribution": "energy-charts.info, Fraunhofer ISE"}
# kind -> production types that make it up, and what the forecasts call them
TYPES = {
    "load": {"Load": "load"},
    "solar": {"Solar": "solar"},
    "wind": {"Wind onshore": "wind_onshore", "Wind offshore": "wind_offshore"},
}
KW_FROM_MW = 1000.0
DAYS_AT_ONCE = 92


def fetch(web: Web, wanted: Wanted) -> list[Fetched]:
    """Prices, powers and day-ahead forecasts of an area.

    Parameters
    ----------
    web : the provider.
    wanted : span, site and area.

    Returns
    -------
    A market source, and of load, sun and wind, as far as the country has them, a source and one of
    its forecasts.

    Raises
    ------
    ProviderError : an answer is missing or of another shape.
    """
    country, found = wanted.area[:2].lower(), [price(web, wanted)]
    measured = _measured(web, wanted, country)
    for kind, types in TYPES.items():
        there = [name for name in types if name in measured]
        if not there:
            continue
        values = _inside(web, wanted, [measured[name] for name in there], kind)
        found.append(power(web, wanted, kind, country, values, TERMS))
        parts = [_forecast(web, wanted, country, types[name]) for name in there]
        values = _inside(web, wanted, parts, f"forecast of {kind}")
        found.append(day_ahead(web, wanted, kind, country, values, TERMS))
    return found


def price(web: Web, wanted: Wanted) -> Fetched:
    """The day-ahead prices of a bidding zone, on the finest step of the span.

    Parameters
    ----------
    web : the provider.
    wanted : span, site and area.

    Raises
    ------
    ProviderError : an answer is missing, or of another shape or unit.
    """
    parts = []
    for answer in _answers(web, wanted, "price", {"bzn": wanted.area}):
        unit = take(web, answer, "unit").replace(" ", "")
        if unit not in ("EUR/MWh", "€/MWh"):
            raise web.refusal(f"prices are in {unit}, expected EUR/MWh")
        parts.append(_by_time(web, answer, take(web, answer, "price"), "price"))
    every = pd.concat(parts)
    prices = series(web, pd.DatetimeIndex(every.index), every.to_numpy(), wanted, "price")
    return market(web, wanted, prices, TERMS)


def _answers(web: Web, wanted: Wanted, path: str, asked: dict[str, str]) -> Iterator[object]:
    """The answers of spans that one request can ask for; days are those of the area."""
    first = wanted.start.floor("D")
    while first < wanted.end:
        last = min(first + pd.Timedelta(days=DAYS_AT_ONCE), wanted.end.ceil("D"))
        before = first - pd.Timedelta(days=1)
        yield web.json(path, asked | {"start": f"{before:%Y-%m-%d}", "end": f"{last:%Y-%m-%d}"})
        first = last


def _by_time(web: Web, answer: object, values: object, name: str) -> pd.Series:
    times = as_times(web, take(web, answer, "unix_seconds"), "unix_seconds")
    found = numbers(web, values, name)
    if len(found) != len(times):
        raise web.refusal(f"{len(times)} times but {len(found)} values of {name}")
    return pd.Series(found, times)


def _measured(web: Web, wanted: Wanted, country: str) -> dict[str, pd.Series]:
    """The power of each production type [MW]."""
    parts: dict[str, list[pd.Series]] = {}
    for answer in _answers(web, wanted, "public_power", {"country": country}):
        for item in take(web, answer, "production_types"):
            name, data = take(web, item, "name"), take(web, item, "data")
            if any(name in types for types in TYPES.values()):
                parts.setdefault(name, []).append(_by_time(web, answer, data, name))
    return {name: _joined(found) for name, found in parts.items()}


def _forecast(web: Web, wanted: Wanted, country: str, production_type: str) -> pd.Series:
    """The day-ahead forecast of a production type [MW]."""
    asked = {
        "country": country,
        "production_type": production_type,
        "forecast_type": "day-ahead",
    }
    return _joined(
        [
            _by_time(web, answer, take(web, answer, "forecast_values"), production_type)
            for answer in _answers(web, wanted, "public_power_forecast", asked)
        ]
    )


def _joined(parts: list[pd.Series]) -> pd.Series:
    """The parts of a series, which overlap by days; what was asked last counts."""
    every = pd.concat(parts)
    return every[~every.index.duplicated(keep="last")].sort_index()


def _inside(web: Web, wanted: Wanted, parts: list[pd.Series], name: str) -> pd.Series:
    """The sum of some series in the wanted span [kW]; one that is unknown makes it unknown."""
    total = pd.concat(parts, axis=1).sum(axis=1, skipna=False) * KW_FROM_MW
    return series(web, pd.DatetimeIndex(total.index), total.to_numpy(), wanted, name)
