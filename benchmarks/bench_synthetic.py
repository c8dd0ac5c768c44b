"""How well plants, load and price of a synthetic year are forecast with weather forecasts, a day
ahead.

    python benchmarks/bench_synthetic.py
    python benchmarks/bench_synthetic.py --hard

The first takes March to December 2025, about 4 minutes on 2 cores.

Generates a year of one solar plant, one wind turbine, a load and the market (`generation.py`, seed
1) and forecasts the local hours of every day at 11:00 the day before, through `forecasting.walk`
and `known_at`: measurements and prices as known by then, the newest weather forecast issued by
then. Columns as in bench_luxembourg.py; PV counts all hours, its band daylight only. `champion` is
in each month the model with the least MAE over all earlier origins, from February on.

The second takes 20 issue times of that year, two days ahead. Of a plant or load with three days of
history it shows the first day's model over last week's hours, which a plant of three days does not
have; and of models whose weather feed has been silent for three days their error over that of the
same models without any weather, and over that with a feed that is alive."""

import argparse
import dataclasses
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # before numpy loads: one thread a process

import pandas as pd
from bench_luxembourg import ROOT, ZONE, local_days, row_of

from forecasting import backtest, day_ahead_origins, rolling_calibration
from generation import generate_files
from sources import read_sources
from vpp.forecast.backtest import fit_calibrated
from vpp.forecast.features import seasonal_naive
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS, FirstDay
from vpp.runtime.config import load_config
from vpp.runtime.settings import Generation
from vpp.runtime.tables import print_rows
from vpp.site.kinds import KINDS

WARM_UP, FIRST, LAST = (
    date(2025, 2, 1),
    date(2025, 3, 1),
    date(2025, 12, 30),
)  # the data end an hour before the last local day does
HARD_TIMES = pd.date_range("2025-03-10T10:00Z", periods=20, freq="15D")
HARD_HISTORY_DAYS, STEPS = 60, 48
MODELS_OF = {
    "solar": ("random_forest", "lightgbm", "hourly_ridge"),
    "wind": ("arima", "prophet", "combination"),
    "load": ("hourly_ridge",),
    "market": ("hourly_ridge", "combination"),
}


def read_data(folder):
    """The facts that are stored about each source of a data folder."""
    series, forecasts = (
        {},
        pd.read_csv(folder / "weather_forecast.csv", parse_dates=["issue_time", "valid_time"]),
    )
    for kind in MODELS_OF:
        frame = pd.read_csv(folder / f"{kind}.csv", parse_dates=["time"])
        value = KINDS[kind].value
        series |= {name: rows.set_index("time")[value] for name, rows in frame.groupby("source_id")}
    forecasts = forecasts.drop(columns="source_id")
    sources = [
        source for source in read_sources(folder / "sources.csv") if source.kind in MODELS_OF
    ]
    powers = pd.DataFrame(
        {
            source.source_id: series[source.source_id]
            for source in sources
            if source.kind != "market"
        }
    )
    others = {"market": powers}
    return [
        SourceData(source, series[source.source_id], forecasts, others.get(source.kind), zone=ZONE)
        for source in sources
    ]


def run_model(task):
    data, model, refit_days = task
    began = time.process_time()
    frame = backtest(
        MODELS[model], data, day_ahead_origins(WARM_UP, LAST, "11:00", ZONE), refit_days=refit_days
    )
    return (
        data.source.source_id,
        model,
        rolling_calibration(frame, data, moves=MODELS[model].value_moves),
        time.process_time() - began,
    )


