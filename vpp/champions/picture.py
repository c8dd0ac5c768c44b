"""The picture of a backtest that is stored beside a model's scores."""

import io

import numpy as np
import pandas as pd

from vpp.forecast.known import SourceData


def draw(frame: pd.DataFrame, title: str, data: SourceData) -> bytes:
    """Draw forecast, 80 % band and actual, the windows of the origins side by side.

    Parameters
    ----------
    frame : a backtest [kW or EUR/MWh].
    title : of the picture.
    data : its source.

    Returns
    -------
    A PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 3.5))
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for number, (_, part) in enumerate(frame.groupby("issue_time")):
        place = np.arange(len(part)) + number * (len(part) + 2)
        labels = ("80 % band", "forecast", "actual") if number == 0 else (None,) * 3
        axis.fill_between(place, part["q10"], part["q90"], color="C0", alpha=0.3, label=labels[0])
        axis.plot(place, part["value"], color="C0", label=labels[1])
        axis.plot(place, part["actual"], color="black", linewidth=1, label=labels[2])
    issues = frame["issue_time"].unique()
    axis.set_xticks(
        np.arange(len(issues)) * (len(part) + 2),
        [issue.strftime("%Y-%m-%d\n%H:%MZ") for issue in issues],
    )
    axis.set_ylabel("EUR/MWh" if data.source.kind == "market" else "kW")
    axis.set_title(title)
    axis.legend(loc="upper right", ncols=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()
