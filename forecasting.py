"""History and covariates as known at an issue time in, forecast out; rolling-origin backtest; scores.

    python forecasting.py                                                      every source, Prophet, saved with role manual
    python forecasting.py --source load-1 --model arima --no-save --plot load.png
    python forecasting.py backtest --source price-1 --model random_forest --origins 30 --output price.csv
    python forecasting.py backtest --source load-1 --model prophet --from 2025-03-01 --to 2025-03-31 --issue-local 11:00

Reads the database; plans do not read what it saves. The backtest writes a row for each issue and valid time and prints the scores:
one origin a day before the newest data, or, with --from and --to, one for the local hours (23, 24 or 25) of each day, issued
the day before. Nothing known after an origin touches its forecast; models are refitted as it walks. Power [kW], price [EUR/MWh].
"""

import argparse
import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

import terminal
from config import Config, ConfigError, VppError, check_known
from features import DAY, Known, SourceData, history_problem, known_at, seasonal_naive
from forecast_base import (
    COLUMNS,
    FLAGS,
    QUANTILE_COLUMNS,
    QUANTILES,
    ForecastModel,
    calibrated,
    calibration_of,
    is_given,
    within_band,
)
from forecast_models import MODELS
from kinds import SERIES_KINDS
from sources import Source

log = logging.getLogger("forecasting")

REFIT_DAYS = 28
CALIBRATION_DAYS = 21  # origins before the issue time whose errors calibrate a single forecast
CALIBRATION_WINDOW_DAYS = 90  # and in a backtest, as far as they are known by then
ADAPTATION = 0.03  # of the level of a quantile, for each share that an origin's actual values were off it
LEVEL_LIMITS = (0.005, 0.995)
BATTERY_MW, BATTERY_MWH, BATTERY_ETA = 1.0, 2.0, 0.95  # the battery that prices forecasts, empty at both ends of a local day


class ForecastError(VppError):
    """A forecast cannot be made as asked."""


# Backtest


