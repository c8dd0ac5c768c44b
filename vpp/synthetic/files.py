"""Writes synthetic series into the CSV files of a data folder, one source in memory at a time.

python generation.py --days 7
"""

import contextlib
import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.runtime import terminal
from vpp.runtime.errors import ConfigError
from vpp.runtime.files import check_writable, replacing_files
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.site.csv_files import time_text
from vpp.site.fleet_files import BATTERIES_FILE, SITES_FILE, sites_table
from vpp.site.fleet_import import write_fleet
from vpp.site.kinds import KINDS
from vpp.site.sources import ADDED, IMPORTED, SOURCES_FILE, Source, read_sources, write_sources
from vpp.synthetic.fleet import GenerationError, make_batteries, make_fleet, make_sites
from vpp.synthetic.picture import add_week, save_plot
from vpp.synthetic.series import World, generate, make_world


class _SeriesWriter:
    """Writes series into the CSV files of a folder, one while the next is made.

    Parameters
    ----------
    folder : of the files, which are made anew.
    times : of the world, as text.
    files : closes the files at the end.
    """

    def __init__(self, folder: Path, times: np.ndarray, files: contextlib.ExitStack) -> None:
        import pyarrow as pa
        from pyarrow import csv

        self.times, self.schemas, self.writers = pa.array(times), {}, {}
        # pyarrow would put the header in quotes, so we write it ourselves
        options = csv.WriteOptions(include_header=False, quoting_style="none")
        for kind in (kind for kind in KINDS.values() if kind.source_kind != "forecast"):
            columns = [
                (name, pa.float64() if name in kind.value_names else pa.string())
                for name in kind.file_columns
            ]
            schema = self.schemas[kind.name] = pa.schema(columns)
            file = files.enter_context((folder / kind.file).open("wb"))
            file.write(",".join(schema.names).encode() + b"\n")
            writer = csv.CSVWriter(file, schema, write_options=options)
            self.writers[kind.name] = files.enter_context(writer)
        self.pool = files.enter_context(ThreadPoolExecutor(1))
        self.writing: Future | None = None

    def write(self, kind: str, source: Source, columns: dict[str, np.ndarray]) -> None:
        """Write a series as `generate` yields it; the one before is written then."""
        import pyarrow as pa

        arrays = [self.times.take(pa.array(columns[name])) for name in KINDS[kind].times]
        same = pa.array(np.zeros(len(arrays[0]), np.int8))
        arrays.append(pa.array([source.source_id]).take(same))
        arrays += [  # adding 0 turns a -0 into 0
            pa.array(columns[column.name].round(column.decimals) + 0.0)
            for column in KINDS[kind].values
        ]
        table = pa.Table.from_arrays(arrays, schema=self.schemas[kind])
        self.wait()
        self.writing = self.pool.submit(self.writers[kind].write_table, table)

    def wait(self) -> None:
        """Wait until all is written; raises what the writing raised."""
        if self.writing is not None:
            self.writing.result()


def write_files(
    folder: Path, sources: Sequence[Source], world: World
) -> tuple[list[dict], dict[str, dict[str, pd.Series]]]:
    """Write the series and `sources.csv` into a folder, one source in memory at a time.

    Parameters
    ----------
    folder : of the files.
    sources : that are made.
    world : seed and period.

    Returns
    -------
    The row of each series for the table, and a week of the first site's series to look at: panel ->
    name -> series.
    """
    rows: list[dict] = []
    week: dict[str, dict[str, pd.Series]] = {}
    first_site = next((source.site_id for source in sources if source.kind != "market"), None)
    with contextlib.ExitStack() as files:
        writer = _SeriesWriter(folder, time_text(world.times), files)
        with terminal.progress("Generating", len(sources)) as advance:
            for kind, source, columns, figures in generate(world, sources):
                writer.write(kind, source, columns)
                if kind != "weather-forecast":
                    rows.append(table_row(kind, source, columns, figures))
                    advance(1)
                if source.kind == "market" or source.site_id == first_site:
                    add_week(week, kind, source, columns, world)
            writer.wait()
    write_sources(folder / SOURCES_FILE, sources)
    return rows, week


