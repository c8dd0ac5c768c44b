"""The plan: when the batteries of the site charge and discharge over the next hours, and what that
is worth.

Reads the forecasts of every source for the issue time (and makes them first where there are none),
the published prices and the last battery states; writes the schedule with its run and the planned
states, or, for `solve`, a result file. Prints the plan and its cost beside no battery, a rule, and
perfect foresight where the actual values are known.

    python optimization.py                                                  # plan from the data end
    python optimization.py value                                            # the newest plan at actual values
    python optimization.py backtest --days 30                               # a rolling horizon over the past
    python optimization.py pareto                                           # cost, CO2 and battery cycles against each other
    python optimization.py solve --input problem.json --output result.json  # a problem without a database

Powers are means over [time, time + step) [kW]; SOC is at the end of that interval. Money is
positive where it is paid."""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vpp.planning.past import roll_past
from vpp.planning.plans import plan, plan_problem
from vpp.planning.valuation import value_plan
from vpp.runtime import tables, terminal
from vpp.runtime.config import Config
from vpp.runtime.files import check_not_read, check_writable, replacing_file
from vpp.runtime.tables import json_text, print_rows
from vpp.runtime.words import printable
from vpp.schedule import pareto
from vpp.schedule.problem_file import read_problem, result_json
from vpp.schedule.solver import InfeasibleScheduleError, solve
from vpp.schedule.value import bent_in_words
from vpp.storage.connection import DataGapError, session
from vpp.storage.results import read_schedule

__all__ = ["plan", "plan_problem", "value_plan"]


logger = logging.getLogger("optimization")


def plan_rows(schedule: pd.DataFrame, states: pd.DataFrame, capacity_kwh: float) -> list[dict]:
    """The plan as rows to print; battery and grid power are positive where they take and import."""
    totals = (
        states.groupby(level=0)[["energy_kwh", "charge_kw", "discharge_kw"]]
        .sum()
        .reindex(schedule.index, fill_value=0.0)
    )
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
    parser.add_argument(
        "--issue-time",
        type=terminal.utc_time,
        metavar="TIME",
        help="plan from this time on (default: the data end)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands (default: plan)"
    )
    past = commands.add_parser(
        "backtest", help="rolling horizon over the past, with stored forecasts"
    )
    past.add_argument(
        "--days",
        type=terminal.whole,
        required=True,
        metavar="N",
        help="the last N days of the data",
    )
    often = past.add_mutually_exclusive_group()
    often.add_argument(
        "--every-h",
        type=terminal.whole,
        default=1,
        metavar="H",
        help="hours carried out of each plan (default 1)",
    )
    often.add_argument(
        "--issue-local",
        type=terminal.local_time,
        metavar="HH:MM",
        help="plan whole local days at this time the day before",
    )
    past.add_argument(
        "--horizon-h",
        type=terminal.whole,
        default=36,
        metavar="H",
        help="hours planned ahead (default: 36)",
    )
    past.add_argument(
        "--step-min",
        type=terminal.whole,
        metavar="M",
        help="step of the plans (default: the finest of the sources)",
    )
    past.add_argument(
        "--without-day",
        type=terminal.local_day,
        metavar="DATE",
        help="also the shares without this local day",
    )
    aims = commands.add_parser(
        "pareto", help="the front of cost, CO2 and battery cycles, as table, CSV and picture"
    )
    aims.add_argument(
        "--input", type=Path, metavar="FILE", help="problem file (default: what would be planned)"
    )
    aims.add_argument(
        "--points",
        type=terminal.whole,
        default=5,
        metavar="N",
        help="caps tried for each of CO2 and cycles (default 5)",
    )
    aims.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for pareto.csv and pareto.png (default: state_dir)",
    )
    one = commands.add_parser("solve", help="solve a problem file, without a database")
    one.add_argument(
        "--input",
        type=Path,
        required=True,
        metavar="FILE",
        help="problem, as problem.schema.json describes it",
    )
    one.add_argument("--output", type=Path, required=True, metavar="FILE", help="result")
    value = commands.add_parser("value", help="what a stored plan costs at actual values")
    value.add_argument("--run-id", metavar="ID", help="plan (default: the newest)")
    return parser


