"""Fixtures of all tests: real servers, an empty database and own topics for each test,
configuration files, real data.

The servers are those named by VPP_TEST_DATABASE_URL and VPP_TEST_KAFKA (their user must be allowed
to create databases), else embedded ones in a temporary folder, stopped and removed at the end."""

import os
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest
from confluent_kafka.admin import AdminClient
from small_databases import drop_database

import embedded
from embedded import Addresses
from vpp.stream.topics import is_embedded

PROJECT = Path(__file__).resolve().parent.parent
CACHES = {".pytest_cache", ".hypothesis", ".ruff_cache", ".mypy_cache", "__pycache__"}
SLOW = {  # files of a minute and more: they begin first, so that no worker waits for one at the end
    "test_training.py",
    "test_docs_examples.py",
    "test_soak.py",
    "test_pipeline.py",
    "test_cluster.py",
    "test_fetch_to_plan.py",
    "test_tariff_home.py",
    "test_operate.py",
    "test_ledger.py",
    "test_properties.py",
    "test_silent_source.py",
}


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in SLOW)


def pytest_sessionstart(session):
    session.config.before = set(os.listdir(PROJECT))


def pytest_sessionfinish(session):
    """Tests leave nothing in the checkout, or they fail."""
    if hasattr(session.config, "workerinput"):
        return  # the one that started the workers looks
    if left := set(os.listdir(PROJECT)) - session.config.before - CACHES:
        session.config.pluginmanager.get_plugin("terminalreporter").write_line(
            f"left in the checkout by a test: {', '.join(sorted(left))}", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def servers(tmp_path_factory):
    """Addresses of a PostgreSQL and of a Kafka broker."""
    database_url, kafka = os.environ.get("VPP_TEST_DATABASE_URL"), os.environ.get("VPP_TEST_KAFKA")
    if database_url and kafka:
        yield Addresses(database_url, kafka)
        return
    state_dir = tmp_path_factory.mktemp("servers")
    try:
        own = embedded.ensure_running(state_dir, wait_s=60)
        yield Addresses(database_url or own.database_url, kafka or own.bootstrap_servers)
    finally:
        embedded.stop(state_dir, delete=True)


def _execute(url: str, statement: str) -> list[tuple]:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.fixture(scope="session")
def drop_later(servers):
    """Function that drops a database beside the tests that follow: a drop waits for the disk."""
    with ThreadPoolExecutor(1) as pool:
        drops = []
        yield lambda name: drops.append(pool.submit(drop_database, servers.database_url, name))
        for drop in drops:
            drop.result()


@pytest.fixture
def database_url(servers, drop_later):
    """URL of an empty database of this test's own."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    _execute(servers.database_url, f"CREATE DATABASE {name}")
    yield urlunsplit(urlsplit(servers.database_url)._replace(path=f"/{name}"))
    drop_later(name)


@pytest.fixture(scope="session")
def has_timescaledb(servers) -> bool:
    return bool(
        _execute(
            servers.database_url, "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"
        )
    )


@pytest.fixture
def kafka_prefix():
    """Prefix of topics of this test's own, which end with it."""
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    yield prefix
    if address := os.environ.get("VPP_TEST_KAFKA"):
        client = AdminClient({"bootstrap.servers": address})
        known = client.list_topics(timeout=30)
        own = [name for name in known.topics if name.startswith(prefix)]
        if own and not is_embedded(known):  # which deletes nothing, and ends with its process
            for future in client.delete_topics(own).values():
                future.result()


@pytest.fixture
def config_file(tmp_path, servers, database_url, kafka_prefix):
    """Function that writes a configuration of this test's servers and folders:
    `config_file(training={"trials": 1})` -> path.

    Keywords are sections; a battery is `**{"battery:b": {...}}`, and without one there is a
    battery-1 of default values."""

    def write(**sections) -> Path:
        given = {
            "paths": {"data_dir": tmp_path / "data", "state_dir": tmp_path / "state"},
            "database": {"url": database_url},
            "kafka": {
                "bootstrap_servers": servers.bootstrap_servers,
                "topic_prefix": kafka_prefix,
                "group_id": f"{kafka_prefix}sink",
                "partitions": os.environ.get("VPP_TEST_KAFKA_PARTITIONS", 4),
            },
        }
        if not any(name.startswith("battery:") for name in sections):
            given["battery:battery-1"] = {}
        for name, values in sections.items():
            given[name] = given.get(name, {}) | values
        lines = []
        for name, values in given.items():
            lines += [f"[{name}]", *(f"{key} = {value}" for key, value in values.items()), ""]
        path = tmp_path / "config.ini"
        path.write_text("\n".join(lines))
        return path

    return write


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, read-only."""
    folder = Path(os.environ.get("VPP_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; name its folder in VPP_TEST_DATA")
    return folder


def _own_files() -> dict:
    return {
        entry.path: entry.stat().st_mtime_ns
        for name in ("data", ".vpp")
        if (PROJECT / name).is_dir()
        for entry in os.scandir(PROJECT / name)
    }


@pytest.fixture(autouse=True)
def _leave_project_alone():
    """No test writes to the project's own data/ or .vpp/."""
    before = _own_files()
    yield
    assert _own_files() == before, "a test wrote to the project's own data/ or .vpp/"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working folder that is not the checkout: reports go there."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def script():
    """Command line of a script of the project.

    `subprocess.run(script("db.py", "--config", path))`.
    """
    return lambda name, *arguments: [sys.executable, str(PROJECT / name), *map(str, arguments)]
