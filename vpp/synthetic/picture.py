"""A week of the first site's synthetic series as a picture."""

from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime.files import replacing_file
from vpp.site.kinds import POWER_KINDS
from vpp.site.sources import Source
from vpp.synthetic.series import World

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
    """Draw a week: an interactive page (.html) or a picture (.png)."""
    panels = [panel for panel in PANELS if panel in week]
    with replacing_file(path, "--plot") as partial:
        if path.suffix == ".html":
            from plotly.subplots import make_subplots

            page = make_subplots(
                len(panels), 1, shared_xaxes=True, subplot_titles=panels, vertical_spacing=0.05
            )
            for row, panel in enumerate(panels, start=1):
                for name, series in week[panel].items():
                    dash = "dot" if name.endswith("forecast") else "solid"
                    page.add_scatter(
                        x=series.index,
                        y=series.round(2),
                        name=name,
                        line={"dash": dash, "shape": "hv"},
                        row=row,
                        col=1,
                    )
            page.update_layout(
                height=230 * len(panels),
                title="A week of the generated series (UTC)",
                template="plotly_white",
            )
            page.write_html(partial)
        else:
            from matplotlib.figure import Figure

            figure = Figure(figsize=(14, 2.4 * len(panels)), layout="constrained")
            for axis, panel in zip(
                np.atleast_1d(figure.subplots(len(panels), 1, sharex=True)), panels, strict=True
            ):
                for name, series in week[panel].items():
                    style = ":" if name.endswith("forecast") else "-"
                    axis.plot(
                        series.index,
                        series,
                        style,
                        drawstyle="steps-post",
                        linewidth=1.2,
                        label=name,
                    )
                axis.set_title(panel, loc="left", fontsize=10)
                axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8)
                axis.grid(alpha=0.3)
            figure.suptitle("A week of the generated series (UTC)")
            figure.savefig(partial, format="png", dpi=90)
