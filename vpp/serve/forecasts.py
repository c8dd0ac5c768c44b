"""A source's newest forecast as rows, with what came of it: what `/api/forecasts` answers.

python -c "from vpp.serve.forecasts import read_forecast; help(read_forecast)"
"""

from datetime import timedelta

from psycopg2 import sql
from psycopg2.extensions import connection

from vpp.runtime.errors import VppError, check_known
from vpp.runtime.settings import Config
from vpp.serve.answers import NotFoundError
from vpp.site.kinds import KINDS, SERIES_KINDS
from vpp.site.sources import Source
from vpp.storage.measurements import read_sources
from vpp.storage.rows import select_rows

HISTORY = timedelta(hours=24)  # of measurements before the issue time


class UnknownSourceError(VppError):
    """A source that is not registered, or that is not forecast; names those that are."""


def read_forecast(conn: connection, config: Config, source_id: str) -> dict:
    """The newest forecast of a source of the roles that plans read.

    Parameters
    ----------
    conn : the connection.
    config : the configuration.
    source_id : a plant, load or market.

    Returns
    -------
    run and values as in the tables; source; actual: its measurements from a day before the issue
    time on.

    Raises
    ------
    UnknownSourceError : there is no such source.
    NotFoundError : it has no forecast yet.
    """
    sources = {s.source_id: s for s in read_sources(conn) if s.kind in SERIES_KINDS}
    try:
        check_known("source_id", source_id, sources)
    except VppError as error:
        raise UnknownSourceError(str(error)) from None
    query = """
        SELECT * FROM forecast_runs WHERE source_id = %s AND role IN ('champion', 'fallback')
        ORDER BY issue_time DESC, created_at DESC LIMIT 1"""
    runs = select_rows(conn, query, (source_id,))
    if not runs:
        raise NotFoundError(f"{source_id} has no forecast yet; run python forecast_and_save.py")
    query = "SELECT * FROM forecasts WHERE run_id = %s ORDER BY valid_time"
    values = select_rows(conn, query, (runs[0]["run_id"],))
    return {
        "run": runs[0],
        "values": values,
        "source": _source(sources[source_id]),
        "actual": _actual(conn, sources[source_id], runs[0], values),
    }


def _source(source: Source) -> dict:
    names = ("source_id", "kind", "name", "capacity_kw", "step_min")
    return {name: getattr(source, name) for name in names}


def _actual(conn: connection, source: Source, run: dict, values: list[dict]) -> list[dict]:
    """Measurements from a day before the issue time to the forecast's end."""
    kind = KINDS[source.kind]
    query = sql.SQL(
        "SELECT time, {} FROM {} WHERE source_id = %s AND time >= %s AND time <= %s ORDER BY time"
    ).format(sql.Identifier(kind.value), sql.Identifier(kind.table))
    start = run["issue_time"] - HISTORY
    end = values[-1]["valid_time"] if values else run["issue_time"]
    return select_rows(conn, query, (source.source_id, start, end))