def write_connections(folder: Path, config: Config) -> None:
    """Write `sites.csv`, where there are several sites, and `batteries.csv`, where some are wanted.

    Parameters
    ----------
    folder : of the files.
    config : says what is wanted.
    """
    if config.generation.sites > 1:
        frame = sites_table(make_sites(config))
        frame.to_csv(folder / SITES_FILE, index=False, lineterminator="\n")
    if config.generation.batteries:
        write_fleet(folder / BATTERIES_FILE, make_batteries(config))


def table_row(kind: str, source: Source, columns: dict[str, np.ndarray], figures: dict) -> dict:
    """Describe a series by its capacity factor, extremes, persistence and negative prices.

    Parameters
    ----------
    kind, source, columns, figures : as `generate` yields them.
    """
    name = "temp_air" if kind == "weather" else KINDS[kind].value
    values = columns[name]
    per_h, capacity_kw = 60 // source.step_min, source.capacity_kw
    varies = np.ptp(values) > 0
    return {
        "source_id": source.source_id,
        "value": name,
        "rows": len(values),
        "capacity_kw": capacity_kw,
        "capacity_factor": float(values.mean() / capacity_kw) if capacity_kw else None,
        "mean": float(values.mean()),
        "min": float(values.min()),
        "max": float(values.max()),
        "corr_next_hour": _correlation(values[per_h:], values[:-per_h]) if varies else None,
        "negative": float((values < 0).mean()) if kind == "market" else None,
        "corr_residual_load": figures.get("corr_residual_load"),
    }


def _correlation(values: np.ndarray, others: np.ndarray) -> float:
    return float(np.corrcoef(values, others)[0, 1])


def fleet_of(config: Config, folder: Path) -> list[Source]:
    """List the configured fleet, and the sources that `sources.py add` put into the folder.

    Raises
    ------
    GenerationError : the folder holds imported data.
    """
    path = folder / SOURCES_FILE
    there = read_sources(path) if os.path.exists(path) else []
    imported = [source.source_id for source in there if source.parameters.get("origin") == IMPORTED]
    if imported:
        raise GenerationError(
            f"{shown(folder)} holds imported data ({', '.join(imported)}), which would be lost; "
            "name another folder with --output, or run python pipeline.py --data on this one"
        )
    added = [source for source in there if source.parameters.get("origin") == ADDED]
    names = {source.source_id for source in added}
    fleet = [source for source in make_fleet(config) if source.source_id not in names]
    step_min = config.generation.step_min
    return fleet + [dataclasses.replace(source, step_min=step_min) for source in added]


def generate_files(config: Config, folder: Path, plot: Path | None = None) -> list[dict]:
    """Generate what the configuration asks for into a folder, all files or none.

    Parameters
    ----------
    folder : of the files.
    plot : picture of a week, where one is wanted (.html or .png).

    Returns
    -------
    A row for each series (`table_row`).

    Raises
    ------
    ConfigError : the picture cannot be written, or the period is impossible.
    GenerationError : the folder holds imported data.
    """
    if plot and plot.suffix not in (".html", ".png"):
        raise ConfigError(f"--plot {plot}: expected a file that ends in .html or .png")
    if plot:
        check_writable(plot, "--plot")
    sources = fleet_of(config, folder)
    world = make_world(config.generation, config.site.holidays_country)
    with replacing_files(folder) as temporary:
        rows, week = write_files(temporary, sources, world)
        write_connections(temporary, config)
    if config.generation.sites == 1:
        (folder / SITES_FILE).unlink(missing_ok=True)  # of sites that are no more
    if plot:
        save_plot(week, plot)
    return rows
