"""Objectives in strict order: what bends, class by class, then money, then calm.

A model is handed to the solver once. Each objective is made as small as it can be and held; then
the next one is asked for, from where the solver stands. A linear programme is held by its duals,
which buys nothing; a mixed-integer one by a constraint. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from vpp.schedule.backends import SOLVERS
from vpp.schedule.draft import BOUNDS, CLASSES, GRID, INFINITE, TARGETS, Model
from vpp.schedule.exclusive import Intervals
from vpp.schedule.outcome import Outcome, Run
from vpp.schedule.problem import Problem

STEP = 10.0  # from the price of one class to that of the one before it, where a search starts
NOTHING = 1e-9  # of a class, below which nothing bends [kWh, kWh h]
CLASS_GAP = 1e-9  # relative gap of a class: money must not hide in it
# A mixed-integer class is held at its least and this much more [kWh, kWh h], which is the solvers'
# tolerance; and at so much more of it.
CLASS_SLACK, CLASS_SHARE = 1e-7, 1e-9
# Of the slack of one class the next makes up to 100 times as much, and must not have to keep it:
# choices of binaries would serve the rounding. The linear programme of the choices takes it back.
SLACK = {GRID: 1e-9, BOUNDS: 1e-8, TARGETS: 1e-6}
# Times that slack, tried where a mixed-integer solver loses the solution that it has just found.
WIDER, WIDEST = (10.0, 100.0), 1e-5
# Binaries up to which a search goes on until nothing of the same money is calmer; beyond, it ends
# once nothing is cheaper, and looks for calm once, with these weights of throughput, change and how
# early everything is.
FEW_BINARIES, WEIGHTS = 50, (1.0, 1e-2, 1e-5)
LITTLE = 0.02  # of the time limit, which a linear programme gets when time is out
# The same of money, in EUR/1000.
MONEY_SLACK, MONEY_SHARE = 1e-6, 1e-9


@dataclass
class Stages:
    """A model on its way through its objectives.

    Parameters
    ----------
    problem : what is to be scheduled.
    model : its model.
    solver : `highs` or `cbc`.
    until : `time.monotonic()` at which time is out [s].
    run : the model in its solver; default a new one.
    least : violation of each class that the search has come to [kWh, kWh h].
    """

    problem: Problem
    model: Model
    solver: str
    until: float
    run: Run = None  # type: ignore[assignment]  # __post_init__ puts one in its place
    least: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if vars(self)["run"] is None:
            self.run = SOLVERS[self.solver](self.model, self.problem.gap)

    def left_s(self) -> float:
        """Time that is left [s]."""
        return self.until - time.monotonic()

    def _at_least(self, least_s: float | None) -> float:
        """Time that is left, or a little more than that [s]."""
        little = LITTLE * self.problem.time_limit_s if least_s is None else least_s
        return max(self.left_s(), little)

    def money(self) -> Outcome:
        """The least money with which the least bends.

        Returns
        -------
        The optimum; `limit` where time ran out before, also with values of an earlier objective.
        """
        outcome = self._in_order(not self.model.binaries, 0.0)
        for wider in WIDER if self.model.binaries else ():
            if outcome.status != "infeasible" or outcome.values is None:
                break
            self.run.uncap(0)
            outcome = self._in_order(False, 0.0, wider)
        lost = outcome.status == "infeasible" and outcome.values is not None
        return _unproven(replace(outcome, status="limit")) if lost else outcome

    def _in_order(self, linear: bool, least_s: float, wider: float = 1.0) -> Outcome:
        """The least money with which the least bends; each solve has `least_s` at least.

        Where a solver finds nothing that keeps to what it has just found, the answer is infeasible
        with those values. Classes are held with `wider` times their slack.
        """
        weighed = {bends: self.model.weights(bends) for bends in CLASSES}
        weighed = {bends: weights for bends, weights in weighed.items() if weights.any()}
        self.least, outcome = [], Outcome("infeasible")
        if weighed and linear:
            objective = self._all_at_once(weighed)
            outcome = self.run.minimise(objective, max(self.left_s(), least_s), CLASS_GAP)
            if outcome.status != "optimal":
                return _unproven(outcome)
        for bends, weights in weighed.items():
            if linear and not float(weights @ outcome.found) > NOTHING:
                self.run.forbid(np.flatnonzero(weights))  # nothing is the least there is
                self.least.append(0.0)
                continue
            known = outcome
            outcome = self.run.minimise(weights, max(self.left_s(), least_s), CLASS_GAP)
            if outcome.status != "optimal":
                return _unproven(_with(outcome, known))
            self.least.append(float(weights @ outcome.found))
            slack = min(SLACK[bends] * wider, WIDEST)
            self._hold(outcome, weights, slack, CLASS_SHARE)
        cost = self.model.matrices.cost
        found = self.run.minimise(cost, max(self.left_s(), least_s), self.problem.gap)
        return _with(found, outcome)

    def _all_at_once(self, weighed: dict[str, np.ndarray]) -> np.ndarray:
        """Money with a price for what bends, each class dearer than the next.

        Its optimum is mostly that of the strict order, and is only where the solver starts from: a
        linear programme that starts there is settled in a few steps, class by class.
        """
        objective, price = self.model.matrices.cost, self._largest_price()
        for weights in reversed(weighed.values()):
            price *= STEP
            objective = objective + price * weights
        return objective

    def _largest_price(self) -> float:
        """The largest price of a kWh through the connection [EUR/1000]; 1 where there is none."""
        ways = ("grid_import_kw", "grid_export_kw", "short_kw", "long_kw")
        groups = [group for name, group in self.model.columns.items() if name.startswith(ways)]
        costs = [float(np.abs(group.cost).max(initial=0.0)) for group in groups]
        return max(costs) / self.problem.hours or 1.0

    def _hold(self, outcome: Outcome, cost: np.ndarray, slack: float, share: float) -> None:
        """Keep what an objective has reached."""
        if outcome.duals is not None:
            self.run.hold(outcome, cost)
        else:
            self.run.cap(cost, _a_little_above(cost, outcome.found, slack, share))

    def fixed(self, values: np.ndarray, least_s: float | None = None) -> Outcome:
        """The linear programme of the choices that the binaries made, in the same strict order.

        Rounding has no part in it, which a mixed-integer solve held by constraints leaves room for.

        Parameters
        ----------
        values : of the variables in the solution.
        least_s : time that it gets at least [s]; default a little of the limit.

        Returns
        -------
        Its least money.
        """
        self.run.choose(values)
        outcome = self._in_order(True, self._at_least(least_s))
        return Outcome("infeasible") if outcome.status == "infeasible" else outcome

    def settle(self, values: np.ndarray, broken: Intervals) -> None:
        """Keep conditions where they are broken, without binaries.

        Parameters
        ----------
        values : of the variables in the solution.
        broken : intervals of each condition.
        """
        for key, intervals in broken.items():
            settled = self.model.conditions[key].settled(self.model, values, intervals)
            for name, places, lower, upper in settled:
                self.run.bound(places + self.model.columns[name].first, lower, upper)

    def calm_choices(self, outcome: Outcome, seconds: float) -> np.ndarray:
        """Of all choices of the same money, those with which the schedule can be calmest.

        Parameters
        ----------
        outcome : the least money of the mixed-integer model.
        seconds : time that each objective gets [s].

        Returns
        -------
        Values of the variables; those given where time runs out or nothing is calmer.
        """
        cost, values = self.model.matrices.cost, outcome.found
        count = self.run.cap(cost, _a_little_above(cost, values, MONEY_SLACK, MONEY_SHARE))
        for objective in self._calming(self.model.binaries > FEW_BINARIES):
            limit_s = min(self.left_s(), seconds)
            calmer = self.run.minimise(objective, limit_s, CLASS_GAP)
            if calmer.values is None:
                break
            values = calmer.values
            if calmer.status != "optimal":
                break
            self.run.cap(objective, _a_little_above(objective, values, CLASS_SLACK, CLASS_SHARE))
        self.run.uncap(count)
        return values

    def calm(self, outcome: Outcome, least_s: float | None = None) -> Outcome:
        """Of all schedules of the same money, the one that moves least.

        Least throughput, then least change from the plan before, then earliest.

        Parameters
        ----------
        outcome : the least money, with duals.
        least_s : time that each objective gets at least [s]; default a little of the limit.

        Returns
        -------
        The solution; the one given where there is no other.
        """
        cost = self.model.numbers[0]
        if self.run.alone(outcome, cost):
            return outcome
        for objective in self._calming():
            self.run.hold(outcome, cost)
            calmer = self.run.minimise(objective, self._at_least(least_s), CLASS_GAP)
            if calmer.status != "optimal" or calmer.duals is None:
                break
            outcome, cost = calmer, objective
            if self.run.alone(outcome, cost):
                break
        return outcome

    def _calming(self, weighed: bool = False) -> Iterator[np.ndarray]:
        """The objectives after money: throughput, change, and how early everything is.

        Weighed they are one.
        """
        hours, aims = self.problem.hours, np.zeros((3, self.model.width))
        late = hours * np.arange(self.problem.intervals)
        for name, group in self.model.columns.items():
            part = slice(group.first, group.first + len(group))
            if group.cycles:
                aims[0, part] = hours
            if name.startswith("change_kw"):
                aims[1, part] = hours
            if group.power:
                aims[2, part] = late
        if weighed:
            aims = np.dot(WEIGHTS, aims)[None, :]
        yield from (aim for aim in aims if aim.any())


def _a_little_above(cost: np.ndarray, values: np.ndarray, slack: float, share: float) -> float:
    """The number that an objective has reached, and room for rounding."""
    least = float(cost @ values)
    return least + slack + share * abs(least)


def _with(outcome: Outcome, known: Outcome) -> Outcome:
    """The answer; where there is none, with the values that the solver had before."""
    return outcome if outcome.status != "infeasible" else replace(outcome, values=known.values)


def _unproven(outcome: Outcome) -> Outcome:
    """The answer without a bound of money."""
    if outcome.status == "infeasible":
        return outcome
    return Outcome("limit", outcome.values, None, -INFINITE)
