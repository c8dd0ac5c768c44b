"""Zones whose clocks change at midnight, and when: a day has no midnight there, or two.

In spring 00:00 becomes 01:00. In autumn 01:00 becomes 00:00 (Azores, Havana), or 00:00 becomes
23:00 of the day before.
"""

import pandas as pd

MIDNIGHTS = [  # zone, the moment of the change
    ("Atlantic/Azores", "2025-03-30T01:00Z"),
    ("Atlantic/Azores", "2025-10-26T01:00Z"),
    ("Asia/Beirut", "2025-03-29T22:00Z"),
    ("Asia/Beirut", "2025-10-25T21:00Z"),
    ("America/Havana", "2025-03-09T05:00Z"),
    ("America/Havana", "2025-11-02T05:00Z"),
    ("Africa/Cairo", "2025-04-24T22:00Z"),
    ("Africa/Cairo", "2025-10-30T21:00Z"),
    ("America/Santiago", "2025-04-06T03:00Z"),
    ("America/Santiago", "2025-09-07T04:00Z"),
    ("America/Asuncion", "2023-10-01T04:00Z"),
    ("America/Asuncion", "2024-03-24T03:00Z"),
]


def hours_around(change: str, days: int = 2) -> pd.DatetimeIndex:
    """The hours of some days before and after a change."""
    reach = pd.Timedelta(days=days)
    start = pd.Timestamp(change)
    return pd.date_range(start - reach, start + reach, freq="h", name="time")


def dates(times: pd.DatetimeIndex, zone: str) -> list:
    """The local date of each time, by Python's own clock."""
    return [time.tz_convert(zone).date() for time in times]
