"""README and docs tell what exists, and what they tell exists.

Scripts, commands, flags, make targets, configuration keys, messages, links; and mkdocs builds the
pages without a warning and without a network.
"""

import argparse
import errno
import html.parser
import importlib
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from pages import BLOCKS, PAGES, ROOT, generated

import db
import embedded
import pipeline
from sources import Source
from vpp.runtime import config, servers, terminal
from vpp.runtime.errors import VppError

README = PAGES["README.md"]
TEXT = "\n".join(PAGES.values())
SCRIPTS_PAGE = PAGES["docs/scripts.md"]
COMMANDS = [
    (block.page, command)
    for block in BLOCKS
    if block.language == "sh"
    for command in block.commands()
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


def flags_of(parser) -> set[str]:
    """The long flags of a parser, but for those that all share: the page's head tells them."""
    own = [
        action
        for action in parser._actions
        if action.nargs != 0 or "--json" not in action.option_strings
    ]
    named = {flag for action in own for flag in action.option_strings}
    return {flag for flag in named if flag.startswith("--")} - {"--help", "--config"}


def section_of(text: str, title: str) -> str:
    """The text from a heading of this title to the next heading of its level or above."""
    found = re.search(
        rf"^(#+) {re.escape(title)}$(.*?)(?=^#{{1,2}} |^\1 |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return found[2] if found else ""


# --- commands ------------------------------------------------------------------------------------


def python_commands():
    """Page, command, script and arguments of each `python SCRIPT.py ...`, also in sentences."""
    prose = {page: re.sub(r"```.*?```", "", text, flags=re.DOTALL) for page, text in PAGES.items()}
    inline = [
        (page, " ".join(found.split()))
        for page, text in prose.items()
        for found in re.findall(r"`(python \w+\.py[^`]*)`", text)
    ]
    for page, command in COMMANDS + inline:
        words = shlex.split(command)
        if words[0] == "python" and words[1].endswith(".py"):
            yield page, command, words[1], words[2:]


@pytest.mark.parametrize(("page", "command", "script", "arguments"), list(python_commands()))
def test_commands_parse(page, command, script, arguments):
    assert (ROOT / script).is_file(), f"{page}: {command}: no such script"
    if "/" in script:
        source = (ROOT / script).read_text(encoding="utf-8")
        missing = [
            word for word in arguments if word.startswith("--") and f'"{word}"' not in source
        ]
        assert not missing, f"{page}: {command}: no such flag"
    elif "…" not in command:
        terminal.parse(parser_of(script.removesuffix(".py")), arguments)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", TEXT))
    named |= {word for _, command in COMMANDS for word in re.findall(r"^make ([a-z]+)$", command)}
    assert named == targets


def test_readme_is_read_in_five_minutes():
    assert len(README.splitlines()) <= 200
    assert all(f"`{script}.py`" in README for script in SCRIPTS)


# --- scripts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_and_flag_is_told_in_its_section(script):
    for words, parser in subparsers(parser_of(script)):
        name = " ".join([f"{script}.py", *words])
        section = section_of(SCRIPTS_PAGE, name)
        assert section, f"docs/scripts.md has no section {name}"
        if not words:  # the flags of its commands are in sections of their own
            section = section.partition(f"\n### {name}")[0]
        untold = {flag for flag in flags_of(parser) if f"`{flag}" not in section}
        assert not untold, f"docs/scripts.md, {name}: does not tell {untold}"


def test_every_flag_that_a_section_tells_exists():
    exists = {}
    for script in SCRIPTS:
        for words, parser in subparsers(parser_of(script)):
            exists[" ".join([f"{script}.py", *words])] = flags_of(parser)
    for name, flags in exists.items():
        section = section_of(SCRIPTS_PAGE, name).partition("\n### ")[0]
        for row in re.findall(r"^\| (`--.*?) \| ", section, re.MULTILINE):
            told = set(re.findall(r"`(--[\w-]+)", row))
            assert told <= flags | {"--json"}, f"docs/scripts.md, {name}: {told - flags}"


# --- configuration -------------------------------------------------------------------------------


def test_every_configuration_key_is_told_with_its_meaning():
    page = PAGES["docs/configuration.md"]
    named = {f"{word}:NAME": cls for word, (_, cls, _) in config.NAMED.items()}
    names = {name for *_, name in config.NAMED.values()}
    for section, cls in {**config.SECTIONS, **named}.items():
        table = section_of(page, f"`[{section}]`")
        for key in cls.__dataclass_fields__:
            row = re.search(rf"^\| `{key}` \| (.*) \| (.+) \| (.*) \|$", table, re.MULTILINE)
            assert key in names or (row and len(row[3]) > 5), f"[{section}] {key} has no meaning"
    for variable in config.ENVIRONMENT:
        assert page.count(variable) == 2, f"{variable}: told above the tables, and at its key"


def test_the_tables_of_configuration_say_what_the_code_allows():
    table = generated.configuration_tables()
    assert "| `eta_charge` | `0.95` | number > 0, ≤ 1 |" in table
    assert "| `step_min` | `60` | `5`, `15`, `30`, `60` |" in table
    assert "| `import_limit_kw` | `10000` | number ≥ 0, or `inf` |" in table
    assert "| `cycles_per_day_max` |  | number > 0, or nothing |" in table


@pytest.mark.parametrize("line", ["# Optuna trials for each model\n", "jobs = 2\n"])
def test_a_key_without_a_meaning_fails_the_build(line, tmp_path):
    text = (ROOT / "config.ini").read_text(encoding="utf-8")
    assert line in text
    (tmp_path / "config.ini").write_text(text.replace(line, "\n"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"\[training\] (trials|jobs): expected a comment"):
        generated.configuration_tables(tmp_path / "config.ini")


# --- pages ---------------------------------------------------------------------------------------


class Loads(html.parser.HTMLParser):
    """The addresses that a page loads, as opposed to those it links."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.found.append(given.get("src"))
        if tag == "link" and given.get("rel") != "canonical":
            self.found.append(given.get("href"))


def test_mkdocs_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path):
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.glob("site/**/*.html"))
    assert len(pages) > 25
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        outside = [address for address in loads.found if address and "//" in address]
        assert not outside, f"{page.name} loads {outside}"
    assert not list(tmp_path.glob("site/**/*.py"))


def test_a_dead_link_fails_the_build(tmp_path):
    for name in (
        "docs",
        "config.ini",
        "mkdocs.yml",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "mkdocs.yml").unlink()
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(text.replace("docs_dir: docs", "docs_dir: pages"))
    (tmp_path / "pages").mkdir()
    for path in (ROOT / "docs").iterdir():
        (tmp_path / "pages" / path.name).symlink_to(path)
    (tmp_path / "pages" / "units.md").unlink()
    (tmp_path / "pages" / "units.md").write_text("# Units\n\n[gone](gone.md)\n")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "gone.md" in done.stderr


def headings(text: str) -> set[str]:
    """The anchors of a page's headings."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {
        re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles
    }


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_beside_the_pages_lead_somewhere(name):
    for target in re.findall(r"\]\(([^):]+)\)", (ROOT / name).read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        assert (ROOT / file).exists(), target
        assert not anchor or anchor in headings((ROOT / file).read_text(encoding="utf-8")), target


def test_files_that_pages_name_exist():
    told = set(re.findall(r"`((?:vpp|tests|examples|benchmarks|deploy|docs)/[\w/.]+)`", TEXT))
    assert len(told) > 20
    assert not [name for name in told if not (ROOT / name).exists()]


# --- messages ------------------------------------------------------------------------------------


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
    with pytest.raises(VppError) as raised:
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

    told = re.findall(r"^\| `([^`]+)` \|", PAGES["docs/troubleshooting.md"], re.MULTILINE)
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
