"""Series whose step changes between two fetches join on the finer of both.

As within one file, a longer interval's mean power, and its price, holds in each of its parts. A
coarser series never takes the place of finer values: where it says something else, it is refused.

    python sources.py fetch energy-charts --from 2025-09-01 --to 2025-10-31
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from vpp.site.csv_files import time_text
from vpp.site.kinds import Kind
from vpp.site.sources import Source, SourceError

TOLERANCE = 1e-6  # to which a mean of finer values is the coarser one [kW or EUR/MWh]


def on_finer_step(
    kind: Kind, source: Source, frame: pd.DataFrame, before: Source, old: pd.DataFrame
) -> tuple[Source, pd.DataFrame, pd.DataFrame]:
    """Bring new and old rows of a source to the finer of their steps.

    Parameters
    ----------
    kind : of the rows, which have one value.
    source, frame : the source as fetched, and its rows; times are text.
    before, old : the same as they are in the folder.

    Returns
    -------
    The source with the finer step, its new and its old rows.

    Raises
    ------
    SourceError : values of the coarser new rows differ from those of finer ones that are there.
    """
    step = min(source.step_min, before.step_min)
    frame = frame.reset_index(drop=True)
    new = _held(kind, frame, source.step_min, step)
    if source.step_min > step:
        _check_mean(kind, source, new, before, old)
    rows = new.reset_index(drop=True)
    return replace(source, step_min=step), rows, _held(kind, old, before.step_min, step)


def can_join(kind: Kind, source: Source, before: Source) -> bool:
    """Whether the steps of a source differ in a way that rows can be brought to one of them.

    Parameters
    ----------
    kind : of the rows.
    source, before : the source as fetched, and as it is in the folder.
    """
    low, high = sorted((source.step_min, before.step_min))
    return len(kind.values) == 1 and source.kind == before.kind and low < high and high % low == 0


def _held(kind: Kind, rows: pd.DataFrame, step_min: int, finer_min: int) -> pd.DataFrame:
    """Each row once for each part of its interval, under its own label."""
    parts = step_min // finer_min
    if parts == 1 or not len(rows):
        return rows
    name, found = kind.times[-1], rows.loc[rows.index.repeat(parts)]
    times = pd.DatetimeIndex(pd.to_datetime(rows[name], utc=True, format="ISO8601"))
    later = pd.to_timedelta(np.tile(np.arange(parts) * finer_min, len(rows)), unit="min")
    return found.assign(**{name: time_text(times.repeat(parts) + later)})


def _check_mean(
    kind: Kind, source: Source, new: pd.DataFrame, before: Source, old: pd.DataFrame
) -> None:
    """Refuse new rows, which are held, that are no means of the finer ones in the folder."""
    times = list(kind.times)
    both = new.reset_index().merge(old, on=times, suffixes=("", "_old"))
    there = pd.to_numeric(both[f"{kind.value}_old"], errors="coerce").groupby(both["index"]).mean()
    first = both.groupby("index").first()
    off = (first[kind.value] - there).abs() > TOLERANCE
    if off.any():
        place = off.idxmax()
        row = first.loc[place]
        raise SourceError(
            f"source {source.source_id}: its new rows have a step of {source.step_min} min and "
            f"another value at {row[times[-1]]} ({row[kind.value]:g}) than the rows of "
            f"{before.step_min} min that are there ({there[place]:g} on average); say --output for"
            " another folder, or a later --from"
        )
