"""History and covariates as known at an issue time in, forecast out; rolling-origin backtest;
scores.

    python forecasting.py                                                      every source, Prophet, saved with role manual
    python forecasting.py --source load-1 --model arima --no-save --plot load.png
    python forecasting.py backtest --source price-1 --model random_forest --origins 30 --output price.csv
    python forecasting.py backtest --source load-1 --model prophet --from 2025-03-01 --to 2025-03-31 --issue-local 11:00

Reads the database; plans do not read what it saves. The backtest writes a row for each issue and
valid time and prints the scores: one origin a day before the newest data, or, with --from and --to,
one for the local hours (23, 24 or 25) of each day, issued the day before. Nothing known after an
origin touches its forecast; models are refitted as it walks. Power [kW], price [EUR/MWh]."""

import argparse
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd

from vpp.champions.history import check_issue_time, load_source_data, pick_sources
from vpp.forecast.backtest import (
    CALIBRATION_DAYS,
    REFIT_DAYS,
    ForecastError,
    backtest,
    fit_calibrated,
    rolling_calibration,
    walk,
)
from vpp.forecast.known import history_problem, known_at
from vpp.forecast.model import ForecastModel
from vpp.forecast.models.catalogue import MODELS
from vpp.forecast.quantiles import FLAGS
from vpp.forecast.scores import battery_day, price_scores, scores
from vpp.runtime import terminal
from vpp.runtime.config import Config, ConfigError, check_known
from vpp.runtime.files import check_picture, check_writable, replacing_file
from vpp.runtime.tables import print_rows
from vpp.site.sources import Source
from vpp.site.times import DAY, day_ahead_origins
from vpp.storage.connection import session
from vpp.storage.measurements import data_end
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


