"""Limits and position of a portfolio, and the mixture of schedules of its sites that keeps them.

The exchange of all sites, imports less exports, has limits, and settles its deviation from a
position. Pure: reads and writes nothing.

    python benchmarks/bench_portfolio.py

Powers are kW, prices EUR/MWh, money EUR.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np

from vpp.schedule.backends import new_highs
from vpp.schedule.draft import INFINITE, Matrices


@dataclass(frozen=True, eq=False)
class Coupling:
    """Limits and position of all sites together.

    Parameters
    ----------
    hours : length of an interval [h].
    import_limit_kw, export_limit_kw : most exchange from and to the grid, one an interval [kW].
    position_kw : net purchase already made, one an interval [kW]; None: none.
    short_eur_per_mwh, long_eur_per_mwh : paid, beside the sites' prices, for each MWh above and
        below the position.
    """

    hours: float
    import_limit_kw: np.ndarray
    export_limit_kw: np.ndarray
    position_kw: np.ndarray | None = None
    short_eur_per_mwh: float = 0.0
    long_eur_per_mwh: float = 0.0

    def __post_init__(self) -> None:
        if self.position_kw is not None and len(self.position_kw) != len(self.import_limit_kw):
            raise ValueError(f"a position of {len(self.position_kw)} intervals")

    def deviation_eur(self, exchange_kw: np.ndarray) -> float:
        """The cost of the deviation from the position [EUR].

        Parameters
        ----------
        exchange_kw : of all sites, one an interval [kW].
        """
        if self.position_kw is None:
            return 0.0
        away = (exchange_kw - self.position_kw) * self.hours / 1000
        short, long = np.maximum(away, 0.0).sum(), np.maximum(-away, 0.0).sum()
        return float(self.short_eur_per_mwh * short + self.long_eur_per_mwh * long)

    def excess_kw(self, exchange_kw: np.ndarray) -> np.ndarray:
        """Power beyond the limits, one an interval [kW].

        Parameters
        ----------
        exchange_kw : of all sites, one an interval [kW].
        """
        above = exchange_kw - self.import_limit_kw
        return np.maximum(np.maximum(above, -exchange_kw - self.export_limit_kw), 0.0)

    def least_eur(
        self, price_eur_per_mwh: np.ndarray, low: np.ndarray, high: np.ndarray, excess: float
    ) -> float:
        """The least that deviation and excess can cost, less the worth of the exchange.

        Parameters
        ----------
        price_eur_per_mwh : that the exchange is worth, one an interval.
        low, high : between which the exchange of all sites must be [kW].
        excess : price of the excess [EUR/MWh].
        """
        kinks = [low, high, self.import_limit_kw, -self.export_limit_kw]
        kinks += [] if self.position_kw is None else [self.position_kw]
        at = np.clip(np.stack([np.where(np.isfinite(k), k, low) for k in kinks]), low, high)
        costs = excess * self.excess_kw(at) - price_eur_per_mwh * at
        if self.position_kw is not None:
            away = at - self.position_kw
            costs += self.short_eur_per_mwh * np.maximum(away, 0.0)
            costs += self.long_eur_per_mwh * np.maximum(-away, 0.0)
        return float(costs.min(axis=0).sum()) * self.hours / 1000

    @property
    def loose(self) -> bool:
        """Whether nothing couples the sites."""
        limits = np.isinf(self.import_limit_kw).all() and np.isinf(self.export_limit_kw).all()
        priced = self.short_eur_per_mwh or self.long_eur_per_mwh
        return bool(limits and (self.position_kw is None or not priced))


@dataclass(eq=False)
class Mixture:
    """The cheapest mixture of schedules of each site that keeps what the sites have in common.

    The master problem of a Dantzig-Wolfe decomposition: shares of each site's schedules sum to 1.

    Parameters
    ----------
    coupling : what the sites have in common.
    sites : number of sites.
    low, high : between which the exchange of all sites must be, one an interval [kW].
    excess : price of power beyond the common limits [EUR/MWh].
    columns : site, cost [EUR] and exchange [kW] of each schedule that was added.
    """

    coupling: Coupling
    sites: int
    low: np.ndarray
    high: np.ndarray
    excess: float
    columns: list[tuple[int, float, np.ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        coupling, steps = self.coupling, len(self.low)
        by_kw, position = coupling.hours / 1000, coupling.position_kw
        zeros, free = np.zeros(steps), np.full(steps, INFINITE)
        short, long = (coupling.short_eur_per_mwh, coupling.long_eur_per_mwh)
        prices = [0.0, *((self.excess,) * 2), *((short, long) if position is not None else (0, 0))]
        goal = free if position is None else position
        below = -free if position is None else position
        # the exchange, its excess on both sides, and its deviation on both sides
        t = np.arange(steps)
        rows = {
            "exchange": [(0, -1.0)],
            "import": [(0, 1.0), (1, -1.0)],
            "export": [(0, 1.0), (2, 1.0)],
            "position": [(0, 1.0), (3, -1.0), (4, 1.0)],
        }
        counts = np.repeat([len(entries) for entries in rows.values()], steps)
        index = [
            [place * steps + k for place, _ in entries] for entries in rows.values() for k in t
        ]
        value = [[sign for _, sign in entries] for entries in rows.values() for _ in t]
        counts = np.concatenate((counts, np.zeros(self.sites, int)))
        matrix = Matrices(
            cost=np.repeat(np.array(prices) * by_kw, steps),
            lower=np.concatenate((self.low, *(zeros,) * 4)),
            upper=np.concatenate((self.high, *(free,) * 4)),
            integral=np.zeros(5 * steps, dtype=np.int32),
            row_lower=np.concatenate(
                (zeros, -free, -coupling.export_limit_kw, below, np.ones(self.sites))
            ),
            row_upper=np.concatenate(
                (zeros, coupling.import_limit_kw, free, goal, np.ones(self.sites))
            ),
            starts=np.concatenate(([0], np.cumsum(counts))).astype(np.int32),
            index=np.concatenate(index).astype(np.int32),
            value=np.concatenate(value),
        )
        self.steps, self.highs = steps, new_highs(matrix, INFINITE, 1e-6)

    def add(self, site: int, cost_eur: float, exchange_kw: np.ndarray) -> int:
        """Add a schedule of a site.

        Parameters
        ----------
        site : number of the site.
        cost_eur : what the schedule costs at the site's own prices [EUR].
        exchange_kw : its import less export, one an interval [kW].

        Returns
        -------
        Number of the schedule.
        """
        there = np.flatnonzero(exchange_kw)
        index = np.append(there, 4 * self.steps + site).astype(np.int32)
        value = np.append(exchange_kw[there], 1.0)
        self.highs.addCol(cost_eur, 0.0, INFINITE, len(index), index, value)
        self.columns.append((site, cost_eur, exchange_kw))
        return len(self.columns) - 1

    def forbid(self, columns: Sequence[int]) -> None:
        """Keep schedules out of the mixture.

        Parameters
        ----------
        columns : their numbers.
        """
        for column in columns:
            self.highs.changeColBounds(5 * self.steps + column, 0.0, 0.0)

    def solve(self) -> tuple[float, np.ndarray, np.ndarray]:
        """The cheapest mixture.

        Returns
        -------
        Its cost with excess and deviation [EUR], the price of the exchange in it [EUR/MWh], one an
        interval, and the share of each schedule.

        Raises
        ------
        RuntimeError : HiGHS has no optimum.
        """
        self.highs.run()
        if self.highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"HiGHS: {self.highs.getModelStatus()}")
        solution, info = self.highs.getSolution(), self.highs.getInfo()
        duals = np.array(solution.row_dual[: self.steps])
        shares = np.array(solution.col_value[5 * self.steps :])
        return info.objective_function_value, -duals * 1000 / self.coupling.hours, shares

    def exchange_kw(self, shares: np.ndarray) -> np.ndarray:
        """The exchange of each site in a mixture [kW] (site, interval).

        Parameters
        ----------
        shares : of each schedule.
        """
        mixed = np.zeros((self.sites, self.steps))
        for (site, _, exchange), share in zip(self.columns, shares.tolist(), strict=True):
            if share > 0.0:
                mixed[site] += share * exchange
        return mixed
