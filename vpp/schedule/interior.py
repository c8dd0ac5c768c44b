"""An interior point method for the linear programme of many sites, in blocks side by side.

Predictor and corrector of Mehrotra (SIAM J. Optimization 2 (1992), 575). The blocks have only the
common rows together: the exchange of all sites. It ends where the cost comes near enough to the
bound that the duals prove. Pure: reads and writes nothing.

    python benchmarks/bench_portfolio.py

Money EUR.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp.schedule.sites_lp import TINY, SitesLp

logger = logging.getLogger("optimization")

MOST = 150  # steps
SHORT = 1e-7  # by which rows may be missed, as a fraction of the largest: a tenth of a watt of 1 MW
EDGE = 0.995  # of the way to the next bound


class CommonLp:
    """A block without rows of its own: variables that only the common rows know.

    Parameters
    ----------
    matrix : of the common rows.
    cost, upper : of each variable [EUR].
    constant : cost of what the variables leave out [EUR].
    """

    def __init__(
        self, matrix: np.ndarray, cost: np.ndarray, upper: np.ndarray, constant: float
    ) -> None:
        self.matrix, self.cost, self.upper, self.constant = matrix, cost, upper, constant
        self.right = np.zeros(0)

    def rows(self, values: np.ndarray) -> np.ndarray:
        """None."""
        return np.zeros(0)

    def shared(self, values: np.ndarray) -> np.ndarray:
        """The part of the variables in the common rows."""
        return self.matrix @ values

    def columns(self, duals: np.ndarray, price: np.ndarray) -> np.ndarray:
        """The worth of a unit of each variable.

        Parameters
        ----------
        duals : of its rows, none.
        price : of the common rows.
        """
        return self.matrix.T @ price

    def first_duals(self) -> np.ndarray:
        """None."""
        return np.zeros(0)

    def factor(self, weights: np.ndarray) -> "_Plain":
        """The normal equations."""
        return _Plain((self.matrix * weights) @ self.matrix.T)


@dataclass(frozen=True, eq=False)
class _Plain:
    """Normal equations of no own rows."""

    shared: np.ndarray

    def forward(self, right: np.ndarray) -> np.ndarray:
        return np.zeros(len(self.shared))

    def back(self, price: np.ndarray) -> np.ndarray:
        return np.zeros(0)


Programme = SitesLp | CommonLp


@dataclass(frozen=True, eq=False)
class Found:
    """The values of an interior point method.

    Parameters
    ----------
    values : of the variables of each block.
    duals : of its rows, at the best bound.
    price : of the common rows, at the best bound.
    cost_eur : of the values.
    bound_eur : what nothing can cost less than.
    ended : whether both are as near as asked, and the rows hold.
    """

    values: list[np.ndarray]
    duals: list[np.ndarray]
    price: np.ndarray
    cost_eur: float
    bound_eur: float
    ended: bool


def bound_eur(lp: Programme, duals: np.ndarray, price: np.ndarray) -> float:
    """The bound of the cost of a block at a price of the common rows (Lagrange) [EUR].

    Parameters
    ----------
    lp : the block.
    duals : of its rows, any; the nearer to the best, the higher the bound.
    price : of the common rows.
    """
    reduced = lp.cost - lp.columns(duals, price)
    return float(lp.right @ duals + np.minimum(reduced, 0.0) @ lp.upper) + lp.constant


class _Block:
    """The state of a block: `x` and `w` above and below the bounds, `z` and `v` their duals."""

    def __init__(self, lp: Programme) -> None:
        self.lp, self.on, self.y = lp, lp.upper > 1e-9, lp.first_duals()
        self.best = self.y

    def begin(self, price: np.ndarray, mu: float) -> None:
        """Put each variable where its two products are the same."""
        upper = np.where(self.on, self.lp.upper, 1.0)
        reduced = self.lp.cost - self.lp.columns(self.y, price)
        half = np.abs(reduced) * upper / 2
        near = mu * upper / (half + mu + np.hypot(half, mu))
        low = reduced >= 0
        self.x, self.w = np.where(low, near, upper - near), np.where(low, upper - near, near)
        self.z, self.v = mu / self.x, mu / self.w
        for part, value in ((self.x, 0.0), (self.w, 0.0), (self.z, 1.0), (self.v, 1.0)):
            part[~self.on] = value

    def look(self, price: np.ndarray) -> tuple[float, float, float, np.ndarray, float]:
        """Cost, bound, sum of products, what is added to the common rows, how far rows are off."""
        lp = self.lp
        self.missed = lp.right - lp.rows(self.x)
        self.reduced = lp.cost - lp.columns(self.y, price)
        bound = float(lp.right @ self.y + np.minimum(self.reduced, 0.0) @ lp.upper)
        off = float(np.abs(self.missed).max(initial=0.0))
        cost, products = float(lp.cost @ self.x), float(self.x @ self.z + self.w @ self.v)
        return cost + lp.constant, bound + lp.constant, products, lp.shared(self.x), off

    def weigh(self, _: None) -> tuple[np.ndarray, np.ndarray]:
        """Factor the normal equations, and ask for the way to the bounds."""
        self.by_x = np.divide(1.0, self.x, out=np.zeros_like(self.x), where=self.on)
        self.by_w = np.divide(1.0, self.w, out=np.zeros_like(self.w), where=self.on)
        slope = self.z * self.by_x + self.v * self.by_w
        self.weights = np.divide(1.0, slope, out=slope, where=self.on)
        self.equations = self.lp.factor(self.weights)
        self.inner = self.reduced
        return self.equations.shared, self._ask()

    def _ask(self) -> np.ndarray:
        """The need of the common rows for a way, beside what they miss."""
        lp, moved = self.lp, self.weights * self.inner
        return lp.shared(moved) - self.equations.forward(self.missed + lp.rows(moved))

    def _values(self, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The way of the values at a change of the price, by the distances to both bounds."""
        self.dy = self.equations.back(price)
        self.dx = self.lp.columns(self.dy, price)
        self.dx -= self.inner
        self.dx *= self.weights
        return self.dx * self.by_x, self.dx * self.by_w

    def look_ahead(self, price: np.ndarray) -> tuple[float, float, float, float]:
        """How far values and duals could go to the bounds, and how their products would change.

        These are then x·z·(1 + a·s)·(1 - b - b·s) for steps a and b, and so for w and v: the sums
        that belong to (1 - b)·a - b and to -a·b are the last two."""
        self.s, self.r = self._values(price)
        self.by_s, self.by_r = self.x * self.z * self.s, self.w * self.v * self.r
        values = max(-self.s.min(initial=0.0), self.r.max(initial=0.0), TINY)
        duals = 1.0 + max(self.s.max(initial=0.0), -self.r.min(initial=0.0))
        first = float(self.by_s.sum() - self.by_r.sum())
        return 1 / values, 1 / duals, first, float(self.by_s @ self.s + self.by_r @ self.r)

    def correct(self, target: float) -> np.ndarray:
        """Ask for the way to products of the same size, by what looking ahead told."""
        self.up = (self.by_s * (1.0 + self.s) + target) * self.by_x
        self.down = (self.by_r * (self.r - 1.0) + target) * self.by_w
        self.inner = self.reduced - self.up + self.down
        return self._ask()

    def go(self, price: np.ndarray) -> tuple[float, float]:
        """The way at a change of the price; how far values and duals could go it."""
        s, r = self._values(price)
        self.dz = self.up - self.z * (1.0 + s)
        self.dv = self.down - self.v * (1.0 - r)
        values = max(-s.min(initial=0.0), r.max(initial=0.0), TINY)
        duals = max(-(self.dz / self.z).min(), -(self.dv / self.v).min(), TINY)
        return 1 / values, 1 / duals

    def move(self, far: tuple[float, float]) -> None:
        """Go so far."""
        self.x += far[0] * self.dx
        self.w -= far[0] * self.dx
        self.y = self.y + far[1] * self.dy
        self.z += far[1] * self.dz
        self.v += far[1] * self.dv


