"""Of schedules that cost the same, the calmest: other choices of the binaries, then other powers.

Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

import time
from dataclasses import dataclass

import numpy as np

from vpp.schedule.backends import Outcome
from vpp.schedule.battery import TOLERANCE
from vpp.schedule.draft import MONEY_SCALE
from vpp.schedule.exclusive import Intervals, without
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.repair import TRIES, bends_more
from vpp.schedule.solution import solution
from vpp.schedule.stages import FEW_BINARIES, MONEY_SHARE, MONEY_SLACK, Stages

# Binaries, and variables, of a model that is searched for calmer choices of the same money: beyond,
# HiGHS looks at its clock too seldom.
MOST_BINARIES, MOST_VARIABLES = 200, 8000
# A calmer choice may take so much of the time that the cheapest took, for each of its aims.
LEAST_CALM_S, CALM_SHARE = 0.2, 0.1


@dataclass(frozen=True, eq=False)
class Calming:
    """A model whose least money is known.

    Parameters
    ----------
    problem : what is to be scheduled.
    stages : the model.
    exclusive : intervals with binaries.
    started : `time.monotonic()` at the start of the search [s].
    """

    problem: Problem
    stages: Stages
    exclusive: Intervals
    started: float

    @property
    def decides(self) -> bool:
        """Whether what calm would break is decided without more binaries, as there are many."""
        return self.stages.model.binaries > FEW_BINARIES and self.stages.solver == "highs"

    def chosen(self, outcome: Outcome) -> Outcome:
        """The linear programme of the binaries' choices: of equal ones, those that are calmest.

        Parameters
        ----------
        outcome : the least money of the mixed-integer model.

        Returns
        -------
        The optimum of the choices; the outcome where they have none.
        """
        stages, fixed = self.stages, self._fixed(outcome, outcome.found)
        if fixed.status != "optimal" or fixed.objective is None:
            return outcome
        if stages.solver != "highs" or not _worth_calming(stages, fixed):
            return fixed
        spent_s, bent = time.monotonic() - self.started, stages.least
        stages.run.release()
        choices = stages.calm_choices(outcome, max(LEAST_CALM_S, spent_s * CALM_SHARE))
        calmer = self._fixed(outcome, choices)
        least = fixed.objective + MONEY_SLACK + MONEY_SHARE * abs(fixed.objective)
        as_good = (calmer.objective or 0.0) <= least and not bends_more(bent, stages.least)
        if calmer.status == "optimal" and as_good:
            return calmer
        stages.run.release()
        again = self._fixed(outcome, outcome.found)
        return outcome if again.values is None else again

    def _fixed(self, outcome: Outcome, values: np.ndarray) -> Outcome:
        """The linear programme of the choices in some values.

        Where there are many binaries and it breaks a condition, that is decided as in the outcome.
        """
        fixed = self.stages.fixed(values)
        for _ in range(TRIES):
            if fixed.status != "optimal" or not self.decides:
                break
            broken = self.read(fixed)[1]
            if not broken:
                break
            self.stages.run.release()
            self.stages.settle(outcome.found, broken)
            fixed = self.stages.fixed(values)
        return fixed

    def read(self, outcome: Outcome) -> tuple[Schedule, Intervals]:
        """The schedule of an outcome, and what it breaks where there are no binaries.

        Parameters
        ----------
        outcome : the answer, with values.
        """
        schedule, broken = solution(self.problem, self.stages.model, outcome.found)
        return schedule, without(broken, self.exclusive)

    def calmest(self, priced: Outcome, schedule: Schedule) -> tuple[Schedule, Intervals]:
        """The calmest schedule that costs the same, or nearly the calmest where binaries are many.

        Then what it would break is decided as it is in the schedule given.

        Parameters
        ----------
        priced : the least money, with duals.
        schedule : its schedule, which keeps all conditions.

        Returns
        -------
        The schedule, and what it breaks.
        """
        calm, broken = self._calmest(priced, schedule)
        if not broken or not self.decides:
            return calm, broken
        for _ in range(TRIES):
            self.stages.run.release()
            self.stages.settle(priced.found, broken)
            again = self.stages.fixed(priced.found)
            if again.status != "optimal":
                break
            calm, broken = self._calmest(again, schedule)
            if not broken:
                return calm, {}
        return schedule, {}

    def _calmest(self, priced: Outcome, schedule: Schedule) -> tuple[Schedule, Intervals]:
        """The calmest schedule that costs the same, by linear programmes."""
        calm = self.stages.calm(priced)
        if calm is priced:
            return schedule, {}
        calmer, broken = self.read(calm)
        money = self.stages.model.numbers[0] / MONEY_SCALE
        cost, same = (float(money @ one.found) for one in (priced, calm))
        if same > cost + TOLERANCE * max(1.0, abs(cost)) * 1e-1:
            return schedule, {}
        return calmer, broken


def _worth_calming(stages: Stages, fixed: Outcome) -> bool:
    """Whether other choices may be as cheap, and calmer.

    Binaries that keep two powers apart leave little to choose where the rest is settled.
    """
    model = stages.model
    if model.width > MOST_VARIABLES:
        return False
    if any(one.integral and not name.startswith("only_") for name, one in model.columns.items()):
        return True
    settled = stages.run.alone(fixed, model.matrices.cost)
    return not settled and model.binaries <= MOST_BINARIES