def next_local_day(issue_time: pd.Timestamp, zone: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Start and end [UTC] of the local day after the issue time."""
    day = issue_time.tz_convert(zone).tz_localize(None).normalize()
    return (day + DAY).tz_localize(zone).tz_convert("UTC"), (day + 2 * DAY).tz_localize(zone).tz_convert("UTC")


def day_ahead_origins(first: date, last: date, issue_local: str, zone: str) -> pd.DatetimeIndex:
    """Issue times [UTC] for each local day from first to last: the local time `issue_local` [HH:MM] of the day before."""
    local = pd.date_range(pd.Timestamp(first) - DAY, pd.Timestamp(last) - DAY, freq="D") + pd.Timedelta(issue_local + ":00")
    return local.tz_localize(zone, nonexistent="shift_forward", ambiguous=np.ones(len(local), bool)).tz_convert("UTC")


def walk(
    factory: Callable[[], ForecastModel],
    data: SourceData,
    issue_times: Iterable[pd.Timestamp],
    steps: int | None = None,
    refit_days: float = REFIT_DAYS,
    history_days: float | None = None,
) -> Iterator[pd.DataFrame]:
    """Forecast at each issue time, in their order, with what was known then; yields the rows of one origin at a time.

    Parameters
    ----------
    factory : makes a new, unfitted model.
    data : all that is stored of the source.
    issue_times : origins [UTC].
    steps : intervals to forecast from each origin; None for those of the local day after it.
    refit_days : the model is fitted anew when its last fit is so old; infinite for one fit at the first origin.
    history_days : how far back it learns from.

    Yields
    ------
    issue_time, valid_time, value, q05 … q95 as the model gives them, published, dark, actual (NaN
    where not measured), naive (last week's same local hour, or the published price).
    """
    model = None
    for issue_time in sorted(issue_times):
        known = known_at(data, issue_time, history_days)
        if model is None or (issue_time - model.trained_until) / DAY >= refit_days:
            model = factory().fit(known)
        start, count = issue_time, steps
        if steps is None:
            start, end = next_local_day(issue_time, data.zone)
            count = int((end - issue_time) / data.step)
        frame = model.predict(known, count)
        frame = frame[frame.index >= start]
        naive = seasonal_naive(known, frame.index)
        if data.source.kind == "market":
            naive = np.where(frame["published"], frame["value"], naive)
        frame = frame.reset_index().assign(issue_time=issue_time, actual=data.series.reindex(frame.index).to_numpy(), naive=naive)
        yield frame[["issue_time", "valid_time", *COLUMNS, *FLAGS, "actual", "naive"]]


def backtest(
    factory: Callable[[], ForecastModel],
    data: SourceData,
    issue_times: Iterable[pd.Timestamp],
    steps: int | None = None,
    refit_days: float = REFIT_DAYS,
    history_days: float | None = None,
) -> pd.DataFrame:
    """The rows of all origins of `walk` in one frame."""
    frames = list(walk(factory, data, issue_times, steps, refit_days, history_days))
    if not frames:
        raise ForecastError(f"{data.source.source_id}: no origins to backtest; expected at least one")
    return pd.concat(frames, ignore_index=True)


def rolling_calibration(frame: pd.DataFrame, data: SourceData, window_days: float = CALIBRATION_WINDOW_DAYS) -> pd.DataFrame:
    """A backtest with the quantiles of each origin calibrated on the errors of earlier origins that were known by then.

    The levels taken of those errors adapt (Gibbs and Candès 2021): where an origin's actual values fell below a quantile more often
    than they should, that level is lowered by `ADAPTATION` times the excess, which holds coverage where errors grow or shrink.
    An origin without enough errors keeps the model's own quantiles.
    """
    place = data.grid.index.get_indexer(pd.DatetimeIndex(frame["valid_time"]))
    when = np.where(place >= 0, data.available_at.asi8[place], np.iinfo(np.int64).max)
    issued = pd.DatetimeIndex(frame["issue_time"]).as_unit("ns").asi8
    result, actual = frame.copy(), frame["actual"].to_numpy()
    value, values = frame["value"].to_numpy(copy=True), frame[list(QUANTILE_COLUMNS)].to_numpy(copy=True)
    counted = ~is_given(frame) & ~np.isnan(actual)
    levels, pending = np.array(QUANTILES), []
    for issue_time, rows in sorted(frame.groupby("issue_time").indices.items()):
        now = issue_time.value
        settled = [past for past in pending if when[past].max() <= now]
        pending = [past for past in pending if when[past].max() > now]
        for past in settled:
            reality = actual[past, None]
            below = np.where(reality == values[past], QUANTILES, reality < values[past])  # both 0 at dusk, or at capacity, says nothing
            levels = levels + ADAPTATION * (QUANTILES - below.mean(axis=0))
        earlier = (when <= now) & (issued < now) & (issued >= now - int(window_days * DAY.value))
        calibration = calibration_of(frame[earlier], data.source, data.zone, np.clip(np.sort(levels), *LEVEL_LIMITS))
        if calibration is not None:
            times = pd.DatetimeIndex(frame["valid_time"].iloc[rows])
            values[rows] = calibrated(frame.iloc[rows], calibration, issue_time, times, data.source, data.zone)
            value[rows] = within_band(value[rows], values[rows])
        if counted[rows].any():
            pending.append(rows[counted[rows]])
    result[list(QUANTILE_COLUMNS)] = values
    result["value"] = value
    return result


def fit_calibrated(
    factory: Callable[[], ForecastModel], data: SourceData, known: Known, steps: int, history_days: float | None = None
) -> ForecastModel:
    """A model fitted to all that is known, its quantiles calibrated on the days before by one fitted to what came earlier still."""
    days = min(CALIBRATION_DAYS, int((known.issue_time - known.targets.index[0]) / DAY) // 3)
    origins = [known.issue_time - day * DAY for day in range(days, 0, -1)]
    model = factory().fit(known)
    if not origins:
        return model
    past = backtest(factory, data, origins, steps, refit_days=np.inf, history_days=history_days)
    # what the origins' horizons reach beyond the issue time is not known yet
    past["actual"] = past["actual"].where(past["valid_time"].isin(known.targets.index))
    return model.calibrate(past, data.source, data.zone)


# Scores


def pinball_loss(actual: np.ndarray, quantiles: np.ndarray, levels: Sequence[float] = QUANTILES) -> float:
    """Mean over rows and levels of max(level·e, (level−1)·e), e = actual − quantile [unit of the series]."""
    error = np.asarray(actual)[:, None] - np.asarray(quantiles)
    return float(np.maximum(np.asarray(levels) * error, (np.asarray(levels) - 1) * error).mean())


def battery_day(prices: np.ndarray, hours: float) -> np.ndarray:
    """Net power sold in each interval [MW] by the battery that earns most at these prices [EUR/MWh], empty to empty.

    A linear programme; where a price is negative, a binary keeps it from charging and discharging at once, which only pays there.
    """
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import coo_array, eye_array, hstack, tril, vstack

    n, negative = len(prices), np.flatnonzero(prices < 0)
    # columns: charge, discharge [MW], then one binary "charging" for each negative price
    stored = tril(coo_array(np.ones((n, n)))) * hours
    energy = hstack([BATTERY_ETA * stored, -stored / BATTERY_ETA, coo_array((n, len(negative)))])
    constraints = [LinearConstraint(energy.tocsr(), 0, np.append(np.full(n - 1, BATTERY_MWH), 0.0))]
    if len(negative):
        pick = eye_array(n).tocsr()[negative]
        none, chosen = coo_array(pick.shape), BATTERY_MW * eye_array(len(negative))
        exclusive = vstack([hstack([pick, none, -chosen]), hstack([none, pick, chosen])])
        constraints.append(LinearConstraint(exclusive.tocsr(), -np.inf, np.repeat([0.0, BATTERY_MW], len(negative))))
    upper = np.append(np.full(2 * n, BATTERY_MW), np.ones(len(negative)))
    cost = np.concatenate([prices, -prices, np.zeros(len(negative))]) * hours
    solved = milp(cost, constraints=constraints, bounds=(0, upper), integrality=np.append(np.zeros(2 * n), np.ones(len(negative))))
    if solved.x is None:
        raise ForecastError(f"the battery that values prices found no plan: {solved.message}")
    return solved.x[n : 2 * n] - solved.x[:n]


def price_scores(frame: pd.DataFrame, step: pd.Timedelta, zone: str) -> dict[str, float | None]:
    """Share of the perfect-foresight value that a battery earns by the forecast, and Kendall's τ, over complete local days."""
    from scipy.stats import kendalltau

    earned, possible_value, taus, hours = 0.0, 0.0, [], step / pd.Timedelta(hours=1)
    days = frame["valid_time"].dt.tz_convert(zone).dt.tz_localize(None).dt.normalize()
    for (_, day), rows in frame.groupby(["issue_time", days]):
        length = (day + DAY).tz_localize(zone) - day.tz_localize(zone)
        if len(rows) * step < length or rows["actual"].isna().any() or rows["published"].all():
            continue
        actual, forecast = rows["actual"].to_numpy(), rows["value"].to_numpy()
        earned += float(battery_day(forecast, hours) @ actual) * hours
        possible_value += float(battery_day(actual, hours) @ actual) * hours
        taus.append(kendalltau(forecast, actual).statistic)
    taus = [tau for tau in taus if not np.isnan(tau)]
    return {
        "captured_share": earned / possible_value if possible_value > 0 else None,
        "kendall_tau": float(np.mean(taus)) if taus else None,
    }


def scores(frame: pd.DataFrame, source: Source, zone: str | None = None) -> dict[str, float | None]:
    """Scores of a backtest; published prices do not count.

    Returns
    -------
    mae, rmse, pinball, width_80 [kW or EUR/MWh]; nmae (per capacity; None without one), rmae (per MAE of last week's same local
    hour), coverage_80 (of the band from q10 to q90, not at night) [fractions]; rows; for prices also
    captured_share and kendall_tau [-].
    """
    rows = frame[frame["actual"].notna() & ~frame["published"]]
    if rows.empty:
        raise ForecastError(f"{source.source_id}: the backtest has no row with an actual value to score")
    actual = rows["actual"].to_numpy()
    error = actual - rows["value"].to_numpy()
    mae, naive_mae = np.abs(error).mean(), np.abs(actual - rows["naive"].to_numpy()).mean()
    band = rows[~rows["dark"]]
    inside = (band["actual"] >= band["q10"]) & (band["actual"] <= band["q90"])
    result = {
        "mae": float(mae),
        "rmse": float(np.sqrt((error**2).mean())),
        "nmae": float(mae / source.capacity_kw) if source.capacity_kw else None,
        "rmae": float(mae / naive_mae) if naive_mae > 0 else None,
        "pinball": pinball_loss(actual, rows[list(QUANTILE_COLUMNS)].to_numpy()),
        "coverage_80": float(inside.mean()) if len(band) else None,
        "width_80": float((band["q90"] - band["q10"]).mean()) if len(band) else None,
        "rows": len(rows),
    }
    if source.kind == "market":
        result |= price_scores(frame, pd.Timedelta(minutes=source.step_min), zone or source.time_zone)
    return result


# The I/O edge


def load_measured(conn, config: Config, source: Source, start=None, end=None) -> SourceData:
    """What was measured of a source in [start, end), and nothing else of it.

    Curtailed intervals (`parameters["curtailed"]`) are missing: no model learns from them, and no error counts them.

    Raises
    ------
    ForecastError : a curtailed period is not two times with their zone.
    """
    import db

    series = db.read_series(conn, source, start, end)
    try:
        curtailed = [(terminal.utc_time(first), terminal.utc_time(last)) for first, last in source.parameters.get("curtailed", [])]
    except (TypeError, ValueError, argparse.ArgumentTypeError):
        given, example = source.parameters["curtailed"], '[["2025-03-20T09:00Z", "2025-03-20T12:00Z"]]'
        raise ForecastError(f"{source.source_id}: curtailed = {given}: expected [start, end] with their zone, as {example}") from None
    for first, last in curtailed:  # all intervals that it touches
        series[(series.index + pd.Timedelta(minutes=source.step_min) > first) & (series.index < last)] = np.nan
    return SourceData(
        source,
        series,
        zone=source.time_zone,
        holidays_country=config.site.holidays_country,
        measurement_delay_min=config.forecast.measurement_delay_min,
        publication=config.forecast.price_publication,
        publication_zone=config.forecast.price_publication_zone,
        stored_available_at=db.read_available_at(conn, source, start, end) if source.kind == "market" else None,
    )


def load_source_data(conn, config: Config, source: Source) -> SourceData:
    """All that the database holds about a source.

    That is its series, its site's weather forecasts and, for a price, the site's powers.

    Raises
    ------
    ForecastError : a curtailed period is not two times with their zone.
    """
    import db

    data = load_measured(conn, config, source)
    site = [other for other in db.read_sources(conn) if other.site_id == source.site_id]
    weather = next((other for other in site if other.kind == "weather"), None)
    forecasts = db.read_weather_forecasts(conn, weather.source_id) if weather else None
    others = None
    if source.kind == "market":
        powers = [
            db.read_series(conn, other).resample(f"{source.step_min}min").mean()
            for other in site
            if other.kind in ("load", "wind", "solar") and other.step_min <= source.step_min  # a coarser one is known only after its hour
        ]
        others = pd.concat(powers, axis=1) if powers else None
    if source.latitude is None and source.site_id == config.site.site_id:
        source = dataclasses.replace(source, latitude=config.site.latitude, longitude=config.site.longitude)
    weather_forecasts = forecasts if forecasts is not None and len(forecasts) else None
    return dataclasses.replace(data, source=source, weather_forecasts=weather_forecasts, others=others)


def pick_sources(conn, wanted: Sequence[str] | None) -> list[Source]:
    """The sources that are forecast, or those named.

    Raises
    ------
    ConfigError : a name is not registered; the nearest are given.
    ForecastError : nothing is registered.
    """
    import db

    known = [source for source in db.read_sources(conn) if source.kind in SERIES_KINDS]
    if not known:
        raise ForecastError("no source is registered in the database; run python communication.py (after python generation.py)")
    for name in wanted or ():
        check_known("source", name, [source.source_id for source in known])
    return [source for source in known if not wanted or source.source_id in wanted]


def check_issue_time(issue_time: pd.Timestamp, sources: Iterable[Source]) -> None:
    """Refuse an issue time within an interval of a source: its forecast would begin with another interval than its values.

    Raises
    ------
    ConfigError : there is such a source.
    """
    for source in sources:
        if issue_time != issue_time.floor(f"{source.step_min}min"):
            raise ConfigError(
                f"--issue-time {issue_time:%Y-%m-%dT%H:%M:%SZ}: expected the start of an interval of {source.source_id}, "
                f"one in {source.step_min} min"
            )


def plot_forecast(frame: pd.DataFrame, history: pd.Series, title: str, unit: str, path: Path) -> None:
    """A picture: forecast, its bands, the last days of history, and actual values where they are known."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    for low, high, shade in (("q05", "q95", 0.15), ("q10", "q90", 0.2), ("q25", "q75", 0.3)):
        axes.fill_between(
            frame.index, frame[low], frame[high], color="#2a6f97", alpha=shade, linewidth=0, label=f"{low}–{high}", step="post"
        )
    axes.step(frame.index, frame["value"], color="#2a6f97", where="post", label="forecast")
    shown = history[(history.index >= frame.index[0] - 3 * DAY) & (history.index <= frame.index[-1])]
    axes.step(shown.index, shown, color="#333333", linewidth=1, where="post", label="actual")
    axes.axvline(frame.index[0], color="#999999", linewidth=0.8)
    axes.set(title=title, ylabel=unit)
    axes.legend(ncols=5, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def run_forecast(args: argparse.Namespace, config: Config) -> None:
    """Forecast each source and save it with role manual."""
    import db

    if args.plot:
        terminal.check_picture(args.plot, "--plot")
    factory = _factory(args, config)
    steps_h = args.horizon_h or config.forecast.horizon_h
    rows, runs = [], []
    with db.session(config) as conn:
        picked = pick_sources(conn, args.source)
        issue_time = args.issue_time or db.data_end(conn)
        check_issue_time(issue_time, picked)
        if args.plot and len(picked) > 1:
            raise ConfigError(f"--plot {args.plot}: expected one source, named by --source; there are {len(picked)}")
        with terminal.progress("forecast", len(picked)) as advance:
            for source in picked:
                data = load_source_data(conn, config, source)
                known = known_at(data, issue_time, config.training.history_days)
                steps, problem, make = int(steps_h * 60 // source.step_min), history_problem(known), factory
                if problem:
                    log.warning("%s: %s; seasonal naive stands in", source.source_id, problem)
                    make = MODELS["seasonal_naive"]
                if known.targets.empty:
                    raise ForecastError(
                        f"{source.source_id}: nothing measured before {issue_time:%Y-%m-%dT%H:%MZ}; name a later --issue-time"
                    )
                model = fit_calibrated(make, data, known, steps, config.training.history_days)
                frame = model.predict(known, steps)
                runs.append((db.ForecastRun(source.source_id, model.name, None, model.trained_until, issue_time, "manual"), frame))
                rows.append(_row(source, model, issue_time, frame))
                advance(1.0)
        if not args.no_save:
            db.save_forecasts(conn, runs)
    if args.plot:  # of the one source, after its forecast is saved
        title = f"{source.source_id}: {model.name}, {issue_time:%Y-%m-%dT%H:%MZ}"
        with terminal.replacing_file(args.plot, "--plot") as partial:
            plot_forecast(frame, data.series, title, _unit(source), partial)
    terminal.print_rows(rows, f"{'not saved' if args.no_save else 'saved with role manual'}", as_json=args.json)


def run_backtest(args: argparse.Namespace, config: Config) -> None:
    """Backtest one model on one source, write its rows and print its scores."""
    import db

    if bool(args.first) != bool(args.last) or bool(args.first) == bool(args.origins):
        raise ConfigError("backtest: expected either --origins N, or --from DATE and --to DATE")
    if args.first and args.first > args.last:
        raise ConfigError(f"backtest: --from {args.first} is after --to {args.last}")
    if not args.refit_days > 0:
        raise ConfigError(f"--refit-days {args.refit_days:g}: expected more than 0")
    factory = _factory(args, config)
    if args.output:
        terminal.check_writable(args.output, "--output")
    with db.session(config) as conn:
        [source] = pick_sources(conn, [args.source])
        data = load_source_data(conn, config, source)
        end = args.issue_time if args.first or args.issue_time else db.data_end(conn)
    if end:
        check_issue_time(end, [source])
    steps_h = args.horizon_h or config.forecast.horizon_h
    if args.first:  # with origins before the first day asked for, whose errors calibrate it
        warm_up = args.first - timedelta(days=CALIBRATION_DAYS)
        everything, steps = day_ahead_origins(warm_up, args.last, args.issue_local, data.zone), None
        origins = everything[CALIBRATION_DAYS:]
    else:
        latest, steps = end - pd.Timedelta(hours=steps_h), int(steps_h * 60 // source.step_min)
        everything = pd.DatetimeIndex([latest - day * DAY for day in reversed(range(args.origins + CALIBRATION_DAYS))])
        origins = everything[-args.origins :]
    problem = history_problem(known_at(data, origins[0], config.training.history_days))
    if problem:
        raise ForecastError(
            f"{source.source_id}: {problem} at the first origin {origins[0]:%Y-%m-%dT%H:%MZ}; choose later or fewer origins"
        )
    everything = [origin for origin in everything if origin >= origins[0] or history_problem(known_at(data, origin)) is None]
    raw = []
    with terminal.progress("backtest", len(everything)) as advance:
        for rows in walk(factory, data, everything, steps, args.refit_days, config.training.history_days):
            raw.append(rows)
            advance(1.0)
    frame = rolling_calibration(pd.concat(raw, ignore_index=True), data)
    frame = frame[frame["issue_time"] >= origins[0]]
    if args.output:
        with terminal.replacing_file(args.output, "--output") as partial:
            frame.drop(columns=[*FLAGS, "naive"]).to_csv(partial, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    result = {"source_id": source.source_id, "model": args.model, "origins": len(origins)} | scores(frame, source, data.zone)
    terminal.print_rows([result], "backtest", as_json=args.json)


def _factory(args: argparse.Namespace, config: Config) -> Callable[[], ForecastModel]:
    check_known("model", args.model, MODELS)
    return lambda: MODELS[args.model](horizon_h=args.horizon_h or config.forecast.horizon_h, seed=config.training.seed)


def _unit(source: Source) -> str:
    return "EUR/MWh" if source.kind == "market" else "kW"


def _row(source: Source, model: ForecastModel, issue_time: pd.Timestamp, frame: pd.DataFrame) -> dict:
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
    parser.add_argument("--source", metavar="ID", action="append", help="a source to forecast; may be repeated (default: all)")
    parser.add_argument("--no-save", action="store_true", help="do not store the forecasts")
    parser.add_argument("--plot", metavar="FILE", type=Path, help="picture of the forecast of one source")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(function=run_forecast)
    commands = parser.add_subparsers(title="commands", metavar="backtest")
    walk = commands.add_parser("backtest", help="forecast past origins with what was known then, and score")
    walk.add_argument("--source", metavar="ID", required=True, help="the source")
    walk.add_argument(
        "--origins", metavar="N", type=terminal.whole, help="so many origins, a day apart, the last a horizon before the data end"
    )
    walk.add_argument("--from", dest="first", metavar="DATE", type=terminal.local_day, help="first local day to forecast")
    walk.add_argument("--to", dest="last", metavar="DATE", type=terminal.local_day, help="last local day to forecast")
    walk.add_argument(
        "--issue-local",
        metavar="HH:MM",
        type=terminal.local_time,
        default="11:00",
        help="local time of issue the day before (default: 11:00)",
    )
    walk.add_argument("--refit-days", metavar="N", type=float, default=REFIT_DAYS, help=f"days between fits (default: {REFIT_DAYS})")
    walk.add_argument("--output", metavar="FILE", type=Path, help="CSV file to write")
    walk.set_defaults(function=run_backtest)
    for command in (parser, walk):
        command.add_argument("--model", metavar="NAME", default="prophet", help=f"one of {', '.join(MODELS)} (default: prophet)")
        command.add_argument("--issue-time", metavar="T", type=terminal.utc_time, help="ISO-8601 with zone (default: data end)")
        command.add_argument("--horizon-h", metavar="H", type=terminal.whole, help="hours to forecast (default: [forecast] horizon_h)")
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    args.function(args, config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
