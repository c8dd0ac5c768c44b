import argparse
import io
import json
import logging
import os
import re
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg2
import pytest

import sources
from vpp.runtime import tables, terminal
from vpp.runtime.config import ConfigError
from vpp.runtime.files import (
    READ,
    WRITTEN,
    check_own_files,
    check_picture,
    check_writable,
    replacing_file,
)
from vpp.runtime.tables import aligned, print_rows
from vpp.runtime.words import in_words, printable


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (
            [93.686, 42.233, 387.17],
            ["93.69", "42.23", "387.17"],
        ),  # five digits of 387.17 leave two decimals
        ([0.76237, None, 1.2], ["0.762", "–", "1.200"]),  # three at most
        ([2_171_788.4, -701.13], ["2,171,788", "-701"]),
        (
            [36_226.3, 32.4, -0.04],
            ["36,226.3", "32.4", "0.0"],
        ),  # one decimal for the small ones, and no -0
        ([float("nan"), 12_345.6, 3], ["–", "12,346", "3"]),  # a count stays one
        ([1e-9, 0.0], ["1e-09", "0"]),  # decimals would hide it
        ([0.0012, 0.000345, None], ["0.00120", "0.00034", "–"]),  # below 0.01 they need more
        ([np.float32(1.5), 2.25], ["1.500", "2.250"]),
        (["a", True, 7000], ["a", "yes", "7,000"]),
        ([], []),
    ],
)
def test_the_numbers_of_a_column_have_the_same_decimals(values, texts):
    assert aligned([tables._python_value(value) for value in values]) == texts


def test_a_table_is_plain_text_when_piped_and_json_when_asked(capsys):
    rows = [{"name": "load-1", "mae": 93.686}, {"name": "price", "mae": 4.2}]
    print_rows(rows, "Errors")
    assert capsys.readouterr().out.splitlines() == [
        "Errors",
        " name   |    mae",
        "--------+--------",
        " load-1 | 93.686",
        " price  |  4.200",
    ]
    print_rows(rows, as_json=True)
    assert json.loads(capsys.readouterr().out) == rows
    print_rows([])
    assert "(nothing)" in capsys.readouterr().out


def test_a_long_cell_stays_on_its_line_when_piped(capsys):
    print_rows([{"server": "PostgreSQL", "address": "x" * 500, "log": "y z " * 100}])
    assert (
        capsys.readouterr().out.splitlines()[2]
        == f" PostgreSQL | {'x' * 500} | {('y z ' * 100).rstrip()}"
    )


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new folder" / "result.csv"
    with replacing_file(path, "--output") as partial:
        partial.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(RuntimeError), replacing_file(path, "--output") as partial:
        partial.write_text("half of the sec")
        raise RuntimeError
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.csv"]


def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(
        ConfigError, match=r"--output .*report\.html: cannot be written: is a folder"
    ):
        check_writable(tmp_path / "report.html", "--output")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ConfigError, match=r"--json .*cannot be written"):
        check_writable(tmp_path / "file" / "summary.json", "--json")
    check_writable(tmp_path / "file", "--json")
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(ConfigError, match=r"--plot .*day\.bmp: expected a file that ends in \.png"):
        check_picture(tmp_path / "day.bmp", "--plot")


@pytest.mark.parametrize(
    "text", ["12:00Z", "2025-03-01", "2025-03-01T00:00", "0001-01-01T00:00+05:00", "now"]
)
def test_an_issue_time_is_a_date_and_a_time_with_its_zone(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected an ISO-8601 time with its zone"):
        terminal.utc_time(text)
    assert terminal.utc_time("2025-03-01T01:00+01:00") == datetime(2025, 3, 1, tzinfo=UTC)


def special(tmp_path, kind):
    """A path that is written through, and a function that gives what arrived behind it."""
    path, kept = tmp_path / "result.png", tmp_path / "kept.dat"
    if kind == "fifo":
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return path, lambda: os.read(reader, 1000)
    if kind == "device":
        if os.geteuid():
            pytest.skip("only root makes a device")
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))  # as /dev/null
            path.open("wb").close()
        except OSError:
            pytest.skip("no device can be made or opened here")
        return path, lambda: b"new"
    if kind == "link":
        kept.write_text("old")
    path.symlink_to(kept.name)
    return path, kept.read_bytes


@pytest.mark.parametrize("kind", ["fifo", "device", "link", "link to nothing yet"])
def test_a_device_a_pipe_and_a_link_are_written_through(tmp_path, kind):
    path, arrived = special(tmp_path, kind)
    before = (path.lstat().st_ino, path.lstat().st_mode)
    check_picture(path, "--plot")
    with replacing_file(path, "--plot") as partial:
        assert partial.suffix == ".png"
        partial.write_text("new")
    assert (path.lstat().st_ino, path.lstat().st_mode) == before
    assert arrived() == b"new"
    with sources.replacing_files(tmp_path) as folder:
        (folder / path.name).write_text("new")
    assert (path.lstat().st_ino, path.lstat().st_mode) == before
    assert arrived() == b"new"
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_a_process_has_open_keeps_what_it_printed(tmp_path):
    code = (
        "import terminal; from pathlib import Path; print('first', flush=True)\n"
        "with terminal.replacing_file(Path('/dev/stdout')) as partial: partial.write_text('second')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "first\nsecond"


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ConfigError, match=r"--output .*a: cannot be written: "):
        check_writable(tmp_path / "a", "--output")
    assert (tmp_path / "a").is_symlink()


