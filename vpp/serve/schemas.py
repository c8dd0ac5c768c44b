"""Bodies and answers of the API, as OpenAPI describes them.

python -c "from vpp.serve.schemas import ANSWERS; print(sorted(ANSWERS))"
"""

from typing import Any

from vpp.schedule.problem_file import problem_schema
from vpp.site.battery_messages import OVERRIDE_WORDS

_TIME = {"type": "string", "format": "date-time"}
_NUMBER = {"type": ["number", "null"]}
_TEXT = {"type": ["string", "null"]}
_ROW = {"type": "object"}
_ROWS = {"type": "array", "items": _ROW}
_DETAIL = {
    "type": "object",
    "properties": {"detail": {"type": "string", "description": "one line"}},
    "required": ["detail"],
}


def _object(**properties: dict) -> dict:
    return {"type": "object", "properties": properties, "required": list(properties)}


_BODIES: dict[str, dict[str, Any]] = {
    "state": {
        "type": "object",
        "additionalProperties": False,
        "required": ["battery_id", "time"],
        "anyOf": [{"required": ["soc"]}, {"required": ["energy_kwh"]}],
        "properties": {
            "battery_id": {"type": "string"},
            "time": _TIME | {"description": "of the measurement"},
            "soc": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
            "energy_kwh": {"type": ["number", "null"], "minimum": 0},
            "power_kw": _NUMBER | {"description": "positive where it charges"},
        },
        "example": {"battery_id": "battery-1", "time": "2026-01-05T12:00:00Z", "soc": 0.42},
    },
    "override": {
        "type": "object",
        "additionalProperties": False,
        "required": ["battery_id", "override"],
        "properties": {
            "battery_id": {"type": "string"},
            "override": {"type": "string", "enum": list(OVERRIDE_WORDS)},
            "soc": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": 1,
                "description": "charge or discharge to this state of charge",
            },
            "until": _TIME | {"type": ["string", "null"], "description": "null: until auto"},
            "name": _TEXT | {"maxLength": 500, "description": "who orders it"},
            "reason": _TEXT | {"maxLength": 500},
        },
        "example": {"battery_id": "battery-1", "override": "hold", "name": "Ada", "reason": "test"},
    },
}

_STATE = _object(
    kind={"const": "measured"}, battery_id={"type": "string"}, time=_TIME, soc={"type": "number"}
)
_ORDER = _object(
    override_id={"type": "integer"}, battery_id={"type": "string"}, override={"type": "string"}
)
_CONTENT: dict[str, dict[str, Any]] = {
    "health": _object(status={"const": "ok"}),
    "now": _object(
        site=_ROW,
        time=_TIME,
        clock={"enum": ["plant", "wall", "data"]},
        plan={"type": ["object", "null"]},
        interval={"type": ["object", "null"]},
        price={"type": ["object", "null"]},
        power=_ROW,
        batteries=_ROWS,
        devices=_ROWS,
        health=_ROW,
    ),
    "plan": _object(
        run=_ROW,
        schedule=_ROWS,
        batteries=_ROWS,
        devices=_ROWS,
        bands=_ROWS,
        costs=_ROWS,
        changes={"type": "array", "items": {"type": "string"}},
    ),
    "forecasts": _object(run=_ROW, values=_ROWS, source=_ROW, actual=_ROWS),
    "history": _object(period={"type": "string"}, start=_TIME, end=_TIME, total=_ROW, rows=_ROWS),
    "sites": _object(sites=_ROWS),
    "solve": _object(status={"enum": ["optimal", "feasible", "infeasible"]}),
    "state": _STATE,
    "override": _ORDER,
}
_OWN_TYPES = {"metrics": "text/plain; version=0.0.4; charset=utf-8", "events": "text/event-stream"}
_WRONG = {
    401: "the token is missing or wrong",
    404: "there is nothing of that kind yet",
    408: "the body did not come in time",
    413: "the body is larger than 8 MB",
    422: "an unknown field, or an impossible value",
    503: "the database is away, or the server is busy",
}
_NEEDS = {  # answers that only some routes give
    401: set(_CONTENT) - {"health"} | set(_OWN_TYPES),
    404: {"plan", "forecasts", "sites", "now", "history"},
    408: {"solve", "state", "override"},
    413: {"solve", "state", "override"},
}


def _answers(name: str) -> dict[int | str, dict[str, Any]]:
    """The responses of a route."""
    kind = _OWN_TYPES.get(name, "application/json")
    schema = _CONTENT.get(name, {"type": "string"})
    found: dict[int | str, dict[str, Any]] = {
        200: {"description": "done", "content": {kind: {"schema": schema}}}
    }
    for status, about in _WRONG.items():
        if name in _NEEDS.get(status, {name}):
            content = {"application/json": {"schema": _DETAIL}}
            found[status] = {"description": about, "content": content}
    return found


ANSWERS = {name: _answers(name) for name in (*_CONTENT, *_OWN_TYPES)}


def body_of(name: str) -> dict[str, Any]:
    """The body that a route takes.

    Parameters
    ----------
    name : problem, state or override.
    """
    schema = problem_schema() if name == "problem" else _BODIES[name]
    schema = {key: value for key, value in schema.items() if key != "$schema"}
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}
