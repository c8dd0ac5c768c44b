"""Few rows between Python and PostgreSQL: upserts, selects as frames, and errors of the server as
one line.

What the stream writes goes through bulk.py. Times are UTC; NaN is NULL.

    python -c "import queries; print(queries.select_frame.__doc__)"

Not a script.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import psycopg2.extras
from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.storage.schema import DatabaseError, first_line


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what the server refuses or cannot do into a DatabaseError that names `what`.

    Errors in the SQL keep their traceback.
    """
    try:
        yield
    except (
        psycopg2.OperationalError,
        psycopg2.InterfaceError,
        psycopg2.DataError,
        psycopg2.IntegrityError,
    ) as error:
        table = getattr(getattr(error, "diag", None), "table_name", None) or what
        if table.startswith("_hyper"):  # a chunk of a hypertable
            table = what
        raise DatabaseError(f"database, {table}: {first_line(error)}") from error
    except psycopg2.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"database, {what}: {first_line(error)}; grant it to the role of [database] url"
        ) from error


def upsert_rows(
    cursor, table: str, keys: Sequence[str], rows: Sequence[Mapping[str, object]]
) -> None:
    """Insert or replace a few rows with the same columns."""
    if not rows:
        return
    columns = list(rows[0])
    statement = sql.SQL("INSERT INTO {} ({}) VALUES %s ON CONFLICT ({}) DO UPDATE SET {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(map(sql.Identifier, keys)),
        sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns
        ),
    )
    values = [tuple(_plain(row[name]) for name in columns) for row in rows]
    psycopg2.extras.execute_values(cursor, statement, values)


def _plain(value: object) -> object:
    """A value that psycopg2 knows: numpy scalars, NaN, NaT and dictionaries are not among them."""
    if isinstance(value, Mapping):
        return psycopg2.extras.Json(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value is pd.NaT or value != value:
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value


def copy_frame(cursor, table: str, frame: pd.DataFrame) -> None:
    """Append a frame to a table through COPY; NaN becomes NULL."""
    names = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    text = io.StringIO(
        frame.to_csv(index=False, header=False, na_rep="\\N", date_format="%Y-%m-%dT%H:%M:%S.%f%z")
    )
    cursor.copy_expert(
        sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL '\\N')").format(
            sql.Identifier(table), names
        ),
        text,
    )


def select_rows(
    conn: connection, query: sql.Composable | str, parameters: Sequence = ()
) -> list[dict]:
    with conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
        cursor.execute(query, parameters)
        return [dict(row) for row in cursor.fetchall()]


def select_frame(
    conn: connection, query: sql.Composable | str, parameters: Sequence, index: str | None = None
) -> pd.DataFrame:
    """The rows of a query as a frame, its times in UTC."""
    with conn.cursor() as cursor:
        cursor.execute(query, parameters)
        names = [column.name for column in cursor.description]
        times = [
            column.name for column in cursor.description if column.type_code == 1184
        ]  # timestamptz
        numbers = [
            column.name for column in cursor.description if column.type_code == 701
        ]  # double precision
        frame = pd.DataFrame(cursor.fetchall(), columns=names)
    for name in times:
        frame[name] = pd.to_datetime(frame[name], utc=True)
    frame[numbers] = frame[numbers].astype(float)
    return frame.set_index(index) if index else frame


def between(column: str, start, end) -> tuple[sql.Composable, list]:
    """A condition `AND column in [start, end)` and its parameters."""
    parts, values = [sql.SQL("")], []
    for operator, bound in ((">=", start), ("<", end)):
        if bound is not None:
            bound = pd.Timestamp(bound)
            if bound.tzinfo is None:
                raise ValueError(f"{column} {operator} {bound}: expected a time with a time zone")
            parts.append(sql.SQL(" AND {} " + operator + " %s").format(sql.Identifier(column)))
            values.append(bound.to_pydatetime())
    return sql.Composed(parts), values