def other_name(path, kind):
    """Another name of the same file."""
    other = path.with_name("other.json")
    if kind == "hard link":
        other.hardlink_to(path)
    elif kind == "symbolic link":
        other.symlink_to(path)
    elif kind == "other spelling":
        other = path.parent / ".." / path.parent.name / path.name
    else:
        other = path
    return other


@pytest.mark.parametrize("kind", ["same name", "other spelling", "hard link", "symbolic link"])
def test_a_file_that_is_read_is_not_written_over(tmp_path, kind):
    path = tmp_path / "problem.json"
    path.write_text("kept")
    other = other_name(path, kind)
    for written in WRITTEN:
        for read in READ:
            args = argparse.Namespace(**{written: other, read: path})
            config = path if read == "config" else tmp_path / "config.ini"
            name = "FILE" if read == "file" else f"--{read}"
            with pytest.raises(
                ConfigError, match=rf"--{written} .*: is the file that {name} names"
            ):
                check_own_files(args, config)
    with pytest.raises(ConfigError, match=r"is the file that --(plot|output) names"):
        check_own_files(argparse.Namespace(plot=path, output=other), tmp_path / "x.ini")
    check_own_files(argparse.Namespace(output=tmp_path / "new", input=path), path)
    assert path.read_text() == "kept"


TIMES = [
    pd.Timestamp("2025-03-30T01:00", tz="UTC"),
    pd.Timestamp("2025-03-30T03:00", tz="Europe/Brussels"),
    datetime(2025, 3, 30, 1, tzinfo=UTC),
    datetime(2025, 3, 30, 3, tzinfo=timezone(timedelta(hours=2))),
    np.datetime64("2025-03-30T01:00:00"),
]


@pytest.mark.parametrize("time", TIMES, ids=repr)
def test_a_time_is_printed_the_same_in_tables_and_in_json(time, capsys):
    print_rows([{"time": time}])
    assert capsys.readouterr().out.splitlines()[-1].strip() == "2025-03-30T01:00Z"
    print_rows([{"time": time, "inner": {"times": [time]}}], as_json=True)
    [row] = json.loads(capsys.readouterr().out)
    assert row == {"time": "2025-03-30T01:00Z", "inner": {"times": ["2025-03-30T01:00Z"]}}


def test_json_holds_no_value_that_is_no_json(capsys):
    row = {
        "a": float("nan"),
        "b": pd.NaT,
        "c": np.float64(1.5),
        "d": np.int64(2),
        "e": float("inf"),
    }
    print_rows([row | {"f": np.bool_(True), "g": None}], as_json=True)
    text = capsys.readouterr().out
    [found] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert found == {"a": None, "b": None, "c": 1.5, "d": 2, "e": "inf", "f": True, "g": None}


CONTROLS = ["\x1b[2J", "\x07", "\r", "\x9b31m", "\x00", "\x7f", "\u202e", "\u2066", "\u2028", "\b"]


@pytest.mark.parametrize("mark", CONTROLS, ids=ascii)
def test_control_characters_of_data_never_reach_the_terminal(mark, tmp_path, capfd):
    text, config = f"Roof{mark}east", tmp_path / "config.ini"
    config.write_text("")

    def run(args, config):
        print_rows([{f"column{mark}": text, "lines": "a\nb"}], title=text)
        print_rows([{"name": text}], as_json=True)
        logging.getLogger("sink").warning("refused: %s", text)
        raise ConfigError(f"{text} is unknown")

    root = logging.getLogger()
    before, root.handlers = root.handlers, []  # as in a process of its own
    try:
        code = terminal.run_script(terminal.new_parser("x"), run, ["--config", str(config)])
    finally:
        root.handlers = before
    assert code == 2
    found = capfd.readouterr()
    for out in found:
        assert mark not in out
        assert "Roof" in out and "east" in out
    assert "a\\nb" in found.out
    with pytest.raises(SystemExit):
        terminal.new_parser("x").parse_args([f"--x{mark}"])
    assert mark not in capfd.readouterr().err


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
        sources.time_text(pd.DatetimeIndex(["2025-01-01"]))
    assert re.search(r"\(in (\w+, )?sources\.py line \d+\)$", in_words(caught.value))
    assert in_words(ConfigError("a is unknown")) == "a is unknown"
    hidden = in_words(ValueError("no answer of http://me:secret@host/x"))
    assert hidden == "no answer of http://(hidden)@host/x"


def test_no_table_note_or_message_prints_the_class_of_an_error():
    root = Path(terminal.__file__).parents[2]
    for path in [*root.glob("*.py"), *root.glob("vpp/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        found = re.findall(
            r"type\((?:error|exc|e)\)\.__name__|\{(?:error|exc)!r\}|repr\((?:error|exc)\)", text
        )
        assert not found or path.name == "schema.py", f"{path.name}: {found}"
