"""A week of the first site's synthetic series as a picture.

python generation.py --plot week.html
"""

from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime.files import replacing_file
from vpp.site.kinds import POWER_KINDS
from vpp.site.sources import Source
from vpp.synthetic.series import World

TITLE = "A week of the generated series (UTC)"
PANELS = {  # of the picture: title, and which column of which files it shows
    "Plants and load [kW]": (POWER_KINDS, "power_kw"),
    "Day-ahead price [EUR/MWh]": (("market",), "price_eur_per_mwh"),
    "Global irradiance [W/m2]": (("weather", "weather-forecast"), "ghi"),
    "Wind at 10 m [m/s]": (("weather", "weather-forecast"), "wind_speed"),
    "Air temperature [deg C]": (("weather", "weather-forecast"), "temp_air"),
}


def add_week(
    week: dict[str, dict[str, pd.Series]],
    kind: str,
    source: Source,
    columns: dict[str, np.ndarray],
    world: World,
) -> None:
    """Put the week in the middle of a series into its panel of the picture.

    Of the forecasts the one issued at its start.

    Parameters
    ----------
    week : panel -> name -> series; it gets one more.
    kind, source, columns : of a series, as `generate` yields them.
    world : of that series.
    """
    per_day = 24 * 60 // world.step_min
    first = max(0, world.rows // per_day - 7) // 2 * per_day
    if kind == "weather-forecast":
        chosen = np.flatnonzero(columns["issue_time"] == first)
        times, ending = world.times[columns["valid_time"][chosen]], " forecast"
    else:
        chosen = np.arange(first, min(first + 7 * per_day, world.rows))
        times, ending = world.times[chosen], ""
    for panel, (kinds, name) in PANELS.items():
        if kind in kinds:
            week.setdefault(panel, {})[source.source_id + ending] = pd.Series(
                columns[name][chosen], times
            )


def save_plot(week: dict[str, dict[str, pd.Series]], path: Path) -> None:
    """Draw a week: an interactive page (.html) or a picture (.png).

    Parameters
    ----------
    week : panel -> name -> series.
    path : of the file; its ending says which.

    Raises
    ------
    ConfigError : it cannot be written there.
    """
    panels = [panel for panel in PANELS if panel in week]
    with replacing_file(path, "--plot") as partial:
        if path.suffix == ".html":
            _draw_page(week, panels, partial)
        else:
            _draw_picture(week, panels, partial)


def _draw_page(week: dict[str, dict[str, pd.Series]], panels: list[str], path: Path) -> None:
    from plotly.subplots import make_subplots

    page = make_subplots(
        len(panels), 1, shared_xaxes=True, subplot_titles=panels, vertical_spacing=0.05
    )
    for row, panel in enumerate(panels, start=1):
        for name, series in week[panel].items():
            line = {"dash": "dot" if name.endswith("forecast") else "solid", "shape": "hv"}
            page.add_scatter(
                x=series.index, y=series.round(2), name=name, line=line, row=row, col=1
            )
    page.update_layout(height=230 * len(panels), title=TITLE, template="plotly_white")
    page.write_html(path)


def _draw_picture(week: dict[str, dict[str, pd.Series]], panels: list[str], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 2.4 * len(panels)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(panels), 1, sharex=True))
    for axis, panel in zip(axes, panels, strict=True):
        for name, series in week[panel].items():
            style = ":" if name.endswith("forecast") else "-"
            drawn = {"drawstyle": "steps-post", "linewidth": 1.2, "label": name}
            axis.plot(series.index, series, style, **drawn)
        axis.set_title(panel, loc="left", fontsize=10)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
        axis.grid(alpha=0.3)
    figure.suptitle(TITLE)
    figure.savefig(path, format="png", dpi=90)
