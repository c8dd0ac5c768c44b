"""The problem file and the result file of `optimization.py solve`, and the schema of the former.

The dataclasses of `vpp.schedule.problem` and `vpp.schedule.devices` say what a file may hold: a
field that states what it is `about` is a field of the file, with its type, default and bounds.
Reader and schema follow them, so a new field is written down once. Run as a module, this writes
`problem.schema.json` beside it.

    python -m vpp.schedule.problem_file
"""

import dataclasses
import difflib
import functools
import json
import math
import types
import typing
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from vpp.runtime.errors import ConfigError, FieldError, shortened
from vpp.schedule.problem import Problem, Result, Schedule, Violation

SCHEMA_PATH = Path(__file__).resolve().parent / "problem.schema.json"
LARGEST = 1e15  # beyond this a number is a mistake, and no solver's tolerances mean anything
# name in the schema and words in a message, by Python type
JSON_TYPES = {
    float: ("number", "a number"),
    int: ("integer", "an integer"),
    bool: ("boolean", "a boolean"),
    str: ("string", "a string"),
    datetime: ("string", "a string"),
    np.ndarray: ("array", "an array"),
    tuple: ("array", "an array"),
}


class ProblemError(ConfigError):
    """A problem that cannot be used; names the field, its value and what is expected."""


