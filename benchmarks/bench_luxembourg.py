"""How well load and price of the real Luxembourg year are forecast, a day ahead.

    python benchmarks/bench_luxembourg.py --folder pieces
    python benchmarks/bench_luxembourg.py --sources load --first 2024-12-01 --models prophet arima
    python benchmarks/bench_luxembourg.py --history-days 60 --models --folder pieces

Reads lu_2024_15min_utc.csv of the folder VPP_TEST_DATA (default ../shared/data; SMARD.de, CC BY
4.0), hourly means. The local hours (23, 24 or 25) of every day are forecast at 11:00 Brussels the
day before: of the load, wind and PV columns what was measured by then, of the prices what was
published by then, the calendar and public holidays (of Luxembourg for the load, of Germany for the
price of the DE-LU zone).

`default` is what `train_forecast.py` and `forecast_and_save.py` do, by their own code: a training
with the defaults of `[training]` every week, as in operation, from 31 January on, against the
champion that there is, and forecasts of every day by that champion, the bands corrected by the
errors of those issued before. With --history-days a plant has no more history than that at each
training, nor a champion. The models beside it have their default parameters, learn anew every
--refit-days, and their bands are conformalised walking forward (`forecasting.walk`,
`rolling_calibration`). With --folder the command goes on where it was stopped: it keeps every week
there.

Columns: MAE [MW or EUR/MWh]; ratio = sum of absolute errors over that of last week's same local
hour, with its 95 % interval from a bootstrap of blocks of 7 days; share of actual values in the 80
% band, the least and most of a month with 300 hours or more, and its mean width; for prices the
share of the perfect-foresight value that a 1 MW / 2 MWh battery earns by the forecast."""

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # before numpy loads: one thread a process

import numpy as np
import pandas as pd
from pieces import commits, kept

from forecasting import backtest, day_ahead_origins, rolling_calibration, scores
from sources import Source
from vpp.champions.contenders import Contest
from vpp.champions.contest import train_source
from vpp.champions.recalibration import BAND_DAYS, corrected
from vpp.champions.registry import Champion
from vpp.champions.tasks import cut
from vpp.forecast.features import seasonal_naive
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.operation_settings import Operation
from vpp.runtime.settings import Training
from vpp.runtime.tables import print_rows

FILE = (
    Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "lu_2024_15min_utc.csv"
)
ZONE = "Europe/Brussels"
WARM_UP = date(2024, 2, 1)  # the first day forecast: its errors serve calibration and choice only
SPIKE_DAYS = pd.to_datetime(
    ["2024-06-26", "2024-07-03"]
)  # the spike, and the day for which last week's hour is the spike
OTHERS = ["daily_naive", "mixed_naive", "hourly_ridge", "lightgbm", "combination", "lear", "dnn"]
TRAIN_DAYS, STEPS, MONTH_H = Operation().retrain_every_h // 24, 48, 300


def read_sources():
    """Load [MW] and price [EUR/MWh] with the columns that are known with them."""
    frame = pd.read_csv(FILE)
    frame.index = pd.DatetimeIndex(
        pd.to_datetime(frame.pop("time_utc"), utc=True), name="time"
    ).as_unit("ns")
    frame = frame.resample("h").mean()
    place = {
        "name": "Luxembourg",
        "site_id": "lu",
        "step_min": 60,
        "latitude": None,
        "longitude": None,
        "time_zone": ZONE,
    }
    load = Source("load", "load", capacity_kw=1e6, parameters={}, **place)
    price = Source("price", "market", capacity_kw=None, parameters={}, **place)
    others = frame[["load_mw", "wind_mw", "pv_mw"]]
    return {
        "load": SourceData(load, frame["load_mw"], zone=ZONE, holidays_country="LU"),
        "price": SourceData(
            price, frame["price_da_eur_mwh"], others=others, zone=ZONE, holidays_country="DE"
        ),
    }


