"""Actions and the next day in words, worked out by hand."""

import pandas as pd
import pytest
from small_report import schedule_of

import report
from vpp.report.frames import fleet_soc
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
