"""A source, which is a plant, a load, a market, the weather of a site or a forecast that others
issue, and `sources.csv`.

A source's times label the start of its intervals of `step_min` [min]; power is what a plant
delivers or a load takes [kW].

    python sources.py list
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vpp.runtime.errors import VppError, check_known
from vpp.runtime.fields import is_time_zone
from vpp.runtime.files import DataFileError, locked_folder, replacing_files
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.runtime.words import in_words
from vpp.site.kinds import POWER_KINDS, SOURCE_KINDS

if TYPE_CHECKING:
    import pandas as pd

STEPS_MIN = (5, 15, 30, 60)
# the parameter `origin` of sources that generation.py did not make
ADDED, IMPORTED, FETCHED = "added", "imported", "fetched"
MEASURED = (IMPORTED, FETCHED)  # of these a new series joins what is there
MOST_DELAY_MIN = 366 * 1440
SOURCES_FILE, REJECTS_FILE = "sources.csv", "rejects.csv"
ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class SourceError(VppError):
    """A source or its data cannot be used as asked."""


@dataclass(frozen=True)
class Source:
    """A plant, a load, a market, the weather of a site, or a forecast that others issue: one row of
    `sources.csv`.

    Parameters
    ----------
    source_id : its name in messages and tables (`ID_PATTERN`).
    kind : one of `SOURCE_KINDS`.
    name : as the report calls it.
    site_id : of the site that it belongs to.
    capacity_kw : largest power, the AC rating of a PV plant; None for others than plants and
        loads [kW].
    step_min : step of its series [min].
    latitude, longitude : degrees north and east; None where unknown.
    time_zone : IANA time zone of its local days.
    parameters : of its kind alone: `tilt`, `azimuth`, `dc_ac_ratio` (solar), `turbine`,
        `hub_height_m` (wind), `price_area` (market); `quantity`, `unit` and `regressor_of`,
        source_ids (forecast); `delay_min` [min].

    Raises
    ------
    SourceError : a value is impossible.
    """

    source_id: str
    kind: str
    name: str
    site_id: str
    capacity_kw: float | None
    step_min: int
    latitude: float | None
    longitude: float | None
    time_zone: str
    parameters: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        def refuse(name: str, value: object, expected: str) -> NoReturn:
            raise SourceError(f"source {self.source_id!r}: {name} = {value}: expected {expected}")

        if not ID_PATTERN.fullmatch(str(self.source_id)):
            refuse(
                "source_id",
                self.source_id,
                "1 to 63 letters, digits, '-', '_' or '.', beginning with a letter or digit",
            )
        if self.kind not in SOURCE_KINDS:
            refuse("kind", self.kind, "one of " + ", ".join(SOURCE_KINDS))
        if not self.site_id:
            refuse("site_id", repr(self.site_id), "the name of a site")
        if self.kind in POWER_KINDS:
            if self.capacity_kw is None or not 0 < self.capacity_kw < math.inf:
                refuse("capacity_kw", self.capacity_kw, "more than 0 kW")
        elif self.capacity_kw is not None:
            refuse("capacity_kw", self.capacity_kw, f"nothing for the kind {self.kind}")
        if self.step_min not in STEPS_MIN:
            refuse("step_min", self.step_min, "one of " + ", ".join(map(str, STEPS_MIN)))
        for name, value, bound in (
            ("latitude", self.latitude, 90),
            ("longitude", self.longitude, 180),
        ):
            if value is not None and not -bound <= value <= bound:
                refuse(name, value, f"degrees from -{bound} to {bound}")
        if not is_time_zone(self.time_zone):
            refuse("time_zone", self.time_zone, "an IANA time zone such as Europe/Brussels")
        if not isinstance(self.parameters, dict):  # a JSON list, for example
            refuse("parameters", self.parameters, "a JSON object")
        delay = self.parameters.get("delay_min", 0)
        is_number = isinstance(delay, int | float) and not isinstance(delay, bool)
        if not is_number or not 0 <= delay <= MOST_DELAY_MIN:
            refuse("delay_min", json.dumps(delay), f"a number from 0 to {MOST_DELAY_MIN} minutes")
        named = self.parameters.get("regressor_of", [])
        if not all(
            isinstance(name, str) for name in (named if isinstance(named, list) else [named])
        ):
            refuse("regressor_of", json.dumps(named), 'source_ids, such as ["load-1", "market-1"]')


def read_sources(path: Path | str) -> list[Source]:
    """Read `sources.csv`.

    Raises
    ------
    DataFileError : there is no such file, or it is not a table of sources.
    SourceError : a row has an impossible value, or a source_id comes twice.
    """
    path = Path(path)
    columns = [item.name for item in fields(Source)]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="", strict=True)
            rows = [(reader.line_num, row) for row in reader]
            head = reader.fieldnames or ()
    except FileNotFoundError:
        raise DataFileError(
            f"{shown(path)}: no such file; run python generation.py, or import real data with "
            "python sources.py import"
        ) from None
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else in_words(error)
        raise DataFileError(
            f"{shown(path)}: cannot be read: {reason}; expected the columns {','.join(columns)}"
        ) from None
    missing = [name for name in columns if name not in head]
    if missing:
        raise DataFileError(
            f"{shown(path)}: column {missing[0]} is missing; expected the columns "
            + ",".join(columns)
        )
    sources = []
    for line, row in rows:
        try:
            if None in row:
                raise ValueError(f"has more than {len(head)} cells")
            sources.append(_source({name: row[name] for name in columns}))
        except (ValueError, SourceError) as error:
            raise SourceError(f"{shown(path)}, line {line}: {error}") from None
    seen: set[str] = set()
    for source in sources:
        if source.source_id in seen:
            raise SourceError(
                f"{shown(path)}: source {source.source_id} comes twice; delete one of its lines"
            )
        seen.add(source.source_id)
    return sources


def _source(row: dict[str, Any]) -> Source:
    """The source of a line's texts; raises ValueError where one is no number or no JSON."""
    for name in ("capacity_kw", "latitude", "longitude"):
        row[name] = float(row[name]) if row[name] else None
    row["step_min"] = int(row["step_min"])
    row["parameters"] = json.loads(row["parameters"] or "{}")
    return Source(**row)


