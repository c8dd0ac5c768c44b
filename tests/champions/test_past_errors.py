"""The error of the last day.

One number on the command line and in the report, with published prices in play.
"""

import json
import re

import numpy as np
import pandas as pd
import pytest
from small_world import END, LOAD, MARKET, crown, fill, make_store, series, store

import db
import forecast_and_save
import report
from vpp.champions.past_errors import day_error, issued_coverage
from vpp.forecast.quantiles import QUANTILE_COLUMNS, QUANTILES
from vpp.report.content import read_content
from vpp.report.coverage import coverage_table
from vpp.runtime.config import load_config
from vpp.site.times import DAY
from vpp.storage.results import ForecastRun

HOUR = pd.Timedelta(hours=1)


@pytest.fixture
def config(config_file):
    return load_config(config_file())


def save(conn, source, issue_time, off, published=0, hours=48, role="champion"):
    """A forecast that is off by `off`; its first hours are published."""
    times = pd.date_range(issue_time, periods=hours, freq="h", name="valid_time")
    known = np.arange(hours) < published
    value = series(source).reindex(times).fillna(300.0) + np.where(known, 0.0, off)
    frame = pd.DataFrame({"value": value, "published": known}, times)
    db.save_forecasts(
        conn, [(ForecastRun(source.source_id, "arima", "1", issue_time, issue_time, role), frame)]
    )


def test_the_script_and_the_report_show_the_same_error(config, tmp_path_factory, capsys):
    """Forecasts a day apart; a day before, all prices but one of the last day were published."""
    make_store(config, tmp_path_factory)
    fill(config, LOAD, MARKET)
    for source in (LOAD, MARKET):
        crown(config, source, "daily_naive", END - 3 * DAY)
    for days in (2, 1, 0):
        issue = (END - days * DAY).isoformat()
        arguments = ["--config", str(config.path), "--issue-time", issue, "--json"]
        assert forecast_and_save.main(arguments) == 0
        out = capsys.readouterr().out
    script = {row["source_id"]: row["yesterday_mae"] for row in json.loads(out)}
    content = read_content(config)
    shown = {view.source.source_id: view.error["mae"] for view in content.views}
    assert shown == script
    actual = series(MARKET)
    with db.session(config) as conn:
        two_days_old = db.read_forecasts(conn, "market-1", END - 2 * DAY)[1]["value"]
        one_day_old = db.read_forecasts(conn, "market-1", END - DAY)[1]
    day = actual.index[(actual.index >= END - DAY) & (actual.index < END)]
    assert one_day_old.loc[day, "published"].sum() == 23
    assert script["market-1"] == pytest.approx((two_days_old[day] - actual[day]).abs().mean())
    assert script["market-1"] > 5
    words = re.sub(r"<[^>]*>", "", report.render(content))
    assert f"mean absolute error {script['market-1']:,.2f} EUR/MWh" in words


def test_published_prices_and_forecasts_of_another_age_do_not_count(config):
    fill(config, LOAD, MARKET)
    with db.session(config) as conn:
        save(conn, LOAD, END - 2 * DAY, off=9.0)
        save(conn, LOAD, END - 30 * HOUR, off=2.0)
        save(conn, LOAD, END - 23 * HOUR, off=7.0)
        save(conn, MARKET, END - 2 * DAY, off=3.0, published=34)
        save(conn, MARKET, END - DAY, off=5.0, published=23)
        load, price = (day_error(conn, config, source, END) for source in (LOAD, MARKET))
        assert (load["mae"], load["issue_time"]) == (pytest.approx(2.0), END - 30 * HOUR)
        assert (price["mae"], price["issue_time"]) == (pytest.approx(3.0), END - 2 * DAY)
        actual = series(MARKET)
        counted = actual.index[(actual.index >= END - 14 * HOUR) & (actual.index < END)]
        week_before = actual[counted - 7 * DAY].to_numpy()  # no clock changes in February
        assert price["naive"] == pytest.approx(np.abs(week_before - actual[counted]).mean())
        save(conn, MARKET, END - 2 * DAY, off=3.0, published=48)
        assert day_error(conn, config, MARKET, END) is None


