"""Lines over time of the report's figures, as the dicts that plotly.js takes.

A value is drawn over its whole interval.

    python -c "from vpp.report.figures.traces import rounded; print(rounded([1234567]))"
"""

import textwrap
from collections.abc import Iterable

import numpy as np
import pandas as pd

from vpp.report.figures.axes import moments
from vpp.report.words import escape

HOVER_CHARACTERS = 44  # of a line of a note: a phone shows no wider one


def rounded(values: Iterable[float], digits: int = 5) -> list[float | None]:
    """Values for a figure; None where there is none.

    Parameters
    ----------
    values : in any unit.
    digits : significant ones that are kept."""
    return [
        float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in map(float, values)
    ]


def with_end(times: pd.DatetimeIndex, step: pd.Timedelta) -> pd.DatetimeIndex:
    """The start of each interval and the end of the last.

    Parameters
    ----------
    times : start of each interval.
    step : length of an interval."""
    return pd.DatetimeIndex(times.append(times[-1:] + step))


def times_trace(
    times: pd.DatetimeIndex, zone: str, step: pd.Timedelta, *notes: Iterable[str]
) -> dict:
    """An invisible trace whose hover lines are the interval in local time, and notes on it.

    Parameters
    ----------
    times : start of each interval.
    zone : the zone of the local time.
    step : length of an interval.
    notes : of each kind of note one an interval."""
    lines = []
    for time, *said in zip(times, *notes, strict=True):
        start, end = time.tz_convert(zone), (time + step).tz_convert(zone)
        local = f"{start:%a} {start.day} {start:%b %H:%M}–{end:%H:%M} {start.tzname()}"
        wrapped = (escape(line) for note in said for line in textwrap.wrap(note, HOVER_CHARACTERS))
        lines.append("<br>".join([f"<b>{local}</b>", *wrapped]))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "",
        "x": moments(times),
        "y": [0] * len(times),
        "text": lines,
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"width": 0, "color": "rgba(0,0,0,0)"},
    }


def step_line(
    times: pd.DatetimeIndex,
    values: Iterable[float],
    step: pd.Timedelta,
    name: str,
    unit: str,
    line: dict,
    **more: object,
) -> dict:
    """A line that stays at each value for its whole interval.

    Parameters
    ----------
    times : start of each interval.
    values : the value of each [unit].
    step : length of an interval.
    name, unit : as the hover line shows them.
    line, more : plotly's settings of the line and of the trace."""
    y = rounded(values)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": moments(with_end(times, step)),
        "y": [*y, y[-1]],
        "hovertemplate": f"%{{y:,.4~g}} {unit}",
        "connectgaps": False,
        "line": {"shape": "hv", "width": 2} | line,
    } | more
