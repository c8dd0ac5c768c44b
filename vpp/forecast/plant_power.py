"""The power of a plant in the weather that was forecast, as features of (origin, valid time) pairs.

A plant's power is no straight line of the weather: of wind it is the turbine's curve, of sunlight
the plane of the modules. Physics of what its row of `sources.csv` says bends the weather into shape
before a model learns from it; the model learns how far off that is, too.

Times are UTC. Power in kW.

    python -c "from vpp.forecast.plant_power import plant_power; help(plant_power)"
"""

import numpy as np
import pandas as pd

from vpp.forecast.features import weather_ensemble
from vpp.forecast.known import Known
from vpp.physics.expected import clear_power, expected_power

NEEDED = {"solar": "ghi", "wind": "wind_speed"}  # a forecast without it says nothing of the plant


def plant_power(known: Known, origins: pd.DatetimeIndex, times: pd.DatetimeIndex) -> pd.DataFrame:
    """Physics of the newest weather forecast known at each origin, and of the mean of those issued
    before; of a solar plant under a clear sky as well.

    Parameters
    ----------
    known : what is known of the plant.
    origins, times : of each pair [UTC].

    Returns
    -------
    A row for each pair, NaN where no forecast was known [kW]; without columns for other sources,
    for a plant without place, and without a weather forecast that says what it needs.
    """
    source, found = known.source, pd.DataFrame(index=range(len(times)))
    needed, placed = NEEDED.get(source.kind), None not in (source.latitude, source.longitude)
    if needed is None or not placed or known.weather_forecasts is None:
        return found
    table, _ = weather_ensemble(known, origins, times)
    if needed not in table:
        return found
    names = [str(name) for name in table if not str(name).endswith("_mean")]
    weathers = {"physics": table[names]}
    if f"{needed}_mean" in table:
        means = table[[f"{name}_mean" for name in names]]
        weathers["physics_mean"] = means.set_axis(names, axis=1)
    for name, weather in weathers.items():
        power = expected_power(source, times, weather, known.holidays_country)
        found[name] = np.where(weather[needed].isna(), np.nan, power)
    if source.kind == "solar":
        found["physics_clear"] = clear_power(source, times)
    return found
