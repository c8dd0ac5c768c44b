"""The time that a fit and a forecast of each model take, and how much of it is the bare call of
its library; and the time of whole commands.

    python benchmarks/bench_forecast.py
    python benchmarks/bench_forecast.py --kind load --days 365 --models prophet,arima
    python benchmarks/bench_forecast.py --goals --folder kept

The first takes 90 days of a synthetic wind plant, hourly, with weather forecasts. The bare call is
that of the library with the very arrays, timed inside the same run: the rest is the features, the
availability of each of them, and the limits. The least of several repetitions counts. Goal: fit and
forecast together at most 1.3 times their bare calls (the features of a forecast take some 20 ms,
more than a bare forecast of most libraries: by itself that ratio says little).

The last prints the goals of the commands beside their time by the clock, CPU time of their
processes, and memory of all of them: the training of the six sources of a fresh installation with
all default models; of 300 sources with the model `global`, 60 days; their forecasts, new and once
more; and a backtest from 800 hourly issue times, without its fits. With --folder a stage whose
figures are there is not run again."""

import argparse
import contextlib
import functools
import io
import json
import os
import pkgutil
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy loads

import bench_scale
import pandas as pd

import embedded
import generation
from sources import read_sources
from vpp.forecast.backtest import backtest, rolling_calibration
from vpp.forecast.known import SourceData, known_at
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime.tables import print_rows

# the functions of each library that a fit and a forecast call
FIT = {
    "prophet": ["prophet.Prophet.fit"],
    "arima": [
        "statsmodels.tsa.statespace.sarimax.SARIMAX.__init__",
        "statsmodels.tsa.statespace.sarimax.SARIMAX.fit",
    ],
    "nbeats": ["darts.models.NBEATSModel.fit"],
    "random_forest": ["sklearn.ensemble.RandomForestRegressor.fit"],
    "lightgbm": ["lightgbm.train", "lightgbm.Dataset.construct"],
}
PREDICT = {
    "prophet": ["prophet.Prophet.predict"],
    "arima": [
        "statsmodels.tsa.statespace.sarimax.SARIMAX.__init__",
        "statsmodels.tsa.statespace.sarimax.SARIMAX.filter",
        "statsmodels.tsa.statespace.mlemodel.MLEResults.get_forecast",
    ],
    "nbeats": ["darts.models.NBEATSModel.predict"],
    "random_forest": ["vpp.forecast.models.trees.RandomForest._trees"],
    "lightgbm": ["lightgbm.Booster.__init__", "lightgbm.Booster.predict"],
}


@contextmanager
def timed_inside(names: list[str]):
    """Seconds spent in the named functions while the block runs, as a list of one.

    Calls within calls count once.
    """
    spent, depth = [0.0], [0]

    def timed(function):
        @functools.wraps(function)
        def call(*args, **keywords):
            depth[0] += 1
            began = time.perf_counter()
            try:
                return function(*args, **keywords)
            finally:
                depth[0] -= 1
                if not depth[0]:
                    spent[0] += time.perf_counter() - began

        return call

    with ExitStack() as stack:
        for name in names:
            owner, _, attribute = name.rpartition(".")
            owner = pkgutil.resolve_name(owner)
            stack.enter_context(
                mock.patch.object(owner, attribute, timed(getattr(owner, attribute)))
            )
        yield spent


def load(folder: Path, kind: str) -> SourceData:
    """The first source of a kind from generated files."""
    source = next(item for item in read_sources(folder / "sources.csv") if item.kind == kind)
    frame = pd.read_csv(folder / f"{kind}.csv", parse_dates=["time"])
    frame = frame[frame["source_id"] == source.source_id].set_index("time")
    weather = pd.read_csv(
        folder / "weather_forecast.csv", parse_dates=["issue_time", "valid_time"]
    ).drop(columns="source_id")
    return SourceData(source, frame.iloc[:, -1], weather, zone=source.time_zone)


