"""Figures of the report as the dicts that plotly.js takes, and the words for their numbers and
times.

Pure functions: frames in, a figure out. Colours are names of the page's CSS (`var(--load)`), so
that light and dark are the page's choice. Figures count time in UTC, so that a day of 23 or 25
hours is drawn as long as it is; ticks and hover lines are local times. A value is drawn over its
whole interval, SOC at its end.

    python -c "import figures; print(figures.energy(2_500))"
"""

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vpp.report.colours import (
    BANDS,
    DEMAND,
    KIND_COLOUR,
    MODEL_COLOURS,
    MODEL_MARKS,
    SUPPLY,
    WAYS,
    colour,
    colour_of,
)
from vpp.report.words import clock, escape, euro, power_unit, zone_name
from vpp.runtime.config import BatteryParameters
from vpp.schedule.battery import keep_fraction
from vpp.site.sources import Source

MOST_INTERVALS = 700  # a figure of more is drawn from means over longer steps
AGGREGATES_MIN = (15, 30, 60, 180, 360, 1440, 10080)
HISTORY = pd.Timedelta(days=2)  # of actual values before a forecast
DAY = pd.Timedelta(days=1)


@dataclass(frozen=True)
class Money:
    """Cost of the plan's horizon [EUR], total and by interval, for each way of running the site.

    `by_interval`, None where it is not known, has the columns no_battery, rule, plan and
    perfect_foresight as far as they are; `note` says at which values; `label` what the run shown
    is."""

    by_interval: pd.DataFrame | None
    total_eur: dict[str, float]
    note: str
    captured_share: float | None = None
    label: str = "The plan"

    @property
    def ways(self) -> list[tuple[str, str, str, str]]:
        """Column, label, colour and dash of each way that is known, but no battery."""
        return [
            (name, self.label if name == "plan" else label, tint, dash)
            for name, label, tint, dash in WAYS
            if self.total_eur.get(name) is not None
        ]


@dataclass(frozen=True)
class SourceView:
    """A source with its newest measurements, the forecast of the plan's issue time and the error of
    the last 24 h.
    """

    source: Source
    actual: pd.Series
    newest: pd.Timestamp | None = None
    model: str | None = None
    role: str | None = None
    forecast: pd.DataFrame | None = None
    error: dict | None = None


def rounded(values: Iterable[float], digits: int = 5) -> list[float | None]:
    """Values for a figure, to so many significant digits; None where there is none."""
    return [
        float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in map(float, values)
    ]


def moments(times: pd.DatetimeIndex) -> list[str]:
    """Times for a figure.

    Figures count in UTC, so that a day of 23 or 25 hours is drawn as long as it is; labels are
    local.
    """
    return list(times.tz_convert("UTC").strftime("%Y-%m-%d %H:%M"))


def local_ticks(start: pd.Timestamp, end: pd.Timestamp, zone: str, most: int) -> dict:
    """At most about `most` ticks of a time axis at whole local hours, days, weeks or months, with
    local labels.
    """
    first, last = start.tz_convert(zone), end.tz_convert(zone)
    hours = pd.date_range(first.normalize(), last, freq="h")
    hours = hours[hours >= first]
    days = pd.date_range(first.normalize(), last, freq="D")
    days = days[days >= first]
    choices = [(hours[hours.hour % step == 0], True) for step in (1, 3, 6, 12)]
    choices += [
        (days, False),
        (days[days.weekday == 0], False),
        (days[days.day == 1], False),
        (days[(days.day == 1) & (days.month % 6 == 1)], False),
    ]
    ticks, with_hours = next(
        (choice for choice in choices if 0 < len(choice[0]) <= most), choices[-1]
    )
    if with_hours:
        day_shown = [tick.hour == 0 for tick in ticks]
        day_shown[0] |= not any(day_shown[:2])  # labels of two neighbours would touch
        labels = [
            f"{tick:%H:%M}" + (f"<br>{tick:%a} {tick.day} {tick:%b}" if day else "")
            for tick, day in zip(ticks, day_shown, strict=True)
        ]
    else:
        above = "%a" if (end - start) < 60 * DAY else "%Y"
        labels = [f"{tick.day} {tick:%b}<br>{tick:{above}}" for tick in ticks]
    return {"tickvals": moments(ticks), "ticktext": labels}


