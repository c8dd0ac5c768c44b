"""A connection and a session fail in one line, without a password, and leave nothing half done."""

import time

import pandas as pd
import psycopg2
import pytest
from small_storage import START, make_source

import db
from vpp.storage import timescale
from vpp.storage.connection import kept_connections
from vpp.storage.errors import first_line


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://vpp:s3cret@127.0.0.1:1/vpp",
        "postgresql://vpp:s3cret@127.0.0.1:notaport/vpp",
        "host=127.0.0.1 port=1 password=s3cret what=else",
        "postgresql:/vpp:s3cret@127.0.0.1/vpp",
    ],
)
def test_an_error_is_one_line_without_the_password(url):
    began = time.monotonic()
    with pytest.raises(db.DatabaseError) as caught:
        db.connect_url(url, 0.3)
    assert time.monotonic() - began < 5
    assert "s3cret" not in str(caught.value) and "\n" not in str(caught.value)
    assert "[database] url" in str(caught.value)


def test_what_the_server_refuses_names_the_table(conn):
    run = {"run_id": "a", "site_id": "s", "issue_time": START, "kind": "plan"}
    schedule = pd.DataFrame({"grid_import_kw": ["much"]}, index=[START])
    states = pd.DataFrame({"battery_id": ["b"], "soc": [0.5]}, index=[START])
    with pytest.raises(db.DatabaseError, match=r"^database, schedules: invalid input syntax"):
        db.save_schedule(conn, run, schedule, states)
    assert db.read_schedule(conn) is None  # one transaction: the run was not left behind


def test_a_lock_is_not_waited_for_without_end(config, conn):
    with conn.cursor() as cursor:
        cursor.execute("LOCK TABLE sources")
    with (
        pytest.raises(db.DatabaseError, match="lock timeout"),
        db.session(config) as other,
        other.cursor() as cursor,
    ):
        cursor.execute("SET lock_timeout = '50ms'")
        db.upsert_sources(other, [make_source("solar-1", "solar")])


def test_a_session_that_fails_leaves_nothing(config):
    with pytest.raises(RuntimeError), db.session(config) as conn:
        db.upsert_sources(conn, [make_source("solar-1", "solar")])
        raise RuntimeError
    with db.session(config) as conn:
        assert db.read_sources(conn) == []


def test_a_server_that_ends_the_session_is_a_database_error(config):
    with pytest.raises(db.DatabaseError, match="session"), db.session(config) as conn:
        with psycopg2.connect(config.database.url) as other, other.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
        other.close()
        db.count_rows(conn)


def test_an_error_is_told_in_words_of_its_first_line():
    """Also one without a text; and no control character reaches a terminal."""
    assert first_line(psycopg2.OperationalError("away\nCONTEXT: x")) == "away"
    assert first_line(psycopg2.DataError("\n bad \x1b[31mvalue\nmore")) == r"bad \x1b[31mvalue"
    assert first_line(psycopg2.InterfaceError()) == "an error without a text"
    assert first_line(TimeoutError()) == "no answer came in time"


def test_a_dropped_table_is_one_line_with_the_command_that_mends_it(config_file, config, capsys):
    path = str(config_file())
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("DROP TABLE schedules")
    assert db.main(["--config", path]) == 1
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and 'relation "schedules" does not exist' in shown
    assert "python db.py reset --yes" in shown
    assert db.main(["--config", path, "reset", "--yes"]) == 0
    assert db.main(["--config", path]) == 0


def test_a_server_that_has_not_preloaded_timescaledb_goes_on_as_plain(config, monkeypatch, caplog):
    """It ends the session that would switch it on, as this statement does."""
    monkeypatch.setattr(timescale, "OFFERED", "SELECT 1")
    monkeypatch.setattr(timescale, "SWITCH_ON", "SELECT pg_terminate_backend(pg_backend_pid())")
    with db.session(config) as conn:
        assert db.count_rows(conn)["load"] == 0
    assert "TimescaleDB is installed but not used" in caplog.text
    caplog.clear()
    db.connect(config).close()
    assert caplog.text == ""  # the schema is there


BUSY = """
CREATE TABLE calls (number serial);
CREATE PROCEDURE refresh_continuous_aggregate(view regclass, a text, b text) AS $$
BEGIN
    INSERT INTO calls DEFAULT VALUES;
    COMMIT;
    IF (SELECT count(*) FROM calls) <= %s THEN
        RAISE 'could not refresh continuous aggregate "%%" due to a concurrent refresh', view;
    END IF;
END $$ LANGUAGE plpgsql;
CREATE FUNCTION add_continuous_aggregate_policy(view regclass, start_offset interval,
    end_offset interval, schedule_interval interval, if_not_exists boolean) RETURNS int
    AS 'SELECT 1' LANGUAGE sql;
"""


@pytest.mark.parametrize(("busy", "tries"), [(0, 1), (2, 3), (99, 5)])
def test_a_refresh_beside_one_of_the_server_is_tried_again_and_then_left_to_it(
    conn, monkeypatch, caplog, busy, tries
):
    """TimescaleDB's procedure, played by one that says the same."""
    monkeypatch.setattr(timescale, "REFRESH_PAUSE_S", (0.0, 0.01))
    conn.autocommit = True
    with conn.cursor() as cursor:
        cursor.execute(BUSY, (busy,))
        timescale._refresh(cursor, "load_hourly")
        cursor.execute("SELECT count(*) FROM calls")
        assert cursor.fetchone() == (tries,)
    assert ("is refreshed by a job of the server" in caplog.text) == (busy == 99)


def _pid(config) -> int:
    with db.session(config) as conn:
        return conn.info.backend_pid


def test_kept_connections_serve_the_next_session_and_no_fault_outlives_its_own(config):
    """One that failed, that a setting was left on, or whose server ended it, is not used again."""
    with kept_connections():
        first = _pid(config)
        assert _pid(config) == first
        with db.session(config) as one, db.session(config) as other:
            assert one.info.backend_pid == first != other.info.backend_pid
        with pytest.raises(RuntimeError), db.session(config) as conn:
            failed = conn.info.backend_pid
            db.upsert_sources(conn, [make_source("solar-1", "solar")])
            raise RuntimeError
        with db.session(config) as conn:
            assert conn.info.backend_pid != failed and db.read_sources(conn) == []
            killer, alive = db.connect_url(config.database.url, 5), conn.info.backend_pid
        with killer, killer.cursor() as cursor:  # the server restarts, or the network is cut
            cursor.execute("SELECT pg_terminate_backend(%s)", (alive,))
        killer.close()
        assert _pid(config) != alive
        with db.session(config) as conn, conn.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(4711)")
        other = db.connect_url(config.database.url, 5)
        with other, other.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(4711)")
            assert cursor.fetchone() == (True,)  # no lock outlives its session
        other.close()
        with db.session(config) as conn:
            conn.autocommit = True
            changed = conn.info.backend_pid
        assert _pid(config) != changed
        kept = _pid(config)
    assert _pid(config) != kept  # outside each session has its own
