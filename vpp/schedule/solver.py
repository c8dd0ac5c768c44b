"""The cheapest schedule: solved, made exclusive and calm, and certified.

The model is solved with binaries where burning energy pays (`vpp.schedule.exclusive`). Every
solution is checked: where another interval does two opposite things at once, it gets its binaries
and the model is solved again. Limits bend in strict order, and money comes after them
(`vpp.schedule.stages`). Of schedules that cost the same, the calmest is taken.
Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import itertools
import logging
import time
from dataclasses import dataclass, field, replace

import numpy as np

from vpp.schedule.backends import Outcome
from vpp.schedule.battery import TOLERANCE
from vpp.schedule.calm import MOST_VARIABLES, Calming
from vpp.schedule.certificate import certificate_of, gap_of, loose_bound_eur, priced_bound_eur
from vpp.schedule.dispatch import idle, self_consumption
from vpp.schedule.draft import BOUNDS, GRID, INFINITE, MONEY_SCALE, Model
from vpp.schedule.duals import marginal_values, unknown_values
from vpp.schedule.exclusive import Intervals, merged, widened
from vpp.schedule.fleet import FEWEST, Shared, expected_s, fleet_schedule
from vpp.schedule.following import leaning
from vpp.schedule.model import build
from vpp.schedule.problem import Certificate, InfeasibleScheduleError, Problem, Result, Schedule
from vpp.schedule.programme import garbage_kept
from vpp.schedule.reasons import leading, reasons, worth
from vpp.schedule.repair import repaired
from vpp.schedule.replay import Replay, replay
from vpp.schedule.scenario_search import solve_scenarios
from vpp.schedule.solution import solution
from vpp.schedule.stages import NOTHING, Stages

logger = logging.getLogger("optimization")

# Models that are tried in turn: whether limits may bend, and of which classes none does.
LEVELS: tuple[tuple[bool, tuple[str, ...]], ...] = (
    (False, ()),
    (True, (GRID, BOUNDS)),
    (True, ()),
)

TAIL = 0.1  # of the time limit, for the check of a schedule and its reasons, and for
CELL_S = 2e-6  # each interval of each battery [s]
GAP_ROUNDING = 1e-9  # by which two solutions of one cost may differ, as a fraction
HOPELESS = 1.0  # time limits that a solver is expected to take, beyond which it is not started


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
    return _solve_model(problem, solver, caps or {}, prepare=True)


def _solve_model(
    problem: Problem, solver: str, caps: dict[str, float], prepare: bool = False
) -> Solution:
    """The cheapest schedule; with `prepare` the solver starts with a good one where it is slow."""
    search = _Search(problem, solver, caps)
    if prepare and not search.prepared():
        return _incumbent(search, None)
    exclusive: Intervals | None = None
    for rounds in itertools.count():
        found = search.attempt(exclusive)
        if not found.broken:
            return search.certified(found)
        broken = widened(found.model, found.broken, 4**rounds if rounds else 0)
        logger.info("binaries wanted in %d intervals", sum(map(len, broken.values())))
        exclusive = merged(found.exclusive, broken)
    raise AssertionError("counting never ends")


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A model solved once: its schedule, or none where time ran out first.

    `exclusive` are the intervals with binaries, `broken` those that break a condition and have none
    yet; `priced` is the outcome that may have duals.
    """

    model: Model
    exclusive: Intervals
    outcome: Outcome
    schedule: Schedule | None = None
    broken: Intervals = field(default_factory=dict)
    priced: Outcome | None = None


