"""Origins of the past that tune and compare models."""

import pandas as pd
import pytest

from vpp.champions.origins import split_origins

DAY = pd.Timedelta(days=1)


def test_origins_of_a_quarter():
    """90 days: 60 are left after a third, of which 70 % compare models, with windows of two days.

    The other 18 tune: 16 days of room for four, every 5 days.
    """
    first, now = pd.Timestamp("2025-01-01T00:00Z"), pd.Timestamp("2025-04-01T00:00Z")
    found = split_origins(first, now, 48, 56)
    assert list(found.selection) == [now - back * DAY for back in range(42, 0, -1)]
    assert list(found.tuning) == [now - back * DAY for back in (59, 54, 49, 44)]


@pytest.mark.parametrize("days", [22, 30, 47, 90, 365, 1000])
@pytest.mark.parametrize("horizon_h", [24, 36, 48, 72])
@pytest.mark.parametrize("count", [2, 6, 56])
def test_the_newest_days_compare_and_those_before_tune(days, horizon_h, count):
    now = pd.Timestamp("2025-04-01T11:00Z")
    found = split_origins(now - days * DAY, now, horizon_h, count)
    if found is None:
        assert days < 30
        return
    assert found.tuning[0] >= now - days * DAY + max(14, days / 3) * DAY
    assert found.tuning[-1] + pd.Timedelta(hours=horizon_h) <= found.selection[0]
    assert found.selection[-1] == now - DAY  # no new week is thrown away
    assert set(found.selection[1:] - found.selection[:-1]) <= {DAY}
    assert len(found.selection) <= count
    assert len(found.selection) == count or len(found.selection) >= 0.5 * (days * 2 / 3 - 14)
