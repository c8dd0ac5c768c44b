"""The database's side of the sink: checks records against the sources, and stores the good ones.

    python -c "from vpp.stream import writer; print(writer.SOURCES_S)"

Where the database refuses a batch, the record that is to blame is found by halving.
"""

import hashlib
import logging
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg2
from psycopg2.extensions import connection

from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.runtime.words import in_one_line, in_words
from vpp.site.battery_messages import by_name
from vpp.site.kinds import KINDS, POWER_KINDS
from vpp.site.sources import Source
from vpp.storage.battery_states import write_states
from vpp.storage.bulk import store_measurements
from vpp.storage.connection import connect
from vpp.storage.errors import DatabaseError, first_line, refuses_record
from vpp.storage.measurements import read_sources, upsert_sources
from vpp.storage.rows import one_row
from vpp.storage.timescale import after_import, is_compressing
from vpp.stream import records, states
from vpp.stream.faults import SHOWN_CHARACTERS, is_provisional

log = logging.getLogger("sink")

CLOCK_S = 60.0  # a clock that is so far from that of the database is told
BEAT_S = 10.0  # a sink that has nothing to store says that it lives
SOURCES_S = 60.0  # registered sources are read again after this, and whenever something is refused


@dataclass(frozen=True)
class Outcome:
    """How the messages of one kind ended.

    Parameters
    ----------
    stored : number of rows inserted or replaced.
    refused : place among the messages and reason of each refused one.
    """

    stored: int
    refused: list[tuple[int, str]]


class Writer:
    """Checks records against the registered sources and writes the good ones.

    Parameters
    ----------
    config : states the bounds of records.
    conn : a connection of its own.
    """

    def __init__(self, config: Config, conn: connection):
        self.config, self.conn, self.limits = config, conn, limits(config)
        self.batteries = by_name(config.batteries)
        self.read_at = 0.0
        self.is_full_told = False
        self.registry = records.Registry([])

    def write(self, batch: dict[str, records.Decoded]) -> dict[str, Outcome]:
        """Store the good records of a batch in one transaction.

        A record that the database refuses is found by halving; then each half is a transaction.

        Parameters
        ----------
        batch : kind -> its records.

        Returns
        -------
        Kind -> what became of its messages.
        """
        try:
            checked = self._check(batch)
            stored = self._store(checked)
            return {kind: Outcome(stored[kind], item.refused) for kind, item in checked.items()}
        except Exception as error:
            if not refuses_record(error):
                raise
            self.conn.rollback()
        return {kind: self._write_halves(item) for kind, item in batch.items()}

    def _check(self, batch: dict[str, records.Decoded]) -> dict[str, records.Checked]:
        now_us = time.time_ns() // 1000

        def check() -> dict[str, records.Checked]:
            return {
                kind: states.check(item, self.registry, self.limits, now_us, self.batteries)
                for kind, item in batch.items()
            }

        if time.monotonic() - self.read_at > SOURCES_S:
            self.read_sources()
        checked = check()
        # a source may have been registered or corrected since we looked
        if any(item.refused for item in checked.values()) and self.read_sources():
            checked = check()
        unknown = {name: kind for kind, item in checked.items() for name in sorted(item.unknown)}
        if unknown and self.config.kafka.unknown_sources == "register" and self._register(unknown):
            checked = check()
        return checked

    def read_sources(self) -> bool:
        """Read the registered sources; returns whether they have changed."""
        sources = read_sources(self.conn)
        self.conn.commit()
        self.read_at = time.monotonic()
        if sources == self.registry.sources:
            return False
        self.registry = records.Registry(sources)
        return True

    def _register(self, names: dict[str, str]) -> bool:
        """Register unknown sources provisionally, up to `max_new_sources`; returns whether any was.

        Their step and capacity are not checked until sources.csv states them.
        """
        site, most = self.config.site, self.config.kafka.max_new_sources
        with self.conn.cursor() as cursor:  # another sink may be about to register them, too
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('vpp: new sources'))")
        registered = {source.source_id: source for source in read_sources(self.conn)}
        left = most - sum(map(is_provisional, registered.values()))
        found: list[Source] = []
        for name, kind in names.items():
            if name in registered:
                continue
            if len(found) >= left:
                self._say_full(most, name)
                break
            source_kind = KINDS[kind].source_kind
            capacity_kw = 1.0 if source_kind in POWER_KINDS else None
            place = (site.latitude, site.longitude, site.time_zone)
            rest = (capacity_kw, 60, *place, {"provisional": True})
            try:
                found.append(Source(name, source_kind, name, site.site_id, *rest))
            except VppError:  # no possible name: stays unknown
                continue
        upsert_sources(self.conn, found)
        self.conn.commit()
        return self.read_sources()

    def _say_full(self, most: int, name: str) -> None:
        if not self.is_full_told:
            self.is_full_told = True
            log.warning(
                "%d sources were registered from the stream, as many as [kafka] max_new_sources "
                "allows; %r and others are not",
                most,
                in_one_line(name[:SHOWN_CHARACTERS]),
            )

    def _store(self, checked: dict[str, records.Checked]) -> Counter[str]:
        stored: Counter[str] = Counter()
        for kind, item in checked.items():
            if isinstance(item, states.CheckedStates):
                with self.conn.cursor() as cursor:
                    stored[kind] = write_states(cursor, item.states, sent_at=item.sent_at)
            elif len(item.places):
                table, ids = KINDS[kind].table, self.registry.ids
                stored[kind] = store_measurements(self.conn, table, ids, item.columns)
        self.conn.commit()
        return stored

    def _write_halves(self, decoded: records.Decoded) -> Outcome:
        """Store what the database takes, and halve what it refuses down to the single record."""
        kind, refused = decoded.kind, list(decoded.refused)
        try:
            checked = self._check({kind: decoded})
            return Outcome(self._store(checked)[kind], checked[kind].refused)
        except Exception as error:
            if not refuses_record(error):
                raise
            self.conn.rollback()
            if len(decoded.names) <= 1:
                by_database = isinstance(error, psycopg2.Error)
                words = first_line(error) if by_database else in_words(error)
                reason = f"refused by the database: {words}" if by_database else words
                return Outcome(0, refused + [(int(place), reason) for place in decoded.places])
        middle, stored = len(decoded.names) // 2, 0
        for rows in (slice(None, middle), slice(middle, None)):
            outcome = self._write_halves(decoded.part(rows))
            stored += outcome.stored
            refused += outcome.refused
        return Outcome(stored, refused)