def test_errors_after_a_change_of_capacity_are_in_the_units_of_now(config):
    """Twice the load since the last day: last week's hours are doubled, and bands of before that
    was told say nothing of those of now.
    """
    fill(config, LOAD)
    power = series(LOAD)
    with db.session(config) as conn:
        store(conn, LOAD, power.where(power.index < END - DAY, 2 * power))
        frame = pd.DataFrame({"value": power, "published": False})[END - 2 * DAY : END]
        frame = frame.assign(**dict.fromkeys(QUANTILE_COLUMNS, frame["value"]))
        run = ForecastRun("load-1", "arima", "1", END, END - 2 * DAY, "champion")
        db.save_forecasts(conn, [(run, frame)])
        assert len(issued_coverage(conn, config, LOAD, END))
        told = {"valid_from": (END - DAY).isoformat()}
        grown = type(LOAD)(**{**vars(LOAD), "capacity_kw": 2000.0, "parameters": told})
        db.upsert_sources(conn, [grown])
        day = power[END - DAY : END - HOUR]
        week_before = power[END - 8 * DAY : END - 7 * DAY - HOUR]
        naive = 2 * np.abs(week_before.to_numpy() - day.to_numpy()).mean()
        assert day_error(conn, config, grown, END)["naive"] == pytest.approx(naive)
        assert issued_coverage(conn, config, grown, END).empty


@pytest.mark.parametrize(
    ("role", "counts"), [("fallback", True), ("backtest", True), ("manual", False)]
)
def test_roles_that_count(config, role, counts):
    fill(config, LOAD)
    with db.session(config) as conn:
        save(conn, LOAD, END - DAY, off=4.0, role=role)
        error = day_error(conn, config, LOAD, END)
    assert (error is not None) == counts


def test_half_of_the_day_must_be_forecast_and_measured(config):
    fill(config, LOAD)
    with db.session(config) as conn:
        save(conn, LOAD, END - DAY, off=4.0, hours=11)
        assert day_error(conn, config, LOAD, END) is None
        save(conn, LOAD, END - DAY, off=4.0, hours=12)
        assert day_error(conn, config, LOAD, END)["mae"] == pytest.approx(4.0)


def test_curtailed_hours_do_not_count(config):
    curtailed = [[(END - 3 * HOUR).isoformat(), END.isoformat()]]
    source = type(LOAD)(**{**vars(LOAD), "parameters": {"curtailed": curtailed}})
    fill(config, LOAD)
    with db.session(config) as conn:
        changed = series(LOAD)
        changed[changed.index >= END - 3 * HOUR] += 500.0
        store(conn, source, changed)
        save(conn, LOAD, END - DAY, off=4.0)
        assert day_error(conn, config, source, END)["mae"] == pytest.approx(4.0)


def test_the_page_says_how_often_bands_held(config):
    """Bands of 20 kW: of the first day they hold but in the last six hours, of the second never."""
    fill(config, LOAD)
    with db.session(config) as conn:
        assert issued_coverage(conn, config, LOAD, END).empty
        for days in (3, 2):
            issue = END - days * DAY
            times = pd.date_range(issue, periods=48, freq="h", name="valid_time")
            off = np.where(np.arange(48) < 18, 5.0, 15.0)
            value = series(LOAD).reindex(times).fillna(300.0) + off
            bands = {
                name: value + 25 * (level - 0.5)
                for name, level in zip(QUANTILE_COLUMNS, QUANTILES, strict=True)
            }
            run = ForecastRun("load-1", "arima", "1", issue, issue, "champion")
            frame = pd.DataFrame({"value": value, "published": False, **bands}, times)
            db.save_forecasts(conn, [(run, frame)])
        save(conn, LOAD, END - DAY, off=4.0)  # it has no band
        found = issued_coverage(conn, config, LOAD, END).set_index(["by", "group"])
    assert found.loc["lead", "rows"].to_list() == [48, 48]
    assert found.loc["lead", "coverage_80"].to_list() == [0.75, 0.0]
    assert found.loc[("season", "winter"), "coverage_80"] == pytest.approx(36 / 96)
    assert found.loc["hour", "rows"].sum() == 96
    page = coverage_table(read_content(config).views, {"load-1": "House"})
    assert ">House<" in page and ">75%<" in page
    assert ">Winter<" in page and ">Summer<" not in page