def time_layout(
    start, end, zone: str, height: int, narrow_height: int, legend: bool = False
) -> dict:
    """The layout of a figure over time: one time axis in local labels, no decoration."""
    return {
        **plain_layout(height, narrow_height),
        "hovermode": "x unified",
        "hoversubplots": "axis",
        "meta": {"narrow": {"height": narrow_height, **local_ticks(start, end, zone, 5)}},
        "xaxis": {
            **axis(f"Time, {escape(zone_name((start, end), zone))}"),
            **local_ticks(start, end, zone, 10),
            "type": "date",
            "tickangle": 0,
            "range": moments(pd.DatetimeIndex([start, end])),
            "spikethickness": 1,
            "spikedash": "solid",
            "spikecolor": colour("quiet"),
            "unifiedhovertitle": {
                "text": " "
            },  # the local time is in the figure's first line instead
        },
    }


def plain_layout(height: int, narrow_height: int) -> dict:
    return {
        "height": height,
        "meta": {"narrow": {"height": narrow_height}},
        "margin": {"l": 62, "r": 10, "t": 8, "b": 62},
        "paper_bgcolor": colour("card"),
        "plot_bgcolor": colour("card"),
        "font": {
            "family": 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
            "size": 12,
            "color": colour("quiet"),
        },
        "hoverlabel": {
            "bgcolor": colour("card"),
            "bordercolor": colour("line"),
            "font": {"color": colour("ink"), "size": 12},
            "align": "left",
        },
        "showlegend": True,  # no trace is in it, but its order is that of the hover lines
        "legend": {"traceorder": "normal"},
    }


def figure(data: Sequence[dict], layout: dict) -> dict:
    """A figure without a legend of its own: the page has keys, which wrap on a phone."""
    return {"data": [trace | {"showlegend": False} for trace in data], "layout": layout}


def axis(title: str, **more) -> dict:
    settings = {
        "title": {"text": title, "standoff": 8},
        "gridcolor": colour("line"),
        "zerolinecolor": colour("quiet"),
        "linecolor": colour("line"),
    }
    # room of its own is measured, which takes a third of the drawing; the ticks of times, powers
    # and prices fit without
    fits = title.startswith(("Time", "Power", "Price", "SOC"))
    return settings | {"automargin": not fits, "fixedrange": not title.startswith("Time")} | more


def times_trace(
    times: pd.DatetimeIndex, zone: str, step: pd.Timedelta, *notes: Sequence[str]
) -> dict:
    """An invisible trace whose hover lines are the interval in local time, and notes on it."""
    lines = []
    for time, *said in zip(times, *notes, strict=True):
        local = (
            f"{clock(time, zone)}–{clock(time + step, zone, with_day=False)} "
            f"{time.tz_convert(zone).tzname()}"
        )
        wrapped = (escape(line) for note in said for line in textwrap.wrap(note, 44))
        lines.append("<br>".join([f"<b>{local}</b>", *wrapped]))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "",
        "x": moments(times),
        "y": [0] * len(times),
        "text": lines,
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"width": 0, "color": "rgba(0,0,0,0)"},
    }


def step_line(
    times: pd.DatetimeIndex, values, step: pd.Timedelta, name: str, unit: str, **more
) -> dict:
    """A line that stays at each value for its whole interval."""
    x = times.append(times[-1:] + step)
    y = rounded(values)
    return (
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": moments(x),
            "y": [*y, y[-1]],
            "hovertemplate": f"%{{y:,.4~g}} {unit}",
            "connectgaps": False,
        }
        | {"line": {"shape": "hv", "width": 2} | more.pop("line", {})}
        | more
    )


def aggregated(schedule: pd.DataFrame, step: pd.Timedelta) -> tuple[pd.DataFrame, pd.Timedelta]:
    """The schedule in at most MOST_INTERVALS intervals: means over longer steps."""
    span = step * len(schedule)
    fitting = [
        minutes
        for minutes in AGGREGATES_MIN
        if pd.Timedelta(minutes=minutes) >= step
        and span / pd.Timedelta(minutes=minutes) <= MOST_INTERVALS
    ]
    if len(schedule) <= MOST_INTERVALS:
        return schedule, step
    coarse = pd.Timedelta(minutes=fitting[0] if fitting else AGGREGATES_MIN[-1])
    groups = schedule.resample(coarse)
    means = groups.mean(numeric_only=True)
    means["reason"] = f"mean of {int(coarse / step)} intervals"
    return means.dropna(how="all"), coarse


def interval_length(times: pd.DatetimeIndex) -> pd.Timedelta:
    """The step of regular times; an hour where there is only one."""
    return times[1] - times[0] if len(times) > 1 else pd.Timedelta(hours=1)


