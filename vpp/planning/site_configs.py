"""The sites of the database, each with the configuration of its own connection.

    python optimization.py --site site-2,north-*

A database without rows in the table `sites` has one site, whose connection takes all plants and
loads. Reads the tables `sites`, `batteries`, `sources` and `schedule_runs`; writes nothing.
"""

import logging
from dataclasses import replace

from psycopg2.extensions import connection

from vpp.planning.site_series import site_sources
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.site.fleet_files import GridSite, site_config
from vpp.site.kinds import POWER_KINDS
from vpp.site.selection import chosen
from vpp.storage.connection import DataGapError, session
from vpp.storage.measurements import read_sources
from vpp.storage.rows import select_rows
from vpp.storage.sites import read_fleet, read_sites

logger = logging.getLogger("optimization")


def read_configs(conn: connection, config: Config, wanted: str | None = None) -> dict[str, Config]:
    """The configuration of each site.

    Parameters
    ----------
    conn : connection to the database.
    config : of all; it is that of the only site where the table `sites` is empty.
    wanted : only these sites, as of `chosen`.

    Returns
    -------
    By site, in the order of their names.

    Raises
    ------
    ConfigError : a site is not known.
    """
    sites, fleet = read_sites(conn), read_fleet(conn)
    home = config.site.site_id
    if not sites:
        chosen([home], wanted)
        sections = {battery.battery_id for battery in config.batteries}
        own = [one for one in fleet.get(home, ()) if one.battery_id not in sections]
        return {home: replace(config, batteries=(*config.batteries, *own)) if own else config}
    known = {site.site_id for site in sites}
    step = _common_step(conn)
    _warn_of_devices(config, known)
    names = chosen(sorted(known), wanted)
    rows: dict[str, GridSite] = {site.site_id: site for site in sites}
    return {name: site_config(config, rows[name], fleet.get(name, ()), step) for name in names}


def check_prices(config: Config) -> None:
    """Refuse a site without the prices that it pays, before its models are trained.

    Of several sites one that lacks them does not stop the others: its plan says so.

    Parameters
    ----------
    config : of all sites.

    Raises
    ------
    ConfigError : the tariff needs a market price, and there is none, or more than one.
    DataGapError : there are no plants and loads.
    """
    with session(config) as conn:
        first, *others = read_configs(conn, config).values()
        if not others and first.portfolio_step_min is None:
            site_sources(conn, first)


def _common_step(conn: connection) -> int:
    """The finest step of any plant, load or price [min]: that of the plans of all sites."""
    kinds = (*POWER_KINDS, "market")
    steps = [source.step_min for source in read_sources(conn) if source.kind in kinds]
    return min(steps, default=60)


def _warn_of_devices(config: Config, known: set[str]) -> None:
    """Name devices of the configuration whose site has no row in the table `sites`."""
    sections = {
        "battery": [one.battery_id for one in config.batteries],
        "vehicle": [one.vehicle_id for one in config.vehicles],
        "deferrable": [one.load_id for one in config.deferrable_loads],
        "heat": [one.store_id for one in config.heat_stores],
    }
    for word, names in sections.items():
        for name in names:
            site = config.device_sites.get(name, config.site.site_id)
            if site not in known:
                what = "[%s:%s] stands at %s, which sites.csv does not have: it is not planned;"
                logger.warning(what + " name its site with site_id", word, name, site)


def newest_plans(conn: connection, config: Config, wanted: str) -> dict[str, str]:
    """The newest plan of each site that a person asks for.

    Parameters
    ----------
    conn : connection to the database.
    config : of all sites.
    wanted : the sites, as of `chosen`.

    Returns
    -------
    run_id by site; a site without a plan is left out.

    Raises
    ------
    ConfigError : a site is not known.
    """
    names = list(read_configs(conn, config, wanted))
    query = """
        SELECT DISTINCT ON (site_id) site_id, run_id FROM schedule_runs
        WHERE kind = 'plan' AND site_id = ANY(%s) ORDER BY site_id, created_at DESC"""
    return {row["site_id"]: row["run_id"] for row in select_rows(conn, query, (names,))}


def plan_of_site(conn: connection, config: Config, wanted: str | None) -> str | None:
    """The newest plan of the one site that a person asks for; None where none is asked for.

    Parameters
    ----------
    conn : connection to the database.
    config : of all sites.
    wanted : the site.

    Raises
    ------
    ConfigError : it is not known, or is more than one.
    DataGapError : it has no plan.
    """
    if wanted is None:
        return None
    names = list(read_configs(conn, config, wanted))
    if len(names) > 1:
        raise ConfigError(f"--site {wanted}: expected one site here, not {len(names)}")
    found = newest_plans(conn, config, names[0])
    if not found:
        raise DataGapError(f"{names[0]} has no plan; run python optimization.py")
    return found[names[0]]
