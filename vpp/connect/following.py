"""A provider's data as they appear: each round asks for what is newer than the data folder has.

    python sources.py fetch open-meteo --follow
    python sources.py fetch energy-charts --area DE-LU --follow --every 30

A round begins a day before the end of the series that is furthest behind, so that what a provider
corrects comes too. A round that fails is told and changes nothing; the next one asks for what it
left out. `pipeline.py operate` does the same for the providers of `[connect] follow`.
"""

import argparse
import logging
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from vpp.connect.fetching import fetch, save, span
from vpp.connect.web import ProviderError
from vpp.runtime.errors import ConfigError, VppError
from vpp.runtime.settings import Config
from vpp.runtime.tables import print_rows, shown
from vpp.runtime.words import in_words
from vpp.site.csv_files import read_series_file
from vpp.site.kinds import KINDS
from vpp.site.sources import SOURCES_FILE, read_sources

logger = logging.getLogger("sources")
OVERLAP = pd.Timedelta(days=1)  # asked for again: providers correct their newest values
FIRST = pd.Timedelta(days=7)  # of a folder that has nothing of the provider yet
MOST = pd.Timedelta(days=92)  # a series that has ended makes no round longer
AHEAD = pd.Timedelta(days=2)  # prices of tomorrow, and forecasts
EVERY_MIN = (5, 24 * 60)  # polite, and at least daily [min]


def fetch_command(args: argparse.Namespace, config: Config) -> None:
    """The command `fetch`: ask a provider, and write what it answers into a data folder.

    Parameters
    ----------
    args : of `fetching.add_fetch_options`.
    config : names the folder and the provider's address.

    Raises
    ------
    ConfigError : an option is wrong, or one that is needed is missing.
    ProviderError : there is no usable answer; with `--follow` that is told, and asked again.
    """
    options = dict(option.partition("=")[::2] for option in args.option)
    folder = Path(args.output) if args.output else config.paths.data_dir
    if args.follow:
        _follow_command(args, config, options, folder)
        return
    if args.every is not None:
        raise ConfigError("--every: is of --follow; add it, or leave --every out")
    for flag, value in (("--from", args.first), ("--to", args.last)):
        if value is None:
            raise ConfigError(f"{flag} is missing: say a first and a last day, or --follow")
    start, end = span(args.first, args.last)
    found = fetch(config, args.provider, start, end, args.area, options)
    print_rows(save(folder, found), f"{args.provider}: written to {shown(folder)}", args.json)


def _follow_command(
    args: argparse.Namespace, config: Config, options: Mapping[str, str], folder: Path
) -> None:
    every_min = 60.0 if args.every is None else args.every
    if args.last is not None:
        raise ConfigError("--to: has no meaning with --follow, which goes on; leave it out")
    if not EVERY_MIN[0] <= every_min <= EVERY_MIN[1]:
        low, high = EVERY_MIN
        raise ConfigError(f"--every {every_min:g}: expected minutes, {low} to {high}")
    first = None
    if args.first is not None:
        today = f"{pd.Timestamp.now('UTC'):%Y-%m-%d}"
        first, _ = span(args.first, today)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def once(start: pd.Timestamp | None) -> None:
        told = fetch_new(config, args.provider, args.area, options, folder, start)
        print_rows(told, f"{args.provider}: written to {shown(folder)}", args.json)

    follow(once, every_min * 60, stop, first)


def follow(
    once: Callable[[pd.Timestamp | None], object],
    every_s: float,
    stop: threading.Event,
    first: pd.Timestamp | None = None,
) -> None:
    """Fetch at once and then again and again, until told to stop.

    Parameters
    ----------
    once : fetches from a time on [UTC]; None: from where the folder ends.
    every_s : the wait between two rounds [s].
    stop : ends it.
    first : where the first round begins [UTC]; it does until a round has succeeded.

    Raises
    ------
    ConfigError : the request itself is wrong, and would be wrong again.
    """
    while not stop.is_set():
        try:
            once(first)
            first = None
        except ConfigError:
            raise
        except VppError as error:  # of the provider or the folder: the next round may succeed
            logger.error("%s; tried again in %g min", in_words(error), every_s / 60)
        stop.wait(every_s)


def fetch_new(
    config: Config,
    name: str,
    area: str | None = None,
    options: Mapping[str, str] | None = None,
    folder: Path | None = None,
    first: pd.Timestamp | None = None,
) -> list[dict]:
    """Fetch what is new of a provider into a data folder; kept raw answers are not used.

    Parameters
    ----------
    config : the site, the provider's base URL and key.
    name : of the provider.
    area : as the provider names it; default the site's price area.
    options : more words of the provider.
    folder : of the data; default that of the configuration.
    first : where it begins [UTC]; default a day before the end of what the folder has.

    Returns
    -------
    Rows as of `fetching.save`.

    Raises
    ------
    ConfigError, ProviderError : as of `fetching.fetch`; the folder is as before.
    """
    folder, now = folder or config.paths.data_dir, pd.Timestamp.now("UTC")
    start = first if first is not None else known_until(folder, name, now) - OVERLAP
    config = replace(config, connect=replace(config.connect, cache_h=0.0))
    found = fetch(config, name, start.floor("D"), (now + AHEAD).ceil("D"), area, options)
    return save(folder, found)


def known_until(folder: Path, name: str, now: pd.Timestamp) -> pd.Timestamp:
    """The end of that series of a provider which is furthest behind [UTC].

    Parameters
    ----------
    folder : of the data.
    name : of the provider.
    now : at most this is returned; also where there is no series: some days before it.
    """
    path = folder / SOURCES_FILE
    sources = read_sources(path) if path.exists() else []
    ids = {item.source_id for item in sources if item.parameters.get("provider") == name}
    ends = [now] if ids else [now - FIRST]
    for kind in KINDS.values() if ids else ():
        column = kind.times[0]
        rows = read_series_file(folder / kind.file, (column, "source_id"))
        newest = rows[rows["source_id"].isin(ids)].groupby("source_id")[column].max()
        ends += [pd.Timestamp(text) for text in newest]
    return max(min(ends), now - MOST)


def fetch_followed(config: Config) -> None:
    """Fetch what is new of all providers that `[connect] follow` names.

    Parameters
    ----------
    config : names them.

    Raises
    ------
    ProviderError : some of them failed, after all were asked; each is told.
    """
    failures = []
    for text in config.connect.follow:
        name, _, area = text.partition(":")
        try:
            told = fetch_new(config, name, area or None)
        except VppError as error:
            failures.append(in_words(error))
            continue
        new = sum(row["new"] + row["replaced"] for row in told)
        logger.info("%s: %d new or replaced rows", name, new)
    if failures:
        raise ProviderError("; ".join(failures))
