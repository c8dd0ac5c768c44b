"""The worth of hourly updates, by lead: MAE of the newest forecast, the morning's, persistence.

    python benchmarks/bench_intraday.py --days 12

A synthetic year (seed 2) of a solar plant, a wind turbine and a load. Each day a model is asked at
06:00 UTC, and again every three hours until 18:00, with what is known then; it was fitted and
calibrated once, before the first of the days. Persistence is the newest value. Nights do not count.
"""

import argparse
import dataclasses
import os
import tempfile
from datetime import date
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy loads

import pandas as pd
from bench_synthetic import ROOT, read_data

from generation import generate_files
from vpp.forecast.backtest import fit_calibrated
from vpp.forecast.known import known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.config import load_config
from vpp.runtime.settings import Generation
from vpp.runtime.tables import print_rows

FIRST, LEADS, HOURS = pd.Timestamp("2025-06-01T06:00Z"), (1, 2, 3, 6, 12), (9, 12, 15, 18)
HISTORY_DAYS = 120


def rows_of(data, name, days):
    """A row for each lead."""
    known = known_at(data, FIRST, HISTORY_DAYS)
    model = fit_calibrated(lambda: MODELS[name](horizon_h=48), data, known, 48, HISTORY_DAYS)
    found = []
    for day in range(days):
        morning = FIRST + pd.Timedelta(days=day)
        early = model.predict(known_at(data, morning, HISTORY_DAYS), 48)
        for hour in HOURS:
            now = morning.normalize() + pd.Timedelta(hours=hour)
            known = known_at(data, now, HISTORY_DAYS)
            new, update = model.predict(known, 12), model.intraday
            model.intraday = None
            plain = model.predict(known, 12)
            model.intraday = update
            frame = pd.DataFrame(
                {
                    "updated": new["value"],
                    "not_updated": plain["value"],
                    "morning": early["value"].reindex(new.index),
                    "persistence": known.targets.iloc[-1],
                }
            )
            error = frame.sub(data.series.reindex(new.index), axis=0).abs()
            inside = data.series.reindex(new.index).between(new["q10"], new["q90"])
            error = error.assign(lead=range(1, 13), coverage_80=inside)[~new["dark"].to_numpy()]
            found.append(error)
    table = pd.concat(found)
    return [
        {"source_id": data.source.source_id, "model": name, "lead_h": lead}
        | table[table["lead"] == lead].drop(columns="lead").mean().to_dict()
        for lead in LEADS
    ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--models", nargs="+", default=["hourly_ridge", "lightgbm"])
    args = parser.parse_args()
    wanted = Generation(start=date(2025, 1, 1), days=230, seed=2, solar=1, wind=1, loads=1)
    with tempfile.TemporaryDirectory() as folder:
        config = dataclasses.replace(load_config(ROOT / "config.ini", {}), generation=wanted)
        generate_files(config, Path(folder))
        sources = [data for data in read_data(Path(folder)) if data.source.kind != "market"]
    rows = [
        row for data in sources for name in args.models for row in rows_of(data, name, args.days)
    ]
    print_rows(rows, f"MAE by lead over {args.days} days [kW]")


if __name__ == "__main__":
    main()
