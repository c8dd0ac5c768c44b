"""The plan of many sites that have limits and a position in common, with a proven bound.

All batteries of all sites are one linear programme, which an interior point method solves by its
structure. Its duals prove what nothing can cost less than (Lagrange); this bound is in the
certificate. A site that no linear programme has all of answers a price of its exchange by its
cheapest schedule; such schedules are mixed (Dantzig and Wolfe, Operations Research 8 (1960), 101),
and one is chosen. Then the batteries carry out what was found, and keep all limits. Every schedule
is replayed without a solver. A site that has no schedule is named, and the others go on. Pure:
reads and writes nothing.

    python benchmarks/bench_portfolio.py

Powers are kW, prices EUR/MWh, money EUR.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from vpp.schedule.certificate import loose_bound_eur
from vpp.schedule.coupling import Coupling
from vpp.schedule.dispatch import settle
from vpp.schedule.interior import Found, Programme, bound_eur
from vpp.schedule.interior import solve as interior
from vpp.schedule.linear_site import is_linear
from vpp.schedule.portfolio_plan import PortfolioPlan, SitePlan, site_plan
from vpp.schedule.problem import Certificate, InfeasibleScheduleError, Problem, Schedule
from vpp.schedule.replay import replay
from vpp.schedule.sharing import Carrier
from vpp.schedule.sites_lp import OWN, SitesLp

logger = logging.getLogger("optimization")

JOBS = 2  # blocks, or sites, that are solved at the same time
LATE, EXACT = 0.85, 0.6  # of the time limit: end of the search, and of further rounds of it
ROUNDS = 8  # of schedules of each site that is not linear
BLOCK, SITE = 700, 10  # batteries of a block; a site is work, too
UNKNOWN = Certificate("portfolio", 0, None, None, 0.0)


@dataclass(frozen=True, eq=False)
class Answer:
    """The answer of a site to a price of its exchange.

    Parameters
    ----------
    exchange_kw : import less export [kW], one an interval.
    cost_eur : what it costs at the site's own prices, excess of its limits included [EUR].
    bound_eur : what nothing can cost less than, at the price that was asked [EUR].
    schedule : the schedule.
    stored_eur_per_mwh : value of a MWh more in each battery (battery, interval).
    bus_eur_per_mwh : value of a MWh more at the bus, one an interval.
    """

    exchange_kw: np.ndarray
    cost_eur: float
    bound_eur: float
    schedule: Schedule
    stored_eur_per_mwh: np.ndarray
    bus_eur_per_mwh: np.ndarray


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
    time_limit_s : of all [s]; where it is over, the best schedules so far are the plan.

    Returns
    -------
    The plan.

    Raises
    ------
    InfeasibleScheduleError : no site has a schedule.
    """
    # blocks work side by side: threads of BLAS beside them would only wait for each other
    with threadpool_limits(1), ThreadPoolExecutor(JOBS) as pool:
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
        prices = [_usual(problem) for problem in self.problems.values()]
        dearest = max((float(np.abs(price).max(initial=0.0)) for price in prices), default=0.0)
        self.excess = 10.0 * dearest + 1000.0  # nothing that energy is worth, or loses
        self.low, self.high = np.zeros((2, len(self.coupling.import_limit_kw)))
        for problem in self.problems.values():
            low, high = _reach(problem)
            self.low, self.high = self.low + low - 1.0, self.high + high + 1.0
        linear = {name: one for name, one in self.problems.items() if is_linear(one)}
        self.whole = [name for name in self.problems if name not in linear]
        self.blocks = [
            (names, SitesLp([linear[name] for name in names], self.excess))
            for names in _in_blocks(linear)
        ]
        # of a usual battery or site, at a usual price: where the method begins
        powers = [
            float(one) for problem in linear.values() for one in problem.stack.charge_kw[:, 0]
        ]
        power = float(np.median(powers or self.high - self.low))
        price = float(np.mean([np.abs(price).mean() for price in prices]))
        self.size = max(power, 1.0) * max(price, 1.0) * self.coupling.hours / 1000

    def late(self, part: float = LATE) -> bool:
        """Whether this part of the time limit is over."""
        return time.monotonic() - self.started > part * self.time_limit_s

    def each(self, work: Callable[[str], Any], names: Iterable[str]) -> dict[str, Any]:
        """The work done for each site; a site of which it fails is a fault, and left out."""

        def guarded(name: str) -> Any:
            try:
                return work(name)
            except InfeasibleScheduleError as error:
                return error

        names = [name for name in names if name not in self.faults]
        found = dict(zip(names, self.pool.map(guarded, names), strict=True))
        failed = {name: str(one) for name, one in found.items() if isinstance(one, Exception)}
        self.faults |= failed
        return {name: one for name, one in found.items() if name not in failed}

    def plan(self, gap: float) -> PortfolioPlan:
        """Solve all sites, where needed again with more schedules of some, and certify."""
        price, bound, found, whole = self.solved(gap)
        if self.faults.keys() >= self.problems.keys():
            name, cause = next(iter(self.faults.items()))
            raise InfeasibleScheduleError(f"no site has a schedule; {name}: {cause}")
        plans = self.each(lambda name: self.whole_plan(name, whole[name]), whole)
        others = sum((plan.exchange_kw for plan in plans.values()), np.zeros(len(self.low)))
        made = [
            PortfolioPlan(own | plans, self.faults, self.coupling, price, UNKNOWN)
            for own in self.carried(found, others)
        ]
        plan = min(made, key=self.penalised_eur)
        # what no plan with as little excess can cost less than
        objective = plan.objective_eur
        bound -= self.penalised_eur(plan) - objective
        distance = max(0.0, objective - bound) / max(abs(objective), abs(bound), 1e-9)
        seconds = time.monotonic() - self.started
        done = distance <= max(gap, 1e-6)
        certificate = Certificate("portfolio", 0, min(1.0, distance), bound, seconds, done)
        return replace(plan, certificate=certificate)

    def penalised_eur(self, plan: PortfolioPlan) -> float:
        """The objective with a price of what exceeds the limits."""
        own_excess = sum(site.money.bent[0] for site in plan.sites.values())
        return plan.objective_eur + self.excess * (plan.excess_kwh + OWN * own_excess) / 1000

    def solved(self, gap: float) -> tuple[np.ndarray, float, Found, dict[str, Answer]]:
        """Price, bound, the values of all linear sites, and a schedule of each other site.

        Other sites answer a price by their cheapest schedule. These are mixed until the bound is
        near; then each site gets the one with the largest share."""
        steps = len(self.low)
        price, bound = np.zeros(steps), -np.inf
        mixed: list[tuple[str, Answer]] = []
        answers = self.whole_at(price)
        while True:
            mixed += answers.items()
            found, shares, cost = self.interior(mixed, gap)
            if not mixed:
                return self.price_of(found), found.bound_eur, found, {}
            asked = self.price_of(found)
            answers = self.whole_at(asked)
            known = dict(mixed)
            at_price = self.least_eur(found) + sum(
                answers[name].bound_eur if name in answers else self.loose_eur(name, asked)
                for name in known
            )
            bound, price = max((bound, price), (at_price, asked), key=lambda pair: pair[0])
            near = cost - bound <= gap * max(abs(cost), abs(bound), 1e-9)
            if near or self.late(EXACT) or len(mixed) > ROUNDS * len(self.whole):
                break
        order = np.argsort(shares, kind="stable")
        chosen = {mixed[column][0]: mixed[column][1] for column in order.tolist()}
        again, _, _ = self.interior(list(chosen.items()), gap)
        return price, bound, again if again.ended else found, chosen

    def loose_eur(self, name: str, price: np.ndarray) -> float:
        """The bound of a site that had a schedule at another price; so it is no fault."""
        del self.faults[name]
        return loose_bound_eur(with_exchange_price(self.problems[name], price))

    def price_of(self, found: Found) -> np.ndarray:
        """The price of the exchange, beside the sites' own [EUR/MWh]."""
        if self.coupling.loose:
            return np.zeros(len(self.low))
        return -found.price[: len(self.low)] * 1000 / self.coupling.hours + 0.0

    def interior(
        self, mixed: Sequence[tuple[str, Answer]], gap: float
    ) -> tuple[Found, np.ndarray, float]:
        """All linear sites and a mixture of schedules of the others: values, shares, cost."""
        numbers = {name: number for number, name in enumerate(dict(mixed))}
        columns = [(numbers[name], one.cost_eur, one.exchange_kw) for name, one in mixed]
        common, right = self.coupling.programme(self.low, self.high, self.excess, columns)
        blocks: list[Programme] = [common, *(block for _, block in self.blocks)]
        # half of the gap is left for what carrying out costs
        found = interior(blocks, right, self.size, gap / 2, self.pool, self.late)
        return found, found.values[0][: len(mixed)], found.cost_eur

    def least_eur(self, found: Found) -> float:
        """The bound of linear sites and the coupling at a price, without the others [EUR]."""
        common, right = self.coupling.programme(self.low, self.high, self.excess)
        price = found.price[: len(self.low)]
        blocks: list[Programme] = [common, *(block for _, block in self.blocks)]
        own = map(bound_eur, blocks, found.duals, repeat(price))
        return sum(own, float(right @ price))

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
            values = (found.battery_value_eur_per_mwh, found.bus_price_eur_per_mwh)
            return Answer(exchange, money.objective_eur + over, bound + over, schedule, *values)

        return self.each(answered, self.whole)

    def whole_plan(self, name: str, answer: Answer) -> SitePlan:
        """The plan of a site by one of its answers."""
        values = answer.stored_eur_per_mwh, answer.bus_eur_per_mwh
        return site_plan(self.problems[name], answer.schedule, *values)

    def carried(self, found: Found, others_kw: np.ndarray) -> Iterator[dict[str, SitePlan]]:
        """Plans of the linear sites: by the values; where time was short, also by doing nothing."""
        if not self.blocks:
            yield {}
            return
        blocks = [block for _, block in self.blocks]
        carrier = Carrier(blocks, self.coupling, others_kw)
        yield self.site_plans(found, *carrier.carry_out(found.values[1:], found.ended))
        if not found.ended:
            yield self.site_plans(found, *carrier.carry_out(None, False))

    def site_plans(
        self, found: Found, power_kw: np.ndarray, curtailed_kw: np.ndarray
    ) -> dict[str, SitePlan]:
        """The plans of the linear sites, replayed."""
        plans, first, site = dict[str, SitePlan](), 0, 0
        for (names, block), duals in zip(self.blocks, found.duals[1:], strict=True):
            chain, _, balance = block.rows_of(duals)
            stored, bus = -1000.0 * chain.T + 0.0, 1000 / block.hours * balance
            for k, name in enumerate(names):
                problem, own = self.problems[name], slice(*block.ends[k : k + 2])
                power = power_kw[:, first + own.start : first + own.stop].T
                charge, discharge = np.maximum(power, 0.0), np.maximum(-power, 0.0)
                schedule = settle(problem, charge, discharge, curtailed_kw[:, site + k])
                plans[name] = site_plan(problem, schedule, stored[own], bus[:, k])
            first, site = first + len(block.site), site + len(names)
        return plans


