"""Profiles of loads: standard load profiles (BDEW) and industry, holidays, and what demand answers
to the temperature.

    python -c "from vpp.physics.profiles import local_profiles; help(local_profiles)"
"""

import functools
import warnings
from datetime import time

import numpy as np
import pandas as pd

# A load is a mix of households and trade (BDEW H0, G0, and G3 that runs through), and industry in
# two shifts; highest quarter-hour of each over its yearly mean
LOAD_MIX = {"h0_dyn": 2.2, "g0": 2.1, "g3": 1.5, "industry": 1.3}
LOAD_SHARES = (0.25, 0.2, 0.15, 0.4)  # of the yearly energy of a load that does not say
INDUSTRY = {
    "week": {"day": 1.2, "night": 0.95},
    "weekend": {"day": 0.8, "night": 0.75},
    "holiday": {"day": 0.75, "night": 0.75},
}


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
