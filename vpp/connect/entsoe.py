"""ENTSO-E Transparency Platform: day-ahead prices, load, generation, and day-ahead forecasts.

Areas are those of entsoe-py (`DE_LU`, `BE`, `NL`). A key of one's own is needed: `[connect]
entsoe_key` or VPP_ENTSOE_KEY. Curves that leave out repeated values (A03) are filled; of prices
only the first sequence counts, since others are of other auctions.

    python sources.py fetch entsoe --area DE_LU --from 2025-01-01 --to 2025-01-31
"""

from collections.abc import Iterator
from xml.etree import ElementTree

import pandas as pd

from vpp.connect.answers import Fetched, Wanted, day_ahead, market, power, series, slug
from vpp.connect.web import Web

TERMS = {
    "licence": "ENTSO-E Transparency Platform terms, source named",
    "attribution": "ENTSO-E Transparency Platform",
}
KW_FROM_MW = 1000.0
DAYS_AT_ONCE = 90
RESOLUTIONS_MIN = {"PT15M": 15, "PT30M": 30, "PT60M": 60, "PT1H": 60}
PLANTS = {"solar": ("B16",), "wind": ("B19", "B18")}  # kind -> production types that make it up
NO_DATA = "No matching data found"


def fetch(web: Web, wanted: Wanted) -> list[Fetched]:
    """Prices, powers and day-ahead forecasts of an area.

    Parameters
    ----------
    web : the provider, with the key among its secrets.
    wanted : span, site and area.

    Returns
    -------
    A market, a load, solar and wind source, and a forecast source of each of the three, as far as
    the area has them.

    Raises
    ------
    ProviderError : the area is unknown, an answer is missing or of another shape.
    """
    code, area = _code(web, wanted), slug(wanted.area)
    prices = _asked(web, wanted, {"documentType": "A44", "in_Domain": code, "out_Domain": code})
    if prices is None:
        raise web.refusal(f"no prices of {wanted.area} in this span")
    found = [market(web, wanted, prices, TERMS)]
    for kind, actual, forecast in _series(web, wanted, code):
        if actual is not None:
            found.append(power(web, wanted, kind, area, actual * KW_FROM_MW, TERMS))
        if actual is not None and forecast is not None:
            found.append(day_ahead(web, wanted, kind, area, forecast * KW_FROM_MW, TERMS))
    return found


def _code(web: Web, wanted: Wanted) -> str:
    """The platform's code of the area."""
    from entsoe.mappings import lookup_area

    try:
        return lookup_area(wanted.area).code
    except (KeyError, ValueError):
        raise web.refusal(
            f"no area {wanted.area}; expected one of entsoe-py's, such as DE_LU"
        ) from None


def _series(
    web: Web, wanted: Wanted, code: str
) -> Iterator[tuple[str, pd.Series | None, pd.Series | None]]:
    """Kind, actual and forecast power [MW] of load, sun and wind."""
    load = {"documentType": "A65", "outBiddingZone_Domain": code}
    yield (
        "load",
        _asked(web, wanted, load | {"processType": "A16"}),
        _asked(web, wanted, load | {"processType": "A01"}),
    )
    for kind, types in PLANTS.items():
        parts: dict[str, list[pd.Series]] = {"A75": [], "A69": []}
        for document, process in (("A75", "A16"), ("A69", "A01")):
            for psr in types:
                one = {"documentType": document, "processType": process, "in_Domain": code}
                found = _asked(web, wanted, one | {"psrType": psr})
                if found is not None:
                    parts[document].append(found)
        yield kind, _sum(parts["A75"]), _sum(parts["A69"])


def _sum(parts: list[pd.Series]) -> pd.Series | None:
    if not parts:
        return None
    return pd.concat(parts, axis=1).sum(axis=1, skipna=False).dropna()


def _asked(web: Web, wanted: Wanted, parameters: dict[str, str]) -> pd.Series | None:
    """The values of a document over the whole span; None where there is none."""
    parts, first = [], wanted.start
    while first < wanted.end:
        last = min(first + pd.Timedelta(days=DAYS_AT_ONCE), wanted.end)
        span = {"periodStart": f"{first:%Y%m%d%H%M}", "periodEnd": f"{last:%Y%m%d%H%M}"}
        text = web.text("", parameters | span)
        if NO_DATA not in text:
            parts.append(_document(web, text))
        first = last
    if not parts:
        return None
    every = pd.concat(parts)
    name = parameters["documentType"]
    return series(web, pd.DatetimeIndex(every.index), every.to_numpy(), wanted, name)


def _document(web: Web, text: str) -> pd.Series:
    """The values of a document by time [UTC]."""
    if "<!DOCTYPE" in text[:1000]:
        raise web.refusal("the answer declares a document type, which no such document has")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise web.refusal(f"the answer is no XML: {error}") from None
    found = []
    for part in _all(root, "TimeSeries"):
        sequence = _first(part, "classificationSequence_AttributeInstanceComponent.position", "1")
        # generation that is consumption, such as of pumps, names its zone otherwise
        consumed = _first(part, "outBiddingZone_Domain.mRID", "")
        if sequence == "1" and not (consumed and _first(part, "MktPSRType", None) is not None):
            found += [_period(web, period) for period in _all(part, "Period")]
    if not found:
        raise web.refusal("the answer has no time series; its format has changed")
    return pd.concat(found)


def _period(web: Web, period: ElementTree.Element) -> pd.Series:
    resolution = _first(period, "resolution", "")
    if resolution not in RESOLUTIONS_MIN:
        raise web.refusal(
            f"a resolution of {resolution or 'nothing'}; expected {', '.join(RESOLUTIONS_MIN)}"
        )
    try:
        start, end = (pd.Timestamp(_first(period, name, "")) for name in ("start", "end"))
        index = pd.date_range(
            start, end, freq=f"{RESOLUTIONS_MIN[resolution]}min", inclusive="left"
        ).tz_convert("UTC")
        values = pd.Series(float("nan"), index)
        for point in _all(period, "Point"):
            value = _first(point, "price.amount", "") or _first(point, "quantity", "")
            values.iloc[int(_first(point, "position", "0") or 0) - 1] = float(value or "nan")
    except (ValueError, IndexError, TypeError) as error:
        raise web.refusal(f"a period of the answer cannot be read: {error}") from None
    return values.ffill()  # a value that is left out is the one before


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _all(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [item for item in element.iter() if _name(item) == name]


def _first(element: ElementTree.Element, name: str, default: str | None) -> str | None:
    """The text of the first element of this name."""
    found = _all(element, name)
    return (found[0].text or "") if found else default
