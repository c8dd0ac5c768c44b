"""The answer of a solver.

python optimization.py solve --input examples/problem.json --output result.json
"""

from dataclasses import dataclass

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
