"""What holds for the command line of every script and subcommand, whatever it does."""

import argparse
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import terminal

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py") if "def build_parser" in path.read_text(encoding="utf-8"))


def parsers(parser: argparse.ArgumentParser, words: tuple = ()) -> Iterator[tuple]:
    """A parser and those of its subcommands, each with the words that lead to it."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from parsers(inner, (*words, name))


def parser_of(script: str) -> argparse.ArgumentParser:
    return importlib.import_module(script).build_parser()


COMMANDS = [(script, words) for script in SCRIPTS for words, _ in parsers(parser_of(script))]


def refusal(script: str, words: list[str], capsys) -> str:
    """The one line with which a command line is refused."""
    with pytest.raises(SystemExit) as ended:
        terminal.parse(parser_of(script), words)
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(("script", "words"), COMMANDS)
def test_no_flag_is_taken_cut_short(script, words, capsys):
    parser = dict(parsers(parser_of(script)))[words]
    flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]
    assert flags
    for flag in flags:
        for short in {flag[:3], flag[:-1]} - {"--", *flags}:
            for word in (short, f"{short}=3"):
                line = refusal(script, [*words, word, "3"], capsys)
                assert f"unknown option {short};" in line
                assert re.search(rf"{flag}\b", line), line


def test_a_reset_that_says_yes_by_half_is_refused(capsys):
    line = refusal("db", ["reset", "--table", "schedules", "--y"], capsys)
    assert "unknown option --y; expected one of --yes, " in line


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_subcommand_is_one_line_with_the_nearest(script, capsys):
    for words, parser in parsers(parser_of(script)):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name in action.choices:
                    line = refusal(script, [*words, f"{name}x"], capsys)
                    assert re.search(rf"{name}x: expected one of {name}\b", line), line


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("bench_*.py")), ids=lambda p: p.stem)
def test_no_benchmark_takes_a_flag_cut_short(path):
    made = re.findall(r"ArgumentParser\(.*\)", path.read_text(encoding="utf-8"))
    assert all("allow_abbrev=False" in call for call in made)
