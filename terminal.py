"""What every script does at the terminal: arguments, log, errors as one line, tables and progress in one look.

Results go to stdout, the log and progress bars to stderr. A table is drawn with rich on a terminal and is plain text when
piped; `NO_COLOR` is respected. Exit codes: 0 done, 1 expected failure, 2 usage or configuration, 130 interrupted.

    python generation.py --help
"""

import argparse
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from config import Config, ConfigError, VppError, load_config, one_of

if TYPE_CHECKING:
    import pandas as pd

CHATTY_LOGGERS = ("alembic", "cmdstanpy", "mlflow", "pytorch_lightning", "optuna", "matplotlib", "darts", "prophet", "urllib3")
PICTURES = (".png", ".svg", ".pdf")


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line, and takes no flag but in full.

    A flag cut short by accident would mean another one: `--day 3` would be `--days 3`.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **{"allow_abbrev": False} | options)

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {in_one_line(message)}; see {self.prog} --help\n")

    def parse_known_args(self, args=None, namespace=None):
        words = sys.argv[1:] if args is None else list(args)
        self._refuse_unknown_flags(words)
        return super().parse_known_args(words, namespace)

    def _refuse_unknown_flags(self, words: Sequence[str]) -> None:
        """Refuse a flag that this parser does not have; those after a subcommand are its own."""
        commands = {name for action in self._actions if isinstance(action, argparse._SubParsersAction) for name in action.choices}
        for word in words:
            if word == "--" or word in commands:
                return
            flag = word.partition("=")[0]
            if flag.startswith("--") and flag not in self._option_string_actions:
                flags = [name for name in self._option_string_actions if name.startswith("--")]
                self.error(f"unknown option {flag}; {one_of(flag, flags)}")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"{value}: {one_of(value, action.choices)}")


def new_parser(documentation: str) -> argparse.ArgumentParser:
    """A parser whose help is the module's docstring, with the `--config` that every script has."""
    parser = Parser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", metavar="FILE", help="configuration file (default: config.ini beside the scripts)")
    return parser


# Types of arguments


def utc_time(text: str) -> "pd.Timestamp":
    """An ISO-8601 time with its zone, in UTC."""
    import pandas as pd

    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not 1900 <= found.year <= 2200:
        raise argparse.ArgumentTypeError(f"{text}: expected an ISO-8601 time with its zone, such as 2025-03-01T00:00:00Z")
    return pd.Timestamp(found).tz_convert("UTC")


def whole(text: str) -> int:
    """A whole number above 0."""
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number above 0")
    return int(text)


def local_day(text: str) -> date:
    """A date such as 2024-06-26."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected a date such as 2024-06-26") from None


def local_time(text: str) -> str:
    """A time of day such as 11:00."""
    try:
        return f"{time.fromisoformat(text):%H:%M}"
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected a time of day such as 11:00") from None


# A script


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse, with `--config`, and `--json` of a script that has it, allowed before and after a subcommand."""
    prints_json = "--json" in parser._option_string_actions

    def share_options(inner: argparse.ArgumentParser) -> None:
        for action in inner._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in set(action.choices.values()):
                    command.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="configuration file")
                    if prints_json:
                        command.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
                    share_options(command)

    share_options(parser)
    return parser.parse_args(argv)


def run_script(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace, Config], int | None], argv: Sequence[str] | None) -> int:
    """Parse, read the configuration, run, and turn an expected failure into one line and its exit code."""
    args = parse(parser, argv)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        return run(args, load_config(args.config)) or 0
    except VppError as error:
        print(f"{parser.prog}: {in_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; run the same command again to complete it", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def in_one_line(text: object) -> str:
    """A message as one line."""
    return " ".join(str(text).split())


def print_rows(rows: Sequence[dict], title: str | None = None, as_json: bool = False) -> None:
    """Print rows with the same keys as a table, or as one JSON array."""
    if as_json:
        print(json.dumps(list(rows), default=str, indent=2))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else box.ASCII2, show_edge=False)
    columns = list(rows[0]) if rows else ["(nothing)"]
    texts = []
    for column in columns:
        values = [row.get(column) for row in rows]
        numeric = any(isinstance(value, (int, float)) for value in values)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        texts.append(aligned(values))
    for cells in zip(*texts, strict=True):
        table.add_row(*cells)
    # a pipe has no width: what reads it may want a whole address, or fold it itself
    console = Console(width=None if terminal else 1_000_000, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(table)
    print("\n".join([title] * (title is not None) + [line.rstrip() for line in capture.get().splitlines()]))


def aligned(values: Sequence[object]) -> list[str]:
    """A column's values as a person reads them, its numbers with the same decimals.

    As many as leave 5 significant digits of the largest, at most 3, and one where small numbers stand beside large ones.
    """
    numbers = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value) and value]
    if not numbers or not 0.01 <= max(numbers) < math.inf:  # a gap of 1e-9 has no use for decimals
        return [shown(value) for value in values]
    decimals = min(3, max(int(min(numbers) < 100), 4 - math.floor(math.log10(max(numbers)))))
    return [  # adding 0 turns a -0 into 0
        f"{round(value, decimals) + 0.0:,.{decimals}f}" if isinstance(value, float) and math.isfinite(value) else shown(value)
        for value in values
    ]


def shown(value: object) -> str:
    """A value as a person reads it: 5 significant digits, times as ISO-8601 UTC, paths relative to the working folder."""
    if value is None or value != value:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.5g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%MZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return os.path.relpath(value) if not os.path.relpath(value).startswith("../..") else str(value)
    return str(value)


@contextmanager
def _partial(path: Path, option: str) -> Iterator[Path]:
    partial = path.parent / f".partial-{path.name}"  # with the ending that tells a picture's format
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(0, "is a folder")
        yield partial
    except OSError as error:
        where = f"{option} {shown(path)}".strip()
        raise ConfigError(f"{where}: cannot be written: {error.strerror or error}; name a file in a folder you may write") from None
    finally:
        with suppress(OSError):
            partial.unlink()


@contextmanager
def replacing_file(path: Path, option: str = "") -> Iterator[Path]:
    """Yield a file beside `path` to write to, which takes its place when the block ends well: `path` is whole or as it was.

    Raises
    ------
    ConfigError : it cannot be written there; the message names `option`, by which the user chose `path`.
    """
    with _partial(path, option) as partial:
        yield partial
        partial.replace(path)


def check_writable(path: Path, option: str = "") -> None:
    """Refuse a file that cannot be written before the long work whose result it is to hold; errors as `replacing_file`."""
    with _partial(path, option) as partial:
        partial.touch()


def check_picture(path: Path, option: str) -> None:
    """As `check_writable` for a picture; its ending names its format."""
    if path.suffix.lower() not in PICTURES:
        raise ConfigError(f"{option} {path}: expected a file that ends in {', '.join(PICTURES)}")
    check_writable(path, option)


@contextmanager
def progress(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr while the block runs; yields a function that advances it. Nothing is shown when piped."""
    if not sys.stderr.isatty():
        yield lambda amount=1.0: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount=1.0: bar.advance(task, amount)
