"""How much is lost because the best model of the next weeks is not known when it is chosen?

    python benchmarks/bench_regret.py --folder pieces
    python benchmarks/bench_regret.py --sources load --models hourly_ridge arima --last 2024-08-31

Forecasts Luxembourg 2024 (load, price) and a synthetic year (solar, wind) on every day at 11:00,
48 h ahead, with every model of `[training] models`, refitted every 28 days. Once a week it chooses
as `train_forecast.py` does, by its code: by the mean absolute error on the origins of the newest 56
days, as far as they are known, the combination with the weights of that day among the models, and
against the champion that there is (parameters stay the defaults: they are not tuned). Regret is the
error of the choice on the next 28 days over that of the model that turns out best on them. The
second table has the local days that follow an issue, forecast by the choice of their week, with
its bands as they are issued, and by each model; its columns are those of bench_luxembourg.py.

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
from bench_luxembourg import FILE, ZONE, local_days, read_sources, row_of
from pieces import commits, kept

from forecasting import backtest, day_ahead_origins, rolling_calibration
from generation import generate_files
from vpp.champions.contenders import Contender, Contest
from vpp.champions.contest import decide
from vpp.champions.mixing import combine
from vpp.champions.recalibration import BAND_DAYS, corrected
from vpp.forecast.backtest import CALIBRATION_WINDOW_DAYS
from vpp.forecast.calibration import calibrated, calibration_of, with_median
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import QUANTILE_COLUMNS
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


def decisions(frames, data, steps=STEPS):
    """Of each week the chosen model, its error, and the best in hindsight; and the rows of each
    model and of the choice.
    """
    members = [
        Contender(name, {}, raw=frame) for name, frame in frames.items() if "naive" not in name
    ]
    contest = Contest(
        data, frames[members[0].model]["issue_time"].max(), steps, Training(), "", None
    )
    every = frames | {"combination": combine(contest, members)[1]}
    raw = every
    every = {
        name: rolling_calibration(frame, data, moves=MODELS[name].value_moves)
        for name, frame in raw.items()
    }
    origins = pd.DatetimeIndex(every["combination"]["issue_time"].unique()).sort_values()
    rows, parts, incumbent = [], [], None
    starts = list(origins[DAYS_CHOOSING:-DAYS_AHEAD:7])
    for now, end in zip(starts, [*starts[1:], origins[-1] + DAY], strict=True):
        contenders, ahead = [], {}
        for name, frame in every.items():
            error = (frame["actual"] - frame["value"]).abs()[~frame["published"]]
            issued = frame["issue_time"]
            known = (issued >= now - DAYS_CHOOSING * DAY) & (issued < now)
            past = frame[known & (frame["valid_time"] < now)]
            contenders.append(Contender(name, {}, past, contest.score(past)))
            ahead[name] = error[(issued >= now) & (issued < now + DAYS_AHEAD * DAY)].mean()
        by_name = {each.model: each for each in contenders}
        incumbent = decide(contest, contenders, by_name.get(incumbent)).champion.model
        best = min(ahead, key=ahead.get)
        rows.append({"now": now, "chosen": incumbent, "best": best})
        rows[-1]["regret"] = ahead[incumbent] / ahead[best]
        rows[-1] |= {f"always {name}": ahead[name] / ahead[best] for name in every}
        parts += as_issued(raw[incumbent], now, end, parts, data)
    shown = {"the choice": pd.concat(parts, ignore_index=True)}
    shown |= {name: frame[frame["issue_time"] >= starts[0]] for name, frame in every.items()}
    return pd.DataFrame(rows), shown


def as_issued(frame, now, end, before, data):
    """The forecasts that a plant issues with a model from one training to the next, one each day.

    The training calibrates the model, and each forecast corrects its bands by those issued before.
    """
    source, zone, made = data.source, data.zone, []
    issued = frame["issue_time"]
    since = now - CALIBRATION_WINDOW_DAYS * DAY
    past = frame[(issued >= since) & (issued < now) & (frame["valid_time"] < now)]
    calibration = calibration_of(past, source, zone)
    for issue_time, rows in frame[(issued >= now) & (issued < end)].groupby("issue_time"):
        rows = rows.set_index("valid_time")
        times = pd.DatetimeIndex(rows.index)
        bands = calibrated(rows, calibration, issue_time, times, source, zone)
        value = with_median(
            rows["value"].to_numpy(), rows[list(QUANTILE_COLUMNS)].to_numpy(), bands
        )
        rows = rows.assign(value=value, **dict(zip(QUANTILE_COLUMNS, bands.T, strict=True)))
        if before or made:
            rows = corrected(rows, data, issue_time, pd.concat([*before, *made][-BAND_DAYS:]))
        made.append(rows.reset_index())
    return made


def day_after(frame):
    """The rows of the local day after the issue."""
    days = local_days(frame, "issue_time") + DAY
    return frame[local_days(frame) == days].reset_index(drop=True)


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
    began, rows, days, made = time.perf_counter(), [], [], []
    with ProcessPoolExecutor(args.jobs) as pool:
        for source in args.sources:
            kind = "market" if source == "price" else source
            models = [name for name in args.models if kind in MODELS[name].kinds]
            tasks = [task for name in models for task in tasks_of(args, source, name)]
            parts = {name: [] for name in models}
            for (_, _, model, _), commit, frame in pool.map(forecast, tasks):
                parts[model].append(frame)
                made.append(commit)
            frames = {name: pd.concat(found, ignore_index=True) for name, found in parts.items()}
            data = read(source)
            found, shown = decisions(frames, data)
            after = {name: day_after(frame) for name, frame in shown.items()}
            days += [row_of(source, name, rows, data, None) for name, rows in after.items()]
            row = {"source": source, "decisions": len(found), "regret": found["regret"].mean()}
            columns = [name for name in found if name.startswith("always ")]
            rows.append(row | {name: found[name].mean() for name in columns})
            counts = found["chosen"].value_counts()
            chosen = ", ".join(f"{name} {count}" for name, count in counts.items())
            print(f"{source}: chosen {chosen}; regret {row['regret']:.3f}", flush=True)
    print_rows(rows, "Mean absolute error over that of the best in hindsight")
    print_rows(days, "The local days that follow an issue")
    print(
        f"{commits(made)}; {time.perf_counter() - began:.0f} s by the clock, {args.jobs} processes"
    )


if __name__ == "__main__":
    main()
