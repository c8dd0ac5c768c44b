"""Imported series join those of the data folder: row by row, the newer value counts.

    python sources.py import january.csv --time-column time --tz UTC --load kw:kW:mill
    python sources.py import february.csv --time-column time --tz UTC --load kw:kW:mill

This is the last step of an import, and of all that brings real series in. All files change
together or not at all, under the lock of the folder.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime.files import locked_folder
from vpp.runtime.settings import Site
from vpp.runtime.tables import shown
from vpp.site.csv_files import read_series_file, save_series
from vpp.site.import_checks import Series
from vpp.site.kinds import KINDS, POWER_KINDS, Kind
from vpp.site.merge_steps import can_join, on_finer_step
from vpp.site.sources import (
    IMPORTED,
    MEASURED,
    REJECTS_FILE,
    SOURCES_FILE,
    Source,
    SourceError,
    read_sources,
)

REJECT_COLUMNS = ["line", "source_id", "time", "value", "reason", "file"]


@dataclass(frozen=True)
class Place:
    """Where sources are; None stands for what the site says.

    Parameters
    ----------
    latitude, longitude : [degrees].
    zone : IANA time zone.
    """

    latitude: float | None = None
    longitude: float | None = None
    zone: str | None = None


def source_of(series: Series, site: Site, place: Place, parameters: dict | None = None) -> Source:
    """Make an imported series a source of a site.

    Parameters
    ----------
    series : as imported.
    site : gives what `place` leaves open, and the price area.
    place : of the source.
    parameters : more of its parameters, such as a licence.
    """
    column, market = series.column, series.column.kind == "market"
    largest = float(series.values.abs().max())
    is_power, is_forecast = column.kind in POWER_KINDS, column.kind == "forecast"
    of = {"quantity": column.quantity, "unit": column.result_unit} if is_forecast else {}
    return Source(
        source_id=column.source_id,
        kind=column.kind,
        name=column.name,
        site_id=site.site_id,
        capacity_kw=float(column.capacity_kw or largest) if is_power else None,
        step_min=series.step_min,
        latitude=site.latitude if place.latitude is None else place.latitude,
        longitude=site.longitude if place.longitude is None else place.longitude,
        time_zone=place.zone or site.time_zone,
        parameters={"origin": IMPORTED}
        | ({"price_area": site.price_area} if market else of)
        | (parameters or {}),
    )


def merge_rows(
    folder: Path,
    added: Sequence[tuple[Source, str, pd.DataFrame]],
    rejects: Sequence[tuple] = (),
    file: str = "",
    stated: Collection[str] = (),
    place: Place | None = None,
    finer: bool = False,
) -> list[dict]:
    """Write rows of any kind into a data folder; a new row counts more than one that is there.

    The line of a source in `sources.csv` stays where nothing new is stated: it may have been
    written by hand.

    Parameters
    ----------
    folder : of the data.
    added : sources, the kind of rows and these rows, with the columns of the kind's file; times are
        text such as 2025-01-01T00:00:00Z.
    rejects : line, source_id, time, value and reason of the cells that could not be used.
    file : they come from; its earlier rejects are replaced, those of other files stay.
    stated : ids of sources whose capacity was stated.
    place : as it was stated, in part or not at all; None where each source brings its own.
    finer : whether a series whose step has changed joins on the finer step; else it is refused.

    Returns
    -------
    Of each source how many rows are new, have another value than before, are as before, and are
    kept from before.

    Raises
    ------
    SourceError : a source of this name is of another kind or has another step.
    DataFileError : the folder cannot be read or written.
    """
    with locked_folder(folder):
        path = folder / SOURCES_FILE
        there = (
            {item.source_id: item for item in read_sources(path)} if os.path.exists(path) else {}
        )
        rows, told = [], []
        for source, kind, frame in added:
            before = there.get(source.source_id)
            if before is not None and before.parameters.get("origin") not in MEASURED:
                before = None  # generated: it goes as a whole
            old = _old_rows(folder, KINDS[kind], before)
            if finer and before is not None and can_join(KINDS[kind], source, before):
                source, frame, old = on_finer_step(KINDS[kind], source, frame, before, old)
                before = replace(before, step_min=source.step_min)
            _check_same(source, before, folder)
            joined, counts = _joined(KINDS[kind], frame, old)
            if before is not None:
                source = _as_before(source, before, source.source_id in stated, place)
            rows.append((source, kind, joined))
            told.append({"source_id": source.source_id} | counts)
        old = read_series_file(folder / REJECTS_FILE, ())
        sources = [source for source, _, _ in added]
        save_series(folder, rows, rejects=_rejects(old, rejects, file, sources))
    return told


def _check_same(source: Source, before: Source | None, folder: Path) -> None:
    if before is None:
        return
    if before.kind != source.kind:
        raise SourceError(
            f"source {source.source_id} of {shown(folder)} is of the kind {before.kind}, not "
            f"{source.kind}; choose another ID, as in COLUMN:UNIT:ID"
        )
    if before.step_min != source.step_min:
        raise SourceError(
            f"source {source.source_id} of {shown(folder)} has a step of {before.step_min} min, "
            f"the file {source.step_min} min; say --step {before.step_min}, or choose another ID"
        )


def _old_rows(folder: Path, kind: Kind, before: Source | None) -> pd.DataFrame:
    """The rows of a source that the folder has."""
    if before is None:
        return pd.DataFrame(columns=list(kind.file_columns))
    old = read_series_file(folder / kind.file, kind.file_columns)
    return old[old["source_id"] == before.source_id]


def _joined(
    kind: Kind, frame: pd.DataFrame, old: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, int]]:
    """All rows of a source, and what became of them."""
    if not len(old):
        return frame, {"new": len(frame), "replaced": 0, "unchanged": 0, "kept": 0}
    times = list(kind.times)
    keys, new = pd.MultiIndex.from_frame(old[times]), pd.MultiIndex.from_frame(frame[times])
    place = keys.get_indexer(new)
    known = place >= 0
    same = np.ones(int(known.sum()), bool)
    for name in kind.value_names:
        earlier = pd.to_numeric(old[name], errors="coerce").to_numpy()[place[known]]
        later = frame[name].to_numpy(float)[known]
        same &= np.isclose(earlier, later, rtol=0, atol=1e-9, equal_nan=True)
    kept = old[~keys.isin(new)]
    counts = {
        "new": int((~known).sum()),
        "replaced": int((~same).sum()),
        "unchanged": int(same.sum()),
        "kept": len(kept),
    }
    if not len(kept):
        return frame, counts
    return pd.concat([kept[frame.columns], frame]).sort_values(times, kind="stable"), counts


def _as_before(source: Source, before: Source, sized: bool, place: Place | None) -> Source:
    """A source with what `sources.csv` says of it, but for what is stated now; its capacity is the
    largest value that it ever had, unless it is `sized`."""
    capacity_kw = source.capacity_kw
    if capacity_kw and not sized:
        capacity_kw = max(capacity_kw, before.capacity_kw or 0.0)
    latitude, longitude, zone = source.latitude, source.longitude, source.time_zone
    if place is not None:
        latitude = before.latitude if place.latitude is None else latitude
        longitude = before.longitude if place.longitude is None else longitude
        zone = zone if place.zone else before.time_zone
    return replace(
        source,
        name=before.name,
        capacity_kw=capacity_kw,
        latitude=latitude,
        longitude=longitude,
        time_zone=zone,
        parameters=before.parameters | source.parameters,
    )


def _rejects(
    old: pd.DataFrame, rejects: Sequence[tuple], file: str, sources: Sequence[Source]
) -> list[tuple]:
    """Those of earlier imports, but for the same file and sources, and the new ones."""
    kept: list[tuple] = []
    if len(old) and set(REJECT_COLUMNS[:5]) <= set(old.columns):
        if "file" not in old.columns:
            old = old.assign(file="")
        ids = {source.source_id for source in sources} | {""}
        again = old["source_id"].isin(ids) & old["file"].isin({file, ""})
        kept = list(old.loc[~again, REJECT_COLUMNS].itertuples(index=False, name=None))
    return kept + [(*reject, file) for reject in rejects]
