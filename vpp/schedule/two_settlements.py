"""A span of the past with two settlements: a position a day ahead, and what is done beside it.

The position is the plan of each local day at its day-ahead prices. Three ways to run the batteries
are compared beside none: as they were planned, departing from the plan as deviations pay
(`vpp.schedule.deviations`), and with all prices of deviations known beforehand. Pure: reads and
writes nothing.

    python optimization.py backtest --days 30 --settlement two --deviation-prices imbalance-1

Money is EUR and positive where it is paid.
"""

import time
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from vpp.schedule.bank import Bank
from vpp.schedule.deviations import Gaps, trade
from vpp.schedule.dispatch import carry_out, idle
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.site import without_battery
from vpp.schedule.value import captured_share, interval_costs_eur, replay_or_raise

NO_BATTERY, DAY_AHEAD = "no battery", "day-ahead plan"
REPLANNED, FORESEEN = "departing as deviations pay", "perfect foresight of deviations"
FORESEEN_LIMIT_S, FORESEEN_DAYS, KEPT_DAYS = 60.0, 30, 28


@dataclass(frozen=True, eq=False)
class Span:
    """A span of the past and what was known of it.

    Parameters
    ----------
    actual : the site at actual load and renewables, imports and exports at day-ahead prices.
    load_kw, renewables_kw : powers that were expected a day ahead [kW], one an interval.
    deviation_eur_per_mwh : price of deviations either way [EUR/MWh], one an interval.
    gaps : price of deviations less day-ahead price, and its forecasts.
    """

    actual: Problem
    load_kw: np.ndarray
    renewables_kw: np.ndarray
    deviation_eur_per_mwh: np.ndarray
    gaps: Gaps

    def planned(self, batteries: bool = True) -> Problem:
        """The site as it was expected a day ahead.

        Parameters
        ----------
        batteries : whether it has its batteries.

        Returns
        -------
        The problem.
        """
        site = self.actual if batteries else without_battery(self.actual)
        return replace(site, load_kw=self.load_kw, renewables_kw=self.renewables_kw)

    def settled(self, plan: Schedule, batteries: bool = True) -> Problem:
        """The actual site with a plan as its position, settled twice.

        Parameters
        ----------
        plan : made a day ahead.
        batteries : whether the site has its batteries.

        Returns
        -------
        The problem.
        """
        site = self.actual if batteries else without_battery(self.actual)
        return replace(
            site,
            position_kw=plan.grid_import_kw - plan.grid_export_kw,
            position_price_eur_per_mwh=self.actual.import_price_eur_per_mwh,
            deviation_short_eur_per_mwh=self.deviation_eur_per_mwh,
            deviation_long_eur_per_mwh=self.deviation_eur_per_mwh,
        )


def day_ahead(problem: Problem, solver: str = "highs") -> Schedule:
    """The plan of each local day by itself, from where the plan of the day before leaves batteries.

    Parameters
    ----------
    problem : the span as it was expected a day ahead.
    solver : `highs` or `cbc`.

    Returns
    -------
    The plans one after the other.
    """
    from vpp.schedule.rolling import Rolling

    rolling, plans, soc = Rolling(solver), [], None
    for day in range(problem.local_days[-1] + 1):
        first, end = np.searchsorted(problem.local_days, [day, day + 1]).tolist()
        plans.append(rolling.solve(_part(problem, first, end, soc)))
        soc = plans[-1].soc[:, -1]
    names = ("charge_kw", "discharge_kw", "curtailed_kw", "grid_import_kw", "grid_export_kw", "soc")
    joined = [np.concatenate([getattr(plan, name) for plan in plans], axis=-1) for name in names]
    return Schedule(*joined)


