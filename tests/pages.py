"""The pages of the documentation in the order of reading: README, then docs/ as in mkdocs.yml."""

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def _hook():
    """The module of mkdocs.yml that completes the pages."""
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["generated"] = module
    spec.loader.exec_module(module)
    return module


generated = _hook()
NAVIGATION = re.findall(
    r"^ +- (?:[\w ]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, the file it shows (or ""), its text."""

    page: str
    language: str
    title: str
    text: str

    def commands(self) -> list[str]:
        """The commands of a shell block, each on one line and without its comment."""
        joined = re.sub(r"\\\n\s*", "", self.text)
        lines = (re.sub(r"(^|\s+)# .*", "", line).strip() for line in joined.splitlines())
        return [line for line in lines if line]


def read_pages() -> dict[str, str]:
    """Text of each page, in the order in which a reader meets it, with what the hook puts in."""
    pages = {"README.md": (ROOT / "README.md").read_text(encoding="utf-8")}
    for name in NAVIGATION:
        text = (ROOT / "docs" / name).read_text(encoding="utf-8")
        pages[f"docs/{name}"] = generated.on_page_markdown(text)
    return pages


def blocks_of(page: str, text: str) -> list[Block]:
    """The fenced blocks of a page, also those inside a list."""
    found = re.findall(
        r'^( *)```(\w+)(?: title="([^"]+)")?\n(.*?)^\1```$', text, re.DOTALL | re.MULTILINE
    )
    return [
        Block(page, language, title, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE))
        for indent, language, title, body in found
    ]


PAGES = read_pages()
BLOCKS = [block for page, text in PAGES.items() for block in blocks_of(page, text)]
