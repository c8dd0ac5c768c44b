"""Runs all stages in order: generate, stream, train, forecast, optimise, value, report; and prints
their results.

Plans at issue time = data end − 48 h: training, forecasts and plan see nothing known later, and the
plan is then valued on the actuals that were held back. Reads and writes what the stages read and
write; `--data DIR` takes the CSV files of that folder instead of generating some. `--watch N` goes
on from the state that such a run leaves: every N minutes it streams new rows of the data folder
and, when the data end has moved, forecasts and plans from there.

    python pipeline.py --json summary.json
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
from vpp.planning import plans, valuation
from vpp.report.page import OUTPUT, write_report
from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.files import check_not_read, check_writable, replacing_file
from vpp.runtime.settings import Config
from vpp.runtime.tables import json_text, print_rows, shown
from vpp.runtime.terminal import new_parser, run_script
from vpp.site.sources import SOURCES_FILE, SourceError
from vpp.storage.connection import DataGapError
from vpp.storage.freshness import check_current, data_end_now
from vpp.stream.data_set import check_stored, refuse_rest
from vpp.synthetic.files import generate_files

log = logging.getLogger("pipeline")

__all__ = ["HELD_BACK_H", "check_stored", "run_stages", "watch"]

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
    issue_time = data_end_now(config) - pd.Timedelta(hours=HELD_BACK_H)
    with stage(stages, "train"):
        leaderboard = train(config, issue_time=issue_time)
    with stage(stages, "forecast"):
        forecast_all(config, issue_time=issue_time)
    with stage(stages, "optimise"):
        plan = plans.plan(config, issue_time=issue_time)
    with stage(stages, "value"):
        try:
            valued, not_valued = valuation.value_plan(config, run_id=plan["run_id"]), None
        except DataGapError as error:  # where a source was silent; the report is made all the same
            valued, not_valued = {}, str(error)
    with stage(stages, "report"):
        page = write_report(config, run_id=plan["run_id"])
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
        "stages": stages,
        "report": os.path.relpath(page),
    }


def watch(config: Config, every_min: float) -> None:
    """Repeat ingest, forecast and optimise until interrupted; do nothing where nothing is new.

    Parameters
    ----------
    config : the configuration.
    every_min : time from the start of one round to that of the next [min].

    Raises
    ------
    VppError : the first plan could not be made; later failures are logged, and tried again."""
    streamed, planned = None, None
    while True:
        started = time.monotonic()
        try:
            files = config.paths.data_dir.glob("*.csv")
            changed = max((path.stat().st_mtime_ns for path in files), default=None)
            if changed != streamed:
                communication.stream(config)
                streamed = changed
            issue_time = data_end_now(config)
            if issue_time == planned:
                log.info("nothing new: the data end at %s", shown(issue_time))
            else:
                forecast_all(config, issue_time=issue_time)
                plan = plans.plan(config, issue_time=issue_time)
                planned = issue_time
                write_report(config)
                costs, money = (
                    (plan["cost_eur"], plan["cost_no_battery_eur"]),
                    config.tariff.currency,
                )
                told = "planned from %s: %.2f %s, without battery %.2f %s"
                log.info(told, shown(issue_time), costs[0], money, costs[1], money)
                check_current(config)
        except VppError as error:
            if planned is None:  # it never worked: say why and stop, rather than repeat it
                raise
            log.error("%s; trying again in %g min", error, every_min)
        time.sleep(max(0.0, 60 * every_min - (time.monotonic() - started)))


def print_summary(summary: dict) -> None:
    """Print rows by topic, champions, money and times as tables."""
    print_rows([{"topic": topic, **counts} for topic, counts in summary["rows"].items()], "\nRows")
    about = "mae in kW or EUR/MWh; mae_ratio_naive: over that of last week's same hour"
    print_rows(summary["champions"], f"\nChampions ({about})")
    money = summary["cost_eur"]
    if summary["not_valued"]:
        print(f"\nthe plan is not valued: {summary['not_valued']}")
    else:
        print_money(money, summary["issue_time"])
    print_rows(summary["stages"], "\nStages")
    seconds = sum(entry["seconds"] for entry in summary["stages"])
    print(f"total {seconds:.0f} s; report: {summary['report']}")


def print_money(money: dict, issue_time: str) -> None:
    """Print the cost of each way of running the site."""
    print_rows(
        [
            {"run": run, "cost_eur": money[key], "saved_eur": money["no_battery"] - money[key]}
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
    about = "repeat ingest, forecast and optimise every N minutes on new data"
    parser.add_argument("--watch", metavar="N", type=float, help=about)
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    if args.data:
        config = with_data(config, args.data)
    check_writable(OUTPUT)
    if args.json:
        for path in args.data.glob("*") if args.data else ():
            check_not_read(args.json, "--json", path, "--data")
        check_writable(args.json, "--json")
    if args.watch is not None:
        if not 0 < args.watch < float("inf") or args.json:
            expected = "expected minutes, more than 0, and no --json, which is of a single run"
            raise ConfigError(f"--watch {args.watch:g}: {expected}")
        watch(config, args.watch)
        return
    summary = run_stages(config, generate=not args.data)
    print_summary(summary)
    if args.json:
        with replacing_file(args.json, "--json") as partial:
            partial.write_text(json_text(summary) + "\n", encoding="utf-8")
    check_current(config)
    if summary["not_valued"]:
        raise DataGapError(f"the plan is not valued: {summary['not_valued']}")


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
