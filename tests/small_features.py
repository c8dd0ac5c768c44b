"""Sources of which only some values are known."""

import pandas as pd
from small_series import at, source

from vpp.forecast.known import SourceData, known_at


def only(known_at_hours: dict, now="2025-07-01", kind="load", **more):
    """A source of which nothing is known but these values, by hours before now."""
    index = [at(now) - pd.Timedelta(hours=hours) for hours in known_at_hours]
    series = pd.Series(list(known_at_hours.values()), pd.DatetimeIndex(index)).sort_index()
    return known_at(SourceData(source(kind), series.astype(float), zone="UTC", **more), at(now))
