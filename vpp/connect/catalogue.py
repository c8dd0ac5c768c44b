"""The providers of real data, a module each: one line here makes a module known.

A module has `fetch(web, wanted) -> list[Fetched]`, which asks `web` and returns what it found.

    python sources.py fetch --help
"""

from collections.abc import Callable
from dataclasses import dataclass

from vpp.connect import energy_charts, entsoe, octopus, open_meteo, pvgis, smard
from vpp.connect.answers import Fetched, Wanted
from vpp.connect.web import Web


@dataclass(frozen=True)
class Provider:
    """A provider of real data.

    Parameters
    ----------
    fetch : asks it.
    url_key : its base URL in `[connect]`.
    about : in a few words.
    key : its key in `[connect]` and the parameter of a request that carries it.
    options : names of `--option` that it reads.
    """

    fetch: Callable[[Web, Wanted], list[Fetched]]
    url_key: str
    about: str
    key: tuple[str, str] | None = None
    options: tuple[str, ...] = ()


PROVIDERS = {
    "open-meteo": Provider(
        open_meteo.fetch,
        "open_meteo_url",
        "weather, and weather forecasts as issued",
    ),
    "energy-charts": Provider(
        energy_charts.fetch,
        "energy_charts_url",
        "prices, load, sun, wind and their forecasts in Europe",
    ),
    "smard": Provider(smard.fetch, "smard_url", "the same for Germany, prices of neighbours"),
    "entsoe": Provider(
        entsoe.fetch,
        "entsoe_url",
        "the same for all of Europe, with a key",
        key=("entsoe_key", "securityToken"),
    ),
    "octopus": Provider(octopus.fetch, "octopus_url", "half-hourly rates of an Agile tariff"),
    "pvgis": Provider(
        pvgis.fetch, "pvgis_url", "PV power of past years", options=tuple(pvgis.DEFAULTS)
    ),
}
