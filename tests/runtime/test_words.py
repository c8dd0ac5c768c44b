"""Failures and foreign text in words."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg2
import pytest

from vpp.runtime.errors import ConfigError
from vpp.runtime.words import in_words, printable
from vpp.site.csv_files import time_text


def test_letters_of_all_languages_are_shown_as_they_are():
    for text in ("Dach Süd", "屋根", "крыша", "سقف", "👩\u200d🔧", "20 °C – 5 €"):
        assert printable(text) == text


def raise_(error):
    raise error


FAILURES = {
    "index": lambda: np.zeros(3)[7],
    "list index": lambda: [][0],
    "key": lambda: {}["power_kw"],
    "column": lambda: pd.DataFrame()["power_kw"],
    "type": lambda: 1 + "x",
    "value": lambda: float("x"),
    "attribute": lambda: None.power_kw,
    "division": lambda: 1 / 0,
    "assertion": lambda: raise_(AssertionError()),
    "memory": lambda: raise_(MemoryError()),
    "recursion": lambda: raise_(RecursionError()),
    "end": lambda: raise_(EOFError()),
    "timeout": lambda: raise_(TimeoutError()),
    "refused": lambda: raise_(ConnectionRefusedError()),
    "file": lambda: Path("/nosuch/file").read_text(),
    "singular": lambda: np.linalg.inv(np.zeros((2, 2))),
    "database": lambda: psycopg2.connect("host=127.0.0.1 port=1 user=u password=hunter2"),
    "json": lambda: json.loads("{"),
    "csv": lambda: pd.read_csv(io.StringIO("a,b\n1,2,3\n1,2,3,4\n"), index_col=False),
    "control": lambda: raise_(ValueError("x\x1b[2J\ny")),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_is_told_in_words_and_never_by_its_class(kind):
    with pytest.raises(Exception) as caught:
        FAILURES[kind]()
    error = caught.value
    text = in_words(error)
    names = {cls.__name__ for cls in type(error).__mro__} - {"object"}
    assert not [name for name in names if re.search(rf"\b{name}\b", text)], text
    assert "\n" not in text and "\x1b" not in text and "hunter2" not in text
    assert re.match(r"[^\s(][^()]*\w", text), text  # there is more than a place
    assert len(text) <= 300
    assert "[Errno" not in text


def test_a_failure_names_the_library_and_our_line():
    with pytest.raises(TypeError) as caught:
        time_text(pd.DatetimeIndex(["2025-01-01"]))
    assert re.search(r"\(in (\w+, )?csv_files\.py line \d+\)$", in_words(caught.value))
    assert in_words(ConfigError("a is unknown")) == "a is unknown"
    with pytest.raises(FileNotFoundError) as caught:
        FAILURES["file"]()  # which says where by itself
    assert in_words(caught.value) == "No such file or directory: /nosuch/file"
    hidden = in_words(ValueError("no answer of http://me:secret@host/x"))
    assert hidden == "no answer of http://(hidden)@host/x"


def test_no_table_note_or_message_prints_the_class_of_an_error():
    root = Path(__file__).resolve().parents[2]
    for path in [*root.glob("*.py"), *root.glob("vpp/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        found = re.findall(
            r"type\((?:error|exc|e)\)\.__name__|\{(?:error|exc)!r\}|repr\((?:error|exc)\)", text
        )
        assert not found or path.name == "schema.py", f"{path.name}: {found}"
