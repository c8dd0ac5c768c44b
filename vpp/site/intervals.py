"""From stamps and readings to means over the intervals of one grid of UTC.

    python sources.py import meter.csv --time-column time --tz UTC --load kwh:kWh --stamp end

A stamp is the start, middle or end of its interval. An interval is as long as the steps around it,
so that a file that goes from hours to quarters is right; energies are divided by their own
interval, prices are held over it. Rows that come now and then hold until the next one, and their
means are weighted by time.
"""

from dataclasses import dataclass

import numpy as np

from vpp.runtime.files import DataFileError
from vpp.site.sources import STEPS_MIN

STAMPS = ("start", "middle", "end")
HOUR_S, DAY_S = 3600, 86400
JITTER_S = 60  # a stamp so near to the grid, and within a tenth of the step, is on it
RUN = 12  # steps of one length that make a change of the step
COVERED = 2 / 3  # of an interval: less than that is a gap
HOLD_MIN_S = 900  # a value that comes now and then holds at least so long
PART = 250_000  # rows that are worked on at once
MOST_USUAL = 0.5  # of the distances are one step: the series is regular


@dataclass
class Gridded:
    """Means over the intervals of one grid.

    Parameters
    ----------
    starts : of the intervals, seconds since 1970 UTC.
    values : means over them.
    step_min : length of the intervals [min].
    """

    starts: np.ndarray
    values: np.ndarray
    step_min: int


def time_of(second: float) -> str:
    """Write a UTC time of messages."""
    return f"{np.datetime64(int(second), 's').astype('M8[m]')}Z"


def usual_step(times: np.ndarray, name: str) -> int | None:
    """Find the usual distance of sorted times [s]; None where there is none.

    Parameters
    ----------
    times : seconds.
    name : of the column, for the message.

    Raises
    ------
    DataFileError : there is one time only, or the step does not divide an hour.
    """
    if len(times) < 2:
        raise DataFileError(f"column {name}: one time only; expected a series")
    counts = np.zeros(2 * DAY_S + 1, np.int64)
    for start in range(0, len(times) - 1, PART):
        distances = np.minimum(np.diff(times[start : start + PART + 1]), 2 * DAY_S)
        counts += np.bincount(distances, minlength=len(counts))
    step = int(counts.argmax())
    usual = counts[step] / (len(times) - 1)
    if usual < MOST_USUAL:
        for candidate in (60, 300, 600, 900, 1800, 3600):
            near = int(tolerance(candidate))
            if counts[candidate - near : candidate + near + 1].sum() >= 0.7 * (len(times) - 1):
                return candidate
        return None
    for candidate in (60, 300, 600, 900, 1800, 3600):
        if abs(step - candidate) <= 0.02 * candidate:
            return candidate
    if HOUR_S % max(step, 1) and (step < 60 or usual < 0.9):
        return None
    if HOUR_S % step:
        raise DataFileError(
            f"column {name}: most times are {step / 60:g} min apart; expected a step of "
            f"{', '.join(map(str, STEPS_MIN))} min, or a shorter one that divides an hour"
        )
    return step


def tolerance(step: int) -> float:
    """Give how far a stamp may be beside the grid of a step [s]."""
    return min(JITTER_S, step / 10)


