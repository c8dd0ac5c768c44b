"""The command line of every script: arguments, log, errors as one line, progress bars.

Results go to stdout, the log and progress bars to stderr. Exit codes: 0 done, 1 expected failure,
2 usage or configuration, 130 interrupted.

    python generation.py --help
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, NoReturn

from vpp.runtime.config import DEFAULT_PATH, load_config
from vpp.runtime.errors import VppError, one_of
from vpp.runtime.files import check_own_files
from vpp.runtime.settings import Config
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

NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}

if TYPE_CHECKING:
    import pandas as pd


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line, and takes no flag but in full.

    A flag cut short by accident would mean another one: `--day 3` would be `--days 3`.

    Parameters
    ----------
    *args, **options : as of argparse.ArgumentParser.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False} | options)
        # flag -> the commands that read it where it stands before them; every one if not here
        self.read_by: dict[str, tuple[str, ...]] = {}

    def error(self, message: str) -> NoReturn:
        """End the script with one line and exit code 2."""
        self.exit(2, f"{self.prog}: {in_one_line(message)}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, after unknown flags are refused with the nearest ones.

        Parameters
        ----------
        args, namespace : as of argparse.
        """
        words = sys.argv[1:] if args is None else list(args)
        self._refuse_unknown_flags(words)
        return super().parse_known_args(words, namespace)

    def _refuse_unknown_flags(self, words: Sequence[str]) -> None:
        """Refuse a flag that this parser does not have, or that the command after it does not read.

        Those after the command are its own. A flag before it would go unread, or make way for the
        command's own default: `--model arima backtest` would test another model.
        """
        commands = {
            name
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for name in action.choices
        }
        before: list[str] = []
        is_value = False
        for word in words:
            if is_value:
                is_value = False
                continue
            if word in commands:
                unread = [flag for flag in before if word not in self.read_by.get(flag, (word,))]
                if unread:
                    self.error(f"{unread[0]}: stands before {word}, which does not read it there")
            if word == "--" or word in commands:
                return
            flag, equals, _ = word.partition("=")
            if flag.startswith("--"):
                if flag not in self._option_string_actions:
                    flags = [name for name in self._option_string_actions if name.startswith("--")]
                    self.error(f"unknown option {flag}; {one_of(flag, flags)}")
                before.append(flag)
                is_value = self._option_string_actions[flag].nargs is None and not equals

    def _get_value(self, action: argparse.Action, text: str) -> Any:
        is_command = isinstance(action, argparse._SubParsersAction)  # with all that follows it
        if not is_command and not text.strip():
            raise argparse.ArgumentError(action, "is empty; expected a value")
        number: Any = action.type
        if number in NUMBERS:
            try:
                return number(text)
            except ValueError:
                expected = f"{text}: expected {NUMBERS[number]}"
                raise argparse.ArgumentError(action, expected) from None
        return super()._get_value(action, text)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"{value}: {one_of(value, action.choices)}")


def new_parser(documentation: str) -> Parser:
    """Make a parser whose help is a module's docstring, with `--config`, which all scripts have."""
    parser = Parser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="configuration file (default: config.ini beside the scripts)",
    )
    return parser


# Types of arguments: each raises ArgumentTypeError with what is expected.


def utc_time(text: str) -> "pd.Timestamp":
    """Read an ISO-8601 time with its zone, as a time in UTC."""
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
    """Read a whole number above 0."""
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number above 0")
    return int(text)


def local_day(text: str) -> date:
    """Read a date such as 2024-06-26."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected a date such as 2024-06-26") from None


def local_time(text: str) -> str:
    """Read a time of day such as 11:00, as HH:MM."""
    try:
        return f"{time.fromisoformat(text):%H:%M}"
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text}: expected a time of day such as 11:00") from None


# Running a script


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command line; `--config`, and `--json` where there is one, may follow a subcommand.

    Parameters
    ----------
    parser : of the script.
    argv : the words after the script's name; default those of this process.
    """
    json = parser._option_string_actions.get("--json")
    prints_json = json is not None and json.nargs == 0  # else it names a file

    def share_options(inner: argparse.ArgumentParser) -> None:
        for action in inner._actions:
            if isinstance(action, argparse._SubParsersAction):
                for command in set(action.choices.values()):
                    said = {"default": argparse.SUPPRESS}  # keeps what came before the command
                    command.add_argument(
                        "--config", metavar="FILE", help="configuration file", **said
                    )
                    if prints_json:
                        command.add_argument(
                            "--json", action="store_true", help="print JSON", **said
                        )
                    share_options(command)

    share_options(parser)
    return parser.parse_args(argv)


def run_script(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace, Config], int | None],
    argv: Sequence[str] | None,
) -> int:
    """Parse, read the configuration and run; an expected failure becomes one line.

    Parameters
    ----------
    parser : of the script.
    run : the workflow, of the parsed arguments and the configuration.
    argv : the words after the script's name; default those of this process.

    Returns
    -------
    The exit code: that of `run` (None: 0), of the failure, or 130 for an interrupt.
    """
    args = parse(parser, argv)
    start_log()
    try:
        config = load_config(args.config or DEFAULT_PATH)
        check_own_files(args, config.path)
        return run(args, config) or 0
    except VppError as error:
        print(f"{parser.prog}: {in_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except PermissionError as error:
        if error.filename is None:
            raise
        where = f"{in_one_line(error.filename)}: {error.strerror}"
        print(f"{parser.prog}: {where}; this user needs the right to it", file=sys.stderr)
        return 1
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
    """Log to stderr; of chatty libraries only warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def progress(description: str, total: float | None) -> Iterator[Callable[[float], None]]:
    """Show a progress bar on stderr while the block runs; yields a function that advances it.

    Nothing is shown when piped.

    Parameters
    ----------
    description : what advances, in front of the bar.
    total : amount at the end; None where it is not known.
    """
    if not sys.stderr.isatty():
        yield lambda amount: None
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
        yield lambda amount: bar.advance(task, amount)