def dispatch_figure(
    schedule: pd.DataFrame, states: pd.DataFrame, batteries: Sequence[BatteryParameters], zone: str
) -> dict:
    """Power stacked around zero over price over SOC, on one time axis."""
    schedule, step = aggregated(
        with_battery_power(schedule, states), interval_length(schedule.index)
    )
    times, start, end = schedule.index, schedule.index[0], schedule.index[-1] + step
    divisor, unit = power_unit(float(schedule[[name for name, _ in SUPPLY]].sum(axis=1).max()))
    fleet = fleet_soc(states, batteries)
    fleet = pd.DataFrame(
        {
            "before": fleet["before"].resample(step).first(),
            **{n: fleet[n].resample(step).last() for n in fleet.columns[1:]},
        }
    )
    layout = time_layout(start, end, zone, height=640, narrow_height=620)
    layout |= {"barmode": "relative", "bargap": 0}
    layout["yaxis"] = axis(f"Power [{unit}]", domain=[0.5, 1], tickformat="~g")
    layout["yaxis2"] = axis(
        "Price [EUR/MWh]", domain=[0.25, 0.46] if len(fleet) else [0, 0.46], tickformat="~g"
    )
    if len(fleet):
        layout["yaxis3"] = axis("SOC [%]", domain=[0, 0.21], range=[-2, 102], tickvals=[0, 50, 100])
    layout["xaxis"]["anchor"] = "y3" if len(fleet) else "y2"
    changes = (
        [f"SOC {row.before:.0%} → {row.soc:.0%}" for row in fleet.reindex(times).itertuples()]
        if len(fleet)
        else [""] * len(times)
    )
    data = [times_trace(times, zone, step, schedule["reason"].fillna(""), changes)]
    for series, sign in ((SUPPLY, 1), (DEMAND, -1)):
        for name, label in series:
            values = schedule[name].to_numpy(float) / divisor
            values = np.where(
                np.abs(values) < 1e-6 * max(1.0, np.nanmax(np.abs(values), initial=0)),
                np.nan,
                values,
            )
            data.append(
                {
                    "type": "bar",
                    "name": label,
                    "x": moments(times),
                    "y": rounded(sign * values),
                    "customdata": rounded(values),
                    "offset": 0,
                    "width": step / pd.Timedelta(milliseconds=1),
                    "hovertemplate": f"%{{customdata:,.4~g}} {unit}",
                    "marker": {"color": colour(colour_of(name)), "line": {"width": 0}},
                }
            )
    price, export = schedule["import_price_eur_per_mwh"], schedule["export_price_eur_per_mwh"]
    data.append(
        step_line(
            times,
            price,
            step,
            "Import price",
            "EUR/MWh",
            yaxis="y2",
            line={"color": colour("price")},
        )
    )
    if not np.allclose(price, export, equal_nan=True):
        line = {"color": colour("price"), "dash": "dot", "width": 1.5}
        data.append(
            step_line(times, export, step, "Export price", "EUR/MWh", yaxis="y2", line=line)
        )
    data += soc_traces(fleet, times, step)
    return figure(data, layout)


