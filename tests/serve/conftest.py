"""One small plant and its server for the tests of a module, and a browser."""

import uuid
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from chromium import Chromium, find
from small_databases import drop_database
from small_plant import BATTERIES, fill_plant
from small_server import Served

from vpp.runtime.config import load_config


@pytest.fixture(scope="module")
def plant(servers, tmp_path_factory):
    """The configuration of a small plant in a database of its own."""
    folder, name = tmp_path_factory.mktemp("plant"), f"test_{uuid.uuid4().hex[:12]}"
    url = urlunsplit(urlsplit(servers.database_url)._replace(path=f"/{name}"))
    sections = {
        "paths": {"data_dir": folder / "data", "state_dir": folder / "state"},
        "database": {"url": url},
        "site": {"name": "Plant <b>7</b>"},
        "serve": {"port": 0, "solve_limit_s": 20},
        **BATTERIES,
    }
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in values.items())]
    path = folder / "config.ini"
    path.write_text("\n".join(lines), encoding="utf-8")
    conn = psycopg2.connect(servers.database_url)
    conn.autocommit = True
    with conn.cursor() as cur:
        cur.execute(f"CREATE DATABASE {name}")
    conn.close()
    config = load_config(path, {})
    fill_plant(config)
    yield config
    drop_database(servers.database_url, name)


@pytest.fixture(scope="module")
def served(plant):
    """Its server, in a process of its own; its log has no traceback at the end."""
    with Served(plant.path) as server:
        yield server
    assert server.process.returncode == 0
    assert "Traceback" not in server.log.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def browser():
    if not find():
        pytest.skip("no Chromium: apt-get install chromium")
    with Chromium() as found:
        yield found
