"""History and covariates as known at an issue time in, forecast out; rolling-origin backtest;
scores.

    python forecasting.py
    python forecasting.py --source load-1 --model arima --no-save --plot load.png
    python forecasting.py backtest --source market-1 --model arima --origins 30 --output market.csv
    python forecasting.py backtest --source load-1 --from 2025-03-01 --to 2025-03-31

The first forecasts every source with Prophet and saves the forecasts with role manual; plans do
not read them. The backtest writes a row for each issue and valid time and prints the scores: one
origin a day before the newest data, or, with --from and --to, one for the local hours (23, 24 or
25) of each day, issued the day before. Nothing known after an origin touches its forecast; models
are refitted as it walks. Reads the database. Power [kW], price [EUR/MWh]."""

import argparse
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd

from vpp.champions.history import check_issue_time, load_source_data, pick_sources
from vpp.champions.walking import Walk, walked
from vpp.forecast.backtest import (
    CALIBRATION_DAYS,
    REFIT_DAYS,
    ForecastError,
    backtest,
    fit_calibrated,
    rolling_calibration,
    walk,
    with_history,
)
from vpp.forecast.calibration import in_own_band
from vpp.forecast.known import SourceData, history_problem, known_at
from vpp.forecast.model import ForecastModel, ModelError
from vpp.forecast.models.catalogue import MODELS, check_kind
from vpp.forecast.picture import plot_forecast
from vpp.forecast.quantiles import FLAGS
from vpp.forecast.scores import battery_day, price_scores, scores
from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError, check_known
from vpp.runtime.files import check_picture, check_writable, replacing_file
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows
from vpp.site.kinds import KINDS
from vpp.site.sources import Source
from vpp.site.times import DAY, day_ahead_origins
from vpp.storage.connection import session
from vpp.storage.freshness import data_end
from vpp.storage.results import ForecastRun, save_forecasts

__all__ = [
    "CALIBRATION_DAYS",
    "REFIT_DAYS",
    "ForecastError",
    "backtest",
    "battery_day",
    "check_issue_time",
    "day_ahead_origins",
    "fit_calibrated",
    "load_source_data",
    "pick_sources",
    "price_scores",
    "rolling_calibration",
    "scores",
    "walk",
]

log = logging.getLogger("forecasting")

Factory = Callable[[], ForecastModel]


def run_forecast(args: argparse.Namespace, config: Config) -> None:
    """Forecast each source and save it with role manual."""
    if args.plot:
        check_picture(args.plot, "--plot")
    factory, found, failed = _factory(args, config), [], []
    with session(config) as conn:
        picked = pick_sources(conn, args.source, config.tariff.needs_market)
        issue_time = args.issue_time or data_end(conn, config.forecast.stale_after_h)
        check_issue_time(issue_time, picked)
        if args.plot and len(picked) > 1:
            expected = f"expected one source, named by --source; there are {len(picked)}"
            raise ConfigError(f"--plot {args.plot}: {expected}")
        with terminal.progress("forecast", len(picked)) as advance:
            for source in picked:
                data = load_source_data(conn, config, source)
                steps = args.horizon_h * 60 // source.step_min
                try:
                    check_kind(args.model, source)
                    found.append((data, *_forecast(config, factory, data, issue_time, steps)))
                except (ForecastError, ModelError) as error:  # the others are forecast all the same
                    failed.append(str(error))
                advance(1.0)
        if not args.no_save:
            save_forecasts(conn, [(run, frame) for _, run, frame in found])
    if args.plot and found:  # of the one source, after its forecast is saved
        [(data, run, frame)] = found
        title = f"{data.source.source_id}: {run.model}, {issue_time:%Y-%m-%dT%H:%MZ}"
        with replacing_file(args.plot, "--plot") as partial:
            unit = KINDS[data.source.kind].values[0].unit
            plot_forecast(frame, data.series, title, unit, partial)
    rows = [_row(data.source, run, frame) for data, run, frame in found]
    if found:
        title = "not saved" if args.no_save else "saved with role manual"
        print_rows(rows, title, as_json=args.json)
    if failed:
        raise ForecastError("; ".join(failed))


def _forecast(
    config: Config, factory: Factory, data: SourceData, issue_time: pd.Timestamp, steps: int
) -> tuple[ForecastRun, pd.DataFrame]:
    """The forecast of a source by a model that is fitted for it, and what it does without."""
    source, history_days = data.source, config.training.history_days
    known = known_at(data, issue_time, history_days)
    problem, notes = history_problem(known), []
    if problem and factory().needs_history:
        notes.append(f"{problem}; seasonal naive stands in")
        factory = MODELS["seasonal_naive"]
    elif factory().reads_inputs:
        notes += known.stale.values()
    for note in notes:
        log.warning("%s: %s", source.source_id, note)
    model = fit_calibrated(factory, data, known, steps, history_days)
    run = (source.source_id, model.name, None, model.trained_until, issue_time, "manual")
    return ForecastRun(*run, "; ".join(notes)), in_own_band(model.predict(known, steps))


