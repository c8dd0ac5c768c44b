"""The plan: when the batteries of the site charge and discharge over the next hours, and what that is worth.

Reads the forecasts of every source for the issue time (and makes them first where there are none), the published prices and
the last battery states; writes the schedule with its run and the planned states, or, for `solve`, a result file. Prints the
plan and its cost beside no battery, a rule, and perfect foresight where the actual values are known.

    python optimization.py                                                  # plan from the data end
    python optimization.py value                                            # the newest plan at actual values
    python optimization.py solve --input problem.json --output result.json  # a problem without a database

Powers are means over [time, time + step) [kW]; SOC is at the end of that interval. Money is positive where it is paid.
"""

import argparse
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

import terminal
from battery import carry_out, idle, money_eur, replay, self_consumption
from config import BatteryParameters, Config, ConfigError
from schedule_model import InfeasibleScheduleError, solve
from schedule_problem import GridConnection, Problem, Result, Schedule, ScheduledBattery, read_problem, result_json

logger = logging.getLogger("optimization")

PLANTS = ("solar", "wind")


# --- from forecasts and configuration to a problem ------------------------------------------------------------------------


def on_steps(series: pd.Series, source_step_min: int, index: pd.DatetimeIndex, step_min: int) -> pd.Series:
    """A mean power or price of a source on the steps of a plan: repeated inside longer intervals, averaged over shorter ones."""
    if source_step_min <= step_min:
        return series.resample(f"{step_min}min").mean().reindex(index)
    return series.reindex(index.floor(f"{source_step_min}min")).set_axis(index)


def site_frame(series: Sequence[tuple[str, pd.Series]], index: pd.DatetimeIndex) -> pd.DataFrame:
    """Load, renewables and price of the whole site from the series of its sources `(kind, series)`.

    Returns
    -------
    Columns `load_kw`, `renewables_kw` [kW] and `price_eur_per_mwh`; NaN where a source has no value.
    """
    frame = pd.DataFrame({"load_kw": 0.0, "renewables_kw": 0.0, "price_eur_per_mwh": np.nan}, index=index)
    for kind, values in series:
        if kind == "market":
            frame["price_eur_per_mwh"] = values
        elif kind in PLANTS:
            # what a plant draws at night cannot be curtailed: it is load
            frame["renewables_kw"] += values.clip(lower=0.0)
            frame["load_kw"] -= values.clip(upper=0.0)
        else:
            frame["load_kw"] += values
    return frame


def site_problem(
    config: Config, frame: pd.DataFrame, step_min: int, batteries: Sequence[ScheduledBattery], peak_so_far_kw: float = 0.0
) -> Problem:
    """The scheduling problem of the configured site for `site_frame`'s values."""
    grid, optimization = config.grid, config.optimization
    price = frame["price_eur_per_mwh"].to_numpy()
    return Problem(
        step_min=step_min,
        start=frame.index[0].to_pydatetime(),
        time_zone=config.site.time_zone,
        load_kw=frame["load_kw"].to_numpy(),
        renewables_kw=frame["renewables_kw"].to_numpy(),
        import_price_eur_per_mwh=price + grid.import_fee_eur_per_mwh,
        export_price_eur_per_mwh=price - grid.export_fee_eur_per_mwh,
        co2_kg_per_mwh=np.full(len(frame), optimization.co2_kg_per_mwh),
        co2_price_eur_per_t=optimization.co2_price_eur_per_t,
        batteries=tuple(batteries),
        grid=GridConnection(
            import_limit_kw=grid.import_limit_kw,
            export_limit_kw=grid.export_limit_kw,
            peak_price_eur_per_kw=grid.peak_price_eur_per_kw,
            peak_so_far_kw=peak_so_far_kw,
            peak_interval_min=max(grid.peak_interval_min, step_min),
        ),
        time_limit_s=optimization.time_limit_s,
        gap=optimization.gap,
    )


def terminal_price(problem: Problem) -> float:
    """Median over the intervals of what a MWh more or less at the bus is worth without batteries [EUR/MWh]."""
    surplus = problem.renewables_kw > problem.load_kw
    floor = 0.0 if problem.curtailable else -np.inf
    return float(np.median(np.where(surplus, np.maximum(problem.export_price_eur_per_mwh, floor), problem.import_cost_eur_per_mwh)))


