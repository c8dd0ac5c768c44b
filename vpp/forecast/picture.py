"""A forecast with its bands as a picture."""

from pathlib import Path

import pandas as pd

from vpp.site.times import DAY

# lower and upper quantile of each band, and how dark it is
BANDS = (("q05", "q95", 0.15), ("q10", "q90", 0.2), ("q25", "q75", 0.3))
HISTORY_DAYS = 3
COLOUR = "#2a6f97"


def plot_forecast(
    frame: pd.DataFrame, history: pd.Series, title: str, unit: str, path: Path
) -> None:
    """Draw a forecast, its bands, the days before it, and actual values where they are known.

    Parameters
    ----------
    frame : the forecast, as `ForecastModel.predict` returns it.
    history : what was measured, by time [UTC].
    title : of the picture.
    unit : of all values, such as kW.
    path : the file to write; its ending says the format (.png, .svg, .pdf).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    axes = figure.subplots()
    first, last = frame.index[0], frame.index[-1]
    for low, high, shade in BANDS:
        band = axes.fill_between(frame.index, frame[low], frame[high], step="post")
        band.set(color=COLOUR, alpha=shade, linewidth=0, label=f"{low}–{high}")
    axes.step(frame.index, frame["value"], color=COLOUR, where="post", label="forecast")
    shown = history[(history.index >= first - HISTORY_DAYS * DAY) & (history.index <= last)]
    axes.step(shown.index, shown, color="#333333", linewidth=1, where="post", label="actual")
    axes.axvline(first, color="#999999", linewidth=0.8)
    axes.set(title=title, ylabel=unit)
    axes.legend(ncols=5, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
