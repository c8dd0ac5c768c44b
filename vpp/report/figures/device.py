"""The figure of a flexible load: its power over the price over what it stores.

python report.py
"""

import numpy as np
import pandas as pd

from vpp.report.colours import colour
from vpp.report.figures.axes import axis, figure, moments, time_layout
from vpp.report.figures.traces import rounded, step_line, times_trace, with_end
from vpp.report.frames import interval_length, times_of


def device_figure(device: pd.DataFrame, price: pd.Series, zone: str) -> dict:
    """Power above, the import price below it, at the bottom what the device stores.

    Parameters
    ----------
    device : its rows of `device_states` [kW, kWh, fraction], on a regular step.
    price : import price [EUR/MWh], on the same step.
    zone : the zone in which times are shown."""
    times, step = times_of(device), interval_length(device.index)
    power = device["power_kw"].to_numpy(float)
    bars = {
        "type": "bar",
        "name": "Power",
        "x": moments(times),
        "y": rounded(power),
        "offset": 0,
        "width": step / pd.Timedelta(milliseconds=1),
        "hovertemplate": "%{y:,.4~g} kW",
        "marker": {"color": colour("charge"), "line": {"width": 0}},
    }
    line: dict = {"color": colour("price")}
    data = [times_trace(times, zone, step, device["reason"].fillna("")), bars]
    data.append(step_line(times, price, step, "Import price", "EUR/MWh", line, yaxis="y2"))
    stored, unit = device["soc"] * 100, "SOC [%]"
    if stored.isna().all():
        stored, unit = device["energy_kwh"], "Heat [kWh]"
    stores = bool(stored.notna().any())
    layout = time_layout(times[0], times[-1] + step, zone, height=420, narrow_height=400)
    layout |= {"bargap": 0}
    layout["yaxis"] = axis("Power [kW]", domain=[0.6, 1], tickformat="~g")
    layout["yaxis2"] = axis(
        "Price [EUR/MWh]", domain=[0.3, 0.54] if stores else [0, 0.54], tickformat="~g"
    )
    if stores:
        layout["yaxis3"] = axis(unit, domain=[0, 0.24], rangemode="tozero")
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "yaxis": "y3",
                "name": unit.partition(" ")[0],
                "x": moments(with_end(times, step)),
                "y": rounded(np.append(np.nan, stored)),
                "line": {"color": colour("soc"), "width": 2.5},
                "hoverinfo": "skip",
            }
        )
    layout["xaxis"]["anchor"] = "y3" if stores else "y2"
    return figure(data, layout)
