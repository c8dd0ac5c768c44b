"""Databases of tests' own on the test's server."""

import time

import psycopg2

PATIENCE_S = 20


def drop_database(url: str, name: str) -> None:
    """Drop a database and whoever is still connected to it.

    Only a superuser may end an autovacuum worker, which works there for a moment: then again.
    """
    conn = psycopg2.connect(url)
    try:
        conn.autocommit = True
        until = time.monotonic() + PATIENCE_S
        with conn.cursor() as cursor:
            while True:
                try:
                    cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
                    return
                except psycopg2.errors.InsufficientPrivilege:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.1)
    finally:
        conn.close()