def run_model(task):
    """The backtest of a model with its default parameters, its bands calibrated as time went."""
    folder, source, model, last, refit_days = task
    data = read_sources()[source]

    def make():
        began = time.process_time()
        origins = day_ahead_origins(WARM_UP, last, "11:00", ZONE)
        frame = backtest(MODELS[model], data, origins, refit_days=refit_days)
        frame = rolling_calibration(frame, data, moves=MODELS[model].value_moves)
        return frame, time.process_time() - began

    commit, (frame, seconds) = kept(folder, f"lu-{source}-{model}-{last}-{refit_days:g}", make)
    return (source, model), frame, [seconds], [commit]


def run_default(task):
    """The forecasts of a plant that is trained every week, and what each training chose."""
    folder, source, last, history_days = task
    data = read_sources()[source]
    origins = list(day_ahead_origins(WARM_UP, last, "11:00", ZONE))
    if history_days:
        start = data.series.index[0] + pd.Timedelta(days=history_days)
        origins = [issue_time for issue_time in origins if issue_time >= start]
    frames, chosen, seconds, made, champion = [], [], [], [], None
    for at in range(0, len(origins), TRAIN_DAYS):
        part = origins[at : at + TRAIN_DAYS]
        past = pd.concat(frames) if frames and not history_days else None

        def make(part=part, past=past, champion=champion):
            began = time.process_time()
            found = trained(data, part, past, champion, history_days)
            return *found, time.process_time() - began

        name = f"lu-{source}-default-{history_days or 'all'}-{part[0]:%Y%m%d}-{len(part)}"
        commit, (frame, now, spent) = kept(folder, name, make)
        champion = None if history_days else now
        frames.append(frame)
        chosen.append(now.model)
        seconds.append(spent)
        made.append(commit)
        print(f"{source} {part[0]:%Y-%m-%d}: {now.model}, {spent:.0f} CPU s", flush=True)
    frame = pd.concat(frames, ignore_index=True)
    frame = frame[local_days(frame) == local_days(frame, "issue_time") + pd.Timedelta(days=1)]
    return (source, "default"), frame.reset_index(drop=True), seconds, made


def trained(data, origins, past, champion, history_days):
    """Train at the first origin, forecast from all; rows, and the champion."""
    now, training = origins[0], Training()
    if history_days:
        training = replace(training, history_days=history_days)
        start = now - pd.Timedelta(days=history_days)
        others = data.others if data.others is None else data.others[data.others.index >= start]
        data = replace(data, series=data.series[data.series.index >= start], others=others)
    with tempfile.TemporaryDirectory() as folder:
        storage = Path(folder) / "studies"
        decision = train_source(Contest(cut(data, now), now, STEPS, training, storage, champion))
    if decision.fitted is None:
        raise SystemExit(f"{data.source.source_id}, {now}: {decision.verdict}")
    frames = [] if past is None else [past]
    for issue_time in origins:
        known = known_at(data, issue_time, training.history_days)
        frame = decision.fitted.predict(known, STEPS)
        if frames:
            frame = corrected(frame, data, issue_time, recent(frames, issue_time))
        naive = seasonal_naive(known, pd.DatetimeIndex(frame.index))
        frame["naive"] = np.where(frame["published"], frame["value"], naive)
        frame["actual"] = data.series.reindex(frame.index).to_numpy()
        frames.append(frame.assign(issue_time=issue_time).reset_index())
    winner = decision.champion
    version = str(1 + int(champion.version)) if champion else "1"
    new = Champion(data.source.source_id, winner.model, winner.parameters, version, now)
    return pd.concat(frames[past is not None :], ignore_index=True), new


def recent(frames, now):
    """The forecasts that correct the bands of one issued now."""
    past = pd.concat(frames)
    return past[past["issue_time"] >= now - pd.Timedelta(days=BAND_DAYS)]


def local_days(frame, column="valid_time"):
    return frame[column].dt.tz_convert(ZONE).dt.tz_localize(None).dt.normalize()