def with_battery_power(schedule: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """The schedule with the power of all batteries together: charge_kw and discharge_kw."""
    totals = (
        states.groupby(level=0)[["charge_kw", "discharge_kw"]]
        .sum()
        .reindex(schedule.index)
        .fillna(0.0)
    )
    return schedule.drop(columns=["charge_kw", "discharge_kw"], errors="ignore").join(totals)


def fleet_soc(states: pd.DataFrame, batteries: Sequence[BatteryParameters]) -> pd.DataFrame:
    """State of charge of all batteries together, weighted with capacity [fraction].

    Returns
    -------
    Columns before and soc (at the start and at the end of each interval), soc_min and soc_max;
    empty without batteries."""
    known = [battery for battery in batteries if (states["battery_id"] == battery.battery_id).any()]
    capacity = sum(battery.capacity_kwh for battery in known)
    stored, first = 0.0, 0.0
    for battery in known:
        own = states[states["battery_id"] == battery.battery_id]
        hours = interval_length(own.index) / pd.Timedelta(hours=1)
        change = hours * (
            battery.eta_charge * own["charge_kw"].iloc[0]
            - own["discharge_kw"].iloc[0] / battery.eta_discharge
        )
        stored = stored + own["soc"] * battery.capacity_kwh
        first += (own["soc"].iloc[0] * battery.capacity_kwh - change) / keep_fraction(
            battery, hours
        )
    if not known:
        return pd.DataFrame(
            columns=["before", "soc", "soc_min", "soc_max"], index=states.index[:0], dtype=float
        )
    soc = stored / capacity
    low, high = (
        sum(getattr(b, name) * b.capacity_kwh for b in known) / capacity
        for name in ("soc_min", "soc_max")
    )
    return pd.DataFrame(
        {
            "before": soc.shift(fill_value=first / capacity),
            "soc": soc,
            "soc_min": low,
            "soc_max": high,
        }
    )


def soc_traces(fleet: pd.DataFrame, times: pd.DatetimeIndex, step: pd.Timedelta) -> list[dict]:
    """The band between the bounds and the fleet's SOC in it."""
    if fleet.empty:
        return []
    common = {"type": "scatter", "mode": "lines", "yaxis": "y3", "hoverinfo": "skip"}
    edges = moments(pd.DatetimeIndex([times[0], times[-1] + step]))
    bound = {**common, "x": edges, "line": {"color": colour("quiet"), "dash": "dash", "width": 1}}
    low, high = (
        [percent, percent] for percent in rounded(100 * fleet[["soc_min", "soc_max"]].iloc[0])
    )
    shade = {"fill": "tonexty", "fillcolor": colour("shade")}
    x, y = (
        moments(times.append(times[-1:] + step)),
        rounded(100 * np.append(fleet["before"].iloc[:1], fleet["soc"])),
    )
    return [
        {**bound, "name": "SOC minimum", "y": low},
        {**bound, "name": "SOC maximum", "y": high, **shade},
        {**common, "name": "SOC", "x": x, "y": y, "line": {"color": colour("soc"), "width": 2.5}},
    ]


def fan_figure(view: SourceView, data_end: pd.Timestamp, zone: str) -> dict:
    """The forecast as nested bands of 90, 80 and 50 % around its value, with the actual values
    before and after its issue time.
    """
    forecast, step = view.forecast, pd.Timedelta(minutes=view.source.step_min)
    issue = forecast.index[0]
    start, end = issue - HISTORY, forecast.index[-1] + step
    actual = view.actual[(view.actual.index >= start) & (view.actual.index < end)].asfreq(step)
    price = view.source.kind == "market"
    largest = max(
        float(np.nanmax(np.abs(part), initial=0))
        for part in (actual.to_numpy(float), forecast.to_numpy(float))
    )
    divisor, unit = (1.0, "EUR/MWh") if price else power_unit(largest)
    name, band = KIND_COLOUR[view.source.kind], colour("band-" + view.source.kind)
    layout = time_layout(start, end, zone, height=270, narrow_height=250)
    layout["yaxis"] = axis(f"{'Price' if price else 'Power'} [{unit}]", tickformat="~g")
    at, line = (
        moments(pd.DatetimeIndex([issue]))[0],
        {"color": colour("quiet"), "width": 1, "dash": "dot"},
    )
    layout["shapes"] = [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": at,
            "x1": at,
            "y0": 0,
            "y1": 1,
            "line": line,
        }
    ]
    bands = [
        (low, high, share)
        for low, high, share in BANDS
        if low in forecast and forecast[[low, high]].notna().any(axis=None)
    ]
    grid = actual.index.union(forecast.index)
    around = forecast.reindex(grid) / divisor
    notes = (
        [
            f"{share} % of outcomes: {a:,.4g} to {b:,.4g} {unit}" if a == a else ""
            for a, b in zip(around[low], around[high], strict=True)
        ]
        for low, high, share in bands
        if share != 80
    )
    data = [times_trace(grid, zone, step, *notes)]
    for low, high, share in bands:
        edge = {
            "line": {"width": 0, "shape": "hv"},
            "fillcolor": band,
            "hoverinfo": "skip",
            "hovertemplate": None,
        }
        data.append(
            step_line(
                forecast.index, forecast[low] / divisor, step, f"{share} % from", unit, **edge
            )
        )
        data.append(
            step_line(
                forecast.index,
                forecast[high] / divisor,
                step,
                f"{share} % to",
                unit,
                fill="tonexty",
                **edge,
            )
        )
    data.append(
        step_line(
            forecast.index,
            forecast["value"] / divisor,
            step,
            "Forecast",
            unit,
            line={"color": colour(name), "width": 2},
        )
    )
    if len(actual):
        data.append(
            step_line(
                actual.index,
                actual / divisor,
                step,
                "Actual",
                unit,
                line={"color": colour("ink"), "width": 1.5},
            )
        )
    return figure(data, layout)


