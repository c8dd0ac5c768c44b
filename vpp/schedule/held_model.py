"""A model that stays in HiGHS while its numbers change.

Windows of the same shape have the same matrix: only costs, bounds and right-hand sides are written
anew. Binaries come for one window, where it needs some, and go again. Pure: reads and writes
nothing.

    python optimization.py backtest --days 30
"""

from dataclasses import dataclass

import highspy
import numpy as np

from vpp.schedule.backends import Outcome, highs_outcome, new_highs
from vpp.schedule.draft import Model, Term
from vpp.schedule.exclusive import Intervals, merged
from vpp.schedule.model import build
from vpp.schedule.problem import Problem, Schedule
from vpp.schedule.solution import solution


@dataclass
class Held:
    """A model in HiGHS.

    Parameters
    ----------
    highs : the solver that holds it.
    columns, rows : numbers of its columns and rows.
    """

    highs: highspy.Highs
    columns: np.ndarray
    rows: np.ndarray

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
        matrix = model.matrices
        columns = np.arange(len(matrix.cost), dtype=np.int32)
        rows = np.arange(len(matrix.row_lower), dtype=np.int32)
        return cls(new_highs(matrix, problem.time_limit_s, problem.gap), columns, rows)

    def solve(self, problem: Problem, model: Model) -> Schedule | None:
        """The cheapest schedule of a problem of the same shape.

        Parameters
        ----------
        problem : what is to be scheduled.
        model : its hard model without binaries that conditions ask for.

        Returns
        -------
        The schedule; None where limits have to bend, time runs out, or binaries do not settle it.
        """
        if model.contradictory:
            return None
        self._write(model)
        exclusive: Intervals = {}
        while True:
            outcome = self._run(problem, model, exclusive)
            if outcome.status != "optimal":
                return None
            schedule, broken = solution(problem, model, outcome.found)
            if not broken:
                return schedule
            more = more_binaries(model, exclusive, broken)
            if more is None:
                return None
            exclusive = more

    def _write(self, model: Model) -> None:
        """Write the model's costs, bounds and right-hand sides."""
        (cost, lower, upper, *bounds), columns, rows = model.numbers, self.columns, self.rows
        self.highs.changeColsCost(len(columns), columns, cost)
        self.highs.changeColsBounds(len(columns), columns, lower, upper)
        # type hints of highspy do not name this one
        self.highs.changeRowsBounds(len(rows), rows, *bounds)  # type: ignore[attr-defined]

    def _run(self, problem: Problem, model: Model, exclusive: Intervals) -> Outcome:
        """The answer with these binaries, in the time that the problem allows.

        Binaries go again at once.
        """
        more = build(problem, False, exclusive) if exclusive else None
        if more is not None:
            self._extend(more)
        # the clock of HiGHS runs on from one solve to the next
        self.highs.setOptionValue("time_limit", self.highs.getRunTime() + problem.time_limit_s)
        self.highs.run()
        outcome = highs_outcome(self.highs, priced=False)
        if more is not None:
            columns, rows = len(self.columns), len(self.rows)
            added = np.arange(columns, more.width, dtype=np.int32)
            self.highs.deleteCols(len(added), added)
            added = np.arange(rows, more.height, dtype=np.int32)
            self.highs.deleteRows(len(added), added)
        return outcome

    def _extend(self, model: Model) -> None:
        """Add what a model with binaries has beyond this one: it comes last."""
        matrix, columns, rows = model.matrices, len(self.columns), len(self.rows)
        cost, lower, upper = (x[columns:] for x in (matrix.cost, matrix.lower, matrix.upper))
        none = np.zeros(0, dtype=np.int32)
        starts = np.zeros(len(cost), dtype=np.int32)
        self.highs.addCols(len(cost), cost, lower, upper, 0, starts, none, np.zeros(0))
        added = np.arange(columns, columns + len(cost), dtype=np.int32)
        whole = np.full(len(added), highspy.HighsVarType.kInteger)
        self.highs.changeColsIntegrality(len(added), added, whole)
        first = matrix.starts[rows] if rows < len(matrix.starts) else len(matrix.index)
        part = (matrix.starts[rows:] - first, matrix.index[first:], matrix.value[first:])
        bounds = (matrix.row_lower[rows:], matrix.row_upper[rows:])
        self.highs.addRows(len(bounds[0]), *bounds, len(part[1]), *part)


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
