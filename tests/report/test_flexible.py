"""Vehicles, loads that may run later and heat stores in the report; only where there are such."""

import numpy as np
import pandas as pd
import pytest

from vpp.report.flexible import device_actions, flexible_sections, with_flexible_loads
from vpp.report.page import render
from vpp.report.views import Content

TIMES = pd.date_range("2025-01-15T16:00Z", periods=6, freq="h", name="time")
PRICE = [300.0, 100.0, 200.0, 400.0, 50.0, 250.0]


def device(name, kind, power, reasons, **values):
    columns = {"device_id": name, "kind": kind, "power_kw": np.array(power, float)}
    columns |= {"heat_pump_kw": np.nan, "rod_kw": np.nan, "soc": np.nan, "energy_kwh": np.nan}
    return pd.DataFrame(columns | {"reason": reasons} | values, index=TIMES)


CAR = device(
    "car",
    "vehicle",
    [0, 10, 5, -2, 0, 0],
    [None, "car charges at <b>100.00</b>", "car charges at 200.00", "car gives", None, None],
    soc=[0.4, 0.6, 0.7, 0.66, np.nan, np.nan],
)
IDLE = device("pump", "deferrable", [0] * 6, [None] * 6)


def content(*devices):
    names = ("grid_import_kw", "grid_export_kw", "renewables_kw", "curtailed_kw", "load_kw")
    schedule = pd.DataFrame(dict.fromkeys(names, 1.0), index=TIMES).assign(
        import_price_eur_per_mwh=PRICE,
        export_price_eur_per_mwh=PRICE,
        market_price_eur_per_mwh=PRICE,
        stored_value_eur_per_mwh=np.nan,
        reason="import deficit",
    )
    states = pd.DataFrame(
        {name: [] for name in ("battery_id", "soc", "charge_kw", "discharge_kw", "energy_kwh")},
        index=TIMES[:0],
    )
    run = {"run_id": "r", "status": "optimal", "kind": "plan", "issue_time": TIMES[0]}
    frame = pd.concat(devices) if devices else pd.DataFrame()
    return Content("Home", "UTC", run=run, schedule=schedule, states=states, devices=frame)


def test_what_a_car_does_is_told_by_action():
    charge, give = device_actions(CAR, pd.Series(PRICE, TIMES))
    # 10 kWh at 100 and 5 at 200
    assert (charge["what"], charge["energy_kwh"]) == ("Charge", 15)
    assert charge["price_eur_per_mwh"] == pytest.approx(2000 / 15)
    assert charge["reason"] == "car charges at <b>100.00</b>"
    assert (charge["start"], charge["end"]) == (TIMES[1], TIMES[3])
    assert (give["what"], give["energy_kwh"]) == ("Give", 2)


def test_there_is_a_section_of_each_kind_that_the_site_has():
    assert flexible_sections(content()) == []
    vehicles, loads = flexible_sections(content(CAR, IDLE))
    assert (vehicles.title, loads.title) == ("Vehicles", "Loads that may run later")
    assert "&lt;b&gt;100.00" in vehicles.body
    assert "<b>" not in vehicles.body
    assert "It does nothing in this plan." in loads.body
    bars = vehicles.figures["device0"]["data"][1]
    assert bars["y"] == [0, 10, 5, -2, 0, 0]


def test_the_load_of_the_figure_has_the_devices_in_it():
    found = with_flexible_loads(content(CAR).schedule, CAR)
    assert found["load_kw"].tolist() == [1, 11, 6, -1, 1, 1]


def test_a_page_without_devices_has_no_such_section():
    assert "Vehicles" not in render(content())
    page = render(content(CAR, IDLE))
    assert page.count('<section id="vehicle">') == 1
    assert "other flexible loads in it" in page