@dataclass
class _Search:
    """A problem on its way to a schedule.

    It remembers whether limits have to bend, and which (`level`, of `LEVELS`), the schedules met on
    the way, and the bound that a model with fewer binaries proved.
    """

    problem: Problem
    solver: str
    caps: dict[str, float]
    soft: bool = False
    level: int = 0
    relaxed: float = -INFINITE
    known: list[Schedule] = field(default_factory=list)
    shared: Shared | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def until(self) -> float:
        """When the solver's time is out [s]; the rest of the limit is for check and reasons."""
        cells = len(self.problem.batteries) * self.problem.intervals
        limit_s = self.problem.time_limit_s
        return self.started + max(limit_s / 2, limit_s * (1 - TAIL) - cells * CELL_S)

    def prepared(self) -> bool:
        """Find a good schedule first, where the solver may not end in time.

        Returns
        -------
        Whether the solver is worth starting.
        """
        problem, limit_s = self.problem, self.problem.time_limit_s
        expected = expected_s(problem)
        if self.caps or len(problem.batteries) <= FEWEST or expected < limit_s / 10:
            return True
        try:
            self.shared = fleet_schedule(problem, lambda few: _solve_model(few, self.solver, {}))
        except InfeasibleScheduleError:
            return True
        self.known.append(self.shared.schedule)
        return expected < HOPELESS * limit_s and time.monotonic() < self.until

    def eur(self, bound: float) -> float:
        """Money of a bound of the model, which knows nothing of what a position costs [EUR]."""
        return bound / MONEY_SCALE + float(self.problem.settlement.position_eur().sum())

    def attempt(self, exclusive: Intervals | None) -> _Attempt:
        """Solve with these binaries, choose the calmest optimum, and see what is broken."""
        stages, outcome, exclusive = self._solved(exclusive)
        model = stages.model
        if outcome.status == "limit":
            return self._cut_short(stages, outcome, exclusive)
        # calm comes after all conditions hold: it takes longer than to see that they do not
        calming = Calming(self.problem, stages, exclusive, self.started)
        schedule, broken = calming.read(outcome)
        priced = outcome
        if broken:
            outcome, broken = self._repaired(calming, outcome, broken)
        if model.binaries and not broken:
            priced = calming.chosen(outcome)
            schedule, broken = calming.read(priced)
        if not broken and priced.duals is not None:
            schedule, broken = calming.calmest(priced, schedule)
        if broken:
            self.known.append(schedule)
            self.relaxed = outcome.bound
        return _Attempt(model, exclusive, outcome, schedule, broken, priced)

    def _repaired(
        self, calming: Calming, outcome: Outcome, broken: Intervals
    ) -> tuple[Outcome, Intervals]:
        """The outcome as it is; or repaired, where no other schedule can be cheaper.

        A model of few binaries gets more instead, so that its schedule is the calmest, too.
        """
        stages, late = calming.stages, time.monotonic() > self.until
        if self.solver != "highs" or (late and stages.model.width > MOST_VARIABLES):
            return outcome, broken
        made = repaired(self.problem, stages, outcome, broken, calming.exclusive)
        if made is None:
            return outcome, broken
        self.known.append(made.schedule)
        stages.run.release()
        eur = replay(self.problem, made.schedule).objective_eur
        gap = certificate_of(stages.model, eur, self.eur(outcome.bound), self.started).gap
        if made.bends_more or (gap or 0.0) > self.problem.gap or not calming.decides:
            return outcome, broken
        return replace(outcome, values=made.outcome.values, objective=made.outcome.objective), {}

    def _solved(self, exclusive: Intervals | None) -> tuple[Stages, Outcome, Intervals]:
        """The hard model if its limits can be kept, else one in which only targets bend, else all.

        Where nothing of a class bends, less is not possible: the strict order is kept.
        """
        for level in range(self.level, len(LEVELS)):
            soft, keeps = LEVELS[level]
            model = build(self.problem, soft, exclusive, self.caps, keeps)
            if keeps and (model.binaries > 0) and self.level < level:
                continue  # a second search with binaries would take longer than it saves
            if keeps and not any(group.bends for group in model.columns.values()):
                continue  # it is the hard model, which has no solution
            if soft and not self.soft:
                # a bound of the hard model says nothing about the soft one
                self.soft, self.relaxed = True, -INFINITE
            if model.contradictory:
                continue
            stages = Stages(self.problem, model, self.solver, self.until)
            outcome = stages.money()
            bent = outcome.values is not None and any(
                float(model.weights(bends) @ outcome.found) > NOTHING for bends in keeps
            )
            if outcome.status != "infeasible" and not bent:
                self.level = level
                given = exclusive
                if given is None:
                    given = {key: one.expected() for key, one in model.conditions.items()}
                return stages, outcome, given
        raise InfeasibleScheduleError(
            "no schedule keeps to load, power ratings, capacity and daily cycles;"
            " expected numbers of similar orders of magnitude"
        )

    def certified(self, found: _Attempt) -> Solution:
        """The schedule with its certificate and marginal values."""
        if found.schedule is None:
            return _incumbent(self, found)
        objective = replay(self.problem, found.schedule).objective_eur
        bound = objective
        if found.model.binaries:
            bound = min(self.eur(found.outcome.bound), objective)
        certificate = certificate_of(found.model, objective, bound, self.started)
        duals = found.priced.duals if found.priced else None
        values = marginal_values(self.problem, found.model, duals)
        return Solution("optimal", certificate, found.schedule, found.model.soft, *values)

    def _cut_short(self, stages: Stages, outcome: Outcome, exclusive: Intervals) -> _Attempt:
        """An attempt without a schedule of its own; the incumbent is one of those known."""
        fixed, model = None, stages.model
        if outcome.values is not None:
            schedule, broken = Calming(self.problem, stages, exclusive, self.started).read(outcome)
            self.known.append(schedule)
            if broken and self.solver == "highs":
                made = repaired(self.problem, stages, outcome, broken, exclusive)
                self.known += [made.schedule] if made else []
            elif model.binaries:
                fixed = stages.fixed(outcome.values)
        return _Attempt(model, exclusive, outcome, priced=fixed)


