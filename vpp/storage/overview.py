"""The state of the database as a person reads it: the server, and rows, times and sizes of its
tables."""

from psycopg2 import sql
from psycopg2.extensions import connection, cursor

from vpp.site.kinds import MEASUREMENTS
from vpp.storage.counts import FLAG, table_counts
from vpp.storage.rows import one_row
from vpp.storage.schema import HYPERTABLES, schema_version
from vpp.storage.timescale import COMMUNITY, timescale_licence

# The first and the last time of a large table are looked up through the beginning of its key:
# columns of the key -> the values at which the first and the last row are. A run that is issued
# early or late need not be the one that reaches furthest, so that some hundred are looked at.
ENDS = """
    SELECT min(first), max(last) FROM ({values}) AS known CROSS JOIN LATERAL (
        SELECT min({time}) AS first, max({time}) AS last FROM {table} AS own
        WHERE {condition}) AS found"""
SOURCES = "SELECT source_id FROM sources", "own.source_id = known.source_id"
ISSUES = (
    """SELECT source_id, unnest(ARRAY[first, last]) AS issue_time FROM sources
    CROSS JOIN LATERAL (
        SELECT min(issue_time) AS first, max(issue_time) AS last FROM {table} AS own
        WHERE own.source_id = sources.source_id) AS issues""",
    "own.source_id = known.source_id AND own.issue_time = known.issue_time",
)
RUNS = (
    """(SELECT run_id FROM {runs} ORDER BY issue_time LIMIT 500)
    UNION ALL (SELECT run_id FROM {runs} ORDER BY issue_time DESC LIMIT 500)""",
    "own.run_id = known.run_id",
)
BATTERIES = (
    "SELECT battery_id FROM batteries",
    "own.battery_id = known.battery_id AND own.kind <> 'planned'",
)
LOOKED_UP = {
    table: (SOURCES if len(kind.times) == 1 else ISSUES,) for table, kind in MEASUREMENTS.items()
} | {"forecasts": (RUNS,), "schedules": (RUNS,), "battery_states": (RUNS, BATTERIES)}


def server_name(conn: connection) -> str:
    """The server in words: PostgreSQL's version, and TimescaleDB's or "plain PostgreSQL"."""
    with conn.cursor() as cur:
        cur.execute("""
            SELECT current_setting('server_version'),
                (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb')""")
        server, extension = one_row(cur)
    kind = "plain PostgreSQL"
    if extension:
        kind = f"TimescaleDB {extension} ({timescale_licence(conn)} licence)"
    return f"PostgreSQL {server.split()[0]}, {kind}, schema version {schema_version(conn)}"


def table_rows(conn: connection) -> list[dict]:
    """Rows, first and last time, and size [MB] of each table, in seconds that do not grow with
    the rows.

    Where the number of rows is an estimate, first and last are those of the first and the newest
    issue of each source, of the first and the newest 500 runs, and of all states that are not
    planned.

    Returns
    -------
    One dictionary a table: table, rows, rows_estimated, first, last, size_mb; on TimescaleDB also
    chunks; with its Community licence also uncompressed_mb and compressed_mb, the size of what is
    compressed before and after.
    """
    licence = timescale_licence(conn)
    counts = table_counts(conn)
    with conn.cursor() as cur:
        return [
            {"table": table, "rows": count.rows, FLAG: count.is_estimate}
            | _ends(cur, table, count.is_estimate)
            | _sizes(cur, table, licence)
            for table, count in counts.items()
        ]


def _ends(cur: cursor, table: str, is_large: bool) -> dict[str, object]:
    """First and last time of a table; of a large one by its keys."""
    first = last = None
    if time := HYPERTABLES.get(table):
        names = {"time": sql.Identifier(time), "table": sql.Identifier(table)}
        if is_large:
            runs = "forecast_runs" if table == "forecasts" else "schedule_runs"
            names["runs"] = sql.Identifier(runs)
            query = sql.SQL(" UNION ALL ").join(
                sql.SQL(ENDS).format(
                    values=sql.SQL(values).format(**names), condition=sql.SQL(condition), **names
                )
                for values, condition in LOOKED_UP[table]
            )
            query = sql.SQL("SELECT min(min), max(max) FROM ({}) AS ends").format(query)
        else:
            query = sql.SQL("SELECT min({time}), max({time}) FROM {table}").format(**names)
        cur.execute(query)
        first, last = one_row(cur)
    return {"first": first, "last": last}


def _sizes(cur: cursor, table: str, licence: str | None) -> dict[str, object]:
    """Size and chunks of a table."""
    chunked = licence is not None and table in HYPERTABLES
    size = "hypertable_size" if chunked else "pg_total_relation_size"
    (size_bytes,) = _ask(cur, f"SELECT {size}(%s::regclass)", table)
    row: dict[str, object] = {"size_mb": size_bytes / 1e6}
    if licence is not None:
        count = "SELECT count(*) FROM show_chunks(%s::regclass)"
        row["chunks"] = _ask(cur, count, table)[0] if chunked else None
    if licence == COMMUNITY:
        before = after = None
        if table in MEASUREMENTS:
            sums = """
                SELECT sum(before_compression_total_bytes) / 1e6,
                    sum(after_compression_total_bytes) / 1e6
                FROM hypertable_columnstore_stats(%s::regclass)"""
            before, after = _ask(cur, sums, table)
        row["uncompressed_mb"] = before and float(before)
        row["compressed_mb"] = after and float(after)
    return row


def _ask(cur: cursor, query: str, table: str) -> tuple:
    cur.execute(query, (table,))
    return one_row(cur)
