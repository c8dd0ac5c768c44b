"""Forecasts from Python: a series in a pandas object becomes the `SourceData` that all models take,
without a database or a configuration file.

    python examples/forecast_from_dataframe.py

Times label the start of their interval. Power in kW, price in EUR/MWh.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.forecast.external import External
from vpp.forecast.known import SourceData
from vpp.site.kinds import PLANT_KINDS, POWER_KINDS, SERIES_KINDS
from vpp.site.sources import STEPS_MIN, Source, SourceError


def source_data(
    series: pd.Series,
    kind: str,
    *,
    zone: str = "Europe/Brussels",
    holidays_country: str = "",
    capacity_kw: float | None = None,
    latitude: float | None = None,
    longitude: float | None = None,
    weather_forecasts: pd.DataFrame | None = None,
    others: pd.DataFrame | None = None,
    measurement_delay_min: float = 0.0,
    external: Sequence[External] = (),
) -> SourceData:
    """The data of one source, from a series.

    Its step is the shortest distance of two times. A missing time is a missing value.

    Parameters
    ----------
    series : values by time [with its zone; kW or EUR/MWh], NaN where missing.
    kind : solar, wind, load or market (a day-ahead price).
    zone : of local hours and days; the prices of a local day are known from 13:00 Brussels of the
        day before.
    holidays_country : two letters, such as LU; empty for no holidays.
    capacity_kw : a plant's largest power [kW]; of a load its largest value, if not given.
    latitude, longitude : of a solar plant [degrees north and east]; its nights come from them.
    weather_forecasts : issue_time and valid_time [with their zone], and a column for each quantity,
        such as ghi [W/m²], temp_air [°C], wind_speed [m/s].
    others : further measured series with the times of the series, a column each.
    measurement_delay_min : from the end of an interval until its value is known [min].
    external : forecasts that others issue.

    Raises
    ------
    SourceError : no such kind, a time without zone or off the grid of the step, a value that is no
        number, or a plant without capacity.
    """
    if kind not in SERIES_KINDS:
        raise SourceError(f"kind {kind!r}: expected one of {', '.join(SERIES_KINDS)}")
    if kind in PLANT_KINDS and capacity_kw is None:
        raise SourceError(f"a {kind} plant: expected its capacity_kw, the largest power [kW]")
    frame = _measured(_frame_of(series), "series")
    step_min = _step_min(pd.DatetimeIndex(frame.index))
    values = frame["series"]
    if not values.notna().any():
        raise SourceError("series: expected values, found none")
    if kind in POWER_KINDS and capacity_kw is None:
        capacity_kw = float(values.max())
    name = str(series.name or kind)
    source = Source(kind, kind, name, "site", capacity_kw, step_min, latitude, longitude, zone, {})
    return SourceData(
        source,
        values.rename(name),
        weather_forecasts=None if weather_forecasts is None else _issued(weather_forecasts),
        others=None if others is None else _measured(others, "others").reindex(frame.index),
        zone=zone,
        holidays_country=holidays_country,
        measurement_delay_min=measurement_delay_min,
        external=tuple(item.with_step(step_min) for item in external),
    )


def _frame_of(series: object) -> pd.DataFrame:
    """The one column of a series."""
    if not isinstance(series, pd.Series):
        raise SourceError(f"series: expected a pandas Series, found a {type(series).__name__}")
    return series.to_frame("series")


def _measured(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """A frame of numbers by ascending UTC time."""
    times = _utc(frame.index, f"{what}: index")
    later = np.diff(times.asi8) > 0
    if not later.all():
        place = int(np.argmin(later)) + 1
        raise SourceError(f"{what}: {_text(times[place])} comes twice or too late; sort the times")
    return _numbers(frame, list(frame.columns), what).set_axis(times.rename("time"))


def _issued(frame: pd.DataFrame) -> pd.DataFrame:
    """Issued forecasts with UTC times."""
    times, what = ["issue_time", "valid_time"], "weather_forecasts"
    for name in times:
        if name not in frame:
            raise SourceError(f"{what}: column {name} is missing; expected {' and '.join(times)}")
    given = _numbers(frame, [name for name in frame if name not in times], what)
    return given.assign(**{name: _utc(frame[name], f"{what}: {name}") for name in times})


def _utc(times: pd.Index | pd.Series, what: str) -> pd.DatetimeIndex:
    """Times in UTC; refused are others than times with their zone."""
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        raise SourceError(f"{what}: expected times, found {times.dtype}")
    found = pd.DatetimeIndex(times)
    if found.tz is None:
        raise SourceError(f"{what}: times without zone; expected .tz_localize('UTC') or their own")
    if found.hasnans:
        raise SourceError(f"{what}: expected times, found NaT")
    return found.tz_convert("UTC").as_unit("ns")


def _numbers(frame: pd.DataFrame, names: list, what: str) -> pd.DataFrame:
    """The frame with these columns as numbers, each finite or NaN."""
    try:
        numbers = frame.astype(dict.fromkeys(names, float))
    except (TypeError, ValueError):
        raise SourceError(f"{what}: expected numbers, found other values") from None
    if np.isinf(numbers[names].to_numpy()).any():
        raise SourceError(f"{what}: expected finite numbers, or NaN where missing")
    return numbers


def _step_min(times: pd.DatetimeIndex) -> int:
    """The step of a series [min]; all times must be on its grid."""
    if len(times) < 2:
        raise SourceError(f"series: expected two times or more, found {len(times)}")
    apart = np.diff(times.asi8)
    step = pd.Timedelta(int(apart.min()), "ns")
    steps = {pd.Timedelta(minutes=minutes): minutes for minutes in STEPS_MIN}
    if step not in steps:
        place, minutes = int(apart.argmin()), step / pd.Timedelta(minutes=1)
        raise SourceError(
            f"series: {_text(times[place])} and {_text(times[place + 1])} are {minutes:g} min "
            f"apart; expected a step of {', '.join(map(str, STEPS_MIN))} min"
        )
    off = times != times.floor(step)
    if off.any():
        raise SourceError(
            f"series: {_text(times[off][0])} is not the start of an interval of "
            f"{steps[step]} min; resample the series to one step"
        )
    return steps[step]


def _text(time: pd.Timestamp) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
