"""Capacities that plants and loads had before the ones of now, and until when. SQL only."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from psycopg2.extensions import connection, cursor

from vpp.site.sources import Source
from vpp.storage.errors import DatabaseError
from vpp.storage.rows import select_rows

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger("db")


def keep_capacities(cur: cursor, sources: Iterable[Source]) -> None:
    """Keep the capacities that sources had, before their rows are brought up to date.

    A new capacity with a new `valid_from` is a change. A new `valid_from` alone moves the last
    change, or says when an earlier change of the capacity was. A new capacity alone is a
    correction, which is remembered as it may get its `valid_from` later.

    Parameters
    ----------
    cur : of the transaction.
    sources : as they are from now on.

    Raises
    ------
    DatabaseError : a `valid_from` is no time with a zone, or has yet to come.
    """
    named = {source.source_id: source for source in sources if source.capacity_kw is not None}
    since = {
        name: stated_since(source)
        for name, source in named.items()
        if "valid_from" in source.parameters
    }
    query = """
        SELECT source_id, capacity_kw, former_capacity_kw, parameters ->> 'valid_from' AS since
        FROM sources WHERE source_id = ANY(%s) AND capacity_kw IS NOT NULL
            AND NOT parameters ? 'provisional'"""  # whose capacity nobody has stated
    rows = select_rows(cur.connection, query, (list(named),)) if named else []
    stored = {row["source_id"]: row for row in rows}
    for name, source in named.items():
        row, at = stored.get(name), since.get(name)
        if row is None:
            if at is not None:
                _say_unknown(source)
        elif at is not None and at != _time(row["since"]):
            _keep_change(cur, source, at, row["capacity_kw"], row["former_capacity_kw"])
        elif row["capacity_kw"] != source.capacity_kw:
            query = "UPDATE sources SET former_capacity_kw = capacity_kw WHERE source_id = %s"
            cur.execute(query, (name,))


def _keep_change(
    cur: cursor, source: Source, since: pd.Timestamp, last_kw: float, former_kw: float | None
) -> None:
    """Keep until when a source's last capacity held, which is stored, or the one before that."""
    assert source.capacity_kw is not None
    known = read_capacities(cur.connection, source.source_id)
    changes = known
    if last_kw == source.capacity_kw:
        if former_kw is not None:
            last_kw = former_kw
        elif changes:
            *changes, (_, last_kw) = changes
        else:
            _say_unknown(source)
    found = changes_with(changes, last_kw, source.capacity_kw, since)
    for until, _ in set(known) - set(found):
        query = "DELETE FROM capacities WHERE source_id = %s AND valid_until = %s"
        cur.execute(query, (source.source_id, until.to_pydatetime()))
    for until, capacity_kw in set(found) - set(known):
        cur.execute(
            "INSERT INTO capacities VALUES (%s, %s, %s, clock_timestamp())",
            (source.source_id, until.to_pydatetime(), capacity_kw),
        )
    cur.execute(
        "UPDATE sources SET valid_from = %s, former_capacity_kw = NULL WHERE source_id = %s",
        (since.to_pydatetime(), source.source_id),
    )


def changes_with(
    changes: Sequence[tuple[pd.Timestamp, float]],
    last_kw: float,
    capacity_kw: float,
    since: pd.Timestamp,
) -> list[tuple[pd.Timestamp, float]]:
    """The changes of a capacity, once another one holds from a time on, whatever held after it.

    Parameters
    ----------
    changes : of `read_capacities`.
    last_kw : the capacity after them [kW].
    capacity_kw, since : the capacity that holds from then on [kW, UTC].
    """
    before = next((kept for until, kept in changes if until >= since), last_kw)
    earlier = [change for change in changes if change[0] < since]
    return earlier if before == capacity_kw else [*earlier, (since, before)]


def stated_since(source: Source) -> pd.Timestamp:
    """Since when the capacity of a source holds, by its parameter `valid_from` [UTC].

    Parameters
    ----------
    source : a plant or load.

    Raises
    ------
    DatabaseError : it is no time with a zone, or has yet to come.
    """
    import pandas as pd

    given = source.parameters["valid_from"]
    since = _time(given)
    if since is None:
        raise DatabaseError(
            f"source {source.source_id}: valid_from = {given}: expected a time with its zone, such "
            "as 2025-05-01T00:00Z"
        )
    if since > pd.Timestamp.now("UTC"):
        raise DatabaseError(
            f"source {source.source_id}: valid_from = {given}: expected a time that has passed; "
            "until then keep the capacity that it has"
        )
    return since


def _time(given: object) -> pd.Timestamp | None:
    """A time with its zone as UTC; None where it is none."""
    import pandas as pd

    try:
        time = pd.Timestamp(given)
    except (TypeError, ValueError):
        return None
    return None if time is pd.NaT or time.tzinfo is None else time.tz_convert("UTC")


def _say_unknown(source: Source) -> None:
    log.warning(
        "source %s: valid_from = %s, but no earlier capacity of it is known here: its history is "
        "not scaled; to scale it, register the earlier capacity without valid_from, and then this "
        "one again",
        source.source_id,
        source.parameters["valid_from"],
    )


def read_capacities(conn: connection, source_id: str) -> list[tuple[pd.Timestamp, float]]:
    """Earlier capacities of a plant or load.

    Parameters
    ----------
    conn : the connection.
    source_id : its name.

    Returns
    -------
    Until when each held [UTC], and the capacity [kW], the oldest first.
    """
    import pandas as pd

    query = """
        SELECT valid_until, capacity_kw FROM capacities WHERE source_id = %s ORDER BY valid_until"""
    return [
        (pd.Timestamp(row["valid_until"]).tz_convert("UTC"), row["capacity_kw"])
        for row in select_rows(conn, query, (source_id,))
    ]
