"""Numbers, times and actions in words, as the report shows them."""

import html
from collections.abc import Iterable

import numpy as np
import pandas as pd

MW_FROM_KW = 10_000.0  # from here on powers are shown in MW


def power_unit(largest_kw: float) -> tuple[float, str]:
    """The divisor and the unit in which powers up to `largest_kw` [kW] are shown.

    Energies likewise with an h.
    """
    return (1000.0, "MW") if largest_kw >= MW_FROM_KW else (1.0, "kW")


def amount(value: float, unit: str) -> str:
    """A value with its unit at three significant digits, from a thousand on in full."""
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


def euro(value: float | None) -> str:
    """An amount of money [EUR], to the cent where it is small."""
    if value is None or not np.isfinite(value):
        return "–"
    return f"{'−' * (value <= -0.005)}{abs(value):,.{0 if abs(value) >= 1000 else 2}f} €"


def clock(time: pd.Timestamp, zone: str, with_day: bool = True, with_year: bool = False) -> str:
    """A time in a zone, such as "Mon 30 Dec 17:00"."""
    local = time.tz_convert(zone)
    year = f" {local:%Y}" if with_year else ""
    return (
        f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M}" if with_day else f"{local:%H:%M}"
    )


def zone_name(times: Iterable[pd.Timestamp], zone: str) -> str:
    """The zone with what it is called at these times: "Europe/Brussels (CET)"."""
    names = dict.fromkeys(time.tz_convert(zone).tzname() for time in times)
    return f"{zone} ({' / '.join(names)})"


def escape(value: object) -> str:
    """Text for the page or a figure.

    Figures take a subset of HTML for markup, so theirs is escaped as well.
    """
    return html.escape(str(value), quote=True)


def shown(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"
