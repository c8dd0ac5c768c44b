"""The synthetic fleet: the market, weather, plants and loads that the configuration asks for.

What a source is depends on the seed and its own name only.
"""

import math

import numpy as np

from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.site.sources import Source
from vpp.synthetic import plants, weather


class GenerationError(VppError):
    """The asked-for series cannot be made."""


def make_fleet(config: Config) -> list[Source]:
    """The sources that the configuration asks for: one market, and for each site its weather,
    plants and loads.

    The first site is the one of `[site]`; others lie around it. What a source is depends on the
    seed and its own name only."""
    made, site, wanted = [], config.site, config.generation
    for number in range(1, wanted.sites + 1):
        site_id, prefix = (
            (site.site_id, "")
            if number == 1
            else (f"{site.site_id.removesuffix('-1')}-{number}", f"site-{number}-")
        )
        latitude, longitude = site.latitude, site.longitude
        if number > 1:
            north, east = weather.stream(wanted.seed, "place", site_id).normal(0, 60, 2)
            latitude, longitude = moved(latitude, longitude, north, east)

        def source(
            kind,
            count,
            capacity_kw,
            parameters,
            number=number,
            site_id=site_id,
            prefix=prefix,
            place=(latitude, longitude),
        ):
            name = f"{prefix}{kind}-{count}"
            title = (
                f"{kind.capitalize()} {count}"
                if number == 1
                else f"{kind.capitalize()} {count} of {site_id}"
            )
            return Source(
                name,
                kind,
                title,
                site_id,
                capacity_kw,
                wanted.step_min,
                *place,
                site.time_zone,
                parameters,
            )

        if number == 1:
            made.append(source("market", 1, None, {"price_area": site.price_area}))
        made.append(source("weather", 1, None, {}))
        for count in range(1, wanted.solar + 1):
            rng = weather.stream(wanted.seed, "solar", f"{prefix}{count}")
            facing = (180 if latitude >= 0 else 360) + int(rng.integers(-45, 46))
            parameters = {
                "tilt": int(rng.integers(20, 41)),
                "azimuth": facing % 360,
                "dc_ac_ratio": round(rng.uniform(1.05, 1.2), 2),
            }
            made.append(source("solar", count, wanted.solar_capacity_kw, parameters))
        for count in range(1, wanted.wind + 1):
            rng = weather.stream(wanted.seed, "wind", f"{prefix}{count}")
            _, curve_kw = plants.turbine_curve(wanted.wind_turbine)
            parameters = {
                "turbine": wanted.wind_turbine,
                "hub_height_m": int(rng.integers(90, 121)),
            }
            made.append(source("wind", count, float(curve_kw.max()), parameters))
        for count in range(1, wanted.loads + 1):
            rng = weather.stream(wanted.seed, "load", f"{prefix}{count}")
            shares = rng.dirichlet(40 * np.array(plants.LOAD_SHARES)).round(2)
            made.append(
                source(
                    "load",
                    count,
                    wanted.load_capacity_kw,
                    {"shares": [float(share) for share in shares]},
                )
            )
    return made


def moved(
    latitude: float, longitude: float, north_km: float, east_km: float
) -> tuple[float, float]:
    """A place so far away [degrees], rounded to 0.0001 degrees."""
    new = float(np.clip(latitude + north_km / 111.2, -89.9, 89.9))
    east = longitude + east_km / (111.2 * max(0.05, math.cos(math.radians(new))))
    return round(new, 4), round((east + 180) % 360 - 180, 4)
