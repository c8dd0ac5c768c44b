"""The clock of an import's rows: lines without a time, slots of a day, local times to UTC.

python sources.py import demand.csv --tz Europe/London --load ND:MW
"""

import numpy as np
import pandas as pd

from vpp.runtime.files import DataFileError
from vpp.site.day_slots import Slots
from vpp.site.import_rows import NOTED, Rows, Tables
from vpp.site.local_clock import fixed_offset, to_utc, winter_clock
from vpp.site.time_shapes import INVALID, NO_OFFSET

NO_TIME_MAX = 0.05  # of the lines: with more without a time the file is refused
BESIDE_MAX = 20  # lines before and after the data of a table that may be notes
TOTALS_MAX = 4  # of them may have a number: sum, mean, least and most
COPIED = 200_000  # rows whose local times are kept for messages
DAY_S = 86400


def lines_without_time(reading: Tables, rows: Rows, notes: list[str]) -> list[tuple]:
    """Give the rejects of lines without a time; a few lines before and after the data are notes.

    Parameters
    ----------
    reading : of the tables.
    rows : of it.
    notes : gets how many lines were left out.

    Raises
    ------
    DataFileError : many lines have no time, or another table begins among them.
    """
    ends = [*rows.starts[1:], len(rows.local)]
    edges = []
    for start, end in zip(rows.starts, ends, strict=True):
        there = rows.local[start:end] != INVALID
        if there.any():
            edges.append((start + int(there.argmax()), end - 1 - int(there[::-1].argmax())))
        else:
            edges.append((end, end))
    if all(first == last for first, last in edges) and not (rows.local != INVALID).any():
        line, text = reading.times.first or (0, "")
        raise DataFileError(f"line {line}: {text!r} is no time of the given form")
    for row, line, name, cell in rows.heads:
        first, last = edges[int(np.searchsorted(rows.starts, row, side="right")) - 1]
        if first < row < last:
            raise DataFileError(
                f"line {line}: another table begins, which has {cell!r} where {name!r} stands; "
                "expected one table; import that part as a file of its own"
            )
    inside: list[tuple[int, str]] = []
    outside: list[tuple[int, str]] = []
    table = np.searchsorted(rows.starts, [row for row, _, _ in rows.no_time], side="right") - 1
    for (row, line, text), number in zip(rows.no_time, table, strict=True):
        first, last = edges[number]
        (inside if first < row < last else outside).append((line, text))
    count = rows.notes - min(len(outside), BESIDE_MAX * len(rows.starts))
    is_lost = rows.untimed - len(inside) > TOTALS_MAX * len(edges)
    if is_lost or (count > NO_TIME_MAX * len(rows.local) and count > 2):
        line, text = (inside or outside)[0]
        raise DataFileError(
            f"line {line}: {text!r} is no time, as {rows.notes:,} of {len(rows.local):,} "
            "lines have none; say the form with --time-format"
        )
    if outside:
        line, text = outside[0]
        notes.append(f"{len(outside)} lines beside the data were left out (line {line}: {text!r})")
    return [(line, "", text, "", "no time of the file's format") for line, text in inside]


def turn_rows(
    reading: Tables, rows: Rows, zone: str | None, stamp: str, notes: list[str]
) -> list[tuple]:
    """Turn local times into UTC, and give the rejects of those that cannot be.

    Parameters
    ----------
    reading : of the tables.
    rows : of it; their times are changed.
    zone : of the clock of times without an offset.
    stamp : `start`, `middle` or `end`.
    notes : gets how many rows were left out.
    """
    rejects: list[tuple] = []
    if reading.slot is not None and rows.slots is not None and zone is not None:
        gone, day = _add_slots(reading.slot, rows, zone, stamp)
        if len(gone):
            reason = (
                f"the clock changes on {np.datetime64(day, 'D')}, and {reading.slot.name} does not "
                "tell whether it counts on"
            )
            _reject(rows, gone, rows.local[gone], reason, rejects)
            rows.local[gone] = INVALID
            notes.append(f"{len(gone)} rows left out: {reason}")
    before = rows.local.copy() if len(rows.local) <= COPIED else rows.local
    later = start_to_end(rows, zone) if stamp == "end" and zone and rows.slots is None else 0
    if later:
        notes.append("on days on which the clock changes an end is named by its start")
        rows.local[rows.local != INVALID] -= later
    turned = to_utc(rows.local, rows.offsets, rows.folds, zone, rows.part)
    if later:
        rows.local[rows.local != INVALID] += later
    for places, reason in (
        (turned.skipped, f"does not exist in {zone}: the clock goes forward"),
        (turned.alone, f"comes twice on the clock of {zone} but once in the file"),
    ):
        full = np.array(
            [place for place in places if any(~np.isnan(v[place]) for v in rows.values)], int
        )
        if len(full) and zone:
            _reject(rows, full, before[full], reason, rejects)
            year = 1970 + int(turned.utc[turned.utc != INVALID][0]) // 31_556_952
            notes.append(
                f"{len(full)} rows left out: their time {reason} (line {rows.lines[full[0]]}); a "
                f"meter that stays on winter time has --tz {winter_clock(zone, year)}"
            )
    return rejects


