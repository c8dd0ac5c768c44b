"""Runs all stages in order: generate, stream, train, forecast, optimise, value, report; and prints
their results.

Plans at issue time = data end − 48 h: training, forecasts and plan see nothing known later, and the
plan is then valued on the actuals that were held back. Reads and writes what the stages read and
write; `--data DIR` takes the CSV files of that folder instead of generating some. `operate` goes on
from the state that such a run leaves: it ingests, forecasts and plans on the clock until SIGTERM or
Ctrl-C (vpp/operation). `--watch N` is the same, with a plan every N minutes.

    python pipeline.py --json summary.json
    python pipeline.py operate
    python pipeline.py operate --clock data --from 2025-03-01T00:00Z --speed 3600
"""

import argparse
import dataclasses
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

import communication
from vpp.champions.forecasts import forecast_all
from vpp.champions.training import train
from vpp.operation.operate import run_operation
from vpp.planning.portfolio import SiteFaultError, plan_sites
from vpp.planning.site_configs import check_prices
from vpp.planning.told import value_planned
from vpp.report.page import OUTPUT, write_report
from vpp.report.sites import write_planned
from vpp.runtime.errors import ConfigError
from vpp.runtime.files import check_not_read, check_writable, replacing_file
from vpp.runtime.memory import one_heap
from vpp.runtime.settings import Config
from vpp.runtime.tables import json_text, print_rows, shown
from vpp.runtime.terminal import new_parser, run_script, utc_time
from vpp.site.sources import SOURCES_FILE, SourceError
from vpp.storage.connection import DataGapError
from vpp.storage.freshness import check_current, data_end_now
from vpp.stream.data_set import check_stored, refuse_rest
from vpp.synthetic.files import generate_files

log = logging.getLogger("pipeline")

__all__ = ["HELD_BACK_H", "check_stored", "run_stages", "watch"]

DAY_MIN, SPEED_MAX = 24 * 60, 100_000
HELD_BACK_H = 48  # of the data end: the plan covers them, and is valued on them
WAYS = {"no_battery": "no battery", "rule": "simple rule", "plan": "plan on forecasts"}
WAYS |= {"perfect_foresight": "perfect foresight"}


@contextmanager
def stage(stages: list[dict], name: str) -> Iterator[None]:
    """Log the stage and append its name and seconds to `stages` when it ends."""
    log.info("stage %d: %s", len(stages) + 1, name)
    start = time.monotonic()
    yield
    stages.append({"name": name, "seconds": round(time.monotonic() - start, 2)})


def run_stages(config: Config, generate: bool) -> dict:
    """Run every stage.

    Parameters
    ----------
    config : the configuration.
    generate : make synthetic data first, instead of taking the CSV files of the data folder.

    Returns
    -------
    The summary, as `--json` writes it: rows by topic, champions, cost_eur, stages.

    Raises
    ------
    VppError : a stage cannot do its work; it names the cause and the command that mends it."""
    stages: list[dict] = []
    # The plan covers exactly the hours that were held back, whatever horizon is configured, so that
    # each of them has an actual value. The horizon is stored with the plan: `optimization.py value`
    # and the report take it from there.
    config = dataclasses.replace(
        config, optimization=dataclasses.replace(config.optimization, horizon_h=HELD_BACK_H)
    )
    if generate:
        with stage(stages, "generate"):
            generate_files(config, config.paths.data_dir)
    with stage(stages, "stream"):
        refuse_rest(config)
        rows = communication.stream(config, everything=True)
        check_stored(config, rows)
        check_prices(config)
    issue_time = data_end_now(config) - pd.Timedelta(hours=HELD_BACK_H)
    with stage(stages, "train"):
        leaderboard = train(config, issue_time=issue_time)
    with stage(stages, "forecast"):
        forecast_all(config, issue_time=issue_time)
    with stage(stages, "optimise"):
        planned = plan_sites(config, issue_time=issue_time)
    with stage(stages, "value"):
        # where a source was silent the report is made all the same
        valued, not_valued = value_planned(config, planned)
    with stage(stages, "report"):
        page = write_planned(config, planned)
    counts = {"produced": "produced", "stored": "in_database", "dlq": "dead_lettered"}
    champion = ("source_id", "model", "mae", "mae_ratio_naive")
    money = (*WAYS, "captured_share")
    return {
        "issue_time": shown(issue_time),
        "rows": {row["topic"]: {key: row[name] for key, name in counts.items()} for row in rows},
        "champions": [
            {key: row[key] for key in champion} for row in leaderboard if row["champion"]
        ],
        "cost_eur": {key: valued.get(key) for key in money},
        "not_valued": not_valued,
        "without_plan": planned.faults,
        "stages": stages,
        "report": os.path.relpath(page),
    }


def watch(config: Config, every_min: float) -> int:
    """`operate` with a plan every so many minutes [min]; returns the exit code."""
    operation = dataclasses.replace(config.operation, plan_every_min=round(every_min))
    config = dataclasses.replace(config, operation=operation)
    return run_operation(config, False, None, 1.0, lambda: write_report(config))