def interval(frame, draws=2000, block=7, seed=1):
    """95 % interval of the ratio of summed absolute errors.

    Circular bootstrap of blocks of days.
    """
    errors = pd.DataFrame(
        {
            "model": (frame["actual"] - frame["value"]).abs(),
            "naive": (frame["actual"] - frame["naive"]).abs(),
        }
    )
    daily = errors.groupby(local_days(frame)).sum().to_numpy()
    starts = np.random.default_rng(seed).integers(len(daily), size=(draws, -(-len(daily) // block)))
    days = ((starts[:, :, None] + np.arange(block)) % len(daily)).reshape(draws, -1)[
        :, : len(daily)
    ]
    sums = daily[days].sum(axis=1)
    return np.quantile(sums[:, 0] / sums[:, 1], [0.025, 0.975])


def row_of(source, model, frame, data, seconds):
    found, (low, high) = scores(frame, data.source, ZONE), interval(frame)
    told = frame[frame["actual"].notna() & ~frame["published"] & ~frame["dark"]]
    inside = told["actual"].between(told["q10"], told["q90"])
    months = inside.groupby(local_days(told).dt.to_period("M")).agg(["mean", "size"])
    months = months.loc[months["size"] >= MONTH_H, "mean"]
    row = {
        "source": source,
        "model": model,
        "days": local_days(frame).nunique(),
        "mae": found["mae"],
        "ratio": found["rmae"],
    }
    row |= {
        "low": low,
        "high": high,
        "in_band_80": found["coverage_80"],
        "month_least": months.min(),
        "month_most": months.max(),
        "width_80": found["width_80"],
    }
    return row | {"captured_share": found.get("captured_share"), "cpu_s": seconds}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--first", type=date.fromisoformat, default=date(2024, 3, 1))
    parser.add_argument("--last", type=date.fromisoformat, default=date(2024, 12, 31))
    parser.add_argument(
        "--sources", nargs="+", choices=("load", "price"), default=["load", "price"]
    )
    parser.add_argument("--models", nargs="*", choices=sorted(MODELS), default=OTHERS)
    parser.add_argument("--refit-days", type=float, default=14, help="of the models beside it")
    parser.add_argument("--history-days", type=int, help="of a new plant at each training")
    parser.add_argument("--folder", type=Path, help="where pieces are kept")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if not FILE.exists():
        print(f"{FILE} is absent: nothing to measure; VPP_TEST_DATA names its folder")
        return
    began, data = time.perf_counter(), read_sources()
    frames, seconds, made = {}, {}, []
    with ProcessPoolExecutor(args.jobs) as pool:
        running = [
            pool.submit(run_default, (args.folder, source, args.last, args.history_days))
            for source in args.sources
        ]
        running += [
            pool.submit(run_model, (args.folder, source, model, args.last, args.refit_days))
            for source in args.sources
            for model in args.models
            if source != "load" or "load" in MODELS[model].kinds
        ]
        for each in running:
            name, frame, spent, commit = each.result()
            frames[name] = frame[local_days(frame) >= pd.Timestamp(args.first)]
            seconds[name] = sum(spent)
            made += commit
    for source in args.sources:
        rows = [
            row_of(source, model, frame, data[source], seconds[name, model])
            for (name, model), frame in frames.items()
            if name == source
        ]
        print_rows(
            rows, f"{source}, every day from {args.first} to {args.last}, issued 11:00 before"
        )
        if source == "price":
            frame = frames[source, "default"]
            frame = frame[~local_days(frame).isin(SPIKE_DAYS)]
            print_rows(
                [row_of(source, "default", frame, data[source], None)],
                "Without 2024-06-26, the day of the spike, and 2024-07-03, whose last week's "
                "hours it is",
            )
    print(
        f"{commits(made)}; {time.perf_counter() - began:.0f} s by the clock, {args.jobs} processes"
    )


if __name__ == "__main__":
    main()
