"""Plans whose intervals are past, valued one after the other.

python pipeline.py operate
"""

import pandas as pd

from vpp.planning.valuation import value_plan
from vpp.runtime.settings import Config
from vpp.storage.connection import session
from vpp.storage.rows import select_rows


def value_next(config: Config, now: pd.Timestamp) -> dict | None:
    """Value the newest plan whose intervals are past, if it is newer than those that are valued.

    Parameters
    ----------
    config : names the site and the database.
    now : of the plant's clock [UTC].

    Returns
    -------
    Its value, as `value_plan` gives it; None where there is nothing new.

    Raises
    ------
    VppError : actual values are missing.
    """
    query = """
        SELECT run_id FROM schedule_runs
        WHERE kind = 'plan' AND site_id = %(site)s AND issue_time <= %(last)s AND issue_time > (
            SELECT coalesce(max(issue_time), '-infinity') FROM schedule_runs
            WHERE kind = 'actual' AND site_id = %(site)s)
        ORDER BY issue_time DESC, created_at DESC LIMIT 1"""
    last = now - pd.Timedelta(hours=config.optimization.horizon_h)
    with session(config) as conn:
        rows = select_rows(conn, query, {"site": config.site.site_id, "last": last})
    return value_plan(config, rows[0]["run_id"]) if rows else None
