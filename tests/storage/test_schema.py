"""The schema is made once, migrated in order, and needs no more than a schema of its own."""

import shutil
import threading

import pytest
from small_storage import make_source

import db
from vpp.runtime.config import load_config
from vpp.storage import schema


def test_connecting_at_once_makes_one_schema(config):
    failures = []

    def work():
        try:
            db.connect(config).close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with db.session(config) as conn:
        assert schema.schema_version(conn) == max(schema.migration_files())
        assert list(db.count_rows(conn).values()) == [0] * len(schema.TABLES)


def test_migrations_run_once_and_in_order(config, conn, monkeypatch, tmp_path):
    """Two more; the second fails where the first has not run, or where it has run already."""
    newest = max(schema.migration_files())
    db.upsert_sources(conn, [make_source("solar-1", "solar")])
    conn.commit()
    folder = tmp_path / "migrations"
    shutil.copytree(schema.FOLDER, folder)
    (folder / f"{newest + 1:04}_note.sql").write_text("ALTER TABLE sources ADD COLUMN note text")
    (folder / f"{newest + 2:04}_key.sql").write_text(
        "UPDATE sources SET note = 'x';\nALTER TABLE sources ADD UNIQUE (note);\n"
    )
    monkeypatch.setattr(schema, "FOLDER", folder)
    for _ in range(2):
        with db.session(config) as other, other.cursor() as cursor:
            cursor.execute("SELECT note FROM sources")
            assert cursor.fetchall() == [("x",)]
            cursor.execute("SELECT version FROM schema_version ORDER BY applied_at")
            assert cursor.fetchall() == [(number,) for number in range(1, newest + 3)]
    monkeypatch.undo()
    expected = f"schema has version {newest + 2}, this code knows {newest}; update the code"
    with pytest.raises(db.DatabaseError, match=expected):
        db.connect(config)


def test_a_role_that_owns_only_its_schema(config_file, servers, database_url):
    with db.session(load_config(config_file())) as conn, conn.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS plain_user")
        cursor.execute(
            "CREATE ROLE plain_user LOGIN PASSWORD 'plain'; CREATE SCHEMA AUTHORIZATION plain_user"
        )
    separator = "&" if "?" in database_url else "?"
    name = (
        f"{database_url}{separator}options=-c%20role%3Dplain_user%20-c%20search_path%3Dplain_user"
    )
    try:
        with db.session(load_config(config_file(database={"url": name}))) as conn:
            db.upsert_sources(conn, [make_source("solar-1", "solar")])
            assert db.count_rows(conn)["sources"] == 1
            db.reset(conn)
            assert db.count_rows(conn)["sources"] == 0
    finally:
        with db.session(load_config(config_file())) as conn, conn.cursor() as cursor:
            cursor.execute("DROP OWNED BY plain_user CASCADE; DROP ROLE plain_user")
