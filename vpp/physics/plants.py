"""Power [kW] of solar plants and wind turbines in a given weather.

    python generation.py --solar 4 --wind 0

PV: plane-of-array irradiance (Perez), reflection of the beam, cell temperature (Faiman), PVWatts
module and inverter, clipped at the AC rating. Wind: shear to hub height, air density, the power
curve of a real turbine type, losses, cut-out. Arrays have one value for each interval, as in
`vpp.synthetic.weather`; noise comes in as a factor.
"""

import functools
from collections.abc import Mapping

import numpy as np
import pandas as pd

from vpp.physics.sky import Sky
from vpp.runtime.errors import check_known

TILT_DEG, DC_AC_RATIO = 30.0, 1.2  # of a plant that does not say
GAMMA_PER_K, INVERTER_EFFICIENCY, ALBEDO = -0.0047, 0.96, 0.2  # of PVWatts v5 (Dobos, 2014)
PV_LOSSES = 0.14

HUB_HEIGHT_M, WIND_HEIGHT_M = 100.0, 10.0
WIND_LOSSES = 0.10  # wakes, availability, cables
# Hellman exponent, and its change with the time of day: mixing by day, a low jet by night
SHEAR = (0.20, -0.07)


def plane_of_array(
    weather: Mapping[str, np.ndarray] | pd.DataFrame, sky: Sky, tilt: float, azimuth: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the irradiance on a tilted plane: all of it, and what passes the glass [W/m2].

    Perez et al. (1990) for the diffuse part; Fresnel reflection of the beam (De Soto et al., 2006),
    as PVWatts v5 does.

    Parameters
    ----------
    weather : `ghi`, `dni`, `dhi` [W/m2], `temp_air` [deg C], `wind_speed` [m/s at 10 m].
    sky : sun of the place.
    tilt : of the plane, 0 = flat [degrees].
    azimuth : that it faces, 180 = south [degrees].
    """
    import pvlib

    dni, dhi, ghi = (np.asarray(weather[name]) for name in ("dni", "dhi", "ghi"))
    airmass = pvlib.atmosphere.get_relative_airmass(sky.zenith)
    total = pvlib.irradiance.get_total_irradiance(
        tilt,
        azimuth,
        sky.zenith,
        sky.azimuth,
        dni,
        ghi,
        dhi,
        dni_extra=sky.dni_extra,
        airmass=airmass,
        albedo=ALBEDO,
        model="perez",
    )
    incidence = pvlib.irradiance.aoi(tilt, azimuth, sky.zenith, sky.azimuth)
    passes = pvlib.iam.physical(np.minimum(incidence, 90.0))
    poa = np.nan_to_num(total["poa_global"])
    return poa, poa - np.nan_to_num(total["poa_direct"]) * (1 - passes)


def pv_power(
    poa_transmitted: np.ndarray,
    temp_cell: np.ndarray,
    dc_kw: float,
    ac_kw: float,
    losses: float = PV_LOSSES,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute DC and AC power of a PVWatts plant (Dobos, 2014) [kW].

    Parameters
    ----------
    poa_transmitted : irradiance behind the glass [W/m2].
    temp_cell : temperature of the cells [deg C].
    dc_kw : DC rating of the modules [kW].
    ac_kw : AC rating, which the AC power never exceeds [kW].
    losses : of soiling, cables and mismatch, as a fraction of the DC power.
    """
    import pvlib

    dc = pvlib.pvsystem.pvwatts_dc(poa_transmitted, temp_cell, dc_kw, GAMMA_PER_K) * (1 - losses)
    return dc, pvlib.inverter.pvwatts(dc, ac_kw / INVERTER_EFFICIENCY, INVERTER_EFFICIENCY)


def solar_power(
    weather: Mapping[str, np.ndarray] | pd.DataFrame,
    sky: Sky,
    parameters: Mapping,
    capacity_kw: float,
    noise: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Compute the AC power of a PV plant, zero while the sun is down [kW].

    Parameters
    ----------
    weather : `ghi`, `dni`, `dhi` [W/m2], `temp_air` [deg C], `wind_speed` [m/s at 10 m].
    sky : sun of the place.
    parameters : `tilt`, `azimuth` [degrees] and `dc_ac_ratio` of the plant, each with a default.
    capacity_kw : AC rating [kW].
    noise : factor of the irradiance, for each interval or for all.
    """
    import pvlib

    facing = 180.0 if sky.latitude >= 0 else 0.0
    poa, transmitted = plane_of_array(
        weather, sky, parameters.get("tilt", TILT_DEG), parameters.get("azimuth", facing)
    )
    temp_cell = pvlib.temperature.faiman(
        poa, np.asarray(weather["temp_air"]), np.asarray(weather["wind_speed"])
    )
    dc_kw = capacity_kw * parameters.get("dc_ac_ratio", DC_AC_RATIO)
    _, ac = pv_power(transmitted * noise, temp_cell, dc_kw, capacity_kw)
    return np.where(sky.day, np.clip(ac, 0.0, capacity_kw), 0.0)


@functools.cache
def turbine_types() -> pd.DataFrame:
    """List the turbine types of windpowerlib that have a power curve."""
    from windpowerlib import data

    types = data.get_turbine_types(print_out=False, filter_=False)
    return types[types["has_power_curve"]]


@functools.cache
def turbine_curve(turbine: str) -> tuple[np.ndarray, np.ndarray]:
    """Look up the power curve of a turbine type: wind speed [m/s] and power [kW].

    Raises
    ------
    ConfigError : windpowerlib has no power curve of this name; the message gives the nearest.
    """
    known = turbine_types()["turbine_type"]
    check_known("wind turbine (a power curve of windpowerlib)", turbine, known)
    from windpowerlib import WindTurbine

    curve = WindTurbine(hub_height=HUB_HEIGHT_M, turbine_type=turbine).power_curve
    return curve["wind_speed"].to_numpy(), curve["value"].to_numpy() / 1000


def wind_power(
    weather: Mapping[str, np.ndarray] | pd.DataFrame,
    sky: Sky,
    parameters: Mapping,
    capacity_kw: float,
    noise: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Compute the power of a wind farm [kW].

    Hellman's power law to hub height; air density by the barometric formula, which moves the wind
    speed as IEC 61400-12 does; no power above the curve's last speed (cut-out).

    Parameters
    ----------
    weather : `ghi`, `dni`, `dhi` [W/m2], `temp_air` [deg C], `wind_speed` [m/s at 10 m].
    sky : sun of the place.
    parameters : `turbine`, a type of windpowerlib, and `hub_height_m` [m] with a default.
    capacity_kw : of all its turbines [kW].
    noise : factor of the wind speed, for each interval or for all.
    """
    from windpowerlib import density, power_output
    from windpowerlib import wind_speed as shear

    speeds, powers = turbine_curve(parameters["turbine"])
    hub_m = parameters.get("hub_height_m", HUB_HEIGHT_M)
    exponent = SHEAR[0] + SHEAR[1] * np.cos(2 * np.pi * (sky.solar_hour - 14) / 24)
    wind = np.asarray(weather["wind_speed"])
    at_hub = shear.hellman(wind, WIND_HEIGHT_M, hub_m, hellman_exponent=exponent) * noise
    kelvin = np.asarray(weather["temp_air"]) + 273.15 - 0.0065 * (hub_m - 2)
    air = density.barometric(101_325.0, 0.0, hub_m, kelvin)
    power = power_output.power_curve(at_hub * (air / 1.225) ** (1 / 3), speeds, powers)
    return np.minimum(power, powers.max()) / powers.max() * capacity_kw * (1 - WIND_LOSSES)
