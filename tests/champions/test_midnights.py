"""A plant where clocks change at midnight: forecasts, hourly updates, a plan and its page."""

import numpy as np
import pandas as pd
import pytest
from small_midnights import MIDNIGHTS, hours_around
from small_world import make_store, store

import db
import report
from sources import Source
from vpp.champions.forecasts import forecast_all
from vpp.planning.plans import plan
from vpp.runtime.config import load_config

HOUR = pd.Timedelta(hours=1)
PLACES = {"Atlantic/Azores": (38.0, -26.0), "America/Havana": (23.0, -82.0)}


@pytest.mark.parametrize(("zone", "change"), [MIDNIGHTS[0], MIDNIGHTS[5]])
def test_forecast_update_and_report_come_on_such_a_day(
    zone, change, config_file, tmp_path_factory, tmp_path
):
    latitude, longitude = PLACES[zone]
    place = {"time_zone": zone, "latitude": latitude, "longitude": longitude}
    fixed = {"import_eur_per_mwh": 100, "export_eur_per_mwh": 50}
    config = load_config(
        config_file(
            site=place | {"holidays_country": ""},
            tariff=fixed,
            forecast={"horizon_h": 24},
            optimization={"horizon_h": 24},
            training={"jobs": 1},
        )
    )
    make_store(config, tmp_path_factory)
    times = hours_around(change, days=30)
    hour = (times.hour + longitude / 15).to_numpy() % 24
    rng = np.random.default_rng(2)
    shapes = {
        "solar": 700 * np.clip(np.sin((hour - 6) / 12 * np.pi), 0, None),
        "load": 400 + 100 * np.sin(hour / 12 * np.pi) + rng.normal(0, 5, len(times)),
    }
    with db.session(config) as conn:
        for kind, shape in shapes.items():
            where = (1000.0, 60, latitude, longitude, zone)
            store(
                conn, Source(f"{kind}-1", kind, kind, "site-1", *where, {}), pd.Series(shape, times)
            )
    for later_h in (-3, 11):
        issue = pd.Timestamp(change) + later_h * HOUR
        rows = forecast_all(config, issue)
        assert {row["source_id"]: row["rows"] for row in rows} == {"load-1": 24, "solar-1": 24}
        assert not any("(in " in (row["note"] or "") for row in rows)
        plan(config, issue)
        assert (
            report.main(["--config", str(config.path), "--output", str(tmp_path / "r.html")]) == 0
        )
