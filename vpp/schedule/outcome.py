"""The answer of a solver, and all that a solver is asked.

python optimization.py solve --input examples/problem.json --output result.json
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vpp.schedule.draft import INFINITE

# A reduced cost or dual above this share of the largest coefficient holds its variable or
# constraint; those of an optimal basis are exact but for rounding.
DUAL_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Outcome:
    """The answer of a solver, with values and duals in the order of the model.

    Parameters
    ----------
    status : `optimal`, `limit` (of time) or `infeasible`.
    values : of the variables, if there are some.
    objective, bound : cost of the values, and what nothing can cost less than, in the unit of the
        objective; minus infinity where nothing is proven.
    reduced_costs : of the variables; None after a mixed-integer solve.
    duals : of the constraints; None after a mixed-integer solve.
    """

    status: str
    values: np.ndarray | None = None
    objective: float | None = None
    bound: float = -INFINITE
    reduced_costs: np.ndarray | None = None
    duals: np.ndarray | None = None

    @property
    def found(self) -> np.ndarray:
        """The values of an answer that has some.

        Raises
        ------
        ValueError : it has none.
        """
        if self.values is None:
            raise ValueError(f"no values: {self.status}")
        return self.values


class Run(Protocol):
    """A model in a solver, of which objective and limits change from solve to solve."""

    def minimise(self, cost: np.ndarray, limit_s: float, gap: float) -> Outcome:
        """The least of an objective.

        Parameters
        ----------
        cost : of each variable.
        limit_s : most time [s].
        gap : relative gap at which a mixed-integer solve may stop.
        """

    def hold(self, outcome: Outcome, cost: np.ndarray) -> None:
        """Keep a linear programme at its optimum, whatever it is asked for next.

        At the optimum every variable with a reduced cost stays where it is, and so does every
        constraint with a dual (complementary slackness): what is left is all that is as good.

        Parameters
        ----------
        outcome : the optimum, with duals.
        cost : of each variable in it.
        """

    def forbid(self, columns: np.ndarray) -> None:
        """Keep variables at nothing.

        Parameters
        ----------
        columns : their numbers.
        """

    def bound(self, columns: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Keep variables between other bounds.

        Parameters
        ----------
        columns : their numbers.
        lower, upper : the bounds.
        """

    def alone(self, outcome: Outcome, cost: np.ndarray) -> bool:
        """Whether no other values of a linear programme are as good.

        Parameters
        ----------
        outcome : the optimum that the solver has just found.
        cost : of each variable in it.

        Returns
        -------
        True where it is known.
        """

    def cap(self, cost: np.ndarray, most: float) -> int:
        """Keep an objective at or below a number.

        Parameters
        ----------
        cost : of each variable.
        most : the number.

        Returns
        -------
        Number of caps before it.
        """

    def uncap(self, count: int) -> None:
        """Take out caps.

        Parameters
        ----------
        count : how many stay.
        """

    def choose(self, values: np.ndarray) -> None:
        """Make the linear programme of the choices that binaries made.

        Parameters
        ----------
        values : of the variables.
        """

    def release(self) -> None:
        """Make the mixed-integer model of it again, without what was held since."""
