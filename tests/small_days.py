"""Noisy days of a load or a price, in Brussels, until `END`."""

import numpy as np
import pandas as pd

from vpp.forecast.known import SourceData
from vpp.site.sources import Source
from vpp.site.times import DAY

BRUSSELS = "Europe/Brussels"
END = pd.Timestamp("2025-04-10", tz="UTC")


def source(kind="load", source_id=None) -> Source:
    capacity = None if kind == "market" else 400.0
    return Source(
        source_id or f"{kind}-1", kind, kind, "site-1", capacity, 60, None, None, BRUSSELS, {}
    )


def data_of(kind="load", days=80, seed=1) -> SourceData:
    index = pd.date_range(END - days * DAY, END, freq="h", inclusive="left")
    hour = index.tz_convert(BRUSSELS).hour.to_numpy()
    values = (
        100
        + 40 * np.sin(2 * np.pi * (hour - 9) / 24)
        + np.random.default_rng(seed).normal(scale=10, size=len(index))
    )
    return SourceData(source(kind), pd.Series(values, index))