def print_summary(summary: dict, currency: str) -> None:
    """Print rows by topic, champions, money and times as tables."""
    print_rows([{"topic": topic, **counts} for topic, counts in summary["rows"].items()], "\nRows")
    about = f"mae in kW or {currency}/MWh; mae_ratio_naive: over that of last week's same hour"
    print_rows(summary["champions"], f"\nChampions ({about})")
    money = summary["cost_eur"]
    if summary["not_valued"]:
        print(f"\nthe plan is not valued: {summary['not_valued']}")
    else:
        print_money(money, summary["issue_time"], currency)
    print_rows(summary["stages"], "\nStages")
    seconds = sum(entry["seconds"] for entry in summary["stages"])
    print(f"total {seconds:.0f} s; report: {summary['report']}")


def print_money(money: dict, issue_time: str, currency: str) -> None:
    """Print the cost of each way of running the site."""
    label, free = currency.lower(), money["no_battery"]
    print_rows(
        [
            {"run": run, f"cost_{label}": money[key], f"saved_{label}": free - money[key]}
            for key, run in WAYS.items()
        ],
        f"\nCost of {HELD_BACK_H} h from {issue_time}, at actual load, renewables and prices",
    )
    share = money["captured_share"]
    share = "none to save" if share is None else f"{share:.1%}"
    print(f"captured share of what perfect foresight saves: {share}")


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(__doc__)
    about = "take the CSV files of this folder instead of generating"
    parser.add_argument("--data", metavar="DIR", type=Path, help=about)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the summary there too")
    about = "operate, with a plan every N minutes"
    parser.add_argument("--watch", metavar="N", type=float, help=about)
    parser.read_by = {"--json": (), "--watch": ()}
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    about = "ingest, forecast and plan on the clock until SIGTERM or Ctrl-C"
    live = commands.add_parser("operate", help=about)
    about = "the clock on the wall, or one that runs through the data folder (default: wall)"
    live.add_argument("--clock", choices=("wall", "data"), default="wall", help=about)
    about = "where a clock on data begins (default: the data end less 48 h)"
    live.add_argument("--from", dest="begin", type=utc_time, metavar="TIME", help=about)
    about = "a clock on data runs X times as fast as the wall's (default: 1)"
    live.add_argument("--speed", type=float, metavar="X", help=about)
    return parser


def run(args: argparse.Namespace, config: Config) -> int | None:
    if args.data:
        config = with_data(config, args.data)
    check_writable(OUTPUT)
    if args.json:
        for path in args.data.glob("*") if args.data else ():
            check_not_read(args.json, "--json", path, "--data")
        check_writable(args.json, "--json")
    if args.watch is not None or args.command == "operate":
        return run_operate(args, config)
    summary = run_stages(config, generate=not args.data)
    print_summary(summary, config.tariff.currency)
    if args.json:
        with replacing_file(args.json, "--json") as partial:
            partial.write_text(json_text(summary) + "\n", encoding="utf-8")
    check_current(config)
    SiteFaultError.raise_of(summary["without_plan"])
    if summary["not_valued"]:
        raise DataGapError(f"the plan is not valued: {summary['not_valued']}")
    return None


def run_operate(args: argparse.Namespace, config: Config) -> int:
    """Check the options of `operate` and of `--watch`, and operate."""
    one_heap()
    if args.watch is not None:
        if not 1 <= args.watch <= DAY_MIN or args.json:
            expected = f"expected minutes, 1 to {DAY_MIN}, and no --json, which is of a single run"
            raise ConfigError(f"--watch {args.watch:g}: {expected}")
        return watch(config, args.watch)
    on_data = getattr(args, "clock", "wall") == "data"
    begin, speed = getattr(args, "begin", None), getattr(args, "speed", None)
    for flag, value in (("--from", begin), ("--speed", speed)):
        if value is not None and not on_data:
            raise ConfigError(f"{flag}: is of a clock on data; add --clock data, or leave it out")
    if speed is not None and not 0 < speed <= SPEED_MAX:
        raise ConfigError(f"--speed {speed:g}: expected more than 0, and at most {SPEED_MAX:,}")
    from vpp.devices.bridge import serving
    from vpp.devices.collecting import collecting

    now = () if on_data else ("mqtt", "modbus")  # readings are of the clock on the wall
    with serving(config), collecting(config, now):
        return run_operation(config, on_data, begin, speed or 1.0, lambda: write_report(config))


def with_data(config: Config, folder: Path) -> Config:
    """The configuration with another data folder, which must hold the CSV files."""
    if not os.path.isfile(folder / SOURCES_FILE):
        raise SourceError(
            f"{folder}: holds no {SOURCES_FILE}; make the folder with python sources.py import or"
            " generation.py"
        )
    return dataclasses.replace(config, paths=dataclasses.replace(config.paths, data_dir=folder))


def main(argv=None) -> int:
    return run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
