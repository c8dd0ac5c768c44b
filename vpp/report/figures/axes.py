"""Layouts and axes of the report's figures, as the dicts that plotly.js takes.

Figures count time in UTC, so that a day of 23 or 25 hours is drawn as long as it is; ticks are
local times.

    python -c "from vpp.report.figures.axes import axis; print(axis('Price [EUR/MWh]'))"
"""

from collections.abc import Sequence

import pandas as pd

from vpp.report.colours import colour
from vpp.report.words import clock, escape, zone_name
from vpp.site.times import DAY, from_local, local_days


def figure(data: Sequence[dict], layout: dict) -> dict:
    """A figure without a legend of its own: the page has keys, which wrap on a phone.

    Parameters
    ----------
    data : its traces.
    layout : its layout."""
    return {"data": [trace | {"showlegend": False} for trace in data], "layout": layout}


def moments(times: pd.DatetimeIndex) -> list[str]:
    """Times as a figure takes them, in UTC."""
    return list(times.tz_convert("UTC").strftime("%Y-%m-%d %H:%M"))


def local_ticks(start: pd.Timestamp, end: pd.Timestamp, zone: str, most: int) -> dict:
    """Ticks of a time axis at whole local hours, days, weeks or months, with local labels.

    Parameters
    ----------
    start, end : ends of the axis.
    zone : the zone of the labels.
    most : about how many ticks there may be.

    Returns
    -------
    The axis's tickvals and ticktext."""
    ends = pd.DatetimeIndex([start, end]).tz_convert("UTC")
    days = from_local(pd.date_range(*local_days(ends, zone)), zone).tz_convert(zone)
    hours = pd.date_range(days[0], end.tz_convert(zone), freq="h")
    days, hours = (ticks[(ticks >= start) & (ticks <= end)] for ticks in (days, hours))
    choices = [(hours[hours.hour % step == 0], True) for step in (1, 3, 6, 12)]
    choices += [
        (days, False),
        (days[days.weekday == 0], False),
        (days[days.day == 1], False),
        (days[(days.day == 1) & (days.month % 6 == 1)], False),
    ]
    ticks, with_hours = next(
        (choice for choice in choices if 0 < len(choice[0]) <= most), choices[-1]
    )
    if with_hours:
        day_shown = [tick.hour == 0 for tick in ticks]
        day_shown[0] |= not any(day_shown[:2])  # labels of two neighbours would touch
        labels = [
            clock(tick, zone, False) + (f"<br>{tick:%a} {tick.day} {tick:%b}" if day else "")
            for tick, day in zip(ticks, day_shown, strict=True)
        ]
    else:
        above = "%a" if (end - start) < 60 * DAY else "%Y"
        labels = [f"{tick.day} {tick:%b}<br>{tick:{above}}" for tick in ticks]
    return {"tickvals": moments(ticks), "ticktext": labels}


def time_layout(
    start: pd.Timestamp, end: pd.Timestamp, zone: str, height: int, narrow_height: int
) -> dict:
    """The layout of a figure over time: one time axis in local labels, no decoration.

    Parameters
    ----------
    start, end : ends of the time axis.
    zone : the zone of its labels.
    height, narrow_height : of the figure, on a screen and on a phone [CSS pixels]."""
    return {
        **plain_layout(height, narrow_height),
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "meta": {"narrow": {"height": narrow_height, **local_ticks(start, end, zone, 5)}},
        "xaxis": {
            **axis(f"Time, {escape(zone_name((start, end), zone))}"),
            **local_ticks(start, end, zone, 10),
            "type": "date",
            "tickangle": 0,
            "range": moments(pd.DatetimeIndex([start, end])),
            "spikethickness": 1,
            "spikedash": "solid",
            "spikecolor": colour("quiet"),
            # the local time is in the figure's first line instead
            "unifiedhovertitle": {"text": " "},
        },
    }


def plain_layout(height: int, narrow_height: int) -> dict:
    """The part of a layout that all figures share.

    Parameters
    ----------
    height, narrow_height : of the figure, on a screen and on a phone [CSS pixels]."""
    return {
        "height": height,
        "meta": {"narrow": {"height": narrow_height}},
        "margin": {"l": 62, "r": 10, "t": 8, "b": 62},
        "paper_bgcolor": colour("card"),
        "plot_bgcolor": colour("card"),
        "font": {
            "family": 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
            "size": 12,
            "color": colour("quiet"),
        },
        "hoverlabel": {
            "bgcolor": colour("card"),
            "bordercolor": colour("line"),
            "font": {"color": colour("ink"), "size": 12},
            "align": "left",
        },
        "showlegend": True,  # no trace is in it, but its order is that of the hover lines
        "legend": {"traceorder": "normal"},
    }


def axis(title: str, **more: object) -> dict:
    """An axis with its title.

    Parameters
    ----------
    title : ends in the unit in brackets.
    more : plotly's settings of the axis."""
    settings = {
        "title": {"text": title, "standoff": 8},
        "gridcolor": colour("line"),
        "zerolinecolor": colour("quiet"),
        "linecolor": colour("line"),
    }
    # The ticks of times, powers and prices fit without room of their own; to measure it takes a
    # third of the drawing.
    fits = title.startswith(("Time", "Power", "Price", "SOC"))
    return settings | {"automargin": not fits, "fixedrange": not title.startswith("Time")} | more
