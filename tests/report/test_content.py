"""The content of the page is that of the database, the store and the broker."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_report import ISSUE

import db
import report
from vpp.champions.leaderboard import newest_training, read_leaderboard
from vpp.planning import plans, valuation
from vpp.report.content import read_content
from vpp.report.frames import fleet_soc
from vpp.report.sections import error_in_words, stream_section
from vpp.report.words import amount, escape, money_text
from vpp.storage.counts import RowCount, about_estimates


def test_the_numbers_are_those_of_the_plan_s_value(filled, content, page):
    value = valuation.value_plan(filled)
    total = content.money.total_eur
    assert total == {
        name: value[name] for name in ("no_battery", "rule", "plan", "perfect_foresight")
    }
    assert content.money.captured_share == value["captured_share"]
    text = page.read_text(encoding="utf-8")
    for name in ("no_battery", "plan", "perfect_foresight"):
        assert f"<b>{money_text(value[name])}</b>" in text
    assert f"<b>{value['captured_share']:.0%}</b>" in text


def test_a_plan_is_shown_with_the_batteries_it_was_made_with(filled):
    smaller = dataclasses.replace(
        filled.batteries[0], capacity_kwh=filled.batteries[0].capacity_kwh / 2
    )
    changed = dataclasses.replace(filled, batteries=(smaller, *filled.batteries[1:]))
    before, after = (read_content(config) for config in (filled, changed))
    assert [battery.capacity_kwh for battery in after.batteries] == [2000, 500]
    assert after.money.total_eur == before.money.total_eur
    assert fleet_soc(after.states, after.batteries).equals(
        fleet_soc(before.states, before.batteries)
    )


@pytest.mark.parametrize(
    ("kind", "title"),
    [("perfect", "Plan with perfect foresight, from"), ("actual", "Plan as carried out, issued")],
)
def test_a_run_that_is_no_plan_says_so_and_shows_its_own_money(filled, kind, title):
    with db.session(filled) as session:
        run = db.read_schedule(session, kind=kind)[0]
    content = read_content(filled, run["run_id"])
    assert content.money.total_eur == {
        "no_battery": run["cost_no_battery_eur"],
        "rule": run["cost_rule_eur"],
        "plan": run["cost_eur"],
    }
    assert content.money.by_interval.sum().to_dict() == pytest.approx(content.money.total_eur)
    assert content.money.captured_share is None
    text = report.render(content)
    assert title in text and "Plan issued" not in text and "With the plan" not in text


def test_limits_that_bend_are_counted_and_cost_nothing(filled):
    """A load of up to 2,100 kW behind a connection of 1,000 kW.

    Without battery it is too much in some hours.
    """
    tight = dataclasses.replace(
        filled, grid=dataclasses.replace(filled.grid, import_limit_kw=1000.0)
    )
    run_id = plans.plan(tight, ISSUE)["run_id"]
    money = read_content(tight, run_id).money
    assert re.search(
        r"Limits were not kept in [1-9]\d* places without battery and in 0 with it", money.note
    )
    # 36 h of at most 2.1 MW at prices below 200 EUR/MWh
    assert 0 < money.total_eur["no_battery"] < 36 * 2.1 * 200
    with db.session(filled) as session, session.cursor() as cursor:
        cursor.execute("DELETE FROM schedule_runs WHERE run_id = %s", (run_id,))


def test_yesterdays_error_is_that_of_a_forecast_a_day_old(filled, content):
    """Forecasts are off by 0.12 sin(i / 5) in their i-th hour.

    The newest that is 24 h old at the end is ISSUE's, in its hours 24 to 47.
    """
    for kind in ("load", "market"):  # of a price the newest that is 48 h old, the same here
        check_error(filled, next(view for view in content.views if view.source.kind == kind))


def check_error(filled, view):
    hours = np.arange(24, 48)
    with db.session(filled) as session:
        series = db.read_series(session, view.source)
    actual = series[ISSUE + pd.to_timedelta(hours, unit="h")].to_numpy()
    week_before = series[ISSUE + pd.to_timedelta(hours - 168, unit="h")].to_numpy()
    assert view.error["end"] == ISSUE + pd.Timedelta(hours=48) and view.error["issue_time"] == ISSUE
    assert view.error["mae"] == pytest.approx(np.abs(actual * 0.12 * np.sin(hours / 5)).mean())
    assert view.error["naive"] == pytest.approx(np.abs(actual - week_before).mean())
    words, mae = error_in_words(view, "UTC"), view.error["mae"]
    expected = (
        f"{amount(mae, 'kW')}, {mae / 2500:.1%} of capacity"
        if view.source.kind == "load"
        else f"{mae:,.2f} EUR/MWh"
    )
    assert f"mean absolute error {expected}" in words


def test_a_broker_that_is_away_is_named(content):
    assert [row["topic"] for row in content.stream][:2] == [
        "report-solar-topic",
        "report-wind-topic",
    ]
    assert content.stream[0]["rows_stored"] == 336
    away = dataclasses.replace(content, stream=[])
    assert "The broker cannot be reached now" in stream_section(away).body


def test_an_estimated_number_of_rows_is_marked(content):
    assert "~" not in stream_section(content).body
    first = content.stream[0] | {"rows_stored": 50_012_345, "rows_estimated": True}
    rows = content.rows | {"solar": RowCount(50_012_345, True)}
    large = dataclasses.replace(content, rows=rows, stream=[first, *content.stream[1:]])
    section = stream_section(large)
    assert "~ 50,000,000" in section.body and escape(about_estimates()) in section.body
    assert section.figures["rows"]["data"][0]["y"][0] == "solar<br><b>~ 50,000,000</b>"


def test_the_leaderboard_is_that_of_the_newest_training(filled):
    assert read_leaderboard(filled, ["load-1"]) == []
    assert not filled.paths.state_dir.exists()  # looking for a store makes none

    def child(parent, champion, model, **metrics):
        tags = {"source_id": "load-1", "champion": champion, "mlflow.parentRunId": parent}
        return SimpleNamespace(
            data=SimpleNamespace(tags=tags, params={"model": model}, metrics=metrics)
        )

    parent = SimpleNamespace(
        data=SimpleNamespace(tags={"source_id": "load-1"}, params={}, metrics={"test_mae": 1.0})
    )
    failed = child("second", "arima", "prophet", seconds=3.0)
    newest = [
        failed,
        child("second", "arima", "seasonal_naive", mae=20.0),
        child("second", "arima", "arima", mae=15.0),
    ]
    rows = newest_training(
        [*newest, parent, child("first", "seasonal_naive", "seasonal_naive", mae=10.0), parent]
    )
    assert [
        (row["model"], row["mae"], row["mae_ratio_naive"], row["champion"]) for row in rows
    ] == [
        ("arima", 15.0, 0.75, True),
        ("seasonal_naive", 20.0, 1.0, False),
    ]
    assert newest_training([]) == []
