"""The key of a stored run: another configuration is another run."""

from dataclasses import fields, replace

import pandas as pd
import pytest

from vpp.planning.runs import run_key
from vpp.runtime.config import load_config
from vpp.runtime.plant_settings import Grid, Tariff
from vpp.storage.results import run_id

ISSUE = pd.Timestamp("2025-01-07", tz="UTC")
OTHER = {
    "import_eur_per_mwh": "325 Mon-Fri 07:00-20:00; 210",
    "export_eur_per_mwh": "80",
    "peaks_eur_per_kw": "5 Mon-Fri 08:00-20:00",
    "currency": "CHF",
    "peak_interval_min": 30,
}


def key(config) -> str:
    return run_key(config, "backtest", ISSUE)["run_id"]


@pytest.mark.parametrize("section", [Tariff, Grid])
def test_each_price_of_another_tariff_is_another_run(tmp_path, section):
    (tmp_path / "config.ini").write_text("")
    config = load_config(tmp_path / "config.ini", {})
    name = section.__name__.lower()
    plain = getattr(config, name)
    keys = {key(config)}
    for item in fields(section):
        value = OTHER.get(item.name, 3.5)
        keys.add(key(replace(config, **{name: replace(plain, **{item.name: value})})))
    assert len(keys) == 1 + len(fields(section))


def test_runs_without_a_tariff_keep_their_key(tmp_path):
    (tmp_path / "config.ini").write_text("")
    config = load_config(tmp_path / "config.ini", {})
    flexible = filter(None, (config.vehicles, config.deferrable_loads, config.heat_stores))
    parts = (config.site.site_id, ISSUE, config.site, config.grid, config.optimization)
    assert key(config) == run_id("backtest", *parts, config.batteries, *flexible)
