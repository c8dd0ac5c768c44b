"""How providers are asked, against a real server on loopback."""

import json
import socket
import threading

import pytest
from werkzeug import Response

from vpp.connect import web as asking
from vpp.connect.web import ProviderError, Web


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No wait between tries."""
    monkeypatch.setattr(asking, "RETRY_S", 0.0)


@pytest.fixture
def web(httpserver, tmp_path):
    return Web("example", httpserver.url_for("/v1"), tmp_path / "kept", 1.0, {"key": "s3cret"})


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_busy_provider_is_asked_again(web, httpserver, status):
    busy = Response("wait", status, headers={"Retry-After": "0"})
    for _ in range(3):
        httpserver.expect_ordered_request("/v1/price").respond_with_response(busy)
    httpserver.expect_ordered_request("/v1/price").respond_with_json({"price": 1})
    assert web.json("price", {}) == {"price": 1}
    assert len(httpserver.log) == 4


def test_a_provider_that_stays_busy_is_named(web, httpserver):
    httpserver.expect_request("/v1/price").respond_with_data("no", 503)
    with pytest.raises(ProviderError, match=r"^example .*answers 503.* tried 5 times"):
        web.json("price", {})
    assert len(httpserver.log) == 5


def test_a_wait_of_hours_is_not_waited_for(web, httpserver):
    busy = Response("no", 429, headers={"Retry-After": "7200"})
    httpserver.expect_request("/v1/price").respond_with_response(busy)
    with pytest.raises(ProviderError, match=r"answers 429.*try again later"):
        web.json("price", {})
    assert len(httpserver.log) == 1


def test_a_refusal_is_not_asked_again_and_shows_no_key(web, httpserver):
    httpserver.expect_request("/v1/price").respond_with_data("the key s3cret\nis wrong", 401)
    with pytest.raises(ProviderError) as caught:
        web.json("price", {"area": "DE"})
    assert len(httpserver.log) == 1
    assert "401" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def half_an_answer():
    """A server that promises 1,000 bytes and sends 10; its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        for _ in range(asking.ATTEMPTS):
            peer, _ = listener.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[1, 2, 3, ")
        listener.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_half_an_answer_is_none():
    with pytest.raises(ProviderError, match="middle of an answer"):
        Web("example", half_an_answer()).json("price", {})


def test_an_answer_that_is_no_json_is_quoted(web, httpserver):
    httpserver.expect_request("/v1/price").respond_with_data("<html>maintenance</html>")
    with pytest.raises(ProviderError, match="no JSON but '<html>maintenance"):
        web.json("price", {})


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ProviderError, match="tried 5 times"):
        Web("example", f"http://127.0.0.1:{port}").json("price", {})


def test_raw_answers_are_kept_with_their_time_and_without_the_key(web, httpserver, tmp_path):
    httpserver.expect_oneshot_request("/v1/price").respond_with_json([1, 2])
    assert web.json("price", {"area": "DE"}) == [1, 2]
    assert web.json("price", {"area": "DE"}) == [1, 2]  # the server would refuse a second request
    [kept] = (tmp_path / "kept").iterdir()
    answer = json.loads(kept.read_text())
    assert json.loads(answer["text"]) == [1, 2]
    assert answer["fetched_at"] > 1.7e9
    assert "s3cret" not in kept.read_text()
    httpserver.expect_request("/v1/price").respond_with_json([3])
    old = Web("example", web.base_url, tmp_path / "kept", 0.0, web.secrets)
    assert old.json("price", {"area": "DE"}) == [3]


def test_a_host_is_the_first_part_of_the_path():
    assert Web("x", "https://{host}.example/")._url("api/v1/a") == "https://api.example/v1/a"
    assert Web("x", "https://example/api")._url("") == "https://example/api"
