"""The house holds: rooms and storeys of docs/architecture.md, no circle, nothing too big to read.

Imports are read from the code, those inside functions too. A room is a script or a package of
`vpp/`.
"""

import ast
import pkgutil
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STOREYS = (
    ("runtime",),
    ("site", "schedule", "physics"),
    ("forecast", "synthetic", "storage", "connect"),
    ("stream", "champions", "planning"),
    ("report", "serve", "devices"),
    ("operation",),
)
STOREY = {room: level for level, rooms in enumerate(STOREYS) for room in rooms}
SCRIPTS_STOREY = len(STOREYS)
KNOW_NO_SERVER = ("site", "schedule", "physics", "forecast", "synthetic")
SERVER_LIBRARIES = {"psycopg2", "confluent_kafka", "mlflow", "optuna"}
# The embedded servers are asked whether they answer, by the clients of their own protocols.
ASKS_SERVERS = {"vpp.runtime.servers", "vpp.runtime.postgres", "vpp.runtime.daemon"}
FLOORS_MAX, SCRIPTS_MAX, SCRIPT_LINES_MAX = 8, 14, 250
MODULE_LINES_MAX, USUAL_LINES, USUAL_SHARE, FUNCTION_LINES_MAX = 450, 350, 0.95, 60

PATHS = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in (*ROOT.glob("*.py"), *ROOT.glob("vpp/**/*.py"))
    if path.name != "__init__.py"
}
# what is read is short wherever it stands; imports and storeys are those of scripts and vpp/
ELSEWHERE = ("benchmarks", "deploy", "docs", "examples", "tests")
READ = {
    path.relative_to(ROOT).as_posix(): path
    for path in (*PATHS.values(), *(p for room in ELSEWHERE for p in ROOT.glob(f"{room}/**/*.py")))
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(PATHS[module].read_text(encoding="utf-8"))


@cache
def imported(module: str) -> list[tuple[str, int]]:
    """Every name that a module imports, anywhere in it, and the line."""
    found = []
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}, line {node.lineno}: relative import"
            found.append((node.module, node.lineno))
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


@cache
def arrows() -> dict[str, dict[str, int]]:
    """Module -> the project's modules that it imports, and where."""
    return {
        module: {name: line for name, line in imported(module) if name in PATHS and name != module}
        for module in PATHS
    }


def room(module: str) -> str:
    return module.split(".")[1] if module.startswith("vpp.") else module


def storey(module: str) -> int:
    return STOREY[room(module)] if module.startswith("vpp.") else SCRIPTS_STOREY


def floors(graph: dict[str, set[str]]) -> dict[str, int]:
    """Length of the longest way down from each node; a circle fails."""
    found: dict[str, int] = {}

    def floor(node: str, way: tuple[str, ...]) -> int:
        assert node not in way, f"circle: {' -> '.join((*way[way.index(node) :], node))}"
        if node not in found:
            below = [floor(other, (*way, node)) for other in sorted(graph[node])]
            found[node] = 1 + max(below, default=0)
        return found[node]

    for node in sorted(graph):
        floor(node, ())
    return found


def test_no_circle_of_modules():
    assert floors({module: set(below) for module, below in arrows().items()}).keys() == PATHS.keys()


def test_rooms_stand_on_few_floors():
    rooms = defaultdict(set)
    for module, below in arrows().items():
        rooms[room(module)] |= {room(other) for other in below} - {room(module)}
    assert max(floors(rooms).values()) <= FLOORS_MAX


def test_a_circle_and_its_way_are_named():
    with pytest.raises(AssertionError, match="circle: a -> b -> a"):
        floors({"a": {"b"}, "b": {"a"}})


@pytest.mark.parametrize("module", sorted(PATHS))
def test_imports_go_down(module):
    for other, line in arrows()[module].items():
        beside = storey(other) == storey(module) < SCRIPTS_STOREY and room(other) != room(module)
        up = storey(other) > storey(module)
        assert not up, f"{module}, line {line}, imports {other}, a storey above it"
        assert not beside, f"{module}, line {line}, imports {other}, another room of its storey"


@pytest.mark.parametrize("module", sorted(PATHS))
def test_what_computes_knows_no_server(module):
    if module in ASKS_SERVERS or (
        storey(module) >= STOREY["storage"] and room(module) not in KNOW_NO_SERVER
    ):
        return
    for name, line in imported(module):
        library = name.split(".")[0]
        assert library not in SERVER_LIBRARIES, f"{module}, line {line}, imports {library}"


def test_the_top_is_short():
    assert len([module for module in PATHS if not module.startswith("vpp.")]) <= SCRIPTS_MAX


def test_every_module_can_be_read_in_one_go():
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in READ.items()}
    house = {name: lines[name] for name in lines if not name.startswith(ELSEWHERE)}
    for part in (lines, house):
        long = {name: count for name, count in part.items() if count > USUAL_LINES}
        assert max(part.values()) <= MODULE_LINES_MAX, long
        assert len(long) <= (1 - USUAL_SHARE) * len(part), long
    scripts = {name: count for name, count in lines.items() if "/" not in name}
    assert max(scripts.values()) <= SCRIPT_LINES_MAX, scripts


@pytest.mark.parametrize("name", sorted(READ))
def test_every_function_can_be_read_in_one_go(name):
    for node in ast.walk(ast.parse(READ[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{name}: {node.name} has {length} lines"


def test_names_that_texts_mention_exist():
    """A module or function of vpp/ that code or pages name is there under that name."""
    texts = [
        *PATHS.values(),
        *(ROOT / "benchmarks").glob("*.py"),
        *(ROOT / "examples").glob("*.py"),
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
    ]
    named = {
        name
        for path in texts
        for name in re.findall(r"(?<![\w./-])vpp(?:\.\w+)+", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 100
    for name in sorted(named):
        assert pkgutil.resolve_name(name), name
