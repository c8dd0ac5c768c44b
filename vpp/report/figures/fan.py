"""The figure of a source's forecast: bands around its value, and the actual values.

The actual values begin two days before the forecast, so that it can be judged by eye.

    python report.py
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from vpp.report.colours import BANDS, colour
from vpp.report.figures.axes import axis, figure, moments, time_layout
from vpp.report.figures.traces import step_line, times_trace
from vpp.report.frames import times_of
from vpp.report.words import power_unit, price_unit
from vpp.site.sources import Source

HISTORY = pd.Timedelta(days=2)  # of actual values before a forecast
UNTOLD_SHARE = 80  # of this band the hover line says nothing: it has room for two


def fan_figure(source: Source, actual: pd.Series, forecast: pd.DataFrame, zone: str) -> dict:
    """The forecast as nested bands of 90, 80 and 50 % around its value.

    Parameters
    ----------
    source : the source.
    actual : its values before and after the issue time [kW or EUR/MWh].
    forecast : of one issue time: value and quantiles [kW or EUR/MWh].
    zone : the zone in which times are shown."""
    step = pd.Timedelta(minutes=source.step_min)
    issue = forecast.index[0]
    start, end = issue - HISTORY, forecast.index[-1] + step
    actual = actual[(actual.index >= start) & (actual.index < end)].asfreq(step)
    price = source.kind == "market"
    largest = max(
        float(np.nanmax(np.abs(part), initial=0))
        for part in (actual.to_numpy(float), forecast.to_numpy(float))
    )
    divisor, unit = (1.0, price_unit()) if price else power_unit(largest)
    layout = time_layout(start, end, zone, height=270, narrow_height=250)
    layout["yaxis"] = axis(f"{'Price' if price else 'Power'} [{unit}]", tickformat="~g")
    at = moments(pd.DatetimeIndex([issue]))[0]
    line: dict = {"color": colour("quiet"), "width": 1, "dash": "dot"}
    upright = {"x0": at, "x1": at, "y0": 0, "y1": 1, "line": line}
    layout["shapes"] = [{"type": "line", "xref": "x", "yref": "paper", **upright}]
    forecast = forecast / divisor
    grid = pd.DatetimeIndex(actual.index.union(forecast.index))
    data = [times_trace(grid, zone, step, *band_notes(forecast.reindex(grid), unit))]
    data += band_traces(forecast, step, unit, colour("band-" + source.kind))
    if len(actual):
        line = {"color": colour("ink"), "width": 1.5}
        data.append(step_line(times_of(actual), actual / divisor, step, "Actual", unit, line))
    # over the actual values, and dashed: neither hides the other
    line = {"color": colour(source.kind), "width": 2.5, "dash": "dash"}
    data.append(step_line(times_of(forecast), forecast["value"], step, "Forecast", unit, line))
    return figure(data, layout)


def bands_of(forecast: pd.DataFrame) -> list[tuple[str, str, int]]:
    """Lower and upper quantile and share [%] of each band that the forecast has."""
    return [
        (low, high, share)
        for low, high, share in BANDS
        if low in forecast and forecast[[low, high]].notna().any(axis=None)
    ]


def band_notes(forecast: pd.DataFrame, unit: str) -> Iterator[list[str]]:
    """The ends of each band in words, one an interval, "" where there is none.

    Parameters
    ----------
    forecast : quantiles [unit].
    unit : as shown."""
    for low, high, share in bands_of(forecast):
        if share != UNTOLD_SHARE:
            yield [
                f"{share} % of outcomes: {a:,.4g} to {b:,.4g} {unit}" if a == a else ""
                for a, b in zip(forecast[low], forecast[high], strict=True)
            ]


def band_traces(forecast: pd.DataFrame, step: pd.Timedelta, unit: str, tint: str) -> list[dict]:
    """Two edges a band, with the colour between them.

    Parameters
    ----------
    forecast : quantiles [unit].
    step : length of an interval.
    unit : as shown.
    tint : the bands' colour."""
    edge: dict = {"fillcolor": tint, "hoverinfo": "skip", "hovertemplate": None}
    line, fill = {"width": 0, "shape": "hv"}, {"fill": "tonexty"}
    times, traces = times_of(forecast), []
    for low, high, share in bands_of(forecast):
        lower, upper = f"{share} % from", f"{share} % to"
        traces.append(step_line(times, forecast[low], step, lower, unit, line, **edge))
        traces.append(step_line(times, forecast[high], step, upper, unit, line, **fill, **edge))
    return traces
