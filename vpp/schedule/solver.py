"""The cheapest schedule: solved, made exclusive and calm, and certified.

The model is solved with binaries where burning energy pays (`vpp.schedule.exclusive`). Every
solution is checked: where another interval does two opposite things at once, it gets its binaries
and the model is solved again. Of schedules that cost the same, the one of least throughput is
taken.
Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import logging
import time
from dataclasses import dataclass, field, replace

import highspy
import numpy as np

from vpp.schedule.backends import SOLVERS, Outcome
from vpp.schedule.battery import TOLERANCE
from vpp.schedule.certificate import certificate_of, loose_bound_eur
from vpp.schedule.columns import INFINITE, MONEY_SCALE
from vpp.schedule.constraints import Model
from vpp.schedule.dispatch import idle, self_consumption
from vpp.schedule.duals import fix_binaries, hold_cost, marginal_values
from vpp.schedule.exclusive import Intervals, merged, paying_intervals, solution, without
from vpp.schedule.model import build
from vpp.schedule.problem import Certificate, InfeasibleScheduleError, Problem, Result, Schedule
from vpp.schedule.programme import garbage_kept
from vpp.schedule.reasons import leading, reasons, worth
from vpp.schedule.replay import replay

logger = logging.getLogger("optimization")


@dataclass(frozen=True, eq=False)
class Solution:
    """A schedule with the values that explain it.

    Parameters
    ----------
    status : `optimal`, or `feasible` where time ran out.
    certificate : how far the schedule can be from the best.
    schedule : the schedule.
    soft : whether limits may bend in the model that was solved.
    battery_value_eur_per_mwh : value of a MWh more in each battery (battery, interval); NaN where
        it is not known.
    bus_price_eur_per_mwh : value of a MWh more at the bus in each interval; NaN where it is not
        known.
    """

    status: str
    certificate: Certificate
    schedule: Schedule
    soft: bool
    battery_value_eur_per_mwh: np.ndarray
    bus_price_eur_per_mwh: np.ndarray


@garbage_kept()
def solve_model(
    problem: Problem,
    solver: str = "highs",
    explain: bool = True,
    caps: dict[str, float] | None = None,
) -> Solution:
    """The cheapest schedule.

    Parameters
    ----------
    problem : what is to be scheduled.
    solver : `highs` or `cbc`.
    explain : whether to compute marginal values, which after a mixed-integer solve needs one more
        linear programme.
    caps : the most of other aims than cost, as in `vpp.schedule.model.build`.

    Returns
    -------
    The schedule, its certificate and marginal values.

    Raises
    ------
    InfeasibleScheduleError : no schedule keeps to physics.
    """
    search, exclusive = _Search(problem, solver, caps or {}), paying_intervals(problem)
    found = search.attempt(exclusive, explain)
    while found.at_once:
        count = sum(map(len, found.at_once.values()))
        logger.info("binaries added in %d intervals that did two things at once", count)
        exclusive = merged(exclusive, found.at_once)
        found = search.attempt(exclusive, explain)
    return search.certified(found)


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A model solved once: its schedule, or none where time ran out first.

    `fixed` is the linear programme of the binaries' choices, solved; `at_once` are intervals that
    do two opposite things at once and have no binaries yet.
    """

    model: Model
    outcome: Outcome
    schedule: Schedule | None = None
    at_once: Intervals = field(default_factory=dict)
    fixed: Outcome | None = None

    @property
    def priced(self) -> Outcome:
        """The outcome that may have duals."""
        return self.fixed or self.outcome

    @property
    def solved(self) -> Schedule:
        """The schedule of an attempt that has one."""
        if self.schedule is None:
            raise ValueError("time ran out before there was a schedule")
        return self.schedule


