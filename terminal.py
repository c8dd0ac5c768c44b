"""What every script does at the terminal: arguments, log, errors as one line, tables and progress in one look.

Results go to stdout, the log and progress bars to stderr. A table is drawn with rich on a terminal and is plain text when
piped; `NO_COLOR` is respected. Exit codes: 0 done, 1 expected failure, 2 usage or configuration, 130 interrupted.

    python generation.py --help
"""

import argparse
import errno
import json
import logging
import math
import os
import re
import shutil
import sys
import tempfile
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from config import Config, ConfigError, FieldError, VppError, load_config, one_of

if TYPE_CHECKING:
    import pandas as pd

CHATTY_LOGGERS = ("alembic", "cmdstanpy", "mlflow", "pytorch_lightning", "optuna", "matplotlib", "darts", "prophet", "urllib3")
PICTURES = (".png", ".svg", ".pdf")
OPEN_FILES = re.compile("/dev/(fd/|std(in|out|err)$)|/proc/")
TURNS_WRITING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # of Unicode
# options that name a file to write, and those that name one to read
WRITTEN, READ = ("output", "plot", "json"), ("config", "input", "file")


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
    start_log()
    try:
        config = load_config(args.config)
        check_own_files(args, config.path)
        return run(args, config) or 0
    except VppError as error:
        print(f"{parser.prog}: {in_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; run the same command again to complete it", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def printable(text: object) -> str:
    """A text whose control characters are escaped: data shall not move the cursor or change colours.

    Also the marks that turn the direction of writing, which can make a line look like another.
    """
    return "".join(mark.encode("unicode_escape").decode() if _controls(mark) else mark for mark in str(text))


def _controls(mark: str) -> bool:
    is_control = unicodedata.category(mark) in ("Cc", "Cs", "Zl", "Zp") and mark != "\n"
    return is_control or unicodedata.bidirectional(mark) in TURNS_WRITING


def in_one_line(text: object) -> str:
    """A message as one line, its control characters escaped."""
    return printable(" ".join(str(text).split()))


NO_WORDS = {  # for errors that often come without a text
    MemoryError: "memory ran out",
    RecursionError: "the data are nested too deeply",
    TimeoutError: "no answer came in time",
    ConnectionRefusedError: "the server refuses connections",
    EOFError: "the data end too early",
}


def in_words(error: BaseException, longest: int = 300) -> str:
    """Why something failed, for a table, a note or a message: words, never the name of a Python class.

    An expected failure says it itself. Any other is named by its text, and by the library and
    the line of ours in which it came, so that it can be found. Passwords in addresses are hidden.

    Parameters
    ----------
    error : whatever was raised, by this code or a library.
    longest : characters at most.
    """
    text = NO_WORDS.get(type(error)) or _text_of(error)
    text = re.sub(r"://[^\s/]*@", "://(hidden)@", in_one_line(text))
    if isinstance(error, (VppError, FieldError)):
        return text[:longest]
    place = _place_of(error)
    return f"{text[: longest - len(place)]}{place}"


def _text_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]} is missing"
    return str(error).strip() or "an error without a text"


def _place_of(error: BaseException) -> str:
    """Where an error came, in brackets: the library, and the line of this project that called it."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    folder, names = str(Path(__file__).parent), []
    library = frames[-1][0].f_globals.get("__name__", "").partition(".")[0]
    for frame, line in reversed(frames):
        path = frame.f_code.co_filename
        if os.path.dirname(path) == folder:
            names.append(f"{os.path.basename(path)} line {line}")
            break
    if library and not (names and names[0].startswith(f"{library}.py ")):
        names.insert(0, library)
    return f" (in {', '.join(names)})" if names else ""


class PrintableFormatter(logging.Formatter):
    """A formatter of log lines whose messages come from data; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)