def read_problem(path: Path | str) -> Problem:
    """Read a problem file.

    Parameters
    ----------
    path : the JSON file.

    Returns
    -------
    The problem.

    Raises
    ------
    ProblemError : it is missing, not JSON, or a field is not as the schema and the other fields
        demand; names the field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        return problem_of_text(text)
    except ProblemError as error:
        raise ProblemError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise ProblemError(
            f"{path}: no such file; expected a problem as described by {SCHEMA_PATH.name}"
        ) from None
    except OSError as error:
        raise ProblemError(f"{path}: cannot be read: {error.strerror}; name a file") from None
    except UnicodeDecodeError:
        raise ProblemError(f"{path}: not a JSON file: expected text in UTF-8") from None


def problem_of_text(text: str) -> Problem:
    """The problem that a file's text describes.

    Parameters
    ----------
    text : of the file.

    Raises
    ------
    ProblemError : it is not JSON, or a field is not as expected; names the field.
    """
    try:
        raw = json.loads(text, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise ProblemError(f"not a JSON file: {error}") from None
    except RecursionError:
        raise ProblemError("the data are nested too deeply; expected a problem") from None
    except ProblemError:
        raise
    except ValueError:  # Python reads no integer of thousands of digits
        raise ProblemError("not a JSON file: a number has too many digits") from None
    try:
        return parse_problem(raw)
    except FieldError as error:
        raise ProblemError(str(error)) from None


def parse_problem(raw: object) -> Problem:
    """The problem that parsed JSON describes.

    Parameters
    ----------
    raw : an object with the fields of `problem.schema.json`; null stands for a default.

    Returns
    -------
    The problem.

    Raises
    ------
    FieldError : a field is not as expected; names its path, its value and what is expected.
    """
    return read_object(Problem, raw)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = shortened(Counter(names).most_common(1)[0][0], 80)
        raise ProblemError(f"field {twice!r} is given twice")
    return dict(pairs)


@functools.cache
def _fields(cls: type) -> dict[str, tuple[type, bool, dataclasses.Field]]:
    """Fields of a file by name: type, whether it must be there, and the field itself."""
    hints, found = typing.get_type_hints(cls), {}
    for item in dataclasses.fields(cls):
        if "about" in item.metadata:
            kind = hints[item.name]
            if isinstance(kind, types.UnionType):  # X | None
                kind = typing.get_args(kind)[0]
            if item.metadata.get("series"):
                kind = np.ndarray
            found[item.name] = (kind, item.default is dataclasses.MISSING, item)
    return found


def read_object(cls: type, raw: object, path: str = "") -> Any:
    """An instance of a dataclass from a JSON object.

    Parameters
    ----------
    cls : a dataclass with fields that state what they are about.
    raw : the object, as `json.loads` gives it.
    path : its place in the file, for messages.

    Returns
    -------
    The instance.

    Raises
    ------
    FieldError : a field is not as expected.
    """
    if not isinstance(raw, dict):
        raise _refused(path or "the problem", raw, "an object")
    known, values, dot = _fields(cls), {}, f"{path}." if path else ""
    for name in raw:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            nearest = f"; nearest: {near[0]}" if near else ""
            raise FieldError(dot + name, "(unknown field)", "one of " + ", ".join(known) + nearest)
    for name, (kind, needed, item) in known.items():
        if needed and name not in raw:
            raise FieldError(dot + name, "(missing)", "a value; it has no default")
        if needed or raw.get(name) is not None:
            values[name] = _value(kind, raw[name], dot + name, item.metadata)
    try:
        return cls(**values)
    except FieldError as error:
        written = _written(raw, error.key)  # as written: 95, not 95.0
        shown = written if isinstance(written, (int, float)) else error.value
        raise FieldError(dot + error.key, shown, error.expected) from None


def _written(raw: dict, key: str) -> object:
    """The value that a file has for a field, or for a number of its list, such as `soc_min[3]`."""
    name, _, place = key.partition("[")
    value = raw.get(name)
    if place and isinstance(value, list) and place[:-1].isdecimal():
        return value[int(place[:-1])]
    return value


def _value(
    kind: type, raw: Any, path: str, meta: typing.Mapping = types.MappingProxyType({})
) -> Any:
    """The meaning of a JSON value for a field of this type."""
    plain = typing.get_origin(kind) or kind
    if dataclasses.is_dataclass(plain):
        return read_object(plain, raw, path)
    if plain in (float, int):
        return plain(_number(raw, path, whole=plain is int))
    if plain is np.ndarray and type(raw) in (int, float):
        return float(_number(raw, path))  # the same in all intervals
    accepted: Any = {np.ndarray: list, tuple: list, datetime: str}.get(plain, plain)
    if not isinstance(raw, accepted):
        raise _refused(path, raw, JSON_TYPES[plain][1])
    least = meta.get("least_length", 1 if meta.get("series") else 0)
    if isinstance(raw, (str, list)) and len(raw) < least:
        what = "character" if isinstance(raw, str) else "value"
        raise _refused(path, raw, f"at least {least} {what}")
    if plain is np.ndarray:
        return _series(raw, path, meta.get("null"))
    if plain is tuple:
        inner = typing.get_args(kind)[0]
        return tuple(_value(inner, item, f"{path}[{i}]") for i, item in enumerate(raw))
    return _time(raw, path) if plain is datetime else raw


def _number(raw: Any, path: str, whole: bool = False, null: float | None = None) -> float:
    """A finite number; JSON takes 60.0 for an integer."""
    if raw is None and null is not None:
        return null
    broken = type(raw) is float and whole and raw % 1 and abs(raw) < LARGEST  # 7.5, but not NaN
    if type(raw) not in (int, float) or broken:
        raise _refused(path, raw, JSON_TYPES[int if whole else float][1])
    if not abs(raw) <= LARGEST:  # NaN, too
        shown = raw if isinstance(raw, float) else f"a number of {len(str(raw))} digits"
        raise FieldError(path, shown, f"a finite number of at most {LARGEST:g} in size")
    return raw


def _series(raw: list, path: str, null: float | None) -> np.ndarray:
    """Numbers as an array, checked in one go; one by one only where that fails, to say where."""
    if set(map(type, raw)) <= {int, float}:
        try:
            values = np.array(raw, dtype=float)
        except OverflowError:
            values = np.array([math.inf])
        if (np.abs(values) <= LARGEST).all():
            return values
    return np.array([_number(item, f"{path}[{i}]", null=null) for i, item in enumerate(raw)])


def _time(text: str, path: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or time.tzinfo is None or not 1900 <= time.year <= 2200:
        expected = "an ISO-8601 time with its zone in the years 1900 to 2200"
        raise FieldError(path, text, f"{expected}, such as 2025-01-01T00:00:00Z")
    return time.astimezone(UTC)


def _refused(path: str, raw: object, expected: str) -> FieldError:
    try:
        shown = json.dumps(raw)
    except RecursionError:  # what could just be read
        shown = f"{JSON_TYPES[tuple][1]} nested too deeply"
    return FieldError(path, shown if len(shown) <= 60 else shown[:57] + "...", expected)


def problem_schema() -> dict:
    """The JSON Schema (draft 2020-12) of a problem file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A scheduling problem of one grid connection",
        "description": "Input of `python optimization.py solve --input problem.json --output"
        " result.json`. Powers are means over an interval [kW], prices EUR/MWh. null stands for"
        " the default. A list by interval has one value an interval; a number holds for all.",
        **object_schema(Problem),
    }


def object_schema(cls: type) -> dict:
    """The JSON Schema of a dataclass with fields that state what they are about."""
    known = _fields(cls)
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [name for name, (_, needed, _) in known.items() if needed],
        "properties": {name: _field_schema(*field) for name, field in known.items()},
    }