@dataclass
class _Search:
    """A problem on its way to a schedule.

    It remembers whether limits have to bend, the schedules met on the way, and the bound that a
    model with fewer binaries proved.
    """

    problem: Problem
    solver: str
    caps: dict[str, float]
    soft: bool = False
    relaxed: float = -INFINITE
    known: list[Schedule] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def attempt(self, exclusive: Intervals, explain: bool) -> _Attempt:
        """Solve with these binaries, choose the calmest optimum, and see what is done at once."""
        model, outcome = self._solved(exclusive)
        if outcome.status == "limit":
            return self._cut_short(model, outcome)
        schedule, both = solution(model, outcome.found)
        ties = any(not battery.wear_eur_per_mwh for battery in self.problem.batteries)
        fixed = self._fixed(model, outcome) if model.binaries and (ties or explain) else None
        found = _Attempt(model, outcome, schedule, both, fixed)
        if ties and found.priced.duals is not None:
            found = self._calmest(found)
        found = replace(found, at_once=without(found.at_once, exclusive))
        if found.at_once:
            self.known.append(found.solved)
            self.relaxed = outcome.bound
        return found

    def certified(self, found: _Attempt) -> Solution:
        """The schedule with its certificate and marginal values."""
        if found.schedule is None:
            return _incumbent(self, found)
        objective = replay(self.problem, found.schedule).objective_eur
        bound = objective
        if found.model.binaries:
            bound = min(found.outcome.bound / MONEY_SCALE, objective)
        certificate = certificate_of(found.model, objective, bound, self.started)
        values = marginal_values(found.model, found.priced.duals)
        return Solution("optimal", certificate, found.schedule, found.model.soft, *values)

    def _run(
        self, model: Model, least_s: float = -INFINITE, basis: highspy.HighsBasis | None = None
    ) -> Outcome:
        """The solver's answer in the time that is left, but at least `least_s`."""
        left_s = self.problem.time_limit_s - (time.monotonic() - self.started)
        return SOLVERS[self.solver](model, max(left_s, least_s), basis)

    def _solved(self, exclusive: Intervals) -> tuple[Model, Outcome]:
        """The hard model if its limits can be kept, else the soft one."""
        if not self.soft:
            model = build(self.problem, False, exclusive, self.caps)
            outcome = None if model.contradictory else self._run(model)
            if outcome is not None and outcome.status != "infeasible":
                return model, outcome
            # a bound of the hard model says nothing about the soft one
            self.soft, self.relaxed = True, -INFINITE
        model = build(self.problem, True, exclusive, self.caps)
        outcome = self._run(model)
        if outcome.status == "infeasible":
            raise InfeasibleScheduleError(
                "no schedule keeps to load, power ratings, capacity and daily cycles;"
                " expected numbers of similar orders of magnitude"
            )
        return model, outcome

    def _fixed(self, model: Model, outcome: Outcome) -> Outcome:
        """The linear programme of the choices that the binaries made."""
        fix_binaries(model, outcome.found)
        return self._run(model, least_s=1.0)

    def _calmest(self, found: _Attempt) -> _Attempt:
        """The schedule of least throughput that costs the same."""
        hold_cost(found.model, found.priced)
        calm = self._run(found.model, 1.0, found.priced.basis)
        if calm.status != "optimal":
            return found
        schedule, both = solution(found.model, calm.found)
        cost = replay(self.problem, found.solved).objective_eur
        same = replay(self.problem, schedule).objective_eur
        if same > cost + TOLERANCE * max(1.0, abs(cost)) * 1e-3:
            return found
        return replace(found, schedule=schedule, at_once=both)

    def _cut_short(self, model: Model, outcome: Outcome) -> _Attempt:
        """An attempt without a schedule of its own; the incumbent is one of those known."""
        fixed = None
        if outcome.values is not None:
            self.known.append(solution(model, outcome.values)[0])
            fixed = self._fixed(model, outcome) if model.binaries else None
        self.known.append(idle(self.problem))
        if not self.caps:
            self.known.append(self_consumption(self.problem))
        return _Attempt(model, outcome, fixed=fixed)


def _incumbent(search: _Search, found: _Attempt) -> Solution:
    """The cheapest schedule known when time ran out.

    It has marginal values where it is the optimum of the solver's choices.
    """
    problem, model, fixed = search.problem, found.model, found.fixed
    checked = [(replay(problem, schedule), schedule) for schedule in search.known]
    valid = [(money.objective_eur, schedule) for money, schedule in checked if not money.violations]
    objective, best = min(valid, key=lambda pair: pair[0])
    values = marginal_values(model, None)
    if fixed is not None and fixed.status == "optimal":
        schedule, both = solution(model, fixed.found)
        money = replay(problem, schedule)
        no_dearer = money.objective_eur <= objective + TOLERANCE * max(1.0, abs(objective))
        if not both and not money.violations and no_dearer:
            best, objective = schedule, money.objective_eur
            values = marginal_values(model, fixed.duals)
    bound = search.relaxed
    if np.isfinite(found.outcome.bound):
        bound = max(bound, found.outcome.bound)
    bound_eur = max(loose_bound_eur(problem), bound / MONEY_SCALE)
    certificate = certificate_of(model, objective, bound_eur, search.started, proven=False)
    return Solution("feasible", certificate, best, model.soft, *values)


def solve(problem: Problem, solver: str = "highs") -> Result:
    """The cheapest schedule, checked by `replay`.

    Parameters
    ----------
    problem : what is to be scheduled.
    solver : `highs` or `cbc`.

    Returns
    -------
    The schedule with its money, the limits that bent, and a reason for each interval; or the cause
    why there is none.
    """
    try:
        found = solve_model(problem, solver)
    except InfeasibleScheduleError as error:
        unproven = Certificate("lp-exact", 0, None, None, 0.0)
        return Result("infeasible", unproven, cause=str(error))
    checked = replay(problem, found.schedule)
    if checked.violations:
        worst = max(checked.violations, key=lambda violation: violation.amount)
        raise AssertionError(f"the solver's schedule breaks physics: {worst}")
    shown = np.zeros(problem.intervals)
    if problem.batteries:
        values, _ = worth(problem, found.schedule, found.battery_value_eur_per_mwh)
        shown = values[leading(problem, found.schedule), np.arange(problem.intervals)]
    result = Result(
        status=found.status,
        certificate=found.certificate,
        schedule=found.schedule,
        cost_eur=checked.cost_eur,
        objective_eur=checked.objective_eur,
        violations=checked.bends,
        stored_value_eur_per_mwh=shown,
        battery_value_eur_per_mwh=found.battery_value_eur_per_mwh,
        bus_price_eur_per_mwh=found.bus_price_eur_per_mwh,
    )
    return replace(result, reason=reasons(problem, result))
