"""Numbers and times in words, as the report shows them.

Numbers have few digits: the page is for reading, the tables of the scripts have the rest.

    python -c "from vpp.report.words import energy; print(energy(2_500))"
"""

import html
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from zoneinfo import ZoneInfo

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


def even(values: Iterable[float | None], digits: int | None = None, sign: str = "") -> list[str]:
    """Numbers of a column with the same count of decimals.

    Parameters
    ----------
    values : in one unit; one that is None or NaN is told as –.
    digits : decimals; None: as the largest needs them for three significant digits.
    sign : "+" tells it of numbers above 0, too."""
    numbers = [np.nan if value is None else float(value) for value in values]
    if digits is None:
        largest = max((abs(number) for number in numbers if np.isfinite(number)), default=0.0)
        digits = 0 if largest >= 100 else 1 if largest >= 10 else 2
    texts = [f"{number:{sign},.{digits}f}" if np.isfinite(number) else "–" for number in numbers]
    return [text if text.strip("+-0.,") else text.lstrip("+-") for text in texts]


def even_energies(kwh: Iterable[float]) -> list[str]:
    """Energies [kWh] of a column: all in the unit of the largest, with the same decimals.

    Parameters
    ----------
    kwh : the energies."""
    values = list(kwh)
    mega = max(map(abs, values), default=0.0) >= 1000
    texts = even([value / 1000 for value in values], 2) if mega else even(values, 1)
    return [f"{text} {'MWh' if mega else 'kWh'}" for text in texts]


def price_text(price: float | None) -> str:
    """A price in the page's unit with two decimals, as the reasons have it; – for None.

    Parameters
    ----------
    price : in EUR/MWh, or the page's currency."""
    return (
        "–" if price is None or not np.isfinite(price) else f"{even([price], 2)[0]} {price_unit()}"
    )


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
    """An amount of money in the page's currency, to the cent; – for None."""
    if value is None or not np.isfinite(value):
        return "–"
    label = "€" if currency() == "EUR" else currency()
    return f"{'−' * int(value <= -0.005)}{abs(value):,.2f} {label}"


def price_unit() -> str:
    """The unit of prices, such as EUR/MWh."""
    return f"{currency()}/MWh"


def clock(time: pd.Timestamp, zone: str, with_day: bool = True, with_year: bool = False) -> str:
    """A time in a zone, such as "Mon 30 Dec 17:00"; one that comes twice is told with its zone.

    Parameters
    ----------
    time : any time with a zone.
    zone : the zone in which it is shown.
    with_day, with_year : whether the day and its year are told."""
    local = time.tz_convert(zone)
    told = f"{local:%H:%M}" + (f" {local.tzname()}" if comes_twice(time, zone) else "")
    if not with_day:
        return told
    year = f" {local:%Y}" if with_year else ""
    return f"{local:%a} {local.day} {local:%b}{year} {told}"


def comes_twice(time: pd.Timestamp, zone: str) -> bool:
    """Whether the local clock shows this time twice, since it goes back then.

    Parameters
    ----------
    time : any time with a zone.
    zone : the zone of the clock."""
    local = time.tz_convert(zone).to_pydatetime().replace(tzinfo=ZoneInfo(zone))
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def span(start: pd.Timestamp, end: pd.Timestamp, zone: str, with_day: bool = True) -> str:
    """A span of time in a zone, such as "Mon 30 Dec 17:00–18:00".

    Parameters
    ----------
    start, end : any times with a zone.
    zone : the zone in which they are shown.
    with_day : whether the day is told, of the end where it is another one."""
    first, last = (time.tz_convert(zone).tz_localize(None) for time in (start, end))
    other = with_day and first.normalize() != last.normalize() and last != last.normalize()
    return f"{clock(start, zone, with_day)}–{clock(end, zone, other)}"


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
