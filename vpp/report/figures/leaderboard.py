"""The figure of the models: the error of each beside that of last week's same hour.

The champion of a source is a filled mark, the others are open ones.

    python report.py
"""

from collections.abc import Sequence

from vpp.report.colours import MODEL_COLOURS, MODEL_MARKS, colour
from vpp.report.figures.axes import axis, plain_layout
from vpp.report.figures.traces import rounded
from vpp.report.words import escape

LARGEST_RATIO = 2.0  # a mark further out is drawn at this edge


def leaderboard_figure(rows: Sequence[dict]) -> dict:
    """A row a source, a mark a model, at its ratio to seasonal naive, itself the line at 1.

    Parameters
    ----------
    rows : name of the source, model, champion, mae and mae_ratio_naive of each model."""
    sources = list(dict.fromkeys(row["name"] for row in rows))
    rows = [
        row
        for row in rows
        if row["mae_ratio_naive"] is not None
        and (row["champion"] or row["model"] != "seasonal_naive")
    ]
    limit = min(LARGEST_RATIO, max([1.1, *(row["mae_ratio_naive"] for row in rows)]))
    layout = plain_layout(height=110 + 38 * len(sources), narrow_height=150 + 38 * len(sources))
    layout["xaxis"] = axis(
        "MAE over seasonal naive [ratio]",
        fixedrange=True,
        range=[0, limit * 1.04],
        tickformat=".2~f",
    )
    layout["yaxis"] = axis("", fixedrange=True, autorange="reversed", type="category")
    line = {"color": colour("quiet"), "width": 1.5}
    layout["shapes"] = [
        {"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1, "line": line}
    ]
    layout |= {
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "hovermode": "closest",
    }
    models = list(dict.fromkeys(row["model"] for row in rows))
    data = [
        marks([row for row in rows if row["model"] == model], number, limit)
        for number, model in enumerate(models)
    ]
    return {"data": data, "layout": layout}


def marks(rows: Sequence[dict], number: int, limit: float) -> dict:
    """The marks of a model, filled where it is the champion.

    Parameters
    ----------
    rows : of this model alone.
    number : of the model, which says its colour and its mark.
    limit : ratio [1] at which marks further out are drawn."""
    tint = colour(MODEL_COLOURS[number % len(MODEL_COLOURS)])
    mark = MODEL_MARKS[number % len(MODEL_MARKS)]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": escape(rows[0]["model"]),
        "x": [min(row["mae_ratio_naive"], limit) for row in rows],
        "y": [escape(row["name"]) for row in rows],
        "customdata": rounded([row["mae_ratio_naive"] for row in rows]),
        "hovertemplate": "%{y}, %{fullData.name}: %{customdata:.2f}<extra></extra>",
        "marker": {
            "color": tint,
            "size": 13,
            "symbol": [mark if row["champion"] else mark + "-open" for row in rows],
            "line": {"width": 2, "color": tint},
        },
    }