class Store:
    """The sink's connection to the database: made when there is none, given up after an error.

    Parameters
    ----------
    config : names the server.
    wait_s : patience [s] with a server that is away; 0 where the caller tries again itself.
    """

    def __init__(self, config: Config, wait_s: float):
        self.config, self.wait_s = config, wait_s
        self.writer: Writer | None = None
        self.beat_at = 0.0

    def reach(self) -> Writer:
        """Connect, where there is no connection; returns the writer that has it.

        Raises
        ------
        DatabaseError, psycopg2.Error : the server cannot be used.
        """
        if self.writer is None or self.writer.conn.closed:
            conn = connect(self.config, self.wait_s)
            with conn.cursor() as cursor:
                cursor.execute("SET application_name = %s", (session_name(self.config),))
                cursor.execute("SET lock_timeout = '3s'; SET statement_timeout = '60s'")
                if is_compressing(conn):  # a late correction may touch much that is compressed
                    setting = "timescaledb.max_tuples_decompressed_per_dml_transaction"
                    cursor.execute(f"SET {setting} = 0")
            _compare_clocks(conn)
            conn.commit()
            self.writer = Writer(self.config, conn)
        return self.writer

    def write(self, batch: dict[str, records.Decoded]) -> dict[str, Outcome]:
        """As `Writer.write`; after an error the next call has a new connection.

        Raises
        ------
        DatabaseError, psycopg2.Error : the server cannot be used.
        """
        writer = self.reach()
        try:
            return writer.write(batch)
        except (psycopg2.Error, DatabaseError):
            writer.conn.close()
            raise

    def beat(self) -> None:
        """Say to the database that the sink lives, every `BEAT_S`: its sessions can be looked at.

        Raises
        ------
        DatabaseError, psycopg2.Error : the server cannot be used.
        """
        if time.monotonic() < self.beat_at:
            return
        writer = self.reach()
        try:
            with writer.conn.cursor() as cursor:
                cursor.execute("SELECT 1")
            writer.conn.commit()
        except psycopg2.Error:
            writer.conn.close()
            raise
        self.beat_at = time.monotonic() + BEAT_S

    def end_import(self) -> None:
        """Let the server compress old rows, and refresh its hourly means."""
        writer, database = self.reach(), self.config.database
        after_import(writer.conn, database.compress_after_days, database.retention_days)
        writer.conn.commit()  # it may only have looked; an open transaction would keep dead rows

    def cancel(self) -> None:
        """End a statement that takes too long; another thread calls this."""
        if self.writer is not None and not self.writer.conn.closed:
            self.writer.conn.cancel()

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        if self.writer is not None:
            self.writer.conn.close()


def session_name(config: Config) -> str:
    """The name of a sink's session in the database, which tells its group."""
    name = f"vpp-sink {config.kafka.group_id}"
    if len(name.encode()) < 64:  # as long as PostgreSQL keeps
        return name
    return f"vpp-sink {hashlib.blake2b(name.encode(), digest_size=20).hexdigest()}"


def _compare_clocks(conn: connection) -> None:
    """Say that this machine's clock is far off: it decides what lies too far ahead."""
    with conn.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float")
        off_s = time.time() - one_row(cursor)[0]
    if abs(off_s) > CLOCK_S:
        log.warning(
            "the clock of this machine is %.0f min %s that of the database: set it, for a record "
            "is too far ahead, or sent when received, by this clock",
            abs(off_s) / 60,
            "ahead of" if off_s > 0 else "behind",
        )


def limits(config: Config) -> records.Limits:
    """The bounds of records that the configuration states."""
    kafka = config.kafka
    earliest = datetime.combine(kafka.earliest_time, datetime.min.time(), UTC)
    return records.Limits(
        round(earliest.timestamp() * 1e6),
        round(kafka.latest_days_ahead * 86400e6),
        kafka.price_min_eur_per_mwh,
        kafka.price_max_eur_per_mwh,
        config.forecast.price_publication,
        config.forecast.price_publication_zone,
        kafka.wrong_keys == "dead-letter",
    )
