"""The series of an import become sources and rows of the project's files.

    python sources.py import weather.csv --tz UTC --weather ghi:W/m2 --weather temp:C \\
        --weather wind:km/h

Columns of weather become the one weather source of the site; where direct and diffuse irradiance
are missing they are derived from the global one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime.settings import Config, Site
from vpp.site.csv_files import series_frame, time_text
from vpp.site.import_checks import Series
from vpp.site.import_columns import check_currency
from vpp.site.import_rules import issue_rule, with_issues
from vpp.site.kinds import KINDS, WEATHER
from vpp.site.merge import Place, merge_rows, source_of
from vpp.site.quantities import DERIVED
from vpp.site.sources import Source, SourceError


@dataclass
class Made:
    """Sources, rows and notes that an import writes.

    Parameters
    ----------
    added : sources, and the series of each, as they are reported.
    rows : sources, the kind of rows, and these rows.
    notes : what is told.
    """

    added: list[tuple[Source, Series]]
    rows: list[tuple[Source, str, pd.DataFrame]]
    notes: list[str]


def make_sources(
    found: Sequence[Series], config: Config, place: Place, issued: str, extra: dict
) -> Made:
    """Make sources and rows of the series of an import.

    Parameters
    ----------
    found : the series.
    config : the site that the sources belong to, and the currency of its money.
    place : of the sources.
    issued : as `--issued` says it; empty where nothing is a forecast.
    extra : more parameters of the sources of the kind `forecast`.

    Raises
    ------
    SourceError : the weather lacks a quantity.
    ColumnError : a price is in another currency.
    """
    check_currency((series.column for series in found), config.tariff.currency)
    site = config.site
    rule, zone = issue_rule(issued), place.zone or site.time_zone
    made = Made([], [], [])
    weather: dict[str, Series] = {}
    for series in found:
        kind = series.column.kind
        if issued and kind in ("weather", "forecast") and series.issued is None:
            series = with_issues(series, rule, zone)
        if kind == "weather":
            weather[series.column.quantity] = series
            continue
        source = source_of(series, site, place, extra if kind == "forecast" else None)
        made.added.append((source, series))
        frame = (
            series_frame(source, series.values) if kind != "forecast" else _issued(source, series)
        )
        made.rows.append((source, kind, frame))
    if weather:
        _add_weather(made, weather, site, place)
    return made


def write(
    folder: Path, made: Made, rejects: Sequence[tuple], file: str, place: Place
) -> list[dict]:
    """Write sources and rows into a data folder.

    Parameters
    ----------
    folder : of the data.
    made : what is written.
    rejects : line, source_id, time, value and reason of the cells that could not be used.
    file : they come from.
    place : of the sources, as far as it was stated.
    """
    stated = {source.source_id for source, series in made.added if series.column.capacity_kw}
    return merge_rows(folder, made.rows, rejects, file, stated, place)


def _issued(source: Source, series: Series) -> pd.DataFrame:
    """Rows of a forecast as its file has them."""
    (column,) = KINDS["forecast"].values
    assert series.issued is not None
    return pd.DataFrame(
        {
            "issue_time": time_text(series.issued),
            "valid_time": time_text(pd.DatetimeIndex(series.values.index)),
            "source_id": source.source_id,
            column.name: series.values.to_numpy().round(column.decimals),
        }
    )


def _add_weather(made: Made, weather: dict[str, Series], site: Site, place: Place) -> None:
    """Put the columns of weather together as one source."""
    needed = [name for name in WEATHER if name not in DERIVED]
    missing = [name for name in needed if name not in weather]
    if missing:
        raise SourceError(
            f"--weather: {', '.join(missing)} is missing; a site's weather has "
            f"{', '.join(WEATHER)}, of which {' and '.join(DERIVED)} can be derived; name it as "
            "COLUMN:UNIT:QUANTITY, or import a forecast of one quantity with --forecast"
        )
    first = next(iter(weather.values()))
    steps = {series.step_min for series in weather.values()}
    if len(steps) > 1:
        raise SourceError(f"--weather: columns have steps of {sorted(steps)} min; say --step")
    frame = pd.concat([_by_times(name, series) for name, series in weather.items()], axis=1)
    whole = frame.dropna()
    if len(whole) < len(frame):
        made.notes.append(f"weather: {len(frame) - len(whole)} rows lack a quantity: left out")
    if whole.empty:
        raise SourceError("--weather: no row has all quantities")
    source_id = f"weather-{site.site_id}"
    column = replace(first.column, source_id=source_id)
    source = source_of(replace(first, column=column), site, place)
    source = replace(source, name=f"Weather of {site.name}")
    if any(name not in whole for name in DERIVED):
        whole = _with_parts(whole, source)
        made.notes.append("weather: dni and dhi are derived from ghi (Erbs et al., 1982)")
    kind = KINDS["weather" if first.issued is None else "weather-forecast"]
    rows = whole.reset_index()
    table: dict[str, object] = {
        name: time_text(pd.DatetimeIndex(rows[name])) for name in kind.times
    }
    table |= {"source_id": np.full(len(rows), source_id)}
    table |= {item.name: rows[item.name].round(item.decimals).to_numpy() for item in kind.values}
    made.added += [
        (source, replace(series, column=replace(series.column, source_id=name)))
        for name, series in weather.items()
    ]
    made.rows.append((source, kind.name, pd.DataFrame(table)[list(kind.file_columns)]))


def _by_times(name: str, series: Series) -> pd.Series:
    """Values by valid time, and where they are issued by issue and valid time."""
    valid = pd.DatetimeIndex(series.values.index)
    if series.issued is None:
        return series.values.rename(name).rename_axis("time")
    index = pd.MultiIndex.from_arrays([series.issued, valid], names=["issue_time", "valid_time"])
    return pd.Series(series.values.to_numpy(), index, name=name)


def _with_parts(frame: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Direct and diffuse irradiance from the global one, by the clearness of the sky."""
    import pvlib

    valid = pd.DatetimeIndex(frame.index.get_level_values(-1))
    middle = valid + pd.Timedelta(minutes=source.step_min / 2)
    sun = pvlib.solarposition.get_solarposition(middle, source.latitude, source.longitude)
    parts = pvlib.irradiance.erbs(
        frame["ghi"].to_numpy(), sun["zenith"].to_numpy(), middle.dayofyear.to_numpy()
    )
    return frame.assign(
        **{name: np.nan_to_num(parts[name]).clip(min=0) for name in DERIVED if name not in frame}
    )
