"""The batteries of some sites as a linear programme that knows its structure.

Each battery is a chain of energies, the batteries of a site share its connection, and all sites
share the exchange with the grid. Pure: reads and writes nothing.

    python benchmarks/bench_portfolio.py

Powers are kW, energies kWh, money EUR; arrays are (interval, battery) and (interval, site).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpp.schedule.chains import Chains
from vpp.schedule.problem import Problem

OWN = 10.0  # times as dear as an excess in common is that of a site's own connection
# Import, export, curtailment, and excess of both limits: in a site's balance, and in its exchange.
BALANCE = np.array([1.0, -1.0, -1.0, 1.0, -1.0])[:, np.newaxis, np.newaxis]
EXCHANGE = np.array([1.0, -1.0, 0.0, 1.0, -1.0])[:, np.newaxis, np.newaxis]
TINY = 1e-18  # keeps a division by 0 away


@dataclass(frozen=True, eq=False)
class Parts:
    """The variables of the programme, or one number for each.

    Parameters
    ----------
    charge, discharge, energy : of batteries; energy above the least at the end of an interval.
    spare : of batteries, discharge that cycles leave of a local day (day, battery).
    grid : of sites: import, export, curtailment, excess of both limits (5, interval, site).
    """

    charge: np.ndarray
    discharge: np.ndarray
    energy: np.ndarray
    spare: np.ndarray
    grid: np.ndarray


class SitesLp:
    """The programme: least cost, where `rows` of the variables are `right`, and 0 to `upper`.

    Parameters
    ----------
    problems : of the sites; `is_linear`.
    excess_eur_per_mwh : price of energy beyond common limits; beyond the own ones it is `OWN` times
        as dear.

    Attributes
    ----------
    cost, upper : of each variable [EUR].
    right : of each row: batteries' energies, their days of limited cycles, sites' balances.
    constant : cost of what the variables leave out [EUR].
    """

    def __init__(self, problems: Sequence[Problem], excess_eur_per_mwh: float) -> None:
        self.problems, stacks = problems, [problem.stack for problem in problems]
        self.hours, self.days = problems[0].hours, problems[0].local_days
        self.firsts = np.flatnonzero(np.diff(self.days, prepend=-1))
        counts = np.array([len(problem.batteries) for problem in problems])
        self.site = np.repeat(np.arange(len(problems)), counts)
        self.ends = np.concatenate(([0], np.cumsum(counts)))
        self.filled = np.flatnonzero(counts)

        def of_each(name: str) -> np.ndarray:
            return np.concatenate([getattr(stack, name)[:, 0] for stack in stacks])

        def by_interval(parts: list[np.ndarray]) -> np.ndarray:
            return np.ascontiguousarray(np.concatenate(parts).T)

        self.keep = of_each("keep")
        self.gain = self.hours * of_each("eta_charge")
        self.spend = self.hours / of_each("eta_discharge")
        self.low = by_interval([stack.soc_min * stack.capacity_kwh for stack in stacks])
        high = by_interval([stack.soc_max * stack.capacity_kwh for stack in stacks])
        usable = [stack.usable_kw for stack in stacks]
        powers = [by_interval([each[way] for each in usable]) for way in (0, 1)]
        capacity = of_each("capacity_kwh")
        daily = of_each("cycles_per_day_max") * capacity
        self.limited = bool(np.isfinite(daily).any())
        most = self.by_day(powers[1])
        allowed = np.broadcast_to(daily, most.shape).copy()
        allowed[:1] -= of_each("cycles_so_far") * capacity
        allowed = np.clip(allowed, 0.0, most + 1.0)
        grid_upper, grid_cost = self._grid(OWN * excess_eur_per_mwh)
        wear = np.zeros_like(high) + of_each("wear_eur_per_mwh") * self.hours / 1000
        left = np.zeros_like(high)
        left[-1] = -of_each("terminal_value_eur_per_mwh") / 1000
        self.constant = float((left * self.low).sum())
        room = np.maximum(high - self.low, 0.0)
        self.shapes = [high.shape] * 3 + [allowed.shape, grid_upper.shape]
        self.upper = _flat(*powers, room, allowed, grid_upper)
        self.cost = _flat(np.zeros_like(high), wear, left, np.zeros_like(allowed), grid_cost)
        self.start = of_each("soc_initial") * capacity
        before = np.vstack((self.start, self.low[:-1]))
        net = np.stack([one.load_kw - one.renewables_kw for one in problems], axis=1)
        self.right = _flat(self.keep * before - self.low, allowed, net)
        self.row_shapes = [high.shape, allowed.shape, net.shape]

    def _grid(self, excess: float) -> tuple[np.ndarray, np.ndarray]:
        """Most and cost of the variables of each site (5, interval, site)."""
        upper, cost = [], []
        for one in self.problems:
            spills = one.renewables_kw if one.curtailable else np.zeros(one.intervals)
            takes = np.maximum(one.load_kw, 0.0) + one.stack.charge_kw.sum(axis=0) + 1.0
            gives = one.renewables_kw + one.stack.discharge_kw.sum(axis=0) + 1.0
            gives = gives + np.maximum(-one.load_kw, 0.0)
            limits = np.minimum(takes, one.import_limit_kw), np.minimum(gives, one.export_limit_kw)
            upper.append(np.stack((*limits, spills, takes, gives)))
            buys, sells = one.import_cost_eur_per_mwh, one.export_price_eur_per_mwh
            prices = (buys, -sells, np.zeros_like(buys), buys + excess, excess - sells)
            cost.append(np.stack(prices) * self.hours / 1000)
        return np.stack(upper, axis=2), np.stack(cost, axis=2)

    def parts(self, values: np.ndarray) -> Parts:
        """One number a variable, by what the variables are."""
        return Parts(*_cut(values, self.shapes))

    def rows_of(self, values: np.ndarray) -> list[np.ndarray]:
        """One number a row: batteries' energies, their days, sites' balances."""
        return _cut(values, self.row_shapes)

    def at_sites(self, values: np.ndarray) -> np.ndarray:
        """Sums of the batteries of each site (interval, site)."""
        sums = np.zeros((len(values), len(self.problems)))
        if len(self.filled):
            firsts = self.ends[self.filled]
            sums[:, self.filled] = np.add.reduceat(values, firsts, axis=1)
        return sums

    def by_day(self, values: np.ndarray) -> np.ndarray:
        """Sums of each local day (day, battery), where cycles are limited."""
        if not self.limited:
            return np.zeros((0, values.shape[1]))
        return np.add.reduceat(values, self.firsts, axis=0)

    def of_day(self, values: np.ndarray) -> np.ndarray | float:
        """The number of its local day in each interval, where cycles are limited."""
        return values[self.days] if self.limited else 0.0

    def exchange(self, values: np.ndarray) -> np.ndarray:
        """Import less export of each site [kW] (interval, site)."""
        return (EXCHANGE * self.parts(values).grid).sum(axis=0)

    def shared(self, values: np.ndarray) -> np.ndarray:
        """The part of the variables in the common rows."""
        return self.exchange(values).sum(axis=1)

    def rows(self, values: np.ndarray) -> np.ndarray:
        """The rows of some values of the variables."""
        x = self.parts(values)
        chain = x.energy - self.gain * x.charge + self.spend * x.discharge
        chain[1:] -= self.keep * x.energy[:-1]
        balance = self.at_sites(x.discharge - x.charge) + (BALANCE * x.grid).sum(axis=0)
        return _flat(chain, self.hours * self.by_day(x.discharge) + x.spare, balance)

    def columns(self, duals: np.ndarray, price: np.ndarray) -> np.ndarray:
        """The worth of a unit of each variable.

        Parameters
        ----------
        duals : of the rows.
        price : of the common rows.
        """
        chain, days, balance = self.rows_of(duals)
        bus, energy = balance[:, self.site], chain.copy()
        energy[:-1] -= self.keep * chain[1:]
        return _flat(
            -self.gain * chain - bus,
            self.spend * chain + bus + self.hours * self.of_day(days),
            energy,
            days,
            BALANCE * balance + EXCHANGE * price[: len(balance), np.newaxis],
        )

    def first_duals(self) -> np.ndarray:
        """Duals to begin with: what the grid pays, and its mean for all that is stored."""
        chain, days, balance = (np.zeros(shape) for shape in self.row_shapes)
        buys, sells = self.parts(self.cost).grid[:2]
        balance += (buys - sells) / 2
        chain -= (balance.mean(axis=0) / self.hours)[self.site]
        return _flat(chain, days, balance)

    def factor(self, weights: np.ndarray) -> "Factor":
        """The normal equations of an interior point method.

        Parameters
        ----------
        weights : of each variable.
        """
        return Factor(self, weights)


class Factor:
    """The normal equations of an interior point method, factored in linear time.

    Their matrix is tridiagonal for each battery, and one small matrix for each site; they are
    eliminated in this order, for all batteries at once.

    Parameters
    ----------
    lp : the programme.
    weights : of each variable, all at least 0.

    Attributes
    ----------
    shared : what is left of them for the common rows.
    """

    def __init__(self, lp: SitesLp, weights: np.ndarray) -> None:
        self.lp, at = lp, lp.parts(weights)
        t = np.arange(len(at.charge))
        self.bus = lp.gain * at.charge + lp.spend * at.discharge
        self.used = lp.hours * at.discharge
        moved = lp.gain**2 * at.charge + lp.spend**2 * at.discharge + TINY
        self.chains = Chains(lp.keep, moved, at.energy)
        sites = self._without_chains()
        if lp.limited:
            self._eliminate_days(at, sites)
        own = (lp.at_sites(at.charge + at.discharge) + at.grid.sum(axis=0)).T
        sites[:, t, t] += own * (1 + 1e-15) + TINY
        self.sites = np.linalg.inv(sites)
        self.weight = (at.grid * BALANCE * EXCHANGE).sum(axis=0)
        weight = self.weight.T
        self.shared = -(weight[:, :, np.newaxis] * self.sites * weight[:, np.newaxis]).sum(axis=0)
        self.shared[t, t] += weight.sum(axis=0)

    def _without_chains(self) -> np.ndarray:
        """The part that the chains take from the balance of each site (site, interval, same)."""
        lp, steps = self.lp, len(self.bus)
        found = np.zeros((len(lp.problems), steps, steps))
        if len(lp.filled):
            found[lp.filled] = -self.chains.within(self.bus, lp.ends[lp.filled])
        return found

    def _eliminate_days(self, at: Parts, sites: np.ndarray) -> None:
        """Take the days on which cycles are limited from the balance of each site."""
        lp, days = self.lp, np.arange(len(at.spare))
        used = self.used * (lp.days == days[:, np.newaxis])[:, :, np.newaxis]
        self.spent = lp.spend * used  # (day, interval, battery)
        self.through = np.stack([self.chains.solve(part) for part in self.spent])
        left = -np.einsum("dtn,etn->nde", self.spent, self.through)
        left[:, days, days] += (lp.hours * used.sum(axis=1) + at.spare).T + TINY
        self.left = np.linalg.inv(left)
        beside = used - self.bus * self.through
        for site in lp.filled.tolist():
            here = slice(lp.ends[site], lp.ends[site + 1])
            part = beside[:, :, here]
            solved = np.einsum("nde,eun->dun", self.left[here], part)
            sites[site] -= np.tensordot(part, solved, ((0, 2), (0, 2)))

    def _batteries(self, chain: np.ndarray, days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Chains and days of all batteries solved."""
        found = self.chains.solve(chain)
        if not self.lp.limited:
            return found, days
        days = days - np.einsum("dtn,tn->dn", self.spent, found)
        days = np.einsum("nde,en->dn", self.left, days)
        return found - np.einsum("dtn,dn->tn", self.through, days), days

    def _at_sites(self, values: np.ndarray) -> np.ndarray:
        """The balances of all sites solved (interval, site)."""
        return np.matmul(self.sites, values.T[:, :, np.newaxis])[:, :, 0].T

    def forward(self, right: np.ndarray) -> np.ndarray:
        """The part that the rows take from the common ones.

        Parameters
        ----------
        right : side of the rows' equations, kept for `back`.
        """
        lp, self.right = self.lp, right
        chain, days, balance = lp.rows_of(right)
        found, spare = self._batteries(chain, days)
        moved = self.bus * found + self.used * lp.of_day(spare)
        self.alone = self._at_sites(balance - lp.at_sites(moved))
        return (self.weight * self.alone).sum(axis=1)

    def back(self, price: np.ndarray) -> np.ndarray:
        """The rows' values at which the equations hold.

        Parameters
        ----------
        price : values of the common rows.
        """
        lp = self.lp
        chain, days, balance = lp.rows_of(self.right)
        bus = self.alone - self._at_sites(self.weight * price[: len(balance), np.newaxis])
        here = bus[:, lp.site]
        days = days - lp.by_day(self.used * here)
        found, spare = self._batteries(chain - self.bus * here, days)
        return _flat(found, spare, bus)


def _flat(*parts: np.ndarray) -> np.ndarray:
    """All values one after the other."""
    return np.concatenate([part.ravel() for part in parts])


def _cut(values: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """A part of the values for each shape."""
    found, first = [], 0
    for shape in shapes:
        last = first + math.prod(shape)
        found.append(values[first:last].reshape(shape))
        first = last
    return found
