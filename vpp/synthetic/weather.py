"""Synthetic weather of a place, and the weather forecasts issued for it: clouds, irradiance,
temperature, wind.

Everything random comes from Gaussian fields over the globe that depend on the seed only, and from
streams of their own for each place. A place's weather therefore does not change when another place
is added, and near places have similar weather. The fields are mapped to physical values by the
distributions of the field's literature; sun and clear sky are pvlib's.

Arrays have one value for each interval; times label its START, values are means over it, the sun
stands where it is at its middle. `ghi`, `dni`, `dhi` [W/m2], `temp_air` [deg C at 2 m],
`wind_speed` [m/s at 10 m].

    python generation.py --days 7 --plot week.html
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

EARTH_RADIUS_KM = 6371.0
EVERY = slice(None)  # interval
WAVES = 32  # of a field; the correlation of two places is exact to about 1 / sqrt(2 WAVES)
FORECAST_EVERY_H, FORECAST_FOR_H = 6, 72

# Time scale, smoothing [h] and correlation length [km] of the fields: synoptic systems are some
# 1,000 km wide and pass in a day or two.
SCALES = {
    "wind": (26.0, 2.5, 450.0),
    "cloud": (16.0, 1.5, 300.0),
    "temperature": (75.0, 6.0, 700.0),
    "wind_error": (8.0, 2.0, 250.0),
    "cloud_error": (8.0, 2.0, 250.0),
    "temperature_error": (8.0, 2.0, 250.0),
}
CLOUD_WITH_WIND = -0.35  # correlation of clear sky with wind over days
LOCAL_SHARE = {"wind": 0.05, "cloud": 0.13}  # of the variance that no forecast sees
LOCAL_TIME_H = {"wind": 4.0, "cloud": 1.5}

# Clear-sky index against its cumulative share: overcast, broken and clear days of Central Europe.
CLEAR_SKY_INDEX = (
    (0.0, 0.03, 0.12, 0.25, 0.40, 0.55, 0.70, 0.85, 0.97, 1.0),
    (0.08, 0.13, 0.22, 0.34, 0.48, 0.65, 0.82, 0.96, 1.02, 1.08),
)
WEIBULL_SHAPE = 2.0  # Rayleigh, the usual first choice for Europe
WIND_MEAN = 4.4  # m/s at 10 m, open land
TEMPERATURE_DEVIATION = 3.6  # K

# Forecasts know the regime, the mean of some days; the correlation of what passes within it with
# the truth falls as SKILL * exp(-lead / SKILL_TIME_H).
REGIME_DAYS, PASSING_SHARE = 10, 0.8  # of the variance
SKILL = {"wind": 0.89, "cloud": 0.94}
SKILL_TIME_H = {"wind": 125.0, "cloud": 240.0}
TEMPERATURE_ERROR = (1.1, 0.019)  # K at once, and growth: K for each hour of lead
SHARED_ERROR = (
    0.3  # of the error's variance belongs to the hour and is the same in all forecasts of it
)
ERROR_TIME_H, ERROR_EVERY_H = 10.0, 3  # along the lead time


def stream(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that depend on the seed and these names only."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return np.random.Generator(
        np.random.Philox(
            np.random.SeedSequence([seed, *np.frombuffer(digest[:16], "<u4").tolist()])
        )
    )


def persistent_noise(
    rng: np.random.Generator,
    shape: int | tuple[int, ...],
    step_h: float,
    time_h: float,
    axis: int = 0,
) -> np.ndarray:
    """Stationary Gaussian noise of unit variance whose correlation falls as exp(-distance / time_h)
    along an axis (AR(1)).
    """
    from scipy.signal import lfilter

    memory = np.exp(-step_h / time_h)
    fresh = np.sqrt(1 - memory**2)
    noise = rng.standard_normal(shape)
    np.moveaxis(noise, axis, 0)[0] /= fresh  # so that the first value has unit variance too
    return lfilter([fresh], [1, -memory], noise, axis=axis)


def smooth_noise(
    rng: np.random.Generator, hours: int, count: int, time_h: float, smoothing_h: float
) -> np.ndarray:
    """Hourly stationary Gaussian noise of unit variance, (hours, count).

    As `persistent_noise`, smoothed over some hours (AR(2)).
    """
    from scipy.signal import lfilter

    first, second = np.exp(-1 / time_h), np.exp(-1 / smoothing_h)
    total, product = first + second, first * second
    variance = (1 + product) / (
        (1 - product) * ((1 + product) ** 2 - total**2)
    )  # Box and Jenkins, of unit innovations
    before = round(
        6 * time_h
    )  # begins at zero, so long before the first hour that it does not show
    noise = rng.standard_normal((before + hours, count))
    return lfilter([1 / np.sqrt(variance)], [1, -total, product], noise, axis=0)[before:]


def lead_noise(rng: np.random.Generator, issues: int, lead_h: np.ndarray) -> np.ndarray:
    """Gaussian noise of unit variance along the lead time of each forecast, (issues, leads), drawn
    every 3 h and smooth between.
    """
    nodes = persistent_noise(
        rng, (issues, FORECAST_FOR_H // ERROR_EVERY_H + 1), ERROR_EVERY_H, ERROR_TIME_H, axis=1
    )
    node, part = np.divmod(lead_h / ERROR_EVERY_H, 1)
    node = node.astype(int)
    correlation = np.exp(-ERROR_EVERY_H / ERROR_TIME_H)
    deviation = np.sqrt((1 - part) ** 2 + part**2 + 2 * part * (1 - part) * correlation)
    return nodes[:, node] * ((1 - part) / deviation) + nodes[:, node + 1] * (part / deviation)


@dataclass(frozen=True)
class Field:
    """A Gaussian field of unit variance over the globe: waves of random direction whose amplitudes
    persist in time.

    Random Fourier features (Rahimi and Recht, 2007): the correlation of two places is
    exp(-(distance / length)^2 / 2)."""

    waves: np.ndarray  # (WAVES, 3) [rad/km]
    amplitudes: np.ndarray  # (hours, 2 WAVES)

    def at(self, latitude: float, longitude: float) -> np.ndarray:
        """Values at a place, one an hour."""
        phase = self.waves @ position_km(latitude, longitude)
        return self.amplitudes @ (np.concatenate([np.cos(phase), np.sin(phase)]) / np.sqrt(WAVES))


def position_km(latitude: float, longitude: float) -> np.ndarray:
    lat, lon = np.radians(latitude), np.radians(longitude)
    return EARTH_RADIUS_KM * np.array(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    )


def make_fields(seed: int, hours: int) -> dict[str, Field]:
    """The fields that all places share, one value an hour."""
    fields = {}
    for name, (time_h, smoothing_h, length_km) in SCALES.items():
        waves = stream(seed, "waves", name).standard_normal((WAVES, 3)) / length_km
        noise = smooth_noise(
            stream(seed, "field", name), hours + 24, 2 * WAVES, time_h, smoothing_h
        )
        if name.endswith(
            "error"
        ):  # less yesterday's error, as forecasters correct theirs: no bias lasts
            fields[name] = Field(waves, (noise[24:] - noise[:-24]) / np.sqrt(2))
        else:
            fields[name] = Field(waves, noise[24:])
    return fields


@dataclass(frozen=True)
class Sun:
    """The sun as seen from the Earth's centre at the middle of each interval.

    What all places share.
    """

    times: pd.DatetimeIndex
    step_h: float
    hour: np.ndarray  # UTC [h]
    year_angle: np.ndarray  # [rad] since 21 June
    sidereal: np.ndarray  # [deg]
    right_ascension: np.ndarray  # [deg]
    declination: np.ndarray  # [deg]
    parallax: np.ndarray  # [deg]
    dni_extra: np.ndarray  # [W/m2]


def sun_of(times: pd.DatetimeIndex, step_min: int) -> Sun:
    """Geocentric position of the sun by NREL's SPA (Reda and Andreas, 2004), the costly part of it,
    done once for all places.
    """
    import pvlib
    from pvlib import spa

    middle = times + pd.Timedelta(minutes=step_min) / 2
    unixtime = middle.as_unit("ns").asi8 / 1e9
    delta_t = spa.calculate_deltat(middle.year.to_numpy(), middle.month.to_numpy())
    of_place = (
        0,
        0,
        0,
        1013.25,
        12,
        delta_t,
        0.5667,
        1,
    )  # latitude to refraction do not matter here
    sidereal, right_ascension, declination = spa.solar_position_numpy(unixtime, *of_place, sst=True)
    (distance,) = spa.solar_position_numpy(unixtime, *of_place, esd=True)
    return Sun(
        times=times,
        step_h=step_min / 60,
        hour=unixtime / 3600 % 24,
        year_angle=2 * np.pi * (middle.dayofyear.to_numpy() - 172) / 365.25,
        sidereal=sidereal,
        right_ascension=right_ascension,
        declination=declination,
        parallax=spa.equatorial_horizontal_parallax(distance),
        dni_extra=pvlib.irradiance.get_extra_radiation(middle).to_numpy(),
    )


@dataclass(frozen=True)
class Sky:
    """What is known of a place without weather: sun and clear sky of each interval."""

    times: pd.DatetimeIndex
    step_h: float
    latitude: float
    solar_hour: np.ndarray  # local mean solar time [h]
    year_angle: np.ndarray  # [rad] since midsummer of this hemisphere
    declination: np.ndarray  # of the sun [deg]
    day: np.ndarray  # whether the sun is up
    zenith: np.ndarray  # apparent [deg]
    azimuth: np.ndarray  # [deg, 180 = south]
    dni_extra: np.ndarray  # [W/m2]
    ghi_clear: np.ndarray  # [W/m2]

    @property
    def season(self) -> np.ndarray:
        """1 in midsummer, -1 in midwinter."""
        return np.cos(self.year_angle)


def clear_sky(sun: Sun, latitude: float, longitude: float) -> Sky:
    """Sun position at a place and clear-sky irradiance (Ineichen and Perez, 2002) at the middle of
    each interval.
    """
    import pvlib

    zenith, azimuth, elevation = sun_position(sun, latitude, longitude)
    day = elevation > 0
    year_angle = sun.year_angle + (np.pi if latitude < 0 else 0.0)
    turbidity = 3.0 + 0.6 * np.cos(year_angle)
    with np.errstate(divide="ignore", invalid="ignore"):  # below the horizon
        airmass = pvlib.atmosphere.get_relative_airmass(zenith)
        clear = pvlib.clearsky.ineichen(zenith, airmass, turbidity, dni_extra=sun.dni_extra)["ghi"]
    ghi_clear = np.where(day, np.nan_to_num(clear), 0.0)
    solar_hour = (sun.hour + longitude / 15) % 24
    return Sky(
        sun.times,
        sun.step_h,
        latitude,
        solar_hour,
        year_angle,
        sun.declination,
        day,
        zenith,
        azimuth,
        sun.dni_extra,
        ghi_clear,
    )


def sun_position(
    sun: Sun, latitude: float, longitude: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Apparent zenith, azimuth and true elevation [deg] at a place at sea level.

    The part of the SPA that depends on the place.
    """
    from pvlib import spa

    hour_angle = spa.local_hour_angle(sun.sidereal, longitude, sun.right_ascension)
    reduced = spa.uterm(latitude)
    x, y = spa.xterm(reduced, latitude, 0), spa.yterm(reduced, latitude, 0)
    shift = spa.parallax_sun_right_ascension(x, sun.parallax, hour_angle, sun.declination)
    declination = spa.topocentric_sun_declination(
        sun.declination, x, y, sun.parallax, shift, hour_angle
    )
    hour_angle = spa.topocentric_local_hour_angle(hour_angle, shift)
    elevation = spa.topocentric_elevation_angle_without_atmosphere(
        latitude, declination, hour_angle
    )
    refraction = spa.atmospheric_refraction_correction(1013.25, 12, elevation, 0.5667)
    azimuth = spa.topocentric_azimuth_angle(
        spa.topocentric_astronomers_azimuth(hour_angle, declination, latitude)
    )
    return spa.topocentric_zenith_angle(elevation + refraction), azimuth, elevation


