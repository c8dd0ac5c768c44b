"""Series of sources in the CSV files of the data folder, beside `sources.csv`.

They are read, merged, and written all together. Times are UTC, ISO-8601 with `Z`, and label the
start of an interval.

    python sources.py show solar-1
"""

import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime.files import DataFileError, replacing_files
from vpp.runtime.tables import shown
from vpp.runtime.words import in_words
from vpp.site.kinds import KINDS
from vpp.site.sources import REJECTS_FILE, SOURCES_FILE, Source, read_sources, sources_table


def time_text(times: pd.DatetimeIndex) -> np.ndarray:
    """Write times as ISO-8601 with Z, such as 2025-01-01T00:00:00Z."""
    seconds = times.tz_convert(None).to_numpy().astype("datetime64[s]")
    return np.char.add(np.datetime_as_string(seconds), "Z")


def series_frame(source: Source, values: pd.Series) -> pd.DataFrame:
    """Put a series into the columns of its CSV file, rounded to the watt or a tenth of a cent.

    Parameters
    ----------
    source : that it is of, of a kind with one value.
    values : by UTC time [kW or EUR/MWh].
    """
    (column,) = KINDS[source.kind].values
    rounded = values.to_numpy().round(column.decimals)
    times = time_text(pd.DatetimeIndex(values.index))
    return pd.DataFrame({"time": times, "source_id": source.source_id, column.name: rounded})


def read_series_file(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read the rows of one of the project's CSV files as text; none where there is no file.

    Text, so that rows that stay are written as they were.

    Parameters
    ----------
    path : of the file.
    columns : that it must have.

    Raises
    ------
    DataFileError : it cannot be read, or lacks a column.
    """
    if not os.path.exists(path):
        return pd.DataFrame(columns=list(columns))
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataFileError(
            f"{shown(path)}: cannot be read: {in_words(error)}; expected {','.join(columns)}"
        ) from None
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise DataFileError(
            f"{shown(path)}: column {missing[0]} is missing; expected {','.join(columns)}"
        )
    return frame


def save_series(
    folder: Path,
    added: Sequence[tuple[Source, str, pd.DataFrame]],
    removed: Sequence[str] = (),
    rejects: Sequence[tuple] | None = None,
) -> None:
    """Add and remove sources and their series in a data folder, all or nothing.

    Parameters
    ----------
    folder : of the data.
    added : sources, the kind of rows and these rows, which take the place of those of the same
        source and kind.
    removed : ids of sources that go, with their rows.
    rejects : line, source_id, time, value, reason and file of each row of `rejects.csv`; None
        leaves that file alone.

    Raises
    ------
    DataFileError : a file there cannot be read, or the folder cannot be written.
    """
    path = folder / SOURCES_FILE
    new = {source.source_id: source for source, _, _ in added}
    before = read_sources(path) if os.path.exists(path) else []
    kept = [item for item in before if item.source_id not in {*new, *removed}]
    other = {item.source_id for item in before if item.kind != new.get(item.source_id, item).kind}
    with replacing_files(folder) as temporary:
        for kind in KINDS.values():
            frames = [frame for _, name, frame in added if name == kind.name]
            gone = {source.source_id for source, name, _ in added if name == kind.name}
            gone |= other | set(removed)
            rows = read_series_file(folder / kind.file, ("source_id", kind.value))
            stay = rows[~rows["source_id"].isin(gone)]
            if frames or len(stay) < len(rows):
                parts = [part for part in (stay, *frames) if len(part)] or [stay]
                pd.concat(parts).to_csv(temporary / kind.file, index=False, lineterminator="\n")
        if rejects is not None:
            columns = ["line", "source_id", "time", "value", "reason", "file"]
            pd.DataFrame(rejects, columns=columns).to_csv(
                temporary / REJECTS_FILE, index=False, lineterminator="\n"
            )
        sources_table([*kept, *new.values()]).to_csv(
            temporary / SOURCES_FILE, index=False, lineterminator="\n"
        )


def stored_times(folder: Path, source: Source) -> pd.Series:
    """Read the times of a source's rows in the data folder, as text.

    Parameters
    ----------
    folder : of the data.
    source : of the rows.
    """
    kind = KINDS[source.kind]
    frame = read_series_file(folder / kind.file, (kind.times[-1], "source_id"))
    return frame.loc[frame["source_id"] == source.source_id, kind.times[-1]]


def source_facts(source: Source, times: pd.Series) -> dict[str, object]:
    """Tell all that is known of a source: its fields, its parameters, and its rows.

    Parameters
    ----------
    source : that is told.
    times : of its rows, as text.
    """
    names = [item.name for item in fields(Source) if item.name != "parameters"]
    facts = {name: getattr(source, name) for name in names} | source.parameters
    moments = pd.to_datetime(times, utc=True, format="ISO8601", errors="coerce")
    return facts | {"rows": len(times), "first": moments.min(), "last": moments.max()}
