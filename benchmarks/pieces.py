"""Keeps the pieces of a long benchmark, so that it goes on where it was stopped.

    python benchmarks/bench_regret.py --folder pieces

Each piece is a pickle in a folder, with the commit of the working copy that made it; a piece that
is there is not made again. `commits` says which commits made those that a run has used, so that a
figure of mixed code does not pass for one of the last commit."""

import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vpp.champions.logbook import code_version


def kept(folder: Path | None, name: str, make: Callable[[], Any]) -> tuple[str, Any]:
    """The commit of a piece, and the piece: as it lies in the folder, or made and kept there."""
    path = folder and folder / f"{name}.pkl"
    if path and path.exists():
        return pickle.loads(path.read_bytes())
    found = code_version(), make()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_bytes(pickle.dumps(found))
        part.replace(path)
    return found


def commits(names: list[str]) -> str:
    """Which commits made so many pieces, in words."""
    counted = Counter(name[:8] + "+" * name.endswith("dirty") for name in names)
    return ", ".join(f"{count} pieces of {name}" for name, count in counted.items())
