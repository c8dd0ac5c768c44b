"""The figure of the money: what each way of running the site has saved so far.

Savings are summed over the intervals, so that the end of each line is its total.

    python report.py
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.report.colours import colour
from vpp.report.figures.axes import axis, figure, moments, time_layout
from vpp.report.figures.traces import rounded, times_trace, with_end
from vpp.report.frames import MOST_INTERVALS, interval_length, times_of
from vpp.report.words import currency


def cost_figure(costs: pd.DataFrame, ways: Sequence[tuple[str, str, str, str]], zone: str) -> dict:
    """Cost without a battery less that of each way, summed from the plan's start.

    Parameters
    ----------
    costs : of each interval [EUR], a column a way and no_battery.
    ways : column, label, colour and dash of each, as `Money.ways` gives them.
    zone : the zone in which times are shown."""
    step = interval_length(costs.index)
    saved = costs.rsub(costs["no_battery"], axis=0).cumsum()
    if len(saved) > MOST_INTERVALS:
        saved = saved.iloc[:: -int(np.ceil(len(saved) / MOST_INTERVALS))][::-1]
    times = times_of(saved)
    layout = time_layout(times[0], times[-1] + step, zone, height=300, narrow_height=280)
    layout["yaxis"] = axis(f"Saved so far [{currency()}]", tickformat=",.2~f", zeroline=True)
    data = [times_trace(times, zone, step)]
    for name, label, tint, dash in ways:
        if name in saved:
            width = 2.5 if name == "plan" else 2
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": label,
                    "x": moments(with_end(times, step)),
                    "y": rounded([0.0, *saved[name]], 7),
                    "line": {"color": colour(tint), "width": width, "dash": dash},
                    "hovertemplate": f"%{{y:,.2f}} {currency()}",
                }
            )
    return figure(data, layout)
