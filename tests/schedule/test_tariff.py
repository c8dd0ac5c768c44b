"""What a MWh costs and earns, interval by interval; expected prices are worked out by hand."""

import numpy as np
import pandas as pd
import pytest

from vpp.runtime.settings import Grid, Tariff
from vpp.schedule.tariff import LocalTariff

NO_FEES = Grid(import_fee_eur_per_mwh=0.0)


def import_prices(rules, first, count, step_min=60, zone="Europe/Brussels", country="LU"):
    """Import prices of a contract from a local time on."""
    tariff = LocalTariff(Tariff(import_eur_per_mwh=rules), NO_FEES, zone, country)
    start = pd.Timestamp(first, tz=zone).tz_convert("UTC")
    return tariff.prices(np.zeros(count), start, step_min)[0].tolist()


def test_factors_surcharges_and_fees_meet_the_market_price():
    tariff = Tariff(
        import_surcharge_eur_per_mwh=100,
        import_factor=1.2,
        export_surcharge_eur_per_mwh=-5,
        export_factor=0.5,
    )
    grid = Grid(import_fee_eur_per_mwh=25, export_fee_eur_per_mwh=4)
    start = pd.Timestamp("2025-01-01T00:00Z")
    found = LocalTariff(tariff, grid, "UTC").prices(np.array([50.0, -3.0]), start, 60)
    assert found[0] == pytest.approx([1.2 * 150 + 25, 1.2 * 97 + 25])
    assert found[1] == pytest.approx([0.5 * 45 - 4, 0.5 * -8 - 4])
    bare = LocalTariff(Tariff(), grid, "UTC").prices(np.array([50.0, -3.0]), start, 60)
    assert [side.tolist() for side in bare] == [[75, 22], [46, -7]]


def test_the_first_rule_that_matches_holds():
    rules = "325 Mon-Fri 07:00-20:00; 260 Nov-Mar; 210"
    # Friday 28 March 2025
    friday = import_prices(rules, "2025-03-28 06:00", 15)
    assert friday == [260] + [325] * 13 + [260]
    assert import_prices(rules, "2025-03-29 12:00", 1) == [260]  # Saturday in March
    assert import_prices(rules, "2025-04-05 12:00", 1) == [210]  # Saturday in April


def test_hours_across_midnight_belong_to_the_day_on_which_they_begin():
    rules = "1 Fri 22:00-06:00; 2"
    # from Thursday 22:00: nothing before Friday 22:00, and up to Saturday 06:00
    assert import_prices(rules, "2025-06-05 22:00", 36) == [2] * 24 + [1] * 8 + [2] * 4
    # the night that begins on 31 December is one of December
    rules = "1 Dec 22:00-06:00; 2"
    assert import_prices(rules, "2025-12-31 21:00", 10) == [2] + [1] * 8 + [2]
    assert import_prices(rules, "2025-11-30 21:00", 10) == [2] * 10


def test_holidays_are_those_of_the_country():
    rules = "1 holidays; 2 Mon-Fri; 3"
    # 23 June 2025, a Monday, is the national holiday of Luxembourg
    assert import_prices(rules, "2025-06-22 23:00", 3) == [3, 1, 1]
    assert import_prices(rules, "2025-06-22 23:00", 3, country="") == [3, 2, 2]
    # the night of New Year's Eve of the year before
    rules = "1 holidays 22:00-06:00; 2"
    assert import_prices(rules, "2025-12-26 21:00", 3) == [2, 1, 1]  # 26 December is one
    assert import_prices(rules, "2026-01-01 00:00", 2) == [2, 2]  # 31 December is none


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("2025-03-29 23:00", [2, 2, 2, 1, 1, 2]),  # 2:00 is missing: 23, 0, 1, 3, 4, 5
        ("2025-10-25 23:00", [2, 2, 2, 1, 1, 1, 1, 2]),  # 2:00 comes twice
    ],
)
def test_hours_are_those_of_the_clock_when_it_is_changed(first, expected):
    assert import_prices("1 02:00-05:00; 2", first, len(expected)) == expected


def test_a_price_that_changes_inside_an_interval_is_its_mean():
    assert import_prices("100 00:00-00:20; 40", "2025-06-05 00:00", 2) == pytest.approx([60, 40])
    # 5 min steps need no mean
    found = import_prices("100 00:00-00:20; 40", "2025-06-05 00:00", 6, step_min=5)
    assert found == [100] * 4 + [40] * 2


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_zones_with_half_hours(zone):
    tariff = LocalTariff(Tariff(import_eur_per_mwh="1 07:00-20:00; 2"), NO_FEES, zone)
    start = pd.Timestamp("2025-04-05T00:00Z")  # the clock of Lord Howe goes back on the 6th
    found, _ = tariff.prices(np.zeros(48 * 12), start, 5)
    local = pd.date_range(start, periods=48 * 12, freq="5min").tz_convert(zone)
    assert found.tolist() == [1 if 7 <= hour < 20 else 2 for hour in local.hour]
    hours, _ = tariff.prices(np.zeros(48), start, 60)
    assert hours == pytest.approx(found.reshape(48, 12).mean(axis=1))
