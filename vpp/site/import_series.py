"""One column of an import becomes a series: one number a time, on a grid, possible, in kW.

    python sources.py import meter.csv --time-column time --tz UTC --load load:kW --dry-run

Nothing is dropped in silence: a cell that cannot be used is a reject with its line and reason.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from vpp.runtime.files import DataFileError
from vpp.site import intervals
from vpp.site.import_checks import Series, flat_lines, outliers
from vpp.site.import_columns import (
    ENERGY_UNITS,
    PRICE_UNITS,
    Column,
    ColumnError,
    check_unit,
)
from vpp.site.import_options import Asked
from vpp.site.import_points import Points, Rejects, rising, sorted_points
from vpp.site.import_rows import Rows
from vpp.site.intervals import Gridded
from vpp.site.kinds import PLANT_KINDS, POWER_KINDS

# of capacity: a plant's own consumption at night, taken as zero
OWN_USE = 0.02
ABOVE_CAPACITY = 1.1  # of a stated capacity: more is impossible
IMPOSSIBLE_MAX = 0.05  # of the values: with more the file is refused
NET_SHARE = 0.05  # of a load's values that are below zero: it is what a net meter counts


@dataclass
class Kept:
    """The rows that a series is made of.

    Parameters
    ----------
    file : all rows.
    rows : places among them.
    starts : of their intervals, seconds since 1970 UTC.
    sizes : lengths of them; one for all or one of each [s].
    values : kW or EUR/MWh.
    factor : from the numbers of the file to these; one for all or one of each.
    offset : what is added then.
    """

    file: Rows
    rows: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    values: np.ndarray
    factor: np.ndarray | float
    offset: float = 0.0

    def reject(self, start: int, source_id: str, reason: str) -> tuple[int, str, str, str, str]:
        """Give the reject of the row in whose interval a time lies.

        Parameters
        ----------
        start : seconds since 1970 UTC.
        source_id : of the series.
        reason : in words.
        """
        place = max(int(np.searchsorted(self.starts, start, side="right")) - 1, 0)
        factor = self.factor[place] if isinstance(self.factor, np.ndarray) else self.factor
        cell = f"{(self.values[place] - self.offset) / factor:.10g}"
        line = int(self.file.lines[self.rows[place]])
        return line, source_id, f"{np.datetime64(start, 's')}Z", cell, reason

    def preview(self) -> dict[int, tuple[int, int, float]]:
        """Give start, end and value of the first rows, by their places."""
        wanted = [row for row, _, _, _ in self.file.first]
        sizes = np.broadcast_to(self.sizes, self.starts.shape)
        found: dict[int, tuple[int, int, float]] = {}
        for begin in range(0, len(self.rows), intervals.PART):
            rows = self.rows[begin : begin + intervals.PART]
            for place in begin + np.flatnonzero(np.isin(rows, wanted)):
                start, end = int(self.starts[place]), int(self.starts[place] + sizes[place])
                found[int(self.rows[place])] = start, end, float(self.values[place])
        return found


def make_series(
    points: Points,
    broken: np.ndarray,
    column: Column,
    asked: Asked,
    price_limits: tuple[float, float],
    rejects: Rejects,
) -> Series:
    """Make the series of a column: kW or EUR/MWh on one grid of UTC.

    Parameters
    ----------
    points : one a time, in the order of time.
    broken : times at which a row says that there is no value [s].
    column : that they are of.
    asked : the options.
    price_limits : lowest and highest price that is possible [EUR/MWh].
    rejects : get what cannot be used.

    Raises
    ------
    DataFileError : no grid, no possible value, or a register that was not said to be one.
    """
    if not len(points.values):
        raise DataFileError(f"column {column.name}: no line has both a time and a number")
    notes: list[str] = []
    points = _turned(points, column, notes)
    gridded, kept = _gridded(points, broken, column, asked, notes, rejects)
    values, zeroed, impossible = _possible(gridded, kept, column, price_limits, notes, rejects)
    index = pd.DatetimeIndex(values.index.to_numpy().astype("M8[s]").astype("M8[ns]"), tz="UTC")
    series = pd.Series(values.to_numpy(), index=index.rename("time"), name=column.source_id)
    step = gridded.step_min
    expected = round((index[-1] - index[0]) / pd.Timedelta(minutes=step)) + 1
    return Series(
        column=column,
        values=series,
        step_min=step,
        duplicates=0,
        out_of_range=impossible,
        set_to_zero=zeroed,
        gaps=expected - len(series),
        flat_lines=flat_lines(series, step, column.kind),
        outliers=outliers(series),
        rejects=rejects.rows,
        notes=notes,
        preview=kept.preview(),
    )


def _turned(points: Points, column: Column, notes: list[str]) -> Points:
    """Generation that is written as a negative number, turned."""
    values = points.values
    if (
        column.kind in PLANT_KINDS
        and values.min() < 0
        and -values.min() > 20 * max(values.max(), 0)
    ):
        notes.append("generation is written as negative numbers: the sign was turned")
        points.values = -values
    return points


def _gridded(
    points: Points,
    broken: np.ndarray,
    column: Column,
    asked: Asked,
    notes: list[str],
    rejects: Rejects,
) -> tuple[Gridded, Kept]:
    """Means on a grid, and the rows that they are of."""
    step = intervals.usual_step(points.utc, column.name)
    if step is not None:
        points = _on_grid(points, step, column, asked, notes, rejects)
        _check_stamp(points, step, asked, column)
    cumulative = asked.cumulative and column.unit in ENERGY_UNITS
    if column.is_energy and asked.cumulative is None and intervals.rises(points.values, points.utc):
        raise DataFileError(
            f"column {column.name}: its values rise, and fall once a day at most, as a register's "
            "do; say --cumulative, or --cumulative no if they are energies of intervals"
        )
    rows, values = points.rows, points.values
    sizes: np.ndarray
    if cumulative:
        starts, ends, values, reasons = intervals.register(points.utc, points.values, step)
        for place, reason in reasons.items():
            rejects.add(points, np.array([place]), reason)
        sizes, rows = ends - starts, rows[np.searchsorted(points.utc, starts)]
    elif step is not None:
        energies = points.values if column.is_energy else None
        sizes, doubt, told = intervals.lengths(points.utc, step, asked.stamp == "end", energies)
        notes += told
        if doubt.any():
            reason = f"it may be the energy of {step // 60} min or of the time between these rows"
            rejects.add(points, np.flatnonzero(doubt), reason)
            notes.append(f"{int(doubt.sum())} rows left out: {reason}")
            sizes = sizes if len(sizes) == 1 else sizes[~doubt]
            points = points.only(~doubt)
            rows, values = points.rows, points.values
        starts = points.utc - sizes if asked.stamp == "end" else points.utc
    else:
        starts, sizes, values, rows = _now_and_then(points, broken, column, asked, notes)
    if not len(starts):
        raise DataFileError(f"column {column.name}: no interval is left")
    factor = column.factor * 3600 / sizes if column.is_energy else column.factor
    if np.ndim(factor) or factor != 1 or column.offset:
        values = values * factor + column.offset
    kept = Kept(points.file, rows, starts, sizes, values, factor, column.offset)
    return _projected(kept, step, asked, notes), kept


def _on_grid(
    points: Points, step: int, column: Column, asked: Asked, notes: list[str], rejects: Rejects
) -> Points:
    """Points on the grid of the clock on which they were written; one in each interval."""
    ahead = points.file.offsets % 60
    beside = ahead[points.rows] if ahead.any() else np.zeros(1, np.int16)
    utc, off, told = intervals.to_grid(points.utc, beside, step, asked.stamp, column.name)
    notes += told
    if off.any():
        rejects.add(points, np.flatnonzero(off), f"its time is not on the {step / 60:g} min grid")
    if utc is points.utc and not off.any():
        return points
    points = sorted_points(Points(utc, points.values, points.rows, points.file).only(~off))
    if not rising(points.utc, 1):
        twice = np.append(False, np.diff(points.utc) == 0)
        rejects.add(points, np.flatnonzero(twice), "its interval is that of the row before")
        points = points.only(~twice)
    return points


def _check_stamp(points: Points, step: int, asked: Asked, column: Column) -> None:
    """Refuse stamps that look like ends of intervals where nobody said what they are."""
    if asked.stamp or len(points.utc) < 24 * 3600 / step or asked.cumulative:
        return
    if points.local(0) % 86400 == step and points.local(-1) % 86400 == 0:
        raise DataFileError(
            f"column {column.name}: its first stamp of the day is {step // 60} min after midnight "
            "and the last is midnight, as if stamps were ends of intervals; say --stamp end or "
            "--stamp start"
        )


def _now_and_then(
    points: Points, broken: np.ndarray, column: Column, asked: Asked, notes: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values that come now and then: each holds until the next."""
    if column.is_energy:
        raise DataFileError(
            f"column {column.name}: its times have no usual step, so that the intervals of its "
            "energies are unknown; say --cumulative if they are readings of a register"
        )
    if asked.stamp == "middle":
        raise DataFileError(
            f"column {column.name}: its times have no usual step for --stamp middle"
        )
    utc = np.concatenate([points.utc, np.setdiff1d(broken, points.utc)])
    order = np.argsort(utc, kind="stable")
    empty = np.full(len(utc) - len(points.utc), np.nan)
    values = np.concatenate([points.values, empty])[order]
    rows = np.concatenate([points.rows, np.zeros(len(empty), np.int32)])[order]
    utc = utc[order]
    if asked.stamp == "end":
        starts, ends, values, rows = utc[:-1], utc[1:], values[1:], rows[1:]
    else:
        ends, late = intervals.holds(utc, values)
        starts = utc
        if late:
            notes.append(f"{late} values end where no other came for long")
    there = np.isfinite(values) & (ends > starts)
    median = float(np.median(np.diff(utc)))
    notes.append(f"rows come now and then (about every {median:g} s): means weighted by time")
    return starts[there], (ends - starts)[there], values[there], rows[there]


