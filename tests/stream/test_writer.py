"""The database side of the sink: records that it refuses, unknown sources, and its clock."""

import logging
import time

import pytest
from small_stream import SOURCES, drain, iso, power, read, register, send

import db
from vpp.stream import dead_letters, kafka, records, writer


def test_what_the_database_refuses_is_found_by_halving(make_config):
    config = make_config()
    register(config)
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute("ALTER TABLE renewables ADD CONSTRAINT no_thirteen CHECK (power_kw <> 13)")
    send(config, "solar", [power(iso(n, 15), 13 if n in (5, 6, 300) else 1) for n in range(500)])
    send(config, "load", [power(iso(n, 60), 13, "load-1") for n in range(20)])
    counts = drain(config)
    assert (counts["solar"].stored, counts["solar"].dead_lettered) == (497, 3)
    assert counts["load"].stored == 20
    letters = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    assert [letter.offset for letter in letters] == [5, 6, 300]
    for letter in letters:
        assert letter.error.startswith("refused by the database: ")
        assert "no_thirteen" in letter.error
    assert len(read(config, SOURCES[0])) == 497


def test_unknown_sources_may_be_registered(make_config):
    config = make_config(kafka={"unknown_sources": "register"})
    at = "2025-01-01T00:05:00Z"
    send(config, "load", [power(at, 1e5, "load-7"), power(at, 1, "no good/name")])
    counts = drain(config)["load"]
    assert (counts.stored, counts.dead_lettered) == (1, 1)
    with db.session(config) as conn:
        (source,) = db.read_sources(conn)
    assert (source.source_id, source.parameters) == ("load-7", {"provisional": True})


@pytest.mark.parametrize("state", ["P0001", "45001", "P0004", "38000", "21000"])
def test_whatever_a_trigger_raises_refuses_its_record_alone(make_config, state):
    config = make_config()
    register(config)
    with db.session(config) as conn, conn.cursor() as cursor:
        cursor.execute(f"""
            CREATE FUNCTION no_seven() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF NEW.power_kw = 7 THEN RAISE 'no seven' USING ERRCODE = '{state}'; END IF;
                RETURN NEW;
            END $$;
            CREATE TRIGGER no_seven BEFORE INSERT ON load
            FOR EACH ROW EXECUTE FUNCTION no_seven()""")
    send(config, "load", [power(iso(n, 60), n, "load-1") for n in range(20)])
    counts = drain(config)["load"]
    assert (counts.stored, counts.dead_lettered) == (19, 1)
    (letter,) = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    assert (letter.offset, letter.error) == (7, "refused by the database: no seven")


def test_a_record_that_no_check_expects_refuses_itself_alone(make_config, monkeypatch):
    """Whatever goes wrong with it, the records beside it are stored."""
    config = make_config()
    register(config)
    check = records.check

    def refuse(decoded, *rest):
        if 7.0 in decoded.columns["power_kw"]:
            raise OverflowError("seven is too much")
        return check(decoded, *rest)

    monkeypatch.setattr(records, "check", refuse)
    send(config, "load", [power(iso(n, 60), n, "load-1") for n in range(20)])
    counts = drain(config)["load"]
    assert (counts.stored, counts.dead_lettered) == (19, 1)
    (letter,) = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    assert letter.offset == 7 and letter.error.startswith("seven is too much")


def test_so_many_sources_are_registered_from_a_stream_and_no_more(make_config, caplog):
    """Over all batches and runs; those of sources.csv do not count."""
    register(make_config())
    config = make_config(
        kafka={"unknown_sources": "register", "max_new_sources": 3, "batch_rows": 4}
    )
    at = "2025-01-01T00:00:00Z"
    with caplog.at_level(logging.WARNING):
        for lot in range(2):
            send(config, "load", [power(at, 1, f"new-{lot}-{n}") for n in range(2, 7)])
            drain(config)
    with db.session(config) as conn:
        found = [item for item in db.read_sources(conn) if item.parameters.get("provisional")]
        assert len(found) == 3 == len(db.read_series(conn, found[0])) + 2
    letters = dead_letters.read_dead_letters(config, kafka.kafka_settings(config))
    assert len(letters) == 7 and all("unknown source" in letter.error for letter in letters)
    told = [record.message for record in caplog.records if "max_new_sources" in record.message]
    assert told[0].startswith("3 sources were registered from the stream, as many as [kafka] ")
    assert len(told) <= 2  # once by each sink


@pytest.mark.parametrize(("off_s", "told"), [(-7200, "120 min behind"), (90, "2 min ahead of")])
def test_a_clock_that_is_far_off_that_of_the_database_is_told(
    make_config, monkeypatch, caplog, off_s, told
):
    now = time.time
    monkeypatch.setattr(writer.time, "time", lambda: now() + off_s)
    store = writer.Store(make_config(), 10.0)
    store.reach()
    store.close()
    assert f"the clock of this machine is {told} that of the database" in caplog.text
    monkeypatch.undo()
    caplog.clear()
    store.reach()
    store.close()
    assert caplog.text == ""
