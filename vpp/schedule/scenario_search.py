"""The plan that is best over all scenarios: solved, checked scenario by scenario, and certified.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from vpp.runtime.errors import FieldError
from vpp.schedule.backends import Outcome
from vpp.schedule.branches import Branches, build_branches, newly_broken
from vpp.schedule.certificate import certificate_of, loose_bound_eur
from vpp.schedule.dispatch import idle, settle
from vpp.schedule.draft import INFINITE, MONEY_SCALE
from vpp.schedule.duals import marginal_values
from vpp.schedule.exclusive import Intervals, merged
from vpp.schedule.position import FIELDS as POSITION
from vpp.schedule.problem import Certificate, InfeasibleScheduleError, Problem, Result, Schedule
from vpp.schedule.reasons import leading, reasons, worth
from vpp.schedule.replay import Replay, replay
from vpp.schedule.scenarios import branch, weights_of
from vpp.schedule.stages import Stages

MEANS = ("import_price_eur_per_mwh", "export_price_eur_per_mwh", "load_kw", "renewables_kw")
# Intervals of all devices of all scenarios from which a plan is made before the search, and the
# share of the time limit that it may take.
MANY_CELLS, SHARE = 2000, 0.3
UNPROVEN = Certificate("lp-exact", 0, None, None, 0.0)


@dataclass(frozen=True, eq=False)
class Plan:
    """Schedules of all scenarios and their money.

    Parameters
    ----------
    problems, schedules : of each scenario, with the position.
    checked : replay of each.
    """

    problems: list[Problem]
    schedules: list[Schedule]
    checked: list[Replay] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "checked", list(map(replay, self.problems, self.schedules)))

    @property
    def faults(self) -> list:
        """Everything in which it breaks physics."""
        return [fault for money in self.checked for fault in money.violations]

    def objective_eur(self, problem: Problem) -> float:
        """The objective of the problem with these scenarios [EUR]."""
        money = [one.objective_eur for one in self.checked]
        return float(weights_of(problem, money) @ money)


def solve_scenarios(
    problem: Problem, solver: str, solve_one: Callable[[Problem], Schedule]
) -> Result:
    """The schedules that are best over all scenarios.

    Parameters
    ----------
    problem : a problem with scenarios.
    solver : `highs` or `cbc`.
    solve_one : gives the cheapest schedule of a problem without scenarios.

    Returns
    -------
    The result; its schedule, values and reasons are those of the first scenario, its costs the
    expected ones.
    """
    started = time.monotonic()
    exclusive: list[Intervals | None] = [None] * len(problem.scenarios)
    known = [_idle(problem)]
    devices = len(problem.batteries) + len(problem.devices)
    if len(problem.scenarios) * problem.intervals * devices > MANY_CELLS:
        known += _of_mean(problem, solve_one)
    while True:
        found = _solved(problem, solver, exclusive, started + problem.time_limit_s)
        if found is None:
            cause = "no schedule keeps to load, power ratings, capacity and daily cycles"
            return Result("infeasible", UNPROVEN, cause=cause)
        branches, outcome, bound = found
        if outcome.status != "optimal":
            return _cut_short(branches, outcome, bound, started, known)
        problems, schedules, broken = branches.read(outcome.found)
        tried = [
            {key: one.expected() for key, one in part.conditions.items()} if some is None else some
            for part, some in zip(branches.parts, exclusive, strict=True)
        ]
        new = newly_broken(broken, tried)
        if not any(new):
            plan = Plan(problems, schedules)
            objective = plan.objective_eur(problem)
            least = min(bound, objective) if branches.model.binaries else objective
            certificate = certificate_of(branches.model, objective, least, started)
            return _result(branches, plan, "optimal", certificate, outcome.duals)
        exclusive = [merged(one, more) for one, more in zip(tried, new, strict=True)]


def _solved(
    problem: Problem, solver: str, exclusive: list[Intervals | None], until: float
) -> tuple[Branches, Outcome, float] | None:
    """The calmest optimum with these binaries, and the bound [EUR]; limits bend where they must."""
    for soft in (False, True):
        branches = build_branches(problem, soft, exclusive)
        if branches.model.contradictory:
            continue
        stages = Stages(problem, branches.model, solver, until)
        outcome = stages.money()
        if outcome.status == "infeasible":
            continue
        bound = outcome.bound / MONEY_SCALE + _known_eur(branches)
        if outcome.status == "optimal":
            fixed = stages.fixed(outcome.found) if branches.model.binaries else outcome
            if fixed.duals is not None and fixed.status == "optimal":
                outcome = stages.calm(fixed)
                # values explain the money, not what is calmest
                outcome = replace(outcome, duals=fixed.duals)
        return branches, outcome, bound
    return None


def _known_eur(branches: Branches) -> float:
    """Money in the expectation that no decision changes [EUR]."""
    known = [float(own.settlement.position_eur().sum()) for own in branches.problems]
    chances = [scenario.probability for scenario in branches.problem.scenarios]
    return (1 - branches.problem.risk_weight) * float(np.dot(chances, known))


def _idle(problem: Problem) -> Plan:
    """The plan in which nothing moves."""
    problems = [branch(problem, k) for k in range(len(problem.scenarios))]
    return Plan(problems, list(map(idle, problems)))


def _of_mean(problem: Problem, solve_one: Callable[[Problem], Schedule]) -> list[Plan]:
    """The plan of the mean of all scenarios, carried out in each; none where there is none."""
    problems = [branch(problem, k) for k in range(len(problem.scenarios))]
    chances = np.array([scenario.probability for scenario in problem.scenarios])
    means = {name: chances @ [getattr(own, name) for own in problems] for name in MEANS}
    limit_s = SHARE * problem.time_limit_s
    if problem.common == "position":
        means |= dict.fromkeys(POSITION)  # it follows from the powers
    try:
        found = solve_one(replace(problems[0], time_limit_s=limit_s, **means))
    except (InfeasibleScheduleError, FieldError):  # means of prices may not fit together
        return []
    if problem.common == "position":
        net = found.grid_import_kw - found.grid_export_kw
        position = np.clip(net, -problem.export_limit_kw, problem.import_limit_kw)
        problems = [branch(problem, k, position) for k in range(len(problem.scenarios))]
    powers = {"charge_kw": found.charge_kw, "discharge_kw": found.discharge_kw}
    return [Plan(problems, [settle(own, **powers, devices=found.devices) for own in problems])]


def _cut_short(
    branches: Branches, outcome: Outcome, bound: float, started: float, known: list[Plan]
) -> Result:
    """The best plan known when time ran out, also the solver's."""
    problem, plans = branches.problem, list(known)
    if outcome.values is not None:
        problems, schedules, broken = branches.read(outcome.values)
        if not any(broken):
            plans.append(Plan(problems, schedules))
    best = min(
        (plan for plan in plans if not plan.faults),
        key=lambda plan: (*_bent(plan, problem), plan.objective_eur(problem)),
        default=None,
    )
    if best is None:
        raise InfeasibleScheduleError("time ran out before there was a schedule")
    chances = [scenario.probability for scenario in problem.scenarios]
    loose = float(np.dot(chances, [loose_bound_eur(own) for own in branches.problems]))
    if problem.common == "position":  # of which the loose bound knows nothing
        loose = -INFINITE
    proven = max(bound, loose)
    objective = best.objective_eur(problem)
    certificate = certificate_of(branches.model, objective, proven, started, proven=False)
    if not np.isfinite(proven):
        certificate = replace(certificate, gap=1.0, bound_eur=None)
    return _result(branches, best, "feasible", certificate, None)


