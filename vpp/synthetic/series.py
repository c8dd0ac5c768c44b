"""Synthetic series of the sources of a fleet over a period: weather, power [kW], price [EUR/MWh]
and weather forecasts.

A source's series depends on the seed, the period and itself only: adding a plant or a site changes
no other series."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Generation
from vpp.site.kinds import WEATHER
from vpp.site.sources import SOURCES_FILE, Source
from vpp.synthetic import plants
from vpp.synthetic.fleet import GenerationError, moved
from vpp.synthetic.weather import (
    FORECAST_FOR_H,
    Field,
    Sky,
    Sun,
    Systems,
    clear_sky,
    forecasts_at,
    make_fields,
    persistent_noise,
    stream,
    sun_of,
    systems_at,
    weather_at,
)

FIRST_YEAR, LAST_YEAR = 1950, 2100
ZONE_PLANT = {"tilt": 25, "turbine": "E-82/2300", "hub_height_m": 105}
ZONE_PLACES_KM = (
    (0, 0),
    (250, 60),
    (120, 280),
    (-130, 330),
    (300, 330),
    (430, 180),
)  # north and east of the market's place


@dataclass(frozen=True)
class World:
    """What all series of a run share.

    Seed, holidays' country, the period, and the weather fields.
    """

    seed: int
    country: str
    step_min: int
    rows: int  # intervals of the period
    sun: Sun  # over the period and what forecasts and published prices need after it
    fields: dict[str, Field]

    @property
    def times(self) -> pd.DatetimeIndex:
        return self.sun.times

    @property
    def end(self) -> pd.Timestamp:
        return self.times[self.rows]


def make_world(wanted: Generation, country: str) -> World:
    if not FIRST_YEAR <= wanted.start.year <= wanted.start.year + wanted.days // 365 <= LAST_YEAR:
        raise ConfigError(
            f"--start {wanted.start}, --days {wanted.days}: expected days of the years "
            f"{FIRST_YEAR} to {LAST_YEAR}"
        )
    start = pd.Timestamp(wanted.start, tz="UTC")
    rows = wanted.days * 24 * 60 // wanted.step_min
    more = (FORECAST_FOR_H + 2) * 60 // wanted.step_min
    times = pd.date_range(
        start, periods=rows + more, freq=pd.Timedelta(minutes=wanted.step_min), name="time"
    )
    fields = make_fields(wanted.seed, wanted.days * 24 + FORECAST_FOR_H + 2)
    return World(
        wanted.seed, country, wanted.step_min, rows, sun_of(times, wanted.step_min), fields
    )


@dataclass(frozen=True)
class Place:
    """Sky and weather of a place over all of the world's times."""

    sky: Sky
    systems: Systems
    weather: pd.DataFrame


def make_place(world: World, name: str, latitude: float, longitude: float) -> Place:
    sky = clear_sky(world.sun, latitude, longitude)
    systems = systems_at(world.fields, latitude, longitude, sky)
    return Place(sky, systems, weather_at(world.seed, name, systems, sky))


def plant_series(
    world: World, source: Source, place: Place, profiles: pd.DataFrame | None
) -> np.ndarray:
    """Power [kW] of a solar, wind or load source over the period."""
    rng = stream(world.seed, "series", source.source_id)
    step_h = world.step_min / 60
    if source.kind == "solar":
        noise = np.exp(
            0.03 * persistent_noise(rng, len(world.times), step_h, 2.0)
        )  # soiling, snow, own clouds
        power = plants.solar_power(
            place.weather, place.sky, source.parameters, source.capacity_kw, noise
        )
    elif source.kind == "wind":
        noise = np.exp(0.05 * persistent_noise(rng, len(world.times), step_h, 4.0))  # terrain
        power = plants.wind_power(
            place.weather, place.sky, source.parameters, source.capacity_kw, noise
        )
    else:
        temp_air = place.weather["temp_air"].to_numpy()
        shares = source.parameters.get("shares", plants.LOAD_SHARES)
        power = plants.load_power(profiles, temp_air, source.capacity_kw, shares, step_h, rng)
    return power[: world.rows]


def market_series(world: World, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Price [EUR/MWh] of a market to the end of its published day, and the residual load of its
    zone [GW].
    """
    shares = {"solar": [], "wind": [], "temp_air": []}
    for number, (north, east) in enumerate(ZONE_PLACES_KM):
        name = f"zone {source.source_id} {number}"
        place = make_place(world, name, *moved(source.latitude, source.longitude, north, east))
        shares["solar"].append(plants.solar_power(place.weather, place.sky, ZONE_PLANT, 1.0))
        shares["wind"].append(plants.wind_power(place.weather, place.sky, ZONE_PLANT, 1.0))
        shares["temp_air"].append(place.weather["temp_air"].to_numpy())
    mean = {name: np.mean(values, axis=0) for name, values in shares.items()}
    rng = stream(world.seed, "series", source.source_id)
    step_h = world.step_min / 60
    profiles = plants.local_profiles(world.times, world.step_min, source.time_zone, world.country)
    residual = plants.zone_residual_load(
        profiles, mean["temp_air"], mean["wind"], mean["solar"], step_h, rng
    )
    unit_h = max(world.step_min, 15) / 60
    price = plants.day_ahead_price(residual, step_h, unit_h, rng)
    published_until = world.end.tz_convert(source.time_zone).normalize() + pd.DateOffset(days=1)
    rows = int(world.times.searchsorted(published_until.tz_convert("UTC")))
    return price[:rows], residual[:rows]


def generate(
    world: World, sources: Sequence[Source]
) -> Iterator[tuple[str, Source, dict[str, np.ndarray], dict]]:
    """Make the series of sources, site by site.

    Yields
    ------
    file kind, source, its columns as arrays (times as positions in `world.times`), and figures for
    the table."""
    profiles = functools.cache(
        lambda zone: plants.local_profiles(world.times, world.step_min, zone, world.country)
    )
    for source in sources:
        if source.kind == "market":
            price, residual = market_series(world, source)
            correlation = pd.Series(price).corr(pd.Series(residual), method="spearman")
            columns = {"time": np.arange(len(price)), "price_eur_per_mwh": price}
            yield "market", source, columns, {"corr_residual_load": correlation}
    for site_id in dict.fromkeys(source.site_id for source in sources if source.kind != "market"):
        places = {}
        for source in (
            source for source in sources if source.site_id == site_id and source.kind != "market"
        ):
            position = (source.latitude, source.longitude)
            if None in position:
                raise GenerationError(
                    f"source {source.source_id} has no latitude and longitude; put them into "
                    f"{SOURCES_FILE}"
                )
            if position not in places:
                places[position] = make_place(world, site_id, *position)
            place = places[position]
            if source.kind != "weather":
                local = profiles(source.time_zone) if source.kind == "load" else None
                yield (
                    source.kind,
                    source,
                    {
                        "time": np.arange(world.rows),
                        "power_kw": plant_series(world, source, place, local),
                    },
                    {},
                )
                continue
            columns = {name: place.weather[name].to_numpy()[: world.rows] for name in WEATHER}
            yield "weather", source, {"time": np.arange(world.rows)} | columns, {}
            made = forecasts_at(
                world.seed, site_id, place.systems, place.sky, place.weather, world.end
            )
            columns = {"issue_time": made["issue"], "valid_time": made["valid"]} | {
                name: made[name] for name in WEATHER
            }
            yield "weather-forecast", source, columns, {}
