"""The layers of the project: a file imports only files to its left on its line, or on lines below (README, Contributing)."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    ("config", "terminal", "schedule_problem", "battery", "sources", "real_data"),
    (
        *("weather", "plants", "generation"),
        *("plan_basis", "schedule_site", "schedule_reasons", "schedule_model", "schedule_solver"),
        *("schedule_backtest", "schedule_pareto", "plans", "valuation", "optimization"),
        *("lookups", "features", "records", "forecast_base", "direct_models", "regression_models", "forecast_models", "forecasting"),
    ),
    (
        "embedded_postgres",
        "embedded",
        "schema",
        "queries",
        "results",
        "bulk",
        "db",
        "broker",
        "writer",
        "sink",
        "producer",
        "communication",
    ),
    ("model_registry", "model_comparison", "model_selection", "train_forecast", "forecast_and_save", "figures", "report_content", "report"),
    ("pipeline",),
)
RANK = {name: (level, place) for level, names in enumerate(LAYERS) for place, name in enumerate(names)}
# They also read and write: they import what does so inside the functions that main() calls.
COMPUTE_WITH_IO = {"generation", "sources", "battery", "forecasting", "optimization", "schedule_site", "schedule_backtest"}
COMPUTE_WITH_IO |= {"plans", "valuation"}
MODULES = sorted(path for path in ROOT.glob("*.py"))


def imports(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0], node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports_respect_the_layers(path):
    name, tree = path.stem, ast.parse(path.read_text(encoding="utf-8"))
    assert name in RANK, f"{name} has no place in LAYERS"
    assert name not in sys.stdlib_module_names
    at_module_level = {id(node) for node in tree.body}
    level, place = RANK[name]
    for imported, node in imports(tree):
        if level < 2 and id(node) in at_module_level:
            assert imported not in {"mlflow", "optuna", "psycopg2", "confluent_kafka"}, f"{name} imports {imported} at module level"
        if imported in RANK:
            below = RANK[imported][0] < level or (RANK[imported][0] == level and RANK[imported][1] < place)
            lazy_io = name in COMPUTE_WITH_IO and id(node) not in at_module_level
            assert below or lazy_io, f"{name}, line {node.lineno}, imports {imported}, which is not below it"
