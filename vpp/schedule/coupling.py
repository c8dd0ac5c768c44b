"""Limits and position of a portfolio.

The exchange of all sites, imports less exports, has limits, and settles its deviation from a
position. Pure: reads and writes nothing.

    python benchmarks/bench_portfolio.py

Powers are kW, prices EUR/MWh, money EUR.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpp.schedule.interior import CommonLp


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

    def programme(
        self,
        low: np.ndarray,
        high: np.ndarray,
        excess: float,
        mixed: Sequence[tuple[int, float, np.ndarray]] = (),
    ) -> tuple[CommonLp, np.ndarray]:
        """Deviation and excess as variables, beside schedules that are mixed.

        The exchange of all sites climbs from the least to the most through segments, whose prices
        rise.

        Parameters
        ----------
        low, high : between which the exchange of all sites must be [kW].
        excess : price of the excess [EUR/MWh].
        mixed : site, cost [EUR] and exchange [kW] of each schedule; the shares of those of a site
            sum to 1.

        Returns
        -------
        The variables, first the shares of the schedules, and the right side of the common rows:
        exchange, and sites.
        """
        steps, by_kw = len(low), self.hours / 1000
        position = np.zeros(steps) if self.position_kw is None else self.position_kw
        away = self.position_kw is not None
        kinks = np.sort([
            *(np.clip(k, low, high) for k in (self.import_limit_kw, -self.export_limit_kw)),
            *((np.clip(position, low, high),) if away else ()), low, high,
        ], axis=0)  # fmt: skip
        middle, widths = (kinks[1:] + kinks[:-1]) / 2, np.diff(kinks, axis=0)
        slopes = excess * ((middle > self.import_limit_kw) * 1.0 - (middle < -self.export_limit_kw))
        if away:
            short, long = self.short_eur_per_mwh, -self.long_eur_per_mwh
            slopes = slopes + np.where(middle > position, short, long)
        count = len({site for site, _, _ in mixed})
        matrix = np.zeros((steps + count, len(mixed) + widths.size))
        for column, (site, _, exchange) in enumerate(mixed):
            matrix[:steps, column], matrix[steps + site, column] = exchange, 1.0
        matrix[:steps, len(mixed) :] = -np.tile(np.eye(steps), len(widths))
        over = float(self.excess_kw(low).sum()) * by_kw
        constant = excess * over + self.deviation_eur(low)
        costs = np.concatenate(([cost for _, cost, _ in mixed], (slopes * by_kw).ravel()))
        most = np.concatenate((np.full(len(mixed), 2.0), widths.ravel()))
        return CommonLp(matrix, costs, most, constant), np.concatenate((low, np.ones(count)))

    @property
    def loose(self) -> bool:
        """Whether nothing couples the sites."""
        limits = np.isinf(self.import_limit_kw).all() and np.isinf(self.export_limit_kw).all()
        priced = self.short_eur_per_mwh or self.long_eur_per_mwh
        return bool(limits and (self.position_kw is None or not priced))
