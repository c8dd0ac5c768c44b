"""Wanted energies of all batteries carried out, so that each site and all sites keep their limits.

Each battery follows its energy as far as it can. Where a connection, or what all sites have in
common, would be exceeded, plants are curtailed or not, and batteries help by what they have.
Whatever is wanted, the schedule keeps to all physics of the batteries. Pure: reads and writes
nothing.

    python benchmarks/bench_portfolio.py

Powers are kW, energies kWh; arrays are (interval, battery) and (interval, site).
"""

from collections.abc import Sequence

import numpy as np

from vpp.schedule.coupling import Coupling
from vpp.schedule.sites_lp import EXCHANGE, SitesLp

UNMET = 1e-3  # kW beyond a limit, or curtailed, that are no rounding
IDLE = 5e-4  # of its rating: for less no battery moves, but later


class Carrier:
    """The batteries of all sites, as they go from interval to interval.

    Parameters
    ----------
    blocks : the sites.
    coupling : what they have in common.
    others_kw : exchange of sites that are in no block, one an interval.
    """

    def __init__(
        self, blocks: Sequence[SitesLp], coupling: Coupling, others_kw: np.ndarray
    ) -> None:
        self.blocks = blocks
        self.most_kw = coupling.import_limit_kw - others_kw
        self.least_kw = -coupling.export_limit_kw - others_kw
        self.keep, self.gain, self.spend, self.start = (
            np.concatenate([getattr(block, name) for block in blocks])
            for name in ("keep", "gain", "spend", "start")
        )
        low = np.concatenate([block.low for block in blocks], axis=1)
        upper = [block.parts(block.upper) for block in blocks]
        self.charge, self.discharge, room = (
            np.concatenate([getattr(part, name) for part in upper], axis=1)
            for name in ("charge", "discharge", "energy")
        )
        self.low, self.high = self._reachable(low, low + room)
        grid = np.concatenate([part.grid for part in upper], axis=2)
        self.imports, self.exports, self.spills = grid[:3]
        self.net = np.concatenate([block.rows_of(block.right)[2] for block in blocks], axis=1)
        self.sites = np.cumsum([0, *(len(block.problems) for block in blocks)])
        self.ends = np.cumsum([0, *(len(block.site) for block in blocks)])
        self.site = np.concatenate(
            [block.site + first for block, first in zip(blocks, self.sites, strict=False)]
        )

    def _reachable(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bounds of the energy from which the later bounds can be reached."""
        low, high = low.copy(), high.copy()
        for t in range(len(low) - 1, 0, -1):
            need = (low[t] - self.gain * self.charge[t]) / self.keep
            most = (high[t] + self.spend * self.discharge[t]) / self.keep
            high[t - 1] = np.minimum(high[t - 1], np.maximum(most, low[t - 1]))
            low[t - 1] = np.clip(need, low[t - 1], high[t - 1])
        return low, high

    def at_sites(self, values: np.ndarray) -> np.ndarray:
        """Sums of the batteries of each site."""
        return np.bincount(self.site, values, self.sites[-1]) + 0.0

    def carry_out(
        self, values: Sequence[np.ndarray] | None, excess: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Powers of the batteries, above 0 where they charge, and curtailment of the sites.

        Parameters
        ----------
        values : of the variables of each block; None: batteries do nothing unasked.
        excess : whether to exceed limits as the values do; they know that it cannot be helped.
        """
        power, curtailed = np.zeros(self.charge.shape), np.zeros(self.net.shape)
        stored, cut = None, np.zeros(self.net.shape)
        if values is not None:
            parts = [block.parts(one) for block, one in zip(self.blocks, values, strict=True)]
            stored = np.concatenate(
                [part.energy + block.low for part, block in zip(parts, self.blocks, strict=True)],
                axis=1,
            )
            grid = np.concatenate([part.grid for part in parts], axis=2)
            cut = np.where(grid[2] > UNMET, grid[2], 0.0)
            if excess:
                self._exceed(grid)
        energy, left = self.start, np.full(len(self.start), np.inf)
        hours = self.blocks[0].hours
        for t in range(len(power)):
            kept = self.keep * energy
            self._new_day(t, left)
            most = np.minimum(self.discharge[t], np.maximum(left, 0.0) / hours)
            up, down, wanted = (
                np.clip(self._power(energy - kept), -most, self.charge[t])
                for energy in (
                    self.high[t],
                    self.low[t],
                    kept if stored is None else stored[t],
                )
            )
            still = np.abs(wanted) < IDLE * np.maximum(self.charge[t], self.discharge[t])
            wanted = np.clip(np.where(still, 0.0, wanted), down, up)
            power[t], curtailed[t] = self._kept(t, wanted, up, down, cut[t])
            charge, discharge = np.maximum(power[t], 0.0), np.maximum(-power[t], 0.0)
            energy = kept + self.gain * charge - self.spend * discharge
            left -= hours * discharge
        return power, curtailed

    def _exceed(self, grid: np.ndarray) -> None:
        """Raise the limits to what sites alone and together cannot but exchange."""
        over = np.where(grid[3:] > UNMET, grid[3:], 0.0)
        self.imports, self.exports = self.imports + over[0], self.exports + over[1]
        planned = (EXCHANGE * grid).sum(axis=(0, 2))
        self.most_kw = np.where(planned > self.most_kw + UNMET, planned, self.most_kw)
        self.least_kw = np.where(planned < self.least_kw - UNMET, planned, self.least_kw)

    def _power(self, change_kwh: np.ndarray) -> np.ndarray:
        """The power by which the energy of each battery changes."""
        return change_kwh / np.where(change_kwh > 0, self.gain, self.spend)

    def _new_day(self, t: int, left: np.ndarray) -> None:
        """On a local day that begins, batteries may discharge as much as on any."""
        for block, first, last in zip(self.blocks, self.ends, self.ends[1:], strict=False):
            if block.limited and t in block.firsts:
                left[first:last] = block.rows_of(block.right)[1][block.days[t]]

    def _kept(
        self, t: int, wanted: np.ndarray, up: np.ndarray, down: np.ndarray, curtailed: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Powers of an interval near the wanted ones that keep the limits as far as they can."""
        net, before = self.net[t], self.at_sites(wanted)
        highest, lowest = self.at_sites(up), self.at_sites(down)
        most, spills = self.imports[t] - net, self.spills[t]
        least = -self.exports[t] - net
        moved = np.clip(before, np.minimum(least - spills, highest), np.maximum(most, lowest))
        moved = np.clip(moved, lowest, highest)
        cut = np.clip(curtailed, least - moved, np.maximum(most - moved, 0.0))
        cut = np.clip(cut, 0.0, spills)
        over = float((net + moved + cut).sum())
        need = max(over - self.most_kw[t], 0.0) + min(over - self.least_kw[t], 0.0)
        if need > 0.0:
            cut, need = _towards(cut, np.clip(least - moved, 0.0, cut), need)
            moved, _ = _towards(moved, np.maximum(lowest, np.minimum(least - cut, moved)), need)
        elif need < 0.0:
            cut, need = _towards(cut, np.clip(most - moved, cut, spills), need)
            moved, _ = _towards(moved, np.minimum(highest, np.maximum(most - cut, moved)), need)
        change = moved - before
        room = np.where(change > 0, highest - before, before - lowest)
        part = np.divide(np.abs(change), room, out=np.zeros_like(room), where=room > 0)
        part, rising = np.minimum(part, 1.0)[self.site], (change > 0)[self.site]
        return wanted + part * (np.where(rising, up, down) - wanted), cut


def _towards(values: np.ndarray, ends: np.ndarray, need: float) -> tuple[np.ndarray, float]:
    """Values that go towards their ends until their sum has changed as it has to; what is left."""
    way = values - ends
    total = float(way.sum())
    if abs(total) <= abs(need):
        return ends, need - total
    return values - way * (need / total), 0.0
