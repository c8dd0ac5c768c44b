"""HiGHS and CBC: a model handed over once, and solved for one objective after the other.

HiGHS gets the model as matrices in one call and keeps it, with its basis; CBC gets the PuLP problem
each time. Pure: reads and writes nothing.

    python optimization.py solve --input examples/problem.json --output result.json
"""

from collections.abc import Callable
from typing import Protocol

import highspy
import numpy as np

from vpp.schedule.cbc import cbc_run
from vpp.schedule.draft import INFINITE, Matrices, Model
from vpp.schedule.outcome import DUAL_TOLERANCE, Outcome

# The relaxation is so tight that rounding it finds the optimum; other searches for schedules would
# take most of the time.
HIGHS_SEARCHES = {
    f"mip_heuristic_run_{name}": False
    for name in ("rins", "rens", "root_reduced_cost", "feasibility_jump")
}
DUAL, PRIMAL = 1, 4  # HiGHS's simplex_strategy: a new objective leaves the basis feasible


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


def new_highs(matrix: Matrices, time_limit_s: float, gap: float) -> highspy.Highs:
    """A HiGHS that holds a model.

    Parameters
    ----------
    matrix : the model.
    time_limit_s : most time of a solve [s].
    gap : relative gap at which a mixed-integer solve may stop.

    Returns
    -------
    The solver, not run.
    """
    highs = highspy.Highs()
    options = {
        "output_flag": False,
        "threads": 1,
        "time_limit": max(time_limit_s, 0.0),
        "mip_rel_gap": gap,
        "mip_abs_gap": 1e-9,
        "mip_feasibility_tolerance": 1e-8,  # with 1e-9 its presolve has lost an optimum
    }
    for name, value in (options | HIGHS_SEARCHES).items():
        highs.setOptionValue(name, value)
    highs.passModel(
        len(matrix.cost),
        len(matrix.row_lower),
        len(matrix.index),
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        *(matrix.cost, matrix.lower, matrix.upper, matrix.row_lower, matrix.row_upper),
        *(matrix.starts, matrix.index, matrix.value, matrix.integral),
    )
    return highs


def highs_outcome(highs: highspy.Highs, priced: bool = True) -> Outcome:
    """The answer of HiGHS, by its own word: PuLP would call a solve that ran out of time optimal.

    Parameters
    ----------
    highs : the solver after its run.
    priced : whether duals and reduced costs are wanted.

    Returns
    -------
    The answer.
    """
    status, info = highs.getModelStatus(), highs.getInfo()
    statuses = highspy.HighsModelStatus
    if status in (statuses.kInfeasible, statuses.kUnboundedOrInfeasible):
        return Outcome("infeasible")
    optimal = status == statuses.kOptimal
    feasible = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
    if not optimal and not feasible:
        return Outcome("limit")
    solution = highs.getSolution()
    priced = priced and solution.dual_valid
    bound = info.objective_function_value if optimal else -INFINITE
    if info.mip_node_count >= 0:  # a mixed-integer solve
        bound = info.mip_dual_bound
    return Outcome(
        status="optimal" if optimal else "limit",
        values=np.array(solution.col_value),
        objective=info.objective_function_value,
        bound=bound,
        reduced_costs=np.array(solution.col_dual) if priced else None,
        duals=np.array(solution.row_dual) if priced else None,
    )


