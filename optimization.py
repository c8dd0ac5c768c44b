"""The plan: when the batteries of the site charge and discharge over the next hours, and what that is worth.

Reads the forecasts of every source for the issue time (and makes them first where there are none), the published prices and
the last battery states; writes the schedule with its run and the planned states, or, for `solve`, a result file. Prints the
plan and its cost beside no battery, a rule, and perfect foresight where the actual values are known.

    python optimization.py                                                  # plan from the data end
    python optimization.py value                                            # the newest plan at actual values
    python optimization.py backtest --days 30                               # a rolling horizon over the past
    python optimization.py pareto                                           # cost, CO2 and battery cycles against each other
    python optimization.py solve --input problem.json --output result.json  # a problem without a database

Powers are means over [time, time + step) [kW]; SOC is at the end of that interval. Money is positive where it is paid.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

import schedule_backtest
import schedule_pareto
import terminal
from config import Config
from schedule_dispatch import carry_out
from schedule_problem import Problem, Result
from schedule_problem_file import read_problem, result_json
from schedule_site import (
    actual_frame,
    alternatives,
    bent_in_words,
    bent_limits,
    captured_share,
    carried_out,
    forecast_frame,
    peak_so_far,
    run_row,
    schedule_frames,
    site_problem,
    starting_batteries,
    terminal_price,
    with_terminal_value,
)
from schedule_solver import InfeasibleScheduleError, solve

logger = logging.getLogger("optimization")


# --- plan and value ---------------------------------------------------------------------------------------------------------


def solve_or_raise(config: Config, problem: Problem) -> Result:
    result = solve(problem, config.optimization.solver)
    if result.schedule is None:
        raise InfeasibleScheduleError(f"the plan from {terminal.shown(problem.start)} is infeasible: {result.cause}")
    for bend in result.violations:
        logger.warning("%s cannot be kept in interval %d: exceeded by %.1f %s", bend.field, bend.interval, bend.amount, bend.unit)
    return result


def plan_problem(conn, config: Config, issue_time: pd.Timestamp | None) -> tuple[pd.Timestamp, Problem, pd.DatetimeIndex]:
    """What `plan` solves: issue time, problem and its intervals; forecasts that are missing are made first."""
    import db

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
    batteries = starting_batteries(conn, config, issue_time)
    problem = site_problem(config, issue_time, frame, step, batteries, peak_so_far(conn, config, issue_time))
    return issue_time, with_terminal_value(problem), frame.index


def plan(config: Config, issue_time: pd.Timestamp | None = None) -> dict:
    """Plan the next `[optimization] horizon_h` hours, and store schedule, run and planned states.

    Parameters
    ----------
    config : the site, its batteries, its grid and its tariff.
    issue_time : from when on (UTC); default the data end. Nothing known later is used.

    Returns
    -------
    The row of `schedule_runs`, and `bent_limits` of each way. Its costs are those at forecast values, energy left at the end valued at
    one price; no penalty of a limit that bends is in them.

    Raises
    ------
    VppError : no data, no forecast, or no schedule keeps to physics.
    """
    import db

    if not config.batteries:
        logger.warning("%s has no [battery:NAME] section: planned without a battery", config.path)
    with db.session(config) as conn:
        issue_time, problem, index = plan_problem(conn, config, issue_time)
        result = solve_or_raise(config, problem)
        run = run_row(config, "plan", issue_time, problem, result)
        db.upsert_batteries(conn, config.batteries)
        db.save_schedule(conn, run, *schedule_frames(problem, result, index))
    logger.info("%s: %d intervals in %.2f s, %s", result.status, problem.intervals, result.certificate.seconds, result.certificate.kind)
    return run | {"bent_limits": bent_limits(alternatives(problem) | {"plan": (problem, result.schedule)})}


def value_plan(config: Config, run_id: str | None = None) -> dict:
    """What a stored plan costs at the actual load, renewables and prices, beside its alternatives.

    The batteries do what was planned as far as `Battery.step` and the limits of the grid connection let them; curtailment is decided
    at actual prices and the grid takes the rest. The rule charges on surplus and discharges on deficit. Perfect foresight is the
    optimum for the actual values. All four cost energy, peak, CO2 and wear, less the value of the energy added to the batteries at the
    plan's terminal price. Perfect foresight costs least of what the batteries can do without bending more limits; no battery may
    cost less still where self-discharge loses what the batteries began with. Stores perfect foresight as a run of kind `perfect`
    and the plan as it was carried out as one of kind `actual`.

    Parameters
    ----------
    run_id : the plan; default the newest.

    Returns
    -------
    run_id, issue_time, no_battery, rule, plan, perfect_foresight [EUR], captured_share [fraction], and bent_limits of each way.

    Raises
    ------
    VppError : there is no plan, or actual values of its intervals are missing.
    """
    import db

    with db.session(config) as conn:
        if run_id is not None:
            db.check_run(conn, run_id)
        stored = db.read_schedule(conn, run_id)
        if stored is None:
            raise db.DataGapError("no plan in the database; run python optimization.py")
        run, schedule, states = stored
        index, step = schedule.index, int((schedule.index[1] - schedule.index[0]).total_seconds()) // 60 if len(schedule) > 1 else 60
        actual = actual_frame(conn, config, index, step)
        missing = int(actual.isna().any(axis=1).sum())
        if missing:
            raise db.DataGapError(
                f"actual values of {missing} of the plan's {len(index)} intervals from {terminal.shown(index[0])} are not known yet;"
                " plan an earlier time with --issue-time to value it"
            )
        batteries = starting_batteries(conn, config, run["issue_time"], set(states["battery_id"]))
        peak = peak_so_far(conn, config, run["issue_time"])
        forecast = schedule.assign(price_eur_per_mwh=schedule["import_price_eur_per_mwh"] - config.grid.import_fee_eur_per_mwh)
        price = terminal_price(site_problem(config, index[0], forecast, step, batteries))
        problem = with_terminal_value(site_problem(config, index[0], actual, step, batteries, peak), price)
        powers = [states[states["battery_id"] == battery.battery_id] for battery in batteries]
        wanted = np.array([(state["charge_kw"] - state["discharge_kw"]).to_numpy() for state in powers]).reshape(len(batteries), len(index))
        done = carry_out(problem, lambda t, _: wanted[:, t])
        perfect = solve_or_raise(config, problem)
        row = run_row(config, "perfect", run["issue_time"], problem, perfect)
        db.save_schedule(conn, row, *schedule_frames(problem, perfect, index))
        result = carried_out(problem, done)
        actual = run_row(config, "actual", run["issue_time"], problem, result)
        db.save_schedule(conn, actual, *schedule_frames(problem, result, index))
    costs = {
        "no_battery": row["cost_no_battery_eur"],
        "rule": row["cost_rule_eur"],
        "plan": actual["cost_eur"],
        "perfect_foresight": row["cost_eur"],
    }
    share = captured_share(costs["no_battery"], costs["plan"], costs["perfect_foresight"])
    bent = bent_limits(alternatives(problem) | {"plan": (problem, done), "perfect_foresight": (problem, perfect.schedule)})
    return {"run_id": run["run_id"], "issue_time": run["issue_time"], **costs, "captured_share": share, "bent_limits": bent}


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
    parser.add_argument("--issue-time", type=terminal.utc_time, metavar="TIME", help="plan from this time on (default: the data end)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands (default: plan)")
    past = commands.add_parser("backtest", help="rolling horizon over the past, with stored forecasts")
    past.add_argument("--days", type=terminal.whole, required=True, metavar="N", help="the last N days of the data")
    often = past.add_mutually_exclusive_group()
    often.add_argument("--every-h", type=terminal.whole, default=1, metavar="H", help="hours carried out of each plan (default 1)")
    often.add_argument("--issue-local", type=terminal.local_time, metavar="HH:MM", help="plan whole local days at this time the day before")
    past.add_argument("--horizon-h", type=terminal.whole, default=36, metavar="H", help="hours planned ahead (default: 36)")
    past.add_argument("--step-min", type=terminal.whole, metavar="M", help="step of the plans (default: the finest of the sources)")
    past.add_argument("--without-day", type=terminal.local_day, metavar="DATE", help="also the shares without this local day")
    aims = commands.add_parser("pareto", help="the front of cost, CO2 and battery cycles, as table, CSV and picture")
    aims.add_argument("--input", type=Path, metavar="FILE", help="problem file (default: what would be planned)")
    aims.add_argument("--points", type=terminal.whole, default=5, metavar="N", help="caps tried for each of CO2 and cycles (default 5)")
    aims.add_argument("--output", type=Path, metavar="DIR", help="folder for pareto.csv and pareto.png (default: state_dir)")
    one = commands.add_parser("solve", help="solve a problem file, without a database")
    one.add_argument("--input", type=Path, required=True, metavar="FILE", help="problem, as problem.schema.json describes it")
    one.add_argument("--output", type=Path, required=True, metavar="FILE", help="result")
    value = commands.add_parser("value", help="what a stored plan costs at actual values")
    value.add_argument("--run-id", metavar="ID", help="plan (default: the newest)")
    return parser


def run_solve(args: argparse.Namespace, config: Config) -> int:
    problem = read_problem(args.input)
    terminal.check_writable(args.output, "--output")
    result = solve(problem, config.optimization.solver)
    text = json.dumps(result_json(problem, result), indent=1, allow_nan=False)
    with terminal.replacing_file(args.output, "--output") as partial:
        partial.write_text(text + "\n", encoding="utf-8")
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
        print(terminal.json_text({"run": run, "value": actual, "schedule": rows}))
        return 0
    terminal.print_rows(rows, f"plan from {terminal.shown(run['issue_time'])}: {run['status']}, {run['certificate']}, run {run['run_id']}")
    print()
    terminal.print_rows(costs, "EUR, energy left at the end valued at one price")
    for when, bent in (("forecast", run["bent_limits"]), ("actual", actual["bent_limits"] if actual else {})):
        if any(bent.values()):
            print(f"at {when} values: {bent_in_words(bent)}")
    if note:
        print(f"\nno value at actual values: {terminal.printable(note)}")
    return 0


def run_value(args: argparse.Namespace, config: Config) -> int:
    value = value_plan(config, args.run_id)
    bent = value["bent_limits"]
    shown = value if args.json else {name: cell for name, cell in value.items() if name != "bent_limits"}
    terminal.print_rows([shown], "EUR at actual values", args.json)
    if any(bent.values()) and not args.json:
        print(bent_in_words(bent))
    return 0


def run_backtest(args: argparse.Namespace, config: Config) -> int:
    rows = schedule_backtest.backtest(config, args.days, args.every_h, args.horizon_h, args.step_min, args.without_day, args.issue_local)
    terminal.print_rows(rows, f"rolling horizon, {args.days} days, {args.horizon_h} h ahead, EUR at actual values", args.json)
    return 0


def run_pareto(args: argparse.Namespace, config: Config) -> int:
    folder = args.output or config.paths.state_dir
    for name in ("pareto.csv", "pareto.png"):
        if args.input:
            terminal.check_not_read(folder / name, "--output", args.input, "--input")
        terminal.check_writable(folder / name, "--output")
    if args.input:
        problem = read_problem(args.input)
    else:
        import db

        with db.session(config) as conn:
            _, problem, _ = plan_problem(conn, config, args.issue_time)
    if not problem.co2_kg_per_mwh.any():
        logger.warning("co2_kg_per_mwh is 0: the front is one of cost and cycles; set it in [optimization] or in the problem file")
    rows = schedule_pareto.front(problem, args.points, config.optimization.solver)
    with terminal.replacing_file(folder / "pareto.csv", "--output") as table:
        with terminal.replacing_file(folder / "pareto.png", "--output") as picture:
            schedule_pareto.plot_front(rows, picture)
        pd.DataFrame(rows).to_csv(table, index=False)
    terminal.print_rows(rows, "better in one aim is worse in another", args.json)
    if not args.json:
        print(f"written: {terminal.shown(folder / 'pareto.csv')}, {terminal.shown(folder / 'pareto.png')}")
    return 0


def run(args: argparse.Namespace, config: Config) -> int:
    commands = {None: run_plan, "backtest": run_backtest, "pareto": run_pareto, "solve": run_solve, "value": run_value}
    return commands[args.command](args, config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
