"""Numbers and times in words, as the report shows them.

Numbers have few digits: the page is for reading, the tables of the scripts have the rest.

    python -c "from vpp.report.words import energy; print(energy(2_500))"
"""

import html
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import pandas as pd

MW_FROM_KW = 10_000.0  # from here on powers are shown in MW
_currency: ContextVar[str] = ContextVar("currency", default="EUR")


def power_unit(largest_kw: float) -> tuple[float, str]:
    """The divisor and the unit in which powers up to `largest_kw` [kW] are shown."""
    return (1000.0, "MW") if largest_kw >= MW_FROM_KW else (1.0, "kW")


def amount(value: float | None, unit: str) -> str:
    """A value [unit] at three significant digits, from a thousand on in full; – for None.

    Parameters
    ----------
    value : in this unit; None where it is not known.
    unit : as shown."""
    if value is None or not np.isfinite(value):
        return "–"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}"
    return f"{text if float(text.replace(',', '')) else '0'} {unit}"


def energy(kwh: float) -> str:
    """An energy [kWh], in MWh from 1,000 kWh on."""
    return amount(kwh / 1000, "MWh") if abs(kwh) >= 1000 else amount(kwh, "kWh")


def power(kw: float) -> str:
    """A power [kW], in MW from 1,000 kW on."""
    return amount(kw / 1000, "MW") if abs(kw) >= 1000 else amount(kw, "kW")


def currency() -> str:
    """The label of money on the page that is being written."""
    return _currency.get()


@contextmanager
def shown_in(label: str) -> Iterator[None]:
    """Label all money that is written inside with a currency.

    Parameters
    ----------
    label : such as EUR."""
    token = _currency.set(label)
    try:
        yield
    finally:
        _currency.reset(token)


def money_text(value: float | None) -> str:
    """An amount of money in the page's currency, to the cent below a thousand; – for None."""
    if value is None or not np.isfinite(value):
        return "–"
    label = "€" if currency() == "EUR" else currency()
    return f"{'−' * (value <= -0.005)}{abs(value):,.{0 if abs(value) >= 1000 else 2}f} {label}"


def price_unit() -> str:
    """The unit of prices, such as EUR/MWh."""
    return f"{currency()}/MWh"


def clock(time: pd.Timestamp, zone: str, with_day: bool = True, with_year: bool = False) -> str:
    """A time in a zone, such as "Mon 30 Dec 17:00".

    Parameters
    ----------
    time : any time with a zone.
    zone : the zone in which it is shown.
    with_day, with_year : whether the day and its year are told."""
    local = time.tz_convert(zone)
    if not with_day:
        return f"{local:%H:%M}"
    year = f" {local:%Y}" if with_year else ""
    return f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M}"


def zone_name(times: Iterable[pd.Timestamp], zone: str) -> str:
    """The zone with its name at these times: "Europe/Brussels (CET)".

    Parameters
    ----------
    times : the times at which it is named.
    zone : the zone."""
    names = dict.fromkeys(time.tz_convert(zone).tzname() or "" for time in times)
    return f"{zone} ({' / '.join(names)})"


def escape(value: object) -> str:
    """Text for the page or for a figure, which takes a subset of HTML for markup, too."""
    return html.escape(str(value), quote=True)


def counted(count: int | None) -> str:
    """A count; – where it is not known."""
    return "–" if count is None else f"{count:,}"


def joined(parts: Sequence[str]) -> str:
    """Parts as a list in a sentence: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
