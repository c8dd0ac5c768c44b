import dataclasses
import re
import uuid
from types import SimpleNamespace
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd
import psycopg2
import pytest
from chromium import Chromium, find
from small_report import ISSUE, fill

import db
import report
from vpp.planning import plans, valuation
from vpp.report import figures
from vpp.report.colours import DEMAND, SUPPLY, colour_of
from vpp.report.content import newest_training, read_content, read_leaderboard
from vpp.report.page import TEMPLATE, plotly_script
from vpp.report.sections import SECTIONS, error_in_words, stream_section
from vpp.report.words import amount, euro, zone_name
from vpp.runtime.config import load_config

EVIL = (
    "<img src=x "
    "onerror=\"console.error('ran')\"><script>console.error('ran')</script>{{plotly}}<!--power--> & Söhne"
)


@pytest.fixture(scope="module")
def filled(servers, tmp_path_factory):
    """A configuration whose database holds a plan with its value, names and a reason that are HTML,
    and no MLflow store.
    """
    name = f"report_{uuid.uuid4().hex[:12]}"
    conn = psycopg2.connect(servers.database_url)
    conn.autocommit = True
    with conn.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    folder = tmp_path_factory.mktemp("report")
    url = urlunsplit(urlsplit(servers.database_url)._replace(path=f"/{name}"))
    (folder / "config.ini").write_text(
        f"[database]\nurl = {url}\n[kafka]\nbootstrap_servers = "
        f"{servers.bootstrap_servers}\ntopic_prefix = report-\n"
        f"sasl_password = hunter2\n[site]\nname = {EVIL}\n"
        "[grid]\nimport_limit_kw = 3000\nexport_limit_kw = "
        "3000\n[battery:first]\n[battery:second]\ncapacity_kwh = 500\ncharge_kw = 200\n"
    )
    config = load_config(folder / "config.ini", {})
    fill(config, name=EVIL)
    with db.session(config) as session:
        run, schedule, states = db.read_schedule(session)
        db.save_schedule(
            session, run, schedule.assign(reason=[EVIL, *schedule["reason"][1:]]), states
        )
    yield config
    with conn.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
    conn.close()


@pytest.fixture(scope="module")
def content(filled):
    models = (("random_forest", 0.7, True), ("seasonal_naive", 1.0, False), ("arima", 3.2, False))
    rows = [
        {
            "source_id": source,
            "model": name,
            "champion": best,
            "mae": 141.3 * r,
            "mae_ratio_naive": r,
        }
        for source in ("load-1", "market-1")
        for name, r, best in models
    ]
    return dataclasses.replace(read_content(filled), leaderboard=rows)


