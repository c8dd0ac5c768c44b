"""Series of sources in the CSV files of the data folder: read, merged and written together with
`sources.csv`.

Times are UTC, ISO-8601 with `Z`, and label the start of an interval.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime.files import DataFileError, replacing_files
from vpp.runtime.tables import shown
from vpp.runtime.words import in_words
from vpp.site.kinds import KINDS
from vpp.site.sources import REJECTS_FILE, SOURCES_FILE, Source, _sources_table, read_sources


def time_text(times: pd.DatetimeIndex) -> np.ndarray:
    """Times as ISO-8601 with Z, such as 2025-01-01T00:00:00Z."""
    return np.char.add(
        np.datetime_as_string(times.tz_convert(None).to_numpy().astype("datetime64[s]")), "Z"
    )


def series_frame(source: Source, values: pd.Series) -> pd.DataFrame:
    """A series in the columns of its CSV file, values rounded to the watt or a tenth of a cent."""
    (column,) = KINDS[source.kind].values
    rounded = values.to_numpy().round(column.decimals)
    return pd.DataFrame(
        {"time": time_text(values.index), "source_id": source.source_id, column.name: rounded}
    )


def read_series_file(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of one of the project's CSV files; no rows where there is no file."""
    if not path.exists():
        return pd.DataFrame(columns=list(columns))
    try:
        frame = pd.read_csv(
            path, dtype=str, keep_default_na=False
        )  # text, so that rows that stay are written as they were
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
    added: Sequence[tuple[Source, pd.DataFrame]],
    removed: Sequence[str] = (),
    rejects: Sequence[tuple] | None = None,
) -> None:
    """Change a data folder in one go: sources with the rows of their series take the place of those
    of the same name, others go.

    `rejects` (line, source_id, time, value, reason) become `rejects.csv`; None leaves that file
    alone."""
    path = folder / SOURCES_FILE
    gone = {source.source_id for source, _ in added} | set(removed)
    kept = [
        source
        for source in (read_sources(path) if path.exists() else [])
        if source.source_id not in gone
    ]
    with replacing_files(folder) as temporary:
        for kind in KINDS.values():
            frames = [frame for source, frame in added if source.kind == kind.name]
            before = read_series_file(folder / kind.file, ("source_id", kind.value))
            stay = before[~before["source_id"].isin(gone)]
            if frames or len(stay) < len(before):
                parts = [part for part in (stay, *frames) if len(part)] or [stay]
                pd.concat(parts).to_csv(temporary / kind.file, index=False, lineterminator="\n")
        if rejects is not None:
            columns = ["line", "source_id", "time", "value", "reason"]
            pd.DataFrame(rejects, columns=columns).to_csv(
                temporary / REJECTS_FILE, index=False, lineterminator="\n"
            )
        _sources_table([*kept, *(source for source, _ in added)]).to_csv(
            temporary / SOURCES_FILE, index=False, lineterminator="\n"
        )


def stored_times(folder: Path, source: Source) -> pd.Series:
    """Times of a source's rows in the data folder, as text."""
    frame = read_series_file(folder / KINDS[source.kind].file, ("time", "source_id"))
    return frame.loc[frame["source_id"] == source.source_id, "time"]