def start_log() -> None:
    """Log to stderr, with no word of chatty libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)


def json_text(value: object) -> str:
    """A value as JSON: times as the tables show them, null where there is no value or no number."""
    return json.dumps(_plain(value), default=str, indent=2)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    value = _python_value(value)
    if value is None or value != value:
        return None
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return shown(value) if isinstance(value, date) else value


def _python_value(value: object) -> object:
    """A number of numpy as that of Python."""
    if type(value).__name__ == "datetime64":
        return value.astype("M8[us]").item()
    return value.item() if hasattr(value, "dtype") and hasattr(value, "item") else value


def print_rows(rows: Sequence[dict], title: str | None = None, as_json: bool = False) -> None:
    """Print rows with the same keys as a table, or as one JSON array."""
    if as_json:
        print(json_text(list(rows)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    terminal = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD if terminal else box.ASCII2, show_edge=False)
    columns = list(rows[0]) if rows else ["(nothing)"]
    texts = []
    for column in columns:
        values = [_python_value(row.get(column)) for row in rows]
        numeric = any(isinstance(value, (int, float)) for value in values)
        table.add_column(cell(column), justify="right" if numeric else "left", overflow="fold")
        texts.append(list(map(cell, aligned(values))))
    for cells in zip(*texts, strict=True):
        table.add_row(*cells)
    # a pipe has no width: what reads it may want a whole address, or fold it itself
    console = Console(width=None if terminal else 1_000_000, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(table)
    print("\n".join([printable(title)] * (title is not None) + [line.rstrip() for line in capture.get().splitlines()]))


def cell(text: str) -> str:
    """A cell of a table: one line, its control characters escaped."""
    return printable(text).replace("\n", "\\n")


def aligned(values: Sequence[object]) -> list[str]:
    """A column's values as a person reads them, its numbers with the same decimals.

    As many as leave 5 significant digits of the largest, at most 3, and one where small numbers
    stand beside large ones; numbers that are all below 0.01 get 3 significant digits.
    """
    numbers = [abs(value) for value in values if isinstance(value, float) and math.isfinite(value) and value]
    if not numbers or max(numbers) < 1e-6:  # a gap of 1e-9 has no use for decimals
        return [shown(value) for value in values]
    magnitude = math.floor(math.log10(max(numbers)))
    if max(numbers) < 0.01:
        decimals = 2 - magnitude
    else:
        decimals = min(3, max(int(min(numbers) < 100), 4 - magnitude))
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
        in_utc = value.astimezone(UTC) if value.tzinfo else value
        return in_utc.strftime("%Y-%m-%dT%H:%MZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Path):
        return os.path.relpath(value) if not os.path.relpath(value).startswith("../..") else str(value)
    return str(value)


def writes_through(path: Path) -> bool:
    """Whether a path is a device, a pipe, a socket or a file that a process has open.

    Such a path is written to; it is never replaced.
    """
    is_open_file = OPEN_FILES.match(os.path.abspath(path)) is not None
    return is_open_file or (path.exists() and not path.is_file() and not path.is_dir())


def target_of(path: Path) -> Path:
    """The file that a path names, behind all its symbolic links; raises OSError for a circle of links."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def put_in_place(written: Path, path: Path) -> None:
    """Give `path` the content of the file `written`, which is gone then.

    A file is replaced at once; a symbolic link stays and the file that it names is replaced; a
    device or a pipe gets the content written to it.
    """
    if writes_through(path):
        with written.open("rb") as content, path.open("wb", buffering=0) as device:
            shutil.copyfileobj(content, device)
        written.unlink()
        return
    target = target_of(path)
    try:
        written.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = target.with_name(f".partial-{target.name}")  # the link leads to another disk
        try:
            shutil.move(written, beside)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def _partial(path: Path, option: str) -> Iterator[Path]:
    with ExitStack() as cleaning:
        try:
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "is a folder")
            if writes_through(path):
                if not os.access(path, os.W_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
                partial = Path(cleaning.enter_context(tempfile.TemporaryDirectory())) / path.name
            else:
                target = target_of(path)
                target.parent.mkdir(parents=True, exist_ok=True)
                # the ending is the one that the user gave: it tells a picture's format
                partial = target.with_name(f".partial-{target.stem}{path.suffix}")
                cleaning.callback(_remove, partial)
            yield partial
        except OSError as error:
            where = f"{option} {shown(path)}".strip()
            raise ConfigError(f"{where}: cannot be written: {error.strerror or error}; name a file in a folder you may write") from None


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@contextmanager
def replacing_file(path: Path, option: str = "") -> Iterator[Path]:
    """Yield a file to write to; when the block ends well `path` gets its content, else `path` is as it was.

    A device, a pipe or a symbolic link is written through and stays what it is (`put_in_place`).

    Raises
    ------
    ConfigError : it cannot be written there; the message names `option`, by which the user chose `path`.
    """
    with _partial(path, option) as partial:
        yield partial
        put_in_place(partial, path)


def check_writable(path: Path, option: str = "") -> None:
    """Refuse a file that cannot be written before the long work whose result it is to hold; errors as `replacing_file`."""
    with _partial(path, option) as partial:
        partial.touch()


def check_not_read(path: Path, option: str, read: Path, read_option: str) -> None:
    """Refuse to write over a file that is read, by whatever name or link both are given.

    Raises
    ------
    ConfigError : both are the same file.
    """
    if writes_through(path):
        return
    same = path.exists() and read.exists() and path.samefile(read)
    if same or os.path.realpath(path) == os.path.realpath(read):
        raise ConfigError(f"{option} {shown(path)}: is the file that {read_option} names; name another file to write")


def check_own_files(args: argparse.Namespace, config_path: Path) -> None:
    """Refuse options that would write over the configuration, over the input, or twice to one file."""
    files = {
        name: Path(value)
        for name, value in vars(args).items()
        if name in (*WRITTEN, *READ) and isinstance(value, (str, Path)) and str(value)
    }
    files["config"] = config_path
    for name in [name for name in WRITTEN if name in files]:
        for other in files:
            if other != name and not files[other].is_dir():
                check_not_read(files[name], f"--{name}", files[other], "FILE" if other == "file" else f"--{other}")


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
