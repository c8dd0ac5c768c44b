"""The figure of a schedule: power around zero over price over state of charge.

All three share one time axis, so that an action stands over the price that explains it.

    python report.py
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vpp.report.colours import DEMAND, SUPPLY, colour, colour_of
from vpp.report.figures.axes import axis, figure, moments, time_layout
from vpp.report.figures.traces import rounded, step_line, times_trace, with_end
from vpp.report.frames import (
    aggregated,
    fleet_soc,
    interval_length,
    times_of,
    with_battery_power,
)
from vpp.report.words import power_unit, price_unit
from vpp.runtime.settings import BatteryParameters

NOTHING = 1e-6  # a power below this share of the largest is not drawn


def dispatch_figure(
    schedule: pd.DataFrame, states: pd.DataFrame, batteries: Sequence[BatteryParameters], zone: str
) -> dict:
    """Power stacked around zero over price over SOC, on one time axis.

    Parameters
    ----------
    schedule, states : of the run, on a regular step.
    batteries : as the run was made with them.
    zone : the zone in which times are shown."""
    schedule, step = aggregated(
        with_battery_power(schedule, states), interval_length(schedule.index)
    )
    times = times_of(schedule)
    divisor, unit = power_unit(float(schedule[[name for name, _ in SUPPLY]].sum(axis=1).max()))
    fleet = fleet_on(step, fleet_soc(states, batteries))
    changes = (
        [f"SOC {row.before:.0%} → {row.soc:.0%}" for row in fleet.reindex(times).itertuples()]
        if len(fleet)
        else [""] * len(times)
    )
    data = [times_trace(times, zone, step, schedule["reason"].fillna(""), changes)]
    data += power_bars(schedule, step, divisor, unit)
    data += price_lines(schedule, step)
    data += soc_lines(fleet, times, step)
    return figure(data, dispatch_layout(times, step, zone, unit, with_soc=len(fleet) > 0))


def fleet_on(step: pd.Timedelta, fleet: pd.DataFrame) -> pd.DataFrame:
    """The state of charge of all batteries on a longer step.

    Parameters
    ----------
    step : the step, a multiple of the fleet's.
    fleet : as `fleet_soc` gives it."""
    return pd.DataFrame(
        {
            "before": fleet["before"].resample(step).first(),
            **{name: fleet[name].resample(step).last() for name in fleet.columns[1:]},
        }
    )


def dispatch_layout(
    times: pd.DatetimeIndex, step: pd.Timedelta, zone: str, unit: str, with_soc: bool
) -> dict:
    """The layout: power above, price below it, SOC at the bottom where there are batteries.

    Parameters
    ----------
    times, step : start and length of the intervals.
    zone : the zone in which times are shown.
    unit : of the powers.
    with_soc : whether there are batteries."""
    layout = time_layout(times[0], times[-1] + step, zone, height=640, narrow_height=620)
    layout |= {"barmode": "relative", "bargap": 0}
    layout["yaxis"] = axis(f"Power [{unit}]", domain=[0.5, 1], tickformat="~g")
    layout["yaxis2"] = axis(
        f"Price [{price_unit()}]", domain=[0.25, 0.46] if with_soc else [0, 0.46], tickformat="~g"
    )
    if with_soc:
        layout["yaxis3"] = axis("SOC [%]", domain=[0, 0.21], range=[-2, 102], tickvals=[0, 50, 100])
    layout["xaxis"]["anchor"] = "y3" if with_soc else "y2"
    return layout


def power_bars(schedule: pd.DataFrame, step: pd.Timedelta, divisor: float, unit: str) -> list[dict]:
    """A row of bars for each power: where it comes from above zero, where it goes below.

    Parameters
    ----------
    schedule : with the batteries' power [kW].
    step : length of an interval.
    divisor, unit : in which powers are shown, as `power_unit` gives them."""
    bars = []
    for series, sign in ((SUPPLY, 1), (DEMAND, -1)):
        for name, label in series:
            values = schedule[name].to_numpy(float) / divisor
            largest = max(1.0, np.nanmax(np.abs(values), initial=0))
            values = np.where(np.abs(values) < NOTHING * largest, np.nan, values)
            bars.append(
                {
                    "type": "bar",
                    "name": label,
                    "x": moments(times_of(schedule)),
                    "y": rounded(sign * values),
                    "customdata": rounded(values),
                    "offset": 0,
                    "width": step / pd.Timedelta(milliseconds=1),
                    "hovertemplate": f"%{{customdata:,.4~g}} {unit}",
                    "marker": {"color": colour(colour_of(name)), "line": {"width": 0}},
                }
            )
    return bars


def price_lines(schedule: pd.DataFrame, step: pd.Timedelta) -> list[dict]:
    """The import price, and the export price where it is another.

    Parameters
    ----------
    schedule : with the prices [EUR/MWh].
    step : length of an interval."""
    times = times_of(schedule)
    price, export = schedule["import_price_eur_per_mwh"], schedule["export_price_eur_per_mwh"]
    line: dict = {"color": colour("price")}
    lines = [step_line(times, price, step, "Import price", price_unit(), line, yaxis="y2")]
    if not np.allclose(price, export, equal_nan=True):
        line = {"color": colour("price"), "dash": "dot", "width": 1.5}
        lines.append(step_line(times, export, step, "Export price", price_unit(), line, yaxis="y2"))
    return lines


def soc_lines(fleet: pd.DataFrame, times: pd.DatetimeIndex, step: pd.Timedelta) -> list[dict]:
    """The band between the bounds and the fleet's SOC in it.

    Parameters
    ----------
    fleet : as `fleet_on` gives it.
    times, step : start and length of the intervals."""
    if fleet.empty:
        return []
    common = {"type": "scatter", "mode": "lines", "yaxis": "y3", "hoverinfo": "skip"}
    edges = moments(pd.DatetimeIndex([times[0], times[-1] + step]))
    bound = {**common, "x": edges, "line": {"color": colour("quiet"), "dash": "dash", "width": 1}}
    low, high = (
        [percent, percent] for percent in rounded(100 * fleet[["soc_min", "soc_max"]].iloc[0])
    )
    shade = {"fill": "tonexty", "fillcolor": colour("shade")}
    x = moments(with_end(times, step))
    y = rounded(100 * np.append(fleet["before"].iloc[:1], fleet["soc"]))
    return [
        {**bound, "name": "SOC minimum", "y": low},
        {**bound, "name": "SOC maximum", "y": high, **shade},
        {**common, "name": "SOC", "x": x, "y": y, "line": {"color": colour("soc"), "width": 2.5}},
    ]
