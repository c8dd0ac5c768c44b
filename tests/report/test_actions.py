"""Actions and the next day in words, worked out by hand."""

import re

import pandas as pd
import pytest
from small_report import schedule_of

import report
from vpp.report.actions import action_rows, battery_actions
from vpp.report.frames import bus_price, fleet_soc, with_battery_power
from vpp.report.words import clock, even, even_energies, money_text, span
from vpp.runtime.settings import BatteryParameters


def test_actions_are_uninterrupted_and_priced_by_energy():
    schedule, _ = schedule_of([10, 30, 0, 0, 5], [0, 0, 0, 20, 0], [10, 50, 60, 90, 20])
    first, second, third = report.battery_actions(schedule)
    assert (first["what"], first["energy_kwh"]) == ("Charge", 40)
    assert first["price_eur_per_mwh"] == pytest.approx(40)  # (10 * 10 + 30 * 50) / 40
    assert first["reason"] == "reason 1"  # of its strongest hour
    assert first["end"] - first["start"] == pd.Timedelta(hours=2)
    assert (second["what"], second["energy_kwh"], second["price_eur_per_mwh"]) == (
        "Discharge",
        20,
        90,
    )
    assert (third["what"], third["energy_kwh"]) == ("Charge", 5)


def test_the_next_day_in_words():
    schedule, states = schedule_of([10, 30, 0, 0], [0, 0, 0, 20], [10, 50, 60, 90])
    battery = BatteryParameters(
        "b", capacity_kwh=100, eta_charge=1, eta_discharge=1, soc_min=0, soc_max=1
    )
    fleet = fleet_soc(states, [battery])
    assert fleet["before"].tolist() == pytest.approx([0.5, 0.6, 0.9, 0.9])
    assert report.next_day_in_words(schedule, fleet, "Europe/Brussels") == {
        "Charge": "01:00–03:00: 40.0 kWh at 40 EUR/MWh on average",
        "Discharge": "04:00–05:00: 20.0 kWh at 90 EUR/MWh on average",
        "Stored": "50% at the start, highest 90% at 03:00, lowest 60% at 02:00, 70% after 24 h",
        "Import": "70.0 kWh, at most 40.0 kW at 02:00",  # 10 + 10, 10 + 30, 10, 10 - 20
        "Export": "10.0 kWh, at most 10.0 kW at 04:00",
        "Price": "lowest 10 EUR/MWh at 01:00, highest 90 EUR/MWh at 04:00",
        "Renewables": "0 kWh, 0% of the load's 40.0 kWh",
    }


def test_an_action_shows_the_price_that_its_reason_speaks_of():
    """Surplus that would be sold at 30 is charged: 30 it costs, not the 90 of an import."""
    schedule, _ = schedule_of([10, 30, 0], [0, 0, 0], [90, 90, 90])
    schedule = schedule.assign(bus_price_eur_per_mwh=[31.5, 30.25, 80.0])
    (action,) = report.battery_actions(schedule)
    assert action["reason_price_eur_per_mwh"] == 30.25  # of the hour whose reason it shows
    assert action["price_eur_per_mwh"] == pytest.approx((10 * 31.5 + 30 * 30.25) / 40)
    (row,) = action_rows([action], "UTC")
    assert row[2:] == ("40.0 kWh", "30.25 EUR/MWh", "reason 1")


def test_an_older_plan_has_the_export_price_where_it_exports():
    schedule, _ = schedule_of([10, 0], [0, 30], [90, 90])
    schedule["export_price_eur_per_mwh"] = 70.0
    assert bus_price(schedule).tolist() == [90, 70]
    half = schedule.assign(bus_price_eur_per_mwh=[float("nan"), 65.0])
    assert bus_price(half).tolist() == [90, 65]


def test_the_price_of_an_action_stands_in_its_reason(content):
    """Of a real plan: the reason of a charge or discharge begins with the price of its row."""
    schedule = with_battery_power(content.schedule, content.states)
    schedule = schedule.assign(reason=["", *schedule["reason"][1:]])  # the first one is HTML
    rows = action_rows(battery_actions(schedule), "UTC")
    told = [(price.split()[0], why) for *_, price, why in rows if re.search(r"\d\.\d\d ", why)]
    assert len(told) >= 3
    for price, why in told:
        assert re.search(r"-?\d+\.\d\d", why)[0] == price


def test_numbers_of_a_column_have_even_decimals():
    assert even([1234.5, 0.25, None, -0.004], 2) == ["1,234.50", "0.25", "–", "0.00"]
    assert even([5.0, 11.26]) == ["5.0", "11.3"]
    assert even([-3.0, 2.0, 0.0], 0, "+") == ["-3", "+2", "0"]
    assert even_energies([900.0, 12_340.0]) == ["0.90 MWh", "12.34 MWh"]
    assert even_energies([90.0, 2.5]) == ["90.0 kWh", "2.5 kWh"]
    assert [money_text(value) for value in (1234.5, -0.2)] == ["1,234.50 €", "−0.20 €"]


@pytest.mark.parametrize(
    ("zone", "first", "words"),
    [
        # the clock goes back from 03:00 to 02:00 at 01:00 UTC
        ("Europe/Brussels", "2025-10-26T00:00Z", "Sun 26 Oct 02:00 CEST–02:00 CET"),
        ("Europe/Brussels", "2025-10-26T01:00Z", "Sun 26 Oct 02:00 CET–03:00"),
        ("Europe/Brussels", "2025-03-30T00:00Z", "Sun 30 Mar 01:00–03:00"),
        ("America/New_York", "2025-11-02T05:00Z", "Sun 2 Nov 01:00 EDT–01:00 EST"),
        ("Europe/Brussels", "2025-06-01T22:00Z", "Mon 2 Jun 00:00–01:00"),
        ("UTC", "2025-10-26T00:00Z", "Sun 26 Oct 00:00–01:00"),
    ],
)
def test_an_hour_that_comes_twice_is_told_apart(zone, first, words):
    start = pd.Timestamp(first)
    assert span(start, start + pd.Timedelta(hours=1), zone) == words


@pytest.mark.parametrize("zone", ["Europe/Brussels", "America/Santiago", "Africa/Cairo", "UTC"])
@pytest.mark.parametrize("step", ["15min", "60min"])
def test_each_time_of_a_year_has_a_name_of_its_own(zone, step):
    times = pd.date_range("2025-01-01", "2026-01-01", freq=step, tz="UTC", inclusive="left")
    names = [clock(time, zone, with_year=True) for time in times]
    assert len(set(names)) == len(times)
