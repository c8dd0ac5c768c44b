"""An imported series and the oddities that were found in it: gaps, flat lines, outliers.

python sources.py import year.csv --time-column time --tz Europe/Berlin --load load:MW
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vpp.site.import_columns import Column

FLAT_H = 6.0  # a value other than zero that stands so long is reported
OUTLIER_SCALES = 10.0  # robust standard deviations off the neighbours, on both sides


@dataclass
class Series:
    """A column as it was read, and what was found in it.

    Parameters
    ----------
    column : as it was asked for.
    values : by UTC time [kW or EUR/MWh].
    step_min : of its times [min].
    duplicates : how many lines have a time of a line before.
    out_of_range : how many values are impossible.
    set_to_zero : how many values were a plant's own use at night.
    gaps : how many steps have no value.
    flat_lines : start, hours and value of each.
    outliers : time, value and median of its neighbours of each.
    rejects : line, source_id, time, value and reason of each cell that cannot be used.
    notes : how the file was understood, in words.
    preview : place of a row -> start and end [s since 1970 UTC] and value of its interval.
    issued : of a forecast, when each value was issued [UTC]; None for what is measured.
    """

    column: Column
    values: pd.Series
    step_min: int
    duplicates: int
    out_of_range: int
    set_to_zero: int
    gaps: int
    flat_lines: list = field(default_factory=list)
    outliers: list = field(default_factory=list)
    rejects: list = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    preview: dict[int, tuple[int, int, float]] = field(default_factory=dict)
    issued: pd.DatetimeIndex | None = None


def flat_lines(
    series: pd.Series, step_min: int, kind: str
) -> list[tuple[pd.Timestamp, float, float]]:
    """Find runs of one and the same value for `FLAT_H` and longer; plants may stand at zero.

    Parameters
    ----------
    series : values by time.
    step_min : of its times [min].
    kind : of the source.

    Returns
    -------
    Start, length [h] and value of each.
    """
    values = series.to_numpy()
    starts = np.flatnonzero(np.diff(values, prepend=np.nan) != 0)
    hours = np.diff(starts, append=len(values)) * step_min / 60
    long = (hours >= FLAT_H) & ((values[starts] != 0) | (kind == "load"))
    return [
        (series.index[start], float(length), float(values[start]))
        for start, length in zip(starts[long], hours[long], strict=True)
    ]


def outliers(series: pd.Series) -> list[tuple[pd.Timestamp, float, float]]:
    """Find single values that leave their neighbours and come back at once.

    A value is one where its distance from the median of its neighbours, three on each side, is more
    than `OUTLIER_SCALES` times the robust standard deviation (1.4826 median absolute deviation) of
    such distances; after Hampel (1974).

    Returns
    -------
    Time, value and median of the neighbours of each.
    """
    values = series.to_numpy()
    if len(values) < 8:
        return []
    padded = np.pad(values, 3, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 7)
    centre = np.median(windows, axis=1)
    distance = values - centre
    moved = np.abs(distance[distance != 0])
    scale = 1.4826 * np.median(moved) if len(moved) else 0.0
    before, after = np.diff(values, prepend=values[0]), np.diff(values, append=values[-1])
    alone = before * -after > 0  # up and down again, or down and up
    found = np.flatnonzero(alone & (np.abs(distance) > OUTLIER_SCALES * scale))
    return [(series.index[int(i)], float(values[i]), float(centre[i])) for i in found]


def report_row(series: Series) -> dict:
    """Sum up an imported series in a row of the table that is printed before all writing."""
    values = series.values
    return {
        "source_id": series.column.source_id,
        "kind": series.column.kind,
        "rows": len(values),
        "from": values.index[0],
        "to": values.index.max() + pd.Timedelta(minutes=series.step_min),
        "step_min": series.step_min,
        "gaps": series.gaps,
        "duplicates": series.duplicates,
        "impossible": series.out_of_range,
        "set_to_0": series.set_to_zero,
        "flat_lines": len(series.flat_lines),
        "outliers": len(series.outliers),
        "rejects": len(series.rejects),
        "min": float(values.min()),
        "mean": float(values.mean()),
        "max": float(values.max()),
    }


def remarks(found: Sequence[Series], most: int = 3) -> list[str]:
    """Tell the largest outliers and the longest flat lines of each series in words.

    Parameters
    ----------
    found : the imported series.
    most : how many of each are told.
    """
    lines = []
    for series in found:
        unit = series.column.result_unit
        largest = sorted(series.outliers, key=lambda item: -abs(item[1] - item[2]))[:most]
        lines += [
            f"outlier kept: {series.column.source_id} {time:%Y-%m-%dT%H:%MZ} {value:,.6g} "
            f"{unit}, its neighbours {centre:,.6g}"
            for time, value, centre in largest
        ]
        longest = sorted(series.flat_lines, key=lambda item: -item[1])[:most]
        lines += [
            f"flat line kept: {series.column.source_id} {start:%Y-%m-%dT%H:%MZ} {value:,.6g} "
            f"{unit} for {hours:g} h"
            for start, hours, value in longest
        ]
    return lines
