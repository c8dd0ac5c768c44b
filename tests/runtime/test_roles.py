"""Who may use the embedded servers: their files, their socket, their roles.

Another user of the machine is tried where the tests run as root, who can become one.
"""

import json
import os
import pwd
import socket
import stat
import subprocess
from pathlib import Path

import psycopg2
import pytest
from small_embedded import execute

import embedded
from vpp.runtime import postgres, roles
from vpp.runtime.config import load_config
from vpp.runtime.places import EmbeddedError, find_places, make_private
from vpp.runtime.postgres import prepare_postgres

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def as_nobody(action) -> object:
    """The value of a function that a child process calls as the user nobody."""
    account, (read, write) = pwd.getpwnam("nobody"), os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            os.write(write, json.dumps(action()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return json.loads(answer)


@pytest.fixture
def state_dir(tmp_path):
    """A state folder in a place that all users reach, its servers running."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o711)
    yield tmp_path / "state"
    embedded.stop(tmp_path / "state", delete=True)


@AS_ROOT
def test_another_user_can_neither_read_nor_write_through_files_and_socket(state_dir):
    url = embedded.ensure_running(state_dir, 60).database_url
    places = find_places(state_dir)
    paths = [
        str(path)
        for root in (state_dir, places.postgres)
        for path in (root, *root.rglob("*"))
        if "binaries" not in str(path)
    ]
    server = places.postgres / ".s.PGSQL.5432"
    assert len(paths) > 500 and str(server) in paths

    def attempt():
        done = []
        for path in paths:
            for flags in (os.O_RDONLY, os.O_WRONLY):
                try:
                    os.close(os.open(path, flags))
                    done.append(path)
                except OSError:
                    pass
        try:
            socket.socket(socket.AF_UNIX).connect(str(server))
            done.append("connected")
        except OSError:
            pass
        return done

    assert as_nobody(attempt) == []

    def login():
        found = {}
        for user in ("vpp", "vpp_admin"):
            try:
                psycopg2.connect(url, user=user).close()
                found[user] = "connected"
            except psycopg2.OperationalError as error:
                found[user] = str(error)
        return found

    # and not through the server either, where a person has opened the folder
    places.postgres.chmod(0o755)
    server.chmod(0o777)
    for text in as_nobody(login).values():
        assert "Peer authentication failed" in text


@AS_ROOT
def test_as_root_the_server_runs_as_a_user_of_its_own(state_dir):
    embedded.ensure_running(state_dir, 60)
    row = embedded.describe(find_places(state_dir))[0]
    owner = pwd.getpwuid(os.stat(f"/proc/{row['pid']}").st_uid)
    assert owner.pw_name == "vpp-postgres"
    assert Path(row["folder"]).owner() == Path(row["folder"], "data").owner() == "vpp-postgres"


def test_the_role_of_the_scripts_is_no_superuser(servers):
    if "VPP_TEST_DATABASE_URL" in os.environ:
        pytest.skip("not the embedded server")
    query = "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
    assert execute(servers.database_url, query) == [(False, True)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        execute(servers.database_url, "COPY (SELECT 1) TO PROGRAM 'true'")
    rules = execute(
        servers.database_url, "SELECT auth_method FROM pg_hba_file_rules", user="vpp_admin"
    )
    assert rules == [("peer",)]


def test_servers_of_an_earlier_version_go_on_with_their_rows(state_dir, monkeypatch):
    """Their superuser was the role of the scripts, and as root their user was nobody."""
    places = find_places(state_dir)
    make_private(state_dir)
    places.control.mkdir(exist_ok=True)
    before = ("--username=vpp", "--auth=trust", *postgres.INITDB_OPTIONS[2:])
    monkeypatch.setattr(postgres, "INITDB_OPTIONS", before)
    binaries = prepare_postgres(places)
    data = places.postgres / "data"
    for database, text in (
        ("postgres", "CREATE DATABASE vpp;"),
        (
            "vpp",
            "CREATE TABLE kept (number serial PRIMARY KEY, text text);"
            "INSERT INTO kept (text) VALUES ('row');"
            "CREATE VIEW seen AS SELECT * FROM kept; CREATE TYPE colour AS ENUM ('red');"
            'CREATE SCHEMA mine; CREATE TABLE mine."odd name" (number int);'
            "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';",
        ),
    ):
        subprocess.run(
            [binaries / "bin" / "postgres", "--single", "-D", data, database],
            input="\n".join(text.split(";")),
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            **postgres._as_user(places),
        )
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for path in (data, *data.rglob("*")):
            os.lchown(path, nobody.pw_uid, nobody.pw_gid)
    for _ in range(2):
        url = embedded.ensure_running(state_dir, 60).database_url
        assert execute(url, "SELECT * FROM seen") == [(1, "row")]
        assert execute(url, "SELECT rolsuper FROM pg_roles WHERE rolname = 'vpp'") == [(False,)]
        left = "SELECT count(*) FROM pg_class WHERE relowner <> 'vpp'::regrole AND oid >= 16384"
        assert execute(url, left + " AND relnamespace <> 'pg_toast'::regnamespace") == [(0,)]
        assert embedded.stop(state_dir)
    url = embedded.ensure_running(state_dir, 60).database_url
    execute(url, "INSERT INTO kept (text) VALUES ('new'); DROP FUNCTION one; DROP TYPE colour")
    execute(url, "DROP SCHEMA mine CASCADE; DROP TABLE kept CASCADE; CREATE TABLE again (n int)")
    data_owner = roles.own_user("vpp-postgres").pw_uid if os.geteuid() == 0 else os.geteuid()
    assert data.stat().st_uid == data_owner


def test_a_state_folder_open_to_others_is_closed_or_refused(tmp_path, config_file):
    fresh, ours, others = (tmp_path / name for name in ("fresh", "ours", "others"))
    ours.mkdir()
    (ours / "mlflow.db").touch()
    others.mkdir()
    (others / "letter.txt").touch()
    for folder in (ours, others):
        folder.chmod(0o755)
    for folder in (fresh, ours):
        make_private(folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with pytest.raises(EmbeddedError, match=r"mode 0755.*chmod 700 .*others, or set \[paths\]"):
        make_private(others)
    config = config_file(paths={"state_dir": others}, database={"url": "embedded"})
    with pytest.raises(EmbeddedError, match="others may enter it"):
        embedded.ensure_running(load_config(config).paths.state_dir, 5)
    assert stat.S_IMODE(others.stat().st_mode) == 0o755