def _projected(kept: Kept, step: int | None, asked: Asked, notes: list[str]) -> Gridded:
    starts, sizes = kept.starts, kept.sizes
    out = asked.step_min
    if out is None:
        out = 15 if step is None else intervals.output_step(starts, sizes)
    if (sizes == out * 60).all() and intervals.on_grid(starts, out * 60):
        return Gridded(starts, kept.values, out)
    if step is not None:
        notes.append(f"rows of {int(sizes.min()) / 60:g} min became means over {out} min")
    return Gridded(*intervals.project(starts, sizes, kept.values, out), out)


def _possible(
    gridded: Gridded,
    kept: Kept,
    column: Column,
    price_limits: tuple[float, float],
    notes: list[str],
    rejects: Rejects,
) -> tuple[pd.Series, int, int]:
    """Values that are possible, how many became 0, and how many are impossible."""
    values = pd.Series(gridded.values, gridded.starts)
    zeroed = 0
    if column.kind not in POWER_KINDS:
        low, high = column.limits(price_limits)
        what = "a price" if column.kind == "market" else f"{column.quantity}"
        reason = f"{what} outside {low:g} to {high:g} {column.result_unit}"
    else:
        capacity = column.capacity_kw or float(values.abs().max())
        low, high = 0.0, ABOVE_CAPACITY * capacity
        if column.kind in PLANT_KINDS:
            own_use = (values < 0) & (values >= -OWN_USE * capacity)
            zeroed = int(own_use.sum())
            values = values.mask(own_use, 0.0)
        elif _is_net(values.to_numpy()):
            low = -high
            notes.append(
                f"{int((values < 0).sum()):,} values are below zero: a net meter's, which are kept"
            )
        reason = (
            f"a power outside {low:g} to {ABOVE_CAPACITY:g} times the capacity of {capacity:g} kW"
        )
    impossible = (values < low) | (values > high)
    count = int(impossible.sum())
    if count > IMPOSSIBLE_MAX * len(values) and count > 2:
        raise DataFileError(
            f"column {column.name}: {count:,} of {len(values):,} values "
            f"({count / len(values):.0%}) are impossible: {reason}; "
            + _other_unit(column, values, low, high)
        )
    for start in values.index[impossible]:
        rejects.rows.append(kept.reject(int(start), column.source_id, reason))
    values = values[~impossible]
    if values.empty or (column.kind in POWER_KINDS and not values.abs().max() > 0):
        raise DataFileError(
            f"column {column.name}: no possible value is left; check its unit {column.unit} and "
            "capacity"
        )
    return values, zeroed, count


