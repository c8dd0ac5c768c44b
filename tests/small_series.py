"""Small series, sources and weather forecasts with values worked out by hand."""

import numpy as np
import pandas as pd

from vpp.site.sources import Source

BRUSSELS = "Europe/Brussels"


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def source(kind="load", step_min=60, latitude=49.6, longitude=6.1, capacity_kw=1000.0) -> Source:
    capacity_kw = None if kind == "market" else capacity_kw
    return Source(
        f"{kind}-1", kind, kind, "site-1", capacity_kw, step_min, latitude, longitude, BRUSSELS, {}
    )


def hourly(start: str, hours: int, values=None, step_min=60) -> pd.Series:
    index = pd.date_range(start, periods=hours, freq=f"{step_min}min", tz="UTC")
    return pd.Series(np.arange(hours, dtype=float) if values is None else values, index)


def weather(issues: list[str], hours=48, step_min=60) -> pd.DataFrame:
    """ghi = 100 × number of the issue + lead hour; wind_speed = lead hour."""
    parts = []
    for number, issue in enumerate(issues):
        valid = pd.date_range(issue, periods=hours, freq=f"{step_min}min", tz="UTC")
        lead = np.arange(hours) * step_min / 60
        parts.append(
            pd.DataFrame(
                {
                    "issue_time": at(issue),
                    "valid_time": valid,
                    "ghi": 100.0 * number + lead,
                    "wind_speed": lead,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