def solve(
    programmes: Sequence[Programme],
    right: np.ndarray,
    size: float,
    gap: float,
    pool: Executor,
    late: Callable[[], bool],
) -> Found:
    """The least cost of all blocks, whose common rows add up.

    Parameters
    ----------
    programmes : the blocks.
    right : side of the common rows.
    size : product of a usual power and its usual price [EUR].
    gap : relative distance of the cost to the bound at which to end.
    pool : blocks work side by side in it.
    late : whether the time is over; the values then miss some rows.
    """
    blocks = [_Block(lp) for lp in programmes]

    def each(work: Callable[[_Block, Any], Any], told: Any = None) -> list:
        return list(pool.map(lambda block: work(block, told), blocks))

    price = np.zeros(len(right))
    for block in blocks:
        block.begin(price, size)
    count = 2 * sum(int(block.on.sum()) for block in blocks)
    bound, at = -np.inf, price
    largest = max(float(np.abs(lp.right).max(initial=1.0)) for lp in programmes)
    for step in range(MOST):
        seen = each(_Block.look, price)
        missed = right - _total((one[3] for one in seen), right.shape)
        cost, new_bound, products = (sum(one[k] for one in seen) for k in range(3))
        new_bound += float(right @ price)
        if new_bound > bound:
            bound, at = new_bound, price
            for block in blocks:
                block.best = block.y
        off = max(*(one[4] for one in seen), float(np.abs(missed).max(initial=0.0))) / largest
        logger.debug("step %d: cost %.2f, bound %.2f, rows %.0e off", step, cost, bound, off)
        near = cost - bound <= gap * max(abs(cost), abs(bound), 1e-9)
        ended = near and off <= SHORT
        if ended or late():
            break
        try:
            change = _step(each, missed, products / count, products)
        except np.linalg.LinAlgError:
            change = None
        if change is None:
            logger.debug("rounding ends the search")
            break
        price = price + change
    values, duals = [block.x for block in blocks], [block.best for block in blocks]
    return Found(values, duals, at, cost, bound, ended)


