"""Rules that hold for the command line of every script and subcommand."""

import argparse
import ast
import importlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import db
from sources import Source, write_sources
from vpp.runtime import terminal
from vpp.runtime.config import load_config
from vpp.runtime.files import READ, WRITTEN

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(
    path.stem
    for path in ROOT.glob("*.py")
    if "def build_parser" in path.read_text(encoding="utf-8")
)


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


# flags of a script that a command reads though they stand before it
READ_BEFORE = {
    *{("optimization", "--issue-time", "pareto"), ("pipeline", "--data", "operate")},
    *{("optimization", "--site", name) for name in ("value", "export", "backtest")},
    *{("sources", "--site", "list"), ("sources", "--site", "sites")},
}


def test_a_flag_before_a_command_that_does_not_read_it_is_refused(capsys):
    """`forecasting.py --model arima backtest` tested another model, and said nothing."""
    checked = 0
    for script, words in COMMANDS:
        outer = parser_of(script)
        if len(words) != 1:
            continue
        for flag, action in outer._option_string_actions.items():
            known = flag in ("--help", "--config", "--json") or not flag.startswith("--")
            if known or (script, flag, words[0]) in READ_BEFORE:
                continue
            value = [] if action.nargs == 0 else ["2025-01-01T00:00Z"]
            line = refusal(script, [flag, *value, *words], capsys)
            assert f"{flag}: stands before {words[0]}, which does not read it there" in line
            checked += 1
    assert checked == 31
    named = terminal.parse(parser_of("forecasting"), ["--source", "backtest", "--model", "arima"])
    assert named.source == ["backtest"]
    aims = terminal.parse(
        parser_of("optimization"), ["--issue-time", "2025-01-01T00:00Z", "pareto"]
    )
    assert aims.issue_time == pd.Timestamp("2025-01-01", tz="UTC")


@pytest.mark.parametrize(("script", "words"), COMMANDS)
def test_a_number_that_is_none_is_refused_in_words(script, words, capsys):
    parser = dict(parsers(parser_of(script)))[words]
    for flag, action in parser._option_string_actions.items():
        if action.type in (int, float):
            for text in ("many", "3,5"):
                line = refusal(script, [*words, f"{flag}={text}"], capsys)
                kind = "a whole number" if action.type is int else "a number"
                assert f"{text}: expected {kind}" in line, line


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_unknown_subcommand_is_one_line_with_the_nearest(script, capsys):
    for words, parser in parsers(parser_of(script)):
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name in action.choices:
                    line = refusal(script, [*words, f"{name}x"], capsys)
                    assert re.search(rf"{name}x: expected one of {name}\b", line), line


