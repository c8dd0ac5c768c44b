"""The plans of the sites of a portfolio, and their money together.

Pure: reads and writes nothing.

    python benchmarks/bench_portfolio.py

Powers are kW, prices EUR/MWh, money EUR.
"""

from dataclasses import dataclass, replace

import numpy as np

from vpp.schedule.coupling import Coupling
from vpp.schedule.problem import Certificate, InfeasibleScheduleError, Problem, Result, Schedule
from vpp.schedule.reasons import leading, reasons, worth
from vpp.schedule.replay import Replay, replay


@dataclass(frozen=True, eq=False)
class SitePlan:
    """The schedule of a site in a portfolio.

    Parameters
    ----------
    problem : of the site.
    schedule : its schedule.
    money : the replay of the schedule.
    stored_eur_per_mwh, bus_eur_per_mwh : value of a MWh more in each battery (battery,
        interval), and at the bus, one an interval.
    """

    problem: Problem
    schedule: Schedule
    money: Replay
    stored_eur_per_mwh: np.ndarray
    bus_eur_per_mwh: np.ndarray

    @property
    def exchange_kw(self) -> np.ndarray:
        """Import less export [kW], one an interval."""
        return self.schedule.grid_import_kw - self.schedule.grid_export_kw

    def result(self, certificate: Certificate) -> Result:
        """The plan as a result that can be stored.

        Parameters
        ----------
        certificate : of the portfolio.
        """
        problem, shown = self.problem, np.zeros(self.problem.intervals)
        if problem.batteries:
            values, _ = worth(problem, self.schedule, self.stored_eur_per_mwh)
            shown = values[leading(problem, self.schedule), np.arange(problem.intervals)]
        result = Result(
            status="optimal" if certificate.proven else "feasible",
            certificate=certificate,
            schedule=self.schedule,
            cost_eur=self.money.cost_eur,
            objective_eur=self.money.objective_eur,
            violations=self.money.bends,
            stored_value_eur_per_mwh=shown,
            battery_value_eur_per_mwh=self.stored_eur_per_mwh,
            bus_price_eur_per_mwh=self.bus_eur_per_mwh,
        )
        return replace(result, reason=reasons(problem, result))


@dataclass(frozen=True, eq=False)
class PortfolioPlan:
    """The schedules of all sites, their money together, and how far it can be from the best.

    Parameters
    ----------
    sites : plan of each site by its name.
    faults : cause by the name of each site that has no plan.
    coupling : what the sites have in common.
    price_eur_per_mwh : of the exchange, beside the sites' prices, one an interval.
    certificate : gap and bound of `objective_eur`.
    """

    sites: dict[str, SitePlan]
    faults: dict[str, str]
    coupling: Coupling
    price_eur_per_mwh: np.ndarray
    certificate: Certificate

    @property
    def exchange_kw(self) -> np.ndarray:
        """Import less export of all sites [kW], one an interval."""
        nothing = np.zeros(len(self.coupling.import_limit_kw))
        return sum((plan.exchange_kw for plan in self.sites.values()), nothing)

    @property
    def deviation_eur(self) -> float:
        """The cost of the deviation from the position [EUR]."""
        return self.coupling.deviation_eur(self.exchange_kw)

    @property
    def objective_eur(self) -> float:
        """Cost of all sites and of the deviation, less the value of the energy left [EUR]."""
        return sum(plan.money.objective_eur for plan in self.sites.values()) + self.deviation_eur

    @property
    def excess_kwh(self) -> float:
        """Energy beyond the common limits [kWh]."""
        return float(self.coupling.excess_kw(self.exchange_kw).sum()) * self.coupling.hours


def site_plan(
    problem: Problem, schedule: Schedule, stored: np.ndarray, bus: np.ndarray
) -> SitePlan:
    """The plan by a schedule, which is replayed.

    Parameters
    ----------
    problem : of the site.
    schedule : its schedule.
    stored, bus : marginal values of `SitePlan`.

    Raises
    ------
    InfeasibleScheduleError : the schedule breaks physics.
    """
    money = replay(problem, schedule)
    if money.violations:
        worst = max(money.violations, key=lambda one: one.amount)
        raise InfeasibleScheduleError(f"its schedule breaks physics: {worst}")
    return SitePlan(problem, schedule, money, stored, bus)