def with_terminal_value(problem: Problem, price_eur_per_mwh: float | None = None) -> Problem:
    """The problem in which each stored MWh left at the end is worth what it brings at this price, less wear, if that is above 0."""
    price = terminal_price(problem) if price_eur_per_mwh is None else price_eur_per_mwh
    valued = (replace(b, terminal_value_eur_per_mwh=max(0.0, b.eta_discharge * (price - b.wear_eur_per_mwh))) for b in problem.batteries)
    return replace(problem, batteries=tuple(valued))


def without_battery(problem: Problem) -> Problem:
    """The same site without batteries; limits bend at the same penalties."""
    return replace(problem, batteries=(), penalties_as=problem.penalties)


def net_cost_eur(problem: Problem, schedule: Schedule) -> float:
    """What a schedule costs: energy, peak, CO2, wear and penalties, less the value of the energy that it adds to the batteries."""
    start = sum(money_eur(b.soc_initial * b.capacity_kwh, b.terminal_value_eur_per_mwh or 0.0) for b in problem.batteries)
    return replay(problem, schedule).objective_eur + start


def captured_share(no_battery_eur: float, plan_eur: float, perfect_eur: float) -> float | None:
    """Share of what perfect foresight saves that a plan saved; None where there was nothing to save."""
    possible = no_battery_eur - perfect_eur
    return (no_battery_eur - plan_eur) / possible if possible > 1e-9 * max(1.0, abs(no_battery_eur)) else None


# --- the database's part --------------------------------------------------------------------------------------------------


def site_sources(conn, config: Config) -> list:
    """All solar, wind and load sources and the market source of the site's price area."""
    import db

    sources = [source for source in db.read_sources(conn) if source.kind in (*PLANTS, "load")]
    markets = db.read_sources(conn, "market")
    if not sources or not markets:
        raise db.DataGapError(
            "the database has no plants and loads, or no market price; run python communication.py (after python generation.py)"
        )
    in_area = [market for market in markets if market.parameters.get("price_area") == config.site.price_area]
    return [*sources, (in_area or markets)[0]]


def plan_step_min(sources: Sequence) -> int:
    """The finest step of any source [min]."""
    return min(source.step_min for source in sources)


