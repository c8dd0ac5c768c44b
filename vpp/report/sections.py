"""The report's sections, each from the content to a piece of HTML and its figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vpp.report.actions import battery_actions, next_day_in_words
from vpp.report.colours import DEMAND, SUPPLY, colour_of
from vpp.report.content import Content
from vpp.report.figures import (
    DAY,
    SourceView,
    cost_figure,
    dispatch_figure,
    fan_figure,
    fleet_soc,
    leaderboard_figure,
    rows_figure,
    savings_figure,
    with_battery_power,
)
from vpp.report.words import amount, clock, energy, escape, euro, power_unit, shown

MOST_FANS = 12  # sources beyond these have a line in a table


@dataclass(frozen=True)
class Section:
    """A part of the page; in its HTML `<!--name-->` stands where the figure of that name goes."""

    identifier: str
    title: str
    body: str
    figures: dict[str, dict] = field(default_factory=dict)

    def render(self) -> str:
        body = self.body
        for name in self.figures:
            body = body.replace(
                f"<!--{name}-->", f'<div id="{self.identifier}-{name}" class="figure"></div>'
            )
        return f'<section id="{self.identifier}"><h2>{escape(self.title)}</h2>\n{body}\n</section>'


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def quiet(text: str) -> str:
    return f'<span class="quiet">{escape(text)}</span>'


def missing(what: str, command: str) -> str:
    """What a section says in place of what is not there yet."""
    return f'<p class="warning">{escape(what)} Run <code>{escape(command)}</code>.</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    """A table; a head that ends in "|" marks a column of numbers.

    Of the kind "lines", a row becomes lines of text on a phone.
    """
    kinds = [' class="number"' if name.endswith("|") else "" for name in head]
    cells = "".join(
        f"<th{kind}>{escape(name.rstrip('|'))}</th>" for name, kind in zip(head, kinds, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return (
        '<div class="scroll"><table '
        f'class="{kind}"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def key(entries: Iterable[tuple[str, str, str]]) -> str:
    """A legend: label, colour and shape ("", "rule", "dash" or "dot") of each entry."""
    spans = "".join(
        f'<li><span class="{shape}" style="--swatch: var(--{tint})">{escape(label)}</span></li>'
        for label, tint, shape in entries
    )
    return f'<ul class="key">{spans}</ul>'


def numbers_section(content: Content) -> Section:
    """Cost of each way of running the site, and the next 24 h in words."""
    title, money = "The numbers that matter", content.money
    if content.schedule is None:
        command = "python optimization.py" if content.data_end is not None else "python pipeline.py"
        what = "There is no plan yet." if content.data_end is not None else "The database is empty."
        return Section("numbers", title, missing(what, command))
    total, body, drawn = money.total_eur if money else {}, "", {}
    if money:
        cards = [("Without battery", euro(total["no_battery"]), "cost of the horizon", "")]
        for name, label, *_ in money.ways:
            if name != "rule" and len(content.states):
                kind = "plan" if name == "plan" else ""
                saved = total["no_battery"] - total[name]
                share = (
                    f" ({saved / abs(total['no_battery']):.1%})"
                    if abs(total["no_battery"]) > 0.005
                    else ""
                )
                cards.append(
                    (
                        label,
                        euro(total[name]),
                        f"saves {euro(saved)}{share}"
                        if saved > -0.005
                        else f"costs {euro(-saved)} more",
                        kind,
                    )
                )
        if money.captured_share is not None:
            share = f"{money.captured_share:.0%}".replace("-", "−")
            cards.append(("Captured share", share, "of what perfect foresight saves", ""))
        body += '<div class="cards">'
        for label, value, note, kind in cards:
            body += (
                f'<div class="card {kind}">{quiet(label)}<b>{escape(value)}</b>{quiet(note)}</div>'
            )
        body += "</div>"
        body += paragraph(f"{money.note} Positive amounts are paid, negative ones earned.", "quiet")
        drawn["savings"] = savings_figure(money)
    fleet = fleet_soc(content.states, content.batteries)
    schedule = with_battery_power(content.schedule, content.states)
    words = next_day_in_words(schedule, fleet, content.zone)
    first = clock(content.schedule.index[0], content.zone)
    words = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(phrase)}</dd>" for name, phrase in words.items()
    )
    body += (
        '<div class="two"><div><h3>The 24 h '
        "from "
        f"{escape(first)}</h3><dl>{words}</dl></div><div><!--savings--></div></div>"
    )
    return Section("numbers", title, body, drawn)


def dispatch_section(content: Content) -> Section:
    """The schedule over price and SOC, and the reason of each action of the first day."""
    title, zone = "What happens when, and why", content.zone
    if content.schedule is None:
        return Section(
            "dispatch", title, missing("There is no plan to show.", "python optimization.py")
        )
    figure = dispatch_figure(content.schedule, content.states, content.batteries, zone)
    lead = (
        "Above the line is where power comes from, below it where it goes; both are equally high. "
        "Load and renewables are "
        f"{'as forecast' if content.run['kind'] == 'plan' else 'actual values'}. Point at an "
        "interval "
        "to see why."
    )
    schedule = with_battery_power(content.schedule, content.states)
    battery = ("charge_kw", "discharge_kw")
    names = [
        (label, colour_of(name), "")
        for name, label in (*SUPPLY, *DEMAND)
        if len(content.states) or name not in battery
    ]
    names.append(("Import price", "price", "rule"))
    if not np.allclose(
        schedule["import_price_eur_per_mwh"], schedule["export_price_eur_per_mwh"], equal_nan=True
    ):
        names.append(("Export price", "price", "dot"))
    if len(content.states):
        names += [("State of charge", "soc", "rule"), ("its bounds", "quiet", "dash")]
    actions = battery_actions(schedule[schedule.index < schedule.index[0] + DAY])
    rows = [
        (
            f"{clock(action['start'], zone)}–{clock(action['end'], zone, False)}",
            action["what"],
            energy(action["energy_kwh"]),
            amount(action["price_eur_per_mwh"], "EUR/MWh"),
            action["reason"] or "–",
        )
        for action in actions
    ]
    listed = table(("When", "What", "Energy|", "Price|", "Why"), rows, "lines") if rows else ""
    return Section(
        "dispatch",
        title,
        paragraph(lead, "quiet") + key(names) + "<!--power-->" + listed,
        {"power": figure},
    )


def forecasts_section(content: Content) -> Section:
    """The fan of each source against its actual values, with the error of the last 24 h."""
    title = "Forecasts against what came"
    shown = [view for view in content.views if view.forecast is not None]
    if not shown and content.run is not None and content.run["kind"] == "backtest":
        return Section(
            "forecasts",
            title,
            paragraph(
                "A rolling plan follows the forecasts of many issue times; a plan's page shows "
                "those of its own."
            ),
        )
    if not shown:
        return Section(
            "forecasts",
            title,
            missing("There is no forecast for this issue time.", "python forecast_and_save.py"),
        )
    entries = [
        ("Actual", "ink", "rule"),
        ("Forecast, in its source's colour", "discharge", "rule"),
        ("50, 80 and 90 % of outcomes are expected in the bands", "band-load", ""),
    ]
    by_size = sorted(shown, key=lambda view: -(view.source.capacity_kw or np.inf))
    with_fan = {view.source.source_id for view in by_size[:MOST_FANS]}
    others = [view for view in shown if view.source.source_id not in with_fan]
    body, drawn = key(entries) + '<div class="fans">', {}
    for number, view in enumerate(view for view in shown if view.source.source_id in with_fan):
        drawn[f"fan{number}"] = fan_figure(view, content.data_end, content.zone)
        substitute = " (a substitute: no champion could be used)" if view.role == "fallback" else ""
        body += f"<div><h3>{escape(view.source.name)}</h3>"
        body += paragraph(
            f"{view.source.kind}, model {view.model}{substitute}. "
            f"{error_in_words(view, content.zone)}",
            "quiet",
        )
        body += f"<!--fan{number}--></div>"
    body += "</div>"
    if others:
        body += table(
            ("Source", "Model", "Last 24 h"),
            [(view.source.name, view.model, error_in_words(view, content.zone)) for view in others],
        )
    without = [view.source.name for view in content.views if view.forecast is None]
    if without:
        body += missing(
            f"No forecast for {', '.join(without[:MOST_FANS])}.", "python forecast_and_save.py"
        )
    return Section("forecasts", title, body, drawn)


def error_in_words(view: SourceView, zone: str) -> str:
    """The error of the last 24 h with measurements, beside that of last week's same hour."""
    error = view.error
    if error is None:
        return "No forecast was stored for the last 24 h of measurements."
    divisor, unit = (
        (1.0, "EUR/MWh")
        if view.source.kind == "market"
        else power_unit(max(error["mae"], view.source.capacity_kw or 0))
    )
    words = (
        f"Last 24 h, to {clock(error['end'], zone)}: mean absolute "
        "error "
        f"{amount(error['mae'] / divisor, unit)}"
    )
    if view.source.capacity_kw:
        words += f", {error['mae'] / view.source.capacity_kw:.1%} of capacity"
    if error["naive"] is not None:
        words += f" (last week's same hour: {amount(error['naive'] / divisor, unit)})"
    return words + "."


