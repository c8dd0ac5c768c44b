"""Champions that a plant in operation need not read from the model store in every cycle.

    python pipeline.py operate

A model that was registered since is seen at once, by the digests in the database; an alias that a
person moved in MLflow within `KEPT_S`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from vpp.champions.registry import Champion, read_file

KEPT_S = 60.0
Digests = Mapping[tuple[str, str], str]  # SHA-256 by source_id and version
Found = TypeVar("Found", bound=tuple[dict[str, Champion], dict[str, tuple[str, ...]]])


class KeptChampions:
    """The champions that were read of the model store last, and their files."""

    def __init__(self) -> None:
        self.key: object = None
        self.until = 0.0  # monotonic [s]
        self.found: object = None
        self.files: dict[tuple[str, str, str | None], bytes] = {}

    def read(self, names: Sequence[str], digests: Digests, reader: Callable[[], Found]) -> Found:
        """The champions of some sources; where one could not be read, all are read again.

        Parameters
        ----------
        names : of the sources.
        digests : of the registered models, now.
        reader : reads the champions, and why one cannot be read, from the store.
        """
        key = tuple(names), dict(digests)
        if self.key != key or time.monotonic() >= self.until:
            found = reader()
            self.key, self.found = (None if found[1] else key), found
            self.until = time.monotonic() + KEPT_S
        return self.found  # type: ignore[return-value]

    def file(self, champion: Champion, sha256: str | None) -> bytes:
        """The file of a champion; whoever opens it checks its digest first.

        Parameters
        ----------
        champion : of a source.
        sha256 : the digest that the database has of it.
        """
        key = champion.source_id, champion.version, sha256
        if key not in self.files:
            old = [other for other in self.files if other[0] == champion.source_id]
            for other in old:
                del self.files[other]
            self.files[key] = read_file(champion)
        return self.files[key]
