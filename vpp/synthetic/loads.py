"""Power [kW] of a load: standard load profiles (BDEW), holidays, weather, and noise that persists.

python generation.py --loads 2
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.physics.profiles import LOAD_MIX, weather_factor
from vpp.synthetic.noise import persistent_noise

# standard deviation and time scale [h]: hours, days, seasons
LOAD_NOISE = ((0.035, 4.0), (0.025, 36.0), (0.02, 400.0))


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
