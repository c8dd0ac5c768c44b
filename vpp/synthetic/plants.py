"""What plants, loads and a day-ahead market do in a given weather: PV, wind, load [kW] and price
[EUR/MWh].

PV: plane-of-array irradiance (Perez), reflection of the beam, cell temperature (Faiman), PVWatts
module and inverter, clipped at the AC rating. Wind: shear to hub height, air density, the power
curve of a real turbine type, losses, cut-out. Load: standard load profiles (BDEW) with holidays,
weather and noise that persists. Price: the residual load of a price zone through a merit order; the
zone does not contain the user's plants. Arrays have one value for each interval, as in `weather`;
randomness comes in as generators.

    python generation.py --solar 4 --wind 0
"""

import functools
import warnings
from collections.abc import Mapping, Sequence
from datetime import time

import numpy as np
import pandas as pd

from vpp.runtime.errors import check_known
from vpp.synthetic.weather import Sky, persistent_noise

TILT_DEG, DC_AC_RATIO = 30.0, 1.2  # of a plant that does not say
GAMMA_PER_K, INVERTER_EFFICIENCY, ALBEDO = -0.0047, 0.96, 0.2  # of PVWatts v5 (Dobos, 2014)
PV_LOSSES = 0.14

HUB_HEIGHT_M, WIND_HEIGHT_M = 100.0, 10.0
WIND_LOSSES = 0.10  # wakes, availability, cables
SHEAR = (
    0.20,
    -0.07,
)  # Hellman exponent, and its change with the time of day: mixing by day, a low jet by night

# What a load is a mix of: households and trade (BDEW H0, G0, and G3 that runs through), industry in
# two shifts; highest quarter-hour of each over its yearly mean
LOAD_MIX = {"h0_dyn": 2.2, "g0": 2.1, "g3": 1.5, "industry": 1.3}
LOAD_SHARES = (0.25, 0.2, 0.15, 0.4)  # of the yearly energy of a load that does not say
ZONE_SHARES = (0.25, 0.15, 0.2, 0.4)
INDUSTRY = {
    "week": {"day": 1.2, "night": 0.95},
    "weekend": {"day": 0.8, "night": 0.75},
    "holiday": {"day": 0.75, "night": 0.75},
}
LOAD_NOISE = (
    (0.035, 4.0),
    (0.025, 36.0),
    (0.02, 400.0),
)  # standard deviation and time scale [h]: hours, days, seasons

# The price zone, as Germany and Luxembourg are in size [GW]
ZONE_LOAD, ZONE_WIND, ZONE_SOLAR = 54.0, 54.0, 84.0
# Residual load [GW] against price [EUR/MWh], so that a year's prices are spread as those of DE-LU
# in 2024: subsidised feed-in bids below zero, must-run plants near it, then lignite, coal, gas,
# peakers and scarcity
MERIT_ORDER = (
    (
        -60.0,
        -33.0,
        -20.0,
        -11.0,
        -6.0,
        1.0,
        11.0,
        18.0,
        25.0,
        30.0,
        39.0,
        45.0,
        53.0,
        59.0,
        66.0,
        71.0,
        76.0,
        90.0,
    ),
    (
        -400.0,
        -60.0,
        -18.0,
        -3.0,
        1.0,
        14.0,
        46.0,
        61.0,
        70.0,
        79.0,
        95.0,
        107.0,
        123.0,
        138.0,
        170.0,
        215.0,
        330.0,
        2000.0,
    ),
)


def plane_of_array(
    weather: Mapping[str, np.ndarray], sky: Sky, tilt: float, azimuth: float
) -> tuple[np.ndarray, np.ndarray]:
    """Irradiance on a tilted plane [W/m2]: all of it, and what passes the glass.

    Perez et al. (1990) for the diffuse part; Fresnel reflection of the beam (De Soto et al., 2006),
    as PVWatts v5 does."""
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
    """DC and AC power [kW] of a PVWatts plant (Dobos, 2014) from irradiance behind the glass [W/m2]
    and cell temperature [deg C].

    The AC power never exceeds `ac_kw`, its rating.
    """
    import pvlib

    dc = pvlib.pvsystem.pvwatts_dc(poa_transmitted, temp_cell, dc_kw, GAMMA_PER_K) * (1 - losses)
    return dc, pvlib.inverter.pvwatts(dc, ac_kw / INVERTER_EFFICIENCY, INVERTER_EFFICIENCY)


