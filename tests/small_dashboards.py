"""Grafana's dashboards, and their queries as Grafana sends them."""

import json
import re
from collections.abc import Sequence

from conftest import PROJECT

FOLDER = PROJECT / "deploy" / "grafana"
DASHBOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((FOLDER / "dashboards").glob("*.json"))
}


def expand(
    query: str,
    board: dict,
    sources: Sequence[str],
    start: str = "2025-03-28T00:00:00Z",
    end: str = "2025-03-30T00:00:00Z",
) -> str:
    """A query as Grafana sends it: macros and variables replaced."""
    if board["time"]["from"].startswith("now"):
        start, end = "now() - interval '1 day'", "now() + interval '1 minute'"
    else:
        start, end = f"'{start}'", f"'{end}'"
    query = re.sub(r"\$__timeFilter\(([\w.]+)\)", rf"\1 BETWEEN {start} AND {end}", query)
    query = (
        query.replace("$__timeFrom()", start)
        .replace("$__timeTo()", end)
        .replace("$__interval", "30m")
    )
    query = query.replace("${source:sqlstring}", ",".join(f"'{name}'" for name in sources))
    query = query.replace("${battery:sqlstring}", "'battery-1'")
    query = query.replace("${site:sqlstring}", "'site-1'")
    assert "$" not in query, query
    return query


def panel(board: str, title: str) -> dict:
    return next(item for item in DASHBOARDS[board]["panels"] if item["title"] == title)