def run_backtest(args: argparse.Namespace, config: Config) -> None:
    """Backtest one model on one source, write its rows and print its scores."""
    if bool(args.first) != bool(args.last) or bool(args.first) == bool(args.origins):
        raise ConfigError("backtest: expected either --origins N, or --from DATE and --to DATE")
    if args.first and args.first > args.last:
        raise ConfigError(f"backtest: --from {args.first} is after --to {args.last}")
    if not args.refit_days > 0:
        raise ConfigError(f"--refit-days {args.refit_days:g}: expected more than 0")
    check_known("model", args.model, MODELS)
    if args.output:
        check_writable(args.output, "--output")
    with session(config) as conn:
        [source] = pick_sources(conn, [args.source])
        check_kind(args.model, source)
        data = load_source_data(conn, config, source)
        end = args.issue_time
        if not (end or args.first):
            end = data_end(conn, config.forecast.stale_after_h)
    if end:
        check_issue_time(end, [source])
    history_days = config.training.history_days
    everything, steps = _origins(args, config, data, end)
    warm_up, origins = with_history(data, everything, history_days)
    rules = Walk(args.model, args.horizon_h, steps, args.refit_days)
    raw = walked(config, data, [*warm_up, *origins], rules)
    frame = rolling_calibration(raw, data, moves=MODELS[args.model].value_moves)
    frame = frame[frame["issue_time"] >= origins[0]]
    if args.output:
        with replacing_file(args.output, "--output") as partial:
            frame.drop(columns=[*FLAGS, "naive"]).to_csv(
                partial, index=False, date_format="%Y-%m-%dT%H:%M:%SZ"
            )
    result = {"source_id": source.source_id, "model": args.model, "origins": len(origins)}
    print_rows([result | scores(frame, source, data.zone)], "backtest", as_json=args.json)


def _origins(
    args: argparse.Namespace, config: Config, data: SourceData, end: pd.Timestamp | None
) -> tuple[pd.DatetimeIndex, int | None]:
    """The origins asked for, after those whose errors calibrate the first; steps of each."""
    if args.first:
        warm_up = args.first - timedelta(days=CALIBRATION_DAYS)
        return day_ahead_origins(warm_up, args.last, args.issue_local, data.zone), None
    steps_h = args.horizon_h
    latest = end - pd.Timedelta(hours=steps_h)
    days = reversed(range(args.origins + CALIBRATION_DAYS))
    origins = pd.DatetimeIndex([latest - day * DAY for day in days])
    return origins, int(steps_h * 60 // data.source.step_min)


def _factory(args: argparse.Namespace, config: Config) -> Factory:
    check_known("model", args.model, MODELS)
    horizon_h, seed = args.horizon_h, config.training.seed
    return lambda: MODELS[args.model](horizon_h=horizon_h, seed=seed)


def _row(source: Source, run: ForecastRun, frame: pd.DataFrame) -> dict:
    value, row = frame["value"], {"source_id": source.source_id, "model": run.model}
    row |= {"issue_time": run.issue_time, "rows": len(frame)}
    numbers = {"mean": value.mean(), "lowest": value.min(), "highest": value.max()}
    numbers |= {"mean q10": frame["q10"].mean(), "mean q90": frame["q90"].mean()}
    row |= {name: float(number) for name, number in numbers.items()}
    return row | {"unit": KINDS[source.kind].values[0].unit}


def build_parser() -> argparse.ArgumentParser:
    """The command line: the options of a forecast, and the command `backtest`."""
    parser = terminal.new_parser(__doc__)
    add = parser.add_argument
    source = "a source to forecast; may be repeated (default: all)"
    add("--source", metavar="ID", action="append", help=source)
    add("--no-save", action="store_true", help="do not store the forecasts")
    add("--plot", metavar="FILE", type=Path, help="picture of the forecast of one source")
    add("--json", action="store_true", help="print JSON")
    parser.set_defaults(function=run_forecast)
    own = ("--source", "--no-save", "--plot", "--model", "--issue-time", "--horizon-h")
    parser.read_by = dict.fromkeys(own, ())  # the backtest has its own, or none
    commands = parser.add_subparsers(title="commands", metavar="backtest")
    past = commands.add_parser(
        "backtest", help="forecast past origins with what was known then, and score"
    )
    add = past.add_argument
    add("--source", metavar="ID", required=True, help="the source")
    origins = "so many origins, a day apart, the last a horizon before the data end"
    add("--origins", metavar="N", type=terminal.whole, help=origins)
    for flag, name, which in (("--from", "first", "first"), ("--to", "last", "last")):
        day = f"{which} local day to forecast"
        add(flag, dest=name, metavar="DATE", type=terminal.local_day, help=day)
    issue = "local time of issue the day before (default: 11:00)"
    add("--issue-local", metavar="HH:MM", type=terminal.local_time, default="11:00", help=issue)
    refit = f"days between fits (default: {REFIT_DAYS})"
    add("--refit-days", metavar="N", type=float, default=REFIT_DAYS, help=refit)
    add("--output", metavar="FILE", type=Path, help="CSV file to write")
    past.set_defaults(function=run_backtest)
    for add in (parser.add_argument, past.add_argument):
        models = f"one of {', '.join(MODELS)} (default: prophet)"
        add("--model", metavar="NAME", default="prophet", help=models)
        issue = "ISO-8601 with zone (default: data end)"
        add("--issue-time", metavar="T", type=terminal.utc_time, help=issue)
        horizon = "hours to forecast (default: [forecast] horizon_h)"
        add("--horizon-h", metavar="H", type=terminal.whole, help=horizon)
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    args.horizon_h = args.horizon_h or config.forecast.horizon_h
    args.function(args, config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
