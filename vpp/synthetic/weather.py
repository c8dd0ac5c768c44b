"""Synthetic weather of a place, and the weather forecasts issued for it: sun, clouds, heat, wind.

    python generation.py --days 7 --plot week.html

Everything random comes from Gaussian fields over the globe that depend on the seed only, and from
streams of their own for each place. A place's weather therefore does not change when another place
is added, and near places have similar weather. The fields are mapped to physical values by the
distributions of the field's literature.

Arrays have one value for each interval; times label its START, values are means over it, the sun
stands where it is at its middle. `ghi`, `dni`, `dhi` [W/m2], `temp_air` [deg C at 2 m],
`wind_speed` [m/s at 10 m].
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.physics.sky import Sky
from vpp.synthetic.noise import persistent_noise, smooth_noise, stream

EARTH_RADIUS_KM = 6371.0
EVERY = slice(None)  # interval; the default of `at`
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
# of the error's variance belongs to the hour and is the same in all forecasts of it
SHARED_ERROR = 0.3
ERROR_TIME_H, ERROR_EVERY_H = 10.0, 3  # along the lead time


@dataclass(frozen=True)
class Field:
    """A Gaussian field of unit variance over the globe that persists in time.

    It is a sum of waves of random direction, random Fourier features (Rahimi and Recht, 2007): the
    correlation of two places is exp(-(distance / length)^2 / 2).
    """

    waves: np.ndarray  # (WAVES, 3) [rad/km]
    amplitudes: np.ndarray  # (hours, 2 WAVES)

    def at(self, latitude: float, longitude: float) -> np.ndarray:
        """Give the values at a place, one an hour.

        Parameters
        ----------
        latitude, longitude : of the place [degrees].
        """
        phase = self.waves @ position_km(latitude, longitude)
        return self.amplitudes @ (np.concatenate([np.cos(phase), np.sin(phase)]) / np.sqrt(WAVES))


def position_km(latitude: float, longitude: float) -> np.ndarray:
    """Give a place as seen from the Earth's centre, (3,) [km].

    Parameters
    ----------
    latitude, longitude : of the place [degrees].
    """
    lat, lon = np.radians(latitude), np.radians(longitude)
    return EARTH_RADIUS_KM * np.array(
        [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]
    )


def make_fields(seed: int, hours: int) -> dict[str, Field]:
    """Make the fields that all places share, one value an hour.

    Parameters
    ----------
    seed : of all series.
    hours : of the period.
    """
    fields = {}
    for name, (time_h, smoothing_h, length_km) in SCALES.items():
        waves = stream(seed, "waves", name).standard_normal((WAVES, 3)) / length_km
        rng = stream(seed, "field", name)
        noise = smooth_noise(rng, hours + 24, 2 * WAVES, time_h, smoothing_h)
        if name.endswith("error"):
            # less yesterday's error, as forecasters correct theirs: no bias lasts
            fields[name] = Field(waves, (noise[24:] - noise[:-24]) / np.sqrt(2))
        else:
            fields[name] = Field(waves, noise[24:])
    return fields


@dataclass(frozen=True)
class Systems:
    """Weather systems over a place as normal deviates, one an interval.

    `wind`, `cloud` and `temperature` can be forecast; `wind_error`, `cloud_error` and
    `temperature_error` are the errors that all forecasts of an hour share.
    """

    wind: np.ndarray
    cloud: np.ndarray
    temperature: np.ndarray
    wind_error: np.ndarray
    cloud_error: np.ndarray
    temperature_error: np.ndarray


def systems_at(fields: dict[str, Field], latitude: float, longitude: float, sky: Sky) -> Systems:
    """Read the fields at a place, for each interval.

    Parameters
    ----------
    fields : of `make_fields`.
    latitude, longitude : of the place [degrees].
    sky : of the place.
    """
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
    """Compute GHI, DNI and DHI of a cloud deviate [W/m2].

    The clear-sky index follows its distribution; the split is that of Erbs and Driesse (2022).

    Parameters
    ----------
    deviate : normal deviates; high ones are clear.
    sky : of the place.
    at : the intervals of the deviates.
    """
    import pvlib
    from scipy.special import ndtr

    # winters are cloudier; the shift is in standard deviations
    index = np.interp(ndtr(deviate + 0.2 * sky.season[at]), *CLEAR_SKY_INDEX)
    ghi = index * sky.ghi_clear[at]
    split = pvlib.irradiance.erbs_driesse(ghi, sky.zenith[at], dni_extra=sky.dni_extra[at])
    return ghi, split["dni"], split["dhi"]


def wind_speed(deviate: np.ndarray, sky: Sky, at: np.ndarray | slice = EVERY) -> np.ndarray:
    """Compute the wind of a deviate [m/s at 10 m].

    It is Weibull, stronger in winter and after noon (more so in summer).

    Parameters
    ----------
    deviate : normal deviates.
    sky : of the place.
    at : the intervals of the deviates.
    """
    from scipy.special import gamma, log_ndtr

    daily = (0.13 + 0.05 * sky.season[at]) * np.cos(2 * np.pi * (sky.solar_hour[at] - 14) / 24)
    mean = WIND_MEAN * (1 - 0.15 * sky.season[at]) * (1 + daily)
    return mean / gamma(1 + 1 / WEIBULL_SHAPE) * (-log_ndtr(-deviate)) ** (1 / WEIBULL_SHAPE)


def temperature(deviate: np.ndarray, cloud: np.ndarray, sky: Sky) -> np.ndarray:
    """Compute the air temperature of each interval [deg C].

    It depends on latitude, season (a month behind the sun), time of day (more so under a clear sky)
    and weather system.

    Parameters
    ----------
    deviate : of the temperature.
    cloud : deviate of the clouds; high ones are clear.
    sky : of the place.
    """
    from scipy.special import ndtr

    latitude = abs(sky.latitude)
    yearly = np.cos(sky.year_angle - 2 * np.pi * 30 / 365.25)
    noon = np.clip(np.cos(np.radians(sky.latitude - sky.declination)), 0, None)
    daily = noon * (1.5 + 4.5 * ndtr(cloud)) * np.cos(2 * np.pi * (sky.solar_hour - 15) / 24)
    level = 27 - 0.5 * max(0.0, latitude - 15)
    return level + 0.17 * latitude * yearly + daily + TEMPERATURE_DEVIATION * deviate


def weather_at(seed: int, place: str, systems: Systems, sky: Sky) -> pd.DataFrame:
    """Make the weather of a place: its systems, and deviations that no forecast sees.

    Parameters
    ----------
    seed : of all series.
    place : its name, which has a stream of random numbers of its own.
    systems : over the place.
    sky : of the place.

    Returns
    -------
    By interval the columns of `vpp.site.kinds.WEATHER`.
    """
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


def lead_noise(rng: np.random.Generator, issues: int, lead_h: np.ndarray) -> np.ndarray:
    """Make Gaussian noise of unit variance along the lead time of each forecast, (issues, leads).

    It is drawn every 3 h and smooth between.

    Parameters
    ----------
    rng : random numbers of this noise alone.
    issues : how many forecasts.
    lead_h : lead times [h].
    """
    nodes = persistent_noise(
        rng, (issues, FORECAST_FOR_H // ERROR_EVERY_H + 1), ERROR_EVERY_H, ERROR_TIME_H, axis=1
    )
    node, part = np.divmod(lead_h / ERROR_EVERY_H, 1)
    node = node.astype(int)
    correlation = np.exp(-ERROR_EVERY_H / ERROR_TIME_H)
    deviation = np.sqrt((1 - part) ** 2 + part**2 + 2 * part * (1 - part) * correlation)
    return nodes[:, node] * ((1 - part) / deviation) + nodes[:, node + 1] * (part / deviation)


def _known_part(system: np.ndarray, valid: np.ndarray, skill: np.ndarray, per_h: int) -> np.ndarray:
    """The part of a system that forecasts know: its regime, and less and less of what passes."""
    from scipy.ndimage import uniform_filter1d

    regime = uniform_filter1d(system, REGIME_DAYS * 24 * per_h, mode="nearest")
    return regime[valid] + skill * (system - regime)[valid]


def forecasts_at(
    seed: int, place: str, systems: Systems, sky: Sky, weather: pd.DataFrame, until: pd.Timestamp
) -> dict[str, np.ndarray]:
    """Make all forecasts for a place: every 6 h from the start to `until`, each for 72 h.

    The forecast's weather system is as likely as the true one and correlated with it less and less
    along the lead time, so that forecasts are unbiased, positive, and no tamer than the weather
    itself. Errors persist along the lead time, and partly from one issue to the next.

    Parameters
    ----------
    seed : of all series.
    place : its name, which has a stream of random numbers of its own.
    systems : over the place.
    sky : of the place.
    weather : as it turns out (`weather_at`).
    until : the last time of issue [UTC].

    Returns
    -------
    `issue` and `valid`, positions in `sky.times`, and the five values, all flat, in the order of
    issue and valid time.
    """
    per_h = round(1 / sky.step_h)
    issues = np.arange(0, len(sky.times), FORECAST_EVERY_H * per_h)
    issues = issues[sky.times[issues] <= until]
    leads = np.arange(FORECAST_FOR_H * per_h)
    valid = issues[:, None] + leads
    lead_h = leads * sky.step_h

    def error(name: str) -> np.ndarray:
        own = lead_noise(stream(seed, place, "forecast", name), len(issues), lead_h)
        shared = getattr(systems, f"{name}_error")[valid]
        return np.sqrt(SHARED_ERROR) * shared + np.sqrt(1 - SHARED_ERROR) * own

    def deviate(name: str) -> np.ndarray:
        skill = SKILL[name] * np.exp(-lead_h / SKILL_TIME_H[name])
        known = _known_part(getattr(systems, name), valid, skill, per_h)
        return known + np.sqrt((1 - skill**2) * PASSING_SHARE) * error(name)

    ghi, dni, dhi = irradiance(deviate("cloud"), sky, valid)
    at_once, growth = TEMPERATURE_ERROR
    missed = (at_once + growth * lead_h) * error("temperature")
    temp_air = weather["temp_air"].to_numpy()[valid] + missed
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
