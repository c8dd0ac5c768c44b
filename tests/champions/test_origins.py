"""Origins of the past that tune, select, calibrate and test."""

import pandas as pd
import pytest

from vpp.champions.origins import split_origins

DAY = pd.Timedelta(days=1)


def test_origins_of_a_quarter():
    """90 days: 60 are left after a third.

    18 select, 15 calibrate, 9 test and 18 tune, with windows of two days.
    """
    first, now = pd.Timestamp("2025-01-01T00:00Z"), pd.Timestamp("2025-04-01T00:00Z")
    found = split_origins(first, now, 48, 6)
    # 16 days of room for four: every 5 days
    assert (found.tuning[0], found.tuning[-1]) == (now - 59 * DAY, now - 44 * DAY)
    # 16 days for six: every 3 days
    assert (found.selection[0], found.selection[-1]) == (now - 41 * DAY, now - 26 * DAY)
    assert list(found.calibration) == [now - back * DAY for back in range(24, 10, -1)]
    assert list(found.test) == [now - back * DAY for back in range(9, 1, -1)]


@pytest.mark.parametrize("days", [22, 30, 47, 90, 365, 1000])
@pytest.mark.parametrize("horizon_h", [24, 36, 48, 72])
def test_phases_are_disjoint_and_in_order(days, horizon_h):
    now = pd.Timestamp("2025-04-01T11:00Z")
    found = split_origins(now - days * DAY, now, horizon_h, 6)
    if found is None:
        assert days < 14 + 4 * 3 + 14  # at most 14 to fit or a third, and four windows
        return
    assert found.tuning[0] >= now - days * DAY + max(14, days / 3) * DAY
    window = pd.Timedelta(hours=horizon_h)
    for earlier, later in zip(
        (found.tuning, found.selection, found.calibration),
        (found.selection, found.calibration, found.test),
        strict=True,
    ):
        assert earlier[-1] + window <= later[0]
    assert found.test[-1] + window <= now
    assert len({at.dayofweek for at in found.selection}) > 1 or len(found.selection) == 1