def _is_net(values: np.ndarray) -> bool:
    """Whether a load's negative values are those of a net meter, and no single faults."""
    below = values < 0
    return (
        bool(below.mean() > NET_SHARE) and bool((below[1:] & below[:-1]).any()) and values.max() > 0
    )


def _other_unit(column: Column, values: pd.Series, low: float, high: float) -> str:
    """Which unit would fit, in words."""
    if column.kind not in POWER_KINDS and column.kind != "market":
        return f"check the unit {column.unit}"
    if column.kind == "market":
        for unit, factor in PRICE_UNITS.items() if column.currency == "EUR" else ():
            there = values / column.factor * factor
            if unit != column.unit and ((there >= low) & (there <= high)).mean() > 0.99:
                shown = {"eur/mwh": "EUR/MWh", "eur/kwh": "EUR/kWh", "ct/kwh": "ct/kWh"}[unit]
                with suppress(ColumnError):  # the name may state the unit that was said
                    check_unit(replace(column, unit=unit), column.name, "its name")
                    return f"all would fit as {shown}: say {column.option} {column.name}:{shown}"
        most = "[kafka] price_min_eur_per_mwh and price_max_eur_per_mwh"
        return f"check the column and its unit; {most} of the configuration bound what is possible"
    if (values < 0).mean() > IMPOSSIBLE_MAX:
        kind = "--load" if column.kind in PLANT_KINDS else "--solar"
        return f"values below zero are no {column.kind}; is it {kind}, or another column?"
    return "check the unit, and the capacity (--capacity)"
