"""A backtest sees what was known then: values before they were corrected, and late forecasts."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from small_series import at, hourly, source

from vpp.forecast.known import SourceData, known_at

DATA = SourceData(source(), hourly("2025-01-01", 48, np.full(48, 10.0)))


def revised(*rows) -> SourceData:
    """Rows of time, value, known_from, known_to; the value is 10 now."""
    frame = pd.DataFrame(rows, columns=["time", "value", "known_from", "known_to"])
    for name in ("time", "known_from", "known_to"):
        frame[name] = pd.DatetimeIndex(frame[name], tz="UTC").as_unit("ns")
    return dataclasses.replace(DATA, revisions=frame)


@pytest.mark.parametrize(
    ("now", "value"),
    [
        ("2025-01-01T05:00", None),  # its interval ends at 06:00
        ("2025-01-01T06:00", 1.0),  # its message of 06:00:20 counts as in time
        ("2025-01-01T08:00", 1.0),
        ("2025-01-01T09:00", 2.0),  # the first correction
        ("2025-01-01T20:00", 10.0),  # the second, which holds now
    ],
)
def test_a_value_is_what_it_was_then(now, value):
    data = revised(
        ("2025-01-01T05:00", 1.0, "2025-01-01T06:00:20", "2025-01-01T09:00"),
        ("2025-01-01T05:00", 2.0, "2025-01-01T09:00", "2025-01-01T20:00"),
    )
    series = known_at(data, at(now)).series
    found = series.get(at("2025-01-01T05:00"))
    assert found is None if value is None else found == value
    assert (series.drop(at("2025-01-01T05:00"), errors="ignore") == 10).all()


def test_a_first_message_that_came_with_an_import_later_was_not_known_then():
    """Nobody had the wrong value on 2 January: it was sent on the 20th, corrected on the 21st."""
    data = revised(("2025-01-01T05:00", 1.0, "2025-01-20T00:00", "2025-01-21T00:00"))
    for now, value in (("2025-01-02T00:00", 10), ("2025-01-20T12:00", 1), ("2025-01-22", 10)):
        assert known_at(data, at(now)).series[at("2025-01-01T05:00")] == value


def test_a_value_that_does_not_count_is_not_brought_back_by_its_revision():
    """It lies in a curtailed period: it is missing, whatever was sent."""
    data = revised(("2025-01-01T05:00", 1.0, "2025-01-01T06:00", "2025-01-03T00:00"))
    series = data.series.copy()
    series[at("2025-01-01T05:00")] = np.nan
    data = dataclasses.replace(data, series=series)
    known = known_at(data, at("2025-01-02"))
    assert at("2025-01-01T05:00") not in known.targets.index
