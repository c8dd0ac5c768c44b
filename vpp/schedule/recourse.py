"""A battery that trades at a price of which the next value is a forecast, and the rest a chance.

The gap between this price and the day-ahead price wanders between states. A backward recursion
says what stored energy and cycles are worth in each interval and state: a cycle is kept while a
better gap is likely enough to come. Each interval then does what pays most, its own price as it is
expected now. This is stochastic dynamic programming (Bertsekas, Dynamic Programming and Optimal
Control, vol. 1). Pure: reads and writes nothing.

    python -c "from vpp.schedule.recourse import Chain; help(Chain)"

Prices are EUR/MWh, energies kWh, powers kW and positive where the battery discharges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp.schedule.battery import keep_fraction, money_eur
from vpp.schedule.devices import ScheduledBattery

STATES = 12  # of the gap
ENERGIES, CYCLES = 41, 9  # points of the grid of stored energy, and of what cycles leave
FEW_POWERS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # shares of the rating tried in the recursion
POWERS = np.linspace(-1.0, 1.0, 41)  # and at the decision
FADE = 0.5  # of the gap from one interval to the next, before there is a history
IDLE_EUR = 1e-9  # a power that earns no more than this a kW is not worth it


@dataclass(frozen=True, eq=False)
class Chain:
    """States of the gap, in units of its usual size, and how likely one follows another.

    Parameters
    ----------
    edges : bounds between the states.
    moves : probability that a state (row) is followed by another (column).
    level : mean of each state.
    """

    edges: np.ndarray
    moves: np.ndarray
    level: np.ndarray

    @classmethod
    def of(cls, gaps: np.ndarray) -> "Chain":
        """The chain of past forecasts.

        Parameters
        ----------
        gaps : in units of their usual size, one an interval.

        Returns
        -------
        The chain.
        """
        edges = np.quantile(gaps, np.linspace(0, 1, STATES + 1)[1:-1])
        at = np.searchsorted(edges, gaps)
        moves = np.full((STATES, STATES), 2.0 / STATES)  # two moves that nobody saw
        np.add.at(moves, (at[:-1], at[1:]), 1.0)
        count = np.bincount(at, minlength=STATES)
        level = np.bincount(at, gaps, STATES) / np.maximum(count, 1)
        return cls(edges, moves / moves.sum(axis=1, keepdims=True), level)

    @classmethod
    def unseen(cls) -> "Chain":
        """The chain without a history: a gap fades by half in each interval."""
        edges = np.linspace(-1.5, 1.5, STATES - 1)
        middle = np.concatenate(([-2.0], (edges[1:] + edges[:-1]) / 2, [2.0]))
        moves = np.exp(-0.5 * ((middle - FADE * middle[:, None]) / 0.8) ** 2)
        return cls(edges, moves / moves.sum(axis=1, keepdims=True), FADE * middle)


class Grid:
    """Points of stored energy and of what cycles leave, and the ways between them.

    Parameters
    ----------
    battery : the battery; of limits by interval the narrowest holds.
    hours : length of an interval [h].
    fee_eur_per_mwh : paid beside the price for energy that is charged.

    Attributes
    ----------
    energies, leaves : the points of both [kWh].
    """

    def __init__(self, battery: ScheduledBattery, hours: float, fee_eur_per_mwh: float = 0.0):
        self.battery, self.hours, self.fee_eur_per_mwh = battery, hours, fee_eur_per_mwh
        size, cycles = battery.capacity_kwh, battery.cycles_per_day_max
        low, high = float(np.max(battery.soc_min)), float(np.min(battery.soc_max))
        self.energies = np.linspace(low * size, max(high, low + 1e-6) * size, ENERGIES)
        self.leaves = np.zeros(1)
        if cycles:
            self.leaves = np.linspace(0.0, cycles * size, CYCLES)
        energy, left = (x.ravel() for x in np.meshgrid(self.energies, self.leaves, indexing="ij"))
        powers = [self.possible(np.asarray(share), energy, left) for share in FEW_POWERS]
        self.powers = np.concatenate(powers)
        ways = [self._weights(*self.after(power, energy, left)) for power in powers]
        self.ways = _stacked(ways, len(energy))

    def possible(self, share: np.ndarray, energy: np.ndarray, left: np.ndarray) -> np.ndarray:
        """The powers nearest to shares of the ratings that energy, room and cycles allow.

        Parameters
        ----------
        share : of the ratings, below 0 where it charges.
        energy, left : stored energy, and what cycles leave [kWh].

        Returns
        -------
        Powers [kW], positive where it discharges.
        """
        battery, hours = self.battery, self.hours
        out = np.maximum(energy - self.energies[0], 0.0) * battery.eta_discharge / hours
        if battery.cycles_per_day_max is not None:
            out = np.minimum(out, np.maximum(left, 0.0) / hours)
        room = np.maximum(self.energies[-1] - energy, 0.0) / battery.eta_charge / hours
        give = np.minimum(np.maximum(share, 0.0) * np.min(battery.discharge_kw), out)
        return give - np.minimum(np.maximum(-share, 0.0) * np.min(battery.charge_kw), room)

    def after(
        self, power: np.ndarray, energy: np.ndarray, left: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """States after an interval.

        Parameters
        ----------
        power : powers [kW], positive where it discharges.
        energy, left : stored energy, and what cycles leave [kWh].

        Returns
        -------
        Both at the end of the interval [kWh].
        """
        battery, give, take = self.battery, np.maximum(power, 0.0), np.maximum(-power, 0.0)
        change = take * battery.eta_charge - give / battery.eta_discharge
        kept = energy * keep_fraction(battery, self.hours)
        return kept + self.hours * change, left - self.hours * give

    def earned(self, power: np.ndarray, price: np.ndarray | float) -> np.ndarray:
        """Money that powers earn in an interval, less wear and fee.

        Parameters
        ----------
        power : powers [kW], positive where it discharges.
        price : price of the interval [EUR/MWh].

        Returns
        -------
        Money [EUR].
        """
        give, take = np.maximum(power, 0.0), np.maximum(-power, 0.0)
        wear, fee = self.battery.wear_eur_per_mwh, self.fee_eur_per_mwh
        money = money_eur(self.hours * power, price)
        return money - money_eur(self.hours * give, wear) - money_eur(self.hours * take, fee)

    def _weights(self, energy: np.ndarray, left: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Points around a state and their shares, for straight lines between points."""
        e, e_share = _between(self.energies, energy)
        c, c_share = _between(self.leaves, left)
        corners = []
        for up, share in ((0, 1 - e_share), (1, e_share)):
            for more, part in ((0, 1 - c_share), (1, c_share)):
                row = np.minimum(e + up, len(self.energies) - 1) * len(self.leaves)
                corners.append((row + np.minimum(c + more, len(self.leaves) - 1), share * part))
        return corners

    def worth(
        self, price: np.ndarray, moves: np.ndarray, last_of_day: np.ndarray
    ) -> list[np.ndarray]:
        """Worth of each point after each interval.

        Parameters
        ----------
        price : expected price (interval, state) [EUR/MWh].
        moves : as in `Chain`.
        last_of_day : whether an interval is the last of its local day, after which the cycles begin
            anew (interval).

        Returns
        -------
        For each interval, the expected worth at its end of each point (point, state) [EUR].
        """
        points = len(self.energies) * len(self.leaves)
        value, found = np.zeros((points, price.shape[1])), []
        full = np.arange(points) // len(self.leaves) * len(self.leaves) + len(self.leaves) - 1
        for t in range(len(price) - 1, -1, -1):
            if last_of_day[t]:
                value = value[full]
            after = value @ moves.T
            found.append(after)
            money = self.earned(self.powers[:, None], price[t])
            value = (self.ways @ after + money).reshape(-1, points, price.shape[1]).max(axis=0)
        return found[::-1]

    def best_kw(self, after: np.ndarray, energy: float, left: float, price: float) -> float:
        """The power that pays most now.

        Parameters
        ----------
        after : worth of each point at the end of the interval [EUR].
        energy, left : stored energy, and what cycles leave [kWh].
        price : expected price of the interval [EUR/MWh].

        Returns
        -------
        The power [kW], positive where it discharges.
        """
        now, still = np.full(len(POWERS), energy), np.full(len(POWERS), left)
        power = self.possible(POWERS, now, still)
        corners = self._weights(*self.after(power, now, still))
        money = sum(after[points] * share for points, share in corners)
        money = money + self.earned(power, price) - IDLE_EUR * np.abs(power)
        return float(power[np.argmax(money)])


def _between(points: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The point below each value, and how far it is to the next one."""
    if len(points) == 1:
        return np.zeros(len(values), dtype=int), np.zeros(len(values))
    place = np.clip((values - points[0]) / (points[1] - points[0]), 0.0, len(points) - 1.0)
    below = np.minimum(place.astype(int), len(points) - 2)
    return below, place - below


def _stacked(ways: Sequence[list[tuple[np.ndarray, np.ndarray]]], points: int) -> Any:
    """One sparse matrix that reads the worth after each power off the grid's points."""
    from scipy.sparse import coo_array

    rows, columns, shares = [], [], []
    for k, corners in enumerate(ways):
        for place, share in corners:
            rows.append(k * points + np.arange(points))
            columns.append(place)
            shares.append(share)
    places = (np.concatenate(rows), np.concatenate(columns))
    return coo_array((np.concatenate(shares), places), shape=(len(ways) * points, points)).tocsr()