def start_to_end(rows: Rows, zone: str) -> int:
    """Tell how far ends of intervals are from the local times that the clock had; 0 where not [s].

    On the day of 25 hours some call the ends 1, 2, 2, 3, as hours that begin at 0, 1, 1, 2; for
    others they are what the clock shows: 1, 1, 2, 3. The reading counts that loses fewer rows.

    Parameters
    ----------
    rows : with local times.
    zone : of their clock.
    """
    naive = np.flatnonzero((rows.local != INVALID) & (rows.offsets == NO_OFFSET))
    if fixed_offset(zone) is not None or not len(naive):
        return 0
    days = np.unique(rows.local[naive] // DAY_S)
    clock = pd.DatetimeIndex((days * DAY_S).astype("M8[s]"))
    first = np.ones(len(days), bool)
    start, end = (
        when.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
        for when in (clock, clock + pd.Timedelta(days=1))
    )
    changed = days[np.asarray((end - start).total_seconds()) != DAY_S]
    near = naive[np.isin(rows.local[naive] // DAY_S, changed)]
    steps = np.diff(np.unique(rows.local[near]))
    if not len(steps):
        return 0
    step = int(np.median(steps))

    def lost(later: int) -> int:
        folds = rows.folds[near] if rows.folds is not None else None
        part = rows.part[near] if rows.part is not None else None
        turned = to_utc(rows.local[near] - later, rows.offsets[near], folds, zone, part)
        there = turned.utc[turned.utc != INVALID]
        return len(near) - len(there) + len(there) - len(np.unique(there))

    return step if lost(step) < lost(0) else 0


def midnights_of_the_day_before(rows: Rows) -> bool:
    """Move rows of 00:00 that stand at the end of their own date, where 24:00 is meant, to it.

    So dates are written by those whose stamps are ends of intervals: 23:00, 00:00, and then 01:00
    of the next date.

    Parameters
    ----------
    rows : whose local times are changed.

    Returns
    -------
    Whether there were any.
    """
    if rows.slots is not None or len(rows.local) > COPIED or (rows.local == INVALID).any():
        return False
    steps = np.diff(rows.local)
    if not (steps < 0).any() or not (steps > 0).any():
        return False
    step = int(np.bincount(np.minimum(steps[steps > 0], DAY_S)).argmax())
    back = np.flatnonzero((steps == step - DAY_S) & (rows.local[1:] % DAY_S == 0)) + 1
    after = back[back < len(steps)]
    if not len(back) or (steps[after] != DAY_S + step).any():
        return False
    rows.local[back] += DAY_S
    return True


def _reject(
    rows: Rows, places: np.ndarray, times: np.ndarray, reason: str, rejects: list[tuple]
) -> None:
    for place, time in zip(places[:NOTED], times, strict=False):
        text = "" if time == INVALID else f"{np.datetime64(int(time), 's').astype('M8[m]')}"
        rejects.append((int(rows.lines[place]), "", text, "", reason))


def _add_slots(slot: Slots, rows: Rows, zone: str, stamp: str) -> tuple[np.ndarray, int]:
    """Complete the times of days whose slots are counted; the rows that cannot be told, and a day.

    Slots that count on when the clock changes are put after midnight in UTC; others are local
    times, as if they were written so.
    """
    step = slot.step_min() * 60
    there = np.flatnonzero(rows.local != INVALID)
    days = np.unique(rows.local[there])
    clock = pd.DatetimeIndex(days.astype("M8[s]"))
    first = np.ones(len(days), bool)
    midnights, nights = (
        when.tz_localize(zone, ambiguous=first, nonexistent="shift_forward").tz_convert("UTC")
        for when in (clock, clock + pd.Timedelta(days=1))
    )
    lengths = ((nights - midnights).total_seconds().to_numpy() // step).astype(int)
    usual, base = 86400 // step, slot.base(stamp)
    changed = {
        int(day // 86400): int(length)
        for day, length in zip(days, lengths, strict=True)
        if length != usual
    }
    slot.check_end(changed)
    through, unknown = slot.counted(changed)
    gone = there[np.isin(rows.local[there] // 86400, list(unknown))]
    there = np.setdiff1d(there, gone)
    number = rows.slots[there] - base  # type: ignore[index]
    length = np.full(len(there), usual)
    if through:
        place = np.searchsorted(days, rows.local[there])
        seconds = midnights.tz_localize(None).to_numpy().astype("M8[s]").astype(np.int64)
        rows.offsets[there] = ((days - seconds) // 60)[place]
        length = lengths[place]
    rows.local[there] = np.where(number < length, rows.local[there] + number * step, INVALID)
    return gone, min(unknown, default=0)
