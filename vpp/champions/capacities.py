"""Histories of plants and loads that grew or shrank, as if their capacity had always been that of
now.

Power in kW; times are UTC."""

from dataclasses import replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.forecast.known import SourceData
from vpp.site.sources import Source
from vpp.storage.capacities import read_capacities


def with_capacities(conn: connection, data: SourceData) -> SourceData:
    """The source with a history as if its capacity had always been that of now.

    Parameters
    ----------
    conn : connection to the database, which knows earlier capacities and until when they held.
    data : of a plant or load.
    """
    series, revisions = scaled(conn, data.source, data.series), data.revisions
    if revisions is not None:
        values = pd.Series(revisions["value"].to_numpy(), pd.DatetimeIndex(revisions["time"]))
        revisions = revisions.assign(value=scaled(conn, data.source, values).to_numpy())
    return replace(data, series=series, revisions=revisions)


def scaled(conn: connection, source: Source, series: pd.Series) -> pd.Series:
    """Values of a source in proportion to its capacity of now.

    Parameters
    ----------
    conn : as of `with_capacities`.
    source : a plant or load.
    series : its values by time [kW].
    """
    changes = read_capacities(conn, source.source_id)
    if not changes or source.capacity_kw is None:
        return series
    ends = pd.DatetimeIndex([until for until, _ in changes])
    held = np.array([*(capacity_kw for _, capacity_kw in changes), source.capacity_kw])
    place = ends.searchsorted(pd.DatetimeIndex(series.index), side="right")
    return series * (source.capacity_kw / held)[place]
