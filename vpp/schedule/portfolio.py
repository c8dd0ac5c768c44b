"""The plan of many sites that have limits and a position in common, with a proven bound.

Each site answers a price of its exchange with the grid, beside its own prices, by its cheapest
schedule; the master problem mixes these schedules so that the common limits hold, and its duals are
the next price (Dantzig and Wolfe, Operations Research 8 (1960), 101). This goes on with the
batteries of a site in few groups until the price stays; then every site is solved battery by
battery for its share of the mixture. At the same price all sites on their own and the coupling on
its own cost less than any plan can (Lagrange): this bound is in the certificate. Every schedule is
replayed without a solver. A site that has no schedule is named, and the others go on. Pure: reads
and writes nothing.

    python benchmarks/bench_portfolio.py

Powers are kW, prices EUR/MWh, money EUR.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from vpp.schedule.coupling import Coupling, Mixture
from vpp.schedule.dispatch import settle
from vpp.schedule.duals import unknown_values
from vpp.schedule.joint_lp import shared_price, with_groups
from vpp.schedule.problem import Certificate, InfeasibleScheduleError, Problem, Result, Schedule
from vpp.schedule.reasons import leading, reasons, worth
from vpp.schedule.replay import Replay, replay
from vpp.schedule.site_lp import OWN, Answer, SiteLp, SiteLpError, is_linear

logger = logging.getLogger("optimization")

JOBS = 2  # sites that are solved at the same time
SEARCH, EXACT = 0.6, 0.7  # of the time limit: ends of the search, and of further exact rounds
UNKNOWN = Certificate("portfolio", 0, None, None, 0.0)


@dataclass(frozen=True, eq=False)
class SitePlan:
    """The schedule of a site in a portfolio.

    Parameters
    ----------
    problem : of the site.
    schedule : its schedule.
    money : the replay of the schedule.
    stored_eur_per_mwh, bus_eur_per_mwh : marginal values, as of `Answer`.
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


def plan_portfolio(
    problems: Mapping[str, Problem],
    coupling: Coupling,
    solve: Callable[[Problem], Any],
    gap: float = 1e-4,
    time_limit_s: float = 60.0,
) -> PortfolioPlan:
    """Plan all sites together.

    Parameters
    ----------
    problems : of each site by its name, of the same intervals.
    coupling : what the sites have in common.
    solve : gives the cheapest schedule of a site with its certificate, as
        `vpp.schedule.solver.solve_model`: for sites of which a linear programme has not all.
    gap : relative distance to the bound at which the search may end.
    time_limit_s : of all [s].

    Returns
    -------
    The plan.

    Raises
    ------
    InfeasibleScheduleError : no site has a schedule.
    """
    with ThreadPoolExecutor(JOBS) as pool:
        search = _Search(dict(problems), coupling, solve, time_limit_s, pool)
        return search.plan(gap)


