"""Batteries that depart from their day-ahead position where the price of deviations pays.

At one price for deviations either way, each battery decides for itself: load, renewables and
position change what the site pays, not what a battery should do. Each local day the worth of stored
energy is computed anew (`vpp.schedule.recourse`), with the day's prices for the next day, too; each
interval then does what pays most at the gap that is expected now. Pure: reads and writes nothing.

    python optimization.py backtest --days 30 --settlement two --deviation-prices imbalance-1

Prices and gaps are EUR/MWh, one an interval.
"""

from dataclasses import dataclass

import numpy as np

from vpp.schedule.bank import Bank
from vpp.schedule.dispatch import carry_out
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.recourse import Chain, Grid

SIZE_DAYS = 30  # the usual size of a gap is that of the last so many days
CHAIN_EVERY_DAYS, CHAIN_FIRST_DAYS = 30, 21
LEAST_SIZE = 0.01  # [EUR/MWh]


@dataclass(frozen=True, eq=False)
class Gaps:
    """The gap of each interval of the span and of the time before it, which rules are learned from.

    Parameters
    ----------
    before : number of intervals before the span.
    per_day : intervals of a day.
    actual, expected : the gap, and its forecast at the start of the interval.
    """

    before: int
    per_day: int
    actual: np.ndarray
    expected: np.ndarray

    def usual(self, t: int) -> float:
        """The usual size of a gap, as it is known at the start of interval `t` of the span."""
        now = self.before + t
        past = self.actual[max(0, now - SIZE_DAYS * self.per_day) : now]
        return max(float(np.sqrt(np.mean(past**2))), LEAST_SIZE) if len(past) else LEAST_SIZE

    def chain(self, t: int) -> Chain:
        """The chain as it is known at the start of interval `t` of the span.

        It is learned anew every `CHAIN_EVERY_DAYS`.
        """
        days = (self.before + t) // self.per_day
        if days < CHAIN_FIRST_DAYS:
            return Chain.unseen()
        days -= (days - CHAIN_FIRST_DAYS) % CHAIN_EVERY_DAYS
        scaled = []
        for day in range(1, days):
            part = slice(day * self.per_day, (day + 1) * self.per_day)
            size = self.usual(day * self.per_day - self.before)
            scaled.append(self.expected[part] / size)
        return Chain.of(np.concatenate(scaled))


class _Trader:
    """Decides for all batteries, interval by interval."""

    def __init__(self, problem: Problem, price: np.ndarray, gaps: Gaps) -> None:
        self.problem, self.price, self.gaps = problem, price, gaps
        fee = float(problem.settlement.fee.mean())
        self.grids = [Grid(battery, problem.hours, fee) for battery in problem.batteries]
        self.first, self.size = 0, LEAST_SIZE
        self.chain, self.chain_days = Chain.unseen(), -1
        self.after: list[list[np.ndarray]] = []

    def wanted_kw(self, t: int, bank: Bank) -> list[float]:
        """Power wanted of each battery [kW], positive where it charges."""
        days = self.problem.local_days
        if not t or days[t] != days[t - 1]:
            self._begin_day(t)
        expected = float(self.gaps.expected[self.gaps.before + t])
        state = int(np.searchsorted(self.chain.edges, expected / self.size))
        price, wanted = float(self.price[t]) + expected, []
        energies, leaves = bank.energy_kwh.tolist(), bank.left_kwh.tolist()
        for grid, after, energy, left in zip(self.grids, self.after, energies, leaves, strict=True):
            worth = after[t - self.first][:, state]
            wanted.append(-grid.best_kw(worth, energy, left, price))
        return wanted

    def _begin_day(self, t: int) -> None:
        """Compute what energy and cycles are worth on the local day that begins."""
        self.first, self.size = t, self.gaps.usual(t)
        day = (self.gaps.before + t) // self.gaps.per_day
        if day // CHAIN_EVERY_DAYS != self.chain_days // CHAIN_EVERY_DAYS or self.chain_days < 0:
            self.chain = self.gaps.chain(t)
        self.chain_days = day
        today = self.price[self.problem.local_days == self.problem.local_days[t]]
        last = np.zeros(2 * len(today), dtype=bool)
        last[len(today) - 1 :: len(today)] = True
        price = np.tile(today, 2)[:, None] + self.chain.level * self.size
        self.after = [
            grid.worth(price, self.chain.moves, last)[: len(today)] for grid in self.grids
        ]


def trade(problem: Problem, price_eur_per_mwh: np.ndarray, gaps: Gaps) -> Schedule:
    """The schedule of batteries that depart from the position where it pays.

    Parameters
    ----------
    problem : the span at actual values, with its position and the prices of deviations.
    price_eur_per_mwh : day-ahead prices of the span [EUR/MWh].
    gaps : the gaps of the span and before it; each interval uses forecasts of its start alone.

    Returns
    -------
    The schedule.
    """
    return carry_out(problem, _Trader(problem, price_eur_per_mwh, gaps).wanted_kw)
