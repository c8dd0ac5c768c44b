"""The report's sections, each from the content to a piece of HTML and its figures.

A section whose data is not there yet names the command that makes it.

    python report.py
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vpp.report.actions import ACTION_HEAD, action_rows, battery_actions, next_day_in_words
from vpp.report.colours import DEMAND, SUPPLY, colour_of
from vpp.report.coverage import coverage_table
from vpp.report.figures.bars import rows_figure, savings_figure
from vpp.report.figures.cost import cost_figure
from vpp.report.figures.dispatch import dispatch_figure
from vpp.report.figures.fan import fan_figure
from vpp.report.figures.leaderboard import leaderboard_figure
from vpp.report.flexible import with_flexible_loads
from vpp.report.frames import fleet_soc, with_battery_power
from vpp.report.markup import Section, card, key, missing, paragraph, table
from vpp.report.slots import every_interval
from vpp.report.views import MOST_FANS, Content, Money, SourceView
from vpp.report.words import (
    amount,
    clock,
    counted,
    escape,
    even,
    money_text,
    power_unit,
    price_unit,
)
from vpp.site.times import DAY
from vpp.storage.counts import FLAG, RowCount, about_estimates

CENT = 0.005  # less money than this [EUR] rounds to nothing


def numbers_section(content: Content) -> Section:
    """Cost of each way of running the site, and the next 24 h in words."""
    title, money = "The numbers that matter", content.money
    if content.schedule is None:
        if content.data_end is None:
            body = missing("The database is empty.", "python pipeline.py")
        else:
            body = missing("There is no plan yet.", "python optimization.py")
        return Section("numbers", title, body)
    body, drawn = "", {}
    if money:
        body += f'<div class="cards">{"".join(cards(money, len(content.states) > 0))}</div>'
        body += paragraph(f"{money.note} Positive amounts are paid, negative ones earned.", "quiet")
        drawn["savings"] = savings_figure(money)
    fleet = fleet_soc(content.states, content.batteries)
    schedule = with_battery_power(content.schedule, content.states)
    words = next_day_in_words(schedule, fleet, content.zone)
    first = clock(content.schedule.index[0], content.zone)
    listed = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(phrase)}</dd>" for name, phrase in words.items()
    )
    body += (
        f'<div class="two"><div><h3>The 24 h from {escape(first)}</h3><dl>{listed}</dl></div>'
        "<div><!--savings--></div></div>"
    )
    return Section("numbers", title, body, drawn)


def cards(money: Money, with_batteries: bool) -> list[str]:
    """The cost without battery, and of each other way its cost and its saving.

    Parameters
    ----------
    money : of the run.
    with_batteries : whether the site has any; without one all ways are the same."""
    total = money.total_eur
    none = total["no_battery"]
    found = [card("Without battery", money_text(none), "cost of the horizon")]
    for name, label, *_ in money.ways:
        if name != "rule" and with_batteries:
            saved = none - total[name]
            share = f" ({saved / abs(none):.1%})" if abs(none) > CENT else ""
            note = (
                f"saves {money_text(saved)}{share}"
                if saved > -CENT
                else f"costs {money_text(-saved)} more"
            )
            found.append(
                card(label, money_text(total[name]), note, "plan" if name == "plan" else "")
            )
    if money.captured_share is not None:
        share = f"{money.captured_share:.0%}".replace("-", "−")
        found.append(card("Captured share", share, "of what perfect foresight saves"))
    return found


def dispatch_section(content: Content) -> Section:
    """The schedule over price and SOC, and the reason of each action of the first day."""
    title, zone = "What happens when, and why", content.zone
    if content.schedule is None:
        return Section(
            "dispatch", title, missing("There is no plan to show.", "python optimization.py")
        )
    schedule = with_flexible_loads(content.schedule, content.devices)
    figure = dispatch_figure(schedule, content.states, content.batteries, zone)
    values = "as forecast" if content.run["kind"] == "plan" else "actual values"
    lead = (
        "Above the line is where power comes from, below it where it goes; both are equally high. "
        f"Load and renewables are {values}. Point at an interval to see why."
    )
    if len(content.devices):
        lead += " The load has the vehicles and other flexible loads in it."
    schedule = with_battery_power(content.schedule, content.states)
    actions = battery_actions(schedule[schedule.index < schedule.index[0] + DAY])
    listed = table(ACTION_HEAD, action_rows(actions, zone), "lines") if actions else ""
    names = key(dispatch_key(schedule, len(content.states) > 0))
    body = paragraph(lead, "quiet") + names + "<!--power-->" + listed + every_interval(content)
    return Section("dispatch", title, body, {"power": figure})


def dispatch_key(schedule: pd.DataFrame, with_batteries: bool) -> list[tuple[str, str, str]]:
    """Label, colour and shape of what the dispatch figure shows.

    Parameters
    ----------
    schedule : with the prices [EUR/MWh].
    with_batteries : whether the figure shows any."""
    names = [
        (label, colour_of(name), "")
        for name, label in (*SUPPLY, *DEMAND)
        if with_batteries or name not in ("charge_kw", "discharge_kw")
    ]
    names.append(("Import price", "price", "rule"))
    price, export = schedule["import_price_eur_per_mwh"], schedule["export_price_eur_per_mwh"]
    if not np.allclose(price, export, equal_nan=True):
        names.append(("Export price", "price", "dot"))
    if with_batteries:
        names += [("State of charge", "soc", "rule"), ("its bounds", "quiet", "dash")]
    return names


def forecasts_section(content: Content) -> Section:
    """The fan of each source against its actual values, with the error of the last 24 h."""
    title = "Forecasts against what came"
    shown = [view for view in content.views if view.forecast is not None]
    if not shown:
        if content.run and content.run["kind"] == "backtest":
            body = paragraph(
                "A rolling plan follows the forecasts of many issue times; a plan's page shows "
                "those of its own."
            )
        else:
            what = "There is no forecast for this issue time."
            body = missing(what, "python forecast_and_save.py")
        return Section("forecasts", title, body)
    entries = [
        ("Actual", "ink", "rule"),
        ("Forecast, in its source's colour", "discharge", "dash"),
        ("50, 80 and 90 % of outcomes are expected in the bands", "band-load", ""),
    ]
    by_size = sorted(shown, key=lambda view: -(view.source.capacity_kw or np.inf))
    with_fan = {view.source.source_id for view in by_size[:MOST_FANS]}
    largest = [view for view in shown if view.source.source_id in with_fan]
    names = content.names
    body, drawn = fans(largest, names, content.zone)
    body = key(entries) + body
    others = [view for view in shown if view.source.source_id not in with_fan]
    if others:
        body += table(
            ("Source", "Model", "Last 24 h"),
            [
                (
                    names[view.source.source_id],
                    view.model,
                    error_in_words(view, content.zone),
                )
                for view in others
            ],
        )
    body += coverage_table(content.views, names)
    without = [names[view.source.source_id] for view in content.views if view.forecast is None]
    if without:
        listed = ", ".join(without[:MOST_FANS])
        body += missing(f"No forecast for {listed}.", "python forecast_and_save.py")
    return Section("forecasts", title, body, drawn)


def fans(
    views: Sequence[SourceView], names: Mapping[str, str], zone: str
) -> tuple[str, dict[str, dict]]:
    """The HTML and the figures of sources with a forecast.

    Parameters
    ----------
    views : the sources, in the order of the page.
    names : of the sources.
    zone : the zone in which times are shown."""
    body, drawn = '<div class="fans">', {}
    for number, view in enumerate(views):
        if view.forecast is None:
            continue
        drawn[f"fan{number}"] = fan_figure(view.source, view.actual, view.forecast, zone)
        why = view.note or "no champion could be used"
        substitute = f" (a substitute: {why})" if view.role == "fallback" else ""
        model = f"{view.source.kind}, model {view.model}{substitute}."
        body += f"<div><h3>{escape(names[view.source.source_id])}</h3>"
        body += paragraph(f"{model} {error_in_words(view, zone)}", "quiet")
        body += f"<!--fan{number}--></div>"
    return body + "</div>", drawn


def error_in_words(view: SourceView, zone: str) -> str:
    """The error of the last 24 h with measurements, beside that of last week's same hour.

    Parameters
    ----------
    view : the source with its error.
    zone : the zone in which times are shown."""
    error, capacity_kw = view.error, view.source.capacity_kw
    if error is None:
        return "No forecast was stored for the last 24 h of measurements."
    divisor, unit = power_unit(max(error["mae"], capacity_kw or 0))
    if view.source.kind == "market":
        divisor, unit = 1.0, price_unit()
    words = (
        f"Last 24 h, to {clock(error['end'], zone)}: mean absolute error "
        f"{amount(error['mae'] / divisor, unit)}"
    )
    if capacity_kw:
        words += f", {error['mae'] / capacity_kw:.1%} of capacity"
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
    none = money.total_eur["no_battery"]
    rows = [("Without battery", money_text(none), "–")]
    rows += [
        (label, money_text(money.total_eur[name]), money_text(none - money.total_eur[name]))
        for name, label, *_ in money.ways
    ]
    listed = table(("Way", "Cost|", "Saved|"), rows)
    if money.by_interval is None:
        return Section("cost", title, paragraph(money.note, "quiet") + listed)
    lead = "What has been saved so far, against running the site without a battery."
    entries = [
        (label, tint, {"solid": "rule"}.get(dash, dash)) for _, label, tint, dash in money.ways
    ]
    body = paragraph(f"{lead} {money.note}", "quiet") + key(entries) + "<!--saved-->" + listed
    figure = cost_figure(money.by_interval, money.ways, content.zone)
    return Section("cost", title, body, {"saved": figure})


def leaderboard_section(content: Content) -> Section:
    """The error of each model beside last week's same hour, for each source."""
    title = "Leaderboard of models"
    if not content.leaderboard:
        what = "No models have been compared yet; that takes some weeks of data."
        return Section("models", title, missing(what, "python train_forecast.py"))
    lead = (
        "Mean absolute error over that of last week's same hour: left of the line is better. "
        "The filled mark is the champion."
    )
    unit = {
        view.source.source_id: price_unit() if view.source.kind == "market" else "kW"
        for view in content.views
    }
    board = [
        row | {"name": content.names.get(row["source_id"], row["source_id"])}
        for row in content.leaderboard
    ]
    errors, ratios = (even([row[name] for row in board], 2) for name in ("mae", "mae_ratio_naive"))
    rows = [
        (
            row["name"],
            row["model"] + " (champion)" * row["champion"],
            f"{error} {unit.get(row['source_id'], '')}",
            ratio,
        )
        for row, error, ratio in zip(board, errors, ratios, strict=True)
    ]
    listed = table(("Source", "Model", "Error|", "Over naive|"), rows)
    body = paragraph(lead, "quiet") + f'<div class="two"><div><!--ratio--></div>{listed}</div>'
    return Section("models", title, body, {"ratio": leaderboard_figure(board)})


def stream_section(content: Content) -> Section:
    """The state of each topic, the rows of each kind, and the newest value of each source."""
    title = "Health of the stream"
    if not any(count.rows for count in content.rows.values()):
        return Section(
            "stream", title, missing("Nothing has been streamed yet.", "python communication.py")
        )
    if content.stream:
        counts = [
            (
                row["topic"],
                RowCount(row["rows_stored"], row[FLAG]).words,
                *(counted(row[name]) for name in ("lag", "dead_letters")),
            )
            for row in content.stream
        ]
        body = table(("Topic", "Stored|", "Waiting|", "Dead letters|"), counts)
    else:
        body = paragraph(
            "The broker cannot be reached now: what waits in its topics and what was "
            "dead-lettered is not known.",
            "quiet",
        )
    body += "<!--rows-->"
    if any(count.is_estimate for count in content.rows.values()):
        body += paragraph(about_estimates(), "quiet")
    names = content.names
    newest = [
        (
            names[view.source.source_id],
            view.source.kind,
            clock(view.newest, content.zone, with_year=True),
        )
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
