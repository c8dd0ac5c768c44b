"""How much is lost because the best model of the next weeks is not known when it is chosen?

    python benchmarks/bench_regret.py --folder pieces
    python benchmarks/bench_regret.py --sources load --models hourly_ridge arima --last 2024-08-31

Forecasts Luxembourg 2024 (load, price) and a synthetic year (solar, wind) on every day at 11:00,
48 h ahead, with every model of `[training] models`, refitted every 28 days. Once a week it chooses
as `train_forecast.py` does: by the mean absolute error on the origins of the newest 56 days, as far
as they are known, the combination with the weights of that day among the models (its parameters
stay the defaults: they are not tuned). Regret is the error of the choice on the next 28 days over
that of the model that turns out best on them.

With --folder it goes on where it was stopped: it keeps 28 days of each model there."""

import argparse
import dataclasses
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import lru_cache
from pathlib import Path

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # before numpy loads: one thread a process

import bench_synthetic
import pandas as pd
from bench_luxembourg import FILE, ZONE, read_sources
from pieces import commits, kept

from forecasting import backtest, day_ahead_origins
from generation import generate_files
from vpp.champions.contenders import Contender, Contest
from vpp.champions.mixing import combine
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.config import load_config
from vpp.runtime.settings import Generation, Training
from vpp.runtime.tables import print_rows

DAY = pd.Timedelta(days=1)
DAYS_CHOOSING, DAYS_AHEAD, STEPS = Training().origins, 28, 48
USUAL = ("seasonal_naive", *(name for name in Training().models if name != "combination"))
SOURCES = ("load", "price", "wind", "solar")


@lru_cache(maxsize=4)
def read(source):
    """The stored facts of a source."""
    if source in ("load", "price"):
        return read_sources()[source]
    year = Generation(start=date(2024, 1, 1), days=366, seed=1, solar=1, wind=1, loads=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = load_config(bench_synthetic.ROOT / "config.ini", {})
        generate_files(dataclasses.replace(config, generation=year), folder)
        return next(
            data for data in bench_synthetic.read_data(folder) if data.source.kind == source
        )


def forecast(task):
    """The backtest of one model over one fit, 28 days."""
    folder, source, model, origins = task

    def make():
        return backtest(MODELS[model], read(source), origins, steps=STEPS, refit_days=999)

    return task, *kept(folder, f"{source}-{model}-{origins[0]:%Y%m%d}-{len(origins)}", make)


def tasks_of(args, source, model):
    """The pieces of one model, 28 days each."""
    origins = list(day_ahead_origins(args.first, args.last, "11:00", ZONE))
    parts = [origins[at : at + DAYS_AHEAD] for at in range(0, len(origins), DAYS_AHEAD)]
    return [(args.folder, source, model, part) for part in parts]


def decisions(frames, data):
    """Of each week the chosen model, its error, and the best in hindsight."""
    members = [
        Contender(name, {}, raw=frame) for name, frame in frames.items() if "naive" not in name
    ]
    contest = Contest(
        data, frames[members[0].model]["issue_time"].max(), STEPS, Training(), "", None
    )
    every = frames | {"combination": combine(contest, members)[1]}
    if data.source.kind == "market":  # a published price is nobody's merit
        every = {name: frame[~frame["published"]] for name, frame in every.items()}
    origins = pd.DatetimeIndex(every["combination"]["issue_time"].unique()).sort_values()
    rows = []
    for now in origins[DAYS_CHOOSING:-DAYS_AHEAD:7]:
        past, ahead = {}, {}
        for name, frame in every.items():
            error = (frame["actual"] - frame["value"]).abs()
            issued = frame["issue_time"]
            known = (issued >= now - DAYS_CHOOSING * DAY) & (frame["valid_time"] < now)
            past[name] = error[known].mean()
            ahead[name] = error[(issued >= now) & (issued < now + DAYS_AHEAD * DAY)].mean()
        chosen, best = min(past, key=past.get), min(ahead, key=ahead.get)
        rows.append(
            {"now": now, "chosen": chosen, "best": best, "regret": ahead[chosen] / ahead[best]}
        )
        rows[-1] |= {f"always {name}": ahead[name] / ahead[best] for name in every}
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--first", type=date.fromisoformat, default=date(2024, 2, 15))
    parser.add_argument("--last", type=date.fromisoformat, default=date(2024, 12, 30))
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=list(USUAL))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where pieces are kept")
    args = parser.parse_args()
    if not FILE.exists() and {*args.sources} & {"load", "price"}:
        print(f"{FILE} is absent: nothing to measure; VPP_TEST_DATA names its folder")
        return
    began, rows, made = time.perf_counter(), [], []
    with ProcessPoolExecutor(args.jobs) as pool:
        for source in args.sources:
            models = [name for name in args.models if name != "lear" or source == "price"]
            tasks = [task for name in models for task in tasks_of(args, source, name)]
            parts = {name: [] for name in models}
            for (_, _, model, _), commit, frame in pool.map(forecast, tasks):
                parts[model].append(frame)
                made.append(commit)
            frames = {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
            found = decisions(frames, read(source))
            row = {"source": source, "decisions": len(found), "regret": found["regret"].mean()}
            columns = [name for name in found if name.startswith("always ")]
            rows.append(row | {name: found[name].mean() for name in columns})
            counts = found["chosen"].value_counts()
            chosen = ", ".join(f"{name} {count}" for name, count in counts.items())
            print(f"{source}: chosen {chosen}; regret {row['regret']:.3f}", flush=True)
    print_rows(rows, "Mean absolute error over that of the best in hindsight")
    print(
        f"{commits(made)}; {time.perf_counter() - began:.0f} s by the clock, {args.jobs} processes"
    )


if __name__ == "__main__":
    main()
