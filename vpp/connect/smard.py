"""SMARD (Bundesnetzagentur): prices, load, generation and day-ahead forecasts by quarter-hours.

Each series has a number and lies in files of a week; an index lists their beginnings. Values are
MWh of an interval, prices EUR/MWh, times milliseconds since 1970.

    python sources.py fetch smard --area DE-LU --from 2025-01-01 --to 2025-01-31
"""

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

TERMS = {"licence": "CC BY 4.0", "attribution": "Bundesnetzagentur | SMARD.de"}
PRICES = {  # area -> number of its series of prices
    "DE-LU": 4169,
    "AT": 4170,
    "BE": 4996,
    "NO2": 4997,
    "DK1": 252,
    "DK2": 253,
    "FR": 254,
    "IT-NORTH": 255,
    "NL": 256,
    "PL": 257,
    "CH": 259,
    "SI": 260,
    "CZ": 261,
    "HU": 262,
}
POWERS = {"load": (410,), "solar": (4068,), "wind": (4067, 1225)}
FORECASTS = {"solar": (125,), "wind": (123, 3791)}
HOURS = 0.25
ISSUED_LOCAL = "18:00"  # of the day before: when these forecasts have to be published


def fetch(web: Web, wanted: Wanted) -> list[Fetched]:
    """Prices of an area; for Germany also powers, and day-ahead forecasts of sun and wind.

    Parameters
    ----------
    web : the provider.
    wanted : span, site and area.

    Returns
    -------
    A market source, and for DE-LU a load, solar and wind source and two of forecasts.

    Raises
    ------
    ProviderError : the area is unknown, an answer is missing or of another shape.
    """
    if wanted.area not in PRICES:
        raise web.refusal(f"no area {wanted.area}; expected one of {', '.join(PRICES)}")
    found = [_price(web, wanted)]
    if wanted.area != "DE-LU":
        return found
    for kind, numbers_of in POWERS.items():
        values, step, notes = steps(web, _energy(web, wanted, numbers_of), wanted, kind)
        capacity = float(values.abs().max())
        name = f"{kind.capitalize()} of Germany"
        made = source(wanted, kind, f"{kind}-de", name, step, capacity_kw=capacity, **TERMS)
        found.append(one_value(made, values, notes))
    for kind, numbers_of in FORECASTS.items():
        found.append(
            issued(
                web,
                wanted,
                _energy(web, wanted, numbers_of),
                source_id=f"{kind}-forecast-de",
                name=f"Day-ahead forecast of {kind}, Germany",
                quantity=kind,
                regressor_of=(f"{kind}-de", "price-de-lu"),
                issued_local=ISSUED_LOCAL,
                terms=TERMS,
            )
        )
    return found


def _price(web: Web, wanted: Wanted) -> Fetched:
    area, number = wanted.area, PRICES[wanted.area]
    prices = _series(web, wanted, number, "DE", "quarterhour", "price")
    held, step, notes = steps(web, prices, wanted, "price", hold=True)
    name = f"Day-ahead price {area}"
    made = source(wanted, "market", f"price-{area.lower()}", name, step, price_area=area, **TERMS)
    return one_value(made, held, notes)


def _energy(web: Web, wanted: Wanted, numbers_of: tuple[int, ...]) -> pd.Series:
    """Mean powers [kW] of the sum of some series; an interval that one lacks is missing."""
    parts = [_series(web, wanted, number, "DE", "quarterhour", "energy") for number in numbers_of]
    return pd.concat(parts, axis=1).sum(axis=1, skipna=False).dropna() * 1000.0 / HOURS


def _series(
    web: Web, wanted: Wanted, number: int, region: str, resolution: str, name: str
) -> pd.Series:
    folder = f"{number}/{region}"
    index = web.json(f"{folder}/index_{resolution}.json", {})
    begins = as_times(web, take(web, index, "timestamps"), "timestamps", "ms")
    files = begins[begins < wanted.end]
    files = files[max(int((files <= wanted.start).sum()) - 1, 0) :]
    times, values = [], []
    for begin in files:
        stamp = begin.value // 10**6
        answer = web.json(f"{folder}/{number}_{region}_{resolution}_{stamp}.json", {})
        pairs = take(web, answer, "series")
        if not isinstance(pairs, list) or any(
            not isinstance(pair, list) or len(pair) != 2 for pair in pairs
        ):
            raise web.refusal("the answer's series is no list of pairs; its format has changed")
        times += [pair[0] for pair in pairs]
        values += [pair[1] for pair in pairs]
    return series(
        web, as_times(web, times, "series", "ms"), numbers(web, values, "series"), wanted, name
    )