@dataclass(eq=False)
class _Search:
    """A portfolio on its way to a plan."""

    problems: dict[str, Problem]
    coupling: Coupling
    solve: Callable[[Problem], Any]
    time_limit_s: float
    pool: ThreadPoolExecutor
    faults: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        names = list(self.problems)
        self.places = {name: place for place, name in enumerate(names)}
        self.linear = [name for name in names if is_linear(self.problems[name])]
        self.whole = [name for name in names if name not in set(self.linear)]
        dearest = max(map(_dearest, self.problems.values()), default=0.0)
        self.excess = 10.0 * dearest + 1000.0  # nothing that energy is worth, or loses
        self.low, self.high = np.zeros((2, len(self.coupling.import_limit_kw)))
        for problem in self.problems.values():
            low, high = _reach(problem)
            self.low, self.high = self.low + low, self.high + high

    def late(self, part: float) -> bool:
        """Whether this part of the time limit is over."""
        return time.monotonic() - self.started > part * self.time_limit_s

    def mixture(self) -> Mixture:
        """A mixture of no schedules yet."""
        return Mixture(self.coupling, len(self.problems), self.low, self.high, self.excess)

    def each(self, work: Callable[[str], Any], names: Iterable[str]) -> dict[str, Any]:
        """The work done for each site; a site of which it fails is a fault, and left out."""

        def guarded(name: str) -> Any:
            try:
                return work(name)
            except (InfeasibleScheduleError, SiteLpError) as error:
                return error

        names = [name for name in names if name not in self.faults]
        found = dict(zip(names, self.pool.map(guarded, names), strict=True))
        failed = {name: str(one) for name, one in found.items() if isinstance(one, Exception)}
        self.faults |= failed
        return {name: one for name, one in found.items() if name not in failed}

    def least_eur(self, price: np.ndarray, answers: Iterable[Answer]) -> float:
        """The bound that the sites' answers to a price prove [EUR]."""
        own = sum(answer.bound_eur for answer in answers)
        return own + self.coupling.least_eur(price, self.low, self.high, self.excess)

    def cost_eur(self, answers: Collection[Answer]) -> float:
        """The cost of schedules of all sites, with deviation and excess [EUR]."""
        exchange = sum((answer.exchange_kw for answer in answers), np.zeros(len(self.low)))
        over_kwh = float(self.coupling.excess_kw(exchange).sum()) * self.coupling.hours
        own = sum(answer.cost_eur for answer in answers)
        return own + self.coupling.deviation_eur(exchange) + self.excess * over_kwh / 1000

    def plan(self, gap: float) -> PortfolioPlan:
        """Search the price, solve every site at it, mix, share out, and certify."""
        price, aims = np.zeros(len(self.low)), dict[str, np.ndarray]()
        whole = self.whole_at(price)
        if not self.coupling.loose:
            price, aims = self.searched(whole)
            whole = self.whole_at(price) if price.any() else whole
        models = self.each(lambda name: SiteLp(self.problems[name], self.excess), self.linear)
        answers = self.each(lambda name: models[name].answer(price), models)
        if self.faults.keys() >= self.problems.keys():
            name, cause = next(iter(self.faults.items()))
            raise InfeasibleScheduleError(f"no site has a schedule; {name}: {cause}")
        bound = self.least_eur(price, [*answers.values(), *whole.values()])
        if not self.coupling.loose:
            price, bound, answers, whole = self.joined(
                models, whole, answers, aims, price, bound, gap
            )
        plans = self.each(
            lambda name: self.site_plan(name, models.get(name), (answers | whole)[name]),
            [*answers, *whole],
        )
        plan = PortfolioPlan(plans, self.faults, self.coupling, price, UNKNOWN)
        # what no plan with as little excess can cost less than
        own_excess = sum(site.money.bent[0] for site in plans.values())
        bound -= self.excess * (plan.excess_kwh + OWN * own_excess) / 1000
        objective = plan.objective_eur
        distance = max(0.0, objective - bound) / max(abs(objective), abs(bound), 1e-9)
        seconds = time.monotonic() - self.started
        done = distance <= max(gap, 1e-6)
        certificate = Certificate("portfolio", 0, min(1.0, distance), bound, seconds, done)
        return replace(plan, certificate=certificate)

    def whole_at(self, price: np.ndarray) -> dict[str, Answer]:
        """Answers of sites that are not linear, by the general solver."""

        def answered(name: str) -> Answer:
            problem = self.problems[name]
            found = self.solve(with_exchange_price(problem, price))
            schedule = found.schedule
            money = replay(problem, schedule)
            exchange = schedule.grid_import_kw - schedule.grid_export_kw
            worth = float(exchange @ price) * problem.hours / 1000
            bound = found.certificate.bound_eur
            bound = money.objective_eur + worth if bound is None else bound
            over = self.excess * OWN * money.bent[0] / 1000
            parts = (schedule.charge_kw, schedule.discharge_kw, schedule.curtailed_kw)
            values = (found.battery_value_eur_per_mwh, found.bus_price_eur_per_mwh)
            money_eur = money.objective_eur + over
            return Answer(exchange, *parts, money_eur, bound + over, schedule, *values)

        return self.each(answered, self.whole)

    def searched(self, whole: Mapping[str, Answer]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The price of the exchange, and each site's exchange at it, by groups of batteries."""
        few = with_groups({name: self.problems[name] for name in self.linear})
        models = self.each(lambda name: SiteLp(few[name], self.excess), few)
        nothing = np.zeros(len(self.low))
        others = sum((answer.exchange_kw for answer in whole.values()), nothing)
        limit_s = SEARCH * self.time_limit_s
        try:
            return shared_price(models, self.coupling, others, self.excess, limit_s)
        except SiteLpError as error:
            logger.warning("no price of the exchange in %.0f s: %s", limit_s, error)
            return nothing, {}

    def joined(
        self,
        models: Mapping[str, SiteLp],
        whole: dict[str, Answer],
        answers: dict[str, Answer],
        aims: dict[str, np.ndarray],
        price: np.ndarray,
        bound: float,
        gap: float,
    ) -> tuple[np.ndarray, float, dict[str, Answer], dict[str, Answer]]:
        """Schedules of all sites that keep together what they have in common.

        The mixture of exact schedules says what each site exchanges, and the site does that at
        least cost; where the bound is still far, more prices are asked."""
        off = self.excess / 2
        aimed = self.aimed(models, aims, price, off)
        if self.cost_eur([*aimed.values(), *whole.values()]) - bound <= gap * abs(bound):
            return price, bound, aimed, whole
        mixture, kept = self.mixture(), dict[int, tuple[str, Answer]]()

        def add(found: Mapping[str, Answer]) -> None:
            for name, one in found.items():
                kept[mixture.add(self.places[name], one.cost_eur, one.exchange_kw)] = (name, one)

        for found in (answers | whole, aimed):
            add(found)
        while True:
            cost, asked, shares = mixture.solve()
            if cost - bound <= gap / 2 * max(abs(cost), 1e-9) or self.late(EXACT):
                break
            logger.debug("exact: cost %.2f, bound %.2f", cost, bound)
            found = self.each(partial(_answer, models, asked), models)
            found |= self.whole_at(asked)
            add(found)
            at_price = self.least_eur(asked, found.values())
            if at_price <= bound and self.late(EXACT / 2):
                break
            bound, price = max((bound, price), (at_price, asked), key=lambda pair: pair[0])
        chosen = self.chosen(mixture, kept, mixture.solve()[2])
        shares = mixture.solve()[2]
        mixed = mixture.exchange_kw(shares)
        aims = {name: mixed[self.places[name]] for name in models if name not in self.faults}
        return price, bound, self.aimed(models, aims, price, off), chosen

    def chosen(
        self, mixture: Mixture, kept: Mapping[int, tuple[str, Answer]], shares: np.ndarray
    ) -> dict[str, Answer]:
        """Of each site that cannot mix its schedules the one with the largest share."""
        best: dict[str, int] = {}
        others = [column for column, (name, _) in kept.items() if name in set(self.whole)]
        for column in others:
            name = kept[column][0]
            if name not in best or shares[column] > shares[best[name]]:
                best[name] = column
        mixture.forbid([column for column in others if column not in best.values()])
        return {name: kept[column][1] for name, column in best.items()}

    def aimed(
        self,
        models: Mapping[str, SiteLp],
        aims: Mapping[str, np.ndarray],
        price: np.ndarray,
        off: float,
    ) -> dict[str, Answer]:
        """Schedules of sites whose exchange comes to a target, at a price of what is off it."""
        return self.each(lambda name: models[name].answer(price, aims[name], off), aims)

    def site_plan(self, name: str, model: SiteLp | None, answer: Answer) -> SitePlan:
        """The schedule of a site, replayed; batteries do one thing at a time."""
        problem, schedule = self.problems[name], answer.schedule
        if schedule is None and model is not None:
            answer = model.exclusive(answer)
            schedule = settle(problem, answer.charge_kw, answer.discharge_kw, answer.curtailed_kw)
        if schedule is None:
            raise InfeasibleScheduleError("there is no schedule")
        money = replay(problem, schedule)
        if money.violations:
            worst = max(money.violations, key=lambda one: one.amount)
            raise InfeasibleScheduleError(f"its schedule breaks physics: {worst}")
        stored, bus = answer.stored_eur_per_mwh, answer.bus_eur_per_mwh
        if stored is None or bus is None:
            stored, bus = unknown_values(problem)
        return SitePlan(problem, schedule, money, stored, bus)


def with_exchange_price(problem: Problem, price_eur_per_mwh: np.ndarray) -> Problem:
    """The problem of a site that pays, beside its own prices, one for its exchange.

    Parameters
    ----------
    problem : of the site.
    price_eur_per_mwh : paid for each imported, and kept from each exported MWh, one an interval.
    """
    return replace(
        problem,
        import_price_eur_per_mwh=problem.import_price_eur_per_mwh + price_eur_per_mwh,
        export_price_eur_per_mwh=problem.export_price_eur_per_mwh + price_eur_per_mwh,
    )


def _answer(models: Mapping[str, SiteLp], price: np.ndarray, name: str) -> Answer:
    """A site's schedules at a price of its exchange."""
    return models[name].answer(price)


def _dearest(problem: Problem) -> float:
    """The largest price of a problem [EUR/MWh]."""
    prices = (problem.import_cost_eur_per_mwh, problem.export_price_eur_per_mwh)
    return max(float(np.abs(part).max(initial=0.0)) for part in prices)


def _reach(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most exchange that a site can have [kW], one an interval."""
    charge, discharge = problem.stack.charge_kw.sum(axis=0), problem.stack.discharge_kw.sum(axis=0)
    for _, _, device in problem.devices:
        takes, gives = device.most_kw(problem.horizon)
        charge, discharge = charge + takes, discharge + gives
    return problem.load_kw - problem.renewables_kw - discharge, problem.load_kw + charge
