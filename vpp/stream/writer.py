"""The database's side of the sink: checks records against the sources, and stores the good ones.

    python -c "from vpp.stream import writer; print(writer.SOURCES_S)"

Where the database refuses a batch, the record that is to blame is found by halving.
"""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg2
from psycopg2.extensions import connection

from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.site.kinds import KINDS, POWER_KINDS
from vpp.site.sources import Source
from vpp.storage.bulk import store_measurements
from vpp.storage.connection import connect
from vpp.storage.errors import RECORD_REFUSED, DatabaseError, first_line
from vpp.storage.measurements import read_sources, upsert_sources
from vpp.storage.timescale import after_import, is_compressing
from vpp.stream import records

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
        self.read_at = 0.0
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
        checked = self._check(batch)
        try:
            stored = self._store(checked)
            return {kind: Outcome(stored[kind], item.refused) for kind, item in checked.items()}
        except RECORD_REFUSED:
            self.conn.rollback()
        outcome = {}
        for kind, item in checked.items():
            refused = list(item.refused)
            outcome[kind] = Outcome(self._store_halves(kind, item, refused), refused)
        return outcome

    def _check(self, batch: dict[str, records.Decoded]) -> dict[str, records.Checked]:
        now_us = time.time_ns() // 1000

        def check() -> dict[str, records.Checked]:
            return {
                kind: records.check(item, self.registry, self.limits, now_us)
                for kind, item in batch.items()
            }

        if time.monotonic() - self.read_at > SOURCES_S:
            self.read_sources()
        checked = check()
        # a source may have been registered or corrected since we looked
        if any(item.refused for item in checked.values()) and self.read_sources():
            checked = check()
        unknown = {name: kind for kind, item in checked.items() for name in item.unknown}
        if unknown and self.config.kafka.unknown_sources == "register":
            self._register(unknown)
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

    def _register(self, names: dict[str, str]) -> None:
        """Register unknown sources provisionally.

        Their step and capacity are not checked until sources.csv states them.
        """
        site, found = self.config.site, []
        for name, kind in names.items():
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
        self.read_sources()

    def _store(self, checked: dict[str, records.Checked]) -> Counter[str]:
        stored: Counter[str] = Counter()
        for kind, item in checked.items():
            if len(item.places):
                table, ids = KINDS[kind].table, self.registry.ids
                stored[kind] = store_measurements(self.conn, table, ids, item.columns)
        self.conn.commit()
        return stored

    def _store_halves(
        self, kind: str, checked: records.Checked, refused: list[tuple[int, str]]
    ) -> int:
        """Store what the database takes, and halve what it refuses down to the single record.

        Returns the number of rows stored.
        """
        try:
            return self._store({kind: checked})[kind]
        except RECORD_REFUSED as error:
            self.conn.rollback()
            if len(checked.places) == 1:
                reason = f"refused by the database: {first_line(error)}"
                refused.append((int(checked.places[0]), reason))
                return 0
        middle, total = len(checked.places) // 2, 0
        for part in (slice(None, middle), slice(middle, None)):
            columns = {name: column[part] for name, column in checked.columns.items()}
            half = records.Checked(columns, checked.places[part], [], set())
            total += self._store_halves(kind, half, refused)
        return total


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

    def reach(self) -> Writer:
        """Connect, where there is no connection; returns the writer that has it.

        Raises
        ------
        DatabaseError, psycopg2.Error : the server cannot be used.
        """
        if self.writer is None or self.writer.conn.closed:
            conn = connect(self.config, self.wait_s)
            with conn.cursor() as cursor:
                cursor.execute("SET lock_timeout = '3s'; SET statement_timeout = '60s'")
                if is_compressing(conn):  # a late correction may touch much that is compressed
                    setting = "timescaledb.max_tuples_decompressed_per_dml_transaction"
                    cursor.execute(f"SET {setting} = 0")
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

    def end_import(self) -> None:
        """Let the server compress old rows, and refresh its hourly means."""
        writer, database = self.reach(), self.config.database
        after_import(writer.conn, database.compress_after_days, database.retention_days)

    def cancel(self) -> None:
        """End a statement that takes too long; another thread calls this."""
        if self.writer is not None and not self.writer.conn.closed:
            self.writer.conn.cancel()

    def close(self) -> None:
        """Close the connection; what was not committed is rolled back."""
        if self.writer is not None:
            self.writer.conn.close()


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
    )