def plot_forecast(
    frame: pd.DataFrame, history: pd.Series, title: str, unit: str, path: Path
) -> None:
    """A picture.

    Forecast, its bands, the last days of history, and actual values where they are known.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    for low, high, shade in (("q05", "q95", 0.15), ("q10", "q90", 0.2), ("q25", "q75", 0.3)):
        axes.fill_between(
            frame.index,
            frame[low],
            frame[high],
            color="#2a6f97",
            alpha=shade,
            linewidth=0,
            label=f"{low}–{high}",
            step="post",
        )
    axes.step(frame.index, frame["value"], color="#2a6f97", where="post", label="forecast")
    shown = history[
        (history.index >= frame.index[0] - 3 * DAY) & (history.index <= frame.index[-1])
    ]
    axes.step(shown.index, shown, color="#333333", linewidth=1, where="post", label="actual")
    axes.axvline(frame.index[0], color="#999999", linewidth=0.8)
    axes.set(title=title, ylabel=unit)
    axes.legend(ncols=5, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def run_forecast(args: argparse.Namespace, config: Config) -> None:
    """Forecast each source and save it with role manual."""
    if args.plot:
        check_picture(args.plot, "--plot")
    factory = _factory(args, config)
    steps_h = args.horizon_h or config.forecast.horizon_h
    rows, runs = [], []
    with session(config) as conn:
        picked = pick_sources(conn, args.source)
        issue_time = args.issue_time or data_end(conn)
        check_issue_time(issue_time, picked)
        if args.plot and len(picked) > 1:
            raise ConfigError(
                f"--plot {args.plot}: expected one source, named by --source; there are "
                f"{len(picked)}"
            )
        with terminal.progress("forecast", len(picked)) as advance:
            for source in picked:
                data = load_source_data(conn, config, source)
                known = known_at(data, issue_time, config.training.history_days)
                steps, problem, make = (
                    int(steps_h * 60 // source.step_min),
                    history_problem(known),
                    factory,
                )
                if problem:
                    log.warning("%s: %s; seasonal naive stands in", source.source_id, problem)
                    make = MODELS["seasonal_naive"]
                if known.targets.empty:
                    raise ForecastError(
                        f"{source.source_id}: nothing measured before "
                        f"{issue_time:%Y-%m-%dT%H:%MZ}; name a later --issue-time"
                    )
                model = fit_calibrated(make, data, known, steps, config.training.history_days)
                frame = model.predict(known, steps)
                runs.append(
                    (
                        ForecastRun(
                            source.source_id,
                            model.name,
                            None,
                            model.trained_until,
                            issue_time,
                            "manual",
                        ),
                        frame,
                    )
                )
                rows.append(_row(source, model, issue_time, frame))
                advance(1.0)
        if not args.no_save:
            save_forecasts(conn, runs)
    if args.plot:  # of the one source, after its forecast is saved
        title = f"{source.source_id}: {model.name}, {issue_time:%Y-%m-%dT%H:%MZ}"
        with replacing_file(args.plot, "--plot") as partial:
            plot_forecast(frame, data.series, title, _unit(source), partial)
    print_rows(
        rows, f"{'not saved' if args.no_save else 'saved with role manual'}", as_json=args.json
    )


def run_backtest(args: argparse.Namespace, config: Config) -> None:
    """Backtest one model on one source, write its rows and print its scores."""
    if bool(args.first) != bool(args.last) or bool(args.first) == bool(args.origins):
        raise ConfigError("backtest: expected either --origins N, or --from DATE and --to DATE")
    if args.first and args.first > args.last:
        raise ConfigError(f"backtest: --from {args.first} is after --to {args.last}")
    if not args.refit_days > 0:
        raise ConfigError(f"--refit-days {args.refit_days:g}: expected more than 0")
    factory = _factory(args, config)
    if args.output:
        check_writable(args.output, "--output")
    with session(config) as conn:
        [source] = pick_sources(conn, [args.source])
        data = load_source_data(conn, config, source)
        end = args.issue_time if args.first or args.issue_time else data_end(conn)
    if end:
        check_issue_time(end, [source])
    steps_h = args.horizon_h or config.forecast.horizon_h
    if args.first:  # with origins before the first day asked for, whose errors calibrate it
        warm_up = args.first - timedelta(days=CALIBRATION_DAYS)
        everything, steps = day_ahead_origins(warm_up, args.last, args.issue_local, data.zone), None
        origins = everything[CALIBRATION_DAYS:]
    else:
        latest, steps = end - pd.Timedelta(hours=steps_h), int(steps_h * 60 // source.step_min)
        everything = pd.DatetimeIndex(
            [latest - day * DAY for day in reversed(range(args.origins + CALIBRATION_DAYS))]
        )
        origins = everything[-args.origins :]
    problem = history_problem(known_at(data, origins[0], config.training.history_days))
    if problem:
        raise ForecastError(
            f"{source.source_id}: {problem} at the first origin {origins[0]:%Y-%m-%dT%H:%MZ}; "
            "choose later or fewer origins"
        )
    everything = [
        origin
        for origin in everything
        if origin >= origins[0] or history_problem(known_at(data, origin)) is None
    ]
    raw = []
    with terminal.progress("backtest", len(everything)) as advance:
        for rows in walk(
            factory, data, everything, steps, args.refit_days, config.training.history_days
        ):
            raw.append(rows)
            advance(1.0)
    frame = rolling_calibration(pd.concat(raw, ignore_index=True), data)
    frame = frame[frame["issue_time"] >= origins[0]]
    if args.output:
        with replacing_file(args.output, "--output") as partial:
            frame.drop(columns=[*FLAGS, "naive"]).to_csv(
                partial, index=False, date_format="%Y-%m-%dT%H:%M:%SZ"
            )
    result = {"source_id": source.source_id, "model": args.model, "origins": len(origins)} | scores(
        frame, source, data.zone
    )
    print_rows([result], "backtest", as_json=args.json)


def _factory(args: argparse.Namespace, config: Config) -> Callable[[], ForecastModel]:
    check_known("model", args.model, MODELS)
    return lambda: MODELS[args.model](
        horizon_h=args.horizon_h or config.forecast.horizon_h, seed=config.training.seed
    )


def _unit(source: Source) -> str:
    return "EUR/MWh" if source.kind == "market" else "kW"


def _row(
    source: Source, model: ForecastModel, issue_time: pd.Timestamp, frame: pd.DataFrame
) -> dict:
    return {
        "source_id": source.source_id,
        "model": model.name,
        "issue_time": issue_time,
        "rows": len(frame),
        "mean": float(frame["value"].mean()),
        "lowest": float(frame["value"].min()),
        "highest": float(frame["value"].max()),
        "mean q10": float(frame["q10"].mean()),
        "mean q90": float(frame["q90"].mean()),
        "unit": _unit(source),
    }


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument(
        "--source",
        metavar="ID",
        action="append",
        help="a source to forecast; may be repeated (default: all)",
    )
    parser.add_argument("--no-save", action="store_true", help="do not store the forecasts")
    parser.add_argument(
        "--plot", metavar="FILE", type=Path, help="picture of the forecast of one source"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(function=run_forecast)
    commands = parser.add_subparsers(title="commands", metavar="backtest")
    walk = commands.add_parser(
        "backtest", help="forecast past origins with what was known then, and score"
    )
    walk.add_argument("--source", metavar="ID", required=True, help="the source")
    walk.add_argument(
        "--origins",
        metavar="N",
        type=terminal.whole,
        help="so many origins, a day apart, the last a horizon before the data end",
    )
    walk.add_argument(
        "--from",
        dest="first",
        metavar="DATE",
        type=terminal.local_day,
        help="first local day to forecast",
    )
    walk.add_argument(
        "--to",
        dest="last",
        metavar="DATE",
        type=terminal.local_day,
        help="last local day to forecast",
    )
    walk.add_argument(
        "--issue-local",
        metavar="HH:MM",
        type=terminal.local_time,
        default="11:00",
        help="local time of issue the day before (default: 11:00)",
    )
    walk.add_argument(
        "--refit-days",
        metavar="N",
        type=float,
        default=REFIT_DAYS,
        help=f"days between fits (default: {REFIT_DAYS})",
    )
    walk.add_argument("--output", metavar="FILE", type=Path, help="CSV file to write")
    walk.set_defaults(function=run_backtest)
    for command in (parser, walk):
        command.add_argument(
            "--model",
            metavar="NAME",
            default="prophet",
            help=f"one of {', '.join(MODELS)} (default: prophet)",
        )
        command.add_argument(
            "--issue-time",
            metavar="T",
            type=terminal.utc_time,
            help="ISO-8601 with zone (default: data end)",
        )
        command.add_argument(
            "--horizon-h",
            metavar="H",
            type=terminal.whole,
            help="hours to forecast (default: [forecast] horizon_h)",
        )
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    args.function(args, config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
