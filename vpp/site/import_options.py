"""The options of `sources.py import`, and those in force: said, of a profile, found, or default.

python sources.py import meter.csv --load kwh:kWh:mill --cumulative --tz Europe/Berlin
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vpp.runtime.errors import ConfigError, check_known, one_of
from vpp.runtime.fields import is_time_zone
from vpp.runtime.files import check_not_read
from vpp.runtime.tables import shown
from vpp.site.import_rules import issue_rule
from vpp.site.intervals import STAMPS
from vpp.site.kinds import KINDS, WEATHER
from vpp.site.local_clock import fixed_offset
from vpp.site.merge import Place
from vpp.site.profiles import PROFILES, find_profile
from vpp.site.sources import REJECTS_FILE, SOURCES_FILE, STEPS_MIN

Where = Mapping[str, Sequence[str | tuple[str, ...]]]


@dataclass(frozen=True)
class Asked:
    """All that an import is asked for.

    Parameters
    ----------
    wanted : kind and COLUMN:UNIT[:ID[:CAPACITY_KW]] of each series.
    time_columns : names of the columns of times; nothing: they are found.
    zone : clock of times without an offset.
    where : column -> values of the rows that are read; those of several values are summed.
    stamp : `start`, `middle` or `end`; empty: unsaid.
    decimal : mark before decimals; empty: found.
    missing : texts and numbers that stand for no value; None: the usual ones are found.
    time_format : of strptime; empty: found.
    cumulative : whether energies are readings of a register; None: unsaid.
    step_min : of the series that are made; None: the file's.
    unit_as_said : whether a unit counts that contradicts the file.
    profile : name of the format; empty: found.
    issued : when forecasts were issued, as `--issued` says it; empty: nothing is a forecast.
    why : option -> where its value comes from.
    """

    wanted: tuple[tuple[str, str], ...]
    time_columns: tuple[str, ...] = ()
    zone: str | None = None
    where: Where = field(default_factory=dict)
    stamp: str = ""
    decimal: str = ""
    missing: tuple[str, ...] | None = None
    time_format: str = ""
    cumulative: bool | None = None
    step_min: int | None = None
    unit_as_said: bool = False
    profile: str = ""
    issued: str = ""
    why: Mapping[str, str] = field(default_factory=dict)

    def with_profile(self, names: Sequence[str], label: str = "") -> "Asked":
        """Take over what the named or found profile says and the command line leaves open.

        Parameters
        ----------
        names : columns of the file.
        label : of the profile, where the format of the file itself is one.
        """
        name = self.profile or label or find_profile(names)
        if not name:
            return self
        profile, why = PROFILES[name], dict(self.why)
        told = "said" if self.profile else "found by the names of the columns"
        changes: dict[str, object] = {"profile": name}
        why["profile"] = told
        kinds = {kind for kind, _ in self.wanted}
        where = dict(profile.where.get("", {}))
        if len(kinds) == 1:
            where |= profile.where.get(kinds.pop(), {})
        where = {column: values for column, values in where.items() if column in names}
        for option, ours, theirs in (
            ("zone", self.zone, profile.zone),
            ("stamp", self.stamp, profile.stamp),
            ("decimal", self.decimal, profile.decimal),
            ("time_format", self.time_format, profile.time_format),
            ("where", self.where, where),
            (
                "time_columns",
                self.time_columns,
                tuple(filter(None, profile.time_column.split(","))),
            ),
        ):
            there = option != "time_columns" or set(theirs) <= set(names)
            if not ours and theirs and there:
                changes[option] = theirs
                why[option] = f"profile {name}"
        return replace(self, **changes, why=why)  # type: ignore[arg-type]


def asked_of(args: argparse.Namespace) -> Asked:
    """Read the options of the command line.

    Parameters
    ----------
    args : of the parser that `add_options` made.

    Raises
    ------
    ConfigError : no column is named, or a value is impossible.
    """
    if not args.wanted:
        raise ConfigError(
            "import: no column named; say one or more of --solar, --wind, --load and --price "
            "COLUMN:UNIT[:ID[:CAPACITY_KW]], --weather and --forecast"
        )
    _check_issued(args)
    if args.tz is not None and not is_time_zone(args.tz) and fixed_offset(args.tz) is None:
        raise ConfigError(
            f"--tz {args.tz}: expected an IANA time zone such as Europe/Berlin, or a distance from "
            "UTC such as +01:00"
        )
    if args.profile:
        check_known("--profile", args.profile, PROFILES)
    where: dict[str, list[str]] = {}
    for text in args.where or ():
        column, equals, value = text.partition("=")
        if not equals or not column:
            raise ConfigError(f"--where {text}: expected COLUMN=VALUE")
        where.setdefault(column.strip(), []).append(value.strip())
    said = {
        "time_columns": args.time_column, "zone": args.tz, "where": where, "stamp": args.stamp,
        "decimal": args.decimal, "missing": args.missing, "time_format": args.time_format,
        "step_min": args.step,
    }  # fmt: skip
    return Asked(
        wanted=tuple(args.wanted),
        time_columns=_names(args.time_column),
        zone=args.tz,
        where=where,
        stamp=args.stamp or "",
        decimal=args.decimal or "",
        missing=tuple(args.missing) if args.missing else None,
        time_format=args.time_format or "",
        cumulative=None if args.cumulative is None else args.cumulative == "yes",
        step_min=args.step,
        unit_as_said=args.unit_as_said,
        profile=args.profile or "",
        issued=args.issued or "",
        why={option: "said" for option, value in said.items() if value},
    )


def _check_issued(args: argparse.Namespace) -> None:
    """Refuse a forecast without its issue, and an issue without a forecast."""
    kinds = {kind for kind, _ in args.wanted}
    if "forecast" in kinds and not args.issued:
        raise ConfigError(
            '--forecast: say when it was issued with --issued, such as "D-1 10:00" (local time of '
            "the day before), 36h (so long before), or the name of a column"
        )
    if args.issued and not kinds & {"forecast", "weather"}:
        raise ConfigError(f"--issued {args.issued}: is of --forecast and --weather; none is asked")
    measured = kinds - {"forecast", "weather"}
    if args.issued and issue_rule(args.issued).column and measured:
        raise ConfigError(
            f"--issued {args.issued}: the file has several rows for one time; import "
            f"{', '.join(sorted(measured))} apart"
        )
    for option in ("regressor_of", "delay_min"):
        if getattr(args, option) is not None and "forecast" not in kinds:
            flag = "--" + option.replace("_", "-")
            raise ConfigError(f"{flag}: is of --forecast; none is asked for")
    if args.delay_min is not None and args.delay_min < 0:
        raise ConfigError(f"--delay-min {args.delay_min:g}: expected 0 or more minutes")


def place_of(args: argparse.Namespace) -> Place:
    """Read where the sources are.

    Parameters
    ----------
    args : of the parser that `add_options` made.

    Raises
    ------
    ConfigError : there is no such place.
    """
    for name, bound in (("latitude", 90), ("longitude", 180)):
        value = getattr(args, name)
        if value is not None and not -bound <= value <= bound:
            raise ConfigError(f"--{name} {value:g}: expected -{bound} to {bound} degrees")
    return Place(args.latitude, args.longitude)


def check_not_written(paths: Sequence[Path], folder: Path) -> None:
    """Refuse an import over a file that it reads.

    Parameters
    ----------
    paths : that are read.
    folder : that is written to.

    Raises
    ------
    ConfigError : a file is read and written.
    """
    for path in paths:
        # os.path: a name that is too long is no folder, and is told when it is read
        if os.path.isdir(path) and os.path.exists(folder) and path.samefile(folder):
            raise ConfigError(f"--output {shown(folder)}: is the folder that FILE names")
        for name in (*(kind.file for kind in KINDS.values()), SOURCES_FILE, REJECTS_FILE):
            check_not_read(folder / name, "--output", path, "FILE")


def _names(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Names of columns; several options or one with commas."""
    if not texts:
        return ()
    return (
        tuple(texts)
        if len(texts) > 1
        else tuple(texts[0].split(","))
        if "," in texts[0]
        else (texts[0],)
    )