def measure_default(folder: Path) -> dict:
    """The training of a fresh installation: time and memory."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, config = folder / "training.json", folder / "config.ini"
    if kept.exists():
        return json.loads(kept.read_text())
    config.write_text(f"[paths]\ndata_dir = {folder}/data\nstate_dir = {folder}/state\n")
    try:
        embedded.ensure_running(folder / "state", wait_s=60)
        for script in ("generation.py", "communication.py", "train_forecast.py"):
            spent, clock, peak = bench_scale.run(folder, script, ["--config", str(config)])
    finally:
        embedded.stop(folder / "state", delete=True)
    row = {"clock_s": clock, "cpu_s": spent, "peak_mb": peak}
    kept.write_text(json.dumps(row))
    return row


def measure_backtest(data: SourceData, name: str) -> dict:
    """The backtest of a model from 800 hourly issue times, without its fits."""
    last = data.series.index[-1] - pd.Timedelta(hours=48)
    origins = pd.date_range(end=last, periods=800, freq="h")
    began, fits = time.process_time(), [0.0]

    def factory():
        made = MODELS[name]()
        fit = made.fit

        def timed(known):
            start = time.process_time()
            fit(known)
            fits[0] += time.process_time() - start
            return made

        made.fit = timed
        return made

    frame = backtest(factory, data, origins, 48)
    walked = time.process_time() - began - fits[0]
    rolling_calibration(frame, data)
    return {"cpu_s": time.process_time() - began - fits[0], "walk_s": walked, "fits_s": fits[0]}


def goals(folder: Path, data: SourceData, models: list[str]) -> list[dict]:
    """A row for each command with a goal."""
    rows = [{"what": "6 sources, default training", "goal": "100 s"} | measure_default(folder)]
    many = bench_scale.measure(300, 60, folder / "300", "forecast again")
    told = {"train": "300 s, 1000 MB", "forecast": "15 s", "forecast again": "15 s"}
    for row in many:
        if row["stage"] in told:
            found = {key: row[key] for key in ("clock_s", "cpu_s", "peak_mb")}
            rows.append({"what": f"300 sources, {row['stage']}", "goal": told[row["stage"]]})
            rows[-1] |= found
    for name in models:
        found = measure_backtest(data, name)
        rows.append({"what": f"backtest of 800 issues, {name}", "goal": "4 s"} | found)
    return rows


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--kind", default="wind", choices=("solar", "wind", "load", "market"))
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--models", default=",".join(FIT))
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--goals", action="store_true", help="time whole commands")
    parser.add_argument("--folder", type=Path, help="where their figures are kept")
    return parser


def main(argv=None) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    for name in args.models.split(","):
        if name not in FIT:
            parser.error(f"--models: {name} is unknown; expected some of {', '.join(FIT)}")
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(io.StringIO()):
            generation.main(
                ["--output", folder, "--days", str(args.days), "--solar", "1", "--wind", "1"]
            )
        data = load(Path(folder), args.kind)
    if args.goals:
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            del os.environ[name]  # the commands run as they do for anybody
        with tempfile.TemporaryDirectory() as folder:
            print_rows(goals(args.folder or Path(folder), data, ["seasonal_naive", "hourly_ridge"]))
        return 0
    now = data.series.index[-1] + data.step - pd.Timedelta(days=2)
    rows = []
    for name in args.models.split(","):
        seconds = {"fit": [], "forecast": []}
        for _ in range(args.repeat + 1):
            with timed_inside(FIT[name]) as bare:
                began = time.perf_counter()
                known = known_at(data, now)
                model = MODELS[name]().fit(known)
                seconds["fit"].append((time.perf_counter() - began, bare[0]))
            with timed_inside(PREDICT[name]) as bare:
                began = time.perf_counter()
                model.predict(known_at(data, now), 48)
                seconds["forecast"].append((time.perf_counter() - began, bare[0]))
        row = {"model": name}
        for what, measured in seconds.items():
            whole, bare = min(measured[1:])  # the first one imports
            row |= {
                f"{what} [ms]": 1000 * whole,
                f"bare {what} [ms]": 1000 * bare,
                f"{what} ratio": whole / bare,
            }
        whole, bare = (
            sum(min(measured[1:])[part] for measured in seconds.values()) for part in (0, 1)
        )
        rows.append(row | {"ratio of both": whole / bare})
    print_rows(
        rows, f"{data.source.source_id}: {args.days} days, 48 hours ahead, best of {args.repeat}"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
