"""The banner names all that is older than it should be, and says nothing of a current page."""

import dataclasses

import pandas as pd
import pytest

from vpp.report.page import render
from vpp.report.staleness import stale_parts

HOUR = pd.Timedelta(hours=1)


@pytest.fixture
def current(content):
    """The page as if it had been made an hour after its plan, with no newer measurement."""
    issue = content.run["issue_time"]
    idle = [row | {"lag": 0} for row in content.stream]
    return dataclasses.replace(content, made_at=issue + HOUR, data_end=issue, stream=idle)


def test_a_current_page_has_no_banner(current):
    assert stale_parts(current) == []
    assert 'class="banner"' not in render(current)


CASES = {
    "a source that is silent": ({"behind": {"load-1": "not current"}}, "Load: not current."),
    "old measurements": (
        {"later_h": 30},
        "The measurements end Thu 13 Mar 2025 00:00, 30 h before",
    ),
    "a plan that is over": ({"later_h": 24 * 9}, "The plan ended Fri 14 Mar 2025 12:00."),
    "newer measurements": (
        {"data_h": 5},
        "There are measurements of 5 h after the plan was issued.",
    ),
    "a stand-in": ({"role": "fallback"}, "A stand-in forecasts Load: no champion could be used."),
    "messages that wait": ({"lag": 7}, "Messages wait in report-solar-topic;"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_stale_part_is_named(current, case):
    change, words = CASES[case]
    issue, views = current.run["issue_time"], current.views
    changed = {
        "behind": lambda value: {"behind": value},
        "later_h": lambda value: {"made_at": issue + value * HOUR},
        "data_h": lambda value: {"data_end": issue + value * HOUR},
        "role": lambda value: {"views": (dataclasses.replace(views[0], role=value), *views[1:])},
        "lag": lambda value: {"stream": [current.stream[0] | {"lag": value}]},
    }
    ((name, value),) = change.items()
    stale = dataclasses.replace(current, **changed[name](value))
    found = stale_parts(stale)
    assert any(text.startswith(words) for text in found), found
    page = render(stale)
    assert page.count('class="banner"') == 1 and words in page


def test_the_page_says_when_it_was_made(current):
    assert "This page was made Thu 13 Mar 2025 01:00 CET." in render(current)
    assert "This page was made" not in render(dataclasses.replace(current, made_at=None))


def test_a_source_has_one_name_on_the_whole_page(current):
    """Of two sources of one name each has its source_id with it; one without a name has that."""
    assert current.names["load-1"] == "Load"
    first, second, *others = current.views
    same = [
        dataclasses.replace(view, source=dataclasses.replace(view.source, name=name))
        for view, name in ((first, "Twin"), (second, "Twin"), (others[0], " "))
    ]
    names = dataclasses.replace(current, views=(*same, *others[1:])).names
    assert list(names.values())[:3] == ["Twin (load-1)", "Twin (solar-1)", "wind-1"]
    text = render(current)
    board = text[text.index('<section id="models">') : text.index('<section id="stream">')]
    assert ">Load<" in board and "load-1" not in board