def _field_schema(kind: type, needed: bool, item: dataclasses.Field) -> dict:
    meta, schema = item.metadata, _type_schema(kind)
    if not needed:
        schema["type"] = [schema["type"], "null"]
        if item.default is not None:  # else it follows from other fields, or nothing is asked
            schema["default"] = _as_json(item.default)
    if meta.get("series"):
        schema["type"] = ["number", *np.atleast_1d(schema["type"]).tolist()]
        schema["minItems"] = 1
        if "null" in meta:
            schema["items"]["type"] = ["number", "null"]
    for name, key in (("low", "minimum"), ("high", "maximum"), ("above", "exclusiveMinimum")):
        if math.isfinite(meta.get(name, math.inf)):
            schema[key] = meta[name]
            if meta.get("series"):
                schema["items"][key] = meta[name]
    if "least_length" in meta:
        schema["minLength" if kind is str else "minItems"] = meta["least_length"]
    return schema | {"description": meta["about"]}


def _type_schema(kind: type) -> dict:
    plain = typing.get_origin(kind) or kind
    if dataclasses.is_dataclass(plain):
        return object_schema(plain)
    schema: dict[str, Any] = {"type": JSON_TYPES[plain][0]}
    if plain is np.ndarray:
        schema["items"] = _type_schema(float)
    if plain is tuple:
        schema["items"] = _type_schema(typing.get_args(kind)[0])
    return schema


def _as_json(default: object) -> Any:
    """A default as the file would state it."""
    if isinstance(default, datetime):
        return default.isoformat().replace("+00:00", "Z")
    if dataclasses.is_dataclass(default):
        return {}
    if isinstance(default, tuple):
        return list(default)
    return None if default == math.inf else default


def result_json(problem: Problem, result: Result) -> dict:
    """The result file's content.

    Parameters
    ----------
    problem : what was solved.
    result : what `vpp.schedule.solver.solve` found for it.

    Returns
    -------
    The content, ready for `json.dumps`; without a schedule it has the cause instead.
    """
    raw: dict[str, Any] = {
        "status": result.status,
        "cost_eur": result.cost_eur,
        "objective_eur": result.objective_eur,
        "certificate": dataclasses.asdict(result.certificate),
        "violations": [_violation_json(violation) for violation in result.violations],
    }
    if result.schedule is None:
        return raw | {"cause": result.cause}
    if result.position_kw is not None:
        raw["position_kw"] = result.position_kw.tolist()
        raw["position_cost_eur"] = result.position_cost_eur
        raw["deviation_cost_eur"] = result.deviation_cost_eur
    raw |= {
        "stored_value_eur_per_mwh": _values(result.stored_value_eur_per_mwh),
        "reason": list(result.reason),
    }
    raw |= _schedule_json(problem, result.schedule)
    if result.scenarios:
        raw["scenarios"] = [
            {"cost_eur": one.cost_eur, "objective_eur": one.objective_eur}
            | _schedule_json(problem, one.found)
            for one in result.scenarios
        ]
    return raw


def _violation_json(violation: Violation) -> dict:
    """A violation; the number of its scenario only where there are some."""
    raw = dataclasses.asdict(violation)
    return {name: value for name, value in raw.items() if value is not None}


def _schedule_json(problem: Problem, schedule: Schedule) -> dict:
    """The arrays of a schedule."""
    powers = zip(
        problem.batteries,
        schedule.charge_kw.tolist(),
        schedule.discharge_kw.tolist(),
        schedule.soc.tolist(),
        strict=True,
    )
    return {
        "grid_import_kw": schedule.grid_import_kw.tolist(),
        "grid_export_kw": schedule.grid_export_kw.tolist(),
        "curtailed_kw": schedule.curtailed_kw.tolist(),
        "batteries": [
            {"battery_id": battery.battery_id, "charge_kw": c, "discharge_kw": d, "soc": s}
            for battery, c, d, s in powers
        ],
        **_devices_json(problem, schedule),
    }


def _devices_json(problem: Problem, schedule: Schedule) -> dict[str, list[dict]]:
    """The arrays of all devices beside batteries, by the field that they are in."""
    found: dict[str, list[dict]] = {}
    for key, path, device in problem.devices:
        arrays = {name: _values(array) for name, array in schedule.devices[key].items()}
        found.setdefault(path.partition("[")[0], []).append({device.NAME: device.name} | arrays)
    return found


def _values(array: np.ndarray) -> list[float | None]:
    """Numbers as JSON has them; NaN is null."""
    return [None if math.isnan(value) else value for value in array.tolist()]


def main() -> int:
    """Write `problem.schema.json`."""
    SCHEMA_PATH.write_text(json.dumps(problem_schema(), indent=2) + "\n", encoding="utf-8")
    print(f"{SCHEMA_PATH.name} written")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