def solar_power(
    weather: Mapping[str, np.ndarray],
    sky: Sky,
    parameters: Mapping,
    capacity_kw: float,
    noise: np.ndarray | float = 1.0,
) -> np.ndarray:
    """AC power [kW] of a PV plant of a given AC rating in a given weather.

    Zero while the sun is down.
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
def _turbine_types() -> pd.DataFrame:
    from windpowerlib import data

    types = data.get_turbine_types(print_out=False, filter_=False)
    return types[types["has_power_curve"]]


@functools.cache
def turbine_curve(turbine: str) -> tuple[np.ndarray, np.ndarray]:
    """Power curve of a turbine type: wind speed [m/s] and power [kW].

    Raises
    ------
    ConfigError : windpowerlib has no power curve of this name; the nearest names are given.
    """
    known = _turbine_types()["turbine_type"]
    check_known("wind turbine (a power curve of windpowerlib)", turbine, known)
    from windpowerlib import WindTurbine

    curve = WindTurbine(hub_height=HUB_HEIGHT_M, turbine_type=turbine).power_curve
    return curve["wind_speed"].to_numpy(), curve["value"].to_numpy() / 1000


def wind_power(
    weather: Mapping[str, np.ndarray],
    sky: Sky,
    parameters: Mapping,
    capacity_kw: float,
    noise: np.ndarray | float = 1.0,
) -> np.ndarray:
    """Power [kW] of a wind farm whose turbines have `capacity_kw` in all.

    Hellman's power law to hub height; air density by the barometric formula, which moves the wind
    speed as IEC 61400-12 does; no power above the curve's last speed (cut-out)."""
    from windpowerlib import density, power_output
    from windpowerlib import wind_speed as shear

    speeds, powers = turbine_curve(parameters["turbine"])
    hub_m = parameters.get("hub_height_m", HUB_HEIGHT_M)
    exponent = SHEAR[0] + SHEAR[1] * np.cos(2 * np.pi * (sky.solar_hour - 14) / 24)
    at_hub = (
        shear.hellman(
            np.asarray(weather["wind_speed"]), WIND_HEIGHT_M, hub_m, hellman_exponent=exponent
        )
        * noise
    )
    kelvin = np.asarray(weather["temp_air"]) + 273.15 - 0.0065 * (hub_m - 2)
    air = density.barometric(101_325.0, 0.0, hub_m, kelvin)
    power = power_output.power_curve(at_hub * (air / 1.225) ** (1 / 3), speeds, powers)
    return np.minimum(power, powers.max()) / powers.max() * capacity_kw * (1 - WIND_LOSSES)


@functools.cache
def year_profiles(year: int, country: str) -> np.ndarray:
    """Quarter-hours of a year of the local clock, one column for each of `LOAD_MIX`, 1 in the mean;
    a country's holidays as Sundays.
    """
    import holidays
    from demandlib import bdew
    from demandlib.particular_profiles import IndustrialLoadProfile

    days = dict(holidays.country_holidays(country, years=year)) if country else {}
    with warnings.catch_warnings():  # demandlib turns all warnings into errors and leaves them so
        slp = bdew.ElecSlp(year, holidays=days)
        profiles = slp.get_profiles(*list(LOAD_MIX)[:-1]).copy()
        shifts = IndustrialLoadProfile(slp.date_time_index, holidays=days)
        steps = shifts.simple_profile(1.0, am=time(6), pm=time(22), profile_factors=INDUSTRY)
        profiles["industry"] = (
            steps.rolling(9, center=True, min_periods=1).mean().to_numpy()
        )  # not all begin at the same minute
    return (profiles / profiles.mean()).to_numpy()


