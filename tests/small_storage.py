"""Sources, measurements and forecasts that the tests of the database write."""

import numpy as np
import pandas as pd

import db
from sources import Source
from vpp.site.kinds import KINDS
from vpp.storage.schema import QUANTILES

START = pd.Timestamp("2025-01-01T00:00Z")
HOUR_US = 3_600_000_000


def make_source(source_id, kind, step_min=60, **parameters):
    """A source of a kind, of 100 kW where it has a capacity."""
    capacity_kw = None if kind in ("market", "weather") else 100.0
    place = (49.6, 6.1, "Europe/Brussels")
    return Source(source_id, kind, source_id, "site-1", capacity_kw, step_min, *place, parameters)


def us(times) -> np.ndarray:
    """Times as int64 [µs since 1970 UTC]."""
    return np.array([pd.Timestamp(time).value // 1000 for time in times], np.int64)


def store(conn, source, values, start=START, sent_ms=1000):
    """Write values one step after the other; returns how many rows were inserted or replaced."""
    times = us(pd.date_range(start, periods=len(values), freq=f"{source.step_min}min"))
    kind = KINDS[source.kind]
    columns = {
        "source": np.zeros(len(values), np.int64),
        "time": times,
        kind.value: np.array(values, float),
        "sent_at": np.full(len(values), sent_ms * 1000),
    }
    if "available_at" in kind.derived:
        columns["available_at"] = times
    stored = db.store_measurements(conn, kind.table, [source.source_id], columns)
    conn.commit()
    return stored


def make_forecast(value, start=START):
    """A forecast of two hours, its quantiles numbered from 0."""
    index = pd.date_range(start, periods=2, freq="h", name="valid_time")
    quantiles = {name: float(place) for place, name in enumerate(QUANTILES)}
    return pd.DataFrame({"value": value, **quantiles}, index)
