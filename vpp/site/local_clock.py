"""A local clock becomes UTC, row by row: one hour that cannot be told never refuses a year.

    python sources.py import year.csv --time-column time --tz Europe/Berlin --load load:MW

Of an hour that comes twice the first in the file is in summer time, the second in winter time; in a
file that begins with its newest row it is the other way round.
"""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.site.time_shapes import INVALID, NO_OFFSET

PART = 250_000  # rows that are turned at once
SKIPPED, ALONE = "skipped", "alone"
_FIXED = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d\d))?")


@dataclass
class Turned:
    """Local times in UTC.

    Parameters
    ----------
    utc : seconds since 1970; `INVALID` where there is no such time.
    skipped : rows whose time the clock skips.
    alone : rows whose time comes twice on the clock but once in the file.
    """

    utc: np.ndarray
    skipped: np.ndarray
    alone: np.ndarray


def fixed_offset(zone: str) -> int | None:
    """Read a zone that is written as its distance from UTC, such as +01:00 [min]; else None.

    Parameters
    ----------
    zone : of the command line.
    """
    match = _FIXED.fullmatch(zone)
    if match is None:
        return None
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    return minutes if match[1] == "+" else -minutes


def winter_clock(zone: str, year: int) -> str:
    """Name the clock of a zone that stays on winter time, as `--tz` takes it.

    Parameters
    ----------
    zone : IANA time zone.
    year : whose winter time counts.
    """
    days = pd.date_range(f"{year}-01-01", periods=365, freq="D", tz="UTC").tz_convert(zone)
    minutes = min(round(day.utcoffset().total_seconds() / 60) for day in days)
    if minutes % 60 == 0:
        return f"Etc/GMT{-minutes // 60:+d}" if minutes else "UTC"
    return f"{'+' if minutes >= 0 else '-'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def to_utc(
    local: np.ndarray,
    offsets: np.ndarray,
    folds: np.ndarray | None,
    zone: str | None,
    part: np.ndarray | None = None,
) -> Turned:
    """Turn local times into UTC.

    `local` and `offsets` are overwritten, so that large files fit: all rows say their offset then.

    Parameters
    ----------
    local : seconds since 1970 on the clock (`INVALID`: no time).
    offsets : distance of each row from UTC, where it says so [min].
    folds : which of an hour that comes twice a row is, where it says so (-1: not said).
    zone : of the clock of the other rows.
    part : number of the series that each row belongs to, where there are several.
    """
    nothing = np.zeros(0, np.int64)
    skipped, alone = [nothing], [nothing]
    minutes = fixed_offset(zone) if zone else None
    twofold: list[np.ndarray] = [nothing]
    first_winter: list[np.ndarray] = [nothing]
    backwards = _backwards(local)
    for start in range(0, len(local), PART):
        rows = slice(start, start + PART)
        there, said = local[rows], offsets[rows] != NO_OFFSET
        naive = np.flatnonzero(~said & (there != INVALID))
        move = np.where(said & (there != INVALID), offsets[rows].astype(np.int64) * 60, 0)
        clock = there[naive].copy()
        there -= move
        if minutes is not None:
            there[naive] -= minutes * 60
            offsets[rows][naive] = minutes
        elif zone is not None and len(naive):
            index = pd.DatetimeIndex(clock.astype("M8[s]"))
            flags = np.ones(len(index), bool)
            summer, gone = _seconds(index.tz_localize(zone, ambiguous=flags, nonexistent="NaT"))
            winter, _ = _seconds(index.tz_localize(zone, ambiguous=~flags, nonexistent="NaT"))
            there[naive] = np.where(gone, INVALID, summer)
            skipped.append(start + naive[gone])
            two = (summer != winter) & ~gone
            offsets[rows][naive] = np.where(gone, 0, clock - there[naive]) // 60
            twofold.append(start + naive[two])
            first_winter.append(winter[two])
    rows = np.concatenate(twofold)
    winters = np.concatenate(first_winter)
    alone.append(_settle(local, rows, winters, folds, part, backwards))
    return Turned(local, np.concatenate(skipped), np.concatenate(alone))


def _backwards(local: np.ndarray) -> bool:
    there = local[local != INVALID] if len(local) <= PART else local[[0, -1]]
    return len(there) > 1 and bool(there[0] > there[-1])


def _seconds(times: pd.DatetimeIndex) -> tuple[np.ndarray, np.ndarray]:
    gone = np.asarray(times.isna())
    return times.tz_convert("UTC").tz_localize(None).to_numpy().astype("M8[s]").astype(
        np.int64
    ), gone


def _settle(
    utc: np.ndarray,
    rows: np.ndarray,
    winters: np.ndarray,
    folds: np.ndarray | None,
    part: np.ndarray | None,
    backwards: bool,
) -> np.ndarray:
    """Give rows of an hour that comes twice their time; the rows that cannot be told come back."""
    if not len(rows):
        return rows
    said = folds[rows] if folds is not None else np.full(len(rows), -1)
    keys = pd.Series(list(zip(winters, part[rows] if part is not None else said * 0, strict=True)))
    order = keys[::-1] if backwards else keys
    turn = order.groupby(order).cumcount().reindex(keys.index).to_numpy()
    size = keys.groupby(keys).transform("size").to_numpy()
    second = np.where(said >= 0, said == 1, turn > 0)
    utc[rows] = np.where(second, winters, utc[rows])
    unknown = (said < 0) & (size == 1)
    utc[rows[unknown]] = INVALID
    return rows[unknown]