def foreseen(problem: Problem, solver: str = "highs") -> Schedule:
    """The cheapest schedule, found for a month at a time; it overlaps the next by two days.

    Parameters
    ----------
    problem : the span with its position and the prices of deviations.
    solver : `highs` or `cbc`.

    Returns
    -------
    The schedule; a year at once would take the solver many times longer.
    """
    from vpp.schedule.solver import solve_model

    power, days, soc = [], problem.local_days, None
    first, last = 0, int(days[-1])
    while first <= last:
        at, kept, end = np.searchsorted(
            days, [first, first + KEPT_DAYS, first + FORESEEN_DAYS]
        ).tolist()
        kept = kept if first + FORESEEN_DAYS <= last else end
        part = replace(_part(problem, at, end, soc), time_limit_s=FORESEEN_LIMIT_S)
        plan = solve_model(part, solver, explain=False).schedule
        power.append((plan.charge_kw - plan.discharge_kw)[:, : kept - at])
        soc = plan.soc[:, kept - at - 1]
        first = int(days[kept]) if kept < problem.intervals else last + 1
    return _as_planned(problem, np.concatenate(power, axis=1))


def _part(problem: Problem, first: int, end: int, soc: np.ndarray | None) -> Problem:
    """The problem of some intervals; batteries begin at an SOC, or, at first, as they are."""
    start = problem.start + timedelta(minutes=problem.step_min * first)
    part = replace(problem.part(slice(first, end)), start=start)
    if soc is None:
        return part
    now = [
        replace(battery, soc_initial=float(min(max(at, 0.0), 1.0)), cycles_so_far=0.0)
        for battery, at in zip(part.batteries, soc, strict=True)
    ]
    return replace(part, batteries=tuple(now))


def _as_planned(problem: Problem, power_kw: np.ndarray) -> Schedule:
    """The schedule of planned powers [kW], positive where a battery charges."""

    def wanted(t: int, bank: Bank) -> np.ndarray:
        return power_kw[:, t]

    return carry_out(problem, wanted)


def run_span(span: Span, solver: str = "highs") -> dict[str, tuple[Problem, Schedule, float]]:
    """Run the batteries in each way.

    Parameters
    ----------
    span : the span of the past.
    solver : `highs` or `cbc`.

    Returns
    -------
    Problem with its position, schedule, and the time that it took [s], by the name of the way.

    Raises
    ------
    BrokenScheduleError : a schedule breaks physics.
    """
    started = time.perf_counter()
    plan = day_ahead(span.planned(), solver)
    settled, power = span.settled(plan), plan.charge_kw - plan.discharge_kw
    alone = span.settled(day_ahead(span.planned(batteries=False), solver), batteries=False)
    ways = {NO_BATTERY: (alone, idle(alone), 0.0)}
    ways[DAY_AHEAD] = (settled, _as_planned(settled, power), time.perf_counter() - started)
    price = span.actual.import_price_eur_per_mwh
    for name, run in (
        (REPLANNED, lambda: trade(settled, price, span.gaps)),
        (FORESEEN, lambda: foreseen(settled, solver)),
    ):
        started = time.perf_counter()
        ways[name] = (settled, run(), time.perf_counter() - started)
    for name, (problem, schedule, _) in ways.items():
        replay_or_raise(problem, schedule, name)
    return ways


def compared(ways: dict[str, tuple[Problem, Schedule, float]]) -> list[dict]:
    """Money of each way.

    Parameters
    ----------
    ways : as `run_span` gives them.

    Returns
    -------
    A row for each: cost, saving beside no battery, cost of position and of deviations [EUR], share
    of what perfect foresight saves, the local month that saves least with its saving [EUR], limits
    that bend, and seconds.
    """
    costs = {name: interval_costs_eur(*way[:2]) for name, way in ways.items()}
    rows = []
    for name, (problem, schedule, seconds) in ways.items():
        saved = costs[NO_BATTERY] - costs[name]
        totals = [float(costs[way].sum()) for way in (NO_BATTERY, name, FORESEEN)]
        money = replay_or_raise(problem, schedule, name)
        months = problem.local_min.astype("M8[m]").astype("M8[M]")
        each, at = np.unique(months, return_inverse=True)
        by_month = np.bincount(at, saved)
        worst = int(np.argmin(by_month))
        rows.append(
            {
                "way": name,
                "cost_eur": totals[1],
                "saved_eur": totals[0] - totals[1],
                "captured_share": captured_share(*totals),
                "position_cost_eur": money.position_eur,
                "deviation_cost_eur": money.deviation_eur,
                "worst_month": str(each[worst]),
                "worst_month_saved_eur": float(by_month[worst]),
                "bent_limits": len(money.bends),
                "seconds": seconds,
            }
        )
    return rows