def _step(
    each: Callable[..., list], missed: np.ndarray, mu: float, products: float
) -> np.ndarray | None:
    """Go a step with all blocks; the change of the price, or None where rounding forbids any."""
    weighed = each(_Block.weigh)
    shared = _total((one[0] for one in weighed), (len(missed), len(missed)))
    diagonal = np.arange(len(missed))
    shared[diagonal, diagonal] *= 1 + 1e-14
    shared[diagonal, diagonal] += TINY
    inverse = np.linalg.inv(shared)
    # first how far the way to the bounds leads, then the way that it tells
    asked = missed + _total((one[1] for one in weighed), missed.shape)
    ahead = each(_Block.look_ahead, inverse @ asked)
    a, b = _least(ahead)
    first, second = (sum(one[k] for one in ahead) for k in (2, 3))
    after = (1 - b) * products + ((1 - b) * a - b) * first - a * b * second
    target = mu * max(after / products, 0.0) ** 3
    change = inverse @ (missed + _total(each(_Block.correct, target), missed.shape))
    far = _least(each(_Block.go, change), EDGE)
    if not (np.isfinite(far).all() and np.isfinite(change).all()):
        return None
    each(_Block.move, far)
    return far[1] * change


def _total(parts: Iterable[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The sum of what blocks add to the common rows, of which some know the first ones alone."""
    total = np.zeros(shape)
    for part in parts:
        total[tuple(slice(size) for size in part.shape)] += part
    return total


def _least(ways: Sequence[tuple], edge: float = 1.0) -> tuple[float, float]:
    """How far all can go."""
    values, duals = (min(way[k] for way in ways) for k in range(2))
    return min(1.0, edge * values), min(1.0, edge * duals)