def cost_figure(money: Money, zone: str) -> dict:
    """Cost so far, summed from the plan's start, of each way of running the site less that without
    a battery: savings.
    """
    costs, step = money.by_interval, interval_length(money.by_interval.index)
    saved = costs.rsub(costs["no_battery"], axis=0).cumsum()
    if len(saved) > MOST_INTERVALS:
        saved = saved.iloc[:: -int(np.ceil(len(saved) / MOST_INTERVALS))][::-1]
    start, end = saved.index[0], saved.index[-1] + step
    layout = time_layout(start, end, zone, height=300, narrow_height=280)
    layout["yaxis"] = axis("Saved so far [EUR]", tickformat=",.2~f", zeroline=True)
    data = [times_trace(saved.index, zone, step)]
    for name, label, tint, dash in money.ways:
        if name in saved:
            line = {"color": colour(tint), "width": 2.5 if name == "plan" else 2, "dash": dash}
            x, y = saved.index.append(saved.index[-1:] + step), rounded([0.0, *saved[name]], 7)
            hover = "%{y:,.2f} EUR"
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": label,
                    "x": moments(x),
                    "y": y,
                    "line": line,
                    "hovertemplate": hover,
                }
            )
    return figure(data, layout)


def bars_figure(
    labels: Sequence[str],
    values: Sequence[float],
    texts: Sequence[str],
    tints: Sequence[str],
    title: str,
) -> dict:
    """Horizontal bars, the first on top, each with its label and its value as text beside it."""
    layout = plain_layout(height=70 + 44 * len(labels), narrow_height=70 + 44 * len(labels))
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
    names = [f"{label}<br><b>{text}</b>" for label, text in zip(labels, texts, strict=True)]
    bar = {
        "type": "bar",
        "orientation": "h",
        "x": rounded(values, 7),
        "y": names,
        "width": 0.6,
        "hoverinfo": "skip",
    }
    return figure([bar | {"marker": {"color": [colour(tint) for tint in tints]}}], layout)


def savings_figure(money: Money) -> dict:
    """What each way of running the site saves against no battery."""
    saved = [money.total_eur["no_battery"] - money.total_eur[name] for name, *_ in money.ways]
    labels, tints = ([way[place] for way in money.ways] for place in (1, 2))
    return bars_figure(
        labels, saved, [euro(value) for value in saved], tints, "Saved against no battery [EUR]"
    )


def leaderboard_figure(rows: Sequence[dict]) -> dict:
    """A row a source, a mark a model, at its ratio to seasonal naive, which itself is the line at
    1.
    """
    sources = list(dict.fromkeys(row["source_id"] for row in rows))
    rows = [
        row
        for row in rows
        if row["mae_ratio_naive"] is not None
        and (row["champion"] or row["model"] != "seasonal_naive")
    ]
    models = list(dict.fromkeys(row["model"] for row in rows))
    limit = min(2.0, max([1.1, *(row["mae_ratio_naive"] for row in rows)]))
    layout = plain_layout(height=110 + 38 * len(sources), narrow_height=150 + 38 * len(sources))
    layout["xaxis"] = axis(
        "MAE over seasonal naive [ratio]",
        fixedrange=True,
        range=[0, limit * 1.04],
        tickformat=".2~f",
    )
    layout["yaxis"] = axis("", fixedrange=True, autorange="reversed", type="category")
    layout["shapes"] = [
        {
            "type": "line",
            "x0": 1,
            "x1": 1,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": colour("quiet"), "width": 1.5},
        }
    ]
    layout |= {
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "hovermode": "closest",
    }
    data = []
    for number, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        tint, mark = (
            MODEL_COLOURS[number % len(MODEL_COLOURS)],
            MODEL_MARKS[number % len(MODEL_MARKS)],
        )
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": escape(model),
                "x": [min(row["mae_ratio_naive"], limit) for row in own],
                "y": [escape(row["source_id"]) for row in own],
                "customdata": rounded([row["mae_ratio_naive"] for row in own]),
                "hovertemplate": "%{y}, %{fullData.name}: %{customdata:.2f}<extra></extra>",
                "marker": {
                    "color": colour(tint),
                    "size": 13,
                    "symbol": [mark if row["champion"] else mark + "-open" for row in own],
                    "line": {"width": 2, "color": colour(tint)},
                },
            }
        )
    return {"data": data, "layout": layout}


def rows_figure(rows: dict[str, int]) -> dict:
    """Rows stored of each kind of message."""
    counts = list(rows.values())
    return bars_figure(
        list(rows),
        counts,
        [f"{count:,}" for count in counts],
        ["discharge"] * len(counts),
        "Rows stored [count]",
    )
