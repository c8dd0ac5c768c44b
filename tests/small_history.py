"""Small histories of a source, of which the right forecast is known, and the shape of each."""

import numpy as np
import pandas as pd

from vpp.forecast.known import SourceData
from vpp.forecast.quantiles import COLUMNS, FLAGS, QUANTILE_COLUMNS
from vpp.site.sources import Source
from vpp.site.times import DAY

NOW = pd.Timestamp("2025-04-02T09:00", tz="UTC")  # three days after the clock went ahead


def source(kind="load", step_min=60) -> Source:
    return Source(
        f"{kind}-1",
        kind,
        kind,
        "site-1",
        None if kind == "market" else 300.0,
        step_min,
        49.6,
        6.1,
        "Europe/Brussels",
        {},
    )


def data_of(values, kind="load", step_min=60, days=50, weather=None) -> SourceData:
    """`days` of history before NOW and three after it.

    `values` from the local hour of the day and the day's number.
    """
    index = pd.date_range(
        NOW - days * DAY, NOW + 3 * DAY, freq=f"{step_min}min", tz="UTC", inclusive="left"
    )
    local = index.tz_convert("Europe/Brussels").tz_localize(None)
    hour = (local.hour + local.minute / 60).to_numpy()
    return SourceData(
        source(kind, step_min),
        pd.Series(values(hour, (index - index[0]) / DAY), index).astype(float),
        weather,
    )


def sine(hour, day):
    return 100 + 50 * np.sin(2 * np.pi * hour / 24)


def noisy(hour, day):
    return sine(hour, day) + np.random.default_rng(5).normal(scale=5, size=len(hour))


def forecasts_of_weather(days=50) -> pd.DataFrame:
    """Issued every 12 hours for 60 hours, with sun by day and a wind that wanders."""
    generator, parts = np.random.default_rng(7), []
    for issue in pd.date_range(NOW.floor("12h") - (days + 1) * DAY, NOW + 3 * DAY, freq="12h"):
        valid = pd.date_range(issue, periods=60, freq="h")
        ghi = np.clip(
            np.sin((valid.hour.to_numpy() - 5) / 14 * np.pi), 0, None
        ) * generator.uniform(200, 800)
        wind = (
            6
            + 3 * np.sin((valid.dayofyear + valid.hour / 24).to_numpy() / 3)
            + generator.normal(size=60)
        )
        columns = {
            "ghi": ghi,
            "dni": ghi * 0.6,
            "dhi": ghi * 0.4,
            "temp_air": 10.0,
            "wind_speed": wind.clip(0),
        }
        parts.append(pd.DataFrame({"issue_time": issue, "valid_time": valid} | columns))
    return pd.concat(parts, ignore_index=True)


def check_shape(frame: pd.DataFrame, steps: int, step_min: int = 60) -> None:
    assert list(frame.columns) == [*COLUMNS, *FLAGS]
    assert frame.index.equals(pd.date_range(NOW, periods=steps, freq=f"{step_min}min"))
    assert np.isfinite(frame.to_numpy(float)).all()
    assert (np.diff(frame[list(QUANTILE_COLUMNS)].to_numpy(), axis=1) >= 0).all()
