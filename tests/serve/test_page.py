"""The page in a real browser: it shows the plant, follows it, and asks this server alone."""

import itertools
import os
import re
import time
from pathlib import Path

import pandas as pd
import pytest
from small_plant import NOW, store

import db

PARTS = ["now", "plan", "forecasts", "history", "health", "override"]
WITHIN_S = 2.0  # a new state is shown


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_in_a_browser(served, browser, width, dark):
    served.open(browser, width, dark)
    assert browser.messages == []
    asked = [url for url in browser.requests if not url.startswith("data:image/svg+xml")]
    assert asked and all(url.startswith(f"{served.url}/") for url in asked)
    assert browser.run("location.href") == f"{served.url}/"  # the token is not in the address
    assert browser.run("document.cookie") == ""
    assert browser.run("[...document.querySelectorAll('section')].map(s => s.id)") == PARTS
    assert browser.run("document.querySelectorAll('.warning').length") == 0
    assert browser.run("document.getElementById('site').textContent") == "Plant <b>7</b>"
    rows = "document.querySelectorAll('#plan tbody tr').length"
    assert browser.run(rows) == 36
    assert browser.run("document.querySelectorAll('#plan tr.held').length") == 1
    drawn = (
        "[...document.querySelectorAll('svg')].map(f => f.querySelectorAll('path, rect').length)"
    )
    found = browser.run(drawn)
    assert len(found) == 5 and min(found) >= 4
    assert browser.run("document.documentElement.scrollWidth") == width


def test_a_time_that_comes_twice_is_told_with_its_zone(served, browser):
    served.open(browser)
    hours = [f"2025-10-26T{text}Z" for text in ("00:45", "01:15", "02:00")]
    told = f"""import("/assets/words.js").then(words => {{
        words.setPlace({{time_zone: "Europe/Brussels", currency: "EUR"}});
        return {hours}.map(words.hour)}})"""
    assert browser.run(told) == ["02:45 CEST", "02:15 CET", "03:00"]


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("hours", [3, 24, 36, 60, 84, 168, 336, 744])
def test_no_label_of_an_axis_lies_on_another(served, browser, hours, width):
    """Over the end of summer time, whose hour that comes twice has a long name."""
    served.open(browser, width)
    found = browser.run(
        f"""Promise.all(["words", "draw"].map(name => import(`/assets/${{name}}.js`)))
        .then(async ([words, draw]) => {{
            words.setPlace({{time_zone: "Europe/Brussels", currency: "EUR"}});
            const first = new Date("2025-10-25T22:00Z"), last = new Date(+first + {hours} * 3.6e6);
            const panel = {{ height: 90, unit: "kW", series: [
                {{ kind: "steps", tint: "red", points: [[first, last, 1234.5]] }}] }};
            document.body.prepend(draw.figure("one", first, last, [panel]));
            const drawn = document.body.firstChild;
            while (!drawn.firstChild) await new Promise(requestAnimationFrame);
            const texts = [...drawn.querySelectorAll("text")];
            const boxes = texts.map(text => text.getBoundingClientRect());
            const pairs = boxes.flatMap((one, i) => boxes.slice(i + 1).flatMap((other, j) =>
                one.left < other.right && other.left < one.right && one.top < other.bottom
                && other.top < one.bottom
                ? [[texts[i].textContent, texts[i + 1 + j].textContent]] : []));
            const out = boxes.filter(box => box.right > {width}).length;
            return [pairs, out, texts.length];
        }})"""
    )
    assert found[:2] == [[], 0] and found[2] >= 4


def test_every_part_is_told_to_a_screen_reader(served, browser):
    served.open(browser)
    levels = browser.run("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    unnamed = (
        "[...document.querySelectorAll('input, select')].filter(e => !e.labels.length)"
        ".concat([...document.querySelectorAll('button, a')].filter("
        "e => !(e.getAttribute('aria-label') || e.textContent).trim())).length"
    )
    assert browser.run(unnamed) == 0
    heads = "[...document.querySelectorAll('th')].filter(th => !th.scope).length"
    assert browser.run(heads) == 0
    assert browser.run("document.querySelectorAll('svg:not([role=img][aria-label])').length") == 0
    assert browser.run("document.documentElement.lang") == "en"
    summary = browser.run("document.getElementById('summary').textContent")
    assert re.match(
        r"battery-1 at \d+ % (charges|holds|discharges), cellar at .* EUR/MWh$", summary
    )
    # what scrolls can be reached by the keyboard
    assert browser.run("document.querySelectorAll('.scroll:not([tabindex])').length") == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(served, browser, dark):
    """A contrast of 4.5 or more (WCAG 2, 1.4.3), of all elements that hold text."""
    served.open(browser, 1400, dark)
    pairs = browser.run(
        """[...document.querySelectorAll('body *')].filter(e => e.offsetParent &&
        [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
          let back = e, colour; do { colour = getComputedStyle(back).backgroundColor; back =
          back.parentElement; } while (/, 0\\)$|transparent/.test(colour) && back);
          return [getComputedStyle(e).color, colour, e.textContent.slice(0, 30)]; })"""
    )
    assert len(pairs) > 200
    for text, behind, words in pairs:
        if "rgba" not in behind:  # the shade of the row that holds now is thin
            assert contrast(text, behind) >= 4.5, (words, text, behind)


