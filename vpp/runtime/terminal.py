"""What every script does at the terminal: arguments, log, errors as one line, tables and progress
in one look.

Results go to stdout, the log and progress bars to stderr. A table is drawn with rich on a terminal
and is plain text when piped; `NO_COLOR` is respected. Exit codes: 0 done, 1 expected failure, 2
usage or configuration, 130 interrupted.

    python generation.py --help
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import TYPE_CHECKING

from vpp.runtime.config import Config, VppError, load_config, one_of
from vpp.runtime.files import check_own_files
from vpp.runtime.words import PrintableFormatter, in_one_line

CHATTY_LOGGERS = (
    "alembic",
    "cmdstanpy",
    "mlflow",
    "pytorch_lightning",
    "optuna",
    "matplotlib",
    "darts",
    "prophet",
    "urllib3",
)


if TYPE_CHECKING:
    import pandas as pd


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
        commands = {
            name
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for name in action.choices
        }
        for word in words:
            if word == "--" or word in commands:
                return
            flag = word.partition("=")[0]
            if flag.startswith("--") and flag not in self._option_string_actions:
                flags = [name for name in self._option_string_actions if name.startswith("--")]
                self.error(f"unknown option {flag}; {one_of(flag, flags)}")

    def _get_value(self, action: argparse.Action, text: str) -> object:
        is_command = isinstance(action, argparse._SubParsersAction)  # with all that follows it
        if not is_command and not text.strip():
            raise argparse.ArgumentError(action, "is empty; expected a value")
        return super()._get_value(action, text)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"{value}: {one_of(value, action.choices)}")


def new_parser(documentation: str) -> argparse.ArgumentParser:
    """A parser whose help is the module's docstring, with the `--config` that every script has."""
    parser = Parser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="configuration file (default: config.ini beside the scripts)",
    )
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
        raise argparse.ArgumentTypeError(
            f"{text}: expected an ISO-8601 time with its zone, such as 2025-03-01T00:00:00Z"
        )
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
    """Parse, with `--config`, and `--json` of a script that has it, allowed before and after a
    subcommand.
    """
    prints_json = "--json" in parser._option_string_actions

    def share_options(inner: argparse.ArgumentParser) -> None:
        for action in inner._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in set(action.choices.values()):
                    command.add_argument(
                        "--config",
                        metavar="FILE",
                        default=argparse.SUPPRESS,
                        help="configuration file",
                    )
                    if prints_json:
                        command.add_argument(
                            "--json",
                            action="store_true",
                            default=argparse.SUPPRESS,
                            help="print JSON",
                        )
                    share_options(command)

    share_options(parser)
    return parser.parse_args(argv)


def run_script(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace, Config], int | None],
    argv: Sequence[str] | None,
) -> int:
    """Parse, read the configuration, run, and turn an expected failure into one line and its exit
    code.
    """
    args = parse(parser, argv)
    start_log()
    try:
        config = load_config(args.config)
        check_own_files(args, config.path)
        return run(args, config) or 0
    except VppError as error:
        print(f"{parser.prog}: {in_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            f"{parser.prog}: interrupted; run the same command again to complete it",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # the reader of a pipe went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def start_log() -> None:
    """Log to stderr, with no word of chatty libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def progress(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """A progress bar on stderr while the block runs; yields a function that advances it.

    Nothing is shown when piped.
    """
    if not sys.stderr.isatty():
        yield lambda amount=1.0: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda amount=1.0: bar.advance(task, amount)
