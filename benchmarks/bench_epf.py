"""The default and its models on the open benchmark of electricity price forecasting (Lago et al.,
Applied Energy 293 (2021) 116983).

    python benchmarks/bench_epf.py                                          # the first 8 weeks
    python benchmarks/bench_epf.py --days 728 --folder pieces
    python benchmarks/bench_epf.py --withhold --models lear lightgbm

Reads epf/ of the folder VPP_TEST_DATA (default ../shared/data): hourly prices of NP and DE with two
day-ahead forecasts (load, wind and solar), and the forecasts published with the paper. The 24 hours
of each day are forecast at 11:00 the day before, through `forecasting.walk` and `known_at`, from 4
years; LEAR learns anew every day as in the paper, DNN every week, the others every 28 days. `the
choice` is made each week as `train_forecast.py` does, by its code (bench_regret.py), for which the
models also forecast the 56 days before. Days are those of the files: 24 hours. With `--withhold`
nobody gets the two forecasts.

With --folder it goes on where it was stopped: it keeps 56 days of each model there.

Columns: MAE [EUR/MWh], also over that of the published LEAR ensemble and of the naive forecast
(yesterday's price for Tuesday to Friday, last week's for Saturday to Monday); the share of the
perfect-foresight value that a 1 MW / 2 MWh battery (efficiencies 0.95 and 0.95, empty at both ends
of a day) earns by the forecast; Kendall's tau within the day; share of values in the 80 % band."""

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # before numpy loads: one thread a process

import pandas as pd
from bench_regret import DAYS_CHOOSING, USUAL, decisions
from pieces import commits, kept

from forecasting import backtest, day_ahead_origins, price_scores
from sources import Source
from vpp.forecast.known import SourceData
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import QUANTILE_COLUMNS
from vpp.runtime.tables import print_rows
from vpp.site.times import DAY

FOLDER = Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "epf"
HISTORY_DAYS = 1456 + 8
REFIT_DAYS = {"lear": 1, "dnn": 7}
PUBLISHED = {"published LEAR": "lear_ensemble", "published DNN": "dnn_ensemble"}


def read_csv(name):
    frame = pd.read_csv(FOLDER / name)
    frame.index = pd.DatetimeIndex(
        pd.to_datetime(frame.pop("time"), utc=True), name="time"
    ).as_unit("ns")
    return frame


def read_market(market, withhold):
    """Prices, and the day-ahead forecasts as known at 10:00 the day before."""
    frame = read_csv(f"{market}.csv")
    forecasts = frame.drop(columns="price").reset_index(names="valid_time")
    issued = forecasts["valid_time"].dt.normalize() - pd.Timedelta(hours=14)
    forecasts.insert(0, "issue_time", issued)
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
        weather_forecasts=None if withhold else forecasts,
        zone="UTC",
        holidays_country="",
        publication_zone="UTC",
    )


def forecast(task):
    """The backtest of one model over some days, and the CPU seconds it took."""
    folder, market, withhold, model, origins = task

    def make():
        began, data = time.process_time(), read_market(market, withhold)
        rules = {"refit_days": REFIT_DAYS.get(model, 28), "history_days": HISTORY_DAYS}
        return backtest(MODELS[model], data, origins, **rules), time.process_time() - began

    name = f"{market}-{model}-{origins[0]:%Y%m%d}-{len(origins)}" + "-withheld" * withhold
    return task, *kept(folder, name, make)


def tasks_of(args, model):
    """The pieces of one model on each market, from so long before the window as a choice needs."""
    for market in args.markets:
        first = read_csv(f"{market}_published_forecasts.csv").index[0]
        days = (first - DAYS_CHOOSING * DAY).date(), (first + (args.days - 1) * DAY).date()
        origins = list(day_ahead_origins(*days, "11:00", "UTC"))
        for at in range(0, len(origins), DAYS_CHOOSING):
            part = origins[at : at + DAYS_CHOOSING]
            yield args.folder, market, args.withhold, model, part


def rows_of(market, frames, seconds):
    """A row for each model, the choice and what was published."""
    data = read_market(market, False)
    found = decisions(frames, data, 24)[1]
    published, reference = read_csv(f"{market}_published_forecasts.csv"), found["mixed_naive"]
    for name, column in PUBLISHED.items():
        value = published[column].reindex(reference["valid_time"]).to_numpy()
        found[name] = reference.assign(value=value, **dict.fromkeys(QUANTILE_COLUMNS, value))
    mae = {name: (frame["actual"] - frame["value"]).abs().mean() for name, frame in found.items()}
    for name, frame in found.items():
        row = {"market": market, "model": name, "mae": mae[name]}
        row |= {"of_published_lear": mae[name] / mae["published LEAR"]}
        row |= {"of_naive": mae[name] / mae["mixed_naive"]}
        row |= price_scores(frame, pd.Timedelta(hours=1), "UTC")
        inside = (frame["actual"] >= frame["q10"]) & (frame["actual"] <= frame["q90"])
        row |= {"in_band_80": None if name in PUBLISHED else inside.mean()}
        yield row | {"cpu_s": seconds.get(name)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--markets", nargs="+", choices=("NP", "DE"), default=["NP", "DE"])
    models = [name for name in USUAL if name != "seasonal_naive"]
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=models)
    parser.add_argument("--days", type=int, default=56, help="of the window of 728, at least 35")
    parser.add_argument("--withhold", action="store_true", help="without the two forecasts")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where pieces are kept")
    args = parser.parse_args()
    if not FOLDER.exists():
        print(f"{FOLDER} is absent: nothing to measure; VPP_TEST_DATA names the folder above it")
        return
    began, made, parts, seconds = time.perf_counter(), [], {}, Counter()
    # the longest first
    names = sorted({*args.models, "mixed_naive"})
    models = sorted(names, key=lambda name: "load" in MODELS[name].kinds)
    with ProcessPoolExecutor(args.jobs) as pool:
        tasks = [task for model in models for task in tasks_of(args, model)]
        for (_, market, _, model, _), commit, (frame, spent) in pool.map(forecast, tasks):
            parts.setdefault(market, {}).setdefault(model, []).append(frame)
            seconds[market, model] += spent
            made.append(commit)
    rows = []
    for market, found in parts.items():
        frames = {name: pd.concat(pieces, ignore_index=True) for name, pieces in found.items()}
        spent = {name: seconds[market, name] for name in frames}
        rows += rows_of(market, dict(sorted(frames.items())), spent)
    title = f"Day-ahead prices, the first {args.days} days of the published test window"
    print_rows(rows, title + ", without the two forecasts" * args.withhold)
    print(
        f"{commits(made)}; {time.perf_counter() - began:.0f} s by the clock, {args.jobs} processes"
    )


if __name__ == "__main__":
    main()