class Wanted(argparse.Action):
    """Collects --solar, --wind, --load, --price, --weather and --forecast as they come."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Add one."""
        kind = "market" if option_string == "--price" else str(option_string)[2:]
        namespace.wanted = [*(namespace.wanted or []), (kind, values)]


def add_options(command: argparse.ArgumentParser) -> None:
    """Give `import` its arguments.

    Parameters
    ----------
    command : its parser.
    """
    about = "files and folders: text, gz, zip, xlsx, ods, Parquet, NEM12, Green Button XML"
    command.add_argument("file", metavar="FILE", nargs="+", help=about)
    about = "time of the interval's start; DATE,TIME for two columns (default: found)"
    command.add_argument("--time-column", metavar="COLUMN", action="append", help=about)
    about = "the clock of times without an offset, such as Europe/Berlin, UTC or +01:00"
    command.add_argument("--tz", metavar="ZONE", help=about)
    about = "may come several times"
    for option in ("--solar", "--wind", "--load", "--price"):
        form = "COLUMN:UNIT[:ID]" if option == "--price" else "COLUMN:UNIT[:ID[:CAPACITY_KW]]"
        command.add_argument(option, dest="wanted", action=Wanted, metavar=form, help=about)
    _add_forecast_options(command)
    about = "only rows with this value; several are summed"
    command.add_argument("--where", metavar="COLUMN=VALUE", action="append", help=about)
    about = "a stamp is the start (default), middle or end of its interval"
    command.add_argument("--stamp", choices=STAMPS, metavar="start|middle|end", help=about)
    about = "the mark before decimals (default: found)"
    command.add_argument("--decimal", choices=(".", ","), metavar=". or ,", help=about)
    about = "stands for no value, such as 9999; may come several times; none: nothing does"
    command.add_argument("--missing", metavar="VALUE", action="append", help=about)
    about = "such as '%%d/%%m/%%Y %%H:%%M' (default: found)"
    command.add_argument("--time-format", metavar="FORMAT", help=about)
    about = "energies are readings of a register that goes on counting"
    command.add_argument(
        "--cumulative", nargs="?", const="yes", choices=("yes", "no"), metavar="yes|no", help=about
    )
    about = "of the series that is made (default: the file's)"
    command.add_argument("--step", type=int, choices=STEPS_MIN, metavar="MIN", help=about)
    about = "largest power of the one plant or load"
    command.add_argument("--capacity", type=float, metavar="KW", help=about)
    for name, about in (("latitude", "of the sources"), ("longitude", "of the sources")):
        command.add_argument(
            f"--{name}", type=float, metavar="DEG", help=f"{about} (default: the site's)"
        )
    about = "a named format: " + "; ".join(
        f"{name} ({item.about})" for name, item in PROFILES.items()
    )
    command.add_argument("--profile", metavar="NAME", help=about)
    command.add_argument("--unit-as-said", action="store_true", help="whatever the file says")
    command.add_argument(
        "--dry-run", action="store_true", help="show what is understood, write nothing"
    )
    about = "the folder to write to (default: data_dir of the configuration)"
    command.add_argument("--output", metavar="DIR", help=about)
    about = "refuse the file if any cell cannot be used"
    command.add_argument("--strict", action="store_true", help=about)


