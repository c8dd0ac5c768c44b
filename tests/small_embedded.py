"""Embedded servers whose processes are looked at and killed."""

import os
import select
import uuid

import psycopg2


def execute(url: str, statement: str, **options) -> list[tuple]:
    connection = psycopg2.connect(url, **options)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def ends(process_id: int) -> bool:
    """Whether a process ends within 30 s."""
    try:
        handle = os.pidfd_open(process_id)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)


def commit_rows(url: str) -> str:
    """Commit 1,000 rows to a new table; returns its name."""
    table = f"t{uuid.uuid4().hex[:8]}"
    execute(
        url, f"CREATE TABLE {table} AS SELECT n, n * n AS square FROM generate_series(1, 1000) n"
    )
    return table


def assert_rows(url: str, table: str) -> None:
    # sum of squares 1..1000 = 1000 * 1001 * 2001 / 6 = 333,833,500
    assert execute(url, f"SELECT count(*), sum(square) FROM {table}") == [(1000, 333_833_500)]