def local_profiles(
    times: pd.DatetimeIndex, step_min: int, time_zone: str, country: str
) -> pd.DataFrame:
    """Load profiles by interval, 1 in the yearly mean, by the clock and calendar of the time zone."""
    quarters = pd.date_range(
        times[0].floor("15min"),
        times[-1] + pd.Timedelta(minutes=step_min),
        freq="15min",
        inclusive="left",
    )
    local = quarters.tz_convert(time_zone).tz_localize(None)
    values = np.empty((len(local), len(LOAD_MIX)))
    for year in local.year.unique():
        here = local.year == year
        position = (local[here] - pd.Timestamp(int(year), 1, 1)) // pd.Timedelta(minutes=15)
        values[here] = year_profiles(int(year), country)[position]
    if step_min >= 15:
        values = values.reshape(len(times), step_min // 15, -1).mean(axis=1)
    else:
        middle = (times - quarters[0]) / pd.Timedelta(minutes=15) + step_min / 30 - 0.5
        values = np.stack(
            [np.interp(middle, np.arange(len(quarters)), column) for column in values.T], axis=1
        )
    return pd.DataFrame(values, index=times, columns=list(LOAD_MIX))


def weather_factor(temp_air: np.ndarray) -> np.ndarray:
    """How demand answers the temperature.

    Electric heating below 15 deg C, cooling above 22 deg C.
    """
    return 1 + 0.008 * np.clip(15 - temp_air, 0, None) + 0.012 * np.clip(temp_air - 22, 0, None)


def load_power(
    profiles: pd.DataFrame,
    temp_air: np.ndarray,
    capacity_kw: float,
    shares: Sequence[float],
    step_h: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Power [kW] of a load: a mix of profiles (`shares` of its energy), answering the weather, with
    noise that persists.

    Its yearly peak is usually some nine tenths of `capacity_kw`, which it never exceeds.
    """
    mix = profiles.to_numpy() @ np.asarray(shares)
    noise = sum(
        size * persistent_noise(rng, len(mix), step_h, time_h) for size, time_h in LOAD_NOISE
    )
    ordinary_peak = 1.05 * np.dot(shares, list(LOAD_MIX.values()))
    power = mix * weather_factor(temp_air) * np.exp(noise) * capacity_kw / ordinary_peak
    return np.clip(power, 0.0, capacity_kw)


def zone_residual_load(
    profiles: pd.DataFrame,
    temp_air: np.ndarray,
    wind_share: np.ndarray,
    solar_share: np.ndarray,
    step_h: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Load less wind and sun of the price zone [GW]; the shares are of its installed power."""
    noise = 0.025 * persistent_noise(rng, len(profiles), step_h, 18.0)
    load = (
        ZONE_LOAD
        * (profiles.to_numpy() @ np.array(ZONE_SHARES))
        * (weather_factor(temp_air) / 1.05)
        * np.exp(noise)
    )
    return load - ZONE_WIND * wind_share - ZONE_SOLAR * solar_share


def day_ahead_price(
    residual_gw: np.ndarray, step_h: float, unit_h: float, rng: np.random.Generator
) -> np.ndarray:
    """Day-ahead price [EUR/MWh] of each interval, the same within one market time unit of `unit_h`
    hours.

    The residual load, shifted by outages and imports that last days, meets the merit order; fuel
    prices drift over weeks; bids scatter from hour to hour."""
    per_unit = round(unit_h / step_h)
    units = -(-len(residual_gw) // per_unit)
    residual = (
        np.pad(residual_gw, (0, units * per_unit - len(residual_gw)), mode="edge")
        .reshape(units, per_unit)
        .mean(axis=1)
    )
    fuel = np.exp(0.13 * persistent_noise(rng, units, unit_h, 600.0))
    outages = 3.0 * persistent_noise(rng, units, unit_h, 60.0)
    bids = 2.5 * persistent_noise(rng, units, unit_h, 3.0)
    price = np.interp(residual + outages, *MERIT_ORDER)
    price = np.where(price > 0, price * fuel, price) + bids
    return np.clip(np.repeat(price, per_unit)[: len(residual_gw)], -500.0, 4000.0).round(2)
