"""Forecasts every source with its champion and saves all forecasts in one transaction.

    python forecast_and_save.py
    python forecast_and_save.py --issue-time 2025-03-01T00:00Z --horizon-h 72
    python forecast_and_save.py --backfill-days 30 --every-h 24

Reads the series from the database as known at the issue time (default: the data end) and the
champions from MLflow. A champion fitted to later data than that, or more than four weeks before, is
fitted anew with the same parameters. Where there is none, or it fails, Prophet stands in, for a new
plant or load physics before it, then last week's same local hour: their runs have role `fallback`,
and the table says why. So have those of a champion that does without a forecast of the weather, or
of others, that is too old (`[forecast] weather_stale_after_h`).
A source that is not current (`[forecast] stale_after_h`) has last week's hours, too, and one
without a measurement is left out; the exit code is 1 then, once all forecasts are saved. A price
that is published by then is its own forecast. Running again changes nothing.

`--backfill-days` does it for past issue times, role `backtest`, source by source: one that is done
is not done again. Each has a model fitted only to what was known before it; the champion's model
and parameters themselves are today's choice. Power in kW, prices in EUR/MWh."""

import argparse
from collections.abc import Sequence

from vpp.champions.forecasts import forecast_all
from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows
from vpp.storage.freshness import check_current

__all__ = ["forecast_all"]


def build_parser() -> argparse.ArgumentParser:
    """The arguments of this script."""
    parser = terminal.new_parser(__doc__)
    parser.add_argument(
        "--issue-time",
        metavar="T",
        type=terminal.utc_time,
        help="forecast from here, with nothing known later (default: the data end)",
    )
    parser.add_argument(
        "--horizon-h",
        metavar="H",
        type=terminal.whole,
        help="hours to forecast (default: [forecast] horizon_h)",
    )
    parser.add_argument(
        "--backfill-days",
        metavar="N",
        type=terminal.whole,
        help="forecast from the past issue times of N days instead",
    )
    parser.add_argument(
        "--every-h",
        metavar="H",
        type=terminal.whole,
        help="hours between those (default: 24)",
    )
    parser.add_argument("--source", metavar="ID", help="only this source")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    """Forecast, save, and print a row for each source."""
    if args.every_h and not args.backfill_days:
        raise ConfigError(f"--every-h {args.every_h}: is read with --backfill-days only; add it")
    often = (args.backfill_days or 0, args.every_h or 24)
    rows = forecast_all(config, args.issue_time, args.horizon_h, args.source, *often)
    print_rows(
        rows,
        None if args.json else "Forecasts saved (yesterday_mae in kW or EUR/MWh)",
        as_json=args.json,
    )
    if not args.backfill_days:
        check_current(config, args.issue_time, args.source)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
