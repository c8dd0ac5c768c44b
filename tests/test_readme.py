"""What the README tells must exist, and what exists must be told.

Scripts, commands, flags, make targets, configuration keys.
"""

import argparse
import errno
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import db
import embedded
import pipeline
from sources import Source
from vpp.runtime import config, servers, terminal

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(?:sh|console)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.strip()
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]
SCRIPTS = sorted(
    path.stem
    for path in ROOT.glob("*.py")
    if "def build_parser" in path.read_text(encoding="utf-8")
)

# those that print a table, but for pipeline.py, whose --json takes a file
TABULAR = [
    name
    for name in SCRIPTS
    if name != "pipeline" and "print_rows(" in (ROOT / f"{name}.py").read_text(encoding="utf-8")
]


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
        terminal.parse(
            parser_of(script.removesuffix(".py")), [word for word in arguments if word != "&"]
        )


def test_make_targets_exist():
    targets = set(
        re.findall(
            r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE
        )
    )
    named = set(re.findall(r"\bmake ([a-z]+)\b", " ".join(COMMANDS)))
    assert named <= targets
    assert targets <= set(re.findall(r"`?make ([a-z]+)`?", README)), (
        "a make target that the README does not name"
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_subcommand_and_flag_is_told(script):
    assert f"`{script}.py`" in README or f"python {script}.py" in README
    for words, parser in subparsers(parser_of(script)):
        assert (
            not words
            or f"{script}.py {' '.join(words)}" in README
            or f"`{' '.join(words)}`" in README
        ), f"{script}.py {words} is not in the README"
        for action in parser._actions:
            for flag in action.option_strings:
                if flag.startswith("--") and flag != "--help":
                    assert re.search(rf"{flag}\b", README), (
                        f"{script}.py {flag} is not in the README"
                    )


def test_every_configuration_key_is_told():
    for section, cls in {**config.SECTIONS, "battery:NAME": config.BatteryParameters}.items():
        assert f"`[{section}]`" in README, section
        for key in cls.__dataclass_fields__:
            assert key == "battery_id" or f"`{key}`" in README, (
                f"[{section}] {key} is not in the README"
            )
    for variable in config.ENVIRONMENT:
        assert variable in README


def test_troubleshooting_shows_the_messages_as_they_come(
    config_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    state, found = tmp_path / "elsewhere", []

    def provoke(script: str, *arguments: str) -> None:
        assert importlib.import_module(script).main(["--config", "config.ini", *arguments]) in (
            1,
            2,
        )
        found.append(capsys.readouterr().err.splitlines()[-1].partition(": ")[2])

    def refuse(places):
        raise PermissionError(errno.EACCES, "Permission denied", str(places.control))

    config_file()
    provoke("communication")
    provoke("forecast_and_save")
    provoke("sources", "list")
    provoke("optimization", "value")
    rows = [{"topic": "solar-topic", "produced": 4320, "dead_lettered": 0, "in_database": 8640}]
    with pytest.raises(config.VppError) as raised:
        pipeline.check_stored(config.load_config("config.ini"), rows)
    found.append(str(raised.value))
    save_plan(config.load_config("config.ini"))
    provoke("optimization", "value")
    for spawn in (lambda places: SimpleNamespace(poll=lambda: None, returncode=None), refuse):
        monkeypatch.setattr(servers, "_spawn_daemon", spawn)
        with pytest.raises(embedded.EmbeddedError) as raised:
            embedded.ensure_running(state, 0)
        found.append(str(raised.value))
    config_file(database={"url": "postgresql://vpp@127.0.0.1:1/vpp", "wait_s": 0})
    provoke("db")
    config_file(**{"battery:battery-1": {"eta_charge": 95}})
    provoke("battery")

    told = re.findall(
        r"^\| `([^`]+)` \|",
        README.partition("## Troubleshooting")[2].partition("\n## ")[0],
        re.MULTILINE,
    )
    assert len(told) == len(found) == 10
    for text in told:
        pattern = re.sub(r"…|HOST:PORT/DB|PATH", ".+", re.sub(r"\d+", r"\\d+", re.escape(text)))
        assert [message for message in found if re.fullmatch(pattern, message)], (
            f"{text}\nis none of\n" + "\n".join(found)
        )


def save_plan(settings: config.Config) -> None:
    """Store a plan of 48 h for which nothing has been measured."""
    hours = pd.date_range("2025-03-30", periods=48, freq="h", tz="UTC")
    names = ["grid_import_kw", "grid_export_kw", "load_kw", "renewables_kw", "curtailed_kw"]
    names += ["import_price_eur_per_mwh", "export_price_eur_per_mwh", "stored_value_eur_per_mwh"]
    run = {
        "run_id": "r",
        "site_id": "site-1",
        "issue_time": hours[0],
        "kind": "plan",
        "status": "optimal",
        "certificate": "lp-exact",
    }
    state = {
        "battery_id": "battery-1",
        "soc": 0.5,
        "energy_kwh": 1000.0,
        "charge_kw": 0.0,
        "discharge_kw": 0.0,
    }
    with db.session(settings) as connection:
        db.upsert_sources(
            connection, [Source("load-1", "load", "Load", "site-1", 1.0, 60, 49.6, 6.1, "UTC", {})]
        )
        db.upsert_sources(
            connection,
            [Source("market-1", "market", "Market", "site-1", None, 60, 49.6, 6.1, "UTC", {})],
        )
        db.upsert_batteries(connection, settings.batteries)
        db.save_schedule(
            connection,
            run,
            pd.DataFrame(0.0, hours, names).assign(reason=""),
            pd.DataFrame(state, hours),
        )


def test_files_that_it_links_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("script", TABULAR)
def test_json_is_accepted_before_and_after_a_subcommand(script):
    for words, inner in subparsers(parser_of(script)):
        needed = list(words)
        for action in inner._actions:
            if isinstance(action, argparse._SubParsersAction):
                needed += [] if not action.required else [next(iter(action.choices))]
            elif action.required:
                needed += [*action.option_strings[:1], next(iter(action.choices or ["1"]))]
        assert terminal.parse(parser_of(script), needed).json is False
        assert terminal.parse(parser_of(script), ["--json", *needed]).json is True
        assert terminal.parse(parser_of(script), [*needed, "--json"]).json is True


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_needs_nothing(script, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / f"{script}.py", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "--config" in done.stdout
    assert not list(tmp_path.iterdir())
