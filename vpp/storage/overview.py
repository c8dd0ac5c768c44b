"""The state of the database as a person reads it: the server, and rows, times and sizes of its
tables."""

from psycopg2 import sql
from psycopg2.extensions import connection, cursor

from vpp.site.kinds import MEASUREMENTS
from vpp.storage.rows import one_row
from vpp.storage.schema import HYPERTABLES, TABLES, schema_version
from vpp.storage.timescale import COMMUNITY, timescale_licence


def count_rows(conn: connection) -> dict[str, int]:
    """Number of rows of every table."""
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, count(*) FROM {}").format(sql.Literal(table), sql.Identifier(table))
        for table in TABLES
    )
    with conn.cursor() as cur:
        cur.execute(query)
        counts = dict(cur.fetchall())
    return {table: counts[table] for table in TABLES}


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
    """Rows, first and last time, and size [MB] of each table.

    Returns
    -------
    One dictionary a table: table, rows, first, last, size_mb; on TimescaleDB also chunks; with its
    Community licence also uncompressed_mb and compressed_mb, the size of what is compressed before
    and after.
    """
    licence = timescale_licence(conn)
    with conn.cursor() as cur:
        return [
            {"table": table, "rows": count} | _measures(cur, table, licence)
            for table, count in count_rows(conn).items()
        ]


def _measures(cur: cursor, table: str, licence: str | None) -> dict[str, object]:
    """Times, size and chunks of a table."""
    first = last = None
    if time := HYPERTABLES.get(table):
        ends = sql.SQL("SELECT min({time}), max({time}) FROM {table}")
        cur.execute(ends.format(time=sql.Identifier(time), table=sql.Identifier(table)))
        first, last = one_row(cur)
    chunked = licence is not None and time is not None
    size = "hypertable_size" if chunked else "pg_total_relation_size"
    (size_bytes,) = _ask(cur, f"SELECT {size}(%s::regclass)", table)
    row: dict[str, object] = {"first": first, "last": last, "size_mb": size_bytes / 1e6}
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
