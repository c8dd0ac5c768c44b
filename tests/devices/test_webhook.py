"""A plan goes to a webhook: tried again where that may help, and its address is told nowhere."""

import json

import pytest
from werkzeug import Response

from vpp.devices.publish import TRIES, PublishError, to_webhook
from vpp.runtime.config import load_config

PLAN = {"site_id": "site-1", "plan_id": "p1", "issue_time": "2026-01-05T12:00:00Z"}
MESSAGES = [PLAN | {"battery_id": name, "intervals": []} for name in ("a", "b")]


def hooked(config_file, url: str):
    return load_config(config_file(webhook={"url": url, "timeout_s": 2}), {})


def test_it_gets_the_plan_once_and_a_fault_that_passes_does_no_harm(config_file, httpserver):
    for status in (503, 429, 204):
        httpserver.expect_ordered_request("/hush").respond_with_response(Response(status=status))
    assert to_webhook(hooked(config_file, httpserver.url_for("/hush")), MESSAGES) == 2
    assert len(httpserver.log) == 3
    for request, _ in httpserver.log:
        assert json.loads(request.data) == PLAN | {"batteries": MESSAGES}


@pytest.mark.parametrize(
    ("status", "asked", "told"),
    [
        (500, TRIES, "answer 500, tried 3 times"),
        (301, 1, "answer 301; expected 200 to 299"),
        (307, 1, "answer 307; expected 200 to 299"),
        (403, 1, "answer 403; expected 200 to 299"),
    ],
)
def test_a_refusal_is_one_line_without_the_address(config_file, httpserver, status, asked, told):
    """A redirect is not followed: it would hand the plan to whom the answer names."""
    elsewhere = httpserver.url_for("/elsewhere")
    answer = Response(status=status, headers={"Location": elsewhere})
    httpserver.expect_request("/hush").respond_with_response(answer)
    url = httpserver.url_for("/hush").replace("http://", "http://ada:hush@")
    with pytest.raises(PublishError) as caught:
        to_webhook(hooked(config_file, f"{url}?key=hush"), MESSAGES)
    assert str(caught.value) == told
    assert [request.path for request, _ in httpserver.log] == ["/hush"] * asked


def test_no_server_is_one_line_without_the_address(config_file):
    with pytest.raises(PublishError, match=r"^it cannot be reached, tried 3 times$"):
        to_webhook(hooked(config_file, "http://ada:hush@127.0.0.1:1/hush"), MESSAGES)
