"""Day-ahead price [EUR/MWh]: the residual load of a price zone through a merit order.

    python generation.py --days 365 --json

The zone does not contain the user's plants: the virtual power plant is a price taker.
"""

import numpy as np
import pandas as pd

from vpp.physics.profiles import weather_factor
from vpp.synthetic.noise import persistent_noise

# The price zone, as Germany and Luxembourg are in size [GW], and what its load is a mix of
ZONE_LOAD, ZONE_WIND, ZONE_SOLAR = 54.0, 54.0, 84.0
ZONE_SHARES = (0.25, 0.15, 0.2, 0.4)  # of `LOAD_MIX`
# Residual load [GW] against price [EUR/MWh], so that a year's prices are spread as those of DE-LU
# in 2024: subsidised feed-in bids below zero, must-run plants near it, then lignite, coal, gas,
# peakers and scarcity
# fmt: off
MERIT_ORDER = (
    (
        -60.0, -33.0, -20.0, -11.0, -6.0, 1.0, 11.0, 18.0, 25.0, 30.0, 39.0, 45.0, 53.0, 59.0,
        66.0, 71.0, 76.0, 90.0,
    ),
    (
        -400.0, -60.0, -18.0, -3.0, 1.0, 14.0, 46.0, 61.0, 70.0, 79.0, 95.0, 107.0, 123.0,
        138.0, 170.0, 215.0, 330.0, 2000.0,
    ),
)
# fmt: on


def zone_residual_load(
    profiles: pd.DataFrame,
    temp_air: np.ndarray,
    wind_share: np.ndarray,
    solar_share: np.ndarray,
    step_h: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """Compute the load less wind and sun of the price zone [GW].

    Parameters
    ----------
    profiles : of `local_profiles`, (intervals, kinds of load).
    temp_air : mean of the zone [deg C].
    wind_share, solar_share : power of the zone's plants, as a share of what is installed.
    step_h : of the intervals [h].
    rng : of the market.
    """
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
    """Compute the day-ahead price [EUR/MWh] of each interval.

    The residual load, shifted by outages and imports that last days, meets the merit order; fuel
    prices drift over weeks; bids scatter from hour to hour.

    Parameters
    ----------
    residual_gw : of the price zone [GW].
    step_h : of the intervals [h].
    unit_h : market time unit, within which the price is the same [h].
    rng : of the market.
    """
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
