"""Joins a fleet's files to those of the data folder: `sites.csv` and `batteries.csv`.

    python sources.py import-fleet batteries.csv --sites sites.csv

All files are read and checked before any is written.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from vpp.runtime.errors import check_known, one_of
from vpp.runtime.files import locked_folder, replacing_files
from vpp.runtime.plant_settings import BatteryParameters
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.site.fleet_files import (
    BATTERIES_FILE,
    SITES_FILE,
    FleetBattery,
    GridSite,
    read_fleet,
    read_sites,
    site_config,
    sites_table,
)
from vpp.site.selection import chosen
from vpp.site.sources import SourceError, registry


def folder_sites(config: Config) -> list[GridSite]:
    """The sites of the data folder; none where there is no `sites.csv`."""
    path = config.paths.data_dir / SITES_FILE
    return read_sites(path) if path.exists() else []


def folder_fleet(config: Config) -> list[FleetBattery]:
    """The batteries of the data folder's fleet; none where there is no `batteries.csv`."""
    path = config.paths.data_dir / BATTERIES_FILE
    return read_fleet(path, config.site.site_id) if path.exists() else []


def check_sites(config: Config, sites: Sequence[GridSite], fleet: Sequence[FleetBattery]) -> None:
    """Refuse batteries at sites that nobody states, or that a section of the configuration states.

    Parameters
    ----------
    config : states the site of `[site]`, and batteries of its own.
    sites : of `sites.csv`.
    fleet : the batteries.

    Raises
    ------
    SourceError : there is one; names it, and the sites that there are.
    """
    known = {config.site.site_id, *(site.site_id for site in sites)}
    own = {battery.battery_id for battery in config.batteries}
    for one in fleet:
        name = one.battery.battery_id
        if one.site_id not in known:
            raise SourceError(
                f"battery {name}: site {one.site_id} is unknown; {one_of(one.site_id, known)}; "
                f"state it in {SITES_FILE}"
            )
        if name in own:
            raise SourceError(
                f"battery {name}: {config.path} has a section [battery:{name}]; expected a "
                "battery either there or in the fleet"
            )


def import_fleet(
    config: Config, paths: Sequence[Path], sites_path: Path | None = None
) -> tuple[list[GridSite], list[FleetBattery], int]:
    """Join batteries, and sites, to those of the data folder; one of the same name is replaced.

    Parameters
    ----------
    config : names the data folder.
    paths : files of batteries.
    sites_path : file of sites.

    Returns
    -------
    All sites and all batteries of the folder, and how many batteries the files have.

    Raises
    ------
    DataFileError, SourceError : a file cannot be read, or a row is impossible; nothing is written.
    """
    folder = config.paths.data_dir
    with locked_folder(folder):
        sites = {site.site_id: site for site in folder_sites(config)}
        if sites_path is not None:
            sites |= {site.site_id: site for site in read_sites(sites_path)}
        fleet = {one.battery.battery_id: one for one in folder_fleet(config)}
        read: dict[str, Path] = {}
        for path in paths:
            for one in read_fleet(path, config.site.site_id if not sites else ""):
                name = one.battery.battery_id
                if name in read:
                    raise SourceError(
                        f"{shown(path)}: battery {name} stands in {shown(read[name])} already; "
                        "expected each once"
                    )
                read[name], fleet[name] = path, one
        check_sites(config, list(sites.values()), list(fleet.values()))
        with replacing_files(folder) as temporary:
            if sites_path is not None:
                frame = sites_table(sites.values())
                frame.to_csv(temporary / SITES_FILE, index=False, lineterminator="\n")
            write_fleet(temporary / BATTERIES_FILE, list(fleet.values()))
    return list(sites.values()), list(fleet.values()), len(read)


def write_fleet(path: Path, fleet: Sequence[FleetBattery]) -> None:
    """Write `batteries.csv`.

    Parameters
    ----------
    path : the file.
    fleet : its rows.
    """
    import pandas as pd

    rows = [{"site_id": one.site_id} | asdict(one.battery) for one in fleet]
    names = list(BatteryParameters.__dataclass_fields__)
    columns = [names[0], "site_id", *names[1:]]
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False, lineterminator="\n")


def add_fleet_options(command: argparse.ArgumentParser) -> None:
    """Give `import-fleet` its options."""
    about = "a CSV with battery_id, site_id and the parameters of batteries"
    command.add_argument("file", nargs="+", metavar="FILE", help=about)
    about = "a CSV with the sites and their grid connections"
    command.add_argument("--sites", type=Path, metavar="FILE", dest="sites_file", help=about)


def site_of_folder(config: Config, site_id: str | None) -> Config:
    """The configuration of a site of the data folder.

    Parameters
    ----------
    config : of all.
    site_id : its name; None for the one of `[site]`.

    Raises
    ------
    ConfigError : there is no such site.
    """
    if site_id in (None, config.site.site_id):
        return config
    sites = {site.site_id: site for site in folder_sites(config)}
    check_known("--site", site_id, [config.site.site_id, *sites])
    return site_config(config, sites[str(site_id)])


def site_rows(config: Config, wanted: str | None) -> list[dict]:
    """The sites of the data folder as rows to print.

    Parameters
    ----------
    config : names the data folder; its `[site]` is the only one where there is no `sites.csv`.
    wanted : only these sites, as of `vpp.site.selection.chosen`.

    Returns
    -------
    Name, place, limits [kW], tariff, and the number of sources and of batteries of each.
    """
    sites = folder_sites(config) or [GridSite(config.site.site_id)]
    named, fleet = chosen([site.site_id for site in sites], wanted), folder_fleet(config)
    rows, sources = [], registry(config)
    for site in (site for site in sites if site.site_id in named):
        own = site_config(config, site)
        batteries = sum(one.site_id == site.site_id for one in fleet) + len(own.batteries)
        rows.append(
            {
                "site_id": site.site_id,
                "name": own.site.name,
                "price_area": own.site.price_area,
                "time_zone": own.site.time_zone,
                "import_limit_kw": own.grid.import_limit_kw,
                "export_limit_kw": own.grid.export_limit_kw,
                "tariff": own.tariff.import_eur_per_mwh,
                "sources": sum(source.site_id == site.site_id for source in sources),
                "batteries": batteries,
            }
        )
    return rows