def _in_blocks(problems: Mapping[str, Problem]) -> list[list[str]]:
    """Sites of the same local days, in blocks of the same size, as many for each job."""
    alike: dict[bytes, list[str]] = {}
    for name, problem in problems.items():
        alike.setdefault(problem.local_days.tobytes(), []).append(name)
    blocks: list[list[str]] = []
    for names in alike.values():
        sizes = np.array([len(problems[name].batteries) + SITE for name in names])
        count = math.ceil(sizes.sum() / BLOCK)
        count = count if count == 1 else JOBS * math.ceil(count / JOBS)
        number = (np.cumsum(sizes) - sizes) * count // sizes.sum()
        cuts = np.flatnonzero(np.diff(number, prepend=-1)).tolist()
        ends = [*cuts[1:], len(names)]
        blocks += [names[first:end] for first, end in zip(cuts, ends, strict=True)]
    return blocks


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


def _usual(problem: Problem) -> np.ndarray:
    """The prices of a problem [EUR/MWh]."""
    return np.stack((problem.import_cost_eur_per_mwh, problem.export_price_eur_per_mwh))


def _reach(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most exchange that a site can have [kW], one an interval."""
    charge, discharge = problem.stack.charge_kw.sum(axis=0), problem.stack.discharge_kw.sum(axis=0)
    for _, _, device in problem.devices:
        takes, gives = device.most_kw(problem.horizon)
        charge, discharge = charge + takes, discharge + gives
    return problem.load_kw - problem.renewables_kw - discharge, problem.load_kw + charge
