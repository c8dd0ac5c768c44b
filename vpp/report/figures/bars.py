"""Horizontal bars: savings of each way of running the site, and rows stored.

Each bar has its label and its value beside it; there is no legend to look up.

    python -c "from vpp.report.figures import bars as b; print(b.rows_figure({'a': b.RowCount(2)}))"
"""

from collections.abc import Sequence

from vpp.report.colours import colour
from vpp.report.figures.axes import axis, figure, plain_layout
from vpp.report.figures.traces import rounded
from vpp.report.views import Money
from vpp.report.words import currency, money_text
from vpp.storage.counts import RowCount


def savings_figure(money: Money) -> dict:
    """The saving of each way of running the site against no battery [EUR]."""
    saved = [money.total_eur["no_battery"] - money.total_eur[name] for name, *_ in money.ways]
    labels, tints = ([way[place] for way in money.ways] for place in (1, 2))
    return bars_figure(
        labels,
        saved,
        [money_text(value) for value in saved],
        tints,
        f"Saved against no battery [{currency()}]",
    )


def rows_figure(rows: dict[str, RowCount]) -> dict:
    """Rows stored of each kind of message [count]."""
    counts = [count.rows for count in rows.values()]
    texts, tints = [count.words for count in rows.values()], ["discharge"] * len(counts)
    return bars_figure(list(rows), counts, texts, tints, "Rows stored [count]")


def bars_figure(
    labels: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    tints: Sequence[str],
    title: str,
) -> dict:
    """Horizontal bars, the first on top, each with its label and its value beside it.

    Parameters
    ----------
    labels, values, texts, tints : of each bar; its value as a number [unit of the title] and in
        words, and the name of its colour.
    title : of the axis, with the unit in brackets."""
    height = 70 + 44 * len(labels)
    layout = plain_layout(height, narrow_height=height)
    layout["margin"] |= {"l": 10}
    span = [min(0.0, *values), max(0.0, *values) if any(values) else 1.0]
    layout["xaxis"] = axis(
        title,
        range=rounded(1.04 * bound for bound in span),
        tickformat=",.2~f",
        fixedrange=True,
        nticks=4,
        tickangle=0,
    )
    layout["yaxis"] = axis(
        "",
        fixedrange=True,
        autorange="reversed",
        showgrid=False,
        ticks="outside",
        ticklen=4,
        tickcolor="rgba(0,0,0,0)",
    )
    bar = {
        "type": "bar",
        "orientation": "h",
        "x": rounded(values, 7),
        "y": [f"{label}<br><b>{text}</b>" for label, text in zip(labels, texts, strict=True)],
        "width": 0.6,
        "hoverinfo": "skip",
        "marker": {"color": [colour(tint) for tint in tints]},
    }
    return figure([bar], layout)
