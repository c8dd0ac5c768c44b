"""Exports of homes in Sydney and Kolkata: their own money, half-hours, days and seasons."""

import json

import numpy as np
import pandas as pd
import pytest

import db
import pipeline
import sources
from vpp.report.page import OUTPUT
from vpp.runtime.config import load_config

STEP = pd.Timedelta(minutes=30)
SITES = {  # zone, currency, place, rows, country; in Sydney summer time ends on 6 April
    "Sydney": ("Australia/Sydney", "AUD", -33.87, 151.21, 48 * 18 + 2, "AU"),
    "Kolkata": ("Asia/Kolkata", "INR", 22.57, 88.36, 48 * 18, "IN"),
}


@pytest.mark.parametrize("name", SITES)
def test_an_export_of_a_far_site_leads_to_a_plan_in_its_money(
    config_file, tmp_path, capsys, monkeypatch, name
):
    zone, currency, latitude, longitude, count, country = SITES[name]
    monkeypatch.chdir(tmp_path)
    times = pd.date_range("2025-03-24", "2025-04-11", freq="30min", tz=zone, inclusive="left")
    assert len(times) == count
    hour = (times.hour + times.minute / 60).to_numpy()
    sun = np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None)
    columns = {
        "Local time": times.strftime("%d/%m/%Y %H:%M"),
        "Load kW": (1.5 + np.exp(-((hour - 19) ** 2) / 6)).round(3),
        "PV kW": (4 * sun).round(3),
        f"Price [{currency}/MWh]": (90 + 60 * np.exp(-((hour - 18) ** 2) / 5) - 40 * sun).round(2),
    }
    pd.DataFrame(columns).to_csv("export.csv", index=False)
    path = config_file(
        site={
            "latitude": latitude,
            "longitude": longitude,
            "time_zone": zone,
            "holidays_country": country,
            "price_area": name,
        },
        tariff={"currency": currency},
        training={"models": "hourly_ridge", "trials": 1, "origins": 2, "jobs": 1},
        **{"battery:b": {"capacity_kwh": 10, "charge_kw": 5, "discharge_kw": 5}},
    )
    words = ["import", "export.csv", "--tz", zone, "--load", "Load kW:kW:home"]
    words += ["--solar", "PV kW:kW:roof", "--price"]
    price = f"Price [{currency}/MWh]"
    assert sources.main(["--config", str(path), *words, f"{price}:CHF/MWh:spot"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "CHF" in line
    assert sources.main(["--config", str(path), *words, f"{price}:{currency}/MWh:spot"]) == 0
    assert f"{currency}/MWh" in capsys.readouterr().out
    config = load_config(path)
    argv = ["--config", str(path), "--data", str(config.paths.data_dir), "--json", "told.json"]
    assert pipeline.main(argv) == 0
    printed = capsys.readouterr().out
    assert f"cost_{currency.lower()}" in printed and "EUR" not in printed
    assert json.loads((tmp_path / "told.json").read_text())["cost_eur"]["captured_share"] > 0.9
    page = OUTPUT.read_text(encoding="utf-8")
    assert f"{currency}/MWh" in page and "EUR" not in page and "€" not in page
    with db.session(config) as conn:
        [_, rows, _] = db.read_schedule(conn, kind="plan")
    assert set(np.diff(rows.index)) == {np.timedelta64(30, "m")}
    assert rows.index[0].tz_convert(zone).strftime("%H:%M") == "00:00"  # its own midnight
