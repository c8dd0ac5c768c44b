"""Synthetic series of the sources of a fleet over a period.

    python generation.py --days 7

They are weather, power [kW], price [EUR/MWh] and weather forecasts. A source's series depends on
the seed, the period and itself only: adding a plant or a site changes no other series.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.physics.plants import solar_power, wind_power
from vpp.physics.profiles import LOAD_SHARES, local_profiles
from vpp.physics.sky import Sky, Sun, clear_sky, sun_of
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Generation
from vpp.site.kinds import KINDS, WEATHER
from vpp.site.sources import SOURCES_FILE, Source
from vpp.site.times import day_start
from vpp.synthetic.fleet import GenerationError, moved
from vpp.synthetic.loads import load_power
from vpp.synthetic.market import day_ahead_price, zone_residual_load
from vpp.synthetic.noise import persistent_noise, stream
from vpp.synthetic.weather import (
    FORECAST_FOR_H,
    Field,
    Systems,
    forecasts_at,
    make_fields,
    systems_at,
    weather_at,
)

FIRST_YEAR, LAST_YEAR = 1950, 2100
ZONE_PLANT = {"tilt": 25, "turbine": "E-82/2300", "hub_height_m": 105}
# north and east of the market's place
ZONE_PLACES_KM = ((0, 0), (250, 60), (120, 280), (-130, 330), (300, 330), (430, 180))


@dataclass(frozen=True)
class World:
    """All that the series of a run share.

    Parameters
    ----------
    seed : of all series.
    country : whose holidays count; empty: none.
    step_min : of the intervals [min].
    rows : intervals of the period.
    sun : over the period, and the days after it that forecasts and published prices need.
    fields : of the weather.
    """

    seed: int
    country: str
    step_min: int
    rows: int
    sun: Sun
    fields: dict[str, Field]

    @property
    def times(self) -> pd.DatetimeIndex:
        """Starts of the intervals of the period and of the days after it [UTC]."""
        return self.sun.times

    @property
    def end(self) -> pd.Timestamp:
        """End of the period [UTC]."""
        return self.times[self.rows]


def make_world(wanted: Generation, country: str) -> World:
    """Make the world of a period.

    Parameters
    ----------
    wanted : period, step and seed.
    country : whose holidays count; empty: none.

    Raises
    ------
    ConfigError : the days are far in the past or future.
    """
    if not FIRST_YEAR <= wanted.start.year <= wanted.start.year + wanted.days // 365 <= LAST_YEAR:
        raise ConfigError(
            f"--start {wanted.start}, --days {wanted.days}: expected days of the years "
            f"{FIRST_YEAR} to {LAST_YEAR}"
        )
    start = pd.Timestamp(wanted.start, tz="UTC")
    rows = wanted.days * 24 * 60 // wanted.step_min
    more = (FORECAST_FOR_H + 2) * 60 // wanted.step_min
    step = pd.Timedelta(minutes=wanted.step_min)
    times = pd.date_range(start, periods=rows + more, freq=step, name="time")
    fields = make_fields(wanted.seed, wanted.days * 24 + FORECAST_FOR_H + 2)
    sun = sun_of(times, wanted.step_min)
    return World(wanted.seed, country, wanted.step_min, rows, sun, fields)


@dataclass(frozen=True)
class Place:
    """A place over all of the world's times: its `sky`, weather `systems` and `weather`."""

    sky: Sky
    systems: Systems
    weather: pd.DataFrame


def make_place(world: World, name: str, latitude: float, longitude: float) -> Place:
    """Make the weather of a place.

    Parameters
    ----------
    world : seed and period.
    name : of the place, which has a stream of random numbers of its own.
    latitude, longitude : of the place [degrees].
    """
    sky = clear_sky(world.sun, latitude, longitude)
    systems = systems_at(world.fields, latitude, longitude, sky)
    return Place(sky, systems, weather_at(world.seed, name, systems, sky))


def plant_series(
    world: World, source: Source, place: Place, profiles: pd.DataFrame | None
) -> np.ndarray:
    """Make the power of a solar, wind or load source over the period [kW].

    Parameters
    ----------
    world : seed and period.
    source : that is made.
    place : where it is.
    profiles : of `local_profiles` in its time zone; only a load needs them.
    """
    rng = stream(world.seed, "series", source.source_id)
    step_h, capacity_kw = world.step_min / 60, source.capacity_kw
    if capacity_kw is None:
        raise GenerationError(f"source {source.source_id} has no capacity; expected one in kW")
    if source.kind == "solar":
        # soiling, snow, own clouds
        noise = np.exp(0.03 * persistent_noise(rng, len(world.times), step_h, 2.0))
        power = solar_power(place.weather, place.sky, source.parameters, capacity_kw, noise)
    elif source.kind == "wind":
        noise = np.exp(0.05 * persistent_noise(rng, len(world.times), step_h, 4.0))  # terrain
        power = wind_power(place.weather, place.sky, source.parameters, capacity_kw, noise)
    else:
        if profiles is None:
            raise GenerationError(f"source {source.source_id} needs the profiles of its zone")
        temp_air = place.weather["temp_air"].to_numpy()
        shares = source.parameters.get("shares", LOAD_SHARES)
        power = load_power(profiles, temp_air, capacity_kw, shares, step_h, rng)
    return power[: world.rows]


