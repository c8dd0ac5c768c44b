"""Writes synthetic series into the CSV files of a data folder, one source in memory at a time.

python generation.py --days 7
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.files import check_writable, replacing_files
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.site.csv_files import time_text
from vpp.site.kinds import KINDS
from vpp.site.sources import ADDED, IMPORTED, SOURCES_FILE, Source, read_sources, write_sources
from vpp.synthetic.fleet import GenerationError, make_fleet
from vpp.synthetic.picture import add_week, save_plot
from vpp.synthetic.series import World, generate, make_world


def write_files(
    folder: Path, sources: Sequence[Source], world: World
) -> tuple[list[dict], dict[str, dict[str, pd.Series]]]:
    """Write the series and `sources.csv` into a folder, one source in memory at a time.

    Returns
    -------
    The row of each series for the table, and a week of the first site's series to look at: panel ->
    name -> series."""
    import pyarrow as pa
    from pyarrow import csv

    text = pa.array(time_text(world.times))
    writing = None
    options = csv.WriteOptions(
        include_header=False, quoting_style="none"
    )  # a header it would quote
    rows, writers, week = [], {}, {}
    first_site = next((source.site_id for source in sources if source.kind != "market"), None)
    schemas = {
        kind.name: pa.schema(
            [
                (name, pa.float64() if name in kind.value_names else pa.string())
                for name in kind.file_columns
            ]
        )
        for kind in KINDS.values()
    }
    with contextlib.ExitStack() as files:
        for kind, schema in schemas.items():
            file = files.enter_context((folder / KINDS[kind].file).open("wb"))
            file.write(",".join(schema.names).encode() + b"\n")
            writers[kind] = files.enter_context(csv.CSVWriter(file, schema, write_options=options))
        pool = files.enter_context(ThreadPoolExecutor(1))  # writes one table while the next is made
        with terminal.progress("Generating", len(sources)) as advance:
            for kind, source, columns, figures in generate(world, sources):
                arrays = [text.take(pa.array(columns[name])) for name in KINDS[kind].times]
                arrays.append(
                    pa.array([source.source_id]).take(pa.array(np.zeros(len(arrays[0]), np.int8)))
                )
                arrays += [
                    pa.array(columns[column.name].round(column.decimals) + 0.0)
                    for column in KINDS[kind].values
                ]
                if writing:
                    writing.result()
                writing = pool.submit(
                    writers[kind].write_table, pa.Table.from_arrays(arrays, schema=schemas[kind])
                )
                if kind != "weather-forecast":
                    rows.append(table_row(kind, source, columns, figures))
                    advance(1)
                if source.kind == "market" or source.site_id == first_site:
                    add_week(week, kind, source, columns, world)
            writing.result()
    write_sources(folder / SOURCES_FILE, sources)
    return rows, week


def table_row(kind: str, source: Source, columns: dict[str, np.ndarray], figures: dict) -> dict:
    """What a series is like.

    Capacity factor, extremes, correlation of an hour with the next, share of negative prices.
    """
    name = "temp_air" if kind == "weather" else KINDS[kind].value
    values = columns[name]
    per_h = 60 // source.step_min
    return {
        "source_id": source.source_id,
        "value": name,
        "rows": len(values),
        "capacity_kw": source.capacity_kw,
        "capacity_factor": float(values.mean() / source.capacity_kw)
        if source.capacity_kw
        else None,
        "mean": float(values.mean()),
        "min": float(values.min()),
        "max": float(values.max()),
        "corr_next_hour": float(np.corrcoef(values[per_h:], values[:-per_h])[0, 1])
        if np.ptp(values) > 0
        else None,
        "negative": float((values < 0).mean()) if kind == "market" else None,
        "corr_residual_load": figures.get("corr_residual_load"),
    }


def fleet_of(config: Config, folder: Path) -> list[Source]:
    """The configured fleet and the sources that `sources.py add` put into the folder.

    Raises
    ------
    GenerationError : the folder holds imported data.
    """
    path = folder / SOURCES_FILE
    there = read_sources(path) if path.exists() else []
    imported = [source.source_id for source in there if source.parameters.get("origin") == IMPORTED]
    if imported:
        raise GenerationError(
            f"{shown(folder)} holds imported data ({', '.join(imported)}), which would be lost; "
            "name another folder with --output, or run python pipeline.py --data on this one"
        )
    added = {
        source.source_id: source for source in there if source.parameters.get("origin") == ADDED
    }
    fleet = [source for source in make_fleet(config) if source.source_id not in added]
    return fleet + [
        dataclasses.replace(source, step_min=config.generation.step_min)
        for source in added.values()
    ]


def generate_files(config: Config, folder: Path, plot: Path | None = None) -> list[dict]:
    """Generate what the configuration asks for into a folder; returns the rows of the table."""
    if plot and plot.suffix not in (".html", ".png"):
        raise ConfigError(f"--plot {plot}: expected a file that ends in .html or .png")
    if plot:
        check_writable(plot, "--plot")
    sources = fleet_of(config, folder)
    world = make_world(config.generation, config.site.holidays_country)
    with replacing_files(folder) as temporary:
        rows, week = write_files(temporary, sources, world)
    if plot:
        save_plot(week, plot)
    return rows
