"""Local time: the rules of clocks that go forward and back, calendars, and when prices are known.

All times that come in and go out are UTC, unless they are called local: those have no zone.

    python -c "from vpp.site.times import public_holidays; print(public_holidays('LU', 2025, 2025))"
"""

from datetime import date
from functools import lru_cache

import numpy as np
import pandas as pd

DAY = pd.Timedelta(days=1)


def local_days(times: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """Give the local day of each time, as its midnight without a zone.

    Parameters
    ----------
    times : [UTC].
    zone : IANA time zone.
    """
    return times.tz_convert(zone).tz_localize(None).normalize()


def from_local(local: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """Turn times of a local clock into UTC.

    Where the clock goes back a time comes twice: it is the first of both. Where the clock goes
    forward a time is skipped: it becomes the first one that there is.

    Parameters
    ----------
    local : without a zone.
    zone : IANA time zone.
    """
    first = np.ones(len(local), bool)  # summer time comes first
    there = local.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
    return there.tz_convert("UTC").as_unit("ns")


def day_start(time: pd.Timestamp, zone: str, days: int = 0) -> pd.Timestamp:
    """Give the start of the local day of a time, or of one some days later [UTC].

    Some zones change their clock at midnight, so that a day begins at 01:00, or has two midnights;
    then the first one counts.

    Parameters
    ----------
    time : [UTC].
    zone : IANA time zone.
    days : how many local days later.
    """
    return from_local(local_days(pd.DatetimeIndex([time]), zone) + days * DAY, zone)[0]


def month_start(time: pd.Timestamp, zone: str) -> pd.Timestamp:
    """Give the start of the local month of a time [UTC].

    Parameters
    ----------
    time : [UTC].
    zone : IANA time zone.
    """
    today = local_days(pd.DatetimeIndex([time]), zone)
    return from_local(today - (today.day - 1) * DAY, zone)[0]


def day_before(days: pd.DatetimeIndex, clock: str, zone: str) -> pd.DatetimeIndex:
    """Give a local time of the day before each of some days [UTC].

    Parameters
    ----------
    days : midnights without a zone.
    clock : local time [HH:MM].
    zone : IANA time zone.
    """
    return from_local(days - DAY + pd.Timedelta(clock + ":00"), zone)


def price_available_at(
    times: pd.DatetimeIndex,
    publication: str = "13:00",
    publication_zone: str = "Europe/Brussels",
    area_zone: str = "Europe/Brussels",
) -> pd.DatetimeIndex:
    """Tell when day-ahead prices are known: those of local day D at the publication time of D-1.

    Parameters
    ----------
    times : starts of the price intervals [UTC].
    publication : local time of publication [HH:MM].
    publication_zone, area_zone : time zones of the publication and of the market's days.

    Returns
    -------
    Availability of each price [UTC].
    """
    days, place = np.unique(local_days(pd.DatetimeIndex(times), area_zone), return_inverse=True)
    return day_before(pd.DatetimeIndex(days), publication, publication_zone)[place]


def local_lag(times: pd.DatetimeIndex, days: int | np.ndarray, zone: str) -> pd.DatetimeIndex:
    """Give the same local clock time some days earlier [UTC].

    It is the first of two where the clock went back, an hour on where it went ahead: so the
    intervals of an hour that was skipped are those of the hour after it, in their order.

    Parameters
    ----------
    times : [UTC].
    days : how many local days, the same for all or one number for each time.
    zone : IANA time zone.
    """
    naive = times.tz_convert(zone).tz_localize(None) - pd.to_timedelta(days, unit="D")
    lagged = naive.tz_localize(
        zone, ambiguous=np.ones(len(naive), bool), nonexistent=pd.Timedelta(hours=1)
    )
    return lagged.tz_convert("UTC").as_unit("ns")


@lru_cache(maxsize=64)
def public_holidays(country: str, first_year: int, last_year: int) -> pd.DatetimeIndex:
    """List the dates, without a zone, of the public holidays of a country.

    Parameters
    ----------
    country : ISO code; without one there are no holidays.
    first_year, last_year : both included.
    """
    if not country:
        return pd.DatetimeIndex([])
    import holidays

    years = range(first_year, last_year + 1)
    return pd.DatetimeIndex(sorted(holidays.country_holidays(country, years=years)))


def calendar(times: pd.DatetimeIndex, zone: str, holidays_country: str) -> pd.DataFrame:
    """Describe each time by its local calendar.

    Parameters
    ----------
    times : [UTC].
    zone : IANA time zone.
    holidays_country : ISO code of the country whose public holidays count; empty: none.

    Returns
    -------
    By time: hour [h], weekday (0 is Monday), the season as sine and cosine, and as 0 or 1 whether
    it is a working day, a holiday, the day before or after one.
    """
    columns = _calendar(
        pd.DatetimeIndex(times).as_unit("ns").asi8.tobytes(), zone, holidays_country
    )
    return pd.DataFrame(columns, index=times)


@lru_cache(maxsize=16)  # hundreds of sources, and the trials of a model, ask for the same times
def _calendar(moments: bytes, zone: str, holidays_country: str) -> dict[str, np.ndarray]:
    times = pd.DatetimeIndex(np.frombuffer(moments, np.int64), tz="UTC")
    local = times.tz_convert(zone)
    free = pd.DatetimeIndex([])
    if len(local):
        free = public_holidays(holidays_country, local.year.min() - 1, local.year.max() + 1)
    day = local_days(times, zone)
    holiday = day.isin(free)
    season = 2 * np.pi * (local.dayofyear.to_numpy() - 1) / 365.25
    return {
        "hour": local.hour.to_numpy() + local.minute.to_numpy() / 60,
        "weekday": local.dayofweek.to_numpy(),
        "season_sin": np.sin(season),
        "season_cos": np.cos(season),
        "working_day": ((local.dayofweek < 5) & ~holiday).astype(float),
        "holiday": holiday.astype(float),
        "day_before_holiday": (day + DAY).isin(free).astype(float),
        "day_after_holiday": (day - DAY).isin(free).astype(float),
    }


def next_local_day(issue_time: pd.Timestamp, zone: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Give start and end of the local day after an issue time [UTC].

    Parameters
    ----------
    issue_time : [UTC].
    zone : IANA time zone.
    """
    return day_start(issue_time, zone, 1), day_start(issue_time, zone, 2)


def day_ahead_origins(first: date, last: date, issue_local: str, zone: str) -> pd.DatetimeIndex:
    """Give the issue time of each local day: a local time of the day before [UTC].

    Parameters
    ----------
    first, last : local days, both included.
    issue_local : local time of the issue [HH:MM].
    zone : IANA time zone.
    """
    days = pd.date_range(pd.Timestamp(first), pd.Timestamp(last), freq="D")
    return day_before(days, issue_local, zone)
