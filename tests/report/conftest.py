"""A small site in a database of its own, its content and its page, and a browser."""

import dataclasses
import uuid
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from chromium import Chromium, find
from small_databases import drop_database
from small_report import fill

import db
import report
from vpp.report.content import read_content
from vpp.runtime.config import load_config

EVIL = (
    "<img src=x onerror=\"console.error('ran')\"><script>console.error('ran')</script>"
    "{{plotly}}<!--power--> & Söhne"
)


@pytest.fixture(scope="session")
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
    conn.close()
    drop_database(servers.database_url, name)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def page(filled, content):
    path = filled.path.with_name("report.html")
    path.write_text(report.render(content), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def browser():
    if not find():
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with Chromium() as chromium:
        yield chromium