def young(data, days=3):
    """How good the first day's model is with so many days of history: a row."""
    frames = []
    for now in HARD_TIMES:
        start = now - pd.Timedelta(days=days)
        short = dataclasses.replace(data, series=data.series[data.series.index >= start])
        known = known_at(short, now)
        frame = fit_calibrated(FirstDay, short, known, STEPS).predict(known, STEPS)
        naive = seasonal_naive(known_at(data, now), pd.DatetimeIndex(frame.index))
        frames.append(frame.assign(naive=naive, actual=data.series.reindex(frame.index)))
    frame = pd.concat(frames)
    frame = frame[~frame["dark"]]
    error, naive = ((frame["actual"] - frame[name]).abs().mean() for name in ("value", "naive"))
    inside = frame["actual"].between(frame["q10"], frame["q90"]).mean()
    return {"source": data.source.source_id, "ratio": error / naive, "in_band_80": inside}


def silent(data, model, days=3):
    """A model whose weather feed is silent for so many days, and without any: a row."""
    error = {"silent": 0.0, "without": 0.0, "alive": 0.0}
    weather, said = data.weather_forecasts, 0
    for now in HARD_TIMES:
        old = weather[weather["issue_time"] <= now - pd.Timedelta(days=days)]
        for name, given in (("silent", old), ("without", None), ("alive", weather)):
            one = dataclasses.replace(data, weather_forecasts=given, weather_stale_after_h=36)
            known = known_at(one, now, HARD_HISTORY_DAYS)
            made = fit_calibrated(MODELS[model], one, known, STEPS, HARD_HISTORY_DAYS)
            value = made.predict(known, STEPS)["value"]
            error[name] += (data.series.reindex(value.index) - value).abs().mean()
            said += name == "silent" and bool(known.stale)
    row = {"source": data.source.source_id, "model": model}
    row |= {"over_without": error["silent"] / error["without"]}
    return row | {"over_alive": error["silent"] / error["alive"], "said": said}


def hard_days(sources):
    """Print how the first day's model and models without their weather do."""
    powers = [data for data in sources if data.source.kind != "market"]
    print_rows([young(data) for data in powers], "Three days of history, over last week's hours")
    rows = [silent(data, name) for data in powers for name in ("hourly_ridge", "arima")]
    print_rows(rows, f"Weather silent for 3 days, {len(HARD_TIMES)} issue times")


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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--kinds", nargs="+", choices=list(MODELS_OF), default=list(MODELS_OF))
    parser.add_argument("--hard", action="store_true", help="first days, and a silent feed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--refit-days", type=float, default=28)
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    began = time.perf_counter()
    wanted = Generation(start=date(2025, 1, 1), days=365, seed=args.seed, solar=1, wind=1, loads=1)
    with tempfile.TemporaryDirectory() as folder:
        generate_files(
            dataclasses.replace(load_config(ROOT / "config.ini", {}), generation=wanted),
            Path(folder),
        )
        sources = [data for data in read_data(Path(folder)) if data.source.kind in args.kinds]
    if args.hard:
        hard_days(sources)
        return
    tasks = [
        (data, model, args.refit_days) for data in sources for model in MODELS_OF[data.source.kind]
    ]
    frames, seconds, rows = {data.source.source_id: {} for data in sources}, {}, []
    with ProcessPoolExecutor(args.jobs) as pool:
        for source_id, model, frame, spent in pool.map(run_model, tasks):
            frames[source_id][model], seconds[source_id, model] = frame, spent
    for data in sources:
        found = frames[data.source.source_id]
        best, _ = champion(found, FIRST)
        for model, frame in {"champion": best, **found}.items():
            frame = frame[local_days(frame) >= pd.Timestamp(FIRST)]
            rows.append(
                row_of(
                    data.source.source_id,
                    model,
                    frame,
                    data,
                    seconds.get((data.source.source_id, model)),
                )
            )
    print_rows(
        rows,
        f"A synthetic year (seed {args.seed}), every day from {FIRST} to {LAST}, issued 11:00 "
        "the day before [kW, EUR/MWh]",
    )
    print(f"{time.perf_counter() - began:.0f} s by the clock, {args.jobs} processes")


if __name__ == "__main__":
    main()