def _bent(plan: Plan, problem: Problem) -> tuple[float, ...]:
    """Violation of each class, by expectation, but for rounding."""
    chances = [scenario.probability for scenario in problem.scenarios]
    bent = np.dot(chances, [money.bent for money in plan.checked])
    return tuple(round(float(amount), 5) for amount in bent)


def _result(
    branches: Branches,
    plan: Plan,
    status: str,
    certificate: Certificate,
    duals: np.ndarray | None,
) -> Result:
    """The plan with its money and its reasons."""
    if plan.faults:
        worst = max(plan.faults, key=lambda violation: violation.amount)
        raise AssertionError(f"the solver's schedule breaks physics: {worst}")
    problem, own = branches.problem, plan.problems[0]
    money = [one.objective_eur for one in plan.checked]
    weight = float(weights_of(problem, money)[0])
    values, bus = marginal_values(own, branches.parts[0], duals)
    # the first scenario's money counts by this in the objective
    values, bus = (x / weight if weight else x * np.nan for x in (values, bus))
    shown = np.zeros(problem.intervals)
    if problem.batteries:
        of_batteries, _ = worth(own, plan.schedules[0], values)
        shown = of_batteries[leading(own, plan.schedules[0]), np.arange(problem.intervals)]
    chances = np.array([scenario.probability for scenario in problem.scenarios])
    each = [
        Result(status, certificate, schedule, one.cost_eur, one.objective_eur)
        for schedule, one in zip(plan.schedules, plan.checked, strict=True)
    ]
    bends = [
        replace(violation, scenario=k)
        for k, one in enumerate(plan.checked)
        for violation in one.bends
    ]
    result = Result(
        status=status,
        certificate=certificate,
        schedule=plan.schedules[0],
        cost_eur=float(chances @ [one.cost_eur for one in plan.checked]),
        objective_eur=plan.objective_eur(problem),
        violations=tuple(bends),
        stored_value_eur_per_mwh=shown,
        battery_value_eur_per_mwh=values,
        bus_price_eur_per_mwh=bus,
        scenarios=tuple(each),
    )
    if own.settlement.position_kw is not None:
        result = replace(
            result,
            position_kw=own.settlement.position_kw,
            position_cost_eur=float(chances @ [one.position_eur for one in plan.checked]),
            deviation_cost_eur=float(chances @ [one.deviation_eur for one in plan.checked]),
        )
    return replace(result, reason=reasons(own, result))
