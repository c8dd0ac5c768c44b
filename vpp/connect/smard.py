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
    day_ahead,
    market,
    numbers,
    power,
    series,
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
    found = [market(web, wanted, _series(web, wanted, PRICES[wanted.area], "price"), TERMS)]
    if wanted.area == "DE-LU":
        for kind, numbers_of in POWERS.items():
            found.append(power(web, wanted, kind, "de", _energy(web, wanted, numbers_of), TERMS))
        for kind, numbers_of in FORECASTS.items():
            values = _energy(web, wanted, numbers_of)
            found.append(day_ahead(web, wanted, kind, "de", values, TERMS))
    return found


def _energy(web: Web, wanted: Wanted, numbers_of: tuple[int, ...]) -> pd.Series:
    """Mean powers [kW] of the sum of some series; an interval that one lacks is missing."""
    parts = [_series(web, wanted, number, "energy") for number in numbers_of]
    return pd.concat(parts, axis=1).sum(axis=1, skipna=False).dropna() * 1000.0 / HOURS


def _series(web: Web, wanted: Wanted, number: int, name: str) -> pd.Series:
    """A series of quarter-hours; Germany's folder has the prices of its neighbours, too."""
    folder = f"{number}/DE"
    index = web.json(f"{folder}/index_quarterhour.json", {})
    begins = as_times(web, take(web, index, "timestamps"), "timestamps", "ms")
    files = begins[begins < wanted.end]
    files = files[max(int((files <= wanted.start).sum()) - 1, 0) :]
    times, values = [], []
    for begin in files:
        stamp = begin.value // 10**6
        answer = web.json(f"{folder}/{number}_DE_quarterhour_{stamp}.json", {})
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
