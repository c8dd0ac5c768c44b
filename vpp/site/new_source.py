"""A source as a person describes it; the site and the configuration give the rest.

python sources.py add --kind solar --name "Roof east" --capacity-kw 250 --tilt 30 --azimuth 90
"""

import argparse
import re

from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.site.kinds import SOURCE_KINDS
from vpp.site.sources import ADDED, Source, SourceError

OPTIONS = {"solar": ("tilt", "azimuth"), "wind": ("turbine", "hub_height")}
BOUNDS = {
    "tilt": (0, 90, "degrees"),
    "azimuth": (0, 360, "degrees"),
    "hub_height": (10, 300, "m"),
}


def new_source(
    config: Config,
    kind: str,
    name: str | None,
    source_id: str | None = None,
    capacity_kw: float | None = None,
    latitude: float | None = None,
    longitude: float | None = None,
    time_zone: str | None = None,
    **options: float | str | None,
) -> Source:
    """Make a source of the site; place, time zone and step are the configuration's.

    Parameters
    ----------
    kind : solar, wind, load or market.
    name : as the report calls it.
    source_id : default: from the name.
    capacity_kw : largest power, the AC rating of a solar plant; none for a market [kW].
    latitude, longitude : default: the site's [degrees].
    time_zone : IANA time zone; default: the site's.
    **options : of its kind: `tilt`, `azimuth` [degrees], `hub_height` [m] and `turbine`, a type of
        windpowerlib (default: that of `[generation]`); None stands for one that is not given.

    Raises
    ------
    ConfigError : an option does not belong to the kind, or its value is impossible.
    SourceError : the source is impossible.
    """
    if name is None:
        raise ConfigError("add: --name is missing; say how the report should call it")
    parameters: dict[str, object] = {"origin": ADDED}
    for option, value in options.items():
        if value is not None:
            _check_option(kind, option, value)
            parameters["hub_height_m" if option == "hub_height" else option] = value
    if kind == "weather":
        raise SourceError(
            "kind = weather: a site has one, which generation.py makes; expected solar, wind, "
            "load or market"
        )
    if kind == "forecast":
        raise SourceError(
            "kind = forecast: others issue it, so that it cannot be made up; state it in "
            "sources.csv; expected solar, wind, load or market"
        )
    if kind == "wind":
        parameters.setdefault("turbine", config.generation.wind_turbine)
    if kind == "market":
        parameters["price_area"] = config.site.price_area
    return Source(
        source_id=source_id or re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63],
        kind=kind,
        name=name,
        site_id=config.site.site_id,
        capacity_kw=capacity_kw,
        step_min=config.generation.step_min,
        latitude=config.site.latitude if latitude is None else latitude,
        longitude=config.site.longitude if longitude is None else longitude,
        time_zone=time_zone or config.site.time_zone,
        parameters=parameters,
    )


def _check_option(kind: str, option: str, value: float | str) -> None:
    flag = "--" + option.replace("_", "-")
    if option not in OPTIONS.get(kind, ()):
        raise ConfigError(f"{flag} {value}: does not belong to the kind {kind}")
    if option in BOUNDS and isinstance(value, float):
        low, high, unit = BOUNDS[option]
        if not low <= value <= high:
            raise ConfigError(f"{flag} {value:g}: expected {low} to {high} {unit}")


def add_source_options(command: argparse.ArgumentParser) -> None:
    """Give `add` its options."""
    about = "solar, wind, load, market, or tariff, which goes into the configuration"
    kinds = (*SOURCE_KINDS, "tariff")
    command.add_argument("--kind", required=True, choices=kinds, metavar="KIND", help=about)
    command.add_argument("--name", help="needed, but for a tariff")
    command.add_argument("--id", help="default: from the name")
    about = "of a wind plant: a turbine type of windpowerlib, such as E-82/2300"
    command.add_argument("--turbine", metavar="TYPE", help=about)
    for name, unit, about in (
        ("capacity-kw", "KW", "largest power; the AC rating of a solar plant; not for a market"),
        ("latitude", "DEG", "default: the site's"),
        ("longitude", "DEG", "default: the site's"),
        ("tilt", "DEG", "of a solar plant, 0 = flat"),
        ("azimuth", "DEG", "of a solar plant, 180 = south"),
        ("hub-height", "M", "of a wind plant"),
    ):
        command.add_argument(f"--{name}", type=float, metavar=unit, help=about)
    command.add_argument("--tz", metavar="ZONE", help="time zone of its local days")
    about = "site that it belongs to (default: that of [site])"
    command.add_argument("--site", metavar="ID", help=about)
    about = "generate, stream and store its series at once"
    command.add_argument("--connect", action="store_true", help=about)
