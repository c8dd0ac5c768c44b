"""The database side of the sink: records that it refuses, and unknown sources."""

from small_stream import SOURCES, drain, iso, power, read, register, send

import db
from vpp.stream import dead_letters, kafka


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
