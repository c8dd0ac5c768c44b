"""Demands that only binaries can state; they get them only where they are not kept without.

A battery must not charge and discharge at once, nor the grid connection import and export. The
linear programme does neither except where burning energy pays: where the price of taking it is
below -wear * eta / (1 - eta) (eta: round trip), or where exporting pays more than importing costs.
Only there binaries forbid it. A power of 0 or at least so much gets binaries only where the linear
programme goes between. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vpp.schedule.draft import GE, LE, Model, Settled

Intervals = dict[str, np.ndarray]  # numbers of intervals, for each condition's key


def _nothing() -> np.ndarray:
    return np.zeros(0, dtype=int)


@dataclass(frozen=True)
class Pair:
    """Two opposite powers of which only one may be above zero.

    Parameters
    ----------
    first, second : names of their variables.
    least_kw : power below which both at once are rounding [kW].
    pays : intervals in which a linear programme could gain by doing both.
    watched : intervals in which both at once count; default all.
    fit : adds what whole binaries imply, and saves branching: from the model and the intervals.
    """

    first: str
    second: str
    least_kw: float
    pays: np.ndarray = field(default_factory=_nothing)
    watched: np.ndarray | None = None
    fit: Callable[[Model, np.ndarray], None] | None = None

    def expected(self) -> np.ndarray:
        """Where doing both pays."""
        return self.pays

    def broken(self, model: Model, found: np.ndarray) -> np.ndarray:
        """Where both are above zero.

        Parameters
        ----------
        model : the model.
        found : values of its variables.

        Returns
        -------
        Numbers of the intervals.
        """
        if self.watched is not None and not len(self.watched):
            return self.watched
        both = np.minimum(model.values(found, self.first), model.values(found, self.second))
        at_once = np.flatnonzero(both > self.least_kw)
        return at_once if self.watched is None else np.intersect1d(at_once, self.watched)

    def settled(self, model: Model, found: np.ndarray, intervals: np.ndarray) -> Settled:
        """The smaller power is nothing; see `Condition.settled`.

        Parameters
        ----------
        model : the model.
        found : values of its variables.
        intervals : their numbers.

        Returns
        -------
        Groups of variables, places, lower and upper bounds.
        """
        first, second = (model.values(found, name)[intervals] for name in (self.first, self.second))
        less = ((self.first, intervals[first < second]), (self.second, intervals[first >= second]))
        return [(name, places, *np.zeros((2, len(places)))) for name, places in less]

    def enforce(self, model: Model, key: str, intervals: np.ndarray) -> None:
        """A binary for each interval lets only one of both be above zero.

        Parameters
        ----------
        model : the model that gets it.
        key : start of the names.
        intervals : numbers of the intervals.
        """
        only, count = f"only_{self.first}", len(intervals)
        first_kw, second_kw = (model.columns[n].upper[intervals] for n in (self.first, self.second))
        model.add(only, 0.0, 1.0, count=count, integral=True)
        here = np.arange(count)
        given = {"count": count, "numbers": intervals.tolist()}
        one = ((self.first, 1.0, here, intervals), (only, -first_kw))
        model.constrain(f"exclude_{key}_first", LE, 0.0, *one, **given)
        other = ((self.second, 1.0, here, intervals), (only, second_kw))
        model.constrain(f"exclude_{key}_second", LE, second_kw, *other, **given)
        if self.fit is not None:
            self.fit(model, intervals)


@dataclass(frozen=True)
class LeastPower:
    """A power that is 0 or at least so much.

    Parameters
    ----------
    power : name of its variables.
    least_kw : the least power above 0 [kW].
    rounding_kw : power that is rounding [kW].
    """

    power: str
    least_kw: float
    rounding_kw: float

    def expected(self) -> np.ndarray:
        """None: the linear programme may keep it by itself."""
        return _nothing()

    def broken(self, model: Model, found: np.ndarray) -> np.ndarray:
        """Where the power is between.

        Parameters
        ----------
        model : the model.
        found : values of its variables.

        Returns
        -------
        Numbers of the intervals.
        """
        power = model.values(found, self.power)
        between = (power > self.rounding_kw) & (power < self.least_kw - self.rounding_kw)
        return np.flatnonzero(between)

    def settled(self, model: Model, found: np.ndarray, intervals: np.ndarray) -> Settled:
        """Nothing, or at least so much, as is nearer; see `Condition.settled`.

        Parameters
        ----------
        model : the model.
        found : values of its variables.
        intervals : their numbers.

        Returns
        -------
        Groups of variables, places, lower and upper bounds.
        """
        most_kw, power = model.columns[self.power].upper, model.values(found, self.power)
        on = (power >= self.least_kw / 2) & (most_kw >= self.least_kw)
        lower, upper = np.where(on, self.least_kw, 0.0), np.where(on, most_kw, 0.0)
        return [(self.power, intervals, lower[intervals], upper[intervals])]

    def around(self, model: Model, intervals: np.ndarray, reach: int) -> np.ndarray:
        """Intervals with power that are not far from some.

        Where one is between, the search soon drives its neighbours there.

        Parameters
        ----------
        model : the model.
        intervals : their numbers.
        reach : how far [intervals].

        Returns
        -------
        Numbers of the intervals.
        """
        able = np.flatnonzero(model.columns[self.power].upper >= self.least_kw)
        near = np.abs(able[:, None] - intervals[None, :]).min(axis=1, initial=len(able) + reach)
        return np.union1d(intervals, able[near <= reach])

    def enforce(self, model: Model, key: str, intervals: np.ndarray) -> None:
        """A binary for each interval says whether there is power.

        Parameters
        ----------
        model : the model that gets it.
        key : start of the names.
        intervals : numbers of the intervals.
        """
        on, count = f"on_{self.power}", len(intervals)
        most_kw, here = model.columns[self.power].upper[intervals], np.arange(count)
        # where even the largest power is too small there is none
        model.add(on, 0.0, (most_kw >= self.least_kw).astype(float), count=count, integral=True)
        power, given = (self.power, 1.0, here, intervals), {"numbers": intervals.tolist()}
        model.constrain(f"{key}_most", LE, 0.0, power, (on, -most_kw), count=count, **given)
        model.constrain(f"{key}_least", GE, 0.0, power, (on, -self.least_kw), count=count, **given)


def expected_intervals(model: Model) -> Intervals:
    """Where conditions get binaries from the start.

    Parameters
    ----------
    model : the model, without binaries.

    Returns
    -------
    The intervals, for each condition that has some.
    """
    found = {key: condition.expected() for key, condition in model.conditions.items()}
    return {key: intervals for key, intervals in found.items() if len(intervals)}


def broken_intervals(model: Model, found: np.ndarray) -> Intervals:
    """Where a solver's values do not keep the conditions.

    Parameters
    ----------
    model : the model.
    found : values of its variables.

    Returns
    -------
    The intervals, for each condition that has some.
    """
    broken = {key: one.broken(model, found) for key, one in model.conditions.items()}
    return {key: intervals for key, intervals in broken.items() if len(intervals)}


def widened(model: Model, broken: Intervals, reach: int) -> Intervals:
    """Intervals that get binaries next: where conditions are broken, and of least powers around it.

    Parameters
    ----------
    model : the model.
    broken : where conditions are broken.
    reach : how far around [intervals].

    Returns
    -------
    The intervals of each condition.
    """
    wide = dict(broken)
    for key, intervals in broken.items():
        condition = model.conditions[key]
        if reach and isinstance(condition, LeastPower):
            wide[key] = condition.around(model, intervals, reach)
    return wide


def merged(first: Intervals, second: Intervals) -> Intervals:
    """Intervals of either.

    Parameters
    ----------
    first, second : intervals.

    Returns
    -------
    Their union, sorted, for each key of either.
    """
    empty = _nothing()
    return {
        key: np.union1d(first.get(key, empty), second.get(key, empty))
        for key in {**first, **second}
    }


def without(first: Intervals, second: Intervals) -> Intervals:
    """Intervals of the first that are not in the second.

    Parameters
    ----------
    first, second : intervals.

    Returns
    -------
    The difference, sorted; a key without intervals is left out.
    """
    empty = _nothing()
    left = {key: np.setdiff1d(found, second.get(key, empty)) for key, found in first.items()}
    return {key: intervals for key, intervals in left.items() if len(intervals)}
