"""The table of every interval: its numbers are the plan's, and each hour has its own row."""

import dataclasses
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from small_midnights import MIDNIGHTS, dates, hours_around
from small_report import schedule_of

from vpp.report.frames import fleet_soc
from vpp.report.slots import every_interval, slot_table
from vpp.report.views import Content
from vpp.report.words import span


def numbers(cells):
    return [float(cell.replace(",", "")) for cell in cells]


def test_each_interval_has_a_row_with_the_numbers_of_the_plan(content):
    head, rows = slot_table(content)
    table = pd.DataFrame(rows, columns=head)
    assert len(table) == len(content.schedule) == 36
    plan = content.schedule
    for name, column, slack in (
        ("Price [EUR/MWh]|", plan["import_price_eur_per_mwh"], 0.005),
        ("Load [kW]|", plan["load_kw"], 0.5),
        ("Sun and wind [kW]|", plan["renewables_kw"], 0.5),
        ("Grid [kW]|", plan["grid_import_kw"] - plan["grid_export_kw"], 0.5),
        ("SOC [%]|", 100 * fleet_soc(content.states, content.batteries)["soc"], 0.5),
        ("Cost [EUR]|", content.costs, 0.005),
    ):
        np.testing.assert_allclose(numbers(table[name]), column, atol=slack + 1e-9)
    assert table["Why"].tolist() == plan["reason"].tolist()
    # the last of the running total is the cost of the run
    total = numbers(table["So far [EUR]|"])[-1]
    assert total == pytest.approx(content.run["cost_eur"], abs=0.005)
    balance = sum(
        np.array(numbers(table[f"{name} [kW]|"])) * sign
        for name, sign in (("Load", 1), ("Sun and wind", -1), ("Battery", 1), ("Grid", -1))
    )
    np.testing.assert_allclose(balance, plan["curtailed_kw"] * -1, atol=2)


def test_sun_and_wind_have_the_band_of_their_forecasts(content):
    head, rows = slot_table(content)
    bands = pd.DataFrame(rows, columns=head)["80 % band|"]
    time = content.schedule.index[14]
    expected = [
        sum(
            view.forecast.loc[time, name].clip(0)
            for view in content.views
            if view.source.kind in ("solar", "wind")
        )
        for name in ("q10", "q90")
    ]
    np.testing.assert_allclose(numbers(bands[14].split("–")), expected, atol=0.5)
    without = dataclasses.replace(content.views[1], forecast=None)
    views = (content.views[0], without, *content.views[2:])
    assert "80 % band|" not in slot_table(dataclasses.replace(content, views=views))[0]


def night(start):
    schedule, states = schedule_of([0] * 4, [0] * 4, 50.0, start)
    run = {"kind": "plan", "issue_time": schedule.index[0]}
    return Content("Home", "Europe/Brussels", run=run, schedule=schedule, states=states)


def test_both_hours_of_a_night_of_25_hours_are_told_apart():
    _, rows = slot_table(night("2025-10-25T23:00Z"))
    assert [row[0] for row in rows] == [
        *("Sun 26 Oct 01:00–02:00 CEST", "02:00 CEST–02:00 CET", "02:00 CET–03:00", "03:00–04:00")
    ]
    assert [row[0] for row in slot_table(night("2025-03-30T00:00Z"))[1]][:2] == [
        *("Sun 30 Mar 01:00–03:00", "03:00–04:00")
    ]


@pytest.mark.parametrize(("zone", "change"), MIDNIGHTS)
def test_each_local_day_begins_with_its_name_where_clocks_change_at_midnight(zone, change):
    hours = hours_around(change)
    schedule, states = schedule_of([0] * len(hours), [0] * len(hours), 50.0, hours[0])
    run = {"kind": "plan", "issue_time": hours[0]}
    _, rows = slot_table(Content("Home", zone, run=run, schedule=schedule, states=states))
    days = dates(hours, zone)
    begins = [days[i] != days[i - 1] for i in range(1, len(days))]
    named = [f"{day:%a} {day.day} " for day in days]
    told = [row[0].startswith(name) for row, name in zip(rows, named, strict=True)]
    assert told == [True, *begins]
    for start, end in pairwise(hours):
        first, last = (time.tz_convert(zone) for time in (start, end))
        told = f"{last:%a} {last.day} {last:%b}" in span(start, end, zone).split("–")[1]
        assert told == (first.date() != last.date() and f"{last:%H:%M}" != "00:00")


def test_a_long_run_shows_its_first_intervals_and_says_so():
    schedule, states = schedule_of([0] * 500, [0] * 500, 50.0)
    run = {"kind": "plan", "issue_time": schedule.index[0]}
    found = every_interval(Content("Home", "UTC", run=run, schedule=schedule, states=states))
    assert "the first 400 of 500 intervals" in found
    assert found.count("<tr>") == 401
