"""The page as a browser shows it, and as text."""

import dataclasses
import re

import psycopg2
import pytest
from small_report import fill

import report
from vpp.report.page import plotly_script, render
from vpp.runtime.config import load_config


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


def test_without_a_battery_there_is_a_page(content):
    alone = dataclasses.replace(content, states=content.states.iloc[:0], batteries=())
    text = report.render(alone)
    assert "none: add a section [battery:NAME]" in text
    assert "hold: no price difference" not in text
    for gone in ("State of charge", ">Charge<", "saves 0.00"):
        assert gone not in text


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


def test_a_run_whose_measurements_are_gone_still_has_a_page(content):
    assert "; measurements until Sat 15 Mar 2025 01:00. Times in" in report.render(content)
    text = report.render(dataclasses.replace(content, data_end=None))
    assert "measurements until" not in text and "to Fri 14 Mar 12:00. Times in" in text


def test_money_is_labelled_as_the_tariff_says(content):
    page = render(dataclasses.replace(content, currency="CHF"))
    page = page.replace(plotly_script(), "").replace("(EUR)", "")
    assert "CHF/MWh" in page
    assert re.findall(r".{30}(?:EUR|€).{30}", page) == []
