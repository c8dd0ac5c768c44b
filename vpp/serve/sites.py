"""The sites over HTTP: a list of them, and the other answers of one that a query names.

python serve.py
"""

from collections.abc import Callable

from psycopg2.extensions import connection

from vpp.planning.site_configs import newest_plans, read_configs
from vpp.runtime.errors import ConfigError
from vpp.runtime.settings import Config
from vpp.serve.answers import NotFoundError
from vpp.storage.sites import read_site_plans

Read = Callable[..., object]


def read_of_site(
    conn: connection, config: Config, read: Read, site: str | None, *args: object
) -> object:
    """The answer that a function reads of a site.

    Parameters
    ----------
    conn : the connection.
    config : of all sites.
    read : takes the connection, the site's configuration and further arguments.
    site : its site_id; None for the one of `[site]`.
    *args : the further arguments.

    Raises
    ------
    NotFoundError : there is no such site.
    """
    if site is None:
        return read(conn, config, *args)
    configs = _configs(conn, config, None)
    if site not in configs:
        raise NotFoundError(f"site {site!r}: there is no such site")
    return read(conn, configs[site], *args)


def read_sites(conn: connection, config: Config, wanted: str | None = None) -> dict:
    """The sites, each with its newest plan.

    Parameters
    ----------
    conn : the connection.
    config : of all sites.
    wanted : only these, as of `vpp.site.selection.chosen`.

    Returns
    -------
    sites: site_id, name, limits [kW], number of batteries, and the row of the newest plan without
    its basis, or null.

    Raises
    ------
    NotFoundError : one fits no site.
    """
    configs = _configs(conn, config, wanted)
    runs = newest_plans(conn, config, wanted or "all").values()
    plans = {row["site_id"]: row for row in read_site_plans(conn, list(runs))}
    return {
        "sites": [
            {
                "site_id": name,
                "name": own.site.name,
                "price_area": own.site.price_area,
                "import_limit_kw": _finite(own.grid.import_limit_kw),
                "export_limit_kw": _finite(own.grid.export_limit_kw),
                "batteries": len(own.batteries),
                "plan": plans.get(name),
            }
            for name, own in configs.items()
        ]
    }


def _configs(conn: connection, config: Config, wanted: str | None) -> dict[str, Config]:
    try:
        return read_configs(conn, config, wanted)
    except ConfigError as error:
        raise NotFoundError(str(error).removeprefix("--")) from None


def _finite(limit_kw: float) -> float | None:
    """A limit, for which JSON has no infinity."""
    return limit_kw if limit_kw < float("inf") else None