def write_sources(path: Path | str, sources: Iterable[Source]) -> None:
    """Write `sources.csv` under a temporary name and rename it.

    Parameters
    ----------
    path : of the file.
    sources : all that it will hold.

    Raises
    ------
    DataFileError : it cannot be written there.
    """
    path = Path(path)
    with replacing_files(path.parent) as folder:
        sources_table(sources).to_csv(folder / path.name, index=False, lineterminator="\n")


def sources_table(sources: Iterable[Source]) -> pd.DataFrame:
    """Put sources into the rows and columns of `sources.csv`."""
    import pandas as pd

    rows = [
        {item.name: getattr(source, item.name) for item in fields(Source)} for source in sources
    ]
    for row in rows:
        row["parameters"] = json.dumps(row["parameters"], sort_keys=True)
    return pd.DataFrame(rows, columns=[item.name for item in fields(Source)])


def registry(config: Config) -> list[Source]:
    """Read the sources of the data folder; none where there is no `sources.csv` yet."""
    path = config.paths.data_dir / SOURCES_FILE
    return read_sources(path) if path.exists() else []


def find_source(config: Config, source_id: str) -> Source:
    """Find the source of the data folder that has this name.

    Raises
    ------
    ConfigError : there is none; the message gives the nearest names.
    """
    there = read_sources(config.paths.data_dir / SOURCES_FILE)
    sources = {source.source_id: source for source in there}
    check_known("source", source_id, sources)
    return sources[source_id]


def add_to_registry(config: Config, source: Source) -> None:
    """Add a source to `sources.csv` of the data folder.

    Raises
    ------
    SourceError : there is one of this name.
    """
    with locked_folder(config.paths.data_dir):
        sources = registry(config)
        if source.source_id in {other.source_id for other in sources}:
            raise SourceError(
                f"source {source.source_id} exists already; choose another name, or name it with "
                "--id"
            )
        write_sources(config.paths.data_dir / SOURCES_FILE, [*sources, source])