def cost_section(content: Content) -> Section:
    """Cumulative saving of the plan, of the simple rule and of perfect foresight."""
    title, money = "Cost against the baselines", content.money
    if money is None:
        return Section(
            "cost", title, missing("There is no plan to value.", "python optimization.py")
        )
    lead = "What has been saved so far, against running the site without a battery."
    none = money.total_eur["no_battery"]
    rows = [("Without battery", euro(none), "–")]
    rows += [
        (label, euro(money.total_eur[name]), euro(none - money.total_eur[name]))
        for name, label, *_ in money.ways
    ]
    listed = table(("Way", "Cost|", "Saved|"), rows)
    if money.by_interval is None:
        return Section("cost", title, paragraph(money.note, "quiet") + listed)
    entries = [
        (label, tint, {"solid": "rule"}.get(dash, dash)) for _, label, tint, dash in money.ways
    ]
    body = paragraph(lead + " " + money.note, "quiet") + key(entries) + "<!--saved-->"
    return Section("cost", title, body + listed, {"saved": cost_figure(money, content.zone)})


def leaderboard_section(content: Content) -> Section:
    """Each model's error beside last week's same hour, for each source."""
    title = "Leaderboard of models"
    if not content.leaderboard:
        what = "No models have been compared yet; that takes some weeks of data."
        return Section("models", title, missing(what, "python train_forecast.py"))
    lead = (
        "Mean absolute error over that of last week's same hour: left of the line is "
        "better. "
        "The filled mark is the champion."
    )
    unit = {
        view.source.source_id: "EUR/MWh" if view.source.kind == "market" else "kW"
        for view in content.views
    }
    rows = [
        (
            row["source_id"],
            row["model"] + " (champion)" * row["champion"],
            f"{row['mae']:,.4g} {unit.get(row['source_id'], '')}",
            amount(row["mae_ratio_naive"], ""),
        )
        for row in content.leaderboard
    ]
    listed = table(("Source", "Model", "Error|", "Over naive|"), rows)
    body = paragraph(lead, "quiet") + f'<div class="two"><div><!--ratio--></div>{listed}</div>'
    return Section("models", title, body, {"ratio": leaderboard_figure(content.leaderboard)})


def stream_section(content: Content) -> Section:
    """Rows stored, messages waiting and dead letters of each topic, and each source's newest value."""
    title = "Health of the stream"
    if not content.rows or not any(content.rows.values()):
        return Section(
            "stream", title, missing("Nothing has been streamed yet.", "python communication.py")
        )
    if content.stream:
        rows = [
            (row["topic"], shown(row["rows_stored"]), shown(row["lag"]), shown(row["dead_letters"]))
            for row in content.stream
        ]
        body = table(("Topic", "Stored|", "Waiting|", "Dead letters|"), rows)
    else:
        body = paragraph(
            "The broker cannot be reached now: what waits in its topics and what was "
            "dead-lettered is not known.",
            "quiet",
        )
    body += "<!--rows-->"
    newest = [
        (view.source.name, view.source.kind, clock(view.newest, content.zone, with_year=True))
        for view in content.views
        if view.newest
    ]
    if newest:
        body += table(("Source", "Kind", "Newest value ends at"), newest)
    return Section("stream", title, body, {"rows": rows_figure(content.rows)})


SECTIONS = (
    numbers_section,
    dispatch_section,
    forecasts_section,
    cost_section,
    leaderboard_section,
    stream_section,
)