def run_solve(args: argparse.Namespace, config: Config) -> int:
    problem = read_problem(args.input)
    check_writable(args.output, "--output")
    result = solve(problem, config.optimization.solver)
    text = json.dumps(result_json(problem, result), indent=1, allow_nan=False)
    with replacing_file(args.output, "--output") as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    if result.schedule is None:
        raise InfeasibleScheduleError(f"{args.input}: infeasible: {result.cause}")
    row = {
        "status": result.status,
        "certificate": result.certificate.kind,
        "binaries": result.certificate.binaries,
    }
    row |= {
        "gap": result.certificate.gap,
        "cost_eur": result.cost_eur,
        "objective_eur": result.objective_eur,
    }
    print_rows(
        [row | {"violations": len(result.violations), "seconds": result.certificate.seconds}],
        as_json=args.json,
    )
    return 0


def run_plan(args: argparse.Namespace, config: Config) -> int:
    run = plan(config, args.issue_time)
    with session(config) as conn:
        _, schedule, states = read_schedule(conn, run["run_id"])
    rows = plan_rows(schedule, states, sum(battery.capacity_kwh for battery in config.batteries))
    costs = [
        {
            "cost at": "forecast values",
            "no battery": run["cost_no_battery_eur"],
            "rule": run["cost_rule_eur"],
            "plan": run["cost_eur"],
        }
    ]
    try:
        actual = value_plan(config, run["run_id"])
    except DataGapError as error:
        actual, note = None, str(error)
    else:
        note = None
        costs[0] |= {"perfect foresight": None, "captured share": None}
        names = {
            "no battery": "no_battery",
            "rule": "rule",
            "plan": "plan",
            "perfect foresight": "perfect_foresight",
        }
        costs.append(
            {
                "cost at": "actual values",
                **{name: actual[key] for name, key in names.items()},
                "captured share": actual["captured_share"],
            }
        )
    if args.json:
        print(json_text({"run": run, "value": actual, "schedule": rows}))
        return 0
    print_rows(
        rows,
        f"plan from {tables.shown(run['issue_time'])}: {run['status']}, {run['certificate']}, "
        f"run {run['run_id']}",
    )
    print()
    print_rows(costs, "EUR, energy left at the end valued at one price")
    for when, bent in (
        ("forecast", run["bent_limits"]),
        ("actual", actual["bent_limits"] if actual else {}),
    ):
        if any(bent.values()):
            print(f"at {when} values: {bent_in_words(bent)}")
    if note:
        print(f"\nno value at actual values: {printable(note)}")
    return 0


def run_value(args: argparse.Namespace, config: Config) -> int:
    value = value_plan(config, args.run_id)
    bent = value["bent_limits"]
    shown = (
        value
        if args.json
        else {name: cell for name, cell in value.items() if name != "bent_limits"}
    )
    print_rows([shown], "EUR at actual values", args.json)
    if any(bent.values()) and not args.json:
        print(bent_in_words(bent))
    return 0


def run_backtest(args: argparse.Namespace, config: Config) -> int:
    rows = roll_past(
        config,
        args.days,
        args.every_h,
        args.horizon_h,
        args.step_min,
        args.without_day,
        args.issue_local,
    )
    print_rows(
        rows,
        f"rolling horizon, {args.days} days, {args.horizon_h} h ahead, EUR at actual values",
        args.json,
    )
    return 0


def run_pareto(args: argparse.Namespace, config: Config) -> int:
    folder = args.output or config.paths.state_dir
    for name in ("pareto.csv", "pareto.png"):
        if args.input:
            check_not_read(folder / name, "--output", args.input, "--input")
        check_writable(folder / name, "--output")
    if args.input:
        problem = read_problem(args.input)
    else:
        with session(config) as conn:
            _, _, problem = plan_problem(conn, config, args.issue_time)
    if not problem.co2_kg_per_mwh.any():
        logger.warning(
            "co2_kg_per_mwh is 0: the front is one of cost and cycles; set it in [optimization] "
            "or in the problem file"
        )
    rows = pareto.front(problem, args.points, config.optimization.solver)
    with replacing_file(folder / "pareto.csv", "--output") as table:
        with replacing_file(folder / "pareto.png", "--output") as picture:
            pareto.plot_front(rows, picture)
        pd.DataFrame(rows).to_csv(table, index=False)
    print_rows(rows, "better in one aim is worse in another", args.json)
    if not args.json:
        print(
            f"written: {tables.shown(folder / 'pareto.csv')}, {tables.shown(folder / 'pareto.png')}"
        )
    return 0


def run(args: argparse.Namespace, config: Config) -> int:
    commands = {
        None: run_plan,
        "backtest": run_backtest,
        "pareto": run_pareto,
        "solve": run_solve,
        "value": run_value,
    }
    return commands[args.command](args, config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
