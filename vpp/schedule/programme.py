"""PuLP classes without PuLP's checks, which take longer than a solver needs for a year of hours.

Names are put together only when asked, expressions are dicts from the start, and a constraint does
not register its variables one by one. PuLP still writes and solves such a model by itself. The
classes rely on private attributes of PuLP 3; `tests/schedule/test_programme.py` fails where a new
PuLP has others.

    python benchmarks/bench_optimization.py
"""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pulp


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
        self.lowBound, self.upBound = low, high

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
    """A PuLP problem that takes constraints as they are; `variables()` collects their variables."""

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

    def drop(self, start: str) -> None:
        """Take out constraints.

        Parameters
        ----------
        start : how their names begin.
        """
        for name in [name for name in self._constraints if name.startswith(start)]:
            del self._constraints[name]


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
