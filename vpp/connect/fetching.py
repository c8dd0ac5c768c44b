"""Answers of providers join the data folder: checked, merged, all or nothing.

python sources.py fetch open-meteo --from 2025-01-01 --to 2025-01-31 --output data
"""

import argparse
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.connect.answers import Fetched, Wanted
from vpp.connect.catalogue import PROVIDERS, Provider
from vpp.connect.web import ProviderError, Web
from vpp.runtime.errors import ConfigError, check_known
from vpp.runtime.settings import Config
from vpp.site.csv_files import time_text
from vpp.site.kinds import KINDS
from vpp.site.merge import merge_rows

logger = logging.getLogger("sources")
IMPOSSIBLE_SHARE = 0.05  # more impossible values than these are no faults of single intervals


def fetch(
    config: Config,
    name: str,
    start: pd.Timestamp,
    end: pd.Timestamp,
    area: str | None = None,
    options: Mapping[str, str] | None = None,
) -> list[Fetched]:
    """Ask a provider.

    Parameters
    ----------
    config : the site, the provider's base URL and key.
    name : of the provider.
    start, end : the span [UTC], without its end.
    area : as the provider names it; default the site's price area.
    options : more words of the provider.

    Returns
    -------
    Its answer by source and kind; nothing is written.

    Raises
    ------
    ConfigError : the provider is unknown, or its key is missing.
    ProviderError : there is no usable answer.
    """
    check_known("provider", name, PROVIDERS)
    provider = PROVIDERS[name]
    for option in options or ():
        check_known(f"option of {name}", option, provider.options)
    wanted = Wanted(
        start,
        end,
        config.site,
        area or config.site.price_area,
        pd.Timestamp.now("UTC"),
        dict(options or {}),
    )
    found = provider.fetch(_web(config, name, provider), wanted)
    for item in found:
        for note in item.notes:
            logger.warning("%s: %s", item.source.source_id, note)
    return [_possible(config, name, _named(item, name)) for item in found]


def _named(item: Fetched, name: str) -> Fetched:
    """A fetched series whose source remembers its provider."""
    parameters = item.source.parameters | {"provider": name}
    return replace(item, source=replace(item.source, parameters=parameters))


def _web(config: Config, name: str, provider: Provider) -> Web:
    secrets = {}
    if provider.key is not None:
        key, parameter = provider.key
        secrets[parameter] = getattr(config.connect, key)
        if not secrets[parameter]:
            raise ConfigError(
                f"{config.path}: [connect] {key} is empty; {name} needs a key of your own, there "
                f"or in VPP_{key.upper()}"
            )
    kept = config.paths.state_dir / "fetched" / name
    base_url = getattr(config.connect, provider.url_key)
    return Web(name, base_url, kept, config.connect.cache_h, secrets)


def _possible(config: Config, name: str, item: Fetched) -> Fetched:
    """A fetched series without single impossible values; refuses many of them."""
    kind, wrong = KINDS[item.kind], np.zeros(len(item.rows), dtype=bool)
    for column in kind.values:
        values = item.rows[column.name].to_numpy(float)
        low, high = column.least, column.most
        if kind.name == "market":
            low, high = config.kafka.price_min_eur_per_mwh, config.kafka.price_max_eur_per_mwh
        elif kind.share is not None and item.source.capacity_kw:
            low, high = (share * item.source.capacity_kw for share in kind.share)
        wrong |= ~((values >= low) & (values <= high)) | ~np.isfinite(values)
    if wrong.sum() > IMPOSSIBLE_SHARE * len(wrong):
        raise ProviderError(
            f"{name}: {wrong.sum()} of {len(wrong)} values of {item.source.source_id} are "
            "impossible; the unit of the answer has changed, or the area is another one"
        )
    if not wrong.any():
        return item
    count = int(wrong.sum())
    logger.warning("%s: %d impossible values are left out", item.source.source_id, count)
    return replace(item, rows=item.rows[~wrong])


def save(folder: Path, found: Sequence[Fetched]) -> list[dict]:
    """Write what was fetched into a data folder; a newer value takes the place of an older one.

    A series whose step has changed since the last fetch goes on on the finer step.

    Parameters
    ----------
    folder : of the data.
    found : as fetched.

    Returns
    -------
    A row for each kind of rows of each source: how many are new, replaced, unchanged and kept, with
    licence and attribution.

    Raises
    ------
    SourceError : a source of this name is of another kind or has another step.
    DataFileError : the folder cannot be read or written.
    """
    rows = [(item.source, item.kind, _file_rows(item)) for item in found]
    told = []
    for item, counts in zip(found, merge_rows(folder, rows, finer=True), strict=True):
        terms = {name: item.source.parameters[name] for name in ("licence", "attribution")}
        told.append({"source_id": counts.pop("source_id"), "kind": item.kind} | counts | terms)
    return told


def _file_rows(item: Fetched) -> pd.DataFrame:
    """Rows as the file of their kind has them."""
    kind, source_id = KINDS[item.kind], item.source.source_id
    columns: dict[str, object] = {
        name: time_text(pd.DatetimeIndex(item.rows[name])) for name in kind.times
    }
    columns |= {"source_id": np.full(len(item.rows), source_id)}
    columns |= {
        value.name: item.rows[value.name].round(value.decimals).to_numpy() for value in kind.values
    }
    return pd.DataFrame(columns)[list(kind.file_columns)]


def span(first: str, last: str) -> tuple[pd.Timestamp, pd.Timestamp]:
    """The span of two dates or times of the command line [UTC].

    Parameters
    ----------
    first, last : dates such as 2025-01-31, of which the last is included, or times with a zone.

    Raises
    ------
    ConfigError : one is neither, or the last is before the first.
    """
    found = []
    for flag, text in (("--from", first), ("--to", last)):
        try:
            time = pd.Timestamp(text)
        except ValueError:
            time = pd.NaT
        whole = len(text) <= 10
        if time is pd.NaT or (time.tzinfo is None and not whole):
            raise ConfigError(
                f"{flag} {text}: expected a date such as 2025-01-31, or a time with its zone"
            )
        time = time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")
        found.append(time + pd.Timedelta(days=1) if whole and flag == "--to" else time)
    start, end = found
    if not start < end:
        raise ConfigError(f"--from {first} --to {last}: expected a first day before the last")
    return start, end


def add_fetch_options(command: argparse.ArgumentParser) -> None:
    """Give the command `fetch` its options."""
    about = "; ".join(f"{name}: {provider.about}" for name, provider in PROVIDERS.items())
    command.add_argument("provider", metavar="PROVIDER", choices=PROVIDERS, help=about)
    about = "first day, or a time with its zone"
    command.add_argument("--from", dest="first", metavar="DATE", help=about)
    about = "last day, which is included, or a time with its zone"
    command.add_argument("--to", dest="last", metavar="DATE", help=about)
    about = "keep fetching what is new, until Ctrl-C or SIGTERM"
    command.add_argument("--follow", action="store_true", help=about)
    about = "with --follow: wait so long between two rounds (default: 60)"
    command.add_argument("--every", type=float, metavar="MIN", help=about)
    about = "bidding zone, country or tariff (default: the price_area of the configuration)"
    command.add_argument("--area", help=about)
    about = "more for the provider, such as peak_kw=8; may come several times"
    command.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=about)
    about = "folder to write (default: data_dir of the configuration)"
    command.add_argument("--output", metavar="DIR", help=about)
