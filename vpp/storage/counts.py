"""How many rows there are: exact where something depends on it, else as fast as a person reads.

    python db.py
    python communication.py status

`count_rows` and `count_measurements` count every row, so their seconds grow with the rows; every
decision rests on them. The others are for reading. They ask for an estimate first: above
`EXACT_MOST` rows it is taken, and marked as one. Else they count, and where there are more than
`EXACT_MOST` they stop and tell that number, marked as well. The estimate is

- the planner's: the rows a page at the last ANALYZE, autovacuum's too, times the pages of now. The
  planner judges a table without statistics by its pages and the widths of its columns;
- with TimescaleDB that of `approximate_row_count`, which knows the rows of compressed chunks; the
  planner's where it says so few that there can be no statistics.

Kinds that share a table share its estimate in proportion to the steps between first and last row of
each of their sources.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import connection, cursor

from vpp.runtime.tables import print_rows
from vpp.site.kinds import BATTERY, KINDS, MEASUREMENTS
from vpp.storage.battery_states import count_measured
from vpp.storage.rows import one_row
from vpp.storage.schema import TABLES
from vpp.storage.timescale import timescale_licence

EXACT_MOST = 1_000_000  # rows
FLAG = "rows_estimated"  # column that says whether a row's number of rows is an estimate
STRAYS = 10  # rows at each end that a meter with a wrong clock may have sent
OF_KIND = """
    SELECT FROM sources CROSS JOIN LATERAL (
        SELECT FROM {table} AS own WHERE own.source_id = sources.source_id
        ORDER BY {times} LIMIT {most}) AS found
    WHERE kind = {kind}"""
STEPS = """
    SELECT kind, sum(greatest(extract(epoch FROM last - first), 0) / step_min)::float8
    FROM sources
    CROSS JOIN LATERAL (
        SELECT {time} AS first FROM {table} AS own WHERE own.source_id = sources.source_id
        ORDER BY {time} OFFSET {strays} LIMIT 1) AS early
    CROSS JOIN LATERAL (
        SELECT {time} AS last FROM {table} AS own WHERE own.source_id = sources.source_id
        ORDER BY {time} DESC OFFSET {strays} LIMIT 1) AS late
    GROUP BY kind"""
MEASURED = "SELECT FROM battery_states WHERE kind = 'measured'"
MEASURED_BY_KEY = """
    SELECT FROM batteries CROSS JOIN LATERAL (
        SELECT FROM battery_states AS own
        WHERE own.battery_id = batteries.battery_id AND kind = 'measured'
        ORDER BY run_id, time LIMIT {most}) AS found"""


@dataclass(frozen=True)
class RowCount:
    """A number of rows.

    Parameters
    ----------
    rows : how many.
    is_estimate : whether it is an estimate; else all were counted.
    """

    rows: int
    is_estimate: bool = False

    @property
    def words(self) -> str:
        """As a person reads it: of an estimate three digits, after a ~."""
        if not self.is_estimate:
            return f"{self.rows:,}"
        digits = len(str(self.rows)) - 3
        return f"~ {round(self.rows, -max(digits, 0)):,}"


def count_rows(conn: connection) -> dict[str, int]:
    """Number of rows of every table, all of them counted."""
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, count(*) FROM {}").format(sql.Literal(table), sql.Identifier(table))
        for table in TABLES
    )
    with conn.cursor() as cur:
        cur.execute(query)
        counts = dict(cur.fetchall())
    return {table: counts[table] for table in TABLES}


def count_measurements(conn: connection) -> dict[str, int]:
    """Number of rows of each kind of message, all of them counted; of batteries that of their
    measured states."""
    counts = dict.fromkeys(KINDS, 0) | {BATTERY: count_measured(conn)}
    with conn.cursor() as cur:
        for table in MEASUREMENTS:
            counts |= _count_kinds(cur, table)
    return counts


def table_counts(conn: connection) -> dict[str, RowCount]:
    """Number of rows of every table, of large ones an estimate."""
    has_timescaledb = timescale_licence(conn) is not None
    with conn.cursor() as cur:
        return {table: _of_table(cur, table, has_timescaledb) for table in TABLES}


def measurement_counts(conn: connection) -> dict[str, RowCount]:
    """Number of rows of each kind of message, of large numbers an estimate; of batteries that of
    their measured states."""
    has_timescaledb = timescale_licence(conn) is not None
    counts: dict[str, RowCount] = {}
    with conn.cursor() as cur:
        for table in MEASUREMENTS:
            kinds, whole = _kinds_in(table), _of_table(cur, table, has_timescaledb)
            if len(kinds) == 1:
                counts[kinds[0]] = whole
            elif whole.is_estimate:
                counts |= _share(cur, table, kinds, whole.rows)
            else:
                found = _count_kinds(cur, table)
                counts |= {kind: RowCount(found.get(kind, 0)) for kind in kinds}
        by_key = sql.SQL(MEASURED_BY_KEY).format(most=_most())
        counts[BATTERY] = _count(cur, by_key, _planned(cur, sql.SQL(MEASURED)))
    return {kind: counts[kind] for kind in (*KINDS, BATTERY)}


def _kinds_in(table: str) -> list[str]:
    return [kind.name for kind in KINDS.values() if kind.table == table]


def _most() -> sql.Literal:
    """One row more than is counted, which tells that there are more."""
    return sql.Literal(EXACT_MOST + 1)


def _count(cur: cursor, query: sql.Composable, estimate: float) -> RowCount:
    """The rows of a query, or the estimate where there are many of them."""
    if estimate > EXACT_MOST:
        return RowCount(round(estimate), True)
    counted = sql.SQL("SELECT count(*) FROM ({} LIMIT {}) AS counted")
    cur.execute(counted.format(query, _most()))
    (rows,) = one_row(cur)
    return RowCount(rows, rows > EXACT_MOST)


def _planned(cur: cursor, query: sql.Composable) -> int:
    """The rows that the planner expects of a query, which does not run."""
    cur.execute(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(query))
    return one_row(cur)[0][0]["Plan"]["Plan Rows"]


def _of_table(cur: cursor, table: str, has_timescaledb: bool) -> RowCount:
    query = sql.SQL("SELECT FROM {}").format(sql.Identifier(table))
    estimate = 0
    if has_timescaledb:
        cur.execute("SELECT approximate_row_count(%s::regclass)", (table,))
        (estimate,) = one_row(cur)
    return _count(cur, query, estimate if estimate > EXACT_MOST else _planned(cur, query))


def _count_kinds(cur: cursor, table: str) -> dict[str, int]:
    """The rows of each kind that has any in a table, all of them counted."""
    kinds = _kinds_in(table)
    if len(kinds) == 1:
        query = sql.SQL("SELECT {}, count(*) FROM {}").format(
            sql.Literal(kinds[0]), sql.Identifier(table)
        )
    else:
        query = sql.SQL(
            "SELECT kind, count(*) FROM {} JOIN sources USING (source_id) GROUP BY kind"
        ).format(sql.Identifier(table))
    cur.execute(query)
    return dict(cur.fetchall())


def _share(cur: cursor, table: str, kinds: Sequence[str], rows: int) -> dict[str, RowCount]:
    """The rows of each of the kinds that share a large table."""
    times = MEASUREMENTS[table].times
    parts = {
        "table": sql.Identifier(table),
        "time": sql.Identifier(times[-1]),
        "times": sql.SQL(", ").join(map(sql.Identifier, times)),
        "strays": sql.Literal(STRAYS),
        "most": _most(),
    }
    cur.execute(sql.SQL(STEPS).format(**parts))
    steps = dict(cur.fetchall())
    of_all, found = sum(steps.values()) or 1, {}
    for kind in kinds:
        query = sql.SQL(OF_KIND).format(kind=sql.Literal(kind), **parts)
        found[kind] = _count(cur, query, rows * steps.get(kind, 0) / of_all)
    return found


def about_estimates() -> str:
    """The line that says what the ~ before a number of rows means."""
    return f"~: an estimate from the server's statistics; up to {EXACT_MOST:,} rows are counted"


def print_counts(
    rows: Sequence[Mapping], column: str, title: str | None = None, as_json: bool = False
) -> None:
    """Print rows as `print_rows` does; a line below says what an estimate is, where there is one.

    Parameters
    ----------
    rows : with a column of a number of rows, and mostly `FLAG`, which JSON alone shows.
    column : the number of rows.
    title, as_json : as of `print_rows`.
    """
    if as_json:
        print_rows([dict(row) for row in rows], as_json=True)
        return
    listed = [dict(row) for row in rows]
    flags = [row.pop(FLAG, False) for row in listed]
    for row, flag in zip(listed, flags, strict=True):
        if flag:
            row[column] = RowCount(row[column], True).words
    print_rows(listed, title)
    if any(flags):
        print(about_estimates())
