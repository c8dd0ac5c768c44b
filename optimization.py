"""The plan: when the batteries of the site charge and discharge over the next hours, and its worth.

Reads the forecasts of every source for the issue time (and makes them first where there are none),
the published prices and the last battery states; writes the schedule with its run and the planned
states, or, for `solve`, a result file. Prints the plan and its cost beside no battery, a rule, and
perfect foresight where the actual values are known. The exit code is 1, after all that, where a
source is not current.

    python optimization.py                      # plan from the data end
    python optimization.py value                # the newest plan at actual values
    python optimization.py backtest --days 30   # a rolling horizon over the past
    python optimization.py export --csv         # a stored plan for other programs
    python optimization.py position --csv positions.csv    # what was bought or sold day-ahead
    python optimization.py pareto               # cost, CO2 and battery cycles against each other
    python optimization.py solve --input problem.json --output result.json    # without a database

Powers are means over [time, time + step) [kW]; SOC is at the end of that interval. Money is
positive where it is paid."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from psycopg2.extensions import connection

from forecast_and_save import forecast_all
from vpp.planning import plans
from vpp.planning.exports import export_plan
from vpp.planning.ledger_positions import record_positions
from vpp.planning.past_tasks import Rolls, config_of_one, roll_sites
from vpp.planning.plans import cost_rows, plan_rows
from vpp.planning.portfolio import SiteFaultError, plan_sites
from vpp.planning.settlements import settle_past
from vpp.planning.site_configs import plan_of_site
from vpp.planning.told import print_plans, print_values
from vpp.planning.valuation import value_plan
from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.files import check_not_read, check_writable, replacing_file
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows, shown
from vpp.schedule.basis import PlanBasis
from vpp.schedule.problem import Problem
from vpp.schedule.problem_file import read_problem
from vpp.schedule.solve_file import solve_file
from vpp.site.selection import add_site_option
from vpp.storage.connection import session
from vpp.storage.freshness import check_current

__all__ = ["cost_rows", "plan", "plan_problem", "plan_rows", "value_plan"]

logger = logging.getLogger("optimization")


def plan(config: Config, issue_time: pd.Timestamp | None = None) -> dict:
    """`vpp.planning.plans.plan`; forecasts that are missing are made first."""
    return plans.plan(config, issue_time, forecast_all)


def plan_problem(
    conn: connection, config: Config, issue_time: pd.Timestamp | None
) -> tuple[PlanBasis, pd.DataFrame, Problem]:
    """`vpp.planning.plans.plan_problem`; forecasts that are missing are made first."""
    return plans.plan_problem(conn, config, issue_time, forecast_all)


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    about = "plan from this time on (default: the data end)"
    parser.add_argument("--issue-time", type=terminal.utc_time, metavar="TIME", help=about)
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    add_site_option(parser, dest="site")
    parser.read_by = {"--issue-time": ("pareto",), "--site": ("value", "export", "backtest")}
    title = "commands (default: plan)"
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title=title)
    about = "rolling horizon over the past, with stored forecasts"
    past = commands.add_parser("backtest", help=about)
    add_backtest_options(past)
    about = "the front of cost, CO2 and battery cycles, as table, CSV and picture"
    aims, whole = commands.add_parser("pareto", help=about), terminal.whole
    about = "problem file (default: what would be planned)"
    aims.add_argument("--input", type=Path, metavar="FILE", help=about)
    about = "caps tried for each of CO2 and cycles (default 5)"
    aims.add_argument("--points", type=whole, default=5, metavar="N", help=about)
    about = "folder for pareto.csv and pareto.png (default: state_dir)"
    aims.add_argument("--output", type=Path, metavar="DIR", help=about)
    one = commands.add_parser("solve", help="solve a problem file, without a database")
    about = "problem, as problem.schema.json describes it"
    one.add_argument("--input", type=Path, required=True, metavar="FILE", help=about)
    one.add_argument("--output", type=Path, required=True, metavar="FILE", help="result")
    value = commands.add_parser("value", help="what a stored plan costs at actual values")
    value.add_argument("--run-id", metavar="ID", help="plan (default: the newest)")
    sold = commands.add_parser("position", help="store what was bought or sold day-ahead")
    about = "time and position_kw [kW] by step, below 0 where it was sold"
    sold.add_argument("--csv", type=Path, required=True, metavar="FILE", help=about)
    rows = commands.add_parser("export", help="a stored plan as CSV, or as JSON with --json")
    rows.add_argument("--run-id", metavar="ID", help="plan (default: the newest)")
    rows.add_argument("--csv", action="store_true", help="CSV, which is the default")
    for command in (value, rows, past):
        add_site_option(command, argparse.SUPPRESS, "site")
    rows.add_argument("--output", type=Path, metavar="FILE", help="file (default: stdout)")
    return parser


def add_backtest_options(past: argparse.ArgumentParser) -> None:
    """The options of `backtest`."""
    whole, about = terminal.whole, "the last N days of the data"
    past.add_argument("--days", type=whole, required=True, metavar="N", help=about)
    often, about = past.add_mutually_exclusive_group(), "hours carried out of each plan (default 1)"
    often.add_argument("--every-h", type=whole, metavar="H", help=about)
    about = "plan whole local days at this time the day before"
    often.add_argument("--issue-local", type=terminal.local_time, metavar="HH:MM", help=about)
    about = "hours planned ahead (default: 36)"
    past.add_argument("--horizon-h", type=whole, metavar="H", help=about)
    about = "step of the plans (default: the finest of the sources)"
    past.add_argument("--step-min", type=whole, metavar="M", help=about)
    about = "also the shares without this local day"
    past.add_argument("--without-day", type=terminal.local_day, metavar="DATE", help=about)
    about = "plan over N scenarios, too, and say what they bring"
    past.add_argument("--scenarios", type=whole, metavar="N", help=about)
    about = "one price for all, or a day-ahead position and its deviations (default: one)"
    past.add_argument("--settlement", choices=("one", "two"), default="one", help=about)
    about = "market source of the price of deviations, for --settlement two"
    past.add_argument("--deviation-prices", metavar="ID", help=about)


def check_settlement(args: argparse.Namespace) -> None:
    """Refuse options that the chosen settlement does not read, and those that it lacks."""
    two, given = args.settlement == "two", args.deviation_prices is not None
    if two != given:
        known = "--deviation-prices ID" if two else "--settlement two"
        lacking = "--settlement two" if two else "--deviation-prices"
        raise ConfigError(f"{lacking}: expected {known} beside it")
    rolling = ("every_h", "horizon_h", "issue_local", "without_day", "scenarios")
    unread = [name.replace("_", "-") for name in rolling if getattr(args, name) is not None]
    if two and unread:
        raise ConfigError(f"--{unread[0]}: --settlement two plans whole local days; leave it out")


def run_solve(args: argparse.Namespace, config: Config) -> None:
    """Solve a problem file and write the result file."""
    row = solve_file(args.input, args.output, config.optimization.solver)
    print_rows([row], as_json=args.json)


def run_export(args: argparse.Namespace, config: Config) -> None:
    """Write a stored plan as CSV or JSON, to a file or to stdout."""
    if args.csv and args.json:
        raise ConfigError("--csv: expected one of --csv and --json")
    if args.output:
        check_writable(args.output, "--output")
    with session(config) as conn:
        run_id = args.run_id or plan_of_site(conn, config, args.site)
        text = export_plan(conn, run_id, args.json)
    if args.output is None:
        print(text, end="")
        return
    with replacing_file(args.output, "--output") as partial:
        partial.write_text(text, encoding="utf-8")


def run_plan(args: argparse.Namespace, config: Config) -> None:
    """Plan, value the plan where actual values are known, and print both."""
    planned = plan_sites(config, args.issue_time, forecast_all, args.site)
    print_plans(config, planned, args.json)
    SiteFaultError.raise_of(planned.faults)


def run_position(args: argparse.Namespace, config: Config) -> None:
    """Store what was bought or sold day-ahead."""
    with session(config) as conn:
        print_rows([record_positions(conn, config, args.csv)], as_json=args.json)


def run_value(args: argparse.Namespace, config: Config) -> None:
    """Value stored plans and print what they cost."""
    print_values(config, args.run_id, args.site, args.json)


def run_backtest(args: argparse.Namespace, config: Config) -> None:
    """Roll over the past and print what each way costs."""
    check_settlement(args)
    money = f"{config.tariff.currency} at actual values"
    if args.settlement == "two":
        config = config_of_one(config, args.site)
        rows = settle_past(config, args.days, args.deviation_prices, args.step_min)
        print_rows(rows, f"two settlements, {args.days} local days, {money}", args.json)
        return
    horizon_h = args.horizon_h or 36
    often = (args.days, args.every_h or 1, horizon_h, args.step_min)
    rolls = Rolls(*often, args.issue_local, args.scenarios or 0, args.without_day)
    rows, faults = roll_sites(config, rolls, args.site)
    span = f"{args.days} days, {horizon_h} h ahead"
    print_rows(rows, f"rolling horizon, {span}, {money}", args.json)
    SiteFaultError.raise_of(faults, "no backtest")


def run_pareto(args: argparse.Namespace, config: Config) -> None:
    """Compute the front, and write its table and picture."""
    folder = args.output or config.paths.state_dir
    table, picture = (folder / f"pareto.{ending}" for ending in ("csv", "png"))
    for path in (table, picture):
        if args.input:
            check_not_read(path, "--output", args.input, "--input")
        check_writable(path, "--output")
    if args.input:
        problem = read_problem(args.input)
    else:
        with session(config) as conn:
            _, _, problem = plan_problem(conn, config, args.issue_time)
    if not problem.co2_kg_per_mwh.any():
        what = "co2_kg_per_mwh is 0: the front is one of cost and cycles; set it in [optimization] "
        logger.warning("%sor in the problem file", what)
    from vpp.schedule import pareto

    rows = pareto.front(problem, args.points, config.optimization.solver)
    with replacing_file(table, "--output") as new_table:
        with replacing_file(picture, "--output") as new_picture:
            pareto.plot_front(rows, new_picture)
        pd.DataFrame(rows).to_csv(new_table, index=False)
    print_rows(rows, "better in one aim is worse in another", args.json)
    if not args.json:
        print(f"written: {shown(table)}, {shown(picture)}")


def run(args: argparse.Namespace, config: Config) -> None:
    commands = {
        "position": run_position,
        None: run_plan,
        "backtest": run_backtest,
        "pareto": run_pareto,
        "solve": run_solve,
    }
    (commands | {"value": run_value, "export": run_export})[args.command](args, config)
    if args.command is None:
        check_current(config, args.issue_time)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
