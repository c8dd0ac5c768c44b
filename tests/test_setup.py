"""Makefile, lock and package: a first command that works on the machines that people have."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
SERVES = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
# a shim of pyenv for a version that is not installed
FAILS = "#!/bin/sh\necho 'pyenv: command not found' >&2\nexit 127\n"


def make(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess:
    """Run make in a folder; `path` comes before what make itself needs, which knows no Python."""
    tools = folder / "tools"
    tools.mkdir(exist_ok=True)
    for name in ("sh", "awk", "mv", "uname"):
        if not (tools / name).exists():
            (tools / name).symlink_to(shutil.which(name))
    environment = {"PATH": f"{path}:{tools}" if path else str(tools)}
    command = [shutil.which("make"), "--no-print-directory", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def folder(tmp_path):
    """A folder with a space that holds what make reads."""
    folder = tmp_path / "my plant"
    folder.mkdir()
    for name in (
        "Makefile",
        ".env.example",
        "requirements.txt",
        "requirements-dev.txt",
        "requirements.lock",
    ):
        shutil.copy(ROOT / name, folder)
    return folder


def commands(folder: Path, **scripts: str) -> Path:
    """A folder of commands of these names."""
    place = folder / "commands"
    place.mkdir()
    for name, script in scripts.items():
        (place / name).write_text(script)
        (place / name).chmod(0o755)
    return place


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"python3.13": SERVES, "python3.11": SERVES}, "python3.13"),
        ({"python3.13": FAILS, "python3.12": SERVES, "python3": SERVES}, "python3.12"),
        ({"python3.13": FAILS, "python3.12": FAILS, "python3.11": SERVES}, "python3.11"),
        ({"python3.11": FAILS, "python3": SERVES}, "python3"),
    ],
)
def test_make_takes_the_first_python_that_serves(folder, there, taken):
    done = make(folder, "-n", ".venv/bin/python", path=commands(folder, **there))
    assert f'"{taken}" -m venv .venv' in done.stdout


def test_make_takes_the_python_that_it_is_told(folder):
    path = commands(folder, **{"python3.13": SERVES, "my python": SERVES})
    assert make(folder, "PYTHON=my python", ".env", path=path).returncode == 0
    assert (
        '"my python" -m venv .venv'
        in make(folder, "-n", "PYTHON=my python", ".venv/bin/python", path=path).stdout
    )


@pytest.mark.parametrize("there", [{}, {"python3": FAILS}, {"python3": "#!/bin/sh\nexit 1\n"}])
def test_without_a_python_that_serves_one_line_says_what_to_install(folder, there):
    done = make(folder, ".venv/bin/python", path=commands(folder, **there))
    said, ended = done.stderr.strip().splitlines()
    assert said.startswith("no Python 3.11 or newer with venv; install one")
    assert "Error 1" in ended  # make's own
    assert done.returncode == 2 and not (folder / ".venv").exists()


def test_env_is_made_in_a_folder_with_a_space_by_a_python_with_a_space(folder):
    path = commands(folder, **{"my python": SERVES})
    assert make(folder, f"PYTHON={path / 'my python'}", ".env").returncode == 0
    written = (folder / ".env").read_text()
    assert "change-me" not in written and len(written) > len((ROOT / ".env.example").read_text())
    assert not (folder / ".env.new").exists()


def test_help_lists_every_target(folder):
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    listed = make(folder, "help").stdout.splitlines()
    assert [line.split()[1] for line in listed] == phony
    assert all(len(line.split()) > 2 for line in listed)
    assert make(folder).stdout == make(folder, "help").stdout


def locked() -> list[Requirement]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def ranges(name: str) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-r")]


def versions(python: str) -> dict[str, str]:
    """The locked version of each package for a Python on Linux."""
    machine = {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found = [
        (one.name, str(one.specifier))
        for one in locked()
        if one.marker is None or one.marker.evaluate(machine)
    ]
    names = [name for name, _ in found]
    assert len(names) == len(set(names)), "one version of each"
    return {name: version.removeprefix("==") for name, version in found}


@pytest.mark.parametrize("python", ["3.11.2", "3.11.7", "3.12.3", "3.13.0"])
def test_the_lock_has_one_version_of_each_package_within_its_range(python):
    there = versions(python)
    for wanted in (*ranges("requirements.txt"), *ranges("requirements-dev.txt")):
        assert wanted.name.lower() in there, f"{wanted.name} is not locked; run make lock"
        version = there[wanted.name.lower()]
        assert wanted.specifier.contains(version), f"{wanted} has {version}; run make lock"


def test_the_lock_names_exact_versions_no_server_and_no_cuda():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text and "--" not in text
    for one in locked():
        assert re.fullmatch(r"==[\w.!+]+", str(one.specifier)), one
        assert not one.name.startswith(("nvidia", "cuda", "triton")), one
    assert "+" not in versions("3.11.2")["torch"]  # CPU build and ordinary one both satisfy it


def test_mutants_are_of_files_that_exist_and_find_every_script():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    copied = settings["also_copy"]
    selected = settings["pytest_add_cli_args_test_selection"]
    for name in (*settings["only_mutate"], *copied, *selected):
        assert (ROOT / name).exists(), f"[tool.mutmut] names {name}"
    assert set(copied) >= {path.name for path in ROOT.glob("*.py")}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The package as `pip install .` builds it, from a copy, since the build writes beside it."""
    source = tmp_path_factory.mktemp("wheel") / "source"
    shutil.copytree(ROOT / "vpp", source / "vpp", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        shutil.copy(ROOT / name, source)
    offline = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "wheel", "-q", *offline, "-w", source.parent, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (built,) = source.parent.glob("*.whl")
    return built


def test_the_package_holds_every_file_of_vpp_and_no_script(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("vpp/**/*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == there
    suffixes = {Path(name).suffix for name in packed}
    assert suffixes >= {".sql", ".html", ".json"}


IMPORTS = """
import importlib, pkgutil, sys, vpp
found = [item.name for item in pkgutil.walk_packages(vpp.__path__, "vpp.")]
for name in found:
    importlib.import_module(name)
from vpp.schedule.problem_file import parse_problem
from vpp.schedule.solver import solve
raw = {"step_min": 60, "load_kw": [2], "import_price_eur_per_mwh": [100]}
print(vpp.__path__[0], len(found), f"{solve(parse_problem(raw)).cost_eur:.2f}")
"""


def test_the_installed_package_works_far_from_the_checkout(wheel, tmp_path):
    """Without the scripts: each module is imported, and a schedule is computed."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)  # as pip does with a wheel of pure Python
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    modules = len([name for name in site.glob("vpp/**/*.py") if name.parent != site / "vpp"])
    assert done.stdout.split() == [str(site / "vpp"), str(modules), "0.20"]
