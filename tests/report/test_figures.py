"""The figures show the numbers of the schedule, and time as it passes."""

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from small_report import schedule_of

import report
from vpp.report.figures.axes import local_ticks
from vpp.report.figures.cost import cost_figure
from vpp.report.figures.dispatch import dispatch_figure
from vpp.report.figures.traces import times_trace
from vpp.report.frames import MOST_INTERVALS
from vpp.report.sections import SECTIONS
from vpp.report.views import Money
from vpp.report.words import zone_name


def test_what_comes_in_goes_out(content):
    data = dispatch_figure(content.schedule, content.states, content.batteries, content.zone)[
        "data"
    ]
    bars = np.array(
        [[value or 0.0 for value in trace["y"]] for trace in data if trace["type"] == "bar"]
    )
    assert np.clip(bars, 0, None).sum(axis=0) == pytest.approx(
        -np.clip(bars, None, 0).sum(axis=0), rel=1e-3
    )
    assert (np.clip(bars, 0, None).sum(axis=0) > 0).all()


def test_days_of_23_and_25_hours():
    # the night of 2025-10-26 in Brussels: 02:00 CEST is 00:00 UTC, 02:00 CET is 01:00 UTC
    times = pd.date_range("2025-10-25T22:00Z", periods=25, freq="h")
    lines = times_trace(times, "Europe/Brussels", pd.Timedelta(hours=1))["text"]
    assert lines[2:4] == ["<b>Sun 26 Oct 02:00–02:00 CEST</b>", "<b>Sun 26 Oct 02:00–03:00 CET</b>"]
    assert len(set(lines)) == 25
    ticks = local_ticks(times[0], times[-1] + pd.Timedelta(hours=1), "Europe/Brussels", 6)
    assert ticks["ticktext"] == [
        "00:00<br>Sun 26 Oct",
        "06:00",
        "12:00",
        "18:00",
        "00:00<br>Mon 27 Oct",
    ]
    assert ticks["tickvals"][:2] == ["2025-10-25 22:00", "2025-10-26 05:00"]  # 7 hours apart
    ticks = local_ticks(
        pd.Timestamp("2025-03-29T23:00Z"), pd.Timestamp("2025-03-30T22:00Z"), "Europe/Brussels", 6
    )
    assert ticks["tickvals"][:2] == ["2025-03-29 23:00", "2025-03-30 04:00"]  # 5 hours apart
    assert zone_name(times[[0, -1]], "Europe/Brussels") == "Europe/Brussels (CEST / CET)"


def test_days_that_begin_at_one_o_clock_have_ticks():
    # the night of 2025-04-25 in Cairo: 24:00 is 01:00 of summer time, 22:00 UTC
    start, end = pd.Timestamp("2025-04-23T22:00Z"), pd.Timestamp("2025-04-26T21:00Z")
    days = local_ticks(start, end, "Africa/Cairo", 4)
    assert days["tickvals"][:3] == ["2025-04-23 22:00", "2025-04-24 22:00", "2025-04-25 21:00"]
    assert days["ticktext"][:2] == ["24 Apr<br>Thu", "25 Apr<br>Fri"]
    hours = local_ticks(start + pd.Timedelta(days=1), end, "Africa/Cairo", 8)
    assert hours["ticktext"][:2] == ["06:00<br>Fri 25 Apr", "12:00"]


def test_a_year_of_quarter_hours_is_aggregated_first(content):
    hours = np.arange(35_040)
    schedule, states = schedule_of(
        20 * (hours % 4 == 0), 20 * (hours % 4 == 2), 50 + hours % 7, "2025-01-01T00:00Z", "15min"
    )
    figure = dispatch_figure(schedule, states, (), content.zone)
    assert max(len(trace["x"]) for trace in figure["data"]) <= MOST_INTERVALS + 1
    load = next(trace for trace in figure["data"] if trace["name"] == "Charge")
    assert np.nanmean(np.array(load["customdata"], float)) == pytest.approx(
        5, rel=1e-3
    )  # 20 kW in one quarter of four
    money = Money(
        pd.DataFrame({"no_battery": 1.0, "plan": 0.9}, schedule.index),
        {"no_battery": 35_040.0, "plan": 31_536.0},
        "",
    )
    cost = cost_figure(money.by_interval, money.ways, content.zone)
    assert max(len(trace["x"]) for trace in cost["data"]) <= MOST_INTERVALS + 1
    assert cost["data"][-1]["y"][-1] == pytest.approx(3504)  # 0.1 EUR in each
    year = dataclasses.replace(content, schedule=schedule, states=states, money=money, batteries=())
    assert len(report.render(year).encode()) < 8_000_000


def test_figures_are_what_plotly_takes(content):
    import plotly.graph_objects as go

    sections = [part(content) for part in SECTIONS]
    drawn = [figure for section in sections for figure in section.figures.values()]
    assert len(drawn) == 9
    for figure in drawn:
        axes = [value for name, value in figure["layout"].items() if "axis" in name]
        plain = {
            "data": [
                {key: value for key, value in trace.items() if value is not None}
                for trace in figure["data"]
            ]
        }
        go.Figure(
            **plain | {"layout": figure["layout"]}
        )  # ValueError names a property that is not one
        for axis in axes:
            assert not axis["title"]["text"] or re.search(
                r"\[.+\]|^Time, \w+/\w+ \(.+\)$", axis["title"]["text"]
            ), axis["title"]
