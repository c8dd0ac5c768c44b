"""Answers of providers join the data folder: checked, merged, all or nothing.

python sources.py fetch open-meteo --from 2025-01-01 --to 2025-01-31 --output data
"""

import argparse
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vpp.connect.answers import FETCHED, Fetched, Wanted
from vpp.connect.catalogue import PROVIDERS, Provider
from vpp.connect.web import ProviderError, Web
from vpp.runtime.errors import ConfigError, check_known
from vpp.runtime.files import locked_folder
from vpp.runtime.places import make_private
from vpp.runtime.settings import Config
from vpp.runtime.tables import shown
from vpp.site.csv_files import read_series_file, save_rows, time_text
from vpp.site.kinds import KINDS, Kind
from vpp.site.sources import SOURCES_FILE, Source, SourceError, read_sources

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
        _check_possible(config, name, item)
    return found


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
    make_private(config.paths.state_dir)
    kept = config.paths.state_dir / "fetched" / name
    base_url = getattr(config.connect, provider.url_key)
    return Web(name, base_url, kept, config.connect.cache_h, secrets)


def _check_possible(config: Config, name: str, item: Fetched) -> None:
    """Refuse values that are impossible in number; leave out single ones, saying so."""
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
    if wrong.any():
        logger.warning(
            "%s: %d impossible values are left out", item.source.source_id, int(wrong.sum())
        )
        item.rows.drop(index=item.rows.index[wrong], inplace=True)


def save(folder: Path, found: Sequence[Fetched]) -> list[dict]:
    """Write what was fetched into a data folder; a newer value takes the place of an older one.

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
    SourceError : a source of this name is there that was not fetched, or has another step.
    DataFileError : the folder cannot be read or written.
    """
    with locked_folder(folder):
        path = folder / SOURCES_FILE
        there = {item.source_id: item for item in read_sources(path)} if path.exists() else {}
        added, told = [], []
        for item in found:
            source = _same(item.source, there.get(item.source.source_id), folder)
            rows, counts = _joined(folder, source, KINDS[item.kind], item.rows)
            added.append((source, item.kind, rows))
            terms = {name: source.parameters[name] for name in ("licence", "attribution")}
            told.append({"source_id": source.source_id, "kind": item.kind} | counts | terms)
        save_rows(folder, added)
    return told


def _same(source: Source, before: Source | None, folder: Path) -> Source:
    """The source with the larger of both capacities; refuses one that is another's."""
    if before is None:
        return source
    if before.parameters.get("origin") != FETCHED or before.kind != source.kind:
        raise SourceError(
            f"{shown(folder)} has a {before.kind} source {source.source_id} already, which was not"
            " fetched; python sources.py remove takes it out, --output names another folder"
        )
    if before.step_min != source.step_min:
        raise SourceError(
            f"source {source.source_id} of {shown(folder)} has a step of {before.step_min} min, the"
            f" answer {source.step_min} min; fetch the whole span again into another --output"
        )
    if source.capacity_kw is None:
        return source
    capacity = max(source.capacity_kw, before.capacity_kw or 0.0)
    return Source(**{**vars(source), "capacity_kw": capacity})


def _joined(
    folder: Path, source: Source, kind: Kind, rows: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, int]]:
    """All rows of a source and kind as its file has them, and what became of them."""
    columns: dict[str, Iterable] = {
        name: time_text(pd.DatetimeIndex(rows[name])) for name in kind.times
    }
    columns |= {"source_id": np.full(len(rows), source.source_id)}
    columns |= {item.name: rows[item.name].round(item.decimals).to_numpy() for item in kind.values}
    new = pd.DataFrame(columns)[list(kind.file_columns)]
    old = read_series_file(folder / kind.file, kind.file_columns)
    old = old.loc[old["source_id"] == source.source_id, list(kind.file_columns)]
    keys = list(kind.times)
    place = pd.MultiIndex.from_frame(old[keys]).get_indexer(pd.MultiIndex.from_frame(new[keys]))
    known = place >= 0
    names = list(kind.value_names)
    earlier = old[names].apply(pd.to_numeric, errors="coerce").to_numpy(float)[place[known]]
    same = np.isclose(earlier, new.loc[known, names].to_numpy(float), rtol=0, atol=1e-9).all(axis=1)
    kept = old[~np.isin(np.arange(len(old)), place[known])]
    counts = {
        "new": int((~known).sum()),
        "replaced": int((~same).sum()),
        "unchanged": int(same.sum()),
        "kept": len(kept),
    }
    joined = pd.concat([kept, new]) if len(kept) else new
    return joined.sort_values(keys, kind="stable"), counts


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
    if not start < end or math.isnan((end - start).total_seconds()):
        raise ConfigError(f"--from {first} --to {last}: expected a first day before the last")
    return start, end


def add_fetch_options(command: argparse.ArgumentParser) -> None:
    """Give the command `fetch` its options."""
    about = "; ".join(f"{name}: {provider.about}" for name, provider in PROVIDERS.items())
    command.add_argument("provider", metavar="PROVIDER", choices=PROVIDERS, help=about)
    about = "first day, or a time with its zone"
    command.add_argument("--from", dest="first", required=True, metavar="DATE", help=about)
    about = "last day, which is included, or a time with its zone"
    command.add_argument("--to", dest="last", required=True, metavar="DATE", help=about)
    about = "bidding zone, country or tariff (default: the price_area of the configuration)"
    command.add_argument("--area", help=about)
    about = "more for the provider, such as peak_kw=8; may come several times"
    command.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help=about)
    about = "folder to write (default: data_dir of the configuration)"
    command.add_argument("--output", metavar="DIR", help=about)
