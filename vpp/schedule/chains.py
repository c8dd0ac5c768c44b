"""Equations of the energies of batteries: a tridiagonal system each, all solved at the same time.

The energy of a battery goes on from interval to interval, so that in the normal equations of an
interior point method each interval meets its neighbours only. Pure: reads and writes nothing.

    python benchmarks/bench_portfolio.py

Arrays are (interval, battery).
"""

import numpy as np


class Chains:
    """The systems, factored.

    Parameters
    ----------
    keep : fraction of its energy that an interval leaves each battery.
    moved : weights of the powers of each interval, above 0.
    energy : weights of the energies.

    Attributes
    ----------
    delta, down : what is left on the diagonal, and how much of an interval goes to the next.
    """

    def __init__(self, keep: np.ndarray, moved: np.ndarray, energy: np.ndarray) -> None:
        self.delta, self.down = energy + moved, np.zeros_like(energy)
        self._diagonal, self._down = list(self.delta), list(self.down)
        rest, before = moved[0].copy(), energy[0]
        steps = zip(energy[1:], moved[1:], self._diagonal[1:], self._down[1:], strict=True)
        for (now, power, delta, down), above in zip(steps, self._diagonal, strict=False):
            np.divide(before, above, out=down)
            down *= keep
            rest *= down
            rest *= keep
            rest += power
            np.add(now, rest, out=delta)
            before = now

    def solve(self, right: np.ndarray) -> np.ndarray:
        """The values at which the systems hold.

        Parameters
        ----------
        right : side of the systems.
        """
        found = right.copy()
        rows, part = list(found), np.empty(found.shape[1])
        _add_shares(rows, self._down[1:], part)
        found /= self.delta
        _add_shares(rows[::-1], self._down[:0:-1], part)
        return found

    def within(self, scale: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        """The inverses of the systems, scaled on both sides, summed over groups of batteries.

        Entries of the inverse of a chain follow from those below them.

        Parameters
        ----------
        scale : a number of each row of a system.
        firsts : number of the first battery of each group.

        Returns
        -------
        The sums (group, interval, same).
        """
        steps, width = scale.shape
        found = np.zeros((len(firsts), steps, steps))
        row, work, corner = np.zeros_like(scale), np.empty_like(scale), np.zeros(width)
        below = corner
        for t in range(steps - 1, -1, -1):
            row[t + 1 :] *= below
            corner *= below
            corner *= below
            corner += 1 / self._diagonal[t]
            np.multiply(corner, scale[t], out=row[t])
            np.multiply(row[t:], scale[t], out=work[t:])
            sums = np.add.reduceat(work[t:], firsts, axis=1).T
            found[:, t, t:] = sums
            found[:, t:, t] = sums
            below = self._down[t]
        return found


def _add_shares(rows: list[np.ndarray], shares: list[np.ndarray], part: np.ndarray) -> None:
    """Add to each row its share of the one before; `part` is room to work in."""
    before = rows[0]
    for row, share in zip(rows[1:], shares, strict=True):
        np.multiply(share, before, out=part)
        row += part
        before = row