def forecast_frame(conn, config: Config, issue_time: pd.Timestamp) -> tuple[pd.DataFrame, int] | None:
    """Forecasts of the site from the issue time on, and their step [min]; None where a source has no forecast for it."""
    import db

    sources = site_sources(conn, config)
    step = plan_step_min(sources)
    found = [(source, db.read_forecasts(conn, source.source_id, issue_time)) for source in sources]
    if any(forecast is None for _, forecast in found):
        return None
    index = pd.date_range(issue_time, periods=config.optimization.horizon_h * 60 // step, freq=f"{step}min", name="time")
    series = [(source.kind, on_steps(forecast[1]["value"], source.step_min, index, step)) for source, forecast in found]
    frame = site_frame(series, index)
    known = frame.notna().all(axis=1).to_numpy()
    if not known[0]:
        raise db.DataGapError(
            f"the forecasts for issue time {terminal.shown(issue_time)} do not begin there; run python forecast_and_save.py"
        )
    return frame[: len(known) if known.all() else int(np.argmin(known))], step


def actual_frame(conn, config: Config, index: pd.DatetimeIndex, step_min: int) -> pd.DataFrame:
    """What the site's load, renewables and price turned out to be; NaN where that is not known."""
    import db

    series = []
    for source in site_sources(conn, config):
        # an interval of a source may begin before the first of the plan
        first = index[0].floor(f"{max(source.step_min, step_min)}min")
        values = db.read_series(conn, source, first, index[-1] + pd.Timedelta(minutes=step_min))
        series.append((source.kind, on_steps(values, source.step_min, index, step_min)))
    return site_frame(series, index)


def starting_batteries(conn, parameters: Sequence[BatteryParameters], at: pd.Timestamp) -> list[ScheduledBattery]:
    """The batteries as their last state that is not planned says, else at `soc_initial`."""
    import db

    batteries = []
    for battery in parameters:
        state = db.read_last_state(conn, battery.battery_id, at)
        soc = battery.soc_initial if state is None else min(max(state[1], 0.0), 1.0)
        batteries.append(ScheduledBattery(**asdict(replace(battery, soc_initial=soc))))
    return batteries


def peak_so_far(conn, config: Config, issue_time: pd.Timestamp) -> float:
    """Highest mean of load less renewables over a peak interval since the local month began [kW]; 0 without a peak price."""
    import db

    if not config.grid.peak_price_eur_per_kw:
        return 0.0
    zone = config.site.time_zone
    month = issue_time.tz_convert(zone).normalize().replace(day=1).tz_convert("UTC")
    sources = [source for source in site_sources(conn, config) if source.kind != "market"]
    powers = db.read_resampled(conn, sources, month, issue_time, config.grid.peak_interval_min)
    signs = [-1.0 if source.kind in PLANTS else 1.0 for source in sources]
    net = powers[[source.source_id for source in sources]].mul(signs).sum(axis=1, skipna=False)
    return max(0.0, float(net.max())) if net.notna().any() else 0.0


def schedule_frames(problem: Problem, result: Result, index: pd.DatetimeIndex) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A schedule as rows of the tables `schedules` and `battery_states`."""
    schedule = result.schedule
    rows = pd.DataFrame(
        {
            "grid_import_kw": schedule.grid_import_kw,
            "grid_export_kw": schedule.grid_export_kw,
            "load_kw": problem.load_kw,
            "renewables_kw": problem.renewables_kw,
            "curtailed_kw": schedule.curtailed_kw,
            "import_price_eur_per_mwh": problem.import_price_eur_per_mwh,
            "export_price_eur_per_mwh": problem.export_price_eur_per_mwh,
            "stored_value_eur_per_mwh": result.stored_value_eur_per_mwh,
            "reason": result.reason,
        },
        index=index,
    )
    columns = ["battery_id", "soc", "energy_kwh", "charge_kw", "discharge_kw"]
    states = [pd.DataFrame(columns=columns, index=index[:0])]
    for b, battery in enumerate(problem.batteries):
        values = (schedule.soc[b], schedule.soc[b] * battery.capacity_kwh, schedule.charge_kw[b], schedule.discharge_kw[b])
        states.append(pd.DataFrame(dict(zip(columns, (battery.battery_id, *values), strict=True)), index=index))
    return rows, pd.concat(states[1:] or states)


def run_row(config: Config, kind: str, issue_time: pd.Timestamp, problem: Problem, result: Result) -> dict:
    """A row of the table `schedule_runs`. The run_id says which site and configuration were planned, for when: planning again replaces."""
    import db

    plan_of = (config.site, config.grid, config.optimization, config.batteries)
    return {
        "run_id": db.run_id(kind, config.site.site_id, issue_time, *plan_of),
        "site_id": config.site.site_id,
        "issue_time": issue_time,
        "kind": kind,
        "status": result.status,
        "certificate": result.certificate.kind,
        "gap": result.certificate.gap,
        "objective_eur": result.objective_eur,
        "cost_eur": net_cost_eur(problem, result.schedule),
        "cost_no_battery_eur": net_cost_eur(without_battery(problem), idle(without_battery(problem))),
        "cost_rule_eur": net_cost_eur(problem, self_consumption(problem)),
        "seconds": result.certificate.seconds,
        "input_hash": db.run_id(problem),
    }


def solve_or_raise(config: Config, problem: Problem) -> Result:
    result = solve(problem, config.optimization.solver)
    if result.schedule is None:
        raise InfeasibleScheduleError(f"the plan from {terminal.shown(problem.start)} is infeasible: {result.cause}")
    for bend in result.violations:
        logger.warning("%s cannot be kept in interval %d: exceeded by %.1f %s", bend.field, bend.interval, bend.amount, bend.unit)
    return result


def plan(config: Config, issue_time: pd.Timestamp | None = None) -> dict:
    """Plan the next `horizon_h` hours and store schedule, run and planned states.

    Parameters
    ----------
    config : the site, its batteries, its grid and its tariff.
    issue_time : from when on (UTC); default the data end. Nothing known later is used.

    Returns
    -------
    The row of `schedule_runs`. Its costs are those at forecast values, energy left at the end valued at one price.

    Raises
    ------
    VppError : no data, no forecast, or no schedule keeps to physics.
    """
    import db

    with db.session(config) as conn:
        issue_time = db.data_end(conn) if issue_time is None else issue_time.tz_convert("UTC")
        found = forecast_frame(conn, config, issue_time)
        if found is None:
            import forecast_and_save

            logger.info("no forecasts for issue time %s: making them first", terminal.shown(issue_time))
            conn.commit()
            forecast_and_save.forecast_all(config, issue_time)
            found = forecast_frame(conn, config, issue_time)
        if found is None:
            raise db.DataGapError(f"a source has no forecast for issue time {terminal.shown(issue_time)}; run python forecast_and_save.py")
        frame, step = found
        batteries = starting_batteries(conn, config.batteries, issue_time)
        problem = with_terminal_value(site_problem(config, frame, step, batteries, peak_so_far(conn, config, issue_time)))
        result = solve_or_raise(config, problem)
        run = run_row(config, "plan", issue_time, problem, result)
        db.upsert_batteries(conn, config.batteries)
        db.save_schedule(conn, run, *schedule_frames(problem, result, frame.index))
    logger.info("%s: %d intervals in %.2f s, %s", result.status, problem.intervals, result.certificate.seconds, result.certificate.kind)
    return run


def value_plan(config: Config, run_id: str | None = None) -> dict:
    """What a stored plan costs at the actual load, renewables and prices, beside its alternatives.

    The batteries do what was planned as far as `Battery.step` lets them; curtailment is decided at actual prices and the grid
    takes the rest. The rule charges on surplus and discharges on deficit. Perfect foresight is the optimum for the actual
    values. All four cost energy, peak, CO2, wear and penalties, less the value of the energy added to the batteries at the
    plan's terminal price, so that none costs less than perfect foresight. Stores perfect foresight as a run of kind `perfect`.

    Parameters
    ----------
    run_id : the plan; default the newest.

    Returns
    -------
    run_id, issue_time, no_battery, rule, plan, perfect_foresight [EUR] and captured_share [fraction].

    Raises
    ------
    VppError : there is no plan, or actual values of its intervals are missing.
    """
    import db

    with db.session(config) as conn:
        stored = db.read_schedule(conn, run_id)
        if stored is None:
            raise db.DataGapError(f"no plan{f' {run_id}' if run_id else ''} in the database; run python optimization.py")
        run, schedule, states = stored
        index, step = schedule.index, int((schedule.index[1] - schedule.index[0]).total_seconds()) // 60 if len(schedule) > 1 else 60
        actual = actual_frame(conn, config, index, step)
        missing = int(actual.isna().any(axis=1).sum())
        if missing:
            raise db.DataGapError(
                f"actual values of {missing} of the plan's {len(index)} intervals from {terminal.shown(index[0])} are not known yet;"
                " plan an earlier time with --issue-time to value it"
            )
        parameters = [battery for battery in config.batteries if battery.battery_id in set(states["battery_id"])]
        batteries = starting_batteries(conn, parameters, run["issue_time"])
        peak = peak_so_far(conn, config, run["issue_time"])
        forecast = schedule.assign(price_eur_per_mwh=schedule["import_price_eur_per_mwh"] - config.grid.import_fee_eur_per_mwh)
        price = terminal_price(site_problem(config, forecast, step, batteries))
        problem = with_terminal_value(site_problem(config, actual, step, batteries, peak), price)
        powers = [states[states["battery_id"] == battery.battery_id] for battery in batteries]
        wanted = np.array([(state["charge_kw"] - state["discharge_kw"]).to_numpy() for state in powers]).reshape(len(batteries), len(index))
        done = carry_out(problem, lambda t, _: wanted[:, t])
        perfect = solve_or_raise(config, problem)
        row = run_row(config, "perfect", run["issue_time"], problem, perfect)
        db.save_schedule(conn, row, *schedule_frames(problem, perfect, index))
    costs = {
        "no_battery": row["cost_no_battery_eur"],
        "rule": row["cost_rule_eur"],
        "plan": net_cost_eur(problem, done),
        "perfect_foresight": row["cost_eur"],
    }
    share = captured_share(costs["no_battery"], costs["plan"], costs["perfect_foresight"])
    return {"run_id": run["run_id"], "issue_time": run["issue_time"], **costs, "captured_share": share}


# --- terminal -------------------------------------------------------------------------------------------------------------


def plan_rows(schedule: pd.DataFrame, states: pd.DataFrame, capacity_kwh: float) -> list[dict]:
    """The plan as rows to print; battery and grid power are positive where they take and import."""
    totals = states.groupby(level=0)[["energy_kwh", "charge_kw", "discharge_kw"]].sum().reindex(schedule.index, fill_value=0.0)
    return [
        {
            "time": row.Index,
            "price": row.import_price_eur_per_mwh,
            "load_kw": row.load_kw,
            "renewables_kw": row.renewables_kw,
            "battery_kw": total.charge_kw - total.discharge_kw,
            "soc": total.energy_kwh / capacity_kwh if capacity_kwh else None,
            "grid_kw": row.grid_import_kw - row.grid_export_kw,
            "reason": row.reason,
        }
        for row, total in zip(schedule.itertuples(), totals.itertuples(), strict=True)
    ]


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--issue-time", type=parse_time, metavar="TIME", help="plan from this time on (default: the data end)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands (default: plan)")
    one = commands.add_parser("solve", help="solve a problem file, without a database")
    one.add_argument("--input", type=Path, required=True, metavar="FILE", help="problem, as problem.schema.json describes it")
    one.add_argument("--output", type=Path, required=True, metavar="FILE", help="result")
    value = commands.add_parser("value", help="what a stored plan costs at actual values")
    value.add_argument("--run-id", metavar="ID", help="plan (default: the newest)")
    return parser


def parse_time(text: str) -> pd.Timestamp:
    """An ISO-8601 time with its zone, in UTC."""
    try:
        time = pd.Timestamp(text)
    except ValueError:
        time = pd.NaT
    if time is pd.NaT or time.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text}: expected an ISO-8601 time with its zone, such as 2025-03-01T00:00:00Z")
    return time.tz_convert("UTC")


def run_solve(args: argparse.Namespace, config: Config) -> int:
    problem = read_problem(args.input)
    result = solve(problem, config.optimization.solver)
    text = json.dumps(result_json(problem, result), indent=1, allow_nan=False)
    try:
        partial = args.output.with_name(args.output.name + ".partial")
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, args.output)
    except OSError as error:
        raise ConfigError(f"--output {args.output}: cannot be written: {error.strerror}") from None
    if result.schedule is None:
        raise InfeasibleScheduleError(f"{args.input}: infeasible: {result.cause}")
    row = {"status": result.status, "certificate": result.certificate.kind, "binaries": result.certificate.binaries}
    row |= {"gap": result.certificate.gap, "cost_eur": result.cost_eur, "objective_eur": result.objective_eur}
    terminal.print_rows([row | {"violations": len(result.violations), "seconds": result.certificate.seconds}], as_json=args.json)
    return 0


def run_plan(args: argparse.Namespace, config: Config) -> int:
    import db

    run = plan(config, args.issue_time)
    with db.session(config) as conn:
        _, schedule, states = db.read_schedule(conn, run["run_id"])
    rows = plan_rows(schedule, states, sum(battery.capacity_kwh for battery in config.batteries))
    costs = [
        {"cost at": "forecast values", "no battery": run["cost_no_battery_eur"], "rule": run["cost_rule_eur"], "plan": run["cost_eur"]}
    ]
    try:
        actual = value_plan(config, run["run_id"])
    except db.DataGapError as error:
        actual, note = None, str(error)
    else:
        note = None
        costs[0] |= {"perfect foresight": None, "captured share": None}
        names = {"no battery": "no_battery", "rule": "rule", "plan": "plan", "perfect foresight": "perfect_foresight"}
        costs.append(
            {"cost at": "actual values", **{name: actual[key] for name, key in names.items()}, "captured share": actual["captured_share"]}
        )
    if args.json:
        print(json.dumps({"run": run, "value": actual, "schedule": rows}, default=str, indent=2))
        return 0
    terminal.print_rows(rows, f"plan from {terminal.shown(run['issue_time'])}: {run['status']}, {run['certificate']}")
    print()
    terminal.print_rows(costs, "EUR, energy left at the end valued at one price")
    if note:
        print(f"\nno value at actual values: {note}")
    return 0


def run_value(args: argparse.Namespace, config: Config) -> int:
    terminal.print_rows([value_plan(config, args.run_id)], "EUR at actual values", args.json)
    return 0


def run(args: argparse.Namespace, config: Config) -> int:
    return {None: run_plan, "solve": run_solve, "value": run_value}[args.command](args, config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
