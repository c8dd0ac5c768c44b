"""What the README tells must exist, and what exists must be told: scripts, commands, flags, make targets, configuration keys."""

import argparse
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import config
import terminal

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:sh|console)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line.strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line.strip()]
SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py") if "def build_parser" in path.read_text(encoding="utf-8"))


def parser_of(script: str) -> argparse.ArgumentParser:
    return importlib.import_module(script).build_parser()


def subparsers(parser):
    """The parser and those of its subcommands, by the words that lead to them."""
    yield (), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from (((name, *words), found) for words, found in subparsers(inner))


def python_commands():
    for command in COMMANDS:
        words = shlex.split(command.split(" #")[0].split("|")[0])
        while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words = words[1:]
        if len(words) > 1 and words[0].endswith("python") and words[1].endswith(".py"):
            yield command, words[1], words[2:]


@pytest.mark.parametrize(("command", "script", "arguments"), list(python_commands()))
def test_commands_parse(command, script, arguments):
    assert (ROOT / script).is_file(), f"{command}: no such script"
    if "/" not in script:
        terminal.parse(parser_of(script.removesuffix(".py")), [word for word in arguments if word != "&"])


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z]+)\b", " ".join(COMMANDS)))
    assert named <= targets
    assert targets <= set(re.findall(r"`?make ([a-z]+)`?", README)), "a make target that the README does not name"


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_subcommand_and_flag_is_told(script):
    assert f"`{script}.py`" in README or f"python {script}.py" in README
    for words, parser in subparsers(parser_of(script)):
        assert not words or f"{script}.py {' '.join(words)}" in README or f"`{' '.join(words)}`" in README, (
            f"{script}.py {words} is not in the README"
        )
        for action in parser._actions:
            for flag in action.option_strings:
                if flag.startswith("--") and flag != "--help":
                    assert re.search(rf"{flag}\b", README), f"{script}.py {flag} is not in the README"


def test_every_configuration_key_is_told():
    for section, cls in {**config.SECTIONS, "battery:NAME": config.BatteryParameters}.items():
        assert f"`[{section}]`" in README, section
        for key in cls.__dataclass_fields__:
            assert key == "battery_id" or f"`{key}`" in README, f"[{section}] {key} is not in the README"
    for variable in config.ENVIRONMENT:
        assert variable in README


def test_files_that_it_links_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_needs_nothing(script, tmp_path):
    done = subprocess.run([sys.executable, ROOT / f"{script}.py", "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "--config" in done.stdout
    assert not list(tmp_path.iterdir())
