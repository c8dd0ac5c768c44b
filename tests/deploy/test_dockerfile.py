"""The images of the Dockerfile: what is copied into them, and what the scripts in them import."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

IMAGES_MADE = ("sink", "planner", "models")


def stages() -> dict[str, tuple[str, list[str]]]:
    """The stage or image below each stage of the Dockerfile, and its instructions, one a line."""
    text = (PROJECT / "Dockerfile").read_text().replace("\\\n", " ")
    found, name = {}, ""
    for line in text.splitlines():
        if start := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            name = start[2]
            found[name] = (start[1], [])
        elif name and line and not line.startswith("#"):
            found[name][1].append(line)
    return found


def instructions(stage: str) -> list[str]:
    """All instructions of an image, those of the stages below it first."""
    below, own = stages()[stage]
    return [*(instructions(below) if below in stages() else []), *own]


def copied(stage: str) -> list[tuple[str, set[str]]]:
    """The sources of each COPY of an image, in order."""
    lines = [line for line in instructions(stage) if line.startswith("COPY ")]
    return [(line, set(line.split()[1:-1])) for line in lines]


def test_images_hold_the_scripts_and_no_secret_and_run_as_a_user():
    ignored = [
        line
        for line in (PROJECT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    admitted = {line[1:] for line in ignored if line.startswith("!")}
    assert ignored[0] == "*" and {".env", ".secrets"} <= set(ignored)
    parts = {image: {part for _, some in copied(image) for part in some} for image in IMAGES_MADE}
    assert set().union(*parts.values()) == admitted
    for image, names in parts.items():
        assert image == "models" or {"*.py", "config.ini", "vpp"} <= names, image
        users = [line for line in instructions(image) if line.startswith("USER")]
        assert users == ["USER 10001:10001"], "a number, so that runAsNonRoot takes it"
        assert all(list(PROJECT.glob(name)) for name in names)
    text = (PROJECT / "Dockerfile").read_text()
    owned = re.search(r"chown 10001:10001 (.*)$", text, re.MULTILINE)[1].split()
    assert owned == ["/app/data", "/app/.vpp"], "the process cannot change its code"
    for script in (PROJECT / "deploy" / "docker").glob("*.sh"):
        subprocess.run(["sh", "-n", script], check=True)


@pytest.mark.parametrize("image", IMAGES_MADE)
def test_an_edit_of_a_script_installs_nothing_again(image):
    """A RUN after a COPY of code is run again with each edit."""
    lines = instructions(image)
    last = max(at for at, line in enumerate(lines) if re.match("RUN .*(pip|apt-get)", line))
    before = [part for line in lines[:last] if line.startswith("COPY ") for part in line.split()]
    assert all(re.fullmatch(r"COPY|\./|requirements.*\.(txt|lock)", part) for part in before)
    assert "requirements.lock" in before


def test_what_the_images_run_is_in_them():
    for image in IMAGES_MADE:
        [command] = [line for line in instructions(image)[-1:] if line.startswith("CMD ")]
        _, script, *_ = json.loads(command.removeprefix("CMD "))
        assert (PROJECT / script).is_file() or (PROJECT / "deploy" / "docker" / script).is_file()
        parts = [part for _, some in copied(image) for part in some]
        assert any(Path(script).match(Path(part).name) for part in parts)


def test_the_sink_image_has_the_packages_that_the_sink_imports():
    """Followed from communication.py through vpp/, but not into functions."""
    provides = {"psycopg2-binary": "psycopg2", "confluent-kafka": "confluent_kafka"}
    lines = (PROJECT / "requirements-sink.txt").read_text().splitlines()
    ranges = [line for line in lines if not line.startswith("#")]
    assert set(ranges) <= set((PROJECT / "requirements.txt").read_text().splitlines())
    names = [re.match(r"[\w-]+", line)[0] for line in ranges]
    available = {provides.get(name, name) for name in names}
    available.add("numpy")  # pandas needs it
    wanted, seen, todo = set(), set(), ["communication"]
    while todo:
        name = todo.pop()
        path = (PROJECT / name.replace(".", "/")).with_suffix(".py")
        if name in seen or not path.exists():
            continue
        seen.add(name)
        for node in ast.parse(path.read_text()).body:
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            todo += found
            wanted |= {item.split(".")[0] for item in found}
    ours = {path.stem for path in PROJECT.glob("*.py")} | {"vpp"}
    assert "vpp.stream.sink" in seen
    assert wanted - ours - sys.stdlib_module_names <= available
