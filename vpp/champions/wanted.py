"""Which forecasts are wanted: of which sources, from which times, with which champions.

Power in kW, prices in EUR/MWh; times are UTC."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import psycopg2

from vpp.champions.registry import Champion
from vpp.champions.requests import Choice, Request, reason_of
from vpp.forecast.known import SourceData
from vpp.runtime.settings import Config
from vpp.site.sources import Source
from vpp.storage.errors import DatabaseError
from vpp.storage.freshness import Freshness


@dataclass(frozen=True)
class Wanted:
    """Sources to forecast, with all that a worker needs beside what it reads itself.

    Parameters
    ----------
    config : the configuration.
    sources : to forecast.
    times : issue times [UTC].
    horizon_h : length of each forecast [h]; None for that of the configuration.
    now : the newest issue time, or that after them [UTC].
    freshness : which sources are current.
    champions : of each source that has one.
    trouble : why the champion of a source cannot be read.
    digests : SHA-256 of each registered model, by source_id and version.
    since : when the command began [UTC of the database].
    wait : whether to wait for another command that is at it.
    """

    config: Config
    sources: tuple[Source, ...]
    times: tuple[pd.Timestamp, ...]
    horizon_h: int | None
    now: pd.Timestamp
    freshness: Freshness
    champions: Mapping[str, Champion]
    trouble: Mapping[str, tuple[str, ...]]
    digests: Mapping[tuple[str, str], str]
    since: pd.Timestamp
    wait: bool = False

    @property
    def name(self) -> str:
        """By which a backfill of one source is claimed."""
        [source] = self.sources
        training, champion = self.config.training, self.champions.get(source.source_id)
        rules = (self.times, self.horizon_h, self.config.forecast, training.history_days, champion)
        digest = hashlib.sha256(repr((*rules, training.seed)).encode()).hexdigest()[:16]
        return f"backfill/{source.source_id}/{digest}"

    def of(self, sources: Sequence[Source]) -> "Wanted":
        """The same for some of the sources."""
        names = {source.source_id for source in sources}
        champions = {name: found for name, found in self.champions.items() if name in names}
        kept = {found.source_id for found in champions.values()}
        digests = {key: sha256 for key, sha256 in self.digests.items() if key[0] in kept}
        return replace(self, sources=tuple(sources), champions=champions, digests=digests)


def new_request(
    config: Config,
    data: SourceData,
    times: tuple[pd.Timestamp, ...],
    horizon_h: int | None,
    choices: tuple[Choice, ...],
    notes: tuple[str, ...],
) -> Request:
    """A request with the reach and the seed of the configuration.

    Parameters
    ----------
    config : the configuration.
    data, times, choices, notes : as of `Request`.
    horizon_h : length of each forecast [h]; None for that of the configuration.
    """
    training = config.training
    reach = (horizon_h or config.forecast.horizon_h, training.history_days, training.seed)
    return Request(data, times, *reach, choices, notes)


def loaded(source: Source, read: Callable[[], SourceData]) -> tuple[SourceData, tuple[str, ...]]:
    """All that is stored about a source; where it cannot be read, nothing, and why.

    Parameters
    ----------
    source : its description.
    read : reads it.
    """
    try:
        return read(), ()
    except (DatabaseError, psycopg2.Error):  # which is not of this source
        raise
    except Exception as error:  # whatever its rows or its parameters do, the others are forecast
        return SourceData(source, pd.Series([], pd.DatetimeIndex([], tz="UTC"), float)), (
            reason_of(error),
        )