def rank(money: Replay) -> tuple[float, ...]:
    """Numbers by which schedules are compared: less bends, class by class, then less money.

    Parameters
    ----------
    money : replay of the schedule.

    Returns
    -------
    Numbers to compare; violations but for rounding.
    """
    return (*(round(amount, 5) for amount in money.bent), money.objective_eur)


def _incumbent(search: _Search, found: _Attempt | None) -> Solution:
    """The best schedule known when time ran out; of nothing solved, of what was prepared.

    It has marginal values where it is the optimum of the solver's choices or was shared out.
    """
    problem, shared, known = search.problem, search.shared, [*search.known, idle(search.problem)]
    if not search.caps:
        known.append(self_consumption(problem))
    checked = [(replay(problem, schedule), schedule) for schedule in known]
    valid = [(money, schedule) for money, schedule in checked if not money.violations]
    if not valid:
        raise InfeasibleScheduleError(
            "no schedule was found in time; expected a time_limit_s of more than"
            f" {problem.time_limit_s:g} s"
        )
    least, best = min(valid, key=lambda pair: rank(pair[0]))
    values = unknown_values(problem)
    if shared is not None and best is shared.schedule:
        values = (shared.battery_value_eur_per_mwh, shared.bus_price_eur_per_mwh)
    model, bound = None, search.relaxed
    if found is not None:
        model, fixed = found.model, found.priced
        bound = max(bound, found.outcome.bound)
        if fixed is not None and fixed.status == "optimal":
            schedule, broken = solution(problem, model, fixed.found)
            money = replay(problem, schedule)
            slack = TOLERANCE * max(1.0, abs(least.objective_eur))
            no_dearer = money.objective_eur <= least.objective_eur + slack
            as_good = rank(money)[:-1] <= rank(least)[:-1]
            if not broken and not money.violations and no_dearer and as_good:
                best, least = schedule, money
                values = marginal_values(problem, model, fixed.duals)
    soft = search.soft or any(least.bent)
    bounds = [loose_bound_eur(problem), search.eur(bound)]
    if shared is not None:
        prices = (shared.bus_price_eur_per_mwh, shared.battery_value_eur_per_mwh)
        bounds.append(priced_bound_eur(problem, *prices, soft))
    objective = least.objective_eur
    certificate = certificate_of(model, objective, max(bounds), search.started, proven=False)
    return Solution("feasible", certificate, best, soft, *values)


def solve(problem: Problem, solver: str = "highs", lean: bool = False) -> Result:
    """The cheapest schedule, checked by `replay`.

    Parameters
    ----------
    problem : what is to be scheduled.
    solver : `highs` or `cbc`.
    lean : whether, of what costs the same, the schedule is wanted that batteries follow best, as a
        rolling plan of such batteries has it (`vpp.schedule.following.leaning`).

    Returns
    -------
    The schedule with its money, the limits that bent, and a reason for each interval; or the cause
    why there is none.
    """
    if problem.scenarios:
        return solve_scenarios(problem, solver, lambda one: solve_model(one, solver).schedule)
    try:
        found = solve_model(problem, solver)
    except InfeasibleScheduleError as error:
        unproven = Certificate("lp-exact", 0, None, None, 0.0)
        return Result("infeasible", unproven, cause=str(error))
    return _explained(problem, _leant(problem, found, solver) if lean else found)


def _leant(problem: Problem, found: Solution, solver: str) -> Solution:
    """The solution with the schedule that leans; its certificate is that of the problem itself."""
    left_s = problem.time_limit_s - found.certificate.seconds
    if found.status != "optimal" or left_s <= 0:
        return found
    leant = solve_model(replace(leaning(problem), time_limit_s=left_s), solver, explain=False)
    one, other = (replay(problem, each.schedule) for each in (found, leant))
    if leant.status != "optimal" or rank(other)[:-1] > rank(one)[:-1]:
        return found
    certificate = found.certificate
    assert certificate.bound_eur is not None  # of an optimum it is known
    gap = gap_of(other.objective_eur, certificate.bound_eur)
    seconds = certificate.seconds + leant.certificate.seconds
    return replace(
        found,
        status="optimal" if gap <= problem.gap + GAP_ROUNDING else "feasible",
        schedule=leant.schedule,
        certificate=replace(certificate, gap=gap, seconds=seconds),
    )


def _explained(problem: Problem, found: Solution) -> Result:
    """A solution with its money, the limits that bent, and its reasons."""
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
    if problem.settlement.position_kw is not None:
        result = replace(
            result,
            position_kw=problem.settlement.position_kw,
            position_cost_eur=checked.position_eur,
            deviation_cost_eur=checked.deviation_eur,
        )
    return replace(result, reason=reasons(problem, result))
