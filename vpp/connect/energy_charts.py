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
    issued,
    numbers,
    one_value,
    series,
    source,
    steps,
    take,
)
from vpp.connect.web import Web

TERMS = {"licence": "CC BY 4.0", "attribution": "energy-charts.info, Fraunhofer ISE"}
# kind -> the production types that make it up
POWERS = {"load": ("Load",), "solar": ("Solar",), "wind": ("Wind onshore", "Wind offshore")}
FORECASTS = {"load": ("load",), "solar": ("solar",), "wind": ("wind_onshore", "wind_offshore")}
ISSUED_LOCAL = "18:00"  # of the day before: when day-ahead forecasts have to be published
DAYS_AT_ONCE = 92


def fetch(web: Web, wanted: Wanted) -> list[Fetched]:
    """Prices, powers and day-ahead forecasts of an area.

    Parameters
    ----------
    web : the provider.
    wanted : span, site and area.

    Returns
    -------
    A market, a load, solar and wind source, and a forecast source of each of the three.

    Raises
    ------
    ProviderError : an answer is missing or of another shape.
    """
    country = wanted.area[:2].lower()
    return [price(web, wanted), *_powers(web, wanted, country), *_forecasts(web, wanted, country)]


def _pieces(wanted: Wanted) -> Iterator[dict[str, str]]:
    """Spans that one request can ask for; both days are included."""
    first = wanted.start.floor("D")
    while first < wanted.end:
        last = min(first + pd.Timedelta(days=DAYS_AT_ONCE), wanted.end.ceil("D"))
        # a day more on either side, since days are those of the area
        yield {
            "start": f"{first - pd.Timedelta(days=1):%Y-%m-%d}",
            "end": f"{last:%Y-%m-%d}",
        }
        first = last


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
    for piece in _pieces(wanted):
        answer = web.json("price", {"bzn": wanted.area, **piece})
        unit = take(web, answer, "unit").replace(" ", "")
        if unit not in ("EUR/MWh", "€/MWh"):
            raise web.refusal(f"prices are in {unit}, expected EUR/MWh")
        times = as_times(web, take(web, answer, "unix_seconds"), "unix_seconds")
        parts.append(pd.Series(numbers(web, take(web, answer, "price"), "price"), times))
    every = pd.concat(parts)
    prices = series(web, pd.DatetimeIndex(every.index), every.to_numpy(), wanted, "price")
    held, step, notes = steps(web, prices, wanted, "price", hold=True)
    name = f"Day-ahead price {wanted.area}"
    market = source(
        wanted,
        "market",
        f"price-{wanted.area.lower()}",
        name,
        step,
        price_area=wanted.area,
        **TERMS,
    )
    return one_value(market, held, notes)


def _powers(web: Web, wanted: Wanted, country: str) -> Iterator[Fetched]:
    parts: dict[str, list[pd.Series]] = {kind: [] for kind in POWERS}
    for piece in _pieces(wanted):
        answer = web.json("public_power", {"country": country, **piece})
        times = as_times(web, take(web, answer, "unix_seconds"), "unix_seconds")
        listed = take(web, answer, "production_types")
        data = {take(web, item, "name"): take(web, item, "data") for item in listed}
        for kind, names in POWERS.items():
            there = [name for name in names if name in data]
            if not there:
                raise web.refusal(f"no {names[0]} among the production types: {', '.join(data)}")
            # one of them unknown makes the sum unknown
            total = sum(pd.Series(numbers(web, data[name], name), times) for name in there)
            parts[kind].append(total)
    for kind, found in parts.items():
        every = pd.concat(found) * 1000.0
        values = series(web, pd.DatetimeIndex(every.index), every.to_numpy(), wanted, kind)
        held, step, notes = steps(web, values, wanted, kind)
        made = source(
            wanted,
            kind,
            f"{kind}-{country}",
            f"{kind.capitalize()} of {country.upper()}",
            step,
            capacity_kw=float(held.abs().max()),
            **TERMS,
        )
        yield one_value(made, held, notes)


def _forecasts(web: Web, wanted: Wanted, country: str) -> Iterator[Fetched]:
    for kind, types in FORECASTS.items():
        totals = []
        for piece in _pieces(wanted):
            total = None
            for production_type in types:
                asked = {
                    "country": country,
                    "production_type": production_type,
                    "forecast_type": "day-ahead",
                }
                answer = web.json("public_power_forecast", asked | piece)
                times = as_times(web, take(web, answer, "unix_seconds"), "unix_seconds")
                values = numbers(web, take(web, answer, "forecast_values"), "forecast_values")
                one = pd.Series(values, times)
                total = one if total is None else total + one
            totals.append(total)
        every = pd.concat(totals) * 1000.0
        values = series(web, pd.DatetimeIndex(every.index), every.to_numpy(), wanted, kind)
        yield issued(
            web,
            wanted,
            values,
            source_id=f"{kind}-forecast-{country}",
            name=f"Day-ahead forecast of {kind}, {country.upper()}",
            quantity=kind,
            regressor_of=(f"{kind}-{country}", f"price-{wanted.area.lower()}"),
            issued_local=ISSUED_LOCAL,
            terms=TERMS,
        )
