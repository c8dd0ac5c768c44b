"""Local days and clocks, also where the clock changes at midnight."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from vpp.site.times import (
    day_ahead_origins,
    day_start,
    from_local,
    local_days,
    local_lag,
    month_start,
    next_local_day,
    price_available_at,
)


def utc(text):
    return pd.Timestamp(text, tz="UTC")


@pytest.mark.parametrize(
    ("zone", "local", "expected"),
    [
        ("Europe/Brussels", "2025-01-15 13:00", "2025-01-15 12:00"),
        ("Europe/Brussels", "2025-03-30 02:30", "2025-03-30 01:00"),  # skipped: 03:00 summer time
        ("Europe/Brussels", "2025-10-26 02:30", "2025-10-26 00:30"),  # twice: in summer time
        ("Africa/Cairo", "2025-04-25 00:00", "2025-04-24 22:00"),  # midnight is skipped
        ("America/Havana", "2025-11-02 00:00", "2025-11-02 04:00"),  # midnight comes twice
        ("Pacific/Chatham", "2025-01-01 00:00", "2024-12-31 10:15"),
    ],
)
def test_a_local_time_in_utc(zone, local, expected):
    assert from_local(pd.DatetimeIndex([local]), zone)[0] == utc(expected)


@pytest.mark.parametrize(
    ("zone", "time", "start", "hours"),
    [
        ("Europe/Brussels", "2025-03-29 12:00", "2025-03-29 23:00", 23),
        ("Europe/Brussels", "2025-10-25 12:00", "2025-10-25 22:00", 25),
        ("Africa/Cairo", "2025-04-24 12:00", "2025-04-24 22:00", 23),
        ("America/Havana", "2025-11-01 12:00", "2025-11-02 04:00", 25),
        ("America/Havana", "2025-03-08 12:00", "2025-03-09 05:00", 23),
    ],
)
def test_days_have_their_hours_where_the_clock_changes(zone, time, start, hours):
    first, end = next_local_day(utc(time), zone)
    assert (first, (end - first) / pd.Timedelta(hours=1)) == (utc(start), hours)
    whole = pd.date_range(first, end, freq="15min", inclusive="left")
    assert local_days(whole, zone).nunique() == 1
    assert day_start(whole[0], zone) == day_start(whole[-1], zone) == first
    assert local_days(pd.DatetimeIndex([end]), zone)[0] != local_days(whole, zone)[0]


@pytest.mark.parametrize(
    ("zone", "time", "start"),
    [
        ("Europe/Brussels", "2025-03-31 22:30", "2025-03-31 22:00"),  # 00:30 of 1 April
        ("Europe/Brussels", "2025-04-30 21:59", "2025-03-31 22:00"),
        ("America/Asuncion", "2023-10-20 12:00", "2023-10-01 04:00"),  # its midnight is skipped
    ],
)
def test_the_start_of_a_month(zone, time, start):
    assert month_start(utc(time), zone) == utc(start)


def test_the_same_clock_time_of_the_week_before():
    # Brussels, a week after the hour from 2 to 3 was skipped: its quarters are those from 3 to 4
    times = pd.date_range("2025-04-06 00:00", periods=4, freq="15min", tz="UTC")  # 02:00 to 02:45
    lagged = pd.date_range("2025-03-30 01:00", periods=4, freq="15min", tz="UTC")
    assert (local_lag(times, 7, "Europe/Brussels") == lagged).all()
    each = local_lag(times, np.array([7, 7, 14, 14]), "Europe/Brussels")
    assert (each[:2] == lagged[:2]).all() and each[2] == utc("2025-03-23 01:30")  # in winter time


def test_a_forecast_issued_when_the_clock_skips_or_repeats_its_hour():
    for day, clock, expected in [
        (date(2025, 3, 31), "02:30", "2025-03-30 01:00"),
        (date(2025, 10, 27), "02:30", "2025-10-26 00:30"),
        (date(2025, 7, 1), "11:00", "2025-06-30 09:00"),
    ]:
        assert list(day_ahead_origins(day, day, clock, "Europe/Brussels")) == [utc(expected)]
    assert len(day_ahead_origins(date(2025, 3, 1), date(2025, 3, 31), "11:00", "UTC")) == 31


def test_prices_of_a_day_are_known_at_the_publication_of_the_day_before():
    times = pd.date_range("2025-03-29 22:00", "2025-03-30 22:00", freq="h", tz="UTC")
    known = price_available_at(times)
    # 23:00 of the 29th; the 23 hours of the 30th; midnight of the 31st
    assert list(known) == [
        utc("2025-03-28 12:00"),
        *[utc("2025-03-29 12:00")] * 23,
        utc("2025-03-30 11:00"),
    ]
