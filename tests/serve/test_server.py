"""The server under load and against clients that do it harm: it stays responsive, and ends well."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from small_plant import NOW, store
from small_problem import PROBLEM
from small_server import Served

import db
import serve

ENOUGH_S = 20


def address(served) -> tuple[str, int]:
    where = urlsplit(served.url)
    return where.hostname, where.port


def parts_told(lines, wanted: set[str]) -> None:
    """Read events until all that are wanted have come."""
    for line in lines:
        wanted.discard(line.removeprefix("event: "))
        if not wanted:
            return


def test_events_tell_what_changes(served, plant):
    with served.client.stream("GET", "/api/events", timeout=ENOUGH_S) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        parts_told(lines, {"hello", "states"})
        with db.session(plant) as conn:
            store(conn, plant.batteries[0], NOW, 0.6)
        parts_told(lines, {"states"})
        order = {"battery_id": "cellar", "override": "auto"}
        with served.new_client() as other:
            assert other.post("/api/override", json=order).status_code == 200
        parts_told(lines, {"overrides"})


def test_many_requests_at_once_are_answered(served):
    async def ask_all() -> list[int]:
        limits = httpx.Limits(max_connections=400)
        headers = {"Authorization": f"Bearer {served.token}"}
        options = {"limits": limits, "headers": headers, "timeout": 120, "trust_env": False}
        async with httpx.AsyncClient(base_url=served.url, **options) as client:
            paths = ["/health", "/api/forecasts?source_id=load-1", "/nothing", "/api/history"]
            asked = [client.get(paths[number % len(paths)]) for number in range(400)]
            answers = await asyncio.gather(*asked)
            return [answer.status_code for answer in answers]

    found = asyncio.run(ask_all())
    assert {code: found.count(code) for code in set(found)} == {200: 300, 404: 100}


def test_slow_clients_do_not_hold_it_up(served):
    where, slow = address(served), []
    head = f"POST /api/state HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.token}\r\n"
    for begin in (b"", b"GET /api/now HT", f"{head}Content-Length: 100\r\n\r\n{{".encode()) * 50:
        slow.append(socket.create_connection(where))
        slow[-1].sendall(begin)
    # takes nothing of its answers
    deaf = socket.create_connection(where)
    wish = f"GET /api/plan HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.token}\r\n\r\n"
    deaf.sendall(wish.encode() * 20)
    for _ in range(5):
        assert served.client.get("/health").status_code == 200
        assert served.client.get("/api/now").status_code == 200
    for one in [*slow, deaf]:
        one.close()


def test_a_connection_on_which_nothing_comes_is_closed(served):
    with socket.create_connection(address(served)) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\nHost")
        silent.settimeout(60)
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(100) == b""


def test_a_solver_that_dies_is_replaced(served):
    killed = [
        child
        for child in psutil.Process(served.process.pid).children()
        if "vpp.serve.solver_process" in child.cmdline()
    ]
    for solver in killed:
        solver.kill()
    *first, last = [served.client.post("/api/solve", json=PROBLEM) for _ in range(len(killed) + 1)]
    assert killed and [answer.status_code for answer in first] == [503] * len(killed)
    assert all("the solver's process ended" in answer.json()["detail"] for answer in first)
    assert last.status_code == 200


def test_a_solve_does_not_hold_up_the_others(served):
    """A problem that takes seconds; meanwhile all else answers, and who leaves frees the solver."""
    battery = {"capacity_kwh": 10, "charge_kw": 5, "discharge_kw": 4, "charge_min_kw": 1}
    large = {
        "step_min": 15,
        "time_limit_s": 15,
        "import_price_eur_per_mwh": [(37 * t) % 101 - 20 for t in range(3000)],
        "batteries": [{"battery_id": f"b{b}", **battery} for b in range(20)],
    }
    began = time.monotonic()
    with pytest.raises(httpx.ReadTimeout):
        served.client.post("/api/solve", json=large, timeout=0.5)
    assert served.client.get("/health").status_code == 200
    assert served.client.post("/api/solve", json=PROBLEM).status_code == 200
    assert time.monotonic() - began < 60


def test_rubbish_is_refused_and_forgotten(served):
    for text in (
        b"\0" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"X" * 100_000,
        b"POST / HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(address(served)) as rude:
            rude.settimeout(60)
            rude.sendall(text)
            with contextlib.suppress(ConnectionResetError):
                rude.recv(1000)
    assert served.client.get("/health").status_code == 200


def test_a_database_that_is_away_is_one_line(plant, tmp_path):
    """The database refuses connections for a while; the server says so, and comes back."""
    name = urlsplit(plant.database.url).path.removeprefix("/")
    other = plant.database.url.replace(f"/{name}", "/postgres")
    path = tmp_path / "config.ini"
    path.write_text(plant.path.read_text(encoding="utf-8"), encoding="utf-8")

    def say(statement: str) -> None:
        import psycopg2

        conn = psycopg2.connect(other)
        conn.autocommit = True
        with conn.cursor() as cur:
            cur.execute(statement)
        conn.close()

    with Served(path) as served:
        assert served.client.get("/api/now").status_code == 200
        say(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        say(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        try:
            for route in ("/health", "/api/now", "/api/plan", "/metrics"):
                answer = served.client.get(route)
                assert answer.status_code == 503, route
                assert "not currently accepting connections" in answer.json()["detail"]
            assert served.client.post("/api/solve", json=PROBLEM).status_code == 200
        finally:
            say(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert served.client.get("/health").status_code == 200
    assert "Traceback" not in served.log.read_text(encoding="utf-8")


def test_it_ends_well_with_pages_open(plant):
    """On SIGINT; the fixture's server ends on SIGTERM."""
    with (
        Served(plant.path) as served,
        served.client.stream("GET", "/api/events", timeout=ENOUGH_S) as stream,
    ):
        parts_told(stream.iter_lines(), {"hello"})
        children = psutil.Process(served.process.pid).children()
        os.kill(served.process.pid, signal.SIGINT)
        assert served.process.wait(ENOUGH_S) == 0
    psutil.wait_procs(children, timeout=ENOUGH_S)
    assert not [one for one in children if one.is_running() and one.status() != "zombie"]


def test_a_port_that_is_taken_is_one_line(config_file, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = config_file(serve={"port": port})
        assert serve.main(["--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"[serve] port = {port} of 127.0.0.1 cannot be had: Address already in use" in error


def test_a_link_with_the_token_is_for_a_terminal_only(served):
    assert served.token not in served.log.read_text(encoding="utf-8")
    assert "token" not in served.url


def test_json_of_the_wrong_kind_is_refused(served):
    for text in ("[]", "1", '"x"', "null", "{", json.dumps({"a": 1})):
        for route in ("state", "override"):
            answer = served.client.post(f"/api/{route}", content=text)
            assert answer.status_code == 422, text
            assert "\n" not in answer.json()["detail"]
