"""How much is lost because the best model of the next weeks is not known when it is chosen?

    python benchmarks/bench_regret.py
    python benchmarks/bench_regret.py --sources load --models hourly_ridge arima --last 2024-08-31

Forecasts Luxembourg 2024 on every day at 11:00, 48 h ahead, with every model, refitted every 28
days. Once a week it chooses as `train_forecast.py` does: by the mean absolute error on the origins
of the newest 56 days, as far as they are known, the combination with the weights of that day among
the models (its parameters stay the defaults: they are not tuned). Regret is the error of the choice
on the next 28 days over that of the model that turns out best on them.
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # before numpy loads: one thread a process

import pandas as pd
from bench_luxembourg import FILE, ZONE, read_sources

from forecasting import backtest, day_ahead_origins
from vpp.champions.contenders import Contender, Contest
from vpp.champions.mixing import combine
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.settings import Training
from vpp.runtime.tables import print_rows

DAY = pd.Timedelta(days=1)
DAYS_CHOOSING, DAYS_AHEAD, STEPS = Training().origins, 28, 48
USUAL = ("arima", "random_forest", "hourly_ridge", "lightgbm")


def forecast(task):
    """The backtest of one model over all days."""
    source, model, first, last = task
    data = read_sources()[source]
    origins = day_ahead_origins(first, last, "11:00", ZONE)
    return task, backtest(MODELS[model], data, origins, steps=STEPS, refit_days=28)


def decisions(frames, data):
    """Of each week the chosen model, its error, and the best in hindsight."""
    members = [Contender(name, {}, raw=frame) for name, frame in frames.items()]
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
    choices = ("load", "price")
    parser.add_argument("--sources", nargs="+", choices=choices, default=list(choices))
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=list(USUAL))
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if not FILE.exists():
        print(f"{FILE} is absent: nothing to measure; VPP_TEST_DATA names its folder")
        return
    began, data = time.perf_counter(), read_sources()
    tasks = [
        (source, model, args.first, args.last) for source in args.sources for model in args.models
    ]
    frames = {source: {} for source in args.sources}
    with ProcessPoolExecutor(args.jobs) as pool:
        for (source, model, *_), frame in pool.map(forecast, tasks):
            frames[source][model] = frame
    rows = []
    for source in args.sources:
        found = decisions(frames[source], data[source])
        row = {"source": source, "decisions": len(found), "regret": found["regret"].mean()}
        columns = [name for name in found if name.startswith("always ")]
        rows.append(row | {name: found[name].mean() for name in columns})
        counts = found["chosen"].value_counts()
        print(f"{source}: chosen " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    print_rows(rows, "Mean absolute error over that of the best in hindsight")
    print(f"{time.perf_counter() - began:.0f} s by the clock, {args.jobs} processes")


if __name__ == "__main__":
    main()
