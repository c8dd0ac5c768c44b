"""How well load and price of the real Luxembourg year are forecast, a day ahead.

    python benchmarks/bench_luxembourg.py
    python benchmarks/bench_luxembourg.py --first 2024-12-01 --sources load

The first takes March to December 2024, about 5 minutes on 2 cores.

Reads lu_2024_15min_utc.csv of the folder VPP_TEST_DATA (default ../shared/data; SMARD.de, CC BY
4.0), hourly means. The local hours (23, 24 or 25) of every day are forecast at 11:00 Brussels the
day before, through `forecasting.walk` and `known_at`: of the load, wind and PV columns what was
measured by then, of the prices what was published by then, the calendar and public holidays (of
Luxembourg for the load, of Germany for the price of the DE-LU zone). Models learn anew every
--refit-days. `champion` is in each month the model with the least MAE over all earlier origins,
from February on. Bands are conformalised walking forward.

Columns: MAE [MW or EUR/MWh]; ratio = sum of absolute errors over that of last week's same local
hour, with its 95 % interval from a bootstrap of blocks of 7 days; share of actual values in the 80
% band and its mean width; for prices the share of the perfect-foresight value that a 1 MW / 2 MWh
battery earns by the forecast."""

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
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

from forecasting import backtest, day_ahead_origins, rolling_calibration, scores
from sources import Source
from vpp.forecast.known import SourceData
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.tables import print_rows

FILE = (
    Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "lu_2024_15min_utc.csv"
)
ZONE = "Europe/Brussels"
WARM_UP = date(2024, 2, 1)  # the first day forecast: its errors serve calibration and choice only
SPIKE_DAYS = pd.to_datetime(
    ["2024-06-26", "2024-07-03"]
)  # the spike, and the day for which last week's hour is the spike
CANDIDATES = {
    "load": ("hourly_ridge", "lightgbm"),
    "price": ("hourly_ridge", "lightgbm", "lear", "combination"),
}
OTHERS = {"load": ("daily_naive",), "price": ("daily_naive", "mixed_naive")}  # shown only


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
    source, model, last, refit_days = task
    began, data = time.process_time(), read_sources()[source]
    frame = backtest(
        MODELS[model], data, day_ahead_origins(WARM_UP, last, "11:00", ZONE), refit_days=refit_days
    )
    return task, rolling_calibration(frame, data), time.process_time() - began


def champion(frames, first):
    """In each month the rows of the model that was best before its first origin."""
    error = pd.DataFrame(
        {name: (frame["actual"] - frame["value"]).abs() for name, frame in frames.items()}
    )
    reference = next(iter(frames.values()))
    month = local_days(reference).dt.to_period("M")
    parts, chosen = [], []
    for this in sorted(month[local_days(reference) >= pd.Timestamp(first)].unique()):
        now = reference["issue_time"][month == this].min()
        best = (
            error[reference["valid_time"] < now.floor("D") - pd.Timedelta(days=1)].mean().idxmin()
        )
        chosen.append(best)
        parts.append(frames[best][month == this])
    return pd.concat(parts, ignore_index=True), chosen


def local_days(frame):
    return frame["valid_time"].dt.tz_convert(ZONE).dt.tz_localize(None).dt.normalize()


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
    parser.add_argument(
        "--models",
        nargs="+",
        choices=sorted(MODELS),
        default=[],
        help="shown beside the candidates",
    )
    parser.add_argument("--refit-days", type=float, default=14)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    if not FILE.exists():
        print(f"{FILE} is absent: nothing to measure; VPP_TEST_DATA names its folder")
        return
    began, data = time.perf_counter(), read_sources()
    tasks = [
        (source, model)
        for source in args.sources
        for model in (*CANDIDATES[source], *OTHERS[source], *args.models)
    ]
    tasks.sort(
        key=lambda task: (
            ("combination", "lightgbm").index(task[1])
            if task[1] in ("combination", "lightgbm")
            else 2
        )
    )  # longest first
    frames = {source: {} for source in args.sources}
    seconds = {}
    with ProcessPoolExecutor(args.jobs) as pool:
        for (source, model, *_), frame, spent in pool.map(
            run_model, [(*task, args.last, args.refit_days) for task in tasks]
        ):
            frames[source][model], seconds[source, model] = frame, spent
        rows, without, choices = [], [], {}
        for source in args.sources:
            best, choices[source] = champion(
                {name: frames[source][name] for name in CANDIDATES[source]}, args.first
            )
            for model, frame in {"champion": best, **frames[source]}.items():
                frame = frame[local_days(frame) >= pd.Timestamp(args.first)]
                rows.append((source, model, frame, data[source], seconds.get((source, model))))
                if source == "price":
                    without.append(
                        (
                            source,
                            model,
                            frame[~local_days(frame).isin(SPIKE_DAYS)],
                            data[source],
                            None,
                        )
                    )
        rows, without = (
            list(pool.map(row_of, *zip(*part, strict=True))) if part else []
            for part in (rows, without)
        )
    print_rows(
        rows, f"Luxembourg, every day from {args.first} to {args.last}, issued 11:00 the day before"
    )
    if without:
        print_rows(
            without,
            "Without 2024-06-26, the day of the spike, and 2024-07-03, whose last week's hours "
            "it is",
        )
    for source, chosen in choices.items():
        print(f"champion of each month, {source}: {', '.join(chosen)}")
    print(f"{time.perf_counter() - began:.0f} s by the clock, {args.jobs} processes")


if __name__ == "__main__":
    main()
