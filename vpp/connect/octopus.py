"""Octopus Energy (Great Britain): the half-hourly unit rates of an Agile tariff.

The area is the tariff, such as `E-1R-AGILE-24-10-01-C` (the last letter is the region). Rates are
with value-added tax, in pence a kWh, which become GBP/MWh: set `[tariff] currency = GBP`.

    python sources.py fetch octopus --area E-1R-AGILE-24-10-01-C --from 2025-01-01 --to 2025-01-31
"""

import re

import pandas as pd

from vpp.connect.answers import Fetched, Wanted, market, numbers, series, take
from vpp.connect.web import Web

TERMS = {"licence": "see octopus.energy", "attribution": "Octopus Energy"}
PENCE_A_KWH = 10.0  # GBP/MWh
PAGE, PAGES_MAX = 1500, 1000


def fetch(web: Web, wanted: Wanted) -> list[Fetched]:
    """The unit rates of a tariff, as a market.

    Parameters
    ----------
    web : the provider.
    wanted : span, site, and the tariff as area.

    Returns
    -------
    One market source.

    Raises
    ------
    ProviderError : the tariff's name is none, an answer is missing or of another shape.
    """
    tariff = wanted.area
    found = re.fullmatch(r"[EG]-\dR-(.+)-([A-P])", tariff)
    if not found:
        raise web.refusal(f"no tariff {tariff}; expected one such as E-1R-AGILE-24-10-01-C")
    path = f"v1/products/{found[1]}/electricity-tariffs/{tariff}/standard-unit-rates/"
    asked = {
        "period_from": f"{wanted.start:%Y-%m-%dT%H:%MZ}",
        "period_to": f"{wanted.end:%Y-%m-%dT%H:%MZ}",
        "page_size": PAGE,
    }
    times, values = [], []
    for page in range(1, PAGES_MAX + 1):
        answer = web.json(path, asked | {"page": page})
        for result in take(web, answer, "results"):
            times.append(take(web, result, "valid_from"))
            values.append(take(web, result, "value_inc_vat"))
        if take(web, answer, "next") is None:
            break
    try:
        index = pd.DatetimeIndex(pd.to_datetime(times, utc=True, format="ISO8601"))
    except (ValueError, TypeError):
        raise web.refusal("the answer's valid_from is no time; its format has changed") from None
    rates = numbers(web, values, "value_inc_vat") * PENCE_A_KWH
    return [market(web, wanted, series(web, index, rates, wanted, "rates"), TERMS)]
