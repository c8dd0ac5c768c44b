"""One page that shows a plan: what it costs and saves, what the batteries do and why, and how good
the forecasts were.

Reads the database (schedules, forecasts, measurements), the MLflow store and the state of the
stream; writes one HTML file that needs no network: plotly and all figures are inside. The page is
made even where a stage has not run yet: its section then names the command to run. Times are shown
in the zone of `[site] time_zone`; a value is drawn over its whole interval, SOC at its end. Costs
are positive when paid.

With `--period` it writes a statement of a day, week, month or year from the ledger instead.

    python report.py --open
"""

import argparse
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from vpp.report.actions import battery_actions, next_day_in_words
from vpp.report.page import OUTPUT, render, write_report
from vpp.report.sites import write_site_report
from vpp.report.statement import OUTPUT as STATEMENT
from vpp.report.statement import PARTS, write_statement
from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.site.selection import add_site_option
from vpp.storage.freshness import check_current

__all__ = ["OUTPUT", "battery_actions", "next_day_in_words", "render", "write_report"]


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument("--run", metavar="ID", help="the run to show (default: the newest plan)")
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help=f"where to write the page (default: {OUTPUT}, or {STATEMENT} with --period)",
    )
    parser.add_argument(
        "--period", choices=tuple(PARTS), help="write a statement of this period instead of a plan"
    )
    parser.add_argument(
        "--date",
        metavar="DAY",
        type=terminal.local_day,
        help="of the period: a local day in it (default: the newest of the ledger)",
    )
    parser.add_argument(
        "--csv",
        metavar="FILE",
        type=Path,
        dest="csv_written",
        help="of the period: write its rows there, too",
    )
    add_site_option(parser, dest="site")
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    for name in ("date", "csv_written") if args.period is None else ("run",):
        if getattr(args, name) is not None:
            other = "only with" if args.period is None else "not with"
            raise ConfigError(f"--{name.partition('_')[0]}: expected {other} --period")
    if args.site is not None:
        if args.run is not None or args.period is not None:
            raise ConfigError("--site: shows the newest plan; leave out --run and --period")
        files = [write_site_report(config, args.site, args.output)]
    elif args.period is None:
        files = [write_report(config, args.run, args.output)]
    else:
        files = write_statement(config, args.period, args.date, args.output, args.csv_written)
    page = files[0]
    print(*map(shown, files), sep="\n")
    if args.open:
        webbrowser.open(page.resolve().as_uri())
    check_current(config)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
