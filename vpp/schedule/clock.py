"""Local time of the intervals of a problem, without a loop over them.

python -c "from vpp.schedule.clock import local_minutes; help(local_minutes)"
"""

import zoneinfo
from datetime import UTC, datetime, timedelta

import numpy as np

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def local_minutes(start: datetime, step_min: int, count: int, time_zone: str) -> np.ndarray:
    """Local time at the start of each interval, as a clock on the wall shows it.

    Parameters
    ----------
    start : start of the first interval.
    step_min : length of an interval [min].
    count : number of intervals.
    time_zone : IANA name of the zone.

    Returns
    -------
    Minutes since 1970-01-01T00:00 of that clock [min], one an interval.
    """
    utc = int(start.timestamp()) // 60 + step_min * np.arange(count, dtype=np.int64)
    return utc + offsets_min(utc, time_zone)


def offsets_min(utc_min: np.ndarray, time_zone: str) -> np.ndarray:
    """Local time less UTC.

    The zone is asked at both ends of each day; only where they differ, at each time.

    Parameters
    ----------
    utc_min : times as minutes since 1970 [min], ascending.
    time_zone : IANA name of the zone.

    Returns
    -------
    Offsets [min], one a time.
    """
    if time_zone == "UTC" or not len(utc_min):
        return np.zeros(len(utc_min), dtype=np.int64)
    zone = zoneinfo.ZoneInfo(time_zone)

    def offset(minute: int) -> int:
        there = (EPOCH + timedelta(minutes=minute)).astimezone(zone).utcoffset()
        return 0 if there is None else round(there.total_seconds() / 60)

    days = np.unique(utc_min // 1440)
    edges = np.unique(np.concatenate((days, days + 1)))
    at_edges = np.array([offset(day * 1440) for day in edges.tolist()], dtype=np.int64)
    place = np.searchsorted(edges, utc_min // 1440)
    found, changes = at_edges[place], at_edges[place] != at_edges[place + 1]
    for t in np.flatnonzero(changes).tolist():
        found[t] = offset(int(utc_min[t]))
    return found
