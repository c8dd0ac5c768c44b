"""Notes of a replay: what breaks physics, and which limits bend, by class and by how much.

Every quantity has its own tolerance: a battery's powers and energies are judged by its own ratings,
never by the largest number of the problem. Pure: reads and writes nothing.

    python -c "from vpp.schedule.checks import rounding; print(rounding(10.0))"
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from vpp.schedule.battery import TOLERANCE
from vpp.schedule.draft import CLASSES


@dataclass(frozen=True)
class Violation:
    """A limit that a schedule does not keep.

    Parameters
    ----------
    field : path of the limit in the problem file.
    interval : number of the interval, from 0.
    amount, unit : by how much.
    scenario : number of the scenario, where there are some.
    """

    field: str
    interval: int
    amount: float
    unit: str
    scenario: int | None = None


def rounding(*quantities: float | np.ndarray) -> float:
    """The deviation of some quantities that is rounding.

    Parameters
    ----------
    *quantities : ratings, capacities or series that belong together [kW, kWh].

    Returns
    -------
    `TOLERANCE` of the largest of them, and of 1 at least [kW, kWh].
    """
    return TOLERANCE * max([1.0, *map(_largest, quantities)])


def in_figures(amount: float) -> str:
    """An amount with so many figures that it is not 0.0 where it is small.

    Parameters
    ----------
    amount : the amount, in any unit.

    Returns
    -------
    One decimal from 1 on, else two figures.
    """
    return f"{amount:,.1f}" if abs(amount) >= 1 else f"{amount:.2g}"


def _largest(quantity: float | np.ndarray) -> float:
    if isinstance(quantity, np.ndarray):
        return float(np.abs(quantity).max(initial=0.0))
    return abs(quantity)


@dataclass
class Checks:
    """Limits that a schedule does not keep by more than a tolerance [kW, kWh].

    Parameters
    ----------
    hours : length of an interval [h].
    violations : faults against physics.
    bends : limits that bend.
    totals : violation of each class: energy over grid limits [kWh], energy outside SOC bounds times
        hours [kWh h], energy missing to targets [kWh].
    """

    hours: float
    violations: list[Violation] = field(default_factory=list)
    bends: list[Violation] = field(default_factory=list)
    totals: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0.0))

    def violate(self, name: str, amount: np.ndarray, unit: str, tolerance: float) -> None:
        """Note where an amount above what physics allow is not within the tolerance.

        Parameters
        ----------
        name : the limit.
        amount : what is beyond it, one an interval.
        unit : of the amount.
        tolerance : that is rounding.
        """
        self._note(self.violations, name, amount, unit, tolerance, 0)

    def bend(
        self, bends: str, name: str, amount: np.ndarray, unit: str, tolerance: float, first: int = 0
    ) -> None:
        """Note where a limit bends.

        Parameters
        ----------
        bends : its class.
        name : the limit.
        amount : what is beyond it, one an interval from `first` on; in kW, or kWh that count for a
            whole interval, except for targets, which count as they are.
        unit : of the amount.
        tolerance : that is rounding.
        first : number of the first interval.
        """
        noted = self._note(self.bends, name, amount, unit, tolerance, first)
        self.totals[bends] += noted * (1.0 if bends == "targets" else self.hours)

    def _note(
        self, found: list, name: str, amount: np.ndarray, unit: str, tolerance: float, first: int
    ) -> float:
        kept = amount <= tolerance  # NaN is not kept
        if kept.all():
            return 0.0
        places = np.flatnonzero(~kept)
        found += [Violation(name, first + int(t), float(amount[t]), unit) for t in places]
        return float(amount[places].sum())


Arrays = dict[str, np.ndarray]
Read = Callable[[str], np.ndarray]
