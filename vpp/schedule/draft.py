"""A model in the making: groups of variables and of constraints, as numpy arrays by name.

Each device adds its own groups (`vpp.schedule.device`); nothing here knows which there are. The
power balance takes all variables that state a `balance`, the classes of limits those that state
`bends`. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from vpp.schedule.programme import Programme, Variable

# The objective is in EUR/1000, so that its coefficients are about as large as prices and the
# solvers' absolute tolerances fit.
MONEY_SCALE = 1000.0
INFINITE = float("inf")
KEPT_LENGTH = 1000  # intervals up to which arrays of one number are kept from model to model
LE, EQ, GE = -1, 0, 1  # PuLP's numbers of <=, = and >=; PuLP itself takes a while to import

# What may bend, in its order of importance: each is as small as it can be before the next counts.
GRID, BOUNDS, TARGETS = "grid", "bounds", "targets"
CLASSES = (GRID, BOUNDS, TARGETS)

Numbers = np.ndarray | float
Settled = list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]


@dataclass
class Columns:
    """Variables of one kind, most often one an interval.

    Parameters
    ----------
    lower, upper : bounds, in the unit of the variables.
    cost : money of a unit [EUR/1000].
    integral : whether only whole numbers count.
    balance : factor in the power balance: 1 where it gives power, -1 where it takes power.
    serves : whether it is a consumption that batteries without `grid_discharging` may serve.
    cycles : whether it is throughput.
    power : whether it is a power of a device, one an interval, of which less later is calmer.
    bends, weight : class of the limit that it bends, and how much of it a unit is [kWh or kWh h].
    first : place of the first variable in the model.
    """

    lower: np.ndarray
    upper: np.ndarray
    cost: np.ndarray
    integral: bool = False
    balance: float = 0.0
    serves: bool = False
    cycles: bool = False
    power: bool = False
    bends: str = ""
    weight: float = 0.0
    first: int = 0

    def __len__(self) -> int:
        return len(self.lower)


@dataclass(frozen=True)
class Term:
    """A part of the left sides of a group of constraints.

    Parameters
    ----------
    column : name of a group of variables.
    factor : of each.
    rows, places : numbers of the constraint in its group, and of the variable in its own; one for
        each factor.
    """

    column: str
    factor: np.ndarray
    rows: np.ndarray
    places: np.ndarray


@dataclass
class Rows:
    """Constraints of one kind: terms on the left, a sense, a number on the right.

    Parameters
    ----------
    sense : `LE`, `EQ` or `GE`.
    right : the numbers on the right, one a constraint.
    terms : the left sides.
    numbers : what the names of the constraints end with.
    implied : whether whole binaries imply them; they save branching.
    folds : whether each says that a variable less what is beyond it keeps to a limit, or with what
        is missing to it; what is beyond or missing is in no other constraint.
    first : place of the first constraint in the model.
    """

    sense: int
    right: np.ndarray
    terms: list[Term]
    numbers: Sequence[int] | None = None
    implied: bool = False
    folds: bool = False
    first: int = 0

    def __len__(self) -> int:
        return len(self.right)


class Condition(Protocol):
    """A demand that is not linear: it is checked, and gets binaries where it is not kept."""

    def expected(self) -> np.ndarray:
        """Numbers of the intervals that get binaries from the start."""

    def broken(self, model: "Model", found: np.ndarray) -> np.ndarray:
        """The intervals in which a solver's values do not keep it.

        Parameters
        ----------
        model : the model.
        found : values of its variables.

        Returns
        -------
        Their numbers.
        """

    def settled(self, model: "Model", found: np.ndarray, intervals: np.ndarray) -> "Settled":
        """Bounds that keep it without binaries, close to a solver's values.

        Parameters
        ----------
        model : the model.
        found : values of its variables.
        intervals : numbers of the intervals in which it is to be kept.

        Returns
        -------
        For some groups of variables: name, places, lower and upper bounds.
        """

    def enforce(self, model: "Model", key: str, intervals: np.ndarray) -> None:
        """Add binaries and constraints that keep it.

        Parameters
        ----------
        model : the model that gets them.
        key : start of their names.
        intervals : numbers of the intervals in which it is to be kept.
        """


@dataclass(frozen=True, eq=False)
class Matrices:
    """A model as numpy arrays, by rows, in the order of its variables and constraints.

    Parameters
    ----------
    cost, lower, upper, integral : of the variables; `integral` is 1 for a whole number.
    row_lower, row_upper : bounds of the constraints.
    starts, index, value : the matrix: where each row starts in `index` (columns) and `value`.
    """

    cost: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    integral: np.ndarray
    row_lower: np.ndarray
    row_upper: np.ndarray
    starts: np.ndarray
    index: np.ndarray
    value: np.ndarray


@dataclass
class Model:
    """Groups of variables and constraints, and what a solver needs to know of them.

    Parameters
    ----------
    intervals : number of intervals.
    hours : length of an interval [h].
    soft : whether limits may bend; such a model has a variable for each limit that may.
    keeps : classes of which batteries and the connection bend no limit all the same.
    columns, rows : the groups by name, in the order of the model.
    conditions : what only binaries can say, by a key of its own.
    width, height : number of variables, and of constraints, so far.
    """

    intervals: int
    hours: float
    soft: bool
    columns: dict[str, Columns] = field(default_factory=dict)
    rows: dict[str, Rows] = field(default_factory=dict)
    conditions: dict[str, Condition] = field(default_factory=dict)
    keeps: tuple[str, ...] = ()
    width: int = 0
    height: int = 0

    def add(
        self,
        name: str,
        lower: Numbers = 0.0,
        upper: Numbers = INFINITE,
        cost: Numbers = 0.0,
        count: int | None = None,
        **meaning: Any,
    ) -> Columns:
        """Add variables.

        Parameters
        ----------
        name : a name of their own, such as `charge_kw_0`.
        lower, upper, cost : as in `Columns`; a number holds for all.
        count : how many; default one an interval.
        **meaning : other fields of `Columns`.

        Returns
        -------
        The variables.
        """
        size = self.intervals if count is None else count
        low, high, money = (_spread(values, size) for values in (lower, upper, cost))
        self.columns[name] = Columns(low, high, money, first=self.width, **meaning)
        self.width += size
        return self.columns[name]

    def constrain(
        self,
        name: str,
        sense: int,
        right: Numbers,
        *terms: tuple[Any, ...],
        count: int | None = None,
        numbers: Sequence[int] | None = None,
        implied: bool = False,
        folds: bool = False,
    ) -> None:
        """Add constraints.

        Parameters
        ----------
        name : a name of their own, such as `balance_energy_0`.
        sense : `LE`, `EQ` or `GE`.
        right : the numbers on the right.
        *terms : (variables, factor), or (variables, factor, rows, places) as in `Term`; without
            rows and places the first variable belongs to the first constraint, and so on.
        count : how many; default one an interval.
        numbers : what their names end with; default from 0.
        implied, folds : as in `Rows`.
        """
        size = self.intervals if count is None else count
        parts = [term_of(size, *term) for term in terms]
        rows = Rows(sense, _spread(right, size), parts, numbers, implied, folds, self.height)
        self.rows[name] = rows
        self.height += size

    def may_bend(self, bends: str) -> bool:
        """Whether batteries and the connection may bend limits of a class."""
        return self.soft and bends not in self.keeps

    @property
    def contradictory(self) -> bool:
        """Whether a variable has a lower bound above its upper bound."""
        return any((group.lower > group.upper).any() for group in self.columns.values())

    @property
    def binaries(self) -> int:
        """Number of whole numbers among the variables."""
        return sum(len(group) for group in self.columns.values() if group.integral)

    @cached_property
    def matrices(self) -> Matrices:
        """The whole model for a solver."""
        whole_numbers = np.zeros(self.width, dtype=np.int32)
        for group in self.columns.values():
            if group.integral:
                whole_numbers[group.first : group.first + len(group)] = 1
        cost, lower, upper, row_lower, row_upper = self.numbers
        sides = (cost, lower, upper, whole_numbers, row_lower, row_upper)
        return Matrices(*sides, *self._sparse())

    @cached_property
    def numbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Costs and bounds of all variables, and bounds of all constraints."""
        groups, rows = list(self.columns.values()), list(self.rows.values())
        low = [_spread(-INFINITE, len(one)) if one.sense == LE else one.right for one in rows]
        high = [_spread(INFINITE, len(one)) if one.sense == GE else one.right for one in rows]
        return (
            _joined([group.cost for group in groups]),
            _joined([group.lower for group in groups]),
            _joined([group.upper for group in groups]),
            _joined(low),
            _joined(high),
        )

    def _sparse(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The matrix by rows: where each starts, its columns and its factors."""
        rows, columns, values = [], [], []
        for group in self.rows.values():
            for term in group.terms:
                rows.append(term.rows + group.first)
                columns.append(term.places + self.columns[term.column].first)
                values.append(term.factor)
        row = np.concatenate([*rows, np.zeros(0, dtype=np.int64)])
        order = np.argsort(row, kind="stable")
        starts = np.searchsorted(row[order], np.arange(self.height)).astype(np.int32)
        index = np.concatenate([*columns, np.zeros(0, dtype=np.int64)])[order].astype(np.int32)
        return starts, index, _joined(values)[order]

    @cached_property
    def lp(self) -> "Programme":
        """The model as a PuLP problem, with the variables and constraints in the same order."""
        from vpp.schedule.programme import programme_of

        return programme_of(self.matrices, list(self.names()), list(self.row_names()))

    @property
    def variables(self) -> "list[Variable]":
        """The variables of the PuLP problem in the order of the model."""
        return self.lp.in_order

    def of(self, name: str) -> "list[Variable]":
        """The variables of a group in the PuLP problem."""
        group = self.columns[name]
        return self.variables[group.first : group.first + len(group)]

    def names(self) -> Iterator[tuple[str, int]]:
        """Name and number of each variable."""
        for name, group in self.columns.items():
            yield from ((name, number) for number in range(len(group)))

    def row_names(self) -> Iterator[str]:
        """The name of each constraint."""
        for name, rows in self.rows.items():
            numbers = range(len(rows)) if rows.numbers is None else rows.numbers
            yield from (f"{name}_{number}" for number in numbers)

    def values(self, found: np.ndarray, name: str) -> np.ndarray:
        """The values that a solver found for a group, put inside its bounds.

        Parameters
        ----------
        found : the values of all variables.
        name : name of the group.

        Returns
        -------
        The values of the group; nothing where there is no such group.
        """
        group = self.columns.get(name)
        if group is None:
            return np.zeros(0)
        here = found[group.first : group.first + len(group)]
        return np.minimum(np.maximum(here, group.lower), group.upper)

    def weights(self, bends: str) -> np.ndarray:
        """Weight of each variable in the violation of a class [kWh or kWh h]."""
        weights = np.zeros(self.width)
        for group in self.columns.values():
            if group.bends == bends:
                weights[group.first : group.first + len(group)] = group.weight
        return weights


def term_of(
    size: int,
    column: str,
    factor: Numbers,
    rows: np.ndarray | None = None,
    places: np.ndarray | None = None,
) -> Term:
    """A term of constraints, as `Model.constrain` takes it.

    Parameters
    ----------
    size : number of constraints.
    column, factor, rows, places : as in `Term`.

    Returns
    -------
    The term.
    """
    here = _counted(size) if rows is None else rows
    there = here if places is None else places
    return Term(column, _spread(factor, len(here)), here, there)


def _spread(values: Numbers, size: int) -> np.ndarray:
    """An array of this size; a number holds for all."""
    if isinstance(values, np.ndarray) and len(values) == size:
        return values.astype(float, copy=False)
    if size <= KEPT_LENGTH and isinstance(values, (int, float)):
        return _constant(float(values), size)
    spread = np.empty(size)  # np.full takes several times as long
    spread[:] = values
    return spread


@lru_cache(maxsize=1000)
def _constant(value: float, size: int) -> np.ndarray:
    """A short array of one number, which many models share; nobody may write to it."""
    constant = np.full(size, value)
    constant.flags.writeable = False
    return constant


@lru_cache(maxsize=100)
def _counted(size: int) -> np.ndarray:
    """Numbers from 0 on, which many terms share; nobody may write to them."""
    numbers = np.arange(size)
    numbers.flags.writeable = False
    return numbers


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([*arrays, np.zeros(0)])
