"""Plans over scenarios in a backtest: drawn from the quantiles of the stored forecasts.

Load, renewables and prices are drawn apart from each other; the bands of sources of one kind are
added up, as if all erred alike. Correlation along time is learnt from what was known a day before
each plan. Reads forecasts of role `backtest`; writes nothing.

    python optimization.py backtest --days 60 --scenarios 10

Powers are means over [time, time + step) [kW], prices EUR/MWh, times UTC.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from psycopg2.extensions import connection

from vpp.forecast.quantiles import QUANTILES
from vpp.planning.outlooks import Outlook, stored_outlooks
from vpp.runtime.settings import Config
from vpp.schedule.basis import PlanBasis
from vpp.schedule.draws import block_bootstrap, correlation, draw, scores
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.scenarios import Scenario
from vpp.schedule.site import site_problem
from vpp.schedule.value import interval_costs_eur
from vpp.storage.schema import QUANTILES as COLUMNS

SERIES = ("load_kw", "renewables_kw", "price_eur_per_mwh")


@dataclass(frozen=True, eq=False)
class Drawn:
    """Draws scenarios for the plans of a span.

    Parameters
    ----------
    bands : quantiles of each outlook (quantile, series, interval).
    rho : correlation of neighbouring intervals (series, interval at which a plan is made).
    count : scenarios of a plan.
    common : what is the same in all, as in the problem file.
    """

    bands: Sequence[np.ndarray]
    rho: np.ndarray
    count: int
    common: str

    def __call__(
        self,
        problem: Problem,
        basis: PlanBasis,
        outlook: int,
        seen: slice,
        made: float,
        known: np.ndarray,
    ) -> Problem:
        """The problem with scenarios.

        Parameters
        ----------
        problem : the problem at the expected values.
        basis : the site.
        outlook : number of the outlook.
        seen : its intervals that the problem has.
        made : number of the interval at whose start the plan is made.
        known : prices that are published, one an interval; NaN where they are not.

        Returns
        -------
        The problem.
        """
        bands, start = self.bands[outlook][:, :, seen], pd.Timestamp(problem.start)
        generator = np.random.default_rng([int(start.timestamp()), self.count])
        at = int(np.clip(made, 0, self.rho.shape[1] - 1))
        ways = np.stack(
            [
                draw(bands[:, i], np.array(QUANTILES), self.rho[i, at], self.count, generator)
                for i in range(len(SERIES))
            ]
        )
        ways[1] = np.maximum(ways[1], 0.0)
        ways[2] = np.where(np.isnan(known), ways[2], known)
        bare = replace(basis, batteries=(), devices={})
        drawn = [
            site_problem(bare, start, dict(zip(SERIES, ways[:, k], strict=True)))
            for k in range(self.count)
        ]
        names = ("import_price_eur_per_mwh", "export_price_eur_per_mwh", *SERIES[:2])
        scenarios = tuple(
            Scenario(1 / self.count, *(getattr(one, name) for name in names)) for one in drawn
        )
        return replace(problem, scenarios=scenarios, common=self.common)


def read_drawn(
    conn: connection,
    config: Config,
    frame: pd.DataFrame,
    outlooks: Sequence[Outlook],
    since: pd.Timestamp,
    step_min: int,
    count: int,
    one_step: bool,
) -> Drawn:
    """Read the quantiles of stored outlooks.

    Parameters
    ----------
    conn : connection to the database.
    config : names the price area.
    frame : actual values of the span, as `site_frame` gives them.
    outlooks : the outlooks of the span.
    since : as for `stored_outlooks`.
    step_min : length of an interval [min].
    count : scenarios of a plan.
    one_step : whether one interval of each plan is carried out: its powers are the same in all
        scenarios then, else those of all intervals.

    Returns
    -------
    The scenarios to be drawn.
    """
    index = pd.DatetimeIndex(frame.index)
    each = [stored_outlooks(conn, config, index, step_min, since, name) for name in COLUMNS]
    bands = [
        np.sort(np.stack([[getattr(one, name) for name in SERIES] for one in alike]), axis=0)
        for alike in zip(*each, strict=True)
    ]
    firsts = np.array([outlook.first for outlook in outlooks])
    newest = np.maximum(np.searchsorted(firsts, np.arange(len(index)), side="right") - 1, 0)
    rho = np.stack(
        [
            _learnt(bands, firsts, newest, frame[name].to_numpy(), i, step_min / 60)
            for i, name in enumerate(SERIES)
        ]
    )
    return Drawn(bands, rho, count, "first" if one_step else "all")


def _learnt(
    bands: Sequence[np.ndarray],
    firsts: np.ndarray,
    newest: np.ndarray,
    actual: np.ndarray,
    series: int,
    hours: float,
) -> np.ndarray:
    """Correlation of neighbouring errors, known at each interval: that of a day before."""
    here = np.full((len(QUANTILES), len(actual)), np.nan)
    for t, k in enumerate(newest.tolist()):
        place = t - firsts[k]
        if 0 <= place < bands[k].shape[2]:
            here[:, t] = bands[k][:, series, place]
    rho, day = correlation(scores(here, np.array(QUANTILES), actual), hours), round(24 / hours)
    return np.concatenate((np.full(day, rho[0]), rho))[: len(actual) + 1]


def brought(actual: Problem, plain: Schedule, other: Schedule) -> dict:
    """How much less a day costs in one schedule than in another.

    Parameters
    ----------
    actual : the span's problem at actual values.
    plain, other : the schedules; `other` is the one that may bring something.

    Returns
    -------
    `more_eur_per_day` of 24 h, and between which means it lies with 90 % (block bootstrap),
    `more_low` and `more_high` [EUR]. A peak, which belongs to no day, is left out.
    """
    gained = interval_costs_eur(actual, plain) - interval_costs_eur(actual, other)
    elapsed = actual.hours * np.arange(len(gained) + 1) / 24
    per_day = np.bincount(elapsed[:-1].astype(int), gained)
    per_day = per_day * len(per_day) / elapsed[-1]  # the last day may be a part of one
    names = ("more_eur_per_day", "more_low", "more_high")
    return dict(zip(names, block_bootstrap(per_day), strict=True))