@dataclass(frozen=True)
class Systems:
    """Weather systems over a place as normal deviates, one an hour.

    What is forecastable, and the shared forecast errors.
    """

    wind: np.ndarray
    cloud: np.ndarray
    temperature: np.ndarray
    wind_error: np.ndarray
    cloud_error: np.ndarray
    temperature_error: np.ndarray


def systems_at(fields: dict[str, Field], latitude: float, longitude: float, sky: Sky) -> Systems:
    """The fields at a place, at the middle of each interval."""
    values = {name: field.at(latitude, longitude) for name, field in fields.items()}
    values["cloud"] = (
        CLOUD_WITH_WIND * values["wind"] + np.sqrt(1 - CLOUD_WITH_WIND**2) * values["cloud"]
    )
    if sky.step_h < 1:
        hour = np.arange(len(sky.times)) * sky.step_h
        values = {
            name: np.interp(hour, np.arange(len(value)), value) for name, value in values.items()
        }
    return Systems(**{name: value[: len(sky.times)] for name, value in values.items()})


def irradiance(
    deviate: np.ndarray, sky: Sky, at: np.ndarray | slice = EVERY
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """GHI, DNI and DHI [W/m2] of a cloud deviate.

    Clear-sky index by its distribution, split after Erbs and Driesse (2022).
    """
    import pvlib
    from scipy.special import ndtr

    # winters are cloudier; the shift is in standard deviations
    index = np.interp(ndtr(deviate + 0.2 * sky.season[at]), *CLEAR_SKY_INDEX)
    ghi = index * sky.ghi_clear[at]
    split = pvlib.irradiance.erbs_driesse(ghi, sky.zenith[at], dni_extra=sky.dni_extra[at])
    return ghi, split["dni"], split["dhi"]


def wind_speed(deviate: np.ndarray, sky: Sky, at: np.ndarray | slice = EVERY) -> np.ndarray:
    """Wind [m/s at 10 m] of a deviate.

    Weibull, windier in winter and after noon (more so in summer).
    """
    from scipy.special import gamma, log_ndtr

    daily = (0.13 + 0.05 * sky.season[at]) * np.cos(2 * np.pi * (sky.solar_hour[at] - 14) / 24)
    mean = WIND_MEAN * (1 - 0.15 * sky.season[at]) * (1 + daily)
    return mean / gamma(1 + 1 / WEIBULL_SHAPE) * (-log_ndtr(-deviate)) ** (1 / WEIBULL_SHAPE)


def temperature(deviate: np.ndarray, cloud: np.ndarray, sky: Sky) -> np.ndarray:
    """Air temperature [deg C].

    By latitude, season (a month behind the sun), time of day (more under a clear sky) and weather
    system.
    """
    from scipy.special import ndtr

    latitude = abs(sky.latitude)
    yearly = np.cos(sky.year_angle - 2 * np.pi * 30 / 365.25)
    noon = np.clip(np.cos(np.radians(sky.latitude - sky.declination)), 0, None)
    daily = noon * (1.5 + 4.5 * ndtr(cloud)) * np.cos(2 * np.pi * (sky.solar_hour - 15) / 24)
    level = 27 - 0.5 * max(0.0, latitude - 15)
    return level + 0.17 * latitude * yearly + daily + TEMPERATURE_DEVIATION * deviate


def weather_at(seed: int, place: str, systems: Systems, sky: Sky) -> pd.DataFrame:
    """Weather of a place: its systems and, from its own stream, what no forecast sees."""
    deviates = {}
    for name in ("wind", "cloud"):
        local = persistent_noise(
            stream(seed, place, "local", name), len(sky.times), sky.step_h, LOCAL_TIME_H[name]
        )
        share = LOCAL_SHARE[name]
        deviates[name] = np.sqrt(1 - share) * getattr(systems, name) + np.sqrt(share) * local
    ghi, dni, dhi = irradiance(deviates["cloud"], sky)
    temp_air = temperature(systems.temperature, systems.cloud, sky)
    return pd.DataFrame(
        {
            "ghi": ghi,
            "dni": dni,
            "dhi": dhi,
            "temp_air": temp_air,
            "wind_speed": wind_speed(deviates["wind"], sky),
        },
        index=sky.times,
    )


def forecasts_at(
    seed: int, place: str, systems: Systems, sky: Sky, weather: pd.DataFrame, until: pd.Timestamp
) -> dict[str, np.ndarray]:
    """All forecasts for a place: every 6 h from the start to `until`, each for the next 72 h.

    The forecast's weather system is as likely as the true one and correlated with it less and less
    along the lead time, so that forecasts are unbiased, positive, and no tamer than the weather
    itself. Errors persist along the lead time, and partly from one issue to the next.

    Returns
    -------
    dict : `issue` and `valid`, positions in `sky.times`, and the five values, all flat, in the
    order of issue and valid time."""
    from scipy.ndimage import uniform_filter1d

    per_h = round(1 / sky.step_h)
    issues = np.arange(0, len(sky.times), FORECAST_EVERY_H * per_h)
    issues = issues[sky.times[issues] <= until]
    leads = np.arange(FORECAST_FOR_H * per_h)
    valid = issues[:, None] + leads
    lead_h = leads * sky.step_h

    def error(name):
        own = lead_noise(stream(seed, place, "forecast", name), len(issues), lead_h)
        return (
            np.sqrt(SHARED_ERROR) * getattr(systems, f"{name}_error")[valid]
            + np.sqrt(1 - SHARED_ERROR) * own
        )

    def deviate(name):
        system = getattr(systems, name)
        regime = uniform_filter1d(system, REGIME_DAYS * 24 * per_h, mode="nearest")
        skill = SKILL[name] * np.exp(-lead_h / SKILL_TIME_H[name])
        return (
            regime[valid]
            + skill * (system - regime)[valid]
            + np.sqrt((1 - skill**2) * PASSING_SHARE) * error(name)
        )

    ghi, dni, dhi = irradiance(deviate("cloud"), sky, valid)
    at_once, growth = TEMPERATURE_ERROR
    temp_air = weather["temp_air"].to_numpy()[valid] + (at_once + growth * lead_h) * error(
        "temperature"
    )
    values = {
        "ghi": ghi,
        "dni": dni,
        "dhi": dhi,
        "temp_air": temp_air,
        "wind_speed": wind_speed(deviate("wind"), sky, valid),
    }
    return {"issue": np.repeat(issues, len(leads)), "valid": valid.ravel()} | {
        name: value.ravel() for name, value in values.items()
    }
