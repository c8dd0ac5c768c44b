"""Errors and foreign text in words: one line, no class names, no control characters."""

import logging
import re
import traceback
import unicodedata
from pathlib import Path

from vpp.runtime.errors import FieldError, VppError

TURNS_WRITING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # of Unicode
NO_WORDS: dict[type[BaseException], str] = {  # for errors that often come without a text
    MemoryError: "memory ran out",
    RecursionError: "the data are nested too deeply",
    TimeoutError: "no answer came in time",
    ConnectionRefusedError: "the server refuses connections",
    EOFError: "the data end too early",
}


def printable(text: object) -> str:
    """Escape a text's control characters, so that data cannot move the cursor or change colours.

    Also the marks that turn the direction of writing, which can make a line look like another.
    Line breaks stay.
    """
    return "".join(
        mark.encode("unicode_escape").decode() if _controls(mark) else mark for mark in str(text)
    )


def _controls(mark: str) -> bool:
    is_control = unicodedata.category(mark) in ("Cc", "Cs", "Zl", "Zp") and mark != "\n"
    return is_control or unicodedata.bidirectional(mark) in TURNS_WRITING


def in_one_line(text: object) -> str:
    """Put a message on one line, its control characters escaped."""
    return printable(" ".join(str(text).split()))


def in_words(error: BaseException, longest: int = 300) -> str:
    """Say why something failed, for a table, a note or a message, without names of classes.

    An expected failure says it itself. Any other is named by its text, and by the library and
    the line of ours in which it came, so that it can be found. Passwords in addresses are hidden.

    Parameters
    ----------
    error : whatever was raised, by this code or a library.
    longest : characters at most.

    Returns
    -------
    One line.
    """
    text = NO_WORDS.get(type(error)) or _text_of(error)
    text = re.sub(r"://[^\s/]*@", "://(hidden)@", in_one_line(text))
    if isinstance(error, (VppError, FieldError)):
        return text[:longest]
    named = isinstance(error, OSError) and error.filename  # which says where already
    place = "" if named else place_of(error)
    return f"{text[: longest - len(place)]}{place}"


def _text_of(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]} is missing"
    return str(error).strip() or "an error without a text"


def place_of(error: BaseException) -> str:
    """Where an error came, in brackets: the library, and the line of ours that called it."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    root, names = Path(__file__).resolve().parents[2], []
    library = frames[-1][0].f_globals.get("__name__", "").partition(".")[0]
    for frame, line in reversed(frames):
        path = Path(frame.f_code.co_filename)
        if path.parent == root or root / "vpp" in path.parents:
            names.append(f"{path.name} line {line}")
            break
    if library and not (names and names[0].startswith(f"{library}.py ")):
        names.insert(0, library)
    return f" (in {', '.join(names)})" if names else ""


class PrintableFormatter(logging.Formatter):
    """A formatter of log lines whose messages come from data; a traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Format a record whose message has its control characters escaped."""
        record.message = printable(record.message)
        return super().formatMessage(record)
