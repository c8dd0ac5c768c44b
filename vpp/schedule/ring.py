"""Where the intervals of a window lie in a model that is kept while windows move on.

The interval that a window leaves behind makes room for the one that it gains; all others stay where
they are, and so does the solver's basis. Only the coefficients that tell the first interval from
the others change places. Pure: reads and writes nothing.

    python benchmarks/bench_optimization.py
"""

from collections.abc import Iterable

import numpy as np

from vpp.schedule.draft import Columns, Model, Rows

Changes = list[tuple[int, int, float]]  # row, column and value of coefficients
MOST_CHANGES = 20  # coefficients a move, one in so many; a model that has more of them stays


class Ring:
    """The places of a model's variables and constraints in a solver, which go round with windows.

    Parameters
    ----------
    model : the model.

    Attributes
    ----------
    moves : whether few coefficients change from one step to the next.
    columns, rows : the place of each variable, and of each constraint, as they are now.
    at_columns, at_rows : the variable, and the constraint, at each place.
    """

    def __init__(self, model: Model) -> None:
        self.count, self.width = model.intervals, model.width
        matrix = model.matrices
        lengths = np.diff(np.append(matrix.starts, len(matrix.index)))
        self.entries = np.repeat(np.arange(model.height), lengths), matrix.index, matrix.value
        self._blocks = (
            _blocks(model.columns.values(), model.width, self.count),
            _blocks(model.rows.values(), model.height, self.count),
        )
        self._known: dict[tuple[int, int], Changes] = {}
        self._go_to(0)
        self.moves = self._few(self._changes(0, 1))

    def turn(self, step: int) -> Changes:
        """Move on to a window that begins at a step; a model that changes too much stays.

        Parameters
        ----------
        step : number of the first interval of the window, counted from anywhere.

        Returns
        -------
        Row, column and value of the coefficients that become others.
        """
        ways = self.turned, step % self.count
        if not self.moves or ways[0] == ways[1]:
            return []
        if ways not in self._known:
            changes = self._changes(*ways)
            self._known[ways] = changes if self._few(changes) else []
        if self._known[ways]:
            self._go_to(ways[1])
        return self._known[ways]

    def _few(self, changes: Changes) -> bool:
        return len(changes) * MOST_CHANGES <= len(self.entries[2])

    def _go_to(self, turned: int) -> None:
        self.turned = turned
        self.columns, self.rows = self._places(turned)
        self.at_columns, self.at_rows = self._places(-turned)

    def _places(self, turned: int) -> tuple[np.ndarray, np.ndarray]:
        columns, rows = (first + (inner + turned) % period for first, inner, period in self._blocks)
        return columns, rows

    def _changes(self, before: int, after: int) -> Changes:
        row, column, value = self.entries
        keys = []
        for turned in (before, after):
            columns, rows = self._places(turned)
            keys.append(rows[row].astype(np.int64) * self.width + columns[column])
        old, new = (dict(zip(key.tolist(), value.tolist(), strict=True)) for key in keys)
        numbers = dict.fromkeys(old.keys() - new.keys(), 0.0)
        numbers |= {key: one for key, one in new.items() if old.get(key) != one}
        return [(*divmod(key, self.width), one) for key, one in numbers.items()]


def _blocks(
    groups: Iterable[Columns | Rows], size: int, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the block of each starts, its place in it, and how many go round there."""
    first, inner, period = np.arange(size), np.zeros(size, dtype=int), np.ones(size, dtype=int)
    for group in groups:
        if len(group) % count == 0:
            part = slice(group.first, group.first + len(group))
            inner[part], period[part] = np.arange(len(group)) % count, count
            first[part] -= inner[part]
    return first.astype(np.int32), inner.astype(np.int32), period.astype(np.int32)
