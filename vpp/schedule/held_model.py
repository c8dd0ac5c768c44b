"""A model that stays in HiGHS while its numbers change.

Windows of the same shape have the same matrix: only costs, bounds and right-hand sides are written
anew. Binaries come for one window, where it needs some, and go again. Pure: reads and writes
nothing.

    python optimization.py backtest --days 30
"""

import time
from dataclasses import dataclass

import highspy
import numpy as np

from vpp.schedule.backends import DUAL, HighsRun, Outcome
from vpp.schedule.calm import Calming
from vpp.schedule.draft import Model, Term
from vpp.schedule.exclusive import Intervals, merged
from vpp.schedule.model import build
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.ring import Ring
from vpp.schedule.solution import solution
from vpp.schedule.stages import Stages


@dataclass
class Held:
    """A model in HiGHS.

    Parameters
    ----------
    run : the solver that holds it.
    ring : where its variables and constraints lie there.
    """

    run: HighsRun
    ring: Ring

    @classmethod
    def of(cls, problem: Problem, model: Model) -> "Held":
        """A model handed over to a HiGHS of its own.

        Parameters
        ----------
        problem : what is scheduled, for time limit and gap.
        model : its hard model without binaries.

        Returns
        -------
        The model in HiGHS.
        """
        return cls(HighsRun(model, problem.gap), Ring(model))

    def solve(
        self, problem: Problem, model: Model, calm: bool = False, step: int | None = None
    ) -> Schedule | None:
        """The cheapest schedule of a problem of the same shape.

        Parameters
        ----------
        problem : what is to be scheduled.
        model : its hard model without binaries that conditions ask for.
        calm : whether the calmest of those that cost the same is wanted.
        step : number of the first interval, counted from the same one for all problems; with it
            the solver starts from the intervals that problems have in common.

        Returns
        -------
        The schedule; None where limits have to bend, time runs out, or binaries do not settle it,
        or, where a calm one is wanted, are needed.
        """
        if model.contradictory:
            return None
        if step is not None:
            for row, column, value in self.ring.turn(step):
                self.run.highs.changeCoeff(row, column, value)
        self.run.write(model, self.ring)
        exclusive: Intervals = {}
        started = time.monotonic()
        while True:
            outcome = self._run(problem, model, exclusive, calm)
            if outcome.status != "optimal":
                return None
            schedule, broken = solution(problem, model, outcome.found)
            if calm:
                stages = Stages(
                    problem, model, "highs", started + problem.time_limit_s, run=self.run
                )
                calming = Calming(problem, stages, {}, started)
                return None if broken else _kept(*calming.calmest(outcome, schedule))
            if not broken:
                return schedule
            more = more_binaries(model, exclusive, broken)
            if more is None:
                return None
            exclusive = more

    def _run(self, problem: Problem, model: Model, exclusive: Intervals, priced: bool) -> Outcome:
        """The answer with these binaries, in the time that the problem allows.

        Binaries go again at once.
        """
        more = build(problem, False, exclusive) if exclusive else None
        if more is not None:
            self._extend(model, more)
        highs = self.run.highs
        # the clock of HiGHS runs on from one solve to the next
        highs.setOptionValue("time_limit", highs.getRunTime() + problem.time_limit_s)
        if priced:  # calm objectives were asked for in another way
            highs.setOptionValue("simplex_strategy", DUAL)
        highs.run()
        self.run.based = more is None
        outcome = self.run.outcome(priced)
        if more is not None:
            added = np.arange(model.width, more.width, dtype=np.int32)
            highs.deleteCols(len(added), added)
            added = np.arange(model.height, more.height, dtype=np.int32)
            highs.deleteRows(len(added), added)
        return outcome

    def _extend(self, model: Model, more: Model) -> None:
        """Add what a model with binaries has beyond this one: it comes last."""
        matrix, columns, rows, highs = more.matrices, model.width, model.height, self.run.highs
        cost, lower, upper = (x[columns:] for x in (matrix.cost, matrix.lower, matrix.upper))
        none = np.zeros(0, dtype=np.int32)
        starts = np.zeros(len(cost), dtype=np.int32)
        highs.addCols(len(cost), cost, lower, upper, 0, starts, none, np.zeros(0))
        added = np.arange(columns, columns + len(cost), dtype=np.int32)
        whole = np.full(len(added), highspy.HighsVarType.kInteger)
        highs.changeColsIntegrality(len(added), added, whole)
        first = matrix.starts[rows] if rows < len(matrix.starts) else len(matrix.index)
        places = np.append(self.ring.columns, added).astype(np.int32)
        part = (matrix.starts[rows:] - first, places[matrix.index[first:]], matrix.value[first:])
        bounds = (matrix.row_lower[rows:], matrix.row_upper[rows:])
        highs.addRows(len(bounds[0]), *bounds, len(part[1]), *part)


def _kept(schedule: Schedule, broken: Intervals) -> Schedule | None:
    """The schedule, where it keeps all conditions."""
    return None if broken else schedule


def shape(model: Model) -> tuple:
    """All that is not costs, bounds and right-hand sides of a model."""
    columns = [(name, len(group), group.integral) for name, group in model.columns.items()]
    rows = [
        (name, one.sense, *(_parts_of(term) for term in one.terms))
        for name, one in model.rows.items()
    ]
    return (*columns, *rows)


def _parts_of(term: Term) -> tuple:
    arrays = (term.factor, term.rows, term.places)
    return (term.column, *(array.tobytes() for array in arrays))


def more_binaries(model: Model, exclusive: Intervals, broken: Intervals) -> Intervals | None:
    """The intervals that get binaries next.

    Parameters
    ----------
    model : the model without binaries.
    exclusive : the intervals that have binaries.
    broken : those in which the solution breaks a condition.

    Returns
    -------
    The intervals of both kinds, at first also those where they are expected; None where binaries
    did not settle it, so that a new model has to.
    """
    found = merged(exclusive, broken)
    if sum(map(len, found.values())) == sum(map(len, exclusive.values())):
        return None
    if exclusive:
        return found
    return merged(found, {key: one.expected() for key, one in model.conditions.items()})
