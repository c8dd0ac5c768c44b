"""Local hours, holidays, and when prices are published: times worked out by hand."""

import pandas as pd
import pytest
from small_series import BRUSSELS, at

from vpp.site.times import calendar, local_lag, price_available_at


@pytest.mark.parametrize(
    ("time", "known"),
    [
        ("2025-01-10T12:00", "2025-01-09T12:00"),  # 13:00 CET of the day before
        ("2025-01-10T23:00", "2025-01-10T12:00"),  # local midnight of the 11th
        (
            "2025-03-30T00:00",
            "2025-03-29T12:00",
        ),  # the 30th has 23 hours; published on the 29th, still CET
        (
            "2025-03-30T22:00",
            "2025-03-30T11:00",
        ),  # local midnight of the 31st; published at 13:00 CEST
        (
            "2025-10-26T22:30",
            "2025-10-25T11:00",
        ),  # the last half hour but one of the 25-hour day; published in summer time
        ("2025-10-26T23:00", "2025-10-26T12:00"),
    ],
)
def test_prices_are_known_from_13_00_of_the_day_before(time, known):
    assert price_available_at(pd.DatetimeIndex([at(time)]))[0] == at(known)


def test_publication_time_and_zone_are_settings():
    got = price_available_at(
        pd.DatetimeIndex([at("2025-01-10T12:00")]), "12:42", "Europe/London", BRUSSELS
    )
    assert got[0] == at("2025-01-09T12:42")


@pytest.mark.parametrize(
    ("time", "days", "expected"),
    [
        ("2025-04-02T10:00", 7, "2025-03-26T11:00"),  # noon before and after the clock goes ahead
        ("2025-10-29T11:00", 7, "2025-10-22T10:00"),  # and back
        (
            "2025-03-31T00:30",
            1,
            "2025-03-30T01:30",
        ),  # 02:30 did not exist on the 30th: an hour on, 03:30 CEST
        ("2025-10-27T01:30", 1, "2025-10-26T00:30"),  # 02:30 was twice on the 26th: the first one
    ],
)
def test_the_same_local_hour_some_days_before(time, days, expected):
    assert local_lag(pd.DatetimeIndex([at(time)]), days, BRUSSELS)[0] == at(expected)


def test_calendar_knows_holidays_and_working_days():
    days = calendar(
        pd.DatetimeIndex([at("2025-05-09T10:00"), at("2025-05-10T10:00"), at("2025-05-12T22:00")]),
        BRUSSELS,
        "LU",
    )
    assert list(days["holiday"]) == [1, 0, 0]  # Europe Day is a public holiday in Luxembourg
    assert list(days["working_day"]) == [0, 0, 1]  # a Friday, a Saturday, and Tuesday 00:00 local
    assert list(days["hour"]) == [12, 12, 0]
    assert days["day_after_holiday"].iloc[1] == 1
