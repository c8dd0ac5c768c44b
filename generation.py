"""Makes synthetic weather, plants, load and day-ahead price, as CSV files in the data folder.

    python generation.py                                    as config.ini says
    python generation.py --output data --start 2025-01-01 --days 90 --step-min 60 --seed 1
    python generation.py --sites 1 --solar 2 --wind 2 --plot week.html

Writes `solar.csv`, `wind.csv`, `load.csv`, `market.csv`, `weather.csv`, `weather_forecast.csv` and
`sources.csv`, all together or not at all; where there are several sites also `sites.csv`, their
grid connections. Times are UTC and label the START of an interval, values
are means over it; days are UTC days. Power is what a plant delivers or a load takes [kW], never
below zero. Prices run to the end of the local day in which the data end, because they are published
the day before; weather forecasts are issued until the data end. The same seed gives the same bytes,
and a source's series depends on the seed, the period and itself only: adding a plant or a site
changes no other series.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError, FieldError
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows, shown
from vpp.site.sources import Source
from vpp.synthetic.files import generate_files
from vpp.synthetic.fleet import GenerationError, make_fleet
from vpp.synthetic.series import generate, make_place, make_world, market_series, plant_series

__all__ = [
    "GenerationError",
    "Source",
    "generate",
    "generate_files",
    "make_fleet",
    "make_place",
    "make_world",
    "market_series",
    "plant_series",
]


def build_parser() -> argparse.ArgumentParser:
    parser = terminal.new_parser(__doc__)
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="the folder to write to (default: data_dir of the configuration)",
    )
    parser.add_argument("--start", metavar="DATE", help="first day, in UTC, such as 2025-01-01")
    parser.add_argument("--days", type=int, metavar="N")
    parser.add_argument("--step-min", type=int, metavar="MIN", help="5, 15, 30 or 60")
    parser.add_argument("--seed", type=int, metavar="N")
    parser.add_argument("--sites", type=int, metavar="N")
    parser.add_argument("--solar", type=int, metavar="N", help="solar plants at each site")
    parser.add_argument("--wind", type=int, metavar="N", help="wind plants at each site")
    parser.add_argument("--loads", type=int, metavar="N", help="loads at each site")
    about = "batteries at each site, in batteries.csv"
    parser.add_argument("--batteries", type=int, metavar="N", help=about)
    parser.add_argument("--plot", metavar="FILE", help="also draw a week: FILE.html or FILE.png")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def run(args: argparse.Namespace, config: Config) -> None:
    names = ("start", "days", "step_min", "seed", "sites", "solar", "wind", "loads", "batteries")
    changed = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    try:
        if "start" in changed:
            changed["start"] = date.fromisoformat(changed["start"])
        config = dataclasses.replace(
            config, generation=dataclasses.replace(config.generation, **changed)
        )
    except FieldError as error:
        raise ConfigError(
            f"--{error.key.replace('_', '-')} {error.value}: expected {error.expected}"
        ) from None
    except ValueError:
        raise ConfigError(f"--start {args.start}: expected a date such as 2025-01-01") from None
    folder = Path(args.output) if args.output else config.paths.data_dir
    rows = generate_files(config, folder, Path(args.plot) if args.plot else None)
    print_rows(rows, f"Generated into {shown(folder)}", as_json=args.json)


def main(argv: Sequence[str] | None = None) -> int:
    return terminal.run_script(build_parser(), run, argv)


if __name__ == "__main__":
    raise SystemExit(main())
