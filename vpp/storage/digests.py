"""Digests of the registered models: what the model store may hand out to be loaded.

A fitted model is a file that runs code when it is loaded. Its digest is written here when it is
registered, so that whoever may write the model store, but not the database, cannot change it.

    python -c "from vpp.storage import digests; print(digests.read_digests.__doc__)"
"""

from psycopg2.extensions import connection

from vpp.storage.errors import explained
from vpp.storage.rows import select_rows, upsert_rows


def save_digest(conn: connection, source_id: str, version: str, sha256: str) -> None:
    """Write the digest of a source's registered model; the caller commits.

    Parameters
    ----------
    conn : the connection.
    source_id, version : of the registered model.
    sha256 : of its file, in hexadecimal digits.
    """
    row = {"source_id": source_id, "version": version, "sha256": sha256}
    with explained("model_digests"), conn.cursor() as cur:
        upsert_rows(cur, "model_digests", ["source_id", "version"], [row])


def read_digests(conn: connection, source_id: str | None = None) -> dict[tuple[str, str], str]:
    """The digest of each registered model, by source_id and version.

    Parameters
    ----------
    conn : the connection.
    source_id : only those of this source; None for all.
    """
    query = """
        SELECT source_id, version, sha256 FROM model_digests
        WHERE %(name)s::text IS NULL OR source_id = %(name)s"""
    rows = select_rows(conn, query, {"name": source_id})
    return {(row["source_id"], row["version"]): row["sha256"] for row in rows}
