"""The power that a plant or load is expected to have in a given weather, before anything of it was
measured [kW].

PV by pvlib and a wind turbine by its power curve (`vpp.physics.plants`), a load by its profile.
Times are UTC and label the start of their interval.

    python -c "from vpp.physics.expected import expected_power; help(expected_power)"
"""

from typing import Protocol

import numpy as np
import pandas as pd

from vpp.physics.plants import solar_power, wind_power
from vpp.physics.profiles import LOAD_MIX, LOAD_SHARES, local_profiles, weather_factor
from vpp.physics.sky import Sky, clear_sky, sun_of

TURBINE = "E-82/2300"  # of a wind farm that does not say
# where there is no weather: temperature [deg C], wind at 10 m [m/s], share of the clear sky's light
TEMP_AIR, WIND_SPEED, CLEARNESS = 12.0, 2.0, 0.55
WIND_SHARE = 0.22  # of its capacity that a wind farm gives in the mean


class Described(Protocol):
    """A source as its row of `sources.csv` describes it."""

    @property
    def kind(self) -> str:
        """solar, wind or load."""

    @property
    def capacity_kw(self) -> float | None:
        """Rating of a plant, or usual peak of a load [kW]."""

    @property
    def step_min(self) -> int:
        """Length of its intervals [min]."""

    @property
    def latitude(self) -> float | None:
        """Of its place [degrees north]."""

    @property
    def longitude(self) -> float | None:
        """Of its place [degrees east]."""

    @property
    def time_zone(self) -> str:
        """IANA time zone of its place."""

    @property
    def parameters(self) -> dict:
        """More of a plant, as its row has them."""


def expected_power(
    source: Described, times: pd.DatetimeIndex, weather: pd.DataFrame | None, country: str = ""
) -> np.ndarray:
    """The power of a plant in a weather, or of a load by its profile.

    Parameters
    ----------
    source : solar, wind or load, with its capacity; a solar plant needs its place.
    times : starts of the intervals, in any order [UTC].
    weather : `ghi`, `dni`, `dhi` [W/m2], `temp_air` [deg C] and `wind_speed` [m/s] of the times, as
        far as they are known, NaN where not; None for none.
    country : whose holidays count for a load; empty: none.

    Returns
    -------
    Power [kW] of each time; that of usual weather where none is known.
    """
    capacity_kw = float(source.capacity_kw or 0.0)
    table = pd.DataFrame(index=times) if weather is None else weather.set_axis(times)
    if source.kind == "load":
        return _load(source, times, table, country) * capacity_kw
    sky = clear_sky(sun_of(times, source.step_min), source.latitude or 0.0, source.longitude or 0.0)
    if source.kind == "solar":
        return solar_power(_light(table, sky), sky, source.parameters, capacity_kw)
    if "wind_speed" not in table:
        return np.full(len(times), WIND_SHARE * capacity_kw)
    parameters = {"turbine": TURBINE} | source.parameters
    power = wind_power(_filled(table, "temp_air", "wind_speed"), sky, parameters, capacity_kw)
    return np.where(table["wind_speed"].isna(), WIND_SHARE * capacity_kw, power)


def clear_power(source: Described, times: pd.DatetimeIndex) -> np.ndarray:
    """The power of a solar plant under a clear sky [kW].

    Parameters
    ----------
    source, times : as of `expected_power`.
    """
    sky = clear_sky(sun_of(times, source.step_min), source.latitude or 0.0, source.longitude or 0.0)
    weather = _light(pd.DataFrame({"ghi": sky.ghi_clear}, times), sky)
    return solar_power(weather, sky, source.parameters, float(source.capacity_kw or 0.0))


def _filled(table: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Columns of the weather, usual values where they are missing."""
    usual = {"temp_air": TEMP_AIR, "wind_speed": WIND_SPEED}
    return pd.DataFrame(
        {name: table[name].fillna(usual[name]) if name in table else usual[name] for name in names},
        index=table.index,
    )


def _light(table: pd.DataFrame, sky: Sky) -> pd.DataFrame:
    """The weather with all of its light: a part that is missing follows from the global one (Erbs,
    Klein and Duffie, Solar Energy 28, 1982).
    """
    import pvlib

    ghi = table["ghi"].to_numpy(float) if "ghi" in table else np.full(len(table), np.nan)
    ghi = np.where(np.isfinite(ghi), np.maximum(ghi, 0.0), CLEARNESS * sky.ghi_clear)
    # apparent zenith stands in for the true one
    parts = pvlib.irradiance.erbs(ghi, sky.zenith, sky.times)
    light = {"ghi": ghi}
    for name in ("dni", "dhi"):
        derived = np.nan_to_num(np.asarray(parts[name]))
        given = table[name].to_numpy(float) if name in table else np.full(len(table), np.nan)
        light[name] = np.where(np.isfinite(given), np.maximum(given, 0.0), derived)
    return _filled(table, "temp_air", "wind_speed").assign(**light)


def _load(
    source: Described, times: pd.DatetimeIndex, table: pd.DataFrame, country: str
) -> np.ndarray:
    """The power of a load by its profile, as a share of its capacity."""
    step = pd.Timedelta(minutes=source.step_min)
    span = pd.date_range(times.min(), times.max(), freq=step)
    profiles = local_profiles(span, source.step_min, source.time_zone, country)
    shares = source.parameters.get("shares", LOAD_SHARES)
    mix = pd.Series(profiles.to_numpy() @ np.asarray(shares), span).reindex(times).to_numpy()
    usual_peak = 1.05 * np.dot(shares, list(LOAD_MIX.values()))
    warmth = weather_factor(_filled(table, "temp_air")["temp_air"].to_numpy())
    return np.clip(mix * warmth, 0, None) / usual_peak
