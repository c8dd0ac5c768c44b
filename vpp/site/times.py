"""Local time: days, clock hours and holidays of a zone, and when a day-ahead price is published.

All arguments and results are UTC.
"""

from datetime import date
from functools import lru_cache

import numpy as np
import pandas as pd

DAY = pd.Timedelta(days=1)


def price_available_at(
    times: pd.DatetimeIndex,
    publication: str = "13:00",
    publication_zone: str = "Europe/Brussels",
    area_zone: str = "Europe/Brussels",
) -> pd.DatetimeIndex:
    """When day-ahead prices become known: those of local day D at the publication time of D-1.

    Parameters
    ----------
    times : starts of the price intervals [UTC].
    publication : local time of publication [HH:MM].
    publication_zone, area_zone : time zones of the publication and of the market's days.

    Returns
    -------
    Availability of each price [UTC].
    """
    days, place = np.unique(
        pd.DatetimeIndex(times).tz_convert(area_zone).tz_localize(None).normalize(),
        return_inverse=True,
    )
    published = pd.DatetimeIndex(days) - DAY + pd.Timedelta(publication + ":00")
    published = published.tz_localize(
        publication_zone, ambiguous=np.ones(len(days), bool), nonexistent="shift_forward"
    )
    return published.tz_convert("UTC").as_unit("ns")[place]


# Times


def local_lag(times: pd.DatetimeIndex, days: int | np.ndarray, zone: str) -> pd.DatetimeIndex:
    """The same local clock time some days earlier [UTC].

    The first of two where the clock went back, an hour on where it went ahead.
    """
    naive = times.tz_convert(zone).tz_localize(None) - pd.to_timedelta(days, unit="D")
    lagged = naive.tz_localize(
        zone, ambiguous=np.ones(len(naive), bool), nonexistent=pd.Timedelta(hours=1)
    )
    return lagged.tz_convert("UTC").as_unit("ns")


@lru_cache(maxsize=64)
def public_holidays(country: str, first_year: int, last_year: int) -> pd.DatetimeIndex:
    """Dates (without zone) of the public holidays of a country; none without a country."""
    import holidays

    years = range(first_year, last_year + 1)
    return pd.DatetimeIndex(
        sorted(holidays.country_holidays(country, years=years)) if country else []
    )


def calendar(times: pd.DatetimeIndex, zone: str, holidays_country: str) -> pd.DataFrame:
    """Local calendar: hour, weekday, season, public holidays and the days beside them."""
    local = times.tz_convert(zone)
    free = (
        public_holidays(holidays_country, local.year.min() - 1, local.year.max() + 1)
        if len(local)
        else pd.DatetimeIndex([])
    )
    day = local.tz_localize(None).normalize()
    holiday = day.isin(free)
    season = 2 * np.pi * (local.dayofyear.to_numpy() - 1) / 365.25
    return pd.DataFrame(
        {
            "hour": local.hour.to_numpy() + local.minute.to_numpy() / 60,
            "weekday": local.dayofweek.to_numpy(),
            "season_sin": np.sin(season),
            "season_cos": np.cos(season),
            "working_day": ((local.dayofweek < 5) & ~holiday).astype(float),
            "holiday": holiday.astype(float),
            "day_before_holiday": (day + DAY).isin(free).astype(float),
            "day_after_holiday": (day - DAY).isin(free).astype(float),
        },
        index=times,
    )


# Backtest


def next_local_day(issue_time: pd.Timestamp, zone: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Start and end [UTC] of the local day after the issue time."""
    day = issue_time.tz_convert(zone).tz_localize(None).normalize()
    return (day + DAY).tz_localize(zone).tz_convert("UTC"), (day + 2 * DAY).tz_localize(
        zone
    ).tz_convert("UTC")


def day_ahead_origins(first: date, last: date, issue_local: str, zone: str) -> pd.DatetimeIndex:
    """Issue times [UTC] for each local day from first to last.

    The local time `issue_local` [HH:MM] of the day before.
    """
    local = pd.date_range(
        pd.Timestamp(first) - DAY, pd.Timestamp(last) - DAY, freq="D"
    ) + pd.Timedelta(issue_local + ":00")
    return local.tz_localize(
        zone, nonexistent="shift_forward", ambiguous=np.ones(len(local), bool)
    ).tz_convert("UTC")
