"""LEAR and the other models on the open benchmark of electricity price forecasting (Lago et al.,
Applied Energy 293 (2021) 116983).

    python benchmarks/bench_epf.py
    python benchmarks/bench_epf.py --days 728 --markets DE --models lear

The first takes 10 minutes: the first 8 weeks of the published test windows, NP and DE.

Reads epf/ of the folder VPP_TEST_DATA (default ../shared/data): hourly prices with two day-ahead
forecasts (load, wind and solar), and the forecasts published with the paper. The 24 hours of each
day are forecast at 11:00 the day before, through `forecasting.walk` and `known_at`; LEAR learns
anew every day as in the paper, the others every 28 days, from 4 years. Days are those of the files:
24 hours.

Columns: MAE [EUR/MWh], also over that of the published LEAR ensemble and of the naive forecast
(yesterday's price for Tuesday to Friday, last week's for Saturday to Monday); the share of the
perfect-foresight value that a 1 MW / 2 MWh battery (efficiencies 0.95 and 0.95, empty at both ends
of a day) earns by the forecast; Kendall's tau within the day; share of values in the 80 % band."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # before numpy loads: one thread a process

import pandas as pd

from forecasting import backtest, day_ahead_origins, price_scores, rolling_calibration
from sources import Source
from vpp.forecast.known import SourceData
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import QUANTILE_COLUMNS
from vpp.runtime.tables import print_rows
from vpp.site.times import DAY

FOLDER = Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "epf"
HISTORY_DAYS = 1456 + 8
PUBLISHED = {"published LEAR": "lear_ensemble", "published DNN": "dnn_ensemble"}


def read_csv(name):
    frame = pd.read_csv(FOLDER / name)
    frame.index = pd.DatetimeIndex(
        pd.to_datetime(frame.pop("time"), utc=True), name="time"
    ).as_unit("ns")
    return frame


def read_market(market):
    """Prices, and the day-ahead forecasts as known at 10:00 the day before."""
    frame = read_csv(f"{market}.csv")
    forecasts = frame.drop(columns="price").reset_index(names="valid_time")
    forecasts.insert(
        0, "issue_time", forecasts["valid_time"].dt.normalize() - pd.Timedelta(hours=14)
    )
    place = {
        "name": market,
        "site_id": market,
        "step_min": 60,
        "latitude": None,
        "longitude": None,
        "time_zone": "UTC",
    }
    source = Source(market, "market", capacity_kw=None, parameters={}, **place)
    return SourceData(
        source,
        frame["price"],
        weather_forecasts=forecasts,
        zone="UTC",
        holidays_country="",
        publication_zone="UTC",
    )


def run_model(task):
    market, model, days = task
    began, data = time.process_time(), read_market(market)
    first = read_csv(f"{market}_published_forecasts.csv").index[0]
    origins = day_ahead_origins(first.date(), (first + (days - 1) * DAY).date(), "11:00", "UTC")
    frame = backtest(
        MODELS[model],
        data,
        origins,
        refit_days=1 if model == "lear" else 28,
        history_days=HISTORY_DAYS,
    )
    return task, rolling_calibration(frame, data), time.process_time() - began


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--markets", nargs="+", choices=("NP", "DE"), default=["NP", "DE"])
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=list(MODELS))
    parser.add_argument("--days", type=int, default=56)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if not FOLDER.exists():
        print(f"{FOLDER} is absent: nothing to measure; VPP_TEST_DATA names the folder above it")
        return
    began, frames, seconds = time.perf_counter(), {}, {}
    models = sorted(
        {*args.models, "mixed_naive"}, key=lambda name: (name != "lear", name)
    )  # the longest first
    with ProcessPoolExecutor(args.jobs) as pool:
        tasks = [(market, model, args.days) for model in models for market in args.markets]
        for (market, model, _), frame, spent in pool.map(run_model, tasks):
            frames[market, model], seconds[market, model] = frame, spent
    rows = []
    for market in args.markets:
        found = {
            model: frames[market, model] for model in dict.fromkeys(("mixed_naive", *args.models))
        }
        published, reference = read_csv(f"{market}_published_forecasts.csv"), found["mixed_naive"]
        for name, column in PUBLISHED.items():
            value = published[column].reindex(reference["valid_time"]).to_numpy()
            found[name] = reference.assign(value=value, **dict.fromkeys(QUANTILE_COLUMNS, value))
        mae = {
            name: (frame["actual"] - frame["value"]).abs().mean() for name, frame in found.items()
        }
        for name, frame in found.items():
            row = {
                "market": market,
                "model": name,
                "mae": mae[name],
                "of_published_lear": mae[name] / mae["published LEAR"],
            }
            row |= {"of_naive": mae[name] / mae["mixed_naive"]} | price_scores(
                frame, pd.Timedelta(hours=1), "UTC"
            )
            inside = (frame["actual"] >= frame["q10"]) & (frame["actual"] <= frame["q90"])
            row |= {
                "in_band_80": None if name in PUBLISHED else inside.mean(),
                "cpu_s": seconds.get((market, name)),
            }
            rows.append(row)
    print_rows(rows, f"Day-ahead prices, the first {args.days} days of the published test window")
    print(f"{time.perf_counter() - began:.0f} s by the clock, {args.jobs} processes")


if __name__ == "__main__":
    main()
