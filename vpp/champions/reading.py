"""The champions of many sources, read from the model store.

    python forecast_and_save.py

The embedded store is a file of SQLite. Its champions are read from the file itself, because
importing MLflow takes longer than a forecast. Where the file is not as this code knows it, and for
a server, MLflow is asked. Reads only; nobody opens a model before its digest is checked
(`registry.load_champion`)."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

from vpp.champions.registry import (
    ALIAS,
    Champion,
    ModelStoreError,
    champion_of,
    open_store,
    pool_name,
    read_champion,
    registered_among,
    registered_name,
)
from vpp.champions.requests import reason_of
from vpp.runtime.settings import EMBEDDED, Config
from vpp.runtime.words import in_words
from vpp.site.kinds import POWER_KINDS
from vpp.site.sources import Source

LISTED = 50  # more sources than these are looked up by one listing
BUSY_S = 20.0  # that a training may write at most while its store is read
Version = tuple[str, str, dict[str, str]]  # of a model: number, where its files are, tags


def read_champions(
    config: Config, sources: Sequence[Source]
) -> tuple[dict[str, Champion], dict[str, tuple[str, ...]]]:
    """The champion of each source that has one; where it cannot be read, why.

    That of a source whose kind has a model for all, made after its own, is the former.

    Parameters
    ----------
    config : names the store.
    sources : whose champions are wanted.
    """
    names = [source.source_id for source in sources]
    kinds = sorted({source.kind for source in sources} & set(POWER_KINDS))
    found, trouble = dict[str, Champion](), dict[str, tuple[str, ...]]()
    versions = stored_versions(config)
    try:
        if versions is None:
            client = open_store(config)
            wanted = names if len(names) <= LISTED else registered_among(client, names)
        else:
            wanted = [name for name in names if registered_name(name) in versions]

        def read(name: str) -> Champion | None:
            if versions is None:
                return read_champion(client, name)
            version = versions.get(registered_name(name))
            return version and champion_of(name, *version)

        pools = {kind: read(pool_name(kind)) for kind in kinds}
    except ModelStoreError as error:
        return {}, dict.fromkeys(names, (in_words(error),))
    for name in wanted:
        try:
            champion = read(name)
        except ModelStoreError as error:  # it does not answer: it would not for the others
            return {}, dict.fromkeys(names, (in_words(error),))
        except Exception as error:  # of this source's version in the store alone
            trouble[name] = (f"its champion cannot be read: {reason_of(error)}",)
            continue
        if champion is not None:
            found[name] = champion
    for source in sources:
        pool, own = pools.get(source.kind), found.get(source.source_id)
        if pool and (own is None or own.trained_until < pool.trained_until):
            found[source.source_id] = pool
    return found, trouble


def stored_versions(config: Config) -> Mapping[str, Version] | None:
    """The version with the alias `champion` of each registered model, from the file of the embedded
    store.

    Parameters
    ----------
    config : names the store.

    Returns
    -------
    By registered name; None where MLflow is to be asked: of a server, of a file that is missing,
    or of one with other tables.
    """
    path = config.paths.state_dir.resolve() / "mlflow.db"
    if config.mlflow.tracking_uri != EMBEDDED or not path.is_file():
        return None
    query = """
        SELECT name, version, coalesce(storage_location, source) FROM registered_model_aliases
        JOIN model_versions USING (name, version) WHERE alias = ?"""
    tags = """
        SELECT name, version, key, value FROM registered_model_aliases
        JOIN model_version_tags USING (name, version) WHERE alias = ?"""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", BUSY_S, uri=True)) as conn:
            found = {
                str(name): (str(number), str(place), dict[str, str]())
                for name, number, place in conn.execute(query, (ALIAS,))
            }
            for name, _, key, value in conn.execute(tags, (ALIAS,)):
                found[str(name)][2][str(key)] = str(value)
    except (sqlite3.Error, LookupError):
        return None
    return found
