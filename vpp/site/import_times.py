"""Times of an imported CSV file: their format is found, a local clock becomes UTC.

python sources.py import year.csv --time-column time --tz Europe/Berlin --load load:MW
"""

import re

import numpy as np
import pandas as pd

from vpp.runtime.files import DataFileError
from vpp.site.sources import STEPS_MIN

ISO = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?"
TIME_FORMATS = (  # name shown, shape, formats tried in this order
    ("ISO-8601 with zone", re.compile(ISO + r" ?(Z|[+-]\d\d:?\d\d)"), ("ISO8601",)),
    ("ISO-8601", re.compile(ISO), ("ISO8601",)),
    ("day.month.year", re.compile(r"\d{1,2}\.\d{1,2}\.\d{4} \d\d?:\d\d"), ("%d.%m.%Y %H:%M",)),
    (
        "day.month.year with seconds",
        re.compile(r"\d{1,2}\.\d{1,2}\.\d{4} \d\d?:\d\d:\d\d"),
        ("%d.%m.%Y %H:%M:%S",),
    ),
    (
        "day/month/year",
        re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d\d?:\d\d"),
        ("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"),
    ),
    (
        "day/month/year with seconds",
        re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d\d?:\d\d:\d\d"),
        ("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"),
    ),
    ("year/month/day", re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d"), ("%Y/%m/%d %H:%M",)),
    ("yearmonthdayhourminute", re.compile(r"\d{12}"), ("%Y%m%d%H%M",)),
)


def parse_times(text: pd.Series, time_zone: str | None) -> tuple[pd.Series, dict[int, str]]:
    """Read the times of the interval starts; the format is that of the first cell that has one.

    Parameters
    ----------
    text : cells by line.
    time_zone : the clock of times without an offset.

    Returns
    -------
    Times by line [UTC], NaT where unusable, and the reason for each of those.

    Raises
    ------
    DataFileError : no known format, two formats in one file, or times without a zone and no `--tz`.
    """
    text = text.str.replace(r" - .*", "", regex=True)  # ENTSO-E writes "start - end"
    shape = pd.Series(-1, index=text.index)
    for number, (_, pattern, _) in reversed(list(enumerate(TIME_FORMATS))):
        shape[text.str.fullmatch(pattern)] = number
    known = shape[shape >= 0]
    if known.empty:
        names = ", ".join(name for name, _, _ in TIME_FORMATS)
        raise DataFileError(
            f"line {text.index[0]}: {text.iloc[0]!r} is no time; expected one of: {names}"
        )
    number = known.iloc[0]
    other = known[known != number]
    if len(other):
        line = other.index[0]
        raise DataFileError(
            f"line {line}: {text[line]!r} is {TIME_FORMATS[other.iloc[0]][0]} but line "
            f"{known.index[0]}, {text[known.index[0]]!r}, is "
            f"{TIME_FORMATS[number][0]}; expected one time format in the whole file"
        )
    name, _, formats = TIME_FORMATS[number]
    usable = text.where(shape == number)
    zoned = number == 0
    parsed = [pd.to_datetime(usable, format=form, utc=zoned, errors="coerce") for form in formats]
    # where day and month can be swapped, the right way leaves fewest unparsed and the shortest span
    times = min(parsed, key=lambda result: (result.isna().sum(), result.max() - result.min()))
    reasons = dict.fromkeys(times.index[times.isna()], f"no time of the format {name}")
    if zoned:
        return times, reasons
    if time_zone is None:
        raise DataFileError(
            f"line {text.index[0]}: {text.iloc[0]!r} has no time zone; say which clock it is "
            "with --tz, such as --tz UTC"
        )
    return localize(times.dropna(), time_zone).reindex(times.index), reasons


def localize(naive: pd.Series, time_zone: str) -> pd.Series:
    """Turn times of a local clock into UTC.

    Of an hour that comes twice the first in the file is in summer time, the second in winter time.

    Parameters
    ----------
    naive : local times by line.
    time_zone : of the clock.

    Returns
    -------
    Times by line [UTC].

    Raises
    ------
    DataFileError : a time the clock skips, or one of the repeated hour that comes once only, so
        that nobody can tell which it is.
    """
    forward = naive if len(naive) < 2 or naive.iloc[0] <= naive.iloc[-1] else naive.iloc[::-1]
    occurrence = forward.groupby(forward).cumcount()
    clock = forward.dt
    summer = clock.tz_localize(time_zone, ambiguous=np.ones(len(forward), bool), nonexistent="NaT")
    winter = clock.tz_localize(time_zone, ambiguous=np.zeros(len(forward), bool), nonexistent="NaT")
    skipped = summer.isna()
    if skipped.any():
        line = skipped[skipped].index.min()
        raise DataFileError(
            f"line {line}: {naive[line]} does not exist in {time_zone} (the clock goes forward); "
            "a clock without summer time is --tz UTC or such as --tz Etc/GMT-1"
        )
    twofold = summer != winter
    alone = twofold & (forward.groupby(forward).transform("count") == 1)
    if alone.any():
        line = alone[alone].index.min()
        raise DataFileError(
            f"line {line}: {naive[line]} comes twice on the clock of {time_zone} but once in "
            "the file, so it cannot be told which it is; give times in UTC or with their offset, "
            "or leave that hour out"
        )
    times = summer.where(~twofold | (occurrence == 0), winter)
    return times.dt.tz_convert("UTC").reindex(naive.index)


def find_step(times: pd.Series, name: str) -> int:
    """Find the most frequent distance of sorted times [min].

    Parameters
    ----------
    times : by line [UTC].
    name : of the column, for the message.

    Raises
    ------
    DataFileError : there is one time only, or the distance is none of `STEPS_MIN`.
    """
    distances = times.diff().dropna().dt.total_seconds() / 60
    if distances.empty:
        raise DataFileError(f"column {name}: one time only; expected a series")
    step = distances.mode().iloc[0]
    if step not in STEPS_MIN:
        raise DataFileError(
            f"column {name}: most times are {step:g} min apart; expected a step of "
            f"{', '.join(map(str, STEPS_MIN))} min"
        )
    return int(step)
