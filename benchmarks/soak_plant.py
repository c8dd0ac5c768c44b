"""The plant whose past is replayed: its configuration, and what two meters have measured."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
import pandas as pd

from sources import Source, write_sources
from vpp.runtime.config import load_config
from vpp.runtime.settings import Config

START, HISTORY_DAYS = pd.Timestamp("2025-03-12T00:00Z"), 10  # a day of 23 hours is among them
PLACE = (49.6, 6.1, "Europe/Brussels")
LOADS = ("load-1", "load-2")
HOUR = pd.Timedelta(hours=1)
DAY = pd.Timedelta(days=1)


def write_plant(soak: Any) -> Config:
    """Configuration and CSV files; `soak.values` is what the database must hold in the end."""
    sections: dict[str, dict[str, Any]] = {
        "paths": {"data_dir": soak.folder / "data", "state_dir": soak.folder / "state"},
        "site": {"holidays_country": ""},
        "training": {"jobs": 1, "models": "hourly_ridge, seasonal_naive", "trials": 1},
        "grid": {"import_fee_eur_per_mwh": 0},
        "tariff": {"import_eur_per_mwh": "300 06:00-20:00; 150", "export_eur_per_mwh": "50"},
        "operation": {"plan_every_min": soak.every_min, "retrain_every_h": soak.train_h},
        "battery:store": {"capacity_kwh": 400, "charge_kw": 100, "discharge_kw": 100},
    } | soak.servers
    text = [
        line
        for name, values in sections.items()
        for line in (f"[{name}]", *(f"{key} = {value}" for key, value in values.items()))
    ]
    soak.path.write_text("\n".join(text) + "\n")
    config = load_config(soak.path)
    config.paths.data_dir.mkdir(parents=True, exist_ok=True)
    loads = [
        Source(name, "load", name, "site-1", 500.0, soak.step_min, *PLACE, {}) for name in LOADS
    ]
    write_sources(config.paths.data_dir / "sources.csv", loads)
    index = pd.date_range(START, soak.end, freq=soak.step, inclusive="left")
    noise = np.random.default_rng(soak.seed).normal(0, 5, (2, len(index)))
    shape = 100 + 40 * np.sin(np.arange(len(index)) * (soak.step / DAY) * 2 * np.pi)
    soak.values = {
        (time, name): round(float(value), 1)
        for name, row in zip(LOADS, shape + noise, strict=True)
        for time, value in zip(index, row, strict=True)
    }
    soak.truth = dict(soak.values)
    middle = soak.begin + (soak.end - soak.begin) / 2
    silent = {(time, "load-2") for time in index if middle <= time < middle + soak.silent_h * HOUR}
    replayed = [key for key in soak.values if key[0] >= soak.begin and key not in silent]
    for key in silent:
        del soak.values[key]
    early = [key for key in replayed if key[0] < soak.end - 12 * HOUR]
    chosen = soak.random.sample(early, min(soak.late, len(early)))
    soak.kept = sorted((time, name, soak.values[time, name]) for time, name in chosen)
    rows = [
        (f"{time:%Y-%m-%dT%H:%M:%SZ}", name, value)
        for (time, name), value in sorted(soak.values.items())
        if (time, name) not in set(chosen)
    ]
    frame = pd.DataFrame(rows, columns=["time", "source_id", "power_kw"])
    frame.to_csv(config.paths.data_dir / "load.csv", index=False)
    return config
