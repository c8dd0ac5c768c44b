"""Forecasting libraries of others beside ours, on the same days of the real Luxembourg year.

    python -m venv yardsticks && yardsticks/bin/pip install statsforecast mlforecast lightgbm
    python benchmarks/bench_yardsticks.py --python yardsticks/bin/python

Load and price of every eighth local day from March to December 2024, issued at 11:00 Brussels the
day before, with what was known then, as in bench_luxembourg.py. In the environment of --python,
where nothing of this project is installed, MSTL of statsforecast (daily and weekly season, the
newest 12 weeks, fitted anew each time) and mlforecast (LightGBM on lags and calendar, all days
before, fitted anew each time). Ours have their default parameters and learn anew every 28 days.

Columns: MAE [MW or EUR/MWh]; ratio to last week's same local hour; CPU time [s]."""

import argparse
import os
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
FILE = (
    Path(os.environ.get("VPP_TEST_DATA", ROOT.parent / "shared" / "data")) / "lu_2024_15min_utc.csv"
)
ZONE, WEEKS = "Europe/Brussels", 12
SOURCES = {"load": "load_mw", "price": "price_da_eur_mwh"}
OURS = {"load": ("hourly_ridge", "lightgbm"), "price": ("hourly_ridge", "combination")}


def read_series(source):
    """Hourly means of a source by time [UTC]."""
    frame = pd.read_csv(FILE, usecols=["time_utc", SOURCES[source]])
    times = pd.DatetimeIndex(pd.to_datetime(frame["time_utc"], utc=True), name="time")
    return pd.Series(frame[SOURCES[source]].to_numpy(), times).resample("h").mean()


def days_of(every):
    """Local midnights of the days that are forecast."""
    return pd.date_range("2024-03-01", "2024-12-31", freq=f"{every}D", tz=ZONE)


def foreign(source, every):
    """The forecasts of the libraries of this environment: a row for each model and hour."""
    import lightgbm
    from mlforecast import MLForecast
    from mlforecast.lag_transforms import RollingMean
    from statsforecast import StatsForecast
    from statsforecast.models import MSTL

    series, rows = read_series(source), []
    for day in days_of(every):
        end = day + pd.DateOffset(days=1)
        issued = (day - pd.DateOffset(days=1)) + pd.Timedelta(hours=11)
        last = day if source == "price" else issued  # the prices of that day are published
        known = series[series.index < last.tz_convert("UTC")]
        times = known.index.tz_localize(None)
        frame = pd.DataFrame({"unique_id": source, "ds": times, "y": known.to_numpy()})
        steps = int((end.tz_convert("UTC") - known.index[-1]) / pd.Timedelta(hours=1)) - 1
        makers = {
            "MSTL (statsforecast)": lambda part, steps: StatsForecast(
                [MSTL(season_length=[24, 168])], "h"
            ).forecast(df=part.tail(24 * 7 * WEEKS), h=steps),
            "LightGBM (mlforecast)": lambda part, steps: (
                MLForecast(
                    lightgbm.LGBMRegressor(verbosity=-1, n_jobs=1, random_state=1),
                    "h",
                    lags=[1, 2, 3, 24, 48, 168, 336],
                    lag_transforms={1: [RollingMean(24)], 24: [RollingMean(168)]},
                    date_features=["hour", "dayofweek"],
                )
                .fit(part)
                .predict(steps)
            ),
        }
        for name, make in makers.items():
            began = time.process_time()
            found = make(frame, steps)
            spent = time.process_time() - began
            told = pd.DataFrame(
                {"model": name, "time": found["ds"], "value": found.iloc[:, -1], "cpu_s": spent}
            )
            rows.append(told[told["time"] >= day.tz_convert("UTC").tz_localize(None)])
    return pd.concat(rows, ignore_index=True)


def ours(source, every):
    """The forecasts of our models, as of `foreign`, and last week's same local hours."""
    from bench_luxembourg import read_sources

    from vpp.forecast.backtest import backtest
    from vpp.forecast.models.catalogue import MODELS

    data, parts = read_sources()[source], []
    issued = [
        (day - pd.DateOffset(days=1) + pd.Timedelta(hours=11)).tz_convert("UTC")
        for day in days_of(every)
    ]
    for name in OURS[source]:
        began = time.process_time()
        frame = backtest(MODELS[name], data, issued)
        spent = (time.process_time() - began) / len(issued)
        told = frame[["valid_time", "value", "naive", "actual"]].rename(
            columns={"valid_time": "time"}
        )
        parts.append(told.assign(model=name, cpu_s=spent))
    return pd.concat(parts, ignore_index=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--python", help="of the environment with the libraries")
    parser.add_argument("--every", type=int, default=8, help="days between two that are forecast")
    parser.add_argument("--inside", choices=SOURCES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not FILE.exists():
        print(f"{FILE} is absent: nothing to measure; VPP_TEST_DATA names its folder")
        return
    if args.inside:
        foreign(args.inside, args.every).to_csv(sys.stdout, index=False)
        return
    sys.path.insert(0, str(ROOT))
    from vpp.runtime.tables import print_rows

    rows = []
    for source in SOURCES:
        own = ours(source, args.every)
        frames = dict(list(own.groupby("model")))
        if args.python:
            command = [args.python, __file__, "--inside", source, "--every", str(args.every)]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = pd.read_csv(StringIO(told), parse_dates=["time"])
            found["time"] = found["time"].dt.tz_localize("UTC")
            first = next(iter(frames.values()))[["time", "actual", "naive"]]
            for name, frame in found.groupby("model"):
                frames[name] = frame.merge(first, on="time", how="inner", validate="1:1")
        for name, frame in frames.items():
            counted = frame.dropna(subset=["actual", "naive"])
            error = (counted["actual"] - counted["value"]).abs().mean()
            naive = (counted["actual"] - counted["naive"]).abs().mean()
            row = {"source": source, "model": name, "hours": len(counted), "mae": error}
            rows.append(row | {"ratio": error / naive, "cpu_s_a_day": frame["cpu_s"].mean()})
    print_rows(rows, "Every eighth day" if args.every == 8 else f"Every {args.every} days")


if __name__ == "__main__":
    main()