def market_series(world: World, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Make the price of a market to the end of its published day [EUR/MWh].

    Parameters
    ----------
    world : seed and period.
    source : the market.

    Returns
    -------
    The price, and the residual load of its zone [GW].
    """
    latitude, longitude = position_of(source)
    shares: dict[str, list[np.ndarray]] = {"solar": [], "wind": [], "temp_air": []}
    for number, (north_km, east_km) in enumerate(ZONE_PLACES_KM):
        name = f"zone {source.source_id} {number}"
        place = make_place(world, name, *moved(latitude, longitude, north_km, east_km))
        shares["solar"].append(solar_power(place.weather, place.sky, ZONE_PLANT, 1.0))
        shares["wind"].append(wind_power(place.weather, place.sky, ZONE_PLANT, 1.0))
        shares["temp_air"].append(place.weather["temp_air"].to_numpy())
    mean = {name: np.mean(values, axis=0) for name, values in shares.items()}
    rng = stream(world.seed, "series", source.source_id)
    step_h = world.step_min / 60
    profiles = local_profiles(world.times, world.step_min, source.time_zone, world.country)
    residual = zone_residual_load(
        profiles, mean["temp_air"], mean["wind"], mean["solar"], step_h, rng
    )
    unit_h = max(world.step_min, 15) / 60
    price = day_ahead_price(residual, step_h, unit_h, rng)
    rows = int(world.times.searchsorted(day_start(world.end, source.time_zone, 1)))
    return price[:rows], residual[:rows]


def position_of(source: Source) -> tuple[float, float]:
    """Give a source's latitude and longitude [degrees].

    Raises
    ------
    GenerationError : it has none.
    """
    if source.latitude is None or source.longitude is None:
        raise GenerationError(
            f"source {source.source_id} has no latitude and longitude; put them into {SOURCES_FILE}"
        )
    return source.latitude, source.longitude


def generate(
    world: World, sources: Sequence[Source]
) -> Iterator[tuple[str, Source, dict[str, np.ndarray], dict]]:
    """Make the series of sources, site by site.

    Parameters
    ----------
    world : seed and period.
    sources : that are made.

    Yields
    ------
    The kind of its file, the source, its columns as arrays (times as positions in `world.times`),
    and figures for the table.
    """
    profiles = functools.cache(
        lambda zone: local_profiles(world.times, world.step_min, zone, world.country)
    )
    for source in sources:
        if source.kind == "market":
            price, residual = market_series(world, source)
            correlation = pd.Series(price).corr(pd.Series(residual), method="spearman")
            columns = {"time": np.arange(len(price)), "price_eur_per_mwh": price}
            yield "market", source, columns, {"corr_residual_load": correlation}
    others = [source for source in sources if source.kind != "market"]
    for site_id in dict.fromkeys(source.site_id for source in others):
        places: dict[tuple[float, float], Place] = {}
        for source in others:
            if source.site_id != site_id:
                continue
            position = position_of(source)
            if position not in places:
                places[position] = make_place(world, site_id, *position)
            place, times = places[position], np.arange(world.rows)
            if source.kind != "weather":
                local = profiles(source.time_zone) if source.kind == "load" else None
                power = plant_series(world, source, place, local)
                yield source.kind, source, {"time": times, "power_kw": power}, {}
                continue
            columns = {name: place.weather[name].to_numpy()[: world.rows] for name in WEATHER}
            yield "weather", source, {"time": times} | columns, {}
            made = forecasts_at(
                world.seed, site_id, place.systems, place.sky, place.weather, world.end
            )
            columns = {"issue_time": made["issue"], "valid_time": made["valid"]}
            columns |= {name: made[name] for name in WEATHER}
            yield "weather-forecast", source, columns, {}


def generate_one(world: World, source: Source) -> pd.Series:
    """Make the series of one source, a plant, a load or a market [kW or EUR/MWh].

    Parameters
    ----------
    world : seed and period.
    source : that is made; it is not a site's weather.
    """
    ((_, _, columns, _),) = generate(world, [source])
    return pd.Series(columns[KINDS[source.kind].value], world.times[columns["time"]])
