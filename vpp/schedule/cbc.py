"""A model in the CBC that PuLP brings along, which gets the PuLP problem each time.

python optimization.py solve --input examples/problem.json --output result.json
"""

import time

import numpy as np
import pulp

from vpp.schedule.draft import Model
from vpp.schedule.outcome import DUAL_TOLERANCE, Outcome
from vpp.schedule.programme import Constraint, Terms


def cbc_run(model: Model, gap: float) -> "_CbcRun":
    """A model in CBC.

    Parameters
    ----------
    model : the model.
    gap : not kept: each solve has its own.

    Returns
    -------
    It, as `vpp.schedule.backends.Run` has it.
    """
    return _CbcRun(model, gap)


class _CbcRun:
    """A model in the CBC that PuLP brings along, as `vpp.schedule.backends.Run` has it."""

    def __init__(self, model: Model, gap: float) -> None:
        self.model, self.lp, self.caps = model, model.lp, 0

    def minimise(self, cost: np.ndarray, limit_s: float, gap: float) -> Outcome:
        """The least of an objective; see `Run`."""
        lp, variables = self.lp, self.model.variables
        named = np.flatnonzero(cost).tolist()
        lp.setObjective(Terms((variables[j], float(cost[j])) for j in named))
        options = ["primalT 1e-9", "dualT 1e-9"]
        limit_s, started = max(limit_s, 1e-3), time.monotonic()
        lp.solve(
            pulp.PULP_CBC_CMD(
                msg=False, timeLimit=limit_s, gapRel=gap, gapAbs=1e-6, options=options
            )
        )
        if lp.status == pulp.LpStatusInfeasible:
            # CBC now and then calls a model infeasible because its time ran out; a hard one is then
            # solved with limits that bend, but after a soft one nothing is left
            late = self.model.soft and time.monotonic() - started >= limit_s
            return Outcome("limit" if late else "infeasible")
        if lp.sol_status not in (pulp.LpSolutionOptimal, pulp.LpSolutionIntegerFeasible):
            return Outcome("limit")
        values = np.array([variable.varValue or 0.0 for variable in variables])
        objective = float(cost @ values)
        if lp.sol_status != pulp.LpSolutionOptimal:
            return Outcome("limit", values, objective)
        if any(variable.cat == pulp.LpInteger for variable in variables):
            # CBC through PuLP does not tell its bound; an optimum is within the gap asked for
            return Outcome("optimal", values, objective, objective - gap * abs(objective))
        duals = np.array([constraint.pi or 0.0 for constraint in lp.constraints()])
        reduced = np.array([variable.dj or 0.0 for variable in variables])
        return Outcome("optimal", values, objective, objective, reduced, duals)

    def hold(self, outcome: Outcome, cost: np.ndarray) -> None:
        """Keep the optimum; see `Run`."""
        if outcome.reduced_costs is None or outcome.duals is None:
            raise ValueError("an optimum without duals")
        # CBC writes its answer with few digits
        least = 1e3 * DUAL_TOLERANCE * max(float(np.abs(cost).max(initial=0.0)), 1e-9)
        for j in np.flatnonzero(np.abs(outcome.reduced_costs) > least).tolist():
            variable = self.model.variables[j]
            bound = variable.lowBound if outcome.reduced_costs[j] > 0 else variable.upBound
            if bound is not None:
                variable.bounds(bound, bound)
        constraints = list(self.lp.constraints())
        for i in np.flatnonzero(np.abs(outcome.duals) > least).tolist():
            constraints[i].sense = pulp.LpConstraintEQ

    def forbid(self, columns: np.ndarray) -> None:
        """Keep variables at nothing; see `Run`."""
        self.bound(columns, *np.zeros((2, len(columns))))

    def bound(self, columns: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Keep variables between other bounds; see `Run`."""
        for column, *sides in zip(columns.tolist(), lower.tolist(), upper.tolist(), strict=True):
            self.model.variables[column].bounds(*sides)

    def alone(self, outcome: Outcome, cost: np.ndarray) -> bool:
        """Not known; see `Run`."""
        return False

    def cap(self, cost: np.ndarray, most: float) -> int:
        """Keep an objective at or below a number; see `Run`."""
        variables, self.caps = self.model.variables, self.caps + 1
        terms = [(variables[j], float(cost[j])) for j in np.flatnonzero(cost).tolist()]
        name, most = f"no_more_{self.caps}", most + 1e-6 + 1e-8 * abs(most)  # of its few digits
        self.lp.addConstraint(Constraint(terms, pulp.LpConstraintLE, name, most))
        return self.caps - 1

    def uncap(self, count: int) -> None:
        """Not done: choices are not searched for calm with CBC."""

    def release(self) -> None:
        """Not done: choices are not searched for calm with CBC."""

    def choose(self, values: np.ndarray) -> None:
        """The linear programme of the binaries' choices; see `Run`."""
        for variable, value in zip(self.model.variables, values.tolist(), strict=True):
            if variable.cat == pulp.LpInteger:
                variable.cat = pulp.LpContinuous
                variable.bounds(round(value), round(value))
        constraints = list(self.lp.constraints())
        for constraint in constraints[len(self.model.matrices.row_lower) :]:
            constraint.constant = -1e12
        for rows in self.model.rows.values():
            for constraint in (
                constraints[rows.first : rows.first + len(rows)] if rows.implied else ()
            ):
                constraint.constant, constraint.sense = -1e12, pulp.LpConstraintLE