def _add_forecast_options(command: argparse.ArgumentParser) -> None:
    about = f"weather, measured or with --issued forecast; QUANTITY is {', '.join(WEATHER)}"
    command.add_argument(
        "--weather", dest="wanted", action=Wanted, metavar="COLUMN:UNIT[:QUANTITY]", help=about
    )
    about = "a forecast that others issued, such as a TSO; QUANTITY as load, wind, solar, price"
    form = "COLUMN:UNIT[:ID[:QUANTITY]]"
    command.add_argument("--forecast", dest="wanted", action=Wanted, metavar=form, help=about)
    about = "issue of --forecast and --weather: 'D-1 10:00', 36h, COLUMN of times, or COLUMN:h"
    command.add_argument("--issued", metavar="WHEN", help=about)
    about = "a source that the forecasts help to forecast; may come several times"
    command.add_argument("--regressor-of", metavar="ID", action="append", help=about)
    about = "from their issue until they are at hand (default: 0)"
    command.add_argument("--delay-min", metavar="MIN", type=float, help=about)


def check_where(where: Where, names: Sequence[str]) -> None:
    """Refuse a `--where` whose column is not there.

    Parameters
    ----------
    where : column -> values.
    names : of the columns.

    Raises
    ------
    ConfigError : a column is missing.
    """
    for column in where:
        if column not in names:
            raise ConfigError(f"--where {column}=…: no such column; {one_of(column, names)}")
