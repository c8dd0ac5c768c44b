"""Tells how a file was understood, before anything is written: options, three rows, counts.

python sources.py import year.csv --load load:MW --tz Europe/Berlin --dry-run
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.runtime.tables import print_rows
from vpp.runtime.words import printable
from vpp.site.csv_import import Imported
from vpp.site.import_checks import Series, remarks, report_row
from vpp.site.sources import Source

DAYLIGHT = 0.4  # mean length of the hands of a clock at the hours of power: less has no noon
DARK = 0.01  # of the energy of a PV plant while the sun is down: more is a wrong clock, too
NOON_OFF_H = 2.5  # between the middle of PV power and the sun's noon: more is a wrong clock


def print_understood(
    found: Imported, added: Sequence[tuple[Source, Series]], name: str, as_json: bool
) -> None:
    """Print what was understood, the counts, and what is worth a look.

    Parameters
    ----------
    found : of the files.
    added : sources, and the series of each.
    name : of the files.
    as_json : one row a series, with options, notes and rows as understood.
    """
    notes = [*found.notes]
    for source, series in added:
        notes += [f"{source.source_id}: {note}" for note in series.notes]
        notes += [
            note for note in (capacity_note(source, series), noon_note(source, series)) if note
        ]
    if as_json:
        more = {
            "options": {option: f"{value} ({why})" for option, value, why in found.in_force},
            "notes": notes,
            "understood": found.preview,
        }
        print_rows([report_row(series) | more for series in found.series], as_json=True)
        return
    rows = [{"option": item[0], "value": item[1], "because": item[2]} for item in found.in_force]
    print_rows(rows, "Options in force")
    print_rows(found.preview, "The first rows as understood")
    for note in notes:
        print(printable(f"! {note}"))
    print_rows([report_row(series) for series in found.series], f"Read from {name}")
    for line in remarks(found.series):
        print(printable(line))


def capacity_note(source: Source, series: Series) -> str:
    """Say where a capacity comes from that nobody stated.

    Parameters
    ----------
    source : with the capacity.
    series : of it.
    """
    if source.capacity_kw is None or series.column.capacity_kw:
        return ""
    return (
        f"{source.source_id}: capacity {source.capacity_kw:,.6g} kW is the largest value so far; "
        "--capacity states it"
    )


def noon_note(source: Source, series: Series) -> str:
    """Say when PV power is far from the sun's noon, or comes at night: the clock is a wrong one.

    Parameters
    ----------
    source : with its longitude.
    series : of it.
    """
    if source.kind != "solar" or source.longitude is None:
        return ""
    times = pd.DatetimeIndex(series.values.index) + pd.Timedelta(minutes=series.step_min / 2)
    # hours since the sun's midnight; the equation of time, at most 0.3 h, does not matter here
    hours = (times.hour + times.minute / 60 + source.longitude / 15).to_numpy() % 24
    weight = np.clip(series.values.to_numpy(), 0, None)
    if not weight.sum() > 0:
        return ""
    turn = np.exp(2j * np.pi * hours / 24)
    centre = (turn * weight).sum() / weight.sum()
    middle = float(np.angle(centre) / (2 * np.pi) * 24) % 24
    dark = weight[_is_night(times, hours, source.latitude)].sum() / weight.sum()
    off = abs(middle - 12) > NOON_OFF_H and abs(centre) >= DAYLIGHT
    if not off and dark <= DARK:
        return ""
    night = f", and {dark:.0%} of it come while the sun is down" if dark > DARK else ""
    return (
        f"{source.source_id}: the middle of its power is at {middle:.1f} h of the sun's day, whose "
        f"noon is 12{night}: check --tz, --stamp and the place ({source.latitude:g}, "
        f"{source.longitude:g})"
    )


def _is_night(times: pd.DatetimeIndex, hours: np.ndarray, latitude: float | None) -> np.ndarray:
    """When the sun is more than 6 degrees below the horizon, to a degree or two."""
    if latitude is None:
        return np.zeros(len(times), bool)
    season = 2 * np.pi * (times.dayofyear.to_numpy() + 10) / 365.25
    tilt, place = np.radians(-23.44 * np.cos(season)), np.radians(latitude)
    height = np.sin(place) * np.sin(tilt)
    height = height + np.cos(place) * np.cos(tilt) * np.cos(np.pi * (hours - 12) / 12)
    return np.asarray(height < np.sin(np.radians(-6.0)))
