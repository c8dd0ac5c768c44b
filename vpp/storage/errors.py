"""Errors of the database, each in one line that names the table or server and the cause."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2.errors

from vpp.runtime.errors import VppError
from vpp.runtime.words import in_one_line, in_words

# A record itself is to blame: out of range, against a constraint, or refused by a trigger. All
# else is the server's fault.
RECORD_REFUSED = (psycopg2.DataError, psycopg2.IntegrityError, psycopg2.errors.RaiseException)
# The same in the classes of SQLSTATE (appendix A of PostgreSQL's manual): whatever a function or
# trigger of the operator's own raises is not always one of the above.
RECORD_CLASSES = ("09", "21", "22", "23", "27", "38", "39", "44", "45", "P0")
REFUSED_OR_AWAY = (
    psycopg2.OperationalError,
    psycopg2.InterfaceError,
    psycopg2.DataError,
    psycopg2.IntegrityError,
)
CHUNK_PREFIX = "_hyper"  # of the name of a part of a hypertable


class DatabaseError(VppError):
    """The database cannot be reached or refuses.

    The message names the table or server and the cause, never the password.
    """


def refuses_record(error: Exception) -> bool:
    """Whether an error is about what was to be stored, and not about the server or its schema."""
    if isinstance(error, psycopg2.Error):
        return isinstance(error, RECORD_REFUSED) or (error.pgcode or "")[:2] in RECORD_CLASSES
    return not isinstance(error, (VppError, MemoryError))


def first_line(error: BaseException) -> str:
    """The first line of an error: the cause without its context, in printable characters."""
    lines = str(error).strip().splitlines()
    return in_one_line(lines[0]) if lines else in_words(error)


@contextmanager
def explained(subject: str) -> Iterator[None]:
    """Turn an error of the server into a DatabaseError. Errors in the SQL keep their traceback.

    A table that somebody has dropped is none of those.

    Parameters
    ----------
    subject : the table or the work, named in the message if the server names no table.

    Raises
    ------
    DatabaseError : the server refuses or cannot do something within the block.
    """
    try:
        yield
    except REFUSED_OR_AWAY as error:
        table = getattr(getattr(error, "diag", None), "table_name", None) or subject
        if table.startswith(CHUNK_PREFIX):
            table = subject
        raise DatabaseError(f"database, {table}: {first_line(error)}") from error
    except psycopg2.errors.UndefinedTable as error:
        raise DatabaseError(
            f"database: {first_line(error)}, though its schema was made; restore it from a backup, "
            "or make all tables anew, without rows, by python db.py reset --yes"
        ) from error
    except psycopg2.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"database, {subject}: {first_line(error)}; grant it to the role of [database] url"
        ) from error
