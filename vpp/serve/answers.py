"""Answers as JSON: times as ISO-8601 in UTC, null for no value, one line for what is wrong.

python -c "from vpp.serve.answers import json_bytes; print(json_bytes({'soc': float('nan')}))"
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from fastapi import Response

from vpp.runtime.errors import VppError
from vpp.runtime.words import in_one_line, printable


class NotFoundError(VppError):
    """There is nothing of that kind yet; says what makes it."""


def json_bytes(value: object) -> bytes:
    """A value as JSON text."""
    return msgspec.json.encode(value, enc_hook=_plain)


def _plain(value: Any) -> object:
    """Values that msgspec does not know: numbers and times of numpy and pandas."""
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no value of an answer")


def records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """A frame as rows, its named index first.

    Parameters
    ----------
    frame : numbers, texts and times.
    """
    if frame.index.name:
        frame = frame.reset_index()
    columns = {str(name): _values(frame[name]) for name in frame.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(column: pd.Series) -> list[object]:
    """The values of a column as Python has them; None where there is none."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        times = pd.DatetimeIndex(column).to_pydatetime()
        return [None if time is pd.NaT else time for time in times]
    return [None if value is None or value != value else value for value in column.tolist()]


def answer(value: object, status: int = 200) -> Response:
    """A response with a value as JSON.

    Parameters
    ----------
    value : rows, texts, numbers and times.
    status : of HTTP.
    """
    return Response(json_bytes(value), status, media_type="application/json")


def refused(status: int, why: object, headers: Mapping[str, str] | None = None) -> Response:
    """A response that says in one line what is wrong.

    Parameters
    ----------
    status : of HTTP.
    why : what is wrong.
    headers : beside the usual ones.
    """
    text = json_bytes({"detail": printable(in_one_line(why))})
    return Response(text, status, dict(headers or {}), media_type="application/json")
