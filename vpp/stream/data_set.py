"""The data set of the data folder: its sources, and whether the database holds another one's data.

python -c "from vpp.stream import data_set; print(data_set.refuse_another.__doc__)"

A file that goes on where it was sent before is the same data set. Of any other file some rows,
spread over it, are compared with those that are stored. Data of another seed or site has other
values at the same times, data of another period has other times.
"""

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.runtime.errors import VppError
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.site.fleet_files import BATTERIES_FILE
from vpp.site.fleet_import import check_sites, folder_fleet, folder_sites
from vpp.site.kinds import KINDS, Kind
from vpp.site.sources import SOURCES_FILE, Source, read_sources
from vpp.storage.connection import session
from vpp.storage.errors import explained
from vpp.storage.measurements import upsert_sources
from vpp.storage.sites import register_fleet, register_sites
from vpp.stream.files import csv_path

SAMPLE = 200  # lines of a file
LEAST = 8  # values of a series that tell whether it is another one
GAP = timedelta(days=7)  # a source may have been silent for so long
HEADER_BYTES = 2**16
ANEW = "start anew with python db.py reset --yes, or give this data a database of its own"
Row = tuple[str, datetime, float]  # source, time and value


class DataSetError(VppError):
    """The data folder holds another data set than the database."""


def register_sources(config: Config) -> list[Source]:
    """Write what `sources.csv`, `sites.csv` and `batteries.csv` state to the database.

    Returns
    -------
    The sources; none where there is no such file.

    Raises
    ------
    DataFileError, SourceError : a file cannot be read, or a row of it is impossible.
    """
    path = config.paths.data_dir / SOURCES_FILE
    sources = read_sources(path) if path.exists() else []
    sites, fleet = folder_sites(config), folder_fleet(config)
    check_sites(config, sites, fleet)
    with session(config) as conn:
        upsert_sources(conn, sources)
        if sites:
            register_sites(conn, sites)
        if (config.paths.data_dir / BATTERIES_FILE).exists():
            register_fleet(conn, fleet)
    return sources


def refuse_another(config: Config, kinds: Iterable[str], known: int = 0) -> None:
    """Refuse to send files of another data set than that of the database.

    It is another one where most series have other values than are stored, or where every series
    that is stored lies more than a week away here. One that is corrected here and there is the
    same, and so is one that brings some sources' past.

    Parameters
    ----------
    config : names the data folder and the database.
    kinds : of the files that are sent from their beginning, keys of `KINDS`.
    known : number of files that go on where they were sent before.

    Raises
    ------
    DataSetError : it is another one; it names a row of both.
    """
    same, others, apart = known, list[str](), dict[str, str]()
    with session(config) as conn:
        for name in kinds:
            kind, path = KINDS[name], csv_path(config, name)
            if kind.times != ("time",) or not path.exists():
                continue  # of the same time forecasts have many values
            for source_id, rows in _sample(path, kind).items():
                stored = _stored(conn, kind, source_id, rows)
                pairs = [(row, stored[row[1]]) for row in rows if row[1] in stored]
                telling = [(row, value) for row, value in pairs if row[2] or value]
                differing = [pair for pair in telling if not math.isclose(pair[0][2], pair[1])]
                if len(telling) >= LEAST and 2 * len(differing) > len(telling):
                    (_, at, here), there = differing[0]
                    others.append(
                        f"{source_id} is {here:g} at {shown(at)} here and {there:g} there"
                    )
                elif pairs:
                    same += 1
                elif len(rows) >= LEAST and (away := _away(conn, kind, source_id, rows)):
                    apart[source_id] = away
        found = others if len(others) > same + len(apart) else []
        if apart and not same and not others:
            all_stored = {item[0] for kind in KINDS.values() for item in _periods(conn, kind)}
            found = list(apart.values()) if all_stored <= apart.keys() else []
    if found:
        raise DataSetError(
            f"{shown(config.paths.data_dir)} holds another data set than the database: "
            f"{found[0]}{_more(found)}; nothing was stored: {ANEW}, or send it all the same "
            "with python communication.py produce --force"
        )


def _more(found: list[str]) -> str:
    return f" (and {len(found) - 1} more like it)" if len(found) > 1 else ""


