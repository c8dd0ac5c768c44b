"""Power [kW] of a load: standard load profiles (BDEW), holidays, weather, and noise that persists.

python generation.py --loads 2
"""

import functools
import warnings
from collections.abc import Sequence
from datetime import time

import numpy as np
import pandas as pd

from vpp.synthetic.noise import persistent_noise

# A load is a mix of households and trade (BDEW H0, G0, and G3 that runs through), and industry in
# two shifts; highest quarter-hour of each over its yearly mean
LOAD_MIX = {"h0_dyn": 2.2, "g0": 2.1, "g3": 1.5, "industry": 1.3}
LOAD_SHARES = (0.25, 0.2, 0.15, 0.4)  # of the yearly energy of a load that does not say
INDUSTRY = {
    "week": {"day": 1.2, "night": 0.95},
    "weekend": {"day": 0.8, "night": 0.75},
    "holiday": {"day": 0.75, "night": 0.75},
}
# standard deviation and time scale [h]: hours, days, seasons
LOAD_NOISE = ((0.035, 4.0), (0.025, 36.0), (0.02, 400.0))


@functools.cache
def year_profiles(year: int, country: str) -> np.ndarray:
    """Make the profile of each of `LOAD_MIX` for a year of the local clock, 1 in the mean.

    Parameters
    ----------
    year : of the local clock, which has no change to summer time here.
    country : whose holidays are as Sundays; empty: none.

    Returns
    -------
    (quarter-hours, kinds of load).
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
        # not all begin at the same minute
        profiles["industry"] = steps.rolling(9, center=True, min_periods=1).mean().to_numpy()
    return (profiles / profiles.mean()).to_numpy()


def local_profiles(
    times: pd.DatetimeIndex, step_min: int, time_zone: str, country: str
) -> pd.DataFrame:
    """Make load profiles by interval, 1 in the yearly mean.

    Parameters
    ----------
    times : starts of the intervals [UTC].
    step_min : of the intervals [min].
    time_zone : whose clock and calendar people follow.
    country : whose holidays count; empty: none.

    Returns
    -------
    (intervals, kinds of load).
    """
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
    """Tell by which factor demand answers the temperature [deg C].

    People heat with power below 15 deg C and cool above 22 deg C.
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
    """Compute the power of a load: a mix of profiles, the weather, and noise that persists [kW].

    Its yearly peak is usually some nine tenths of `capacity_kw`, which it never exceeds.

    Parameters
    ----------
    profiles : of `local_profiles`, (intervals, kinds of load).
    temp_air : of each interval [deg C].
    capacity_kw : largest power [kW].
    shares : of each of `LOAD_MIX` in its yearly energy.
    step_h : of the intervals [h].
    rng : of this load.
    """
    mix = profiles.to_numpy() @ np.asarray(shares)
    noise = sum(
        size * persistent_noise(rng, len(mix), step_h, time_h) for size, time_h in LOAD_NOISE
    )
    ordinary_peak = 1.05 * np.dot(shares, list(LOAD_MIX.values()))
    power = mix * weather_factor(temp_air) * np.exp(noise) * capacity_kw / ordinary_peak
    return np.clip(power, 0.0, capacity_kw)
