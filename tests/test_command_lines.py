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


def test_every_option_that_names_a_file_is_known_to_the_check():
    """A new option for a file must be one of those that never write over what is read."""
    named = {
        action.dest
        for script in SCRIPTS
        for _, parser in parsers(parser_of(script))
        for action in parser._actions
        if action.metavar == "FILE"
    }
    assert named == {*terminal.WRITTEN, *terminal.READ}


OVER_INPUT = [
    ("optimization", ["solve", "--input", "x.json", "--output", "x.json"]),
    ("optimization", ["pareto", "--input", "pareto.csv", "--output", "."]),
    ("sources", ["import", "load.csv", "--time-column", "time", "--load", "a:kW", "--output", "."]),
    ("pipeline", ["--data", ".", "--json", "sources.csv"]),
    ("battery", ["--plot", "config.png", "--config", "config.png"]),
    ("report", ["--output", "config.ini"]),
    ("forecasting", ["backtest", "--source", "a", "--origins", "2", "--output", "config.ini"]),
    ("generation", ["--plot", "config.ini"]),
    ("pipeline", ["--json", "config.ini"]),
]


@pytest.mark.parametrize(("script", "words"), OVER_INPUT)
def test_no_script_writes_over_what_it_reads(script, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("x.json", "pareto.csv", "load.csv", "sources.csv", "config.png", "config.ini"):
        Path(name).write_text("" if name.startswith("config") else "kept")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    words = words if "--config" in words else [*words, "--config", "config.ini"]
    assert importlib.import_module(script).main(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.search(r"--(output|plot|json) .*: is the file that (FILE|--\w+) names", line), line
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
