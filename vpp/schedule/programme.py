"""PuLP classes without PuLP's checks, which take longer than a solver needs for a year of hours.

Names are put together only when asked, expressions are dicts from the start, and a constraint does
not register its variables one by one. PuLP still writes and solves such a model by itself. The
classes rely on private attributes of PuLP 3; `tests/schedule/test_programme.py` fails where a new
PuLP has others.

    python benchmarks/bench_optimization.py
"""

import gc
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress
from typing import Any

import numpy as np
import pulp

INFINITE = float("inf")


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Hold the garbage collector while a model is built: it would walk through all variables."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Variable(pulp.LpVariable):
    """A PuLP variable that knows its column.

    Parameters
    ----------
    kind, number : name of its group, and its place in it; its name is made of both.
    column : its place in the model.
    low, high : its bounds; `high` None is unlimited.
    """

    __hash__ = object.__hash__  # by identity, as in PuLP, at the speed of C
    hash = property(id)
    cat = pulp.LpContinuous
    varValue = dj = None
    modified = True

    def __init__(self, kind: str, number: int, column: int, low: float, high: float | None):
        self.kind, self.number, self.column = kind, number, column
        # PuLP writes a bound of minus infinity as a number, which CBC cannot read
        self.lowBound, self.upBound = (None if low == -math.inf else low), high

    @property
    def name(self) -> str:
        """Kind and number."""
        return f"{self.kind}_{self.number}"


class Terms(pulp.LpAffineExpression):
    """A PuLP expression without constant, from (variable, coefficient) pairs, made like a dict."""

    name = None
    constant = 0.0
    __init__ = dict.__init__


class Constraint(pulp.LpConstraint):
    """A PuLP constraint whose parts need no checking.

    Parameters
    ----------
    terms : pairs of variable and coefficient on the left.
    sense : `pulp.LpConstraintLE`, `LpConstraintEQ` or `LpConstraintGE`.
    name : a name of its own in the model.
    right : the number on the right.
    """

    pi = slack = None
    modified = True
    name = None  # in place of PuLP's property, which translates every name

    def __init__(
        self, terms: Iterable[tuple[Variable, float]], sense: int, name: str, right: float
    ):
        self.expr, self.sense, self.name, self.constant = Terms(terms), sense, name, -right


class Programme(pulp.LpProblem):
    """A PuLP problem that takes constraints as they are; `variables()` collects their variables.

    Attributes
    ----------
    in_order : the variables in the order of the model that it was made of.
    """

    in_order: list[Variable]

    def addConstraint(self, constraint: pulp.LpConstraint, name: str | None = None) -> None:
        """Add a constraint.

        Parameters
        ----------
        constraint : the constraint.
        name : another name than its own.

        Raises
        ------
        pulp.PulpError : another constraint has this name.
        """
        name = name or constraint.name
        if name in self._constraints:
            raise pulp.PulpError(f"two constraints are named {name}")
        self._constraints[name] = constraint


@garbage_kept()
def programme_of(matrix: Any, names: Sequence[tuple[str, int]], rows: Sequence[str]) -> Programme:
    """The PuLP problem of matrices.

    Parameters
    ----------
    matrix : as `vpp.schedule.draft.Matrices`.
    names : kind and number of each variable.
    rows : name of each constraint.

    Returns
    -------
    The problem.
    """
    lp, kinds, numbers = Programme("schedule", pulp.LpMinimize), *zip(*names, strict=True)
    upper = [None if high == INFINITE else high for high in matrix.upper.tolist()]
    lp.in_order = made = list(
        map(Variable, kinds, numbers, range(len(kinds)), matrix.lower.tolist(), upper)
    )
    for column in np.flatnonzero(matrix.integral).tolist():
        made[column].cat = pulp.LpInteger
    costs = matrix.cost.tolist()
    objective = Terms(zip(compress(made, costs), filter(None, costs), strict=True))
    lp.setObjective(objective)
    variables, values = [made[column] for column in matrix.index.tolist()], matrix.value.tolist()
    low, high = matrix.row_lower, matrix.row_upper
    right = np.where(np.isfinite(low), low, high).tolist()
    senses = (np.isfinite(low).astype(int) - np.isfinite(high)).tolist()
    ends = [*matrix.starts.tolist()[1:], len(values)]
    for name, sense, number, start, end in zip(
        rows, senses, right, matrix.starts.tolist(), ends, strict=True
    ):
        terms = zip(variables[start:end], values[start:end], strict=True)
        lp.addConstraint(Constraint(terms, sense, name, number))
    return lp
