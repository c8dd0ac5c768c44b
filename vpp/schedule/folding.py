"""Limits that bend without a constraint each: what is beyond a limit is a part of its variable.

`power - over <= limit` says as much as a power up to its limit and a part beyond it, which is in
all constraints where the power is. The linear programme has a third of the constraints then, and
takes two thirds of the time. Only models without whole numbers are folded.
Pure: reads and writes nothing.

    python benchmarks/bench_large.py
"""

from dataclasses import dataclass, replace

import numpy as np

from vpp.schedule.draft import INFINITE, LE, Matrices, Model, Rows


@dataclass(frozen=True, eq=False)
class Fold:
    """A model without the constraints of limits that bend.

    Parameters
    ----------
    matrix : the model, with its variables in their order.
    rows : place of each constraint of the model in it; those that are gone have that of the last,
        which holds nothing.
    there : whether a constraint of the model is in it.
    parts : variables, those that are a part of them, and the sign of these parts.
    """

    matrix: Matrices
    rows: np.ndarray
    there: np.ndarray
    parts: list[tuple[np.ndarray, np.ndarray, float]]

    def cost(self, cost: np.ndarray) -> np.ndarray:
        """An objective of the model as one of the folded model.

        Parameters
        ----------
        cost : of each variable.
        """
        folded = cost.copy()
        for whole, part, sign in self.parts:
            folded[part] += sign * cost[whole]
        return folded

    def values(self, found: np.ndarray) -> np.ndarray:
        """Values of the folded model as those of the model.

        Parameters
        ----------
        found : of each variable.
        """
        whole_values = found.copy()
        for whole, part, sign in self.parts:
            whole_values[whole] += sign * found[part]
        return whole_values

    def parts_of(self, columns: np.ndarray) -> np.ndarray:
        """Parts of some variables.

        Parameters
        ----------
        columns : numbers of the variables.
        """
        found = [part[np.isin(whole, columns)] for whole, part, _ in self.parts]
        return np.concatenate([np.zeros(0, dtype=int), *found])


def folded(model: Model) -> Fold | None:
    """The folded model.

    Parameters
    ----------
    model : the model.

    Returns
    -------
    It; None where no limit bends or there are whole numbers.
    """
    bending = [rows for rows in model.rows.values() if rows.folds]
    if not bending or model.binaries:
        return None
    matrix = model.matrices
    lower, upper, parts = matrix.lower.copy(), matrix.upper.copy(), []
    there = np.ones(model.height, dtype=bool)
    for rows in bending:
        there[rows.first : rows.first + len(rows)] = False
        parts.append(_apart(model, rows, lower, upper))
    places = np.cumsum(there) - 1
    places[~there] = there.sum()
    lengths = np.diff(np.append(matrix.starts, len(matrix.index)))
    row = np.repeat(np.arange(model.height), lengths)
    kept = there[row]
    row, index, value = row[kept], matrix.index[kept], matrix.value[kept]
    entries = [(row, index, value)]
    for whole, part, sign in parts:
        part_of = np.full(model.width, -1)
        part_of[whole] = part
        has = part_of[index] >= 0
        entries.append((row[has], part_of[index[has]], sign * value[has]))
    row, index, value = (np.concatenate(each) for each in zip(*entries, strict=True))
    order = np.argsort(row, kind="stable")
    starts = np.searchsorted(places[row[order]], np.arange(there.sum() + 1)).astype(np.int32)
    small = replace(
        matrix,
        lower=lower,
        upper=upper,
        starts=starts,
        value=value[order],
        index=index[order].astype(np.int32),
        row_lower=np.append(matrix.row_lower[there], -INFINITE),
        row_upper=np.append(matrix.row_upper[there], INFINITE),
    )
    fold = Fold(small, places.astype(np.int32), there, parts)
    return replace(fold, matrix=replace(small, cost=fold.cost(matrix.cost)))


def _apart(
    model: Model, rows: Rows, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Bound variables by their limit, and the parts by what is left; see `Fold.parts`."""
    limited, beyond = rows.terms
    whole = limited.places + model.columns[limited.column].first
    part = beyond.places + model.columns[beyond.column].first
    if rows.sense == LE:
        upper[part] = np.maximum(upper[whole] - rows.right, 0.0)
        upper[whole] = np.minimum(upper[whole], rows.right)
        return whole, part, 1.0
    upper[part] = np.maximum(rows.right - lower[whole], 0.0)
    lower[whole] = np.maximum(lower[whole], rows.right)
    return whole, part, -1.0
