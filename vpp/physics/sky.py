"""Sun and clear sky of a place at the middle of each interval; both are pvlib's.

    python generation.py --days 7 --plot week.html

The costly part of the sun's position is done once for all places.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Sun:
    """The sun as seen from the Earth's centre at the middle of each interval, for all places."""

    times: pd.DatetimeIndex  # starts of the intervals [UTC]
    step_h: float  # [h]
    hour: np.ndarray  # UTC [h]
    year_angle: np.ndarray  # [rad] since 21 June
    sidereal: np.ndarray  # [deg]
    right_ascension: np.ndarray  # [deg]
    declination: np.ndarray  # [deg]
    parallax: np.ndarray  # [deg]
    dni_extra: np.ndarray  # [W/m2]


def sun_of(times: pd.DatetimeIndex, step_min: int) -> Sun:
    """Compute the position of the sun by NREL's SPA (Reda and Andreas, 2004) for all places.

    Parameters
    ----------
    times : starts of the intervals [UTC].
    step_min : of the intervals [min].
    """
    import pvlib
    from pvlib import spa

    middle = times + pd.Timedelta(minutes=step_min) / 2
    unixtime = middle.as_unit("ns").asi8 / 1e9
    delta_t = spa.calculate_deltat(middle.year.to_numpy(), middle.month.to_numpy())
    # latitude, longitude, height, pressure, temperature and refraction do not matter here
    of_place = 0, 0, 0, 1013.25, 12, delta_t, 0.5667, 1
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
    """Sun and clear sky of a place at the middle of each interval, whatever the weather."""

    times: pd.DatetimeIndex  # starts of the intervals [UTC]
    step_h: float  # [h]
    latitude: float  # [deg north]
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
    """Compute sun position and clear-sky irradiance (Ineichen and Perez, 2002) at a place.

    Parameters
    ----------
    sun : over the same intervals.
    latitude, longitude : of the place [degrees].
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
    """Compute apparent zenith, azimuth and true elevation at a place at sea level [deg].

    This is the part of the SPA that depends on the place.

    Parameters
    ----------
    sun : over the same intervals.
    latitude, longitude : of the place [degrees].
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
