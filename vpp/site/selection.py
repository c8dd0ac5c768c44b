"""Sites that a person asks for: one, a group or all.

python optimization.py --site site-2,north-*
"""

import argparse
import fnmatch
from collections.abc import Iterable

from vpp.runtime.errors import ConfigError, one_of


def chosen(names: Iterable[str], wanted: str | None) -> list[str]:
    """The sites that a person asks for.

    Parameters
    ----------
    names : all that there are.
    wanted : names and patterns such as `north-*`, with commas; None or `all`: all of them.

    Raises
    ------
    ConfigError : one fits no site; gives the nearest.
    """
    names = list(names)
    if wanted is None or wanted.strip() == "all":
        return names
    found: dict[str, None] = {}
    for part in filter(None, (part.strip() for part in wanted.split(","))):
        fitting = [name for name in names if fnmatch.fnmatchcase(name, part)]
        if not fitting:
            raise ConfigError(f"--site {part}: no such site; {one_of(part, names)}")
        found |= dict.fromkeys(fitting)
    if not found:
        raise ConfigError(f"--site {wanted!r}: {one_of('', names)}")
    return list(found)


def add_site_option(
    parser: argparse.ArgumentParser, default: str | None = None, dest: str = "sites"
) -> None:
    """Give a command the option `--site`.

    Parameters
    ----------
    parser : of the command.
    default : what is taken without the option.
    dest : where its value goes.
    """
    about = "only these sites: names and patterns such as north-*, with commas (default: all)"
    parser.add_argument("--site", metavar="SITES", dest=dest, default=default, help=about)