def test_nothing_beside_the_scripts_takes_a_flag_cut_short():
    """Benchmarks, examples and tools make parsers of their own."""
    made = {}
    for folder in ("benchmarks", "deploy", "docs", "examples", "tests"):
        for path in (ROOT / folder).glob("**/*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("ArgumentParser"):
                    options = [ast.unparse(item) for item in node.keywords]
                    made[path.stem] = "allow_abbrev=False" in options
    assert len(made) > 10
    assert [name for name, refuses in made.items() if not refuses] == []


def test_every_option_that_names_a_file_is_known_to_the_check():
    """A new option for a file must be one of those that never write over what is read."""
    named = {
        action.dest
        for script in SCRIPTS
        for _, parser in parsers(parser_of(script))
        for action in parser._actions
        if action.metavar == "FILE"
    }
    assert named == {*WRITTEN, *READ}


OVER_INPUT = [
    ("optimization", ["solve", "--input", "x.json", "--output", "x.json"]),
    ("optimization", ["pareto", "--input", "pareto.csv", "--output", "."]),
    ("sources", ["import", "load.csv", "--time-column", "time", "--load", "a:kW", "--output", "."]),
    ("pipeline", ["--data", ".", "--json", "sources.csv"]),
    ("battery", ["--plot", "config.png", "--config", "config.png"]),
    ("report", ["--output", "config.ini"]),
    ("report", ["--period", "day", "--csv", "config.ini"]),
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
    assert re.search(r"--(output|plot|json|csv) .*: is the file that (FILE|--\w+) names", line), (
        line
    )
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("script", "words"), COMMANDS)
def test_an_empty_value_is_refused_in_one_line(script, words, capsys):
    parser = dict(parsers(parser_of(script)))[words]
    for flag, action in parser._option_string_actions.items():
        if action.nargs != 0:
            for empty in ("", " "):
                line = refusal(script, [*words, flag, empty], capsys)
                assert f"{flag}: is empty; expected a value" in line.replace("/", " ")
    for action in parser._get_positional_actions():
        if not isinstance(action, argparse._SubParsersAction):
            assert "is empty" in refusal(script, [*words, ""], capsys)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_configuration_that_is_not_there_is_one_line(script, capsys):
    for words, parser in parsers(parser_of(script)):
        needed = [word for action in parser._actions if action.required for word in given(action)]
        if not any(
            isinstance(a, argparse._SubParsersAction) and a.required for a in parser._actions
        ):
            assert (
                importlib.import_module(script).main([*words, *needed, "--config", "nosuch.ini"])
                == 2
            )
            [line] = capsys.readouterr().err.splitlines()
            assert "nosuch.ini: no such configuration file; name one with --config" in line


def given(action: argparse.Action) -> list[str]:
    """Words that satisfy a required argument."""
    return [*action.option_strings[:1], next(iter(action.choices or ["1"]))]


UNKNOWN = [
    ("sources", ["show", "load-11"], "load-1"),
    ("sources", ["remove", "load-11"], "load-1"),
    ("sources", ["connect", "load-11"], "load-1"),
    ("sources", ["add", "--kind", "sola", "--name", "x", "--capacity-kw", "1"], "solar"),
    ("sources", ["add", "--kind", "weathr", "--name", "x"], "weather"),
    (
        "sources",
        ["add", "--kind", "wind", "--name", "x", "--capacity-kw", "1", "--turbine", "E-82/230"],
        "E-82/2300",
    ),
    ("communication", ["produce", "--topic", "sola-topic"], "solar-topic"),
    ("communication", ["dlq", "lits"], "list"),
    ("db", ["reset", "--table", "schedule"], "schedules"),
    ("train_forecast", ["--source", "load-11"], "load-1"),
    ("train_forecast", ["--models", "arma"], "arima"),
    ("forecast_and_save", ["--source", "load-11"], "load-1"),
    ("forecasting", ["--source", "load-11"], "load-1"),
    ("forecasting", ["--model", "arma"], "arima"),
    ("forecasting", ["backtest", "--source", "load-11", "--origins", "2"], "load-1"),
    (
        "forecasting",
        ["backtest", "--source", "load-1", "--origins", "2", "--model", "arma"],
        "arima",
    ),
    ("battery", ["--battery", "batery-1"], "battery-1"),
    ("optimization", ["value", "--run-id", "plan-2"], "plan-1"),
    ("report", ["--run", "plan-2"], "plan-1"),
]
IDS = re.compile(r"--(\w+-)?(id|source|battery|run|model|models|table|topic|kind|turbine)(-id)?$")


def test_every_option_that_takes_a_name_is_in_the_table_of_unknown_ones():
    tried = {(script, word) for script, words, _ in UNKNOWN for word in words}
    for script in SCRIPTS:
        for _, parser in parsers(parser_of(script)):
            for flag in parser._option_string_actions:
                if IDS.match(flag) and flag not in (
                    "--id",
                    "--dry-run",
                ):  # a name given, and no name
                    assert (script, flag) in tried, f"{script}.py {flag}"


@pytest.fixture
def small_world(config_file):
    """A configuration with one source, measured once, and one plan."""
    path = config_file()
    config = load_config(path)
    load = Source("load-1", "load", "Load", "site-1", 1.0, 60, 49.6, 6.1, "UTC", {})
    write_sources(config.paths.data_dir / "sources.csv", [load])
    hour = pd.Timestamp("2025-03-30", tz="UTC")
    run = {"run_id": "plan-1", "site_id": "site-1", "issue_time": hour, "kind": "plan"}
    with db.session(config) as connection:
        db.upsert_sources(connection, [load])
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO load VALUES (%s, 'load-1', 1, now())", (hour,))
        schedule = pd.DataFrame({"load_kw": 1.0}, [hour])
        states = pd.DataFrame({"battery_id": "battery-1", "soc": 0.5}, [hour])
        db.save_schedule(connection, run, schedule, states)
    return path


def test_an_unknown_name_is_refused_with_the_nearest(small_world, capsys):
    for script, words, nearest in UNKNOWN:
        try:
            code = importlib.import_module(script).main([*words, "--config", str(small_world)])
        except SystemExit as ended:
            code = ended.code
        error = capsys.readouterr().err
        assert code == 2, f"{script} {words}: {error}"
        assert len(error.splitlines()) == 1, error
        assert re.search(rf"expected one of {nearest}(,|;|$)", error.strip()), error


LOOKED_AT = [
    ("optimization", ["solve", "--input", "problem.json", "--output", "{}"]),
    ("optimization", ["solve", "--input", "{}", "--output", "result.json"]),
    ("optimization", ["pareto", "--input", "problem.json", "--output", "{}"]),
    ("battery", ["--plot", "{}.png"]),
    ("generation", ["--plot", "{}.html"]),
    ("generation", ["--output", "{}", "--days", "1"]),
    ("sources", ["import", "{}", "--time-column", "time", "--tz", "UTC", "--load", "kw:kW"]),
    ("sources", ["import", "a.csv", "--time-column", "time", "--load", "kw:kW", "--output", "{}"]),
    ("pipeline", ["--json", "{}"]),
    ("pipeline", ["--data", "{}"]),
    ("report", ["--output", "{}"]),
    ("forecasting", ["--plot", "{}.png"]),
    ("battery", ["--config", "{}"]),
]


@pytest.mark.parametrize("place", ["a" * 300, "closed/a"])
@pytest.mark.parametrize(("script", "words"), LOOKED_AT)
def test_a_path_that_cannot_be_looked_at_is_one_line(
    script, words, place, config_file, monkeypatch, tmp_path, capsys
):
    """In a folder that the user may not enter, `Path.exists` raises; so it does for a long name."""
    problem = (ROOT / "examples" / "problem.json").read_text(encoding="utf-8")
    config = config_file()
    monkeypatch.chdir(tmp_path)
    Path("problem.json").write_text(problem)
    Path("a.csv").write_text("time,kw\n2025-01-01T00:00Z,1\n2025-01-01T01:00Z,2\n")
    Path("closed").mkdir(mode=0)
    if place == "closed/a" and os.access("closed", os.X_OK):
        pytest.skip("root may enter every folder")
    words = [word.format(place) for word in words]
    words += [] if "--config" in words else ["--config", str(config)]
    assert importlib.import_module(script).main(words) in (1, 2)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{Path(sys.argv[0]).name}: ")
    assert place in line


def test_data_that_this_user_may_not_read_are_one_line(tmp_path, capsys):
    (tmp_path / "config.ini").write_text("")

    def run(args, config):
        raise PermissionError(13, "Permission denied", "data/load.csv")

    parser = terminal.new_parser("x")
    assert terminal.run_script(parser, run, ["--config", str(tmp_path / "config.ini")]) == 1
    told = "data/load.csv: Permission denied; this user needs the right to it"
    assert capsys.readouterr().err.endswith(f": {told}\n")
