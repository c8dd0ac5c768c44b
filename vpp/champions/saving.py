"""Which forecasts are new, and the table of them that people see.

Power in kW, prices in EUR/MWh; times are UTC."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.champions.past_errors import day_error
from vpp.champions.recalibration import recalibrated
from vpp.champions.requests import Answer
from vpp.forecast.backtest import ForecastError
from vpp.forecast.quantiles import COLUMNS
from vpp.runtime.settings import Config
from vpp.storage.issued import newest_among, read_values
from vpp.storage.results import ForecastRun, save_forecasts

log = logging.getLogger("forecast_and_save")

PLANNED_ROLES = ("champion", "fallback")


def is_same(frame: pd.DataFrame, stored: pd.DataFrame) -> bool:
    """Whether saving a forecast would change nothing.

    Parameters
    ----------
    frame : the forecast [kW or EUR/MWh].
    stored : its rows as they are stored, by `read_values`.
    """
    if not pd.DatetimeIndex(frame.index).equals(pd.DatetimeIndex(stored["valid_time"])):
        return False
    names = [*COLUMNS, "published"]
    return np.array_equal(stored[names].to_numpy(float), frame[names].to_numpy(float))


def summary_row(
    conn: connection, config: Config, found: Answer, issue_time: pd.Timestamp | None
) -> dict:
    """The row of a source in the table of `forecast_all`.

    Parameters
    ----------
    conn, config : connection to the database, and the configuration.
    found : the forecasts of the source.
    issue_time : end of the day whose error is shown [UTC]; None for no error.

    Returns
    -------
    source_id, model, version, role, issue_time, runs, rows, yesterday_mae [kW or EUR/MWh], note.
    """
    source = found.request.data.source
    try:
        error = day_error(conn, config, source, issue_time) if issue_time is not None else None
    except ForecastError:  # which its note says
        error = None
    models = list(dict.fromkeys(run.model for run, _ in found.runs))
    first = found.runs[-1][0] if found.runs else None
    return {
        "source_id": source.source_id,
        "model": "+".join(models),
        "version": first and first.model_version,
        "role": first and first.role,
        "issue_time": first and first.issue_time,
        "runs": len(found.runs),
        "rows": sum(len(frame) for _, frame in found.runs),
        "yesterday_mae": error and error["mae"],
        "note": "; ".join(found.notes),
    }


def rows_without_sums(faults: Mapping[str, str]) -> list[dict]:
    """Rows of the sums that could not be made, in the form of `summary_row`.

    Parameters
    ----------
    faults : why, by kind of source.
    """
    nothing = dict.fromkeys(("version", "role", "issue_time", "yesterday_mae"))
    return [
        {"source_id": f"sums of {kind}", "model": "", **nothing, "runs": 0, "rows": 0, "note": why}
        for kind, why in faults.items()
    ]


def check_all_forecast(rows: Sequence[dict], issue_time: pd.Timestamp) -> None:
    """Complain of sources without a forecast, once the others are saved.

    Parameters
    ----------
    rows : of `forecast_all`.
    issue_time : of the forecasts [UTC].

    Raises
    ------
    ForecastError : there are such sources.
    """
    failed = [f"{row['source_id']} ({row['note']})" for row in rows if not row["runs"]]
    if not failed:
        return
    saved = "nothing is saved"
    if len(failed) < len(rows):
        saved = "the other sources' forecasts are saved"
    raise ForecastError(
        f"no forecast from {issue_time:%Y-%m-%dT%H:%MZ} of {', '.join(failed)}; {saved}"
    )


def bands_corrected(
    conn: connection, answers: Sequence[Answer]
) -> list[tuple[ForecastRun, pd.DataFrame]]:
    """The runs of answers, their bands corrected by the errors of those issued before.

    Parameters
    ----------
    conn : connection to the database.
    answers : one a source.
    """
    return [
        (run, recalibrated(conn, each.request.data, run, frame))
        for each in answers
        for run, frame in each.runs
    ]


def save_new(conn: connection, runs: Sequence[tuple[ForecastRun, pd.DataFrame]]) -> None:
    """Save those runs that change anything, in one transaction.

    One changes nothing where the newest of its role and issue time is the same.

    Parameters
    ----------
    conn : connection to the database.
    runs : each with its frame [kW or EUR/MWh].
    """
    by_roles = defaultdict[tuple[str, ...], list[ForecastRun]](list)
    for run, _ in runs:
        by_roles[PLANNED_ROLES if run.role in PLANNED_ROLES else (run.role,)].append(run)
    made = {run.run_id: run for run, _ in runs}
    there = [
        run
        for roles, of_roles in by_roles.items()
        for run in newest_among(conn, of_roles, roles)
        if made.get(run.run_id) == run
    ]
    stored = {run.run_id: rows for run, rows in zip(there, read_values(conn, there), strict=True)}
    new = [
        (run, frame)
        for run, frame in runs
        if run.run_id not in stored or not is_same(frame, stored[run.run_id])
    ]
    save_forecasts(conn, new)


def warned(rows: list[dict]) -> list[dict]:
    """Rows of sources, once the log has said where a stand-in forecasts."""
    for row in rows:
        if row["note"] and row["role"] in ("fallback", None):
            log.warning("%s: %s", row["source_id"], row["note"])
    return rows