class HighsRun(Run):
    """A model in HiGHS, as `Run` has it.

    Parameters
    ----------
    model : the model.
    gap : relative gap at which a mixed-integer solve may stop.
    """

    def __init__(self, model: Model, gap: float) -> None:
        matrix = model.matrices
        self.model, self.highs = model, new_highs(matrix, 0.0, gap)
        self.every = np.arange(len(matrix.cost), dtype=np.int32)
        self.lower, self.upper = matrix.lower.copy(), matrix.upper.copy()
        self.row_lower, self.row_upper = matrix.row_lower.copy(), matrix.row_upper.copy()
        self.integral, self.cost, self.based = bool(matrix.integral.any()), matrix.cost, False
        self.before: list[np.ndarray] = []
        self.start: np.ndarray | None = None  # values that the next linear programme is near to

    def write(self, model: Model) -> None:
        """Write other costs, bounds and right-hand sides to the same matrix.

        Parameters
        ----------
        model : the model that has them; nothing that was held before holds.
        """
        cost, lower, upper, row_lower, row_upper = model.numbers
        self.model, self.cost, self.based = model, cost, False
        self.lower, self.upper = lower.copy(), upper.copy()
        self.row_lower, self.row_upper = row_lower.copy(), row_upper.copy()
        rows = np.arange(len(row_lower), dtype=np.int32)
        self.highs.changeColsCost(len(self.every), self.every, cost)
        self.highs.changeColsBounds(len(self.every), self.every, lower, upper)
        # type hints of highspy do not name this one
        self.highs.changeRowsBounds(len(rows), rows, row_lower, row_upper)  # type: ignore[attr-defined]

    def minimise(self, cost: np.ndarray, limit_s: float, gap: float) -> Outcome:
        """The least of an objective; see `Run`."""
        if cost is not self.cost:
            other = np.flatnonzero(cost != self.cost).astype(np.int32)
            self.highs.changeColsCost(len(other), other, cost[other])
            self.cost = cost
        if self.integral:
            # no solution is handed over to start from: with one, HiGHS 1.15 now and then takes a
            # worse one for the optimum, with a bound above the best
            self.highs.setOptionValue("mip_rel_gap", gap)
        else:
            self.highs.setOptionValue("simplex_strategy", PRIMAL if self.based else DUAL)
        # the clock of HiGHS runs on from one solve to the next
        limit = self.highs.getRunTime() + max(limit_s, 0.0)
        self.highs.setOptionValue("time_limit", limit)
        if self.start is not None and not self.integral:
            start = highspy.HighsSolution()  # near to the optimum: a third of the time
            start.col_value, start.value_valid = self.start.tolist(), True
            self.highs.setSolution(start)
        self.start = None
        self.highs.run()
        self.based = not self.integral
        return highs_outcome(self.highs)

    def hold(self, outcome: Outcome, cost: np.ndarray) -> None:
        """Keep the optimum; see `Run`."""
        if outcome.reduced_costs is None or outcome.duals is None:
            raise ValueError("an optimum without duals")
        least = DUAL_TOLERANCE * max(float(np.abs(cost).max(initial=0.0)), 1e-9)
        held = np.flatnonzero(np.abs(outcome.reduced_costs) > least).astype(np.int32)
        values = np.where(outcome.reduced_costs[held] > 0, self.lower[held], self.upper[held])
        held, values = held[np.isfinite(values)], values[np.isfinite(values)]
        self.lower[held] = self.upper[held] = values
        self.highs.changeColsBounds(len(held), held, values, values)
        free = self.row_lower < self.row_upper
        rows = np.flatnonzero(free & (np.abs(outcome.duals) > least)).astype(np.int32)
        # a positive dual is that of the lower bound
        right = np.where(outcome.duals[rows] > 0, self.row_lower[rows], self.row_upper[rows])
        rows, right = rows[np.isfinite(right)], right[np.isfinite(right)]
        self.row_lower[rows] = self.row_upper[rows] = right
        self.highs.changeRowsBounds(len(rows), rows, right, right)  # type: ignore[attr-defined]

    def forbid(self, columns: np.ndarray) -> None:
        """Keep variables at nothing; see `Run`."""
        self.bound(columns, *np.zeros((2, len(columns))))

    def bound(self, columns: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """Keep variables between other bounds; see `Run`."""
        named = columns.astype(np.int32)
        self.lower[named], self.upper[named] = lower, upper
        self.highs.changeColsBounds(len(named), named, lower, upper)

    def alone(self, outcome: Outcome, cost: np.ndarray) -> bool:
        """Whether nothing outside the basis is free of cost; see `Run`."""
        if outcome.reduced_costs is None or outcome.duals is None:
            return False
        least = DUAL_TOLERANCE * max(float(np.abs(cost).max(initial=0.0)), 1e-9)
        # type hints of highspy do not name this one
        status, basic = self.highs.getBasicVariables()  # type: ignore[attr-defined]
        if status != highspy.HighsStatus.kOk:
            return False
        columns, rows = basic[basic >= 0], -basic[basic < 0] - 1
        for named, costs, low, high in (
            (columns, outcome.reduced_costs, self.lower, self.upper),
            (rows, outcome.duals, self.row_lower, self.row_upper),
        ):
            could_move = (np.abs(costs) <= least) & (low < high)
            could_move[named] = False
            if could_move.any():
                return False
        return True

    def cap(self, cost: np.ndarray, most: float) -> int:
        """Keep an objective at or below a number; see `Run`."""
        named, count = np.flatnonzero(cost).astype(np.int32), len(self.row_lower)
        self.highs.addRow(-INFINITE, most, len(named), named, cost[named])
        self.row_lower = np.append(self.row_lower, -INFINITE)
        self.row_upper = np.append(self.row_upper, most)
        return count - len(self.model.matrices.row_lower)

    def uncap(self, count: int) -> None:
        """Take out caps; see `Run`."""
        first = len(self.model.matrices.row_lower) + count
        rows = np.arange(first, len(self.row_lower), dtype=np.int32)
        self.highs.deleteRows(len(rows), rows)
        self.row_lower, self.row_upper = self.row_lower[:first], self.row_upper[:first]

    def choose(self, values: np.ndarray) -> None:
        """The linear programme of the binaries' choices; see `Run`."""
        sides = (self.lower, self.upper, self.row_lower, self.row_upper)
        self.before = [side.copy() for side in sides]
        caps = np.arange(len(self.model.matrices.row_lower), len(self.row_upper), dtype=np.int32)
        self._loosen(caps)
        whole = np.flatnonzero(self.model.matrices.integral).astype(np.int32)
        chosen = np.clip(np.round(values[whole]), self.lower[whole], self.upper[whole])
        self.lower[whole] = self.upper[whole] = chosen
        continuous = np.full(len(whole), highspy.HighsVarType.kContinuous)
        self.highs.changeColsIntegrality(len(whole), whole, continuous)
        self.highs.changeColsBounds(len(whole), whole, chosen, chosen)
        self.integral = False
        self.start = values
        for rows in self.model.rows.values():
            if rows.implied:
                self._loosen(np.arange(rows.first, rows.first + len(rows), dtype=np.int32))

    def _loosen(self, rows: np.ndarray) -> None:
        """Let constraints hold nothing."""
        self.row_lower[rows], self.row_upper[rows] = -INFINITE, INFINITE
        bounds = (self.row_lower[rows], self.row_upper[rows])
        self.highs.changeRowsBounds(len(rows), rows, *bounds)  # type: ignore[attr-defined]

    def release(self) -> None:
        """The mixed-integer model again; see `Run`."""
        self.lower, self.upper, self.row_lower, self.row_upper = self.before
        every, rows = self.every, np.arange(len(self.row_lower), dtype=np.int32)
        self.highs.changeColsBounds(len(every), every, self.lower, self.upper)
        bounds = (self.row_lower, self.row_upper)
        self.highs.changeRowsBounds(len(rows), rows, *bounds)  # type: ignore[attr-defined]
        whole = np.flatnonzero(self.model.matrices.integral).astype(np.int32)
        kinds = np.full(len(whole), highspy.HighsVarType.kInteger)
        self.highs.changeColsIntegrality(len(whole), whole, kinds)
        self.integral, self.based = bool(len(whole)), False


SOLVERS: dict[str, Callable[[Model, float], Run]] = {"highs": HighsRun, "cbc": cbc_run}
