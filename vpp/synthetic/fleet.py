"""The synthetic fleet: the market, weather, plants and loads that the configuration asks for.

    python generation.py --sites 3 --solar 4

A source depends on the seed and its own name only.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp.physics.plants import turbine_curve
from vpp.physics.profiles import LOAD_SHARES
from vpp.runtime.errors import VppError
from vpp.runtime.plant_settings import BatteryParameters
from vpp.runtime.settings import Config
from vpp.site.fleet_files import FleetBattery, GridSite
from vpp.site.sources import Source
from vpp.synthetic.noise import stream


class GenerationError(VppError):
    """The asked-for series cannot be made."""


def make_fleet(config: Config) -> list[Source]:
    """Make the sources that the configuration asks for.

    They are one market, and for each site its weather, plants and loads. The first site is the one
    of `[site]`; others lie around it.
    """
    return [
        source
        for number in range(1, config.generation.sites + 1)
        for source in _sources_of_site(config, number)
    ]


def make_sites(config: Config) -> list[GridSite]:
    """Make the grid connections of the sites that the configuration asks for.

    The first is as `[grid]` says. Those of the others are drawn for their plants and loads: an
    import limit of 1 to 1.4 times what all loads take at most, and an export limit of 0.7 to 1.1
    times what all plants give at most.
    """
    made = []
    for number in range(1, config.generation.sites + 1):
        place, grid = _place_of_site(config, number), config.grid
        limits = grid.import_limit_kw, grid.export_limit_kw
        if number > 1:
            most = {"load": 0.0, "plant": 0.0}
            for source in _sources_of_site(config, number):
                most["load" if source.kind == "load" else "plant"] += source.capacity_kw or 0.0
            rng = stream(config.generation.seed, "grid", place.site_id)
            shares = rng.uniform(1.0, 1.4), rng.uniform(0.7, 1.1)
            wanted = (share * kw for share, kw in zip(shares, most.values(), strict=True))
            limits = tuple(max(100.0, round(kw, -1)) for kw in wanted)  # type: ignore[assignment]
        name = config.site.name if number == 1 else f"Site {number}"
        where = (place.latitude, place.longitude, place.time_zone, config.site.price_area)
        made.append(GridSite(place.site_id, name, *where, *limits))
    return made


def make_batteries(config: Config) -> list[FleetBattery]:
    """Make the fleet of batteries that the configuration asks for.

    Their capacities, powers, efficiencies and states of charge are drawn around those of the usual
    battery of a small business: 200 kWh that fill in some 2 to 4 hours.
    """
    made = []
    for number in range(1, config.generation.sites + 1):
        place = _place_of_site(config, number)
        for count in range(1, config.generation.batteries + 1):
            name = f"{place.prefix}storage-{count}"
            rng = stream(config.generation.seed, "battery", name)
            capacity_kwh = round(200.0 * rng.uniform(0.5, 1.5), 1)
            power_kw = round(capacity_kwh / rng.uniform(2.0, 4.0), 1)
            battery = BatteryParameters(
                battery_id=name,
                capacity_kwh=capacity_kwh,
                charge_kw=power_kw,
                discharge_kw=power_kw,
                eta_charge=round(rng.uniform(0.92, 0.97), 3),
                eta_discharge=round(rng.uniform(0.92, 0.97), 3),
                soc_initial=round(rng.uniform(0.3, 0.7), 2),
            )
            made.append(FleetBattery(place.site_id, battery))
    return made


def _sources_of_site(config: Config, number: int) -> list[Source]:
    """The sources of the first, second, ... site; the market belongs to the first."""
    wanted, place = config.generation, _place_of_site(config, number)
    made = []
    if number == 1:
        made.append(place.source("market", 1, None, {"price_area": config.site.price_area}))
    made.append(place.source("weather", 1, None, {}))
    for count in range(1, wanted.solar + 1):
        rng = stream(wanted.seed, "solar", f"{place.prefix}{count}")
        facing = (180 if place.latitude >= 0 else 360) + int(rng.integers(-45, 46))
        parameters: dict[str, Any] = {
            "tilt": int(rng.integers(20, 41)),
            "azimuth": facing % 360,
            "dc_ac_ratio": round(rng.uniform(1.05, 1.2), 2),
        }
        made.append(place.source("solar", count, wanted.solar_capacity_kw, parameters))
    for count in range(1, wanted.wind + 1):
        rng = stream(wanted.seed, "wind", f"{place.prefix}{count}")
        _, curve_kw = turbine_curve(wanted.wind_turbine)
        parameters = {"turbine": wanted.wind_turbine, "hub_height_m": int(rng.integers(90, 121))}
        made.append(place.source("wind", count, float(curve_kw.max()), parameters))
    for count in range(1, wanted.loads + 1):
        rng = stream(wanted.seed, "load", f"{place.prefix}{count}")
        shares = rng.dirichlet(40 * np.array(LOAD_SHARES)).round(2)
        parameters = {"shares": [float(share) for share in shares]}
        made.append(place.source("load", count, wanted.load_capacity_kw, parameters))
    return made


@dataclass(frozen=True)
class _SitePlace:
    """A site's name and place, for its sources; those of the first site have short names."""

    site_id: str
    prefix: str  # of the ids of its sources
    latitude: float
    longitude: float
    time_zone: str
    step_min: int

    def source(
        self, kind: str, count: int, capacity_kw: float | None, parameters: dict[str, Any]
    ) -> Source:
        title = f"{kind.capitalize()} {count}" + (f" of {self.site_id}" if self.prefix else "")
        return Source(
            source_id=f"{self.prefix}{kind}-{count}",
            kind=kind,
            name=title,
            site_id=self.site_id,
            capacity_kw=capacity_kw,
            step_min=self.step_min,
            latitude=self.latitude,
            longitude=self.longitude,
            time_zone=self.time_zone,
            parameters=parameters,
        )


def _place_of_site(config: Config, number: int) -> _SitePlace:
    site, wanted = config.site, config.generation
    site_id, prefix, latitude, longitude = site.site_id, "", site.latitude, site.longitude
    if number > 1:
        site_id = f"{site.site_id.removesuffix('-1')}-{number}"
        prefix = f"site-{number}-"
        north_km, east_km = stream(wanted.seed, "place", site_id).normal(0, 60, 2)
        latitude, longitude = moved(latitude, longitude, north_km, east_km)
    return _SitePlace(site_id, prefix, latitude, longitude, site.time_zone, wanted.step_min)


def moved(
    latitude: float, longitude: float, north_km: float, east_km: float
) -> tuple[float, float]:
    """Give the place so far away from a place [degrees], rounded to 0.0001 degrees.

    Parameters
    ----------
    latitude, longitude : of the place [degrees].
    north_km, east_km : how far to go [km].
    """
    new = float(np.clip(latitude + north_km / 111.2, -89.9, 89.9))
    east = longitude + east_km / (111.2 * max(0.05, math.cos(math.radians(new))))
    return round(new, 4), round((east + 180) % 360 - 180, 4)
