"""A hook of mkdocs: pages take tables from the code, and texts from the files beside README.md.

A page says `<!-- generated: configuration -->` for the tables of all sections and keys, made from
the dataclasses that check them and the comments of config.ini, and `<!-- include: SECURITY.md -->`
for a file of the project's top folder, whose links into docs/ are made to fit.

    mkdocs build --strict
"""

import dataclasses
import math
import re
import sys
import types
import typing
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from vpp.runtime import config  # noqa: E402

KINDS = {
    float: "number",
    int: "whole number",
    str: "text",
    date: "date",
    Path: "path",
    tuple: "list",
}


def read_comments(path: Path) -> dict[str, dict[str, str]]:
    """The comment lines above each section and key of config.ini: {section: {key or "": text}}.

    Sections that are commented out count, too; their own comments begin with two signs.
    """
    found: dict[str, dict[str, str]] = {}
    section, lines = "", []
    for line in path.read_text(encoding="utf-8").splitlines():
        line = re.sub(r"^#(?=[#\[]|\w+ =)", "", line)  # as if it were not commented out
        if line.startswith("#"):
            lines.append(line[1:].strip())
            continue
        if line.startswith("["):
            section = re.sub(r":.*\]", ":NAME", line).strip("[]")
            found[section] = {"": " ".join(lines)}
        elif "=" in line and section:
            found[section][line.partition("=")[0].strip()] = " ".join(lines)
        lines = []
    return found


def value_kind(kind: object) -> str:
    """A field's type as a person reads it."""
    if isinstance(kind, types.UnionType):
        return value_kind(typing.get_args(kind)[0])
    return KINDS[typing.get_origin(kind) or kind]


def bounds(item: dataclasses.Field) -> str:
    """The values that a field allows: its choices, or its kind with its bounds."""
    meta = item.metadata
    if "choices" in meta:
        return ", ".join(f"`{choice}`" for choice in meta["choices"])
    kind = value_kind(item.type)
    low, high = meta.get("low", -math.inf), meta.get("high", math.inf)
    above = meta.get("above", -math.inf)
    limits = [f"> {above:g}"] * (above > -math.inf)
    limits += [f"≥ {low:g}"] * (low > max(above, -math.inf))
    limits += [f"≤ {high:,.15g}"] * (high < math.inf)
    if item.name in config.UNLIMITED_KEYS:
        limits.append("or `inf`")
    if isinstance(item.type, types.UnionType):
        limits.append("or nothing")
    return f"{kind} {', '.join(limits)}".strip()


def default_text(value: object) -> str:
    """A default as config.ini writes it."""
    if isinstance(value, tuple):
        value = ", ".join(value)
    elif isinstance(value, float):
        value = f"{value:.15g}"
    return "" if value in (None, "") else f"`{value}`"


def configuration_tables(path: Path = ROOT / "config.ini") -> str:
    """A table for each section: key, default, what is allowed, meaning, environment variable.

    Raises
    ------
    ValueError : a key of the code has no comment in the file, so no page would tell its meaning.
    """
    comments = read_comments(path)
    variables = {place: name for name, place in config.ENVIRONMENT.items()}
    text = []
    named = {f"{word}:NAME": cls for word, (_, cls, _) in config.NAMED.items()}
    names = {name for *_, name in config.NAMED.values()}
    for section, cls in (config.SECTIONS | named).items():
        text += [f"## `[{section}]`", "", comments.get(section, {}).get("", ""), ""]
        text += ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        for item in dataclasses.fields(cls):
            if item.name in names:
                continue
            meaning = comments.get(section, {}).get(item.name)
            if not meaning:
                raise ValueError(
                    f"config.ini: [{section}] {item.name}: expected a comment above it"
                )
            meaning = meaning[:1].upper() + meaning[1:]
            if (section, item.name) in variables:
                meaning += f" (environment: `{variables[section, item.name]}`)"
            cells = (f"`{item.name}`", default_text(item.default), bounds(item), meaning)
            text.append(f"| {' | '.join(cell.strip() for cell in cells)} |")
        text.append("")
    return "\n".join(text)


def included(name: str) -> str:
    """A file of the top folder, its links as they are from a page in docs/."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    pages = {"SECURITY.md": "security.md", "CONTRIBUTING.md": "contributing.md"}
    pages |= {"CHANGELOG.md": "changelog.md", "README.md": "index.md"}
    for file, page in pages.items():
        text = text.replace(f"]({file}", f"]({page}")
    return text


def on_page_markdown(markdown: str, **_) -> str:
    """Replace the marks of a page before it is rendered."""
    markdown = markdown.replace("<!-- generated: configuration -->", configuration_tables())
    return re.sub(r"<!-- include: (\S+) -->", lambda mark: included(mark[1]), markdown)