def _sample(path: Path, kind: Kind) -> dict[str, list[Row]]:
    """Some rows of a file, from its first to its last, by source; what is no row is left out."""
    found: dict[str, list[Row]] = defaultdict(list)
    with path.open("rb") as file:
        header = next(csv.reader([file.readline(HEADER_BYTES).decode("utf-8-sig", "replace")]), [])
        wanted = ("source_id", "time", kind.value)
        if any(name not in header for name in wanted):
            return {}  # the producer says so
        first, last = file.tell(), file.seek(0, io.SEEK_END)
        for position in {first + (last - first) * n // SAMPLE for n in range(SAMPLE)}:
            file.seek(position)
            if position > first:
                file.readline(HEADER_BYTES)  # the rest of a line
            line = file.readline(HEADER_BYTES).decode("utf-8", "replace")
            try:
                cells = next(csv.reader([line]))
                source_id, at, value = (cells[header.index(name)] for name in wanted)
                moment, number = datetime.fromisoformat(at), float(value)
                row = (source_id, moment.astimezone(UTC), number)
            except (StopIteration, csv.Error, IndexError, ValueError, OverflowError):
                continue
            if moment.tzinfo is not None and math.isfinite(number):
                found[source_id].append(row)
    return {name: sorted(set(rows)) for name, rows in found.items()}


def _stored(conn: connection, kind: Kind, source_id: str, rows: list[Row]) -> dict:
    """Time -> stored value, of those of the rows' times that are stored."""
    query = sql.SQL("SELECT time, {} FROM {} WHERE source_id = %s AND time = ANY(%s)").format(
        sql.Identifier(kind.value), sql.Identifier(kind.table)
    )
    with explained(kind.table), conn.cursor() as cursor:
        cursor.execute(query, (source_id, [at for _, at, _ in rows]))
        return dict(cursor.fetchall())


def _away(conn: connection, kind: Kind, source_id: str, rows: list[Row]) -> str | None:
    """How far the rows are away from what is stored of a source; None where it is no gap."""
    query = sql.SQL("SELECT min(time), max(time) FROM {} WHERE source_id = %s")
    with explained(kind.table), conn.cursor() as cursor:
        cursor.execute(query.format(sql.Identifier(kind.table)), (source_id,))
        begin, end = cursor.fetchone() or (None, None)
    first, last = rows[0][1], rows[-1][1]
    gap = GAP + 4 * (last - first) / len(rows)  # the rows are some of more
    if begin is None or (first <= end + gap and last >= begin - gap):
        return None
    return (
        f"{source_id} is from {shown(first)} to {shown(last)} here, and from {shown(begin)} to "
        f"{shown(end)} there"
    )


def refuse_rest(config: Config) -> None:
    """Refuse a database that holds measurements which the data folder does not.

    Parameters
    ----------
    config : names the data folder and the database.

    Raises
    ------
    DataSetError : it holds a source that the files do not have, or another time of one.
    """
    import pandas as pd

    with session(config) as conn:
        for name, kind in KINDS.items():
            path = csv_path(config, name)
            if kind.times != ("time",) or not path.exists():
                continue
            try:
                rows = pd.read_csv(path, usecols=["source_id", "time"], dtype=str)
            except ValueError:  # it lacks a column, or is no text: the producer says so
                continue
            rows["time"] = pd.to_datetime(rows["time"], utc=True, format="ISO8601", errors="coerce")
            ends = rows.groupby("source_id")["time"].agg(["min", "max"])
            for source_id, begin, end in _periods(conn, kind) if len(ends) else ():
                if source_id not in ends.index:
                    here = "there is none of it"
                elif begin < ends["min"][source_id] or end > ends["max"][source_id]:
                    first, last = ends.loc[source_id]
                    here = f"there it is from {shown(first)} to {shown(last)}"
                else:
                    continue
                raise DataSetError(
                    f"the database holds {source_id} from {shown(begin)} to {shown(end)}, and in "
                    f"{shown(path)} {here}; nothing was stored: {ANEW}"
                )


def _periods(conn: connection, kind: Kind) -> list[tuple[str, datetime, datetime]]:
    """Each source of a kind that has rows, with its first and last time."""
    if kind.times != ("time",):
        return []
    query = sql.SQL("""
        SELECT source_id, min(time), max(time) FROM {} JOIN sources USING (source_id)
        WHERE kind = %s GROUP BY source_id ORDER BY source_id""")
    with explained(kind.table), conn.cursor() as cursor:
        cursor.execute(query.format(sql.Identifier(kind.table)), (kind.source_kind,))
        return cursor.fetchall()


def check_stored(config: Config, rows: list[dict]) -> None:
    """Refuse to go on where the database holds other rows than the data folder.

    Parameters
    ----------
    config : the configuration.
    rows : as of `communication.stream`.

    Raises
    ------
    DataSetError : it does; it names the topic.
    """
    for row in rows:
        if row["in_database"] != row["produced"] - row["dead_lettered"]:
            raise DataSetError(
                f"{row['topic']}: {row['produced']} rows produced, {row['dead_lettered']} of them"
                f" dead-lettered, but the table holds {row['in_database']}; {ANEW}"
            )