def contrast(*colours):
    """Ratio of the luminances of two CSS colours."""
    both = []
    for text in colours:
        parts = [int(number) / 255 for number in re.findall(r"\d+", text)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        both.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)
    return max(both) / min(both)


def shown(browser, words: str, within_s: float) -> float:
    """Seconds until the page's Now has some words; fails after so many."""
    began = time.monotonic()
    while words not in browser.run("document.getElementById('now-body').textContent"):
        assert time.monotonic() - began < within_s, words
        time.sleep(0.02)
    return time.monotonic() - began


def test_now_follows_a_new_state(served, plant, browser):
    served.open(browser)
    shown(browser, "42 % of 2.00 MWh", 20)
    browser.run(
        "new Promise(done => { const look = () => document.getElementById('live').textContent "
        "=== 'Live.' ? setTimeout(done, 1500) : setTimeout(look, 20); look(); })"
    )
    with db.session(plant) as conn:
        store(conn, plant.batteries[0], NOW, 0.77)
    assert shown(browser, "77 % of 2.00 MWh", 20) < 20
    # on data time the newest state counts as now: the plan's mark follows it into the next interval
    mark = "document.querySelector('#plan tr.held th').textContent"
    assert browser.run(mark) == "14:00"
    with db.session(plant) as conn:
        store(conn, plant.batteries[0], NOW + pd.Timedelta(hours=1), 0.78)
    shown(browser, "78 % of 2.00 MWh", 20)
    assert browser.run(mark) == "15:00"
    assert browser.messages == []


def test_an_order_of_the_form_is_in_force_and_ended(served, browser):
    served.open(browser)
    order = """(() => { const form = document.getElementById('order');
        form.battery_id.value = 'cellar'; form.override.value = 'charge';
        form.override.dispatchEvent(new Event('change')); form.soc.value = '80';
        form.until.value = '2099-07-01T20:00'; form.elements.name.value = '<i>Ada</i>';
        form.reason.value = 'guests'; form.requestSubmit(); })()"""
    browser.run(order)
    # 20:00 in Brussels
    shown(browser, "Ordered: charge to 80 % until Wed 1 Jul 20:00 (<i>Ada</i>, guests)", 20)
    found = served.client.get("/api/now").json()["batteries"][1]["override"]
    assert found["until"] == "2099-07-01T18:00:00Z" and found["soc"] == 0.8
    assert "The next plan follows it." in browser.run(
        "document.getElementById('answer').textContent"
    )
    browser.run("document.querySelector('#orders button').click()")
    until = time.monotonic() + 20
    while served.client.get("/api/now").json()["batteries"][1]["override"]:
        assert time.monotonic() < until
    assert browser.messages == []


def test_the_arrows_go_through_the_days(served, browser):
    served.open(browser)
    title = "document.querySelector('#history-body h3').textContent"
    assert browser.run(title) == "Thu 13 Mar 2025"
    for identifier, day in (("previous", "Wed 12 Mar 2025"), ("next", "Thu 13 Mar 2025")):
        browser.run(f"document.getElementById('{identifier}').click()")
        until = time.monotonic() + 20
        while browser.run(title) != day:
            assert time.monotonic() < until


def test_without_the_cookie_it_asks_for_the_token(served, browser):
    browser.send("Network.clearBrowserCookies")
    browser.open(f"{served.url}/")
    assert "Token" in browser.run("document.body.textContent")
    browser.run("document.querySelector('input').value = 'wrong'; document.forms[0].submit()")
    browser._wait(lambda item: item.get("method") == "Page.loadEventFired")
    assert "This is not the token." in browser.run("document.body.textContent")
    browser.run(
        f"document.querySelector('input').value = '{served.token}'; document.forms[0].submit()"
    )
    browser._wait(lambda item: item.get("method") == "Page.loadEventFired")
    assert browser.run("document.querySelectorAll('section').length") == len(PARTS)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_axe_finds_nothing(served, browser, width, dark):
    """`npm pack axe-core` brings a package; VPP_TEST_AXE names the axe.min.js in it."""
    if not (script := os.environ.get("VPP_TEST_AXE")):
        pytest.skip("no axe-core: name its axe.min.js in VPP_TEST_AXE")
    served.open(browser, width, dark)
    browser.run(Path(script).read_text(encoding="utf-8") + "; 1")
    found = browser.run(
        "axe.run(document).then(r => r.violations.map(v => [v.impact, v.id, "
        "v.nodes.slice(0, 3).map(n => n.html.slice(0, 150))]))"
    )
    assert found == []
