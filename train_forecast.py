"""Tunes and compares the models of every source, and registers the best as its champion.

    python train_forecast.py
    python train_forecast.py --source load-1 --models arima,random_forest --trials 20
    python train_forecast.py --issue-time 2025-03-01T00:00Z --json

Reads the series from the database as known at the issue time (default: the data end), tunes with
Optuna and compares on origins of the past (`vpp/champions/contest.py` says how), and writes to
MLflow: a run for each source, in it one for each model with parameters, scores, backtest and
picture. The alias `champion` of the registered model `vpp-<source_id>` moves only to a model that
beats the one that has it, or to that one fitted anew. Above `[training] own_models` sources of a
kind the smaller ones share one model, `global`. Several commands at once share the sources. A
source that cannot be trained, or is not current (`[forecast] stale_after_h`), leaves the others be,
and the exit code is 1. A run that was interrupted goes on where it was: the study lies in the
database, or in `state_dir` with the embedded one.

Power in kW, prices in EUR/MWh; `mae_ratio_naive` is the MAE over that of last week's same local
hour."""

import argparse
from collections.abc import Sequence

from vpp.champions.origins import SelectionError
from vpp.champions.training import train
from vpp.forecast.models.catalogue import MODELS
from vpp.runtime import terminal
from vpp.runtime.settings import Config
from vpp.runtime.tables import json_text, print_rows

__all__ = ["train"]

SHOWN = (
    "source_id",
    "model",
    "champion",
    "mae",
    "mae_ratio_naive",
    "pinball",
    "coverage_80",
    "captured_share",
    "trials",
    "seconds",
    "note",
)


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this script."""
    parser = terminal.new_parser(__doc__)
    parser.add_argument(
        "--issue-time",
        metavar="T",
        type=terminal.utc_time,
        help="use nothing known later (default: the data end)",
    )
    parser.add_argument("--source", metavar="ID", help="only this source")
    parser.add_argument(
        "--models",
        metavar="A,B",
        type=lambda text: text.split(","),
        help=f"instead of [training] models; of {', '.join(MODELS)}",
    )
    parser.add_argument("--trials", metavar="N", type=int, help="Optuna trials for each model")
    parser.add_argument(
        "--timeout", metavar="S", type=float, help="seconds of tuning for each source; 0: no limit"
    )
    parser.add_argument("--jobs", metavar="N", type=int, help="sources trained at the same time")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    """Train, print the leaderboard, and complain of sources without a champion."""
    rows = train(
        config, args.issue_time, args.source, args.models, args.trials, args.timeout, args.jobs
    )
    if args.json:
        print(json_text(rows))
    else:
        print_rows(
            [{key: row[key] for key in SHOWN} for row in rows],
            "Selection origins (mae, pinball in kW or EUR/MWh)",
        )
    trained = {row["source_id"] for row in rows if row["champion"]}
    failed = [
        f"{row['source_id']}: {row['note']}" for row in rows if row["source_id"] not in trained
    ]
    if failed:
        raise SelectionError(
            f"{'; '.join(failed)}; the other sources ({len(trained)}) are trained; mend the "
            "cause, then run with --source"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