def to_grid(
    times: np.ndarray, offsets_min: np.ndarray, step: int, stamp: str, name: str
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Put stamps of a regular series on its grid, that of the clock on which they were written.

    Parameters
    ----------
    times : sorted seconds since 1970 UTC.
    offsets_min : how far the clock was ahead of UTC [min].
    step : of the series [s].
    stamp : `start`, `middle` or `end`; empty where it was not said.
    name : of the column, for the message.

    Returns
    -------
    Times on the grid, which rows are beside it, and what is told.

    Raises
    ------
    DataFileError : most stamps are beside the grid, so that it must be said what they are.
    """
    off, found, most, moved = np.zeros(len(times), bool), times, 0, 0
    for start in range(0, len(times), PART):
        rows = slice(start, start + PART)
        ahead = offsets_min if len(offsets_min) == 1 else offsets_min[rows]
        beside = (times[rows] + ahead.astype(np.int64) * 60) % step
        if stamp != "middle":
            beside = np.where(beside > step / 2, beside - step, beside)
            off[rows] = np.abs(beside) > tolerance(step)
            beside = np.where(off[rows], 0, beside)
            most, moved = max(most, int(np.abs(beside).max())), moved + int((beside != 0).sum())
        if beside.any():
            found = times.copy() if found is times else found
            found[rows] = times[rows] - beside
    if off.mean() > 0.5:
        place = int(off.argmax())
        raise DataFileError(
            f"column {name}: its times, such as {time_of(times[place])}, are not on the "
            f"{step / 60:g} min grid of UTC or of their clock; say --stamp middle if they lie "
            "within their intervals"
        )
    notes = [f"{moved:,} stamps up to {most} s beside the grid were put on it"] if moved else []
    return found, off, notes


def lengths(
    times: np.ndarray, step: int, backwards: bool, energies: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Find the length of each row's interval; more than one where the step changes in the file.

    Parameters
    ----------
    times : sorted seconds.
    step : the usual one [s].
    backwards : whether stamps are ends, so that the length is the distance to the row before.
    energies : of the rows, whose interval matters.

    Returns
    -------
    Lengths, or the one length [s]; which rows may be energies of the usual step or of the longer
    distance between them; and what is told.
    """
    edges, heads = _runs(times, backwards)
    sizes = np.diff(edges)
    good = (sizes >= RUN) & (HOUR_S % np.maximum(heads, 1) == 0) & (heads >= 60)
    doubt = np.zeros(len(times), bool)
    if energies is not None:
        flow = np.abs(energies[::-1] if backwards else energies)
        _judge_short_runs(edges, heads, step, flow, good, doubt)
        doubt = doubt[::-1] if backwards else doubt
    if len(np.unique(heads[good])) < 2:
        return np.array([step]), doubt, []
    known = np.repeat(np.where(good, heads, 0), sizes)
    known = np.append(known, 0)
    places = np.where(known > 0, np.arange(len(known)), -1)
    last = np.maximum.accumulate(places)
    first = int(np.flatnonzero(known > 0)[0])
    found = known[np.where(last >= 0, last, first)]
    if backwards:
        found = found[::-1]
    turns = np.flatnonzero(np.diff(found)) + 1
    words = [f"{found[0] // 60} min"]
    words += [f"{found[turn] // 60} min from {time_of(times[turn])}" for turn in turns[:3]]
    return found, doubt, [f"the step changes: {', '.join(words)}"]


def _judge_short_runs(
    edges: np.ndarray,
    heads: np.ndarray,
    step: int,
    flow: np.ndarray,
    good: np.ndarray,
    doubt: np.ndarray,
) -> None:
    """Mark a few rows that stand further apart: quarters with holes, or hours among quarters.

    Where their energies are no larger than those beside them they are of the usual step. Else, at
    an end of the file, the step changes there; inside it nothing tells.
    """
    sizes = np.diff(edges)
    longer = (heads > step) & (heads % step == 0) & (HOUR_S % np.maximum(heads, 1) == 0)
    for place in np.flatnonzero(longer & (sizes >= 2) & (sizes < RUN)):
        start, end = int(edges[place]), int(edges[place + 1])
        beside = np.append(flow[max(0, start - RUN) : start], flow[end : end + RUN])
        here, usual = float(np.median(flow[start:end])), float(np.median(beside))
        if here <= usual * (heads[place] / step) ** (1 / 3):
            continue
        if sizes[place] >= 3 and (start == 0 or end == len(flow) - 1):
            good[place] = True
        else:
            doubt[start:end] = True


def _runs(times: np.ndarray, backwards: bool) -> tuple[np.ndarray, np.ndarray]:
    """First places of the runs of equal distances and the end of the last, and the distances."""
    count = len(times) - 1
    edges = [np.zeros(1, np.int64)]
    for start in range(0, count, PART):
        distances = np.diff(times[start : start + PART + 2])
        edges.append(start + 1 + np.flatnonzero(np.diff(distances)))
    places = np.unique(np.concatenate(edges))
    places = places[places < max(count, 1)]
    heads = times[places + 1] - times[places]
    places = np.append(places, count)
    return (count - places[::-1], heads[::-1]) if backwards else (places, heads)


def on_grid(starts: np.ndarray, size: int) -> bool:
    """Tell whether all times are multiples of a length.

    Parameters
    ----------
    starts : seconds.
    size : the length [s].
    """
    places = range(0, len(starts), PART)
    return all((starts[place : place + PART] % size == 0).all() for place in places)


def output_step(starts: np.ndarray, sizes: np.ndarray) -> int:
    """Choose the step of the grid [min]: the file's own, or one of which it is a part.

    Parameters
    ----------
    starts : of the rows' intervals [s].
    sizes : lengths of them [s].
    """
    own = int(sizes.min())
    if own % 60 or own // 60 not in STEPS_MIN:
        return next((step for step in (15, 30, 60) if step * 60 % own == 0), 60)
    fitting = [step for step in STEPS_MIN if step <= own // 60]
    for step in reversed(fitting):  # an hour of a clock half an hour beside UTC is two half hours
        some = starts[:: max(1, len(starts) // PART)]
        if (some % (step * 60) == 0).mean() > 0.99:
            return step
    return fitting[0]


def project(
    starts: np.ndarray, sizes: np.ndarray, values: np.ndarray, step_min: int
) -> tuple[np.ndarray, np.ndarray]:
    """Average values over the intervals of a grid, weighted by time.

    Parameters
    ----------
    starts : of the rows' intervals, sorted, which do not overlap [s].
    sizes : lengths of them; one for all or one of each [s].
    values : means over them.
    step_min : of the grid [min].

    Returns
    -------
    Starts of the grid's intervals that are covered enough, and the means over them.
    """
    size = step_min * 60
    first = int(starts.min() // size)
    count = int(-(-(starts.max() + sizes.max()) // size)) - first
    if count > 50_000_000:
        raise DataFileError("the times span more than 50,000,000 intervals; check their format")
    sums, covered = np.zeros(count), np.zeros(count)
    for begin in range(0, len(starts), PART):
        rows = slice(begin, begin + PART)
        low, value = starts[rows], values[rows]
        high = low + (sizes if len(sizes) == 1 else sizes[rows])
        spans = (high - 1) // size - low // size + 1
        if (spans > 1).any():
            low, high, value = _split(low, high, value, spans, size)
        bins = low // size - first
        width = (high - low).astype(float)
        base = int(bins.min()) if len(bins) else 0
        added = np.bincount(bins - base, width * value)
        sums[base : base + len(added)] += added
        covered[base : base + len(added)] += np.bincount(bins - base, width)
    enough = covered >= COVERED * size - 1e-6
    places = np.flatnonzero(enough)
    return (places + first) * size, sums[places] / covered[places]


def _split(
    low: np.ndarray, high: np.ndarray, value: np.ndarray, spans: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut intervals at the edges of the grid."""
    rows = np.repeat(np.arange(len(low)), spans)
    nth = np.arange(len(rows)) - np.repeat(np.cumsum(spans) - spans, spans)
    edge = (low[rows] // size + nth) * size
    return np.maximum(low[rows], edge), np.minimum(high[rows], edge + size), value[rows]


def holds(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, int]:
    """Say until when each value holds that comes now and then.

    Parameters
    ----------
    times : sorted seconds.
    values : at them; NaN breaks off the one before.

    Returns
    -------
    Ends [s], and how many values were broken off because the next came too late.
    """
    distances = np.append(np.diff(times), int(np.median(np.diff(times))))
    longest = min(DAY_S, max(HOLD_MIN_S, 10 * float(np.percentile(distances, 95))))
    limit = np.where(values == 0, DAY_S, longest)
    late = distances > limit
    return times + np.where(late, np.minimum(distances, HOLD_MIN_S), distances), int(late.sum())


def rises(readings: np.ndarray, times: np.ndarray) -> bool:
    """Tell whether values look like a register: they rise and fall at most once a day.

    Parameters
    ----------
    readings : in the order of time.
    times : seconds.
    """
    if len(readings) < 24:
        return False
    steps = np.diff(readings[:PART])
    days = (times[: len(steps)][-1] - times[0]) // DAY_S
    falls = int((steps < 0).sum())
    if (steps > 0).mean() < 0.25:
        return False
    # hours of a counter that begins each day at 0 fall in one of 24
    return bool(
        falls <= 0.025 * len(steps) or (days >= 2 and falls <= min(days + 1, len(steps) / 20))
    )


def register(
    times: np.ndarray, readings: np.ndarray, step: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, str]]:
    """Turn readings of a register into energies between them.

    Parameters
    ----------
    times : sorted seconds.
    readings : of the register.
    step : of a regular series [s]; longer intervals are gaps.

    Returns
    -------
    Starts and ends of intervals [s], the energies over them in the register's unit, and the reason
    for each reading whose interval is unknown, by its place.
    """
    starts, ends = times[:-1], times[1:]
    energies = np.diff(readings)
    reasons: dict[int, str] = {}
    for place in np.flatnonzero(energies < 0):
        before, after = float(readings[place]), float(readings[place + 1])
        full = 10.0 ** np.ceil(np.log10(max(before, 1.0)))
        usual = np.median(energies[energies > 0]) if (energies > 0).any() else 0.0
        if before > 0.99 * full and full - before + after <= 10 * usual:
            energies[place] = full - before + after  # it went round
        else:
            energies[place] = np.nan
            reasons[int(place) + 1] = f"the register fell from {before:,.10g} to {after:,.10g}"
    longest = step if step else max(HOUR_S, 10 * float(np.percentile(ends - starts, 95)))
    keep = np.isfinite(energies) & (ends - starts <= longest)
    return starts[keep], ends[keep], energies[keep], reasons
