"""Few rows between Python and PostgreSQL: upserts, and selects as dictionaries or frames.

The stream writes through bulk.py, which is faster. Times are UTC; NaN is NULL.

    python -c "from vpp.storage import rows; print(rows.select_frame.__doc__)"
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import psycopg2.extras
from psycopg2 import sql
from psycopg2.extensions import connection, cursor

if TYPE_CHECKING:
    import pandas as pd

Moment = datetime | str  # a time with a zone; pd.Timestamp is a datetime, too
Query = sql.Composable | str
Parameters = Sequence | Mapping[str, object]  # values of the placeholders of a query

TIMESTAMPTZ, DOUBLE_PRECISION = 1184, 701  # numbers of types, fixed in pg_type.dat of PostgreSQL


def names_of(columns: Sequence[str]) -> sql.Composed:
    """Column names for a statement, with commas between them."""
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def upsert_rows(
    cur: cursor, table: str, keys: Sequence[str], rows: Sequence[Mapping[str, object]]
) -> None:
    """Insert or replace a few rows.

    Parameters
    ----------
    cur : of the transaction.
    table : its name.
    keys : the columns of its key.
    rows : all with the same columns.
    """
    if not rows:
        return
    columns = list(rows[0])
    statement = sql.SQL(
        "INSERT INTO {table} ({columns}) VALUES %s ON CONFLICT ({keys}) DO UPDATE SET {sets}"
    ).format(
        table=sql.Identifier(table),
        columns=names_of(columns),
        keys=names_of(keys),
        sets=sql.SQL(", ").join(
            sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in columns
        ),
    )
    values = [tuple(_plain(row[name]) for name in columns) for row in rows]
    psycopg2.extras.execute_values(cur, statement, values)


def _plain(value: object) -> object:
    """A value that psycopg2 knows: numpy scalars, NaN, NaT and dictionaries are not among them."""
    if isinstance(value, Mapping):
        return psycopg2.extras.Json(value)
    if isinstance(value, np.generic):
        value = value.item()
    if value != value:
        return None
    return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value


def copy_frame(cur: cursor, table: str, frame: pd.DataFrame) -> None:
    """Append a frame to a table through COPY; NaN becomes NULL.

    Parameters
    ----------
    cur : of the transaction.
    table : its name.
    frame : named columns of the table; the index is left out.
    """
    text = frame.to_csv(
        index=False, header=False, na_rep="\\N", date_format="%Y-%m-%dT%H:%M:%S.%f%z"
    )
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL '\\N')")
    cur.copy_expert(
        statement.format(sql.Identifier(table), names_of(list(frame.columns))), io.StringIO(text)
    )


def one_row(cur: cursor) -> tuple:
    """The row of a query that always has one, such as a count."""
    row = cur.fetchone()
    if row is None:
        raise LookupError("the query has no row")
    return row


def select_rows(conn: connection, query: Query, parameters: Parameters = ()) -> list[dict]:
    """The rows of a query, each as column -> value.

    Parameters
    ----------
    conn : the connection.
    query, parameters : a SELECT and the values of its placeholders.
    """
    with conn.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cur:
        cur.execute(query, parameters)
        return [dict(row) for row in cur.fetchall()]


def select_frame(
    conn: connection, query: Query, parameters: Parameters, index: str | None = None
) -> pd.DataFrame:
    """The rows of a query as a frame.

    Parameters
    ----------
    conn : the connection.
    query, parameters : a SELECT and the values of its placeholders.
    index : the column that becomes the index; None for the number of the row.

    Returns
    -------
    One column for each of the query: times in UTC, numbers as float with NaN for NULL.
    """
    import pandas as pd

    with conn.cursor() as cur:
        cur.execute(query, parameters)
        columns = cur.description or ()
        frame = pd.DataFrame(cur.fetchall(), columns=[column.name for column in columns])
    for name in (column.name for column in columns if column.type_code == TIMESTAMPTZ):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    numbers = [column.name for column in columns if column.type_code == DOUBLE_PRECISION]
    frame[numbers] = frame[numbers].astype(float)
    return frame.set_index(index) if index else frame


def between(
    column: str, start: Moment | None, end: Moment | None
) -> tuple[sql.Composed, list[datetime]]:
    """A condition that a column lies in `[start, end)`; None leaves a side open.

    Parameters
    ----------
    column : a time.
    start, end : times with a zone.

    Returns
    -------
    The condition, which begins with AND or is empty, and its parameters.

    Raises
    ------
    ValueError : a time has no zone.
    """
    import pandas as pd

    parts = sql.Composed([])
    values: list[datetime] = []
    for operator, bound in ((">=", start), ("<", end)):
        if bound is not None:
            moment = pd.Timestamp(bound)
            if moment.tzinfo is None:
                raise ValueError(f"{column} {operator} {moment}: expected a time with a time zone")
            part = sql.SQL(" AND {} {} %s").format(sql.Identifier(column), sql.SQL(operator))
            parts, values = parts + part, [*values, moment.to_pydatetime()]
    return parts, values
