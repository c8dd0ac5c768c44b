"""Synthetic weather of a place, and the weather forecasts issued for it: clouds, irradiance, temperature, wind.

Everything random comes from Gaussian fields over the globe that depend on the seed only, and from streams of their own for each
place. A place's weather therefore does not change when another place is added, and near places have similar weather. The fields
are mapped to physical values by the distributions of the field's literature; sun and clear sky are pvlib's.

Arrays have one value for each interval; times label its START, values are means over it, the sun stands where it is at its middle.
`ghi`, `dni`, `dhi` [W/m2], `temp_air` [deg C at 2 m], `wind_speed` [m/s at 10 m].

    python generation.py --days 7 --plot week.html
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

EARTH_RADIUS_KM = 6371.0
WAVES = 48  # of a field; the correlation of two places is exact to about 1 / sqrt(2 WAVES)
FORECAST_EVERY_H, FORECAST_FOR_H = 6, 72

# Time scale [h] and correlation length [km] of the fields: synoptic systems are some 1,000 km wide and pass in a day or two.
SCALES = {
    "wind": (28.0, 450.0),
    "cloud": (16.0, 300.0),
    "temperature": (80.0, 700.0),
    "wind_error": (8.0, 250.0),
    "cloud_error": (8.0, 250.0),
    "temperature_error": (8.0, 250.0),
}
CLOUD_WITH_WIND = -0.35  # correlation of clear sky with wind over days
LOCAL_SHARE = {"wind": 0.05, "cloud": 0.15}  # of the variance that no forecast sees
LOCAL_TIME_H = {"wind": 4.0, "cloud": 1.5}

# Clear-sky index against its cumulative share: overcast, broken and clear days of Central Europe.
CLEAR_SKY_INDEX = (
    (0.0, 0.03, 0.12, 0.25, 0.40, 0.55, 0.70, 0.85, 0.97, 1.0),
    (0.08, 0.14, 0.24, 0.36, 0.51, 0.68, 0.85, 0.97, 1.02, 1.08),
)
WEIBULL_SHAPE = 2.0  # Rayleigh, the usual first choice for Europe
WIND_MEAN = 4.2  # m/s at 10 m, open land
TEMPERATURE_DEVIATION = 3.6  # K

# Forecast skill: correlation of the forecast's weather system with the true one falls as SKILL * exp(-lead / SKILL_TIME_H).
SKILL = {"wind": 0.92, "cloud": 0.93}
SKILL_TIME_H = {"wind": 160.0, "cloud": 260.0}
TEMPERATURE_ERROR = (1.1, 0.019)  # K at once, and growth: K for each hour of lead
SHARED_ERROR = 0.3  # of the error's variance belongs to the hour and is the same in all forecasts of it
ERROR_TIME_H = 10.0  # along the lead time


def stream(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that depend on the seed and these names only."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *np.frombuffer(digest[:16], "<u4").tolist()])))


def persistent_noise(rng: np.random.Generator, shape: int | tuple[int, ...], step_h: float, time_h: float, axis: int = 0) -> np.ndarray:
    """Stationary Gaussian noise of unit variance whose correlation falls as exp(-distance / time_h) along an axis."""
    from scipy.signal import lfilter

    memory = np.exp(-step_h / time_h)
    noise = rng.standard_normal(shape)
    first = np.take(noise, [0], axis=axis) * (1 - np.sqrt(1 - memory**2))
    np.moveaxis(noise, axis, 0)[0] += np.moveaxis(first, axis, 0)[0] / np.sqrt(1 - memory**2)
    return lfilter([np.sqrt(1 - memory**2)], [1, -memory], noise, axis=axis)


@dataclass(frozen=True)
class Field:
    """A Gaussian field of unit variance over the globe: waves of random direction whose amplitudes persist in time.

    Random Fourier features (Rahimi and Recht, 2007): the correlation of two places is exp(-(distance / length)^2 / 2).
    """

    waves: np.ndarray  # (WAVES, 3) [rad/km]
    amplitudes: np.ndarray  # (hours, 2 WAVES)

    def at(self, latitude: float, longitude: float) -> np.ndarray:
        """Values at a place, one an hour."""
        phase = self.waves @ position_km(latitude, longitude)
        return self.amplitudes @ (np.concatenate([np.cos(phase), np.sin(phase)]) / np.sqrt(WAVES))


def position_km(latitude: float, longitude: float) -> np.ndarray:
    lat, lon = np.radians(latitude), np.radians(longitude)
    return EARTH_RADIUS_KM * np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def make_fields(seed: int, hours: int) -> dict[str, Field]:
    """The fields that all places share, one value an hour."""
    fields = {}
    for name, (time_h, length_km) in SCALES.items():
        waves = stream(seed, "waves", name).standard_normal((WAVES, 3)) / length_km
        fields[name] = Field(waves, persistent_noise(stream(seed, "field", name), (hours, 2 * WAVES), 1.0, time_h))
    return fields


@dataclass(frozen=True)
class Sky:
    """What is known of a place without weather: sun and clear sky of each interval."""

    times: pd.DatetimeIndex
    step_h: float
    latitude: float
    solar_hour: np.ndarray  # local mean solar time [h]
    season: np.ndarray  # 1 in midsummer, -1 in midwinter
    zenith: np.ndarray  # apparent [deg]
    azimuth: np.ndarray  # [deg, 180 = south]
    dni_extra: np.ndarray  # [W/m2]
    ghi_clear: np.ndarray  # [W/m2]


def clear_sky(times: pd.DatetimeIndex, step_min: int, latitude: float, longitude: float) -> Sky:
    """Sun position (NREL SPA) and clear-sky irradiance (Ineichen and Perez, 2002) at the middle of each interval."""
    import pvlib

    middle = times + pd.Timedelta(minutes=step_min) / 2
    sun = pvlib.solarposition.get_solarposition(middle, latitude, longitude)
    zenith = sun["apparent_zenith"].to_numpy()
    dni_extra = pvlib.irradiance.get_extra_radiation(middle).to_numpy()
    hours = (middle - middle.normalize()) / pd.Timedelta(hours=1)
    season = np.cos(2 * np.pi * (middle.dayofyear.to_numpy() - 172) / 365.25) * np.sign(latitude or 1.0)
    airmass = pvlib.atmosphere.get_relative_airmass(zenith)
    turbidity = 3.0 + 0.6 * season
    with np.errstate(divide="ignore", invalid="ignore"):  # below the horizon
        clear = pvlib.clearsky.ineichen(zenith, airmass, turbidity, dni_extra=dni_extra)["ghi"]
    ghi_clear = np.where(zenith < 90, np.nan_to_num(clear), 0.0)
    solar_hour = (hours.to_numpy() + longitude / 15) % 24
    return Sky(times, step_min / 60, latitude, solar_hour, season, zenith, sun["azimuth"].to_numpy(), dni_extra, ghi_clear)


@dataclass(frozen=True)
class Systems:
    """Weather systems over a place as normal deviates, one an hour: what is forecastable, and the shared forecast errors."""

    wind: np.ndarray
    cloud: np.ndarray
    temperature: np.ndarray
    wind_error: np.ndarray
    cloud_error: np.ndarray
    temperature_error: np.ndarray


def systems_at(fields: dict[str, Field], latitude: float, longitude: float, sky: Sky) -> Systems:
    """The fields at a place, at the middle of each interval."""
    values = {name: field.at(latitude, longitude) for name, field in fields.items()}
    values["cloud"] = CLOUD_WITH_WIND * values["wind"] + np.sqrt(1 - CLOUD_WITH_WIND**2) * values["cloud"]
    if sky.step_h < 1:
        hour = np.arange(len(sky.times)) * sky.step_h
        values = {name: np.interp(hour, np.arange(len(value)), value) for name, value in values.items()}
    return Systems(**{name: value[: len(sky.times)] for name, value in values.items()})


def irradiance(deviate: np.ndarray, sky: Sky, at: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """GHI, DNI and DHI [W/m2] of a cloud deviate: clear-sky index by its distribution, split after Erbs and Driesse (2022)."""
    import pvlib
    from scipy.special import ndtr

    # winters are cloudier; the shift is in standard deviations
    index = np.interp(ndtr(deviate + 0.2 * sky.season[at]), *CLEAR_SKY_INDEX)
    ghi = index * sky.ghi_clear[at]
    split = pvlib.irradiance.erbs_driesse(ghi, sky.zenith[at], dni_extra=sky.dni_extra[at])
    return ghi, split["dni"], split["dhi"]


def wind_speed(deviate: np.ndarray, sky: Sky, at: np.ndarray | slice = slice(None)) -> np.ndarray:
    """Wind [m/s at 10 m] of a deviate: Weibull, windier in winter and after noon (more so in summer)."""
    from scipy.special import gamma, log_ndtr

    daily = (0.13 + 0.05 * sky.season[at]) * np.cos(2 * np.pi * (sky.solar_hour[at] - 14) / 24)
    mean = WIND_MEAN * (1 - 0.15 * sky.season[at]) * (1 + daily)
    return mean / gamma(1 + 1 / WEIBULL_SHAPE) * (-log_ndtr(-deviate)) ** (1 / WEIBULL_SHAPE)


def temperature(deviate: np.ndarray, cloud: np.ndarray, sky: Sky) -> np.ndarray:
    """Air temperature [deg C]: by latitude, season (a month behind the sun), time of day (more under a clear sky) and weather system."""
    from scipy.special import ndtr

    latitude = abs(sky.latitude)
    day = sky.times.dayofyear.to_numpy()
    yearly = np.cos(2 * np.pi * (day - 202) / 365.25) * np.sign(sky.latitude or 1.0)
    declination = 23.44 * sky.season * np.sign(sky.latitude or 1.0)
    noon = np.clip(np.cos(np.radians(sky.latitude - declination)), 0, None)
    daily = noon * (1.5 + 4.5 * ndtr(cloud)) * np.cos(2 * np.pi * (sky.solar_hour - 15) / 24)
    level = 27 - 0.5 * max(0.0, latitude - 15)
    return level + 0.17 * latitude * yearly + daily + TEMPERATURE_DEVIATION * deviate


def weather_at(seed: int, place: str, systems: Systems, sky: Sky) -> pd.DataFrame:
    """Weather of a place: its systems and, from its own stream, what no forecast sees."""
    deviates = {}
    for name in ("wind", "cloud"):
        local = persistent_noise(stream(seed, place, "local", name), len(sky.times), sky.step_h, LOCAL_TIME_H[name])
        share = LOCAL_SHARE[name]
        deviates[name] = np.sqrt(1 - share) * getattr(systems, name) + np.sqrt(share) * local
    ghi, dni, dhi = irradiance(deviates["cloud"], sky)
    temp_air = temperature(systems.temperature, systems.cloud, sky)
    return pd.DataFrame(
        {"ghi": ghi, "dni": dni, "dhi": dhi, "temp_air": temp_air, "wind_speed": wind_speed(deviates["wind"], sky)}, index=sky.times
    )


def forecasts_at(seed: int, place: str, systems: Systems, sky: Sky, weather: pd.DataFrame, days_end: pd.Timestamp) -> dict[str, np.ndarray]:
    """All forecasts for a place: every 6 h from the start to `days_end`, each for the next 72 h.

    The forecast's weather system is as likely as the true one and correlated with it less and less along the lead time, so that
    forecasts are unbiased, positive, and no tamer than the weather. Errors persist along the lead time, and partly from one issue
    to the next.

    Returns
    -------
    dict : `issue` and `valid`, positions in `sky.times`, and the five values, all flat, in the order of issue and valid time.
    """
    per_h = round(1 / sky.step_h)
    issues = np.arange(0, len(sky.times), FORECAST_EVERY_H * per_h)
    issues = issues[sky.times[issues] <= days_end]
    leads = np.arange(FORECAST_FOR_H * per_h)
    valid = issues[:, None] + leads
    lead_h = leads * sky.step_h

    def error(name):
        own = persistent_noise(stream(seed, place, "forecast", name), valid.shape, sky.step_h, ERROR_TIME_H, axis=1)
        return np.sqrt(SHARED_ERROR) * getattr(systems, f"{name}_error")[valid] + np.sqrt(1 - SHARED_ERROR) * own

    def deviate(name):
        skill = SKILL[name] * np.exp(-lead_h / SKILL_TIME_H[name])
        return skill * getattr(systems, name)[valid] + np.sqrt(1 - skill**2) * error(name)

    ghi, dni, dhi = irradiance(deviate("cloud"), sky, valid)
    at_once, growth = TEMPERATURE_ERROR
    temp_air = weather["temp_air"].to_numpy()[valid] + (at_once + growth * lead_h) * error("temperature")
    values = {"ghi": ghi, "dni": dni, "dhi": dhi, "temp_air": temp_air, "wind_speed": wind_speed(deviate("wind"), sky, valid)}
    return {"issue": np.repeat(issues, len(leads)), "valid": valid.ravel()} | {name: value.ravel() for name, value in values.items()}