@pytest.fixture(scope="module")
def page(filled, content):
    path = filled.path.with_name("report.html")
    path.write_text(report.render(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    if not find():
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with Chromium() as chromium:
        yield chromium


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_in_a_browser(browser, page, width, dark):
    browser.open(page, width, dark)
    browser.run("document.drawn")
    assert browser.messages == []
    assert browser.requests == [page.resolve().as_uri()]
    # every section has its plots, and each shows data
    drawn = browser.run(
        "[...document.querySelectorAll('section')].map(s => [s.id, "
        "[...s.querySelectorAll('.figure')].map(f => "
        "f.querySelectorAll('path.point, .bars path, path.js-line').length && f.offsetHeight)])"
    )
    assert [name for name, _ in drawn] == [
        "numbers",
        "dispatch",
        "forecasts",
        "cost",
        "models",
        "stream",
    ]
    assert {name: len(heights) for name, heights in drawn} == {
        "numbers": 1,
        "dispatch": 1,
        "forecasts": 4,
        "cost": 1,
        "models": 1,
        "stream": 1,
    }
    assert all(height > 100 for _, heights in drawn for height in heights)
    assert browser.run("document.documentElement.scrollWidth") == width
    wide = (
        "[...document.querySelectorAll('.scroll')].filter(table => table.scrollWidth "
        "> "
        "table.clientWidth).map(table => table.innerText)"
    )
    assert browser.run(wide) == []  # no column is cut off
    # text and page are far apart in both schemes (a contrast of 7 is WCAG's AAA)
    texts = browser.run(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert contrast(*texts) > 7
    brightness = sum(map(int, re.findall(r"\d+", texts[1])[:3]))
    assert brightness < 200 if dark else brightness > 600


def test_hover_shows_the_reason(browser, page):
    browser.open(page)
    browser.run("document.drawn")
    left, top, height = browser.run(
        "(() => { const plot = document.getElementById('dispatch-power'); plot.scrollIntoView();"
        "window.hovered = new Promise((done, fail) => { setTimeout(() => fail(new Error('no "
        "hover in 20 s')), 20000);"
        "plot.on('plotly_hover', () => setTimeout(() => "
        "done(plot.querySelector('.hoverlayer').textContent), 100)); });"
        "const box = plot.querySelector('.nsewdrag').getBoundingClientRect(); return [box.left, "
        "box.top, box.height]; })()"
    )
    browser.hover(left + 5, top + height / 3)
    browser.hover(left + 6, top + height / 3)
    shown = browser.run("window.hovered")
    assert "Thu 13 Mar 00:00–01:00 CET" in shown  # 23:00 UTC
    assert "<img src=x" in shown.replace("\xa0", " ")  # the reason of this interval, as text
    assert browser.run("document.images.length") == 0
    assert browser.messages == []


def contrast(*colours):
    """Ratio of the luminances of two CSS colours (WCAG 2, 1.4.3)."""
    both = []
    for text in colours:
        parts = [int(number) / 255 for number in re.findall(r"\d+", text)[:3]]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        both.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(both) / min(both)


def test_names_and_reasons_are_text(page):
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert text.count("<script") == 3  # the figures' data, plotly and the page's own
    assert "&lt;img src=x" in text


def test_no_secret_in_the_page(filled, page):
    text = page.read_text(encoding="utf-8")
    where = psycopg2.extensions.parse_dsn(filled.database.url)
    for secret in ("hunter2", filled.database.url, where.get("password")):
        assert not secret or secret not in text.replace(
            plotly_script(), ""
        )  # its script may hold a short word by chance


def test_the_numbers_are_those_of_the_plan_s_value(filled, content, page):
    value = valuation.value_plan(filled)
    total = content.money.total_eur
    assert total == {
        name: value[name] for name in ("no_battery", "rule", "plan", "perfect_foresight")
    }
    assert content.money.captured_share == value["captured_share"]
    text = page.read_text(encoding="utf-8")
    for name in ("no_battery", "plan", "perfect_foresight"):
        assert f"<b>{euro(value[name])}</b>" in text
    assert f"<b>{value['captured_share']:.0%}</b>" in text


def test_a_plan_is_shown_with_the_batteries_it_was_made_with(filled):
    smaller = dataclasses.replace(
        filled.batteries[0], capacity_kwh=filled.batteries[0].capacity_kwh / 2
    )
    changed = dataclasses.replace(filled, batteries=(smaller, *filled.batteries[1:]))
    before, after = (read_content(config) for config in (filled, changed))
    assert [battery.capacity_kwh for battery in after.batteries] == [2000, 500]
    assert after.money.total_eur == before.money.total_eur
    assert figures.fleet_soc(after.states, after.batteries).equals(
        figures.fleet_soc(before.states, before.batteries)
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


def test_what_comes_in_goes_out(content):
    data = figures.dispatch_figure(
        content.schedule, content.states, content.batteries, content.zone
    )["data"]
    bars = np.array(
        [[value or 0.0 for value in trace["y"]] for trace in data if trace["type"] == "bar"]
    )
    assert np.clip(bars, 0, None).sum(axis=0) == pytest.approx(
        -np.clip(bars, None, 0).sum(axis=0), rel=1e-3
    )
    assert (np.clip(bars, 0, None).sum(axis=0) > 0).all()


def test_a_broker_that_is_away_is_named(content):
    assert [row["topic"] for row in content.stream][:2] == [
        "report-solar-topic",
        "report-wind-topic",
    ]
    assert content.stream[0]["rows_stored"] == 336
    away = dataclasses.replace(content, stream=[])
    assert "The broker cannot be reached now" in stream_section(away).body


def test_every_section_says_which_command_is_missing(config_file, tmp_path):
    config = load_config(config_file(), {})
    text = report.write_report(config, output=tmp_path / "empty.html").read_text(encoding="utf-8")
    assert "The database is empty." in text
    for command in (
        "pipeline",
        "optimization",
        "forecast_and_save",
        "train_forecast",
        "communication",
    ):
        assert f"<code>python {command}.py</code>" in text
    fill(config, plan=False)
    text = report.write_report(config, output=tmp_path / "unplanned.html").read_text(
        encoding="utf-8"
    )
    assert "There is no plan yet." in text
    assert (
        "fan0" not in text
    )  # no forecast for the data end, and none of another time is passed off as one


def test_expected_failures_are_one_line(filled, tmp_path, capsys):
    arguments = ["--config", str(filled.path)]
    assert report.main([*arguments, "--run", "nothing"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "run nothing is unknown; expected one of " in error
    (tmp_path / "folder").mkdir()
    assert report.main([*arguments, "--output", str(tmp_path / "folder")]) == 2
    assert "is a folder" in capsys.readouterr().err
    (tmp_path / "folder").rmdir()
    assert report.main([*arguments, "--output", str(tmp_path / "r.html")]) == 0
    assert capsys.readouterr().out.strip().endswith("r.html")
    assert list(tmp_path.iterdir()) == [tmp_path / "r.html"]


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


# --- worked out by hand
# ---------------------------------------------------------------------------------------------------------


def schedule_of(charge, discharge, price, start="2025-03-13T00:00Z", freq="h"):
    """A schedule of a 10 kW load and one battery that charges and discharges so."""
    times = pd.date_range(start, periods=len(charge), freq=freq, name="time")
    charge, discharge = np.array(charge, float), np.array(discharge, float)
    net = 10 + charge - discharge
    schedule = pd.DataFrame(
        {
            "grid_import_kw": np.clip(net, 0, None), "grid_export_kw": np.clip(-net, 0, None), "load_kw": 10.0, "renewables_kw": 0.0,
            "curtailed_kw": 0.0, "import_price_eur_per_mwh": price, "export_price_eur_per_mwh": price, "charge_kw": charge,
            "discharge_kw": discharge, "reason": [f"reason {i}" for i in range(len(times))],
        },
        index=times,
    )  # fmt: skip
    soc = (50 + np.cumsum(charge - discharge)) / 100
    return schedule, pd.DataFrame(
        {"battery_id": "b", "soc": soc, "charge_kw": charge, "discharge_kw": discharge}, index=times
    )


def test_actions_are_uninterrupted_and_priced_by_energy():
    schedule, _ = schedule_of([10, 30, 0, 0, 5], [0, 0, 0, 20, 0], [10, 50, 60, 90, 20])
    first, second, third = report.battery_actions(schedule)
    assert (first["what"], first["energy_kwh"]) == ("Charge", 40)
    assert first["price_eur_per_mwh"] == pytest.approx(40)  # (10 * 10 + 30 * 50) / 40
    assert first["reason"] == "reason 1"  # of its strongest hour
    assert first["end"] - first["start"] == pd.Timedelta(hours=2)
    assert (second["what"], second["energy_kwh"], second["price_eur_per_mwh"]) == (
        "Discharge",
        20,
        90,
    )
    assert (third["what"], third["energy_kwh"]) == ("Charge", 5)


def test_the_next_day_in_words():
    schedule, states = schedule_of([10, 30, 0, 0], [0, 0, 0, 20], [10, 50, 60, 90])
    battery = (
        load_config(environment={})
        .batteries[0]
        .__class__("b", capacity_kwh=100, eta_charge=1, eta_discharge=1, soc_min=0, soc_max=1)
    )
    fleet = figures.fleet_soc(states, [battery])
    assert fleet["before"].tolist() == pytest.approx([0.5, 0.6, 0.9, 0.9])
    assert report.next_day_in_words(schedule, fleet, "Europe/Brussels") == {
        "Charge": "01:00–03:00: 40.0 kWh at 40 EUR/MWh on average",
        "Discharge": "04:00–05:00: 20.0 kWh at 90 EUR/MWh on average",
        "Stored": "50% at the start, highest 90% at 03:00, lowest 60% at 02:00, 70% after 24 h",
        "Import": "70.0 kWh, at most 40.0 kW at 02:00",  # 10 + 10, 10 + 30, 10, 10 - 20
        "Export": "10.0 kWh, at most 10.0 kW at 04:00",
        "Price": "lowest 10 EUR/MWh at 01:00, highest 90 EUR/MWh at 04:00",
        "Renewables": "0 kWh, 0% of the load's 40.0 kWh",
    }


def test_without_a_battery_there_is_a_page(content):
    alone = dataclasses.replace(content, states=content.states.iloc[:0], batteries=())
    text = report.render(alone)
    assert "none: add a section [battery:NAME]" in text
    assert "hold: no price difference" not in text
    for gone in ("State of charge", ">Charge<", "saves 0.00"):
        assert gone not in text


def test_days_of_23_and_25_hours():
    # the night of 2025-10-26 in Brussels: 02:00 CEST is 00:00 UTC, 02:00 CET is 01:00 UTC
    times = pd.date_range("2025-10-25T22:00Z", periods=25, freq="h")
    lines = figures.times_trace(times, "Europe/Brussels", pd.Timedelta(hours=1))["text"]
    assert lines[2:4] == ["<b>Sun 26 Oct 02:00–02:00 CEST</b>", "<b>Sun 26 Oct 02:00–03:00 CET</b>"]
    assert len(set(lines)) == 25
    ticks = figures.local_ticks(times[0], times[-1] + pd.Timedelta(hours=1), "Europe/Brussels", 6)
    assert ticks["ticktext"] == [
        "00:00<br>Sun 26 Oct",
        "06:00",
        "12:00",
        "18:00",
        "00:00<br>Mon 27 Oct",
    ]
    assert ticks["tickvals"][:2] == ["2025-10-25 22:00", "2025-10-26 05:00"]  # 7 hours apart
    ticks = figures.local_ticks(
        pd.Timestamp("2025-03-29T23:00Z"), pd.Timestamp("2025-03-30T22:00Z"), "Europe/Brussels", 6
    )
    assert ticks["tickvals"][:2] == ["2025-03-29 23:00", "2025-03-30 04:00"]  # 5 hours apart
    assert zone_name(times[[0, -1]], "Europe/Brussels") == "Europe/Brussels (CEST / CET)"


def test_a_year_of_quarter_hours_is_aggregated_first(content):
    hours = np.arange(35_040)
    schedule, states = schedule_of(
        20 * (hours % 4 == 0), 20 * (hours % 4 == 2), 50 + hours % 7, "2025-01-01T00:00Z", "15min"
    )
    figure = figures.dispatch_figure(schedule, states, (), content.zone)
    assert max(len(trace["x"]) for trace in figure["data"]) <= figures.MOST_INTERVALS + 1
    load = next(trace for trace in figure["data"] if trace["name"] == "Charge")
    assert np.nanmean(np.array(load["customdata"], float)) == pytest.approx(
        5, rel=1e-3
    )  # 20 kW in one quarter of four
    money = figures.Money(
        pd.DataFrame({"no_battery": 1.0, "plan": 0.9}, schedule.index),
        {"no_battery": 35_040.0, "plan": 31_536.0},
        "",
    )
    cost = figures.cost_figure(money, content.zone)
    assert max(len(trace["x"]) for trace in cost["data"]) <= figures.MOST_INTERVALS + 1
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


# Viénot, Brettel and Mollon (1999): what a dichromat sees, in linear RGB
DICHROMATS = {
    "deuteranope": [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
    "protanope": [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("eye", [None, *DICHROMATS])
def test_stacked_colours_stay_apart(scheme, eye):
    style = TEMPLATE.read_text(encoding="utf-8")
    light = dict(re.findall(r"--([\w-]+): (#\w{6})", style.split("@media")[0]))
    dark = light | dict(re.findall(r"--([\w-]+): (#\w{6})", style.split("@media")[1]))
    colours = light if scheme == "light" else dark
    for names in (SUPPLY, DEMAND):  # what touches in the stack
        labs = [lab(colours[colour_of(name)], DICHROMATS.get(eye)) for name, _ in names]
        for i, one in enumerate(labs):
            for other in labs[i + 1 :]:
                assert np.linalg.norm(one - other) > 15, (names, i)  # CIE76; 2.3 is just noticeable


def lab(text, matrix):
    rgb = np.array([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    if matrix is not None:
        linear = np.clip(np.array(matrix) @ linear, 0, 1)
    xyz = (
        np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        @ linear
        / [0.9505, 1, 1.089]
    )
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
