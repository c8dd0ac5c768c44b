"""How well the first days of plants and loads are forecast, and days whose weather feed is silent.

    python benchmarks/bench_synthetic.py

Generates a year of one solar plant, one wind turbine and a load (`generation.py`, seed 1) and takes
20 issue times of it, two days ahead. Of a plant or load with three days of history it shows the
first day's model over last week's hours, which a plant of three days does not have; with twenty
days that model and Prophet, which stands in for older ones; and of models
whose weather feed has been silent for three days their error over that of the same models without
any weather, and over that with a feed that is alive. The whole year is in bench_regret.py."""

import argparse
import dataclasses
import os
import tempfile
from datetime import date
from pathlib import Path

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}  # before numpy loads: one thread a process

import pandas as pd
from bench_luxembourg import ROOT, ZONE

from generation import generate_files
from sources import read_sources
from vpp.forecast.backtest import fit_calibrated
from vpp.forecast.features import seasonal_naive
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.config import load_config
from vpp.runtime.settings import Generation
from vpp.runtime.tables import print_rows
from vpp.site.kinds import KINDS, POWER_KINDS

TIMES = pd.date_range("2025-03-10T10:00Z", periods=20, freq="15D")
HISTORY_DAYS, STEPS = 60, 48
READ = (*POWER_KINDS, "market")


def read_data(folder):
    """The facts that are stored about each source of a data folder."""
    series, forecasts = (
        {},
        pd.read_csv(folder / "weather_forecast.csv", parse_dates=["issue_time", "valid_time"]),
    )
    for kind in READ:
        frame = pd.read_csv(folder / f"{kind}.csv", parse_dates=["time"])
        value = KINDS[kind].value
        series |= {name: rows.set_index("time")[value] for name, rows in frame.groupby("source_id")}
    forecasts = forecasts.drop(columns="source_id")
    sources = [source for source in read_sources(folder / "sources.csv") if source.kind in READ]
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


def young(data, days, model):
    """How good a model is with so many days of history: a row."""
    frames = []
    for now in TIMES:
        start = now - pd.Timedelta(days=days)
        short = dataclasses.replace(data, series=data.series[data.series.index >= start])
        known = known_at(short, now)
        frame = fit_calibrated(MODELS[model], short, known, STEPS).predict(known, STEPS)
        naive = seasonal_naive(known_at(data, now), pd.DatetimeIndex(frame.index))
        frames.append(frame.assign(naive=naive, actual=data.series.reindex(frame.index)))
    frame = pd.concat(frames)
    frame = frame[~frame["dark"]]
    error, naive = ((frame["actual"] - frame[name]).abs().mean() for name in ("value", "naive"))
    inside = frame["actual"].between(frame["q10"], frame["q90"]).mean()
    row = {"source": data.source.source_id, "days": days, "model": model}
    return row | {"ratio": error / naive, "in_band_80": inside}


def silent(data, model, days=3):
    """A model whose weather feed is silent for so many days, and without any: a row."""
    error = {"silent": 0.0, "without": 0.0, "alive": 0.0}
    weather, said = data.weather_forecasts, 0
    for now in TIMES:
        old = weather[weather["issue_time"] <= now - pd.Timedelta(days=days)]
        for name, given in (("silent", old), ("without", None), ("alive", weather)):
            one = dataclasses.replace(data, weather_forecasts=given, weather_stale_after_h=36)
            known = known_at(one, now, HISTORY_DAYS)
            made = fit_calibrated(MODELS[model], one, known, STEPS, HISTORY_DAYS)
            value = made.predict(known, STEPS)["value"]
            error[name] += (data.series.reindex(value.index) - value).abs().mean()
            said += name == "silent" and bool(known.stale)
    row = {"source": data.source.source_id, "model": model}
    row |= {"over_without": error["silent"] / error["without"]}
    return row | {"over_alive": error["silent"] / error["alive"], "said": said}


def hard_days(sources):
    """Print how the first day's model and models without their weather do."""
    powers = [data for data in sources if data.source.kind != "market"]
    young_ones = ((3, "first_day"), (20, "first_day"), (20, "prophet"))
    rows = [young(data, *each) for data in powers for each in young_ones]
    print_rows(rows, "Few days of history, over last week's hours")
    rows = [silent(data, name) for data in powers for name in ("hourly_ridge", "arima")]
    print_rows(rows, f"Weather silent for 3 days, {len(TIMES)} issue times")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    year = Generation(start=date(2025, 1, 1), days=365, seed=args.seed, solar=1, wind=1, loads=1)
    with tempfile.TemporaryDirectory() as folder:
        config = load_config(ROOT / "config.ini", {})
        generate_files(dataclasses.replace(config, generation=year), Path(folder))
        hard_days(read_data(Path(folder)))


if __name__ == "__main__":
    main()
